//! How fast an endpoint answers: a moving average that jumps up to a peak at once and forgets it over time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// After this long without an answer an average counts as 1/e of itself; an answer replaces as much of it. Long enough
/// that one quick answer makes nobody a favourite, short enough that an endpoint 100 times slower than its siblings is
/// asked again after 23 s (5 s * ln 100).
const DECAY: Duration = Duration::from_secs(5);

/// A failed attempt counts as at least this slow, however fast it failed.
const LEAST_PENALTY: Duration = Duration::from_secs(1);

/// Failures in a row double the average up to this.
const GREATEST_PENALTY: Duration = Duration::from_secs(60);

/// A peak-sensitive, exponentially weighted moving average of the time to the first byte.
///
/// One word holds the average (upper half: `f32` microseconds, 0 before the first answer) and when it was made (lower
/// half: milliseconds), so that both change together without a lock. A `f32` is exact to a part in ten million. The
/// milliseconds wrap after 49 days; an endpoint unused for so long may be thought slow once more.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

// === impl Latency ===

impl Latency {
    /// The average as last made; `None` before the first answer.
    pub fn average(&self) -> Option<Duration> {
        let (micros, _) = unpack(self.0.load(Relaxed));
        (micros > 0.0).then(|| Duration::from_secs_f64(f64::from(micros) / 1e6))
    }

    /// The average in microseconds as it counts at `at`: the longer ago its last answer, the less is believed of it,
    /// so an endpoint left alone for being slow is asked again. `None` before the first answer.
    pub(crate) fn at(&self, at: Duration) -> Option<f64> {
        let (micros, made) = unpack(self.0.load(Relaxed));
        (micros > 0.0).then(|| f64::from(micros) * remains(made, millis(at)))
    }

    /// Takes the time that an answer took.
    pub(crate) fn observe(&self, took: Duration, at: Duration) {
        self.update(at, |_| took);
    }

    /// Takes an attempt that failed. It counts as twice the average, so an endpoint that fails fast is not taken for a
    /// fast one, and one that only fails is asked less and less.
    pub(crate) fn observe_failure(&self, took: Duration, at: Duration) {
        self.update(at, |average| took.max((average * 2).clamp(LEAST_PENALTY, GREATEST_PENALTY)));
    }

    /// Takes a time after which there was no answer yet: it says something only where it is longer than the average.
    pub(crate) fn observe_unanswered(&self, took: Duration, at: Duration) {
        if self.at(at).is_some_and(|average| took.as_secs_f64() * 1e6 > average) {
            self.observe(took, at);
        }
    }

    fn update(&self, at: Duration, sample: impl Fn(Duration) -> Duration) {
        let at = millis(at);
        // The closure always answers, so there is no failure to look at.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (old, made) = unpack(word);
            let took = sample(Duration::from_secs_f64(f64::from(old) / 1e6)).as_secs_f64() * 1e6;
            let old = f64::from(old);
            let kept = remains(made, at);
            // A peak counts at once and in full: waiting for an average to rise sends more requests into it.
            let new = if took > old * kept { took } else { old * kept + took * (1.0 - kept) };
            Some(pack(new.max(1.0) as f32, at))
        });
    }
}

/// What part of an average made at `made` still counts at `at`. An answer that overtook a later one counts as now.
fn remains(made: u32, at: u32) -> f64 {
    let age = at.wrapping_sub(made);
    if age > u32::MAX / 2 { 1.0 } else { (-f64::from(age) / DECAY.as_millis() as f64).exp() }
}

fn millis(at: Duration) -> u32 {
    at.as_millis() as u32
}

fn pack(micros: f32, made: u32) -> u64 {
    u64::from(micros.to_bits()) << 32 | u64::from(made)
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn average(latency: &Latency) -> u128 {
        latency.average().unwrap().as_millis()
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        assert_eq!(latency.average(), None);
        latency.observe(ms(10), ms(0));
        latency.observe(ms(800), ms(10));
        assert_eq!(average(&latency), 800);
        latency.observe(ms(10), ms(20));
        assert!((790..800).contains(&average(&latency)), "one quick answer is no recovery");
        // ln(80) * 5 s after the peak it counts as 10 ms.
        assert!((latency.at(ms(22_000)).unwrap() / 1e3 - 9.8).abs() < 1.0);
        latency.observe(ms(10), ms(30_000));
        assert!((10..=12).contains(&average(&latency)));
    }

    #[test]
    fn failures_count_as_slow_and_more_so_in_a_row() {
        let latency = Latency::default();
        latency.observe(ms(5), ms(0));
        for (number, expected) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            latency.observe_failure(ms(1), ms(number as u64));
            let average = latency.average().unwrap().as_secs_f64();
            assert!((average - f64::from(expected)).abs() < 0.1, "{average} s, not {expected} s");
        }
        let slow = Latency::default();
        slow.observe_failure(ms(90_000), ms(0));
        assert_eq!(average(&slow), 90_000, "a timeout counts as long as it took");
    }

    #[test]
    fn an_answer_that_did_not_come_yet_says_only_that_it_is_slower_than_that() {
        let latency = Latency::default();
        latency.observe_unanswered(ms(900), ms(0));
        assert_eq!(latency.average(), None);
        latency.observe(ms(100), ms(0));
        latency.observe_unanswered(ms(50), ms(1));
        assert_eq!(average(&latency), 100);
        latency.observe_unanswered(ms(900), ms(2));
        assert_eq!(average(&latency), 900);
    }

    #[test]
    fn an_answer_that_was_overtaken_counts_as_now() {
        let latency = Latency::default();
        latency.observe(ms(20), ms(1_000));
        latency.observe(ms(10), ms(900));
        assert_eq!(average(&latency), 20);
    }
}
