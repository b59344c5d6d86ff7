//! `Connection`: what the edge knows of one accepted connection, and the `Deadline` by which both the edge and the
//! proxy end clients and requests that take too long.
//!
//! A leaf: the edge makes one per accepted stream and wraps the stream in an [`EdgeStream`]; the proxy finds it by
//! [`Connection::of`] and moves it through its phases. Pingora's own timeouts are per read, so a client that sends a
//! byte now and then is never late by them; here each phase has one total.

mod alarm;
mod body;
mod deadline;
mod head;
mod http2;
mod rate;
mod stream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pingora::protocols::http::ServerSession;
use tokio::sync::watch;

use crate::listener::Listener;
use crate::strictness::Violation;
use crate::tls::Secured;
pub use deadline::{Cause, Deadline};
pub use http2::Http2Session;
pub use rate::{Rate, Slow};
pub use stream::EdgeStream;
pub(crate) use stream::Next;

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it came, as the configuration was when it was accepted.
    pub listener: Arc<Listener>,
    /// The client's end, IPv4 as IPv4 even on an IPv6 socket; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// What its TLS handshake came to; none where it is plain HTTP.
    pub tls: Option<Arc<Secured>>,
    /// The connection's phase and when it ends.
    pub deadline: Deadline,
    /// What its stream found wrong with the present request after the head had been handed on.
    violation: Mutex<Option<Violation>>,
    /// Both sides speak another protocol now: whatever comes is handed on.
    tunnel: AtomicBool,
    /// Changes when its listener closes, or the process stops.
    closing: watch::Receiver<bool>,
}

// === impl Connection ===

impl Connection {
    /// A connection just accepted.
    pub fn new(
        listener: Arc<Listener>,
        peer: Option<SocketAddr>,
        tls: Option<Arc<Secured>>,
        closing: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let deadline = Deadline::new(&listener.limits);
        let (violation, tunnel) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Connection { listener, peer, tls, deadline, violation, tunnel, closing })
    }

    /// What one stream of it is, where it has many: the same with a deadline of its own.
    pub(crate) fn stream(&self) -> Arc<Self> {
        Self::new(Arc::clone(&self.listener), self.peer, self.tls.clone(), self.closing.clone())
    }

    /// Whether it ends with the present request, because its listener closes or the process stops. Costs an atomic read.
    pub fn is_closing(&self) -> bool {
        self.closing.has_changed().unwrap_or(true)
    }

    /// What is wrong with the present request's body, where the stream refused to hand on more of it.
    pub fn violation(&self) -> Option<Violation> {
        *self.violation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is wrong with the present request, or that nothing is, when the next begins.
    pub fn set_violation(&self, violation: Option<Violation>) {
        *self.violation.lock().unwrap_or_else(PoisonError::into_inner) = violation;
    }

    /// Both sides agreed on another protocol: from here on bytes are no requests any more. Until then, nothing that follows
    /// a request leaves the edge before the request is answered.
    pub fn becomes_tunnel(&self) {
        self.tunnel.store(true, Ordering::Release);
    }

    fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Acquire)
    }

    /// The connection a session came on; none when the edge did not accept it.
    pub fn of(session: &ServerSession) -> Option<&Arc<Connection>> {
        match session.stream() {
            Some(stream) => Some(stream.as_any().downcast_ref::<EdgeStream>()?.connection()),
            None if session.is_custom() => session.req_header().extensions.get(),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
