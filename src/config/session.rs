//! `cookies` and `sessions`, and a route's `session`: where a session's id is, when the session is alive, and what a
//! route makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::process::Secret;
use super::store::{File, StoreUse};
use super::text::text;
use super::unit::Duration;

/// What holds for every cookie that the gateway makes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cookies {
    /// The keys of these cookies, the same on every replica: the first signs, all verify. To change it, put the new one
    /// first and take the old one out when its cookies have ended. Default: [] (one is made, and kept in
    /// `process.state_dir`).
    #[serde(default)]
    pub secrets: Vec<Secret>,
}

/// A source of sessions: where a request says its session's id, and what says that the session is alive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_place)]
pub struct SessionSource {
    /// The cookie that holds the id.
    #[serde(default)]
    pub cookie: Option<String>,
    /// The header that holds the id.
    #[serde(default)]
    pub header: Option<String>,
    /// `true`: the bearer token of `Authorization` is or holds the id.
    #[serde(default)]
    #[schemars(extend("const" = true))]
    pub bearer: Option<bool>,
    /// How the id is written: `plain` (as it is), `express` (signed by express-session), `jwt` (a signed token).
    pub format: SessionFormat,
    /// The secrets of `express`, as the application has them: any of them verifies. Default: [] (none, as `plain` and
    /// `jwt` want it).
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// What makes a token of `jwt` valid. Absent: the format is another.
    #[serde(default)]
    pub jwt: Option<Jwt>,
    /// Where sessions are kept: `memory`, `redis://HOST:PORT/DB`, `rediss://` (TLS), the name of an entry of `stores`, or
    /// settings. Absent: only `jwt` can be without, whose token is valid by itself.
    #[serde(default)]
    pub store: Option<StoreUse>,
    /// The store's key of a session, with `{id}` where the id stands; inside of `{ .. }` it has to be quoted. Default:
    /// sess:{id} (as connect-redis has it).
    #[serde(default)]
    pub key: Option<SessionKey>,
    /// How long a request waits for the store. Default: 50ms.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// How long an answer of the store is taken without asking again; a Redis that can push changes ends it sooner, within
    /// milliseconds. `0s` asks for every request. Default: 2s.
    #[serde(default)]
    pub cache: Option<CacheTime>,
    /// What becomes of requests while the store can't be asked: `allow` lets them pass as if their session were alive
    /// (whoever can bring the store down is let in where a session is required), `deny` answers 503 where one is required.
    /// It has to be written where a Redis is asked: there is no default.
    #[serde(default)]
    pub when_store_down: Option<WhenStoreDown>,
}

/// How a session's id is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionFormat {
    /// The id itself, without a signature.
    Plain,
    /// `s:ID.SIGNATURE`, percent-encoded, as express-session writes it.
    Express,
    /// A JSON Web Token: HS256, RS256 or ES256.
    Jwt,
}

/// What becomes of requests while the store can't be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStoreDown {
    /// They pass, as if their session were alive.
    Allow,
    /// They are answered with 503 where a session is required.
    Deny,
}

/// What makes a token valid.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = some_key)]
pub struct Jwt {
    /// A file with the public keys of RS256 and ES256, as a JSON Web Key Set; it is watched. Absent: none.
    #[serde(default)]
    pub jwks: Option<File>,
    /// The secrets of HS256: any of them verifies. Default: [] (none).
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// What the claim `iss` must be. Absent: anything.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
    /// What the claim `aud` must be, or must hold. Absent: anything.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub audience: Option<String>,
    /// The store's key of a revoked token, with `{jti}` where its id stands, as in `revoked:{jti}`: where the store has
    /// it, the token is dead. Absent: no token is revoked before it expires.
    #[serde(default)]
    pub revoked_key: Option<RevokedKey>,
}

/// The store's key of a session: a text with `{id}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey(pub KeyParts);

/// The store's key of a revoked token: a text with `{jti}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedKey(pub KeyParts);

/// What stands before and after the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    /// Before it.
    pub before: String,
    /// After it.
    pub after: String,
}

/// How long an answer is kept; zero keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTime(pub std::time::Duration);

/// What a route makes of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = some_use)]
pub struct SessionRule {
    /// The name of an entry of `sessions`.
    pub source: String,
    /// `true`: the session must be alive; `{ field: user.id }`: it must be alive and have that field, as a live session
    /// need not be a user's who has logged in. Absent: nothing is required.
    #[serde(default)]
    pub require: Option<Require>,
    /// What answers where it isn't so: `401`, `403`, or `{ redirect: /login }`. Default: 401.
    #[serde(default)]
    pub otherwise: Option<Otherwise>,
    /// Headers for the application, each with the field of the session that it tells; the client's own headers of that
    /// name never pass, on no route to the same upstream. Default: {} (none).
    #[serde(default)]
    pub forward: BTreeMap<String, FieldPath>,
}

/// What is required of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// That it is alive.
    Live,
    /// That it is alive and has this field.
    Field(FieldPath),
}

/// What is required of a session's content.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RequireField")]
#[serde(deny_unknown_fields)]
struct RequireField {
    /// The field that must be there: neither false, null nor empty. A path of names, as in `passport.user`.
    field: FieldPath,
}

/// What answers a request without the session that is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// This status: 401 or 403.
    Status(u16),
    /// A redirect.
    Redirect(String),
}

/// Where a request without the session that is required is sent.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OtherwiseRedirect")]
#[serde(deny_unknown_fields)]
struct OtherwiseRedirect {
    /// Where to: a path or a URL, as in `/login`; another route must answer there.
    #[schemars(length(min = 1))]
    redirect: String,
}

/// The way to a field through a session's objects: `passport.user`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(pub Vec<String>);

// === impl SessionSource ===

fn one_place(schema: &mut schemars::Schema) {
    super::schema::exactly_one(schema, &["cookie", "header", "bearer"]);
}

impl SessionSource {
    /// How long a request waits for the store.
    #[must_use]
    pub fn timeout(&self) -> std::time::Duration {
        self.timeout.map_or(std::time::Duration::from_millis(50), |timeout| timeout.0)
    }

    /// How long an answer of the store is taken without asking again.
    #[must_use]
    pub fn cache(&self) -> std::time::Duration {
        self.cache.map_or(std::time::Duration::from_secs(2), |cache| cache.0)
    }

    /// The store's key of a session.
    #[must_use]
    pub fn key(&self) -> KeyParts {
        let usual = || KeyParts { before: "sess:".into(), after: String::new() };
        self.key.as_ref().map_or_else(usual, |key| key.0.clone())
    }
}

// === impl Jwt ===

fn some_key(schema: &mut schemars::Schema) {
    super::schema::at_least_one(schema, &["jwks", "secrets"]);
}

// === impl SessionKey, RevokedKey ===

fn key_parts(text: &str, placeholder: &str) -> Result<KeyParts, String> {
    let name = placeholder.trim_matches(['{', '}']);
    let Some((before, after)) = text.split_once(placeholder) else {
        let foreign = ["%s", ":id", "$id", "<id>", "{sid}", "{session}", "{key}", "{token}", "{id}", "{jti}", "*"];
        return Err(match foreign.iter().find(|foreign| text.contains(*foreign)) {
            Some(foreign) => format!("write `{placeholder}` instead of `{foreign}`"),
            None => format!("it says where the {name} stands, as in `{text}{placeholder}`"),
        });
    };
    match [before, after].concat().contains(['{', '}']) {
        true => Err(format!("`{placeholder}` stands in it once, and there are no other braces")),
        false => Ok(KeyParts { before: before.to_owned(), after: after.to_owned() }),
    }
}

impl FromStr for SessionKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        key_parts(text, "{id}").map(Self)
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{id}}{}", self.0.before, self.0.after)
    }
}

text!(SessionKey, "SessionKey", r"\{id\}");

impl FromStr for RevokedKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        key_parts(text, "{jti}").map(Self)
    }
}

impl fmt::Display for RevokedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{jti}}{}", self.0.before, self.0.after)
    }
}

text!(RevokedKey, "RevokedKey", r"\{jti\}");

// === impl CacheTime ===

impl FromStr for CacheTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0s" | "0ms" => Ok(Self(std::time::Duration::ZERO)),
            "0" | "off" | "none" | "no" | "false" | "never" => Err("to ask for every request, write `0s`".into()),
            _ => text.parse().map(|duration: Duration| Self(duration.0)),
        }
    }
}

impl fmt::Display for CacheTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_zero() {
            true => f.write_str("0s"),
            false => Duration(self.0).fmt(f),
        }
    }
}

text!(CacheTime, "CacheTime", r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$");

// === impl SessionRule ===

fn some_use(schema: &mut schemars::Schema) {
    super::schema::at_least_one(schema, &["require", "forward"]);
}

// === impl Require ===

impl<'de> Deserialize<'de> for Require {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(true) => Ok(Self::Live),
            value => {
                let settings: RequireField = serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(Self::Field(settings.field))
            }
        }
    }
}

impl JsonSchema for Require {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Require".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let settings = generator.subschema_for::<RequireField>();
        schemars::json_schema!({ "anyOf": [{ "type": "boolean", "const": true }, settings] })
    }
}

// === impl Otherwise ===

impl<'de> Deserialize<'de> for Otherwise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value.as_u64() {
            Some(401) => Ok(Self::Status(401)),
            Some(403) => Ok(Self::Status(403)),
            _ => {
                let settings: OtherwiseRedirect = serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(Self::Redirect(settings.redirect))
            }
        }
    }
}

impl JsonSchema for Otherwise {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Otherwise".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let settings = generator.subschema_for::<OtherwiseRedirect>();
        schemars::json_schema!({ "anyOf": [{ "type": "integer", "enum": [401, 403] }, settings] })
    }
}

// === impl FieldPath ===

impl FromStr for FieldPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(['$', '/']) || text.contains(['[', ']', '{', '}']) {
            return Err("a field is a path of names, as in `passport.user`".into());
        }
        if let Some(rest) = text.strip_prefix("session.").or_else(|| text.strip_prefix("req.session.")) {
            return Err(format!("the path begins in the session: `{rest}`"));
        }
        if text.contains(['=', '<', '>']) {
            return Err(
                "a field is there or not, and never compared: name one that only those have who are meant".into()
            );
        }
        match text.split('.').any(str::is_empty) {
            true => Err("a field is a path of names with a `.` between two, as in `passport.user`".into()),
            false => Ok(Self(text.split('.').map(str::to_owned).collect())),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

text!(FieldPath, "FieldPath", r"^[^.]+(\.[^.]+)*$");
