//! `EdgeStream`: an accepted stream that ends late clients and over-long heads, before Pingora sees them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Connection;
use super::deadline::{Late, Phase};
use super::head::HeadEnd;

/// What a client gets that is too slow with its request head.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a client gets whose request head has no end.
const HEAD_TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How much is read at once while waiting for a request: Pingora's first buffer for a head.
const FIRST_READ: usize = 4096;

/// An accepted stream, and the [`Connection`] whose deadlines it holds.
#[derive(Debug)]
pub struct EdgeStream {
    inner: Stream,
    connection: Arc<Connection>,
    /// One for the connection's whole life.
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs while the client takes nothing of what is written.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What was read and not handed on yet. A request's head is handed on without what follows it, because Pingora
    /// can't serve a request that it has read together with the one before.
    ahead: Bytes,
    head: HeadEnd,
    /// How much of the present head was handed on.
    head_bytes: usize,
}

// === impl EdgeStream ===

impl EdgeStream {
    /// Holds `inner` to the deadlines of `connection`.
    pub fn new(inner: Stream, connection: Arc<Connection>) -> Self {
        let head = HeadEnd::default();
        EdgeStream { inner, connection, timer: None, stalled: None, ahead: Bytes::new(), head, head_bytes: 0 }
    }

    /// What the edge knows of this stream's connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Waits for the next request: true with its first byte, false when the client is gone or was silent too long.
    /// A connection waits here and not in Pingora, whose session and future for a request take twenty times the memory.
    pub(crate) fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.ahead.is_empty() {
            let mut space = [MaybeUninit::uninit(); FIRST_READ];
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.inner).poll_read(context, &mut buf) {
                Poll::Pending => {
                    ready!(self.connection.deadline.poll(&mut self.timer, context));
                    return Poll::Ready(false);
                }
                Poll::Ready(read) if read.is_err() || buf.filled().is_empty() => return Poll::Ready(false),
                Poll::Ready(_) => self.ahead = Bytes::copy_from_slice(buf.filled()),
            }
        }
        self.connection.deadline.head_begins();
        self.head = HeadEnd::default();
        self.head_bytes = 0;
        Poll::Ready(true)
    }

    /// Takes what was read ahead, or else what the client sends now.
    fn poll_fill(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buf);
        }
        let taken = self.ahead.split_to(self.ahead.len().min(buf.remaining()));
        buf.put_slice(&taken);
        Poll::Ready(Ok(()))
    }

    /// Puts what was read beyond `length` bytes of `buf` back.
    fn put_back(&mut self, buf: &mut ReadBuf<'_>, length: usize) {
        let beyond = &buf.filled()[length..];
        if !beyond.is_empty() {
            self.ahead = [beyond, &self.ahead].concat().into();
            buf.set_filled(length);
        }
    }

    /// Waits for the deadline, the client being silent.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let late = ready!(self.connection.deadline.poll(&mut self.timer, context));
        Poll::Ready(Err(match late {
            Late::Head => self.refuse(REQUEST_TIMEOUT, context),
            Late::Idle | Late::Request => io::ErrorKind::TimedOut.into(),
        }))
    }

    /// Waits for the end of the request as a whole, the client not taking what is written to it. Pingora reads nothing
    /// meanwhile, and has a timeout of its own only for the single write.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !self.connection.deadline.is_total() {
            return Poll::Pending;
        }
        self.connection.deadline.poll(&mut self.timer, context).map(|_| io::ErrorKind::TimedOut.into())
    }

    /// Ends a write that waits for too long. Pingora bounds only its writes of bodies, and neither heads nor flushes: a
    /// client that reads nothing would hold its request, and the endpoint's place, for ever.
    fn poll_taken<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        if let Poll::Ready(over) = self.poll_over(context) {
            return Poll::Ready(Err(over));
        }
        let timeout = || Box::pin(sleep(self.connection.deadline.write_timeout()));
        let stalled = self.stalled.get_or_insert_with(timeout);
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Answers in Pingora's place, which would close without a word. Best effort: nobody waits for a client that
    /// does not read.
    fn refuse(&mut self, answer: &[u8], context: &mut Context<'_>) -> io::Error {
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.inner).poll_write(context, answer) {
            let _ = Pin::new(&mut self.inner).poll_flush(context);
        }
        io::ErrorKind::TimedOut.into()
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.connection.deadline.phase();
        // Pingora asks for more of a head that already has too much.
        if phase == Phase::Head && this.head_bytes >= this.connection.deadline.header_bytes {
            return Poll::Ready(Err(this.refuse(HEAD_TOO_LARGE, context)));
        }
        // Once a body is read, Pingora only probes, by one byte, whether the client is still there, and takes a byte
        // for a fault: it is the next request's, and is kept for it.
        let probe = phase == Phase::Request { body_read: true } && buf.remaining() == 1;
        if probe && !this.ahead.is_empty() {
            return this.poll_late(context);
        }

        let before = buf.filled().len();
        let Poll::Ready(read) = this.poll_fill(context, buf) else { return this.poll_late(context) };
        let arrived = &buf.filled()[before..];
        if probe && !arrived.is_empty() {
            this.put_back(buf, before);
            return this.poll_late(context);
        }
        if phase == Phase::Head {
            let length = this.head.find(arrived).unwrap_or(arrived.len());
            this.head_bytes += length;
            this.put_back(buf, before + length);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, buf);
        self.poll_taken(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.poll_taken(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.poll_taken(shut, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bufs);
        self.poll_taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

// The rest of Pingora's `IO`, passed on.

#[async_trait]
impl Shutdown for EdgeStream {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for EdgeStream {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for EdgeStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for EdgeStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for EdgeStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for EdgeStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

impl Peek for EdgeStream {}
