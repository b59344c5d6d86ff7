//! Which endpoint: pure, one file a strategy.
//!
//! The upstream decides who may be chosen ([`Candidates`]); a strategy only says which of them. Nothing here knows of
//! failover, health, draining or retries, and nothing waits.
//!
//! A new one is a file here, a variant of [`Config`], and the arm in [`build`] that the compiler then asks for.

mod candidates;
mod config;
mod consistent_hash;
mod first;
mod hash;
mod ip_hash;
mod least_conn;
mod peak_ewma;
mod random;
mod random_two;
mod round_robin;
mod set;

use std::fmt::Debug;
use std::sync::Arc;

use crate::endpoint::Endpoint;

pub use candidates::Candidates;
pub use config::{Config, ConsistentHash, HashKey};
pub use hash::{hash_address, hash_key};
pub use set::EndpointSet;

/// Chooses one endpoint of the candidates. No I/O, no clock, no lock: `Candidates` brings the time and a random word.
pub trait Strategy: Debug + Send + Sync {
    /// One of the candidates. `key` is the hash of what the request is to be placed by, where there is one.
    fn pick(&self, candidates: &Candidates<'_>, key: Option<u64>) -> Choice;
}

/// What a strategy chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The endpoint.
    pub index: usize,
    /// The load that the choice was made for. If it has changed meanwhile, the choice is made anew: otherwise requests
    /// that come at once would all see the same idle endpoint.
    pub seen: Option<u32>,
}

/// Makes the strategy that was written, over these endpoints. Indexes are valid for them alone.
pub fn build(config: &Config, endpoints: &[Arc<Endpoint>]) -> Box<dyn Strategy> {
    match config {
        Config::RoundRobin => Box::new(round_robin::RoundRobin::new(endpoints)),
        Config::Random => Box::new(random::Random),
        Config::LeastConn => Box::new(least_conn::LeastConn::new(endpoints)),
        Config::RandomTwo => Box::new(random_two::RandomTwo),
        Config::PeakEwma => Box::new(peak_ewma::PeakEwma),
        Config::IpHash => Box::new(ip_hash::IpHash::new(endpoints)),
        Config::ConsistentHash(settings) => {
            Box::new(consistent_hash::ConsistentHashing::new(endpoints, settings.load_bound))
        }
        Config::First => Box::new(first::First),
    }
}

// === impl Choice ===

impl Choice {
    /// The endpoint, whatever its load.
    pub fn of(index: usize) -> Self {
        Self { index, seen: None }
    }

    /// The endpoint, as long as its load is `seen`.
    pub fn at_load(index: usize, seen: u32) -> Self {
        Self { index, seen: Some(seen) }
    }
}

#[cfg(test)]
mod tests;
