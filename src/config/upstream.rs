//! `upstreams`: the groups of servers behind the gateway, and how each is balanced, watched and waited for.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::address::EndpointAddress;
use super::text::text;
use super::unit::{Duration, OneOrMany, OrNone, OrOff, Percent};
use crate::strategy;

/// A named group of endpoints.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// How an endpoint is picked, unless a route says otherwise. Default: round_robin.
    #[serde(default)]
    pub strategy: strategy::Config,
    /// Its endpoints: `host:port`, `[IPv6]:port`, `unix:/path`, or `{ address, .. }`.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Endpoint>,
    /// How endpoints are asked whether they are fit. Absent: they are not, and only live traffic is judged (`outlier`).
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// When an endpoint is set aside for bad live traffic, or `off`.
    #[serde(default)]
    pub outlier: OrOff<Outlier>,
    /// How long an endpoint that comes (back) up takes to reach its full weight. Default: none.
    #[serde(default)]
    pub slow_start: OrNone<Duration>,
    /// Where requests wait while every endpoint is at its `max_connections`. Absent: they are answered with 503 at once.
    #[serde(default)]
    pub queue: Option<Queue>,
    /// When a failed attempt is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// How long each phase of a request may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When the share of fit endpoints is at or under it, all are used (fail open); `off` answers 503 instead.
    /// Default: 0%.
    #[serde(default = "panic_threshold")]
    pub panic_threshold: OrOff<Percent>,
    /// The Host that endpoints see: `keep` (the client's), `endpoint` (the endpoint's address), or a literal.
    /// Default: keep.
    #[serde(default)]
    pub host_header: HostHeader,
    /// Idle connections kept open to the endpoints.
    #[serde(default)]
    pub keepalive: Keepalive,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share of the traffic relative to the others; 0 takes none.
    pub weight: u16,
    /// The most requests in flight to it.
    pub max_connections: OrNone<u32>,
    /// Used only while no other endpoint is eligible.
    pub backup: bool,
    /// The Host that it sees, instead of the upstream's `host_header`.
    pub host_header: Option<HostHeader>,
}

/// An endpoint with settings.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EndpointSettings")]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where it is: `host:port`, `[IPv6]:port` or `unix:/path`.
    address: EndpointAddress,
    /// Its share of the traffic relative to the others; 0 takes none. Default: 1.
    #[serde(default = "weight")]
    #[schemars(range(max = 1000))]
    weight: u16,
    /// The most requests in flight to it. Default: none.
    #[serde(default)]
    #[schemars(with = "OrNone<NonZeroU32>")]
    max_connections: OrNone<u32>,
    /// Used only while no other endpoint is eligible. Default: false.
    #[serde(default)]
    backup: bool,
    /// The Host that it sees: `keep`, `endpoint` or a literal. Absent: the upstream's `host_header`.
    #[serde(default)]
    host_header: Option<HostHeader>,
}

/// How endpoints are asked whether they are fit: by a GET (`http`) or by connecting (`tcp`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = http_or_tcp)]
pub struct HealthCheck {
    /// The path (and query) to GET.
    #[serde(default)]
    #[schemars(regex(pattern = "^/"))]
    pub http: Option<String>,
    /// `true`: to connect is enough.
    #[serde(default)]
    #[schemars(extend("const" = true))]
    pub tcp: Option<bool>,
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
    /// The Host of the `http` check. Absent: the endpoint's address.
    #[serde(default)]
    pub host: Option<String>,
    /// The port to check. Absent: the endpoint's own.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
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

/// Where requests wait while every endpoint is at its `max_connections`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// The most requests that wait; one more is answered with 503. Default: 100.
    #[schemars(range(min = 1))]
    pub size: u32,
    /// How long a request waits before it is answered with 503. Default: 2s.
    pub timeout: Duration,
}

/// When a failed attempt is tried again, on another endpoint where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries that may have reached an endpoint, the first included; 1 never retries. One that refuses the connection
    /// costs none. Default: 2.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u8,
    /// What may be tried again: `connect_error`, `reset`, and statuses from 500 on. Default: [connect_error, reset,
    /// 502, 503, 504].
    pub conditions: Vec<Condition>,
    /// Which requests may be tried again once something was sent: the `idempotent` ones or `any`. Default: idempotent.
    pub methods: RetryMethods,
    /// The most retries as a share of the upstream's requests, where something was sent. Default: 20%.
    pub budget: Percent,
}

/// What a route says differently from its upstream's `retry`; what is not written stays the upstream's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryOverrides {
    /// Tries that may have reached an endpoint, the first included; 1 never retries. Absent: the upstream's.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: Option<u8>,
    /// What may be tried again: `connect_error`, `reset`, and statuses from 500 on. Absent: the upstream's.
    pub conditions: Option<Vec<Condition>>,
    /// Which requests may be tried again once something was sent: the `idempotent` ones or `any`. Absent: the upstream's.
    pub methods: Option<RetryMethods>,
    /// The most retries as a share of the route's requests, where something was sent. Absent: the upstream's.
    pub budget: Option<Percent>,
}

/// A failure that may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The connection was not made: refused, unreachable, or not in time.
    ConnectError,
    /// The connection ended before the response's head.
    Reset,
    /// The endpoint answered with this status.
    Status(u16),
}

/// Which requests may be tried again once something was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryMethods {
    /// GET, HEAD, OPTIONS, TRACE, PUT and DELETE.
    Idempotent,
    /// All: a POST may be carried out twice.
    Any,
}

/// How long each phase of a request may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect to an endpoint. Default: 2s.
    pub connect: Duration,
    /// From the request sent to the first byte of the response. Default: 30s.
    pub first_byte: Duration,
    /// From one piece of a body to the next, either way. Default: 60s.
    pub idle: Duration,
    /// The same on an upgraded connection (WebSocket). Default: 1h.
    pub upgrade_idle: Duration,
    /// The whole request, retries included. It ends with the response's head for event streams and at an upgrade.
    /// Default: none.
    pub request: OrNone<Duration>,
}

/// What a route says differently from its upstream's `timeouts`; what is not written stays the upstream's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutOverrides {
    /// To connect to an endpoint. Absent: the upstream's.
    pub connect: Option<Duration>,
    /// From the request sent to the first byte of the response. Absent: the upstream's.
    pub first_byte: Option<Duration>,
    /// From one piece of a body to the next, either way. Absent: the upstream's.
    pub idle: Option<Duration>,
    /// The same on an upgraded connection (WebSocket). Absent: the upstream's.
    pub upgrade_idle: Option<Duration>,
    /// The whole request, retries included; `none` lifts the upstream's. Absent: the upstream's.
    pub request: Option<OrNone<Duration>>,
}

/// The Host that endpoints see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Keep,
    /// The endpoint's address.
    Endpoint,
    /// This one.
    Literal(String),
}

/// Idle connections kept open to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// The most idle connections kept; 0 keeps none. Default: 256.
    pub idle: u32,
    /// How long an idle connection is kept. Shorter than the application's own, or it closes first. Default: 55s.
    pub timeout: Duration,
}

// === impl Upstream ===

fn panic_threshold() -> OrOff<Percent> {
    OrOff(Some(Percent(0)))
}

// === impl Endpoint ===

fn weight() -> u16 {
    1
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(address) => Settings {
                address: address.parse().map_err(D::Error::custom)?,
                weight: weight(),
                max_connections: OrNone(None),
                backup: false,
                host_header: None,
            },
            settings => serde_json::from_value(settings).map_err(D::Error::custom)?,
        };
        let Settings { address, weight, max_connections, backup, host_header } = settings;
        Ok(Self { address, weight, max_connections, backup, host_header })
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let address = generator.subschema_for::<EndpointAddress>();
        let settings = generator.subschema_for::<Settings>();
        schemars::json_schema!({ "anyOf": [address, settings] })
    }
}

// === impl HealthCheck ===

fn http_or_tcp(schema: &mut schemars::Schema) {
    super::schema::exactly_one(schema, &["http", "tcp"]);
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

impl<T> Default for OrNone<T> {
    fn default() -> Self {
        Self(None)
    }
}

// === impl Queue ===

impl Default for Queue {
    fn default() -> Self {
        Self { size: 100, timeout: Duration::secs(2) }
    }
}

// === impl Retry ===

impl Retry {
    /// This, with what a route says differently.
    #[must_use]
    pub fn with(&self, route: &RetryOverrides) -> Self {
        Self {
            attempts: route.attempts.unwrap_or(self.attempts),
            conditions: route.conditions.clone().unwrap_or_else(|| self.conditions.clone()),
            methods: route.methods.unwrap_or(self.methods),
            budget: route.budget.unwrap_or(self.budget),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        use Condition::{ConnectError, Reset, Status};
        Self {
            attempts: 2,
            conditions: vec![ConnectError, Reset, Status(502), Status(503), Status(504)],
            methods: RetryMethods::Idempotent,
            budget: Percent(20),
        }
    }
}

// === impl Condition ===

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = super::text::scalar(deserializer)?;
        match (text.as_str(), text.parse()) {
            ("connect_error", _) => Ok(Self::ConnectError),
            ("reset", _) => Ok(Self::Reset),
            (_, Ok(status @ 500..600)) => Ok(Self::Status(status)),
            _ => Err(D::Error::custom("`connect_error`, `reset`, or a status from 500 to 599")),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::ConnectError => serializer.serialize_str("connect_error"),
            Self::Reset => serializer.serialize_str("reset"),
            Self::Status(status) => serializer.serialize_u16(*status),
        }
    }
}

impl JsonSchema for Condition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "string", "enum": ["connect_error", "reset"] },
            { "type": "integer", "minimum": 500, "maximum": 599 },
        ] })
    }
}

// === impl Timeouts ===

impl Timeouts {
    /// These, with what a route says differently.
    #[must_use]
    pub fn with(&self, route: &TimeoutOverrides) -> Self {
        Self {
            connect: route.connect.unwrap_or(self.connect),
            first_byte: route.first_byte.unwrap_or(self.first_byte),
            idle: route.idle.unwrap_or(self.idle),
            upgrade_idle: route.upgrade_idle.unwrap_or(self.upgrade_idle),
            request: route.request.unwrap_or(self.request),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::secs(2),
            first_byte: Duration::secs(30),
            idle: Duration::secs(60),
            upgrade_idle: Duration::secs(3600),
            request: OrNone(None),
        }
    }
}

// === impl HostHeader ===

impl FromStr for HostHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Self::Keep),
            "endpoint" => Ok(Self::Endpoint),
            "" => Err("a host header is `keep`, `endpoint`, or the host itself".into()),
            _ if text.contains("://") || text.contains(['/', ' ', '@', '*', '$', '{']) || !text.is_ascii() => Err(
                "a host header is `keep`, `endpoint`, or the host itself, as in `app.internal` or `app.internal:8080`"
                    .into(),
            ),
            _ => Ok(Self::Literal(text.to_owned())),
        }
    }
}

impl fmt::Display for HostHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Endpoint => "endpoint",
            Self::Literal(host) => host,
        })
    }
}

text!(HostHeader, "HostHeader", r"^[!-~]+$");

// === impl Keepalive ===

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: 256, timeout: Duration::secs(55) }
    }
}
