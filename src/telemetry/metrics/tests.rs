use std::{collections::BTreeSet, time::Duration};

use super::*;

fn lines(metrics: &Metrics) -> Vec<String> {
    metrics.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Series as Prometheus counts them, those of the process apart: their number depends on the platform.
fn series(metrics: &Metrics) -> u64 {
    lines(metrics).iter().filter(|line| line.starts_with("headgate_")).count() as u64
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let lines = lines(metrics);
    let line = lines.iter().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
    line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok())
}

#[derive(Debug)]
struct Ejected;

impl EndpointSource for Ejected {
    fn sample(&self) -> EndpointSample {
        EndpointSample { condition: Condition::Ejected, weight: 3, in_flight: 7 }
    }
}

#[derive(Debug)]
struct Known;

impl CacheSource for Known {
    fn sample(&self) -> CacheSample {
        CacheSample { entries: 2, bytes: 300 }
    }
}

impl StoreSource for Known {
    fn sample(&self) -> StoreSample {
        StoreSample { up: true, tracking: false }
    }
}

#[test]
fn a_finished_request_is_counted_with_its_labels() {
    let metrics = Metrics::new();
    let (listener, route) = (metrics.listener("http"), metrics.route("shop"));
    route.finished(&listener, &http::Method::GET, 200, Duration::from_millis(20), 5, 70);
    route.finished(&listener, &http::Method::from_bytes(b"BREW").unwrap(), 418, Duration::from_secs(60), 0, 0);

    let counted = r#"headgate_http_requests_total{listener="http",route="shop",method="GET",code="200"}"#;
    assert_eq!(value(&metrics, counted), Some(1.0));
    let other = r#"headgate_http_requests_total{listener="http",route="shop",method="_OTHER",code="418"}"#;
    assert_eq!(value(&metrics, other), Some(1.0));
    let bucket = |class: &str, method: &str, le: &str| {
        let labels = format!(r#"route="shop",method="{method}",code_class="{class}",le="{le}""#);
        value(&metrics, &format!("headgate_http_request_duration_seconds_bucket{{{labels}}}"))
    };
    assert_eq!(bucket("2xx", "GET", "0.01"), Some(0.0));
    assert_eq!(bucket("2xx", "GET", "0.025"), Some(1.0));
    assert_eq!(bucket("4xx", "_OTHER", "10"), Some(0.0));
    assert_eq!(bucket("4xx", "_OTHER", "+Inf"), Some(1.0));
    assert_eq!(value(&metrics, r#"headgate_http_response_bytes_total{route="shop"}"#), Some(70.0));
}

#[test]
fn two_listeners_count_one_route_apart() {
    let metrics = Metrics::new();
    let (plain, inner, route) = (metrics.listener("plain"), metrics.listener("inner"), metrics.route("shop"));
    for listener in [&plain, &inner, &inner] {
        route.finished(listener, &http::Method::GET, 200, Duration::ZERO, 0, 0);
    }
    let counted = |listener: &str| {
        let labels = format!(r#"listener="{listener}",route="shop",method="GET",code="200""#);
        value(&metrics, &format!("headgate_http_requests_total{{{labels}}}"))
    };
    assert_eq!((counted("plain"), counted("inner")), (Some(1.0), Some(2.0)));
    drop(plain);
    assert_eq!((counted("plain"), counted("inner")), (None, Some(2.0)));
}

#[test]
fn codes_beyond_the_known_ones_lose_nothing_and_break_nothing() {
    let metrics = Metrics::new();
    let (listener, route) = (metrics.listener("http"), metrics.route("shop"));
    for code in [0, 99, 100, 599, 999, u16::MAX] {
        route.finished(&listener, &http::Method::GET, code, Duration::ZERO, 0, 0);
    }
    let counted = lines(&metrics).into_iter().filter(|line| line.starts_with("headgate_http_requests_total"));
    let sum: f64 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
    assert_eq!(sum, 6.0);
}

#[test]
fn a_reload_that_keeps_a_name_keeps_its_counts() {
    let metrics = Metrics::new();
    let old = metrics.upstream("node");
    let old_endpoint = old.endpoint("127.0.0.1:3001");
    old_endpoint.answered(200);
    let new = metrics.upstream("node");
    let new_endpoint = new.endpoint("127.0.0.1:3001");
    drop((old, old_endpoint));
    new_endpoint.answered(200);
    let counted = r#"headgate_upstream_requests_total{upstream="node",endpoint="127.0.0.1:3001",code="200"}"#;
    assert_eq!(value(&metrics, counted), Some(2.0));
}

#[test]
fn the_series_of_what_is_gone_disappear() {
    let metrics = Metrics::new();
    let before = series(&metrics);
    let (route, upstream) = (metrics.route("shop"), metrics.upstream("node"));
    let plugin = route.plugin("headers");
    plugin.denied();
    let endpoint = upstream.endpoint("127.0.0.1:3001");
    assert!(value(&metrics, r#"headgate_plugin_denied_total{route="shop",plugin="headers"}"#).is_some());
    assert!(metrics.text().contains("127.0.0.1:3001"));
    drop(endpoint);
    assert!(!metrics.text().contains("127.0.0.1:3001"));
    drop((route, upstream, plugin));
    assert_eq!(series(&metrics), before);
}

#[test]
fn names_that_meet_when_joined_stay_two_series() {
    let metrics = Metrics::new();
    let (one, other) = (metrics.upstream("node"), metrics.upstream("node1"));
    let (endpoint, other_endpoint) = (one.endpoint("10.0.0.1:80"), other.endpoint("0.0.0.1:80"));
    endpoint.answered(200);
    other_endpoint.answered(200);
    assert_eq!(metrics.text().matches(r#"code="200"} 1"#).count(), 2);
}

#[test]
fn an_endpoint_shows_what_it_is_at_the_scrape() {
    let metrics = Metrics::new();
    let upstream = metrics.upstream("node");
    let endpoint = upstream.endpoint("a:1");
    let source: Arc<dyn EndpointSource> = Arc::new(Ejected);
    endpoint.read_from(Arc::downgrade(&source));
    let shown = |name: &str| value(&metrics, &format!("headgate_upstream_{name}"));
    assert_eq!(shown(r#"endpoint_up{upstream="node",endpoint="a:1"}"#), Some(0.0));
    assert_eq!(shown(r#"endpoint_state{upstream="node",endpoint="a:1",state="ejected"}"#), Some(1.0));
    assert_eq!(shown(r#"endpoint_state{upstream="node",endpoint="a:1",state="up"}"#), Some(0.0));
    assert_eq!(shown(r#"endpoint_weight{upstream="node",endpoint="a:1"}"#), Some(3.0));
    assert_eq!(shown(r#"requests_in_flight{upstream="node",endpoint="a:1"}"#), Some(7.0));
    drop(source);
    assert_eq!(shown(r#"endpoint_up{upstream="node",endpoint="a:1"}"#), None);
}

#[test]
fn totals_tell_an_endpoint_s_faults_from_a_client_s() {
    let metrics = Metrics::new();
    let endpoint = metrics.upstream("node").endpoint("a:1");
    [200, 404, 503].into_iter().for_each(|code| endpoint.answered(code));
    [AttemptFailure::Timeout, AttemptFailure::ClientGone].into_iter().for_each(|failure| endpoint.failed(failure));
    endpoint.pinned();
    assert_eq!(endpoint.totals(), Totals { attempts: 5, failures: 2, pins: 1 });
}

#[test]
fn a_session_and_its_store_are_counted_and_shown_as_they_are() {
    let metrics = Metrics::new();
    let (session, store) = (metrics.session("web"), metrics.store("redis://127.0.0.1:6379/0"));
    session.checked(CheckResult::Cached, None);
    session.checked(CheckResult::Timeout, Some(Duration::from_millis(51)));
    session.garbage();
    store.failed(StoreFailure::Timeout);
    store.invalidated(3);
    store.reconnected();
    let of_session = |name: &str| value(&metrics, &format!("headgate_session_{name}"));
    assert_eq!(of_session(r#"checks_total{source="web",result="cached"}"#), Some(1.0));
    assert_eq!(of_session(r#"checks_total{source="web",result="live"}"#), Some(0.0));
    let bucket = |le: &str| of_session(&format!(r#"check_duration_seconds_bucket{{source="web",le="{le}"}}"#));
    assert_eq!((bucket("0.05"), bucket("0.075"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)));
    assert_eq!(of_session(r#"garbage_total{source="web"}"#), Some(1.0));

    let label = r#"store="redis://127.0.0.1:6379/0""#;
    let of_store = |name: &str| of_session(&format!("store_{name}"));
    assert_eq!(of_store(&format!(r#"errors_total{{{label},reason="timeout"}}"#)), Some(1.0));
    assert_eq!(of_store(&format!("invalidations_total{{{label}}}")), Some(3.0));
    assert_eq!(of_store(&format!("reconnects_total{{{label}}}")), Some(1.0));

    let sizes = || [r#"cache_entries{source="web"}"#, r#"cache_bytes{source="web"}"#].map(of_session);
    let states = || ["up", "tracking"].map(|name| of_store(&format!("{name}{{{label}}}")));
    assert_eq!((sizes(), states()), ([None; 2], [None; 2]), "nobody to ask yet");
    let known = Arc::new(Known);
    let weak = Arc::downgrade(&known);
    session.read_from(weak.clone());
    store.read_from(weak);
    assert_eq!((sizes(), states()), ([Some(2.0), Some(300.0)], [Some(1.0), Some(0.0)]));
}

#[test]
fn a_sticky_route_shows_every_result_from_its_first_request_on() {
    let metrics = Metrics::new();
    let route = metrics.route("shop");
    assert!(!metrics.text().contains("headgate_sticky_total"));
    route.sticky(StickyResult::RepinnedDown);
    for result in StickyResult::ALL {
        let expected = f64::from(u8::from(*result == StickyResult::RepinnedDown));
        let series = format!(r#"headgate_sticky_total{{route="shop",result="{}"}}"#, result.label());
        assert_eq!(value(&metrics, &series), Some(expected));
    }
}

#[test]
fn a_guard_gives_its_unit_back() {
    let metrics = Metrics::new();
    let (route, listener, upstream) = (metrics.route("r"), metrics.listener("l"), metrics.upstream("u"));
    let shown = || {
        [
            "http_requests_in_flight{route=\"r\"}",
            "connections_active{listener=\"l\"}",
            "upstream_queue_length{upstream=\"u\"}",
        ]
        .map(|series| value(&metrics, &format!("headgate_{series}")))
    };
    let held = (route.in_flight(), listener.connected(), upstream.waiting());
    assert_eq!(shown(), [Some(1.0); 3]);
    drop(held);
    assert_eq!(shown(), [Some(0.0); 3]);
    assert_eq!(value(&metrics, r#"headgate_upstream_queue_seconds_count{upstream="u"}"#), Some(1.0));
}

#[test]
fn the_estimate_of_series_is_what_a_scrape_holds() {
    const PROCESS: u64 = 7;
    let metrics = Metrics::new();
    let listeners = [metrics.listener("l")];
    let certificate = metrics.certificate("shop.example.com");
    certificate.ends_at(std::time::SystemTime::now());
    let routes = ["a", "b"].map(|name| metrics.route(name));
    let upstreams = ["u", "v"].map(|name| metrics.upstream(name));
    let _plugin = routes[0].plugin("headers");
    let endpoints = ["1", "2", "3"].map(|name| upstreams[0].endpoint(name));
    let source: Arc<dyn EndpointSource> = Arc::new(Ejected);
    endpoints.iter().for_each(|endpoint| endpoint.read_from(Arc::downgrade(&source)));
    let (sessions, stores) = (["web", "api"].map(|name| metrics.session(name)), [metrics.store("memory")]);
    let known = Arc::new(Known);
    let weak = Arc::downgrade(&known);
    sessions.iter().for_each(|session| session.read_from(weak.clone()));
    stores[0].read_from(weak);
    let estimate = SeriesEstimate::of(Counted {
        listeners: 1,
        tls: 1,
        certificates: 1,
        routes: 2,
        sticky: 1,
        plugins: 1,
        upstreams: 2,
        endpoints: 3,
        sources: 2,
        stores: 1,
    });
    assert_eq!(series(&metrics) + PROCESS, estimate.at_rest);
    for code in [200, 302, 404, 502] {
        endpoints.iter().for_each(|endpoint| endpoint.answered(code));
        for route in routes.iter().chain([metrics.unrouted()]) {
            route.finished(&listeners[0], &http::Method::GET, code, Duration::ZERO, 0, 0);
            route.finished(&listeners[0], &http::Method::POST, code, Duration::ZERO, 0, 0);
        }
    }
    routes[0].sticky(StickyResult::New);
    listeners[0].secured(TlsVersion::Tls13);
    assert_eq!(series(&metrics) + PROCESS, estimate.in_use);
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let mut names = BTreeSet::new();
    for family in FAMILIES {
        assert!(names.insert(family.name), "{} stands twice", family.name);
        assert!(family.name.starts_with("headgate_"), "{}", family.name);
        assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
        // A length of time is a histogram; a point in time is none.
        let length = family.name.ends_with("_seconds") && !family.name.ends_with("_not_after_seconds");
        assert_eq!(length, matches!(family.kind, Kind::Histogram(_)), "{}", family.name);
        assert!(family.help.ends_with('.'), "{}", family.name);
    }
}

#[test]
fn reloads_and_the_process_are_shown() {
    let metrics = Metrics::new();
    metrics.reload().started(1);
    metrics.reload().accepted(2);
    metrics.reload().rejected();
    assert_eq!(value(&metrics, r#"headgate_config_reloads_total{result="success"}"#), Some(1.0));
    assert_eq!(value(&metrics, r#"headgate_config_reloads_total{result="rejected"}"#), Some(1.0));
    assert_eq!(value(&metrics, "headgate_config_last_reload_success"), Some(0.0));
    assert_eq!(value(&metrics, "headgate_config_generation"), Some(2.0));
    assert!(value(&metrics, "process_resident_memory_bytes").is_none_or(|bytes| bytes > 0.0));
}
