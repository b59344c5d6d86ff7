//! WHAT RUNS: everything one generation of the file came to, and the one cell that holds the present one.
//!
//! A request pins the snapshot once and never asks again, so it can't see a new route with an old upstream.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::connection::Limits;
use crate::route::Route;
use crate::router::Router;
use crate::telemetry::metrics::ListenerMetrics;
use crate::upstream::Upstream;

/// One generation of the configuration, compiled.
pub struct Snapshot {
    /// Counts up from 1 with every configuration put in place.
    pub generation: u64,
    /// Request head -> route.
    pub router: Router<Arc<Route>>,
    /// Every route, in the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// Every upstream, by name.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Every listener, in the order of the file; an accepted connection knows its index.
    pub listeners: Vec<Listener>,
}

/// What holds for the connections of one listener. Its address can't change while the process runs.
pub struct Listener {
    /// The name from the file, or the address.
    pub name: Arc<str>,
    /// What one of its connections may take.
    pub limits: Limits,
    /// The most headers of a request.
    pub max_headers: usize,
    /// The longest request body, in bytes.
    pub max_body: Option<u64>,
    /// Who may tell us about the client.
    pub trusted_proxies: Vec<IpNet>,
    /// What becomes of header names that hold `_`.
    pub underscores: Underscores,
    /// Its metric handles.
    pub metrics: Arc<ListenerMetrics>,
}

/// What to do with header names that hold `_`, which CGI-like applications cannot tell from `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// Leave the header out.
    #[default]
    Drop,
    /// Answer 400.
    Refuse,
    /// Forward it.
    Keep,
}

/// The program's one configuration cell.
pub struct Current(ArcSwap<Snapshot>);

// === impl Snapshot ===

impl Snapshot {
    /// From now on scrapes read these endpoints.
    fn put_in_place(&self) {
        for upstream in &self.upstreams {
            upstream.put_in_place();
        }
    }
}

// === impl Current ===

impl Current {
    /// Begins with the first generation.
    pub fn new(first: Snapshot) -> Self {
        first.put_in_place();
        Self(ArcSwap::from_pointee(first))
    }

    /// The snapshot that serves now; a request keeps it to its end.
    pub fn pin(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts the next generation in place, for every request that begins from now on.
    pub fn replace(&self, next: Snapshot) {
        next.put_in_place();
        self.0.store(Arc::new(next));
    }
}
