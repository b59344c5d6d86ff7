//! WHEN TO STOP ASKING: after a few failures in a row nobody asks until a probe has succeeded.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

/// Failures in a row that open it. One is chance, and two may be one hiccup.
const MOST_FAILURES: u32 = 3;

/// Slots of a Redis Cluster.
const SLOTS: usize = 16_384;

/// Counts failures in a row. Closed, everybody asks; open, only the probe does.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: AtomicBool,
    failures: AtomicU32,
    suspect: Mutex<Option<Suspect>>,
}

/// What failed last: the probe asks the same again, since a server may answer one thing and refuse another.
#[derive(Clone)]
pub(super) struct Suspect {
    /// The key that was asked for.
    pub(super) key: Box<str>,
    /// How long its answer may take.
    pub(super) budget: Duration,
}

/// One breaker for one server, several for a Cluster: a shard that is down must not close the others.
#[derive(Debug)]
pub(super) struct Breakers(Box<[Breaker]>);

// === impl Breaker ===

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// An answer came.
    pub(super) fn succeeded(&self) {
        // Read first: every look-up comes here, and a line that is only read is shared by all cores.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// No answer came, or a refusal. True where this opened it.
    pub(super) fn failed(&self, key: &str, budget: Duration) -> bool {
        if self.failures.fetch_add(1, Relaxed) + 1 < MOST_FAILURES || self.is_open() {
            return false;
        }
        *self.suspect() = Some(Suspect { key: key.into(), budget });
        !self.open.swap(true, Relaxed)
    }

    /// Opens it whatever was counted: the server itself said that it can't.
    pub(super) fn open(&self) {
        self.open.store(true, Relaxed);
    }

    /// A probe succeeded.
    pub(super) fn close(&self) {
        self.failures.store(0, Relaxed);
        *self.suspect() = None;
        self.open.store(false, Relaxed);
    }

    /// What the probe should ask for.
    pub(super) fn suspected(&self) -> Option<Suspect> {
        self.suspect().clone()
    }

    fn suspect(&self) -> MutexGuard<'_, Option<Suspect>> {
        self.suspect.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Suspect ===

impl std::fmt::Debug for Suspect {
    /// The key holds a session's id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suspect").field("budget", &self.budget).finish_non_exhaustive()
    }
}

// === impl Breakers ===

impl Breakers {
    /// For one server.
    pub(super) fn one() -> Self {
        Self(Box::new([Breaker::default()]))
    }

    /// For a Cluster. Shards hold ranges of slots as a rule, so 64 equal ranges follow their borders well enough.
    pub(super) fn of_cluster() -> Self {
        Self((0..64).map(|_| Breaker::default()).collect())
    }

    /// The breaker of the server that holds `key`.
    pub(super) fn of(&self, key: &str) -> &Breaker {
        match &*self.0 {
            [one] => one,
            many => &many[slot(key.as_bytes()) * many.len() / SLOTS],
        }
    }

    pub(super) fn any_open(&self) -> bool {
        self.0.iter().any(Breaker::is_open)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Breaker> {
        self.0.iter()
    }
}

/// The slot of a Cluster that holds `key`: CRC16 (XMODEM) of the key, or of what stands in its first braces.
fn slot(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').map(|open| &key[open + 1..]);
    let tag = tag.and_then(|rest| rest.iter().position(|byte| *byte == b'}').map(|close| &rest[..close]));
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.iter().fold(0u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    usize::from(crc) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(50);

    #[test]
    fn three_failures_in_a_row_open_it_and_only_a_probe_closes_it() {
        let breaker = Breaker::default();
        assert!(!breaker.failed("a", BUDGET));
        assert!(!breaker.failed("b", BUDGET));
        breaker.succeeded();
        assert!(!breaker.failed("c", BUDGET));
        assert!(!breaker.failed("d", BUDGET));
        assert!(!breaker.is_open());
        assert!(breaker.failed("e", BUDGET), "the third in a row opens it");
        assert!(!breaker.failed("f", BUDGET), "and it opens once");
        assert_eq!(breaker.suspected().map(|suspect| suspect.key), Some("e".into()));
        breaker.succeeded();
        assert!(breaker.is_open(), "an answer that was under way proves nothing");
        breaker.close();
        assert!(!breaker.is_open());
        assert!(!breaker.failed("g", BUDGET), "and counts from nought");
    }

    #[test]
    fn keys_fall_into_the_slots_that_redis_puts_them_in() {
        // As CLUSTER KEYSLOT says.
        for (key, expected) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("sess:{abc}x", 7_638),
            ("{abc}", 7_638),
            ("{}a", 10_875),
            ("a{b", 13_340),
            ("a}b{c}d", 7_365),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn one_shards_failures_close_nothing_of_another() {
        let breakers = Breakers::of_cluster();
        for _ in 0..3 {
            breakers.of("foo").failed("foo", BUDGET);
        }
        assert!(breakers.of("foo").is_open());
        assert!(!breakers.of("sess:{abc}x").is_open());
        assert!(breakers.any_open());
    }

    #[test]
    fn a_suspect_is_not_printed() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed("sess:secret", BUDGET);
        }
        assert!(!format!("{breaker:?}").contains("secret"));
    }
}
