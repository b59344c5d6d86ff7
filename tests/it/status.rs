//! `/status` on stores, sources of sessions, and what is bound to an endpoint.

use std::time::SystemTime;

use headgate::telemetry::access_log::rfc3339;

use crate::harness::{Ask, Browser, Client, Gateway, Origin, Redis, SECRET, eventually, list, signed};

/// Two upstreams of the same origins: one pins by a cookie, the other by bindings in the store.
fn gateway(origins: &[Origin], store: &str) -> Gateway {
    let endpoints = list(&origins.iter().collect::<Vec<_>>());
    Gateway::start(&format!(
        "
cookies: {{ secrets: ['{SECRET}'] }}
stores: {{ shop: '{store}' }}
sessions:
  web: {{ cookie: connect.sid, format: express, secrets: ['{SECRET}'], store: shop, when_store_down: allow }}
upstreams:
  by-cookie: {{ endpoints: {endpoints} }}
  by-store: {{ endpoints: {endpoints} }}
routes:
  - {{ path_prefix: /cookie, upstream: by-cookie, sticky: {{ cookie: srv }} }}
  - {{ path_prefix: /store, upstream: by-store, sticky: {{ session: web }} }}
"
    ))
}

/// The sum of a number over the endpoints of an upstream.
fn sum(gateway: &Gateway, upstream: &str, key: &str) -> u64 {
    let status = gateway.status();
    let upstreams = status["upstreams"].as_array().unwrap();
    let upstream = upstreams.iter().find(|found| found["name"] == upstream).unwrap();
    upstream["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint[key].as_u64().unwrap()).sum()
}

#[test]
fn it_tells_of_stores_sources_pins_and_bindings() {
    let (origins, redis) = (Origin::several(2), Redis::start());
    let gateway = gateway(&origins, &redis.url());
    let store = || gateway.status()["stores"][0].clone();
    eventually("the store is connected", || store()["state"] == "up");
    let now = store();
    assert_eq!((now["name"].as_str(), now["kind"].as_str()), (Some("shop"), Some("redis")));
    assert_eq!((now["tracking"].as_bool(), now["reconnects"].as_u64()), (Some(true), Some(0)));
    assert!(now["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{now}");

    for id in ["one", "two", "three"] {
        let mut browser = Browser::new(gateway.address()).with(&redis.plant(id, id));
        for path in ["/cookie", "/store", "/cookie", "/store"] {
            assert_eq!(browser.get(path).status, 200);
        }
    }
    assert_eq!([sum(&gateway, "by-cookie", "pins"), sum(&gateway, "by-store", "pins")], [3, 3]);
    assert_eq!([sum(&gateway, "by-cookie", "bindings"), sum(&gateway, "by-store", "bindings")], [0, 3]);
    let source = gateway.status()["sessions"][0].clone();
    assert_eq!((source["name"].as_str(), source["store"].as_str()), (Some("web"), Some("shop")));
    assert!(source["remembered"].as_u64() == Some(3) && source["bytes"].as_u64() > Some(0), "{source}");
    assert!(!gateway.status().to_string().contains("three"), "an id is told");
}

#[test]
fn it_tells_that_a_store_is_away_and_why_without_its_credentials() {
    let mut redis = Redis::with(&["--user", "gate", "on", ">pass-word", "~*", "&*", "+@all"]);
    let url = redis.url().replace("redis://", "redis://gate:pass-word@");
    let gateway = gateway(&Origin::several(1), &url);
    let store = || gateway.status()["stores"][0].clone();
    eventually("the store is connected", || store()["state"] == "up");
    redis.kill();
    let mut browser = Browser::new(gateway.address()).with(&signed("one", SECRET));
    browser.get("/store");
    eventually("the store is away", || store()["state"] == "down");
    eventually("it is said why", || store()["last_error"].is_string());
    let told = gateway.status().to_string();
    assert!(!told.contains("pass-word") && !told.contains("gate:"), "{told}");
    let up = || gateway.metrics().sum("headgate_session_store_up", &[("store", "shop")]);
    assert_eq!(up(), 0.0);
    assert!(!gateway.log().contains("pass-word"));
    redis.restart();
    eventually("the store is back", || store()["state"] == "up" && up() == 1.0);
    assert!(store()["reconnects"].as_u64() > Some(0));
}

#[test]
fn it_tells_until_when_a_drained_endpoint_keeps_its_sessions() {
    let origins = Origin::several(2);
    let gateway = gateway(&origins, "memory");
    let drain = |method: &str, body: &str| {
        let target = format!("/upstreams/by-cookie/endpoints/{}/drain", origins[0].address());
        let ask = Ask::new(method, &target).host("127.0.0.1").header("Content-Type", "application/json").body(body);
        assert!(Client::connect(gateway.admin()).ask(&ask).status < 300);
        gateway.status()["upstreams"][0]["endpoints"][0].clone()
    };
    let endless = drain("PUT", "{}");
    assert_eq!((endless["state"].as_str(), endless["draining_until"].is_null()), (Some("draining"), true));
    let now = rfc3339(SystemTime::now()).to_string();
    let bounded = drain("PUT", r#"{ "deadline": "1h" }"#);
    assert!(bounded["draining_until"].as_str().is_some_and(|until| until > now.as_str()), "{bounded}");
    assert!(bounded["why"].as_str().unwrap().contains("until the deadline"), "{bounded}");
    let over = drain("DELETE", "");
    assert_eq!((over["state"].as_str(), over["draining_until"].is_null()), (Some("up"), true));
}

#[test]
fn two_users_of_one_server_are_two_stores_and_neither_speaks_for_the_other() {
    let redis = Redis::with(&["--user", "gate", "on", ">pass-word", "~*", "&*", "+@all"]);
    let (origins, host) = (Origin::several(1), redis.url().replace("redis://", ""));
    let gateway = Gateway::start(&format!(
        "
sessions:
  one: {{ cookie: one, format: plain, store: 'redis://gate:wrong@{host}', when_store_down: allow }}
  two: {{ cookie: two, format: plain, store: 'redis://gate:pass-word@{host}', when_store_down: allow }}
upstreams:
  node: {{ endpoints: {} }}
routes:
  - {{ path: /one, upstream: node, sticky: {{ session: one }} }}
  - {{ path: /two, upstream: node, sticky: {{ session: two }} }}
",
        list(&[&origins[0]])
    ));
    let stores = || {
        let status = gateway.status();
        let stores = status["stores"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        stores.map(|store| (text(&store["name"]), text(&store["state"]))).collect::<Vec<_>>()
    };
    eventually("the one that may is connected", || stores().iter().any(|(_, state)| state == "up"));
    let stores = stores();
    let [(refused, down), (welcome, _)] = &stores[..] else { panic!("{stores:?}") };
    assert_eq!((down.as_str(), welcome.clone()), ("down", format!("{refused} (2)")));
    let up = |name: &str| gateway.metrics().sum("headgate_session_store_up", &[("store", name)]);
    assert_eq!((up(refused), up(welcome)), (0.0, 1.0));
}
