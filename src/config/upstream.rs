//! `upstreams`: the groups of servers behind the gateway, and how each is balanced, watched and waited for.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::address::EndpointAddress;
use super::attempt::{Retry, Timeouts};
use super::fitness::{HealthCheck, Outlier};
use super::store::File;
use super::text::text;
use super::unit::{Duration, OrNone, OrOff, Percent};
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
    /// The Host that endpoints see: `keep` (the client's), `endpoint` (the endpoint's address; `localhost` for a unix
    /// socket), or a literal.
    /// Default: keep.
    #[serde(default)]
    pub host_header: HostHeader,
    /// Idle connections kept open to the endpoints.
    #[serde(default)]
    pub keepalive: Keepalive,
    /// Whether the endpoints are spoken to in TLS: `true`, or with settings. Default: false.
    #[serde(default)]
    pub tls: EndpointTls,
    /// Whether the endpoints are spoken to in HTTP/2: in TLS they have to offer it (ALPN `h2`), in plain text they are trusted to
    /// know it (h2c). gRPC needs it. Default: false.
    #[serde(default)]
    pub http2: bool,
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

/// Whether the endpoints are spoken to in TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EndpointTls {
    /// In plain text.
    #[default]
    Off,
    /// In TLS.
    On(Box<EndpointTlsSettings>),
}

/// TLS to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointTlsSettings {
    /// The name that the endpoints are asked for (SNI), and that their certificates must have. Absent: each endpoint's own host,
    /// a name or an IP address; a unix socket has none.
    #[schemars(length(min = 1))]
    pub server_name: Option<String>,
    /// A file of the certificates (PEM) that may have signed the endpoints'; it is watched. Absent: those that the system trusts.
    pub ca: Option<File>,
    /// A file with the certificate (PEM) that is shown to endpoints which ask for one, and those that lead from it to its
    /// authority; it is watched. Absent: none.
    pub certificate: Option<File>,
    /// The file with the private key (PEM) of `certificate`; it is watched.
    pub key: Option<File>,
    /// Whether the endpoints' certificates have to be right. `false` lets anybody in between be the endpoint, and is warned of.
    /// Default: true.
    pub verify: bool,
}

/// Idle connections kept open to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// The most idle connections kept; 0 keeps none. All upstreams' together are one pool, sized at the start. Default: 256.
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
        let value = serde_json::Value::deserialize(deserializer)?;
        let settings = match value.as_str() {
            Some(address) => Settings {
                address: address.parse().map_err(D::Error::custom)?,
                weight: weight(),
                max_connections: OrNone(None),
                backup: false,
                host_header: None,
            },
            None => serde_json::from_value(value).map_err(D::Error::custom)?,
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

// === impl Queue ===

impl Default for Queue {
    fn default() -> Self {
        Self { size: 100, timeout: Duration::secs(2) }
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

// === impl EndpointTls ===

impl<'de> Deserialize<'de> for EndpointTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(false) => Ok(Self::Off),
            serde_json::Value::Bool(true) => Ok(Self::On(Box::default())),
            settings => serde_json::from_value(settings).map(Self::On).map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for EndpointTls {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EndpointTls".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let settings = generator.subschema_for::<EndpointTlsSettings>();
        schemars::json_schema!({ "anyOf": [{ "type": "boolean" }, settings] })
    }
}

// === impl EndpointTlsSettings ===

impl Default for EndpointTlsSettings {
    fn default() -> Self {
        Self { server_name: None, ca: None, certificate: None, key: None, verify: true }
    }
}

// === impl Keepalive ===

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: 256, timeout: Duration::secs(55) }
    }
}
