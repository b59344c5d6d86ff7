//! `headgate run`.

use std::path::Path;
use std::process::ExitCode;

use super::{CONFIGURATION, RUNTIME, complain};
use crate::server::{self, StartError};

/// Runs the gateway; a failure to start tells why.
pub(super) fn run(file: &Path) -> ExitCode {
    match server::run(file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Refused(refused)) => {
            complain(&refused.to_string());
            ExitCode::from(CONFIGURATION)
        }
        Err(error @ (StartError::Bind(_) | StartError::System(_))) => {
            complain(&format!("error: {error}"));
            ExitCode::from(RUNTIME)
        }
    }
}
