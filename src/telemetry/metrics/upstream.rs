//! What is counted of one upstream and of each of its endpoints.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::{
    Label, STICKY_PINS, UPSTREAM_CONNECT, UPSTREAM_CONNECTIONS_OPENED, UPSTREAM_CONNECTIONS_REUSED, UPSTREAM_EJECTIONS,
    UPSTREAM_ENDPOINT_STATE, UPSTREAM_ENDPOINT_UP, UPSTREAM_ENDPOINT_WEIGHT, UPSTREAM_FAIL_OPEN, UPSTREAM_FIRST_BYTE,
    UPSTREAM_HEALTH_CHECKS, UPSTREAM_QUEUE_LENGTH, UPSTREAM_QUEUE_REJECTED, UPSTREAM_QUEUE_SECONDS,
    UPSTREAM_REQUEST_DURATION, UPSTREAM_REQUESTS, UPSTREAM_REQUESTS_IN_FLIGHT, UPSTREAM_RETRIES,
    UPSTREAM_RETRIES_SKIPPED,
    value::{Classes, CodeClass, Counter, Counters, Durations, Gauge, Held, Scrape, Shelf, label},
};

label! {
    /// What an endpoint is fit for at the moment.
    Condition {
        /// It takes requests.
        Up = "up",
        /// Its probe failed, or its name does not resolve.
        Down = "down",
        /// Set aside for bad live traffic.
        Ejected = "ejected",
        /// It finishes what it has and takes nothing new.
        Draining = "draining",
    }
}

label! {
    /// How an attempt ended that got no status from the endpoint.
    AttemptFailure {
        /// No connection could be made.
        ConnectError = "connect_error",
        /// The connection broke, or what came back was no HTTP.
        Reset = "reset",
        /// The endpoint did not answer in time.
        Timeout = "timeout",
        /// The client left first.
        ClientGone = "client_gone",
    }
}

label! {
    /// What a probe found.
    ProbeResult {
        /// The endpoint answered as configured.
        Passed = "passed",
        /// It did not.
        Failed = "failed",
    }
}

label! {
    /// What an endpoint was ejected for.
    EjectionReason {
        /// `outlier.consecutive_errors` failures in a row.
        ConsecutiveErrors = "consecutive_errors",
    }
}

label! {
    /// Why an attempt was made again: the words of `retry.conditions`.
    RetryReason {
        /// No connection could be made.
        ConnectError = "connect_error",
        /// The connection broke before an answer.
        Reset = "reset",
        /// The endpoint answered 502.
        Status502 = "502",
        /// The endpoint answered 503.
        Status503 = "503",
        /// The endpoint answered 504.
        Status504 = "504",
        /// The endpoint answered another status that the route retries.
        OtherStatus = "status",
    }
}

label! {
    /// Why a failed attempt that could have been made again was not.
    SkipReason {
        /// The method is not idempotent and something may have been sent.
        Method = "method",
        /// The request's body was too large to be kept for another try.
        Body = "body",
        /// All attempts are used.
        Attempts = "attempts",
        /// The upstream's retry budget is spent.
        Budget = "budget",
        /// The request's time is over.
        Deadline = "deadline",
        /// No other endpoint may be tried.
        NoEndpoint = "no_endpoint",
    }
}

/// The metrics of one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    name: Arc<str>,
    endpoints: Shelf<EndpointMetrics>,
    connect: Durations,
    first_byte: Durations,
    duration: Durations,
    connections_opened: Counter,
    connections_reused: Counter,
    fail_open: Counter,
    retries: Counters<RetryReason>,
    retries_skipped: Counters<SkipReason>,
    queue_length: Gauge,
    queue_waits: Durations,
    queue_rejected: Counter,
}

/// The metrics of one endpoint of one upstream.
#[derive(Debug)]
pub struct EndpointMetrics {
    name: Arc<str>,
    codes: Classes<CodeClass>,
    failures: Counters<AttemptFailure>,
    probes: Counters<ProbeResult>,
    ejections: Counters<EjectionReason>,
    pins: Counter,
    source: Mutex<Option<Weak<dyn EndpointSource>>>,
}

/// Where a scrape reads what an endpoint is at that moment. The live state is asked, never copied on events: an
/// ejection ends by the clock, and no event tells of it.
pub trait EndpointSource: Send + Sync + std::fmt::Debug {
    /// The endpoint, now.
    fn sample(&self) -> EndpointSample;
}

/// What an endpoint is at one moment.
#[derive(Debug, Clone, Copy)]
pub struct EndpointSample {
    /// What it is fit for.
    pub condition: Condition,
    /// Its share among its siblings, as configured.
    pub weight: u32,
    /// Requests that it is working on.
    pub in_flight: u64,
}

/// What an endpoint was asked and how it went, since it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Attempts that ended.
    pub attempts: u64,
    /// Attempts that got a 5xx, or no answer while the client was still there.
    pub failures: u64,
    /// Pins made to it.
    pub pins: u64,
}

/// A request waiting for an endpoint with room. Dropping it ends and records the wait, served or not.
#[derive(Debug)]
#[must_use = "the wait is counted only while this is held"]
pub struct Waiting {
    upstream: Arc<UpstreamMetrics>,
    since: Instant,
    _held: Held,
}

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            endpoints: Shelf::default(),
            connect: Durations::of(&UPSTREAM_CONNECT),
            first_byte: Durations::of(&UPSTREAM_FIRST_BYTE),
            duration: Durations::of(&UPSTREAM_REQUEST_DURATION),
            connections_opened: Counter::default(),
            connections_reused: Counter::default(),
            fail_open: Counter::default(),
            retries: Counters::default(),
            retries_skipped: Counters::default(),
            queue_length: Gauge::default(),
            queue_waits: Durations::of(&UPSTREAM_QUEUE_SECONDS),
            queue_rejected: Counter::default(),
        }
    }

    /// The metrics of one of the upstream's endpoints; the same ones while anybody holds them.
    #[must_use = "what nobody holds is counted for nobody"]
    pub fn endpoint(&self, id: &str) -> Arc<EndpointMetrics> {
        self.endpoints.take(id, EndpointMetrics::new)
    }

    /// Counts a new connection to an endpoint and the time until it could be used.
    pub fn connection_opened(&self, after: Duration) {
        self.connections_opened.increment();
        self.connect.observe(after);
    }

    /// Counts a kept connection that served another request.
    pub fn connection_reused(&self) {
        self.connections_reused.increment();
    }

    /// Records the time from sending an attempt to the first byte of its answer.
    pub fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after);
    }

    /// Records how long an attempt took in all.
    pub fn attempt_finished(&self, duration: Duration) {
        self.duration.observe(duration);
    }

    /// Counts a request that went to an unfit endpoint because too few were fit.
    pub fn fail_open(&self) {
        self.fail_open.increment();
    }

    /// Counts an attempt that is made again.
    pub fn retried(&self, reason: RetryReason) {
        self.retries.increment(reason);
    }

    /// Counts a failed attempt that is not made again.
    pub fn retry_skipped(&self, reason: SkipReason) {
        self.retries_skipped.increment(reason);
    }

    /// Requests waiting in the queue.
    pub fn queue_length(&self) -> u64 {
        self.queue_length.value()
    }

    /// Counts a request as waiting in the queue until the answer is dropped.
    pub fn waiting(self: &Arc<Self>) -> Waiting {
        Waiting { upstream: self.clone(), since: Instant::now(), _held: self.queue_length.hold() }
    }

    /// Counts a request that the full queue turned away.
    pub fn queue_rejected(&self) {
        self.queue_rejected.increment();
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        let upstream = &[&*self.name];
        scrape.durations(&UPSTREAM_CONNECT, upstream, &self.connect);
        scrape.durations(&UPSTREAM_FIRST_BYTE, upstream, &self.first_byte);
        scrape.durations(&UPSTREAM_REQUEST_DURATION, upstream, &self.duration);
        scrape.count(&UPSTREAM_CONNECTIONS_OPENED, upstream, self.connections_opened.value());
        scrape.count(&UPSTREAM_CONNECTIONS_REUSED, upstream, self.connections_reused.value());
        scrape.count(&UPSTREAM_FAIL_OPEN, upstream, self.fail_open.value());
        for (reason, count) in self.retries.iter() {
            scrape.count(&UPSTREAM_RETRIES, &[&self.name, reason], count);
        }
        for (reason, count) in self.retries_skipped.iter() {
            scrape.count(&UPSTREAM_RETRIES_SKIPPED, &[&self.name, reason], count);
        }
        scrape.count(&UPSTREAM_QUEUE_LENGTH, upstream, self.queue_length.value());
        scrape.durations(&UPSTREAM_QUEUE_SECONDS, upstream, &self.queue_waits);
        scrape.count(&UPSTREAM_QUEUE_REJECTED, upstream, self.queue_rejected.value());
        for endpoint in self.endpoints.living() {
            endpoint.collect(&self.name, scrape);
        }
    }
}

// === impl EndpointMetrics ===

impl EndpointMetrics {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            codes: Classes::default(),
            failures: Counters::default(),
            probes: Counters::default(),
            ejections: Counters::default(),
            pins: Counter::default(),
            source: Mutex::default(),
        }
    }

    /// Names the endpoint whose state, weight and load a scrape shows; called when a snapshot is put in place.
    pub fn read_from(&self, source: Weak<dyn EndpointSource>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        let answered = |failed: bool| {
            let classes = self.codes.iter().filter(move |(class, _)| !failed || *class == 5);
            classes.map(|(_, codes)| codes.count()).sum::<u64>()
        };
        // A client that left says nothing about the endpoint.
        let unanswered = |at_fault: bool| {
            let failures = AttemptFailure::ALL.iter().zip(self.failures.iter());
            let failures = failures.filter(move |(failure, _)| !at_fault || **failure != AttemptFailure::ClientGone);
            failures.map(|(_, (_, count))| count).sum::<u64>()
        };
        Totals {
            attempts: answered(false) + unanswered(false),
            failures: answered(true) + unanswered(true),
            pins: self.pins.value(),
        }
    }

    /// Counts an attempt that the endpoint answered with this status.
    pub fn answered(&self, status: u16) {
        self.codes.of(status, CodeClass::default).increment(status);
    }

    /// Counts an attempt that got no status.
    pub fn failed(&self, failure: AttemptFailure) {
        self.failures.increment(failure);
    }

    /// Counts a probe.
    pub fn probed(&self, result: ProbeResult) {
        self.probes.increment(result);
    }

    /// Counts an ejection.
    pub fn ejected(&self, reason: EjectionReason) {
        self.ejections.increment(reason);
    }

    /// Counts a pin made to the endpoint: a first one, or one that was moved to it.
    pub fn pinned(&self) {
        self.pins.increment();
    }

    fn collect(&self, upstream: &str, scrape: &mut Scrape) {
        let endpoint = &*self.name;
        for (class, codes) in self.codes.iter() {
            for (code, count) in codes.seen(class) {
                scrape.count(&UPSTREAM_REQUESTS, &[upstream, endpoint, &code], count);
            }
        }
        for (failure, count) in self.failures.iter() {
            scrape.count(&UPSTREAM_REQUESTS, &[upstream, endpoint, failure], count);
        }
        for (result, count) in self.probes.iter() {
            scrape.count(&UPSTREAM_HEALTH_CHECKS, &[upstream, endpoint, result], count);
        }
        for (reason, count) in self.ejections.iter() {
            scrape.count(&UPSTREAM_EJECTIONS, &[upstream, endpoint, reason], count);
        }
        scrape.count(&STICKY_PINS, &[upstream, endpoint], self.pins.value());
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(now) = source.and_then(|source| source.upgrade()).map(|source| source.sample()) else { return };
        let up = matches!(now.condition, Condition::Up | Condition::Draining);
        scrape.count(&UPSTREAM_ENDPOINT_UP, &[upstream, endpoint], u64::from(up));
        for condition in Condition::ALL {
            let is = u64::from(*condition == now.condition);
            scrape.count(&UPSTREAM_ENDPOINT_STATE, &[upstream, endpoint, condition.label()], is);
        }
        scrape.count(&UPSTREAM_ENDPOINT_WEIGHT, &[upstream, endpoint], u64::from(now.weight));
        scrape.count(&UPSTREAM_REQUESTS_IN_FLIGHT, &[upstream, endpoint], now.in_flight);
    }
}

// === impl Waiting ===

impl Drop for Waiting {
    fn drop(&mut self) {
        self.upstream.queue_waits.observe(self.since.elapsed());
    }
}
