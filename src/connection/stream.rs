//! `EdgeStream`: an accepted stream that hands on only what breaks no rule, and ends late clients, before Pingora sees them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Connection;
use super::alarm::Alarm;
use super::body::Body;
use super::deadline::Late;
use super::head::HeadEnd;
use super::rate::{Rate, Slow};
use crate::strictness::{Bounds, Violation, begins, judge, too_large};
use crate::telemetry::metrics::TimeoutReason;

/// How a client begins that speaks HTTP/2 from the start; no request of HTTP/1 begins so.
const HTTP2: &[u8] = b"PRI ";

/// How much is read at once while waiting for a request: Pingora's first buffer for a head.
const FIRST_READ: usize = 4096;

/// An accepted stream, and the [`Connection`] whose deadlines it holds.
///
/// It hands on one request at a time: a head once all of it is here and breaks no rule, then exactly its body, and what
/// follows only when it is asked for the next request. Pingora repairs much of what it reads, and can't serve a request
/// that it has read together with the one before.
#[derive(Debug)]
pub struct EdgeStream {
    inner: Stream,
    connection: Arc<Connection>,
    /// One for the connection's whole life.
    timer: Option<Pin<Box<Sleep>>>,
    /// How fast the client sends its body, and takes its answer; each has an alarm for when that is too slow.
    sends: Rate,
    takes: Rate,
    late: Alarm,
    stalled: Alarm,
    /// What was read and not handed on yet.
    ahead: BytesMut,
    /// Finds the end of the head that `ahead` begins with; it has seen so many bytes.
    head: HeadEnd,
    seen: usize,
    /// How much of `ahead` is a head that was judged and is being handed on.
    head_left: usize,
    /// What is still to come of the body behind it.
    body: Body,
    /// The client has said nothing yet, and may speak HTTP/2 from its first byte on.
    may_begin_http2: bool,
}

/// What comes after waiting for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A request; the stream hands it on.
    Request,
    /// One that breaks a rule, or did not arrive in time. [`EdgeStream::into_parts`] has what came of it.
    Refused(Violation),
    /// The client speaks HTTP/2: whatever comes is handed on.
    Http2,
    /// Nothing: the client is gone.
    Gone,
    /// Nothing: the client was silent too long.
    Silent,
}

// === impl EdgeStream ===

impl EdgeStream {
    /// Holds `inner` to the deadlines of `connection`.
    pub fn new(inner: Stream, connection: Arc<Connection>) -> Self {
        // With TLS the client has chosen what it speaks, and this was not it.
        let may_begin_http2 = connection.listener.http2 && connection.tls.is_none();
        let rate = Rate::new(connection.listener.limits.min_rate);
        EdgeStream {
            inner,
            connection,
            timer: None,
            sends: rate,
            takes: rate,
            late: Alarm::default(),
            stalled: Alarm::default(),
            ahead: BytesMut::new(),
            head: HeadEnd::default(),
            seen: 0,
            head_left: 0,
            body: Body::Over,
            may_begin_http2,
        }
    }

    /// What the edge knows of this stream's connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The stream as it was accepted, and what was read of it and not handed on.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        (self.inner, self.ahead.freeze())
    }

    /// From here on the stream carries HTTP/2, whose streams have deadlines of their own.
    pub(crate) fn hand_all_on(&mut self) {
        self.connection.deadline.streams_begin();
        self.connection.becomes_tunnel();
    }

    /// Whether something of the next request is here.
    pub(crate) fn has_begun(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Waits for the next request until its head is complete.
    /// A connection waits here and not in Pingora, whose session and future for a request take twenty times the memory.
    pub(crate) fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        loop {
            if self.seen < self.ahead.len()
                && let Some(next) = self.judge()
            {
                self.head = HeadEnd::default();
                self.seen = 0;
                return Poll::Ready(next);
            }
            self.late.put_away();
            self.stalled.put_away();
            let mut space = [MaybeUninit::uninit(); FIRST_READ];
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.inner).poll_read(context, &mut buf) {
                Poll::Pending => {
                    return Poll::Ready(match ready!(self.connection.deadline.poll(&mut self.timer, context)) {
                        Late::Head => Next::Refused(Violation::HeadTimeout),
                        Late::Idle | Late::Request => Next::Silent,
                    });
                }
                Poll::Ready(read) if read.is_err() || buf.filled().is_empty() => return Poll::Ready(Next::Gone),
                Poll::Ready(_) => self.ahead.extend_from_slice(buf.filled()),
            }
        }
    }

    /// Looks at what came of a head; none while that begins one and does not end it.
    fn judge(&mut self) -> Option<Next> {
        if self.seen == 0 {
            self.connection.deadline.head_begins();
            self.connection.set_violation(None);
        }
        if self.may_begin_http2 && self.ahead.starts_with(HTTP2) {
            self.hand_all_on();
            return Some(Next::Http2);
        }
        let limits = &self.connection.listener.limits;
        let bounds = Bounds { target_bytes: limits.target_bytes, headers: limits.headers };
        let end = self.head.find(&self.ahead[self.seen..]).map(|length| self.seen + length);
        self.seen = self.ahead.len();
        let length = end.unwrap_or(self.seen);
        let judged = match end {
            _ if length > limits.header_bytes => Err(too_large(&self.ahead[..length], bounds)),
            None => begins(&self.ahead).map(|()| None),
            Some(end) => judge(&self.ahead[..end], bounds).map(Some),
        };
        match judged {
            Ok(None) => None,
            Ok(Some(framing)) => {
                self.may_begin_http2 = false;
                self.head_left = length;
                let rate = Rate::new(limits.min_rate);
                (self.sends, self.takes) = (rate, rate);
                self.body = Body::new(framing);
                Some(Next::Request)
            }
            Err(violation) => Some(Next::Refused(violation)),
        }
    }

    /// Reads what belongs to the request's body.
    fn poll_body(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let most = self.ahead.len().min(buf.remaining());
            return Poll::Ready(match self.body.take(&self.ahead[..most]) {
                Ok(length) => {
                    self.hand_on(length, buf);
                    Ok(())
                }
                Err(violation) => Err(self.refuse(violation, io::ErrorKind::InvalidData)),
            });
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(context, buf) else {
            if let Poll::Ready(slow) = self.poll_slow(context) {
                return Poll::Ready(Err(slow));
            }
            return self.poll_late(context);
        };
        let arrived = &buf.filled()[before..];
        self.sends.moved(arrived.len(), Instant::now);
        match self.body.take(arrived) {
            Ok(length) => {
                self.ahead.extend_from_slice(&arrived[length..]);
                buf.set_filled(before + length);
                Poll::Ready(read)
            }
            Err(violation) => {
                buf.set_filled(before);
                Poll::Ready(Err(self.refuse(violation, io::ErrorKind::InvalidData)))
            }
        }
    }

    /// Tells when the client is gone. What it sends now is its next request, which waits until the present one is done.
    fn poll_gone(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return self.poll_late(context);
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(context, buf) else {
            return self.poll_late(context);
        };
        let arrived = &buf.filled()[before..];
        if arrived.is_empty() {
            return Poll::Ready(read);
        }
        self.ahead.extend_from_slice(arrived);
        buf.set_filled(before);
        self.poll_late(context)
    }

    fn hand_on(&mut self, length: usize, buf: &mut ReadBuf<'_>) {
        buf.put_slice(&self.ahead[..length]);
        // An empty one keeps its memory.
        if length == self.ahead.len() { self.ahead = BytesMut::new() } else { self.ahead.advance(length) }
    }

    /// Ends the request that breaks a rule; the proxy finds the violation at the connection.
    fn refuse(&self, violation: Violation, kind: io::ErrorKind) -> io::Error {
        self.connection.set_violation(Some(violation));
        kind.into()
    }

    /// Waits until the client is too slow with its body.
    fn poll_slow(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let now = Instant::now();
        let Some(patience) = self.connection.deadline.body_timeout() else {
            self.sends.rests(|| now);
            return Poll::Pending;
        };
        let Some((due, slow)) = self.sends.waits(now, patience) else { return Poll::Pending };
        ready!(self.late.poll(due, context));
        self.connection.listener.metrics.timed_out(TimeoutReason::Body);
        let violation = match slow {
            Slow::Silent => Violation::BodyTimeout,
            Slow::Trickling => Violation::BodyTooSlow,
        };
        Poll::Ready(self.refuse(violation, io::ErrorKind::TimedOut))
    }

    /// Waits for the deadline, the client being silent.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.deadline.poll(&mut self.timer, context).map(|_| Err(io::ErrorKind::TimedOut.into()))
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
            self.takes.rests(Instant::now);
            return written;
        }
        if let Poll::Ready(over) = self.poll_over(context) {
            return Poll::Ready(Err(over));
        }
        let patience = self.connection.deadline.write_timeout();
        let Some((due, _)) = self.takes.waits(Instant::now(), patience) else { return Poll::Pending };
        ready!(self.stalled.poll(due, context));
        self.connection.listener.metrics.timed_out(TimeoutReason::Response);
        Poll::Ready(Err(self.refuse(Violation::ReaderTooSlow, io::ErrorKind::TimedOut)))
    }

    /// The same for a write, whose bytes the client took, or its system for it.
    fn poll_written(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.takes.moved(bytes, Instant::now);
        }
        self.poll_taken(written, context)
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.head_left > 0 {
            let length = this.head_left.min(buf.remaining());
            this.head_left -= length;
            this.hand_on(length, buf);
            return Poll::Ready(Ok(()));
        }
        if !this.body.is_over() {
            return this.poll_body(context, buf);
        }
        if !this.connection.is_tunnel() {
            return this.poll_gone(context, buf);
        }
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buf.remaining());
            this.hand_on(length, buf);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.inner).poll_read(context, buf) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => this.poll_late(context),
        }
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, buf);
        self.poll_written(written, context)
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
        self.poll_written(written, context)
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
