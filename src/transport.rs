//! `Transport`: how the endpoints of an upstream are spoken to: in plain text or in TLS, in HTTP/1.1 or HTTP/2.
//!
//! Made by `compile` and used by the proxy and by probes alike: a probe can't pass where a request would fail. All that a
//! connection needs is parsed by then; what is left per connection is the handshake.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::uri::Scheme;
use pingora::connectors::ConnectorOptions;
use pingora::protocols::ALPN;
use pingora::protocols::l4::ext::TcpKeepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::tls::CaType;
use pingora::tls::{RootCertStore, load_native_certs};
use pingora::upstreams::peer::{HttpPeer, PeerOptions, Scheme as PeerScheme};
use pingora::utils::tls::CertKey;

/// Requests that may share one connection.
const STREAMS: usize = 100;

/// What an endpoint may send of one response that its client hasn't taken: so much of it may lie here, beside what is on its way.
const STREAM_WINDOW: u32 = 128 << 10;

/// All streams' together: those whose clients read slowly never keep the others from being sent to.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// How often a connection is asked for a sign of life. gRPC servers end a connection that asks more often than every five
/// minutes.
const PING: Duration = Duration::from_secs(330);

/// Finds an endpoint's machine gone, whose connection would fail one request after the other: what is sent and not acknowledged
/// for so long ends it.
const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(5),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::from_secs(30),
};

/// How the endpoints of an upstream are spoken to; by default in plain text and HTTP/1.1.
#[derive(Debug, Default)]
pub struct Transport {
    tls: Option<Tls>,
    http2: bool,
    /// Differs where anything differs that makes a connection another one, so that none is shared that shouldn't be: Pingora's
    /// own key knows nothing of whom we trust.
    group: u64,
}

/// TLS to endpoints.
#[derive(Debug, Default)]
pub struct Tls {
    /// The name that the endpoint is asked for and whose certificate it must have; none: what it is called in the file.
    pub server_name: Option<String>,
    /// Who may have signed its certificate; none: whom the system trusts.
    pub ca: Option<Arc<CaType>>,
    /// What we show where the endpoint asks for a certificate.
    pub client: Option<Arc<CertKey>>,
    /// Whether the endpoint's certificate has to be right. Without, anybody in between can be the endpoint.
    pub verify: bool,
}

// === impl Transport ===

impl Transport {
    /// A transport of an upstream of that name.
    pub fn new(upstream: &str, tls: Option<Tls>, http2: bool) -> Self {
        // In plain text nobody is told apart: whoever asks the same address may share its connections.
        let group = tls.as_ref().map_or(0, |tls| tls.group(upstream));
        Self { tls, http2, group }
    }

    /// The scheme of what the endpoints are asked for.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Whether requests go by HTTP/2, and none in any other way: a client that asks for a WebSocket could otherwise make endpoints
    /// that speak nothing else look broken.
    pub fn speaks_http2(&self) -> bool {
        self.http2
    }

    /// How to connect to `address`, which belongs to an endpoint that is called `host`.
    pub fn peer(&self, address: PeerAddr, host: &str) -> HttpPeer {
        let mut options = PeerOptions::new();
        options.alpn = ALPN::H1;
        if self.http2 {
            options.alpn = ALPN::H2;
            options.max_h2_streams = STREAMS;
            options.h2_stream_window_size = Some(STREAM_WINDOW);
            options.h2_connection_window_size = Some(CONNECTION_WINDOW);
            options.h2_ping_interval = Some(PING);
            options.tcp_keepalive = Some(TCP_KEEPALIVE);
        }
        let mut peer = HttpPeer {
            _address: address,
            scheme: PeerScheme::from_tls_bool(self.tls.is_some()),
            sni: String::new(),
            proxy: None,
            client_cert_key: None,
            group_key: self.group,
            options,
        };
        if let Some(tls) = &self.tls {
            tls.server_name.as_deref().unwrap_or(host).clone_into(&mut peer.sni);
            peer.client_cert_key.clone_from(&tls.client);
            peer.options.ca.clone_from(&tls.ca);
            peer.options.verify_cert = tls.verify;
            peer.options.verify_hostname = tls.verify;
        }
        peer
    }
}

/// Two are equal when connections of one can serve the other.
impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        (self.tls.is_some(), self.http2, self.group) == (other.tls.is_some(), other.http2, other.group)
    }
}

impl Eq for Transport {}

// === impl Tls ===

impl Tls {
    /// By content, not by generation: a reload that changes nothing here keeps its connections, and one that changes any of
    /// it takes no old one.
    fn group(&self, upstream: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        let Self { server_name, ca, client, verify } = self;
        (upstream, server_name, verify).hash(&mut hasher);
        let ca = ca.iter().flat_map(|ca| ca.iter()).map(|certificate| certificate.borrow_raw_cert());
        ca.for_each(|certificate| certificate.hash(&mut hasher));
        if let Some(client) = client {
            client.leaf().borrow_raw_cert().hash(&mut hasher);
            let others = client.intermediates();
            others.iter().for_each(|certificate| certificate.borrow_raw_cert().hash(&mut hasher));
            client.key().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A socket file as an address to connect to.
///
/// # Errors
/// Where the path is too long for a socket.
pub fn unix_address(path: &Path) -> std::io::Result<PeerAddr> {
    UnixAddr::from_pathname(path).map(PeerAddr::Unix)
}

// Pingora reads the system's certificates when a connector is built, at the start, and panics where it can't: so it is tried
// here before, once.
static SYSTEM_ROOTS: LazyLock<Result<(), String>> = LazyLock::new(|| {
    let found = load_native_certs().map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate).map_err(|error| format!("one of them can't be read: {error}"))?;
    }
    match roots.is_empty() {
        true => Err("there are none".to_owned()),
        false => Ok(()),
    }
});

/// Whether the certificates that the system trusts could be read when the process began; else why not.
///
/// # Errors
/// What is wrong with them, in words.
pub fn system_roots() -> Result<(), String> {
    SYSTEM_ROOTS.clone()
}

/// The file that a connector reads instead of the system's certificates; none where those can be read.
pub fn roots_file() -> Option<String> {
    // It has no certificate in it, so nobody is trusted, and every file of ours that needs the system's is refused.
    SYSTEM_ROOTS.is_err().then(|| "/dev/null".to_owned())
}

/// How a connector for probes is built.
pub fn connector_options() -> ConnectorOptions {
    let mut options = ConnectorOptions::new(1);
    options.ca_file = roots_file();
    options
}
