//! What is counted of the connections of one listener.

use std::sync::Arc;

use super::{
    CONNECTIONS_ACTIVE, CONNECTIONS_REFUSED, CONNECTIONS_TOTAL,
    value::{Counters, Gauge, Held, Scrape, label},
};

label! {
    /// What a connection speaks.
    Protocol {
        /// HTTP/1.0 or HTTP/1.1.
        Http1 = "http/1.1",
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

/// The metrics of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    name: Arc<str>,
    active: Gauge,
    accepted: Counters<Protocol>,
    refused: Counters<RefusalReason>,
}

// === impl ListenerMetrics ===

impl ListenerMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, active: Gauge::default(), accepted: Counters::default(), refused: Counters::default() }
    }

    /// The listener's name, the label of its series.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Open connections.
    pub fn active(&self) -> u64 {
        self.active.value()
    }

    /// Counts an accepted connection; it is active until the answer is dropped.
    pub fn connected(&self, protocol: Protocol) -> Held {
        self.accepted.increment(protocol);
        self.active.hold()
    }

    /// Counts a connection that was closed without being served.
    pub fn refused(&self, reason: RefusalReason) {
        self.refused.increment(reason);
    }

    pub(super) fn collect(&self, scrape: &mut Scrape) {
        scrape.count(&CONNECTIONS_ACTIVE, &[&self.name], self.active.value());
        for (protocol, count) in self.accepted.iter() {
            scrape.count(&CONNECTIONS_TOTAL, &[&self.name, protocol], count);
        }
        for (reason, count) in self.refused.iter() {
            scrape.count(&CONNECTIONS_REFUSED, &[&self.name, reason], count);
        }
    }
}
