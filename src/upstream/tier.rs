//! Who may be chosen: decided once for all strategies, in one pass over the endpoints.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use log::{info, warn};

use super::{Refusal, Tried, Upstream};
use crate::endpoint::Endpoint;
use crate::strategy::{Candidates, EndpointSet};

/// The endpoints of one tier (primary or backup) as one request finds them.
#[derive(Default)]
struct Tier {
    /// Those that could serve if they are fit.
    members: usize,
    fit: usize,
    /// The fit ones with room that were not tried.
    open: EndpointSet,
    /// Whether one is missing in `open` for want of room alone.
    full: bool,
}

// === impl Upstream ===

impl Upstream {
    /// Decides who may be chosen, once for all strategies. Also tells whether that includes unfit endpoints.
    ///
    /// Backups serve when no primary can: none is fit, or all the fit ones are full or were tried. Too few fit ones (the
    /// panic threshold, counted among the primaries) and no fit backup instead of none: all are used, fit or not.
    pub(super) fn candidates(
        &self,
        tried: &Tried,
        promised: bool,
        now: Instant,
        random: u64,
    ) -> Result<(Candidates<'_>, bool), Refusal> {
        let ejects = self.outlier.is_some();
        let [mut primary, mut backup] = self.tiers(tried, promised, |endpoint| fit(endpoint, ejects, now));
        let first = if primary.members > 0 { &primary } else { &backup };
        let too_few = |percent: u8| first.fit * 100 <= first.members * usize::from(percent);
        let backups_instead = primary.fit == 0 && backup.fit > 0 && primary.members > 0;
        let failing_open = self.panic_threshold.is_some_and(too_few) && first.members > 0 && !backups_instead;
        if failing_open != self.shared.failing_open.load(Relaxed) {
            self.log_failing_open(failing_open, first);
        }
        if failing_open {
            [primary, backup] = self.tiers(tried, promised, |_| true);
        }
        let mut failing_open = failing_open;
        let none_left = primary.open.is_empty() && backup.open.is_empty() && !primary.full && !backup.full;
        if none_left && !tried.is_empty() && self.panic_threshold.is_some() {
            // Each fit one failed this request. One that was set aside for its traffic may be well again, and is better
            // than no answer.
            [primary, backup] = self.tiers(tried, promised, |endpoint| fit(endpoint, false, now));
            failing_open = true;
        }
        let full = primary.full || backup.full;
        let open = if primary.open.is_empty() { backup.open } else { primary.open };
        let candidates = Candidates::new(&self.endpoints, open, self.slow_start, now, random);
        let candidates = candidates.ok_or(if full { Refusal::Full } else { Refusal::NoEndpoint })?;
        Ok((candidates, failing_open))
    }

    fn tiers(&self, tried: &Tried, promised: bool, fit: impl Fn(&Endpoint) -> bool) -> [Tier; 2] {
        let mut tiers = [Tier::default(), Tier::default()];
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let state = &endpoint.state;
            if endpoint.weight == 0 || state.draining() || !state.reachable() {
                continue;
            }
            let tier = &mut tiers[usize::from(endpoint.backup)];
            tier.members += 1;
            if !fit(endpoint) {
                continue;
            }
            tier.fit += 1;
            if tried.contains(index) {
                continue;
            }
            match endpoint.max_connections {
                Some(limit) if promised || state.in_flight() >= limit => tier.full = true,
                _ => tier.open.insert(index),
            }
        }
        tiers
    }

    fn log_failing_open(&self, begins: bool, tier: &Tier) {
        if self.shared.failing_open.swap(begins, Relaxed) == begins {
            return;
        }
        let Tier { fit, members, .. } = tier;
        if begins {
            warn!("upstream {}: {fit} of {members} endpoints are fit; all are used (fail open)", self.name);
        } else {
            info!("upstream {}: {fit} of {members} endpoints are fit; only those are used", self.name);
        }
    }
}

/// Whether the endpoint may get requests, as far as is known. With `outlier` switched off, an ejection that the
/// generation before had begun counts no more.
pub(super) fn fit(endpoint: &Endpoint, ejects: bool, now: Instant) -> bool {
    let state = &endpoint.state;
    !state.down() && (!ejects || !state.ejected(now))
}
