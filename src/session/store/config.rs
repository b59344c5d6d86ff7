//! WHERE A STORE IS AND HOW WE GET IN: what the file said, checked. Equal configurations are one store across reloads.

use std::{fmt, sync::Arc};

/// One store, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In this process: sessions are learned from the application's own answers.
    Memory,
    /// Redis, or what speaks like it.
    Redis(RedisConfig),
}

/// A Redis: its servers, and how we get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Who is asked.
    pub servers: Servers,
    /// Who we are to those that hold the data.
    pub credentials: Credentials,
    /// The number of the database; a Cluster knows 0 only.
    pub db: u32,
    /// With `rediss://`: the connection is encrypted and the server's certificate is verified.
    pub tls: Option<Tls>,
}

/// The servers of a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(Address),
    /// A Redis Cluster: any of its nodes, which name the others.
    Cluster(Vec<Address>),
    /// The master that Sentinels name.
    Sentinel {
        /// The name that the Sentinels know it by.
        master: Box<str>,
        /// The Sentinels, asked in this order.
        sentinels: Vec<Address>,
        /// Who we are to the Sentinels.
        credentials: Credentials,
        /// Set: their connections are encrypted, whether or not the master's is.
        tls: Option<Tls>,
    },
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

/// Who we say we are, percent-decoded. Printing it prints nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Absent: Redis's default user.
    pub user: Option<Box<str>>,
    /// Absent: no `AUTH` is sent.
    pub password: Option<Box<str>>,
}

/// How an encrypted connection is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificates (PEM) that may have signed the server's; absent: those the system trusts.
    pub ca: Option<Arc<[u8]>>,
}

// === impl StoreConfig ===

impl StoreConfig {
    /// Whether it can be used at all, as far as that shows without asking anybody.
    ///
    /// # Errors
    /// What is wrong with it, without credentials.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Memory => Ok(()),
            Self::Redis(config) => super::redis::check(config).map_err(|reason| reason.into_owned()),
        }
    }
}

// === impl Address ===

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

// === impl Credentials ===

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}
