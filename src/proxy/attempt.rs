//! One try after the other: which endpoint, what its end means, and whether there is another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::CONTENT_LENGTH;
use http::{StatusCode, Version};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, RetryType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::select;
use tokio::time::timeout;

use super::context::{Attempt, RequestContext};
use super::failure::Failure;
use super::grpc;
use super::peer::peer;
use super::retry::{Attempted, Cause, Verdict, judge};
use super::session as pins;
use crate::route::Target;
use crate::telemetry::metrics::AttemptFailure;
use crate::telemetry::metrics::SkipReason;
use crate::upstream::{Ask, Lease, Outcome, Refusal};

/// Stale kept connections and refused streams that one request may meet before they count as the endpoint's failure.
const MAX_STALE: u32 = 3;

/// Chooses an endpoint, waiting for room where the upstream has a queue, and begins an attempt on it.
///
/// # Errors
/// Why no endpoint can be asked: how the last one failed, where one was.
pub(super) async fn begin(session: &mut Session, ctx: &mut RequestContext) -> Result<HttpPeer, Failure> {
    let lease = match ctx.next.take() {
        Some(lease) => lease,
        None => lease(session, ctx).await?,
    };
    let target = ctx.target().ok_or(Failure::Internal)?;
    let peer = peer(&lease, target, ctx)?;
    pins::chosen(ctx, &lease);
    ctx.endpoint = Some(Arc::clone(lease.endpoint()));
    let now = Instant::now();
    ctx.attempt = Some(Attempt { lease, started: now, sent: now });
    ctx.first_byte = None;
    Ok(peer)
}

async fn lease(session: &mut Session, ctx: &RequestContext) -> Result<Lease, Failure> {
    let target = ctx.target().ok_or(Failure::Internal)?;
    if !pins::may_move(ctx) {
        return Err(Failure::PinnedDown);
    }
    let ask = ask(ctx, target);
    let found = match target.upstream.lease(&ask, Instant::now(), fastrand::u64(..)) {
        Err(Refusal::Full) => {
            let waiting = target.upstream.wait(&ask);
            let left = ctx.remaining(Instant::now()).unwrap_or(Duration::MAX);
            select! {
                waited = timeout(left, waiting) => waited.map_err(|_| Failure::RequestTimeout)?,
                () = client_leaves(session, ctx) => return Err(Failure::ClientGone),
            }
        }
        found => found,
    };
    found.map_err(|refusal| match refusal {
        Refusal::NoEndpoint => ctx.last_failure.unwrap_or(Failure::NoEndpoint),
        Refusal::Full | Refusal::QueueFull => Failure::Overloaded,
        Refusal::QueueTimeout => Failure::QueueTimeout,
    })
}

/// Ends when the client does; a body that is still to be read hides that, and must stay where it is.
async fn client_leaves(session: &mut Session, ctx: &RequestContext) {
    if !ctx.request_complete || session.as_downstream_mut().read_body_or_idle(true).await.is_ok() {
        std::future::pending().await
    }
}

fn ask<'a>(ctx: &'a RequestContext, target: &Target) -> Ask<'a> {
    Ask { by: target.strategy, key: ctx.key, preferred: pins::pinned(ctx), tried: &ctx.tried }
}

/// What the endpoint is called where the client does not say; one on a unix socket has no name.
pub(super) fn host(ctx: &RequestContext) -> String {
    let id = ctx.endpoint.as_ref().map_or("", |endpoint| endpoint.id.as_str());
    if id.is_empty() || id.starts_with("unix:") { "localhost".to_owned() } else { id.to_owned() }
}

/// A connection to the endpoint exists: from now on something may have been sent.
pub(super) fn connected(ctx: &mut RequestContext, reused: bool) {
    ctx.attempts += 1;
    let Some(attempt) = &mut ctx.attempt else { return };
    attempt.sent = Instant::now();
    let took = attempt.sent.saturating_duration_since(attempt.started);
    ctx.connect = (!reused).then_some(took);
    if let Some(target) = ctx.target() {
        match reused {
            true => target.upstream.metrics().connection_reused(),
            false => target.upstream.metrics().connection_opened(took),
        }
    }
    ctx.progressed();
}

/// Whether the connection speaks what the upstream's do: an endpoint that knows nothing of ALPN goes on in HTTP/1.1.
///
/// # Errors
/// Where it doesn't, before anything is sent.
pub(super) fn speaks(ctx: &RequestContext, request: &RequestHeader) -> pingora::Result<()> {
    let http2 = ctx.target().is_some_and(|target| target.transport.speaks_http2());
    if http2 && request.version != Version::HTTP_2 {
        let error = Error::explain(ErrorType::InvalidH2, "the endpoint does not offer HTTP/2 (ALPN `h2`)");
        return Err(error.into_up());
    }
    Ok(())
}

/// No connection came about. Returns whether another endpoint, or another address of this one, is tried.
pub(super) fn not_connected(session: &Session, ctx: &mut RequestContext, error: &Error) -> bool {
    if *error.etype() == ErrorType::H2Error && ctx.stale < MAX_STALE {
        // A kept connection had ended when a stream was to begin on it: another is made, and nothing is to be blamed.
        ctx.stale += 1;
        ctx.attempt = None;
        return true;
    }
    let failure = match Failure::from_pingora(error) {
        failure @ (Failure::ConnectTimeout | Failure::TlsError) => failure,
        _ => Failure::ConnectError,
    };
    if let Some(mut attempt) = ctx.attempt.take() {
        attempt.lease.observe(outcome(failure), None, Instant::now());
        ctx.tried.refused(&attempt.lease);
        pins::broke(ctx);
        ctx.last_attempt = Some(attempt.started.elapsed());
    }
    let failure = if pins::may_move(ctx) { failure } else { Failure::PinnedDown };
    ctx.last_failure = Some(failure);
    ctx.failure = Some(failure);
    another(session, ctx, Cause::ConnectError)
}

/// The endpoint's final head has come. Returns whether it is dropped for another attempt.
pub(super) fn answered(session: &Session, ctx: &mut RequestContext, head: &ResponseHeader) -> bool {
    let status = grpc::counts_as(head);
    if let Some(attempt) = &mut ctx.attempt {
        let now = Instant::now();
        let took = now.saturating_duration_since(attempt.sent);
        attempt.lease.observe(Outcome::Answered(status), Some(took), now);
        ctx.first_byte = Some(took);
        ctx.tried.insert(&attempt.lease);
    }
    if status >= 500 && another(session, ctx, Cause::Status(status)) {
        end(ctx);
        return true;
    }
    // What went wrong with an earlier attempt is over.
    ctx.failure = None;
    ctx.response_started = true;
    if let Some(connection) = &ctx.connection {
        // What is missing of its body may wait for what it reads.
        connection.deadline.set_client_owes(false);
    }
    let empty = head.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    ctx.answered = empty || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    ctx.upgraded = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if ctx.upgraded || is_event_stream(head) {
        ctx.deadline = None;
    }
    ctx.progressed();
    false
}

/// The connection to the endpoint, or the client's, ended badly. Returns whether another attempt is made.
pub(super) fn broken(session: &Session, ctx: &mut RequestContext, error: &Error, reused: bool) -> bool {
    let failure = ctx.classify(error);
    if !ctx.response_started && is_stale(session, ctx, error, reused) {
        // The endpoint closed a kept connection just as we took it, or refused the stream: it has not seen the request.
        ctx.attempts -= 1;
        ctx.stale += 1;
        ctx.attempt = None;
        return true;
    }
    if let Some(attempt) = &mut ctx.attempt {
        // Counts only where no answer had begun: what becomes of a body says nothing of the endpoint's fitness.
        attempt.lease.observe(outcome(failure), None, Instant::now());
        ctx.tried.insert(&attempt.lease);
    }
    pins::broke(ctx);
    end(ctx);
    ctx.last_failure = Some(failure);
    ctx.failure = Some(failure);
    let broke = matches!(failure, Failure::UpstreamReset | Failure::UpstreamProtocol);
    broke && !ctx.response_started && another(session, ctx, Cause::Reset)
}

/// Ends the attempt under way: its endpoint has one request less.
pub(super) fn end(ctx: &mut RequestContext) {
    if let Some(attempt) = ctx.attempt.take() {
        ctx.last_attempt = Some(attempt.started.elapsed());
    }
}

/// What an upstream learns from a failure. A client that is gone, or at fault, says nothing of the endpoint.
fn outcome(failure: Failure) -> Outcome {
    use Failure as F;
    Outcome::Failed(match failure {
        F::ConnectError | F::TlsError => AttemptFailure::ConnectError,
        F::ConnectTimeout | F::FirstByteTimeout | F::IdleTimeout | F::RequestTimeout => AttemptFailure::Timeout,
        F::UpstreamReset | F::UpstreamProtocol => AttemptFailure::Reset,
        F::Refused(_)
        | F::ClientGone
        | F::Misdirected
        | F::NoRoute
        | F::NoSession
        | F::Forbidden
        | F::StoreDown
        | F::PinnedDown
        | F::NoEndpoint
        | F::Overloaded
        | F::QueueTimeout
        | F::Plugin
        | F::Internal => AttemptFailure::ClientGone,
    })
}

/// Whether the error is that of a kept connection which its endpoint had closed already; or of a request by HTTP/2 that the
/// endpoint says it has not looked at (REFUSED_STREAM, GOAWAY), which is safe to send again, whatever its method.
fn is_stale(session: &Session, ctx: &RequestContext, error: &Error, reused: bool) -> bool {
    let unseen = match error.retry {
        RetryType::ReusedOnly => reused && session.req_header().method.is_idempotent(),
        RetryType::Decided(again) => again && *error.etype() == ErrorType::H2Error,
    };
    unseen && ctx.stale < MAX_STALE && !session.as_ref().retry_buffer_truncated()
}

/// Looks for another endpoint, and keeps its lease for the next attempt.
fn another(session: &Session, ctx: &mut RequestContext, cause: Cause) -> bool {
    let Some(route) = ctx.route.clone() else { return false };
    let Some(target) = route.target(ctx.chosen) else { return false };
    let request = session.req_header();
    let attempted = Attempted {
        cause,
        attempts: ctx.attempts,
        method: &request.method,
        body_lost: session.as_ref().retry_buffer_truncated(),
        deadline: ctx.deadline,
        now: Instant::now(),
    };
    let found = match judge(&target.retry, &attempted) {
        Verdict::Retry => find_another(ctx, target, cause),
        Verdict::NotNamed => return false,
        Verdict::Skip(reason) => Err(reason),
    };
    match found {
        Ok(next) => {
            target.upstream.metrics().retried(cause.reason());
            ctx.retry = Some(cause.reason());
            ctx.next = next;
            true
        }
        Err(reason) => {
            target.upstream.metrics().retry_skipped(reason);
            ctx.retry_skipped = Some(reason);
            false
        }
    }
}

/// The lease of an endpoint that this request has not tried. None where all of those are full and the request may queue.
fn find_another(ctx: &RequestContext, target: &Target, cause: Cause) -> Result<Option<Lease>, SkipReason> {
    if !pins::may_move(ctx) {
        return Err(SkipReason::Pinned);
    }
    let nothing_sent = cause == Cause::ConnectError;
    match target.upstream.lease(&ask(ctx, target), Instant::now(), fastrand::u64(..)) {
        Ok(_) if !nothing_sent && !target.budget().try_spend() => Err(SkipReason::Budget),
        Ok(lease) => Ok(Some(lease)),
        Err(Refusal::Full) if nothing_sent => Ok(None),
        Err(_) => Err(SkipReason::NoEndpoint),
    }
}

fn is_event_stream(head: &ResponseHeader) -> bool {
    let kind = head.headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    kind.len() >= 17 && kind[..17].eq_ignore_ascii_case(b"text/event-stream")
}
