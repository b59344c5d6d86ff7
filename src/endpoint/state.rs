//! What has been learned of an endpoint.

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::{Address, Latency};
use crate::telemetry::metrics::Condition;

/// The live state of one endpoint. Every generation that knows the endpoint shares it.
///
/// All of it is atomics, read afresh for every pick; times are nanoseconds since `origin`, and 0 is never.
#[derive(Debug)]
pub struct EndpointState {
    origin: Instant,
    /// The probe's verdict, or that a name has no address.
    down: AtomicBool,
    /// Why it is down, in words.
    reason: Mutex<Option<String>>,
    draining: AtomicBool,
    /// When it came (back) up; what slow start counts from.
    up_since: AtomicU64,
    pub(crate) ejection: Ejection,
    in_flight: AtomicU32,
    latency: Latency,
    /// A name's addresses; `None` for an endpoint that needs no look-up.
    resolved: Option<Resolved>,
}

/// What `health::outlier` remembers of an endpoint; it alone writes it.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// Errors since the last success.
    pub(crate) errors: AtomicU32,
    /// When it ends; 0: never ejected.
    pub(crate) until: AtomicU64,
    /// How many in a row.
    pub(crate) times: AtomicU32,
    /// Whether the return is still to be told.
    pub(crate) untold: AtomicBool,
}

/// The addresses of a name. Swapped whole when they change; not configuration, so not part of the snapshot.
#[derive(Debug, Default)]
struct Resolved {
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Which of them is used: moves on when one refuses.
    turn: AtomicUsize,
}

// === impl EndpointState ===

impl EndpointState {
    /// The state of an endpoint of which nothing is known: up, unless it is a name, which has no address yet.
    ///
    /// `joins`: it is added to endpoints that already serve, so slow start applies. At the gateway's start all begin
    /// alike, and it doesn't.
    pub(crate) fn new(address: &Address, joins: bool, now: Instant) -> Self {
        let resolved = matches!(address, Address::Name { .. }).then(Resolved::default);
        Self {
            // A moment earlier, so that no time of interest is 0.
            origin: now.checked_sub(Duration::from_nanos(1)).unwrap_or(now),
            down: AtomicBool::new(false),
            reason: Mutex::default(),
            draining: AtomicBool::new(false),
            up_since: AtomicU64::new(u64::from(joins)),
            ejection: Ejection::default(),
            in_flight: AtomicU32::new(0),
            latency: Latency::default(),
            resolved,
        }
    }

    /// The probe finds the endpoint fit. True if that is news.
    pub fn set_up(&self, now: Instant) -> bool {
        *self.reason() = None;
        if !self.down.load(Acquire) {
            return false;
        }
        self.up_since.store(self.nanos(now), Release);
        self.down.swap(false, SeqCst)
    }

    /// The probe finds the endpoint unfit, with the reason in words. True if that is news.
    pub fn set_down(&self, reason: impl Into<String>) -> bool {
        *self.reason() = Some(reason.into());
        !self.down.swap(true, SeqCst)
    }

    /// Takes what a name resolved to, in the order to try. An empty answer is `unresolved`.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>, now: Instant) {
        let Some(resolved) = &self.resolved else { return };
        // A name that failed to resolve comes up late and starts slowly; one that resolves at the start doesn't.
        if self.addresses().is_empty() && self.reason().take().is_some() {
            self.up_since.store(self.nanos(now), Release);
        }
        if **resolved.addresses.load() != addresses {
            resolved.addresses.store(Arc::new(addresses));
            resolved.turn.store(0, Relaxed);
        }
    }

    /// A name could not be looked up. The last good answer stays in use; without one the endpoint is down.
    pub fn unresolved(&self, reason: impl Into<String>) {
        if self.addresses().is_empty() {
            *self.reason() = Some(reason.into());
        }
    }

    /// A name's addresses in the order to try; empty for an endpoint that needs no look-up.
    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.resolved.as_ref().map(|resolved| resolved.addresses.load_full()).unwrap_or_default()
    }

    /// The address of a name to use now.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let resolved = self.resolved.as_ref()?;
        let addresses = resolved.addresses.load();
        addresses.get(resolved.turn.load(Relaxed) % addresses.len().max(1)).copied()
    }

    /// The address in use refused a connection: the next one has its turn.
    pub(crate) fn refused(&self) {
        if let Some(resolved) = &self.resolved {
            resolved.turn.fetch_add(1, Relaxed);
        }
    }

    /// Whether it is to take nothing new.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, SeqCst);
    }

    /// What the endpoint is fit for at the moment.
    pub fn condition(&self, now: Instant) -> Condition {
        if self.draining() {
            Condition::Draining
        } else if self.down.load(Acquire) || !self.reachable() {
            Condition::Down
        } else if self.ejected(now) {
            Condition::Ejected
        } else {
            Condition::Up
        }
    }

    /// Why it is down, in words.
    pub fn why_down(&self) -> Option<String> {
        self.reason().clone()
    }

    /// How much longer it is set aside for bad live traffic.
    pub fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let left = self.ejection.until.load(Acquire).checked_sub(self.nanos(now))?;
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Requests in flight to it.
    pub fn in_flight(&self) -> u32 {
        // In one order with the queue's counter: see `upstream::queue`.
        self.in_flight.load(SeqCst)
    }

    /// The average time to its first byte.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    pub(crate) fn down(&self) -> bool {
        self.down.load(Acquire)
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Acquire)
    }

    /// Whether there is an address to connect to.
    pub(crate) fn reachable(&self) -> bool {
        self.resolved.as_ref().is_none_or(|resolved| !resolved.addresses.load().is_empty())
    }

    pub(crate) fn ejected(&self, now: Instant) -> bool {
        match self.ejection.until.load(Acquire) {
            0 => false,
            until => self.nanos(now) < until,
        }
    }

    /// How much of its weight it has at `now` if it takes `slow_start` to reach all of it: from 0 to 1.
    pub(crate) fn ramp(&self, slow_start: Duration, now: Instant) -> f64 {
        // An ejection ends by the clock and leaves no trace but its end.
        let since = self.up_since.load(Acquire).max(self.ejection.until.load(Acquire));
        if since == 0 {
            return 1.0;
        }
        let up = self.nanos(now).saturating_sub(since);
        (up as f64 / slow_start.as_nanos().max(1) as f64).min(1.0)
    }

    /// Counts a request in flight if that leaves no more than `limit`, and if there are still `seen` of them: a
    /// choice made by load holds only while the load is what was seen.
    pub(crate) fn claim(&self, seen: Option<u32>, limit: Option<u32>) -> bool {
        let limit = limit.unwrap_or(u32::MAX);
        match seen {
            Some(seen) => seen < limit && self.in_flight.compare_exchange(seen, seen + 1, SeqCst, Relaxed).is_ok(),
            None => {
                let within = |load| (load < limit).then_some(load + 1);
                self.in_flight.fetch_update(SeqCst, Relaxed, within).is_ok()
            }
        }
    }

    /// One request less in flight.
    pub(crate) fn release(&self) {
        self.in_flight.fetch_sub(1, SeqCst);
    }

    /// A moment as the state counts it.
    pub(crate) fn since_origin(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }

    /// A moment as the state stores it.
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        self.since_origin(now).as_nanos() as u64
    }

    fn reason(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
