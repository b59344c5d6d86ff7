//! `health_check` and `outlier` of an upstream: when an endpoint is fit.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::text::text;
use super::unit::{Duration, OneOrMany, OrOff, Percent};

/// How endpoints are asked whether they are fit: by a GET (`http`), by connecting (`tcp`), or by gRPC's own health service (`grpc`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_kind)]
pub struct HealthCheck {
    /// The path (and query) to GET.
    #[serde(default)]
    #[schemars(regex(pattern = "^/"))]
    pub http: Option<String>,
    /// `true`: to connect is enough.
    #[serde(default)]
    #[schemars(extend("const" = true))]
    pub tcp: Option<bool>,
    /// The service that `grpc.health.v1.Health` is asked for, as in `my.package.Service`; `true`: the server as a whole.
    #[serde(default)]
    pub grpc: Option<GrpcService>,
    /// From one check of an endpoint to the next, give or take a tenth. Default: 5s.
    #[serde(default = "interval")]
    pub interval: Duration,
    /// How long a whole check may take. Default: 2s.
    #[serde(default = "check_timeout")]
    pub timeout: Duration,
    /// Passed checks in a row that bring an endpoint back. Default: 2.
    #[serde(default = "rise")]
    #[schemars(range(min = 1, max = 100))]
    pub rise: u16,
    /// Failed checks in a row that take an endpoint out. Default: 3.
    #[serde(default = "fall")]
    #[schemars(range(min = 1, max = 100))]
    pub fall: u16,
    /// The statuses that pass an `http` check: `200-299`, `204`, or a list of such. Default: 200-299.
    #[serde(default = "passing")]
    pub status: OneOrMany<StatusRange>,
    /// The Host of the `http` or `grpc` check. Absent: the endpoint's address.
    #[serde(default)]
    pub host: Option<String>,
    /// The port to check. Absent: the endpoint's own.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// Which service gRPC's health service is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcService {
    /// None: the server as a whole.
    All,
    /// This one.
    Named(String),
}

/// Statuses from the first to the last, both included: `200-299`, or one, `204`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest that passes.
    pub first: u16,
    /// The highest that passes.
    pub last: u16,
}

/// When an endpoint is set aside for bad live traffic: connect failures, resets, timeouts, and 502 to 504.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Outlier {
    /// Failures in a row that set an endpoint aside. Default: 5.
    #[schemars(range(min = 1))]
    pub consecutive_errors: u32,
    /// For how long the first time; each time in a row it is longer. Default: 10s.
    pub eject_for: Duration,
    /// The largest share of endpoints set aside at a time, rounded down, but at least one of two or more.
    /// Default: 50%.
    pub max_ejected: Percent,
}

// === impl HealthCheck ===

fn one_kind(schema: &mut schemars::Schema) {
    super::schema::exactly_one(schema, &["http", "tcp", "grpc"]);
}

fn interval() -> Duration {
    Duration::secs(5)
}

fn check_timeout() -> Duration {
    Duration::secs(2)
}

fn rise() -> u16 {
    2
}

fn fall() -> u16 {
    3
}

/// The statuses that pass a check whose file doesn't say.
pub(crate) fn passing() -> OneOrMany<StatusRange> {
    OneOrMany(vec![StatusRange { first: 200, last: 299 }])
}

// === impl GrpcService ===

impl<'de> Deserialize<'de> for GrpcService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(true) => Ok(Self::All),
            serde_json::Value::String(name) => Ok(Self::Named(name)),
            _ => Err(D::Error::custom("`true`, or the name of a service")),
        }
    }
}

impl JsonSchema for GrpcService {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GrpcService".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "boolean", "const": true },
            { "type": "string", "minLength": 1, "pattern": "^[A-Za-z_][A-Za-z0-9_.]*$" },
        ] })
    }
}

// === impl StatusRange ===

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..600).contains(status));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            (Some(first), Some(last)) => Err(format!("the range runs backwards: `{last}-{first}`")),
            _ => Err("a status is `200`, or a range as in `200-299`, from 100 to 599".into()),
        }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

text!(StatusRange, "StatusRange", r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$", integer);

// === impl Outlier ===

impl Default for Outlier {
    fn default() -> Self {
        Self { consecutive_errors: 5, eject_for: Duration::secs(10), max_ejected: Percent(50) }
    }
}

impl Default for OrOff<Outlier> {
    fn default() -> Self {
        Self(Some(Outlier::default()))
    }
}
