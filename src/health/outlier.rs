//! Sets endpoints aside for bad live traffic, and lets them come back by time.
//!
//! The upstream feeds it the outcome of every attempt. It judges whether an endpoint answers at all: connect failures,
//! resets, timeouts and 502 to 504 are errors; a 500 is an answer, since one bad address must not eject a fleet.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, EndpointState};

/// Ejections in a row double up to this, or to `eject_for` where that is longer: an endpoint that is back is used again
/// within minutes.
const LONGEST: Duration = Duration::from_secs(300);

/// After this long without another ejection an endpoint counts as good again, and the next one is the first.
const FORGIVEN_AFTER: Duration = LONGEST;

/// When endpoints are set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Errors in a row that eject.
    pub consecutive_errors: u32,
    /// For how long, the first time.
    pub eject_for: Duration,
    /// The most endpoints set aside at a time, in percent: rounded down, but one where there are two or more. 0: none.
    pub max_ejected: u8,
}

/// Judges the endpoints of one upstream.
#[derive(Debug)]
pub struct Outlier {
    settings: Settings,
    /// Held while the ejected are counted and one is added, so that endpoints that turn bad together don't exceed the
    /// share. Common to all generations of an upstream.
    gate: Arc<Mutex<()>>,
}

/// What an attempt says of an endpoint changed whether it is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is set aside for this long.
    Ejected(Duration),
    /// It is back.
    Returned,
}

// === impl Outlier ===

impl Outlier {
    /// A judge by these settings. `gate` is that of the generation before.
    pub fn new(settings: Settings, gate: Arc<Mutex<()>>) -> Self {
        Self { settings, gate }
    }

    /// Takes how an attempt to the endpoint at `index` ended. Costs one load while all is well.
    pub fn observe(&self, endpoints: &[Arc<Endpoint>], index: usize, error: bool, now: Instant) -> Option<Event> {
        let state = &endpoints[index].state;
        if state.ejected(now) {
            // Attempts that began before, or that had nowhere else to go. It comes back by time alone.
            return None;
        }
        let returned = tell_return(state, now);
        let errors = &state.ejection.errors;
        if !error {
            if errors.load(Relaxed) != 0 {
                errors.store(0, Relaxed);
            }
            return returned;
        }
        if errors.fetch_add(1, Relaxed) + 1 < self.settings.consecutive_errors {
            return returned;
        }
        self.eject(endpoints, state, now).or(returned)
    }

    fn eject(&self, endpoints: &[Arc<Endpoint>], state: &EndpointState, now: Instant) -> Option<Event> {
        let _alone = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let set_aside = endpoints.iter().filter(|endpoint| endpoint.state.ejected(now)).count();
        if state.ejected(now) || set_aside >= self.most(endpoints.len()) {
            return None;
        }
        let ejection = &state.ejection;
        let last = ejection.until.load(Acquire);
        let recent = last != 0 && state.nanos(now).saturating_sub(last) < FORGIVEN_AFTER.as_nanos() as u64;
        let before = if recent { ejection.times.load(Relaxed) } else { 0 };
        let Settings { eject_for, .. } = self.settings;
        let longer = eject_for.saturating_mul(1 << before.min(16)).min(LONGEST.max(eject_for));
        ejection.times.store(before + 1, Relaxed);
        ejection.errors.store(0, Relaxed);
        ejection.untold.store(true, Relaxed);
        ejection.until.store(state.nanos(now + longer), Release);
        Some(Event::Ejected(longer))
    }

    /// How many of `all` may be set aside at a time. A lone endpoint never: there is nobody to take its place.
    fn most(&self, all: usize) -> usize {
        match (all, self.settings.max_ejected) {
            (0 | 1, _) | (_, 0) => 0,
            (_, percent) => (all * usize::from(percent) / 100).max(1),
        }
    }
}

/// Whether the endpoint is back from an ejection and nobody has been told. Ejections end by the clock, so somebody has
/// to look: `Outlier::observe` does at the next attempt.
fn tell_return(state: &EndpointState, now: Instant) -> Option<Event> {
    let untold = &state.ejection.untold;
    (untold.load(Relaxed) && !state.ejected(now) && untold.swap(false, Relaxed)).then_some(Event::Returned)
}
