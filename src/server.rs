//! The process: binds, starts what runs in the background, hands connections to Pingora, and ends in good order.

mod life;
mod user;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use log::{info, warn};
use pingora::apps::HttpServerOptions;
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, RunArgs, Server, ShutdownWatch};
use pingora::services::Service;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::sync::watch;

use crate::admin::{self, Admin, GatewayStatus};
use crate::config::{self, ListenAddress, Process, Threads};
use crate::edge::{self, BindError, Listeners, OpenConnections, Refusals, SocketFile, Sockets, TermsOf};
use crate::listener::{Listener, ListenerId};
use crate::proxy::Gateway;
use crate::reload::{self, CookieKey, Refused, Reloader, Running, Serving};
use crate::snapshot::Current;
use crate::supervisor::Supervisor;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process_log;
use crate::telemetry::quota::Quota;
use crate::transport;
use life::{Life, Signals};

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The file has problems.
    Refused(Refused),
    /// An address can't be listened on.
    Bind(BindError),
    /// Something of the system's is missing; the text says what.
    System(String),
}

/// More tries than a request can ever need: each attempt goes to another address, and what bounds them is the route.
const MAX_TRIES: usize = 1_000_000;

/// Failed requests that the process log tells of each second.
const FAILURES_TOLD: u32 = 10;

/// How long the last lines may take to the access log.
const LAST_LINES: Duration = Duration::from_secs(2);

// === impl StartError ===

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::System(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartError {}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

/// Runs the gateway on `file` until a signal ends it.
///
/// # Errors
/// Why it did not start. Once it serves, nothing but a signal ends it.
pub fn run(file: &Path) -> Result<(), StartError> {
    let started = Instant::now();
    process_log::apply(log::LevelFilter::Info, process_log::LogFormat::Text);
    let registry = headgate_plugins::builtin();
    let metrics = Arc::new(Metrics::new());
    let cookie_key = CookieKey::default();
    let mut first = reload::read(file, &registry, &metrics, Some(&cookie_key), None).map_err(StartError::Refused)?;
    first.fixed.log.apply();
    for warning in &first.warnings {
        warn!("{warning}");
    }
    let files = raise_file_limit();

    // Our own runtime, so that signals are caught from here on: unheard, a SIGHUP would end the process.
    let control = runtime()?;
    let guard = control.enter();
    let signals = Signals::listen().map_err(|error| StartError::System(format!("signals can't be caught: {error}")))?;

    let fixed = first.fixed.clone();
    let bound = edge::bind(&first.compiled.snapshot.listeners)?;
    let admin = bind_admin(&fixed.admin)?;
    let mut socket_files: Vec<SocketFile> = bound.socket_files().cloned().collect();
    if let ListenAddress::Unix(path) = &fixed.admin.address {
        socket_files.push(SocketFile::of(path).map_err(system)?);
    }
    let pid_file =
        fixed.process.pid_file.as_deref().map(life::PidFile::write).transpose().map_err(StartError::System)?;
    if let Some(user) = &fixed.process.user {
        let files = socket_files.iter().map(SocketFile::path).chain(pid_file.as_ref().map(life::PidFile::path));
        user::become_user(user, files).map_err(StartError::System)?;
    }
    let access_log = AccessLog::start(metrics.access_log()).map_err(system)?;
    access_log.change(first.compiled.access_log.take()).map_err(system)?;
    let access_log = Arc::new(access_log);

    let idle_connections = first.compiled.idle_connections;
    let serving = Serving::first(&first);
    // Moved, not cloned: whoever holds orders holds their stores, and this function lives as long as the process.
    let (orders, ordered) = watch::channel(first.compiled.orders);
    let current = Arc::new(Current::new(first.compiled.snapshot));
    metrics.reload().started(1);
    let gateway = Gateway {
        current: Arc::clone(&current),
        metrics: Arc::clone(&metrics),
        access_log: Arc::clone(&access_log),
        failures_told: Quota::new(FAILURES_TOLD),
    };
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&fixed.process, idle_connections));
    server.bootstrap();
    let mut proxy = http_proxy(&server.configuration, gateway);
    // Pingora would refuse it unseen: so our own rule does, and it is counted and logged.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let proxy = Arc::new(proxy);
    let open = Arc::new(OpenConnections::new(most_connections(&fixed.process, files)));
    let refusals = Arc::new(Refusals { metrics: Arc::clone(&metrics), access_log: Arc::clone(&access_log) });
    let (sockets, listeners) = bound.serve(proxy, terms(Arc::clone(&current)), Arc::clone(&open), refusals);
    let running = Running {
        current: Arc::clone(&current),
        metrics: Arc::clone(&metrics),
        access_log: Arc::clone(&access_log),
        orders,
        sockets: Arc::clone(&sockets) as Arc<dyn reload::Sockets>,
    };
    let reloader = Arc::new(Reloader::new(file, registry, cookie_key, running, serving));

    let (stop, stopping) = watch::channel(false);
    let (end, ending) = watch::channel(false);
    let first_orders = ordered.borrow().clone();
    control.spawn(Supervisor::new().run(ordered, ending.clone()));
    first_orders.wait_until_tried(reload::LONGEST_WAIT);
    drop(first_orders);
    control.spawn(reload::follow(Arc::clone(&reloader), signals.hangup, ending.clone()));
    control.spawn(life::reopen_logs(signals.reopen, Arc::clone(&access_log), ending.clone()));
    let address_of = Box::new(move |id: &ListenerId| sockets.address(id));
    let status = GatewayStatus { started, current, reloader, address_of, stopping: stopping.clone() };
    control.spawn(serve_admin(admin, metrics, status, ending));
    drop(guard);

    server.add_service(Stoppable { listeners, stopping });
    let life = Life { signals: signals.end.into(), stop, open, longest: fixed.process.shutdown_timeout.0 };
    server.run(RunArgs { shutdown_signal: Box::new(life) });

    // Nobody is left to listen when this fails.
    let _ = end.send(true);
    control.shutdown_timeout(LAST_LINES);
    access_log.flush(LAST_LINES);
    info!("stopped");
    Ok(())
}

fn system(error: io::Error) -> StartError {
    StartError::System(error.to_string())
}

fn bind_admin(written: &config::Admin) -> Result<Admin, StartError> {
    let shown = written.address.to_string();
    let address = match &written.address {
        ListenAddress::Tcp(address) => admin::Address::Tcp(*address),
        ListenAddress::Unix(path) => admin::Address::Unix(path.clone()),
    };
    Admin::bind(&address, written.token.as_ref().map(|token| token.0.clone()))
        .map_err(|reason| StartError::Bind(BindError { address: format!("{shown} (admin)"), reason }))
}

async fn serve_admin(admin: Admin, metrics: Arc<Metrics>, status: GatewayStatus, mut ending: watch::Receiver<bool>) {
    let end = async move { drop(ending.wait_for(|over| *over).await) };
    if let Err(error) = admin.serve(metrics, Arc::new(status), end).await {
        log::error!("the admin listener failed: {error}");
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| StartError::System(format!("no thread can be started: {error}")))
}

/// Each request takes two descriptors, and the usual limit of 1,024 is for programs of another time. Returns the limit.
fn raise_file_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            info!("up to {limit} files at a time");
            limit
        }
        Err(error) => {
            warn!("the limit of open files could not be raised: {error}");
            rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft)
        }
    }
}

/// How many connections may be open: as many as the file says, or half of the files that may be, as each needs a second one for
/// its endpoint. Out of files, nobody could be refused with a word, and accepting stands still for a second each time.
fn most_connections(process: &Process, files: u64) -> usize {
    let most = process.max_connections.0.map_or(files / 2, u64::from);
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn server_conf(process: &Process, idle_connections: usize) -> ServerConf {
    let threads = match process.threads {
        Threads::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Threads::Count(count) => usize::from(count),
    };
    ServerConf {
        threads,
        listener_tasks_per_fd: threads,
        max_retries: MAX_TRIES,
        upstream_keepalive_pool_size: idle_connections.max(1),
        ca_file: transport::roots_file(),
        // Ours is the waiting: see `life`.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

/// Tells the edge what holds for a listener's next connection.
fn terms(current: Arc<Current>) -> TermsOf {
    Arc::new(move |id| current.pin().listener(id).map(|(_, listener)| Arc::clone(listener)))
}

impl reload::Sockets for Sockets {
    fn change<'a>(&'a self, listeners: &[Arc<Listener>]) -> Result<Box<dyn FnOnce() + 'a>, String> {
        let change = Self::change(self, listeners).map_err(|error| error.to_string())?;
        Ok(Box::new(move || change.apply()))
    }
}

/// The listeners, stopped by us: Pingora's own signal comes only when it no longer waits for requests.
struct Stoppable {
    listeners: Listeners<HttpProxy<Gateway>>,
    stopping: watch::Receiver<bool>,
}

#[async_trait]
impl Service for Stoppable {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, tasks_per_socket: usize) {
        self.listeners.start_service(fds, self.stopping.clone(), tasks_per_socket).await;
    }

    fn name(&self) -> &str {
        "listeners"
    }
}
