//! A route's `sticky`: how a client's requests stay on one endpoint.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::unit::Duration;

/// How a client's requests stay on one endpoint: by a cookie of ours (`cookie`), by one that holds as long as the
/// session is alive (both), or by a binding that the session's store keeps (`session`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = some_tie)]
pub struct Sticky {
    /// The cookie that we set: its name, or its name with settings. It names the endpoint by a keyed hash: no address, no
    /// number, nothing that a client could choose. Absent: none is set, and the session's store keeps the endpoint.
    #[serde(default)]
    pub cookie: Option<StickyCookie>,
    /// The name of an entry of `sessions`: the endpoint is kept as long as the session is alive. Absent: as long as the
    /// cookie.
    #[serde(default)]
    pub session: Option<String>,
    /// How long an endpoint is kept. Absent: until the browser closes; without a cookie, 1d after the last request.
    #[serde(default)]
    pub max_age: Option<Duration>,
    /// What happens while the endpoint is down: `repin` moves to another and stays there, `fail` answers 503. Default:
    /// repin.
    #[serde(default)]
    pub when_down: WhenDown,
}

/// The cookie that keeps an endpoint; always HttpOnly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// The paths it is sent for.
    pub path: Option<String>,
    /// The domain it is sent to, subdomains included.
    pub domain: Option<String>,
    /// Whether it is sent with requests from other sites.
    pub same_site: SameSite,
    /// Whether it is sent over TLS only.
    pub secure: Secure,
    /// How long the browser keeps it.
    pub max_age: Option<Duration>,
}

/// A sticky cookie with settings.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "StickyCookieSettings")]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
    /// The paths that the browser sends it for: this one and all below. Default: /.
    #[serde(default)]
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
    /// The domain that the browser sends it to, with all its subdomains. Absent: only the host that set it.
    #[serde(default)]
    #[schemars(length(min = 1))]
    domain: Option<String>,
    /// Whether the browser sends it with requests that come from other sites: `lax`, `strict` or `none`. Default: lax.
    #[serde(default)]
    same_site: SameSite,
    /// Whether the browser sends it over TLS only: `auto` (where it was set over TLS), `true` or `false`. Default: auto.
    #[serde(default)]
    secure: Secure,
    /// How long the browser keeps it; the same as `max_age` of `sticky`. Absent: until it closes.
    #[serde(default)]
    max_age: Option<Duration>,
}

/// Whether a cookie is sent with requests from other sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Only when the user follows a link.
    #[default]
    Lax,
    /// Never.
    Strict,
    /// Always; only over TLS.
    None,
}

/// Whether a cookie is sent over TLS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secure {
    /// Where it was set over TLS.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What happens while the endpoint is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenDown {
    /// Another is chosen, and kept.
    #[default]
    Repin,
    /// 503, until it is back.
    Fail,
}

// === impl Sticky ===

fn some_tie(schema: &mut schemars::Schema) {
    super::schema::at_least_one(schema, &["cookie", "session"]);
}

// === impl StickyCookie ===

impl<'de> Deserialize<'de> for StickyCookie {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let value = match value {
            serde_json::Value::String(name) => serde_json::json!({ "name": name }),
            value => value,
        };
        let Settings { name, path, domain, same_site, secure, max_age } =
            serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Self { name, path, domain, same_site, secure, max_age })
    }
}

impl JsonSchema for StickyCookie {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StickyCookie".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let settings = generator.subschema_for::<Settings>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, settings] })
    }
}

// === impl Secure ===

impl<'de> Deserialize<'de> for Secure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(true) => Ok(Self::Always),
            serde_json::Value::Bool(false) => Ok(Self::Never),
            serde_json::Value::String(word) if word == "auto" => Ok(Self::Auto),
            _ => Err(D::Error::custom("`auto`, `true` or `false`")),
        }
    }
}

impl Serialize for Secure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Always => serializer.serialize_bool(true),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}

impl JsonSchema for Secure {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secure".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string", "const": "auto" }, { "type": "boolean" }] })
    }
}
