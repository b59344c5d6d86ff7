//! The end of a request: metrics, one access log line.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use pingora::Error;
use pingora_proxy::Session;

use super::Gateway;
use super::attempt;
use super::context::RequestContext;
use super::failure::Failure;
use crate::telemetry::access_log::Summary;

/// Tells the operator why a request failed, where the fault is ours or behind us; so many times a second.
pub(super) fn explain(gateway: &Gateway, ctx: &RequestContext, error: &Error) {
    let failure = ctx.failure.unwrap_or(Failure::Internal);
    let route = ctx.route.as_ref().map_or("-", |route| route.name.as_str());
    let endpoint = ctx.endpoint.as_ref().map_or("-", |endpoint| endpoint.id.as_str());
    let (status, reason) = (failure.status(), failure.reason());
    if !failure.concerns_operator() {
        log::debug!("{status} {reason}: route {route}, endpoint {endpoint}: {error}");
        return;
    }
    if let Some(held_back) = gateway.failures_told.take(Instant::now()) {
        if held_back > 0 {
            log::warn!("{held_back} more requests failed; the access log and the metrics have them all");
        }
        match failure.decided() {
            Some(why) => log::warn!("{status} {reason}: route {route}, endpoint {endpoint}: {why}"),
            None => log::warn!("{status} {reason}: route {route}, endpoint {endpoint}: {error}"),
        }
    }
}

/// Counts and logs a request that is over.
pub(super) fn finish(gateway: &Gateway, session: &mut Session, ctx: &mut RequestContext) {
    attempt::end(ctx);
    let downstream = session.as_ref();
    let status = match (downstream.response_written(), ctx.failure) {
        (Some(head), _) => ctx.told.unwrap_or(head.status.as_u16()),
        (None, failure) => failure.unwrap_or(Failure::ClientGone).status(),
    };
    let (request_bytes, response_bytes) = (downstream.body_bytes_read() as u64, downstream.body_bytes_sent() as u64);
    let duration = ctx.started.elapsed();
    let request = downstream.req_header();
    let route = ctx.route.as_ref().map_or_else(|| gateway.metrics.unrouted(), |route| &route.metrics);
    if let Some(listener) = ctx.listener() {
        if let Some(Failure::Refused(violation)) = ctx.failure {
            listener.metrics.request_refused(violation);
        }
        route.finished(&listener.metrics, &request.method, status, duration, request_bytes, response_bytes);
    }
    if !gateway.access_log.is_on() {
        return;
    }
    gateway.access_log.write(Summary {
        time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        client: ctx.client.client,
        listener: ctx.listener().map(|listener| listener.name.clone()).unwrap_or_else(|| "".into()),
        method: request.method.clone(),
        host: ctx.host_header.take(),
        target: target(&ctx.raw),
        protocol: request.version,
        status,
        request_bytes,
        response_bytes,
        duration,
        route: ctx.route.as_ref().map(|route| route.name.shared()),
        upstream: ctx.target().map(|target| target.upstream.name().clone()).filter(|_| ctx.endpoint.is_some()),
        endpoint: ctx.endpoint.as_ref().map(|endpoint| endpoint.id.shared()),
        attempts: ctx.attempts,
        retry: ctx.retry,
        retry_skipped: ctx.retry_skipped,
        failure: ctx.failure.map(Failure::reason),
        upstream_connect: ctx.connect,
        upstream_first_byte: ctx.first_byte,
        upstream_duration: ctx.last_attempt,
        session: ctx.sessions.check().map(|check| check.result),
        session_hash: ctx.sessions.hash(),
        sticky: ctx.sessions.sticky,
        user_agent: request.headers.get(USER_AGENT).cloned(),
        referer: request.headers.get(REFERER).cloned(),
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()).map(str::to_owned),
    });
}

/// The target as the client wrote it: the second word of the head.
fn target(raw: &Bytes) -> Bytes {
    let line = raw.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let word = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    raw.slice_ref(word.trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_the_target_as_it_came() {
        let of = |raw: &'static str| target(&Bytes::from_static(raw.as_bytes()));
        assert_eq!(of("GET /a/../b?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), "/a/../b?x=1");
        assert_eq!(of("\r\nGET /a HTTP/1.0\r\n\r\n"), "/a");
        assert_eq!(of("GET\r\n\r\n"), "");
        assert_eq!(of(""), "");
    }
}
