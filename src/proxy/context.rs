//! `RequestContext`: all that is known of one request, from its head to its log line. Pingora's CTX.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headgate_plugins::Exchange;
use http::{Extensions, HeaderValue};
use pingora::ErrorSource;
use pingora_http::RequestHeader;

use super::failure::Failure;
use super::headers::ClientAddress;
use super::session::Sessions;
use crate::connection::{Cause, Connection};
use crate::endpoint::Endpoint;
use crate::listener::Listener;
use crate::route::{Route, Target};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{Held, RetryReason, SkipReason};
use crate::tls::ClientIdentity;
use crate::upstream::{Lease, Tried};

/// One request, from its head to its log line.
pub struct RequestContext {
    /// The configuration that serves it, pinned once.
    pub(super) snapshot: Arc<Snapshot>,
    /// When its head was complete.
    pub(super) started: Instant,
    /// What the edge knows of its connection.
    pub(super) connection: Option<Arc<Connection>>,
    /// The listener that the client came to, as the snapshot has it, and its place there; one that the file has lost since is as
    /// the connection found it, and has no place. None where no edge accepted the connection.
    pub(super) listener: Option<(usize, Arc<Listener>)>,
    /// Who asks.
    pub(super) client: ClientAddress,
    /// The client's own `Host`.
    pub(super) host_header: Option<HeaderValue>,
    /// The normalised host; empty where an HTTP/1.0 client sent none.
    pub(super) host: Box<str>,
    /// The head as the client wrote it, for the log.
    pub(super) raw: Bytes,
    /// What the router found.
    pub(super) route: Option<Arc<Route>>,
    /// Its sessions and its pin.
    pub(super) sessions: Sessions,
    /// Which of the route's targets serves it.
    pub(super) chosen: usize,
    /// What a hashing strategy goes by.
    pub(super) key: Option<u64>,
    /// When the whole request must be over.
    pub(super) deadline: Option<Instant>,
    /// The attempt under way.
    pub(super) attempt: Option<Attempt>,
    /// The load of the next attempt, where a hook already found an endpoint for it.
    pub(super) next: Option<Lease>,
    /// Endpoints that this request tried.
    pub(super) tried: Tried,
    /// Tries that may have reached an endpoint.
    pub(super) attempts: u32,
    /// How the last attempt failed, while another is made.
    pub(super) last_failure: Option<Failure>,
    /// Kept connections that their endpoint had closed already.
    pub(super) stale: u32,
    /// Why the last attempt but one was made again.
    pub(super) retry: Option<RetryReason>,
    /// How long the last attempt took.
    pub(super) last_attempt: Option<Duration>,
    /// Why no further attempt was made.
    pub(super) retry_skipped: Option<SkipReason>,
    /// A hook has decided already that another attempt is made.
    pub(super) retrying: bool,
    /// The status that an answer of ours has, where a client of gRPC was told 200 and one of its own.
    pub(super) told: Option<u16>,
    /// Why we answer ourselves.
    pub(super) failure: Option<Failure>,
    /// The endpoint that was asked last.
    pub(super) endpoint: Option<Arc<Endpoint>>,
    /// Time to connect of the last attempt; none on a connection that was kept.
    pub(super) connect: Option<Duration>,
    /// From the request's last byte to the first of the last attempt's answer.
    pub(super) first_byte: Option<Duration>,
    /// The final head has been passed on.
    pub(super) response_started: bool,
    /// The client has the whole answer.
    pub(super) answered: bool,
    /// The client has sent all of its body.
    pub(super) request_complete: bool,
    /// The client waits for a `100 Continue` before it sends its body.
    pub(super) body_held_back: bool,
    /// The endpoint was asked to change protocols.
    pub(super) upgrade_asked: bool,
    /// Both ends speak WebSocket now.
    pub(super) upgraded: bool,
    /// What plugins keep from hook to hook.
    pub(super) scratch: Extensions,
    /// The id a plugin gave it.
    pub(super) request_id: Option<HeaderValue>,
    /// Counts it in flight on its route.
    pub(super) route_load: Option<Held>,
}

/// One try on one endpoint.
pub(super) struct Attempt {
    /// The endpoint, and its load while this lives.
    pub(super) lease: Lease,
    /// When it was chosen.
    pub(super) started: Instant,
    /// When the endpoint had all of it: once the connection stood, or the client's body ended.
    pub(super) sent: Instant,
}

// === impl RequestContext ===

impl RequestContext {
    /// A request whose head has just been read.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            snapshot,
            started: Instant::now(),
            connection: None,
            listener: None,
            client: ClientAddress { peer: None, client: None, trusted: false, tls: false, secure: false },
            host_header: None,
            host: Box::default(),
            raw: Bytes::new(),
            route: None,
            sessions: Sessions::default(),
            chosen: 0,
            key: None,
            deadline: None,
            attempt: None,
            next: None,
            tried: Tried::default(),
            attempts: 0,
            last_failure: None,
            stale: 0,
            retry: None,
            last_attempt: None,
            retry_skipped: None,
            retrying: false,
            told: None,
            failure: None,
            endpoint: None,
            connect: None,
            first_byte: None,
            response_started: false,
            answered: false,
            request_complete: false,
            body_held_back: false,
            upgrade_asked: false,
            upgraded: false,
            scratch: Extensions::new(),
            request_id: None,
            route_load: None,
        }
    }

    /// Ties it to its connection.
    pub(super) fn came_by(&mut self, connection: Arc<Connection>) {
        let present = self.snapshot.listener(&connection.listener.id).map(|(at, listener)| (at, Arc::clone(listener)));
        self.listener = Some(present.unwrap_or_else(|| (usize::MAX, Arc::clone(&connection.listener))));
        self.connection = Some(connection);
    }

    /// What holds for the listener that the client came to.
    pub(super) fn listener(&self) -> Option<&Arc<Listener>> {
        self.listener.as_ref().map(|(_, listener)| listener)
    }

    /// Who the client has shown to be; none without TLS, or where it has shown no certificate.
    pub(super) fn identity(&self) -> Option<&ClientIdentity> {
        self.connection.as_ref()?.tls.as_ref()?.client.as_ref()
    }

    /// The upstream that serves the request; none while no route is found, or where the route answers itself.
    pub(super) fn target(&self) -> Option<&Target> {
        self.route.as_ref()?.target(self.chosen)
    }

    /// What plugins may see and change, around a head that the caller holds.
    pub(super) fn exchange<'a>(
        &'a mut self,
        route: &'a Route,
        request: &'a mut RequestHeader,
        path: &'a str,
    ) -> Exchange<'a> {
        let listener = self.listener.as_ref().map_or("", |(_, listener)| &*listener.name);
        Exchange {
            request,
            client_ip: self.client.client,
            scheme: self.client.scheme(),
            host: &self.host,
            path,
            route: route.name.as_str(),
            listener,
            request_id: &mut self.request_id,
            scratch: &mut self.scratch,
        }
    }

    /// Time left for the whole request; none where it isn't bounded.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Ends the wait for the endpoint after `within`, or when the whole request must be over, whichever is sooner.
    pub(super) fn wait_at_most(&self, within: Duration, cause: Cause) {
        let Some(connection) = &self.connection else { return };
        let at = Instant::now().checked_add(within);
        match (at, self.deadline) {
            (Some(at), Some(deadline)) if deadline < at => {
                connection.deadline.set(Some(deadline.into()), Cause::Request)
            }
            (at, _) => connection.deadline.set(at.map(Into::into), cause),
        }
    }

    /// Restarts the wait for the next piece, whichever of the phases the request is in.
    pub(super) fn progressed(&self) {
        let Some(timeouts) = self.target().map(|target| &target.timeouts) else { return };
        if self.answered && !self.request_complete {
            self.wait_at_most(LINGER, Cause::Idle);
        } else if self.upgraded {
            self.wait_at_most(timeouts.upgrade_idle, Cause::UpgradeIdle);
        } else if self.response_started {
            self.wait_at_most(timeouts.idle, Cause::Idle);
        } else if self.request_complete || self.body_held_back {
            self.wait_at_most(timeouts.first_byte, Cause::FirstByte);
        } else if let (Some(connection), Some(deadline)) = (&self.connection, self.deadline) {
            // While the client sends, its connection watches it.
            connection.deadline.set(Some(deadline.into()), Cause::Request);
        }
    }

    /// The failure that an error means: the one that a hook of ours named, or our own deadline, which ends a read of the
    /// client's side, or what Pingora saw.
    pub(super) fn classify(&self, error: &pingora::Error) -> Failure {
        if let (ErrorSource::Internal, Some(failure)) = (error.esource(), self.failure) {
            return failure;
        }
        if let Some(violation) = self.connection.as_ref().and_then(|connection| connection.violation()) {
            return Failure::Refused(violation);
        }
        match self.connection.as_ref().and_then(|connection| connection.deadline.expired()) {
            Some(Cause::FirstByte) => Failure::FirstByteTimeout,
            Some(Cause::Idle | Cause::UpgradeIdle) => Failure::IdleTimeout,
            Some(Cause::Request) => Failure::RequestTimeout,
            None => Failure::from_pingora(error),
        }
    }
}

/// How long a client that has its answer may be silent in the middle of its body: it read the answer and sends no more.
const LINGER: Duration = Duration::from_secs(1);
