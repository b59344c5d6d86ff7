//! Each strategy seen from outside: which of the real Node instances answers.

use std::{collections::BTreeMap, time::Duration};

use crate::harness::{Ask, Gateway, Load, NodeApp, eventually, node_list, upstream};

/// Three instances behind this strategy.
fn three(strategy: &str) -> (Vec<NodeApp>, Gateway) {
    let apps = NodeApp::several(3);
    let gateway = Gateway::start(&upstream(&node_list(&apps), &format!("strategy: {strategy}")));
    (apps, gateway)
}

/// Instances with settings each, `n1` first.
fn each(settings: &[&str], upstream_settings: &str) -> (Vec<NodeApp>, Gateway) {
    let apps = NodeApp::several(settings.len());
    let endpoints = apps.iter().zip(settings);
    let endpoints = endpoints.map(|(app, settings)| format!("{{ address: '{}', {settings} }}", app.address()));
    let endpoints = format!("[{}]", endpoints.collect::<Vec<_>>().join(", "));
    let gateway = Gateway::start(&upstream(&endpoints, upstream_settings));
    (apps, gateway)
}

fn counts(turns: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in turns {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_takes_exact_turns() {
    let (_apps, gateway) = three("round_robin");
    let turns = gateway.turns(9, &Ask::get("/"));
    assert_eq!(counts(&turns[..3]).len(), 3, "{turns:?}");
    assert_eq!((&turns[..3], &turns[..3]), (&turns[3..6], &turns[6..]));
}

#[test]
fn round_robin_is_what_an_upstream_uses_that_names_no_strategy() {
    let apps = NodeApp::several(2);
    let gateway = Gateway::start(&upstream(&node_list(&apps), ""));
    let turns = gateway.turns(4, &Ask::get("/"));
    assert_eq!((turns[0] == turns[1], &turns[..2]), (false, &turns[2..]));
}

#[test]
fn round_robin_follows_weights_exactly_and_without_bursts() {
    let (_apps, gateway) = each(&["weight: 4", "weight: 2"], "strategy: round_robin");
    let turns = gateway.turns(18, &Ask::get("/"));
    for round in turns.chunks(6) {
        assert_eq!(counts(round), BTreeMap::from([("n1", 4), ("n2", 2)]), "{turns:?}");
    }
    let burst = turns.chunk_by(|one, next| one == next).map(<[_]>::len).max();
    assert!(burst <= Some(2), "{turns:?}");
}

#[test]
fn an_endpoint_of_weight_zero_is_never_asked() {
    for strategy in ["round_robin", "least_conn", "random", "ip_hash", "peak_ewma"] {
        let (_apps, gateway) = each(&["weight: 0", "weight: 1"], &format!("strategy: {strategy}"));
        assert_eq!(counts(&gateway.turns(10, &Ask::get("/"))), BTreeMap::from([("n2", 10)]), "{strategy}");
    }
}

#[test]
fn random_follows_weights_on_average() {
    let (_apps, gateway) = each(&["weight: 3", "weight: 1"], "strategy: random");
    let tally = Load::run(gateway.address(), 4, 400, &Ask::get("/"));
    tally.assert_all_ok();
    // 300 of 400 are expected; the bounds are more than five standard deviations away.
    assert!((250..350).contains(&tally.of("n1")), "{tally:?}");
}

#[test]
fn least_conn_avoids_the_instance_that_is_busy() {
    let (_apps, gateway) = three("least_conn");
    let mut busy = gateway.client();
    busy.write(Ask::get("/slow?ms=3000").bytes());
    eventually("the slow request is counted", || {
        gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]) == 1.0
    });
    let turns = gateway.turns(10, &Ask::get("/"));
    let held = busy.answer().instance().to_owned();
    assert!(!turns.contains(&held), "{held} was busy: {turns:?}");
    assert_eq!(counts(&turns).len(), 2, "ties are not rotated: {turns:?}");
}

#[test]
fn a_slow_instance_gets_measurably_less_under_least_conn() {
    slow_gets_less("least_conn");
}

#[test]
fn a_slow_instance_gets_measurably_less_under_random_two() {
    slow_gets_less("random_two");
}

#[test]
fn a_slow_instance_gets_measurably_less_under_peak_ewma() {
    slow_gets_less("peak_ewma");
}

fn slow_gets_less(strategy: &str) {
    let (apps, gateway) = three(strategy);
    apps[0].delay(Duration::from_millis(300));
    let tally = Load::run(gateway.address(), 6, 600, &Ask::get("/"));
    tally.assert_all_ok();
    let fair = 600 / 3;
    assert!(tally.of("n1") * 2 < fair, "{strategy}: {tally:?}");
    assert!(tally.of("n2") > 100 && tally.of("n3") > 100, "{strategy}: {tally:?}");
}

#[test]
fn peak_ewma_comes_back_to_an_instance_that_recovered() {
    let (apps, gateway) = three("peak_ewma");
    apps[0].delay(Duration::from_millis(200));
    Load::run(gateway.address(), 6, 300, &Ask::get("/")).assert_all_ok();
    apps[0].delay(Duration::ZERO);
    let load = Load::start(gateway.address(), 6, &Ask::get("/"));
    eventually("a fair share comes back", || Load::run(gateway.address(), 2, 60, &Ask::get("/")).of("n1") >= 10);
    load.stop().assert_all_ok();
}

#[test]
fn random_two_spreads_over_all() {
    let (_apps, gateway) = three("random_two");
    let tally = Load::run(gateway.address(), 6, 300, &Ask::get("/"));
    tally.assert_all_ok();
    assert!(tally.by_instance.values().all(|&count| count > 50), "{tally:?}");
}

#[test]
fn ip_hash_behind_a_trusted_proxy_goes_by_the_clients_address() {
    let apps = NodeApp::several(3);
    let text = upstream(&node_list(&apps), "strategy: ip_hash");
    let trusting = format!("{text}listeners: [{{ address: 127.0.0.1:0, trusted_proxies: [127.0.0.0/8] }}]\n");
    let from = |address: &str| Ask::get("/").header("X-Forwarded-For", address);

    let gateway = Gateway::start(&trusting);
    let mut used = Vec::new();
    for client in 1..40 {
        let turns = gateway.turns(3, &from(&format!("203.0.113.{client}")));
        assert_eq!(counts(&turns).len(), 1, "a client wanders: {turns:?}");
        used.push(turns[0].clone());
    }
    assert_eq!(counts(&used).len(), 3, "{used:?}");

    let gateway = Gateway::start(&text);
    let turns: Vec<_> = (1..20).flat_map(|client| gateway.turns(1, &from(&format!("203.0.113.{client}")))).collect();
    assert_eq!(counts(&turns).len(), 1, "an untrusted X-Forwarded-For chose the instance: {turns:?}");
}

#[test]
fn consistent_hash_keeps_a_user_on_an_instance_and_moves_only_those_of_a_dead_one() {
    let (mut apps, gateway) = three("{ consistent_hash: { key: 'header:x-user' } }");
    let of = |user: usize| gateway.turns(1, &Ask::get("/").header("X-User", &format!("user-{user}"))).remove(0);
    let before: Vec<_> = (0..60).map(of).collect();
    assert_eq!(before, (0..60).map(of).collect::<Vec<_>>());
    assert_eq!(counts(&before).len(), 3, "{before:?}");

    apps[0].kill();
    for (user, was) in before.iter().enumerate() {
        let is = of(user);
        assert!(if was == "n1" { is != "n1" } else { is == *was }, "user {user}: {was} -> {is}");
    }
}

#[test]
fn a_request_without_the_hash_key_takes_turns() {
    let (_apps, gateway) = three("{ consistent_hash: { key: 'header:x-user' } }");
    assert_eq!(counts(&gateway.turns(3, &Ask::get("/"))).len(), 3);
}

#[test]
fn consistent_hash_knows_every_kind_of_key() {
    let apps = NodeApp::several(3);
    for (key, ask) in [
        ("cookie:user", (|i| Ask::get("/").header("Cookie", &format!("a=b; user={i}"))) as fn(usize) -> Ask),
        ("query:user", |i| Ask::get(&format!("/?a=b&user={i}"))),
        ("host", |i| Ask::get("/").host(&format!("h{i}.example"))),
        ("path", |i| Ask::get(&format!("/status/200?{i}"))),
        ("uri", |i| Ask::get(&format!("/?{i}"))),
        ("client_ip", |i| Ask::get("/").header("X-Forwarded-For", &format!("192.0.2.{i}"))),
    ] {
        let strategy = format!("strategy: {{ consistent_hash: {{ key: '{key}' }} }}");
        let text = upstream(&node_list(&apps), &strategy);
        let trusting = "listeners: [{ address: 127.0.0.1:0, trusted_proxies: [127.0.0.1] }]\n";
        let gateway = Gateway::start(&format!("{text}{trusting}"));
        let of = |i| gateway.turns(2, &ask(i));
        let turns: Vec<_> = (0..40).map(of).collect();
        assert!(turns.iter().all(|two| two[0] == two[1]), "{key}: {turns:?}");
        let spread = counts(&turns.concat()).len();
        // The query is no part of the path, so all of these are one key.
        assert_eq!(spread, if key == "path" { 1 } else { 3 }, "{key}: {turns:?}");
    }
}

#[test]
fn first_fills_one_instance_after_the_other() {
    let (_apps, gateway) = each(&["max_connections: 1", "max_connections: 1", "weight: 1"], "strategy: first");
    assert_eq!(counts(&gateway.turns(5, &Ask::get("/"))), BTreeMap::from([("n1", 5)]));
    let in_flight = || gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]);
    let mut held = Vec::new();
    for expected in 1..=2 {
        eventually("only the held are in flight", || in_flight() == f64::from(expected - 1));
        let mut client = gateway.client();
        client.write(Ask::get("/slow?ms=3000").bytes());
        held.push(client);
        eventually("the instance is full", || in_flight() == f64::from(expected));
        let next = format!("n{}", expected + 1);
        assert_eq!(counts(&gateway.turns(5, &Ask::get("/"))), BTreeMap::from([(next.as_str(), 5)]));
    }
}

#[test]
fn a_backup_is_asked_only_when_no_other_is_left() {
    let (mut apps, gateway) = each(&["weight: 1", "backup: true"], "strategy: least_conn");
    assert_eq!(counts(&gateway.turns(6, &Ask::get("/"))), BTreeMap::from([("n1", 6)]));
    apps[0].kill();
    assert_eq!(counts(&gateway.turns(6, &Ask::get("/"))), BTreeMap::from([("n2", 6)]));
}

#[test]
fn two_routes_balance_one_upstream_differently() {
    let apps = NodeApp::several(3);
    let gateway = Gateway::start(&format!(
        "upstreams: {{ node: {{ endpoints: {}, strategy: first }} }}\n\
         routes:\n  - {{ path: /headers, upstream: node, strategy: round_robin }}\n  - upstream: node\n",
        node_list(&apps)
    ));
    assert_eq!(counts(&gateway.turns(6, &Ask::get("/"))), BTreeMap::from([("n1", 6)]));
    assert_eq!(counts(&gateway.turns(6, &Ask::get("/headers"))), BTreeMap::from([("n1", 2), ("n2", 2), ("n3", 2)]));
}

#[test]
fn a_hot_key_overflows_beyond_its_load_bound() {
    let apps = NodeApp::several(3);
    apps.iter().for_each(|app| app.delay(Duration::from_millis(100)));
    let gateway = Gateway::start(&format!(
        "upstreams:
  node: {{ endpoints: {}, strategy: {{ consistent_hash: {{ key: 'header:x-user', load_bound: 1 }} }} }}
routes:
  - upstream: node
  - {{ path_prefix: /status, upstream: node, strategy: {{ consistent_hash: {{ key: 'header:x-user', load_bound: 100 }} }} }}\n",
        node_list(&apps)
    ));
    let used = |target: &str| {
        // A handful of requests is no crowd; thirty are.
        let tally = Load::run(gateway.address(), 30, 300, &Ask::get(target).header("X-User", "celebrity"));
        tally.assert_all_ok();
        tally.by_instance.len()
    };
    assert_eq!((used("/"), used("/status/200")), (3, 1));
}
