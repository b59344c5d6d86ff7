//! `Route`: what happens with a request that the router found it for: its name, upstreams, plugins, retries and timeouts.
//!
//! Made by `compile`, held by the snapshot, read by the proxy. After compile no name is left to look up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headgate_plugins::Chain;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use percent_encoding::utf8_percent_encode;

use crate::session::{FieldIndex, Source};
use crate::sticky::Sticky;
use crate::telemetry::metrics::{PluginMetrics, RouteMetrics};
use crate::transport::Transport;
use crate::upstream::{Budget, StrategyIndex, Upstream};

/// A route's name: its metric label and its identity across reloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteName(Arc<str>);

/// One route, ready to serve.
pub struct Route {
    /// The name from the file, or one made of the match.
    pub name: RouteName,
    /// What it does.
    pub action: Action,
    /// Its plugins.
    pub chain: Chain,
    /// What it asks of sessions.
    pub session: Option<SessionRule>,
    /// How its sessions are kept on their endpoints.
    pub sticky: Option<Sticky>,
    /// Its metric handles.
    pub metrics: Arc<RouteMetrics>,
    /// Those of its plugins; held here, because what nobody holds is counted for nobody.
    pub plugin_metrics: Vec<Arc<PluginMetrics>>,
}

/// What a route asks of the sessions of its requests.
pub struct SessionRule {
    /// Where they come from.
    pub source: Arc<Source>,
    /// Who is let in; none: everybody.
    pub require: Option<Require>,
    /// What the endpoint is told of the session, and in which header. The client's own headers of that name never pass.
    pub forward: Vec<(HeaderName, FieldIndex)>,
}

/// Who is let in.
pub struct Require {
    /// Of the sessions that are alive, only those that hold this.
    pub field: Option<FieldIndex>,
    /// What all others are told.
    pub otherwise: Otherwise,
}

/// What a request is told that lacks the session it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// To go to the login page.
    Redirect(Redirect),
}

/// What a route does with a request.
pub enum Action {
    /// Forward it to an endpoint of one of these; never empty, and the weights are not all zero.
    Proxy(Vec<Target>),
    /// Send the client elsewhere.
    Redirect(Redirect),
    /// Answer from the file.
    Respond(Respond),
}

/// An upstream as one route uses it.
pub struct Target {
    /// The group of endpoints.
    pub upstream: Arc<Upstream>,
    /// The share of the route's requests, against the other targets of the route.
    pub weight: u32,
    /// Which of the upstream's strategies chooses.
    pub strategy: StrategyIndex,
    /// What the strategy hashes, if it hashes.
    pub key: Option<KeySource>,
    /// When another attempt may be made.
    pub retry: RetryPolicy,
    /// The route's own retry budget, where it has one.
    pub own_budget: Option<Arc<Budget>>,
    /// How long an idle connection to an endpoint is kept; none keeps none.
    pub keepalive: Option<Duration>,
    /// How the endpoints are spoken to.
    pub transport: Arc<Transport>,
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// Headers in which some route tells these endpoints of a session: no client's own passes, on no route.
    pub identity: Arc<[HeaderName]>,
}

/// What of a request a hashing strategy goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The client's address, behind trusted proxies.
    ClientIp,
    /// A header's first value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's raw value.
    Query(String),
    /// The normalised host.
    Host,
    /// The normal form of the path.
    Path,
    /// Path and query.
    Uri,
}

/// When another attempt may be made. `proxy::retry` decides by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries that may have reached an endpoint, the first included. At least 1.
    pub attempts: u32,
    /// Try another endpoint when no connection could be made. Nothing was sent, so every method may.
    pub on_connect_error: bool,
    /// Try again when the connection ended before an answer began.
    pub on_reset: bool,
    /// Statuses of an endpoint's answer that are tried again.
    pub on_status: Vec<u16>,
    /// Whether methods that are not idempotent (RFC 9110 section 9.2.2) are sent again after they may have reached an endpoint.
    pub any_method: bool,
}

/// How long each phase of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until an endpoint accepts the connection.
    pub connect: Duration,
    /// From the request's last byte to the first of the answer.
    pub first_byte: Duration,
    /// Between two reads of a body, either way, and for a client that doesn't take what we send.
    pub idle: Duration,
    /// Silence on an upgraded connection.
    pub upgrade_idle: Duration,
    /// The whole request; none by default.
    pub request: Option<Duration>,
}

/// `redirect:`, its target cut into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The status, a 3xx.
    pub status: StatusCode,
    /// The target's parts, in order.
    pub to: Vec<RedirectPart>,
}

/// A piece of a redirect's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPart {
    /// Text as it stands in the file.
    Text(String),
    /// `http` or `https`, as the client came.
    Scheme,
    /// The host without port.
    Host,
    /// The path's normal form.
    Path,
    /// The query with its `?`, or nothing.
    Query,
    /// Path and query.
    Uri,
    /// The path, inside the target's own query.
    PathEncoded,
    /// Path and query, inside the target's own query: `?next={uri}`.
    UriEncoded,
}

/// Within a query's value these stand for themselves (RFC 3986 section 3.4), and none of them ends it.
const IN_QUERY: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `respond:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// The body; may be empty.
    pub body: Bytes,
    /// Its type.
    pub content_type: HeaderValue,
}

/// What a redirect's target may name.
#[derive(Debug, Clone, Copy)]
pub struct RedirectFrom<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The normalised host, empty where the client sent none.
    pub host: &'a str,
    /// The normal form of the path.
    pub path: &'a str,
    /// The query without `?`.
    pub query: Option<&'a str>,
}

// === impl RouteName ===

impl RouteName {
    /// Names a route.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, for those who keep it beyond the route.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Route ===

impl Route {
    /// The upstream that was chosen; none where the route answers itself.
    pub fn target(&self, chosen: usize) -> Option<&Target> {
        match &self.action {
            Action::Proxy(targets) => targets.get(chosen),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}

// === impl Target ===

impl Target {
    /// What bounds the retries.
    pub fn budget(&self) -> &Budget {
        self.own_budget.as_deref().unwrap_or_else(|| self.upstream.budget())
    }

    /// Chooses one of weighted targets; `random` is any word, used for nothing else.
    pub fn choose(targets: &[Self], random: u64) -> usize {
        if targets.len() == 1 {
            return 0;
        }
        let total: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
        // Multiply-shift maps the word to 0..total without the bias of a small modulus (Lemire 2019).
        let mut at = u64::try_from((u128::from(random) * u128::from(total)) >> 64).unwrap_or(0);
        for (index, target) in targets.iter().enumerate() {
            let weight = u64::from(target.weight);
            if at < weight {
                return index;
            }
            at -= weight;
        }
        0
    }
}

// === impl Redirect ===

impl Redirect {
    /// Cuts a target such as `https://{host}{uri}` into its parts.
    ///
    /// # Errors
    /// The unknown or unclosed placeholder, as a sentence.
    pub fn parse(to: &str, status: StatusCode) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = to;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(RedirectPart::Text(rest[..open].to_owned()));
            }
            let Some(close) = rest[open..].find('}') else {
                return Err(format!("`{}` is not closed by a `}}`", &rest[open..]));
            };
            let in_query = parts.iter().any(|part| matches!(part, RedirectPart::Text(text) if text.contains('?')));
            parts.push(match &rest[open..=open + close] {
                "{scheme}" => RedirectPart::Scheme,
                "{host}" => RedirectPart::Host,
                "{path}" if in_query => RedirectPart::PathEncoded,
                "{uri}" if in_query => RedirectPart::UriEncoded,
                "{path}" => RedirectPart::Path,
                "{query}" => RedirectPart::Query,
                "{uri}" => RedirectPart::Uri,
                other => return Err(format!("`{other}` is not known here")),
            });
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            parts.push(RedirectPart::Text(rest.to_owned()));
        }
        Ok(Self { status, to: parts })
    }

    /// A redirect of whatever is asked to the same on HTTPS.
    pub fn to_https(port: u16) -> Self {
        let mut to = vec![RedirectPart::Text("https://".to_owned()), RedirectPart::Host];
        if port != 443 {
            to.push(RedirectPart::Text(format!(":{port}")));
        }
        to.push(RedirectPart::Uri);
        Self { status: StatusCode::PERMANENT_REDIRECT, to }
    }

    /// The `Location` for one request.
    pub fn location(&self, from: &RedirectFrom<'_>) -> String {
        let mut location = String::with_capacity(128);
        for part in &self.to {
            match part {
                RedirectPart::Text(text) => location.push_str(text),
                RedirectPart::Scheme => location.push_str(from.scheme),
                RedirectPart::Host => location.push_str(from.host),
                // A path in normal form never begins with `//`, so it can't read as another host.
                RedirectPart::Path => location.push_str(from.path),
                RedirectPart::Query => push_query(&mut location, from.query),
                RedirectPart::Uri => {
                    location.push_str(from.path);
                    push_query(&mut location, from.query);
                }
                RedirectPart::PathEncoded => location.extend(utf8_percent_encode(from.path, IN_QUERY)),
                RedirectPart::UriEncoded => {
                    location.extend(utf8_percent_encode(from.path, IN_QUERY));
                    if let Some(query) = from.query {
                        location.push_str("%3F");
                        location.extend(utf8_percent_encode(query, IN_QUERY));
                    }
                }
            }
        }
        location
    }
}

fn push_query(location: &mut String, query: Option<&str>) {
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(to: &str, query: Option<&str>) -> String {
        let from = RedirectFrom { scheme: "http", host: "old.example.com", path: "/a/b", query };
        Redirect::parse(to, StatusCode::PERMANENT_REDIRECT).unwrap().location(&from)
    }

    #[test]
    fn a_redirect_fills_in_what_it_names() {
        assert_eq!(location("https://new.example.com{uri}", Some("x=1")), "https://new.example.com/a/b?x=1");
        assert_eq!(location("{scheme}://{host}/x{path}", Some("x=1")), "http://old.example.com/x/a/b");
        assert_eq!(location("/login?next={uri}", Some("x=1&y=ü")), "/login?next=/a/b%3Fx%3D1%26y%3D%C3%BC");
        assert_eq!(location("/login?from={path}&x=1", None), "/login?from=/a/b&x=1");
        assert_eq!(location("/fixed{query}", None), "/fixed");
        assert_eq!(location("/fixed{query}", Some("q")), "/fixed?q");
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_that_names_it() {
        assert_eq!(Redirect::parse("{hots}", StatusCode::FOUND).unwrap_err(), "`{hots}` is not known here");
        assert_eq!(Redirect::parse("/a{path", StatusCode::FOUND).unwrap_err(), "`{path` is not closed by a `}`");
    }
}
