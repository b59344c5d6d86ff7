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
use std::time::Duration;

use pingora::protocols::http::ServerSession;

pub use deadline::{Cause, Deadline};
pub use stream::EdgeStream;

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// The listener's place in the configuration's list.
    pub listener: usize,
    /// The client's end, IPv4 as IPv4 even on an IPv6 socket; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// The connection's phase and when it ends.
    pub deadline: Deadline,
}

/// What one connection may take, as its listener says. Read once per connection: a reload concerns new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes a request head may have, in bytes.
    pub header_bytes: usize,
    /// From a head's first byte to its last; and from accepting a connection to its first byte.
    pub header_timeout: Duration,
    /// Between two requests of one connection.
    pub idle_timeout: Duration,
    /// The most connections at one time of one address; none for no bound, as for a trusted proxy.
    pub connections_per_ip: Option<u32>,
}

// === impl Connection ===

impl Connection {
    /// A connection just accepted.
    pub fn new(listener: usize, peer: Option<SocketAddr>, limits: &Limits) -> Arc<Self> {
        Arc::new(Connection { listener, peer, deadline: Deadline::new(limits) })
    }

    /// The connection a session came on; none when the edge did not accept it.
    pub fn of(session: &ServerSession) -> Option<&Arc<Connection>> {
        let stream = session.stream()?.as_any().downcast_ref::<EdgeStream>()?;
        Some(stream.connection())
    }
}
