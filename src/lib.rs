//! headgate: an edge gateway on Pingora. One process, one YAML file, nginx's job.
//!
//! The modules stand in the order in which the program's flows pass them; `docs/architecture.md` draws the flows.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may wait, spawn and block as it likes"))]

pub mod strictness;
pub mod telemetry;
pub mod tls;

pub mod listener;
pub mod transport;

pub mod config;

pub mod endpoint;
pub mod health;
pub mod router;
pub mod session;
pub mod sticky;
pub mod strategy;
pub mod upstream;

pub mod route;
pub mod snapshot;

pub mod compile;
pub mod reload;
pub mod supervisor;

pub mod connection;
pub mod edge;
pub mod proxy;

pub mod admin;
pub mod cli;
pub mod server;
