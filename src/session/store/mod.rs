//! WHERE SESSIONS LIVE: the embedded memory, or Redis in one of its forms.
//!
//! A [`Store`] is made by `compile` without any I/O, kept connected by its [`Store::keep`], which is a task of the
//! supervisor, and asked by sources of sessions and by sticky bindings. Whoever asks never connects and never waits
//! longer than the budget he brings.

mod binding;
mod config;
mod memory;
mod redis;
#[cfg(test)]
pub(crate) mod testing;

pub use self::binding::{Bind, Binding, BindingKey};
pub use self::config::{Address, Credentials, RedisConfig, Servers, StoreConfig, Tls};

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use self::{memory::Memory, redis::Redis};
use crate::telemetry::metrics::{StoreMetrics, StoreSample, StoreSource};

/// A place that knows which sessions live.
#[derive(Debug)]
pub struct Store {
    name: Arc<str>,
    config: StoreConfig,
    kind: Kind,
    metrics: Arc<StoreMetrics>,
}

#[derive(Debug)]
enum Kind {
    Memory(Memory),
    Redis(Arc<Redis>),
}

/// What a cache of a store's keys must hear.
pub trait Invalidated: Send + Sync {
    /// `key` was changed, touched, deleted or has expired. Called on the connection's own task, in order with its answers:
    /// who asks after this gets what is there now, but an answer that is older may still be on its way to who asked for
    /// it. Must not block.
    fn invalidated(&self, key: &[u8]);
    /// Changes may have been missed: nothing remembered can be trusted for being unchanged.
    fn lost(&self);
}

/// Why a store gave no answer. What it said is in its [`StoreHealth`], not here: it may hold what must not be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Not within the budget.
    Timeout,
    /// There is no connection, it broke meanwhile, or the breaker is open.
    Down,
    /// It answered that it won't: it is loading, it doesn't let us, it can't write.
    Refused,
    /// Too many are waiting for it already.
    Overload,
    /// What it holds under that key is not what is kept there.
    Garbage,
}

/// How a store is, for people.
#[derive(Clone, Debug)]
pub struct StoreHealth {
    /// `memory`, `redis`, `cluster` or `sentinel`.
    pub kind: &'static str,
    /// What it can do for a request now.
    pub state: StoreState,
    /// Since when it is in that state; never for memory.
    pub since: Option<SystemTime>,
    /// It tells of every change, so what is remembered is never stale for long.
    pub tracking: bool,
    /// Connections after the first.
    pub reconnects: u64,
    /// What went wrong last, without credentials, ids or values.
    pub last_error: Option<Box<str>>,
}

/// What a store can do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It is connected, but has failed too often in a row: nobody asks it until a probe succeeds.
    Failing,
    /// There is no connection.
    Down,
}

/// Work that a store's task carries out when it finds time; see [`Store::later`].
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Store ===

impl Store {
    /// A store that nobody has connected yet: [`Store::keep`] does.
    #[must_use]
    pub fn new(name: Arc<str>, config: StoreConfig, metrics: Arc<StoreMetrics>) -> Arc<Self> {
        let kind = match &config {
            StoreConfig::Memory => Kind::Memory(Memory::default()),
            StoreConfig::Redis(config) => Kind::Redis(Redis::new(Arc::clone(&name), config.clone(), metrics.clone())),
        };
        Arc::new(Self { name, config, kind, metrics })
    }

    /// The store serves from now on: scrapes read its state.
    pub fn put_in_place(self: &Arc<Self>) {
        let store: Weak<dyn StoreSource> = Arc::<Self>::downgrade(self);
        self.metrics.read_from(store);
    }

    /// What it was made of: a reload keeps the store whose configuration is the same.
    #[must_use]
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// The name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it lives in this process and learns sessions from answers.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self.kind, Kind::Memory(_))
    }

    /// How it is, now.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        match &self.kind {
            Kind::Memory(_) => StoreHealth {
                kind: "memory",
                state: StoreState::Up,
                since: None,
                tracking: true,
                reconnects: 0,
                last_error: None,
            },
            Kind::Redis(redis) => redis.health(),
        }
    }

    /// Whether it is connected, or it is known why it isn't.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        match &self.kind {
            Kind::Memory(_) => true,
            Kind::Redis(redis) => redis.was_tried(),
        }
    }

    /// Keeps the store connected and carries out what was put off with [`Store::later`]; never returns. May be cancelled
    /// at any time and begun again: the connection stays, and the next one takes it over.
    pub async fn keep(self: Arc<Self>) {
        match &self.kind {
            Kind::Memory(_) => pending().await,
            Kind::Redis(redis) => redis.keep().await,
        }
    }

    /// Hears of changes from now on, for as long as it lives.
    pub fn subscribe(&self, cache: Weak<dyn Invalidated>) {
        match &self.kind {
            // Nothing changes there that we don't change ourselves.
            Kind::Memory(_) => {}
            Kind::Redis(redis) => redis.subscribe(cache),
        }
    }

    /// Lets the store's own task do `work`: no request waits for it. False, and nothing is done, where too much is
    /// waiting already, there is no connection, or the store is memory.
    pub fn later(&self, work: Work) -> bool {
        match &self.kind {
            Kind::Memory(_) => false,
            Kind::Redis(redis) => redis.later(work),
        }
    }

    /// What is at `key`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn get(&self, key: &str, budget: Duration) -> Result<Option<Bytes>, StoreError> {
        match &self.kind {
            Kind::Memory(memory) => Ok(memory.get(key)),
            Kind::Redis(redis) => redis.get(key, budget).await,
        }
    }

    /// Whether there is anything at `key`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn exists(&self, key: &str, budget: Duration) -> Result<bool, StoreError> {
        match &self.kind {
            Kind::Memory(memory) => Ok(memory.get(key).is_some()),
            Kind::Redis(redis) => redis.exists(key, budget).await,
        }
    }

    /// The binding at `key`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn binding(&self, key: &BindingKey, budget: Duration) -> Result<Option<Binding>, StoreError> {
        match &self.kind {
            Kind::Memory(memory) => Ok(memory.binding(key)),
            Kind::Redis(redis) => redis.binding(key, budget).await,
        }
    }

    /// Binds; with [`Bind::IfAbsent`], what was there first is handed back and stays.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn bind(
        &self,
        key: &BindingKey,
        value: &str,
        ttl: Duration,
        bind: Bind,
        budget: Duration,
    ) -> Result<Option<Bytes>, StoreError> {
        match &self.kind {
            Kind::Memory(memory) => Ok(memory.bind(key, value, ttl, bind)),
            Kind::Redis(redis) => redis.bind(key, value, ttl, bind, budget).await,
        }
    }

    /// Lets a binding that is there live for `ttl` from now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn extend(&self, key: &BindingKey, ttl: Duration, budget: Duration) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Memory(memory) => {
                memory.extend(key, ttl);
                Ok(())
            }
            Kind::Redis(redis) => redis.extend(key, ttl, budget).await,
        }
    }

    /// Removes a binding.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, key: &BindingKey, budget: Duration) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Memory(memory) => {
                memory.remove(key);
                Ok(())
            }
            Kind::Redis(redis) => redis.remove(key, budget).await,
        }
    }

    /// Memory alone: the application has made a session. Elsewhere the application tells the store itself.
    pub fn learn(&self, key: &str, ttl: Duration) {
        if let Kind::Memory(memory) = &self.kind {
            memory.learn(key, ttl);
        }
    }

    /// Memory alone: the application has ended a session.
    pub fn forget(&self, key: &str) {
        if let Kind::Memory(memory) = &self.kind {
            memory.forget(key);
        }
    }
}

impl StoreSource for Store {
    fn sample(&self) -> StoreSample {
        let (state, tracking) = match &self.kind {
            Kind::Memory(_) => (StoreState::Up, true),
            Kind::Redis(redis) => redis.state(),
        };
        StoreSample { up: state == StoreState::Up, tracking }
    }
}
