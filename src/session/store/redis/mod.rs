//! A REDIS: asked over one connection, which [`Redis::keep`] makes, watches and replaces.
//!
//! Who asks takes the connection that is published, or is told `Down` at once: no look-up ever connects. A look-up that
//! fails counts against the breaker of its server; the keeper probes where one is open.

mod breaker;
mod connect;
mod keep;
mod link;
mod standing;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
    try_join,
};

use self::{
    link::{Connection, Fault, Link, Reason, reason},
    standing::Standing,
};
use super::{Bind, Binding, BindingKey, Invalidated, RedisConfig, Servers, StoreError, StoreHealth, StoreState, Work};
use crate::telemetry::metrics::{StoreFailure, StoreMetrics};

/// Look-ups that may wait at once. A Redis that answers in a millisecond serves a million a second with that many; one
/// that doesn't must not gather requests without end.
const MOST_WAITING: usize = 1024;

/// Longer values are no sessions. One that takes longer than the budget to come would hold up all others behind it, and
/// be taken for a store that is down.
const MOST_READ: usize = 1 << 20;

/// Work that may wait for the keeper.
const MOST_WORK: usize = 1024;

/// A Redis and how we stand with it.
pub(super) struct Redis {
    config: RedisConfig,
    metrics: Arc<StoreMetrics>,
    link: ArcSwapOption<Link>,
    standing: Standing,
    caches: RwLock<Vec<Weak<dyn Invalidated>>>,
    waiting: AtomicUsize,
    work: mpsc::Sender<Work>,
    /// Whoever holds it is the keeper.
    todo: Mutex<mpsc::Receiver<Work>>,
    kept: AtomicBool,
}

/// What a command is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A server that refuses it is of no use to anybody.
    Read,
    /// A server that refuses it (it is full, say) may well be read.
    Write,
}

/// One that waits; gone when dropped.
struct Waiting<'a>(&'a AtomicUsize);

/// Whether `config` could be connected with at all; no I/O.
pub(super) fn check(config: &RedisConfig) -> Result<(), Reason> {
    connect::check(config)
}

// === impl Redis ===

impl Redis {
    pub(super) fn new(name: Arc<str>, config: RedisConfig, metrics: Arc<StoreMetrics>) -> Arc<Self> {
        let (work, todo) = mpsc::channel(MOST_WORK);
        Arc::new(Self {
            config,
            metrics,
            link: ArcSwapOption::empty(),
            standing: Standing::new(name),
            caches: RwLock::default(),
            waiting: AtomicUsize::new(0),
            work,
            todo: Mutex::new(todo),
            kept: AtomicBool::new(false),
        })
    }

    pub(super) fn health(&self) -> StoreHealth {
        let kind = match self.config.servers {
            Servers::One(_) => "redis",
            Servers::Cluster(_) => "cluster",
            Servers::Sentinel { .. } => "sentinel",
        };
        let (state, tracking) = self.state();
        StoreHealth { state, ..self.standing.health(kind, tracking) }
    }

    /// What it can do for a request; allocates nothing.
    pub(super) fn state(&self) -> (StoreState, bool) {
        match self.living() {
            None => (StoreState::Down, false),
            Some(link) if link.breakers.any_open() => (StoreState::Failing, link.untracked.is_none()),
            Some(link) => (StoreState::Up, link.untracked.is_none()),
        }
    }

    pub(super) fn was_tried(&self) -> bool {
        self.living().is_some() || self.standing.has_erred()
    }

    pub(super) fn subscribe(&self, cache: Weak<dyn Invalidated>) {
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(cache);
    }

    /// Refused without a connection (there is nothing to read) and without a keeper (nobody would do it).
    pub(super) fn later(&self, work: Work) -> bool {
        self.kept.load(Relaxed) && self.living().is_some() && self.work.try_send(work).is_ok()
    }

    pub(super) async fn get(&self, key: &str, budget: Duration) -> Result<Option<Bytes>, StoreError> {
        let read = read(key);
        let answer = self.ask(key, Purpose::Read, budget, |connection| send(read, connection)).await?;
        match value(answer)? {
            // So it answers for what isn't there; a session is not written as an empty text.
            Some(value) if value.is_empty() => Ok(None),
            Some(value) if value.len() > MOST_READ => Err(StoreError::Garbage),
            found => Ok(found),
        }
    }

    pub(super) async fn exists(&self, key: &str, budget: Duration) -> Result<bool, StoreError> {
        let command = command("EXISTS", key);
        match self.ask(key, Purpose::Read, budget, |connection| send(command, connection)).await? {
            Value::Int(found) => Ok(found > 0),
            _ => Err(StoreError::Garbage),
        }
    }

    pub(super) async fn binding(&self, key: &BindingKey, budget: Duration) -> Result<Option<Binding>, StoreError> {
        let (get, left) = (command("GET", key.as_str()), command("PTTL", key.as_str()));
        // Both are under way at once, and in this order: a key that expires in between has a value and no time left.
        let query = |connection: Connection| async { try_join!(send(get, connection.clone()), send(left, connection)) };
        let (found, left) = self.ask(key.as_str(), Purpose::Read, budget, query).await?;
        let left = match left {
            Value::Int(milliseconds) => Duration::from_millis(milliseconds.try_into().unwrap_or(0)),
            _ => return Err(StoreError::Garbage),
        };
        Ok(value(found)?.map(|value| Binding { value, left }))
    }

    pub(super) async fn bind(
        &self,
        key: &BindingKey,
        value_: &str,
        ttl: Duration,
        bind: Bind,
        budget: Duration,
    ) -> Result<Option<Bytes>, StoreError> {
        let mut set = command("SET", key.as_str());
        set.arg(value_).arg("PX").arg(milliseconds(ttl));
        if bind == Bind::Always {
            self.ask(key.as_str(), Purpose::Write, budget, |connection| send(set, connection)).await?;
            return Ok(None);
        }
        set.arg("NX");
        // `SET .. NX GET` would be one command, but needs Redis 7.
        let get = command("GET", key.as_str());
        let query = |connection: Connection| async { try_join!(send(set, connection.clone()), send(get, connection)) };
        let (set, found) = self.ask(key.as_str(), Purpose::Write, budget, query).await?;
        if set == Value::Nil { value(found) } else { Ok(None) }
    }

    pub(super) async fn extend(&self, key: &BindingKey, ttl: Duration, budget: Duration) -> Result<(), StoreError> {
        let mut command = command("PEXPIRE", key.as_str());
        command.arg(milliseconds(ttl));
        self.ask(key.as_str(), Purpose::Write, budget, |connection| send(command, connection)).await.map(drop)
    }

    pub(super) async fn remove(&self, key: &BindingKey, budget: Duration) -> Result<(), StoreError> {
        let command = command("DEL", key.as_str());
        self.ask(key.as_str(), Purpose::Write, budget, |connection| send(command, connection)).await.map(drop)
    }

    /// Asks the server that holds `key`, if it is worth asking.
    async fn ask<T, Q>(
        &self,
        key: &str,
        purpose: Purpose,
        budget: Duration,
        query: impl FnOnce(Connection) -> Q,
    ) -> Result<T, StoreError>
    where
        Q: Future<Output = RedisResult<T>>,
    {
        let answer = match (Waiting::enter(&self.waiting), self.living()) {
            (None, _) => Err(StoreError::Overload),
            (_, None) => Err(StoreError::Down),
            (Some(_), Some(link)) if link.breakers.of(key).is_open() => Err(StoreError::Down),
            (Some(_waiting), Some(link)) => match timeout(budget, query(link.connection.clone())).await {
                Ok(Ok(answer)) => {
                    link.breakers.of(key).succeeded();
                    Ok(answer)
                }
                Ok(Err(error)) => Err(self.judge(&link, key, purpose, budget, &error)),
                Err(_) => {
                    self.count_failure(&link, key, budget, "no answer in time".into());
                    Err(StoreError::Timeout)
                }
            },
        };
        if let Some(failure) = answer.as_ref().err().and_then(|error| failure(*error)) {
            self.metrics.failed(failure);
        }
        answer
    }

    /// What an error means for who asked, and for the connection.
    fn judge(&self, link: &Link, key: &str, purpose: Purpose, budget: Duration, error: &RedisError) -> StoreError {
        match Fault::of(error) {
            Fault::WrongType => {
                link.breakers.of(key).succeeded();
                StoreError::Garbage
            }
            // A node of a Cluster; the client finds the way again by itself.
            Fault::Broken if link.is_cluster() => {
                self.count_failure(link, key, budget, reason(error));
                StoreError::Down
            }
            Fault::Broken => {
                self.end(link, reason(error));
                StoreError::Down
            }
            Fault::ReadOnly if matches!(self.config.servers, Servers::Sentinel { .. }) => {
                self.end(link, "it is no master any more".into());
                StoreError::Down
            }
            Fault::ReadOnly | Fault::NotAllowed | Fault::Refused => {
                if purpose == Purpose::Read {
                    self.count_failure(link, key, budget, reason(error));
                } else {
                    self.standing.erred(reason(error));
                }
                StoreError::Refused
            }
        }
    }

    fn count_failure(&self, link: &Link, key: &str, budget: Duration, reason: Reason) {
        if link.breakers.of(key).failed(key, budget) && link.is_alive() {
            self.standing.turned(StoreState::Failing, Some(reason));
            link.life.wake.notify_one();
        }
    }

    /// The connection, if there is one that lives.
    fn living(&self) -> Option<Arc<Link>> {
        self.link.load_full().filter(|link| link.is_alive())
    }

    /// Ends a connection, once: from here on nobody uses it, and what is remembered may be stale.
    fn end(&self, link: &Link, reason: Reason) {
        if link.life.end(reason) {
            self.lost();
        }
    }

    fn lost(&self) {
        self.each_cache(|cache| cache.lost());
    }

    fn each_cache(&self, tell: impl Fn(&dyn Invalidated)) {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.iter().filter_map(Weak::upgrade).for_each(|cache| tell(&*cache));
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("config", &self.config).field("standing", &self.standing).finish_non_exhaustive()
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Relaxed) < MOST_WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn command(name: &str, key: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg(name).arg(key);
    command
}

/// Reads what is at `key`, and of what is too long no more than shows that it is.
fn read(key: &str) -> Cmd {
    let mut read = command("GETRANGE", key);
    read.arg(0).arg(MOST_READ);
    read
}

/// Always a plain [`Value`]: a conversion that fails would look like a broken connection.
async fn send(command: Cmd, mut connection: Connection) -> RedisResult<Value> {
    command.query_async(&mut connection).await
}

fn value(answer: Value) -> Result<Option<Bytes>, StoreError> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes.into())),
        // RESP3 may send what RESP2 calls a bulk string otherwise, and the client reads a short text "OK" as a word.
        Value::SimpleString(text) => Ok(Some(text.into_bytes().into())),
        Value::VerbatimString { text, .. } => Ok(Some(text.into_bytes().into())),
        _ => Err(StoreError::Garbage),
    }
}

/// Redis takes no lifetime of nought.
fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}

fn failure(error: StoreError) -> Option<StoreFailure> {
    match error {
        StoreError::Timeout => Some(StoreFailure::Timeout),
        StoreError::Down => Some(StoreFailure::Down),
        StoreError::Refused => Some(StoreFailure::Refused),
        StoreError::Overload => Some(StoreFailure::Overload),
        // Counted as what it is by who asked.
        StoreError::Garbage => None,
    }
}
