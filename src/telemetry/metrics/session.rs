//! What is counted of the sources of sessions and of the stores that know them.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use super::{
    SESSION_CACHE_BYTES, SESSION_CACHE_ENTRIES, SESSION_CHECK_DURATION, SESSION_CHECKS, SESSION_GARBAGE,
    SESSION_STORE_ERRORS, SESSION_STORE_INVALIDATIONS, SESSION_STORE_RECONNECTS, SESSION_STORE_TRACKING,
    SESSION_STORE_UP,
    value::{Counter, Counters, Durations, Scrape, label},
};

label! {
    /// What the check of a request's session found.
    CheckResult {
        /// Alive: its store says so, or a token that needs no store is valid.
        Live = "live",
        /// Its store doesn't know it, or what it holds is over or is no session.
        Dead = "dead",
        /// The request has none.
        Absent = "absent",
        /// What the request has is not signed with our keys, or not readable at all. No store was asked.
        BadSignature = "bad_signature",
        /// Its store can't be asked, or answered with an error.
        Error = "error",
        /// Its store did not answer in time.
        Timeout = "timeout",
        /// Alive, as its store said within the cache time. No store was asked.
        Cached = "cached",
    }
}

label! {
    /// Why a store did not carry out a command.
    StoreFailure {
        /// It did not answer in time.
        Timeout = "timeout",
        /// There is no connection, it broke, or the breaker is open.
        Down = "down",
        /// It answered with an error.
        Refused = "refused",
        /// Too many commands are waiting for it already.
        Overload = "overload",
    }
}

/// The metrics of one source of sessions.
#[derive(Debug)]
pub struct SessionMetrics {
    name: Arc<str>,
    checks: Counters<CheckResult>,
    waits: Durations,
    garbage: Counter,
    cache: Source<dyn CacheSource>,
}

/// The metrics of one store.
#[derive(Debug)]
pub struct StoreMetrics {
    name: Arc<str>,
    reconnects: Counter,
    invalidations: Counter,
    errors: Counters<StoreFailure>,
    state: Source<dyn StoreSource>,
}

/// Where a scrape reads how much a source remembers.
pub trait CacheSource: Send + Sync + std::fmt::Debug {
    /// The cache, now.
    fn sample(&self) -> CacheSample;
}

/// What a cache holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheSample {
    /// Sessions.
    pub entries: u64,
    /// Bytes of memory, as the cache's bound counts them.
    pub bytes: u64,
}

/// Where a scrape reads how a store is. It is asked, never told: after a reload two stores may have had one name, and the
/// one that goes must not speak for the one that came.
pub trait StoreSource: Send + Sync + std::fmt::Debug {
    /// The store, now.
    fn sample(&self) -> StoreSample;
}

/// How a store is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSample {
    /// Connected, and its breaker is closed. Memory always is.
    pub up: bool,
    /// It tells of every change. Memory always does.
    pub tracking: bool,
}

/// Who is asked at a scrape: nobody until the first snapshot is in place.
#[derive(Debug)]
struct Source<T: ?Sized>(Mutex<Option<Weak<T>>>);

// === impl SessionMetrics ===

impl SessionMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            checks: Counters::default(),
            waits: Durations::of(&SESSION_CHECK_DURATION),
            garbage: Counter::default(),
            cache: Source::default(),
        }
    }

    /// Counts a check, with the time it took where it waited for a store.
    pub fn checked(&self, result: CheckResult, waited: Option<Duration>) {
        self.checks.increment(result);
        if let Some(waited) = waited {
            self.waits.observe(waited);
        }
    }

    /// Counts something in the store that is no session.
    pub fn garbage(&self) {
        self.garbage.increment();
    }

    /// Names the cache whose size a scrape shows; called when a snapshot is put in place.
    pub fn read_from(&self, cache: Weak<dyn CacheSource>) {
        self.cache.set(cache);
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        for (result, count) in self.checks.iter() {
            scrape.count(&SESSION_CHECKS, &[&self.name, result], count);
        }
        let source = &[&*self.name];
        scrape.durations(&SESSION_CHECK_DURATION, source, &self.waits);
        scrape.count(&SESSION_GARBAGE, source, self.garbage.value());
        let Some(now) = self.cache.living().map(|cache| cache.sample()) else { return };
        scrape.count(&SESSION_CACHE_ENTRIES, source, now.entries);
        scrape.count(&SESSION_CACHE_BYTES, source, now.bytes);
    }
}

// === impl StoreMetrics ===

impl StoreMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            reconnects: Counter::default(),
            invalidations: Counter::default(),
            errors: Counters::default(),
            state: Source::default(),
        }
    }

    /// Counts a connection after the first one.
    pub fn reconnected(&self) {
        self.reconnects.increment();
    }

    /// Counts changes that the store told of.
    pub fn invalidated(&self, keys: u64) {
        self.invalidations.add(keys);
    }

    /// Counts a command that was not carried out.
    pub fn failed(&self, failure: StoreFailure) {
        self.errors.increment(failure);
    }

    /// Names the store whose state a scrape shows; called when a snapshot is put in place.
    pub fn read_from(&self, store: Weak<dyn StoreSource>) {
        self.state.set(store);
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        let store = &[&*self.name];
        scrape.count(&SESSION_STORE_RECONNECTS, store, self.reconnects.value());
        scrape.count(&SESSION_STORE_INVALIDATIONS, store, self.invalidations.value());
        for (reason, count) in self.errors.iter() {
            scrape.count(&SESSION_STORE_ERRORS, &[&self.name, reason], count);
        }
        let Some(now) = self.state.living().map(|store| store.sample()) else { return };
        scrape.count(&SESSION_STORE_UP, store, now.up.into());
        scrape.count(&SESSION_STORE_TRACKING, store, now.tracking.into());
    }
}

// === impl Source ===

impl<T: ?Sized> Source<T> {
    fn set(&self, source: Weak<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    fn living(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }
}

impl<T: ?Sized> Default for Source<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
