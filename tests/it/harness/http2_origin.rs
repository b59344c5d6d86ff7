//! An HTTP/2 server behind the gateway, in plain text or TLS, that records what reaches it and misbehaves on demand.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bytes::Bytes;
use h2::{Reason, server};
use http::{HeaderMap, Response};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

use super::{Certified, tls_front::server_config};

/// A request as it reached an origin.
#[derive(Clone, Debug)]
pub(crate) struct Http2Recorded {
    pub method: String,
    pub scheme: String,
    pub authority: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What an origin does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Http2Reply {
    /// Answers 200 with these fields, this body, and these fields behind it where there are any.
    Answer { head: Fields, body: &'static str, trailers: Fields },
    /// Answers with this status and the origin's name.
    Status(u16),
    /// Refuses the stream unseen.
    Refuse,
    /// Answers with a body without an end, as fast as it is taken.
    Endless,
    /// Says nothing.
    Hang,
    /// Begins an answer with this body and goes no further.
    StallAfter(&'static str),
    /// Begins an answer with this body and resets it.
    ResetAfter(&'static str),
}

pub(crate) type Fields = &'static [(&'static str, &'static str)];

/// A server on a port of its own.
pub(crate) struct Http2Origin {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    reply: Http2Reply,
    first: Vec<Http2Reply>,
    recorded: Vec<Http2Recorded>,
    connections: usize,
    probes: usize,
}

impl Http2Origin {
    /// One that speaks HTTP/2 without being asked (h2c).
    pub(crate) fn start(name: &str) -> Http2Origin {
        Http2Origin::with(name, None)
    }

    /// One that offers HTTP/2 in TLS.
    pub(crate) fn tls(name: &str, certified: &Certified) -> Http2Origin {
        Http2Origin::with(name, Some(server_config(certified, &["h2"], None)))
    }

    fn with(name: &str, tls: Option<Arc<ServerConfig>>) -> Http2Origin {
        let shared = Shared {
            reply: Http2Reply::Status(200),
            first: Vec::new(),
            recorded: Vec::new(),
            connections: 0,
            probes: 0,
        };
        let shared = Arc::new(Mutex::new(shared));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (name, seen) = (name.to_owned(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, tls, name, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Http2Origin { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn reply(&self, reply: Http2Reply) {
        self.shared.lock().unwrap().reply = reply;
    }

    /// The next request gets this reply; several calls queue up.
    pub(crate) fn reply_once(&self, reply: Http2Reply) {
        self.shared.lock().unwrap().first.insert(0, reply);
    }

    pub(crate) fn requests(&self) -> Vec<Http2Recorded> {
        self.shared.lock().unwrap().recorded.clone()
    }

    /// The last request that came.
    #[track_caller]
    pub(crate) fn last(&self) -> Http2Recorded {
        self.requests().pop().expect("nothing came")
    }

    /// How many connections were ever accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }

    pub(crate) fn probes(&self) -> usize {
        self.shared.lock().unwrap().probes
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, name: String, shared: Arc<Mutex<Shared>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        stream.set_nodelay(true).unwrap();
        let (tls, name, shared) = (tls.clone().map(TlsAcceptor::from), name.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, name, shared).await;
                    }
                }
                None => serve(stream, name, shared).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, name: String, shared: Arc<Mutex<Shared>>) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    shared.lock().unwrap().connections += 1;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() != "/healthz" {
            let mut locked = shared.lock().unwrap();
            if matches!(locked.first.last(), Some(Http2Reply::Refuse)) {
                locked.first.pop();
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
        }
        let (name, shared) = (name.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // A gateway that went away is no fault of the origin's.
            drop(exchange(&name, &shared, request, respond).await);
        });
    }
}

async fn exchange(
    name: &str,
    shared: &Mutex<Shared>,
    request: http::Request<h2::RecvStream>,
    mut respond: server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut read = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        read.extend_from_slice(&piece);
    }
    let path = head.uri.path().to_owned();
    let reply = {
        let mut shared = shared.lock().unwrap();
        if path == "/healthz" {
            shared.probes += 1;
            Http2Reply::Status(200)
        } else {
            shared.recorded.push(Http2Recorded {
                method: head.method.to_string(),
                scheme: head.uri.scheme_str().unwrap_or_default().to_owned(),
                authority: head.uri.authority().map(ToString::to_string).unwrap_or_default(),
                target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                headers: head.headers,
                body: read.into(),
            });
            shared.first.pop().unwrap_or_else(|| shared.reply.clone())
        }
    };
    match reply {
        Http2Reply::Status(status) => {
            let answer = Response::builder().status(status).header("x-instance", name).body(()).unwrap();
            respond.send_response(answer, false)?.send_data(Bytes::copy_from_slice(name.as_bytes()), true)
        }
        Http2Reply::Answer { head, body, trailers } => {
            let mut answer = Response::new(());
            *answer.headers_mut() = fields(head);
            let bare = body.is_empty() && trailers.is_empty();
            let mut sending = respond.send_response(answer, bare)?;
            if !body.is_empty() {
                sending.send_data(body.into(), trailers.is_empty())?;
            }
            if trailers.is_empty() { Ok(()) } else { sending.send_trailers(fields(trailers)) }
        }
        Http2Reply::StallAfter(body) => {
            let mut sending = respond.send_response(Response::new(()), false)?;
            sending.send_data(body.into(), false)?;
            std::future::poll_fn(|context| sending.poll_reset(context)).await.map(drop)
        }
        Http2Reply::ResetAfter(body) => {
            let mut sending = respond.send_response(Response::new(()), false)?;
            sending.send_data(body.into(), false)?;
            // The piece goes out before the reset, which would take it back.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            sending.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        Http2Reply::Endless => {
            let mut sending = respond.send_response(Response::new(()), false)?;
            loop {
                sending.reserve_capacity(16 << 10);
                match std::future::poll_fn(|context| sending.poll_capacity(context)).await {
                    Some(granted) => sending.send_data(vec![b'x'; granted?].into(), false)?,
                    None => return Ok(()),
                }
            }
        }
        Http2Reply::Hang | Http2Reply::Refuse => {
            std::future::poll_fn(|context| respond.poll_reset(context)).await.map(drop)
        }
    }
}

fn fields(fields: Fields) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
}
