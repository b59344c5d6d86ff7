//! `Failure` -> status, reason, body. The only place where a status is chosen.
//!
//! Every answer that headgate makes itself because something went wrong passes here, whichever part found the fault.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, HeaderMap};
use pingora::protocols::http::v2::client::PING_TIMEDOUT;
use pingora::{Error, ErrorSource, ErrorType};

use super::grpc::Code;
use crate::strictness::Violation;

/// What a 405 says is allowed (RFC 9110 section 15.5.6): every method but those that no request gets by with.
pub const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Why we answer a request ourselves, or can't answer it at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request breaks a rule of HTTP that we hold, or a limit of its listener.
    Refused(Violation),
    /// The client went away before its answer was complete.
    ClientGone,
    /// The connection's TLS handshake was for a name whose clients are verified otherwise than this host's.
    Misdirected,
    /// No route matches.
    NoRoute,
    /// The route requires a session, and the request has none that is alive.
    NoSession,
    /// The same, where the route's answer to that is 403.
    Forbidden,
    /// The session can't be looked up, and `when_store_down` is `deny`.
    StoreDown,
    /// The endpoint that the request is pinned to is down, and `when_down` is `fail`.
    PinnedDown,
    /// No endpoint of the upstream is fit to be asked.
    NoEndpoint,
    /// Every endpoint is at its `max_connections`, and there is no queue or it is full.
    Overloaded,
    /// The request waited in the queue as long as `queue.timeout` allows.
    QueueTimeout,
    /// No connection to any endpoint could be made.
    ConnectError,
    /// The endpoint's certificate is not what it should be, or another fault of the TLS handshake.
    TlsError,
    /// An endpoint did not accept the connection within `timeouts.connect`.
    ConnectTimeout,
    /// The endpoint closed or reset the connection before its answer was complete.
    UpstreamReset,
    /// The endpoint's answer is not valid HTTP.
    UpstreamProtocol,
    /// The endpoint did not begin its answer within `timeouts.first_byte`.
    FirstByteTimeout,
    /// The endpoint, or an upgraded connection, was silent for `timeouts.idle` or `timeouts.upgrade_idle`.
    IdleTimeout,
    /// The whole request took longer than `timeouts.request`.
    RequestTimeout,
    /// A plugin failed.
    Plugin,
    /// A fault of our own.
    Internal,
}

// === impl Failure ===

impl Failure {
    /// The status that the client is told, or that the log records where nobody can be told any more (499).
    pub fn status(self) -> u16 {
        match self {
            Self::Refused(violation) => violation.status(),
            Self::NoSession => 401,
            Self::Forbidden => 403,
            Self::NoRoute => 404,
            Self::Misdirected => 421,
            Self::ClientGone => 499,
            Self::Plugin | Self::Internal => 500,
            Self::ConnectError | Self::TlsError | Self::UpstreamReset | Self::UpstreamProtocol => 502,
            Self::StoreDown | Self::PinnedDown | Self::NoEndpoint | Self::Overloaded | Self::QueueTimeout => 503,
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::IdleTimeout | Self::RequestTimeout => 504,
        }
    }

    /// What a client of gRPC is told instead.
    pub fn grpc_code(self) -> Code {
        match self {
            Self::Refused(violation) => match violation.status() {
                408 => Code::DeadlineExceeded,
                413 | 414 | 431 => Code::ResourceExhausted,
                _ => Code::Internal,
            },
            Self::Plugin | Self::Internal => Code::Internal,
            Self::ClientGone => Code::Cancelled,
            Self::Misdirected => Code::Unknown,
            Self::NoRoute => Code::Unimplemented,
            Self::NoSession => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            // Of a connection that did not come about nothing reached anybody, however long it took.
            Self::ConnectError
            | Self::TlsError
            | Self::ConnectTimeout
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::StoreDown
            | Self::PinnedDown
            | Self::NoEndpoint
            | Self::Overloaded
            | Self::QueueTimeout => Code::Unavailable,
            Self::FirstByteTimeout | Self::IdleTimeout | Self::RequestTimeout => Code::DeadlineExceeded,
        }
    }

    /// The word for logs and labels.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused(violation) => violation.label(),
            Self::ClientGone => "client_gone",
            Self::Misdirected => "misdirected",
            Self::NoRoute => "no_route",
            Self::NoSession => "no_session",
            Self::Forbidden => "forbidden",
            Self::StoreDown => "store_down",
            Self::PinnedDown => "pinned_down",
            Self::NoEndpoint => "no_endpoint",
            Self::Overloaded => "overloaded",
            Self::QueueTimeout => "queue_timeout",
            Self::ConnectError => "connect_error",
            Self::TlsError => "tls_error",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::Plugin => "plugin",
            Self::Internal => "internal",
        }
    }

    /// What happened, where it was our own decision: Pingora's error then tells only how we broke off, and names the client's
    /// side.
    pub fn decided(self) -> Option<&'static str> {
        Some(match self {
            Self::StoreDown => {
                "the session store does not answer, and `when_store_down` is `deny`, or it is asked for more sessions than it may be"
            }
            Self::PinnedDown => "the endpoint of this session is down, and `when_down` is `fail`",
            Self::NoEndpoint => "none is fit or left to ask",
            Self::Overloaded => "each is at its `max_connections`, and no more may wait",
            Self::QueueTimeout => "none had room within `queue.timeout`",
            Self::FirstByteTimeout => "no response head within `timeouts.first_byte`",
            Self::IdleTimeout => "silent for `timeouts.idle` or `timeouts.upgrade_idle`",
            Self::RequestTimeout => "not done within `timeouts.request`",
            _ => return None,
        })
    }

    /// What the client may know: the rule it broke, or nothing about what stands behind us.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Refused(violation) => violation.sentence(),
            Self::ClientGone => "",
            Self::Misdirected => "this host needs a connection of its own",
            Self::NoRoute => "no such page",
            // The same for a session that died, was forged or never was: who tries ids learns nothing.
            Self::NoSession | Self::Forbidden => "a session is required",
            Self::StoreDown => "sessions can't be checked now, try again",
            Self::PinnedDown | Self::NoEndpoint | Self::Overloaded | Self::QueueTimeout => {
                "no server is free to answer, try again"
            }
            Self::ConnectError | Self::TlsError | Self::UpstreamReset | Self::UpstreamProtocol => {
                "the server gave no valid answer"
            }
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::IdleTimeout | Self::RequestTimeout => {
                "the server did not answer in time"
            }
            Self::Plugin | Self::Internal => "something went wrong here",
        }
    }

    /// Seconds after which it makes sense to ask again, where waiting may help.
    pub fn retry_after(self) -> Option<u32> {
        (self.status() == 503).then_some(1)
    }

    /// Whether the client's next bytes can't be trusted, or are not wanted.
    pub fn ends_connection(self) -> bool {
        // Who was misdirected has to come again by another one.
        matches!(self, Self::Refused(_) | Self::Misdirected)
    }

    /// Whether the fault is behind us or ours, so that the operator wants to read of it.
    pub fn concerns_operator(self) -> bool {
        self.status() >= 500
    }

    /// Reads a failure out of an error that Pingora made, where no part of ours named one.
    pub fn from_pingora(error: &Error) -> Self {
        use ErrorType as T;
        let kind = error.etype();
        match error.esource() {
            ErrorSource::Upstream => match kind {
                T::ConnectTimedout | T::TLSHandshakeTimedout => Self::ConnectTimeout,
                T::ConnectRefused | T::ConnectNoRoute | T::ConnectError | T::BindError | T::SocketError => {
                    Self::ConnectError
                }
                T::TLSHandshakeFailure | T::InvalidCert => Self::TlsError,
                T::ReadTimedout | T::WriteTimedout => Self::IdleTimeout,
                // A connection that gave no sign of life.
                kind if *kind == PING_TIMEDOUT => Self::UpstreamReset,
                T::InvalidHTTPHeader | T::InvalidH2 | T::H2Downgrade | T::Custom(_) => Self::UpstreamProtocol,
                _ => Self::UpstreamReset,
            },
            ErrorSource::Downstream => match kind {
                T::ReadTimedout => Self::Refused(Violation::BodyTimeout),
                T::InvalidHTTPHeader | T::H1Error | T::InvalidH2 => Self::Refused(Violation::BodyFraming),
                _ => Self::ClientGone,
            },
            ErrorSource::Internal | ErrorSource::Unset => Self::Internal,
        }
    }

    /// The small answer: JSON where the client asks for it, plain text otherwise. Returns content type and body.
    pub fn body(self, request: &HeaderMap) -> (&'static str, Bytes) {
        let status = self.status();
        let title = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("Error");
        let detail = self.detail();
        if wants_json(request) {
            // Both strings are ours and hold nothing that JSON would escape.
            let body = format!("{{\"status\":{status},\"error\":\"{title}\",\"detail\":\"{detail}\"}}\n");
            ("application/json", body.into())
        } else {
            ("text/plain; charset=utf-8", format!("{status} {title}: {detail}\n").into())
        }
    }
}

/// Whether the client names JSON and not HTML. `*/*` asks for nothing in particular.
fn wants_json(request: &HeaderMap) -> bool {
    let names = |wanted: fn(&str) -> bool| {
        let values = request.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|range| wanted(range.split(';').next().unwrap_or("").trim()))
    };
    let json =
        names(|kind| kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")));
    json && !names(|kind| kind == "text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Failure; 17] = [
        Failure::Refused(Violation::NoHost),
        Failure::ClientGone,
        Failure::Misdirected,
        Failure::NoRoute,
        Failure::NoEndpoint,
        Failure::Overloaded,
        Failure::QueueTimeout,
        Failure::ConnectError,
        Failure::TlsError,
        Failure::ConnectTimeout,
        Failure::UpstreamReset,
        Failure::UpstreamProtocol,
        Failure::FirstByteTimeout,
        Failure::IdleTimeout,
        Failure::RequestTimeout,
        Failure::Plugin,
        Failure::Internal,
    ];

    #[test]
    fn every_failure_has_the_status_its_users_expect() {
        let statuses = ALL.map(Failure::status);
        assert_eq!(statuses, [400, 499, 421, 404, 503, 503, 503, 502, 502, 504, 502, 502, 504, 504, 504, 500, 500]);
        assert_eq!(Failure::Refused(Violation::TargetTooLong).status(), 414);
    }

    #[test]
    fn a_client_of_grpc_is_told_what_its_table_says_of_the_status_or_better() {
        for failure in ALL {
            let better = match failure {
                Failure::ClientGone => Code::Cancelled,
                Failure::ConnectTimeout => Code::Unavailable,
                Failure::Plugin | Failure::Internal => Code::Internal,
                _ if matches!(failure.status(), 408 | 504) => Code::DeadlineExceeded,
                _ => Code::of_http(failure.status()),
            };
            assert_eq!(failure.grpc_code(), better, "{failure:?}");
        }
    }

    #[test]
    fn reasons_are_distinct() {
        let mut reasons: Vec<_> = ALL.map(Failure::reason).to_vec();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), ALL.len());
    }

    #[test]
    fn a_client_that_asks_for_json_gets_json_and_nobody_learns_an_address() {
        let mut headers = HeaderMap::new();
        for failure in ALL {
            let (kind, body) = failure.body(&headers);
            assert_eq!(kind, "text/plain; charset=utf-8");
            assert!(!String::from_utf8_lossy(&body).contains("127.0.0.1"));
        }
        headers.insert(ACCEPT, http::HeaderValue::from_static("text/html, application/json;q=0.5"));
        assert_eq!(Failure::NoRoute.body(&headers).0, "text/plain; charset=utf-8");
        headers.insert(ACCEPT, http::HeaderValue::from_static("application/json, text/plain;q=0.5"));
        for failure in ALL {
            let (kind, body) = failure.body(&headers);
            assert_eq!(kind, "application/json");
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value["status"], failure.status());
        }
    }

    #[test]
    fn timeouts_resets_and_bad_answers_of_an_endpoint_are_told_apart() {
        let upstream = |kind: ErrorType| Failure::from_pingora(&Error::new(kind).into_up());
        assert_eq!(upstream(ErrorType::ConnectTimedout), Failure::ConnectTimeout);
        assert_eq!(upstream(ErrorType::ConnectRefused), Failure::ConnectError);
        assert_eq!(upstream(ErrorType::TLSHandshakeFailure), Failure::TlsError);
        assert_eq!(upstream(ErrorType::ConnectionClosed), Failure::UpstreamReset);
        assert_eq!(upstream(ErrorType::ReadTimedout), Failure::IdleTimeout);
        assert_eq!(upstream(ErrorType::InvalidHTTPHeader), Failure::UpstreamProtocol);
        let downstream = |kind: ErrorType| Failure::from_pingora(&Error::new(kind).into_down());
        assert_eq!(downstream(ErrorType::ReadTimedout), Failure::Refused(Violation::BodyTimeout));
        assert_eq!(downstream(ErrorType::WriteError), Failure::ClientGone);
        assert_eq!(downstream(ErrorType::ConnectionClosed), Failure::ClientGone);
    }
}
