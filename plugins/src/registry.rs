//! `Registry`: the names an operator may write, each with its factory and schema; and [`Chain`], a route's ordered list.
//!
//! The gateway compiles a route's `plugins:` into a chain once per configuration; the chain then runs on every request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pingora_http::{RequestHeader, ResponseHeader};
use schemars::Schema;
use serde_json::Value;

use crate::plugin::{Body, BuildError, DynPlugin, Exchange, Hooks, Plugin, PluginError, Response, Verdict};

/// Plugins by name.
#[derive(Default)]
pub struct Registry {
    entries: BTreeMap<&'static str, Entry>,
}

struct Entry {
    schema: Schema,
    build: fn(Value) -> Result<Arc<dyn DynPlugin>, BuildError>,
}

/// A route's plugins in order. `on_request` and `on_upstream_request` go down the list, responses up.
#[derive(Default)]
pub struct Chain {
    links: Box<[Link]>,
    hooks: Hooks,
}

struct Link {
    /// The settings as written, by which the next configuration recognises an unchanged plugin.
    settings: Value,
    hooks: Hooks,
    plugin: Arc<dyn DynPlugin>,
}

/// A plugin answered the request itself.
#[derive(Debug)]
pub struct Answer {
    /// Who answered.
    pub plugin: &'static str,
    /// What it says.
    pub response: Response,
}

/// A plugin failed on a request.
#[derive(Debug)]
pub struct Fault {
    /// Whose failure it is.
    pub plugin: &'static str,
    /// What it says; for the log only.
    pub error: PluginError,
}

// === impl Registry ===

impl Registry {
    /// Adds a plugin under its name. A name is added once: the last one would win.
    pub fn add<P: Plugin>(&mut self) {
        let schema = schemars::schema_for!(P::Config);
        self.entries.insert(P::NAME, Entry { schema, build: build::<P> });
    }

    /// The schema of each plugin's settings, for the configuration's own.
    pub fn schemas(&self) -> BTreeMap<String, Schema> {
        self.entries.iter().map(|(name, entry)| ((*name).to_owned(), entry.schema.clone())).collect()
    }

    /// Builds one plugin. Settings left out (`- request_id`) are `null` here and mean an empty map.
    pub fn build(&self, name: &str, settings: Value) -> Result<Arc<dyn DynPlugin>, BuildError> {
        let Some(entry) = self.entries.get(name) else {
            let known = self.entries.keys().copied().collect::<Vec<_>>().join(", ");
            return Err(BuildError::new(format!("there is no plugin `{name}`; there are {known}")));
        };
        (entry.build)(if settings.is_null() { Value::Object(Default::default()) } else { settings })
    }
}

fn build<P: Plugin>(settings: Value) -> Result<Arc<dyn DynPlugin>, BuildError> {
    let config = serde_json::from_value(settings).map_err(|error| BuildError::new(error.to_string()))?;
    Ok(Arc::new(P::build(config)?))
}

// === impl Chain ===

impl Chain {
    /// Builds the chain of `list` (name and settings, in order). A plugin whose name and settings are those of one in
    /// `previous`, the same route's chain in the running configuration, is that same instance and keeps what it knows.
    ///
    /// # Errors
    /// Every entry that can't be built, with its index in the list.
    pub fn build(
        list: &[(String, Value)],
        registry: &Registry,
        previous: Option<&Chain>,
    ) -> Result<Chain, Vec<(usize, BuildError)>> {
        let mut kept: Vec<&Link> = previous.map(|chain| chain.links.iter().collect()).unwrap_or_default();
        let mut links = Vec::with_capacity(list.len());
        let mut errors = Vec::new();
        for (index, (name, settings)) in list.iter().enumerate() {
            let unchanged = kept.iter().position(|link| link.plugin.name() == name && link.settings == *settings);
            let plugin = match unchanged {
                // Taken out, so that two equal entries stay two instances.
                Some(position) => Ok(Arc::clone(&kept.remove(position).plugin)),
                None => registry.build(name, settings.clone()),
            };
            match plugin {
                Ok(plugin) => links.push(Link { settings: settings.clone(), hooks: plugin.hooks(), plugin }),
                Err(error) => errors.push((index, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let hooks = links.iter().fold(Hooks::NONE, |all, link| all | link.hooks);
        Ok(Chain { links: links.into(), hooks })
    }

    /// Whether any plugin wants all of `hooks`; where none does, the caller need not prepare an [`Exchange`].
    pub fn wants(&self, hooks: Hooks) -> bool {
        self.hooks.contains(hooks)
    }

    /// The plugins' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.links.iter().map(|link| link.plugin.name())
    }

    /// Asks each plugin in order until one answers the request itself.
    pub async fn on_request(&self, exchange: &mut Exchange<'_>) -> Result<Option<Answer>, Fault> {
        for plugin in self.wanting(Hooks::REQUEST) {
            match plugin.on_request(exchange).await {
                Ok(Verdict::Continue) => {}
                Ok(Verdict::Respond(response)) => return Ok(Some(Answer { plugin: plugin.name(), response })),
                Err(error) => return Err(Fault { plugin: plugin.name(), error }),
            }
        }
        Ok(None)
    }

    /// Lets each plugin in order change an attempt's request head.
    pub fn on_upstream_request(&self, exchange: &mut Exchange<'_>, request: &mut RequestHeader) -> Result<(), Fault> {
        self.wanting(Hooks::UPSTREAM_REQUEST).try_for_each(|plugin| {
            plugin.on_upstream_request(exchange, request).map_err(|error| Fault { plugin: plugin.name(), error })
        })
    }

    /// Lets each plugin, the last first, change the response head.
    pub fn on_response(&self, exchange: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), Fault> {
        self.wanting(Hooks::RESPONSE).rev().try_for_each(|plugin| {
            plugin.on_response(exchange, response).map_err(|error| Fault { plugin: plugin.name(), error })
        })
    }

    /// Lets each plugin, the last first, change a piece of the response body.
    pub fn on_response_body(&self, exchange: &mut Exchange<'_>, body: &mut Body<'_>) -> Result<(), Fault> {
        self.wanting(Hooks::RESPONSE_BODY).rev().try_for_each(|plugin| {
            plugin.on_response_body(exchange, body).map_err(|error| Fault { plugin: plugin.name(), error })
        })
    }

    fn wanting(&self, hook: Hooks) -> impl DoubleEndedIterator<Item = &dyn DynPlugin> {
        self.links.iter().filter(move |link| link.hooks.contains(hook)).map(|link| &*link.plugin)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin {}: {}", self.plugin, self.error)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::plugin::tests::Request;

    /// Leaves its mark on all it sees; answers or fails when told to.
    #[derive(Debug)]
    struct Mark(Config);

    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Config {
        mark: String,
        #[serde(default)]
        answers: bool,
        #[serde(default)]
        fails: bool,
    }

    impl Plugin for Mark {
        const NAME: &'static str = "mark";
        type Config = Config;

        fn build(config: Config) -> Result<Self, BuildError> {
            if config.mark.is_empty() {
                return Err(BuildError::new("is empty").within("mark"));
            }
            Ok(Mark(config))
        }

        fn hooks(&self) -> Hooks {
            Hooks::REQUEST | Hooks::UPSTREAM_REQUEST | Hooks::RESPONSE | Hooks::RESPONSE_BODY
        }

        async fn on_request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, PluginError> {
            if self.0.fails {
                return Err(PluginError::new("no such luck"));
            }
            exchange.scratch.get_or_insert_default::<Vec<String>>().push(self.0.mark.clone());
            if self.0.answers {
                return Ok(Verdict::Respond(http::Response::new("mine".into())));
            }
            Ok(Verdict::Continue)
        }

        fn on_upstream_request(&self, _: &mut Exchange<'_>, request: &mut RequestHeader) -> Result<(), PluginError> {
            request.append_header("mark", &self.0.mark).map(drop).map_err(|error| PluginError::new(error.to_string()))
        }

        fn on_response(&self, _: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), PluginError> {
            response.append_header("mark", &self.0.mark).map(drop).map_err(|error| PluginError::new(error.to_string()))
        }

        fn on_response_body(&self, _: &mut Exchange<'_>, body: &mut Body<'_>) -> Result<(), PluginError> {
            let before = body.bytes.take().unwrap_or_default();
            *body.bytes = Some([&before, self.0.mark.as_bytes()].concat().into());
            Ok(())
        }
    }

    fn registry() -> Registry {
        let mut registry = crate::builtin();
        registry.add::<Mark>();
        registry
    }

    fn marks(settings: &[Value]) -> Vec<(String, Value)> {
        settings.iter().map(|settings| ("mark".to_owned(), settings.clone())).collect()
    }

    fn chain(settings: &[Value], previous: Option<&Chain>) -> Chain {
        Chain::build(&marks(settings), &registry(), previous).unwrap()
    }

    #[tokio::test]
    async fn requests_go_down_the_list_and_responses_up() {
        let chain = chain(&[json!({ "mark": "a" }), json!({ "mark": "b" })], None);
        let mut request = Request::new();
        assert!(chain.on_request(&mut request.exchange()).await.unwrap().is_none());
        assert_eq!(request.exchange().scratch.get::<Vec<String>>().unwrap(), &["a", "b"]);

        let mut attempt = request.head.clone();
        chain.on_upstream_request(&mut request.exchange(), &mut attempt).unwrap();
        assert_eq!(attempt.headers.get_all("mark").iter().collect::<Vec<_>>(), ["a", "b"]);
        let response = request.response(&chain);
        assert_eq!(response.headers.get_all("mark").iter().collect::<Vec<_>>(), ["b", "a"]);
        let mut bytes = Some("body ".into());
        let mut body = Body { bytes: &mut bytes, end: true };
        chain.on_response_body(&mut request.exchange(), &mut body).unwrap();
        assert_eq!(bytes.unwrap(), "body ba");
    }

    #[tokio::test]
    async fn the_first_answer_stands_and_the_rest_is_not_asked() {
        let settings =
            [json!({ "mark": "a" }), json!({ "mark": "b", "answers": true }), json!({ "mark": "c", "fails": true })];
        let mut request = Request::new();
        let answer = chain(&settings, None).on_request(&mut request.exchange()).await.unwrap().unwrap();
        assert_eq!((answer.plugin, &answer.response.body()[..]), ("mark", &b"mine"[..]));
        assert_eq!(request.exchange().scratch.get::<Vec<String>>().unwrap(), &["a", "b"]);
    }

    #[tokio::test]
    async fn a_failure_names_its_plugin() {
        let chain = chain(&[json!({ "mark": "a", "fails": true })], None);
        let fault = chain.on_request(&mut Request::new().exchange()).await.unwrap_err();
        assert_eq!(fault.to_string(), "plugin mark: no such luck");
    }

    #[test]
    fn an_unchanged_plugin_is_the_same_instance_after_a_reload() {
        let same = |a: &Link, b: &Link| Arc::ptr_eq(&a.plugin, &b.plugin);
        let [a, b, c] = ["a", "b", "c"].map(|mark| json!({ "mark": mark }));
        let before = chain(&[a.clone(), a.clone(), b.clone()], None);
        let after = chain(&[b, c, a.clone(), a.clone(), a], Some(&before));
        assert!(same(&after.links[0], &before.links[2]), "moved, not changed");
        assert!(same(&after.links[2], &before.links[0]) && same(&after.links[3], &before.links[1]));
        let fresh = [&after.links[1], &after.links[4]];
        assert!(fresh.iter().all(|link| before.links.iter().all(|old| !same(link, old))));
    }

    #[test]
    fn every_entry_that_cannot_be_built_is_told_with_its_place() {
        let mut list = marks(&[json!({ "mark": "" }), json!({ "mark": "a" }), json!({ "marks": "a" })]);
        list.push(("mask".to_owned(), Value::Null));
        let errors = Chain::build(&list, &registry(), None).unwrap_err();
        let errors: Vec<_> = errors.iter().map(|(index, error)| (*index, error.to_string())).collect();
        assert_eq!(errors[0], (0, "mark: is empty".to_owned()));
        assert!(errors[1].0 == 2 && errors[1].1.starts_with("unknown field `marks`"));
        assert_eq!(errors[2], (3, "there is no plugin `mask`; there are headers, mark, request_id".to_owned()));
    }

    #[test]
    fn every_plugin_has_a_schema_that_forbids_unknown_keys() {
        for (name, schema) in crate::builtin().schemas() {
            assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "{name}");
        }
    }
}
