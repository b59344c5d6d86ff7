//! `Connection`: what the edge knows of one accepted connection, and the `Deadline` by which both the edge and the
//! proxy end clients and requests that take too long.
//!
//! A leaf: the edge makes one per accepted stream and wraps the stream in an [`EdgeStream`]; the proxy finds it by
//! [`Connection::of`] and moves it through its phases. Pingora's own timeouts are per read, so a client that sends a
//! byte now and then is never late by them; here each phase has one total.

mod deadline;
mod head;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::protocols::http::ServerSession;
use tokio::sync::watch;

use crate::listener::Listener;
pub use deadline::{Cause, Deadline};
pub use stream::EdgeStream;

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it came, as the configuration was when it was accepted.
    pub listener: Arc<Listener>,
    /// The client's end, IPv4 as IPv4 even on an IPv6 socket; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// The connection's phase and when it ends.
    pub deadline: Deadline,
    /// Changes when its listener closes, or the process stops.
    closing: watch::Receiver<bool>,
}

// === impl Connection ===

impl Connection {
    /// A connection just accepted.
    pub fn new(listener: Arc<Listener>, peer: Option<SocketAddr>, closing: watch::Receiver<bool>) -> Arc<Self> {
        let deadline = Deadline::new(&listener.limits);
        Arc::new(Connection { listener, peer, deadline, closing })
    }

    /// Whether it ends with the present request, because its listener closes or the process stops. Costs an atomic read.
    pub fn is_closing(&self) -> bool {
        self.closing.has_changed().unwrap_or(true)
    }

    /// The connection a session came on; none when the edge did not accept it.
    pub fn of(session: &ServerSession) -> Option<&Arc<Connection>> {
        let stream = session.stream()?.as_any().downcast_ref::<EdgeStream>()?;
        Some(stream.connection())
    }
}
