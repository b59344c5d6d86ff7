//! `process` and `admin`: the program itself.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address::ListenAddress;
use super::unit::{Duration, OrNone};

/// The process itself. Read at start only: a reload that changes it is refused with that reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Worker threads: a number, or `auto` for one a processor. Default: auto.
    pub threads: Threads,
    /// The user to become once the listeners are bound. Absent: the one that started the program.
    pub user: Option<String>,
    /// A file to write the process id to. Absent: none.
    pub pid_file: Option<PathBuf>,
    /// A directory for what must outlive a restart: the key of sticky cookies, made where `cookies.secrets` has none. Absent:
    /// $XDG_STATE_HOME/headgate, else $HOME/.local/state/headgate.
    pub state_dir: Option<PathBuf>,
    /// The most connections of all listeners at a time; a client beyond it gets 503, or on a listener that speaks TLS is closed.
    /// Default: none (as many as half the limit of open files).
    #[schemars(with = "OrNone<NonZeroU32>")]
    pub max_connections: OrNone<u32>,
    /// How long requests in flight may go on after SIGTERM or SIGQUIT. Default: 30s.
    pub shutdown_timeout: Duration,
}

/// A number of threads, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One a processor.
    Auto,
    /// That many.
    Count(u16),
}

/// The admin listener: metrics, health and status of the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it accepts. Default: 127.0.0.1:9900.
    pub address: ListenAddress,
    /// The bearer token that callers show. Required as soon as the address isn't loopback. Absent: none.
    pub token: Option<Secret>,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(#[schemars(length(min = 1))] pub String);

// === impl Process ===

impl Default for Process {
    fn default() -> Self {
        Self {
            threads: Threads::Auto,
            user: None,
            pid_file: None,
            max_connections: OrNone(None),
            state_dir: None,
            shutdown_timeout: Duration::secs(30),
        }
    }
}

// === impl Threads ===

/// Beyond it a count is surely a slip.
const MOST_THREADS: u16 = 1024;

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = super::text::scalar(deserializer)?;
        match (text.as_str(), text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(count @ 1..=MOST_THREADS)) => Ok(Self::Count(count)),
            _ => Err(serde::de::Error::custom("a number of threads, or `auto`")),
        }
    }
}

impl Serialize for Threads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => serializer.serialize_u16(*count),
        }
    }
}

impl JsonSchema for Threads {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Threads".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "string", "const": "auto" },
            { "type": "integer", "minimum": 1, "maximum": MOST_THREADS },
        ] })
    }
}

// === impl Admin ===

impl Default for Admin {
    fn default() -> Self {
        Self { address: ListenAddress::Tcp(([127, 0, 0, 1], 9900).into()), token: None }
    }
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
