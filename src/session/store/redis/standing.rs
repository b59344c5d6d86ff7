//! HOW WE STAND WITH A STORE: its state, since when, what went wrong; said in the log once a change, and once a second at
//! most.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::link::Reason;
use crate::session::store::{StoreHealth, StoreState};

/// A store that comes and goes many times a second must not fill the disk.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// The state of a store, and what was said of it.
#[derive(Debug)]
pub(super) struct Standing {
    name: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: StoreState,
    since: SystemTime,
    /// When it last stopped being up; from the beginning until it first is.
    in_trouble: Option<Instant>,
    /// How long it was not up before it last became so.
    was_out: Duration,
    last_error: Option<Reason>,
    connections: u64,
    said: Option<Said>,
}

/// The last line.
#[derive(Debug)]
struct Said {
    at: Instant,
    state: StoreState,
    error: Option<Reason>,
}

// === impl Standing ===

impl Standing {
    pub(super) fn new(name: Arc<str>) -> Self {
        let inner = Inner {
            state: StoreState::Down,
            since: SystemTime::now(),
            in_trouble: None,
            was_out: Duration::ZERO,
            last_error: None,
            connections: 0,
            said: None,
        };
        Self { name, inner: Mutex::new(inner) }
    }

    pub(super) fn health(&self, kind: &'static str, tracking: bool) -> StoreHealth {
        let inner = self.inner();
        StoreHealth {
            kind,
            state: inner.state,
            since: Some(inner.since),
            tracking,
            reconnects: inner.connections.saturating_sub(1),
            last_error: inner.last_error.as_deref().map(Box::from),
        }
    }

    /// It is connected. True where it was before.
    pub(super) fn connected(&self) -> bool {
        let mut inner = self.inner();
        inner.connections += 1;
        inner.connections > 1
    }

    /// It is in this state now.
    pub(super) fn turned(&self, state: StoreState, error: Option<Reason>) {
        let mut inner = self.inner();
        if inner.state != state {
            inner.state = state;
            inner.since = SystemTime::now();
        }
        if state == StoreState::Up {
            if let Some(began) = inner.in_trouble.take() {
                inner.was_out = began.elapsed();
            }
        } else if inner.in_trouble.is_none() {
            inner.in_trouble = Some(Instant::now());
        }
        if error.is_some() {
            inner.last_error = error;
        }
    }

    /// Whether anything ever went wrong.
    pub(super) fn has_erred(&self) -> bool {
        self.inner().last_error.is_some()
    }

    /// Something went wrong that changes no state.
    pub(super) fn erred(&self, error: Reason) {
        self.inner().last_error = Some(error);
    }

    /// Says in the log what has changed since the last line, unless that was a moment ago: then a later call says it.
    pub(super) fn speak(&self, untracked: Option<&str>) {
        if let Some((level, line)) = self.inner().line(Instant::now(), untracked) {
            log::log!(level, "store {}: {line}", self.name);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn line(&mut self, now: Instant, untracked: Option<&str>) -> Option<(log::Level, String)> {
        let error = if self.state == StoreState::Up { None } else { self.last_error.clone() };
        let before = self.said.take();
        if let Some(said) = &before
            && (said.at + BETWEEN_LINES > now || (said.state == self.state && said.error == error))
        {
            self.said = before;
            return None;
        }
        let why = error.as_deref().unwrap_or("not connected yet");
        let line = match (self.state, &before) {
            (StoreState::Up, said) => {
                let news = match said {
                    None => Cow::Borrowed("connected"),
                    Some(_) => format!("answers again after {:.1?}", self.was_out).into(),
                };
                match untracked {
                    None => format!("{news}; it tells of changes at once"),
                    Some(reason) => format!(
                        "{news}; changes are seen after the cache time, since it doesn't tell of them: {reason}"
                    ),
                }
            }
            (StoreState::Failing, _) => format!("fails: {why}; nobody asks it until it answers a probe"),
            (StoreState::Down, Some(said)) if said.state != StoreState::Down => {
                format!("lost: {why}; connecting again")
            }
            (StoreState::Down, _) => format!("can't be reached: {why}; trying again"),
        };
        let level = if self.state == StoreState::Up { log::Level::Info } else { log::Level::Warn };
        self.said = Some(Said { at: now, state: self.state, error });
        Some((level, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(standing: &Standing) -> Option<String> {
        standing.inner().line(Instant::now(), None).map(|(_, line)| line)
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_is_said_once_and_one_a_second_at_most() {
        let standing = Standing::new("web".into());
        standing.turned(StoreState::Down, Some("refused".into()));
        assert_eq!(lines(&standing).as_deref(), Some("can't be reached: refused; trying again"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(lines(&standing), None, "nothing new");
        standing.turned(StoreState::Up, None);
        assert_eq!(lines(&standing).as_deref(), Some("answers again after 2.0s; it tells of changes at once"));
        standing.turned(StoreState::Down, Some("reset".into()));
        assert_eq!(lines(&standing), None, "a moment ago there was a line");
        standing.turned(StoreState::Up, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(lines(&standing), None, "gone and back again in between");
        standing.turned(StoreState::Failing, Some("no answer in time".into()));
        assert_eq!(
            lines(&standing).as_deref(),
            Some("fails: no answer in time; nobody asks it until it answers a probe")
        );
        standing.turned(StoreState::Down, Some("frozen".into()));
        assert_eq!(lines(&standing), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            lines(&standing).as_deref(),
            Some("lost: frozen; connecting again"),
            "what was held back is said later"
        );
    }
}
