//! A hundred thousand sessions over 64 connections for a minute: nobody reaches another endpoint than the one the session
//! was given, and what is remembered stays within its bound.
//!
//! `cargo test --release --test it sessions_load -- --ignored --nocapture --test-threads 1` prints what it took.

use std::{
    env,
    io::{Error, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::timeout,
};

use crate::harness::{Gateway, Redis, SECRET, SOON, Samples, signed, stored};

const SESSIONS: usize = 100_000;
const CONNECTIONS: usize = 64;
const ENDPOINTS: u8 = 3;

/// What a source remembers at most, of sessions and of signatures.
const MOST_BYTES: f64 = (64 + 16) as f64 * 1024.0 * 1024.0;

/// A session as its client knows it.
struct Known {
    cookie: String,
    /// The endpoint that answered first; 0 before that.
    endpoint: AtomicU8,
    /// Somebody is asking for the first time.
    taken: AtomicBool,
    pin: OnceLock<String>,
}

#[derive(Default)]
struct Counts {
    /// How many have been asked for in their order.
    turn: AtomicUsize,
    asked: AtomicUsize,
    /// Answered by another endpoint than the first time.
    misplaced: AtomicUsize,
    failed: AtomicUsize,
}

/// Three endpoints that say who they are; with `touch` they extend the session they were asked with, as express-session
/// does.
struct Endpoints {
    addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Endpoints {
    fn start(runtime: &Runtime, touch: Option<&MultiplexedConnection>) -> Endpoints {
        let mut tasks = JoinSet::new();
        let addresses = (1..=ENDPOINTS).map(|name| {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            let touch = touch.cloned();
            tasks.spawn_on(
                async move {
                    let mut connections = JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        connections.spawn(serve(stream, name, touch.clone()));
                    }
                },
                runtime.handle(),
            );
            address
        });
        Endpoints { addresses: addresses.collect(), _tasks: tasks }
    }
}

async fn serve(mut stream: TcpStream, name: u8, mut touch: Option<MultiplexedConnection>) {
    let mut read = Vec::new();
    stream.set_nodelay(true).unwrap();
    while let Ok(head) = head(&mut stream, &mut read).await {
        if let Some(connection) = &mut touch {
            let id = head.split_once("connect.sid=s%3A").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
            let key = format!("sess:{id}");
            redis::cmd("EXPIRE").arg(key).arg(86400).exec_async(connection).await.unwrap();
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-instance: {name}\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads up to the end of a head; nothing here has a body.
async fn head(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<String> {
    loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = read.drain(..at + 4).collect();
            return Ok(String::from_utf8(head).unwrap());
        }
        if stream.read_buf(read).await? == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
    }
}

/// One connection, asking for one session after the other until `end`.
async fn ask(gateway: SocketAddr, sessions: Arc<Vec<Known>>, counts: Arc<Counts>, end: Instant) {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::new();
    while Instant::now() < end {
        // Every session has its turn, and some come often: half of the other requests are for a sixteenth of the sessions.
        let next = if fastrand::bool() {
            counts.turn.fetch_add(1, Relaxed) % SESSIONS
        } else {
            (fastrand::f64().powi(4) * SESSIONS as f64) as usize
        };
        let session = &sessions[next];
        let first = session.endpoint.load(Relaxed);
        // Two first requests at once may well go to two endpoints; no client of ours does that.
        if first == 0 && session.taken.swap(true, Relaxed) {
            continue;
        }
        let pin = session.pin.get().map_or(String::new(), |pin| format!("; {pin}"));
        let request = format!("GET / HTTP/1.1\r\nHost: test.example\r\nCookie: {}{pin}\r\n\r\n", session.cookie);
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = timeout(SOON, head(&mut stream, &mut read)).await.expect("an answer in time").unwrap();
        counts.asked.fetch_add(1, Relaxed);
        let header = |name: &str| answer.split_once(name).map(|(_, rest)| rest.split_once("\r\n").unwrap().0);
        let Some(endpoint) = header("x-instance: ").and_then(|name| name.parse::<u8>().ok()) else {
            counts.failed.fetch_add(1, Relaxed);
            continue;
        };
        if first == 0 {
            let set = header("et-Cookie: ").or_else(|| header("et-cookie: "));
            if let Some(set) = set {
                session.pin.set(set.split(';').next().unwrap().to_owned()).unwrap();
            }
            session.endpoint.store(endpoint, Relaxed);
        } else if first != endpoint {
            counts.misplaced.fetch_add(1, Relaxed);
        }
    }
}

fn checks(samples: &Samples, result: &str) -> f64 {
    samples.sum("headgate_session_checks_total", &[("result", result)])
}

/// Runs the load with this `sticky`, and says what came of it.
fn run(sticky: &str, touching: bool) {
    let seconds = env::var("SESSIONS_LOAD_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let redis = Redis::start();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = runtime.block_on(client.get_multiplexed_async_connection()).unwrap();
    let sessions: Vec<_> = (0..SESSIONS).map(|number| format!("{number:08}-{:024x}", fastrand::u64(..))).collect();
    for some in sessions.chunks(1000) {
        let mut put = redis::pipe();
        for id in some {
            put.cmd("SET").arg(format!("sess:{id}")).arg(stored(id)).arg("EX").arg(86400).ignore();
        }
        runtime.block_on(put.exec_async(&mut connection)).unwrap();
    }
    let known = sessions.iter().map(|id| Known {
        cookie: signed(id, SECRET),
        endpoint: AtomicU8::new(0),
        taken: AtomicBool::new(false),
        pin: OnceLock::new(),
    });
    let known: Arc<Vec<_>> = Arc::new(known.collect());
    let endpoints = Endpoints::start(&runtime, touching.then_some(&connection));

    let gateway = Gateway::start(&format!(
        "sessions:\n  web:\n    cookie: connect.sid\n    format: express\n    secrets: ['{SECRET}']\n    store: {}\n    \
         timeout: 1s\n    when_store_down: deny\n\
         upstreams:\n  node: {{ endpoints: {:?} }}\n\
         routes:\n  - upstream: node\n    session: {{ source: web, require: {{ field: passport.user }}, forward: {{ x-user: passport.user }} }}\n    \
         sticky: {sticky}\n",
        redis.url(),
        endpoints.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    ));
    let before = gateway.memory_kib("VmRSS");
    redis.forget_calls();

    let counts = Arc::new(Counts::default());
    let end = Instant::now() + Duration::from_secs(seconds);
    let address = gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn_on(ask(address, Arc::clone(&known), Arc::clone(&counts), end), runtime.handle());
    }
    let mut highest = 0.0f64;
    while !clients.is_empty() {
        let tick = async { timeout(Duration::from_secs(1), clients.join_next()).await };
        if let Ok(Some(ended)) = runtime.block_on(tick) {
            ended.unwrap();
        }
        highest = highest.max(gateway.metrics().sum("headgate_session_cache_bytes", &[]));
    }

    let samples = gateway.metrics();
    let asked = counts.asked.load(Relaxed);
    let seen = known.iter().filter(|session| session.endpoint.load(Relaxed) > 0).count();
    let (cached, live) = (checks(&samples, "cached"), checks(&samples, "live"));
    eprintln!("sticky: {sticky}, touching: {touching}");
    eprintln!("  {asked} requests in {seconds} s, {seen} sessions of {SESSIONS}");
    eprintln!("  misplaced {}, failed {}", counts.misplaced.load(Relaxed), counts.failed.load(Relaxed));
    eprintln!("  cached {cached}, asked the store {live}: hit rate {:.3}", cached / (cached + live));
    eprintln!("  invalidations {}", samples.sum("headgate_session_store_invalidations_total", &[]));
    eprintln!("  redis: {:?}", redis.calls());
    eprintln!(
        "  remembered {} entries, {highest} bytes at most; VmRSS {before} -> {} KiB, VmHWM {} KiB",
        samples.sum("headgate_session_cache_entries", &[]),
        gateway.memory_kib("VmRSS"),
        gateway.memory_kib("VmHWM"),
    );
    assert_eq!((counts.misplaced.load(Relaxed), counts.failed.load(Relaxed)), (0, 0));
    assert!(counts.turn.load(Relaxed) < SESSIONS || seen == SESSIONS, "{seen} sessions");
    assert!(asked > SESSIONS / 10, "only {asked} requests");
    assert!(highest <= MOST_BYTES, "{highest} bytes are remembered");
    drop(runtime);
}

#[test]
#[ignore = "takes minutes, and means something in a release build only"]
fn a_hundred_thousand_sessions_stay_where_their_cookie_says() {
    run("{ cookie: srv, session: web }", false);
    run("{ cookie: srv, session: web }", true);
}

#[test]
#[ignore = "takes minutes, and means something in a release build only"]
fn a_hundred_thousand_sessions_stay_where_the_store_says() {
    run("{ session: web }", false);
    run("{ session: web }", true);
}
