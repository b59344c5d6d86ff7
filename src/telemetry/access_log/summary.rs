//! What a finished request tells the access log, and the names of its fields.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Version};

use crate::telemetry::metrics::{CheckResult, Label as _, RetryReason, SkipReason, StickyResult};

/// A finished request. Its fields are moved or share what the request held, so that making one costs a request next to
/// nothing; the log's own thread turns it into text.
#[derive(Debug, Clone)]
pub struct Summary {
    /// When the request began.
    pub time: SystemTime,
    /// The client, behind trusted proxies as well; none on a unix socket.
    pub client: Option<IpAddr>,
    /// The listener it came in on.
    pub listener: Arc<str>,
    /// Its method.
    pub method: Method,
    /// Its host as the client wrote it.
    pub host: Option<HeaderValue>,
    /// Path and query as the client wrote them.
    pub target: Bytes,
    /// The protocol the client spoke.
    pub protocol: Version,
    /// What the client got, or 499 when it left before it got anything.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// From the request's whole head to the response's last byte.
    pub duration: Duration,
    /// The route that was found.
    pub route: Option<Arc<str>>,
    /// The upstream that was asked.
    pub upstream: Option<Arc<str>>,
    /// The endpoint that was asked last.
    pub endpoint: Option<Arc<str>>,
    /// How many times an endpoint was asked.
    pub attempts: u32,
    /// Why the last repeated attempt was repeated.
    pub retry: Option<RetryReason>,
    /// Why a failed attempt was not repeated.
    pub retry_skipped: Option<SkipReason>,
    /// Why the gateway answered itself.
    pub failure: Option<&'static str>,
    /// Time to a usable connection, of the last attempt.
    pub upstream_connect: Option<Duration>,
    /// Time to the first byte of the answer, of the last attempt.
    pub upstream_first_byte: Option<Duration>,
    /// Time of the last attempt in all.
    pub upstream_duration: Option<Duration>,
    /// What the check of its session found, where the route has one.
    pub session: Option<CheckResult>,
    /// A keyed hash of the session's id, which links its lines and tells nothing else. Never the id.
    pub session_hash: Option<u32>,
    /// What became of its pin, on a sticky route.
    pub sticky: Option<StickyResult>,
    /// The client's User-Agent.
    pub user_agent: Option<HeaderValue>,
    /// The client's Referer.
    pub referer: Option<HeaderValue>,
    /// The request's id.
    pub request_id: Option<String>,
}

/// The value of a field, not yet text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// Bytes that a client chose; to be escaped.
    Bytes(&'a [u8]),
    /// Text of ours or of the operator.
    Text(&'a str),
    Number(u64),
    Milliseconds(Duration),
    /// Eight hexadecimal digits.
    Hash(u32),
    Time(SystemTime),
    Address(IpAddr),
}

/// Writes the fields, their names and where their values are.
macro_rules! fields {
    ($($field:ident $name:literal |$summary:ident| $value:expr;)+) => {
        /// A field of a [`Summary`] that a template can name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Field { $($field),+ }

        impl Field {
            pub(super) const ALL: &'static [Self] = &[$(Self::$field),+];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$field => $name),+ }
            }

            /// The field's value, none where the request has none.
            pub(super) fn of(self, summary: &Summary) -> Option<Value<'_>> {
                match self { $(Self::$field => { let $summary = summary; $value }),+ }
            }
        }
    };
}

fields! {
    Time "time" |request| Some(Value::Time(request.time));
    ClientIp "client_ip" |request| request.client.map(Value::Address);
    Listener "listener" |request| text(Some(&request.listener));
    Method "method" |request| Some(Value::Bytes(request.method.as_str().as_bytes()));
    Host "host" |request| header(request.host.as_ref());
    Target "target" |request| Some(Value::Bytes(&request.target));
    Path "path" |request| request.target.split(|byte| *byte == b'?').next().map(Value::Bytes);
    Protocol "protocol" |request| Some(Value::Text(protocol(request.protocol)));
    Status "status" |request| Some(Value::Number(request.status.into()));
    RequestBytes "request_bytes" |request| Some(Value::Number(request.request_bytes));
    ResponseBytes "response_bytes" |request| Some(Value::Number(request.response_bytes));
    Duration "duration_ms" |request| Some(Value::Milliseconds(request.duration));
    Route "route" |request| text(request.route.as_deref());
    Upstream "upstream" |request| text(request.upstream.as_deref());
    Endpoint "endpoint" |request| text(request.endpoint.as_deref());
    Attempts "attempts" |request| Some(Value::Number(request.attempts.into()));
    Retry "retry" |request| text(request.retry.map(RetryReason::label));
    RetrySkipped "retry_skipped" |request| text(request.retry_skipped.map(SkipReason::label));
    Failure "failure" |request| text(request.failure);
    UpstreamConnect "upstream_connect_ms" |request| request.upstream_connect.map(Value::Milliseconds);
    UpstreamFirstByte "upstream_first_byte_ms" |request| request.upstream_first_byte.map(Value::Milliseconds);
    UpstreamDuration "upstream_duration_ms" |request| request.upstream_duration.map(Value::Milliseconds);
    Session "session" |request| text(request.session.map(CheckResult::label));
    SessionHash "session_hash" |request| request.session_hash.map(Value::Hash);
    Sticky "sticky" |request| text(request.sticky.map(StickyResult::label));
    UserAgent "user_agent" |request| header(request.user_agent.as_ref());
    Referer "referer" |request| header(request.referer.as_ref());
    RequestId "request_id" |request| request.request_id.as_ref().map(|id| Value::Bytes(id.as_bytes()));
}

fn text(text: Option<&str>) -> Option<Value<'_>> {
    text.map(Value::Text)
}

fn header(value: Option<&HeaderValue>) -> Option<Value<'_>> {
    value.map(|value| Value::Bytes(value.as_bytes()))
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}
