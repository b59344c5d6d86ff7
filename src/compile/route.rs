//! `routes`: matches for the router, and what each does, with all names resolved.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use headgate_plugins::Chain;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::session::Sessions;
use super::upstream::{Drafts, Use};
use super::{Inputs, listener, session, sticky};
use crate::config::names;
use crate::config::{self, At, Condition, Problem, RetryMethods, Route as Written, TimeoutOverrides};
use crate::endpoint::EndpointId;
use crate::listener::Listener;
use crate::route::{
    Action, KeySource, Redirect, Respond, RetryPolicy, Route, RouteName, SessionRule, Target, Timeouts,
};
use crate::router::{HostPattern, Match, PathPattern, PatternError, RequestHead, Router};
use crate::sticky::{CookieKeys, Sticky, StickySettings};
use crate::strategy::{self, HashKey};
use crate::upstream::{Budget, Upstream};

/// A route whose upstreams are still drafts.
pub(super) struct Draft {
    name: RouteName,
    matched: Match,
    action: DraftAction,
    chain: Chain,
    session: Option<SessionRule>,
    sticky: Option<StickySettings>,
}

/// What routes are made of.
pub(super) struct Parts<'a, 'i> {
    pub(super) upstreams: &'a mut Drafts,
    pub(super) sessions: &'a mut Sessions<'i>,
    /// Of the cookies that we make.
    pub(super) keys: &'a CookieKeys,
    pub(super) inputs: &'i Inputs<'i>,
}

enum DraftAction {
    Proxy(Vec<DraftTarget>),
    Redirect(Redirect),
    Respond(Respond),
}

struct DraftTarget {
    index: usize,
    build: Box<dyn FnOnce(Arc<Upstream>) -> Target>,
}

/// Compiles every route; one that has a problem is left out, which no longer matters, as the file is refused.
pub(super) fn compile(
    written: Vec<Written>,
    listeners: &[config::Listener],
    parts: Parts<'_, '_>,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Draft>> {
    let Parts { upstreams, sessions, keys, inputs } = parts;
    if written.is_empty() {
        let message = "there is no route: every request is answered with 404";
        problems.push(Problem::warning(At::root().key("routes"), message));
    }
    let names = names(&written, problems);
    sticky::check_fights(&written, problems);
    let mut drafts = Vec::with_capacity(written.len());
    for (index, (route, name)) in written.into_iter().zip(names).enumerate() {
        let at = At::root().key("routes").index(index);
        let found = problems.len();
        let matched = matched(&route, listeners, &at, problems);
        let chain = chain(&route, &name, inputs, &at, problems);
        let action = action(&route, upstreams, &at, problems);
        let session = sessions.rule(&route, &at, problems);
        let sticky = sticky::compile(&route, keys, sessions, &at, problems);
        drafts.push(match (matched, chain, action) {
            (Some(matched), Some(chain), Some(action)) => Some(Draft { name, matched, action, chain, session, sticky }),
            _ => {
                debug_assert!(problems.len() > found, "a route is left out only for a problem");
                None
            }
        });
    }
    drafts
}

/// The headers in which the endpoints of each upstream are told of sessions, whichever route says so: an application believes
/// them wherever they come in.
fn identity(drafts: &[Option<Draft>]) -> HashMap<usize, Arc<[HeaderName]>> {
    let mut names: HashMap<usize, Vec<HeaderName>> = HashMap::new();
    for draft in drafts.iter().flatten() {
        let (Some(rule), DraftAction::Proxy(targets)) = (&draft.session, &draft.action) else { continue };
        for target in targets {
            let names = names.entry(target.index).or_default();
            names.extend(
                rule.forward
                    .iter()
                    .map(|(name, _)| name.clone())
                    .filter(|name| !names.contains(name))
                    .collect::<Vec<_>>(),
            );
        }
    }
    names.into_iter().map(|(upstream, names)| (upstream, names.into())).collect()
}

/// Ties the routes to the shared upstreams, and warns of those that no request can reach.
pub(super) fn assemble(
    drafts: Vec<Option<Draft>>,
    upstreams: &[Arc<Upstream>],
    listeners: &[Arc<Listener>],
    inputs: &Inputs<'_>,
    problems: &mut Vec<Problem>,
) -> (Router<Arc<Route>>, Vec<Arc<Route>>) {
    let mut places = Vec::with_capacity(drafts.len());
    // By which each route can be reached.
    let mut doors = Vec::with_capacity(drafts.len());
    let mut entries = Vec::with_capacity(drafts.len());
    let identity = identity(&drafts);
    for (place, draft) in drafts.into_iter().enumerate() {
        let Some(Draft { name, matched, action, chain, session, sticky }) = draft else { continue };
        let action = match action {
            DraftAction::Proxy(targets) => {
                let shared = |target: DraftTarget| {
                    let identity = identity.get(&target.index).map(Arc::clone).unwrap_or_default();
                    Some(Target { identity, ..(target.build)(Arc::clone(upstreams.get(target.index)?)) })
                };
                Action::Proxy(targets.into_iter().filter_map(shared).collect())
            }
            DraftAction::Redirect(redirect) => Action::Redirect(redirect),
            DraftAction::Respond(respond) => Action::Respond(respond),
        };
        let metrics = inputs.metrics.route(name.as_str());
        let plugin_metrics = chain.names().map(|plugin| metrics.plugin(plugin)).collect();
        places.push(place);
        let host = matched.hosts.first().map(|host| match host {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Wildcard(suffix) => format!("any.{suffix}"),
        });
        doors.push((matched.listener, host.unwrap_or_default()));
        let sticky = sticky.map(|settings| Sticky::new(settings, endpoints(&action)));
        entries.push((matched, Arc::new(Route { name, action, chain, session, sticky, metrics, plugin_metrics })));
    }
    let routes: Vec<Arc<Route>> = entries.iter().map(|(_, route)| Arc::clone(route)).collect();
    let router = Router::new(entries);
    let redirects = |listener: usize| listeners.get(listener).is_some_and(|it| it.redirect_to_https.is_some());
    for ((route, place), (listener, host)) in routes.iter().zip(&places).zip(&doors) {
        let takes = |path: &str| {
            let headers = HeaderMap::new();
            let (bound_only, listener, host) = (listener.is_some_and(redirects), listener.unwrap_or(0), host.as_str());
            let (query, method) = (None, &Method::GET);
            let head = RequestHead { listener, bound_only, host, path, query, method, headers: &headers };
            router.find(&head).is_some_and(|found| Arc::ptr_eq(found, route))
        };
        if let Some(rule) = &route.session {
            problems.extend(session::circle(rule, takes, &At::root().key("routes").index(*place)));
        }
    }
    for shadowed in router.unreachable() {
        let (Some(&route), Some(&by)) = (places.get(shadowed.route), places.get(shadowed.by)) else { continue };
        let listener = |route: usize| doors.get(route).and_then(|(listener, _)| *listener);
        if listener(shadowed.route).is_some_and(redirects) && listener(shadowed.by).is_none() {
            // There the other route is not asked.
            continue;
        }
        let at = At::root().key("routes").index(route);
        let winner = routes.get(shadowed.by).map_or("", |route| route.name.as_str());
        problems.push(if shadowed.duplicate {
            Problem::error(at, format!("this route matches exactly what route number {} (`{winner}`) matches", by + 1))
                .hint("take one of them out, or add a condition")
        } else {
            let message =
                format!("no request can reach this route: route number {} (`{winner}`) takes them all", by + 1);
            Problem::warning(at, message)
        });
    }
    (router, routes)
}

/// The upstreams of a route's targets and their endpoints.
fn endpoints(action: &Action) -> Vec<(Arc<str>, Vec<EndpointId>)> {
    let Action::Proxy(targets) = action else { return Vec::new() };
    let of = |upstream: &Upstream| upstream.endpoints().iter().map(|endpoint| endpoint.id.clone()).collect();
    targets.iter().map(|target| (Arc::clone(target.upstream.name()), of(&target.upstream))).collect()
}

/// A name for each route: its own, or its match, with a suffix where two would be the same.
fn names(written: &[Written], problems: &mut Vec<Problem>) -> Vec<RouteName> {
    let mut taken = HashSet::new();
    for (index, route) in written.iter().enumerate() {
        if let Some(name) = &route.name
            && !taken.insert(name.clone())
        {
            let at = At::root().key("routes").index(index).key("name");
            problems.push(Problem::error(at, format!("two routes have the name `{name}`")));
        }
    }
    let made = |route: &Written| {
        let host = route.host.0.first().map_or("*", String::as_str);
        let path = route.path.as_ref().or(route.path_prefix.as_ref()).or(route.path_regex.as_ref());
        let path = path.map_or("/", |path| path.as_str());
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        if path.starts_with('/') { format!("{host}{path}") } else { format!("{host}/{path}") }
    };
    let mut counts: HashMap<String, usize> = HashMap::new();
    let name = |route: &Written| {
        if let Some(name) = &route.name {
            return RouteName::new(name);
        }
        let base = made(route);
        loop {
            let count = counts.entry(base.clone()).and_modify(|count| *count += 1).or_insert(1);
            let name = if *count == 1 { base.clone() } else { format!("{base}#{count}") };
            if taken.insert(name.clone()) {
                return RouteName::new(&name);
            }
        }
    };
    written.iter().map(name).collect()
}

fn matched(route: &Written, listeners: &[config::Listener], at: &At, problems: &mut Vec<Problem>) -> Option<Match> {
    let before = problems.len();
    let mut report = |at: At, error: PatternError| problems.push(Problem::error(at, error.message).hint(error.hint));
    let mut hosts = Vec::new();
    for (index, host) in route.host.0.iter().enumerate() {
        // A list of one and a single host can't be told apart here; the nearest place that is written is shown.
        let at = if route.host.0.len() > 1 { at.key("host").index(index) } else { at.key("host") };
        match HostPattern::parse(host) {
            Ok(pattern) => hosts.push(pattern),
            Err(error) => report(at, error),
        }
    }
    let paths = [
        (route.path.as_ref().map(|path| PathPattern::exact(path)), "path"),
        (route.path_prefix.as_ref().map(|path| PathPattern::prefix(path)), "path_prefix"),
        (route.path_regex.as_ref().map(|path| PathPattern::regex(path)), "path_regex"),
    ];
    let mut path = PathPattern::Any;
    for (pattern, key) in paths {
        match pattern {
            Some(Ok(pattern)) => path = pattern,
            Some(Err(error)) => report(at.key(key), error),
            None => {}
        }
    }
    let mut headers = Vec::new();
    for (name, value) in &route.headers {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => headers.push((name, value.clone())),
            Err(_) => {
                problems.push(Problem::error(at.key("headers").key(name), format!("`{name}` is not a header's name")))
            }
        }
    }
    let mut listener = None;
    if let Some(name) = &route.listener {
        let known: Vec<String> = listeners.iter().map(listener::name).collect();
        listener = known.iter().position(|known| known == name);
        if listener.is_none() {
            let (message, hint) = names::unknown("listener", name, known.iter().map(String::as_str));
            problems.push(Problem::error(at.key("listener"), message).hint(hint));
        }
    }
    let methods =
        route.methods.iter().flatten().filter_map(|method| Method::from_bytes(method.0.as_bytes()).ok()).collect();
    let query = route.query.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    (problems.len() == before).then_some(Match { listener, hosts, path, methods, headers, query })
}

fn chain(
    route: &Written,
    name: &RouteName,
    inputs: &Inputs<'_>,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<Chain> {
    let previous = inputs.previous.and_then(|previous| previous.routes.iter().find(|route| route.name == *name));
    let list: Vec<_> = route.plugins.iter().map(|plugin| (plugin.name.clone(), plugin.settings.clone())).collect();
    match Chain::build(&list, inputs.registry, previous.map(|route| &route.chain)) {
        Ok(chain) => Some(chain),
        Err(errors) => {
            for (index, error) in errors {
                let plugin = list.get(index).map_or("", |(name, _)| name.as_str());
                let at = error.at.iter().fold(at.key("plugins").index(index).key(plugin), |at, key| at.key(key));
                problems.push(Problem::error(at, error.message));
            }
            None
        }
    }
}

fn action(route: &Written, upstreams: &mut Drafts, at: &At, problems: &mut Vec<Problem>) -> Option<DraftAction> {
    let written = route.action()?;
    if matches!(written, config::Action::Redirect(_) | config::Action::Respond(_)) {
        refuse_without_upstream(route, at, problems);
    }
    match written {
        config::Action::Upstream(name) => {
            let found = upstreams.take(name, route.strategy.as_ref(), &at.key("upstream"), problems)?;
            Some(DraftAction::Proxy(vec![target(route, found, 1, at, problems)?]))
        }
        config::Action::Upstreams(list) => {
            let mut targets = Vec::with_capacity(list.len());
            for (index, weighted) in list.iter().enumerate() {
                let place = at.key("upstreams").index(index);
                if list.iter().take(index).any(|earlier| earlier.name == weighted.name) {
                    problems.push(Problem::error(place, format!("`{}` is in the list twice", weighted.name)));
                    continue;
                }
                let found = upstreams.take(&weighted.name, route.strategy.as_ref(), &place.key("name"), problems);
                targets.extend(found.and_then(|found| target(route, found, weighted.weight, at, problems)));
            }
            if list.iter().all(|weighted| weighted.weight == 0) {
                problems.push(Problem::error(at.key("upstreams"), "every weight is 0: no upstream answers"));
                return None;
            }
            (targets.len() == list.len()).then_some(DraftAction::Proxy(targets))
        }
        config::Action::Redirect(redirect) => compile_redirect(redirect, &at.key("redirect"), problems),
        config::Action::Respond(respond) => compile_respond(respond, &at.key("respond"), problems),
    }
}

/// No accepted key is without effect.
fn refuse_without_upstream(route: &Written, at: &At, problems: &mut Vec<Problem>) {
    let written = [
        ("strategy", route.strategy.is_some()),
        ("retry", route.retry != config::RetryOverrides::default()),
        ("timeouts", route.timeouts != TimeoutOverrides::default()),
        ("sticky", route.sticky.is_some()),
    ];
    for (key, _) in written.iter().filter(|(_, written)| *written) {
        let message = format!("`{key}` has no effect on a route that answers itself");
        problems.push(Problem::error(at.key(key), message).hint(format!("take `{key}` out")));
    }
}

fn target(route: &Written, found: Use, weight: u32, at: &At, problems: &mut Vec<Problem>) -> Option<DraftTarget> {
    let key = match key_source(&found.config) {
        Ok(key) => key,
        Err(name) => {
            let at = at.key("strategy").key("consistent_hash").key("key");
            problems.push(Problem::error(at, format!("`{name}` is not a header's name")));
            return None;
        }
    };
    let retry = retry_policy(&found.retry.with(&route.retry));
    let timeouts = timeouts(&found.timeouts.with(&route.timeouts));
    let own_budget = route.retry.budget.map(|share| Arc::new(Budget::new(share.0)));
    let (strategy, keepalive, transport) = (found.strategy, found.keepalive, found.transport);
    let identity = Arc::default();
    let build = move |upstream| Target {
        upstream,
        weight,
        strategy,
        key,
        retry,
        own_budget,
        keepalive,
        transport,
        timeouts,
        identity,
    };
    Some(DraftTarget { index: found.index, build: Box::new(build) })
}

/// What a strategy hashes.
///
/// # Errors
/// The header that is no header.
fn key_source(strategy: &strategy::Config) -> Result<Option<KeySource>, String> {
    let hash = match strategy {
        strategy::Config::IpHash => return Ok(Some(KeySource::ClientIp)),
        strategy::Config::ConsistentHash(hash) => hash,
        strategy::Config::RoundRobin
        | strategy::Config::Random
        | strategy::Config::LeastConn
        | strategy::Config::RandomTwo
        | strategy::Config::PeakEwma
        | strategy::Config::First => return Ok(None),
    };
    Ok(Some(match &hash.key {
        HashKey::ClientIp => KeySource::ClientIp,
        HashKey::Header(name) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => KeySource::Header(name),
            Err(_) => return Err(name.clone()),
        },
        HashKey::Cookie(name) => KeySource::Cookie(name.clone()),
        HashKey::Query(name) => KeySource::Query(name.clone()),
        HashKey::Host => KeySource::Host,
        HashKey::Path => KeySource::Path,
        HashKey::Uri => KeySource::Uri,
    }))
}

fn retry_policy(written: &config::Retry) -> RetryPolicy {
    let status = |condition: &Condition| match condition {
        Condition::Status(status) => Some(*status),
        Condition::ConnectError | Condition::Reset => None,
    };
    RetryPolicy {
        attempts: u32::from(written.attempts),
        on_connect_error: written.conditions.contains(&Condition::ConnectError),
        on_reset: written.conditions.contains(&Condition::Reset),
        on_status: written.conditions.iter().filter_map(status).collect(),
        any_method: written.methods == RetryMethods::Any,
    }
}

fn timeouts(written: &config::Timeouts) -> Timeouts {
    Timeouts {
        connect: written.connect.0,
        first_byte: written.first_byte.0,
        idle: written.idle.0,
        upgrade_idle: written.upgrade_idle.0,
        request: written.request.0.map(|time| time.0),
    }
}

fn compile_redirect(written: &config::Redirect, at: &At, problems: &mut Vec<Problem>) -> Option<DraftAction> {
    let status = StatusCode::from_u16(written.status).ok()?;
    redirect(&written.to, status, &at.key("to"), problems).map(DraftAction::Redirect)
}

/// A redirect to `to`, written at `at`.
pub(super) fn redirect(to: &str, status: StatusCode, at: &At, problems: &mut Vec<Problem>) -> Option<Redirect> {
    let known = "it knows `{scheme}`, `{host}`, `{path}`, `{query}` and `{uri}`";
    let problem = match Redirect::parse(to, status) {
        Ok(_) if HeaderValue::from_str(to).is_err() => {
            Problem::error(at.clone(), "the target can't be sent as a Location header")
        }
        Ok(redirect) => return Some(redirect),
        Err(message) => Problem::error(at.clone(), message).hint(known),
    };
    problems.push(problem);
    None
}

fn compile_respond(written: &config::Respond, at: &At, problems: &mut Vec<Problem>) -> Option<DraftAction> {
    let status = StatusCode::from_u16(written.status).ok()?;
    if !written.body.is_empty() && matches!(written.status, 204 | 205 | 304) {
        let message = format!("an answer of status {} has no body", written.status);
        problems.push(Problem::error(at.key("body"), message));
        return None;
    }
    let body = written.body.clone().into();
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    Some(DraftAction::Respond(Respond { status, body, content_type }))
}
