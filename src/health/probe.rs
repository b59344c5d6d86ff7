//! One check of one endpoint, over the network, with the whole of it under one timeout.
//!
//! Both kinds are `HealthCheck`s of pingora-load-balancing. `tcp` is the crate's own. `http` is not, because the crate's
//! reads the system's certificates twice for every (Host, path) it is built for, reads the body without a bound, takes
//! a 103 for the answer, and knows no timeout over the whole; ours shares one connector, connects and parses as
//! proxied traffic does, and is done at the response head.

use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::upstreams::peer::BasicPeer;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, TcpHealthCheck};
use tokio::time::{Instant, timeout};

use crate::endpoint::{Address, Endpoint};

/// How the endpoints of an upstream are probed. Equal settings are the same probe: a reload keeps it running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked of the endpoint.
    pub kind: ProbeKind,
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
    /// Whether a connection can be made.
    Tcp,
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

/// One http check: the probe's request for one endpoint.
struct HttpCheck<'a> {
    probe: &'a HttpProbe,
    host: &'a str,
}

/// Marks the error of a status that is not an expected one.
const STATUS: &str = "status";

// Building either reads the system's certificates, so each is built once, by the first probe that needs it.
static TCP_CHECK: LazyLock<TcpHealthCheck> = LazyLock::new(|| {
    let mut check = *TcpHealthCheck::new();
    check.peer_template.options.connection_timeout = None;
    check
});
static CONNECTOR: LazyLock<TransportConnector> = LazyLock::new(|| TransportConnector::new(None));

/// Checks `endpoint` once, now; costs at most the probe's timeout. The error says in words what was wrong.
///
/// The addresses of a name are tried in turn until one connects, as the proxy does.
pub async fn check_once(endpoint: &Endpoint, probe: &Probe) -> Result<(), String> {
    let (addresses, host) = match &endpoint.address {
        Address::Tcp(address) => (vec![PeerAddr::Inet(*address)], endpoint.id.as_str()),
        Address::Name { .. } => {
            (endpoint.state.addresses().iter().copied().map(PeerAddr::Inet).collect(), endpoint.id.as_str())
        }
        Address::Unix(path) => match std::os::unix::net::SocketAddr::from_pathname(path) {
            Ok(address) => (vec![PeerAddr::Unix(address)], "localhost"),
            Err(error) => return Err(format!("not the path of a socket: {error}")),
        },
    };
    probe.check(addresses, host).await
}

// === impl Probe ===

impl Probe {
    /// Each address gets an equal part of the time left, so that one that swallows packets doesn't hide the next.
    async fn check(&self, mut addresses: Vec<PeerAddr>, host: &str) -> Result<(), String> {
        let deadline = Instant::now() + self.timeout;
        let mut last = "it has no address".to_string();
        let all = addresses.len();
        for (tried, address) in addresses.iter_mut().enumerate() {
            if let Some(port) = self.port {
                address.set_port(port);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(all - tried).unwrap_or(u32::MAX);
            let (reason, connected) = match timeout(share, self.check_address(address, host)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => (reason(&error), connected(&error)),
                Err(_) => (format!("timed out after {:?}", rounded(share)), false),
            };
            last = if all > 1 { format!("{reason} ({address})") } else { reason };
            if connected {
                break;
            }
        }
        Err(last)
    }

    async fn check_address(&self, address: &PeerAddr, host: &str) -> pingora::Result<()> {
        let backend = Backend { addr: address.clone(), weight: 1, ext: Default::default() };
        match &self.kind {
            ProbeKind::Http(probe) => {
                HttpCheck { probe, host: probe.host.as_deref().unwrap_or(host) }.check(&backend).await
            }
            ProbeKind::Tcp => TCP_CHECK.check(&backend).await,
        }
    }
}

// === impl HttpCheck ===

#[async_trait]
impl HealthCheck for HttpCheck<'_> {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let mut request = RequestHeader::build("GET", self.probe.path.as_bytes(), None)?;
        request.insert_header("host", self.host)?;
        request.insert_header("user-agent", "headgate-probe")?;
        request.insert_header("connection", "close")?;

        let mut peer = BasicPeer::new("0.0.0.0:1");
        peer._address = target.addr.clone();
        let mut session = HttpSession::new(CONNECTOR.new_stream(&peer).await?);
        session.write_request_header(Box::new(request)).await?;
        loop {
            session.read_response().await?;
            let Some(status) = session.get_status().map(|status| status.as_u16()) else {
                return Error::e_explain(ErrorType::InternalError, "an answer without a status");
            };
            // Interim answers precede the one that counts.
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            // The body stays unread: it cannot change the verdict, and nothing bounds it.
            return if self.probe.status.iter().any(|range| range.contains(&status)) {
                Ok(())
            } else {
                Err(Error::new(ErrorType::CustomCode(STATUS, status)))
            };
        }
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1 // `Threshold` counts.
    }
}

/// Whether the endpoint took the connection: then its answer counts, and no further address is asked.
fn connected(error: &Error) -> bool {
    use ErrorType::{ConnectionClosed, CustomCode, InvalidHTTPHeader, ReadError, WriteError};
    matches!(error.etype(), CustomCode(STATUS, _) | ConnectionClosed | InvalidHTTPHeader | ReadError | WriteError)
}

/// What went wrong, in an operator's words.
#[expect(clippy::wildcard_enum_match_arm, reason = "the list is long, and the cause's own words serve for the rest")]
fn reason(error: &Error) -> String {
    let words = match error.etype() {
        ErrorType::CustomCode(STATUS, status) => return format!("status {status}"),
        ErrorType::ConnectRefused => "connection refused",
        ErrorType::ConnectNoRoute => "no route to the address",
        ErrorType::ConnectTimedout => "connecting timed out",
        ErrorType::ConnectionClosed => "connection closed before an answer",
        ErrorType::InvalidHTTPHeader => "not an HTTP/1 answer",
        _ => return error.root_cause().to_string(),
    };
    words.to_string()
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
        Probe { kind, port: None, interval: Duration::from_secs(5), timeout: Duration::from_secs(2), rise: 2, fall: 3 }
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
