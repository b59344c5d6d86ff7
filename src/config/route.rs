//! `routes`: which requests, and what is done with them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::attempt::{RetryOverrides, TimeoutOverrides};
use super::text::text;
use super::unit::OneOrMany;
use crate::strategy;

/// A match and what to do. Everything written must match; what isn't written matches all.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_action_one_path)]
pub struct Route {
    /// Its name in metrics, logs and `/status`. Absent: made of the match, as in `shop.example.com/account`.
    #[serde(default)]
    pub name: Option<String>,
    /// The name of the only listener whose requests it takes. Absent: every listener's.
    #[serde(default)]
    pub listener: Option<String>,
    /// The host or hosts: `shop.example.com`, or `"*.example.com"`. Default: [] (any).
    #[serde(default)]
    pub host: OneOrMany<String>,
    /// The exact path.
    #[serde(default)]
    #[schemars(regex(pattern = "^/"))]
    pub path: Option<String>,
    /// The path, or what it begins with, by whole segments: `/api` matches `/api` and `/api/x`, never `/apix`.
    #[serde(default)]
    #[schemars(regex(pattern = "^/"))]
    pub path_prefix: Option<String>,
    /// A regular expression for the whole path.
    #[serde(default)]
    pub path_regex: Option<String>,
    /// The methods. Absent: any.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<Method>>,
    /// Headers and the exact value of each.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters and the exact value of each.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The upstream that answers.
    #[serde(default)]
    pub upstream: Option<String>,
    /// The upstreams that answer, each with its share of the requests (canary).
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub upstreams: Option<Vec<WeightedUpstream>>,
    /// Answers with a redirect.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    /// Answers with a fixed response.
    #[serde(default)]
    pub respond: Option<Respond>,
    /// How an endpoint is picked for this route. Absent: the upstream's strategy.
    #[serde(default)]
    pub strategy: Option<strategy::Config>,
    /// What this route says differently from its upstream's `retry`.
    #[serde(default)]
    pub retry: RetryOverrides,
    /// What this route says differently from its upstream's `timeouts`.
    #[serde(default)]
    pub timeouts: TimeoutOverrides,
    /// What is done to requests and responses, in this order (responses in reverse). Default: [] (nothing).
    #[serde(default)]
    pub plugins: Vec<PluginUse>,
}

/// What a route does: exactly one of its keys `upstream`, `upstreams`, `redirect` and `respond`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// One upstream, by name.
    Upstream(&'a str),
    /// Several, each with its share.
    Upstreams(&'a [WeightedUpstream]),
    /// A redirect.
    Redirect(&'a Redirect),
    /// A fixed response.
    Respond(&'a Respond),
}

/// The name of a method, in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub String);

/// One of the upstreams of a route, and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedUpstream {
    /// The upstream's name.
    pub name: String,
    /// Its share of the requests relative to the others; 0 takes none.
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where to: a URL or a path. It knows `{scheme}`, `{host}`, `{path}`, `{query}` and `{uri}`.
    pub to: String,
    /// 301, 302, 303, 307 or 308. Default: 308.
    #[serde(default = "permanent")]
    #[schemars(extend("enum" = [301, 302, 303, 307, 308]))]
    pub status: u16,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// Its status. Default: 200.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Its body, as text/plain. Default: "" (none).
    pub body: String,
}

/// A plugin by its name, with its settings: `- request_id`, or `- headers: { .. }`.
#[derive(Clone, PartialEq)]
pub struct PluginUse {
    /// The plugin's name.
    pub name: String,
    /// Its settings, checked against the plugin's own schema; `{}` where only the name is written.
    pub settings: serde_json::Value,
}

// === impl Route ===

fn one_action_one_path(schema: &mut schemars::Schema) {
    super::schema::exactly_one(schema, &["upstream", "upstreams", "redirect", "respond"]);
    super::schema::at_most_one(schema, &["path", "path_prefix", "path_regex"]);
}

impl Route {
    /// What it does. Always something in a configuration that was loaded.
    #[must_use]
    pub fn action(&self) -> Option<Action<'_>> {
        let upstream = self.upstream.as_deref().map(Action::Upstream);
        let upstreams = self.upstreams.as_deref().map(Action::Upstreams);
        let redirect = self.redirect.as_ref().map(Action::Redirect);
        let respond = self.respond.as_ref().map(Action::Respond);
        upstream.or(upstreams).or(redirect).or(respond)
    }
}

// === impl Method ===

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > 32 || !text.bytes().all(token) {
            return Err("a method is one word in capitals, as in `GET`".into());
        }
        match text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            true => Err(format!("methods are written in capitals: `{}`", text.to_ascii_uppercase())),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text!(Method, "Method", "^[A-Z_-]+$");

// === impl Redirect ===

fn permanent() -> u16 {
    308
}

// === impl Respond ===

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, body: String::new() }
    }
}

// === impl PluginUse ===

impl<'de> Deserialize<'de> for PluginUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if let Some(name) = value.as_str() {
            return Ok(Self { name: name.to_owned(), settings: serde_json::json!({}) });
        }
        let single = value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
        match single {
            Some((name, settings)) => Ok(Self { name: name.clone(), settings: settings.clone() }),
            None => Err(D::Error::custom("a plugin's name, or its name with settings")),
        }
    }
}

impl JsonSchema for PluginUse {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PluginUse".into()
    }

    /// Empty: the plugins are not known here. `schema` puts theirs in its place.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({})
    }
}

/// Settings may hold a secret: only the name is shown.
impl fmt::Debug for PluginUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginUse").field("name", &self.name).finish_non_exhaustive()
    }
}
