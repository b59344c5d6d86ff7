//! Which endpoints are fit: probes, the threshold that turns their answers into a verdict, and the addresses of
//! endpoints that are written by name.
//!
//! A probe flows one way: supervisor tick -> [`check_once`] -> [`Threshold::observe`] -> on a change only: the
//! endpoint's state and one log line. Strategies and scrapes read the state; nobody tells them.

mod grpc;
mod http2;
pub mod outlier;
mod probe;
pub mod resolve;
mod threshold;

pub use grpc::GrpcProbe;
pub use probe::{HttpProbe, Probe, ProbeKind, check_once};
pub use threshold::{Change, Threshold};

#[cfg(test)]
pub(crate) mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::endpoint::{Address, Endpoint, EndpointId, EndpointSettings, EndpointState};
    use crate::telemetry::metrics::Metrics;

    /// An endpoint that is written `host:port` or `unix:/path`; a name resolves to `addresses`.
    pub(crate) fn endpoint(written: &str, addresses: &[SocketAddr]) -> Endpoint {
        let address = match (written.parse(), written.split_once(':').unwrap()) {
            (Ok(address), _) => Address::Tcp(address),
            (_, ("unix", path)) => Address::Unix(path.into()),
            (_, (host, port)) => Address::Name { host: host.to_string(), port: port.parse().unwrap() },
        };
        let now = Instant::now();
        let state = Arc::new(EndpointState::new(&address, false, now));
        state.set_addresses(addresses.to_vec(), now);
        let id = EndpointId::new(written);
        let host_header = None;
        let metrics = Metrics::new().upstream("app").endpoint(written);
        let (weight, backup, max_connections) = (1, false, None);
        Endpoint::new(EndpointSettings { id, address, weight, backup, max_connections, host_header }, state, metrics)
    }
}
