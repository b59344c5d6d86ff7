//! `headers`: sets, adds and removes headers on the request to the endpoint and on the response to the client.

use std::collections::{BTreeMap, HashSet};

use http::{HeaderName, HeaderValue};
use pingora_http::{RequestHeader, ResponseHeader};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::plugin::{BuildError, Exchange, Hooks, Plugin, PluginError};

/// Sets, adds and removes headers.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Changes to the request that goes to the endpoint, after the gateway's own headers.
    request: Changes,
    /// Changes to the response that goes to the client.
    response: Changes,
}

/// Changes to one head: removed first, then set, then added.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    /// Headers that shall have this one value, whatever they had.
    set: BTreeMap<String, String>,
    /// Header lines to append, beside those of the same name.
    add: BTreeMap<String, String>,
    /// Headers to take out.
    remove: Vec<String>,
}

/// The plugin.
pub(crate) struct Headers {
    request: Edits,
    response: Edits,
}

/// [`Changes`], parsed.
struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

// === impl Headers ===

impl Plugin for Headers {
    const NAME: &'static str = "headers";
    type Config = Config;

    fn build(config: Config) -> Result<Self, BuildError> {
        let request = Edits::new(config.request).map_err(|error| error.within("request"))?;
        let response = Edits::new(config.response).map_err(|error| error.within("response"))?;
        if request.is_empty() && response.is_empty() {
            return Err(BuildError::new("nothing to do: write set, add or remove under request or response"));
        }
        Ok(Headers { request, response })
    }

    fn hooks(&self) -> Hooks {
        Hooks::UPSTREAM_REQUEST.when(!self.request.is_empty()) | Hooks::RESPONSE.when(!self.response.is_empty())
    }

    fn on_upstream_request(&self, _: &mut Exchange<'_>, request: &mut RequestHeader) -> Result<(), PluginError> {
        self.request.apply(request)
    }

    fn on_response(&self, _: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), PluginError> {
        self.response.apply(response)
    }
}

// === impl Edits ===

/// Headers of the connection, not of the message, and those that frame a message: changing one would make the two
/// sides disagree on where a message ends.
const REFUSED: [(&str, &str); 11] = [
    ("connection", "is hop-by-hop: the gateway writes it for each connection"),
    ("keep-alive", "is hop-by-hop: the gateway writes it for each connection"),
    ("proxy-connection", "is hop-by-hop: the gateway removes it"),
    ("proxy-authenticate", "is hop-by-hop: it is between a client and its own proxy"),
    ("proxy-authorization", "is hop-by-hop: it is between a client and its own proxy"),
    ("te", "is hop-by-hop: the gateway writes it for each connection"),
    ("trailer", "is hop-by-hop: the gateway writes it for each connection"),
    ("transfer-encoding", "says where the body ends: the gateway writes it"),
    ("content-length", "says where the body ends: the gateway writes it"),
    ("upgrade", "is hop-by-hop: the gateway writes it for each connection"),
    ("host", "chooses the site: write `host_header` at the upstream instead"),
];

impl Edits {
    fn new(changes: Changes) -> Result<Self, BuildError> {
        let mut remove = Vec::with_capacity(changes.remove.len());
        for (index, name) in changes.remove.iter().enumerate() {
            let name = settable(name).map_err(|error| error.within(index.to_string()).within("remove"))?;
            if remove.contains(&name) {
                let error = BuildError::new(format!("`{name}` is removed twice"));
                return Err(error.within(index.to_string()).within("remove"));
            }
            remove.push(name);
        }
        let set = parsed(changes.set).map_err(|error| error.within("set"))?;
        let add = parsed(changes.add).map_err(|error| error.within("add"))?;
        if let Some((name, _)) = set.iter().find(|(name, _)| remove.contains(name)) {
            let message = format!("`{name}` is set as well; setting already replaces what was there");
            return Err(BuildError::new(message).within("remove"));
        }
        Ok(Edits { remove, set, add })
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    fn apply(&self, head: &mut impl Head) -> Result<(), PluginError> {
        for name in &self.remove {
            head.remove(name);
        }
        for (name, value) in &self.set {
            head.set(name.clone(), value.clone())?;
        }
        for (name, value) in &self.add {
            head.add(name.clone(), value.clone())?;
        }
        Ok(())
    }
}

/// Names in one map must differ in more than case: which of two would win?
fn parsed(written: BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, BuildError> {
    let mut seen = HashSet::new();
    let mut lines = Vec::with_capacity(written.len());
    for (key, value) in written {
        let line = settable(&key).and_then(|name| {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| BuildError::new("a header value is printable ASCII on one line"))?;
            Ok((name, value))
        });
        let (name, value) = line.map_err(|error| error.within(&key))?;
        if !seen.insert(name.clone()) {
            return Err(BuildError::new(format!("`{name}` is written twice; case does not matter")).within(key));
        }
        lines.push((name, value));
    }
    Ok(lines)
}

/// The name of a header that a plugin may change.
pub(crate) fn settable(name: &str) -> Result<HeaderName, BuildError> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| BuildError::new(format!("`{name}` is no header name: letters, digits and -_ only")))?;
    match REFUSED.iter().find(|(refused, _)| parsed == *refused) {
        Some((refused, reason)) => Err(BuildError::new(format!("`{refused}` {reason}"))),
        None => Ok(parsed),
    }
}

/// The two kinds of head, which have no trait in common: Pingora keeps the spelling of names beside the map.
trait Head {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), PluginError>;
    fn add(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), PluginError>;
}

macro_rules! head {
    ($type:ty) => {
        impl Head for $type {
            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }

            fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), PluginError> {
                self.insert_header(name, value).map_err(|error| PluginError::new(error.to_string()))
            }

            fn add(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), PluginError> {
                self.append_header(name, value).map(drop).map_err(|error| PluginError::new(error.to_string()))
            }
        }
    };
}

head!(RequestHeader);
head!(ResponseHeader);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::plugin::tests::{Request, built};

    fn problem(settings: Value) -> String {
        crate::builtin().build("headers", settings).err().unwrap().to_string()
    }

    #[test]
    fn headers_are_removed_then_set_then_added() {
        let chain = built(
            "headers",
            json!({
                "request": { "set": { "X-Edge": "headgate" }, "remove": ["cookie"] },
                "response": { "add": { "link": "</b>" }, "remove": ["Server"] },
            }),
        );
        let mut request = Request::new();
        request.head.insert_header("X-EDGE", "spoofed").unwrap();
        request.head.append_header("x-edge", "twice").unwrap();
        request.head.insert_header("Cookie", "a=1").unwrap();
        let mut attempt = request.head.clone();
        chain.on_upstream_request(&mut request.exchange(), &mut attempt).unwrap();
        assert_eq!(attempt.headers.get_all("x-edge").iter().collect::<Vec<_>>(), ["headgate"]);
        assert!(!attempt.headers.contains_key("cookie"));
        assert!(request.head.headers.contains_key("cookie"), "the client's own head is not touched");

        request.answer.insert_header("server", "express").unwrap();
        request.answer.insert_header("link", "</a>").unwrap();
        let response = request.response(&chain);
        assert_eq!(response.headers.get_all("link").iter().collect::<Vec<_>>(), ["</a>", "</b>"]);
        assert!(!response.headers.contains_key("server"));
    }

    #[test]
    fn only_the_hooks_that_have_work_are_wanted() {
        use crate::Hooks;
        let chain = built("headers", json!({ "response": { "set": { "x-a": "1" } } }));
        assert!(chain.wants(Hooks::RESPONSE));
        assert!(!chain.wants(Hooks::UPSTREAM_REQUEST));
    }

    #[test]
    fn a_problem_tells_the_place_and_the_reason() {
        for (settings, expected) in [
            (json!({}), "nothing to do: write set, add or remove under request or response"),
            (
                json!({ "request": { "set": { "x y": "1" } } }),
                "request.set.x y: `x y` is no header name: letters, digits and -_ only",
            ),
            (
                json!({ "response": { "add": { "x-a": "one\ntwo" } } }),
                "response.add.x-a: a header value is printable ASCII on one line",
            ),
            (
                json!({ "request": { "remove": ["x-a", "Connection"] } }),
                "request.remove.1: `connection` is hop-by-hop: the gateway writes it for each connection",
            ),
            (
                json!({ "response": { "set": { "Transfer-Encoding": "gzip" } } }),
                "response.set.Transfer-Encoding: `transfer-encoding` says where the body ends: the gateway writes it",
            ),
            (
                json!({ "request": { "set": { "X-A": "1", "x-a": "2" } } }),
                "request.set.x-a: `x-a` is written twice; case does not matter",
            ),
            (json!({ "request": { "remove": ["x-a", "X-A"] } }), "request.remove.1: `x-a` is removed twice"),
            (
                json!({ "request": { "set": { "x-a": "1" }, "remove": ["x-a"] } }),
                "request.remove: `x-a` is set as well; setting already replaces what was there",
            ),
        ] {
            assert_eq!(problem(settings), expected);
        }
    }
}
