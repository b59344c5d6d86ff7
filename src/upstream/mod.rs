//! A named group of endpoints, the strategies that choose among them, and what limits their use.
//!
//! A request asks for a [`Lease`], tells how its attempt went, and drops it. Routes may balance one upstream by different
//! strategies; the endpoints, their health and their load exist once.

mod budget;
mod lease;
mod queue;
mod tier;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use log::{info, warn};
use tokio::time::timeout;

pub use budget::Budget;
pub use lease::{Lease, Outcome, Tried};

use crate::endpoint::{Endpoint, EndpointId, EndpointSettings, EndpointState};
use crate::health::outlier::{self, Outlier};
use crate::strategy::{self, Strategy};
pub use crate::strategy::{hash_address, hash_key};
use crate::telemetry::metrics::{AttemptFailure, EjectionReason, EndpointSource, UpstreamMetrics};
use queue::Queue;
use tier::fit;

/// Choices made anew because the load they were made for had changed, before one is taken as it is. Each time somebody
/// else got on, so more than a few are a sign of a crowd in which one more or less makes no odds.
const CHOICES: usize = 8;

/// Choices in all; then the upstream counts as full. Only endpoints at their limit refuse a choice that is taken as it is.
const MOST_CHOICES: usize = 64;

/// How often the first in the queue looks by itself: an endpoint that comes back calls nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A named group of endpoints.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    endpoints: Box<[Arc<Endpoint>]>,
    /// Each with what it was made from; the first is the upstream's own.
    strategies: Vec<(strategy::Config, Box<dyn Strategy>)>,
    slow_start: Option<Duration>,
    panic_threshold: Option<u8>,
    outlier: Option<Outlier>,
    queue: Option<QueueSettings>,
    metrics: Arc<UpstreamMetrics>,
    shared: Arc<Shared>,
    budget: Arc<Budget>,
}

/// What an upstream is to be, in the words of the file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The strategy of routes that name none.
    pub strategy: strategy::Config,
    /// How long an endpoint that comes up takes to its full weight.
    pub slow_start: Option<Duration>,
    /// The percentage of fit endpoints at or under which all are used; `None` never uses unfit ones.
    pub panic_threshold: Option<u8>,
    /// When endpoints are set aside for bad live traffic.
    pub outlier: Option<outlier::Settings>,
    /// Where requests wait while all endpoints are full.
    pub queue: Option<QueueSettings>,
    /// Retries for every 100 requests.
    pub retry_budget: u8,
}

/// Where requests wait while all endpoints are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many may wait.
    pub size: usize,
    /// For how long.
    pub timeout: Duration,
}

/// Which of an upstream's strategies. Valid for the upstream that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrategyIndex(usize);

/// What a request asks of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Which strategy chooses.
    pub by: StrategyIndex,
    /// The hash of what the request is to be placed by.
    pub key: Option<u64>,
    /// The endpoint it had before: it gets it again while that one is fit and has room.
    pub preferred: Option<&'a EndpointId>,
    /// Where it has been.
    pub tried: &'a Tried,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No endpoint may be used.
    NoEndpoint,
    /// All that may be used are at their `max_connections`.
    Full,
    /// They are, and so is the queue.
    QueueFull,
    /// They were for as long as a request may wait.
    QueueTimeout,
}

/// What all generations of an upstream have in common, apart from the endpoints' states.
#[derive(Debug, Default)]
struct Shared {
    queue: Queue,
    ejecting: Arc<Mutex<()>>,
    /// Whether unfit endpoints are in use, so that the beginning and the end are logged once.
    failing_open: AtomicBool,
}

// === impl Upstream ===

impl Upstream {
    /// Makes an upstream. What `previous`, the upstream of this name that serves now, has learned of endpoints of the same
    /// id is taken over; nothing in it is changed, so the result may be thrown away.
    pub fn new(
        name: &str,
        endpoints: Vec<EndpointSettings>,
        settings: Settings,
        metrics: Arc<UpstreamMetrics>,
        previous: Option<&Self>,
        now: Instant,
    ) -> Self {
        let known = |id: &EndpointId| previous?.endpoints.iter().find(|endpoint| endpoint.id == *id);
        let endpoints: Box<[Arc<Endpoint>]> = endpoints
            .into_iter()
            .map(|endpoint| {
                let state = known(&endpoint.id).map_or_else(
                    || Arc::new(EndpointState::new(&endpoint.address, previous.is_some(), now)),
                    |known| known.state.clone(),
                );
                let metrics = metrics.endpoint(endpoint.id.as_str());
                Arc::new(Endpoint::new(endpoint, state, metrics))
            })
            .collect();
        let shared = previous.map(|previous| previous.shared.clone()).unwrap_or_default();
        let budget = previous
            .map(|previous| &previous.budget)
            .filter(|budget| budget.percent() == u32::from(settings.retry_budget))
            .map_or_else(|| Arc::new(Budget::new(settings.retry_budget)), Arc::clone);
        Self {
            name: name.into(),
            strategies: vec![(settings.strategy.clone(), strategy::build(&settings.strategy, &endpoints))],
            endpoints,
            slow_start: settings.slow_start,
            panic_threshold: settings.panic_threshold,
            outlier: settings.outlier.map(|settings| Outlier::new(settings, shared.ejecting.clone())),
            queue: settings.queue,
            metrics,
            shared,
            budget,
        }
    }

    /// The strategy that a route asks for; routes that ask for the same one share it.
    pub fn strategy(&mut self, config: &strategy::Config) -> StrategyIndex {
        let at = self.strategies.iter().position(|(made_from, _)| made_from == config).unwrap_or_else(|| {
            self.strategies.push((config.clone(), strategy::build(config, &self.endpoints)));
            self.strategies.len() - 1
        });
        StrategyIndex(at)
    }

    /// The upstream serves from now on: scrapes read these endpoints.
    pub fn put_in_place(&self) {
        for endpoint in &self.endpoints {
            let source: Weak<dyn EndpointSource> = Arc::<Endpoint>::downgrade(endpoint);
            endpoint.metrics.read_from(source);
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its endpoints, in the order of the file.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many retries it may have; of routes that don't say otherwise.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What is counted of it.
    pub fn metrics(&self) -> &Arc<UpstreamMetrics> {
        &self.metrics
    }

    /// Chooses an endpoint and counts the request in flight to it. `random` is any word.
    pub fn lease(self: &Arc<Self>, ask: &Ask<'_>, now: Instant, random: u64) -> Result<Lease, Refusal> {
        self.lease_for(ask, self.shared.queue.promised(), now, random)
    }

    /// Waits in the queue until an endpoint has room: for a request that `lease` answered with [`Refusal::Full`]. Without
    /// a queue that answer stands.
    pub async fn wait(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Lease, Refusal> {
        let Some(settings) = self.queue else { return Err(Refusal::Full) };
        let Some(mut ticket) = self.shared.queue.join(settings.size) else {
            self.metrics.queue_rejected();
            return Err(Refusal::QueueFull);
        };
        let _counted = self.metrics.waiting();
        let wait = async {
            loop {
                let called = ticket.holds_call();
                // Room may have come up between the refusal and the joining, so the first try needs no call.
                let now = tokio::time::Instant::now().into_std();
                match self.lease_for(ask, !called && self.shared.queue.promised(), now, fastrand::u64(..)) {
                    Ok(lease) => return Ok((lease, !called)),
                    Err(Refusal::Full) => ticket.pass(),
                    Err(refusal) => return Err(refusal),
                }
                while timeout(LOOK_AGAIN, ticket.called()).await.is_err() && !ticket.is_first() {}
            }
        };
        match timeout(settings.timeout, wait).await {
            Ok(Ok((lease, more))) => {
                ticket.served(more);
                Ok(lease)
            }
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Refusal::QueueTimeout),
        }
    }

    fn lease_for(self: &Arc<Self>, ask: &Ask<'_>, promised: bool, now: Instant, random: u64) -> Result<Lease, Refusal> {
        if let Some(index) = self.preferred(ask, now) {
            return Ok(Lease::new(self.clone(), index, now));
        }
        let strategy = &self.strategies[ask.by.0.min(self.strategies.len() - 1)].1;
        for round in 0..MOST_CHOICES {
            let (candidates, failing_open) =
                self.candidates(ask.tried, promised, now, random.wrapping_add(round as u64))?;
            let choice = strategy.pick(&candidates, ask.key);
            let endpoint = &self.endpoints[choice.index];
            let seen = choice.seen.filter(|_| round < CHOICES);
            if endpoint.state.claim(seen, endpoint.max_connections) {
                if failing_open && !fit(endpoint, self.outlier.is_some(), now) {
                    self.metrics.fail_open();
                }
                return Ok(Lease::new(self.clone(), choice.index, now));
            }
        }
        Err(Refusal::Full)
    }

    /// Claims the endpoint that the request had before. It need not have a weight, and it may be draining: both mean that
    /// it takes nobody new.
    fn preferred(&self, ask: &Ask<'_>, now: Instant) -> Option<usize> {
        let id = ask.preferred?;
        let index = self.endpoints.iter().position(|endpoint| endpoint.id == *id)?;
        let endpoint = &self.endpoints[index];
        let eligible =
            !ask.tried.contains(index) && endpoint.state.reachable() && fit(endpoint, self.outlier.is_some(), now);
        (eligible && endpoint.state.claim(None, endpoint.max_connections)).then_some(index)
    }

    pub(in crate::upstream) fn observe(&self, index: usize, outcome: Outcome, took: Duration, now: Instant) {
        let Endpoint { id, state, metrics, .. } = &*self.endpoints[index];
        let at = state.since_origin(now);
        let error = match outcome {
            Outcome::Answered(status) => {
                metrics.answered(status);
                self.metrics.first_byte(took);
                // Any 5xx is slow for the latency: who answers 500 at once is not the one to send more to.
                if status >= 500 {
                    state.latency().observe_failure(took, at);
                } else {
                    state.latency().observe(took, at);
                }
                matches!(status, 502..=504)
            }
            Outcome::Failed(failure) => {
                metrics.failed(failure);
                match failure {
                    AttemptFailure::ClientGone => return state.latency().observe_unanswered(took, at),
                    AttemptFailure::ConnectError | AttemptFailure::Reset | AttemptFailure::Timeout => {
                        state.latency().observe_failure(took, at);
                    }
                }
                true
            }
        };
        let Some(outlier) = &self.outlier else { return };
        match outlier.observe(&self.endpoints, index, error, now) {
            Some(outlier::Event::Ejected(time)) => {
                metrics.ejected(EjectionReason::ConsecutiveErrors);
                warn!(
                    "upstream {}: {id} is set aside for {time:?}: too many errors in a row, the last: {outcome}",
                    self.name
                );
            }
            Some(outlier::Event::Returned) => info!("upstream {}: {id} is back after it was set aside", self.name),
            None => {}
        }
    }

    pub(in crate::upstream) fn release(&self, index: usize, took: Option<Duration>) {
        self.endpoints[index].state.release();
        self.shared.queue.call();
        if let Some(took) = took {
            self.metrics.attempt_finished(took);
        }
    }
}

#[cfg(test)]
mod tests;
