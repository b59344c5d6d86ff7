//! `Group`: the names of a listener whose clients are verified alike.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::names::Names;

/// What tells groups apart: who has to show a certificate, signed by whom, and the least version. The same in every generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupId([u8; 32]);

/// Who has to show a certificate.
#[derive(Debug)]
pub struct ClientAuth {
    /// Those who may have signed it.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Whether one has to be shown.
    pub mode: Mode,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody comes in without one.
    Require,
    /// One is asked for, and what is shown has to be right.
    Request,
}

/// A version of TLS. RFC 8996 ended those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What the names of one group have in common.
pub struct Group {
    pub(super) id: GroupId,
    pub(super) config: Arc<ServerConfig>,
}

/// Tickets that a TLS 1.3 client is given at a handshake: one for each of two connections that browsers like to open next.
const TICKETS: usize = 2;

/// Sessions that are kept for clients of TLS 1.2 which take no tickets. One is some 200 bytes, and the client's certificate.
const SESSIONS: usize = 512;

// === impl GroupId ===

impl GroupId {
    /// The id of what these say.
    pub(super) fn of(client_auth: Option<&ClientAuth>, min_version: Version) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&[min_version as u8]);
        if let Some(auth) = client_auth {
            context.update(&[1, auth.mode as u8]);
            for authority in &auth.authorities {
                context.update(&(authority.len() as u64).to_be_bytes());
                context.update(authority);
            }
        }
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Self(id)
    }
}

// === impl ClientAuth ===

impl ClientAuth {
    /// The store of those who may sign.
    ///
    /// # Errors
    /// Which of them can't be trusted by anybody.
    pub fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(|error| error.to_string())?;
        }
        Ok(roots)
    }
}

// === impl Version ===

impl Version {
    /// This version and those after it.
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static KNOWN: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tls12 => &KNOWN,
            Self::Tls13 => &KNOWN[..1],
        }
    }

    /// The version that a handshake came to.
    pub fn of(version: Option<ProtocolVersion>) -> Self {
        if version == Some(ProtocolVersion::TLSv1_3) { Self::Tls13 } else { Self::Tls12 }
    }
}

// === impl Group ===

impl Group {
    /// A group; `before` is the same one of the generation before, whose ticket keys it keeps.
    pub(super) fn new(
        id: GroupId,
        client_auth: Option<&ClientAuth>,
        min_version: Version,
        http2: bool,
        names: &Arc<Names>,
        before: Option<&Group>,
    ) -> Result<Self, String> {
        let provider: Arc<CryptoProvider> = Arc::new(provider::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder =
            builder.with_protocol_versions(min_version.and_later()).map_err(|error| format!("TLS: {error}"))?;
        let builder = match client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => {
                let roots = Arc::new(auth.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match auth.mode {
                    Mode::Require => verifier,
                    Mode::Request => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| format!("client_auth: {error}"))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(names) as Arc<_>);
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        config.ticketer = match before {
            Some(before) => Arc::clone(&before.config.ticketer),
            None => ticketer()?,
        };
        config.session_storage = match before {
            Some(before) => Arc::clone(&before.config.session_storage),
            None => ServerSessionMemoryCache::new(SESSIONS),
        };
        config.send_tls13_tickets = TICKETS;
        Ok(Self { id, config: Arc::new(config) })
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Keys for tickets, made anew every six hours; a ticket is good for twelve (rustls `crypto/ring/ticketer.rs`).
fn ticketer() -> Result<Arc<dyn ProducesTickets>, String> {
    provider::Ticketer::new().map_err(|error| format!("no ticket keys could be made: {error}"))
}
