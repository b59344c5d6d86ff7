//! Every metric, once: name, help, labels, buckets; and the handles that events are counted on.
//!
//! A handle ([`RouteMetrics`], [`EndpointMetrics`], ..) is taken from [`Metrics`] by name when a snapshot is put in
//! place and held by what it belongs to. An event is then one method call that touches atomics: no label is hashed, no
//! string is looked up. `/metrics` reads the handles that are still held, so the series of what is gone disappear.

mod estimate;
#[cfg(test)]
mod grafana;
mod listener;
mod route;
mod session;
#[cfg(test)]
mod tests;
mod upstream;
mod value;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use prometheus::{
    Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

pub use self::{
    estimate::{Counted, SeriesEstimate},
    listener::{
        CertificateMetrics, Closed, HandshakeFailure, ListenerMetrics, Protocol, RefusalReason, TimeoutReason,
        TlsVersion,
    },
    route::{Method, PluginMetrics, RouteMetrics, StickyResult},
    session::{
        CacheSample, CacheSource, CheckResult, SessionMetrics, StoreFailure, StoreMetrics, StoreSample, StoreSource,
    },
    upstream::{
        AttemptFailure, Condition, EjectionReason, EndpointMetrics, EndpointSample, EndpointSource, ProbeResult,
        RetryReason, SkipReason, Totals, UpstreamMetrics, Waiting,
    },
    value::{Family, Held, Kind, Label},
};
use value::{Counters, Scrape, Shelf, label};

/// The route label of requests that no route was found for, or that were refused before one was looked for.
pub const UNROUTED: &str = "_unrouted";

/// Bounds for times that a user waits: those of OpenTelemetry's HTTP conventions, so that dashboards made for others fit.
const REQUEST_BUCKETS: Kind =
    Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]);

/// Bounds for a connection: 0.1 ms is a neighbour on the same machine, 1 s and 3 s are the first repeats of a lost SYN.
const CONNECT_BUCKETS: Kind =
    Kind::Histogram(&[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0]);

/// Bounds for a session's check: 0.1 ms is a store on the same machine; 50 ms is the budget unless the file says
/// otherwise, and 75 ms shows whether it is kept to.
const CHECK_BUCKETS: Kind =
    Kind::Histogram(&[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0]);

/// Declares every family and the list of all of them.
macro_rules! families {
    ($($constant:ident: $kind:expr, $name:literal, [$($label:literal),*], $help:literal;)+) => {
        $(pub(crate) static $constant: Family =
            Family { name: $name, help: $help, kind: $kind, labels: &[$($label),*] };)+

        /// Every metric of the gateway, `process_*` apart.
        pub static FAMILIES: &[&Family] = &[$(&$constant),+];
    };
}

families! {
    HTTP_REQUESTS: Kind::Counter, "headgate_http_requests_total", ["listener", "route", "method", "code"],
        "Requests that ended, by the status the client got; 499 is a client that left first.";
    HTTP_REQUEST_DURATION: REQUEST_BUCKETS, "headgate_http_request_duration_seconds", ["route", "method", "code_class"],
        "Time from a request's whole head to the end of its response.";
    HTTP_REQUESTS_IN_FLIGHT: Kind::Gauge, "headgate_http_requests_in_flight", ["route"],
        "Requests being worked on, open WebSockets and event streams included.";
    HTTP_REQUEST_BYTES: Kind::Counter, "headgate_http_request_bytes_total", ["route"],
        "Bytes of request bodies read from clients.";
    HTTP_RESPONSE_BYTES: Kind::Counter, "headgate_http_response_bytes_total", ["route"],
        "Bytes of response bodies written to clients.";
    HTTP_REQUESTS_REFUSED: Kind::Counter, "headgate_http_requests_refused_total", ["listener", "reason"],
        "Requests refused because they break a rule of HTTP or a limit of the listener; counted in headgate_http_requests_total too.";
    HTTP_FOREIGN_UPGRADES: Kind::Counter, "headgate_http_foreign_upgrades_total", ["route"],
        "Requests whose Upgrade to something other than WebSocket was taken out.";
    CONNECTIONS_ACTIVE: Kind::Gauge, "headgate_connections_active", ["listener"],
        "Open client connections.";
    CONNECTIONS_TOTAL: Kind::Counter, "headgate_connections_total", ["listener", "protocol"],
        "Client connections accepted.";
    CONNECTIONS_REFUSED: Kind::Counter, "headgate_connections_refused_total", ["listener", "reason"],
        "Client connections closed at once.";
    CONNECTIONS_TIMED_OUT: Kind::Counter, "headgate_connections_timed_out_total", ["listener", "reason"],
        "Client connections closed because the client was too slow, by what with.";
    HTTP2_CLOSED: Kind::Counter, "headgate_http2_connections_closed_total", ["listener", "reason"],
        "HTTP/2 connections closed for what their client did.";
    TLS_HANDSHAKES: Kind::Counter, "headgate_tls_handshakes_total", ["listener", "version"],
        "TLS handshakes with clients that came to an end, by version.";
    TLS_HANDSHAKE_FAILURES: Kind::Counter, "headgate_tls_handshake_failures_total", ["listener", "reason"],
        "TLS handshakes with clients that failed.";
    TLS_CERTIFICATE_NOT_AFTER: Kind::Gauge, "headgate_tls_certificate_not_after_seconds", ["name"],
        "When the certificate of this name ends, in seconds since 1970; of several the one that ends first.";
    UPSTREAM_REQUESTS: Kind::Counter, "headgate_upstream_requests_total", ["upstream", "endpoint", "code"],
        "Attempts by the status the endpoint answered, or by connect_error, reset, timeout, client_gone.";
    UPSTREAM_CONNECT: CONNECT_BUCKETS, "headgate_upstream_connect_seconds", ["upstream"],
        "Time to a usable new connection.";
    UPSTREAM_FIRST_BYTE: REQUEST_BUCKETS, "headgate_upstream_first_byte_seconds", ["upstream"],
        "Time from sending an attempt to the first byte of its answer.";
    UPSTREAM_REQUEST_DURATION: REQUEST_BUCKETS, "headgate_upstream_request_duration_seconds", ["upstream"],
        "Time of an attempt from its start to its end.";
    UPSTREAM_REQUESTS_IN_FLIGHT: Kind::Gauge, "headgate_upstream_requests_in_flight", ["upstream", "endpoint"],
        "Requests the endpoint is working on.";
    UPSTREAM_ENDPOINT_UP: Kind::Gauge, "headgate_upstream_endpoint_up", ["upstream", "endpoint"],
        "1 when the endpoint is fit (up or draining), 0 when it is down or ejected.";
    UPSTREAM_ENDPOINT_STATE: Kind::Gauge, "headgate_upstream_endpoint_state", ["upstream", "endpoint", "state"],
        "1 for the state the endpoint is in, 0 for the others.";
    UPSTREAM_ENDPOINT_WEIGHT: Kind::Gauge, "headgate_upstream_endpoint_weight", ["upstream", "endpoint"],
        "The endpoint's weight as configured.";
    UPSTREAM_HEALTH_CHECKS: Kind::Counter, "headgate_upstream_health_checks_total", ["upstream", "endpoint", "result"],
        "Probes by result.";
    UPSTREAM_EJECTIONS: Kind::Counter, "headgate_upstream_ejections_total", ["upstream", "endpoint", "reason"],
        "Times the endpoint was set aside for bad live traffic.";
    UPSTREAM_FAIL_OPEN: Kind::Counter, "headgate_upstream_fail_open_total", ["upstream"],
        "Requests sent to an unfit endpoint because too few were fit.";
    UPSTREAM_RETRIES: Kind::Counter, "headgate_upstream_retries_total", ["upstream", "reason"],
        "Attempts made again, by what the one before ended with.";
    UPSTREAM_RETRIES_SKIPPED: Kind::Counter, "headgate_upstream_retries_skipped_total", ["upstream", "reason"],
        "Failed attempts not made again, by what forbade it.";
    UPSTREAM_QUEUE_LENGTH: Kind::Gauge, "headgate_upstream_queue_length", ["upstream"],
        "Requests waiting for an endpoint with room.";
    UPSTREAM_QUEUE_SECONDS: REQUEST_BUCKETS, "headgate_upstream_queue_seconds", ["upstream"],
        "Time that requests waited for an endpoint with room.";
    UPSTREAM_QUEUE_REJECTED: Kind::Counter, "headgate_upstream_queue_rejected_total", ["upstream"],
        "Requests turned away because the queue was full.";
    UPSTREAM_CONNECTIONS_OPENED: Kind::Counter, "headgate_upstream_connections_opened_total", ["upstream"],
        "New connections to endpoints.";
    UPSTREAM_CONNECTIONS_REUSED: Kind::Counter, "headgate_upstream_connections_reused_total", ["upstream"],
        "Attempts that went over a kept connection.";
    STICKY: Kind::Counter, "headgate_sticky_total", ["route", "result"],
        "Requests of sticky routes by what became of their pin: new, kept, repinned_down, repinned_drain, invalid, forgotten.";
    STICKY_PINS: Kind::Counter, "headgate_sticky_pins_total", ["upstream", "endpoint"],
        "Pins made to the endpoint: first ones and moved ones.";
    SESSION_CHECKS: Kind::Counter, "headgate_session_checks_total", ["source", "result"],
        "Sessions looked up; cached is one that is alive and needed no store, error and timeout are a store that could not tell.";
    SESSION_CHECK_DURATION: CHECK_BUCKETS, "headgate_session_check_duration_seconds", ["source"],
        "Time of the checks that waited for a store.";
    SESSION_GARBAGE: Kind::Counter, "headgate_session_garbage_total", ["source"],
        "Checks that found something in the store that is no session, which is taken for dead.";
    SESSION_CACHE_ENTRIES: Kind::Gauge, "headgate_session_cache_entries", ["source"],
        "Sessions remembered so that the store need not be asked.";
    SESSION_CACHE_BYTES: Kind::Gauge, "headgate_session_cache_bytes", ["source"],
        "Memory that the remembered sessions take.";
    SESSION_STORE_UP: Kind::Gauge, "headgate_session_store_up", ["store"],
        "1 while the store is connected and answers.";
    SESSION_STORE_TRACKING: Kind::Gauge, "headgate_session_store_tracking", ["store"],
        "1 while the store tells of every change; otherwise a session that ended is noticed after the source's cache time.";
    SESSION_STORE_RECONNECTS: Kind::Counter, "headgate_session_store_reconnects_total", ["store"],
        "Connections made to the store after the first one.";
    SESSION_STORE_INVALIDATIONS: Kind::Counter, "headgate_session_store_invalidations_total", ["store"],
        "Changes that the store told of.";
    SESSION_STORE_ERRORS: Kind::Counter, "headgate_session_store_errors_total", ["store", "reason"],
        "Commands that the store did not carry out.";
    PLUGIN_DENIED: Kind::Counter, "headgate_plugin_denied_total", ["route", "plugin"],
        "Requests that a plugin answered itself.";
    ACCESS_LOG_DROPPED: Kind::Counter, "headgate_access_log_dropped_lines_total", ["reason"],
        "Access log lines lost because the writer was behind (queue_full) or could not write (write_error).";
    CONFIG_RELOADS: Kind::Counter, "headgate_config_reloads_total", ["result"],
        "Reloads by result; a rejected one changed nothing.";
    CONFIG_LAST_RELOAD_SUCCESS: Kind::Gauge, "headgate_config_last_reload_success", [],
        "1 when the configuration file as last read is the one that serves.";
    CONFIG_GENERATION: Kind::Gauge, "headgate_config_generation", [],
        "The number of the configuration that serves; it grows with every accepted reload.";
    BUILD_INFO: Kind::Gauge, "headgate_build_info", ["version"],
        "Always 1; the label says which headgate this is.";
}

label! {
    /// How a reload ended.
    ReloadResult {
        /// The new configuration serves.
        Success = "success",
        /// It had problems; the old one serves on.
        Rejected = "rejected",
    }
}

label! {
    /// Why a line of the access log was lost.
    DropReason {
        /// The writer was behind.
        QueueFull = "queue_full",
        /// The writer could not write it.
        WriteError = "write_error",
    }
}

/// All metrics of one gateway: the source of every handle and of `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    living: Arc<Living>,
    unrouted: Arc<RouteMetrics>,
}

/// The metrics of the configuration.
#[derive(Debug)]
pub struct ReloadMetrics {
    reloads: Counters<ReloadResult>,
    last_succeeded: AtomicBool,
    generation: AtomicU64,
}

/// The metrics of the access log.
#[derive(Debug, Default)]
pub struct AccessLogMetrics {
    dropped: Counters<DropReason>,
}

/// What the registry asks at a scrape.
#[derive(Debug, Default)]
struct Living {
    listeners: Shelf<ListenerMetrics>,
    certificates: Shelf<CertificateMetrics>,
    routes: Shelf<RouteMetrics>,
    upstreams: Shelf<UpstreamMetrics>,
    sessions: Shelf<SessionMetrics>,
    stores: Shelf<StoreMetrics>,
    reload: ReloadMetrics,
    access_log: Arc<AccessLogMetrics>,
}

/// `Living` as the registry takes it: it wants to own its collectors.
struct Walk(Arc<Living>);

// === impl Metrics ===

impl Metrics {
    /// Metrics that nothing has happened to yet. They register nowhere else, so a test can have its own.
    pub fn new() -> Self {
        let living = Arc::new(Living::default());
        let registry = Registry::new();
        let mut collectors: Vec<Box<dyn Collector>> = vec![Box::new(Walk(living.clone()))];
        #[cfg(target_os = "linux")]
        collectors.push(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        for collector in collectors {
            if let Err(error) = registry.register(collector) {
                log::error!("metrics are incomplete: {error}");
            }
        }
        let unrouted = living.routes.take(UNROUTED, RouteMetrics::new);
        Self { registry, living, unrouted }
    }

    /// The metrics of a listener.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        self.living.listeners.take(name, ListenerMetrics::new)
    }

    /// The metrics of the certificates for a name.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn certificate(&self, name: &str) -> Arc<CertificateMetrics> {
        self.living.certificates.take(name, CertificateMetrics::new)
    }

    /// The metrics of a route.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.living.routes.take(name, RouteMetrics::new)
    }

    /// The metrics of requests that have no route.
    pub fn unrouted(&self) -> &Arc<RouteMetrics> {
        &self.unrouted
    }

    /// The metrics of an upstream, which gives those of its endpoints.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.living.upstreams.take(name, UpstreamMetrics::new)
    }

    /// The metrics of a source of sessions.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn session(&self, source: &str) -> Arc<SessionMetrics> {
        self.living.sessions.take(source, SessionMetrics::new)
    }

    /// The metrics of a session store, by its printable name, which holds no credentials.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn store(&self, name: &str) -> Arc<StoreMetrics> {
        self.living.stores.take(name, StoreMetrics::new)
    }

    /// The metrics of the configuration.
    pub fn reload(&self) -> &ReloadMetrics {
        &self.living.reload
    }

    /// The metrics of the access log.
    pub fn access_log(&self) -> Arc<AccessLogMetrics> {
        self.living.access_log.clone()
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => text,
            Err(error) => {
                log::error!("metrics could not be written: {error}");
                String::new()
            }
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

// === impl ReloadMetrics ===

impl ReloadMetrics {
    /// Notes the configuration that the gateway starts with.
    pub fn started(&self, generation: u64) {
        self.generation.store(generation, Relaxed);
    }

    /// Counts a reload after which `generation` serves.
    pub fn accepted(&self, generation: u64) {
        self.reloads.increment(ReloadResult::Success);
        self.last_succeeded.store(true, Relaxed);
        self.generation.store(generation, Relaxed);
    }

    /// Counts a reload that changed nothing.
    pub fn rejected(&self) {
        self.reloads.increment(ReloadResult::Rejected);
        self.last_succeeded.store(false, Relaxed);
    }
}

impl Default for ReloadMetrics {
    fn default() -> Self {
        // The gateway does not start on a file with problems.
        Self { reloads: Counters::default(), last_succeeded: AtomicBool::new(true), generation: AtomicU64::new(0) }
    }
}

// === impl AccessLogMetrics ===

impl AccessLogMetrics {
    /// Counts lines that were lost.
    pub fn dropped(&self, reason: DropReason, lines: u64) {
        self.dropped.add(reason, lines);
    }
}

// === impl Walk ===

impl Collector for Walk {
    /// None: descriptors let the registry find clashes between collectors, and this one brings every name there is.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut scrape = Scrape::default();
        self.0.collect(&mut scrape);
        scrape.families()
    }
}

// === impl Living ===

impl Living {
    fn collect(&self, scrape: &mut Scrape) {
        scrape.count(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        for (result, count) in self.reload.reloads.iter() {
            scrape.count(&CONFIG_RELOADS, &[result], count);
        }
        scrape.count(&CONFIG_LAST_RELOAD_SUCCESS, &[], self.reload.last_succeeded.load(Relaxed).into());
        scrape.count(&CONFIG_GENERATION, &[], self.reload.generation.load(Relaxed));
        for (reason, count) in self.access_log.dropped.iter() {
            scrape.count(&ACCESS_LOG_DROPPED, &[reason], count);
        }
        self.listeners.living().iter().for_each(|listener| listener.collect(scrape));
        self.certificates.living().iter().for_each(|certificate| certificate.collect(scrape));
        self.routes.living().iter().for_each(|route| route.collect(scrape));
        self.upstreams.living().iter().for_each(|upstream| upstream.collect(scrape));
        self.sessions.living().iter().for_each(|session| session.collect(scrape));
        self.stores.living().iter().for_each(|store| store.collect(scrape));
    }
}
