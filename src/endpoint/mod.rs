//! One server of an upstream, and its live state.
//!
//! The [`Endpoint`] is what the file says and is made anew by every reload. Its [`EndpointState`] is what has been
//! learned of it (probe verdict, ejection, load, latency) and is handed from one generation to the next, found by the
//! upstream's name and the endpoint's id. Probes, name look-ups and finished attempts write the state; strategies read
//! it; nobody tells them.

mod latency;
mod state;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;

pub use latency::Latency;
pub use state::EndpointState;

use crate::telemetry::metrics::{Condition, EndpointMetrics, EndpointSample, EndpointSource};

/// What an endpoint is known by: the string in the file. In logs and metrics, and from one reload to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(Arc<str>);

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A host name, resolved while running, and a port.
    Name {
        /// The name to resolve.
        host: String,
        /// The port at each of its addresses.
        port: u16,
    },
    /// The path of a socket file.
    Unix(PathBuf),
}

/// Where to connect this once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a socket file.
    Unix(&'a Path),
}

/// One server of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub id: EndpointId,
    /// Where it is.
    pub address: Address,
    /// The name or IP address by which its certificate is known; empty for a socket file, which has neither.
    pub host: Box<str>,
    /// Its share relative to the others; 0 takes no requests.
    pub weight: u32,
    /// Used only while no other endpoint is eligible.
    pub backup: bool,
    /// The most requests in flight to it.
    pub max_connections: Option<u32>,
    /// The Host that it sees; none: the client's.
    pub host_header: Option<HeaderValue>,
    /// What has been learned of it; outlives reloads.
    pub state: Arc<EndpointState>,
    /// What is counted of it.
    pub metrics: Arc<EndpointMetrics>,
}

/// An endpoint as it is to be, before its state is found: what `Upstream::new` takes.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Its name.
    pub id: EndpointId,
    /// Where it is.
    pub address: Address,
    /// Its share relative to the others; 0 takes no requests.
    pub weight: u32,
    /// Used only while no other endpoint is eligible.
    pub backup: bool,
    /// The most requests in flight to it.
    pub max_connections: Option<u32>,
    /// The Host that it sees; none: the client's.
    pub host_header: Option<HeaderValue>,
}

// === impl EndpointId ===

impl EndpointId {
    /// The id that this text of the file is.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As written in the file.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, for those who keep it beyond the endpoint.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint with the state that is known of it.
    pub(crate) fn new(settings: EndpointSettings, state: Arc<EndpointState>, metrics: Arc<EndpointMetrics>) -> Self {
        let EndpointSettings { id, address, weight, backup, max_connections, host_header } = settings;
        let host = match &address {
            Address::Tcp(address) => address.ip().to_string().into(),
            Address::Name { host, .. } => host.as_str().into(),
            Address::Unix(_) => Box::default(),
        };
        Self { id, address, host, weight, backup, max_connections, host_header, state, metrics }
    }

    /// Where to connect now: of a name with several addresses the one that last worked, or the next after a refusal.
    /// `None` while a name has no address.
    pub fn target(&self) -> Option<Target<'_>> {
        match &self.address {
            Address::Tcp(address) => Some(Target::Tcp(*address)),
            Address::Unix(path) => Some(Target::Unix(path)),
            Address::Name { .. } => self.state.address().map(Target::Tcp),
        }
    }

    /// How many addresses there are to try.
    pub fn targets(&self) -> usize {
        match &self.address {
            Address::Tcp(_) | Address::Unix(_) => 1,
            Address::Name { .. } => self.state.addresses().len(),
        }
    }

    /// What the endpoint is fit for at the moment.
    pub fn condition(&self, now: Instant) -> Condition {
        self.state.condition(now)
    }
}

impl EndpointSource for Endpoint {
    fn sample(&self) -> EndpointSample {
        EndpointSample {
            condition: self.condition(Instant::now()),
            weight: self.weight,
            in_flight: u64::from(self.state.in_flight()),
        }
    }
}
