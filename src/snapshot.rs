//! WHAT RUNS: everything one generation of the file came to, and the one cell that holds the present one.
//!
//! A request pins the snapshot once and never asks again, so it can't see a new route with an old upstream.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::listener::{Listener, ListenerId};
use crate::route::Route;
use crate::router::Router;
use crate::session::Source;
use crate::session::store::Store;
use crate::tls::Policy;
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
    /// Every source of sessions, by name.
    pub sessions: Vec<Arc<Source>>,
    /// Every store that one of them asks.
    pub stores: Vec<Arc<Store>>,
    /// Every listener, in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
}

/// The program's one configuration cell.
pub struct Current(ArcSwap<Snapshot>);

// === impl Snapshot ===

impl Snapshot {
    /// The listener of this id and its place in the file; none where the file no longer has it.
    pub fn listener(&self, id: &ListenerId) -> Option<(usize, &Arc<Listener>)> {
        self.listeners.iter().enumerate().find(|(_, listener)| listener.id == *id)
    }

    fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.listeners.iter().filter_map(|listener| listener.tls.as_deref())
    }

    /// From now on scrapes read these endpoints, stores and caches.
    fn put_in_place(&self) {
        for upstream in &self.upstreams {
            upstream.put_in_place();
        }
        self.policies().for_each(Policy::put_in_place);
        for store in &self.stores {
            store.put_in_place();
        }
        for source in &self.sessions {
            source.put_in_place();
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
        // By name: those that live on, in the listeners that were opened with them, tell of themselves no more.
        self.0.load().policies().for_each(Policy::withdraw);
        next.put_in_place();
        self.0.store(Arc::new(next));
    }
}
