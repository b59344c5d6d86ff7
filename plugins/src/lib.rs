//! What a headgate plugin is, and the plugins that come with it.
//!
//! A plugin decides, the gateway acts: a plugin never writes to a socket, so every response passes one place for
//! headers, log and metrics. This crate cannot see the gateway; [`Exchange`] is all that a plugin sees of a request.

mod headers;
mod plugin;
mod registry;
mod request_id;

pub use plugin::{Body, BuildError, DynPlugin, Exchange, Hooks, Plugin, PluginError, Response, Verdict};
pub use registry::{Answer, Chain, Fault, Registry};

/// The plugins that come with headgate: the one list.
pub fn builtin() -> Registry {
    let mut registry = Registry::default();
    registry.add::<headers::Headers>();
    registry.add::<request_id::RequestId>();
    registry
}

/// The guide's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Guide;
