//! `Lease` + transport -> `HttpPeer`: how to connect to the chosen endpoint this once.

use std::time::{Duration, Instant};

use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::upstreams::peer::HttpPeer;

use super::context::RequestContext;
use super::failure::Failure;
use crate::endpoint;
use crate::route::Target;
use crate::transport::unix_address;
use crate::upstream::Lease;

/// How long a connection stays open that nobody will use again.
const NOT_KEPT: Duration = Duration::from_millis(1);

/// The peer for one attempt on `lease`'s endpoint.
///
/// # Errors
/// Where a name has lost its addresses since the endpoint was chosen, or the path of a socket is too long.
pub(super) fn peer(lease: &Lease, target: &Target, ctx: &RequestContext) -> Result<HttpPeer, Failure> {
    let address = match lease.endpoint().target().ok_or(Failure::ConnectError)? {
        endpoint::Target::Tcp(address) => PeerAddr::Inet(address),
        endpoint::Target::Unix(path) => unix_address(path).map_err(|_| Failure::ConnectError)?,
    };
    let mut peer = target.transport.peer(address, &lease.endpoint().host);
    let connect =
        ctx.remaining(Instant::now()).map_or(target.timeouts.connect, |left| left.min(target.timeouts.connect));
    // Pingora reads a zero as no wait at all, so a request whose time is over fails at once instead of hanging.
    let connect = connect.max(Duration::from_millis(1));
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    // Waiting for an answer is timed by the connection's deadline: Pingora's read timeout is one for all phases.
    peer.options.read_timeout = None;
    peer.options.write_timeout = Some(target.timeouts.idle);
    peer.options.idle_timeout = target.keepalive.or(Some(NOT_KEPT));
    if target.keepalive.is_none() {
        // Pingora keeps every connection that could serve again: nobody else asks for one of this group.
        peer.group_key = fastrand::u64(..);
    }
    Ok(peer)
}
