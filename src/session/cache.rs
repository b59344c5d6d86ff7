//! What is remembered of sessions for a short time, kept right by pushes from the store.
//!
//! A request asks [`Cache::hit`]; a miss goes on to [`Cache::get`], where concurrent requests for one id are one look-up.
//! The store's pushes come in through [`Invalidated`] and take away what they name at once.
//!
//! Nothing stale is remembered: a look-up stands in `flights` from before the store is asked until its answer has been
//! put into `kept`, and entering, landing and being pushed happen under one lock. So a push finds the value either in
//! `kept`, and takes it out, or in flight, and marks it; what lands marked is not kept. Whether the answer was made before
//! the push or after it can't be seen from here, so it counts as made before.

mod key;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::mem::size_of;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, Weighter};
use tokio::sync::Notify;
use tokio::time::{self, timeout};

use super::store::{Invalidated, StoreError, Work};

pub use key::KeyTemplate;

/// Asks the store what a cache doesn't know.
pub trait Load: Send + Sync + 'static {
    /// What is remembered.
    type Value: Value;

    /// How long a request waits for an answer, others' look-ups that it joins included.
    fn budget(&self) -> Duration;

    /// What the store says of `id`. It ends by itself when `budget` is over.
    fn load(&self, id: &str, budget: Duration) -> impl Future<Output = Result<Self::Value, StoreError>> + Send;

    /// Has `work` done soon, off the request path, or drops it: `Store::later`.
    fn later(&self, work: Work);
}

/// What can be remembered. Cloned for every hit: keep what is large behind an `Arc`.
pub trait Value: Clone + Send + Sync + 'static {
    /// The bytes behind it, apart from its own `size_of`.
    fn bytes(&self) -> usize;

    /// How long it holds, of the two times that the cache was made with, or less.
    fn life(&self, lives: Lives) -> Duration {
        lives.positive
    }
}

/// How long answers are remembered. Zero: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    /// What is there.
    pub positive: Duration,
    /// What isn't.
    pub negative: Duration,
}

/// What a cache is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// What the store calls an id; by it a push finds the id again.
    pub keys: KeyTemplate,
    /// How long answers are remembered.
    pub lives: Lives,
    /// What all that is remembered may weigh together, in bytes, with what keeps it.
    pub most_bytes: u64,
    /// How many ids may be looked up at once; others wait for room, and get
    /// `StoreError::Overload` where none comes in time.
    /// Whoever may invent ids (nobody signs them) shall not fill the store's queue.
    pub most_loads: usize,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// It was remembered.
    Cache,
    /// The store was asked for it.
    Store,
    /// Another request was asking already.
    Joined,
}

/// Remembers what `L` loads.
pub struct Cache<L: Load> {
    /// For work that outlasts the call: the cache that it belongs to.
    me: Weak<Self>,
    load: L,
    settings: CacheSettings,
    kept: quick_cache::sync::Cache<Box<str>, Arc<Kept<L::Value>>, Weight>,
    flights: Mutex<HashMap<Box<str>, InFlight<L::Value>>>,
    /// Rings for one of those who wait until fewer ids are looked up.
    room: Notify,
    /// Look-ups that the store has answered, and those that it hasn't: they tell a slow store from a large crowd.
    answered: AtomicU64,
    failed: AtomicU64,
}

struct Kept<V> {
    value: V,
    until: Instant,
    /// The weight when it was put in: quick_cache asks again when it is taken out.
    weight: u64,
    /// Whether a request wanted it since it was read: what nobody wants isn't read again after a push.
    asked: AtomicBool,
}

#[derive(Clone)]
struct Weight;

struct InFlight<V> {
    flight: Arc<Flight<V>>,
    /// A push named its id, or may have: the answer may be older.
    stale: bool,
    /// Whether a request waits for it.
    asked: bool,
}

/// A look-up under way. There is one at most for an id, and only who leads it takes it out of the table.
struct Flight<V> {
    landed: OnceLock<Landed<V>>,
    bell: Notify,
}

#[derive(Clone)]
enum Landed<V> {
    /// Its leader left.
    Abandoned,
    Answer {
        result: Result<V, StoreError>,
        stale: bool,
    },
}

enum Entered<'a, L: Load> {
    Kept(L::Value),
    Lead(Lead<'a, L>),
    Join(Arc<Flight<L::Value>>),
    Full,
}

/// Who asks the store. Dropped before it landed, its flight is abandoned, and one of those who joined leads the next.
struct Lead<'a, L: Load> {
    cache: &'a Cache<L>,
    id: &'a str,
    flight: Arc<Flight<L::Value>>,
    began: Instant,
    landed: bool,
}

// === impl Weight ===

/// What an entry costs beside its id, its value and what that points to: an `Arc`'s counts, a slot in the slab with
/// links and hash (56 bytes, and up to as much again unused while the slab doubles), a place in the hash table, and its
/// share in the slots of those remembered as evicted.
const OVERHEAD: usize = 160;

impl<V> Weighter<Box<str>, Arc<Kept<V>>> for Weight {
    fn weight(&self, _: &Box<str>, kept: &Arc<Kept<V>>) -> u64 {
        kept.weight
    }
}

// === impl Cache ===

impl<L: Load> Cache<L> {
    /// An empty cache.
    pub fn new(settings: CacheSettings, load: L) -> Arc<Self> {
        // An estimate within an order of magnitude does: ids of 32 letters, and little behind them.
        let entry = OVERHEAD + size_of::<Kept<L::Value>>() + 64;
        let entries = usize::try_from(settings.most_bytes).unwrap_or(usize::MAX) / entry;
        let kept = quick_cache::sync::Cache::with(
            entries.max(1),
            settings.most_bytes,
            Weight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            load,
            settings,
            kept,
            flights: Mutex::default(),
            room: Notify::new(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// What is remembered of `id` at `now`: one hash, no allocation, no waiting.
    pub fn hit(&self, id: &str, now: Instant) -> Option<L::Value> {
        let kept = self.kept.get(id)?;
        if now >= kept.until {
            return None;
        }
        // Read first: a write would take the line from the other threads for every request of a busy session.
        if !kept.asked.load(Relaxed) {
            kept.asked.store(true, Relaxed);
        }
        Some(kept.value.clone())
    }

    /// What is remembered of `id`, or what the store says. Whoever comes while the store is being asked for `id` waits
    /// for that answer; whoever asks and gives up hands over to one of those. An answer that a push overtook is given
    /// only to who came before it was asked for.
    pub async fn get(&self, id: &str) -> (Result<L::Value, StoreError>, Via) {
        let began = time::Instant::now();
        let budget = self.load.budget();
        let mut now = began;
        let (answered, failed) = (self.answered.load(Relaxed), self.failed.load(Relaxed));
        // Whether the next flight can't have begun before this request did.
        let mut younger = false;
        // Whether this request was let in for another that is over.
        let mut let_in = false;
        loop {
            let left = budget.saturating_sub(now - began);
            let entered = self.enter(id, now.into_std(), true);
            if std::mem::take(&mut let_in) && matches!(entered, Entered::Kept(_) | Entered::Join(_)) {
                // It takes no room, so the next may have it.
                self.room.notify_one();
            }
            let flight = match entered {
                Entered::Kept(value) if younger => return (Ok(value), Via::Joined),
                Entered::Kept(value) => return (Ok(value), Via::Cache),
                Entered::Full => {
                    // A little longer than those look-ups have, to hear how they end.
                    let rang = time::timeout_at(began + budget * 11 / 10, self.room.notified()).await.is_ok();
                    // The other half is for the look-up: one that has no time left would count as the store's failure.
                    if !rang || began.elapsed() > budget / 2 {
                        if rang {
                            self.room.notify_one();
                        }
                        let is_slow = answered == self.answered.load(Relaxed) && failed != self.failed.load(Relaxed);
                        return (Err(if is_slow { StoreError::Timeout } else { StoreError::Overload }), Via::Store);
                    }
                    (younger, let_in) = (true, true);
                    now = time::Instant::now();
                    continue;
                }
                // Dropped, the lead goes on to one who has time left.
                Entered::Lead(_) if left.is_zero() => return (Err(StoreError::Timeout), Via::Joined),
                Entered::Lead(lead) => return (lead.fly(left).await.0, Via::Store),
                Entered::Join(flight) => flight,
            };
            match timeout(left, flight.landed()).await {
                Err(_) => return (Err(StoreError::Timeout), Via::Joined),
                Ok(Landed::Answer { result, stale }) if younger || !stale || result.is_err() => {
                    return (result, Via::Joined);
                }
                Ok(Landed::Answer { .. } | Landed::Abandoned) => {}
            }
            younger = true;
            now = time::Instant::now();
        }
    }

    /// Remembers `value` as what the store holds for `id`: the caller has just written it there. A push that came
    /// between the writing and this is not seen, so it may be wrong for as long as it is remembered.
    pub fn put(&self, id: &str, value: L::Value) {
        let mut flights = self.flights();
        mark(&mut flights, id);
        self.keep(id, value, time::Instant::now().into_std(), true);
    }

    /// Forgets `id`.
    pub fn remove(&self, id: &str) {
        self.take(id);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        // Marked first: what lands after this and is kept was asked for after it, so it may stay or go with the rest.
        for in_flight in self.flights().values_mut() {
            in_flight.stale = true;
        }
        self.kept.clear();
    }

    /// How many ids are remembered; some may be over.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is remembered weighs, in bytes: at most `most_bytes`, rounded up to a multiple of the number of shards.
    pub fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    /// Calls `each` with all that is remembered and not over at `now`, while others go on.
    pub fn for_each(&self, now: Instant, mut each: impl FnMut(&str, &L::Value)) {
        for (id, kept) in self.kept.iter() {
            if now < kept.until {
                each(&id, &kept.value);
            }
        }
    }

    /// Asks the store for `id`, unless it is known or asked for already. While pushes overtake the answer it asks again,
    /// but not forever: a session that changes all the time is read when it is wanted.
    async fn reread(&self, id: &str) {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let Entered::Lead(lead) = self.enter(id, time::Instant::now().into_std(), false) else { return };
            let (result, stale) = lead.fly(self.load.budget()).await;
            if result.is_err() || !stale {
                return;
            }
        }
    }

    fn enter<'a>(&'a self, id: &'a str, now: Instant, asked: bool) -> Entered<'a, L> {
        if let Some(value) = self.hit_for(id, now, asked) {
            return Entered::Kept(value);
        }
        let mut flights = self.flights();
        if let Some(in_flight) = flights.get_mut(id) {
            in_flight.asked |= asked;
            return Entered::Join(in_flight.flight.clone());
        }
        // A flight may have landed since the first look.
        if let Some(value) = self.hit_for(id, now, asked) {
            return Entered::Kept(value);
        }
        if flights.len() >= self.settings.most_loads {
            return Entered::Full;
        }
        let flight = Arc::new(Flight { landed: OnceLock::new(), bell: Notify::new() });
        flights.insert(id.into(), InFlight { flight: flight.clone(), stale: false, asked });
        Entered::Lead(Lead { cache: self, id, flight, began: now, landed: false })
    }

    fn hit_for(&self, id: &str, now: Instant, asked: bool) -> Option<L::Value> {
        if asked {
            return self.hit(id, now);
        }
        self.kept.peek(id).filter(|kept| now < kept.until).map(|kept| kept.value.clone())
    }

    /// Only under the lock of `flights`.
    fn keep(&self, id: &str, value: L::Value, now: Instant, asked: bool) {
        let life = value.life(self.settings.lives);
        let Some(until) = now.checked_add(life).filter(|until| *until > now) else {
            self.kept.remove(id);
            return;
        };
        let weight = (OVERHEAD + size_of::<Kept<L::Value>>() + id.len() + value.bytes()) as u64;
        let kept = Kept { value, until, weight, asked: AtomicBool::new(asked) };
        self.kept.insert(id.into(), Arc::new(kept));
    }

    /// Takes out what is remembered of `id`, and sees to it that nothing older comes in.
    fn take(&self, id: &str) -> Option<Arc<Kept<L::Value>>> {
        let mut flights = self.flights();
        mark(&mut flights, id);
        self.kept.remove(id).map(|(_, kept)| kept)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Box<str>, InFlight<L::Value>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark<V>(flights: &mut HashMap<Box<str>, InFlight<V>>, id: &str) {
    if let Some(in_flight) = flights.get_mut(id) {
        in_flight.stale = true;
    }
}

impl<L: Load> Invalidated for Cache<L> {
    fn invalidated(&self, key: &[u8]) {
        let Some(id) = self.settings.keys.id(key) else { return };
        // A second push for the same id finds nothing to take: there is one re-read for all of them.
        let Some(kept) = self.take(id) else { return };
        if kept.asked.load(Relaxed) {
            // Weak: work that is put off doesn't keep a cache whose source is gone.
            let (me, id) = (self.me.clone(), Box::<str>::from(id));
            self.load.later(Box::pin(async move {
                if let Some(cache) = me.upgrade() {
                    cache.reread(&id).await;
                }
            }));
        }
    }

    fn lost(&self) {
        self.clear();
    }
}

// === impl Flight ===

impl<V: Clone> Flight<V> {
    /// How it ended.
    async fn landed(&self) -> Landed<V> {
        // Made before the look: it hears the bell from here on.
        let bell = self.bell.notified();
        if self.landed.get().is_none() {
            bell.await;
        }
        self.landed.get().cloned().unwrap_or(Landed::Abandoned)
    }

    fn land(&self, landed: Landed<V>) {
        let _ = self.landed.set(landed);
        self.bell.notify_waiters();
    }
}

// === impl Lead ===

impl<L: Load> Lead<'_, L> {
    /// Asks the store, and tells who joined; also whether a push overtook the answer.
    async fn fly(mut self, budget: Duration) -> (Result<L::Value, StoreError>, bool) {
        let result = self.cache.load.load(self.id, budget).await;
        match &result {
            Ok(_) | Err(StoreError::Garbage) => self.cache.answered.fetch_add(1, Relaxed),
            Err(StoreError::Overload) => 0,
            Err(StoreError::Timeout | StoreError::Down | StoreError::Refused) => {
                self.cache.failed.fetch_add(1, Relaxed)
            }
        };
        let stale = {
            let mut flights = self.cache.flights();
            let (stale, asked) = flights.remove(self.id).map_or((true, false), |flight| (flight.stale, flight.asked));
            if !stale && let Ok(value) = &result {
                self.cache.keep(self.id, value.clone(), self.began, asked);
            }
            stale
        };
        self.landed = true;
        self.cache.room.notify_one();
        self.flight.land(Landed::Answer { result: result.clone(), stale });
        (result, stale)
    }
}

impl<L: Load> Drop for Lead<'_, L> {
    fn drop(&mut self) {
        if !self.landed {
            self.cache.flights().remove(self.id);
            self.cache.room.notify_one();
            self.flight.land(Landed::Abandoned);
        }
    }
}
