//! Pingora's own proxy behind the edge, with a client that does not wait for its answer.
//!
//! Left to itself, Pingora drops a second request that came with the first; and where it comes later, ends the first.

use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// The smallest proxy that tells the connection where its request is.
struct Proxy {
    endpoint: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<()> {
        let deadline = &Connection::of(&session.downstream_session).unwrap().deadline;
        deadline.request_begins();
        deadline.set(Some(Instant::now() + SECOND / 2), Cause::FirstByte);
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.endpoint, false, String::new())))
    }

    fn suppress_error_log(&self, _: &Session, (): &(), _: &pingora::Error) -> bool {
        true
    }
}

struct Pipeline {
    client: DuplexStream,
    /// Request lines as the endpoint got them.
    requests: mpsc::UnboundedReceiver<String>,
    /// Lets the endpoint answer one.
    answer: Arc<Notify>,
    _stop: watch::Sender<bool>,
}

async fn pipeline() -> Pipeline {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::unbounded_channel();
    let answer = Arc::new(Notify::new());
    let answers = Arc::clone(&answer);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while stream.read_line(&mut head).await.is_ok_and(|read| read > 0) {
            if !head.ends_with("\r\n\r\n") {
                continue;
            }
            let mut body = vec![0; if head.contains("content-length: 3") { 3 } else { 0 }];
            stream.read_exact(&mut body).await.unwrap();
            if head.contains("chunked") {
                stream.read_exact(&mut [0; 5]).await.unwrap();
            }
            let line = head.lines().next().unwrap();
            seen.send(format!("{line} {}", String::from_utf8_lossy(&body))).unwrap();
            answers.notified().await;
            let length = head.find(" HTTP").unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", &head[..length]);
            stream.write_all(answer.as_bytes()).await.unwrap();
            head.clear();
        }
    });
    let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), Proxy { endpoint }));
    let edge = Arc::new(Edge::new(
        ListenerId::new("127.0.0.1:0", 0),
        proxy,
        terms(bare_listener(None)),
        Arc::new(OpenConnections::new(1000)),
        refusals(),
    ));
    let (client, server) = duplex(64 << 10);
    let (stop, shutdown) = watch::channel(false);
    assert!(edge.process_new(Box::new(server), &shutdown).await.is_none());
    Pipeline { client, requests, answer, _stop: stop }
}

impl Pipeline {
    async fn request(&mut self) -> String {
        timeout(10 * SECOND, self.requests.recv()).await.unwrap().unwrap()
    }

    /// Reads until `end` comes.
    async fn read_to(&mut self, end: &str) {
        let mut read = String::new();
        while !read.ends_with(end) {
            let byte = timeout(10 * SECOND, self.client.read_u8()).await.unwrap();
            read.push(char::from(byte.unwrap()));
        }
    }
}

const FIRST: &[u8] = b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
const SECOND_WITH_BODY: &[u8] = b"POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
const THIRD: &[u8] = b"GET /3 HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn requests_in_one_segment_are_proxied_in_turn() {
    let mut pipeline = pipeline().await;
    pipeline.client.write_all(&[FIRST, SECOND_WITH_BODY, THIRD].concat()).await.unwrap();
    for (line, answer) in [
        ("GET /1 HTTP/1.1 ", "\r\n\r\nGET /1"),
        ("POST /2 HTTP/1.1 abc", "\r\n\r\nPOST /2"),
        ("GET /3 HTTP/1.1 ", "\r\n\r\nGET /3"),
    ] {
        assert_eq!(pipeline.request().await, line);
        pipeline.answer.notify_one();
        pipeline.read_to(answer).await;
    }
}

#[tokio::test]
async fn a_request_that_comes_while_another_is_proxied_waits_its_turn() {
    let mut pipeline = pipeline().await;
    pipeline.client.write_all(SECOND_WITH_BODY).await.unwrap();
    assert_eq!(pipeline.request().await, "POST /2 HTTP/1.1 abc");
    pipeline.client.write_all(THIRD).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    pipeline.answer.notify_one();
    pipeline.read_to("\r\n\r\nPOST /2").await;
    assert_eq!(pipeline.request().await, "GET /3 HTTP/1.1 ");
    pipeline.answer.notify_one();
    pipeline.read_to("\r\n\r\nGET /3").await;
}

#[tokio::test]
async fn a_request_in_one_segment_with_a_chunked_body_is_proxied_in_turn() {
    let mut pipeline = pipeline().await;
    let chunked = b"POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    pipeline.client.write_all(&[chunked, THIRD].concat()).await.unwrap();
    pipeline.request().await;
    pipeline.answer.notify_one();
    pipeline.read_to("\r\n\r\nPOST /1").await;
    assert_eq!(pipeline.request().await, "GET /3 HTTP/1.1 ");
    pipeline.answer.notify_one();
    pipeline.read_to("\r\n\r\nGET /3").await;
}

#[tokio::test]
async fn a_waiting_request_hides_no_deadline_of_the_one_before() {
    let mut pipeline = pipeline().await;
    pipeline.client.write_all(FIRST).await.unwrap();
    pipeline.request().await;
    pipeline.client.write_all(THIRD).await.unwrap();
    let mut rest = Vec::new();
    timeout(10 * SECOND, pipeline.client.read_to_end(&mut rest)).await.unwrap().unwrap();
}
