//! Black-box tests: the real binary, real sockets, real Node apps. One file a behaviour; `harness` holds the nouns.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and may wait and block as it likes"
)]

mod access_log;
mod architecture;
mod check;
mod cookie_key;
mod docs;
mod examples;
mod expect;
mod express_session;
mod failover;
mod forwarding;
mod grpc;
mod grpc_calls;
mod harness;
mod health;
mod http2;
mod http2_frames;
mod keys;
mod life;
mod listeners;
mod pm2;
mod prometheus;
mod proxying;
mod redirect_to_https;
mod reload;
mod routing;
mod session;
mod session_store;
mod sessions_load;
mod socket_io;
mod status;
mod sticky;
mod strategies;
mod streaming;
mod strictness;
mod timeouts;
mod tls;
mod upstream_http2;
mod upstream_tls;
