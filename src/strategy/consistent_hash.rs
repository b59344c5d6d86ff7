//! `consistent_hash`: the same endpoint for the same key; few keys move when endpoints come and go.

use std::sync::Arc;

use super::hash::{hash_key, join};
use super::round_robin::RoundRobin;
use super::{Candidates, Choice, Strategy};
use crate::endpoint::Endpoint;

/// Points on the ring for each unit of weight: as many as ketama has. Shares are within about 1/sqrt(160) = 8 % of their
/// weight.
const POINTS: u64 = 160;

/// Bounds an endpoint's points, and with it the memory for great weights (16 bytes a point).
const MOST_POINTS: u64 = 160 * 64;

/// An endpoint with fewer requests in flight than this is never over its bound. With a handful of requests in all, the
/// average is near 0 and every second request of a key would be sent astray for nothing.
const NO_CROWD: u32 = 8;

/// A ketama-like ring over the endpoints' names, with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016).
///
/// A key goes to the endpoint of the next point on the ring; where that one is not eligible or over its bound, on to the
/// next. An endpoint's points depend on nothing but its own name and weight, so when it goes only its keys move, and
/// because its points are scattered, to all others alike. (The one exception: a heaviest weight above 64 sets the number
/// of points for all.)
#[derive(Debug)]
pub(super) struct ConsistentHashing {
    /// By position.
    ring: Box<[Point]>,
    /// The greatest load of an endpoint relative to the average.
    load_bound: f64,
    keyless: RoundRobin,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at: u64,
    index: u32,
    /// How much of its weight (of [`Candidates::WHOLE`]) the endpoint must have for the point to count.
    from: u32,
}

// === impl ConsistentHashing ===

impl ConsistentHashing {
    pub(super) fn new(endpoints: &[Arc<Endpoint>], load_bound: f64) -> Self {
        let heaviest = endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).max().unwrap_or_default();
        let points = (MOST_POINTS / heaviest.max(1)).clamp(1, POINTS);
        let mut ring: Vec<Point> = Vec::new();
        for (index, endpoint) in (0u32..).zip(endpoints) {
            let id = hash_key(endpoint.id.as_str().as_bytes());
            let count = u64::from(endpoint.weight) * points;
            ring.extend((0..count).map(|nth| Point {
                at: join(nth, id),
                index,
                from: (nth * Candidates::WHOLE / count) as u32,
            }));
        }
        // Between points at the same place the name decides: the order in the file must not.
        ring.sort_unstable_by(|a, b| {
            let id = |point: &Point| &endpoints[point.index as usize].id;
            a.at.cmp(&b.at).then_with(|| id(a).cmp(id(b)))
        });
        Self { ring: ring.into(), load_bound, keyless: RoundRobin::new(endpoints) }
    }
}

impl Strategy for ConsistentHashing {
    fn pick(&self, candidates: &Candidates<'_>, key: Option<u64>) -> Choice {
        let Some(key) = key else { return self.keyless.pick(candidates, None) };
        let (mut total, mut weights) = (1, 0);
        for index in candidates.iter() {
            total += u64::from(candidates.load(index));
            weights += candidates.weight(index);
        }
        // The average load with this request, for each unit of weight, times the bound.
        let allowed = total as f64 * self.load_bound / weights as f64;
        let start = self.ring.partition_point(|point| point.at < key);
        let around = self.ring[start..].iter().chain(&self.ring[..start]);
        let mut crowded = None;
        for point in around {
            let index = point.index as usize;
            if !candidates.contains(index) || u64::from(point.from) >= candidates.part(index) {
                continue;
            }
            let load = candidates.load(index);
            if load < NO_CROWD || f64::from(load) < (allowed * candidates.weight(index) as f64).ceil() {
                return Choice::at_load(index, load);
            }
            crowded.get_or_insert(Choice::at_load(index, load));
        }
        // The bounds add up to more than the load, so somebody has room; only loads that changed while we looked can
        // have hidden it.
        crowded.unwrap_or_else(|| Choice::of(candidates.first()))
    }
}
