//! THE REQUEST: the only module that implements `ProxyHttp`. Each callback calls a part and records the result.

mod admission;
mod answer;
mod attempt;
mod context;
mod expect;
pub mod failure;
pub mod grpc;
pub mod headers;
pub mod key;
mod peer;
mod record;
pub mod retry;
mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use headgate_plugins::{Body, Hooks};
use http::Version;
use http::header::UPGRADE;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

pub use context::RequestContext;

use crate::route::Redirect;
use crate::snapshot::Current;
use crate::strictness::Violation;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::quota::Quota;
use admission::Admitted;
use failure::Failure;

/// Serves requests by the present configuration.
pub struct Gateway {
    /// The configuration cell; each request pins it once.
    pub current: Arc<Current>,
    /// For requests that have no route.
    pub metrics: Arc<Metrics>,
    /// Where finished requests go.
    pub access_log: Arc<AccessLog>,
    /// How many failed requests the process log tells of.
    pub failures_told: Quota,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(self.current.pin())
    }

    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {
        // Without Pingora's compression module a request builds no module context.
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<()> {
        admission::begin(session, ctx);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
        let route = match admission::admit(session, ctx) {
            Ok(Admitted::To(route)) => route,
            Ok(Admitted::ToHttps(port)) => {
                answer::redirect(session, ctx, &Redirect::to_https(port)).await?;
                return Ok(true);
            }
            Err(failure) => {
                answer::failure(session, ctx, failure).await?;
                return Ok(true);
            }
        };
        ctx.route = Some(Arc::clone(&route));
        Ok(admission::run_plugins(session, ctx, &route).await?
            || session::admit(session, ctx, &route).await?
            || admission::act(session, ctx, &route).await?)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
        attempt::begin(session, ctx).await.map(Box::new).map_err(|failure| fail(ctx, failure))
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        _: std::os::unix::io::RawFd,
        _: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        attempt::connected(ctx, reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        attempt::speaks(ctx, request)?;
        if request.version == Version::HTTP_2 {
            headers::by_http2(request, &session.req_header().headers)?;
        }
        expect::forward(session, request, ctx).await?;
        headers::forward(request, &ctx.client, ctx.host_header.as_ref())?;
        let host = ctx.attempt.as_ref().and_then(|attempt| attempt.lease.endpoint().host_header.as_ref());
        headers::set_host(request, host, || attempt::host(ctx))?;
        session::forward(request, ctx)?;
        if let Some(client) = ctx.identity() {
            headers::identify(request, client)?;
        }
        headers::drop_unnamed_upgrade(request, &session.req_header().headers);
        ctx.upgrade_asked = request.headers.contains_key(UPGRADE);
        let Some(route) = ctx.route.clone() else { return Ok(()) };
        if ctx.attempts == 1 && session.req_header().headers.contains_key(UPGRADE) && !ctx.upgrade_asked {
            route.metrics.foreign_upgrade();
        }
        if route.chain.wants(Hooks::UPSTREAM_REQUEST) {
            let uri = session.req_header().uri.clone();
            let mut exchange = ctx.exchange(&route, session.req_header_mut(), uri.path());
            if let Err(fault) = route.chain.on_upstream_request(&mut exchange, request) {
                log::error!("plugin {} failed on a request of route {}: {}", fault.plugin, route.name, fault.error);
                return Err(fail(ctx, Failure::Plugin));
            }
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if !ctx.upgraded {
            if ctx.body_held_back && body.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
                expect::released(ctx);
            }
            let most = ctx.listener().and_then(|listener| listener.max_body);
            if most.is_some_and(|most| session.as_ref().body_bytes_read() as u64 > most) {
                return Err(fail(ctx, Failure::Refused(Violation::BodyTooLarge)));
            }
            if end && !ctx.request_complete {
                ctx.request_complete = true;
                if let Some(attempt) = &mut ctx.attempt {
                    // A client that sends slowly says nothing of how fast the endpoint is.
                    attempt.sent = std::time::Instant::now();
                }
            }
        }
        ctx.progressed();
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if response.status.is_informational() && response.status != http::StatusCode::SWITCHING_PROTOCOLS {
            // It ends nothing, though Pingora would close a connection after any answer before the end of the body.
            session.as_downstream_mut().set_close_on_response_before_downstream_finish(false);
            if response.status == http::StatusCode::CONTINUE {
                expect::continued(session, ctx);
            }
            // `first_byte` goes on: an endpoint could announce an answer for ever.
            return Ok(());
        }
        if response.status == http::StatusCode::SWITCHING_PROTOCOLS && !ctx.upgrade_asked {
            // Pingora would let both sides say what they like, past every rule of ours.
            return Err(fail(ctx, Failure::UpstreamProtocol));
        }
        session.as_downstream_mut().set_close_on_response_before_downstream_finish(true);
        if attempt::answered(session, ctx, response) {
            ctx.retrying = true;
            let mut error = Error::new_up(ErrorType::HTTPStatus(response.status.as_u16()));
            error.set_retry(true);
            return Err(error);
        }
        if ctx.upgraded {
            // From here on `upgrade_idle` counts, for both sides as one: the connection's own deadline.
            if let Some(connection) = &ctx.connection {
                connection.becomes_tunnel();
            }
        }
        headers::strip_hop_by_hop(response);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if ctx.response_started {
            headers::frame_for(session, response);
            // Before a plugin changes what the endpoint said.
            let issued = session::issued(ctx, &session.req_header().headers, &response.headers);
            answer::on_response(session, ctx, response);
            session::remember(ctx, response, &issued).await?;
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        ctx.answered |= end && !ctx.upgraded;
        ctx.progressed();
        Ok(None)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        let Some(route) = ctx.route.clone().filter(|route| route.chain.wants(Hooks::RESPONSE_BODY)) else {
            return Ok(None);
        };
        let uri = session.req_header().uri.clone();
        let mut exchange = ctx.exchange(&route, session.req_header_mut(), uri.path());
        if let Err(fault) = route.chain.on_response_body(&mut exchange, &mut Body { bytes: body, end }) {
            log::error!("plugin {} failed on a response of route {}: {}", fault.plugin, route.name, fault.error);
            return Err(fail(ctx, Failure::Plugin));
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        ctx: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(attempt::not_connected(session, ctx, &error));
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut RequestContext,
        reused: bool,
    ) -> Box<Error> {
        // An error without a decision about another attempt makes Pingora panic.
        let again = std::mem::take(&mut ctx.retrying) || attempt::broken(session, ctx, &error, reused);
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut RequestContext) -> FailToProxy {
        if ctx.answered {
            // The client read its answer and did not go on with its body: that is how it should be.
            ctx.failure = None;
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let failure = ctx.failure.unwrap_or_else(|| ctx.classify(error));
        // Pingora closes the connection after this, so the answer must say so.
        session.set_keepalive(None);
        if let Err(error) = answer::failure(session, ctx, failure).await {
            log::debug!("the client left before it got its {}: {error}", failure.status());
        }
        FailToProxy { error_code: failure.status(), can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, ctx: &RequestContext, error: &Error) -> bool {
        if !ctx.answered {
            record::explain(self, ctx, error);
        }
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &RequestContext,
        _: &Error,
        _: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        // Retries are counted, and stand in the access log.
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut RequestContext) {
        session::unanswered(ctx).await;
        record::finish(self, session, ctx);
    }
}

/// Stops a request for a reason of ours; `fail_to_proxy` answers it.
fn fail(ctx: &mut RequestContext, failure: Failure) -> Box<Error> {
    ctx.failure = Some(failure);
    Error::new_in(ErrorType::HTTPStatus(failure.status()))
}
