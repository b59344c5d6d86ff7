//! The file, again: on a change, on SIGHUP, or for `check`. Load -> compile -> `Current::replace`.
//!
//! A configuration that is refused changes nothing: the one before goes on serving, the log and a metric say why.

mod cookie_key;
mod difference;
mod fixed;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use headgate_plugins::Registry;

use crate::compile::{Compiled, Inputs, compile};
use crate::config::{self, Config, Dependencies, LocatedProblem, Problem};
use crate::listener::Listener;
use crate::snapshot::{Current, Snapshot};
use crate::supervisor::Orders;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::transport::system_roots;

pub use cookie_key::{CookieKey, KeptKey};
pub use fixed::Fixed;
pub use watch::follow;

/// A file that was read and understood; not yet in place.
pub struct Candidate {
    /// What it came to.
    pub compiled: Compiled,
    /// What can't change while the process runs.
    pub fixed: Fixed,
    /// Its problems that stop nothing, rendered.
    pub warnings: Vec<String>,
    /// What it was read from.
    pub sources: Dependencies,
}

/// Why a file was not accepted: every problem, rendered with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One text a problem, warnings included.
    pub problems: Vec<String>,
    /// What it was read from, as far as was seen.
    pub sources: Dependencies,
}

/// How the last reload went.
#[derive(Debug, Clone)]
pub struct LastReload {
    /// When.
    pub at: SystemTime,
    /// What was wrong; empty where it was accepted.
    pub problems: Vec<String>,
}

/// Puts new configurations in place.
pub struct Reloader {
    file: PathBuf,
    registry: Registry,
    cookie_key: CookieKey,
    running: Running,
    state: Mutex<Serving>,
    /// Apart from `state`, which is held as long as a reload takes: whoever asks for this must not wait.
    last: Mutex<Option<LastReload>>,
}

/// The parts of a running gateway that follow the file.
pub struct Running {
    /// What serves requests.
    pub current: Arc<Current>,
    /// Where handles come from, and where reloads are counted.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access_log: Arc<AccessLog>,
    /// The supervisor's orders.
    pub orders: tokio::sync::watch::Sender<Orders>,
    /// The addresses that are listened on.
    pub sockets: Arc<dyn Sockets>,
}

/// The addresses that are listened on. The edge has them; it stands beyond what may be named here.
pub trait Sockets: Send + Sync {
    /// Binds the addresses that are new in `listeners`: the next generation's, not in place yet. What is returned accepts on them,
    /// and stops accepting on those that are gone; dropped, it changes nothing.
    ///
    /// # Errors
    /// Which address can't be bound, and why.
    fn change<'a>(&'a self, listeners: &[Arc<Listener>]) -> Result<Box<dyn FnOnce() + 'a>, String>;
}

/// Why the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It, or something beside it, was written.
    FileChanged,
    /// SIGHUP.
    Signal,
}

/// A reload waits no longer for the names and stores that it brings: one that does not answer must not hold it up.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What the reloader remembers of the configuration that serves.
pub struct Serving {
    fixed: Fixed,
    idle_connections: usize,
    /// What was read last, accepted or not: files that still read the same are not read again.
    sources: Dependencies,
}

/// Reads and compiles a file: all that `check` does, and the first half of every reload.
///
/// `cookie_key` is the key of the process that will serve it; without one nothing is kept, as for `check`.
///
/// # Errors
/// All problems of the file.
pub fn read(
    file: &Path,
    registry: &Registry,
    metrics: &Metrics,
    cookie_key: Option<&CookieKey>,
    previous: Option<&Snapshot>,
) -> Result<Candidate, Refused> {
    let loaded = config::load(file, &registry.schemas())
        .map_err(|error| Refused { problems: render(&error.problems), sources: error.dependencies })?;
    let sources = loaded.dependencies.clone();
    let fixed = Fixed::of(&loaded.config);
    let KeptKey { bytes: cookie_key, warning: forgets } = key_for(&loaded.config, cookie_key)
        .map_err(|problem| Refused { problems: vec![problem], sources: sources.clone() })?;
    let inputs =
        Inputs { registry, metrics, previous, cookie_key, system_roots, now: Instant::now(), date: SystemTime::now() };
    let locate = |problems: Vec<Problem>| {
        let mut located: Vec<LocatedProblem> = problems.into_iter().map(|problem| loaded.locate(problem)).collect();
        located.sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
        render(&located)
    };
    match compile(loaded.config.clone(), &inputs) {
        Ok(mut compiled) => {
            let found = std::mem::take(&mut compiled.warnings);
            let warnings = render(&loaded.warnings).into_iter().chain(locate(found)).chain(forgets).collect();
            Ok(Candidate { compiled, fixed, warnings, sources })
        }
        Err(problems) => Err(Refused { problems: locate(problems), sources }),
    }
}

/// The made key: kept where a cookie is signed with it that is to outlive this process.
fn key_for(config: &Config, process: Option<&CookieKey>) -> Result<KeptKey, String> {
    let signs = config.cookies.secrets.is_empty()
        && config.routes.iter().any(|route| route.sticky.as_ref().is_some_and(|sticky| sticky.cookie.is_some()));
    match process {
        Some(key) if signs => key.kept(config.process.state_dir.as_deref(), config.process.user.as_deref()),
        Some(key) => Ok(KeptKey { bytes: key.passing()?, warning: None }),
        None => Ok(KeptKey { bytes: CookieKey::default().passing()?, warning: None }),
    }
}

fn render(problems: &[LocatedProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

// === impl Refused ===

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.problems.join("\n\n").trim_end())
    }
}

// === impl Serving ===

impl Serving {
    /// The first configuration, about to be put in place.
    pub fn first(candidate: &Candidate) -> Self {
        let (fixed, sources) = (candidate.fixed.clone(), candidate.sources.clone());
        Self { fixed, idle_connections: candidate.compiled.idle_connections, sources }
    }
}

// === impl Reloader ===

impl Reloader {
    /// What the parts of a running gateway need to follow the file.
    pub fn new(file: &Path, registry: Registry, cookie_key: CookieKey, running: Running, first: Serving) -> Self {
        Self { file: file.to_owned(), registry, cookie_key, running, state: Mutex::new(first), last: Mutex::default() }
    }

    /// How the last reload went; none before the first.
    pub fn last(&self) -> Option<LastReload> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the configuration was last read from, accepted or not.
    fn sources(&self) -> Dependencies {
        self.state().sources.clone()
    }

    /// Reads the file again and puts it in place if all of it is right. Returns the generation that serves now.
    ///
    /// `because` is why it is read: a change of the file that changes nothing is not worth a word, a command is.
    ///
    /// # Errors
    /// All problems. Nothing has changed then.
    pub fn reload(&self, because: Because) -> Result<u64, Refused> {
        // One at a time: two reloads at once could put the older file in place last.
        let mut state = self.state();
        let current = self.running.current.pin();
        if because == Because::FileChanged && !state.sources.changed() {
            return Ok(current.generation);
        }
        let result = read(&self.file, &self.registry, &self.running.metrics, Some(&self.cookie_key), Some(&current));
        let result = result.and_then(|candidate| match state.fixed.difference(&candidate.fixed) {
            differences if differences.is_empty() => Ok(candidate),
            problems => Err(Refused { problems, sources: candidate.sources }),
        });
        state.sources = match &result {
            Ok(candidate) => candidate.sources.clone(),
            Err(refused) => refused.sources.clone(),
        };
        let result = result.and_then(|candidate| self.put_in_place(candidate, &current, &mut state));
        let problems = match &result {
            Ok(_) => Vec::new(),
            Err(refused) => {
                self.running.metrics.reload().rejected();
                log::error!("reload refused: generation {} goes on serving\n{refused}", current.generation);
                refused.problems.clone()
            }
        };
        let last = LastReload { at: SystemTime::now(), problems };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        result
    }

    fn put_in_place(&self, candidate: Candidate, current: &Snapshot, state: &mut Serving) -> Result<u64, Refused> {
        let Candidate { compiled, fixed, warnings, sources, .. } = candidate;
        let Compiled { snapshot, orders, access_log, idle_connections, .. } = compiled;
        // Both before anything is in place: only they can fail.
        let sockets = match self.running.sockets.change(&snapshot.listeners) {
            Ok(sockets) => sockets,
            Err(problem) => return Err(Refused { problems: vec![problem], sources }),
        };
        if let Err(error) = self.running.access_log.change(access_log) {
            return Err(Refused { problems: vec![error.to_string()], sources });
        }
        for warning in warnings {
            log::warn!("{warning}");
        }
        if std::mem::replace(&mut state.idle_connections, idle_connections) != idle_connections {
            log::warn!(
                "all `keepalive.idle` together are {idle_connections} now; the pool keeps its size until a restart"
            );
        }
        let generation = snapshot.generation;
        let changes = difference::describe(current, &snapshot);
        fixed.log.apply();
        self.running.orders.send_replace(orders.clone());
        orders.wait_until_tried(LONGEST_WAIT);
        self.running.current.replace(snapshot);
        sockets();
        self.running.metrics.reload().accepted(generation);
        log::info!("configuration generation {generation} in place: {changes}");
        state.fixed = fixed;
        Ok(generation)
    }

    fn state(&self) -> MutexGuard<'_, Serving> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
