//! `round_robin`: in turns, by weight, without bursts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Candidates, Choice, EndpointSet, Strategy};
use crate::endpoint::Endpoint;

/// Bounds the length of a turn. The exact length is the least common multiple of the weights, which keeps every step a
/// whole number; where that is longer (weights such as 991, 997, 1000 and some more), steps are off by a part in 10^9.
const LONGEST_TURN: u64 = 1 << 40;

/// Smooth weighted turns among those who are eligible at each pick.
///
/// Each endpoint has a next time on a virtual clock, and the earliest is chosen; a choice moves its endpoint on by
/// `turn / weight`. Starting half a step in interleaves them: weights 5, 1, 1 give `a a b c a a a` and so on, never five
/// in a row followed by nothing. Whoever could not be chosen for a while resumes at the present time, without a claim on
/// the past, so a dead endpoint's share goes to all others and its return is no burst.
///
/// No lock: between reading the times and moving the earliest by compare-and-swap the others can only have grown, so the
/// earliest still is.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// The virtual time of the last choice. Times wrap; only differences count.
    clock: AtomicU64,
    places: Box<[Place]>,
}

#[derive(Debug)]
struct Place {
    next: AtomicU64,
    /// From one choice to the next at full weight.
    step: u64,
}

// === impl RoundRobin ===

impl RoundRobin {
    pub(super) fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let weights = || endpoints.iter().map(|endpoint| u64::from(endpoint.weight.max(1)));
        // Twice, so that half a step is a whole number too.
        let turn = weights().try_fold(1, lcm).map_or(LONGEST_TURN, |turn| (turn * 2).min(LONGEST_TURN));
        let places = weights().map(|weight| {
            let step = turn / weight;
            Place { next: AtomicU64::new(step / 2), step }
        });
        Self { clock: AtomicU64::new(0), places: places.collect() }
    }

    /// The one whose turn it is among some of the candidates; `None` where `among` has none of them.
    pub(super) fn turn(&self, candidates: &Candidates<'_>, among: &EndpointSet) -> Option<usize> {
        loop {
            let clock = self.clock.load(Relaxed);
            let due = among.iter().map(|index| {
                let place = &self.places[index];
                let next = place.next.load(Relaxed);
                let step = place.step * Candidates::WHOLE / candidates.part(index);
                // Signed, as the clock wraps. More than a step ahead is left over from a lower weight, or from before
                // the clock came round.
                let wait = (next.wrapping_sub(clock) as i64).clamp(0, step as i64) as u64;
                (wait, index, next, step)
            });
            let (wait, index, next, step) = due.min_by_key(|(wait, index, ..)| (*wait, *index))?;
            let at = clock.wrapping_add(wait);
            if self.places[index].next.compare_exchange(next, at.wrapping_add(step), Relaxed, Relaxed).is_ok() {
                // A slower thread may set the clock back by a choice or two, which the next choice puts right.
                self.clock.store(at, Relaxed);
                return Some(index);
            }
        }
    }
}

impl Strategy for RoundRobin {
    fn pick(&self, candidates: &Candidates<'_>, _key: Option<u64>) -> Choice {
        Choice::of(self.turn(candidates, candidates.eligible()).unwrap_or_else(|| candidates.first()))
    }
}

fn lcm(a: u64, b: u64) -> Option<u64> {
    (a / gcd(a, b)).checked_mul(b).filter(|multiple| *multiple <= LONGEST_TURN)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
