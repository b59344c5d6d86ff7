//! `headgate schema`.

use std::process::ExitCode;

use super::{RUNTIME, complain, print};
use crate::config;

/// Prints the JSON Schema of the file, the plugins' settings included.
pub(super) fn schema() -> ExitCode {
    let schema = config::schema(&headgate_plugins::builtin().schemas());
    match serde_json::to_string_pretty(&schema) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::from(RUNTIME)
        }
    }
}
