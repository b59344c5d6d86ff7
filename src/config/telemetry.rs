//! `telemetry`: what the gateway says about itself and about each request.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::text;

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The process's own log, on standard error.
    pub log: Log,
    /// One line a request. Absent: none is written.
    pub access_log: Option<AccessLog>,
}

/// The process's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is written; the variable RUST_LOG overrides it. Default: info.
    pub level: LogLevel,
    /// One line an event, as text or as JSON. Default: text.
    pub format: LogFormat,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something will fail, or is not as it should be.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// The form of the process's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One line a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// The file to append to, reopened on SIGUSR1; `-` is standard output.
    pub path: PathBuf,
    /// `json`, `combined` (Apache's and nginx's), or a template. Default: json.
    #[serde(default)]
    pub format: AccessLogFormat,
}

/// The form of an access log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
    /// A text with placeholders, which the access log itself parses.
    Template(String),
}

// === impl Log ===

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

// === impl AccessLogFormat ===

impl FromStr for AccessLogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "combined" => Ok(Self::Combined),
            // A template without a placeholder would write the same line for every request: a mistyped name.
            _ if text.contains(['{', '$']) => Ok(Self::Template(text.to_owned())),
            _ => Err("a format is `json`, `combined`, or a template with placeholders".into()),
        }
    }
}

impl fmt::Display for AccessLogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Combined => "combined",
            Self::Template(template) => template,
        })
    }
}

text!(AccessLogFormat, "AccessLogFormat", r"^(json|combined|.*[{$].*)$");
