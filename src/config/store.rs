//! `stores`, and what `store:` of a session source says: where sessions are looked up. Credentials are never printed:
//! no sentence of a parser here quotes what was written.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::process::Secret;
use super::text::text_schema;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this process.
    Memory,
    /// One Redis server.
    Redis(RedisUrl),
    /// Redis with settings.
    Settings(Box<StoreSettings>),
}

/// A store, or the name of an entry of `stores`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUse {
    /// The name of an entry of `stores`.
    Named(String),
    /// A store of the source's own.
    Own(Store),
}

/// Redis: one server (`url`), a cluster, or what Sentinels name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_way)]
pub struct StoreSettings {
    /// One server: `redis://HOST:PORT/DB`, or `rediss://` for TLS.
    #[serde(default)]
    pub url: Option<RedisUrl>,
    /// Some of the servers of a Redis Cluster, each as `redis://HOST:PORT` or `rediss://`; they name the others.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub cluster: Option<Vec<RedisUrl>>,
    /// The Sentinels to ask who is master.
    #[serde(default)]
    pub sentinel: Option<Sentinel>,
    /// The user (ACL) to log in as. Absent: that of the URL, else `default`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// The password, as it is: only in a URL `@`, `/`, `#` and `%` are escaped. Absent: that of the URL, else none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file of the certificates (PEM) to trust for `rediss://` and `tls: true`. Absent: the public ones.
    #[serde(default)]
    pub ca: Option<File>,
}

/// A master that Sentinels know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sentinel {
    /// The name by which the Sentinels know the master, as in their `sentinel monitor NAME ..`.
    #[schemars(length(min = 1))]
    pub master: String,
    /// The Sentinels: `HOST:PORT`, or a URL: `rediss://HOST:PORT` where they are spoken to in TLS,
    /// `redis://:PASSWORD@HOST:PORT` where they ask for a password of their own.
    #[schemars(length(min = 1))]
    pub addresses: Vec<SentinelAddress>,
    /// Whether the master is spoken to in TLS. Absent: as the Sentinels are.
    #[serde(default)]
    pub tls: Option<bool>,
    /// The number of the database on the master. Default: 0.
    #[serde(default)]
    pub db: u16,
}

/// A Redis server: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`, or `rediss://` for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether it is spoken to in TLS.
    pub tls: bool,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// 6379 where none is written.
    pub port: u16,
    /// The number of the database.
    pub db: u16,
    /// The user, decoded.
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<Secret>,
}

/// A Sentinel: `HOST[:PORT]` or a URL; port 26379 where none is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelAddress(pub RedisUrl);

/// A file that the configuration names, and what `load` read from it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct File {
    /// Where it is; relative paths are relative to the file that names it.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

// === impl Store ===

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            _ => text.parse().map(Self::Redis),
        }
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value.as_str() {
            Some(text) => text.parse().map_err(D::Error::custom),
            None => serde_json::from_value(value).map(Self::Settings).map_err(D::Error::custom),
        }
    }
}

text_schema!(Store, "Store", r"^(memory|rediss?://.+)$", StoreSettings);

// === impl StoreUse ===

impl FromStr for StoreUse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        match text {
            "memory" => Ok(Self::Own(Store::Memory)),
            _ if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(named) => {
                Ok(Self::Named(text.to_owned()))
            }
            _ => text.parse().map(Self::Own),
        }
    }
}

impl<'de> Deserialize<'de> for StoreUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value.as_str() {
            Some(text) => text.parse().map_err(D::Error::custom),
            None => {
                let settings = serde_json::from_value(value).map(Store::Settings);
                settings.map(Self::Own).map_err(D::Error::custom)
            }
        }
    }
}

text_schema!(StoreUse, "StoreUse", r"^(memory|rediss?://.+|[A-Za-z0-9][A-Za-z0-9_.-]*)$", StoreSettings);

// === impl StoreSettings ===

fn one_way(schema: &mut schemars::Schema) {
    super::schema::exactly_one(schema, &["url", "cluster", "sentinel"]);
}

// === impl RedisUrl ===

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What to write instead of a URL of another kind.
fn other_scheme(scheme: &str) -> String {
    match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" | "keydb" | "dragonfly" => "write `redis://`".into(),
        "rediss" | "valkeys" | "redis+tls" | "redis+ssl" | "tls" | "ssl" | "rediss+tls" => "TLS is `rediss://`".into(),
        "redis-sentinel" | "redis+sentinel" | "rediss+sentinel" | "sentinel" | "rediss-sentinel" => {
            "Sentinels are `{ sentinel: { master: NAME, addresses: [HOST:26379] } }`".into()
        }
        "redis-cluster" | "redis+cluster" | "rediss-cluster" | "rediss+cluster" | "cluster" => {
            "a cluster is `{ cluster: [redis://HOST:6379] }`".into()
        }
        "unix" | "redis+unix" | "redis-socket" | "redis+socket" => {
            "Redis is spoken to over TCP: `redis://127.0.0.1:6379`".into()
        }
        "http" | "https" | "tcp" => "Redis is `redis://HOST:6379`, or `rediss://` for TLS".into(),
        "memory" => "write `memory`".into(),
        _ => "sessions are looked up in Redis, or what speaks its protocol: `redis://HOST:6379`, `rediss://` for TLS"
            .into(),
    }
}

impl RedisUrl {
    /// Reads a URL. No sentence quotes what was written.
    fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text.split_once(':') {
                Some(("redis" | "rediss", _)) => "two slashes follow the scheme, as in `redis://HOST:6379`".into(),
                Some(("unix", _)) => other_scheme("unix"),
                _ => "a store is `redis://HOST:6379`, `rediss://HOST:6379` for TLS, or `memory`".into(),
            });
        };
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(other_scheme(scheme)),
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), decode_credentials)?;
        if rest.contains('#') {
            return Err("a `#` in a password is written `%23`, and a store has no other use for one".into());
        }
        if rest.contains('?') {
            return Err(
                "a store's URL has no parameters: the database is `/0`, a `?` in a password is written `%3F`".into()
            );
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let db = match path.trim_end_matches('/') {
            "" => 0,
            digits => digits.parse().map_err(|_| "what follows the address is the number of a database, as in `/0`")?,
        };
        let (host, port) = host_and_port(authority, default_port)?;
        Ok(Self { tls, host, port, db, user, password })
    }
}

fn decode_credentials(text: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let some = |text: String| (!text.is_empty()).then_some(text);
    let user = some(decode(user)?);
    let password = password.map(decode).transpose()?.and_then(some).map(Secret);
    if user.is_some() && password.is_none() {
        return Err("a user comes with a password: `redis://USER:PASSWORD@HOST`; a password alone follows a colon: \
                    `redis://:PASSWORD@HOST`"
            .into());
    }
    Ok((user, password))
}

/// Percent-decodes a user or password, and refuses what another reader of URLs would take otherwise.
fn decode(text: &str) -> Result<String, String> {
    let escapes = [('@', "%40"), ('/', "%2F"), ('#', "%23"), ('?', "%3F"), (' ', "%20"), ('[', "%5B"), (']', "%5D")];
    if let Some((c, escaped)) = escapes.iter().find(|(c, _)| text.contains(*c)) {
        return Err(format!(
            "a `{c}` in a user or password is written `{escaped}` in a URL; `{{ url: .., password: .. }}` takes it as it is"
        ));
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let code = after.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if code.is_none() {
            return Err("a `%` in a user or password is written `%25` in a URL; `{ url: .., password: .. }` takes it \
                        as it is"
                .into());
        }
        rest = after;
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "the user or password is not UTF-8 once it is decoded".into())
}

fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or(rest)) })
        }
        Some(_) => return Err("what stands in brackets is an IPv6 address, as in `redis://[::1]:6379`".into()),
        None if text.starts_with('[') => return Err("an IPv6 address ends with `]`, as in `redis://[::1]:6379`".into()),
        None if text.parse::<std::net::Ipv6Addr>().is_ok() || text.starts_with("::") => {
            return Err("an IPv6 address stands in brackets, as in `redis://[::1]:6379`".into());
        }
        None if text.matches(':').count() > 1 || (text.starts_with(':') && text.parse::<u16>().is_err()) => {
            return Err("an `@` stands between a password and the host: `redis://USER:PASSWORD@HOST`".into());
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.map(str::parse) {
        None => default_port,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err("a port is a number from 1 to 65535".into()),
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match host {
        "" => Err("the host is missing, as in `redis://127.0.0.1:6379`".into()),
        _ if text.starts_with('[') || host.chars().all(named) => Ok((host.to_owned(), port)),
        _ => Err("a host is made of letters, digits, `-` and `.`, or an IP address".into()),
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, REDIS_PORT)
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

text_schema!(RedisUrl, "RedisUrl", r"^rediss?://.+$");

/// As it may be shown: without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}/{}", self.port, self.db)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl SentinelAddress ===

impl FromStr for SentinelAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = match text.contains("://") {
            true => RedisUrl::parse(text, SENTINEL_PORT)?,
            false => RedisUrl::parse(&format!("redis://{text}"), SENTINEL_PORT)?,
        };
        match url.db {
            0 => Ok(Self(url)),
            _ => Err("a Sentinel has no databases; the master's is `db`, beside `master`".into()),
        }
    }
}

impl<'de> Deserialize<'de> for SentinelAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

text_schema!(SentinelAddress, "SentinelAddress", r"^(rediss?://)?.+$");

// === impl File ===

impl File {
    /// The bytes of a file in DER, which `load` hands on a character a byte; none where it is something else.
    pub fn der(&self) -> Option<Vec<u8>> {
        let bytes: Result<Vec<u8>, _> = self.text.chars().map(u8::try_from).collect();
        bytes.ok().filter(|bytes| bytes.first() == Some(&SEQUENCE))
    }
}

/// What every file in DER that is named here begins with.
pub(super) const SEQUENCE: u8 = 0x30;

impl FromStr for File {
    type Err = String;

    /// Only that a path is written; the validator reads the file, as it knows where the path begins.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the path of a file is missing".into()),
            _ => Ok(Self { path: text.into(), text: String::new() }),
        }
    }
}

text_schema!(File, "File", r"^.+$");

/// It may hold a secret.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}
