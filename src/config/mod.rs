//! What was written: the file `gateway.yaml` as types. `compile` takes a [`Config`] by value and makes it run.
//!
//! One file a section. serde decodes, schemars describes; defaults and units live with the types and nowhere else.

mod address;
mod attempt;
mod expand;
mod fitness;
mod foreign;
mod listener;
mod load;
mod mask;
pub(crate) mod names;
mod problem;
mod process;
mod route;
mod schema;
mod session;
mod source;
mod sticky;
mod store;
mod telemetry;
mod text;
mod tls;
mod traps;
mod tree;
mod unit;
mod upstream;
mod validate;
mod want;
mod words;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use address::{EndpointAddress, ListenAddress, Network, Place};
pub use attempt::{Condition, Retry, RetryMethods, RetryOverrides, TimeoutOverrides, Timeouts};
pub(crate) use fitness::passing;
pub use fitness::{GrpcService, HealthCheck, Outlier, StatusRange};
pub use listener::{Limits, Listener, RedirectToHttps, Underscores};
pub use load::{Dependencies, LoadError, Loaded, load};
pub use problem::{At, Problem, Severity};
pub use process::{Admin, Process, Secret, Threads};
pub use route::{Action, Method, PluginUse, Redirect, Respond, Route, WeightedUpstream};
pub use schema::{key_paths, schema};
pub use session::{
    CacheTime, Cookies, FieldPath, Jwt, KeyParts, Otherwise, Require, RevokedKey, SessionFormat, SessionKey,
    SessionRule, SessionSource, WhenStoreDown,
};
pub use source::LocatedProblem;
pub use sticky::{SameSite, Secure, Sticky, StickyCookie, WhenDown};
pub use store::{File, RedisUrl, Sentinel, SentinelAddress, Store, StoreSettings, StoreUse};
pub use telemetry::{AccessLog, AccessLogFormat, Log, LogFormat, LogLevel, Telemetry};
pub use tls::{Certificate, ClientAuth, ClientAuthMode, Tls, TlsVersion};
pub use unit::{Duration, OneOrMany, OrNone, OrOff, Percent, Size};
pub use upstream::{Endpoint, EndpointTls, EndpointTlsSettings, HostHeader, Keepalive, Queue, Upstream};

/// The whole file, included files merged in.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files with more listeners, upstreams and routes: paths or patterns (`conf.d/*.yaml`), relative to this file.
    /// Default: [].
    #[serde(default)]
    pub include: Vec<String>,
    /// The process itself. Read at start only.
    #[serde(default)]
    pub process: Process,
    /// The admin listener: metrics, health and status of the gateway itself.
    #[serde(default)]
    pub admin: Admin,
    /// What is logged, and how.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// The addresses that clients connect to.
    #[schemars(length(min = 1))]
    pub listeners: Vec<Listener>,
    /// What holds for every cookie that the gateway makes itself.
    #[serde(default)]
    pub cookies: Cookies,
    /// Where sessions are kept, by name, for sources that share a store: `memory`, `redis://HOST:PORT/DB`, `rediss://`
    /// (TLS), or settings.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" }))]
    pub stores: BTreeMap<String, Store>,
    /// The sources of sessions, by name: where a request says its session's id, and what says that the session is alive.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" }))]
    pub sessions: BTreeMap<String, SessionSource>,
    /// The groups of servers behind the gateway, by name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" }))]
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which requests go where. The most specific match wins; the order decides only between equals.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// The settings' schema of each plugin, by the plugin's name.
pub type PluginSchemas = BTreeMap<String, schemars::Schema>;

#[cfg(test)]
pub(crate) mod tests;
