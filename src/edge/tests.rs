//! The edge with a real Pingora session on each side of it: an in-memory client before, a small application behind.

mod pipelining;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pingora::apps::ReusedHttpStream;
use pingora::http::ResponseHeader;
use pingora::services::Service;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, duplex};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::connection::Cause;
use crate::listener::Limits;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";

/// Answers every request, when `ready`, with 200, its body's length as the body.
#[derive(Default)]
struct App {
    busy: Notify,
    waits: AtomicBool,
    ready: Notify,
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) | Err(_) => return None,
        }
        let deadline = &Arc::clone(Connection::of(&session).unwrap()).deadline;
        deadline.request_begins();
        let mut length = 0;
        while let Some(bytes) = session.read_request_body().await.unwrap() {
            length += bytes.len();
        }
        self.busy.notify_one();
        if self.waits.load(Ordering::Relaxed) {
            deadline.set(Some(Instant::now() + 30 * SECOND), Cause::FirstByte);
            tokio::select! {
                () = self.ready.notified() => {}
                gone = session.read_body_or_idle(true) => {
                    let error = gone.unwrap_err();
                    let cause = error.root_cause().downcast_ref::<io::Error>().map(io::Error::kind);
                    assert_eq!(deadline.expired(), cause.map(|_| Cause::FirstByte));
                    let _ = session.respond_error(if cause.is_some() { 504 } else { 500 }).await;
                    session.shutdown().await;
                    return None;
                }
            }
        }
        let body = length.to_string();
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.insert_header("content-length", body.len()).unwrap();
        session.write_response_header(Box::new(head)).await.unwrap();
        session.write_response_body(body.into(), true).await.unwrap();
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.unwrap()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

struct Fixture {
    app: Arc<App>,
    client: DuplexStream,
    stop: watch::Sender<bool>,
    open: Arc<OpenConnections>,
}

/// A head may take a second and have 400 bytes; a connection may idle for five seconds.
fn bare_listener(connections_per_ip: Option<u32>) -> Arc<Listener> {
    Listener::bare(
        "127.0.0.1:0",
        Limits {
            header_bytes: 400,
            target_bytes: 200,
            headers: 100,
            header_timeout: SECOND,
            handshake_timeout: SECOND,
            idle_timeout: 5 * SECOND,
            streams: 100,
            body_timeout: Duration::from_secs(20),
            min_rate: std::num::NonZeroU64::new(100),
            connections_per_ip,
        },
    )
}

/// A configuration that does not change.
fn terms(listener: Arc<Listener>) -> TermsOf {
    Arc::new(move |_| Some(Arc::clone(&listener)))
}

/// Refusals that nobody reads of.
fn refusals() -> Arc<Refusals> {
    let metrics = Arc::new(Metrics::new());
    let access_log = Arc::new(AccessLog::start(metrics.access_log()).unwrap());
    Arc::new(Refusals { metrics, access_log })
}

async fn connected() -> Fixture {
    let app = Arc::new(App::default());
    let open = Arc::new(OpenConnections::new(1000));
    let listener = bare_listener(None);
    let id = listener.id.clone();
    let edge = Arc::new(Edge::new(id, Arc::clone(&app), terms(listener), Arc::clone(&open), refusals()));
    let (client, server) = duplex(64 << 10);
    let (stop, shutdown) = watch::channel(false);
    assert!(edge.process_new(Box::new(server), &shutdown).await.is_none());
    Fixture { app, client, stop, open }
}

impl Fixture {
    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
    }

    /// Reads one response that has a one-digit body.
    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            answer.push(self.client.read_u8().await.unwrap());
        }
        answer.push(self.client.read_u8().await.unwrap());
        String::from_utf8(answer).unwrap()
    }

    /// Reads to the end, which must come.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        timeout(600 * SECOND, self.client.read_to_string(&mut rest)).await.unwrap().unwrap();
        rest
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_has_one_total_and_gets_408() {
    let mut edge = connected().await;
    sleep(SECOND / 2).await;
    let begun = Instant::now();
    for byte in REQUEST {
        if edge.client.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(SECOND / 10).await;
    }
    assert!(edge.rest().await.starts_with("HTTP/1.1 408 "));
    assert!((SECOND..2 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let begun = Instant::now();
    let mut edge = connected().await;
    assert_eq!(edge.rest().await, "");
    assert!((SECOND..2 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    tokio::task::yield_now().await;
    assert_eq!(edge.open.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_idle_for_its_time_and_each_head_has_its_own() {
    let mut edge = connected().await;
    for _ in 0..3 {
        edge.send(REQUEST).await;
        assert!(edge.answer().await.starts_with("HTTP/1.1 200 "));
        sleep(4 * SECOND).await;
    }
    edge.send(REQUEST).await;
    edge.answer().await;
    let begun = Instant::now();
    assert_eq!(edge.rest().await, "");
    assert!((5 * SECOND..6 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_second_head_gets_408_too() {
    let mut edge = connected().await;
    edge.send(REQUEST).await;
    edge.answer().await;
    edge.send(&REQUEST[..10]).await;
    let begun = Instant::now();
    assert!(edge.rest().await.starts_with("HTTP/1.1 408 "));
    assert!((SECOND..2 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_gets_431() {
    let mut edge = connected().await;
    edge.send(&REQUEST[..REQUEST.len() - 2]).await;
    for _ in 0..=400 / 13 {
        edge.send(b"x-filler: 1\r\n").await;
        sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    assert!(edge.rest().await.starts_with("HTTP/1.1 431 "));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_with_its_head_is_not_counted_as_head() {
    let mut edge = connected().await;
    let mut request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n".to_vec();
    request.extend([b'x'; 5000]);
    edge.send(&request).await;
    let answer = edge.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with('5'), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_proxys_ends_its_wait_for_the_client() {
    let mut edge = connected().await;
    edge.app.waits.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    edge.send(REQUEST).await;
    assert!(edge.rest().await.starts_with("HTTP/1.1 504 "));
    assert!((30 * SECOND..31 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_while_another_is_served_waits_its_turn_and_the_deadline_still_counts() {
    let mut edge = connected().await;
    edge.app.waits.store(true, Ordering::Relaxed);
    edge.send(REQUEST).await;
    edge.app.busy.notified().await;
    edge.send(REQUEST).await;
    sleep(SECOND).await;
    edge.app.ready.notify_one();
    edge.answer().await;
    edge.app.busy.notified().await;
    edge.send(b"G").await;
    assert!(edge.rest().await.starts_with("HTTP/1.1 504 "), "the second request waits for nobody");
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_are_answered_in_turn() {
    let mut edge = connected().await;
    edge.send(&[REQUEST, REQUEST, &REQUEST[..7]].concat()).await;
    edge.answer().await;
    edge.answer().await;
    edge.send(&REQUEST[7..]).await;
    assert!(edge.answer().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_one_byte_is_no_next_request() {
    let mut edge = connected().await;
    edge.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n").await;
    sleep(SECOND / 10).await;
    edge.send(b"x").await;
    assert!(edge.answer().await.ends_with('1'));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_when_the_process_stops() {
    let mut edge = connected().await;
    edge.send(REQUEST).await;
    edge.answer().await;
    sleep(SECOND).await;
    let begun = Instant::now();
    edge.stop.send(true).unwrap();
    assert_eq!(edge.rest().await, "");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_served_when_the_process_stops() {
    let mut edge = connected().await;
    edge.app.waits.store(true, Ordering::Relaxed);
    edge.send(REQUEST).await;
    edge.app.busy.notified().await;
    edge.stop.send(true).unwrap();
    sleep(SECOND).await;
    assert_eq!(edge.open.count(), 1);
    edge.app.ready.notify_one();
    let begun = Instant::now();
    assert!(edge.rest().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_head_under_way_is_served_when_the_process_stops() {
    let mut edge = connected().await;
    edge.send(&REQUEST[..7]).await;
    sleep(SECOND / 10).await;
    edge.stop.send(true).unwrap();
    sleep(SECOND / 10).await;
    edge.send(&REQUEST[7..]).await;
    assert!(edge.rest().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_another_task_brings_forward_is_kept() {
    let (_stop, closing) = watch::channel(false);
    let connection = Connection::new(bare_listener(None), None, None, closing);
    let (_client, server) = duplex(64);
    let mut stream = EdgeStream::new(Box::new(server), Arc::clone(&connection));
    connection.deadline.request_begins();
    connection.deadline.set(Some(Instant::now() + 60 * SECOND), Cause::Idle);
    let read = tokio::spawn(async move { stream.read_u8().await.unwrap_err().kind() });
    let begun = Instant::now();
    sleep(SECOND).await;
    connection.deadline.set(Some(Instant::now() + SECOND), Cause::Request);
    assert_eq!(read.await.unwrap(), io::ErrorKind::TimedOut);
    assert_eq!(connection.deadline.expired(), Some(Cause::Request));
    assert!(begun.elapsed() < 3 * SECOND);
}

/// Sends a request and reads the status line of what comes back.
async fn status(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<String> {
    stream.write_all(REQUEST).await?;
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        line.push(char::from(stream.read_u8().await?));
    }
    Ok(line)
}

#[tokio::test]
async fn listeners_serve_tcp_and_unix_and_close_both_when_the_process_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.sock");
    let limits = bare_listener(Some(1)).limits;
    let both = ["127.0.0.1:0", &format!("unix:{}", path.display())].map(|address| Listener::bare(address, limits));
    let bound = bind(&both).unwrap();
    let open = Arc::new(OpenConnections::new(1000));
    let (sockets, mut listeners) =
        bound.serve(Arc::new(App::default()), terms(bare_listener(Some(1))), Arc::clone(&open), refusals());
    let address = sockets.address(&both[0].id).unwrap();
    let (stop, shutdown) = watch::channel(false);
    let served = tokio::spawn(async move { listeners.start_service(None, shutdown, 2).await });

    let mut tcp = TcpStream::connect(&address).await.unwrap();
    assert_eq!(status(&mut tcp).await.unwrap(), "HTTP/1.1 200 OK\r\n");
    let mut second = TcpStream::connect(&address).await.unwrap();
    let mut refusal = String::new();
    second.read_to_string(&mut refusal).await.unwrap();
    assert_eq!(refusal.as_bytes(), TOO_MANY_CONNECTIONS);
    for _ in 0..2 {
        let mut unix = UnixStream::connect(&path).await.unwrap();
        assert_eq!(status(&mut unix).await.unwrap(), "HTTP/1.1 200 OK\r\n", "a unix socket has no client address");
    }

    stop.send(true).unwrap();
    timeout(10 * SECOND, served).await.unwrap().unwrap();
    assert!(TcpStream::connect(&address).await.is_err());
    assert!(!path.exists());
    let mut rest = Vec::new();
    timeout(10 * SECOND, tcp.read_to_end(&mut rest)).await.unwrap().unwrap();
    while open.count() > 0 {
        tokio::task::yield_now().await;
    }
}
