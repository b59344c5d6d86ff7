//! How many retries there may be: a share of the requests.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The price of a retry: a request deposits its percentage.
const RETRY: u32 = 100;

/// What a new budget holds: a few failures among the first requests are retried too.
const FIRST_RETRIES: u32 = 10;

/// What a budget holds at most: after hours without a failure, an outage must not be met by hours of saved retries.
const MOST_RETRIES: u32 = 100;

/// A token bucket filled by requests and emptied by retries, so that retries don't multiply the load on endpoints that
/// fail because of it.
#[derive(Debug)]
pub struct Budget {
    percent: u32,
    tokens: AtomicU32,
}

// === impl Budget ===

impl Budget {
    /// Allows this many retries for every 100 requests; 0 allows none.
    pub fn new(percent: u8) -> Self {
        let tokens = if percent == 0 { 0 } else { FIRST_RETRIES * RETRY };
        Self { percent: percent.into(), tokens: AtomicU32::new(tokens) }
    }

    /// A request came.
    pub fn deposit(&self) {
        let more = |tokens: u32| (tokens < MOST_RETRIES * RETRY).then_some(tokens + self.percent);
        // A full budget needs no deposit.
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, more);
    }

    /// Takes one retry out, if there is one.
    pub fn try_spend(&self) -> bool {
        self.tokens.fetch_update(Relaxed, Relaxed, |tokens| tokens.checked_sub(RETRY)).is_ok()
    }

    /// The retries for every 100 requests.
    pub(super) fn percent(&self) -> u32 {
        self.percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests_after_the_first_few() {
        let budget = Budget::new(20);
        let spent = (0..10_000).filter(|_| {
            budget.deposit();
            budget.try_spend()
        });
        assert_eq!(spent.count(), 2_000 + FIRST_RETRIES as usize);
    }

    #[test]
    fn an_unused_budget_does_not_grow_without_bound() {
        let budget = Budget::new(20);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..10_000).filter(|_| budget.try_spend()).count(), MOST_RETRIES as usize);
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        let budget = Budget::new(0);
        budget.deposit();
        assert!(!budget.try_spend());
    }
}
