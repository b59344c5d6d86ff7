//! What is counted of the connections of one listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::{
    CONNECTIONS_ACTIVE, CONNECTIONS_REFUSED, CONNECTIONS_TIMED_OUT, CONNECTIONS_TOTAL, HTTP_REQUESTS_REFUSED,
    HTTP2_CLOSED, TLS_CERTIFICATE_NOT_AFTER, TLS_HANDSHAKE_FAILURES, TLS_HANDSHAKES,
    value::{Counters, Gauge, Held, Label, Scrape, label},
};
use crate::strictness::Violation;

label! {
    /// What a connection speaks.
    Protocol {
        /// HTTP/1.0 or HTTP/1.1.
        Http1 = "http/1.1",
        /// HTTP/2.
        Http2 = "http/2",
    }
}

label! {
    /// Why an HTTP/2 connection was closed for what its client did.
    Closed {
        /// It gave up many requests that it had just made.
        Resets = "resets",
        /// It made us reset many streams.
        StreamErrors = "stream_errors",
        /// It sent many DATA frames with nothing in them.
        EmptyData = "empty_data",
        /// It sent many PING frames.
        Pings = "pings",
        /// It sent many SETTINGS frames.
        Settings = "settings",
        /// It sent many WINDOW_UPDATE frames.
        WindowUpdates = "window_updates",
        /// It sent many frames that mean nothing to us.
        UselessFrames = "useless_frames",
        /// It cut header blocks into many CONTINUATION frames.
        Continuations = "continuations",
        /// A header block did not come within `limits.header_timeout`.
        SlowHead = "slow_head",
        /// It went beyond what `h2` keeps in memory for it.
        Limit = "limit",
        /// It broke a rule of HTTP/2.
        ProtocolError = "protocol_error",
    }
}

label! {
    /// Why an accepted connection was closed at once.
    RefusalReason {
        /// Its client already holds `limits.connections_per_ip` connections.
        PerAddressLimit = "connections_per_ip",
        /// The gateway already holds `process.max_connections` connections.
        Full = "max_connections",
        /// It shall begin with a PROXY header, and its peer is not one of `trusted_proxies`.
        ProxyUntrusted = "proxy_untrusted",
        /// Its PROXY header is none, or says nothing that makes sense.
        ProxyMalformed = "proxy_malformed",
        /// Its PROXY header did not come within `limits.header_timeout`.
        ProxyTimeout = "proxy_timeout",
    }
}

label! {
    /// What a client was too slow with, so that its connection was closed.
    TimeoutReason {
        /// A request, on a connection that was kept or is new: `limits.idle_timeout`, `limits.header_timeout`.
        Idle = "idle",
        /// The rest of a request head: `limits.header_timeout`.
        Head = "head",
        /// A request body: `limits.body_timeout`, `limits.min_rate`.
        Body = "body",
        /// Taking its response: `limits.min_rate`, the route's `timeouts.idle`.
        Response = "response",
    }
}

impl Label for Violation {
    const ALL: &'static [Self] = Violation::ALL;

    fn label(self) -> &'static str {
        Violation::label(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

label! {
    /// The version of TLS that a handshake came to.
    TlsVersion {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

label! {
    /// Why a handshake failed.
    HandshakeFailure {
        /// It took longer than `limits.handshake_timeout`.
        Timeout = "timeout",
        /// The client speaks HTTP without TLS.
        PlainHttp = "plain_http",
        /// The client's certificate is missing or is not right.
        ClientCertificate = "client_certificate",
        /// There is no version, cipher suite, signature scheme or protocol (ALPN) that both know.
        Incompatible = "incompatible",
        /// The client broke it off with a reason: it does not trust our certificate, for one.
        Alert = "alert",
        /// The client left.
        Closed = "closed",
        /// What came is no TLS, or not as TLS has it.
        Malformed = "malformed",
    }
}

/// When a certificate ends.
#[derive(Debug)]
pub struct CertificateMetrics {
    name: Arc<str>,
    /// Seconds since 1970; 0 while there is nothing to tell.
    not_after: AtomicU64,
}

/// The metrics of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    name: Arc<str>,
    active: Gauge,
    accepted: Counters<Protocol>,
    refused: Counters<RefusalReason>,
    timed_out: Counters<TimeoutReason>,
    requests_refused: Counters<Violation>,
    http2_closed: Counters<Closed>,
    handshakes: Counters<TlsVersion>,
    handshake_failures: Counters<HandshakeFailure>,
}

// === impl ListenerMetrics ===

impl ListenerMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            active: Gauge::default(),
            accepted: Counters::default(),
            refused: Counters::default(),
            timed_out: Counters::default(),
            requests_refused: Counters::default(),
            http2_closed: Counters::default(),
            handshakes: Counters::default(),
            handshake_failures: Counters::default(),
        }
    }

    /// The listener's name, the label of its series.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Open connections.
    pub fn active(&self) -> u64 {
        self.active.value()
    }

    /// A connection is open until the answer is dropped.
    pub fn connected(&self) -> Held {
        self.active.hold()
    }

    /// Counts an accepted connection, once it is known what it speaks.
    pub fn speaks(&self, protocol: Protocol) {
        self.accepted.increment(protocol);
    }

    /// Counts an HTTP/2 connection that was closed for what its client did.
    pub fn http2_closed(&self, why: Closed) {
        self.http2_closed.increment(why);
    }

    /// Counts a connection that was closed without being served.
    pub fn refused(&self, reason: RefusalReason) {
        self.refused.increment(reason);
    }

    /// Counts a connection that was closed because its client was too slow.
    pub fn timed_out(&self, reason: TimeoutReason) {
        self.timed_out.increment(reason);
    }

    /// Counts a request that was refused. It counts as a request that ended as well.
    pub fn request_refused(&self, violation: Violation) {
        self.requests_refused.increment(violation);
    }

    /// Counts a handshake that came to an end.
    pub fn secured(&self, version: TlsVersion) {
        self.handshakes.increment(version);
    }

    /// Counts a handshake that failed.
    pub fn handshake_failed(&self, why: HandshakeFailure) {
        self.handshake_failures.increment(why);
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        scrape.count(&CONNECTIONS_ACTIVE, &[&self.name], self.active.value());
        for (protocol, count) in self.accepted.iter() {
            scrape.count(&CONNECTIONS_TOTAL, &[&self.name, protocol], count);
        }
        for (why, count) in self.http2_closed.iter() {
            scrape.count(&HTTP2_CLOSED, &[&self.name, why], count);
        }
        for (reason, count) in self.refused.iter() {
            scrape.count(&CONNECTIONS_REFUSED, &[&self.name, reason], count);
        }
        for (reason, count) in self.timed_out.iter() {
            scrape.count(&CONNECTIONS_TIMED_OUT, &[&self.name, reason], count);
        }
        for (reason, count) in self.requests_refused.iter() {
            scrape.count(&HTTP_REQUESTS_REFUSED, &[&self.name, reason], count);
        }
        if self.handshakes.iter().chain(self.handshake_failures.iter()).all(|(_, count)| count == 0) {
            // Most listeners that have seen no handshake will see none.
            return;
        }
        for (version, count) in self.handshakes.iter() {
            scrape.count(&TLS_HANDSHAKES, &[&self.name, version], count);
        }
        for (reason, count) in self.handshake_failures.iter() {
            scrape.count(&TLS_HANDSHAKE_FAILURES, &[&self.name, reason], count);
        }
    }
}

// === impl CertificateMetrics ===

impl CertificateMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, not_after: AtomicU64::new(0) }
    }

    /// The name, the label of its series.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes when it ends; of several under one name the first end counts.
    pub fn ends_at(&self, not_after: SystemTime) {
        let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1));
        let _ =
            self.not_after.fetch_update(Relaxed, Relaxed, |noted| (noted == 0 || seconds < noted).then_some(seconds));
    }

    /// There is nothing to tell any more.
    pub fn forget(&self) {
        self.not_after.store(0, Relaxed);
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        let not_after = self.not_after.load(Relaxed);
        if not_after > 0 {
            scrape.count(&TLS_CERTIFICATE_NOT_AFTER, &[&self.name], not_after);
        }
    }
}
