//! `Watched`: the stream below `h2`, whose frames are weighed as they pass.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::frames::Frames;
use super::score::Score;
use crate::connection::EdgeStream;

/// How long, and how many bytes, a connection that we close is still read, and what comes thrown away: closed with bytes
/// unread, the system would tell the client of a reset, and it might lose the reason that we gave it.
const LINGERS: Duration = Duration::from_millis(500);
const THROWS_AWAY: usize = 1 << 20;

/// What the connection's task and its stream both see.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) score: Score,
    /// When the header block under way began.
    pub(super) block_since: Option<Instant>,
    /// How many are whole.
    blocks: u64,
}

/// An accepted stream on its way to `h2`.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Box<EdgeStream>,
    incoming: Frames,
    outgoing: Frames,
    /// Uncontended: only the connection's one task asks.
    seen: Arc<Mutex<Seen>>,
    /// Runs once we have said all.
    lingering: Option<Pin<Box<Sleep>>>,
    thrown_away: usize,
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(now: Instant) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Seen { score: Score::new(now), block_since: None, blocks: 0 }))
    }

    pub(super) fn lock(seen: &Mutex<Self>) -> MutexGuard<'_, Self> {
        seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(stream: Box<EdgeStream>, seen: Arc<Mutex<Seen>>) -> Self {
        let (incoming, outgoing) = (Frames::of_client(), Frames::of_server());
        Watched { stream, incoming, outgoing, seen, lingering: None, thrown_away: 0 }
    }

    fn came(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let mut seen = Seen::lock(&self.seen);
        self.incoming.read(bytes, |frame| seen.score.observe_received(frame, now));
        let (blocks, begun) = self.incoming.header_blocks();
        if !begun {
            seen.block_since = None;
        } else if seen.block_since.is_none() || blocks > seen.blocks {
            seen.block_since = Some(now);
        }
        seen.blocks = blocks;
    }

    fn goes(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let mut seen = Seen::lock(&self.seen);
        self.outgoing.read(bytes, |frame| seen.score.observe_sent(frame, now));
    }

    /// Reads until the client has closed too, or long enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 4096];
        while self.thrown_away < THROWS_AWAY {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => self.thrown_away += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let lingering = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGERS)));
                    return lingering.as_mut().poll(context);
                }
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if Seen::lock(&this.seen).score.over().is_some() {
            // The connection's task looks at the score each time it was here.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buf))?;
        this.came(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(Pin::new(&mut this.stream).poll_write(context, buf))?;
        this.goes(&buf[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, bufs))?;
        let mut left = length;
        for buf in bufs {
            let part = left.min(buf.len());
            this.goes(&buf[..part]);
            left -= part;
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() && this.thrown_away == 0 {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        this.poll_linger(context).map(Ok)
    }
}
