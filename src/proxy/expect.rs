//! `Expect: 100-continue` (RFC 9110 section 10.1.1): whether the client shall send its body is the endpoint's to say.
//!
//! The expectation goes to the endpoint and its `100 Continue` comes back, once, however many attempts there are; a final answer
//! comes back as it is, and the body is never asked for. Any other expectation is refused with the head.

use http::Version;
use http::header::EXPECT;
use pingora::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::context::RequestContext;
use crate::connection::Cause;

/// Notes whether the client holds its body back.
pub(super) fn begin(session: &mut Session, ctx: &mut RequestContext) {
    let downstream = session.as_downstream_mut();
    let request = downstream.req_header();
    // One of HTTP/1.0 knows no interim answers, and its expectation counts for nothing.
    let knows = request.version >= Version::HTTP_11;
    ctx.body_held_back = knows && !ctx.request_complete && request.headers.contains_key(EXPECT);
    downstream.set_ignore_info_resp(!knows);
    if ctx.body_held_back
        && let Some(connection) = &ctx.connection
    {
        connection.deadline.set_client_owes(false);
    }
}

/// Passes the expectation on while the client holds its body back, and no longer.
///
/// # Errors
/// When the client can't be written to.
pub(super) async fn forward(
    session: &mut Session,
    request: &mut RequestHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    if !request.headers.contains_key(EXPECT) || (ctx.body_held_back && request.version != Version::HTTP_2) {
        return Ok(());
    }
    request.remove_header(&EXPECT);
    if ctx.body_held_back {
        // Pingora drops what an endpoint says by HTTP/2 before its answer.
        let downstream = session.as_downstream_mut();
        downstream.set_close_on_response_before_downstream_finish(false);
        downstream.write_continue_response().await?;
        released(ctx);
    }
    Ok(())
}

/// The endpoint wants the body. Where the client did not wait, or knows already, it is told nothing.
pub(super) fn continued(session: &mut Session, ctx: &mut RequestContext) {
    if ctx.body_held_back {
        released(ctx);
    } else {
        session.req_header_mut().remove_header(&EXPECT);
        session.as_downstream_mut().set_ignore_info_resp(true);
    }
}

/// The client sends its body: told to, or of itself.
pub(super) fn released(ctx: &mut RequestContext) {
    if std::mem::take(&mut ctx.body_held_back)
        && let Some(connection) = &ctx.connection
    {
        connection.deadline.set_client_owes(true);
        connection.deadline.set(ctx.deadline.map(Into::into), Cause::Request);
    }
}
