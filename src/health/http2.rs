//! One request by HTTP/2 on a connection of its own, for probes.

use bytes::{Bytes, BytesMut};
use h2::client;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pingora::protocols::{ALPN, Stream};

use super::probe::{self, Fault};

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) fields: &'a [(HeaderName, HeaderValue)],
    pub(super) body: Option<Bytes>,
}

/// What was answered: the head and, for those who ask for it, the rest.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: HeaderMap,
    body: h2::RecvStream,
    /// Drives the connection while the answer is read, and ends it with it.
    _connection: tokio::task::JoinSet<()>,
}

/// What comes after a head: no more of it than a probe can need.
pub(super) struct Rest {
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

/// The most bytes of a body.
const LONGEST: usize = 4096;

/// Asks, and waits for the head of the answer.
pub(super) async fn ask(stream: Stream, request: Request<'_>) -> Result<Answer, Fault> {
    // An endpoint that knows nothing of ALPN may go on in HTTP/1.1.
    if stream.get_ssl_digest().is_some() && stream.selected_alpn_proto() != Some(ALPN::H2) {
        return Err(Fault { connected: true, reason: "it does not offer HTTP/2 (ALPN `h2`)".to_owned() });
    }
    let (sender, connection) = client::handshake(stream).await?;
    let mut driver = tokio::task::JoinSet::new();
    // How it ends is told by the request.
    driver.spawn(async move { drop(connection.await) });
    let mut head = http::Request::builder().method(request.method).uri(request.uri).body(()).unwrap_or_default();
    head.headers_mut().insert(USER_AGENT, HeaderValue::from_static(probe::USER_AGENT));
    head.headers_mut().extend(request.fields.iter().cloned());
    let mut sender = sender.ready().await?;
    let (answer, mut sending) = sender.send_request(head, request.body.is_none())?;
    if let Some(body) = request.body {
        sending.send_data(body, true)?;
    }
    let (head, body) = answer.await?.into_parts();
    Ok(Answer { status: head.status.as_u16(), head: head.headers, body, _connection: driver })
}

// === impl Answer ===

impl Answer {
    /// The body and what follows it.
    pub(super) async fn rest(mut self) -> Result<Rest, Fault> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.body.data().await {
            let piece = piece?;
            if body.len() + piece.len() > LONGEST {
                return Err(Fault { connected: true, reason: format!("its answer is longer than {LONGEST} bytes") });
            }
            self.body.flow_control().release_capacity(piece.len())?;
            body.extend_from_slice(&piece);
        }
        Ok(Rest { body: body.freeze(), trailers: self.body.trailers().await?.unwrap_or_default() })
    }
}

// === impl Fault ===

impl From<h2::Error> for Fault {
    fn from(error: h2::Error) -> Self {
        let reason = match error.is_io() {
            true => "connection closed before an answer".to_owned(),
            false => format!("no answer in HTTP/2: {error}"),
        };
        Self { connected: true, reason }
    }
}
