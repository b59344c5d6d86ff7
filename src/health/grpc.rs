//! gRPC's own health service, asked once: `grpc.health.v1.Health/Check`.
//!
//! Its two messages have one field each, so they are written and read here by hand.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pingora::protocols::Stream;

use super::http2;
use super::probe::Fault;

/// What a `grpc` probe asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcProbe {
    /// The service; empty for the server as a whole.
    pub service: String,
    /// The authority; none: the endpoint's own address.
    pub host: Option<String>,
}

/// The path of the method.
pub(super) const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The answer's own words, by their numbers.
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;

// === impl GrpcProbe ===

impl GrpcProbe {
    /// Asks on a connection that nobody else uses.
    pub(super) async fn check(&self, stream: Stream, uri: Uri) -> Result<(), Fault> {
        let fields =
            [(CONTENT_TYPE, HeaderValue::from_static("application/grpc")), (TE, HeaderValue::from_static("trailers"))];
        let body = Some(request(&self.service));
        let answer = http2::ask(stream, http2::Request { method: Method::POST, uri, fields: &fields, body }).await?;
        if answer.status != 200 {
            return Err(refused(format!("status {}, no answer in gRPC", answer.status)));
        }
        let head = status(&answer.head)?;
        let rest = answer.rest().await?;
        match head.or(status(&rest.trailers)?) {
            Some(0) => {}
            Some(5) => return Err(refused(format!("it knows no service `{}` (NOT_FOUND)", self.service))),
            Some(12) => return Err(refused("it has no health service (UNIMPLEMENTED)".to_owned())),
            Some(other) => return Err(refused(format!("grpc-status {other}"))),
            None => return Err(refused("an answer without `grpc-status`".to_owned())),
        }
        match state(&rest.body) {
            Some(SERVING) => Ok(()),
            Some(state) => {
                let word = usize::try_from(state).ok().and_then(|state| STATES.get(state));
                Err(refused(word.map_or_else(|| format!("state {state}"), |word| (*word).to_owned())))
            }
            None => Err(refused("an answer that is none of `grpc.health.v1.Health`".to_owned())),
        }
    }
}

fn refused(reason: String) -> Fault {
    Fault { connected: true, reason }
}

/// `grpc-status` of a head or of trailers.
fn status(fields: &HeaderMap) -> Result<Option<u32>, Fault> {
    let Some(value) = fields.get(HeaderName::from_static("grpc-status")) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| refused("a `grpc-status` that is no number".to_owned()))
}

/// `HealthCheckRequest { string service = 1; }` in the frame of a message.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0); // Not compressed.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

/// `HealthCheckResponse { ServingStatus status = 1; }` out of the frame of a message; none where it is anything else. A state of
/// 0 is not written at all, and fields of a later version are passed over.
fn state(framed: &[u8]) -> Option<u64> {
    let (head, mut message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut state = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => state = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(state)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_frame_with_the_service_in_it() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"a".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 2]);
    }

    #[test]
    fn an_answer_is_read_or_none() {
        assert_eq!(state(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(state(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        // A later version's string, then the state.
        assert_eq!(state(&[0, 0, 0, 0, 6, 0x12, 2, b'x', b'y', 8, 2]), Some(2));
        for broken in
            [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9], &[0, 0, 0, 0, 1, 8], &[0, 0, 0, 0, 1, 7]]
        {
            assert_eq!(state(broken), None, "{broken:?}");
        }
    }
}
