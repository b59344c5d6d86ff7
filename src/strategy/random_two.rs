//! `random_two`: the less loaded of two taken by chance.

use std::cmp::Ordering;

use super::least_conn::Load;
use super::{Candidates, Choice, Strategy, hash::mix};

/// The power of two choices: nearly as even as the least loaded of all, and without the rush of several gateways onto the
/// same idle endpoint. Two different ones are drawn by weight; while they are alike the first drawn stays.
#[derive(Debug)]
pub(super) struct RandomTwo;

// === impl RandomTwo ===

impl Strategy for RandomTwo {
    fn pick(&self, candidates: &Candidates<'_>, _key: Option<u64>) -> Choice {
        let (first, second) = two(candidates);
        let load = Load::of(candidates, first);
        let Some((second, other)) = second.map(|index| (index, Load::of(candidates, index))) else {
            return Choice::at_load(first, load.seen);
        };
        match other.compare(load) {
            Ordering::Less => Choice::at_load(second, other.seen),
            Ordering::Equal | Ordering::Greater => Choice::at_load(first, load.seen),
        }
    }
}

/// Two different candidates by chance, by weight; one where there is one.
pub(super) fn two(candidates: &Candidates<'_>) -> (usize, Option<usize>) {
    let first = candidates.draw(candidates.random(), None).unwrap_or_else(|| candidates.first());
    (first, candidates.draw(mix(candidates.random()), Some(first)))
}
