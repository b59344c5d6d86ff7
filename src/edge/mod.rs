//! `Edge`: takes an accepted connection to the proxy, request by request.
//!
//! It stands between Pingora's accept loop and its HTTP proxy: admission first, then the stream is held to its
//! [deadlines](crate::connection), then one session after the other runs on it until client or gateway has enough.

mod admission;
mod http2;
mod listeners;
mod proxy_protocol;
mod refusal;
mod secure;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::{ALPN, Ssl, Stream};
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;

use crate::connection::{Connection, EdgeStream, Next};
use crate::listener::{Listener, ListenerId};
use crate::telemetry::metrics::{Held, Protocol, RefusalReason, TimeoutReason, TlsVersion};
use crate::tls::Version;

pub use admission::OpenConnections;
use admission::{Admission, Admitted, Opened};
pub use listeners::{BindError, Bound, Change, Listeners, SocketFile, Sockets, bind};
pub use refusal::Refusals;

/// What a client gets that holds too many connections. Best effort: where it has sent something already, its system
/// may tell it of a reset instead.
const TOO_MANY_CONNECTIONS: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What everybody gets while the gateway holds as many connections as it may.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long a client that has only connected may take to begin once its listener closes.
const HURRY: Duration = Duration::from_secs(1);

/// Tells what the configuration in force says of a listener; none where it no longer has it. Asked once per accepted
/// connection, so that a reload concerns the next one.
pub type TermsOf = Arc<dyn Fn(&ListenerId) -> Option<Arc<Listener>> + Send + Sync>;

/// One listener's way to the HTTP application `A` that all listeners share.
struct Edge<A> {
    /// Not the listener itself: whoever accepts would keep the private keys that it began with.
    listener: ListenerId,
    app: Arc<A>,
    terms: TermsOf,
    admission: Arc<Admission>,
    open: Arc<OpenConnections>,
    refusals: Arc<Refusals>,
}

/// A connection's place among those that are open. Counts fall when it drops.
struct Place {
    _opened: Opened,
    _admitted: Admitted,
    _active: Held,
}

/// The process stopping, as one idle connection sees it.
struct Stop<'a> {
    shutdown: &'a ShutdownWatch,
    /// `shutdown` turning true. A poll takes a lock that all connections share, so it is polled once to be woken, and
    /// then only when the value has changed.
    stopping: Pin<Box<dyn Future<Output = bool> + Send>>,
    waiting: bool,
}

#[cfg(test)]
mod tests;

// === impl Edge ===

impl<A> Edge<A> {
    /// Takes the connections of `listener` to `app`, counted in `open`.
    fn new(
        listener: ListenerId,
        app: Arc<A>,
        terms: TermsOf,
        open: Arc<OpenConnections>,
        refusals: Arc<Refusals>,
    ) -> Self {
        Edge { listener, app, terms, admission: Arc::new(Admission::new()), open, refusals }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Edge<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // In a task of its own: Pingora's has room for a TLS handshake for as long as it lives.
        #[expect(
            clippy::disallowed_methods,
            reason = "a connection may outlive reloads; it ends when the process stops"
        )]
        tokio::spawn(Arc::clone(self).connection(stream, shutdown.clone()));
        None
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Edge<A> {
    /// One connection, from its first byte to its last.
    async fn connection(self: Arc<Self>, stream: Stream, shutdown: ShutdownWatch) {
        // Boxed: what it takes to begin is no longer there while the connection idles.
        if let Some((stream, counted)) = Box::pin(self.begin(stream, &shutdown)).await {
            serve(&self.app, stream, &shutdown, &self.refusals).await;
            drop(counted);
        }
    }

    /// Lets a connection in: admission, its PROXY header, its handshake. None where it is closed; whoever stays has a place until
    /// what is returned beside the stream drops.
    async fn begin(&self, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<(Box<EdgeStream>, Place)> {
        // None where the file has just lost it: then nobody accepts here any more, either.
        let listener = (self.terms)(&self.listener)?;
        let metrics = &listener.metrics;
        let Some(opened) = self.open.open() else {
            refuse(&listener, stream, RefusalReason::Full, FULL).await;
            return None;
        };
        let mut peer = peer(&stream);
        if listener.proxy_protocol {
            // Not served, so not worth a place of its client's: a proxy that is trusted has its bound here.
            match hurried(shutdown, proxy_protocol::read(&mut stream, &listener, peer)).await? {
                Ok(client) => peer = client,
                Err(reason) => {
                    metrics.refused(reason);
                    return None;
                }
            }
        }
        let ip = peer.map(|peer| peer.ip());
        let most = ip.and_then(|ip| listener.connections_per_ip(ip));
        let Some(admitted) = self.admission.admit(ip, most) else {
            refuse(&listener, stream, RefusalReason::PerAddressLimit, TOO_MANY_CONNECTIONS).await;
            return None;
        };
        let mut secured = None;
        if let Some(policy) = &listener.tls {
            let handshake = secure::handshake(stream, policy, listener.limits.handshake_timeout);
            match hurried(shutdown, handshake).await? {
                Ok(made) => {
                    metrics.secured(match made.secured.version {
                        Version::Tls12 => TlsVersion::Tls12,
                        Version::Tls13 => TlsVersion::Tls13,
                    });
                    stream = made.stream;
                    secured = Some(Arc::new(made.secured));
                }
                Err(why) => {
                    metrics.handshake_failed(why);
                    return None;
                }
            }
        }
        let place = Place { _opened: opened, _admitted: admitted, _active: metrics.connected() };
        let connection = Connection::new(listener, peer, secured, shutdown.clone());
        Some((Box::new(EdgeStream::new(stream, connection)), place))
    }
}

/// Waits for the beginning of a connection. Once the process stops, or the listener closes, it has to be quick: nobody shall wait
/// for clients that say nothing. None where it was not.
async fn hurried<T>(shutdown: &ShutdownWatch, beginning: impl Future<Output = T>) -> Option<T> {
    let mut shutdown = shutdown.clone();
    let over = async move {
        // An error is the same: whoever could stop us is gone.
        let _ = shutdown.wait_for(|stops| *stops).await;
        tokio::time::sleep(HURRY).await;
    };
    tokio::select! {
        begun = beginning => Some(begun),
        () = over => None,
    }
}

/// Closes a connection that can't be served now, with a word where that may be understood.
async fn refuse(listener: &Listener, mut stream: Stream, reason: RefusalReason, answer: &[u8]) {
    listener.metrics.refused(reason);
    if listener.tls.is_none() {
        let _ = stream.write_all(answer).await;
    }
    let _ = stream.shutdown().await;
}

/// Serves one request after the other until the client or the gateway has enough.
async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    mut stream: Box<EdgeStream>,
    shutdown: &ShutdownWatch,
    refusals: &Refusals,
) {
    let connection = Arc::clone(stream.connection());
    let metrics = &connection.listener.metrics;
    if stream.selected_alpn_proto() == Some(ALPN::H2) {
        metrics.speaks(Protocol::Http2);
        // Boxed, here and below: a connection that speaks HTTP/1 shall not have room for this.
        stream.hand_all_on();
        return Box::pin(http2::serve(app, stream, shutdown)).await;
    }
    let mut first = true;
    let mut settings: Option<HttpPersistentSettings> = None;
    let mut stop = Stop::new(shutdown);
    loop {
        let request = poll_fn(|context| {
            let request = stream.poll_request(context);
            let idle = request.is_pending() && !stream.has_begun();
            if idle && stop.stops(context) { Poll::Ready(Next::Gone) } else { request }
        });
        let next = request.await;
        if std::mem::take(&mut first) {
            metrics.speaks(if next == Next::Http2 { Protocol::Http2 } else { Protocol::Http1 });
        }
        match next {
            Next::Request => {}
            Next::Http2 => return Box::pin(http2::serve(app, stream, shutdown)).await,
            Next::Gone => return,
            Next::Silent => return metrics.timed_out(TimeoutReason::Idle),
            Next::Refused(violation) => {
                let (stream, head) = stream.into_parts();
                return Box::pin(refusals.refuse(&connection, stream, head, violation)).await;
            }
        }
        let mut session = ServerSession::new_http1(stream);
        match settings {
            Some(settings) => settings.apply_to_session(&mut session),
            // Without end for Pingora, whose timers are per read: the stream has its own.
            None => session.set_keepalive(Some(0)),
        }
        let Some(reused) = app.process_new_http(session, shutdown).await else { return };
        let (kept, persisted) = reused.consume();
        let Ok(kept) = kept.into_any().downcast() else { return };
        (stream, settings) = (kept, persisted);
        connection.deadline.await_request();
    }
}

/// The other end, IPv4 as IPv4 even on an IPv6 socket; none on a unix socket.
fn peer(stream: &Stream) -> Option<SocketAddr> {
    let digest = stream.get_socket_digest()?;
    let peer = digest.peer_addr()?.as_inet()?;
    Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}

// === impl Stop ===

impl<'a> Stop<'a> {
    fn new(shutdown: &'a ShutdownWatch) -> Self {
        let mut own = shutdown.clone();
        let stopping = async move { own.wait_for(|stops| *stops).await.is_ok() };
        Stop { shutdown, stopping: Box::pin(stopping), waiting: false }
    }

    /// Whether the process stops; if not, the task is woken when it does.
    fn stops(&mut self, context: &mut Context<'_>) -> bool {
        if self.waiting && !self.shutdown.has_changed().unwrap_or(true) {
            return false;
        }
        self.waiting = true;
        self.stopping.as_mut().poll(context) == Poll::Ready(true)
    }
}
