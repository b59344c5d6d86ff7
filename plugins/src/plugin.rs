//! `Plugin`: one unit of a route's chain, as its author writes it, and [`DynPlugin`], the same made object-safe once.
//!
//! The gateway builds a plugin while it compiles a configuration and calls its hooks on every request of the route.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::ops::BitOr;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Extensions, HeaderValue};
use pingora_http::{RequestHeader, ResponseHeader};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// One unit of a route's chain. An author implements this and adds one line to [`builtin`](crate::builtin).
///
/// An instance serves many requests at once, and lives on across reloads while its settings do not change.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// The key an operator writes in gateway.yaml.
    const NAME: &'static str;

    /// The settings under that key. `#[serde(deny_unknown_fields)]` is expected; doc comments become the schema's.
    type Config: DeserializeOwned + JsonSchema;

    /// Turns checked settings into a plugin. Must not spawn, dial, read a file or the clock: `check` calls it too.
    fn build(config: Self::Config) -> Result<Self, BuildError>;

    /// The hooks this instance wants; the chain never calls any other.
    fn hooks(&self) -> Hooks;

    /// Once per request, after the route was found and before an endpoint is chosen. [`Hooks::REQUEST`].
    ///
    /// Changes to [`Exchange::request`] are seen by later plugins, by the route's hash key and by the endpoint.
    fn on_request(&self, exchange: &mut Exchange<'_>) -> impl Future<Output = Result<Verdict, PluginError>> + Send {
        let _ = exchange;
        std::future::ready(Ok(Verdict::Continue))
    }

    /// Once per attempt, on that attempt's own copy of the request head, after the gateway has set its own headers.
    /// [`Hooks::UPSTREAM_REQUEST`].
    fn on_upstream_request(&self, exchange: &mut Exchange<'_>, request: &mut RequestHeader) -> Result<(), PluginError> {
        let _ = (exchange, request);
        Ok(())
    }

    /// Once per response head that goes to the client, the gateway's own answers included. [`Hooks::RESPONSE`].
    fn on_response(&self, exchange: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), PluginError> {
        let _ = (exchange, response);
        Ok(())
    }

    /// Once per piece of the response body; must not wait. [`Hooks::RESPONSE_BODY`].
    fn on_response_body(&self, exchange: &mut Exchange<'_>, body: &mut Body<'_>) -> Result<(), PluginError> {
        let _ = (exchange, body);
        Ok(())
    }
}

/// What a plugin may see and change of one request.
pub struct Exchange<'a> {
    /// The request head as the client sent it, after the gateway's checks. Its path is still in the client's
    /// spelling: judge by [`path`](Self::path).
    pub request: &'a mut RequestHeader,
    /// The client's address, a trusted proxy's word for it included; none on a unix socket.
    pub client_ip: Option<IpAddr>,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host without port, in lower case.
    pub host: &'a str,
    /// The path's one normal form: what the route was found by and what the endpoint will see.
    pub path: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The request's id, if a plugin gave it one; the access log shows it.
    pub request_id: &'a mut Option<HeaderValue>,
    /// What a plugin keeps of this request from hook to hook, by type. Costs nothing until something is put in.
    pub scratch: &'a mut Extensions,
}

/// One piece of a body on its way to the client.
pub struct Body<'a> {
    /// The bytes; none when this call only tells the end.
    pub bytes: &'a mut Option<Bytes>,
    /// No piece follows.
    pub end: bool,
}

/// What [`Plugin::on_request`] decides.
#[derive(Debug)]
pub enum Verdict {
    /// The next plugin, then the endpoint.
    Continue,
    /// This is the answer; no later plugin's `on_request` is called and no endpoint is asked.
    Respond(Response),
}

/// An answer a plugin gives itself. The gateway adds `content-length`.
pub type Response = http::Response<Bytes>;

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u8);

/// A plugin could not do its work on this request: the client gets a plain 500, the log gets the message.
#[derive(Debug)]
pub struct PluginError(String);

/// Settings that decode but can't be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// Keys from the plugin's settings down to the one at fault; empty for the settings as a whole.
    pub at: Vec<String>,
    /// What is wrong, without the place, in the operator's words.
    pub message: String,
}

/// [`Plugin`] as the chain holds it. Implemented for every plugin; authors never name it.
#[async_trait]
pub trait DynPlugin: Send + Sync {
    /// [`Plugin::NAME`].
    fn name(&self) -> &'static str;
    /// [`Plugin::hooks`].
    fn hooks(&self) -> Hooks;
    /// [`Plugin::on_request`], boxed: the price of waiting, paid only by plugins with [`Hooks::REQUEST`].
    async fn on_request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, PluginError>;
    /// [`Plugin::on_upstream_request`].
    fn on_upstream_request(&self, exchange: &mut Exchange<'_>, request: &mut RequestHeader) -> Result<(), PluginError>;
    /// [`Plugin::on_response`].
    fn on_response(&self, exchange: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), PluginError>;
    /// [`Plugin::on_response_body`].
    fn on_response_body(&self, exchange: &mut Exchange<'_>, body: &mut Body<'_>) -> Result<(), PluginError>;
}

// === impl DynPlugin ===

#[async_trait]
impl<P: Plugin> DynPlugin for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn hooks(&self) -> Hooks {
        Plugin::hooks(self)
    }

    async fn on_request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, PluginError> {
        Plugin::on_request(self, exchange).await
    }

    fn on_upstream_request(&self, exchange: &mut Exchange<'_>, request: &mut RequestHeader) -> Result<(), PluginError> {
        Plugin::on_upstream_request(self, exchange, request)
    }

    fn on_response(&self, exchange: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), PluginError> {
        Plugin::on_response(self, exchange, response)
    }

    fn on_response_body(&self, exchange: &mut Exchange<'_>, body: &mut Body<'_>) -> Result<(), PluginError> {
        Plugin::on_response_body(self, exchange, body)
    }
}

// === impl Hooks ===

impl Hooks {
    /// No hook.
    pub const NONE: Hooks = Hooks(0);
    /// [`Plugin::on_request`].
    pub const REQUEST: Hooks = Hooks(1);
    /// [`Plugin::on_upstream_request`].
    pub const UPSTREAM_REQUEST: Hooks = Hooks(1 << 1);
    /// [`Plugin::on_response`].
    pub const RESPONSE: Hooks = Hooks(1 << 2);
    /// [`Plugin::on_response_body`].
    pub const RESPONSE_BODY: Hooks = Hooks(1 << 3);

    /// Whether all of `hooks` are in this set.
    pub const fn contains(self, hooks: Hooks) -> bool {
        self.0 & hooks.0 == hooks.0
    }

    /// This set if `condition` holds, else none.
    #[must_use]
    pub const fn when(self, condition: bool) -> Hooks {
        if condition { self } else { Hooks::NONE }
    }
}

impl BitOr for Hooks {
    type Output = Hooks;

    fn bitor(self, other: Hooks) -> Hooks {
        Hooks(self.0 | other.0)
    }
}

// === impl PluginError ===

impl PluginError {
    /// An error for the log; nothing of it reaches the client.
    pub fn new(message: impl Into<String>) -> Self {
        PluginError(message.into())
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PluginError {}

// === impl BuildError ===

impl BuildError {
    /// A problem with the settings as a whole; [`within`](Self::within) narrows it down.
    pub fn new(message: impl Into<String>) -> Self {
        BuildError { at: Vec::new(), message: message.into() }
    }

    /// The same problem, seen from one level further out: under `key`.
    #[must_use]
    pub fn within(mut self, key: impl Into<String>) -> Self {
        self.at.insert(0, key.into());
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at.join("."))?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildError {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Chain;

    /// A request to call hooks with, and the answer they change.
    pub(crate) struct Request {
        pub(crate) head: RequestHeader,
        pub(crate) answer: ResponseHeader,
        pub(crate) request_id: Option<HeaderValue>,
        scratch: Extensions,
    }

    /// A chain of one built-in plugin.
    pub(crate) fn built(name: &str, settings: serde_json::Value) -> Chain {
        Chain::build(&[(name.to_owned(), settings)], &crate::builtin(), None).unwrap()
    }

    impl Request {
        pub(crate) fn new() -> Self {
            Request {
                head: RequestHeader::build("GET", b"/a", None).unwrap(),
                answer: ResponseHeader::build(200, None).unwrap(),
                request_id: None,
                scratch: Extensions::new(),
            }
        }

        pub(crate) fn exchange(&mut self) -> Exchange<'_> {
            Exchange {
                request: &mut self.head,
                client_ip: None,
                scheme: "http",
                host: "shop.example.com",
                path: "/a",
                route: "shop",
                listener: "public",
                request_id: &mut self.request_id,
                scratch: &mut self.scratch,
            }
        }

        pub(crate) fn header(&self, name: &str) -> String {
            self.head.headers[name].to_str().unwrap().to_owned()
        }

        /// The answer after the chain's `on_response`.
        pub(crate) fn response(&mut self, chain: &Chain) -> ResponseHeader {
            let mut answer = self.answer.clone();
            chain.on_response(&mut self.exchange(), &mut answer).unwrap();
            answer
        }
    }

    #[test]
    fn a_set_of_hooks_holds_its_own_and_no_other() {
        let both = Hooks::REQUEST | Hooks::RESPONSE;
        assert!(both.contains(Hooks::REQUEST) && both.contains(both) && both.contains(Hooks::NONE));
        assert!(!both.contains(Hooks::REQUEST | Hooks::RESPONSE_BODY));
        assert_eq!(both.when(false), Hooks::NONE);
    }
}
