//! The thread that turns summaries into lines and lines into few large writes.

use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{format::Format, summary::Summary};
use crate::telemetry::metrics::{AccessLogMetrics, DropReason};

/// Lines are gathered up to this size: beyond it a larger write saves nothing that can be measured.
const BUFFER: usize = 64 * 1024;

/// How long summaries pile up before the thread looks again. While it waits, senders wake nobody, so a busy gateway pays
/// one wake-up for all requests of this time instead of one for each.
const PILE_UP: Duration = Duration::from_millis(20);

/// How long a line may stay unwritten while others keep coming.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// What the writer is sent. One queue for all, so that a line goes where the configuration at its time said.
#[derive(Debug)]
pub(super) enum Sent {
    /// A finished request.
    Line(Box<Summary>),
    /// From now on, write here and so; or nowhere.
    Change(Option<Box<Output>>),
    /// Say when everything sent before is written.
    Flush(SyncSender<()>),
}

/// Where lines go, and their shape.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) sink: Sink,
    pub(super) format: Format,
}

#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    File(File),
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Writer {
    receiver: Receiver<Sent>,
    metrics: Arc<AccessLogMetrics>,
    output: Option<Box<Output>>,
    buffer: Vec<u8>,
    oldest: Option<Instant>,
    trouble: Trouble,
}

/// What the last write left behind.
#[derive(Debug, Default)]
struct Trouble {
    /// It failed, and that was logged once.
    told: bool,
    /// It stopped inside a line; the next one must not continue it.
    torn: bool,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(receiver: Receiver<Sent>, metrics: Arc<AccessLogMetrics>) -> Self {
        let buffer = Vec::with_capacity(BUFFER);
        Self { receiver, metrics, output: None, buffer, oldest: None, trouble: Trouble::default() }
    }

    /// Writes until nobody can send any more.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.receiver.recv() {
            self.take(first);
            while self.drain() {
                std::thread::park_timeout(PILE_UP);
            }
            self.write_out();
        }
        self.drain();
        self.write_out();
    }

    /// Takes all that waits; false when there was nothing.
    fn drain(&mut self) -> bool {
        let mut any = false;
        loop {
            match self.receiver.try_recv() {
                Ok(sent) => self.take(sent),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
            any = true;
        }
        if self.oldest.is_some_and(|oldest| oldest.elapsed() >= FLUSH_AFTER) {
            self.write_out();
        }
        any
    }

    fn take(&mut self, sent: Sent) {
        match sent {
            Sent::Line(summary) => {
                let Some(output) = &self.output else { return };
                output.format.write(&summary, &mut self.buffer);
                self.oldest.get_or_insert_with(Instant::now);
                if self.buffer.len() >= BUFFER {
                    self.write_out();
                }
            }
            Sent::Change(output) => {
                self.write_out();
                self.output = output;
                self.trouble = Trouble::default();
            }
            Sent::Flush(done) => {
                self.write_out();
                // Whoever asked may have stopped waiting.
                let _ = done.try_send(());
            }
        }
    }

    /// Writes the buffer. A failure (a full disk, a closed pipe) costs these lines and is counted; the gateway goes on.
    fn write_out(&mut self) {
        self.oldest = None;
        let Some(output) = self.output.as_mut().filter(|_| !self.buffer.is_empty()) else { return };
        let mut written = 0;
        match output.sink.write(&self.buffer, &mut self.trouble.torn, &mut written) {
            Ok(()) => self.trouble.told = false,
            Err(error) => {
                let lost = self.buffer.iter().skip(written).filter(|byte| **byte == b'\n').count();
                self.metrics.dropped(DropReason::WriteError, lost as u64);
                if !std::mem::replace(&mut self.trouble.told, true) {
                    log::error!("the access log can't be written, lines are lost: {error}");
                }
            }
        }
        self.buffer.clear();
    }
}

// === impl Sink ===

impl Sink {
    /// Writes all of `bytes` and flushes; on failure `written` says how many got through, `torn` whether inside a line.
    fn write(&mut self, bytes: &[u8], torn: &mut bool, written: &mut usize) -> io::Result<()> {
        match self {
            Self::Stdout => write_to(&mut io::stdout().lock(), bytes, torn, written),
            Self::File(file) => write_to(file, bytes, torn, written),
        }
    }
}

fn write_to(sink: &mut impl Write, bytes: &[u8], torn: &mut bool, written: &mut usize) -> io::Result<()> {
    if *torn {
        sink.write_all(b"\n")?;
        *torn = false;
    }
    while *written < bytes.len() {
        match sink.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                *written += count;
                *torn = bytes.get(*written - 1) != Some(&b'\n');
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then is full.
    struct Disk {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_torn_by_a_full_disk_does_not_swallow_the_next() {
        let mut disk = Disk { room: 6, content: Vec::new() };
        let (mut torn, mut written) = (false, 0);
        assert!(write_to(&mut disk, b"one\ntwo\n", &mut torn, &mut written).is_err());
        assert_eq!((written, torn), (6, true));
        disk.room = 100;
        written = 0;
        write_to(&mut disk, b"three\n", &mut torn, &mut written).unwrap();
        assert_eq!(disk.content, b"one\ntw\nthree\n");
        assert!(!torn);
    }
}
