//! WHAT WE REFUSE: the rules of HTTP that a request is held to, all of them, each with its section of the RFCs.
//!
//! A message that two parties could read differently is refused, never repaired: the endpoint behind us must not be able
//! to see another request than the one we judged. A leaf: `head` and `chunked` judge bytes as they came, before
//! anything parses them; whoever finds a fault elsewhere (the proxy in a host or path, the connection in its clock)
//! names it by the same [`Violation`], so that every refusal is answered, logged and counted alike.

mod chunked;
mod head;
pub mod http2;

pub use chunked::Chunked;
pub use head::{Bounds, Framing, begins, field, judge, too_large, version};

/// Writes the enum, its labels, statuses and sentences as one table.
macro_rules! violations {
    ($($(#[$doc:meta])* $variant:ident = $label:literal, $status:literal, $sentence:literal;)+) => {
        /// Why a request is refused. Its text goes to the client and to the log: it never repeats what the client sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Violation { $($(#[$doc])* $variant),+ }

        impl Violation {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for labels and logs.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// The status that the client is told.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The sentence for the client.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence),+ }
            }
        }
    };
}

violations! {
    /// The request line is not exactly `method SP target SP HTTP/1.x`, a space in the target included (RFC 9112 section 3); HTTP/0.9, a TLS handshake and
    /// every other protocol end here too.
    RequestLine = "request_line", 400, "the request line must be method, target and version, each parted by one space";
    /// A version of HTTP that is neither 1.0 nor 1.1 nor spoken by the connection (RFC 9110 sections 2.5 and 15.6.6).
    Version = "version", 505, "only HTTP/1.0 and HTTP/1.1 are spoken here";
    /// TRACE and TRACK, which echo what a browser must not see, and CONNECT: this is no forward proxy (RFC 9110 sections
    /// 9.3.6 and 9.3.8).
    Method = "method", 405, "this method is not allowed";
    /// A control character or a byte outside ASCII in the target, a `#`, or one of ``"<>` `` where no URI has it
    /// (RFC 9112 section 3.2, RFC 3986 section 2).
    TargetCharacter = "target_character", 400, "the request target holds a character that must be encoded";
    /// The target is neither a path nor an absolute `http` URI (RFC 9112 section 3.2).
    TargetForm = "target_form", 400, "the request target must be a path";
    /// The target is longer than `limits.target_bytes` (RFC 9110 section 15.5.15).
    TargetTooLong = "target_too_long", 414, "the request target is too long";
    /// The path has no normal form: a bad escape, an encoded NUL or backslash, a climb above the root (RFC 3986 sections
    /// 2.1 and 6.2.2).
    BadPath = "bad_path", 400, "the path is not valid";
    /// A line of the head ends in LF alone (RFC 9112 section 2.2 lets a recipient take it; two that differ on it
    /// disagree on where a header ends).
    BareLineFeed = "bare_line_feed", 400, "a header line must end in CR LF";
    /// A CR that no LF follows (RFC 9112 section 2.2).
    BareCarriageReturn = "bare_carriage_return", 400, "a CR must be followed by a LF";
    /// A line that begins with a space or tab, which once continued the line before (RFC 9112 section 5.2).
    FoldedLine = "folded_line", 400, "a header must stand on one line";
    /// A line without colon, a name that is empty or no token (RFC 9112 section 5, RFC 9110 section 5.6.2).
    HeaderName = "header_name", 400, "a header name is not valid";
    /// A space or tab between name and colon (RFC 9112 section 5.1).
    SpaceBeforeColon = "space_before_colon", 400, "there must be no space between a header name and its colon";
    /// A NUL or another control character in a value (RFC 9110 section 5.5).
    ControlCharacter = "control_character", 400, "a header value holds a control character";
    /// A name that holds `_`, where the listener refuses those: some applications read it as `-` (RFC 3875 section
    /// 4.1.18).
    Underscore = "underscore", 400, "a header name holds an underscore";
    /// The head is longer than `limits.header_bytes` (RFC 6585 section 5).
    HeadTooLarge = "head_too_large", 431, "the request head is too large";
    /// The head has more fields than `limits.headers` (RFC 6585 section 5).
    TooManyHeaders = "too_many_headers", 431, "the request has too many headers";
    /// No `Host` in HTTP/1.1, or an empty one; no authority in HTTP/2 (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
    NoHost = "no_host", 400, "this request needs a Host header";
    /// More than one `Host` (RFC 9112 section 3.2).
    TwoHosts = "two_hosts", 400, "there must be one Host header";
    /// `Host` is not a host name or address with an optional port (RFC 9110 section 7.2).
    BadHost = "bad_host", 400, "the Host header is not a valid host";
    /// `Host` is not what the target or `:authority` names (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1).
    HostMismatch = "host_mismatch", 400, "the Host header disagrees with the request target";
    /// Both `Content-Length` and `Transfer-Encoding` frame the body (RFC 9112 section 6.1).
    TwoFramings = "two_framings", 400, "Content-Length and Transfer-Encoding exclude each other";
    /// `Transfer-Encoding` is something else than one `chunked`, or stands in HTTP/1.0 (RFC 9112 sections 6.1 and 7).
    TransferEncoding = "transfer_encoding", 400, "the only Transfer-Encoding accepted is chunked";
    /// More than one `Content-Length`, equal or not, or one that is no plain number (RFC 9110 section 8.6, RFC 9112
    /// section 6.3).
    ContentLength = "content_length", 400, "there must be one Content-Length, a plain number";
    /// `Connection` names a header that is meant for the endpoint, or what is no name (RFC 9110 section 7.6.1).
    Connection = "connection", 400, "Connection must not name a header that is meant for the application";
    /// An upgrade to WebSocket with a body, whose end each side could see elsewhere (RFC 6455 section 4.1).
    UpgradeWithBody = "upgrade_with_body", 400, "an upgrade to WebSocket must be a GET without a body";
    /// `Expect` wants something else than `100-continue` (RFC 9110 section 10.1.1).
    Expectation = "expectation", 417, "the only expectation met here is 100-continue";
    /// A chunk's size is no hexadecimal number of up to 16 digits, its extension no list of names and values or too long,
    /// or its data does not end in CR LF where the size says so (RFC 9112 section 7.1).
    Chunk = "chunk", 400, "the chunked body is not valid";
    /// A trailer that is no header line, too long, or one that must not stand there: framing, routing, authentication
    /// (RFC 9110 section 6.5.1).
    Trailer = "trailer", 400, "a trailer of the body is not valid or not allowed there";
    /// A body that is not what its frames or its length say, in HTTP/2 (RFC 9113 section 8.1.1).
    BodyFraming = "body_framing", 400, "the body is not as long as it says";
    /// The body is longer than `limits.body` (RFC 9110 section 15.5.14).
    BodyTooLarge = "body_too_large", 413, "the request body is too large";
    /// The head did not arrive within `limits.header_timeout` (RFC 9110 section 15.5.9).
    HeadTimeout = "head_timeout", 408, "the request did not arrive in time";
    /// No byte of the body arrived for `limits.body_timeout` (RFC 9110 section 15.5.9).
    BodyTimeout = "body_timeout", 408, "the request did not arrive in time";
    /// The body arrives at less than `limits.min_rate` (RFC 9110 section 15.5.9).
    BodyTooSlow = "body_too_slow", 408, "the request arrives too slowly";
    /// The client takes its response at less than `limits.min_rate`, or took nothing of it for the route's idle time.
    /// It has a part of an answer already, and is told nothing.
    ReaderTooSlow = "reader_too_slow", 408, "the response is taken too slowly";
    /// A pseudo-header of HTTP/2 that is missing, doubled, unknown or out of place, a name in upper case, a field that
    /// belongs to an HTTP/1 connection (RFC 9113 sections 8.2 and 8.3).
    Http2Field = "http2_field", 400, "the request's header fields are not valid in HTTP/2";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_every_violation_blames_the_client() {
        let mut labels: Vec<_> = Violation::ALL.iter().map(|violation| violation.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Violation::ALL.len());
        for violation in Violation::ALL {
            let status = violation.status();
            assert!((400..500).contains(&status) || status == 505, "{violation:?}");
            assert!(!violation.sentence().contains(['"', '\\']), "goes into JSON as it is");
        }
    }
}
