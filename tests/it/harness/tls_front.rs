//! TLS in front of an origin: what an endpoint that speaks TLS looks like from outside.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

use super::{Certified, Origin};

/// A TLS server that passes what it decrypts to an origin.
pub(crate) struct TlsFront {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a client said as it connected.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Handshake {
    /// The name that it asked for.
    pub sni: Option<String>,
    /// The protocol that was agreed on.
    pub alpn: Option<String>,
    /// The certificate that it showed.
    pub client: Option<Vec<u8>>,
    /// It did not come about.
    pub failed: bool,
}

impl TlsFront {
    pub(crate) fn start(origin: &Origin, certified: &Certified) -> TlsFront {
        TlsFront::asking(origin, certified, &["http/1.1"], None)
    }

    /// One that offers these protocols, and asks for a certificate that the one in `clients` (PEM) has signed.
    pub(crate) fn asking(origin: &Origin, certified: &Certified, alpn: &[&str], clients: Option<&str>) -> TlsFront {
        let config = server_config(certified, alpn, clients);
        let behind = origin.address();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::default();
        let seen = Arc::clone(&handshakes);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, TlsAcceptor::from(config), behind, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        TlsFront { address, handshakes, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every handshake so far.
    pub(crate) fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap().clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

/// A server's settings.
pub(crate) fn server_config(certified: &Certified, alpn: &[&str], clients: Option<&str>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = certified.der();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, behind: SocketAddr, seen: Arc<Mutex<Vec<Handshake>>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let accepted = acceptor.accept(stream).await;
            let handshake = match &accepted {
                Ok(stream) => {
                    let (_, session) = stream.get_ref();
                    Handshake {
                        sni: session.server_name().map(str::to_owned),
                        alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
                        client: session.peer_certificates().map(|chain| chain[0].to_vec()),
                        failed: false,
                    }
                }
                Err(_) => Handshake { failed: true, ..Handshake::default() },
            };
            seen.lock().unwrap().push(handshake);
            if let (Ok(mut stream), Ok(mut plain)) = (accepted, TcpStream::connect(behind).await) {
                // Whichever side closes first.
                drop(copy_bidirectional(&mut stream, &mut plain).await);
            }
        });
    }
}
