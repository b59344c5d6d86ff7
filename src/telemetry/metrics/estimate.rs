//! How many series a configuration makes, said by `check` before anybody scrapes them.

/// What of a configuration makes series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Listeners.
    pub listeners: usize,
    /// Routes.
    pub routes: usize,
    /// Plugins of all routes together.
    pub plugins: usize,
    /// Upstreams.
    pub upstreams: usize,
    /// Endpoints of all upstreams together.
    pub endpoints: usize,
}

/// How many series a configuration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesEstimate {
    /// What stands from the start, without any request.
    pub at_rest: u64,
    /// What stands when every route has seen two methods with an answer of each of 2xx, 3xx, 4xx and 5xx on one listener,
    /// and every endpoint has given these four answers.
    pub in_use: u64,
}

// === impl SeriesEstimate ===

impl SeriesEstimate {
    /// Counts for a configuration. A test holds the numbers against a real scrape.
    pub fn of(counted: Counted) -> Self {
        /// Configuration, access log, build and process.
        const FIXED: u64 = 14;
        const LISTENER: u64 = 3;
        const ROUTE: u64 = 4;
        /// Four histograms are most of it.
        const UPSTREAM: u64 = 85;
        const ENDPOINT: u64 = 14;
        const CODES: u64 = 4;
        /// Two methods times four codes: a histogram and a counter each.
        const ROUTE_IN_USE: u64 = 2 * CODES * (HISTOGRAM + 1);
        /// Fourteen bounds, the bucket without one, sum and count.
        const HISTOGRAM: u64 = 17;
        let Counted { listeners, routes, plugins, upstreams, endpoints } = counted;
        let [listeners, plugins, upstreams, endpoints] = [listeners, plugins, upstreams, endpoints].map(|n| n as u64);
        // `_unrouted` is a route as well.
        let routes = routes as u64 + 1;
        let at_rest =
            FIXED + LISTENER * listeners + ROUTE * routes + plugins + UPSTREAM * upstreams + ENDPOINT * endpoints;
        Self { at_rest, in_use: at_rest + ROUTE_IN_USE * routes + CODES * endpoints }
    }
}
