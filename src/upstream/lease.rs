//! One request in flight on one endpoint, and how it ended.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Upstream;
use crate::endpoint::Endpoint;
use crate::strategy::EndpointSet;
use crate::telemetry::metrics::{AttemptFailure, Label as _};

/// One request in flight on one endpoint. Dropping it is what lowers the endpoint's load and lets the next one in.
#[derive(Debug)]
#[must_use = "a lease counts as load only while it is held"]
pub struct Lease {
    upstream: Arc<Upstream>,
    index: usize,
    started: Instant,
    observed: bool,
}

/// How an attempt ended, as far as the endpoint is to be judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The head of a final answer with this status arrived.
    Answered(u16),
    /// None did.
    Failed(AttemptFailure),
}

/// The endpoints that a request has been to and is not sent to again.
#[derive(Debug, Default)]
pub struct Tried {
    endpoints: EndpointSet,
    /// Addresses that refused, of names that have more; names are few, and this is empty without them.
    refused: Vec<(usize, usize)>,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(upstream: Arc<Upstream>, index: usize, started: Instant) -> Self {
        Self { upstream, index, started, observed: false }
    }

    /// Where the request goes.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.upstream.endpoints()[self.index]
    }

    /// Tells how the attempt went: when the head of the answer has arrived, or when it is clear that none will. The
    /// first call counts; what becomes of the body says nothing of the endpoint's fitness.
    ///
    /// `first_byte` is the time from sending the request to the first byte of the answer.
    pub fn observe(&mut self, outcome: Outcome, first_byte: Option<Duration>, now: Instant) {
        if !std::mem::replace(&mut self.observed, true) {
            let took = first_byte.unwrap_or_else(|| now.saturating_duration_since(self.started));
            self.upstream.observe(self.index, outcome, took, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.release(self.index, self.observed.then(|| self.started.elapsed()));
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => status.fmt(f),
            Self::Failed(failure) => f.write_str(failure.label()),
        }
    }
}

// === impl Tried ===

impl Tried {
    /// The attempt failed: no further attempt goes to its endpoint.
    pub fn insert(&mut self, lease: &Lease) {
        self.endpoints.insert(lease.index);
    }

    /// The endpoint could not be connected to: a name's next address has its turn, and no further attempt goes to the
    /// endpoint once each of its addresses has failed.
    pub fn refused(&mut self, lease: &Lease) {
        lease.endpoint().state.refused();
        let addresses = lease.endpoint().targets();
        let times = match self.refused.iter_mut().find(|(index, _)| *index == lease.index) {
            Some((_, times)) => {
                *times += 1;
                *times
            }
            None if addresses > 1 => {
                self.refused.push((lease.index, 1));
                1
            }
            None => 1,
        };
        if times >= addresses {
            self.insert(lease);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.endpoints.contains(index)
    }
}
