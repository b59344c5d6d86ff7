//! `/status`: what runs at this moment, as JSON for people and scripts.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;

use crate::{
    endpoint::Endpoint,
    session::{
        Source,
        store::{Store, StoreState},
    },
    telemetry::{
        access_log::rfc3339,
        metrics::{CacheSample, CacheSource as _, Condition, Label as _, RouteMetrics},
    },
    upstream::Upstream,
};

/// What runs, at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Which headgate this is.
    pub version: &'static str,
    /// The number of the configuration that serves.
    pub generation: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether it shall get traffic.
    pub ready: bool,
    /// The last reload, if there was one.
    pub last_reload: Option<ReloadStatus>,
    /// Where it accepts.
    pub listeners: Vec<ListenerStatus>,
    /// The routes, in the order of the file.
    pub routes: Vec<RouteStatus>,
    /// The upstreams with their endpoints.
    pub upstreams: Vec<UpstreamStatus>,
    /// The sources of sessions, by name.
    pub sessions: Vec<SessionStatus>,
    /// The stores that they ask.
    pub stores: Vec<StoreStatus>,
}

/// How a reload ended.
#[derive(Debug, Clone, Serialize)]
pub struct ReloadStatus {
    /// When, in UTC.
    pub at: String,
    /// Whether what was read then serves now.
    pub accepted: bool,
    /// The problems of a refused one, as the log shows them.
    pub problems: Vec<String>,
}

/// One listener.
#[derive(Debug, Clone, Serialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it accepts: of port 0, the port that the system chose.
    pub address: String,
    /// Open connections.
    pub connections: u64,
}

/// One route.
#[derive(Debug, Clone, Serialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Requests being worked on.
    pub in_flight: u64,
    /// Requests that ended, since the route exists.
    pub requests: u64,
}

/// One upstream.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Requests waiting for an endpoint with room.
    pub queue_length: u64,
    /// Its endpoints, in the order of the file.
    pub endpoints: Vec<EndpointStatus>,
}

/// One endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointStatus {
    /// Its id: the address as written in the file.
    pub endpoint: String,
    /// What a host name resolves to at the moment; empty for an address or a socket file.
    pub addresses: Vec<SocketAddr>,
    /// `up`, `down`, `ejected` or `draining`.
    pub state: &'static str,
    /// Why it is not up.
    pub why: Option<String>,
    /// Its weight.
    pub weight: u32,
    /// Whether it is used only when no other can be.
    pub backup: bool,
    /// Requests it is working on.
    pub in_flight: u32,
    /// Moving average of the time to the first byte, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Attempts that ended, since the endpoint is known.
    pub attempts: u64,
    /// Attempts that got no answer, or a 5xx.
    pub failures: u64,
    /// Pins made to it, since the endpoint is known.
    pub pins: u64,
    /// Sessions bound to it in a store, as far as this gateway remembers them; a pin in a cookie is the client's to know.
    pub bindings: u64,
    /// When those who are pinned to it have to leave, in UTC; none: when their sessions end, or it doesn't drain.
    pub draining_until: Option<String>,
}

/// One source of sessions.
#[derive(Debug, Clone, Serialize)]
pub struct SessionStatus {
    /// Its name.
    pub name: String,
    /// The name of the store it asks; none for tokens that nobody can revoke.
    pub store: Option<String>,
    /// Sessions it remembers, so that the store need not be asked.
    pub remembered: u64,
    /// Memory that they take.
    pub bytes: u64,
}

/// One session store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStatus {
    /// Its name in `stores`, or its address without credentials.
    pub name: String,
    /// `memory`, `redis`, `cluster` or `sentinel`.
    pub kind: &'static str,
    /// `up`, `failing` (connected, and it fails so often that it is not asked until a probe succeeds) or `down`.
    pub state: &'static str,
    /// Since when it is in that state, in UTC.
    pub since: Option<String>,
    /// Whether it tells of every change; otherwise a session that ended is noticed after the source's cache time.
    pub tracking: bool,
    /// Connections after the first one.
    pub reconnects: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

// === impl RouteStatus ===

impl RouteStatus {
    /// A route, now.
    pub fn of(route: &RouteMetrics) -> Self {
        let (in_flight, requests) = (route.requests_in_flight(), route.requests());
        Self { name: route.name().to_owned(), in_flight, requests }
    }
}

// === impl UpstreamStatus ===

impl UpstreamStatus {
    /// An upstream and its endpoints, now. `bound` is how many sessions are bound in a store to the endpoint of that id.
    pub fn of(upstream: &Upstream, bound: &HashMap<String, u64>, now: Instant) -> Self {
        let endpoint = |endpoint: &Arc<Endpoint>| {
            let bindings = bound.get(endpoint.id.as_str()).copied().unwrap_or_default();
            EndpointStatus::of(endpoint, bindings, now)
        };
        Self {
            name: upstream.name().to_string(),
            queue_length: upstream.metrics().queue_length(),
            endpoints: upstream.endpoints().iter().map(endpoint).collect(),
        }
    }
}

// === impl EndpointStatus ===

impl EndpointStatus {
    fn of(endpoint: &Arc<Endpoint>, bindings: u64, now: Instant) -> Self {
        let state = &endpoint.state;
        let condition = endpoint.condition(now);
        let totals = endpoint.metrics.totals();
        Self {
            endpoint: endpoint.id.to_string(),
            addresses: state.addresses().to_vec(),
            state: condition.label(),
            why: match condition {
                Condition::Up => None,
                Condition::Down => Some(state.why_down().unwrap_or_else(|| "its name is not resolved yet".to_owned())),
                Condition::Ejected => state.ejected_for(now).map(ejected),
                Condition::Draining => Some(draining(state.drains_for(now)).to_owned()),
            },
            weight: endpoint.weight,
            backup: endpoint.backup,
            in_flight: state.in_flight(),
            latency_ms: state.latency().average().map(milliseconds),
            attempts: totals.attempts,
            failures: totals.failures,
            pins: totals.pins,
            bindings,
            draining_until: state.drains_for(now).filter(|left| !left.is_zero()).map(in_utc),
        }
    }
}

// === impl SessionStatus ===

impl SessionStatus {
    /// A source of sessions, now.
    pub fn of(source: &Source) -> Self {
        let CacheSample { entries, bytes } = source.sample();
        let store = source.store().map(|store| store.name().to_string());
        Self { name: source.name().to_string(), store, remembered: entries, bytes }
    }
}

// === impl StoreStatus ===

impl StoreStatus {
    /// A store, now.
    pub fn of(store: &Store) -> Self {
        let health = store.health();
        Self {
            name: store.name().to_string(),
            kind: health.kind,
            state: match health.state {
                StoreState::Up => "up",
                StoreState::Failing => "failing",
                StoreState::Down => "down",
            },
            since: health.since.map(|since| rfc3339(since).to_string()),
            tracking: health.tracking,
            reconnects: health.reconnects,
            last_error: health.last_error.map(String::from),
        }
    }
}

fn draining(left: Option<Duration>) -> &'static str {
    match left {
        None => "it finishes what it has; only those who are pinned to it still come",
        Some(Duration::ZERO) => "it finishes what it has; the deadline of those who were pinned to it has passed",
        Some(_) => "it finishes what it has; until the deadline only those who are pinned to it still come",
    }
}

/// The moment that is so far away.
fn in_utc(left: Duration) -> String {
    rfc3339(SystemTime::now() + left).to_string()
}

/// Rounded up, so that it never says 0 s of an endpoint that still is out.
fn ejected(left: Duration) -> String {
    format!("set aside for bad live traffic, for another {} s", left.as_millis().div_ceil(1000))
}

/// To the microsecond: more digits are noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
