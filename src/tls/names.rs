//! `Names`: which certificates a name has, and which group it belongs to. RFC 6125 section 6.4.3: a wildcard stands for one
//! whole label, the leftmost.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// All names of a listener.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Wildcards without their star, as in `.example.com`.
    places: HashMap<Box<str>, usize>,
    /// The first is for every other name.
    named: Vec<Named>,
}

/// What one name has.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) group: usize,
    /// Those that cost less to sign with come first.
    keys: Vec<Arc<CertifiedKey>>,
}

/// What a name has where there is none at all.
static NOTHING: Named = Named { group: usize::MAX, keys: Vec::new() };

impl Names {
    /// Adds a certificate of a group to its names. The first one added is the default's too.
    pub(super) fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>, group: usize) {
        if self.named.is_empty() {
            self.named.push(Named { group, keys: vec![Arc::clone(key)] });
        }
        for name in names {
            let name = name.strip_prefix('*').unwrap_or(name);
            let place = *self.places.entry(name.into()).or_insert(self.named.len());
            if place == self.named.len() {
                self.named.push(Named { group, keys: Vec::new() });
            }
            let keys = &mut self.named[place].keys;
            keys.push(Arc::clone(key));
            keys.sort_by_key(|key| cost(key));
        }
        // Where the default's names have another certificate beside it, the default has it too.
        if let Some(place) = self.default_place() {
            self.named[0].keys = self.named[place].keys.clone();
        }
    }

    /// A place of the first certificate's names.
    fn default_place(&self) -> Option<usize> {
        let first = self.named.first()?.keys.first()?;
        self.named
            .iter()
            .skip(1)
            .position(|named| named.keys.iter().any(|key| Arc::ptr_eq(key, first)))
            .map(|at| at + 1)
    }

    /// What this name has: its own, or its wildcard's, or the default's.
    pub(super) fn find(&self, name: Option<&str>) -> &Named {
        let place = name.and_then(|name| match self.places.get(name) {
            Some(place) => Some(*place),
            None => self.places.get(&name[name.find('.')?..]).copied(),
        });
        self.named.get(place.unwrap_or(0)).unwrap_or(&NOTHING)
    }
}

impl ResolvesServerCert for Names {
    /// The first certificate that the client can verify; where it can verify none, one that it will refuse by itself.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = &self.find(hello.server_name()).keys;
        let known = keys.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        known.or(keys.first()).cloned()
    }
}

/// Signing with RSA of 2,048 bits takes some ten times what it takes with P-256.
fn cost(key: &CertifiedKey) -> u8 {
    match key.key.algorithm() {
        SignatureAlgorithm::ECDSA | SignatureAlgorithm::ED25519 | SignatureAlgorithm::ED448 => 0,
        _ => 1,
    }
}
