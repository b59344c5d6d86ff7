//! What can't change while the process runs: a reload that changes it is refused with that reason.

use crate::config::{Admin, Config, Log, LogFormat, LogLevel, Process};
use crate::telemetry::process_log;

/// The part of a configuration that is read at start only, and what of it a reload may touch.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// `process`.
    pub process: Process,
    /// `admin`.
    pub admin: Admin,
    /// `telemetry.log`, which a reload may change.
    pub log: ProcessLog,
}

/// The process log's settings.
#[derive(Debug, Clone)]
pub struct ProcessLog(Log);

// === impl Fixed ===

impl Fixed {
    /// The fixed part of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            process: config.process.clone(),
            admin: config.admin.clone(),
            log: ProcessLog(config.telemetry.log.clone()),
        }
    }

    /// What of `next` would need a restart, a sentence each.
    pub fn difference(&self, next: &Self) -> Vec<String> {
        let mut needs = Vec::new();
        if self.process != next.process {
            needs.push(
                "`process` is read at start only: restart headgate to change it, or put it back as it was".to_owned(),
            );
        }
        if self.admin != next.admin {
            needs.push(
                "`admin` is read at start only: restart headgate to change it, or put it back as it was".to_owned(),
            );
        }
        needs
    }
}

// === impl ProcessLog ===

impl ProcessLog {
    /// Sets the process log up accordingly.
    pub fn apply(&self) {
        let level = match self.0.level {
            LogLevel::Error => log::LevelFilter::Error,
            LogLevel::Warn => log::LevelFilter::Warn,
            LogLevel::Info => log::LevelFilter::Info,
            LogLevel::Debug => log::LevelFilter::Debug,
            LogLevel::Trace => log::LevelFilter::Trace,
        };
        let format = match self.0.format {
            LogFormat::Text => process_log::LogFormat::Text,
            LogFormat::Json => process_log::LogFormat::Json,
        };
        process_log::apply(level, format);
    }
}
