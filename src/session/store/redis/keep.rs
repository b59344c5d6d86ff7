//! THE STORE'S OWN TASK: connects, watches the connection, probes where a breaker is open, and does what was put off.

use std::{
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{PushInfo, PushKind, Value};
use tokio::{
    select,
    sync::{MutexGuard, mpsc},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Redis, Servers, StoreState, Work,
    connect::{connect, is_replica, ping},
    link::{Connection, Fault, Life, Link, reason},
    read, send,
};

/// The pause before the second attempt; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often an idle connection is asked whether it lives. What is remembered can be stale that long where a network has
/// swallowed the connection silently, and never longer than the cache time.
const WATCHED_EVERY: Duration = Duration::from_secs(1);

/// A server that is silent for that long is connected anew. Longer than one slow command takes, since what is remembered
/// is lost with the connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// An attempt to connect, Sentinels included, takes no longer.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);

/// Pieces of work done at once.
const MOST_AT_WORK: usize = 64;

/// Holds the keeper's place; leaves it empty and without work behind, also when the keeper is cancelled.
struct Keeper<'a> {
    redis: &'a Redis,
    todo: MutexGuard<'a, mpsc::Receiver<Work>>,
}

// === impl Redis ===

impl Redis {
    /// Never returns. A second one waits until the first is gone.
    pub(in crate::session::store) async fn keep(self: &Arc<Self>) {
        let mut keeper = Keeper { redis: self, todo: self.todo.lock().await };
        self.kept.store(true, Relaxed);
        let mut tending = pin!(self.tend());
        // A set of tasks, since a panic in one must end no other; they end with it.
        let mut at_work = JoinSet::new();
        loop {
            select! {
                () = &mut tending => {}
                Some(work) = keeper.todo.recv(), if at_work.len() < MOST_AT_WORK => {
                    at_work.spawn(work);
                }
                Some(_) = at_work.join_next() => {}
            }
        }
    }

    /// Connects and watches, by turns.
    async fn tend(self: &Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let link = match self.living() {
                // Left by a keeper before us.
                Some(link) => link,
                None => match self.connect().await {
                    Ok(link) => link,
                    Err(error) => {
                        self.standing.turned(StoreState::Down, Some(error));
                        self.standing.speak(None);
                        sleep(jittered(pause)).await;
                        pause = LONGEST_PAUSE.min(pause * 2);
                        continue;
                    }
                },
            };
            let began = Instant::now();
            self.watch(&link).await;
            self.link.store(None);
            self.standing.turned(StoreState::Down, link.life.reason());
            self.standing.speak(None);
            // One that breaks as soon as it is made is not made again at once.
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            } else {
                sleep(jittered(pause)).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<Link>, super::Reason> {
        let life = Arc::new(Life::default());
        let (redis, ours) = (Arc::downgrade(self), Arc::downgrade(&life));
        let pushed = move |push| hear(&redis, &ours, &push);
        let config = self.config.clone();
        // A task of its own: what answers may be no Redis at all, and a parser that panics must not end the keeper.
        let mut attempt = JoinSet::new();
        attempt.spawn(async move { timeout(LONGEST_ATTEMPT, connect(&config, life, pushed)).await });
        let link = match attempt.join_next().await {
            Some(Ok(Ok(connected))) => Arc::new(connected?),
            Some(Ok(Err(_))) => return Err("no answer".into()),
            Some(Err(_)) | None => return Err("it doesn't speak Redis's protocol".into()),
        };
        if !link.is_alive() {
            return Err(link.life.reason().unwrap_or_default());
        }
        if self.standing.connected() {
            self.metrics.reconnected();
        }
        self.link.store(Some(Arc::clone(&link)));
        self.standing.turned(StoreState::Up, None);
        self.standing.speak(link.untracked.as_deref());
        Ok(link)
    }

    /// Returns when the connection is over.
    async fn watch(&self, link: &Link) {
        let mut pause = FIRST_PAUSE;
        while link.is_alive() {
            let failing = link.breakers.any_open();
            let wait = if failing { jittered(pause) } else { WATCHED_EVERY };
            select! {
                () = link.life.wake.notified() => {}
                () = sleep(wait) => {}
            }
            if !link.is_alive() {
                return;
            }
            self.standing.speak(link.untracked.as_deref());
            self.probe(link).await;
            if link.is_alive() {
                pause = if link.breakers.any_open() { LONGEST_PAUSE.min(pause * 2) } else { FIRST_PAUSE };
                self.standing.speak(link.untracked.as_deref());
            }
        }
    }

    /// Asks for what failed where a breaker is open, and whether the server is there where none is.
    async fn probe(&self, link: &Link) {
        if !link.breakers.any_open() {
            return self.look(link).await;
        }
        let mut still_open = false;
        for breaker in link.breakers.iter().filter(|breaker| breaker.is_open()) {
            let suspect = breaker.suspected();
            let asked = Instant::now();
            let mut connection = link.connection.clone();
            let query = async {
                match &suspect {
                    Some(suspect) => send(read(&suspect.key), connection).await.map(drop),
                    None => ping(&mut connection).await,
                }
            };
            // Shards are probed one after the other: a dead one must not hold up the rest.
            let patience =
                suspect.as_ref().map_or(PATIENCE, |suspect| if link.is_cluster() { suspect.budget } else { PATIENCE });
            let error = match timeout(patience, query).await {
                Err(_) if link.is_cluster() => "no answer".into(),
                Err(_) => return self.end(link, "no answer".into()),
                Ok(Err(error)) if Fault::of(&error) == Fault::Broken && !link.is_cluster() => {
                    return self.end(link, reason(&error));
                }
                Ok(Err(error)) if Fault::of(&error) != Fault::WrongType => reason(&error),
                // An answer that comes too late for those who ask would open it again at once.
                Ok(_) if suspect.is_some_and(|suspect| asked.elapsed() > suspect.budget) => "no answer in time".into(),
                Ok(_) => {
                    breaker.close();
                    continue;
                }
            };
            still_open = true;
            self.standing.turned(StoreState::Failing, Some(error));
        }
        if !still_open {
            self.standing.turned(StoreState::Up, None);
        }
    }

    /// Whether the server of an idle connection is there, lets itself be read, and, under Sentinel, is still a master.
    async fn look(&self, link: &Link) {
        // The client of a Cluster watches its connections itself.
        let Connection::One(mut connection) = link.connection.clone() else { return };
        let looked = timeout(PATIENCE, async {
            let replica = matches!(self.config.servers, Servers::Sentinel { .. }) && is_replica(&mut connection).await;
            (replica, ping(&mut connection).await)
        });
        match looked.await {
            Err(_) => self.end(link, "no answer".into()),
            Ok((true, _)) => self.end(link, "it is no master any more".into()),
            Ok((_, Err(error))) if Fault::of(&error) == Fault::Broken => self.end(link, reason(&error)),
            Ok((_, Err(error))) => {
                link.breakers.iter().for_each(super::breaker::Breaker::open);
                self.standing.turned(StoreState::Failing, Some(reason(&error)));
            }
            Ok((false, Ok(()))) => {}
        }
    }

    /// What the server told, on the connection's own task: an answer that was read before has been handed on before.
    fn heard(&self, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                self.metrics.invalidated(keys.len() as u64);
                for key in keys {
                    if let Value::BulkString(key) = key {
                        self.each_cache(|cache| cache.invalidated(key));
                    }
                }
            }
            // All of a database was removed.
            (PushKind::Invalidate, _) => self.lost(),
            _ => {}
        }
    }
}

// === impl Keeper ===

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.redis.kept.store(false, Relaxed);
        // Work may hold the store itself: left here, neither would ever go.
        while self.todo.try_recv().is_ok() {}
    }
}

fn hear(redis: &Weak<Redis>, life: &Weak<Life>, push: &PushInfo) {
    let (Some(redis), Some(life)) = (redis.upgrade(), life.upgrade()) else { return };
    if push.kind != PushKind::Disconnection {
        redis.heard(push);
    } else if life.end("it closed the connection") {
        redis.lost();
    }
}

/// Up to half as long again, so that a fleet doesn't come back as one.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 2.0)
}
