//! The admin listener: metrics, health and status of the gateway itself, for Prometheus, load balancers and people.
//!
//! It has a runtime of its own, so that it answers while the gateway is busy, and is bounded in everything a caller
//! could make it hold.

mod access;
mod bounded;
mod drain;
mod gateway;
mod status;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

pub use self::drain::{Drain, Drained};
pub use self::gateway::{AddressOf, GatewayStatus};
pub use self::status::{
    EndpointStatus, ListenerStatus, ReloadStatus, RouteStatus, SessionStatus, Status, StoreStatus, UpstreamStatus,
};
use crate::telemetry::metrics::Metrics;
use access::Access;
use bounded::Bounded;

/// What the pages ask of the gateway at each call.
pub trait Source: Send + Sync + 'static {
    /// Whether it shall get traffic: a configuration serves and the process does not drain.
    fn is_ready(&self) -> bool;
    /// What runs, at this moment.
    fn status(&self) -> Status;
    /// Begins or ends the draining of an endpoint.
    ///
    /// # Errors
    /// Which of the two there is none of, as a sentence.
    fn drain(&self, upstream: &str, endpoint: &str, drain: Drain) -> Result<Drained, String>;
}

/// Where the admin listener accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A socket file, for those who may open it.
    Unix(PathBuf),
}

/// The bound admin listener, ready to serve.
#[derive(Debug)]
pub struct Admin {
    socket: Socket,
    access: Access,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// What every page can reach.
#[derive(Clone)]
struct Pages {
    metrics: Arc<Metrics>,
    source: Arc<dyn Source>,
    access: Arc<Access>,
}

// === impl Admin ===

impl Admin {
    /// Binds the listener. Without a token it is refused anywhere but on loopback or a socket file.
    pub fn bind(address: &Address, token: Option<String>) -> io::Result<Self> {
        let public = matches!(address, Address::Tcp(address) if !address.ip().is_loopback());
        if public && token.is_none() {
            let message = "the admin listener needs a token on an address other than loopback";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let socket = match address {
            Address::Tcp(address) => Socket::Tcp(std::net::TcpListener::bind(address)?),
            Address::Unix(path) => Socket::Unix(bind_file(path)?),
        };
        let access = match (token, &socket) {
            (Some(token), _) => Access::Token(token),
            (None, Socket::Tcp(_)) => Access::LoopbackNames,
            (None, Socket::Unix(_)) => Access::Anybody,
        };
        Ok(Self { socket, access })
    }

    /// The address as bound: of port 0, the port that the system chose.
    pub fn address(&self) -> String {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            Socket::Unix(socket) => {
                let path = socket.local_addr().ok().and_then(|address| address.as_pathname().map(PathBuf::from));
                format!("unix:{}", path.unwrap_or_default().display())
            }
        }
    }

    /// Serves until `stop` is done. Must be called on a tokio runtime.
    pub async fn serve(
        self,
        metrics: Arc<Metrics>,
        source: Arc<dyn Source>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        log::info!("admin listening on {}", self.address());
        let pages = router(Pages { metrics, source, access: Arc::new(self.access) });
        match self.socket {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                let listener = Bounded::new(TcpListener::from_std(socket)?);
                axum::serve(listener, pages).with_graceful_shutdown(stop).await
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let listener = Bounded::new(UnixListener::from_std(socket)?);
                axum::serve(listener, pages).with_graceful_shutdown(stop).await
            }
        }
    }
}

/// Binds a socket file, over one that a process left behind which is no more.
fn bind_file(path: &PathBuf) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            match UnixStream::connect(path) {
                // What is no socket refuses in the same way.
                _ if !std::fs::symlink_metadata(path)?.file_type().is_socket() => {
                    let message = "the path is there and is not a socket";
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
                }
                Err(dead) if dead.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                _ => return Err(error),
            }
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

// --- the pages ---

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/upstreams/{upstream}/endpoints/{endpoint}/drain", put(drain::begin).delete(drain::end))
        .layer(DefaultBodyLimit::max(drain::MAX_BODY))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such page: /metrics /healthz /readyz /status") })
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(pages.clone(), admit))
        // Behind the layer, so that whoever probes needs no token: these two say nothing but yes or no.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(wrong_method)
        .with_state(pages)
}

async fn admit(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let refusal = pages.access.refusal(request.headers());
    match refusal.or_else(|| access::foreign_change(request.method(), request.headers())) {
        None => next.run(request).await,
        Some((status, why)) => {
            let mut answer = problem(status, why);
            if status == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            }
            answer
        }
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], pages.metrics.text()).into_response()
}

async fn status(State(pages): State<Pages>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(pages.source.status())).into_response()
}

async fn readyz(State(pages): State<Pages>) -> Response {
    match pages.source.is_ready() {
        true => (StatusCode::OK, "ready\n").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn wrong_method() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "this page is not for that method")
}

fn problem(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

#[cfg(test)]
mod tests;
