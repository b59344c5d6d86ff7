//! The running gateway as the pages ask for it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::Source;
use super::status::{ListenerStatus, ReloadStatus, RouteStatus, Status, UpstreamStatus};
use crate::reload::{LastReload, Reloader};
use crate::snapshot::Current;
use crate::telemetry::access_log::rfc3339;

/// What runs: the answer to `/status` and `/readyz`.
pub struct GatewayStatus {
    /// When the process began.
    pub started: Instant,
    /// What serves requests.
    pub current: Arc<Current>,
    /// How the last reload went.
    pub reloader: Arc<Reloader>,
    /// The listeners' real addresses, in the order of the file.
    pub addresses: Vec<String>,
    /// Turns true when the gateway stops.
    pub stopping: watch::Receiver<bool>,
}

impl Source for GatewayStatus {
    fn is_ready(&self) -> bool {
        !*self.stopping.borrow()
    }

    fn status(&self) -> Status {
        let (snapshot, now) = (self.current.pin(), Instant::now());
        let listener = |(listener, address): (&crate::snapshot::Listener, &String)| ListenerStatus {
            name: listener.name.to_string(),
            address: address.clone(),
            connections: listener.metrics.active(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION"),
            generation: snapshot.generation,
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: self.is_ready(),
            last_reload: self.reloader.last().map(reload),
            listeners: snapshot.listeners.iter().zip(&self.addresses).map(listener).collect(),
            routes: snapshot.routes.iter().map(|route| RouteStatus::of(&route.metrics)).collect(),
            upstreams: snapshot.upstreams.iter().map(|upstream| UpstreamStatus::of(upstream, now)).collect(),
        }
    }
}

fn reload(last: LastReload) -> ReloadStatus {
    ReloadStatus { at: rfc3339(last.at).to_string(), accepted: last.problems.is_empty(), problems: last.problems }
}
