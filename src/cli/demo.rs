//! The endpoints of `headgate demo`: small HTTP servers on the loopback addresses that the configuration names, so that
//! a newcomer needs no application to see the gateway balance. They stand outside every flow: to the gateway they are
//! endpoints like any other.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, SET_COOKIE};
use axum::routing::{any, get};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

use super::{RUNTIME, complain};
use crate::endpoint::Address;
use crate::reload;
use crate::supervisor::Work;
use crate::telemetry::metrics::Metrics;

/// Runs the gateway with an endpoint behind it for each loopback address that the file names and nobody listens on.
pub(super) fn demo(file: &Path) -> ExitCode {
    let read = reload::read(file, &headgate_plugins::builtin(), &Metrics::new(), None, None);
    // Problems are told by `run`, which reads the file again.
    let addresses: Vec<SocketAddr> =
        read.iter().flat_map(|candidate| candidate.compiled.orders.endpoints.iter()).filter_map(loopback).collect();
    match start_demo_endpoints(&addresses) {
        Ok(endpoints) => {
            let shown =
                |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if !endpoints.started.is_empty() {
                complain(&format!("demo endpoints at {}", shown(&endpoints.started)));
            }
            if !endpoints.already_there.is_empty() {
                complain(&format!("left alone, somebody listens there: {}", shown(&endpoints.already_there)));
            }
            super::run::run(file)
        }
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::from(RUNTIME)
        }
    }
}

fn loopback(work: &Work) -> Option<SocketAddr> {
    match work.endpoint.address {
        Address::Tcp(address) if address.ip().is_loopback() => Some(address),
        Address::Tcp(_) | Address::Name { .. } | Address::Unix(_) => None,
    }
}

/// `/slow` waits no longer than this, whatever the request asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The cookie of the demo's sessions.
const SESSION: &str = "sid";

/// Demo endpoints that serve until this is dropped.
#[must_use = "the endpoints serve only while this is held"]
#[derive(Debug)]
pub struct DemoEndpoints {
    /// Where an endpoint was started.
    pub started: Vec<SocketAddr>,
    /// Where somebody listened already: probably the operator's own application, which is left alone.
    pub already_there: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a demo endpoint on each of `addresses` on which nobody listens; all of them share one thread.
///
/// # Errors
/// An address that can't be bound for any other reason than that somebody listens there, or no thread to be had.
pub fn start_demo_endpoints(addresses: &[SocketAddr]) -> io::Result<DemoEndpoints> {
    let mut listeners = Vec::new();
    let (mut started, mut already_there) = (Vec::new(), Vec::new());
    for &address in addresses {
        // Several upstreams may name one address.
        if started.contains(&address) || already_there.contains(&address) {
            continue;
        }
        match TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                started.push(listener.local_addr()?);
                listeners.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => already_there.push(address),
            Err(error) => return Err(io::Error::new(error.kind(), format!("demo endpoint {address}: {error}"))),
        }
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread =
        thread::Builder::new().name("demo-endpoints".into()).spawn(move || serve(&runtime, listeners, stopped))?;
    Ok(DemoEndpoints { started, already_there, stop: Some(stop), thread: Some(thread) })
}

fn serve(runtime: &Runtime, listeners: Vec<TcpListener>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        for listener in listeners {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { continue };
            let Ok(address) = listener.local_addr() else { continue };
            runtime.spawn(async move { axum::serve(listener, pages(address)).await });
        }
        // An error means that the sender is gone, which is the same wish.
        let _ = stopped.await;
    });
}

/// What an endpoint answers: its name at `/`, a session's begin and end at `/login` and `/logout`, and at any other path also
/// the request as it arrived.
fn pages(address: SocketAddr) -> Router {
    let name: Arc<str> = format!("demo endpoint {address}\n").into();
    Router::new()
        .route("/", any(async |State(name): State<Arc<str>>| name.to_string()))
        .route("/healthz", get(async || "ok\n"))
        .route("/slow", get(slow))
        .route("/login", get(login))
        .route("/logout", get(logout))
        .fallback(echo)
        .with_state(name)
}

/// `/slow?ms=500` answers after half a second.
async fn slow(State(name): State<Arc<str>>, request: Request) -> String {
    let milliseconds = request.uri().query().and_then(|query| query.strip_prefix("ms=")?.parse().ok()).unwrap_or(1000);
    tokio::time::sleep(Duration::from_millis(milliseconds).min(LONGEST_WAIT)).await;
    name.to_string()
}

/// What an application says when a session begins. Nobody keeps this one but the client and a gateway with `store: memory`.
async fn login(State(name): State<Arc<str>>) -> ([(HeaderName, String); 1], String) {
    let cookie = format!("{SESSION}={:032x}; Path=/; HttpOnly; SameSite=Lax", fastrand::u128(..));
    ([(SET_COOKIE, cookie)], format!("{name}a session begins\n"))
}

/// What an application says when it ends.
async fn logout(State(name): State<Arc<str>>) -> ([(HeaderName, String); 1], String) {
    ([(SET_COOKIE, format!("{SESSION}=; Path=/; Max-Age=0"))], format!("{name}the session is over\n"))
}

async fn echo(State(name): State<Arc<str>>, headers: HeaderMap, request: Request) -> String {
    let mut text = format!("{name}{} {}\n", request.method(), request.uri());
    for (header, value) in &headers {
        text.push_str(&format!("{header}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

// === impl DemoEndpoints ===

impl Drop for DemoEndpoints {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn fetch(address: SocketAddr, target: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: demo\r\nx-asked: yes\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn each_endpoint_answers_its_own_name_and_the_request() {
        let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let demo = start_demo_endpoints(&[any_port, any_port]).unwrap();
        assert_eq!(demo.started.len(), 2);
        for &address in &demo.started {
            assert!(fetch(address, "/").ends_with(&format!("\r\n\r\ndemo endpoint {address}\n")));
            assert!(fetch(address, "/healthz").starts_with("HTTP/1.1 200"));
            assert!(fetch(address, "/slow?ms=1").contains(&address.to_string()));
            let (begun, ended) = (fetch(address, "/login"), fetch(address, "/logout"));
            assert!(begun.contains("\r\nset-cookie: sid=") && begun.ends_with("a session begins\n"), "{begun}");
            assert!(ended.contains("\r\nset-cookie: sid=; Path=/; Max-Age=0\r\n"), "{ended}");
            let echoed = fetch(address, "/some/path?a=b");
            assert!(echoed.contains("GET /some/path?a=b\n") && echoed.contains("x-asked: yes\n"), "{echoed}");
        }
    }

    #[test]
    fn an_address_in_use_is_left_alone_and_named() {
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = theirs.local_addr().unwrap();
        let demo = start_demo_endpoints(&[address]).unwrap();
        assert_eq!((demo.started.len(), demo.already_there.as_slice()), (0, [address].as_slice()));
    }

    #[test]
    fn an_address_of_two_upstreams_gets_one_endpoint_and_is_told_once() {
        // Bound and dropped, so that the address is free.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let demo = start_demo_endpoints(&[free, free]).unwrap();
        assert_eq!((demo.started.as_slice(), demo.already_there.len()), ([free].as_slice(), 0));
        let again = start_demo_endpoints(&[free, free]).unwrap();
        assert_eq!((again.started.len(), again.already_there.as_slice()), (0, [free].as_slice()));
    }

    #[test]
    fn dropping_them_frees_their_addresses() {
        let demo = start_demo_endpoints(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = demo.started[0];
        drop(demo);
        assert!(TcpStream::connect(address).is_err());
    }
}
