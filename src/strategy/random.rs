//! `random`: by chance, by weight.

use super::{Candidates, Choice, Strategy};

/// Needs no state: gateways that share endpoints don't fall into step.
#[derive(Debug)]
pub(super) struct Random;

// === impl Random ===

impl Strategy for Random {
    fn pick(&self, candidates: &Candidates<'_>, _key: Option<u64>) -> Choice {
        Choice::of(candidates.draw(candidates.random(), None).unwrap_or_else(|| candidates.first()))
    }
}
