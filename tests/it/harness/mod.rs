//! The nouns the tests speak in: a `Gateway` under test, `Origin`s and `NodeApp`s behind it, `Redis` beside it, `Client`s,
//! `Browser`s and `Load` in front of it. Everything is bounded in time, takes its port from the system, and is ended by whoever started it.

mod authority;
mod browser;
mod client;
mod gateway;
mod grpc;
pub(crate) mod hpack;
mod http;
pub(crate) mod http2;
mod http2_origin;
mod itself;
mod load;
mod node;
mod origin;
mod port;
mod redis;
mod samples;
mod store_double;
mod tls_front;
mod trust;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

pub(crate) use self::{
    authority::{Authority, Certified},
    browser::Browser,
    client::{Answer, Ask, Client, Target},
    gateway::{Gateway, Setup, headgate},
    grpc::{GrpcServer, grpc_scene, grpc_tell},
    http2::Http2,
    http2_origin::{Http2Origin, Http2Reply},
    load::Load,
    node::{NodeApp, node_list, npm_ci},
    origin::{Origin, Recorded, Reply},
    port::Port,
    redis::{Redis, RedisCluster, RedisSentinel, SECRET, signed, stored},
    samples::Samples,
    store_double::{Says, StoreDouble},
    tls_front::TlsFront,
    trust::{Trust, openssl, pem, rsa, s_client},
};

/// The bound of everything that should come at once: generous, because builds share the machine with the tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How often a condition is looked at again.
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds, at most `SOON`; `what` is what the failure says.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Waits until `find` finds, at most `SOON`.
#[track_caller]
pub(crate) fn eventually_some<T>(what: &str, find: impl FnMut() -> Option<T>) -> T {
    within(SOON, find).unwrap_or_else(|| panic!("not within {SOON:?}: {what}"))
}

/// Waits until `find` finds, at most `bound`.
pub(crate) fn within<T>(bound: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + bound;
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(GLANCE);
    }
}

/// Runs `act` and says how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = act();
    (value, start.elapsed())
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `[127.0.0.1:1, 127.0.0.1:2]`, ready to stand behind `endpoints:`.
pub(crate) fn list(origins: &[&Origin]) -> String {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address().to_string()).collect();
    format!("[{}]", addresses.join(", "))
}

/// A file with one upstream `node` of these endpoints (`[..]`) and these further settings (`strategy: first, ..`), and one
/// route that leads to it.
pub(crate) fn upstream(endpoints: &str, settings: &str) -> String {
    format!("upstreams:\n  node: {{ endpoints: {endpoints}, {settings} }}\nroutes:\n  - upstream: node\n")
}

/// Every file under `directory` whose name ends with `.extension`.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Sends a signal by name (`TERM`, `HUP`, ..) to one process.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status().unwrap();
    assert!(sent.success(), "no process {pid} to send {name} to");
}

/// Waits for the end of a process; `None` when it still runs after `bound`.
pub(crate) fn ended(child: &mut Child, bound: Duration) -> Option<ExitStatus> {
    within(bound, || child.try_wait().unwrap())
}

/// True for the errors of a peer that closed, reset or refused.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
    )
}
