//! A port of the loopback that stays ours while nobody listens on it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// Holds a port by a socket that is bound and never listens: a connection is refused, and the system gives the port to
/// nobody else. Another socket of ours may listen beside it, and stop, and listen again.
pub(crate) struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    pub(crate) fn reserve() -> Port {
        let held = bound("127.0.0.1:0".parse().unwrap());
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Port { address, _held: held }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn listen(&self) -> TcpListener {
        let socket = bound(self.address);
        socket.listen(1024).unwrap();
        socket.into()
    }

    /// Listens with a queue that is full: a further connection is neither accepted nor refused.
    pub(crate) fn listen_full(&self) -> (Socket, Vec<TcpStream>) {
        let socket = bound(self.address);
        socket.listen(0).unwrap();
        let filling = || TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).ok();
        let held = std::iter::from_fn(filling).take(16).collect();
        (socket, held)
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}
