//! The TLS handshake of a connection, and the stream that comes of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::metrics::HandshakeFailure;
use crate::tls::{ClientIdentity, Policy, Secured, Version};

/// What a client gets that speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 54\r\n\
connection: close\r\n\r\n400 Bad Request: this port speaks TLS, use https://..\n";

/// The first byte of a handshake record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;

/// The most plain text that waits for the client to take it; rustls would take 64 KiB.
const SEND_BUFFER: usize = 16 << 10;

/// A connection after its handshake.
pub(super) struct Handshaken {
    pub(super) stream: Stream,
    pub(super) secured: Secured,
}

/// A TLS stream as Pingora's streams are.
#[derive(Debug)]
struct Secure(TlsStream<Stream>);

/// Makes the handshake that the client begins, by the policy's configuration for the name that it asks for.
///
/// # Errors
/// Why there is none; the connection is closed then.
pub(super) async fn handshake(
    stream: Stream,
    policy: &Policy,
    within: Duration,
) -> Result<Handshaken, HandshakeFailure> {
    timeout(within, accept(stream, policy)).await.unwrap_or(Err(HandshakeFailure::Timeout))
}

async fn accept(mut stream: Stream, policy: &Policy) -> Result<Handshaken, HandshakeFailure> {
    let mut first = [0];
    if stream.try_peek(&mut first).await.map_err(|_| HandshakeFailure::Closed)? && first[0] != HANDSHAKE {
        if !first[0].is_ascii_uppercase() {
            return Err(HandshakeFailure::Malformed);
        }
        // Best effort: a client that has sent more than we read may be told of a reset instead.
        let _ = stream.write_all(PLAIN_HTTP).await;
        let _ = AsyncWriteExt::shutdown(&mut stream).await;
        return Err(HandshakeFailure::PlainHttp);
    }
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(|error| failure(&error))?;
    let hello = begun.client_hello();
    let server_name = hello.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    let (config, group) = policy.choose(&hello).ok_or(HandshakeFailure::Incompatible)?;
    let stream = begun.into_stream_with(config, |connection| connection.set_buffer_limit(Some(SEND_BUFFER)));
    let stream = stream.await.map_err(|error| failure(&error))?;
    let (_, connection) = stream.get_ref();
    let secured = Secured {
        server_name,
        version: Version::of(connection.protocol_version()),
        group,
        client: connection.peer_certificates().and_then(|chain| chain.first()).map(ClientIdentity::of),
    };
    Ok(Handshaken { stream: Box::new(Secure(stream)), secured })
}

/// What an error of a handshake means.
fn failure(error: &io::Error) -> HandshakeFailure {
    use rustls::Error as E;
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<E>()) else {
        return HandshakeFailure::Closed;
    };
    match error {
        E::NoCertificatesPresented | E::InvalidCertificate(_) | E::UnsupportedNameType => {
            HandshakeFailure::ClientCertificate
        }
        E::PeerIncompatible(_) | E::NoApplicationProtocol => HandshakeFailure::Incompatible,
        E::AlertReceived(_) => HandshakeFailure::Alert,
        _ => HandshakeFailure::Malformed,
    }
}

// === impl Secure ===

impl AsyncRead for Secure {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buf)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl Secure {
    fn inner(&self) -> &Stream {
        self.0.get_ref().0
    }
}

// The rest of Pingora's `IO`, passed on to what is below TLS.

#[async_trait]
impl Shutdown for Secure {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(&mut self.0).await;
    }
}

impl UniqueID for Secure {
    fn id(&self) -> UniqueIDType {
        self.inner().id()
    }
}

impl Ssl for Secure {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        (self.0.get_ref().1.alpn_protocol() == Some(b"h2")).then_some(ALPN::H2)
    }
}

impl GetTimingDigest for Secure {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner().get_write_pending_time()
    }
}

impl GetProxyDigest for Secure {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.0.get_mut().0.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Secure {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.0.get_mut().0.set_socket_digest(digest);
    }
}

impl Peek for Secure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_in_plain_text_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
    }
}
