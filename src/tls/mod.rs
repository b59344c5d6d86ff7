//! TLS of the listeners: which certificate for which name, who has to show one, and for how long a ticket opens a session.
//!
//! `compile` makes a [`Policy`] of what the file says; the edge asks it at each handshake, and the proxy holds each request's
//! Host to it. What belongs together is a [`Group`]: the names whose clients are verified alike, under one `ServerConfig` with
//! ticket keys of its own. A ticket is worth nothing in another group, as else a client could resume, under a name that asks for a
//! certificate, what began under a name that does not (nginx CVE-2026-97629 was of this kind).

mod group;
mod identity;
mod names;

use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

pub use group::{ClientAuth, Group, GroupId, Mode, Version};
pub use identity::ClientIdentity;
use names::Names;

use crate::telemetry::metrics::CertificateMetrics;

/// TLS of one listener.
#[derive(Debug)]
pub struct Policy {
    names: Arc<Names>,
    groups: Vec<Group>,
    certificates: Vec<Certificate>,
}

/// One certificate of a listener, with all that holds for its names.
#[derive(Debug)]
pub struct Entry {
    /// The names it is for, lower case; one that begins with `*.` stands for any single label.
    pub names: Vec<String>,
    /// The chain, the key, and the OCSP staple.
    pub key: Arc<CertifiedKey>,
    /// Who has to show a certificate for its names.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// The least version for its names.
    pub min_version: Version,
    /// What a scrape is told of it.
    pub certificate: Certificate,
}

/// What a scrape is told of a certificate.
#[derive(Debug)]
pub struct Certificate {
    /// Its series.
    pub metrics: Arc<CertificateMetrics>,
    /// When its time is over.
    pub not_after: SystemTime,
}

/// What is known of a connection after its handshake.
#[derive(Debug)]
pub struct Secured {
    /// The name that the client asked for (SNI), lower case; none where it asked for none.
    pub server_name: Option<Box<str>>,
    /// The version that both came to.
    pub version: Version,
    /// The group that it was secured in.
    pub group: GroupId,
    /// Who the client has shown to be; none where it has shown no certificate.
    pub client: Option<ClientIdentity>,
}

// === impl Policy ===

impl Policy {
    /// A policy of these certificates; the first stands in for names that none has. Names in `previous`, the listener's policy
    /// until now, that are verified as before keep their ticket keys: sessions outlive a reload and a new certificate.
    ///
    /// # Errors
    /// What can't be: an empty list, or a verifier that could not be made.
    pub fn new(entries: Vec<Entry>, http2: bool, previous: Option<&Policy>) -> Result<Self, String> {
        let mut groups: Vec<(GroupId, Option<Arc<ClientAuth>>, Version)> = Vec::new();
        let mut names = Names::default();
        let mut certificates = Vec::new();
        for entry in entries {
            let id = GroupId::of(entry.client_auth.as_deref(), entry.min_version);
            let group = groups.iter().position(|(known, ..)| *known == id).unwrap_or(groups.len());
            if group == groups.len() {
                groups.push((id, entry.client_auth, entry.min_version));
            }
            names.add(&entry.names, &entry.key, group);
            certificates.push(entry.certificate);
        }
        let names = Arc::new(names);
        let groups = groups.into_iter().map(|(id, client_auth, min_version)| {
            let before = previous.and_then(|previous| previous.groups.iter().find(|group| group.id == id));
            Group::new(id, client_auth.as_deref(), min_version, http2, &names, before)
        });
        Ok(Self { groups: groups.collect::<Result<_, _>>()?, names, certificates })
    }

    /// The configuration of the handshake that begins so, and the group it belongs to. Called once a connection.
    pub fn choose(&self, hello: &ClientHello<'_>) -> Option<(Arc<ServerConfig>, GroupId)> {
        let group = self.groups.get(self.names.find(hello.server_name()).group)?;
        Some((Arc::clone(&group.config), group.id))
    }

    /// Whether a request for `host` (lower case, without a port) may come over a connection of `group`: only where the host's own
    /// clients are verified alike. Called once a request; costs a comparison where all names are verified alike.
    pub fn admits(&self, host: &str, group: GroupId) -> bool {
        let own = match &self.groups[..] {
            [only] => Some(only),
            groups => groups.get(self.names.find(Some(host)).group),
        };
        own.is_some_and(|own| own.id == group)
    }

    /// What scrapes know its certificates by.
    pub fn certificate_names(&self) -> impl Iterator<Item = &str> {
        self.certificates.iter().map(|certificate| certificate.metrics.name())
    }

    /// From now on scrapes are told of these certificates. Two of one name are told of as the one that ends first, once each has
    /// been [withdrawn](Self::withdraw).
    pub fn put_in_place(&self) {
        for certificate in &self.certificates {
            certificate.metrics.ends_at(certificate.not_after);
        }
    }

    /// Takes back what scrapes were told.
    pub fn withdraw(&self) {
        for certificate in &self.certificates {
            certificate.metrics.forget();
        }
    }
}
