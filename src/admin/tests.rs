use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::*;

struct Gateway(AtomicBool);

impl Source for Gateway {
    fn is_ready(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn status(&self) -> Status {
        Status {
            version: "1",
            generation: 7,
            uptime_seconds: 0,
            ready: self.is_ready(),
            last_reload: None,
            listeners: Vec::new(),
            routes: Vec::new(),
            upstreams: Vec::new(),
            sessions: Vec::new(),
            stores: Vec::new(),
        }
    }

    fn drain(&self, upstream: &str, endpoint: &str, drain: Drain) -> Result<Drained, String> {
        if upstream != "node" {
            return Err(format!("there is no upstream `{upstream}`"));
        }
        let (state, deadline_seconds) = match drain {
            Drain::Begin(within) => ("draining", within.map(|within| within.as_secs())),
            Drain::End => ("up", None),
        };
        let (upstream, endpoint) = (upstream.to_owned(), endpoint.to_owned());
        Ok(Drained { upstream, endpoint, state, deadline_seconds, in_flight: 0, alone: false })
    }
}

struct Running {
    address: String,
    gateway: Arc<Gateway>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Running {
    fn start(token: Option<&str>) -> Self {
        let admin = Admin::bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), token.map(str::to_owned)).unwrap();
        let address = admin.address();
        let gateway = Arc::new(Gateway(AtomicBool::new(true)));
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async { drop(stopped.await) };
        let server = admin.serve(Arc::new(Metrics::new()), gateway.clone(), until);
        let server = tokio::task::spawn(server);
        Self { address, gateway, stop, server }
    }

    /// Status line and whole answer.
    async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    /// With a body, which may be empty, and more headers, each with its line's end.
    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n");
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{head}{headers}Connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n")).await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn each_page_says_its_part() {
    let admin = Running::start(None);
    let (status, metrics) = admin.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("headgate_build_info{version="), "{metrics}");
    let (status, page) = admin.get("/status").await;
    assert!(status == 200 && page.contains(r#""generation":7"#), "{page}");
    assert_eq!(admin.get("/healthz").await.0, 200);
    assert_eq!(admin.get("/readyz").await.0, 200);
    admin.gateway.0.store(false, Relaxed);
    assert_eq!(admin.get("/readyz").await.0, 503);
    assert_eq!(admin.get("/healthz").await.0, 200);
    admin.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_short_json_404() {
    let admin = Running::start(None);
    let (status, answer) = admin.get("/nothing/here").await;
    assert_eq!(status, 404);
    assert!(answer.ends_with("}") && answer.contains(r#"{"error":"no such page"#), "{answer}");
    for path in ["/metrics", "/healthz"] {
        let (status, answer) =
            admin.ask(&format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n")).await;
        assert!(status == 405 && answer.contains(r#"{"error""#), "{answer}");
    }
    admin.stop().await;
}

#[tokio::test]
async fn a_token_guards_all_but_the_probes() {
    let admin = Running::start(Some("s3cret"));
    for path in ["/metrics", "/status", "/nothing"] {
        let (status, answer) = admin.get(path).await;
        assert!(status == 401 && answer.contains("www-authenticate: Bearer"), "{path}: {answer}");
    }
    assert_eq!(admin.get("/healthz").await.0, 200);
    assert_eq!(admin.get("/readyz").await.0, 200);
    let shown = "GET /metrics HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Bearer s3cret\r\n";
    assert_eq!(admin.ask(shown).await.0, 200);
    admin.stop().await;
}

#[tokio::test]
async fn a_page_of_the_web_cannot_read_the_status_through_a_name_of_its_own() {
    let admin = Running::start(None);
    let (status, answer) = admin.ask("GET /status HTTP/1.1\r\nHost: rebound.example:9900\r\n").await;
    assert!(status == 403 && !answer.contains("generation"), "{answer}");
    assert_eq!(admin.ask("GET /healthz HTTP/1.1\r\nHost: rebound.example:9900\r\n").await.0, 200);
    admin.stop().await;
}

#[test]
fn a_public_address_needs_a_token() {
    let everywhere = Address::Tcp(([0, 0, 0, 0], 0).into());
    assert_eq!(Admin::bind(&everywhere, None).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_socket_file_serves_and_one_left_behind_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let address = Address::Unix(path.clone());
    drop(Admin::bind(&address, None).unwrap());
    let admin = Admin::bind(&address, None).unwrap();
    assert_eq!(admin.address(), format!("unix:{}", path.display()));
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = Arc::new(Gateway(AtomicBool::new(true)));
    let until = async { drop(stopped.await) };
    let server = tokio::task::spawn(admin.serve(Arc::new(Metrics::new()), gateway, until));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"generation\":7"), "{answer}");
    assert_eq!(Admin::bind(&address, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_never_taken_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    std::fs::write(&path, "precious").unwrap();
    let refused = Admin::bind(&Address::Unix(path.clone()), None).unwrap_err();
    assert_eq!(refused.to_string(), "the path is there and is not a socket");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
}

#[tokio::test(start_paused = true)]
async fn a_silent_caller_is_sent_away() {
    let admin = Running::start(None);
    let mut stream = TcpStream::connect(&admin.address).await.unwrap();
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut answer = Vec::new();
    // The paused clock runs to the next timer when all else waits.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    admin.stop().await;
}

const DRAIN: &str = "/upstreams/node/endpoints/10.0.0.11:3000/drain";
const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn an_endpoint_drains_and_comes_back() {
    let admin = Running::start(None);
    let (status, answer) = admin.send("PUT", DRAIN, "", "").await;
    assert!(
        status == 200 && answer.contains(r#""endpoint":"10.0.0.11:3000","state":"draining","deadline_seconds":null"#)
    );
    let (status, answer) = admin.send("PUT", DRAIN, JSON, r#"{"deadline": "10m"}"#).await;
    assert!(status == 200 && answer.contains(r#""deadline_seconds":600"#), "{answer}");
    let (status, answer) = admin.send("DELETE", DRAIN, "", "").await;
    assert!(status == 200 && answer.contains(r#""state":"up""#), "{answer}");
    let (_, answer) = admin.send("PUT", "/upstreams/node/endpoints/unix:%2Frun%2Fapp.sock/drain", "", "").await;
    assert!(answer.contains(r#""endpoint":"unix:/run/app.sock""#), "{answer}");
    let (status, answer) = admin.send("PUT", "/upstreams/nod/endpoints/a/drain", "", "").await;
    assert!(status == 404 && answer.contains("there is no upstream `nod`"), "{answer}");
    admin.stop().await;
}

#[tokio::test]
async fn what_is_no_deadline_is_refused_with_a_reason() {
    let admin = Running::start(None);
    for (body, reason) in [
        (r#"{"deadline": "10"}"#, "a duration needs its unit"),
        (r#"{"deadline": 600}"#, "deadline"),
        (r#"{"dead_line": "10m"}"#, "unknown field"),
        ("deadline=10m", "expected value"),
    ] {
        let (status, answer) = admin.send("PUT", DRAIN, JSON, body).await;
        assert!(status == 400 && answer.contains(reason), "{body}: {answer}");
    }
    assert_eq!(admin.send("PUT", DRAIN, JSON, &format!("\"{}\"", "x".repeat(8192))).await.0, 413);
    assert_eq!(admin.send("POST", DRAIN, JSON, "{}").await.0, 405);
    admin.stop().await;
}

#[tokio::test]
async fn a_page_of_the_web_cannot_drain_an_endpoint() {
    let admin = Running::start(None);
    let plain = "Content-Type: text/plain\r\n";
    assert_eq!(admin.send("PUT", DRAIN, plain, r#"{"deadline": "10m"}"#).await.0, 415);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        for method in ["PUT", "DELETE"] {
            let (status, _) = admin.send(method, DRAIN, &format!("Origin: {origin}\r\n"), "").await;
            assert_eq!(status, 403, "{method} of {origin}");
        }
    }
    // A browser asks first; what it needs to hear to go on is never said.
    let ask = "Origin: http://evil.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let (status, answer) = admin.send("OPTIONS", DRAIN, ask, "").await;
    assert!(status == 405 && !answer.to_lowercase().contains("access-control-allow"), "{answer}");
    let rebound = format!("PUT {DRAIN} HTTP/1.1\r\nHost: rebound.example:9900\r\nContent-Length: 0\r\n");
    assert_eq!(admin.ask(&rebound).await.0, 403);
    admin.stop().await;
    let admin = Running::start(Some("s3cret"));
    assert_eq!(admin.send("PUT", DRAIN, "", "").await.0, 401);
    assert_eq!(admin.send("PUT", DRAIN, "Authorization: Bearer s3cret\r\n", "").await.0, 200);
    admin.stop().await;
}
