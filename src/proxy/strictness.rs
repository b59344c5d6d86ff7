//! What we refuse that Pingora lets pass.
//!
//! The first thing the proxy asks of a request head. A message whose framing or target two parties could read differently is
//! refused, never repaired: the endpoint behind us must not be able to see another request than the one we judged
//! (RFC 9112 sections 3.2, 6.1, 6.3 and 11.2).

use http::header::{CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use http::{Method, Version};
use pingora_http::RequestHeader;

use crate::listener::Underscores;

/// Why a request head is refused. Its text goes to the client and to the log: it never repeats what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A line of the head ends in LF alone.
    BareLineFeed,
    /// The request line is not exactly `method SP target SP version`.
    RequestLine,
    /// Both `Content-Length` and `Transfer-Encoding` frame the body.
    TwoFramings,
    /// `Transfer-Encoding` is something else than one `chunked`.
    TransferEncoding,
    /// More than one `Content-Length`, equal or not, or one that is no plain number.
    ContentLength,
    /// HTTP/1.1 without a `Host`, or with an empty one.
    NoHost,
    /// `Host` is not a host name or address with an optional port, or disagrees with the request target.
    BadHost,
    /// The target is neither a path nor an absolute URI.
    TargetForm,
    /// The path has no normal form: a bad escape, an encoded NUL or backslash, a climb above the root.
    BadPath,
    /// A header value holds a control character.
    ControlCharacter,
    /// A header name holds `_` and the listener refuses those.
    Underscore,
    /// TRACE or TRACK, which echo what a browser must not see.
    Method,
}

// === impl Violation ===

impl Violation {
    /// The sentence for the client.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a header line must end in CR LF",
            Self::RequestLine => "the request line must be method, target and version, each parted by one space",
            Self::TwoFramings => "Content-Length and Transfer-Encoding exclude each other",
            Self::TransferEncoding => "the only Transfer-Encoding accepted is chunked",
            Self::ContentLength => "there must be one Content-Length, a plain number",
            Self::NoHost => "this request needs a Host header",
            Self::BadHost => "the Host header is not a valid host, or disagrees with the request target",
            Self::TargetForm => "the request target must be a path",
            Self::BadPath => "the path is not valid",
            Self::ControlCharacter => "a header value holds a control character",
            Self::Underscore => "a header name holds an underscore",
            Self::Method => "this method is not allowed",
        }
    }
}

/// Judges a request head and removes what the listener wants dropped.
///
/// Called once per request, before anything else looks at it. `raw` is the head as it came over an HTTP/1 connection;
/// Pingora's parser repairs bare line feeds and stray spaces, so only the raw bytes still show them.
///
/// # Errors
/// The first violation found; the request must then be answered and the connection closed, as its framing cannot be trusted.
pub fn check(request: &mut RequestHeader, raw: Option<&[u8]>, underscores: Underscores) -> Result<(), Violation> {
    if let Some(raw) = raw {
        check_lines(raw)?;
    }
    if request.method == Method::TRACE || request.method.as_str() == "TRACK" {
        return Err(Violation::Method);
    }
    check_framing(request)?;
    // Pingora leaves the length out where there is an encoding too.
    if request.headers.contains_key(TRANSFER_ENCODING) && raw.is_some_and(names_length) {
        return Err(Violation::TwoFramings);
    }
    check_host(request)?;
    check_fields(request, underscores)
}

fn check_lines(raw: &[u8]) -> Result<(), Violation> {
    let mut previous = 0;
    let mut first_line = None;
    for (at, &byte) in raw.iter().enumerate() {
        if byte == b'\n' {
            if previous != b'\r' {
                return Err(Violation::BareLineFeed);
            }
            // RFC 9112 section 2.2 lets empty lines stand before the request line.
            if first_line.is_none() && at > 1 {
                first_line = Some(&raw[..at - 1]);
            }
        }
        previous = byte;
    }
    let line = first_line.unwrap_or(raw);
    let line = line.strip_prefix(b"\r\n").unwrap_or(line);
    let mut gaps = line.iter().filter(|byte| byte.is_ascii_whitespace());
    let two_spaces = gaps.next() == Some(&b' ') && gaps.next() == Some(&b' ') && gaps.next().is_none();
    if !two_spaces {
        return Err(Violation::RequestLine);
    }
    // `#` never belongs into a request target (RFC 9112 section 3.2): Pingora cuts it off with what follows, others don't.
    if line.contains(&b'#') { Err(Violation::BadPath) } else { Ok(()) }
}

/// Whether a line of the head is a Content-Length.
fn names_length(raw: &[u8]) -> bool {
    let name = CONTENT_LENGTH.as_str().as_bytes();
    raw.split(|byte| *byte == b'\n')
        .any(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

fn check_framing(request: &RequestHeader) -> Result<(), Violation> {
    let mut encodings = request.headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(encoding) = encodings.next() {
        if length.is_some() {
            return Err(Violation::TwoFramings);
        }
        let only = encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !only || request.version != Version::HTTP_11 {
            return Err(Violation::TransferEncoding);
        }
    }
    if let Some(length) = length {
        let plain = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !plain || lengths.next().is_some() {
            return Err(Violation::ContentLength);
        }
    }
    Ok(())
}

fn check_host(request: &RequestHeader) -> Result<(), Violation> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Violation::BadHost);
    }
    match host {
        Some(host) if !host.is_empty() => Ok(()),
        Some(_) => Err(Violation::NoHost),
        None if request.version == Version::HTTP_11 => Err(Violation::NoHost),
        None => Ok(()),
    }
}

fn check_fields(request: &mut RequestHeader, underscores: Underscores) -> Result<(), Violation> {
    let mut dropped: Vec<HeaderName> = Vec::new();
    for (name, value) in &request.headers {
        if value.as_bytes().iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return Err(Violation::ControlCharacter);
        }
        if underscores != Underscores::Keep && name.as_str().contains('_') {
            match underscores {
                Underscores::Refuse => return Err(Violation::Underscore),
                Underscores::Drop | Underscores::Keep => dropped.push(name.clone()),
            }
        }
    }
    for name in dropped {
        request.remove_header(&name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/", None).unwrap();
        request.set_version(version);
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn verdict(headers: &[(&'static str, &'static str)]) -> Result<(), Violation> {
        check(&mut head(Version::HTTP_11, headers), None, Underscores::Drop)
    }

    #[test]
    fn a_body_framed_twice_or_oddly_is_refused() {
        type Case = (&'static [(&'static str, &'static str)], Result<(), Violation>);
        let cases: [Case; 9] = [
            (&[("host", "a")], Ok(())),
            (&[("host", "a"), ("content-length", "3")], Ok(())),
            (&[("host", "a"), ("transfer-encoding", "Chunked")], Ok(())),
            (&[("host", "a"), ("content-length", "3"), ("transfer-encoding", "chunked")], Err(Violation::TwoFramings)),
            (&[("host", "a"), ("transfer-encoding", "gzip, chunked")], Err(Violation::TransferEncoding)),
            (
                &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                Err(Violation::TransferEncoding),
            ),
            (&[("host", "a"), ("content-length", "3"), ("content-length", "3")], Err(Violation::ContentLength)),
            (&[("host", "a"), ("content-length", "2, 2")], Err(Violation::ContentLength)),
            (&[("host", "a"), ("content-length", "+2")], Err(Violation::ContentLength)),
        ];
        for (headers, expected) in cases {
            assert_eq!(verdict(headers), expected, "{headers:?}");
        }
        let mut old = head(Version::HTTP_10, &[("transfer-encoding", "chunked")]);
        assert_eq!(check(&mut old, None, Underscores::Drop), Err(Violation::TransferEncoding));
    }

    #[test]
    fn http_1_1_needs_exactly_one_host_that_is_not_empty() {
        assert_eq!(verdict(&[]), Err(Violation::NoHost));
        assert_eq!(verdict(&[("host", "")]), Err(Violation::NoHost));
        assert_eq!(verdict(&[("host", "a"), ("host", "a")]), Err(Violation::BadHost));
        assert_eq!(check(&mut head(Version::HTTP_10, &[]), None, Underscores::Drop), Ok(()));
    }

    #[test]
    fn underscored_names_are_dropped_refused_or_kept_as_told() {
        let fields = [("host", "a"), ("x_user", "root"), ("x-user", "me")];
        let mut request = head(Version::HTTP_11, &fields);
        assert_eq!(check(&mut request, None, Underscores::Drop), Ok(()));
        assert!(!request.headers.contains_key("x_user"));
        assert!(request.headers.contains_key("x-user"));
        let mut request = head(Version::HTTP_11, &fields);
        assert_eq!(check(&mut request, None, Underscores::Refuse), Err(Violation::Underscore));
        assert_eq!(check(&mut request, None, Underscores::Keep), Ok(()));
        assert!(request.headers.contains_key("x_user"));
    }

    #[test]
    fn the_raw_head_shows_what_the_parser_repaired() {
        let check_raw = |raw: &[u8]| check(&mut head(Version::HTTP_11, &[("host", "a")]), Some(raw), Underscores::Drop);
        assert_eq!(check_raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
        assert_eq!(check_raw(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
        assert_eq!(check_raw(b"GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Violation::BareLineFeed));
        assert_eq!(check_raw(b"GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Violation::BareLineFeed));
        assert_eq!(check_raw(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Violation::RequestLine));
        assert_eq!(check_raw(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Violation::RequestLine));
        assert_eq!(check_raw(b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Violation::BadPath));
        assert_eq!(check_raw(b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Violation::RequestLine));
    }

    #[test]
    fn a_length_that_the_parser_left_out_is_still_seen() {
        let chunked = [("host", "a"), ("transfer-encoding", "chunked")];
        let check_raw = |raw: &[u8]| check(&mut head(Version::HTTP_11, &chunked), Some(raw), Underscores::Drop);
        let with = |line: &str| check_raw(format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n").as_bytes());
        assert_eq!(with("CONTENT-length: 3"), Err(Violation::TwoFramings));
        assert_eq!(with("X-Content-Length: 3"), Ok(()));
    }

    #[test]
    fn trace_is_refused() {
        let mut request = head(Version::HTTP_11, &[("host", "a")]);
        request.set_method(Method::TRACE);
        assert_eq!(check(&mut request, None, Underscores::Drop), Err(Violation::Method));
    }
}
