//! The endpoints that may be chosen for one request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EndpointSet;
use crate::endpoint::Endpoint;

/// A weight of 1 without slow start, so that a part of it is a whole number.
const WHOLE: u64 = 1024;

/// What an endpoint has of its weight when slow start begins: enough to warm up, too little to be buried.
const LEAST_PART: f64 = 0.1;

/// The endpoints that may be chosen for one request, and what a strategy may know of them. Never empty.
///
/// Eligibility is decided before: whoever is here is fit, has room, a weight above 0, and was not tried. A strategy only
/// orders.
#[derive(Debug)]
pub struct Candidates<'a> {
    endpoints: &'a [Arc<Endpoint>],
    eligible: EndpointSet,
    slow_start: Option<Duration>,
    now: Instant,
    random: u64,
}

// === impl Candidates ===

impl<'a> Candidates<'a> {
    /// The `eligible` of the `endpoints`; `None` where there is none of them. `random` is any word.
    pub fn new(
        endpoints: &'a [Arc<Endpoint>],
        eligible: EndpointSet,
        slow_start: Option<Duration>,
        now: Instant,
        random: u64,
    ) -> Option<Self> {
        (!eligible.is_empty()).then_some(Self { endpoints, eligible, slow_start, now, random })
    }

    /// Their indexes, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.eligible.iter()
    }

    /// All of them.
    pub fn eligible(&self) -> &EndpointSet {
        &self.eligible
    }

    /// Whether the endpoint is one of them.
    pub fn contains(&self, index: usize) -> bool {
        self.eligible.contains(index)
    }

    /// The first in the order of the file.
    pub fn first(&self) -> usize {
        self.iter().next().unwrap_or_default()
    }

    /// The endpoint's weight at the moment, slow start included. Above 0; of use only beside others.
    pub fn weight(&self, index: usize) -> u64 {
        u64::from(self.endpoints[index].weight) * self.part(index)
    }

    /// How much of its own weight the endpoint has, in parts of [`Candidates::WHOLE`]; above 0.
    pub fn part(&self, index: usize) -> u64 {
        let Some(slow_start) = self.slow_start else { return WHOLE };
        let ramp = self.endpoints[index].state.ramp(slow_start, self.now).max(LEAST_PART);
        (ramp * WHOLE as f64) as u64
    }

    /// All of an endpoint's weight, as [`Candidates::part`] counts.
    pub const WHOLE: u64 = WHOLE;

    /// Requests in flight to the endpoint, read now: others may choose at the same time.
    pub fn load(&self, index: usize) -> u32 {
        self.endpoints[index].state.in_flight()
    }

    /// The endpoint's average latency in microseconds as it counts at the moment; `None` before its first answer.
    pub fn latency(&self, index: usize) -> Option<f64> {
        let state = &self.endpoints[index].state;
        state.latency().at(state.since_origin(self.now))
    }

    /// A random word for this pick.
    pub fn random(&self) -> u64 {
        self.random
    }

    /// One of them by chance, by weight, and not `except`; `None` if that was the only one.
    pub fn draw(&self, random: u64, except: Option<usize>) -> Option<usize> {
        let others = || self.iter().filter(|index| Some(*index) != except);
        let total: u64 = others().map(|index| self.weight(index)).sum();
        // Multiply-shift maps a word to 0..total without the bias and the division of a remainder (Lemire 2019).
        let mut at = ((u128::from(random) * u128::from(total)) >> 64) as u64;
        let mut last = None;
        for index in others() {
            let weight = self.weight(index);
            if at < weight {
                return Some(index);
            }
            at -= weight;
            last = Some(index);
        }
        last
    }
}
