//! One HTTP/2 connection: takes its streams to the proxy, each as a request of its own, until client or gateway has enough.
//!
//! `h2` speaks the protocol; this owns the loop around it, which Pingora's own has not: a time limit for the handshake, for
//! a header block and for idleness, a [`Score`](score::Score) that ends a client which only costs, and an orderly end.

mod frames;
mod score;
mod watched;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl};
use pingora::server::ShutdownWatch;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::Stop;
use crate::connection::{EdgeStream, Http2Session};
use crate::listener::Limits;
use crate::telemetry::metrics::Closed;
use watched::{Seen, Watched};

/// How much of a request body may be under way that its endpoint has not taken: enough for 2.5 MB/s over 100 ms, and no
/// more for all the streams of a connection than four such.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How much of a response is kept for a stream whose client does not take it. Beyond that the endpoint waits.
const SEND_BUFFER: usize = 32 << 10;

/// A header list that is too long by less than this factor is still taken, for an answer that is counted and logged: `h2`
/// answers longer ones itself.
const LIST_LEEWAY: u32 = 2;

/// How long a client that was told to go may take to hear it, having nothing under way.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a client that is thrown out may take to hear why.
const LAST_WORD: Duration = Duration::from_secs(1);

/// One connection after its handshake.
struct Http2<'a> {
    h2: h2::server::Connection<Watched, Bytes>,
    limits: &'a Limits,
    seen: Arc<Mutex<Seen>>,
    streams: Arc<Streams>,
    stop: Stop<'a>,
    /// Since when the client has been told to send no more requests.
    leaving: Option<Instant>,
    /// Moved lazily: it fires at the latest when something is due.
    timer: Pin<Box<Sleep>>,
}

/// What a connection waits for.
#[expect(clippy::large_enum_variant, reason = "taken apart as soon as it is made")]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// Nothing more comes.
    Over(Option<h2::Error>),
    /// The client is thrown out.
    Enough(Closed),
    /// The process stops, or the listener closes.
    Stop,
    /// No stream has been open for as long as that may be.
    Quiet,
}

/// The streams that are being served.
#[derive(Debug)]
struct Streams {
    open: AtomicUsize,
    /// When the last one ended.
    quiet_since: Mutex<Instant>,
}

/// One stream that is being served.
struct OpenStream(Arc<Streams>);

/// Serves the streams of a connection whose client speaks HTTP/2.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    stream: Box<EdgeStream>,
    shutdown: &ShutdownWatch,
) {
    let connection = Arc::clone(stream.connection());
    let digest = Arc::new(digest(&stream));
    let (limits, metrics) = (&connection.listener.limits, &connection.listener.metrics);
    let seen = Seen::new(Instant::now());
    let handshake = options(limits).handshake(Watched::new(stream, Arc::clone(&seen)));
    let Ok(Ok(h2)) = timeout(limits.header_timeout, handshake).await else { return };
    let mut http2 = Http2::new(h2, limits, seen, Stop::new(shutdown));
    loop {
        match poll_fn(|context| http2.poll(context)).await {
            Event::Request(request, mut respond) => {
                if http2.leaving.is_some_and(|since| since.elapsed() > FAREWELL) {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let session = Http2Session::new(request, respond, connection.stream(), Arc::clone(&digest));
                let open = OpenStream::new(&http2.streams);
                let (app, shutdown) = (Arc::clone(app), shutdown.clone());
                let request = async move {
                    app.process_new_http(ServerSession::new_custom(Box::new(session)), &shutdown).await;
                    drop(open);
                };
                #[expect(
                    clippy::disallowed_methods,
                    reason = "ends with its connection, which gives its stream an error"
                )]
                tokio::spawn(request);
            }
            Event::Over(error) => {
                if let Some(why) = error.as_ref().and_then(fault) {
                    metrics.http2_closed(why);
                }
                return;
            }
            Event::Enough(why) => {
                metrics.http2_closed(why);
                return http2.throw_out().await;
            }
            Event::Stop => http2.leave(),
            Event::Quiet if http2.leaving.is_some() => return,
            Event::Quiet => http2.leave(),
        }
    }
}

/// Starts from what Pingora holds against the first floods.
fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    let header_list = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX).saturating_mul(LIST_LEEWAY);
    options
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(header_list)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    options
}

fn digest(stream: &EdgeStream) -> Digest {
    Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    }
}

/// A day where the clock can't count that far.
fn after(since: Instant, within: Duration) -> Instant {
    since.checked_add(within).unwrap_or_else(|| since + Duration::from_secs(86_400))
}

/// Why `h2` closed the connection, where it was for what the client did.
fn fault(error: &h2::Error) -> Option<Closed> {
    let reason = error.reason().filter(|_| error.is_go_away() && error.is_library())?;
    Some(if reason == Reason::ENHANCE_YOUR_CALM { Closed::Limit } else { Closed::ProtocolError })
}

// === impl Http2 ===

impl<'a> Http2<'a> {
    fn new(
        h2: h2::server::Connection<Watched, Bytes>,
        limits: &'a Limits,
        seen: Arc<Mutex<Seen>>,
        stop: Stop<'a>,
    ) -> Self {
        let streams = Arc::new(Streams { open: AtomicUsize::new(0), quiet_since: Mutex::new(Instant::now()) });
        Http2 { h2, limits, seen, streams, stop, leaving: None, timer: Box::pin(sleep(limits.idle_timeout)) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let accepted = self.h2.poll_accept(context);
        // First of all: a flood that is no request is seen only here, and one of requests is not served on.
        if let Some(why) = Seen::lock(&self.seen).score.over() {
            return Poll::Ready(Event::Enough(why));
        }
        match accepted {
            Poll::Ready(Some(Ok((request, respond)))) => return Poll::Ready(Event::Request(request, respond)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Over(Some(error))),
            Poll::Ready(None) => return Poll::Ready(Event::Over(None)),
            Poll::Pending => {}
        }
        if self.leaving.is_none() && self.stop.stops(context) {
            return Poll::Ready(Event::Stop);
        }
        self.poll_due(context)
    }

    /// Waits for what is due next. The end of the last stream wakes nobody: it is found when the timer fires, which is never
    /// later than an idle time from now.
    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        loop {
            let at = self.due().map(|(at, _)| at);
            let elapsed = self.timer.is_elapsed();
            if let Some(at) = at.filter(|at| elapsed || *at < self.timer.deadline()) {
                self.timer.as_mut().reset(at);
            } else if elapsed {
                let longest = if self.leaving.is_some() { FAREWELL } else { self.limits.idle_timeout };
                self.timer.as_mut().reset(after(Instant::now(), longest));
            }
            ready!(self.timer.as_mut().poll(context));
            if let Some((_, event)) = self.due().filter(|(at, _)| *at <= self.timer.deadline()) {
                return Poll::Ready(event);
            }
        }
    }

    fn due(&self) -> Option<(Instant, Event)> {
        let block = Seen::lock(&self.seen).block_since;
        let block = block.map(|since| (after(since, self.limits.header_timeout), Event::Enough(Closed::SlowHead)));
        let quiet = self.streams.quiet_since().map(|since| match self.leaving {
            Some(told) => (since.max(told) + FAREWELL, Event::Quiet),
            None => (after(since, self.limits.idle_timeout), Event::Quiet),
        });
        match (block, quiet) {
            (Some(block), Some(quiet)) => Some(if block.0 <= quiet.0 { block } else { quiet }),
            (block, quiet) => block.or(quiet),
        }
    }

    /// Tells the client to send no more requests; those that it has sent are served.
    fn leave(&mut self) {
        self.h2.graceful_shutdown();
        self.leaving = Some(Instant::now());
    }

    /// Closes the connection with all its streams.
    async fn throw_out(mut self) {
        self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let _ = timeout(LAST_WORD, poll_fn(|context| self.h2.poll_closed(context))).await;
    }
}

// === impl Streams ===

impl Streams {
    /// Since when there has been none.
    fn quiet_since(&self) -> Option<Instant> {
        let none = self.open.load(Ordering::Acquire) == 0;
        none.then(|| *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl OpenStream ===

impl OpenStream {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::AcqRel);
        OpenStream(Arc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
