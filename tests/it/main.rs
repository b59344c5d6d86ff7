//! Black-box tests: the real binary, real sockets, real Node apps. One file a behaviour; `harness` holds the nouns.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and may wait and block as it likes"
)]

#[allow(dead_code, unused_imports, reason = "the tests that use every noun are being written")]
mod harness;

mod docs;
