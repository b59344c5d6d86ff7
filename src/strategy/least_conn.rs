//! `least_conn`: the one with the fewest requests in flight for its weight.

use std::cmp::Ordering;
use std::sync::Arc;

use super::round_robin::RoundRobin;
use super::{Candidates, Choice, EndpointSet, Strategy};
use crate::endpoint::Endpoint;

/// Goes by what the load would be with the request: `(in flight + 1) / weight`. Idle endpoints are alike, whatever their
/// weights, so that little traffic doesn't all go to the heaviest. Those that are alike take weighted turns.
#[derive(Debug)]
pub(super) struct LeastConn {
    turns: RoundRobin,
}

/// What an endpoint's load would be with one request more: a fraction, compared without dividing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests in flight at the time.
    pub(super) seen: u32,
    weight: u64,
}

// === impl LeastConn ===

impl LeastConn {
    pub(super) fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        Self { turns: RoundRobin::new(endpoints) }
    }
}

impl Strategy for LeastConn {
    fn pick(&self, candidates: &Candidates<'_>, _key: Option<u64>) -> Choice {
        let mut best: Option<(usize, Load)> = None;
        let mut alike = EndpointSet::default();
        for index in candidates.iter() {
            let load = Load::of(candidates, index);
            match best.map_or(Ordering::Less, |(_, best)| load.compare(best)) {
                Ordering::Less => {
                    best = Some((index, load));
                    alike = EndpointSet::default();
                    alike.insert(index);
                }
                Ordering::Equal => alike.insert(index),
                Ordering::Greater => {}
            }
        }
        let Some((index, load)) = best else { return Choice::of(candidates.first()) };
        if let Some(turn) = self.turns.turn(candidates, &alike) {
            let now = Load::of(candidates, turn);
            // Unless another request came first; the first of those alike is as good.
            if now.compare(load) == Ordering::Equal {
                return Choice::at_load(turn, now.seen);
            }
        }
        Choice::at_load(index, load.seen)
    }
}

// === impl Load ===

impl Load {
    pub(super) fn of(candidates: &Candidates<'_>, index: usize) -> Self {
        Self { seen: candidates.load(index), weight: candidates.weight(index) }
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self.seen, other.seen) {
            (0, 0) => Ordering::Equal,
            (0, _) => Ordering::Less,
            (_, 0) => Ordering::Greater,
            // (a + 1) / w < (b + 1) / v, as weights are above 0.
            (a, b) => ((u64::from(a) + 1) * other.weight).cmp(&((u64::from(b) + 1) * self.weight)),
        }
    }
}
