//! Which endpoints are fit: probes, the threshold that turns their answers into a verdict, and the addresses of
//! endpoints that are written by name.
//!
//! A probe flows one way: supervisor tick -> [`check_once`] -> [`Threshold::observe`] -> on a change only: the
//! endpoint's state, one log line, one gauge. Strategies read the state; nobody tells them.

pub mod outlier;
mod probe;
pub mod resolve;
mod threshold;

pub use probe::{HttpProbe, Probe, ProbeKind};
pub use threshold::{Change, Threshold};
