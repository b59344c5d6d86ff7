//! WRITTEN -> RUNNING: turns a `Config` into a `Snapshot`. Pure: no I/O, nothing is spawned, the time is handed in.
//!
//! Names become `Arc`s here and are never looked up again. Every fault of meaning is found, not just the first; those of form
//! were found by `config::load`.

mod listener;
mod pem;
mod route;
mod session;
mod sticky;
mod store;
mod tls;
mod transport;
mod upstream;

use std::time::{Instant, SystemTime};

use headgate_plugins::Registry;

use crate::config::{AccessLog, AccessLogFormat, At, Config, Problem, Severity};
use crate::snapshot::Snapshot;
use crate::supervisor::Orders;
use crate::telemetry::access_log;
use crate::telemetry::metrics::Metrics;

/// What the file is compiled with and against.
pub struct Inputs<'a> {
    /// The plugins there are.
    pub registry: &'a Registry,
    /// Where metric handles come from.
    pub metrics: &'a Metrics,
    /// What runs now: its endpoints' live state and its unchanged plugins are taken over.
    pub previous: Option<&'a Snapshot>,
    /// The key of the cookies that we make, where the file names none.
    pub cookie_key: [u8; 32],
    /// Tells whether the certificates that the system trusts can be had, or why not; asked only where somebody needs them.
    pub system_roots: fn() -> Result<(), String>,
    /// The present.
    pub now: Instant,
    /// The present as certificates have it.
    pub date: SystemTime,
}

/// The configuration, ready to run.
pub struct Compiled {
    /// What serves requests.
    pub snapshot: Snapshot,
    /// What is to be done in the background while it serves.
    pub orders: Orders,
    /// The access log that it asks for.
    pub access_log: Option<access_log::Settings>,
    /// Idle connections that may be kept to all endpoints together.
    pub idle_connections: usize,
    /// What is surely not meant, but stops nothing.
    pub warnings: Vec<Problem>,
}

/// Compiles a configuration.
///
/// # Errors
/// All problems that stop it, together with the warnings.
pub fn compile(mut config: Config, inputs: &Inputs<'_>) -> Result<Compiled, Vec<Problem>> {
    let mut problems = Vec::new();
    listener::check_admin(&config.admin, &config.listeners, &mut problems);
    let access_log =
        config.telemetry.access_log.as_ref().and_then(|written| compile_access_log(written, &mut problems));
    let listeners = listener::compile(&config.listeners, inputs, &mut problems);
    let mut drafts = upstream::Drafts::new(std::mem::take(&mut config.upstreams), inputs, &mut problems);
    let keys = sticky::keys(&config.cookies, &inputs.cookie_key);
    let mut sessions = session::Sessions::new(&mut config, inputs, &mut problems);
    let parts = route::Parts { upstreams: &mut drafts, sessions: &mut sessions, keys: &keys, inputs };
    let routes = route::compile(config.routes, &config.listeners, parts, &mut problems);
    let idle_connections = drafts.idle_connections();
    let (upstreams, endpoints) = drafts.finish(&mut problems);
    let (router, routes) = route::assemble(routes, &upstreams, &listeners, inputs, &mut problems);
    let (sessions, stores) = sessions.finish(&mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let generation = inputs.previous.map_or(1, |previous| previous.generation + 1);
    let orders = Orders { endpoints, stores: stores.iter().cloned().collect() };
    let snapshot = Snapshot { generation, router, routes, upstreams, listeners, sessions, stores };
    Ok(Compiled { snapshot, orders, access_log, idle_connections, warnings: problems })
}

fn compile_access_log(written: &AccessLog, problems: &mut Vec<Problem>) -> Option<access_log::Settings> {
    let format = match &written.format {
        AccessLogFormat::Json => access_log::Format::Json,
        AccessLogFormat::Combined => access_log::Format::Combined,
        AccessLogFormat::Template(text) => match access_log::Template::parse(text) {
            Ok(template) => access_log::Format::Template(template),
            Err(problem) => {
                let at = At::root().key("telemetry").key("access_log").key("format");
                problems.push(Problem::error(at, problem.message).hint(problem.hint));
                return None;
            }
        },
    };
    let destination = access_log::Destination::parse(&written.path.to_string_lossy());
    Some(access_log::Settings { destination, format })
}

#[cfg(test)]
mod tests;
