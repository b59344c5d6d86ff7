//! One check of one endpoint, over the network, with the whole of it under one timeout.
//!
//! It connects, encrypts and parses as proxied traffic does, by the upstream's [`Transport`], on a connection of its own.
//! pingora-load-balancing has such checks, too; they read the system's certificates for every (Host, path), read bodies
//! without a bound, take a 103 for the answer, and know no timeout over the whole.

use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Method, Uri};
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::{Error, ErrorType};
use tokio::time::{Instant, timeout};

use super::grpc::{self, GrpcProbe};
use super::http2;
use crate::endpoint::{Address, Endpoint};
use crate::transport::{Transport, connector_options, unix_address};

/// How the endpoints of an upstream are probed. Equal settings are the same probe: a reload keeps it running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked of the endpoint.
    pub kind: ProbeKind,
    /// How it is spoken to.
    pub transport: Arc<Transport>,
    /// The port to probe where it is not the one that serves. Has no meaning for a unix socket.
    pub port: Option<u16>,
    /// From the start of one check to the start of the next, give or take a tenth.
    pub interval: Duration,
    /// Bounds the whole check: connecting, asking, and the answer's head.
    pub timeout: Duration,
    /// Successes in a row that bring an unfit endpoint back.
    pub rise: u32,
    /// Failures in a row that make an endpoint unfit.
    pub fall: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// A GET whose status must be an expected one.
    Http(HttpProbe),
    /// Whether a connection can be made; in TLS its handshake is a part of it.
    Tcp,
    /// Whether gRPC's own health service says that it serves.
    Grpc(GrpcProbe),
}

/// The request of an `http` probe and the statuses that pass it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Path and query, as they go onto the wire.
    pub path: String,
    /// The Host header; none: the endpoint's own address.
    pub host: Option<String>,
    /// A status in any of these passes.
    pub status: Vec<RangeInclusive<u16>>,
}

/// Why a check of one address failed.
pub(super) struct Fault {
    /// Whether the endpoint took the connection: then its answer counts, and no further address is asked.
    pub(super) connected: bool,
    /// What went wrong, in an operator's words.
    pub(super) reason: String,
}

// Building it reads the system's certificates, so it is built once, by the first probe.
static CONNECTOR: LazyLock<TransportConnector> = LazyLock::new(|| TransportConnector::new(Some(connector_options())));

/// Checks `endpoint` once, now; costs at most the probe's timeout. The error says in words what was wrong.
///
/// The addresses of a name are tried in turn until one connects, as the proxy does.
pub async fn check_once(endpoint: &Endpoint, probe: &Probe) -> Result<(), String> {
    let (addresses, host) = match &endpoint.address {
        Address::Tcp(address) => (vec![PeerAddr::Inet(*address)], endpoint.id.as_str()),
        Address::Name { .. } => {
            (endpoint.state.addresses().iter().copied().map(PeerAddr::Inet).collect(), endpoint.id.as_str())
        }
        Address::Unix(path) => match unix_address(path) {
            Ok(address) => (vec![address], "localhost"),
            Err(error) => return Err(format!("not the path of a socket: {error}")),
        },
    };
    probe.check(addresses, host, &endpoint.host).await
}

// === impl Probe ===

impl Probe {
    /// Each address gets an equal part of the time left, so that one that swallows packets doesn't hide the next.
    async fn check(&self, mut addresses: Vec<PeerAddr>, host: &str, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + self.timeout;
        let mut last = "it has no address".to_string();
        let all = addresses.len();
        for (tried, address) in addresses.iter_mut().enumerate() {
            if let Some(port) = self.port {
                address.set_port(port);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(all - tried).unwrap_or(u32::MAX);
            let fault = match timeout(share, self.check_address(address, host, name)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(fault)) => fault,
                Err(_) => Fault { connected: false, reason: format!("timed out after {:?}", rounded(share)) },
            };
            last = if all > 1 { format!("{} ({address})", fault.reason) } else { fault.reason };
            if fault.connected {
                break;
            }
        }
        Err(last)
    }

    async fn check_address(&self, address: &PeerAddr, host: &str, name: &str) -> Result<(), Fault> {
        let stream = CONNECTOR.new_stream(&self.transport.peer(address.clone(), name)).await?;
        match &self.kind {
            ProbeKind::Http(probe) => {
                let host = probe.host.as_deref().unwrap_or(host);
                let status = match self.transport.speaks_http2() {
                    true => self.status_by_http2(stream, &probe.path, host).await?,
                    false => status_by_http1(stream, &probe.path, host).await?,
                };
                match probe.status.iter().any(|range| range.contains(&status)) {
                    true => Ok(()),
                    false => Err(Fault { connected: true, reason: format!("status {status}") }),
                }
            }
            ProbeKind::Tcp => Ok(()),
            ProbeKind::Grpc(probe) => {
                let uri = self.uri(grpc::METHOD, probe.host.as_deref().unwrap_or(host))?;
                probe.check(stream, uri).await
            }
        }
    }

    async fn status_by_http2(&self, stream: Stream, path: &str, host: &str) -> Result<u16, Fault> {
        let request = http2::Request { method: Method::GET, uri: self.uri(path, host)?, fields: &[], body: None };
        // The body stays unread: it cannot change the verdict, and nothing bounds it.
        Ok(http2::ask(stream, request).await?.status)
    }

    /// `path` at `host`, with the scheme that requests have.
    fn uri(&self, path: &str, host: &str) -> Result<Uri, Fault> {
        let uri = Uri::builder().scheme(self.transport.scheme()).authority(host).path_and_query(path).build();
        uri.map_err(|error| Fault {
            connected: true,
            reason: format!("it can't be asked for {path} at {host}: {error}"),
        })
    }
}

async fn status_by_http1(stream: Stream, path: &str, host: &str) -> pingora::Result<u16> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    request.insert_header("host", host)?;
    request.insert_header("user-agent", USER_AGENT)?;
    request.insert_header("connection", "close")?;

    let mut session = HttpSession::new(stream);
    session.write_request_header(Box::new(request)).await?;
    loop {
        session.read_response().await?;
        let Some(status) = session.get_status().map(|status| status.as_u16()) else {
            return Error::e_explain(ErrorType::InternalError, "an answer without a status");
        };
        // Interim answers precede the one that counts. The body stays unread: it cannot change the verdict, and nothing
        // bounds it.
        if !(100..200).contains(&status) || status == 101 {
            return Ok(status);
        }
    }
}

/// Who asks.
pub(super) const USER_AGENT: &str = "headgate-probe";

// === impl Fault ===

impl From<Box<Error>> for Fault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list is long, and the cause's own words serve for the rest"
    )]
    fn from(error: Box<Error>) -> Self {
        use ErrorType as T;
        let connected =
            matches!(error.etype(), T::ConnectionClosed | T::InvalidHTTPHeader | T::ReadError | T::WriteError);
        let words = match error.etype() {
            T::ConnectRefused => "connection refused",
            T::ConnectNoRoute => "no route to the address",
            T::ConnectTimedout => "connecting timed out",
            T::ConnectionClosed => "connection closed before an answer",
            T::InvalidHTTPHeader => "not an HTTP/1 answer",
            T::TLSHandshakeFailure => {
                // Pingora puts the cause into its own sentence, and what it calls the cause is an address.
                let said = error.context.as_ref().map_or("", |context| context.as_str());
                let cause = said.split_once("cause: ").and_then(|(_, cause)| cause.rsplit_once(", SNI:"));
                return Self { connected, reason: format!("TLS: {}", cause.map_or(said, |(cause, _)| cause)) };
            }
            _ => return Self { connected, reason: error.root_cause().to_string() },
        };
        Self { connected, reason: words.to_owned() }
    }
}

/// Whole milliseconds, as the file writes durations.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from((duration.as_micros() + 500) / 1000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixListener};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::health::tests::endpoint;

    fn at(address: SocketAddr) -> Endpoint {
        endpoint(&address.to_string(), &[])
    }

    fn probe(kind: ProbeKind) -> Probe {
        let transport = Arc::default();
        Probe {
            kind,
            transport,
            port: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }

    fn http(status: &[RangeInclusive<u16>]) -> Probe {
        probe(ProbeKind::Http(HttpProbe { path: "/healthz?full=1".to_string(), host: None, status: status.to_vec() }))
    }

    /// Answers one connection with `answer` as it is, keeps it open, and returns what was asked.
    fn answer_once(listener: TcpListener, answer: &'static str) -> JoinHandle<String> {
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.read_u8().await; // until the probe hangs up
            String::from_utf8(asked).unwrap()
        })
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address that refuses connections.
    async fn refusing() -> SocketAddr {
        listener().await.1
    }

    #[tokio::test]
    async fn a_status_passes_when_any_range_has_it() {
        for (status, expected) in [
            ("200 OK", Ok(())),
            ("299 Whatever", Ok(())),
            ("401 Unauthorized", Ok(())),
            ("300 Multiple Choices", Err("status 300".to_string())),
            ("503 Service Unavailable", Err("status 503".to_string())),
            ("103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 204 No Content", Ok(())),
        ] {
            let (listener, address) = listener().await;
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").leak();
            let server = answer_once(listener, answer);
            let result = check_once(&at(address), &http(&[200..=299, 401..=401])).await;
            assert_eq!(result, expected, "{status}");
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_request_names_the_endpoint_and_the_prober() {
        let (listener, address) = listener().await;
        let server = answer_once(listener, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        check_once(&endpoint("app.internal:3000", &[address]), &http(&[200..=200])).await.unwrap();
        let asked = server.await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /healthz?full=1 http/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nhost: app.internal:3000\r\n"), "{asked}");
        assert!(asked.contains("\r\nuser-agent: headgate-probe\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_body_without_an_end_costs_nothing() {
        let (listener, address) = listener().await;
        let server = answer_once(listener, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        assert_eq!(check_once(&at(address), &http(&[200..=200])).await, Ok(()));
        server.await.unwrap();
    }

    #[tokio::test]
    async fn an_endpoint_that_accepts_and_never_answers_costs_the_timeout() {
        let (_listener, address) = listener().await;
        let mut probe = http(&[200..=200]);
        probe.timeout = Duration::from_millis(50);
        let started = Instant::now();
        assert_eq!(check_once(&at(address), &probe).await, Err("timed out after 50ms".to_string()));
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn failures_are_told_in_words() {
        let refused = Err("connection refused".to_string());
        let target = at(refusing().await);
        assert_eq!(check_once(&target, &http(&[200..=200])).await, refused);
        assert_eq!(check_once(&target, &probe(ProbeKind::Tcp)).await, refused);

        let missing = endpoint("unix:/nonexistent/app.sock", &[]);
        let reason = check_once(&missing, &http(&[200..=200])).await.unwrap_err();
        assert!(reason.starts_with("No such file or directory"), "{reason}");

        for (answer, expected) in
            [("", "connection closed before an answer"), ("SSH-2.0-OpenSSH_9.9\r\n", "not an HTTP/1 answer")]
        {
            let (listener, address) = listener().await;
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            let result = check_once(&at(address), &http(&[200..=200])).await;
            assert_eq!(result, Err(expected.to_string()));
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn addresses_are_tried_in_turn_until_one_connects() {
        let (listener, address) = listener().await;
        let server = answer_once(listener, "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
        let target = endpoint("app.internal:3000", &[refusing().await, address, refusing().await]);
        assert_eq!(check_once(&target, &http(&[200..=200])).await, Err(format!("status 500 ({address})")));
        server.await.unwrap();
    }

    #[tokio::test]
    async fn another_port_can_be_probed() {
        let (listener, address) = listener().await;
        let mut probe = probe(ProbeKind::Tcp);
        probe.port = Some(address.port());
        assert_eq!(check_once(&at(refusing().await), &probe).await, Ok(()));
        drop(listener);
    }

    #[tokio::test]
    async fn a_unix_socket_is_probed_by_either_kind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let app = endpoint(&format!("unix:{}", path.display()), &[]);
        assert_eq!(check_once(&app, &probe(ProbeKind::Tcp)).await, Ok(()));
        listener.accept().await.unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        assert_eq!(check_once(&app, &http(&[200..=200])).await, Ok(()));
        server.await.unwrap();
    }
}
