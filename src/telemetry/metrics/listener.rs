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
