//! What we say about ourselves: metrics, the access log and the process log. A leaf: it knows no other part of the
//! gateway; the owner of an event calls one typed method here.

pub mod access_log;
pub mod metrics;
pub mod process_log;
pub mod quota;
