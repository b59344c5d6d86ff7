//! `upstreams`: groups of endpoints, with every strategy that the routes ask of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{Inputs, transport};
use crate::config::names;
use crate::config::{
    self, At, Endpoint, GrpcService, HealthCheck, HostHeader, Keepalive, Place, Problem, Retry, Severity, Timeouts,
    Upstream as Written,
};
use crate::endpoint::{Address, EndpointId, EndpointSettings};
use crate::health::outlier;
use crate::health::{GrpcProbe, HttpProbe, Probe, ProbeKind};
use crate::strategy;
use crate::supervisor::Work;
use crate::transport::Transport;
use crate::upstream::{QueueSettings, Settings, StrategyIndex, Upstream};

/// The upstreams of the file while routes are compiled: each route asks for what it uses.
pub(super) struct Drafts {
    drafts: Vec<Draft>,
    by_name: HashMap<String, usize>,
}

/// One upstream, not yet shared.
struct Draft {
    upstream: Upstream,
    /// What its routes start from.
    retry: Retry,
    timeouts: Timeouts,
    strategy: strategy::Config,
    keepalive: Keepalive,
    transport: Arc<Transport>,
    probe: Option<Arc<Probe>>,
    used: bool,
}

/// An upstream as a route asked for it.
pub(super) struct Use {
    /// Its place in the snapshot's list.
    pub(super) index: usize,
    pub(super) strategy: StrategyIndex,
    /// The strategy itself, for its key.
    pub(super) config: strategy::Config,
    /// What the upstream says of retries.
    pub(super) retry: Retry,
    /// What the upstream says of time.
    pub(super) timeouts: Timeouts,
    /// How long an idle connection is kept.
    pub(super) keepalive: Option<Duration>,
    /// How its endpoints are spoken to.
    pub(super) transport: Arc<Transport>,
}

// === impl Drafts ===

impl Drafts {
    pub(super) fn new(written: BTreeMap<String, Written>, inputs: &Inputs<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut drafts = Vec::with_capacity(written.len());
        let mut by_name = HashMap::with_capacity(written.len());
        for (name, written) in written {
            check(&name, &written, problems);
            by_name.insert(name.clone(), drafts.len());
            let transport = Arc::new(transport::compile(&name, &written, inputs, problems));
            drafts.push(draft(&name, written, transport, inputs));
        }
        Self { drafts, by_name }
    }

    /// The upstream of that name, with the strategy a route asks for.
    pub(super) fn take(
        &mut self,
        name: &str,
        strategy: Option<&strategy::Config>,
        at: &At,
        problems: &mut Vec<Problem>,
    ) -> Option<Use> {
        let Some(&index) = self.by_name.get(name) else {
            let (message, hint) = names::unknown("upstream", name, self.by_name.keys().map(String::as_str));
            problems.push(Problem::error(at.clone(), message).hint(hint));
            return None;
        };
        let draft = self.drafts.get_mut(index)?;
        draft.used = true;
        let config = strategy.unwrap_or(&draft.strategy).clone();
        Some(Use {
            index,
            strategy: draft.upstream.strategy(&config),
            config,
            retry: draft.retry.clone(),
            timeouts: draft.timeouts.clone(),
            keepalive: (draft.keepalive.idle > 0).then_some(draft.keepalive.timeout.0),
            transport: Arc::clone(&draft.transport),
        })
    }

    /// Idle connections that may be kept to all endpoints together.
    pub(super) fn idle_connections(&self) -> usize {
        self.drafts.iter().map(|draft| usize::try_from(draft.keepalive.idle).unwrap_or(usize::MAX)).sum()
    }

    /// The upstreams, ready to share, in the order of their names, and the background work for their endpoints.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) -> (Vec<Arc<Upstream>>, Arc<[Work]>) {
        // A mistyped name leaves its upstream unused: one fault is not told twice.
        let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
        for draft in self.drafts.iter().filter(|draft| !draft.used && !refused) {
            let name = draft.upstream.name();
            let at = At::root().key("upstreams").key(name);
            problems.push(Problem::warning(at, format!("no route uses the upstream `{name}`")));
        }
        let work = self.drafts.iter().flat_map(|draft| {
            let upstream = draft.upstream.name();
            draft.upstream.endpoints().iter().map(|endpoint| Work {
                upstream: Arc::clone(upstream),
                endpoint: Arc::clone(endpoint),
                probe: draft.probe.clone(),
            })
        });
        let work = work.collect();
        (self.drafts.into_iter().map(|draft| Arc::new(draft.upstream)).collect(), work)
    }
}

fn check(name: &str, written: &Written, problems: &mut Vec<Problem>) {
    let at = At::root().key("upstreams").key(name);
    let mut seen = HashMap::new();
    for (index, endpoint) in written.endpoints.iter().enumerate() {
        if let Some(first) = seen.insert(&endpoint.address.place, index) {
            let message = format!("the endpoint `{}` is in the list twice", endpoint.address.text);
            let hint = format!("it is number {} too; for a larger share write `weight: 2`", first + 1);
            problems.push(Problem::error(at.key("endpoints").index(index), message).hint(hint));
        }
        for (header, at) in [
            (endpoint.host_header.as_ref(), at.key("endpoints").index(index).key("host_header")),
            (Some(&written.host_header).filter(|_| index == 0), at.key("host_header")),
        ] {
            if let Some(HostHeader::Literal(text)) = header
                && !sendable(text)
            {
                problems.push(Problem::error(at, format!("`{text}` can't be sent as a Host header")));
            }
        }
    }
    if written.endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        let message = format!("every endpoint of `{name}` has weight 0: it answers no request");
        problems.push(Problem::warning(at.key("endpoints"), message));
    }
    if let Some(check) = &written.health_check {
        let sockets_only = written.endpoints.iter().all(|endpoint| matches!(endpoint.address.place, Place::Unix(_)));
        check_probe(check, sockets_only, &at.key("health_check"), problems);
        if check.grpc.is_some() && !written.http2 {
            let message = "gRPC needs HTTP/2 to the endpoints";
            problems.push(
                Problem::error(at.key("health_check").key("grpc"), message)
                    .hint("write `http2: true` beside `endpoints`"),
            );
        }
    }
    if written.queue.is_some() && written.endpoints.iter().all(|endpoint| endpoint.max_connections.0.is_none()) {
        let message = "the queue has no effect: no endpoint has `max_connections`";
        problems.push(Problem::warning(at.key("queue"), message).hint("write `{ address: .., max_connections: 100 }`"));
    }
}

fn check_probe(check: &HealthCheck, sockets_only: bool, at: &At, problems: &mut Vec<Problem>) {
    let path = check.http.as_deref().unwrap_or("/");
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') {
        let message = format!("`{path}` can't be asked for as it stands");
        problems.push(
            Problem::error(at.key("http"), message).hint("percent-encode what is no plain character: a space is `%20`"),
        );
    }
    if let Some(host) = check.host.as_ref().filter(|host| !sendable(host)) {
        problems.push(Problem::error(at.key("host"), format!("`{host}` can't be sent as a Host header")));
    }
    let without_effect = [
        ("host", check.tcp.is_some() && check.host.is_some(), "on a `tcp` check"),
        ("status", check.tcp.is_some() && check.status != config::passing(), "on a `tcp` check"),
        ("status", check.grpc.is_some() && check.status != config::passing(), "on a `grpc` check"),
        ("port", sockets_only && check.port.is_some(), "where every endpoint is a unix socket"),
    ];
    for (key, _, place) in without_effect.iter().filter(|(_, written, _)| *written) {
        problems.push(Problem::error(at.key(key), format!("`{key}` has no effect {place}")));
    }
}

/// Whether it can stand in a Host header: no white space, no control characters.
fn sendable(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic())
}

fn draft(name: &str, written: Written, transport: Arc<Transport>, inputs: &Inputs<'_>) -> Draft {
    let settings = Settings {
        strategy: written.strategy.clone(),
        slow_start: written.slow_start.0.map(|time| time.0),
        panic_threshold: written.panic_threshold.0.map(|share| share.0),
        outlier: written.outlier.0.map(|outlier| outlier::Settings {
            consecutive_errors: outlier.consecutive_errors,
            eject_for: outlier.eject_for.0,
            max_ejected: outlier.max_ejected.0,
        }),
        queue: written.queue.map(|queue| QueueSettings {
            size: usize::try_from(queue.size).unwrap_or(usize::MAX),
            timeout: queue.timeout.0,
        }),
        retry_budget: written.retry.budget.0,
    };
    let endpoints = written.endpoints.into_iter().map(|endpoint| compile_endpoint(endpoint, &written.host_header));
    let metrics = inputs.metrics.upstream(name);
    let mut running = inputs.previous.iter().flat_map(|previous| &previous.upstreams);
    let previous = running.find(|upstream| **upstream.name() == *name).map(|upstream| &**upstream);
    let upstream = Upstream::new(name, endpoints.collect(), settings, metrics, previous, inputs.now);
    Draft {
        upstream,
        probe: written.health_check.map(|check| Arc::new(probe(check, &transport))),
        retry: written.retry,
        timeouts: written.timeouts,
        strategy: written.strategy,
        keepalive: written.keepalive,
        transport,
        used: false,
    }
}

fn compile_endpoint(written: Endpoint, upstreams: &HostHeader) -> EndpointSettings {
    let host_header = match written.host_header.as_ref().unwrap_or(upstreams) {
        HostHeader::Keep => None,
        HostHeader::Endpoint => HeaderValue::from_str(&host_of(&written)).ok(),
        HostHeader::Literal(host) => HeaderValue::from_str(host).ok(),
    };
    EndpointSettings {
        id: EndpointId::new(&written.address.text),
        address: match written.address.place {
            Place::Socket(address) => Address::Tcp(address),
            Place::Name { host, port } => Address::Name { host, port },
            Place::Unix(path) => Address::Unix(path),
        },
        weight: u32::from(written.weight),
        backup: written.backup,
        max_connections: written.max_connections.0,
        host_header,
    }
}

/// The Host of an endpoint by its address; a unix socket has none of its own (what nginx and curl send there).
fn host_of(endpoint: &Endpoint) -> String {
    match &endpoint.address.place {
        Place::Socket(address) => address.to_string(),
        Place::Name { host, port } => format!("{host}:{port}"),
        Place::Unix(_) => "localhost".to_owned(),
    }
}

fn probe(written: HealthCheck, transport: &Arc<Transport>) -> Probe {
    let kind = match (written.http, written.grpc) {
        (Some(path), _) => ProbeKind::Http(HttpProbe {
            path,
            host: written.host,
            status: written.status.0.iter().map(|range| range.first..=range.last).collect(),
        }),
        (None, Some(service)) => ProbeKind::Grpc(GrpcProbe {
            service: match service {
                GrpcService::All => String::new(),
                GrpcService::Named(name) => name,
            },
            host: written.host,
        }),
        (None, None) => ProbeKind::Tcp,
    };
    Probe {
        kind,
        transport: Arc::clone(transport),
        port: written.port,
        interval: written.interval.0,
        timeout: written.timeout.0,
        rise: u32::from(written.rise),
        fall: u32::from(written.fall),
    }
}
