//! `/status`: what runs at this moment, as JSON for people and scripts.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    endpoint::Endpoint,
    telemetry::metrics::{Condition, Label as _, RouteMetrics},
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
    /// An upstream and its endpoints, now.
    pub fn of(upstream: &Upstream, now: Instant) -> Self {
        Self {
            name: upstream.name().to_string(),
            queue_length: upstream.metrics().queue_length(),
            endpoints: upstream.endpoints().iter().map(|endpoint| EndpointStatus::of(endpoint, now)).collect(),
        }
    }
}

// === impl EndpointStatus ===

impl EndpointStatus {
    fn of(endpoint: &Arc<Endpoint>, now: Instant) -> Self {
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
                Condition::Draining => Some("it finishes what it has and takes nothing new".to_owned()),
            },
            weight: endpoint.weight,
            backup: endpoint.backup,
            in_flight: state.in_flight(),
            latency_ms: state.latency().average().map(milliseconds),
            attempts: totals.attempts,
            failures: totals.failures,
        }
    }
}

/// Rounded up, so that it never says 0 s of an endpoint that still is out.
fn ejected(left: Duration) -> String {
    format!("set aside for bad live traffic, for another {} s", left.as_millis().div_ceil(1000))
}

/// To the microsecond: more digits are noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
