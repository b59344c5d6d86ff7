//! (to be written)

mod config;

pub use config::{Config, ConsistentHash, HashKey};
