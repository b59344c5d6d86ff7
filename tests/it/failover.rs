//! What a client sees when an instance dies, hangs, fails or is full.

use std::{thread, time::Duration};

use crate::harness::{Ask, Gateway, Load, NodeApp, Origin, Port, Reply, eventually, list, node_list, timed, upstream};

/// Outliers stay in, so that a test sees retries and nothing else.
const NO_OUTLIER: &str = "outlier: off";

#[test]
fn an_instance_killed_under_load_fails_no_get() {
    let mut apps = NodeApp::several(3);
    let health = "health_check: { http: /healthz, interval: 250ms }";
    let gateway = Gateway::start(&upstream(&node_list(&apps), health));
    let load = Load::start(gateway.address(), 8, &Ask::get("/"));
    load.more(200);
    apps[0].kill();
    load.more(400);
    let tally = load.stop();
    tally.assert_all_ok();
    assert!(tally.of("n1") > 0, "{tally:?}");
}

#[test]
fn an_instance_that_comes_back_is_used_again() {
    let mut apps = NodeApp::several(2);
    let health = "health_check: { http: /healthz, interval: 150ms, rise: 1, fall: 1 }, outlier: { eject_for: 200ms }";
    let gateway = Gateway::start(&upstream(&node_list(&apps), health));
    apps[0].kill();
    assert_eq!(gateway.turns(4, &Ask::get("/")), ["n2"; 4]);
    eventually("the probe sees it", || gateway.metrics().sum("headgate_upstream_endpoint_up", &[]) == 1.0);
    apps[0].restart();
    eventually("it answers again", || gateway.turns(4, &Ask::get("/")).contains(&"n1".to_owned()));
}

#[test]
fn with_all_instances_down_and_no_fail_open_the_answer_is_503_at_once() {
    let mut apps = NodeApp::several(2);
    let settings = "health_check: { http: /healthz, interval: 150ms, rise: 1, fall: 1 }, panic_threshold: off";
    let gateway = Gateway::start(&upstream(&node_list(&apps), settings));
    apps.iter_mut().for_each(NodeApp::kill);
    eventually("both are down", || gateway.metrics().sum("headgate_upstream_endpoint_up", &[]) == 0.0);
    let (answer, took) = timed(|| gateway.get("/"));
    assert_eq!(answer.status, 503);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn with_all_instances_reported_down_the_gateway_fails_open() {
    let apps = NodeApp::several(2);
    let settings = "health_check: { http: /healthz, interval: 150ms, rise: 1, fall: 1 }";
    let gateway = Gateway::start(&upstream(&node_list(&apps), settings));
    apps.iter().for_each(|app| app.healthy(false));
    eventually("both are down", || gateway.metrics().sum("headgate_upstream_endpoint_up", &[]) == 0.0);
    assert_eq!(gateway.get("/").status, 200);
    assert!(gateway.metrics().sum("headgate_upstream_fail_open_total", &[("upstream", "node")]) >= 1.0);
}

#[test]
fn with_every_connection_refused_the_answer_comes_at_once() {
    let ports = [Port::reserve(), Port::reserve()];
    let endpoints = format!("[{}, {}]", ports[0].address(), ports[1].address());
    let gateway = Gateway::start(&upstream(&endpoints, ""));
    for _ in 0..8 {
        let (answer, took) = timed(|| gateway.get("/"));
        assert!([502, 503].contains(&answer.status), "{}", answer.status);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn an_instance_that_accepts_and_never_answers_ends_in_504_after_first_byte() {
    let app = NodeApp::start("n1");
    let endpoints = format!("[{}]", app.address());
    let gateway = Gateway::start(&upstream(&endpoints, "timeouts: { first_byte: 400ms }, retry: { attempts: 1 }"));
    let (answer, took) = timed(|| gateway.get("/hang"));
    assert_eq!(answer.status, 504);
    assert!((Duration::from_millis(390)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn an_instance_that_does_not_accept_is_left_after_the_connect_timeout() {
    let port = Port::reserve();
    let _full = port.listen_full();
    let origin = Origin::start("a");
    let endpoints = format!("[{}, {}]", port.address(), origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, "strategy: first, timeouts: { connect: 3s }"));
    let (answer, took) = timed(|| gateway.get("/"));
    assert_eq!(answer.instance(), "a");
    // The default is 2s.
    assert!(took > Duration::from_millis(2900), "{took:?}");
}

#[test]
fn a_refused_connection_costs_no_attempt() {
    let ports: Vec<_> = (0..4).map(|_| Port::reserve()).collect();
    let origin = Origin::start("a");
    let refused: Vec<_> = ports.iter().map(|port| port.address().to_string()).collect();
    let endpoints = format!("[{}, {}]", refused.join(", "), origin.address());
    let gateway =
        Gateway::start(&upstream(&endpoints, &format!("strategy: first, retry: {{ attempts: 1 }}, {NO_OUTLIER}")));
    for ask in [Ask::get("/"), Ask::post("/", "once"), Ask::new("POST", "/").chunks(&["on", "ce"])] {
        assert_eq!(gateway.ask(&ask).instance(), "a");
    }
    assert_eq!(origin.last().text(), "once");
}

#[test]
fn a_get_that_met_a_503_is_tried_on_another() {
    let origins = Origin::several(2);
    origins[0].status(503);
    let endpoints = list(&[&origins[0], &origins[1]]);
    let gateway = Gateway::start(&upstream(&endpoints, &format!("strategy: first, {NO_OUTLIER}")));
    assert_eq!((gateway.get("/").instance(), origins[0].count()), ("b", 1));
    let retries = |reason| gateway.metrics().sum("headgate_upstream_retries_total", &[("reason", reason)]);
    assert_eq!(retries("503"), 1.0);
}

#[test]
fn conditions_say_which_answers_are_tried_again() {
    let origins = Origin::several(2);
    let endpoints = list(&[&origins[0], &origins[1]]);
    let settings = format!("strategy: first, retry: {{ conditions: [502] }}, {NO_OUTLIER}");
    let gateway = Gateway::start(&upstream(&endpoints, &settings));
    origins[0].status(503);
    assert_eq!(gateway.get("/").instance(), "a");
    origins[0].status(502);
    assert_eq!(gateway.get("/").instance(), "b");
}

#[test]
fn the_last_attempts_own_answer_passes() {
    let origins = Origin::several(3);
    origins.iter().for_each(|origin| origin.status(503));
    let endpoints = list(&[&origins[0], &origins[1], &origins[2]]);
    let gateway = Gateway::start(&upstream(&endpoints, &format!("strategy: first, {NO_OUTLIER}")));
    let answer = gateway.get("/");
    assert_eq!((answer.status, answer.instance(), answer.text().as_str()), (503, "b", "b"));
    assert_eq!(origins[2].count(), 0, "two attempts are two");
}

#[test]
fn a_post_is_not_tried_again_unless_told() {
    let origins = Origin::several(2);
    let endpoints = list(&[&origins[0], &origins[1]]);
    let gateway = Gateway::start(&upstream(&endpoints, &format!("strategy: first, {NO_OUTLIER}")));
    origins[0].status(503);
    assert_eq!(gateway.ask(&Ask::post("/", "x")).instance(), "a");
    origins[0].reset();
    assert_eq!(gateway.ask(&Ask::post("/", "x")).status, 502);
    assert_eq!(origins[1].count(), 0);
    assert!(gateway.metrics().sum("headgate_upstream_retries_skipped_total", &[("reason", "method")]) >= 1.0);

    let settings = format!("strategy: first, retry: {{ methods: any }}, {NO_OUTLIER}");
    let gateway = Gateway::start(&upstream(&endpoints, &settings));
    for reply in [Reply::Status(503), Reply::Reset] {
        origins[0].reply(reply);
        assert_eq!(gateway.ask(&Ask::post("/", "the body")).instance(), "b");
        assert_eq!(origins[1].last().text(), "the body");
    }
}

#[test]
fn a_get_that_was_reset_is_tried_on_another() {
    let origins = Origin::several(2);
    origins[0].reset();
    let endpoints = list(&[&origins[0], &origins[1]]);
    let gateway = Gateway::start(&upstream(&endpoints, &format!("strategy: first, {NO_OUTLIER}")));
    for _ in 0..3 {
        assert_eq!(gateway.get("/").instance(), "b");
    }
}

#[test]
fn a_get_whose_answer_has_begun_is_not_tried_again() {
    let origins = Origin::several(2);
    origins[0].reply(Reply::BytesThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()));
    let endpoints = list(&[&origins[0], &origins[1]]);
    let gateway = Gateway::start(&upstream(&endpoints, &format!("strategy: first, {NO_OUTLIER}")));
    assert!(gateway.client().try_ask(&Ask::get("/")).is_err(), "half an answer passed for a whole one");
    assert_eq!(origins[1].count(), 0);
}

#[test]
fn when_every_fit_endpoint_refuses_one_that_was_set_aside_is_asked() {
    let mut origins = Origin::several(2);
    origins[0].status(503);
    let endpoints = list(&[&origins[0], &origins[1]]);
    let settings = |panic_threshold: &str| {
        let outlier = "outlier: { consecutive_errors: 1, eject_for: 1h }";
        upstream(&endpoints, &format!("strategy: first, {outlier}, panic_threshold: {panic_threshold}"))
    };
    let gateway = Gateway::start(&settings("0%"));
    assert_eq!(gateway.get("/").instance(), "b");
    assert_eq!(gateway.get("/").instance(), "b");
    assert_eq!(origins[0].count(), 1, "set aside");
    gateway.logged("too many errors in a row, the last: 503");
    origins[0].status(200);
    origins[1].down();
    assert_eq!(gateway.get("/").instance(), "a");
    gateway.rewrite(&settings("off"));
    assert_eq!(gateway.get("/").status, 502);
}

#[test]
fn an_error_of_ours_leaves_the_client_in_no_doubt_about_its_connection() {
    let port = Port::reserve();
    let gateway = Gateway::start(&upstream(&format!("[{}]", port.address()), ""));
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 502);
        if !client.reusable() {
            assert!(client.rest().is_empty());
            client = gateway.client();
        }
    }
}

#[test]
fn the_budget_bounds_retries() {
    let origins = Origin::several(2);
    origins[0].status(503);
    let endpoints = list(&[&origins[0], &origins[1]]);
    let settings = format!("strategy: first, retry: {{ budget: 10% }}, {NO_OUTLIER}");
    let gateway = Gateway::start(&upstream(&endpoints, &settings));
    let tally = Load::run(gateway.address(), 2, 400, &Ask::get("/"));
    assert_eq!((tally.errors.len(), tally.count(200) + tally.count(503)), (0, 400), "{tally:?}");
    // A tenth of 400 and a small reserve to begin with.
    assert!((20..200).contains(&tally.count(200)), "{tally:?}");
    assert!(gateway.metrics().sum("headgate_upstream_retries_skipped_total", &[("reason", "budget")]) > 0.0);
}

#[test]
fn a_route_may_retry_otherwise_than_its_upstream() {
    let origins = Origin::several(2);
    origins[0].status(503);
    let gateway = Gateway::start(&format!(
        "upstreams: {{ node: {{ endpoints: {}, strategy: first, {NO_OUTLIER} }} }}
routes:
  - {{ path: /once, upstream: node, retry: {{ attempts: 1 }} }}
  - {{ path: /never, upstream: node, retry: {{ conditions: [502] }} }}
  - {{ path: /any, upstream: node, retry: {{ methods: any }} }}
  - {{ path: /thrifty, upstream: node, retry: {{ budget: 0% }} }}
  - upstream: node\n",
        list(&[&origins[0], &origins[1]])
    ));
    assert_eq!(gateway.get("/").instance(), "b");
    for path in ["/once", "/never", "/thrifty"] {
        assert_eq!(gateway.get(path).instance(), "a", "{path}");
    }
    assert_eq!(gateway.ask(&Ask::post("/", "x")).instance(), "a");
    assert_eq!(gateway.ask(&Ask::post("/any", "x")).instance(), "b");
}

#[test]
fn a_full_endpoint_answers_503_at_once_without_a_queue() {
    let origin = Origin::start("a");
    origin.hang();
    let endpoints = format!("[{{ address: '{}', max_connections: 1 }}]", origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, ""));
    let mut first = gateway.client();
    first.write(Ask::get("/").bytes());
    eventually("the endpoint is full", || origin.count() == 1);
    let (answer, took) = timed(|| gateway.get("/"));
    assert_eq!(answer.status, 503);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_queue_holds_a_request_until_there_is_room() {
    let origin = Origin::start("a");
    origin.delay(Duration::from_millis(300));
    let endpoints = format!("[{{ address: '{}', max_connections: 1 }}]", origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, "queue: { size: 10, timeout: 10s }"));
    let tally = Load::run(gateway.address(), 4, 8, &Ask::get("/"));
    tally.assert_all_ok();
    assert_eq!(origin.count(), 8);
}

#[test]
fn a_queue_refuses_at_once_when_full_and_after_its_timeout_otherwise() {
    let origin = Origin::start("a");
    origin.hang();
    let endpoints = format!("[{{ address: '{}', max_connections: 1 }}]", origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, "queue: { size: 1, timeout: 4s }"));
    let mut first = gateway.client();
    first.write(Ask::get("/").bytes());
    eventually("the endpoint is full", || origin.count() == 1);
    let address = gateway.address();
    let waiting = thread::spawn(move || timed(|| crate::harness::Client::connect(address).get("/").status));
    eventually("one waits", || gateway.metrics().sum("headgate_upstream_queue_length", &[]) == 1.0);
    let (refused, took) = timed(|| gateway.get("/").status);
    assert_eq!(refused, 503);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (status, took) = waiting.join().unwrap();
    assert_eq!(status, 503);
    assert!(took >= Duration::from_millis(3900), "{took:?}");
    assert_eq!(gateway.metrics().sum("headgate_upstream_queue_rejected_total", &[]), 1.0);
}

#[test]
fn a_client_that_leaves_gives_its_place_in_the_queue_back() {
    let origin = Origin::start("a");
    origin.hang();
    let endpoints = format!("[{{ address: '{}', max_connections: 1 }}]", origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, "queue: { size: 1, timeout: 1m }"));
    let waiting = || gateway.metrics().sum("headgate_upstream_queue_length", &[]);
    let mut first = gateway.client();
    first.write(Ask::get("/").bytes());
    eventually("the endpoint is full", || origin.count() == 1);
    let mut second = gateway.client();
    second.write(Ask::get("/").bytes());
    eventually("one waits", || waiting() == 1.0);
    drop(second);
    eventually("nobody waits", || waiting() == 0.0);
    assert_eq!(origin.count(), 1);
}
