//! The file changes while the gateway runs: whole, at once, or not at all.

use std::fs;

use crate::harness::{Ask, Gateway, Load, NodeApp, Origin, Setup, eventually, list, node_list, upstream};

const PING: &str = "routes:\n  - path: /ping\n    respond: { body: one }\n";

fn ping(gateway: &Gateway) -> String {
    gateway.get("/ping").text()
}

#[test]
fn a_hundred_changes_under_load_lose_no_request() {
    let apps = NodeApp::several(3);
    let strategies = ["round_robin", "least_conn", "random", "random_two", "peak_ewma", "ip_hash", "first"];
    let text = |change: usize| {
        let weight = |index: usize| 1 + (change + index) % 5;
        // One of the three leaves every other time.
        let leaving = if change.is_multiple_of(2) { usize::MAX } else { change % 3 };
        let endpoints = apps.iter().enumerate().filter(|(index, _)| *index != leaving);
        let endpoints: Vec<_> = endpoints
            .map(|(index, app)| format!("{{ address: '{}', weight: {} }}", app.address(), weight(index)))
            .collect();
        let mut text =
            upstream(&format!("[{}]", endpoints.join(", ")), &format!("strategy: {}", strategies[change % 7]));
        for route in 0..change % 4 {
            text.push_str(&format!("  - {{ path_prefix: /more/{route}, upstream: node, strategy: least_conn }}\n"));
        }
        text
    };
    let gateway = Gateway::start(&text(0));
    let load = Load::start(gateway.address(), 6, &Ask::get("/"));
    for change in 1..=100 {
        gateway.rewrite(&text(change));
        load.more(10);
    }
    let tally = load.stop();
    tally.assert_all_ok();
    assert_eq!(tally.by_instance.len(), 3, "{tally:?}");
    assert!(gateway.generation() >= 101);
    assert_eq!(gateway.metrics().sum("headgate_config_last_reload_success", &[]), 1.0);
}

#[test]
fn endpoints_by_a_new_name_are_looked_up_before_they_serve() {
    let origin = Origin::start("a");
    let endpoints = list(&[&origin]).replace("127.0.0.1", "localhost");
    // Another upstream each time: nothing is known of its endpoints.
    let text = |change: usize| upstream(&endpoints, "").replace("node", &format!("node{change}"));
    let gateway = Gateway::start(&text(0));
    eventually("the first is looked up", || gateway.get("/").status == 200);
    let load = Load::start(gateway.address(), 6, &Ask::get("/"));
    for change in 1..=20 {
        gateway.rewrite(&text(change));
        load.more(10);
    }
    load.stop().assert_all_ok();
}

#[test]
fn a_changed_strategy_counts_from_the_next_request_on() {
    let origins = Origin::several(2);
    let endpoints = list(&[&origins[0], &origins[1]]);
    let gateway = Gateway::start(&upstream(&endpoints, "strategy: round_robin"));
    let mut client = gateway.client();
    let mut four = || (0..4).map(|_| client.get("/").instance().to_owned()).collect::<Vec<_>>();
    assert!(four().windows(2).all(|two| two[0] != two[1]));
    gateway.rewrite(&upstream(&endpoints, "strategy: first"));
    assert_eq!(four(), ["a"; 4], "on the same connection");
}

#[test]
fn a_refused_reload_keeps_the_old_and_says_why() {
    let gateway = Gateway::start(PING);
    let generation = gateway.generation();
    let said = gateway.rewrite_refused(&PING.replace("respond", "rispond"));
    assert!(said.contains("rispond") && said.contains("gateway.yaml:3:"), "{said}");
    assert_eq!((ping(&gateway).as_str(), gateway.generation()), ("one", generation));
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("headgate_config_last_reload_success", &[]), 0.0);
    assert_eq!(metrics.sum("headgate_config_reloads_total", &[("result", "rejected")]), 1.0);
    assert!(gateway.status().to_string().contains("rispond"), "{}", gateway.status());

    gateway.rewrite(&PING.replace("one", "two"));
    assert_eq!(ping(&gateway), "two");
    assert_eq!(gateway.metrics().sum("headgate_config_last_reload_success", &[]), 1.0);
}

#[test]
fn an_upstream_that_is_not_defined_refuses_the_reload() {
    let gateway = Gateway::start(PING);
    let said =
        gateway.rewrite_refused("routes:\n  - upstream: nod\nupstreams: { node: { endpoints: [127.0.0.1:1] } }\n");
    assert!(said.contains("nod") && said.contains("did you mean"), "{said}");
    assert_eq!(ping(&gateway), "one");
}

#[test]
fn a_file_written_in_place_is_seen() {
    let gateway = Gateway::start(PING);
    let path = gateway.path("gateway.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("one", "two")).unwrap();
    eventually("the change is seen", || ping(&gateway) == "two");
}

#[test]
fn a_file_that_was_removed_and_written_anew_is_seen() {
    let gateway = Gateway::start(PING);
    let path = gateway.path("gateway.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, text.replace("one", "two")).unwrap();
    eventually("the change is seen", || ping(&gateway) == "two");
}

#[test]
fn a_change_of_an_included_file_is_seen_and_so_is_a_new_one() {
    let text = "include: [conf.d/*.yaml]\nroutes:\n  - { path: /, respond: { body: main } }\n";
    let gateway = Setup::new(text).file("conf.d/a.yaml", PING).start();
    assert_eq!((ping(&gateway).as_str(), gateway.get("/").text().as_str()), ("one", "main"));
    fs::write(gateway.path("conf.d/a.yaml"), PING.replace("one", "two")).unwrap();
    eventually("the change is seen", || ping(&gateway) == "two");
    fs::write(gateway.path("conf.d/b.yaml"), "routes:\n  - { path: /b, respond: { body: new } }\n").unwrap();
    eventually("the new file is seen", || gateway.get("/b").text() == "new");
    fs::remove_file(gateway.path("conf.d/b.yaml")).unwrap();
    eventually("its absence is seen", || gateway.get("/b").status == 404);
}

#[test]
fn sighup_reloads() {
    let gateway = Gateway::start(PING);
    let reloads = || gateway.metrics().sum("headgate_config_reloads_total", &[("result", "success")]);
    let before = reloads();
    gateway.signal("HUP");
    eventually("it is reloaded", || reloads() > before);
    assert_eq!(ping(&gateway), "one");
}

#[test]
fn limits_and_trusted_proxies_of_a_listener_change_without_a_restart() {
    let origin = Origin::start("a");
    let text = upstream(&list(&[&origin]), "");
    let gateway = Gateway::start(&text);
    let ask = Ask::get("/").header("X-Forwarded-For", "203.0.113.7");
    gateway.ask(&ask);
    assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1"));
    gateway.rewrite(&format!(
        "{text}listeners: [{{ address: 127.0.0.1:0, trusted_proxies: [127.0.0.1], limits: {{ headers: 5 }} }}]\n"
    ));
    gateway.ask(&ask);
    assert_eq!(origin.last().header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    let many = (0..6).fold(Ask::get("/"), |ask, index| ask.header(&format!("X-{index}"), "1"));
    assert_eq!(gateway.ask(&many).status, 431);
}

#[test]
fn a_changed_process_section_refuses_the_reload_with_that_reason() {
    let gateway = Gateway::start(&format!("{PING}process: {{ threads: 1, shutdown_timeout: 5s }}\n"));
    let said = gateway.rewrite_refused(&format!("{PING}process: {{ threads: 2, shutdown_timeout: 5s }}\n"));
    assert!(said.contains("process") && said.contains("restart"), "{said}");
}

#[test]
fn the_state_of_an_endpoint_is_carried_over() {
    let origins = Origin::several(2);
    origins[0].status(503);
    let text = |weight: u32| {
        let endpoints =
            format!("[{}, {{ address: '{}', weight: {weight} }}]", origins[0].address(), origins[1].address());
        upstream(&endpoints, "outlier: { consecutive_errors: 2, eject_for: 1h }, retry: { attempts: 1 }")
    };
    let gateway = Gateway::start(&text(1));
    Load::run(gateway.address(), 1, 10, &Ask::get("/"));
    assert_eq!((origins[0].count(), origins[1].count()), (2, 8), "ejected");
    let requests = || gateway.metrics().sum("headgate_upstream_requests_total", &[]);
    let before = requests();

    gateway.rewrite(&text(3));
    Load::run(gateway.address(), 1, 10, &Ask::get("/")).assert_all_ok();
    assert_eq!(origins[0].count(), 2, "still ejected");
    assert_eq!(requests(), before + 10.0, "counters go on");
}

#[test]
fn requests_in_flight_are_counted_on_across_a_reload() {
    let apps = NodeApp::several(2);
    let gateway = Gateway::start(&upstream(&node_list(&apps), "strategy: first"));
    let mut busy = gateway.client();
    busy.write(Ask::get("/slow?ms=2000").bytes());
    let in_flight = || gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]);
    eventually("it is counted", || in_flight() == 1.0);
    gateway.rewrite(&upstream(&node_list(&apps), "strategy: least_conn"));
    assert_eq!(in_flight(), 1.0);
    assert_eq!(gateway.turns(4, &Ask::get("/")), ["n2"; 4]);
    assert_eq!(busy.answer().instance(), "n1");
    eventually("it is given back", || in_flight() == 0.0);
}

#[test]
fn a_stream_outlives_the_endpoint_and_the_route_that_it_came_by() {
    let app = NodeApp::start("n1");
    let endpoints = format!("[{}]", app.address());
    let gateway = Gateway::start(&upstream(&endpoints, ""));
    let mut client = gateway.client();
    client.write(Ask::get("/stream?ms=100&count=20").bytes());
    assert_eq!(client.head().status, 200);
    let first = client.chunk().unwrap().unwrap();
    gateway.rewrite(PING);
    let events = String::from_utf8(first).unwrap() + &client.rest_of_chunks();
    assert_eq!(events.matches("data:").count(), 20);
}

#[test]
fn the_series_of_what_is_gone_disappear() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&upstream(&list(&[&origin]), ""));
    gateway.get("/");
    let endpoint = origin.address().to_string();
    let has = || gateway.metrics().has("headgate_upstream_requests_total", &[("endpoint", &endpoint)]);
    assert!(has());
    gateway.rewrite(PING);
    eventually("its series are gone", || !has());
}

#[test]
fn writing_the_same_file_again_disturbs_nothing() {
    let origin = Origin::start("a");
    let text = upstream(&list(&[&origin]), "");
    let gateway = Gateway::start(&text);
    let load = Load::start(gateway.address(), 2, &Ask::get("/"));
    for _ in 0..5 {
        gateway.replace_file(&text);
        load.more(20);
    }
    load.stop().assert_all_ok();
    assert_eq!(gateway.metrics().sum("headgate_config_last_reload_success", &[]), 1.0);
}
