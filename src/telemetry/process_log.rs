//! The process log: what the gateway says about itself, on standard error, as text or JSON.
//!
//! `env_logger` decides what is worth a line; this module gives it the level and the shape that the file asks for, again
//! at every reload. `RUST_LOG`, where it is set, decides instead of the file.

use std::{
    env,
    io::Write as _,
    sync::{PoisonError, RwLock},
    time::SystemTime,
};

use env_logger::{Builder, Logger};
use log::{LevelFilter, Log, Metadata, Record};

use super::access_log::{rfc3339, write_json_text};

/// Crates whose every-day remarks about single connections would drown ours. Errors are kept, but for those of the proxy:
/// each is about one request, which we log ourselves, and anybody who sends half a head could fill the log with them. The
/// connector calls it an error when an endpoint has closed a kept connection.
const NOISY: [(&str, LevelFilter); 5] = [
    ("pingora", LevelFilter::Error),
    ("pingora_proxy", LevelFilter::Off),
    ("pingora_core::connectors", LevelFilter::Off),
    ("hickory", LevelFilter::Error),
    // It warns of handshakes with an address for a name, and of all kinds of odd ones.
    ("rustls", LevelFilter::Error),
];

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-01T00:00:00.000Z INFO headgate::reload: ..`
    Text,
    /// One JSON object a line: time, level, target, message.
    Json,
}

/// The logger that `log` holds for the life of the process.
static PROCESS_LOG: ProcessLog = ProcessLog(RwLock::new(None));

struct ProcessLog(RwLock<Option<Logger>>);

/// Sets level and shape of the process log; called at start and after every accepted reload.
pub fn apply(level: LevelFilter, format: LogFormat) {
    let logger = built(env::var("RUST_LOG").ok().as_deref(), level, format);
    let loudest = logger.filter();
    *PROCESS_LOG.0.write().unwrap_or_else(PoisonError::into_inner) = Some(logger);
    // Fails from the second time on, because ours is already there.
    let _ = log::set_logger(&PROCESS_LOG);
    log::set_max_level(loudest);
}

fn built(environment: Option<&str>, level: LevelFilter, format: LogFormat) -> Logger {
    let mut builder = Builder::new();
    match environment.filter(|filters| !filters.trim().is_empty()) {
        Some(filters) => {
            builder.parse_filters(filters);
        }
        None => {
            builder.filter_level(level);
            for (name, loudest) in NOISY {
                builder.filter_module(name, level.min(loudest));
            }
        }
    }
    builder.format(move |out, record| out.write_all(&line(format, SystemTime::now(), record))).build()
}

fn line(format: LogFormat, time: SystemTime, record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(128);
    let message = record.args().to_string();
    match format {
        LogFormat::Text => {
            let head = format!("{} {} {}: ", rfc3339(time), record.level(), record.target());
            line.extend_from_slice(head.as_bytes());
            for character in message.chars() {
                match character {
                    // A message of several lines stays readable, and none of them looks like a line of its own.
                    '\n' => line.extend_from_slice(b"\n    "),
                    control if control.is_control() => line.extend(control.escape_default().map(|c| c as u8)),
                    plain => line.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        }
        LogFormat::Json => {
            let level = record.level().as_str().to_ascii_lowercase();
            let head = format!(r#"{{"time":"{}","level":"{level}","target":"#, rfc3339(time));
            line.extend_from_slice(head.as_bytes());
            write_json_text(record.target(), &mut line);
            line.extend_from_slice(br#","message":"#);
            write_json_text(&message, &mut line);
            line.push(b'}');
        }
    }
    line.push(b'\n');
    line
}

// === impl ProcessLog ===

impl ProcessLog {
    fn with(&self, act: impl FnOnce(&Logger)) {
        if let Some(logger) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            act(logger);
        }
    }
}

impl Log for ProcessLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let mut enabled = false;
        self.with(|logger| enabled = logger.enabled(metadata));
        enabled
    }

    fn log(&self, record: &Record<'_>) {
        self.with(|logger| logger.log(record));
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn text(format: LogFormat, message: &str) -> String {
        let arguments = format_args!("{message}");
        let record = Record::builder().args(arguments).level(Level::Warn).target("headgate::reload").build();
        String::from_utf8(line(format, SystemTime::UNIX_EPOCH, &record)).unwrap()
    }

    fn says(logger: &Logger, target: &str, level: Level) -> bool {
        logger.enabled(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn both_shapes_hold_time_level_place_and_message() {
        let plain = "1970-01-01T00:00:00.000Z WARN headgate::reload: refused\n";
        assert_eq!(text(LogFormat::Text, "refused"), plain);
        let parsed: serde_json::Value = serde_json::from_str(&text(LogFormat::Json, "a \"b\"\nc")).unwrap();
        assert_eq!(parsed["message"], "a \"b\"\nc");
        assert_eq!(parsed["level"], "warn");
    }

    #[test]
    fn no_message_can_forge_a_line() {
        let forged = text(LogFormat::Text, "one\n1970 WARN forged\r\u{1b}[31m\u{9b}");
        assert_eq!(
            forged,
            "1970-01-01T00:00:00.000Z WARN headgate::reload: one\n    1970 WARN forged\\r\\u{1b}[31m\\u{9b}\n"
        );
        assert_eq!(text(LogFormat::Json, "one\n\u{1b}").matches('\n').count(), 1);
    }

    #[test]
    fn noisy_crates_are_quiet_unless_the_environment_says_otherwise() {
        let by_file = built(None, LevelFilter::Info, LogFormat::Text);
        assert!(says(&by_file, "headgate::proxy", Level::Info));
        assert!(!says(&by_file, "headgate::proxy", Level::Debug));
        assert!(says(&by_file, "pingora_core::server", Level::Error));
        assert!(!says(&by_file, "pingora_proxy::proxy_h1", Level::Warn));
        assert!(!says(&built(None, LevelFilter::Off, LogFormat::Text), "pingora_core", Level::Error));
        let by_environment = built(Some("pingora_core=info"), LevelFilter::Error, LogFormat::Text);
        assert!(says(&by_environment, "pingora_core::server", Level::Info));
        assert!(says(&built(Some(" "), LevelFilter::Info, LogFormat::Text), "headgate", Level::Info));
    }
}
