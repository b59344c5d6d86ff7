//! Which endpoints are fit: probes, names that do not resolve, outliers set aside and coming back.

use std::{collections::BTreeMap, time::Duration};

use crate::harness::{Ask, Gateway, Load, Origin, Port, Setup, eventually, list, upstream};

fn up(gateway: &Gateway, endpoint: &str) -> bool {
    gateway.metrics().sum("headgate_upstream_endpoint_up", &[("endpoint", endpoint)]) == 1.0
}

fn answering(gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    let mut answering = BTreeMap::new();
    for name in gateway.turns(count, &Ask::get("/")) {
        *answering.entry(name).or_default() += 1;
    }
    answering
}

fn both() -> BTreeMap<String, usize> {
    BTreeMap::from([("a".into(), 5), ("b".into(), 5)])
}

fn only(name: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.into(), 10)])
}

#[test]
fn a_probe_takes_an_endpoint_out_and_brings_it_back() {
    let origins = Origin::several(2);
    let health = "health_check: { http: /healthz, interval: 150ms, rise: 3, fall: 3 }";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), health));
    assert_eq!(answering(&gateway, 10), both());
    let first = origins[0].address().to_string();

    origins[0].healthy(false);
    let before = origins[0].probes();
    eventually("it is taken out", || !up(&gateway, &first));
    assert!(origins[0].probes() >= before + 3, "out after fewer than `fall` checks");
    assert_eq!(answering(&gateway, 10), only("b"));
    assert!(gateway.metrics().sum("headgate_upstream_health_checks_total", &[("result", "failed")]) >= 3.0);

    origins[0].healthy(true);
    let before = origins[0].probes();
    eventually("it is brought back", || up(&gateway, &first));
    assert!(origins[0].probes() >= before + 3, "back after fewer than `rise` checks");
    // It has no claim on the turns that it missed.
    answering(&gateway, 1);
    assert_eq!(answering(&gateway, 10), both());
}

#[test]
fn status_says_why_an_endpoint_is_down() {
    let origins = Origin::several(2);
    let health = "health_check: { http: /healthz, interval: 150ms, fall: 1 }";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), health));
    origins[0].healthy(false);
    eventually("status says 503", || gateway.status().to_string().contains("503"));
}

#[test]
fn a_tcp_probe_needs_only_a_connection() {
    let mut origins = Origin::several(2);
    origins.iter().for_each(|origin| origin.healthy(false));
    let health = "health_check: { tcp: true, interval: 150ms, rise: 1, fall: 1 }, outlier: off";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), health));
    let first = origins[0].address().to_string();
    assert!(up(&gateway, &first));
    origins[0].down();
    eventually("it is taken out", || !up(&gateway, &first));
    origins[0].up();
    eventually("it is brought back", || up(&gateway, &first));
}

#[test]
fn a_probe_that_gets_no_answer_ends_at_its_timeout() {
    let origins = Origin::several(2);
    origins[0].hang();
    let health = "health_check: { http: /hang, interval: 100ms, timeout: 500ms, fall: 1 }";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), health));
    eventually("it is taken out", || !up(&gateway, &origins[0].address().to_string()));
}

#[test]
fn a_probe_asks_the_port_with_the_host_and_takes_the_statuses_that_are_written() {
    let (traffic, watched) = (Origin::start("a"), Origin::start("watched"));
    watched.status(404);
    let health = format!(
        "health_check: {{ http: '/alive?x=1', interval: 150ms, fall: 1, status: [204, 400-404], host: probe.example, port: {} }}",
        watched.address().port()
    );
    let gateway = Gateway::start(&upstream(&list(&[&traffic]), &health));
    let endpoint = traffic.address().to_string();
    eventually("a probe passes", || {
        gateway.metrics().sum("headgate_upstream_health_checks_total", &[("result", "passed")]) > 0.0
    });
    let probe = watched.last();
    assert_eq!((probe.target.as_str(), probe.header("host")), ("/alive?x=1", Some("probe.example")));
    assert!(up(&gateway, &endpoint) && traffic.count() == 0);
    watched.status(200);
    eventually("a status that is not written fails", || !up(&gateway, &endpoint));
}

#[test]
fn a_name_that_does_not_resolve_stops_neither_the_start_nor_the_reload() {
    let origin = Origin::start("a");
    let nowhere = "nowhere.invalid:3000";
    let text = upstream(&format!("['{nowhere}', {}]", origin.address()), "");
    let gateway = Gateway::start(&text);
    eventually("the name is down", || !up(&gateway, nowhere));
    assert_eq!(answering(&gateway, 10), only("a"));
    eventually("status says why", || gateway.status().to_string().contains("resolve"));
    gateway.rewrite(&format!("{text}  - {{ path: /ping, respond: {{ body: pong }} }}\n"));
    assert_eq!(gateway.get("/ping").text(), "pong");
    assert_eq!(answering(&gateway, 10), only("a"));
}

#[test]
fn a_host_name_is_an_endpoint() {
    let origin = Origin::start("a");
    let endpoints = format!("['localhost:{}']", origin.address().port());
    let gateway = Gateway::start(&upstream(&endpoints, ""));
    eventually("the name is resolved", || gateway.get("/").status == 200);
    assert_eq!(origin.last().header("host"), Some("test.example"));
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_ejected_and_comes_back_by_time() {
    let origins = Origin::several(2);
    origins[0].status(502);
    let settings = "outlier: { consecutive_errors: 3, eject_for: 4s }, retry: { attempts: 1 }";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), settings));
    let mut client = gateway.client();
    let failed = (0..10).filter(|_| client.get("/").status == 502).count();
    assert_eq!(failed, 3, "ejected after three");
    assert_eq!(gateway.metrics().sum("headgate_upstream_ejections_total", &[]), 1.0);
    assert!(!up(&gateway, &origins[0].address().to_string()));
    origins[0].status(200);
    eventually("it comes back", || answering(&gateway, 10) == both());
}

#[test]
fn ejections_never_exceed_their_share() {
    let origins = Origin::several(4);
    origins.iter().for_each(|origin| origin.status(503));
    let settings = "outlier: { consecutive_errors: 2, eject_for: 1h, max_ejected: 50% }, retry: { attempts: 1 }";
    let all: Vec<_> = origins.iter().collect();
    let gateway = Gateway::start(&upstream(&list(&all), settings));
    Load::run(gateway.address(), 2, 100, &Ask::get("/"));
    assert_eq!(gateway.metrics().sum("headgate_upstream_ejections_total", &[]), 2.0);
    assert_eq!(gateway.metrics().sum("headgate_upstream_endpoint_up", &[]), 2.0);
}

#[test]
fn a_500_ejects_nobody() {
    let origins = Origin::several(2);
    origins[0].status(500);
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), "outlier: { consecutive_errors: 1 }"));
    Load::run(gateway.address(), 1, 30, &Ask::get("/"));
    assert_eq!((origins[0].count(), origins[1].count()), (15, 15));
}

#[test]
fn an_endpoint_that_refuses_is_ejected_without_a_failed_request() {
    let port = Port::reserve();
    let origin = Origin::start("a");
    let endpoints = format!("[{}, {}]", port.address(), origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, "outlier: { consecutive_errors: 2 }"));
    Load::run(gateway.address(), 2, 40, &Ask::get("/")).assert_all_ok();
    let refused = port.address().to_string();
    let ejections = gateway.metrics().sum("headgate_upstream_ejections_total", &[("endpoint", &refused)]);
    assert_eq!(ejections, 1.0);
}

#[test]
fn an_endpoint_that_comes_back_starts_slowly() {
    let origins = Origin::several(2);
    let settings = "health_check: { http: /healthz, interval: 150ms, rise: 1, fall: 1 }, slow_start: 1h";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), settings));
    assert_eq!(answering(&gateway, 10), both(), "the start of the gateway itself is not slow");
    let first = origins[0].address().to_string();
    origins[0].healthy(false);
    eventually("it is taken out", || !up(&gateway, &first));
    origins[0].healthy(true);
    eventually("it is brought back", || up(&gateway, &first));
    let tally = Load::run(gateway.address(), 1, 60, &Ask::get("/"));
    assert!(tally.of("a") < 10, "{tally:?}");
}

#[test]
fn the_first_probe_does_not_wait_for_the_interval() {
    let origin = Origin::start("a");
    let gateway = Setup::new(&upstream(&list(&[&origin]), "health_check: { http: /healthz, interval: 5s }")).start();
    let (_, took) = crate::harness::timed(|| eventually("the first probe comes", || origin.probes() > 0));
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(gateway);
}

#[test]
fn the_interval_is_the_time_between_probes() {
    let (often, seldom) = (Origin::start("often"), Origin::start("seldom"));
    let gateway = Gateway::start(&format!(
        "upstreams:
  often: {{ endpoints: {}, health_check: {{ http: /healthz, interval: 150ms }} }}
  seldom: {{ endpoints: {}, health_check: {{ http: /healthz, interval: 1h }} }}
routes:
  - {{ path: /a, upstream: often }}
  - {{ path: /b, upstream: seldom }}\n",
        list(&[&often]),
        list(&[&seldom])
    ));
    let (_, took) = crate::harness::timed(|| eventually("ten probes come", || often.probes() >= 10));
    assert!(took > Duration::from_millis(500), "{took:?}");
    assert!(seldom.probes() <= 1);
    drop(gateway);
}
