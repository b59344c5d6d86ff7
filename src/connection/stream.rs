//! `EdgeStream`: an accepted stream that ends late clients and over-long heads, before Pingora sees them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Connection;
use super::deadline::{Late, Phase};

/// What a client gets that is too slow with its request head.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a client gets whose request head has no end.
const HEAD_TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// An accepted stream, and the [`Connection`] whose deadlines it holds.
#[derive(Debug)]
pub struct EdgeStream {
    inner: Stream,
    connection: Arc<Connection>,
    /// One for the connection's whole life.
    timer: Option<Pin<Box<Sleep>>>,
    /// How much of the present head was read.
    head_bytes: usize,
    /// The first byte of the next request, come while the present one is being served.
    held: Option<u8>,
}

// === impl EdgeStream ===

impl EdgeStream {
    /// Holds `inner` to the deadlines of `connection`.
    pub fn new(inner: Stream, connection: Arc<Connection>) -> Self {
        EdgeStream { inner, connection, timer: None, head_bytes: 0, held: None }
    }

    /// What the edge knows of this stream's connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Waits for the deadline, the client being silent.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let late = ready!(self.connection.deadline.poll(&mut self.timer, context));
        Poll::Ready(match late {
            // An end between two requests, which Pingora takes without an error.
            Late::Idle => Ok(()),
            Late::Head => self.refuse(REQUEST_TIMEOUT, context),
            Late::Request => Err(io::ErrorKind::TimedOut.into()),
        })
    }

    /// Answers in Pingora's place, which would close without a word. Best effort: nobody waits for a client that
    /// does not read.
    fn refuse(&mut self, answer: &[u8], context: &mut Context<'_>) -> io::Result<()> {
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.inner).poll_write(context, answer) {
            let _ = Pin::new(&mut self.inner).poll_flush(context);
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.connection.deadline.phase();
        // Pingora asks for more of a head that already has too much. Checked before the read, not after: what came
        // with the head's end may be body.
        if phase == Phase::Head && this.head_bytes >= this.connection.deadline.header_bytes {
            return Poll::Ready(this.refuse(HEAD_TOO_LARGE, context));
        }
        // Once a body is read, Pingora only probes, by one byte, whether the client is still there, and takes any
        // byte for a fault or stops looking.
        let probe = phase == Phase::Request { body_read: true } && buf.remaining() == 1;
        if probe && this.held.is_some() {
            return this.poll_late(context);
        }

        let before = buf.filled().len();
        if buf.remaining() > 0
            && let Some(byte) = this.held.take()
        {
            buf.put_slice(&[byte]);
        }
        let read = Pin::new(&mut this.inner).poll_read(context, buf);
        let arrived = buf.filled().len() - before;
        if arrived == 0 {
            return match read {
                Poll::Pending => this.poll_late(context),
                Poll::Ready(ended) => Poll::Ready(ended),
            };
        }
        match phase {
            Phase::Idle => {
                this.connection.deadline.head_begins();
                this.head_bytes = arrived;
            }
            Phase::Head => this.head_bytes += arrived,
            Phase::Request { .. } if probe => {
                this.held = buf.filled().last().copied();
                buf.set_filled(before);
                return this.poll_late(context);
            }
            Phase::Request { .. } => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bufs)
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
