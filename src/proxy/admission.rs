//! From a request head to what is done with it: strictness, normal form, client, route, plugins, limits.

use std::borrow::Cow;
use std::sync::Arc;

use headgate_plugins::Hooks;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use http::{Uri, Version};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::answer;
use super::context::RequestContext;
use super::expect;
use super::failure::Failure;
use super::headers::{ClientAddress, names_a_certificate};
use super::key::{Keyed, key};
use super::session::target as pinned_target;
use crate::connection::Connection;
use crate::listener::Underscores;
use crate::route::{Action, Route, Target};
use crate::router::{RequestHead, host, path};
use crate::strictness::{Bounds, Violation, http2};
use crate::tls::Policy;

/// What becomes of a request that nothing speaks against.
pub(super) enum Admitted {
    /// This route serves it.
    To(Arc<Route>),
    /// Its client is sent to this port, for TLS.
    ToHttps(u16),
}

/// The first hook of a request: ties it to its connection and sets what Pingora shall enforce.
pub(super) fn begin(session: &mut Session, ctx: &mut RequestContext) {
    let downstream = session.as_downstream_mut();
    if let Some(connection) = Connection::of(downstream).cloned() {
        connection.deadline.request_begins();
        downstream.set_read_timeout(None);
        ctx.came_by(connection);
    }
    ctx.request_complete = downstream.is_body_empty();
    expect::begin(session, ctx);
}

/// Judges the request and finds its route.
///
/// # Errors
/// Why it is answered with a failure instead.
pub(super) fn admit(session: &mut Session, ctx: &mut RequestContext) -> Result<Admitted, Failure> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let (place, listener) = ctx.listener.clone().ok_or(Failure::Internal)?;
    ctx.raw = session.to_h1_raw();
    let request = session.req_header_mut();
    if request.version == Version::HTTP_2 {
        let limits = &listener.limits;
        let bounds = Bounds { target_bytes: limits.target_bytes, headers: limits.headers };
        ctx.raw = http2::unify(request, limits.header_bytes, bounds).map_err(Failure::Refused)?;
    }
    drop_names(request, listener.underscores)?;
    let connection = ctx.connection.as_deref();
    let peer = connection.and_then(|connection| connection.peer).map(|peer| peer.ip());
    let secured = connection.and_then(|connection| connection.tls.as_deref());
    ctx.client = ClientAddress::find(peer, secured.is_some(), &request.headers, &listener.trusted_proxies);
    ctx.host_header = request.headers.get(HOST).cloned();
    if let Some(header) = &ctx.host_header {
        let written = header.to_str().map_err(|_| Failure::Refused(Violation::BadHost))?;
        ctx.host = host::normalise(written).map_err(|_| Failure::Refused(Violation::BadHost))?.into();
    }
    // Also where the listener has spoken TLS only since a reload, and this connection is older.
    let admits = |policy: &Policy| secured.is_some_and(|secured| policy.admits(&ctx.host, secured.group));
    if !listener.tls.as_deref().is_none_or(admits) {
        return Err(Failure::Misdirected);
    }
    normalise_target(request)?;
    // Who came to a trusted proxy by TLS is where it should be.
    let to_https = listener.redirect_to_https.filter(|_| !ctx.client.secure);
    let head = RequestHead {
        listener: place,
        bound_only: to_https.is_some(),
        host: &ctx.host,
        path: request.uri.path(),
        query: request.uri.query(),
        method: &request.method,
        headers: &request.headers,
    };
    let Some(route) = snapshot.router.find(&head).cloned() else {
        return to_https.map(Admitted::ToHttps).ok_or(Failure::NoRoute);
    };
    ctx.route_load = Some(route.metrics.in_flight());
    let length = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if listener.max_body.zip(length).is_some_and(|(most, length)| length > most) {
        ctx.route = Some(route);
        return Err(Failure::Refused(Violation::BodyTooLarge));
    }
    Ok(Admitted::To(route))
}

/// Does with names that hold `_` what the listener says, and deletes those by which a client could pose as another.
fn drop_names(request: &mut RequestHeader, underscores: Underscores) -> Result<(), Failure> {
    let underscored = |name: &HeaderName| underscores != Underscores::Keep && name.as_str().contains('_');
    if underscores == Underscores::Refuse && request.headers.keys().any(underscored) {
        return Err(Failure::Refused(Violation::Underscore));
    }
    let held = |name: &&HeaderName| underscored(name) || names_a_certificate(name);
    let dropped: Vec<HeaderName> = request.headers.keys().filter(held).cloned().collect();
    for name in dropped {
        request.remove_header(&name);
    }
    Ok(())
}

/// Rewrites the target to origin form with the path's one normal form, so that what was judged is what is forwarded.
fn normalise_target(request: &mut RequestHeader) -> Result<(), Failure> {
    let raw = request.raw_path();
    if !raw.is_ascii() {
        return Err(Failure::Refused(Violation::BadPath));
    }
    let origin_form = raw.starts_with(b"/");
    // Pingora has held an absolute target's authority against Host already.
    let absolute_form = raw.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://"));
    if !origin_form && !absolute_form {
        return Err(Failure::Refused(Violation::TargetForm));
    }
    let normal = path::normalise(request.uri.path()).map_err(|_| Failure::Refused(Violation::BadPath))?;
    if origin_form && matches!(normal, Cow::Borrowed(_)) {
        return Ok(());
    }
    let target = match request.uri.query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal.into_owned(),
    };
    let target: Uri = target.parse().map_err(|_| Failure::Refused(Violation::BadPath))?;
    request.set_uri(target);
    Ok(())
}

/// Runs the route's plugins on the request. Returns whether one of them answered.
///
/// # Errors
/// When a plugin failed.
pub(super) async fn run_plugins(
    session: &mut Session,
    ctx: &mut RequestContext,
    route: &Route,
) -> pingora::Result<bool> {
    if !route.chain.wants(Hooks::REQUEST) {
        return Ok(false);
    }
    let request = session.req_header_mut();
    let uri = request.uri.clone();
    let mut exchange = ctx.exchange(route, request, uri.path());
    match route.chain.on_request(&mut exchange).await {
        Ok(None) => Ok(false),
        Ok(Some(answer)) => {
            if let Some(plugin) = route.plugin_metrics.iter().find(|plugin| plugin.name() == answer.plugin) {
                plugin.denied();
            }
            answer::plugin(session, ctx, answer.response).await?;
            Ok(true)
        }
        Err(fault) => {
            log::error!("plugin {} failed on a request of route {}: {}", fault.plugin, route.name, fault.error);
            answer::failure(session, ctx, Failure::Plugin).await?;
            Ok(true)
        }
    }
}

/// Does what the route says. Returns whether the request is answered; otherwise an endpoint is to be asked.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn act(session: &mut Session, ctx: &mut RequestContext, route: &Route) -> pingora::Result<bool> {
    match &route.action {
        Action::Redirect(redirect) => answer::redirect(session, ctx, redirect).await?,
        Action::Respond(respond) => answer::respond(session, ctx, respond).await?,
        Action::Proxy(targets) => {
            ctx.chosen = pinned_target(ctx).unwrap_or_else(|| Target::choose(targets, fastrand::u64(..)));
            aim(session, ctx);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Prepares the request for its upstream: what it is hashed by, and how long it may take.
fn aim(session: &mut Session, ctx: &mut RequestContext) {
    let Some(target) = ctx.target() else { return };
    let timeouts = target.timeouts;
    let request = session.req_header();
    let keyed = Keyed {
        client: ctx.client.client,
        headers: &request.headers,
        host: &ctx.host,
        path: request.uri.path(),
        query: request.uri.query(),
    };
    let key = target.key.as_ref().and_then(|source| key(source, &keyed));
    target.budget().deposit();
    ctx.key = key;
    ctx.deadline = timeouts.request.and_then(|within| ctx.started.checked_add(within));
    if let Some(connection) = &ctx.connection {
        // The stream holds them both: it knows whom it waits for, and Pingora has no timeout for heads and flushes.
        connection.deadline.set_write_timeout(timeouts.idle);
        connection.deadline.set_body_timeout(timeouts.idle);
    }
}
