//! `retry` and `timeouts` of an upstream, and what a route says differently: how long and how often it is tried.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::unit::{Duration, OrNone, Percent};

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
