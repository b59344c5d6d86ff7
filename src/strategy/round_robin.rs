//! `round_robin`: in turns, by weight, without bursts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Candidates, Choice, EndpointSet, Strategy};
use crate::endpoint::Endpoint;

/// Bounds the length of a turn. The exact length is the least common multiple of the weights, which keeps every step a
/// whole number; where that is longer (weights such as 991, 997, 1000 and some more), steps are off by a part in 10^9.
const LONGEST_TURN: u64 = 1 << 40;

/// Moments within a step at which endpoints of one weight may start.
const PHASES: u64 = 1 << 12;

/// Smooth weighted turns among those who are eligible at each pick.
///
/// Each endpoint has a next time on a virtual clock, and the earliest is chosen; a choice moves its endpoint on by
/// `turn / weight`. Endpoints of one weight start evenly spread, so weights 4, 1, 1 give `a b a a c a`: no bursts.
/// Who could not be chosen for a while skips the times it missed: a dead endpoint's share goes to all others, and its
/// return is no burst. (It keeps the latest one, or a retry that may not use an endpoint would cost that endpoint a turn.)
///
/// No lock: between reading the times and moving the earliest by compare-and-swap the others can only have grown, so the
/// earliest still is; if it was moved by somebody else, the choice is made anew.
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
        let weights: Vec<u64> = endpoints.iter().map(|endpoint| u64::from(endpoint.weight.max(1))).collect();
        let turn = weights.iter().try_fold(1, |turn, weight| lcm(turn, *weight)).unwrap_or(LONGEST_TURN);
        // Whole steps are far apart, so that phases between them need no fractions.
        let turn = turn * PHASES;
        let alike = |weight: u64, among: &[u64]| among.iter().filter(|other| **other == weight).count() as u64;
        let places = weights.iter().enumerate().map(|(index, weight)| {
            let step = turn / weight;
            let (before, all) = (alike(*weight, &weights[..index]), alike(*weight, &weights));
            Place { next: AtomicU64::new(step / (2 * all) * (2 * before + 1)), step }
        });
        Self { clock: AtomicU64::new(0), places: places.collect() }
    }

    #[cfg(test)]
    pub(super) fn starting_at(endpoints: &[Arc<Endpoint>], clock: u64) -> Self {
        let turns = Self::new(endpoints);
        turns.places.iter().for_each(|place| {
            place.next.fetch_add(clock, Relaxed);
        });
        turns.clock.store(clock, Relaxed);
        turns
    }

    /// The one whose turn it is among some of the candidates; `None` where `among` has none of them.
    pub(super) fn turn(&self, candidates: &Candidates<'_>, among: &EndpointSet) -> Option<usize> {
        loop {
            let clock = self.clock.load(Relaxed);
            let due = among.iter().map(|index| {
                let place = &self.places[index];
                let next = place.next.load(Relaxed);
                let step = match candidates.part(index) {
                    Candidates::WHOLE => place.step,
                    part => place.step * Candidates::WHOLE / part,
                };
                // Signed, as the clock wraps. More than a step ahead is left over from a lower weight, or from before
                // the clock came round.
                let ahead = next.wrapping_sub(clock) as i64;
                let wait = if ahead < 0 { -((ahead.unsigned_abs() % step) as i64) } else { ahead.min(step as i64) };
                (wait, index, next, step)
            });
            let (wait, index, next, step) = due.min_by_key(|(wait, index, ..)| (*wait, *index))?;
            if self.clock.load(Relaxed) != clock {
                // Another choice was made meanwhile: times were measured from a past moment.
                continue;
            }
            let at = clock.wrapping_add_signed(wait);
            if self.places[index].next.compare_exchange(next, at.wrapping_add(step), Relaxed, Relaxed).is_ok() {
                // Forwards only: a slower thread must not set the clock back. That there was nothing to do is fine.
                let forwards = |clock| (at.wrapping_sub(clock) as i64 > 0).then_some(at);
                let _ = self.clock.fetch_update(Relaxed, Relaxed, forwards);
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
