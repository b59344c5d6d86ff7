//! Answers that headgate makes itself: failures, redirects, fixed responses, and what plugins say.

use bytes::Bytes;
use headgate_plugins::{Hooks, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode, Version};
use pingora::Result;
use pingora::protocols::http::HttpTask;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::context::RequestContext;
use super::failure::{ALLOW as ALLOWED, Failure};
use super::grpc::{self, Code};
use crate::route::{Redirect, RedirectFrom, RedirectPart, Respond};
use crate::strictness::Violation;

/// Answers with a failure. Writes nothing where the client is gone or already has a part of an answer.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn failure(session: &mut Session, ctx: &mut RequestContext, failure: Failure) -> Result<()> {
    ctx.failure = Some(failure);
    if failure == Failure::ClientGone || session.response_written().is_some() {
        return Ok(());
    }
    let (kind, body) = failure.body(&session.req_header().headers);
    let mut head = ResponseHeader::build(failure.status(), Some(4))?;
    head.insert_header(CONTENT_TYPE, kind)?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    if failure == Failure::Refused(Violation::Method) {
        head.insert_header(ALLOW, ALLOWED)?;
    }
    if failure == Failure::NoSession {
        // RFC 9110 section 15.5.2 wants a challenge; there is no registered scheme for a session in a cookie or a header.
        let bearer =
            ctx.route.as_ref().and_then(|route| route.session.as_ref()).is_some_and(|rule| rule.source.is_bearer());
        head.insert_header(WWW_AUTHENTICATE, if bearer { "Bearer" } else { "Session" })?;
    }
    if let Some(seconds) = failure.retry_after() {
        head.insert_header(RETRY_AFTER, seconds)?;
    }
    if failure.ends_connection() {
        session.set_keepalive(None);
    }
    send(session, ctx, head, body).await
}

/// Answers with a redirect.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn redirect(session: &mut Session, ctx: &mut RequestContext, redirect: &Redirect) -> Result<()> {
    if ctx.host.is_empty() && redirect.to.contains(&RedirectPart::Host) {
        // Only HTTP/1.0 may leave it out, and then there is nowhere to send the client.
        return failure(session, ctx, Failure::Refused(Violation::NoHost)).await;
    }
    let head = redirect_head(session, ctx, redirect)?;
    send(session, ctx, head, Bytes::new()).await
}

fn redirect_head(session: &Session, ctx: &RequestContext, redirect: &Redirect) -> Result<ResponseHeader> {
    let uri = &session.req_header().uri;
    let from = RedirectFrom { scheme: ctx.client.scheme(), host: &ctx.host, path: uri.path(), query: uri.query() };
    let mut head = ResponseHeader::build(redirect.status, Some(2))?;
    head.insert_header(LOCATION, redirect.location(&from))?;
    Ok(head)
}

/// Sends a client that lacks a session to where it gets one.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn login(session: &mut Session, ctx: &mut RequestContext, to: &Redirect) -> Result<()> {
    if grpc::is_request(&session.req_header().headers) {
        // It knows of no pages.
        return failure(session, ctx, Failure::NoSession).await;
    }
    let mut head = redirect_head(session, ctx, to)?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    send(session, ctx, head, Bytes::new()).await
}

/// Answers from the file.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn respond(session: &mut Session, ctx: &mut RequestContext, respond: &Respond) -> Result<()> {
    let mut head = ResponseHeader::build(respond.status, Some(2))?;
    if !respond.body.is_empty() {
        head.insert_header(CONTENT_TYPE, respond.content_type.clone())?;
    }
    send(session, ctx, head, respond.body.clone()).await
}

/// Answers with what a plugin said.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn plugin(session: &mut Session, ctx: &mut RequestContext, response: Response) -> Result<()> {
    let (parts, body) = response.into_parts();
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 1))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    send(session, ctx, head, body).await
}

/// Writes a whole answer; the route's plugins see its head as they see any other. To a client of gRPC one that is no success
/// is told in its own words.
async fn send(session: &mut Session, ctx: &mut RequestContext, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    let mut without_body = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !without_body {
        head.insert_header(CONTENT_LENGTH, body.len())?;
    }
    if head.status.as_u16() >= 300 && grpc::is_request(&session.req_header().headers) {
        let status = head.status;
        ctx.told = Some(status.as_u16());
        let (code, message) = match ctx.failure {
            Some(failure) => (failure.grpc_code(), failure.detail()),
            None => (Code::of_http(status.as_u16()), status.canonical_reason().unwrap_or_default()),
        };
        grpc::tell(&mut head, code, message)?;
        without_body = true;
    }
    on_response(session, ctx, &mut head);
    let body_follows = !without_body && !body.is_empty() && session.req_header().method != Method::HEAD;
    ctx.response_started = true;
    let mut written = match session.req_header().version == Version::HTTP_2 && !body_follows {
        // What ends here has to say so in the head itself, which the other way forgets.
        true => session.write_response_tasks(vec![HttpTask::Header(Box::new(head), true)]).await.map(drop),
        false => session.write_response_header(Box::new(head), !body_follows).await,
    };
    if written.is_ok() && body_follows {
        written = session.write_response_body(Some(body), true).await;
    }
    // A client that left, or takes nothing, is no fault of ours, and can't be told of another.
    written.inspect_err(|_| ctx.failure = Some(Failure::ClientGone))
}

/// Lets the route's plugins change a head on its way to the client.
///
/// A plugin that fails here can't take back an answer that is already made: it is logged, and the answer goes as it is.
pub(super) fn on_response(session: &mut Session, ctx: &mut RequestContext, head: &mut ResponseHeader) {
    if head.status != StatusCode::SWITCHING_PROTOCOLS && ctx.connection.as_ref().is_some_and(|it| it.is_closing()) {
        // So that the client sends its next request elsewhere, instead of into a connection that is about to close.
        session.set_keepalive(None);
    }
    let Some(route) = ctx.route.clone().filter(|route| route.chain.wants(Hooks::RESPONSE)) else { return };
    let request = session.req_header_mut();
    let path = request.uri.clone();
    let mut exchange = ctx.exchange(&route, request, path.path());
    if let Err(fault) = route.chain.on_response(&mut exchange, head) {
        log::error!("plugin {} failed on a response of route {}: {}", fault.plugin, route.name, fault.error);
    }
}
