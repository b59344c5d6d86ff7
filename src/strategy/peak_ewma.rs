//! `peak_ewma`: the one that answers fastest for its load.

use super::random_two::two;
use super::{Candidates, Choice, Strategy};

/// Of two taken by chance, the one with the lower cost: average latency, times the requests it would have in flight, by
/// weight. Two and not all: the average is old news by the time an answer comes, and all would rush to the same one.
///
/// The average (`endpoint::Latency`) rises at once with a slow answer, counts a failure as slow, and fades while there is
/// no answer, so an endpoint that was left alone gets a request now and then, and its share back when it has recovered.
/// One without an answer yet costs as much as the other at equal load: it is tried at once, but not flooded.
#[derive(Debug)]
pub(super) struct PeakEwma;

// === impl PeakEwma ===

impl Strategy for PeakEwma {
    fn pick(&self, candidates: &Candidates<'_>, _key: Option<u64>) -> Choice {
        let (first, second) = two(candidates);
        let seen = candidates.load(first);
        let Some(second) = second else { return Choice::at_load(first, seen) };
        let seen_second = candidates.load(second);
        let (latency, latency_second) = match (candidates.latency(first), candidates.latency(second)) {
            (Some(first), Some(second)) => (first, second),
            (Some(known), None) | (None, Some(known)) => (known, known),
            (None, None) => (1.0, 1.0),
        };
        let cost = |index, latency: f64, seen: u32| latency * (f64::from(seen) + 1.0) / candidates.weight(index) as f64;
        if cost(second, latency_second, seen_second) < cost(first, latency, seen) {
            Choice::at_load(second, seen_second)
        } else {
            Choice::at_load(first, seen)
        }
    }
}
