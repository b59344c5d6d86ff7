//! `stores`, and the stores of sources: what was written, checked, and each one shared by all who ask it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::Inputs;
use crate::config::names;
use crate::config::{
    At, Problem, RedisUrl, Secret, SentinelAddress, Severity, Store as Written, StoreSettings, StoreUse,
};
use crate::session::store::{Address, Credentials, RedisConfig, Servers, Store, StoreConfig, Tls};

/// The stores of the file while sources are compiled: each source asks for the one that it uses.
pub(super) struct Stores<'a> {
    written: BTreeMap<String, Written>,
    used: HashSet<String>,
    /// Those that are used.
    made: Vec<Arc<Store>>,
    inputs: &'a Inputs<'a>,
}

// === impl Stores ===

impl<'a> Stores<'a> {
    pub(super) fn new(written: BTreeMap<String, Written>, inputs: &'a Inputs<'a>, problems: &mut Vec<Problem>) -> Self {
        let at = At::root().key("stores");
        for (name, store) in &written {
            let at = at.key(name);
            if name == "memory" {
                let message = "`memory` is the store in this process, so no other can have that name";
                problems.push(Problem::error(at.clone(), message));
            }
            check(store, &at, problems);
        }
        Self { written, used: HashSet::new(), made: Vec::new(), inputs }
    }

    /// Whether the store is in this process; what can't be found isn't.
    pub(super) fn is_memory(&self, written: &StoreUse) -> bool {
        match written {
            StoreUse::Own(store) => *store == Written::Memory,
            StoreUse::Named(name) => self.written.get(name) == Some(&Written::Memory),
        }
    }

    /// Finds what is wrong with the store of a source, and notes that it is used.
    pub(super) fn check(&mut self, written: &StoreUse, at: &At, problems: &mut Vec<Problem>) {
        match written {
            StoreUse::Own(store) => check(store, at, problems),
            StoreUse::Named(name) if self.written.contains_key(name) => drop(self.used.insert(name.clone())),
            StoreUse::Named(name) => {
                let (message, hint) = names::unknown("store", name, self.written.keys().map(String::as_str));
                let hint = match self.written.is_empty() {
                    true => {
                        "`stores` names none; a store is `memory`, `redis://HOST:6379`, or an entry of `stores`".into()
                    }
                    false => hint,
                };
                problems.push(Problem::error(at.clone(), message).hint(hint));
            }
        }
    }

    /// The store of a source, for a file without faults.
    pub(super) fn take(&mut self, source: &str, written: &StoreUse) -> Option<Arc<Store>> {
        let (name, written) = match written {
            StoreUse::Own(store) => (None, store),
            StoreUse::Named(name) => (Some(name.as_str()), self.written.get(name)?),
        };
        let config = compile(written);
        let made = self.made.iter().find(|made| match name {
            Some(name) => &**made.name() == name,
            // A memory of a source's own is nobody else's: two applications' ids must not mix.
            None => config != StoreConfig::Memory && *made.config() == config,
        });
        if let Some(made) = made {
            return Some(Arc::clone(made));
        }
        let printed = print(written);
        let store = match self.previous(source, name, &printed, &config) {
            Some(store) => store,
            None => {
                let name: Arc<str> = name.map_or_else(|| self.distinct(printed), str::to_owned).into();
                let metrics = self.inputs.metrics.store(&name);
                Store::new(name, config, metrics)
            }
        };
        self.made.push(Arc::clone(&store));
        Some(store)
    }

    /// Two users of one server are two stores, and one that is down must not be counted under the name of the other. A
    /// memory is never down.
    fn distinct(&self, printed: String) -> String {
        let taken = |name: &str| name != "memory" && self.made.iter().any(|made| &**made.name() == name);
        let others = (2..).map(|number| format!("{printed} ({number})"));
        std::iter::once(printed.clone()).chain(others).find(|name| !taken(name)).unwrap_or(printed)
    }

    /// A memory for what is kept about the sessions of a source that has no store.
    pub(super) fn memory(&self) -> Arc<Store> {
        Store::new("memory".into(), StoreConfig::Memory, self.inputs.metrics.store("memory"))
    }

    /// Notes a store that was not taken here, but is in use.
    pub(super) fn keep(&mut self, store: &Arc<Store>) {
        if !self.made.iter().any(|made| Arc::ptr_eq(made, store)) {
            self.made.push(Arc::clone(store));
        }
    }

    /// The stores that are used; and warns of those that aren't.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) -> Vec<Arc<Store>> {
        // A mistyped name leaves its store unused: one fault is not told twice.
        let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
        for name in self.written.keys().filter(|name| !self.used.contains(*name) && !refused) {
            let at = At::root().key("stores").key(name);
            problems.push(Problem::warning(at, format!("no source of sessions uses the store `{name}`")));
        }
        self.made
    }

    /// The store that runs already: its connection and what a memory has learned live on.
    fn previous(&self, source: &str, name: Option<&str>, printed: &str, config: &StoreConfig) -> Option<Arc<Store>> {
        let previous = self.inputs.previous?;
        if *config == StoreConfig::Memory {
            return match name {
                Some(name) => previous.stores.iter().find(|store| store.is_memory() && &**store.name() == name),
                None => {
                    let source = previous.sessions.iter().find(|known| &**known.name() == source);
                    source
                        .and_then(|source| source.store())
                        .filter(|store| store.is_memory() && &**store.name() == "memory")
                }
            }
            .cloned();
        }
        // By its name, too: one that was renamed would be taken for the one that has its old name now.
        let same = |store: &&Arc<Store>| match name {
            Some(name) => store.config() == config && &**store.name() == name,
            None => store.config() == config && store.name().starts_with(printed),
        };
        previous.stores.iter().find(same).cloned()
    }
}

/// The name of a store that has none, without credentials.
fn print(written: &Written) -> String {
    let list = |urls: Vec<&RedisUrl>| {
        let places: Vec<String> = urls.into_iter().map(|url| address(url).to_string()).collect();
        places.join(",")
    };
    match written {
        Written::Memory => "memory".to_owned(),
        Written::Redis(url) => url.to_string(),
        Written::Settings(settings) => match (&settings.url, &settings.cluster, &settings.sentinel) {
            (Some(url), ..) => url.to_string(),
            (None, Some(urls), _) => format!("cluster {}", list(urls.iter().collect())),
            (None, None, Some(sentinel)) => format!("sentinel {}", sentinel.master),
            (None, None, None) => String::new(),
        },
    }
}

fn compile(written: &Written) -> StoreConfig {
    let one = |url: &RedisUrl| Servers::One(address(url));
    let config = match written {
        Written::Memory => return StoreConfig::Memory,
        Written::Redis(url) => RedisConfig {
            servers: one(url),
            credentials: credentials(url),
            db: url.db.into(),
            tls: url.tls.then_some(Tls { ca: None }),
        },
        Written::Settings(settings) => {
            let StoreSettings { url, cluster, sentinel, user, password, ca } = &**settings;
            let sentinels = sentinel.iter().flat_map(|sentinel| &sentinel.addresses).map(|SentinelAddress(url)| url);
            let first = url.iter().chain(cluster.iter().flatten()).chain(sentinels.clone()).next();
            let own = Credentials {
                user: user.as_deref().map(Into::into),
                password: password.as_ref().map(|Secret(password)| password.as_str().into()),
            };
            let of_url = first.map(credentials).unwrap_or_default();
            let tls = || Tls { ca: ca.as_ref().map(|ca| ca.text.as_bytes().into()) };
            let addresses = |urls: &[RedisUrl]| urls.iter().map(address).collect::<Vec<_>>();
            let servers = match (cluster, sentinel) {
                (Some(urls), _) => Servers::Cluster(addresses(urls)),
                (None, Some(sentinel)) => Servers::Sentinel {
                    master: sentinel.master.as_str().into(),
                    sentinels: sentinels.map(address).collect(),
                    credentials: of_url.clone(),
                    tls: first.is_some_and(|url| url.tls).then(tls),
                },
                (None, None) => match first {
                    Some(url) => one(url),
                    None => return StoreConfig::Memory,
                },
            };
            RedisConfig {
                servers,
                credentials: if own == Credentials::default() && sentinel.is_none() { of_url } else { own },
                db: sentinel.as_ref().map_or_else(|| first.map_or(0, |url| url.db), |sentinel| sentinel.db).into(),
                tls: in_tls(settings).then(tls),
            }
        }
    };
    StoreConfig::Redis(config)
}

/// Whether those that hold the data are spoken to in TLS.
fn in_tls(settings: &StoreSettings) -> bool {
    let StoreSettings { url, cluster, sentinel, .. } = settings;
    let sentinels = sentinel.iter().flat_map(|sentinel| &sentinel.addresses).map(|SentinelAddress(url)| url);
    let first = url.iter().chain(cluster.iter().flatten()).chain(sentinels).next();
    let master = sentinel.as_ref().and_then(|sentinel| sentinel.tls);
    master.unwrap_or_else(|| first.is_some_and(|url| url.tls))
}

fn address(url: &RedisUrl) -> Address {
    Address { host: url.host.as_str().into(), port: url.port }
}

fn credentials(url: &RedisUrl) -> Credentials {
    Credentials {
        user: url.user.as_deref().map(Into::into),
        password: url.password.as_ref().map(|Secret(password)| password.as_str().into()),
    }
}

fn check(written: &Written, at: &At, problems: &mut Vec<Problem>) {
    let Written::Settings(settings) = written else { return };
    let StoreSettings { url, cluster, sentinel, user, password, ca } = &**settings;
    if user.is_some() && password.is_none() {
        problems.push(Problem::error(at.key("user"), "a user comes with a `password`"));
    }
    if let Some(urls) = cluster {
        check_alike(urls.iter(), &at.key("cluster"), problems);
        for (index, _) in urls.iter().enumerate().filter(|(_, url)| url.db != 0) {
            let message = "a cluster has one database, 0";
            problems.push(Problem::error(at.key("cluster").index(index), message));
        }
    }
    let sentinels = sentinel.iter().flat_map(|sentinel| &sentinel.addresses).map(|SentinelAddress(url)| url);
    check_alike(sentinels.clone(), &at.key("sentinel").key("addresses"), problems);
    let servers = url.iter().chain(cluster.iter().flatten());
    if servers.clone().any(|url| url.password.is_some()) && (user.is_some() || password.is_some()) {
        let key = if password.is_some() { "password" } else { "user" };
        let message = format!("`{key}` is in the URL, too");
        problems.push(Problem::error(at.key(key), message).hint("write user and password in one of the two places"));
    }
    if ca.is_some() {
        let at = at.key("ca");
        if !in_tls(settings) && !servers.chain(sentinels).any(|url| url.tls) {
            problems.push(Problem::error(at, "`ca` has no effect without TLS").hint("TLS is `rediss://` in the URL"));
        } else if let Err(reason) = compile(written).check() {
            problems.push(Problem::error(at, format!("this file can't tell whom to trust: {reason}")));
        }
    }
}

/// Servers of one kind are spoken to alike: in TLS or not, with the same user and password.
fn check_alike<'u>(urls: impl Iterator<Item = &'u RedisUrl>, at: &At, problems: &mut Vec<Problem>) {
    let urls: Vec<_> = urls.collect();
    for (index, url) in urls.iter().enumerate().skip(1) {
        let first = urls.first().copied().unwrap_or(url);
        let at = at.index(index);
        if urls.iter().take(index).any(|other| (&other.host, other.port) == (&url.host, url.port)) {
            problems.push(Problem::error(at, "this server is in the list twice"));
        } else if url.tls != first.tls {
            let message = "one server is spoken to in TLS (`rediss://`) and another isn't; they are all alike";
            problems.push(Problem::error(at, message));
        } else if (&url.user, &url.password) != (&first.user, &first.password) {
            let message = "user and password are the same for all; this server's differ from the first one's";
            problems.push(Problem::error(at, message).hint("write `user` and `password` once, beside the list"));
        }
    }
}
