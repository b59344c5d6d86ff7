//! The access log: one line a request, from a finished request's [`Summary`].
//!
//! A request hands its summary to a bounded queue and goes on; a thread of the log's own writes it. When the queue is
//! full the line is lost and counted: a slow disk must never become a slow gateway.

mod format;
mod summary;
mod writer;

use std::{
    fs::OpenOptions,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use self::format::rfc3339;
pub(super) use self::format::write_json_text;
pub use self::{
    format::{Format, Template, TemplateProblem},
    summary::Summary,
};
use crate::telemetry::metrics::{AccessLogMetrics, DropReason};
use writer::{Output, Sent, Sink, Writer};

/// Room for the requests of some tens of milliseconds at the rate of the fastest machine; a place costs 24 bytes.
const QUEUE: usize = 16 * 1024;

/// Where the access log goes and in which shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to.
    pub destination: Destination,
    /// In which shape.
    pub format: Format,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// The end of this file, which is made when it is not there.
    File(PathBuf),
}

/// The log of one gateway. It lives as long as the process; what it writes to follows the configuration.
#[derive(Debug)]
pub struct AccessLog {
    /// None only while it is being dropped.
    sender: Option<SyncSender<Sent>>,
    settings: Mutex<Option<Settings>>,
    on: AtomicBool,
    metrics: Arc<AccessLogMetrics>,
    writer: Option<JoinHandle<()>>,
}

// === impl Destination ===

impl Destination {
    /// Reads `telemetry.access_log.path`: `-` and `stdout` are standard output.
    pub fn parse(path: &str) -> Self {
        match path {
            "-" | "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }

    fn open(&self) -> io::Result<Sink> {
        let path = match self {
            Self::Stdout => return Ok(Sink::Stdout),
            Self::File(path) => path,
        };
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        // Lines name users by address: not for everybody.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let told = |error: io::Error| io::Error::new(error.kind(), format!("access log {}: {error}", path.display()));
        options.open(path).map(Sink::File).map_err(told)
    }
}

// === impl AccessLog ===

impl AccessLog {
    /// Starts the writer; nothing is written before [`AccessLog::change`].
    pub fn start(metrics: Arc<AccessLogMetrics>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let writer = Writer::new(receiver, metrics.clone());
        let writer = thread::Builder::new().name("access log".to_owned()).spawn(|| writer.run())?;
        Ok(Self {
            sender: Some(sender),
            settings: Mutex::default(),
            on: AtomicBool::new(false),
            metrics,
            writer: Some(writer),
        })
    }

    /// Follows the configuration: opens what it names, or none. An error (the file can't be opened) changes nothing.
    /// The same settings as before do nothing.
    pub fn change(&self, settings: Option<Settings>) -> io::Result<()> {
        let mut current = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == settings {
            return Ok(());
        }
        self.send(Sent::Change(open(settings.as_ref())?))?;
        self.on.store(settings.is_some(), Relaxed);
        *current = settings;
        Ok(())
    }

    /// Opens the same file anew, after something moved it away. On an error the open one is kept.
    pub fn reopen(&self) -> io::Result<()> {
        let current = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        self.send(Sent::Change(open(current.as_ref())?))
    }

    /// Whether a line would be written: without it no summary need be made.
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Hands over a finished request. Never waits.
    pub fn write(&self, summary: Summary) {
        if !self.is_on() {
            return;
        }
        if let Some(Err(TrySendError::Full(_))) =
            self.sender.as_ref().map(|to| to.try_send(Sent::Line(Box::new(summary))))
        {
            self.metrics.dropped(DropReason::QueueFull, 1);
        }
    }

    /// Waits until all lines handed over before are written, or for `longest`. To be called before the process ends.
    pub fn flush(&self, longest: Duration) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.send(Sent::Flush(done)).is_ok() {
            // Late or gone: either way there is nothing more to wait for.
            let _ = wait.recv_timeout(longest);
        }
    }

    /// Queues what is no line, waiting for room where requests don't.
    fn send(&self, mut sent: Sent) -> io::Result<()> {
        /// A writer that takes nothing for so long hangs on its disk.
        const PATIENCE: Duration = Duration::from_secs(2);
        let (Some(sender), Some(writer)) = (&self.sender, &self.writer) else { return Ok(()) };
        let since = Instant::now();
        loop {
            match sender.try_send(sent) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if since.elapsed() < PATIENCE => sent = back,
                Err(TrySendError::Full(_)) => return Err(stuck(io::ErrorKind::TimedOut)),
                Err(TrySendError::Disconnected(_)) => return Err(stuck(io::ErrorKind::BrokenPipe)),
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        writer.thread().unpark();
        Ok(())
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            if writer.join().is_err() {
                log::error!("the access log's writer failed");
            }
        }
    }
}

fn stuck(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, "the access log's writer hangs or is gone")
}

fn open(settings: Option<&Settings>) -> io::Result<Option<Box<Output>>> {
    let Some(settings) = settings else { return Ok(None) };
    Ok(Some(Box::new(Output { sink: settings.destination.open()?, format: settings.format.clone() })))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::SystemTime};

    use super::*;
    use crate::telemetry::metrics::Metrics;

    const LONGEST: Duration = Duration::from_secs(10);

    fn summary(status: u16) -> Summary {
        Summary {
            time: SystemTime::UNIX_EPOCH,
            client: None,
            listener: "http".into(),
            method: http::Method::GET,
            host: None,
            target: "/".into(),
            protocol: http::Version::HTTP_11,
            status,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            route: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            retry: None,
            retry_skipped: None,
            failure: None,
            upstream_connect: None,
            upstream_first_byte: None,
            upstream_duration: None,
            session: None,
            session_hash: None,
            sticky: None,
            user_agent: None,
            referer: None,
            request_id: None,
        }
    }

    fn to(path: &Path) -> Option<Settings> {
        let format = Format::Template(Template::parse("{status}").unwrap());
        Some(Settings { destination: Destination::parse(path.to_str().unwrap()), format })
    }

    fn started() -> (Metrics, AccessLog, tempfile::TempDir) {
        let metrics = Metrics::new();
        let log = AccessLog::start(metrics.access_log()).unwrap();
        (metrics, log, tempfile::tempdir().unwrap())
    }

    #[test]
    fn lines_are_written_in_order_and_all_of_them_before_the_end() {
        let (_metrics, log, directory) = started();
        let path = directory.path().join("access.log");
        log.change(to(&path)).unwrap();
        (0..5_000).for_each(|number| log.write(summary(number)));
        drop(log);
        let expected: String = (0..5_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn a_moved_file_is_left_alone_after_a_reopening() {
        let (_metrics, log, directory) = started();
        let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
        log.change(to(&path)).unwrap();
        log.write(summary(200));
        log.flush(LONGEST);
        fs::rename(&path, &moved).unwrap();
        log.write(summary(201));
        log.flush(LONGEST);
        log.reopen().unwrap();
        log.flush(LONGEST);
        log.write(summary(404));
        log.flush(LONGEST);
        assert_eq!(fs::read_to_string(moved).unwrap(), "200\n201\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "404\n");
    }

    #[test]
    fn the_log_follows_the_configuration() {
        let (_metrics, log, directory) = started();
        let [one, other] = ["one.log", "other.log"].map(|name| directory.path().join(name));
        assert!(!log.is_on());
        log.write(summary(100));
        log.change(to(&one)).unwrap();
        assert!(log.is_on());
        log.write(summary(200));
        log.flush(LONGEST);
        log.change(to(&other)).unwrap();
        log.flush(LONGEST);
        log.write(summary(201));
        log.flush(LONGEST);
        log.change(None).unwrap();
        log.write(summary(202));
        log.flush(LONGEST);
        assert_eq!(fs::read_to_string(one).unwrap(), "200\n");
        assert_eq!(fs::read_to_string(other).unwrap(), "201\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_and_changes_nothing() {
        let (_metrics, log, directory) = started();
        let path = directory.path().join("access.log");
        log.change(to(&path)).unwrap();
        let error = log.change(to(&directory.path().join("missing/access.log"))).unwrap_err();
        assert!(error.to_string().contains("missing/access.log"), "{error}");
        log.write(summary(200));
        drop(log);
        assert_eq!(fs::read_to_string(path).unwrap(), "200\n");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_costs_lines_and_they_are_counted() {
        let (metrics, log, _directory) = started();
        log.change(to(Path::new("/dev/full"))).unwrap();
        (0..3).for_each(|_| log.write(summary(200)));
        log.flush(LONGEST);
        drop(log);
        let counted = r#"headgate_access_log_dropped_lines_total{reason="write_error"} 3"#;
        assert!(metrics.text().contains(counted), "{}", metrics.text());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_writer_that_is_behind_costs_lines_and_no_waiting() {
        use std::io::Read as _;

        let (metrics, log, directory) = started();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Open for both: opening one end alone would wait for the other. Nobody reads, so the writer gets stuck.
        let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        log.change(to(&pipe)).unwrap();
        let pipe_and_buffer_hold = 40_000;
        let sent = QUEUE + pipe_and_buffer_hold + 10_000;
        (0..sent).for_each(|_| log.write(summary(200)));
        let dropped = || {
            let text = metrics.text();
            let line = text.lines().find(|line| line.contains(r#"reason="queue_full""#)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()
        };
        assert!(dropped() >= 1);
        let kept = sent - dropped();
        let drained = thread::spawn(move || {
            let mut bytes = vec![0; kept * "200\n".len()];
            reader.read_exact(&mut bytes).map(|()| bytes)
        });
        drop(log);
        assert_eq!(drained.join().unwrap().unwrap(), "200\n".repeat(kept).into_bytes());
    }
}
