//! `Refusals`: answers, counts and logs what never becomes a request for the proxy.
//!
//! To the client, the log and the metrics a refusal looks the same wherever it happens: a request that ended with a code.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{Method, StatusCode};
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::proxy::failure::{ALLOW, Failure};
use crate::proxy::headers::{ClientAddress, X_FORWARDED_FOR};
use crate::strictness::{self, Violation};
use crate::telemetry::access_log::{AccessLog, Summary};
use crate::telemetry::metrics::{Metrics, TimeoutReason};

/// A socket that is closed with bytes unread resets the connection, and the reset may overtake the answer. So what the
/// client still sends is thrown away for this long, and up to so many bytes, unless it closes first.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// A target longer than this stands in the log cut off.
const LOGGED_TARGET: usize = 8 << 10;

/// Where refusals are told.
#[derive(Debug)]
pub struct Refusals {
    /// Counts them.
    pub metrics: Arc<Metrics>,
    /// Has a line for each.
    pub access_log: Arc<AccessLog>,
}

// === impl Refusals ===

impl Refusals {
    /// Refuses what came on `stream`, of which `head` was read, and closes the connection.
    pub(super) async fn refuse(&self, connection: &Connection, stream: Stream, head: Bytes, violation: Violation) {
        let method = method(&head);
        let (answer, body) = answer(&head, &method, violation);
        self.tell(connection, &head, method, violation, body as u64);
        if violation == Violation::HeadTimeout {
            connection.listener.metrics.timed_out(TimeoutReason::Head);
        }
        // One that is slow has sent nothing that is unread, and is worth no more waiting.
        let most = if violation == Violation::HeadTimeout { 0 } else { LINGER_BYTES };
        // Whether the client gets it or not: it is the last that it gets.
        let _ = timeout(LINGER, close(stream, &answer, most)).await;
    }

    fn tell(&self, connection: &Connection, head: &Bytes, method: Method, violation: Violation, body: u64) {
        let listener = &connection.listener;
        listener.metrics.request_refused(violation);
        self.metrics.unrouted().finished(&listener.metrics, &method, violation.status(), Duration::ZERO, 0, body);
        if !self.access_log.is_on() {
            return;
        }
        let peer = connection.peer.map(|peer| peer.ip());
        let claims = headers(head, &[X_FORWARDED_FOR]);
        let mut named = headers(head, &[HOST, USER_AGENT, REFERER]);
        self.access_log.write(Summary {
            time: SystemTime::now(),
            client: ClientAddress::find(peer, connection.tls.is_some(), &claims, &listener.trusted_proxies).client,
            listener: Arc::clone(&listener.name),
            method,
            host: named.remove(HOST),
            target: target(head),
            protocol: strictness::version(head),
            status: violation.status(),
            request_bytes: 0,
            response_bytes: body,
            duration: Duration::ZERO,
            route: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            retry: None,
            retry_skipped: None,
            failure: Some(violation.label()),
            upstream_connect: None,
            upstream_first_byte: None,
            upstream_duration: None,
            session: None,
            session_hash: None,
            sticky: None,
            user_agent: named.remove(USER_AGENT),
            referer: named.remove(REFERER),
            request_id: None,
        });
    }
}

/// Writes the answer, and throws away so many bytes that still come.
async fn close(mut stream: Stream, answer: &[u8], mut left: usize) {
    if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    // Ends our side only: the client reads an end behind its answer.
    let _ = AsyncWriteExt::shutdown(&mut stream).await;
    let mut rest = BytesMut::with_capacity(4096);
    while left > 0 {
        rest.clear();
        match stream.read_buf(&mut rest).await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
    }
}

/// The whole answer, and the length of its body.
fn answer(head: &[u8], method: &Method, violation: Violation) -> (Vec<u8>, usize) {
    let failure = Failure::Refused(violation);
    let (kind, body) = failure.body(&headers(head, &[ACCEPT]));
    let status = failure.status();
    let title = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("Error");
    let date = httpdate::fmt_http_date(SystemTime::now());
    let allow = if violation == Violation::Method { format!("allow: {ALLOW}\r\n") } else { String::new() };
    let length = body.len();
    let mut answer = format!(
        "HTTP/1.1 {status} {title}\r\ndate: {date}\r\ncontent-type: {kind}\r\ncache-control: no-store\r\n\
         content-length: {length}\r\n{allow}connection: close\r\n\r\n"
    )
    .into_bytes();
    let sent = if *method == Method::HEAD { 0 } else { length };
    answer.extend_from_slice(&body[..sent]);
    (answer, sent)
}

/// The first of each of these fields, where it can be read.
fn headers(head: &[u8], names: &[HeaderName]) -> HeaderMap {
    let value = |name: &HeaderName| HeaderValue::from_bytes(strictness::field(head, name.as_str())?).ok();
    names.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

/// The first line that is not empty.
fn line(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default()
}

/// The method that the head names; `-` where that is none.
fn method(head: &[u8]) -> Method {
    let word = line(head).split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let none = Method::from_bytes(b"-").unwrap_or_default();
    // The longest registered one has 17 letters.
    if word.len() > 32 { none } else { Method::from_bytes(word).unwrap_or(none) }
}

/// The target as the client wrote it: what stands between the first space and the last.
fn target(head: &Bytes) -> Bytes {
    let line = line(head).trim_ascii_end();
    let after = line.iter().position(|byte| *byte == b' ').map_or(&[][..], |space| &line[space + 1..]);
    let target = match after.iter().rposition(|byte| *byte == b' ') {
        Some(end) if after[end + 1..].starts_with(b"HTTP/") => &after[..end],
        _ => after,
    };
    head.slice_ref(&target[..target.len().min(LOGGED_TARGET)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_of_a_malformed_head_is_logged() {
        let read = |head: &'static [u8]| {
            let head = Bytes::from_static(head);
            (method(&head).to_string(), target(&head))
        };
        assert_eq!(read(b"GET /a b HTTP/1.1\r\n\r\n"), ("GET".into(), "/a b".into()));
        assert_eq!(read(b"\r\nPOST /a"), ("POST".into(), "/a".into()));
        assert_eq!(read(b"GET\r\n\r\n"), ("GET".into(), "".into()));
        assert_eq!(read(b"\x16\x03\x01"), ("-".into(), "".into()));
        assert_eq!(read(b""), ("-".into(), "".into()));
    }

    #[test]
    fn the_answer_is_what_the_proxy_would_give() {
        let head = b"HEAD / HTTP/1.1\r\naccept: application/json\r\n\r\n";
        let (text, sent) = answer(head, &Method::HEAD, Violation::Method);
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\ndate: "), "{text}");
        assert!(text.contains("\r\nallow: GET, "), "{text}");
        assert!(text.contains("content-type: application/json"), "{text}");
        assert!(text.ends_with("\r\n\r\n") && sent == 0, "{text}");
        let (text, sent) = answer(b"", &Method::GET, Violation::HeadTimeout);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(&format!("content-length: {sent}\r\n")), "{text}");
        assert!(text.ends_with("408 Request Timeout: the request did not arrive in time\n"), "{text}");
    }
}
