//! `Http2Session`: one stream of an HTTP/2 connection, as Pingora's session, held to deadlines of its own.
//!
//! Pingora's HTTP/2 session waits for its client without end, hides the connection from our hooks, and answers some faults
//! before any of them sees the request. This one is a "custom" session of Pingora's on the same `h2` streams: what an
//! [`EdgeStream`](super::EdgeStream) is for HTTP/1, so that every time limit ends an HTTP/2 request in the same way.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, Sleep, timeout};

use super::Connection;
use super::alarm::Alarm;
use super::rate::{Rate, Slow};
use crate::strictness::Violation;
use crate::telemetry::metrics::TimeoutReason;

/// How much of a body is kept for another attempt: as much as Pingora keeps on HTTP/1.
const KEPT_FOR_RETRY: usize = 64 << 10;

/// What speaks of one HTTP/1 connection and makes a message of HTTP/2 malformed (RFC 9113 section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// One request and its response. Dropping it before the response is whole resets the stream, so that the client sees an
/// error and not a short answer.
pub struct Http2Session {
    connection: Arc<Connection>,
    digest: Arc<Digest>,
    request: RequestHeader,
    incoming: RecvStream,
    respond: SendResponse<Bytes>,
    /// There once the response's head is sent.
    outgoing: Option<SendStream<Bytes>>,
    written: Option<Box<ResponseHeader>>,
    /// The response is whole.
    ended: bool,
    /// The request is whole.
    body_read: bool,
    received: usize,
    sent: usize,
    retry: Option<FixedBuffer>,
    /// Runs until the stream's deadline.
    timer: Option<Pin<Box<Sleep>>>,
    /// How fast the client sends its body, and takes its answer; each has an alarm for when that is too slow.
    sends: Rate,
    takes: Rate,
    late: Alarm,
    stalled: Alarm,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

// === impl Http2Session ===

impl Http2Session {
    /// The session of a stream that `h2` has accepted. `connection` is this stream's own: it has the stream's deadline.
    pub fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        connection: Arc<Connection>,
        digest: Arc<Digest>,
    ) -> Self {
        let (mut head, incoming) = request.into_parts();
        head.extensions.insert(Arc::clone(&connection));
        let rate = Rate::new(connection.listener.limits.min_rate);
        Http2Session {
            connection,
            digest,
            request: head.into(),
            incoming,
            respond,
            outgoing: None,
            written: None,
            ended: false,
            body_read: false,
            received: 0,
            sent: 0,
            retry: None,
            timer: None,
            sends: rate,
            takes: rate,
            late: Alarm::default(),
            stalled: Alarm::default(),
            read_timeout: None,
            write_timeout: None,
            drain_timeout: None,
        }
    }

    fn has_no_body(&self) -> bool {
        let empty = |length: &http::HeaderValue| length.as_bytes() == b"0";
        self.received == 0
            && (self.incoming.is_end_stream() || self.request.headers.get(CONTENT_LENGTH).is_some_and(empty))
    }

    fn has_read_body(&self) -> bool {
        self.body_read || self.has_no_body() || self.incoming.is_end_stream()
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.body_read {
            return Poll::Ready(Ok(None));
        }
        match self.incoming.poll_data(context) {
            Poll::Ready(Some(Ok(data))) => {
                self.received += data.len();
                self.sends.moved(data.len(), Instant::now);
                if let Some(retry) = &mut self.retry {
                    retry.write_to_buffer(&data);
                }
                // Fails only for more than there is.
                let _ = self.incoming.flow_control().release_capacity(data.len());
                Poll::Ready(Ok(Some(data)))
            }
            // Trailers, if any, are not passed on, as on HTTP/1.
            Poll::Ready(None) => {
                self.body_read = true;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(broken(error))),
            Poll::Pending => {
                if let Poll::Ready(slow) = self.poll_slow(context) {
                    return Poll::Ready(Err(slow));
                }
                self.poll_late(context)
            }
        }
    }

    /// Waits until the client is too slow with its body.
    fn poll_slow(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        let now = Instant::now();
        let Some(patience) = self.connection.deadline.body_timeout() else {
            self.sends.rests(|| now);
            return Poll::Pending;
        };
        let Some((due, slow)) = self.sends.waits(now, patience) else { return Poll::Pending };
        ready!(self.late.poll(due, context));
        self.connection.listener.metrics.timed_out(TimeoutReason::Body);
        self.connection.set_violation(Some(match slow {
            Slow::Silent => Violation::BodyTimeout,
            Slow::Trickling => Violation::BodyTooSlow,
        }));
        Poll::Ready(late(ErrorType::ReadTimedout))
    }

    /// Waits for the client to give the stream up.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let reset = match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        match reset {
            Poll::Ready(Ok(reason)) => {
                let error =
                    Error::explain(ErrorType::ConnectionClosed, format!("the client reset the stream: {reason}"));
                Poll::Ready(Err(error.into_down()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(broken(error))),
            Poll::Pending => self.poll_late(context),
        }
    }

    /// Waits for the stream's deadline, the client being silent.
    fn poll_late<T>(&mut self, context: &mut Context<'_>) -> Poll<Result<T>> {
        self.connection.deadline.poll(&mut self.timer, context).map(|_| Err(late(ErrorType::ReadTimedout)))
    }

    /// Waits until the client takes some of `wanted` bytes, for no longer than it may take nothing.
    fn poll_capacity(&mut self, wanted: usize, context: &mut Context<'_>) -> Poll<Result<usize>> {
        let Some(outgoing) = &mut self.outgoing else { return Poll::Ready(Err(headless())) };
        outgoing.reserve_capacity(wanted);
        let capacity = loop {
            if outgoing.capacity() > 0 {
                break Poll::Ready(Ok(outgoing.capacity()));
            }
            match outgoing.poll_capacity(context) {
                // Told of a change that has been taken back since.
                Poll::Ready(Some(Ok(0))) => {}
                Poll::Ready(Some(Ok(capacity))) => break Poll::Ready(Ok(capacity)),
                Poll::Ready(Some(Err(error))) => break Poll::Ready(Err(broken(error))),
                Poll::Ready(None) => {
                    let error = Error::explain(ErrorType::ConnectionClosed, "the stream is closed");
                    break Poll::Ready(Err(error.into_down()));
                }
                Poll::Pending => break Poll::Pending,
            }
        };
        if capacity.is_ready() {
            self.takes.rests(Instant::now);
            return capacity;
        }
        let deadline = &self.connection.deadline;
        // Nobody reads while we write; that the client has left, `h2` tells here too.
        if deadline.is_total() && deadline.poll(&mut self.timer, context).is_ready() {
            return Poll::Ready(Err(late(ErrorType::WriteTimedout)));
        }
        let patience = deadline.write_timeout();
        let Some((due, _)) = self.takes.waits(Instant::now(), patience) else { return Poll::Pending };
        ready!(self.stalled.poll(due, context));
        self.connection.listener.metrics.timed_out(TimeoutReason::Response);
        self.connection.set_violation(Some(Violation::ReaderTooSlow));
        Poll::Ready(Err(late(ErrorType::WriteTimedout)))
    }

    fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.written.is_some() {
            return Ok(());
        }
        for name in &OF_THE_CONNECTION {
            head.remove_header(name);
        }
        if head.status.is_informational() {
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Error::explain(ErrorType::InternalError, "HTTP/2 has no upgrades"));
            }
            let response = Response::from_parts((*head).into(), ());
            return self.respond.send_informational(response).map_err(broken);
        }
        head.insert_header(DATE, get_cached_date())?;
        let response = Response::from_parts(head.as_owned_parts(), ());
        self.outgoing = Some(self.respond.send_response(response, end).map_err(broken)?);
        self.written = Some(head);
        self.ended = end;
        Ok(())
    }

    async fn send_body(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        while !data.is_empty() {
            let room = poll_fn(|context| self.poll_capacity(data.len(), context)).await?;
            let Some(outgoing) = &mut self.outgoing else { return Err(headless()) };
            let part = data.split_to(room.min(data.len()));
            self.sent += part.len();
            self.takes.moved(part.len(), Instant::now);
            outgoing.send_data(part, end && data.is_empty()).map_err(broken)?;
            self.ended = end && data.is_empty();
        }
        if end { self.send_end() } else { Ok(()) }
    }

    /// Ends the response, where it has begun.
    fn send_end(&mut self) -> Result<()> {
        if let Some(outgoing) = self.outgoing.as_mut().filter(|_| !self.ended) {
            outgoing.send_data(Bytes::new(), true).map_err(broken)?;
            self.ended = true;
        }
        Ok(())
    }

    fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(outgoing) = &mut self.outgoing else { return Err(headless()) };
        outgoing.send_trailers(trailers).map_err(broken)?;
        self.ended = true;
        Ok(())
    }
}

/// The client broke off, or broke the rules, which `h2` has told it.
fn broken(error: h2::Error) -> Box<Error> {
    let kind = if error.is_library() && error.reason().is_some_and(|reason| reason != Reason::NO_ERROR) {
        ErrorType::InvalidH2
    } else {
        ErrorType::ConnectionClosed
    };
    Error::because(kind, "on a stream of the client's", error).into_down()
}

fn late(kind: ErrorType) -> Box<Error> {
    Error::explain(kind, "a deadline of the stream passed").into_down()
}

fn headless() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "a body without a head")
}

#[async_trait]
impl Session for Http2Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let within = self.read_timeout;
        let read = poll_fn(|context| self.poll_body(context));
        match within {
            Some(within) => timeout(within, read).await.unwrap_or_else(|_| Err(late(ErrorType::ReadTimedout))),
            None => read.await,
        }
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.has_read_body() {
            poll_fn(|context| self.poll_gone(context)).await
        } else {
            self.read_body_bytes().await
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        // Nothing follows a request on its stream: what is not read is not waited for.
        Ok(())
    }

    fn is_body_done(&mut self) -> bool {
        self.has_read_body()
    }

    fn is_body_empty(&mut self) -> bool {
        self.has_no_body()
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.send_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.send_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.send_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.send_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut over = false;
        for task in tasks {
            over |= match task {
                HttpTask::Header(head, end) => {
                    self.send_head(head, end)?;
                    end
                }
                HttpTask::Body(data, end) => {
                    self.send_body(data.unwrap_or_default(), end).await?;
                    end
                }
                HttpTask::Trailer(trailers) => {
                    if let Some(trailers) = trailers {
                        self.send_trailers(*trailers)?;
                    }
                    true
                }
                HttpTask::Done => true,
                HttpTask::UpgradedBody(..) => {
                    return Err(Error::explain(ErrorType::InternalError, "HTTP/2 has no upgrades"));
                }
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if over {
            self.send_end()?;
        }
        Ok(over)
    }

    async fn finish(&mut self) -> Result<()> {
        self.send_end()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        self.abandon("").await;
    }

    async fn abandon(&mut self, _: &str) {
        if !self.ended {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    fn set_read_timeout(&mut self, within: Option<Duration>) {
        self.read_timeout = within;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, within: Option<Duration>) {
        // What ends a write is the deadline's, as on HTTP/1.
        self.write_timeout = within;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, within: Option<Duration>) {
        self.drain_timeout = within;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.request.method, self.request.uri.path())
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        // There was none; whoever wants the target finds it where HTTP/1 has it.
        let target = self.request.uri.path_and_query().map_or("", |target| target.as_str());
        format!("{} {target} HTTP/2.0\r\n\r\n", self.request.method).into()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.received
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn enable_retry_buffering(&mut self) {
        self.retry.get_or_insert_with(|| FixedBuffer::new(KEPT_FOR_RETRY));
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.retry.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.retry.as_ref().filter(|retry| !retry.is_truncated())?.get_buffer()
    }

    // Custom sessions may carry messages of their own; this one has none.

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
