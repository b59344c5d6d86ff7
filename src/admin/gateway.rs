//! The running gateway as the pages ask for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};
use tokio::sync::watch;

use super::status::{ListenerStatus, ReloadStatus, RouteStatus, SessionStatus, Status, StoreStatus, UpstreamStatus};
use super::{Drain, Drained, Source};
use crate::config;
use crate::endpoint::Endpoint;
use crate::listener::{Listener, ListenerId};
use crate::reload::{LastReload, Reloader};
use crate::snapshot::{Current, Snapshot};
use crate::telemetry::access_log::rfc3339;
use crate::telemetry::metrics::{Condition, Label as _};
use crate::upstream::Upstream;

/// Tells where a listener really is, with the port that the system chose.
pub type AddressOf = Box<dyn Fn(&ListenerId) -> Option<String> + Send + Sync>;

/// What runs: the answer to `/status` and `/readyz`.
pub struct GatewayStatus {
    /// When the process began.
    pub started: Instant,
    /// What serves requests.
    pub current: Arc<Current>,
    /// How the last reload went.
    pub reloader: Arc<Reloader>,
    /// None for a listener that is being removed.
    pub address_of: AddressOf,
    /// Turns true when the gateway stops.
    pub stopping: watch::Receiver<bool>,
}

impl Source for GatewayStatus {
    fn is_ready(&self) -> bool {
        !*self.stopping.borrow()
    }

    fn status(&self) -> Status {
        let (snapshot, now) = (self.current.pin(), Instant::now());
        let listener = |listener: &Arc<Listener>| ListenerStatus {
            name: listener.name.to_string(),
            address: (self.address_of)(&listener.id).unwrap_or_else(|| listener.address.clone()),
            connections: listener.metrics.active(),
        };
        let upstream = |upstream: &Arc<Upstream>| UpstreamStatus::of(upstream, &bound(&snapshot, upstream), now);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            generation: snapshot.generation,
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: self.is_ready(),
            last_reload: self.reloader.last().map(reload),
            listeners: snapshot.listeners.iter().map(listener).collect(),
            routes: snapshot.routes.iter().map(|route| RouteStatus::of(&route.metrics)).collect(),
            upstreams: snapshot.upstreams.iter().map(upstream).collect(),
            sessions: snapshot.sessions.iter().map(|source| SessionStatus::of(source)).collect(),
            stores: snapshot.stores.iter().map(|store| StoreStatus::of(store)).collect(),
        }
    }

    fn drain(&self, upstream: &str, endpoint: &str, drain: Drain) -> Result<Drained, String> {
        let (snapshot, now) = (self.current.pin(), Instant::now());
        let group = snapshot.upstreams.iter().find(|group| **group.name() == *upstream);
        let group = group.ok_or_else(|| format!("there is no upstream `{upstream}`"))?;
        let one = group.endpoints().iter().find(|one| one.id.as_str() == endpoint);
        let one = one.ok_or_else(|| format!("the upstream `{upstream}` has no endpoint `{endpoint}`"))?;
        let drains = drain != Drain::End;
        match drain {
            Drain::Begin(within) => one.state.drain(within.and_then(|within| now.checked_add(within))),
            Drain::End => drop(one.state.undrain(now)),
        }
        let serves = |other: &Arc<Endpoint>| other.weight > 0 && other.condition(now) == Condition::Up;
        let alone = drains && !group.endpoints().iter().any(serves);
        log(upstream, endpoint, drain, alone);
        Ok(Drained {
            upstream: upstream.to_owned(),
            endpoint: endpoint.to_owned(),
            state: one.condition(now).label(),
            deadline_seconds: one.state.drains_for(now).map(|left| left.as_millis().div_ceil(1000) as u64),
            in_flight: one.state.in_flight(),
            alone,
        })
    }
}

fn log(upstream: &str, endpoint: &str, drain: Drain, alone: bool) {
    match drain {
        Drain::Begin(None) => {
            info!("upstream {upstream}: {endpoint} drains: nobody new, those who are pinned to it stay until they end");
        }
        Drain::Begin(Some(within)) => {
            let within = config::Duration(within);
            info!(
                "upstream {upstream}: {endpoint} drains: nobody new, those who are pinned to it leave after {within}"
            );
        }
        Drain::End => info!("upstream {upstream}: {endpoint} no longer drains"),
    }
    if alone {
        warn!("upstream {upstream}: {endpoint} goes on taking requests, because no other endpoint is up");
    }
}

/// How many sessions are bound to each endpoint of an upstream, by its id.
fn bound(snapshot: &Snapshot, upstream: &Upstream) -> HashMap<String, u64> {
    let kept = snapshot.routes.iter().filter_map(|route| route.sticky.as_ref()?.bindings());
    // Routes share them.
    let kept: BTreeMap<_, _> = kept.map(|bindings| (Arc::as_ptr(bindings), bindings)).collect();
    let mut bound = HashMap::new();
    for bindings in kept.values() {
        bindings.for_each(upstream.name(), |endpoint| *bound.entry(endpoint.to_owned()).or_default() += 1);
    }
    bound
}

fn reload(last: LastReload) -> ReloadStatus {
    ReloadStatus { at: rfc3339(last.at).to_string(), accepted: last.problems.is_empty(), problems: last.problems }
}
