//! `ip_hash`: the same endpoint for the same client address, by weight.

use std::sync::Arc;

use super::hash::{hash_key, join};
use super::round_robin::RoundRobin;
use super::{Candidates, Choice, Strategy};
use crate::endpoint::Endpoint;

/// Weighted rendezvous: every endpoint draws a number from the key and its own name, and the highest wins. When an
/// endpoint goes, its keys alone move, to all others by weight; when one comes, it takes its share and nothing else moves.
#[derive(Debug)]
pub(super) struct IpHash {
    ids: Box<[u64]>,
    keyless: RoundRobin,
}

// === impl IpHash ===

impl IpHash {
    pub(super) fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let ids = endpoints.iter().map(|endpoint| hash_key(endpoint.id.as_str().as_bytes())).collect();
        Self { ids, keyless: RoundRobin::new(endpoints) }
    }
}

impl Strategy for IpHash {
    fn pick(&self, candidates: &Candidates<'_>, key: Option<u64>) -> Choice {
        let Some(key) = key else { return self.keyless.pick(candidates, None) };
        let score = |index: usize| {
            // From the hash's upper 53 bits a number in (0, 1), never 0 and never 1. Then -ln(x) / weight is the time
            // until the endpoint's next event at the rate of its weight: the chance to be first goes by weight.
            let uniform = ((join(key, self.ids[index]) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -uniform.ln() / candidates.weight(index) as f64
        };
        let scored = candidates.iter().map(|index| (score(index), index));
        let earliest = scored.min_by(|a, b| a.0.total_cmp(&b.0));
        Choice::of(earliest.map_or_else(|| candidates.first(), |(_, index)| index))
    }
}
