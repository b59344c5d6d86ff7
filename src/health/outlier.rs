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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::{Address, EndpointId, EndpointSettings};
    use crate::telemetry::metrics::Metrics;

    const SECOND: Duration = Duration::from_secs(1);

    fn judge(max_ejected: u8) -> Outlier {
        Outlier::new(Settings { consecutive_errors: 3, eject_for: 10 * SECOND, max_ejected }, Arc::default())
    }

    fn endpoints(count: usize, now: Instant) -> Vec<Arc<Endpoint>> {
        let metrics = Metrics::new().upstream("node");
        let one = |number: usize| {
            let address = Address::Tcp(([127, 0, 0, 1], number as u16).into());
            let id = EndpointId::new(&number.to_string());
            let state = Arc::new(EndpointState::new(&address, false, now));
            let (host_header, metrics) = (None, metrics.endpoint(id.as_str()));
            let settings =
                EndpointSettings { id, address, weight: 1, backup: false, max_connections: None, host_header };
            Arc::new(Endpoint::new(settings, state, metrics))
        };
        (0..count).map(one).collect()
    }

    /// What each of the outcomes (`-` an error, `+` a success) of the first endpoint brings.
    fn events(outlier: &Outlier, endpoints: &[Arc<Endpoint>], outcomes: &str, now: Instant) -> Vec<Option<Event>> {
        outcomes.chars().map(|outcome| outlier.observe(endpoints, 0, outcome == '-', now)).collect()
    }

    #[test]
    fn errors_in_a_row_eject_and_a_success_resets() {
        let now = Instant::now();
        let (outlier, endpoints) = (judge(50), endpoints(2, now));
        assert!(events(&outlier, &endpoints, "--+--+--", now).iter().all(Option::is_none));
        assert_eq!(outlier.observe(&endpoints, 0, true, now), Some(Event::Ejected(10 * SECOND)));
        assert!(endpoints[0].state.ejected(now));
        assert!(events(&outlier, &endpoints, "--+-----", now).iter().all(Option::is_none), "already set aside");
    }

    #[test]
    fn an_ejected_endpoint_comes_back_by_time_and_needs_errors_in_a_row_anew() {
        let now = Instant::now();
        let (outlier, endpoints) = (judge(50), endpoints(2, now));
        events(&outlier, &endpoints, "---", now);
        assert!(endpoints[0].state.ejected(now + 9 * SECOND));
        let back = now + 10 * SECOND;
        assert!(!endpoints[0].state.ejected(back));
        assert_eq!(events(&outlier, &endpoints, "--", back), [Some(Event::Returned), None]);
        assert_eq!(outlier.observe(&endpoints, 0, true, back), Some(Event::Ejected(20 * SECOND)));
    }

    #[test]
    fn ejections_in_a_row_lengthen_up_to_a_cap_and_are_forgiven() {
        let mut now = Instant::now();
        let (outlier, endpoints) = (judge(50), endpoints(2, now));
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let event = events(&outlier, &endpoints, "---", now).pop().flatten();
            assert_eq!(event, Some(Event::Ejected(seconds * SECOND)));
            now += (seconds + 1) * SECOND;
        }
        now += FORGIVEN_AFTER;
        let event = events(&outlier, &endpoints, "---", now).pop().flatten();
        assert_eq!(event, Some(Event::Ejected(10 * SECOND)));
    }

    #[test]
    fn the_share_is_rounded_down_but_one_of_two_may_go_and_a_lone_one_never() {
        for (all, percent, most) in [
            (1, 100, 0),
            (2, 10, 1),
            (2, 50, 1),
            (3, 50, 1),
            (4, 50, 2),
            (5, 50, 2),
            (10, 29, 2),
            (3, 100, 3),
            (3, 0, 0),
        ] {
            let now = Instant::now();
            let (outlier, endpoints) = (judge(percent), endpoints(all, now));
            for index in 0..all {
                (0..9).for_each(|_| {
                    outlier.observe(&endpoints, index, true, now);
                });
            }
            let ejected = endpoints.iter().filter(|endpoint| endpoint.state.ejected(now)).count();
            assert_eq!(ejected, most, "{percent} % of {all}");
        }
    }

    #[test]
    fn endpoints_that_turn_bad_together_do_not_exceed_the_share() {
        for _ in 0..50 {
            let now = Instant::now();
            let (outlier, endpoints) = (judge(50), endpoints(7, now));
            std::thread::scope(|scope| {
                for index in 0..7 {
                    let (outlier, endpoints) = (&outlier, &endpoints);
                    scope.spawn(move || {
                        (0..5).map(|_| outlier.observe(endpoints, index, true, now)).collect::<Vec<_>>()
                    });
                }
            });
            assert_eq!(endpoints.iter().filter(|endpoint| endpoint.state.ejected(now)).count(), 3);
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_the_share_is_kept_and_all_come_back(
            happens in prop::collection::vec((0usize..6, any::<bool>(), 0u32..5), 0..300),
        ) {
            let mut now = Instant::now();
            let (outlier, endpoints) = (judge(50), endpoints(6, now));
            for (index, error, seconds) in happens {
                now += seconds * SECOND;
                outlier.observe(&endpoints, index, error, now);
                prop_assert!(endpoints.iter().filter(|endpoint| endpoint.state.ejected(now)).count() <= 3);
            }
            now += LONGEST;
            prop_assert!(endpoints.iter().all(|endpoint| !endpoint.state.ejected(now)));
        }
    }
}
