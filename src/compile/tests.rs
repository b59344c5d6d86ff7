//! What `check` says of files whose form is right and whose meaning is not; and what lives on from one file to the next.

use std::fs;
use std::sync::{Arc, LazyLock};

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use proptest::prelude::*;

use crate::config::tests::hold_fixtures;
use crate::endpoint::EndpointId;
use crate::reload::{self, CookieKey};
use crate::session::Issued;
use crate::session::store::{RedisConfig, Servers, Store, StoreConfig};
use crate::snapshot::Snapshot;
use crate::sticky::{Moved, Sticky};
use crate::telemetry::metrics::Metrics;

#[test]
fn every_fault_of_meaning_is_told_as_it_stands_beside_the_file() {
    hold_fixtures("tests/fixtures/config/meaning", |path| {
        match reload::read(path, &headgate_plugins::builtin(), &Metrics::new(), None, None) {
            Ok(candidate) => candidate.warnings.join("\n\n"),
            Err(refused) => refused.to_string(),
        }
    });
}

/// Compiles a text after what ran before it.
fn compiled(text: &str, previous: Option<&Snapshot>) -> Snapshot {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, format!("listeners: [{{ address: 0.0.0.0:8080 }}]\n{text}")).unwrap();
    // One process has one key.
    static KEY: LazyLock<CookieKey> = LazyLock::new(CookieKey::default);
    let read = reload::read(&path, &headgate_plugins::builtin(), &Metrics::new(), Some(&KEY), previous);
    read.unwrap_or_else(|refused| panic!("{refused}")).compiled.snapshot
}

/// A file with a source `web` that asks `store`, and a route that asks of it `rule`.
fn with_session(store: &str, rule: &str) -> String {
    format!(
        "stores: {{ main: redis://127.0.0.1/1, again: redis://127.0.0.1/1, local: memory }}
sessions:
  web: {{ cookie: sid, format: express, secrets: [keyboard cat keyboard cat], {store} }}
upstreams: {{ node: {{ endpoints: [127.0.0.1:3001] }} }}
routes: [{{ upstream: node, session: {{ source: web, {rule} }} }}]
"
    )
}

const MAIN: &str = "store: main, when_store_down: deny";

#[test]
fn a_source_that_is_asked_the_same_lives_on_through_a_reload() {
    let first = compiled(&with_session(MAIN, "require: { field: a }, forward: { x-b: b, x-c: c }"), None);
    // In another order, and by another route.
    let same = compiled(&with_session(MAIN, "require: { field: c }, forward: { x-b: b, x-a: a }"), Some(&first));
    assert!(Arc::ptr_eq(&first.sessions[0], &same.sessions[0]));
    let other = compiled(&with_session(MAIN, "require: true, forward: { x-b: b }"), Some(&first));
    assert!(!Arc::ptr_eq(&first.sessions[0], &other.sessions[0]));
    assert!(Arc::ptr_eq(&first.stores[0], &other.stores[0]), "its store has not changed");
}

#[test]
fn a_store_lives_on_as_long_as_it_is_the_same_server_of_the_same_name() {
    let first = compiled(&with_session(MAIN, "require: true"), None);
    assert_eq!(first.stores.len(), 1, "what nobody asks is not connected to");
    let next = |store: &str, previous: &Snapshot| {
        compiled(&with_session(&format!("store: {store}, when_store_down: allow"), "require: true"), Some(previous))
    };
    assert!(Arc::ptr_eq(&first.stores[0], &next("main", &first).stores[0]));
    let unnamed = next("redis://127.0.0.1/1", &first);
    assert_eq!(&**unnamed.stores[0].name(), "redis://127.0.0.1:6379/1");
    let other = next("{ url: 'redis://127.0.0.1:6379/1' }", &unnamed);
    assert!(Arc::ptr_eq(&unnamed.stores[0], &other.stores[0]));
    assert_eq!(&**next("again", &first).stores[0].name(), "again", "the status and the log name what is in the file");
    for store in ["redis://127.0.0.1/2", "rediss://127.0.0.1/1", "redis://:secret@127.0.0.1/1", "redis://localhost/1"] {
        let text = with_session(&format!("store: {store}, when_store_down: deny"), "require: true");
        assert!(!Arc::ptr_eq(&first.stores[0], &compiled(&text, Some(&first)).stores[0]), "{store}");
    }
}

#[test]
fn a_memory_keeps_what_it_has_learned_and_shares_it_only_by_its_name() {
    for store in ["store: memory", "store: local"] {
        let first = compiled(&with_session(store, "require: true"), None);
        let next = compiled(&with_session(store, "require: true, otherwise: 403"), Some(&first));
        assert!(Arc::ptr_eq(&first.stores[0], &next.stores[0]), "{store}");
    }
    let two = |store: &str| {
        let text = format!(
            "stores: {{ local: memory }}
sessions:
  one: {{ cookie: one, format: plain, store: {store} }}
  two: {{ cookie: two, format: plain, store: {store} }}
routes:
  - {{ path: /1, respond: {{}}, session: {{ source: one, require: true }} }}
  - {{ path: /2, respond: {{}}, session: {{ source: two, require: true }} }}
"
        );
        // A name that nobody asks is a warning.
        compiled(&text, None).stores.len()
    };
    assert_eq!((two("memory"), two("local")), (2, 1));
}

#[test]
fn sources_of_one_server_share_its_connection() {
    let text = "
sessions:
  one: { cookie: one, format: plain, store: redis://127.0.0.1, when_store_down: deny }
  two: { cookie: two, format: plain, store: redis://127.0.0.1:6379/0, when_store_down: allow }
routes:
  - { path: /1, respond: {}, session: { source: one, require: true } }
  - { path: /2, respond: {}, session: { source: two, require: true } }
";
    let snapshot = compiled(text, None);
    let names: Vec<_> = snapshot.stores.iter().map(|store| store.name().to_string()).collect();
    assert_eq!(names, ["redis://127.0.0.1:6379/0"]);
    let allow: Vec<_> = snapshot.sessions.iter().map(|source| source.allows_when_down()).collect();
    assert_eq!(allow, [false, true]);
}

#[test]
fn a_stores_name_and_what_is_printed_of_it_hold_no_credentials() {
    for (store, name) in [
        ("redis://app:hunter2@10.0.0.1/3", "redis://10.0.0.1:6379/3"),
        ("'rediss://:hunter2@[::1]:6380'", "rediss://[::1]:6380/0"),
        ("{ url: redis://10.0.0.1, user: app, password: hunter2 }", "redis://10.0.0.1:6379/0"),
        ("{ cluster: ['redis://:hunter2@a', 'redis://:hunter2@b:7000'] }", "cluster a:6379,b:7000"),
        ("{ sentinel: { master: m, addresses: ['redis://:hunter2@a'] }, password: hunter2 }", "sentinel m"),
    ] {
        let text = with_session(&format!("store: {store}, when_store_down: deny"), "require: true");
        let snapshot = compiled(&text, None);
        assert_eq!(&**snapshot.stores[0].name(), name);
        let printed = format!("{:?}{:?}", snapshot.stores, snapshot.sessions);
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn each_form_of_a_store_is_compiled_to_its_servers() {
    let config = |store: &str| {
        let text = with_session(&format!("store: {store}, when_store_down: deny"), "require: true");
        match compiled(&text, None).stores[0].config() {
            StoreConfig::Redis(config) => config.clone(),
            StoreConfig::Memory => panic!("{store}"),
        }
    };
    let one = config("rediss://app:p%40ss@redis.internal/3");
    assert!(matches!(&one.servers, Servers::One(address) if address.to_string() == "redis.internal:6379"));
    assert_eq!((one.db, one.credentials.user.as_deref()), (3, Some("app")));
    assert_eq!(one.credentials.password.as_deref(), Some("p@ss"));
    assert!(one.tls.is_some_and(|tls| tls.ca.is_none()));
    let raw = config("{ url: redis://10.0.0.1, password: 'p@ss/w#rd%41' }");
    assert_eq!((raw.credentials.user, raw.credentials.password.as_deref()), (None, Some("p@ss/w#rd%41")));
    let cluster = config("{ cluster: ['redis://:x@a', 'redis://:x@b:7000'] }");
    assert!(matches!(&cluster.servers, Servers::Cluster(nodes) if nodes.len() == 2 && nodes[1].port == 7000));
    assert_eq!(cluster.credentials.password.as_deref(), Some("x"));
    let sentinel =
        config("{ sentinel: { master: m, addresses: ['rediss://:s@a', 'rediss://:s@b:1'], db: 2 }, password: x }");
    let Servers::Sentinel { master, sentinels, credentials, tls } = &sentinel.servers else { panic!() };
    assert_eq!((&**master, sentinels[0].port, sentinels[1].port), ("m", 26379, 1));
    assert_eq!((credentials.password.as_deref(), sentinel.credentials.password.as_deref()), (Some("s"), Some("x")));
    assert!(sentinel.db == 2 && sentinel.tls.is_some() && tls.is_some());
    let mixed = config("{ sentinel: { master: m, addresses: [a], tls: true } }");
    assert!(mixed.tls.is_some() && matches!(mixed.servers, Servers::Sentinel { tls: None, .. }));
}

/// One route to these endpoints that is sticky by a cookie.
fn sticky(endpoints: &[String], secrets: &[String]) -> String {
    let secrets: Vec<_> = secrets.iter().map(|secret| format!("'{secret}'")).collect();
    format!(
        "cookies: {{ secrets: [{}] }}\nupstreams: {{ node: {{ endpoints: [{}] }} }}\nroutes: [{{ upstream: node, sticky: {{ cookie: srv }} }}]\n",
        secrets.join(", "),
        endpoints.join(", ")
    )
}

fn of_route(snapshot: &Snapshot) -> &Sticky {
    snapshot.routes[0].sticky.as_ref().unwrap()
}

fn now<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The cookie of a client that this endpoint answers for the first time.
fn pin(sticky: &Sticky, endpoint: &EndpointId) -> HeaderMap {
    now(async {
        let looked_up = sticky.look_up(&HeaderMap::new(), None).await;
        let none: Option<Moved> = None;
        let answered = sticky.remember(&looked_up, Some((0, endpoint)), none, &Issued::Nothing, false).await;
        let set = answered.set_cookie.unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&pair).unwrap())])
    })
}

fn pinned(sticky: &Sticky, headers: &HeaderMap) -> Option<EndpointId> {
    now(sticky.look_up(headers, None)).pinned.map(|pinned| pinned.endpoint)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A client stays where it is through a reload, a restart, endpoints in another order or more of them, a new secret
    /// before the old one, and on every replica.
    #[test]
    fn pins_hold_through_reloads_reordering_and_new_secrets(
        ports in proptest::collection::btree_set(3000_u16..4000, 1..8),
        order in any::<proptest::sample::Index>(),
        chosen in any::<proptest::sample::Index>(),
        more in 4000_u16..5000,
        rotated in any::<bool>(),
    ) {
        let endpoints: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let secrets = vec!["the first secret of ours".to_owned()];
        let first = compiled(&sticky(&endpoints, &secrets), None);
        let endpoint = EndpointId::new(&endpoints[chosen.index(endpoints.len())]);
        let headers = pin(of_route(&first), &endpoint);
        let cookie = headers[COOKIE].to_str().unwrap();
        prop_assert!(!cookie.contains("127.0.0.1"), "{}", cookie);

        let mut changed = endpoints.clone();
        changed.push(format!("127.0.0.1:{more}"));
        let turn = order.index(changed.len());
        changed.rotate_left(turn);
        let mut rotating = secrets.clone();
        if rotated {
            rotating.insert(0, "a newer secret of ours".to_owned());
        }
        let text = sticky(&changed, &rotating);
        for previous in [Some(&first), None] {
            let next = compiled(&text, previous);
            prop_assert_eq!(pinned(of_route(&next), &headers), Some(endpoint.clone()));
        }
        let gone: Vec<String> = changed.into_iter().filter(|other| *other != endpoint.as_str()).collect();
        prop_assert_eq!(pinned(of_route(&compiled(&sticky(&gone, &rotating), None)), &headers), None);
        let foreign = vec!["a secret of somebody else".to_owned()];
        prop_assert_eq!(pinned(of_route(&compiled(&sticky(&endpoints, &foreign), None)), &headers), None);
    }
}

#[test]
fn bindings_live_on_with_their_source() {
    let text = "
sessions: { web: { cookie: sid, format: plain, store: memory } }
upstreams: { node: { endpoints: [127.0.0.1:3001] } }
routes:
  - { path: /1, upstream: node, sticky: { session: web } }
  - { path: /2, upstream: node, sticky: { session: web, when_down: fail } }
";
    let first = compiled(text, None);
    let next = compiled(&text.replace("3001", "3002"), Some(&first));
    let bindings = |snapshot: &Snapshot, route: usize| {
        Arc::clone(snapshot.routes[route].sticky.as_ref().unwrap().bindings().unwrap())
    };
    assert!(Arc::ptr_eq(&bindings(&first, 0), &bindings(&first, 1)));
    assert!(Arc::ptr_eq(&bindings(&first, 0), &bindings(&next, 0)));
    assert_eq!(first.stores.len(), 1, "the source's own store keeps them");
    let tokens = text.replace(
        "cookie: sid, format: plain, store: memory",
        "bearer: true, format: jwt, jwt: { secrets: [a secret of tokens of 32 bytes..] }",
    );
    let first = compiled(&tokens, None);
    assert_eq!(first.stores.len(), 1, "tokens without a store are bound in this process");
    let next = compiled(&tokens, Some(&first));
    assert!(Arc::ptr_eq(&first.stores[0], &next.stores[0]));
    let rotated = compiled(&tokens.replace("a secret", "a newer secret"), Some(&first));
    assert!(!Arc::ptr_eq(&bindings(&first, 0), &bindings(&rotated, 0)), "the source is another");
    assert!(Arc::ptr_eq(&first.stores[0], &rotated.stores[0]), "and whoever was bound still is");
}

/// Two sources, and a route of each.
fn with_stores(stores: &str, one: &str, two: &str) -> String {
    format!(
        "{stores}
sessions:
  one: {{ cookie: one, format: plain, store: {one}, when_store_down: deny }}
  two: {{ cookie: two, format: plain, store: {two}, when_store_down: deny }}
routes:
  - {{ path: /1, respond: {{}}, session: {{ source: one, require: true }} }}
  - {{ path: /2, respond: {{}}, session: {{ source: two, require: true }} }}
"
    )
}

/// The stores of the sources, and the name and the port of each.
fn asked(snapshot: &Snapshot) -> (Vec<&Arc<Store>>, Vec<(&str, u16)>) {
    let stores: Vec<_> = snapshot.sessions.iter().filter_map(|source| source.store()).collect();
    let port = |store: &Store| match store.config() {
        StoreConfig::Redis(RedisConfig { servers: Servers::One(address), .. }) => address.port,
        other => panic!("{other:?}"),
    };
    let named = stores.iter().map(|store| (&**store.name(), port(store))).collect();
    (stores, named)
}

#[test]
fn a_source_asks_the_store_that_it_names_also_after_names_have_changed() {
    let of = |a: u16, b: u16, previous: Option<&Snapshot>| {
        let stores = format!("stores: {{ a: 'redis://127.0.0.1:{a}', b: 'redis://127.0.0.1:{b}' }}");
        compiled(&with_stores(&stores, "a", "b"), previous)
    };
    let first = of(1001, 1002, None);
    assert_eq!(asked(&first).1, [("a", 1001), ("b", 1002)]);
    let swapped = of(1002, 1001, Some(&first));
    assert_eq!(asked(&swapped).1, [("a", 1002), ("b", 1001)]);
    let same = of(1002, 1001, Some(&swapped));
    assert!(asked(&same).0.iter().zip(asked(&swapped).0).all(|(now, then)| Arc::ptr_eq(now, then)));
}

#[test]
fn of_two_users_of_one_server_each_keeps_its_own_connection() {
    let of = |user: &str, previous: Option<&Snapshot>| {
        let (one, two) = (format!("'redis://:{user}@127.0.0.1:1001'"), "'redis://:two@127.0.0.1:1001'");
        compiled(&with_stores("", &one, two), previous)
    };
    let first = of("one", None);
    let [(name, _), (other, _)] = asked(&first).1[..] else { panic!("two stores") };
    assert_eq!(other, format!("{name} (2)"));
    let next = of("new", Some(&first));
    assert_eq!(asked(&next).1, asked(&first).1);
    let kept: Vec<_> = asked(&next).0.iter().zip(asked(&first).0).map(|(now, then)| Arc::ptr_eq(now, then)).collect();
    assert_eq!(kept, [false, true]);
}
