//! What is counted of the requests of one route.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use super::{
    HTTP_FOREIGN_UPGRADES, HTTP_REQUEST_BYTES, HTTP_REQUEST_DURATION, HTTP_REQUESTS, HTTP_REQUESTS_IN_FLIGHT,
    HTTP_RESPONSE_BYTES, Label, ListenerMetrics, PLUGIN_DENIED, STICKY,
    value::{Classes, CodeClass, Counter, Counters, Durations, Gauge, Held, Scrape, Shelf, label},
};

label! {
    /// A request's method: one of those that RFC 9110 and RFC 5789 define, or any other.
    Method {
        /// GET
        Get = "GET",
        /// HEAD
        Head = "HEAD",
        /// POST
        Post = "POST",
        /// PUT
        Put = "PUT",
        /// DELETE
        Delete = "DELETE",
        /// CONNECT
        Connect = "CONNECT",
        /// OPTIONS
        Options = "OPTIONS",
        /// TRACE
        Trace = "TRACE",
        /// PATCH
        Patch = "PATCH",
        /// Whatever a client made up: one label for all of them.
        Other = "_OTHER",
    }
}

label! {
    /// What became of the pin of one request of a sticky route.
    StickyResult {
        /// There was none, and it got its first.
        New = "new",
        /// It was honoured.
        Kept = "kept",
        /// It was moved, because its endpoint was down, set aside, gone or refused the connection.
        RepinnedDown = "repinned_down",
        /// It was moved, because its endpoint drains and the deadline is over.
        RepinnedDrain = "repinned_drain",
        /// It was none of ours: forged, foreign or stale.
        Invalid = "invalid",
        /// Its session died, and the pin with it.
        Forgotten = "forgotten",
    }
}

/// The metrics of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    name: Arc<str>,
    in_flight: Gauge,
    request_bytes: Counter,
    response_bytes: Counter,
    foreign_upgrades: Counter,
    /// By [`Method`], and in it by class of code: made when first seen, because a route times every code would be
    /// thousands of cells that nobody ever fills.
    methods: [OnceLock<Box<Classes<Finished>>>; Method::ALL.len()],
    plugins: Shelf<PluginMetrics>,
    /// Made by the first result: most routes are not sticky.
    sticky: OnceLock<Counters<StickyResult>>,
}

/// The metrics of one plugin of one route.
#[derive(Debug)]
pub struct PluginMetrics {
    name: Arc<str>,
    denied: Counter,
}

/// Requests of one method that ended with one class of codes.
#[derive(Debug)]
struct Finished {
    durations: Durations,
    listeners: OnceLock<Box<FinishedOn>>,
}

/// Codes by listener: a list that only grows and seldom has more than two links, so no lock and no hash.
#[derive(Debug)]
struct FinishedOn {
    listener: Weak<ListenerMetrics>,
    codes: CodeClass,
    next: OnceLock<Box<FinishedOn>>,
}

// === impl Method ===

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::DELETE => Self::Delete,
            http::Method::CONNECT => Self::Connect,
            http::Method::OPTIONS => Self::Options,
            http::Method::TRACE => Self::Trace,
            http::Method::PATCH => Self::Patch,
            _ => Self::Other,
        }
    }
}

// === impl RouteMetrics ===

impl RouteMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            in_flight: Gauge::default(),
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
            foreign_upgrades: Counter::default(),
            methods: std::array::from_fn(|_| OnceLock::new()),
            plugins: Shelf::default(),
            sticky: OnceLock::new(),
        }
    }

    /// The route's name, the label of its series.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Requests being worked on.
    pub fn requests_in_flight(&self) -> u64 {
        self.in_flight.value()
    }

    /// Requests that ended.
    pub fn requests(&self) -> u64 {
        let finished = self.methods.iter().filter_map(OnceLock::get).flat_map(|classes| classes.iter());
        finished.map(|(_, finished)| finished.durations.count()).sum()
    }

    /// The metrics of one of the route's plugins. Taken once and held beside the route's chain: when the last handle is
    /// dropped, so is the count.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn plugin(&self, name: &str) -> Arc<PluginMetrics> {
        self.plugins.take(name, |name| PluginMetrics { name, denied: Counter::default() })
    }

    /// Counts a request as in flight until the answer is dropped.
    pub fn in_flight(&self) -> Held {
        self.in_flight.hold()
    }

    /// Counts a request that ended. `status` is what the client got, or 499 when it left before it got anything.
    pub fn finished(
        &self,
        listener: &Arc<ListenerMetrics>,
        method: &http::Method,
        status: u16,
        duration: Duration,
        request_bytes: u64,
        response_bytes: u64,
    ) {
        self.request_bytes.add(request_bytes);
        self.response_bytes.add(response_bytes);
        let Some(method) = self.methods.get(Method::from(method).index()) else { return };
        let finished = method.get_or_init(Box::default).of(status, Finished::new);
        finished.durations.observe(duration);
        finished.on(listener).increment(status);
    }

    /// Counts a request whose `Upgrade` to something other than WebSocket was taken out.
    pub fn foreign_upgrade(&self) {
        self.foreign_upgrades.increment();
    }

    /// Counts a request of a sticky route.
    pub fn sticky(&self, result: StickyResult) {
        self.sticky.get_or_init(Counters::default).increment(result);
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        let route = &*self.name;
        scrape.count(&HTTP_REQUESTS_IN_FLIGHT, &[route], self.in_flight.value());
        scrape.count(&HTTP_REQUEST_BYTES, &[route], self.request_bytes.value());
        scrape.count(&HTTP_RESPONSE_BYTES, &[route], self.response_bytes.value());
        scrape.count(&HTTP_FOREIGN_UPGRADES, &[route], self.foreign_upgrades.value());
        for plugin in self.plugins.living() {
            scrape.count(&PLUGIN_DENIED, &[route, &plugin.name], plugin.denied.value());
        }
        for (result, count) in self.sticky.get().into_iter().flat_map(Counters::iter) {
            scrape.count(&STICKY, &[route, result], count);
        }
        for (method, classes) in Method::ALL.iter().zip(&self.methods) {
            let Some(classes) = classes.get() else { continue };
            for (class, finished) in classes.iter() {
                let labels = [route, method.label(), &format!("{class}xx")];
                scrape.durations(&HTTP_REQUEST_DURATION, &labels, &finished.durations);
                for (listener, codes) in finished.living() {
                    for (code, count) in codes.seen(class) {
                        scrape.count(&HTTP_REQUESTS, &[listener.name(), route, method.label(), &code], count);
                    }
                }
            }
        }
    }
}

// === impl PluginMetrics ===

impl PluginMetrics {
    /// The plugin's name, the label of its series.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request that the plugin answered itself.
    pub fn denied(&self) {
        self.denied.increment();
    }
}

// === impl Finished ===

impl Finished {
    fn new() -> Self {
        Self { durations: Durations::of(&HTTP_REQUEST_DURATION), listeners: OnceLock::new() }
    }

    fn on(&self, listener: &Arc<ListenerMetrics>) -> &CodeClass {
        let mut place = &self.listeners;
        loop {
            let link = place.get_or_init(|| Box::new(FinishedOn::new(listener)));
            if Weak::as_ptr(&link.listener) == Arc::as_ptr(listener) {
                return &link.codes;
            }
            place = &link.next;
        }
    }

    fn living(&self) -> impl Iterator<Item = (Arc<ListenerMetrics>, &CodeClass)> {
        let links = std::iter::successors(self.listeners.get(), |link| link.next.get());
        links.filter_map(|link| Some((link.listener.upgrade()?, &link.codes)))
    }
}

// === impl FinishedOn ===

impl FinishedOn {
    fn new(listener: &Arc<ListenerMetrics>) -> Self {
        Self { listener: Arc::downgrade(listener), codes: CodeClass::default(), next: OnceLock::new() }
    }
}
