//! What holds for one address that clients connect to, and for every connection that came there.
//!
//! Made by `compile` with each generation. The edge reads it when a connection is accepted; a request goes by the one of
//! its own generation, found by the [`ListenerId`].

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::telemetry::metrics::ListenerMetrics;
use crate::tls::Policy;

/// What a listener is known by from one generation to the next: its address in the file. Addresses with port 0, of which
/// there may be several, are numbered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(Arc<str>);

/// One address that clients connect to.
#[derive(Debug)]
pub struct Listener {
    /// The same for as long as its address stands in the file.
    pub id: ListenerId,
    /// The address, as [`edge::bind`](crate::edge::bind) takes it.
    pub address: String,
    /// The name from the file, or the address.
    pub name: Arc<str>,
    /// What one of its connections may take.
    pub limits: Limits,
    /// The longest request body, in bytes.
    pub max_body: Option<u64>,
    /// Who may tell us about the client.
    pub trusted_proxies: Vec<IpNet>,
    /// Its TLS; none where it speaks plain HTTP.
    pub tls: Option<Arc<Policy>>,
    /// Whether its clients may speak HTTP/2: over TLS where they choose it (ALPN), else where they begin with it.
    pub http2: bool,
    /// Whether each of its connections begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The port of HTTPS that requests are sent to, except those of routes that are bound to this listener.
    pub redirect_to_https: Option<u16>,
    /// What becomes of header names that hold `_`.
    pub underscores: Underscores,
    /// Its metric handles.
    pub metrics: Arc<ListenerMetrics>,
}

/// What one connection may take, as its listener says. Read once per connection: a reload concerns new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest request head, in bytes.
    pub header_bytes: usize,
    /// The longest request target, in bytes.
    pub target_bytes: usize,
    /// The most headers of a request.
    pub headers: usize,
    /// From a head's first byte to its last; and from accepting a connection to its first byte.
    pub header_timeout: Duration,
    /// From the first byte of a TLS handshake to its last.
    pub handshake_timeout: Duration,
    /// Between two requests of one connection.
    pub idle_timeout: Duration,
    /// The most requests at one time of one HTTP/2 connection.
    pub streams: u32,
    /// From one piece of a request body to the next.
    pub body_timeout: Duration,
    /// What a client must send or take while it is waited for, in bytes a second; none for no bound.
    pub min_rate: Option<NonZeroU64>,
    /// The most connections at one time of one address; none for no bound.
    pub connections_per_ip: Option<u32>,
}

/// What to do with header names that hold `_`, which CGI-like applications cannot tell from `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// Leave the header out.
    #[default]
    Drop,
    /// Answer 400.
    Refuse,
    /// Forward it.
    Keep,
}

// === impl Listener ===

impl Listener {
    /// The most connections of one client; a trusted proxy brings everybody's.
    pub fn connections_per_ip(&self, client: IpAddr) -> Option<u32> {
        self.limits.connections_per_ip.filter(|_| !self.trusts(client))
    }

    /// A listener without rules, for tests.
    #[cfg(test)]
    pub(crate) fn bare(address: &str, limits: Limits) -> Arc<Self> {
        static MADE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let occurrence = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(Self {
            id: ListenerId::new(address, occurrence),
            address: address.to_owned(),
            name: "http".into(),
            limits,
            max_body: None,
            trusted_proxies: Vec::new(),
            tls: None,
            proxy_protocol: false,
            redirect_to_https: None,
            underscores: Underscores::Drop,
            http2: false,
            metrics: crate::telemetry::metrics::Metrics::default().listener("http"),
        })
    }

    /// Whether this peer may tell us about the client.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }
}

// === impl ListenerId ===

impl ListenerId {
    /// The id of the `occurrence`-th listener (from 0) with this address.
    pub fn new(address: &str, occurrence: usize) -> Self {
        Self(if occurrence == 0 { address.into() } else { format!("{address}#{occurrence}").into() })
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
