//! `listeners`: the addresses that clients connect to.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::address::{ListenAddress, Network};
use super::tls::Tls;
use super::unit::{Duration, OrNone, Size};

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where it accepts: `IP:PORT`, `[IPv6]:PORT` or `unix:/path`. Port 0 lets the system choose one.
    pub address: ListenAddress,
    /// Its name: the metric label, and what a route's `listener` says. Absent: the address.
    #[serde(default)]
    pub name: Option<String>,
    /// TLS. Absent: it speaks plain HTTP.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Whether clients may speak HTTP/2: with `tls` those that choose it (ALPN), without it those that begin with it
    /// (h2c by prior knowledge); HTTP/1.1 is spoken beside it. Absent: with `tls` they may, without it they may not.
    #[serde(default)]
    pub http2: Option<bool>,
    /// The networks of the proxies whose X-Forwarded-* headers and PROXY headers are believed. Default: [] (nobody).
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
    /// Whether each connection begins with a PROXY header (version 1 or 2) that names the client, as other balancers send it. Only
    /// one of `trusted_proxies` may connect then. Default: false.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether requests are answered with 308 to the same place on HTTPS: `true` is port 443, a number another port. Routes that
    /// are bound to this listener (`listener: NAME`) are served all the same, and so is who came to a trusted proxy by HTTPS.
    /// Default: false.
    #[serde(default)]
    pub redirect_to_https: RedirectToHttps,
    /// What becomes of a request header whose name has an underscore, which some applications read as a hyphen.
    /// Default: drop.
    #[serde(default)]
    pub underscores: Underscores,
    /// What one client may cost.
    #[serde(default)]
    pub limits: Limits,
}

/// What becomes of a header whose name has an underscore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// The header is left out; the request goes on.
    #[default]
    Drop,
    /// The request is answered with 400.
    Refuse,
    /// The header is passed on.
    Keep,
}

/// Whether requests are sent to HTTPS instead of being served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectToHttps {
    /// They are served.
    #[default]
    Off,
    /// They are sent to this port.
    Port(u16),
}

/// What one client may cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request head, in bytes; beyond it 431. Default: 32KiB.
    pub header_bytes: Size,
    /// The longest request target (path and query), in bytes; beyond it 414. Default: 8KiB.
    pub target_bytes: Size,
    /// The most headers of a request; beyond it 431. Default: 100.
    #[schemars(range(min = 1, max = 256))]
    pub headers: u16,
    /// The longest request body, in bytes; beyond it 413. Default: none.
    pub body: OrNone<Size>,
    /// How long a client may take to send a request head, from its first byte on; beyond it 408. Default: 10s.
    pub header_timeout: Duration,
    /// How long a client may take for a TLS handshake. Default: 10s.
    pub handshake_timeout: Duration,
    /// How long a connection may wait for its next request. Default: 75s.
    pub idle_timeout: Duration,
    /// How long a client may be silent in the middle of a request body; beyond it 408. A route's `timeouts.idle` may be
    /// shorter. Default: 60s.
    pub body_timeout: Duration,
    /// What a client must send of a body, or take of a response, each second. Only time in which the gateway waits for the client
    /// counts, and the first 5 seconds are free; below it 408, or a response that is cut. Default: 240B.
    pub min_rate: OrNone<Size>,
    /// The most requests at a time of one HTTP/2 connection. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    pub streams: u16,
    /// The most connections of one client address at a time; of IPv6, the addresses of one /64 are one. Default: none.
    #[schemars(with = "OrNone<NonZeroU32>")]
    pub connections_per_ip: OrNone<u32>,
}

// === impl RedirectToHttps ===

impl<'de> Deserialize<'de> for RedirectToHttps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(false) => Ok(Self::Off),
            serde_json::Value::Bool(true) => Ok(Self::Port(HTTPS_PORT)),
            port => serde_json::from_value(port).map(Self::Port).map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for RedirectToHttps {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RedirectToHttps".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "boolean" }, { "type": "integer", "format": "uint16", "minimum": 1, "maximum": u16::MAX }]
        })
    }
}

/// RFC 9110 section 4.2.2.
const HTTPS_PORT: u16 = 443;

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: Size(32 << 10),
            target_bytes: Size(8 << 10),
            headers: 100,
            body: OrNone(None),
            header_timeout: Duration::secs(10),
            handshake_timeout: Duration::secs(10),
            idle_timeout: Duration::secs(75),
            streams: 100,
            body_timeout: Duration::secs(60),
            min_rate: OrNone(Some(Size(240))),
            connections_per_ip: OrNone(None),
        }
    }
}
