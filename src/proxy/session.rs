//! Sessions and pins on a request's way: does its session live, does the route let it in, which endpoint did it have, and what
//! an answer says of both.

use std::sync::Arc;
use std::time::Instant;

use http::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use pingora::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::answer;
use super::context::RequestContext;
use super::failure::Failure;
use crate::endpoint::EndpointId;
use crate::route::{Otherwise, Redirect, Route, SessionRule};
use crate::session::{Check, Issued, Standing};
use crate::sticky::{LookedUp, Moved, Remembered, Sticky, WhenDown};
use crate::telemetry::metrics::StickyResult;
use crate::upstream::{self, Lease, Tried};

/// What is known of a request's sessions and of its pin.
#[derive(Default)]
pub(super) struct Sessions {
    /// How the session stands that the route's rule asks for.
    rule: Option<Check>,
    /// How the one stands that the pin depends on, where that is another.
    pin: Option<Check>,
    /// The pin that the request came with.
    looked_up: Option<LookedUp>,
    /// The endpoint of the pin did not take the request.
    broken: bool,
    /// Why another endpoint than the pin's serves the request.
    moved: Option<Moved>,
    /// What became of the pin.
    pub(super) sticky: Option<StickyResult>,
}

/// Why a route does not let a request in.
enum Denied<'a> {
    Failure(Failure),
    Redirect(&'a Redirect),
}

// === impl Sessions ===

impl Sessions {
    /// The check that the log tells of.
    pub(super) fn check(&self) -> Option<&Check> {
        self.rule.as_ref().or(self.pin.as_ref())
    }

    /// What the log may say of the session's id.
    pub(super) fn hash(&self) -> Option<u32> {
        match &self.check()?.standing {
            Standing::Live(session) => Some(session.hash.number()),
            Standing::Dead | Standing::Absent | Standing::Forged | Standing::Unknown | Standing::Unasked => None,
        }
    }

    /// The check that the pin depends on.
    fn pin_check(&self) -> Option<&Check> {
        self.pin.as_ref().or(self.rule.as_ref())
    }
}

/// Checks the session that the route asks for, and finds the pin that the request came with. Returns whether the request is
/// answered.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn admit(session: &mut Session, ctx: &mut RequestContext, route: &Route) -> Result<bool> {
    let headers = &session.req_header().headers;
    if let Some(rule) = &route.session {
        let check = rule.source.check(headers).await;
        let judged = judge(rule, &check);
        ctx.sessions.rule = Some(check);
        match judged {
            Ok(()) => {}
            Err(Denied::Failure(failure)) => {
                answer::failure(session, ctx, failure).await?;
                return Ok(true);
            }
            Err(Denied::Redirect(redirect)) => {
                answer::login(session, ctx, redirect).await?;
                return Ok(true);
            }
        }
    }
    let Some(sticky) = &route.sticky else { return Ok(false) };
    if let Some(source) = sticky.source()
        && !route.session.as_ref().is_some_and(|rule| Arc::ptr_eq(&rule.source, source))
    {
        ctx.sessions.pin = Some(source.check(headers).await);
    }
    let check = sticky.source().and_then(|_| ctx.sessions.pin_check());
    let looked_up = sticky.look_up(headers, check).await;
    ctx.sessions.looked_up = Some(looked_up);
    Ok(false)
}

/// Whether the route lets a session in that stands like this.
fn judge<'a>(rule: &'a SessionRule, check: &Check) -> std::result::Result<(), Denied<'a>> {
    let Some(require) = &rule.require else { return Ok(()) };
    match &check.standing {
        Standing::Live(session) if require.field.is_none_or(|field| session.holds(field)) => return Ok(()),
        Standing::Unknown if rule.source.allows_when_down() => return Ok(()),
        Standing::Unknown | Standing::Unasked => return Err(Denied::Failure(Failure::StoreDown)),
        Standing::Live(_) | Standing::Dead | Standing::Absent | Standing::Forged => {}
    }
    Err(match &require.otherwise {
        Otherwise::Unauthorized => Denied::Failure(Failure::NoSession),
        Otherwise::Forbidden => Denied::Failure(Failure::Forbidden),
        Otherwise::Redirect(redirect) => Denied::Redirect(redirect),
    })
}

/// The target that the pin is of: it comes before the weights of the route's targets.
pub(super) fn target(ctx: &RequestContext) -> Option<usize> {
    Some(ctx.sessions.looked_up.as_ref()?.pinned.as_ref()?.target)
}

/// The endpoint that the request is pinned to.
pub(super) fn pinned(ctx: &RequestContext) -> Option<&EndpointId> {
    Some(&ctx.sessions.looked_up.as_ref()?.pinned.as_ref()?.endpoint)
}

/// Whether another endpoint than the pin's may be asked: always, but for a pin that is to `fail` with its endpoint.
pub(super) fn may_move(ctx: &RequestContext) -> bool {
    let Some(sticky) = ctx.route.as_ref().and_then(|route| route.sticky.as_ref()) else { return true };
    if sticky.when_down() == WhenDown::Repin {
        return true;
    }
    let (Some(pinned), Some(target)) = (pinned(ctx), ctx.target()) else { return true };
    // One that is full overflows, and a drain that is over moves even those who would rather fail.
    !matches!(
        target.upstream.standing(pinned, &ctx.tried, Instant::now()),
        upstream::Standing::Down | upstream::Standing::Gone
    )
}

/// An endpoint was chosen: notes why, where it is not the pin's.
pub(super) fn chosen(ctx: &mut RequestContext, lease: &Lease) {
    let moved = match (pinned(ctx), ctx.target()) {
        (Some(pinned), Some(target)) if lease.endpoint().id != *pinned => {
            Some(match target.upstream.standing(pinned, &Tried::default(), Instant::now()) {
                _ if ctx.sessions.broken => Moved::Down,
                upstream::Standing::Down | upstream::Standing::Gone => Moved::Down,
                upstream::Standing::Drained => Moved::Drain,
                upstream::Standing::Full | upstream::Standing::Fit => Moved::Full,
            })
        }
        _ => None,
    };
    ctx.sessions.moved = moved;
}

/// The attempt on the endpoint that was asked last came to nothing: no connection, or one that broke.
pub(super) fn broke(ctx: &mut RequestContext) {
    if pinned(ctx).is_some_and(|pinned| ctx.endpoint.as_ref().is_some_and(|endpoint| endpoint.id == *pinned)) {
        ctx.sessions.broken = true;
    }
}

/// Writes what the route forwards of the session, in place of whatever the client wrote in the headers in which this or another
/// route tells the same endpoints of sessions.
///
/// # Errors
/// None in practice: the values were checked when the session was read.
pub(super) fn forward(request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    let Some(target) = ctx.target() else { return Ok(()) };
    for name in &*target.identity {
        remove_spellings(request, name);
    }
    let Some(rule) = ctx.route.as_ref().and_then(|route| route.session.as_ref()) else { return Ok(()) };
    let Some(Check { standing: Standing::Live(session), .. }) = &ctx.sessions.rule else { return Ok(()) };
    for (name, field) in &rule.forward {
        if let Some(value) = session.value(*field) {
            request.insert_header(name.clone(), value.clone())?;
        }
    }
    Ok(())
}

/// Removes a header under each name that a CGI-like application takes for it: `x_user` reads as `x-user` there.
fn remove_spellings(request: &mut RequestHeader, name: &HeaderName) {
    let same = |one: &str, other: &str| {
        one.len() == other.len()
            && one
                .bytes()
                .zip(other.bytes())
                .all(|(a, b)| a == b || (a == b'_' && b == b'-') || (a == b'-' && b == b'_'))
    };
    request.remove_header(name);
    while let Some(other) = request.headers.keys().find(|other| same(other.as_str(), name.as_str())).cloned() {
        request.remove_header(&other);
    }
}

/// What the endpoint's answer says of the session that the pin depends on. Every source that can learns from it.
pub(super) fn issued(ctx: &RequestContext, request: &HeaderMap, answer: &HeaderMap) -> Issued {
    if !answer.contains_key(SET_COOKIE) {
        return Issued::Nothing;
    }
    let sticky = ctx.route.as_ref().and_then(|route| route.sticky.as_ref());
    let pins = sticky.and_then(Sticky::source);
    let mut found = Issued::Nothing;
    for source in ctx.snapshot.sessions.iter().filter(|source| source.sees_answers()) {
        let issued = source.issued(answer);
        source.learn(request, &issued);
        if pins.is_some_and(|pins| Arc::ptr_eq(pins, source)) {
            found = issued;
        }
    }
    found
}

/// Lets the pin follow the endpoint that answers: writes the cookie into the answer's head, or the binding into the store.
///
/// # Errors
/// When the head has no room left.
pub(super) async fn remember(ctx: &mut RequestContext, answer: &mut ResponseHeader, issued: &Issued) -> Result<()> {
    match settle(ctx, true, issued).await {
        Some(cookie) => answer.append_header(SET_COOKIE, cookie).map(drop),
        None => Ok(()),
    }
}

/// Counts what became of the pin of a request that is over, where no endpoint answered it.
pub(super) async fn unanswered(ctx: &mut RequestContext) {
    if ctx.sessions.looked_up.is_some() {
        settle(ctx, false, &Issued::Nothing).await;
    }
}

async fn settle(ctx: &mut RequestContext, answered: bool, issued: &Issued) -> Option<HeaderValue> {
    let route = ctx.route.clone()?;
    let sticky = route.sticky.as_ref()?;
    // Once: an answer that was remembered is not also one that never came.
    let looked_up = ctx.sessions.looked_up.take()?;
    let by = ctx.endpoint.as_ref().filter(|_| answered).map(|endpoint| (ctx.chosen, &endpoint.id));
    let Remembered { result, set_cookie } =
        sticky.remember(&looked_up, by, ctx.sessions.moved, issued, ctx.client.secure).await;
    if let Some(result) = result {
        route.metrics.sticky(result);
        if let Some(endpoint) = ctx.endpoint.as_ref().filter(|_| answered && result != StickyResult::Kept) {
            endpoint.metrics.pinned();
        }
    }
    ctx.sessions.sticky = result;
    set_cookie
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::route::Require;
    use crate::session::{Format, Place, Secret, Source, SourceSettings};
    use crate::telemetry::metrics::{CheckResult, Metrics};

    #[test]
    fn what_a_store_that_is_down_opens_a_crowd_does_not() {
        for (allow_when_down, standing, passes) in [
            (true, Standing::Unknown, true),
            (true, Standing::Unasked, false),
            (false, Standing::Unknown, false),
            (false, Standing::Unasked, false),
        ] {
            let settings = SourceSettings {
                name: "web".into(),
                place: Place::Bearer,
                format: Format::Plain,
                key: None,
                timeout: Duration::ZERO,
                cache: Duration::ZERO,
                allow_when_down,
                fields: Vec::new(),
                hash_key: Secret::new(b"hash"),
            };
            let source = Source::new(settings, None, Metrics::new().session("web"), None);
            let require = Some(Require { field: None, otherwise: Otherwise::Unauthorized });
            let rule = SessionRule { source, require, forward: Vec::new() };
            let check = Check { standing, result: CheckResult::Error };
            match judge(&rule, &check) {
                Ok(()) => assert!(passes, "{check:?}"),
                Err(Denied::Failure(failure)) => {
                    assert!(!passes && failure == Failure::StoreDown, "{check:?}");
                }
                Err(Denied::Redirect(_)) => panic!("{check:?}"),
            }
        }
    }
}
