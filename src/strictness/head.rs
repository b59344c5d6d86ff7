//! `judge`: a request head of HTTP/1, byte by byte, before anything parses it.
//!
//! Pingora's parser repairs much (bare line feeds, spaces in a target, a length beside an encoding), so only the raw bytes
//! show what the client sent. What passes here Pingora reads the same way; a property test holds that.

use super::Violation;

/// The longest `Content-Length`: 18 digits fit into every party's 64 bits, with or without sign.
const LENGTH_DIGITS: usize = 18;

/// The most options that `Connection` may name: Pingora refuses ten.
const CONNECTION_OPTIONS: usize = 9;

/// How far a head may go.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest target, in bytes.
    pub target_bytes: usize,
    /// The most fields.
    pub headers: usize,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Nothing,
    /// A body of this many bytes; more than none.
    Length(u64),
    /// A chunked body.
    Chunked,
}

/// What the fields say that decide on framing, target and connection.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    host: &'a [u8],
    lengths: usize,
    length: &'a [u8],
    encodings: usize,
    encoding: &'a [u8],
    /// How many options `Connection` names.
    options: usize,
    /// Some `Upgrade` asks for WebSocket.
    websocket: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Version {
    Http10,
    Http11,
}

/// Judges a complete head, its last empty line included, and tells what frames the body.
///
/// # Errors
/// A violation; where there are several, one of them. The request must then be answered and its connection closed, as its
/// framing can't be trusted.
pub fn judge(head: &[u8], bounds: Bounds) -> Result<Framing, Violation> {
    // RFC 9112 section 2.2 lets an empty line stand before the request line.
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut lines = Lines { rest: head };
    let line = lines.next().ok_or(Violation::RequestLine)??;
    let (method, target, version) = request_line(line)?;
    if matches!(method, b"TRACE" | b"TRACK" | b"CONNECT") {
        return Err(Violation::Method);
    }
    if target.len() > bounds.target_bytes {
        return Err(Violation::TargetTooLong);
    }
    let authority = authority(target)?;

    let mut fields = Fields::default();
    let mut count = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > bounds.headers {
            return Err(Violation::TooManyHeaders);
        }
        let (name, value) = header_line(line)?;
        fields.take(name, value)?;
    }
    if fields.hosts > 1 {
        return Err(Violation::TwoHosts);
    }
    if fields.host.is_empty() && (fields.hosts == 1 || version == Version::Http11) {
        return Err(Violation::NoHost);
    }
    if !is_authority(fields.host) {
        return Err(Violation::BadHost);
    }
    if authority.is_some_and(|authority| fields.hosts == 1 && fields.host != authority) {
        return Err(Violation::HostMismatch);
    }
    let framing = fields.framing(version)?;
    if fields.websocket && version == Version::Http11 && (framing != Framing::Nothing || method != b"GET") {
        return Err(Violation::UpgradeWithBody);
    }
    Ok(framing)
}

/// Looks at the beginning of a head that has not come to its end.
///
/// # Errors
/// It can't become a request line any more: what speaks another protocol, such as TLS, is told at once.
pub fn begins(head: &[u8]) -> Result<(), Violation> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    match head {
        [] | [b'\r'] => Ok(()),
        [b'\n', ..] => Err(Violation::BareLineFeed),
        [first, ..] if is(*first, TOKEN) => Ok(()),
        _ => Err(Violation::RequestLine),
    }
}

/// What is too long about a head that goes beyond what one may have.
pub fn too_large(head: &[u8], bounds: Bounds) -> Violation {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if target.len() > bounds.target_bytes { Violation::TargetTooLong } else { Violation::HeadTooLarge }
}

/// The value of a head's first field of this name (in lower case), for a log line about a head that may be malformed.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":").filter(|_| start.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(value.trim_ascii())
    })
}

/// The version that a head names, for a log line about a head that may be malformed.
pub fn version(head: &[u8]) -> http::Version {
    let line = head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    match line.trim_ascii_end().rsplit(|byte| *byte == b' ').next() {
        Some(b"HTTP/1.0") => http::Version::HTTP_10,
        Some(word) if word.starts_with(b"HTTP/") => http::Version::HTTP_11,
        _ => http::Version::HTTP_09,
    }
}

/// The lines of a head, without their ends.
struct Lines<'a> {
    rest: &'a [u8],
}

// === impl Lines ===

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = rest;
        Some(line.strip_suffix(b"\r").ok_or(Violation::BareLineFeed))
    }
}

fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), Violation> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Violation::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|&byte| is(byte, TOKEN)) || target.is_empty() {
        return Err(Violation::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Violation::Version);
        }
        _ => return Err(Violation::RequestLine),
    };
    let mut within = PATH;
    for &byte in target {
        if byte == b'?' {
            within = QUERY;
        } else if !is(byte, within) {
            return Err(if byte == b'\r' { Violation::BareCarriageReturn } else { Violation::TargetCharacter });
        }
    }
    Ok((method, target, version))
}

/// The authority of an absolute target; none where it is a path.
fn authority(target: &[u8]) -> Result<Option<&[u8]>, Violation> {
    if target.starts_with(b"/") {
        return Ok(None);
    }
    let after = [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = after.ok_or(Violation::TargetForm)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = &rest[..end];
    // Userinfo, above all, which some take for a part of the host and some don't (RFC 9110 section 4.2.4).
    if authority.is_empty() || !is_authority(authority) {
        return Err(Violation::HostMismatch);
    }
    Ok(Some(authority))
}

/// Whether there is nothing in it that no host or port has; the router looks at it closely.
fn is_authority(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']'))
}

/// A line's name and value, the value without the white space around it.
pub(super) fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    if let [b' ' | b'\t', ..] = line {
        return Err(Violation::FoldedLine);
    }
    let colon = memchr::memchr(b':', line).ok_or(Violation::HeaderName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|&byte| is(byte, TOKEN)) {
        let spaced = matches!(name, [.., b' ' | b'\t']);
        return Err(if spaced { Violation::SpaceBeforeColon } else { Violation::HeaderName });
    }
    if let Some(&byte) = value.iter().find(|&&byte| !is(byte, VALUE)) {
        return Err(if byte == b'\r' { Violation::BareCarriageReturn } else { Violation::ControlCharacter });
    }
    Ok((name, value.trim_ascii()))
}

/// The members of a list in a field's value.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn take(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Violation> {
        // By length first: nearly every name is none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                self.host = value;
            }
            6 if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Violation::Expectation);
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.websocket |= members(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in members(value) {
                    self.options += 1;
                    let token = option.iter().all(|&byte| is(byte, TOKEN));
                    if !token || is_end_to_end(option) || self.options > CONNECTION_OPTIONS {
                        return Err(Violation::Connection);
                    }
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.lengths += 1;
                self.length = value;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.encodings += 1;
                self.encoding = value;
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Violation> {
        if self.encodings > 0 && self.lengths > 0 {
            return Err(Violation::TwoFramings);
        }
        if self.encodings > 0 {
            let one = self.encodings == 1 && self.encoding.eq_ignore_ascii_case(b"chunked");
            return if one && version == Version::Http11 {
                Ok(Framing::Chunked)
            } else {
                Err(Violation::TransferEncoding)
            };
        }
        if self.lengths == 0 {
            return Ok(Framing::Nothing);
        }
        let digits = self.length.iter().all(u8::is_ascii_digit) && (1..=LENGTH_DIGITS).contains(&self.length.len());
        if self.lengths > 1 || !digits {
            return Err(Violation::ContentLength);
        }
        let length = self.length.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0'));
        Ok(if length == 0 { Framing::Nothing } else { Framing::Length(length) })
    }
}

/// Fields that are meant for all recipients: a client that nominates them wants the next hop to take away what a proxy
/// before it, or we, tell the application. Any other nominated field is taken out, as the RFC has it.
fn is_end_to_end(option: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"accept",
        b"accept-encoding",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"forwarded",
        b"host",
        b"max-forwards",
        b"origin",
        b"pragma",
        b"range",
        b"referer",
        b"transfer-encoding",
        b"user-agent",
        b"via",
        b"x-real-ip",
        b"x-request-id",
    ];
    const CLAIMS: &[u8] = b"x-forwarded";
    let claims = option.get(..CLAIMS.len()).is_some_and(|start| start.eq_ignore_ascii_case(CLAIMS));
    claims || NAMES.iter().any(|name| name.eq_ignore_ascii_case(option))
}

/// A byte of a token (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// A byte of a target before its `?`: those of RFC 3986, and those that clients send as they are and the path's normal form
/// escapes.
const PATH: u8 = 2;
/// A byte of a target after its `?`.
const QUERY: u8 = 4;
/// A byte of a field's value.
const VALUE: u8 = 8;

/// What each byte may be: every byte of every request is looked up here.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let letter = (byte as u8).is_ascii_alphanumeric();
        let token = letter
            || matches!(
                byte as u8,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        let target = byte > 0x20 && byte < 0x7f && !matches!(byte as u8, b'#' | b'<' | b'>');
        let value = byte == b'\t' as usize || (byte >= 0x20 && byte != 0x7f);
        classes[byte] = (token as u8 * TOKEN)
            | ((target && byte != b'`' as usize) as u8 * PATH)
            | ((target && byte != b'"' as usize) as u8 * QUERY)
            | (value as u8 * VALUE);
        byte += 1;
    }
    classes
};

pub(super) const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

pub(super) const fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

pub(super) const fn is_value(byte: u8) -> bool {
    is(byte, VALUE)
}

#[cfg(test)]
mod tests {
    use pingora::protocols::http::ServerSession;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    const BOUNDS: Bounds = Bounds { target_bytes: 100, headers: 8 };

    fn verdict(head: &[u8]) -> Result<Framing, Violation> {
        judge(head, BOUNDS)
    }

    /// A GET of HTTP/1.1 with these lines, and a `Host` before them.
    fn with(lines: &str) -> Result<Framing, Violation> {
        verdict(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
    }

    #[track_caller]
    fn all_refused<S: AsRef<[u8]>>(violation: Violation, heads: impl IntoIterator<Item = S>) {
        for head in heads {
            let head = head.as_ref();
            assert_eq!(verdict(head), Err(violation), "{:?}", String::from_utf8_lossy(head));
        }
    }

    fn requests(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| format!("{line}\r\nHost: a\r\n\r\n")).collect()
    }

    #[test]
    fn a_plain_request_passes_and_tells_its_framing() {
        assert_eq!(verdict(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Nothing));
        assert_eq!(verdict(b"\r\nGET /?a=%zz&b={\"} HTTP/1.0\r\n\r\n"), Err(Violation::TargetCharacter));
        assert_eq!(verdict(b"\r\nGET /\"{}[]|^?a=%zz&b={}[]|^` HTTP/1.0\r\n\r\n"), Ok(Framing::Nothing));
        assert_eq!(with("Content-Length: 0\r\n"), Ok(Framing::Nothing));
        assert_eq!(with("content-length:\t12 \r\nX: \x7e\u{e9}\t\r\nEmpty:\r\n"), Ok(Framing::Length(12)));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(with("Expect: 100-Continue\r\nConnection: close, X-Mine\r\n"), Ok(Framing::Nothing));
        assert_eq!(with("Connection: upgrade\r\nUpgrade: websocket\r\n"), Ok(Framing::Nothing));
        assert_eq!(with("Upgrade: h2c\r\nContent-Length: 1\r\n"), Ok(Framing::Length(1)));
    }

    #[test]
    fn a_request_line_is_three_words_with_one_space_between() {
        let lines = [
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            "GET /",
            "GET",
            "",
            "GET HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GET / HTTP1.1",
            "GET / XTTP/1.1",
            "GET / ",
            "GET /a b HTTP/1.1",
            "G{}T / HTTP/1.1",
            "GET: / HTTP/1.1",
            "HTTP/1.1 200 OK",
        ];
        all_refused(Violation::RequestLine, requests(&lines));
        all_refused(Violation::RequestLine, ["\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "", "\r\n"]);
        let versions = ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET / HTTP/0.9", "PRI * HTTP/2.0"];
        all_refused(Violation::Version, requests(&versions));
        let methods = ["TRACE / HTTP/1.1", "TRACK / HTTP/1.1", "CONNECT a:443 HTTP/1.1"];
        all_refused(Violation::Method, requests(&methods));
    }

    #[test]
    fn a_target_is_a_path_or_an_absolute_uri_in_printable_ascii() {
        let characters = ["/a\tb", "/\u{1}", "/\u{7f}", "/é", "/#", "/a?b#c", "/<", "/?a\"", "/?>", "/`"];
        for target in characters {
            all_refused(Violation::TargetCharacter, requests(&[&format!("GET {target} HTTP/1.1")]));
        }
        for target in ["x", "*", "a:80", "ftp://a/", "http:/a", "http:a", "://a/", "ws://a/", "?a"] {
            all_refused(Violation::TargetForm, requests(&[&format!("GET {target} HTTP/1.1")]));
        }
        for target in
            ["http://b/", "http://A/", "http://user@a/", "http:///", "http://", "http://a\\b/", "http://a:80/"]
        {
            all_refused(Violation::HostMismatch, requests(&[&format!("GET {target} HTTP/1.1")]));
        }
        assert_eq!(verdict(b"GET HTTP://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Nothing));
        assert_eq!(verdict(b"GET http://a?y HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Nothing));
        let long = format!("GET /{} HTTP/1.1", "a".repeat(100));
        all_refused(Violation::TargetTooLong, requests(&[&long]));
        assert_eq!(too_large(long.as_bytes(), BOUNDS), Violation::TargetTooLong);
        assert_eq!(too_large(b"GET / HTTP/1.1\r\nX: ", BOUNDS), Violation::HeadTooLarge);
    }

    #[test]
    fn lines_end_in_cr_lf_and_no_byte_of_another_meaning_stands_in_them() {
        all_refused(
            Violation::BareLineFeed,
            [
                "GET / HTTP/1.1\nHost: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n\n",
                "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
        );
        all_refused(
            Violation::BareCarriageReturn,
            [
                "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
                "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
        );
        assert_eq!(with("X: a\0b\r\n"), Err(Violation::ControlCharacter));
        assert_eq!(with("X: a\u{b}\r\n"), Err(Violation::ControlCharacter));
        assert_eq!(with("X: a\u{7f}\r\n"), Err(Violation::ControlCharacter));
        assert_eq!(with("X: a\r\n b\r\n"), Err(Violation::FoldedLine));
        assert_eq!(with("\tX: a\r\n"), Err(Violation::FoldedLine));
        assert_eq!(with("X : a\r\n"), Err(Violation::SpaceBeforeColon));
        assert_eq!(with("X\t: a\r\n"), Err(Violation::SpaceBeforeColon));
        for line in ["X", ": a", "X(): a", "X Y: a", "\"X\": a", "X\0: a", "é: a"] {
            assert_eq!(with(&format!("{line}\r\n")), Err(Violation::HeaderName), "{line}");
        }
        assert_eq!(with(&"X: a\r\n".repeat(7)), Ok(Framing::Nothing));
        assert_eq!(with(&"X: a\r\n".repeat(8)), Err(Violation::TooManyHeaders));
    }

    #[test]
    fn a_body_is_framed_once_and_plainly() {
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(with(both), Err(Violation::TwoFramings));
        for coding in
            ["gzip, chunked", "chunked, chunked", "xchunked", "identity", "", ",chunked", "\"chunked\"", "chunked;a"]
        {
            assert_eq!(with(&format!("Transfer-Encoding: {coding}\r\n")), Err(Violation::TransferEncoding), "{coding}");
        }
        assert_eq!(with(&"transfer-encoding: chunked\r\n".repeat(2)), Err(Violation::TransferEncoding));
        all_refused(Violation::TransferEncoding, ["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"]);
        for length in ["+1", "-1", "1, 1", "0x1", "1 1", "1.0", "1234567890123456789", "one", ""] {
            assert_eq!(with(&format!("Content-Length: {length}\r\n")), Err(Violation::ContentLength), "{length}");
        }
        assert_eq!(with(&"content-length: 1\r\n".repeat(2)), Err(Violation::ContentLength));
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n";
        assert_eq!(with(upgrade), Err(Violation::UpgradeWithBody));
    }

    #[test]
    fn there_is_one_host_and_connection_takes_nothing_from_the_application() {
        all_refused(Violation::NoHost, ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n"]);
        all_refused(Violation::NoHost, ["GET / HTTP/1.0\r\nHost:\r\n\r\n"]);
        assert_eq!(with("Host: a\r\n"), Err(Violation::TwoHosts));
        for option in
            ["Host", "x-forwarded-for", "X-Forwarded-User", "close, Authorization", "cookie", "a b", "\"close\""]
        {
            assert_eq!(with(&format!("Connection: {option}\r\n")), Err(Violation::Connection), "{option}");
        }
        assert_eq!(with("Connection: a,b,c,d,e,f,g,h,i\r\n"), Ok(Framing::Nothing));
        assert_eq!(with("Connection: a,b,c,d,e,f,g,h,i,j\r\n"), Err(Violation::Connection));
        assert_eq!(with("Expect: 200-ok\r\n"), Err(Violation::Expectation));
    }

    /// Reads `bytes` as Pingora does, whose session needs a runtime.
    fn pingora(bytes: &[u8]) -> Option<ServerSession> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(64 << 10);
            client.write_all(bytes).await.unwrap();
            drop(client);
            let mut session = ServerSession::new_http1(Box::new(server));
            matches!(session.read_request().await, Ok(true)).then_some(session)
        })
    }

    /// Something like a head: pieces that mean something to a parser, and any byte now and then.
    fn heads() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "GET",
            "POST",
            "/",
            "/a",
            "http://a",
            "*",
            " ",
            "  ",
            "\t",
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            ":",
            ": ",
            ",",
            "a",
            "x-y",
            "?",
            "#",
            "\"",
            "<",
            "`",
            "%",
            "\\",
            "@",
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/2.0",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "Expect",
            "chunked",
            "gzip",
            "close",
            "websocket",
            "100-continue",
            "0",
            "5",
            "+",
            "\0",
            "\u{7f}",
        ];
        let piece = prop_oneof![
            12 => proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        let junk = proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
        let line = (
            proptest::sample::select(vec!["Host: a", "X: 1", "Content-Length: 5", "Transfer-Encoding: chunked", ""]),
            junk,
        )
            .prop_map(|(line, junk)| [line.as_bytes(), &junk, b"\r\n"].concat());
        let first = (junk_between("GET"), junk_between("/a"), junk_between("HTTP/1.1"));
        (first, proptest::collection::vec(line, 0..5)).prop_map(|((method, target, version), lines)| {
            let first = [method, b" ".to_vec(), target, b" ".to_vec(), version, b"\r\n".to_vec()].concat();
            [first, b"Host: a\r\n".to_vec(), lines.concat(), b"\r\n".to_vec()].concat()
        })
    }

    /// A word, now and then with a byte in it that may not belong there.
    fn junk_between(word: &'static str) -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => Just(word.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(move |byte| [word.as_bytes(), &[byte]].concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The head ends where we say, and the method, the target, every field and the framing are the same.
        #[test]
        fn what_passes_is_read_the_same_by_pingora(bytes in heads()) {
            let mut end = 0;
            let empty = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(at) = empty {
                end = at + 4;
            }
            let head = &bytes[..end];
            if let Ok(framing) = judge(head, BOUNDS) {
                let session = pingora(head);
                prop_assert!(session.is_some(), "Pingora refuses {:?}", String::from_utf8_lossy(head));
                let mut session = session.unwrap();
                let line: Vec<&[u8]> = head.split(|byte| *byte == b'\r').next().unwrap().split(|byte| *byte == b' ').collect();
                let request = session.req_header();
                prop_assert_eq!(request.method.as_str().as_bytes(), line[0]);
                prop_assert_eq!(request.raw_path(), line[1]);
                let mut ours: Vec<(String, Vec<u8>)> = Vec::new();
                for line in (Lines { rest: head }).skip(1).map(Result::unwrap).filter(|line| !line.is_empty()) {
                    let (name, value) = header_line(line).unwrap();
                    ours.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
                }
                let mut theirs: Vec<(String, Vec<u8>)> =
                    request.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
                ours.sort();
                theirs.sort();
                prop_assert_eq!(ours, theirs);
                prop_assert_eq!(session.is_body_empty(), framing == Framing::Nothing);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (judge(&bytes, BOUNDS), begins(&bytes), field(&bytes, "host"), version(&bytes));
            let _ = super::super::Chunked::default().take(&bytes);
            too_large(&bytes, BOUNDS);
        }
    }
}
