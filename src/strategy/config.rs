//! A strategy as written in the file: `strategy: least_conn`, or `strategy: { consistent_hash: { key: client_ip } }`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How an endpoint is picked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "Strategy")]
pub enum Config {
    /// In turns, by weight, without bursts.
    #[default]
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// The one with the fewest requests in flight for its weight.
    LeastConn,
    /// The less loaded of two taken by chance.
    RandomTwo,
    /// The one that answers fastest for its load, by a moving average that remembers peaks.
    PeakEwma,
    /// The same one for the same client address, by weight.
    IpHash,
    /// The same one for the same key; few keys move when endpoints come and go.
    ConsistentHash(ConsistentHash),
    /// The first in the list that is not full.
    First,
}

/// Settings of `consistent_hash`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsistentHash {
    /// What is hashed: `client_ip`, `header:NAME`, `cookie:NAME`, `query:NAME`, `host`, `path` or `uri`. A request
    /// without it goes by round_robin.
    pub key: HashKey,
    /// The most requests in flight of an endpoint relative to the average; beyond it the next one on the ring takes
    /// them. Default: 1.25.
    #[serde(default = "load_bound")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub load_bound: f64,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The client's address (behind a trusted proxy: what the proxy says).
    ClientIp,
    /// A header's value.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's value.
    Query(String),
    /// The host.
    Host,
    /// The path, in its normal form.
    Path,
    /// The path with the query.
    Uri,
}

// === impl ConsistentHash ===

fn load_bound() -> f64 {
    1.25
}

// === impl HashKey ===

impl FromStr for HashKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str =
            "a key is `client_ip`, `header:NAME`, `cookie:NAME`, `query:NAME`, `host`, `path` or `uri`";
        let named = |name: &str| match name.is_empty() || name.contains([' ', ',', ';', '=', ':']) || !name.is_ascii() {
            true => Err(EXPECTED.to_owned()),
            false => Ok(name.to_owned()),
        };
        match text.split_once(':') {
            None => match text {
                "client_ip" => Ok(Self::ClientIp),
                "host" => Ok(Self::Host),
                "path" => Ok(Self::Path),
                "uri" => Ok(Self::Uri),
                "ip" | "remote_addr" | "$remote_addr" | "source" | "source_ip" | "client" => {
                    Err("the client's address is written `client_ip`".into())
                }
                "url" | "$request_uri" => Err("the path with the query is written `uri`".into()),
                "header" | "cookie" | "query" => Err(format!("which one? As in `{text}:NAME`")),
                _ => Err(EXPECTED.into()),
            },
            Some(("header", name)) => named(name).map(|name| Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) => named(name).map(Self::Cookie),
            Some(("query", name)) => named(name).map(Self::Query),
            Some(_) => Err(EXPECTED.into()),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Uri => f.write_str("uri"),
        }
    }
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for HashKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for HashKey {
    fn schema_name() -> Cow<'static, str> {
        "HashKey".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(client_ip|host|path|uri|(header|cookie|query):[^ ,;=:]+)$",
            "x-text": "HashKey",
        })
    }
}
