//! Signals, and the end of the process: what was begun is finished, as long as it takes no longer than allowed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::edge::OpenConnections;
use crate::telemetry::access_log::AccessLog;

/// How often a stopping gateway looks whether it is done.
const LOOK: Duration = Duration::from_millis(10);

/// The signals the gateway knows.
pub(super) struct Signals {
    /// SIGHUP: read the file again.
    pub(super) hangup: Signal,
    /// SIGUSR1: open the access log anew.
    pub(super) reopen: Signal,
    /// Those that end the process.
    pub(super) end: EndSignals,
}

/// The signals that end the process.
pub(super) struct EndSignals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

/// Waits for the end and brings it about. Pingora asks once.
pub(super) struct Life {
    /// What ends the process.
    pub(super) signals: Mutex<EndSignals>,
    /// Stops the listeners, and ends idle connections.
    pub(super) stop: watch::Sender<bool>,
    /// What is still being served.
    pub(super) open: Arc<OpenConnections>,
    /// How long it may go on.
    pub(super) longest: Duration,
}

/// `process.pid_file`; taken away on drop.
pub(super) struct PidFile(PathBuf);

// === impl Signals ===

impl Signals {
    /// Catches the signals from now on. Called inside a runtime.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            end: EndSignals {
                terminate: signal(SignalKind::terminate())?,
                quit: signal(SignalKind::quit())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
        })
    }
}

// === impl EndSignals ===

impl EndSignals {
    /// The next of them; true if what was begun shall be finished.
    async fn next(&mut self) -> bool {
        select! {
            _ = self.terminate.recv() => true,
            _ = self.quit.recv() => true,
            _ = self.interrupt.recv() => false,
        }
    }
}

// === impl Life ===

#[async_trait]
impl ShutdownSignalWatch for Life {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = self.signals.lock().await;
        let finish = signals.next().await;
        // Even when nothing is finished: a listener that only sees us gone calls that an error. Nobody listens only when
        // nothing is served.
        let _ = self.stop.send(true);
        if finish {
            info!("stopping: no new connections; {} open ones end when their request does", self.open.count());
            let done = async {
                while self.open.count() > 0 {
                    sleep(LOOK).await;
                }
            };
            select! {
                drained = timeout(self.longest, done) => if drained.is_err() {
                    warn!("{} connections did not end within shutdown_timeout ({:?})", self.open.count(), self.longest);
                },
                _ = signals.next() => warn!("a second signal: {} connections are cut off", self.open.count()),
            }
        }
        // The waiting is over: Pingora shall not wait again.
        ShutdownSignal::FastShutdown
    }
}

/// Opens the access log anew on every SIGUSR1, for those who move log files away.
pub(super) async fn reopen_logs(mut reopen: Signal, access_log: Arc<AccessLog>, mut ending: watch::Receiver<bool>) {
    loop {
        select! {
            _ = ending.wait_for(|over| *over) => return,
            _ = reopen.recv() => match access_log.reopen() {
                Ok(()) => info!("access log reopened"),
                Err(error) => error!("the access log could not be reopened: {error}"),
            },
        }
    }
}

// === impl PidFile ===

impl PidFile {
    /// Writes our process id into `path`.
    pub(super) fn write(path: &Path) -> Result<Self, String> {
        fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("process.pid_file {}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // While we drained, a successor may have written its own.
        if fs::read_to_string(&self.0).is_ok_and(|id| id.trim() == std::process::id().to_string()) {
            // Another user's folder may keep it: a stale file harms nobody.
            let _ = fs::remove_file(&self.0);
        }
    }
}
