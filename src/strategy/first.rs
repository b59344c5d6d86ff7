//! `first`: the first in the list that has room.

use super::{Candidates, Choice, Strategy};

/// Fills endpoints in the order of the file, each up to its `max_connections`, so that the last can be switched off.
/// Weights say no more than zero or not.
#[derive(Debug)]
pub(super) struct First;

// === impl First ===

impl Strategy for First {
    fn pick(&self, candidates: &Candidates<'_>, _key: Option<u64>) -> Choice {
        Choice::of(candidates.first())
    }
}
