//! `Listeners`: every address the gateway accepts on, as one Pingora service.
//!
//! Sockets are bound by [`bind`], before Pingora runs: Pingora would report a failure in a task of its own and run on
//! without that listener.

use std::collections::HashMap;
use std::fs;
use std::fs::Permissions;
use std::io;
use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info};
use pingora::apps::HttpServerApp;
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::protocols::TcpKeepalive;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Edge, OpenConnections, Refusals, TermsOf};
use crate::listener::{Listener, ListenerId};

/// Reads go straight into Pingora's own buffers, which are large enough: one copy and 64 KiB a connection less.
/// Writes are gathered, so that a small response with its head is one packet.
const BUFFERS: L4BufferSettings = L4BufferSettings { read: Some(0), write: Some(4096) };

/// A client that vanished without a word is found within two minutes: the network's own time-outs are hours, and an
/// upgraded connection may rightly say nothing for as long.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};

/// A unix socket is for the gateway's user and group.
const SOCKET_MODE: u32 = 0o660;

/// Bound sockets, not yet served. Dropping them closes them.
#[derive(Debug, Default)]
pub struct Bound {
    sockets: Vec<(Arc<Listener>, Socket)>,
}

/// An address that can't be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address as configured.
    pub address: String,
    /// Why.
    pub reason: io::Error,
}

/// The service that accepts on every bound address, and on those that a reload brings.
pub struct Listeners<A> {
    orders: mpsc::UnboundedReceiver<Order>,
    accepting: HashMap<ListenerId, watch::Sender<bool>>,
    ended: JoinSet<()>,
    app: Arc<A>,
    terms: TermsOf,
    open: Arc<OpenConnections>,
    refusals: Arc<Refusals>,
}

/// The addresses that are listened on, as far as the outside sees them; a reload adds and removes some.
#[derive(Debug)]
pub struct Sockets {
    orders: mpsc::UnboundedSender<Order>,
    places: Mutex<HashMap<ListenerId, Place>>,
}

/// What a reload changes of the addresses. The new ones are bound, which is all that can fail; clients that connect wait. Dropped,
/// it changes nothing.
#[must_use = "nothing changes before it is applied"]
#[derive(Debug)]
pub struct Change<'a> {
    sockets: &'a Sockets,
    added: Bound,
    removed: Vec<ListenerId>,
}

/// Where a listener really is.
#[derive(Debug)]
struct Place {
    /// The address, with the port that the system chose.
    address: String,
    /// Held here too: whoever ends the process may cut off the task that accepts before it takes the file away.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Order {
    Accept(ListenerId, Socket),
    Stop(ListenerId),
}

#[derive(Debug)]
struct Socket {
    /// The real address, Pingora's name for the socket.
    address: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket we bound; taken away on drop, if it is still that one.
#[derive(Clone, Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    /// Common to all clones. The number of a file that is gone is soon another's, so the first clone that drops is the
    /// last that may take it away.
    ours: Arc<AtomicBool>,
}

/// Binds every address: `IP:PORT`, `[IPv6]:PORT` (`[::]` takes IPv4 too where the system does so) or `unix:/path`.
/// Port 0 lets the system choose.
///
/// # Errors
/// The first address that can't be bound; those before it are closed again.
pub fn bind<'a>(listeners: impl IntoIterator<Item = &'a Arc<Listener>>) -> Result<Bound, BindError> {
    let socket = |listener: &Arc<Listener>| match Socket::bind(&listener.address) {
        Ok(socket) => Ok((Arc::clone(listener), socket)),
        Err(reason) => Err(BindError { address: listener.address.clone(), reason }),
    };
    Ok(Bound { sockets: listeners.into_iter().map(socket).collect::<Result<_, _>>()? })
}

// === impl Bound ===

impl Bound {
    /// The files of its unix sockets.
    pub fn socket_files(&self) -> impl Iterator<Item = &SocketFile> {
        self.sockets.iter().filter_map(|(_, socket)| socket.file())
    }

    /// The service that takes every connection to `app`, counted in `open`; and the sockets as a reload changes them.
    pub fn serve<A>(
        self,
        app: Arc<A>,
        terms: TermsOf,
        open: Arc<OpenConnections>,
        refusals: Arc<Refusals>,
    ) -> (Arc<Sockets>, Listeners<A>) {
        #[expect(clippy::disallowed_methods, reason = "only reloads send, one order for a listener that comes or goes")]
        let (orders, ordered) = mpsc::unbounded_channel();
        let sockets = Sockets { orders, places: Mutex::default() };
        Change { sockets: &sockets, added: self, removed: Vec::new() }.apply();
        let listeners =
            Listeners { orders: ordered, accepting: HashMap::new(), ended: JoinSet::new(), app, terms, open, refusals };
        (Arc::new(sockets), listeners)
    }
}

// === impl Sockets ===

impl Sockets {
    /// The real address of a listener, with the port that the system chose; none once it is removed.
    pub fn address(&self, id: &ListenerId) -> Option<String> {
        self.places().get(id).map(|place| place.address.clone())
    }

    /// Binds what `listeners` has and we have not.
    ///
    /// # Errors
    /// The first address that can't be bound. Nothing has changed then.
    pub fn change(&self, listeners: &[Arc<Listener>]) -> Result<Change<'_>, BindError> {
        let places = self.places();
        let removed: Vec<ListenerId> =
            places.keys().filter(|id| !listeners.iter().any(|listener| listener.id == **id)).cloned().collect();
        let new = listeners.iter().filter(|listener| !places.contains_key(&listener.id));
        let added = bind(new).map_err(|mut error| {
            if error.reason.kind() == io::ErrorKind::AddrInUse && !removed.is_empty() {
                let hint = "; if it is the address of a listener that this file no longer has, remove that one first, \
                            and add this one with the next change";
                error.reason = io::Error::new(io::ErrorKind::AddrInUse, format!("{}{hint}", error.reason));
            }
            error
        })?;
        drop(places);
        Ok(Change { sockets: self, added, removed })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<ListenerId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Change ===

impl Change<'_> {
    /// Accepts on the new addresses, and no longer on those that are gone; what was accepted there is served on.
    pub fn apply(self) {
        let mut places = self.sockets.places();
        for id in self.removed {
            if let Some(place) = places.remove(&id) {
                info!("no longer listening on {}", place.address);
            }
            // Nobody is left to accept when these fail: the process ends.
            let _ = self.sockets.orders.send(Order::Stop(id));
        }
        for (listener, socket) in self.added.sockets {
            info!("listening on {}", socket.address);
            let place = Place { address: socket.address.clone(), _file: socket.file().cloned() };
            places.insert(listener.id.clone(), place);
            let _ = self.sockets.orders.send(Order::Accept(listener.id.clone(), socket));
        }
    }
}

// === impl BindError ===

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.reason)
    }
}

impl std::error::Error for BindError {}

// === impl Listeners ===

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> Service for Listeners<A> {
    /// Accepts until the process stops, then closes every socket at once; what was accepted is served on.
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, tasks_per_socket: usize) {
        loop {
            let order = tokio::select! {
                // Stopped, or nobody is left who could stop us.
                _ = shutdown.wait_for(|stops| *stops) => break,
                order = self.orders.recv() => order,
                Some(ended) = self.ended.join_next() => {
                    if let Err(failed) = ended {
                        error!("a listener failed: {failed}");
                    }
                    continue;
                }
            };
            match order {
                Some(Order::Accept(id, socket)) => self.accept(id, socket, tasks_per_socket),
                Some(Order::Stop(id)) => {
                    if let Some(stop) = self.accepting.remove(&id) {
                        let _ = stop.send(true);
                    }
                }
                None => break,
            }
        }
        for stop in self.accepting.values() {
            let _ = stop.send(true);
        }
        self.orders.close();
        while self.ended.join_next().await.is_some() {}
    }

    fn name(&self) -> &str {
        "listeners"
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Listeners<A> {
    fn accept(&mut self, id: ListenerId, socket: Socket, tasks_per_socket: usize) {
        // A table of our own: Pingora's outlives the socket, and would wrap whatever gets its number next.
        let mut table = Fds::new();
        let address = socket.address;
        let (config, file) = match socket.kind {
            Kind::Tcp(listener) => {
                table.add(address.clone(), listener.into_raw_fd());
                let mut options = TcpSocketOptions::default();
                options.tcp_keepalive = Some(KEEPALIVE);
                (ListenerConfig::tcp(&address).tcp_socket_options(options), None)
            }
            Kind::Unix(listener, file) => {
                let path = file.path.to_string_lossy().into_owned();
                table.add(path.clone(), listener.into_raw_fd());
                (ListenerConfig::uds(path).permissions(Permissions::from_mode(SOCKET_MODE)), Some(file))
            }
        };
        let edge = Edge::new(
            id.clone(),
            Arc::clone(&self.app),
            Arc::clone(&self.terms),
            Arc::clone(&self.open),
            Arc::clone(&self.refusals),
        );
        let mut service = listening::Service::new(address, edge);
        service.add_listener(config.l4_buffer(BUFFERS));
        let table: ListenFds = Arc::new(table.into());
        let (stop, stopping) = watch::channel(false);
        self.accepting.insert(id, stop);
        self.ended.spawn(async move {
            service.start_service(Some(table), stopping, tasks_per_socket).await;
            drop(file);
        });
    }
}

// === impl Socket ===

impl Socket {
    fn file(&self) -> Option<&SocketFile> {
        match &self.kind {
            Kind::Tcp(_) => None,
            Kind::Unix(_, file) => Some(file),
        }
    }

    fn bind(address: &str) -> io::Result<Socket> {
        let Some(path) = address.strip_prefix("unix:") else {
            let listener = TcpListener::bind(address).map_err(explained)?;
            listener.set_nonblocking(true)?;
            return Ok(Socket { address: listener.local_addr()?.to_string(), kind: Kind::Tcp(listener) });
        };
        let path = Path::new(path);
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        let file = SocketFile::of(path)?;
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        listener.set_nonblocking(true)?;
        Ok(Socket { address: address.to_owned(), kind: Kind::Unix(listener, file) })
    }
}

/// What the system's words leave to guess.
const HINTS: [(io::ErrorKind, &str); 3] = [
    (io::ErrorKind::AddrInUse, "something listens there already (a [::] listener takes its port for IPv4 too)"),
    (io::ErrorKind::PermissionDenied, "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
    (io::ErrorKind::AddrNotAvailable, "no interface of this machine has that address"),
];

fn explained(reason: io::Error) -> io::Error {
    match HINTS.iter().find(|(kind, _)| *kind == reason.kind()) {
        Some((kind, hint)) => io::Error::new(*kind, format!("{reason}; {hint}")),
        None => reason,
    }
}

/// Takes away the socket file of a process that is gone.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(failed) => return Err(failed),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is there and is not a socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(failed) => Err(failed),
    }
}

// === impl SocketFile ===

impl SocketFile {
    /// The file of a socket that was just bound at `path`.
    ///
    /// # Errors
    /// Where it is gone already.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(SocketFile { path: path.to_owned(), inode: inode(path)?, ours: Arc::new(AtomicBool::new(true)) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.ours.swap(false, Relaxed) && inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Limits;

    fn listen(addresses: &[&str]) -> Result<Bound, BindError> {
        let limits = Limits {
            streams: 100,
            header_bytes: 400,
            target_bytes: 200,
            headers: 100,
            header_timeout: Duration::ZERO,
            handshake_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            body_timeout: Duration::from_secs(20),
            min_rate: std::num::NonZeroU64::new(100),
            connections_per_ip: None,
        };
        let of = |address: &&str| Listener::bare(address, limits);
        bind(&addresses.iter().map(of).collect::<Vec<_>>())
    }

    fn addresses(bound: &Bound) -> Vec<String> {
        bound.sockets.iter().map(|(_, socket)| socket.address.clone()).collect()
    }

    fn refused(address: &str) -> String {
        listen(&[address]).unwrap_err().to_string()
    }

    #[test]
    fn a_port_chosen_by_the_system_is_told() {
        let bound = listen(&["127.0.0.1:0", "127.0.0.1:0"]).unwrap();
        let addresses = addresses(&bound);
        assert!(addresses.iter().all(|address| address.starts_with("127.0.0.1:") && !address.ends_with(":0")));
        assert_ne!(addresses[0], addresses[1]);
    }

    #[test]
    fn an_address_that_cannot_be_bound_is_named_with_the_reason_and_frees_the_others() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert_eq!(
            refused(&address),
            format!(
                "cannot listen on {address}: Address already in use (os error 98); \
                 something listens there already (a [::] listener takes its port for IPv4 too)"
            )
        );
        assert_eq!(
            refused("192.0.2.1:80"),
            "cannot listen on 192.0.2.1:80: Cannot assign requested address (os error 99); \
             no interface of this machine has that address"
        );

        let first = addresses(&listen(&["127.0.0.1:0"]).unwrap()).remove(0);
        listen(&[&first, &address]).unwrap_err();
        listen(&[&first]).unwrap();
    }

    #[test]
    fn a_socket_file_is_taken_over_only_from_the_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let address = format!("unix:{}", path.display());

        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket file outlives its process");
        let bound = listen(&[&address]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        assert!(refused(&address).ends_with("another process listens there"));
        drop(bound);
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        assert!(refused(&address).ends_with("the path is there and is not a socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_file_that_was_taken_away_once_is_not_taken_from_a_successor_with_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let bound = listen(&[&format!("unix:{}", path.display())]).unwrap();
        let mut files: Vec<_> = bound.socket_files().cloned().collect();
        drop(bound);
        let _successor = UnixListener::bind(&path).unwrap();
        // Many file systems give the number again at once; here none gets away without.
        files[0].inode = inode(&path).unwrap();
        drop(files);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_file_of_a_successor_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let bound = listen(&[&format!("unix:{}", path.display())]).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }
}
