//! Every phase ends: what a client is told when one takes too long.

use std::{
    io::{self, Write},
    net::TcpStream,
    time::Duration,
};

use crate::harness::{Ask, Gateway, NodeApp, Origin, Port, eventually, is_gone, list, timed, upstream};

const ENOUGH: Duration = Duration::from_secs(10);

fn one(settings: &str) -> (Origin, Gateway) {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&upstream(&list(&[&origin]), &format!("{settings}, retry: {{ attempts: 1 }}")));
    (origin, gateway)
}

fn limited(limits: &str) -> Gateway {
    let limits = format!("listeners: [{{ address: 127.0.0.1:0, limits: {{ {limits} }} }}]");
    Gateway::start(&format!("routes:\n  - respond: {{ body: pong }}\n{limits}\n"))
}

#[test]
fn a_body_that_stalls_on_its_way_down_is_cut() {
    let (origin, gateway) = one("timeouts: { idle: 300ms, first_byte: 10s }");
    origin.script(|_, wire| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
        // Nothing more until the gateway gives up.
        io::copy(wire, &mut io::sink())?;
        Ok(false)
    });
    let (result, took) = timed(|| gateway.client().try_ask(&Ask::get("/")));
    assert!(result.is_err(), "half a body passed for a whole one");
    assert!((Duration::from_millis(290)..ENOUGH).contains(&took), "{took:?}");
}

#[test]
fn an_upload_that_stalls_is_408() {
    for (settings, limits) in [("timeouts: { idle: 300ms }", ""), ("", "body_timeout: 300ms")] {
        let origin = Origin::start("a");
        let limits = format!("listeners: [{{ address: 127.0.0.1:0, limits: {{ {limits} }} }}]\n");
        let gateway = Gateway::start(&(upstream(&list(&[&origin]), settings) + &limits));
        let mut client = gateway.client();
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
        let (answer, took) = timed(|| client.answer());
        assert_eq!((answer.status, origin.count()), (408, 0));
        assert!((Duration::from_millis(290)..ENOUGH).contains(&took), "{took:?}");
        let refused = || gateway.metrics().sum("headgate_http_requests_refused_total", &[("reason", "body_timeout")]);
        eventually("it is counted", || refused() == 1.0);
    }
}

#[test]
fn a_client_below_the_rate_is_ended_and_one_that_waits_is_not() {
    let origin = Origin::start("a");
    origin.script(|request, wire| {
        if request.target == "/events" {
            wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
            for _ in 0..13 {
                std::thread::sleep(Duration::from_millis(500));
                wire.write_all(b"data: 1\n\n")?;
            }
            return Ok(false);
        }
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        // Ends when the gateway gives up.
        io::copy(&mut io::repeat(b'x'), wire)?;
        Ok(false)
    });
    let limits = "listeners: [{ address: 127.0.0.1:0, limits: { min_rate: 1GiB } }]";
    let gateway = Gateway::start(&format!("{}{limits}\n", upstream(&list(&[&origin]), "retry: { attempts: 1 }")));
    let mut sender = gateway.client();
    sender.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    let mut reader = gateway.client();
    reader.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut events = gateway.client();
    events.write("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(events.head().status, 200);

    let (answer, took) = timed(|| sender.answer());
    assert_eq!(answer.status, 408);
    assert!((Duration::from_secs(4)..ENOUGH).contains(&took), "{took:?}");
    let timed_out = |reason| gateway.metrics().sum("headgate_connections_timed_out_total", &[("reason", reason)]);
    eventually("the reader is found too slow", || timed_out("response") == 1.0);
    assert_eq!(timed_out("body"), 1.0);
    for reason in ["body_too_slow", "reader_too_slow"] {
        let refused = || gateway.metrics().sum("headgate_http_requests_refused_total", &[("reason", reason)]);
        eventually("each is counted", || refused() == 1.0);
    }
    assert_eq!(events.rest_of_chunks().matches("data: 1").count(), 13);
    assert_eq!(timed_out("response"), 1.0);
}

#[test]
fn a_steady_slow_upload_takes_as_long_as_it_takes() {
    let (origin, gateway) = one("timeouts: { idle: 1500ms, first_byte: 1500ms }");
    let mut client = gateway.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n");
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        client.write("x");
    }
    assert_eq!((client.answer().status, origin.last().text().len()), (200, 20));
}

#[test]
fn the_total_time_of_a_request_is_bounded_when_asked_retries_included() {
    let origins = Origin::several(2);
    origins.iter().for_each(Origin::hang);
    let settings = "timeouts: { request: 500ms }";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), settings));
    let (answer, took) = timed(|| gateway.get("/"));
    assert_eq!(answer.status, 504);
    assert!((Duration::from_millis(490)..ENOUGH).contains(&took), "{took:?}");
}

#[test]
fn the_total_time_cuts_an_endless_body() {
    let app = NodeApp::start("n1");
    let endpoints = format!("[{}]", app.address());
    let gateway = Gateway::start(&upstream(&endpoints, "timeouts: { request: 500ms }"));
    // A download of 1 GiB that the client does not read: only the total can end it.
    let mut client = gateway.client();
    client.write(Ask::get("/download?bytes=1073741824").bytes());
    assert_eq!(client.head().status, 200);
    eventually("it is ended", || gateway.metrics().sum("headgate_http_requests_in_flight", &[]) == 0.0);
    assert!(client.rest().len() < 1 << 29);
}

#[test]
fn an_event_stream_outlives_the_total_time() {
    let app = NodeApp::start("n1");
    let endpoints = format!("[{}]", app.address());
    let gateway = Gateway::start(&upstream(&endpoints, "timeouts: { request: 2s, idle: 5s }"));
    let mut client = gateway.client();
    client.write(Ask::get("/stream?ms=200&count=15").bytes());
    assert_eq!(client.head().status, 200);
    assert_eq!(client.rest_of_chunks().matches("data:").count(), 15);
}

#[test]
fn a_route_has_timeouts_of_its_own() {
    let app = NodeApp::start("n1");
    let port = Port::reserve();
    let _full = port.listen_full();
    let gateway = Gateway::start(&format!(
        "upstreams:
  node: {{ endpoints: [{}], timeouts: {{ request: 10s }}, retry: {{ attempts: 1 }} }}
  full: {{ endpoints: [{}], timeouts: {{ connect: 30s }}, retry: {{ attempts: 1 }} }}
routes:
  - {{ path: /full, upstream: full, timeouts: {{ connect: 200ms }} }}
  - {{ path: /slow, upstream: node, timeouts: {{ first_byte: 200ms }} }}
  - {{ path: /hang, upstream: node, timeouts: {{ request: 200ms }} }}
  - {{ path: /stream, upstream: node, timeouts: {{ idle: 200ms }} }}
  - {{ path: /ws, upstream: node, timeouts: {{ request: none, upgrade_idle: 200ms }} }}\n",
        app.address(),
        port.address()
    ));
    for path in ["/full", "/slow?ms=8000", "/hang"] {
        let (answer, took) = timed(|| gateway.get(path));
        assert_eq!(answer.status, 504, "{path}");
        assert!(took < ENOUGH, "{path} {took:?}");
    }
    gateway.logged("no response head within `timeouts.first_byte`");
    assert!(!gateway.log().contains("Downstream"), "no client was at fault: {}", gateway.log());
    let (result, took) = timed(|| gateway.client().try_ask(&Ask::get("/stream?ms=8000")));
    assert!(result.is_err() && took < ENOUGH, "{result:?} {took:?}");
    let mut client = crate::streaming::web_socket(&gateway);
    assert!(client.closed_within(ENOUGH));
}

#[test]
fn a_head_that_trickles_is_408_in_all() {
    let gateway = limited("header_timeout: 500ms");
    let mut client = gateway.client();
    let trickle = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
    let (_, took) = timed(|| {
        for byte in trickle {
            client.write([*byte]);
            if client.input_within(Duration::from_millis(50)) {
                break;
            }
        }
    });
    assert_eq!(client.answer().status, 408);
    assert!((Duration::from_millis(400)..ENOUGH).contains(&took), "{took:?}");
    assert!(client.rest().is_empty());
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let gateway = limited("idle_timeout: 400ms, header_timeout: 10s");
    let mut client = gateway.client();
    let (closed, took) = timed(|| client.get("/").status == 200 && client.closed_within(ENOUGH));
    assert!(closed && took >= Duration::from_millis(400), "{took:?}");
}

#[test]
fn a_connection_that_never_asks_is_closed() {
    let gateway = limited("header_timeout: 300ms, idle_timeout: 300ms");
    assert!(gateway.client().closed_within(ENOUGH));
}

#[test]
fn a_request_that_timed_out_is_not_tried_again() {
    let origins = Origin::several(2);
    origins[0].hang();
    let settings = "strategy: first, timeouts: { first_byte: 200ms }";
    let gateway = Gateway::start(&upstream(&list(&[&origins[0], &origins[1]]), settings));
    assert_eq!(gateway.get("/").status, 504);
    assert_eq!(origins[1].count(), 0, "the first may be at work on it");
}

#[test]
fn a_client_that_takes_no_answers_is_let_go() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&format!(
        "upstreams: {{ node: {{ endpoints: {}, timeouts: {{ idle: 300ms }} }} }}
listeners: [{{ address: 127.0.0.1:0, limits: {{ idle_timeout: 300ms }} }}]
routes: [{{ name: own, path: /own, respond: {{ body: {} }} }}, {{ name: far, upstream: node }}]
",
        list(&[&origin]),
        "own ".repeat(50_000)
    ));
    // Only a head: Pingora times bodies.
    origin.bytes(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: {}\r\n\r\n", "x".repeat(3000)));
    for (target, route) in [("/own", "own"), ("/far", "far")] {
        let mut client = TcpStream::connect(gateway.address()).unwrap();
        client.set_write_timeout(Some(ENOUGH)).unwrap();
        // Far more answers than the sockets hold.
        let requests = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(1000);
        let ended = (0..1000).find_map(|_| client.write_all(requests.as_bytes()).err());
        assert!(ended.as_ref().is_some_and(is_gone), "{target}: {ended:?}");
        let held = || gateway.metrics().sum("headgate_http_requests_in_flight", &[("route", route)]);
        eventually("its request is over", || held() == 0.0);
    }
    assert!(!gateway.log().contains("internal"), "{}", gateway.log());
}
