//! gRPC: what is told to a client whose answers are statuses behind a 200 that says nothing.
//!
//! A client of gRPC reads `grpc-status`; what HTTP says beside it only guesses at it. The statuses themselves are chosen in
//! `failure`; here is how one is written, and what one of an endpoint's means.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use pingora::Result;
use pingora_http::ResponseHeader;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The statuses of gRPC that we ever say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The client is gone.
    Cancelled = 1,
    /// Nothing better is known.
    Unknown = 2,
    /// It took longer than it may.
    DeadlineExceeded = 4,
    /// The session that there is does not suffice.
    PermissionDenied = 7,
    /// Something is larger than it may be.
    ResourceExhausted = 8,
    /// There is nobody for this method.
    Unimplemented = 12,
    /// A fault of ours, or of the client's HTTP.
    Internal = 13,
    /// Not now; another try may do better.
    Unavailable = 14,
    /// A session is needed.
    Unauthenticated = 16,
}

// === impl Code ===

impl Code {
    /// What a status of HTTP means, where nothing else is known: gRPC's own table, and for what that leaves out the nearest.
    pub fn of_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            413 | 431 => Self::ResourceExhausted,
            429 | 502..=504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

/// Whether a request is one of gRPC. Those of gRPC-Web are not: its clients read the status of HTTP.
pub fn is_request(headers: &HeaderMap) -> bool {
    const KIND: &[u8] = b"application/grpc";
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let (start, rest) = kind.split_at(KIND.len().min(kind.len()));
    start.eq_ignore_ascii_case(KIND) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Makes an answer of ours one that gRPC understands: a head that is all there is, with the status in it.
///
/// # Errors
/// None in practice: every value written is a valid header value.
pub fn tell(head: &mut ResponseHeader, code: Code, message: &str) -> Result<()> {
    head.set_status(200)?;
    head.remove_header(&CONTENT_LENGTH);
    head.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
    head.insert_header(GRPC_STATUS, code as u16)?;
    head.insert_header(GRPC_MESSAGE, encoded(message))
}

/// A message as it is written into its field: what is no visible ASCII, and the escape itself, by percent.
fn encoded(message: &str) -> String {
    const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');
    percent_encoding::utf8_percent_encode(message, ESCAPED).to_string()
}

/// The status that an endpoint's answer counts as: 503 where it has no more to say than that it is UNAVAILABLE. The status of
/// an answer with a body comes behind it, when it is too late for anything.
pub fn counts_as(head: &ResponseHeader) -> u16 {
    match head.headers.get(GRPC_STATUS) {
        Some(status) if status == "14" => 503,
        Some(_) | None => head.status.as_u16(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_of_grpc_by_its_content_type_alone() {
        let is =
            |kind: &'static str| is_request(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]));
        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC;charset=x", "application/grpc ;a"]
        {
            assert!(is(kind), "{kind}");
        }
        for kind in
            ["application/grpc-web", "application/grpc-web+proto", "application/grp", "text/application/grpc", ""]
        {
            assert!(!is(kind), "{kind}");
        }
        assert!(!is_request(&HeaderMap::new()));
    }

    #[test]
    fn an_answer_becomes_a_head_that_is_all_there_is() {
        let mut head = ResponseHeader::build(503, None).unwrap();
        head.insert_header(CONTENT_LENGTH, 5).unwrap();
        tell(&mut head, Code::Unavailable, "100% dünn").unwrap();
        let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((head.status.as_u16(), field("content-length")), (200, None));
        assert_eq!((field("grpc-status"), field("grpc-message")), (Some("14"), Some("100%25 d%C3%BCnn")));
        assert_eq!(counts_as(&head), 503);
    }
}
