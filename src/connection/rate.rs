//! `Rate`: whether a client sends, or takes, as fast as it must. Pure: the time is told to it.
//!
//! Only time that is spent waiting for the client counts. It has some seconds to begin with, and earns more with every byte;
//! what it has earned is bounded, so that no fast beginning pays for an endless rest.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// What a client has before its first byte: a slow start, a lost packet that is sent again.
const GRACE: Duration = Duration::from_secs(5);

/// The most that bytes can earn: the longest silence after a burst.
const MOST: Duration = Duration::from_secs(60);

/// One direction of one request.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Bytes a second; none where only silence is too slow.
    least: Option<NonZeroU64>,
    /// How long the client may still be waited for.
    credit: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
}

/// How a client is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Nothing moved for as long as it may be silent.
    Silent,
    /// What moved is too little.
    Trickling,
}

// === impl Rate ===

impl Rate {
    /// A direction in which nothing has moved.
    pub fn new(least: Option<NonZeroU64>) -> Self {
        Self { least, credit: GRACE, since: None }
    }

    /// The client is waited for. Tells when it is too slow, and how, unless something moves before; it may be silent for
    /// `patience`. None where the clock can't count that far.
    pub fn waits(&mut self, now: Instant, patience: Duration) -> Option<(Instant, Slow)> {
        let since = *self.since.get_or_insert(now);
        let (within, slow) = match self.least {
            Some(_) if self.credit < patience => (self.credit, Slow::Trickling),
            _ => (patience, Slow::Silent),
        };
        Some((since.checked_add(within)?, slow))
    }

    /// Somebody else is waited for: from here on the client's time stands still. The clock is read only where the client
    /// was waited for.
    pub fn rests(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            self.credit = self.credit.saturating_sub(now().saturating_duration_since(since));
        }
    }

    /// So many bytes came, or were taken.
    pub fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if bytes == 0 {
            return;
        }
        self.rests(now);
        if let Some(least) = self.least {
            let earned = Duration::from_millis((bytes as u64).saturating_mul(1000) / least);
            self.credit = self.credit.saturating_add(earned).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn least(bytes: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(bytes)
    }

    /// When a client that moves `bytes` every `step` is found too slow, within an hour.
    fn found(mut rate: Rate, bytes: usize, step: Duration, patience: Duration) -> Option<(Duration, Slow)> {
        let begun = Instant::now();
        let mut now = begun;
        while now < begun + 3600 * SECOND {
            let (due, slow) = rate.waits(now, patience).unwrap();
            if due < now + step {
                return Some((due - begun, slow));
            }
            now += step;
            rate.moved(bytes, || now);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_below_the_rate_is_found_and_one_above_it_never() {
        let rate = Rate::new(least(240));
        assert_eq!(found(rate, 240, SECOND, 60 * SECOND), None);
        assert_eq!(
            found(rate, 2400, 10 * SECOND, 60 * SECOND),
            Some((GRACE, Slow::Trickling)),
            "its first byte is late"
        );
        let (after, slow) = found(rate, 120, SECOND, 60 * SECOND).unwrap();
        assert!((GRACE..3 * GRACE).contains(&after) && slow == Slow::Trickling, "{after:?}");
        assert_eq!(found(Rate::new(None), 1, 59 * SECOND, 60 * SECOND), None, "without a rate only silence counts");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_what_was_fast_before() {
        let now = Instant::now();
        let mut rate = Rate::new(least(240));
        rate.moved(1 << 30, || now);
        assert_eq!(rate.waits(now, 20 * SECOND), Some((now + 20 * SECOND, Slow::Silent)));
        assert_eq!(rate.waits(now + SECOND, 3600 * SECOND), Some((now + MOST, Slow::Trickling)));
        assert_eq!(Rate::new(None).waits(now, 20 * SECOND), Some((now + 20 * SECOND, Slow::Silent)));
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_for_the_client_does_not_count() {
        let now = Instant::now();
        let mut rate = Rate::new(least(240));
        rate.waits(now, 60 * SECOND);
        rate.rests(|| now + 2 * SECOND);
        let later = now + 3600 * SECOND;
        assert_eq!(rate.waits(later, 60 * SECOND), Some((later + 3 * SECOND, Slow::Trickling)));
        rate.moved(240, || later + SECOND);
        assert_eq!(rate.waits(later + SECOND, 60 * SECOND), Some((later + 4 * SECOND, Slow::Trickling)));
    }
}
