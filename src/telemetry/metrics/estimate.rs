//! How many series a configuration makes, said by `check` before anybody scrapes them.

use super::{Closed, HandshakeFailure, Label as _, Protocol, RefusalReason, TimeoutReason, TlsVersion};
use crate::strictness::Violation;

/// What of a configuration makes series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Listeners.
    pub listeners: usize,
    /// Those of the listeners that speak TLS.
    pub tls: usize,
    /// Names of certificates.
    pub certificates: usize,
    /// Routes.
    pub routes: usize,
    /// Those of the routes that are sticky.
    pub sticky: usize,
    /// Plugins of all routes together.
    pub plugins: usize,
    /// Upstreams.
    pub upstreams: usize,
    /// Endpoints of all upstreams together.
    pub endpoints: usize,
    /// Sources of sessions.
    pub sources: usize,
    /// Session stores.
    pub stores: usize,
}

/// How many series a configuration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesEstimate {
    /// What stands from the start, without any request.
    pub at_rest: u64,
    /// What stands when every route has seen two methods with an answer of each of 2xx, 3xx, 4xx and 5xx on one listener,
    /// every sticky one its first request, and every endpoint has given these four answers.
    pub in_use: u64,
}

// === impl SeriesEstimate ===

impl SeriesEstimate {
    /// Counts for a configuration. A test holds the numbers against a real scrape.
    pub fn of(counted: Counted) -> Self {
        /// Configuration, access log, build and process.
        const FIXED: u64 = 14;
        /// Open connections, and one for each value of what else is counted of a listener.
        const LISTENER: u64 = 1
            + (Protocol::ALL.len() + RefusalReason::ALL.len() + TimeoutReason::ALL.len()) as u64
            + (Closed::ALL.len() + Violation::ALL.len()) as u64;
        /// Once there was a handshake.
        const TLS: u64 = (TlsVersion::ALL.len() + HandshakeFailure::ALL.len()) as u64;
        const ROUTE: u64 = 4;
        /// Four histograms are most of it.
        const UPSTREAM: u64 = 86;
        const ENDPOINT: u64 = 15;
        /// A histogram, seven results, and what is in the cache.
        const SOURCE: u64 = HISTOGRAM + 10;
        const STORE: u64 = 8;
        const STICKY_RESULTS: u64 = 6;
        const CODES: u64 = 4;
        /// Two methods times four codes: a histogram and a counter each.
        const ROUTE_IN_USE: u64 = 2 * CODES * (HISTOGRAM + 1);
        /// Fourteen bounds, the bucket without one, sum and count.
        const HISTOGRAM: u64 = 17;
        let Counted { listeners, tls, certificates, routes, sticky, plugins, upstreams, endpoints, sources, stores } =
            counted;
        let [listeners, tls, certificates] = [listeners, tls, certificates].map(|n| n as u64);
        let [sticky, plugins] = [sticky, plugins].map(|n| n as u64);
        let [upstreams, endpoints, sources, stores] = [upstreams, endpoints, sources, stores].map(|n| n as u64);
        // `_unrouted` is a route as well.
        let routes = routes as u64 + 1;
        let served = LISTENER * listeners + ROUTE * routes + plugins + UPSTREAM * upstreams + ENDPOINT * endpoints;
        let at_rest = FIXED + certificates + served + SOURCE * sources + STORE * stores;
        Self {
            at_rest,
            in_use: at_rest + TLS * tls + ROUTE_IN_USE * routes + STICKY_RESULTS * sticky + CODES * endpoints,
        }
    }
}
