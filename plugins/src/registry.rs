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
