//! Messages through the gateway: connections, framing, 1xx, HEAD, errors of ours, limits.

use crate::harness::{Ask, Client, Gateway, Origin, eventually, list, upstream};

fn one(settings: &str) -> (Origin, Gateway) {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&upstream(&list(&[&origin]), settings));
    (origin, gateway)
}

fn limited(limits: &str) -> (Origin, Gateway) {
    let origin = Origin::start("a");
    let text = upstream(&list(&[&origin]), "");
    let gateway = Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, limits: {{ {limits} }} }}]\n"));
    (origin, gateway)
}

#[test]
fn connections_are_kept_on_both_sides() {
    let (origin, gateway) = one("");
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
        assert!(client.reusable());
    }
    assert_eq!((origin.count(), origin.accepted()), (20, 1));
    // Another client uses the connection that the first left.
    gateway.get("/");
    assert_eq!(origin.accepted(), 1);
    let metrics = gateway.metrics();
    let total = |name| metrics.sum(name, &[("upstream", "node")]);
    assert_eq!(total("headgate_upstream_connections_opened_total"), 1.0);
    assert_eq!(total("headgate_upstream_connections_reused_total"), 20.0);
}

#[test]
fn no_connection_is_kept_when_none_may_be_idle() {
    let (origin, gateway) = one("keepalive: { idle: 0 }");
    let mut client = gateway.client();
    for _ in 0..3 {
        client.get("/");
    }
    assert_eq!(origin.accepted(), 3);
}

#[test]
fn an_idle_connection_to_an_endpoint_is_closed_after_its_timeout() {
    let (origin, gateway) = one("keepalive: { timeout: 200ms }");
    gateway.get("/");
    eventually("a new connection is made", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        gateway.get("/");
        origin.accepted() > 1
    });
}

#[test]
fn a_connection_that_the_endpoint_closed_meanwhile_fails_no_request() {
    let (origin, gateway) = one("");
    origin.reply(crate::harness::Reply::BytesThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()));
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    // A POST that meets the closing in flight may have been carried out: it is answered with 502, and never sent twice.
    let asked = origin.count();
    for _ in 0..20 {
        assert!([200, 502].contains(&gateway.client().ask(&Ask::post("/", "body")).status));
    }
    assert!(origin.count() <= asked + 20);
}

#[test]
fn a_client_that_asks_for_close_is_closed() {
    let (_origin, gateway) = one("");
    let mut client = gateway.client();
    let answer = client.ask(&Ask::get("/").header("Connection", "close"));
    assert_eq!(answer.status, 200);
    assert!(client.rest().is_empty());
}

#[test]
fn chunked_bodies_pass_both_ways() {
    let (origin, gateway) = one("");
    origin.bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.ask(&Ask::new("POST", "/").chunks(&["one ", "two ", "three"]));
        assert_eq!((answer.text().as_str(), origin.last().text().as_str()), ("hello world", "one two three"));
        assert!(answer.header("content-length").is_none());
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_body_of_a_known_length_passes_as_such() {
    let (origin, gateway) = one("");
    let body = vec![b'x'; 300_000];
    assert_eq!(gateway.ask(&Ask::post("/", body.clone())).status, 200);
    let request = origin.last();
    assert_eq!((request.body.bytes.len(), request.header("content-length")), (body.len(), Some("300000")));
    assert!(request.header("transfer-encoding").is_none());
}

#[test]
fn every_ordinary_method_passes() {
    let (origin, gateway) = one("");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        assert_eq!(gateway.ask(&Ask::new(method, "/")).status, 200);
        assert_eq!(origin.last().method, method);
    }
    let others = || gateway.metrics().sum("headgate_http_requests_total", &[("method", "_OTHER")]);
    eventually("an unknown method is counted as such", || others() == 1.0);
}

#[test]
fn a_head_gets_the_length_and_no_body() {
    let (_origin, gateway) = one("");
    let mut client = gateway.client();
    for _ in 0..3 {
        let answer = client.ask(&Ask::new("HEAD", "/"));
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("1")));
    }
    assert_eq!(client.get("/").text(), "a");
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let (origin, gateway) = one("");
    let mut client = gateway.client();
    for status in ["204 No Content", "304 Not Modified"] {
        origin.bytes(&format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n"));
        for _ in 0..2 {
            assert!(status.starts_with(&client.get("/").status.to_string()));
        }
    }
}

#[test]
fn an_answer_of_no_announced_length_ends_with_the_connection() {
    let (origin, gateway) = one("");
    origin.reply(crate::harness::Reply::BytesThenClose(b"HTTP/1.1 200 OK\r\n\r\nall of it".to_vec()));
    assert_eq!(gateway.get("/").text(), "all of it");
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on() {
    let (origin, gateway) = one("");
    let mut client = gateway.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut line = String::new();
    while !line.ends_with("\r\n\r\n") {
        line.push(char::from(client.bytes(1)[0]));
    }
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    client.write("body");
    assert_eq!((client.answer().status, origin.last().text().as_str()), (200, "body"));
}

#[test]
fn early_hints_pass() {
    let (origin, gateway) = one("");
    origin.bytes(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = gateway.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.interim[0].header("link"), Some("</a.css>; rel=preload"));
}

#[test]
fn the_endpoints_status_and_headers_pass_as_they_are() {
    let (origin, gateway) = one("");
    origin.bytes("HTTP/1.1 418 Teapot\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty:\r\nServer: app\r\nContent-Length: 0\r\n\r\n");
    let answer = gateway.get("/");
    assert_eq!((answer.status, answer.head.headers("set-cookie")), (418, vec!["a=1", "b=2"]));
    assert_eq!(
        (answer.header("x-empty"), answer.header("server"), answer.header("via")),
        (Some(""), Some("app"), None)
    );
}

#[test]
fn an_answer_that_is_not_http_is_502_and_leaks_nothing() {
    let (origin, gateway) = one("retry: { attempts: 1 }");
    for bytes in
        ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
    {
        origin.reply(crate::harness::Reply::BytesThenClose(bytes.as_bytes().to_vec()));
        let answer = gateway.get("/");
        assert_eq!(answer.status, 502, "{bytes:?}");
        assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("SSH"), "{}", answer.text());
    }
}

#[test]
fn errors_of_ours_are_plain_or_json_as_the_client_asks() {
    let gateway = Gateway::start("routes:\n  - { path: /x, respond: { status: 200 } }\n");
    let plain = gateway.get("/nowhere");
    assert!(plain.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{plain:?}");
    assert!(plain.text().contains("404"));
    let json = gateway.ask(&Ask::get("/nowhere").header("Accept", "application/json"));
    assert!(json.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{json:?}");
    assert_eq!(json.json()["status"], 404);
    let html = gateway.ask(&Ask::get("/nowhere").header("Accept", "text/html,application/json;q=0.1"));
    assert!(html.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{html:?}");
}

#[test]
fn a_body_beyond_the_limit_is_413_announced_or_not() {
    let (origin, gateway) = limited("body: 1KiB");
    assert_eq!(gateway.ask(&Ask::post("/", vec![b'x'; 1024])).status, 200);
    assert_eq!(gateway.ask(&Ask::post("/", vec![b'x'; 1025])).status, 413);
    assert_eq!(origin.count(), 1);
    let chunk = "x".repeat(600);
    assert_eq!(gateway.ask(&Ask::new("POST", "/").chunks(&[&chunk, &chunk])).status, 413);
    assert_eq!(origin.count(), 1, "half a body is no request");
}

#[test]
fn a_head_beyond_the_limits_is_431() {
    let (origin, gateway) = limited("header_bytes: 2KiB, headers: 10");
    let headers = |count: usize| (0..count).fold(Ask::get("/"), |ask, index| ask.header(&format!("X-{index}"), "1"));
    // Host is one of the ten.
    assert_eq!(gateway.ask(&headers(9)).status, 200);
    assert_eq!(gateway.ask(&headers(10)).status, 431);
    assert_eq!(gateway.ask(&Ask::get("/").header("X-Long", &"x".repeat(1500))).status, 200);
    assert_eq!(gateway.ask(&Ask::get("/").header("X-Long", &"x".repeat(2100))).status, 431);
    assert_eq!(gateway.ask(&Ask::get(&format!("/{}", "x".repeat(2100)))).status, 431);
    assert_eq!(gateway.ask(&Ask::get("/").header("X-Endless", &"x".repeat(500_000))).status, 431);
    assert_eq!(origin.count(), 2);
    // A body that comes with the head is no part of it.
    assert_eq!(gateway.ask(&Ask::post("/", vec![b'x'; 100_000])).status, 200);
}

#[test]
fn one_client_address_holds_no_more_connections_than_it_may() {
    let (_origin, gateway) = limited("connections_per_ip: 3");
    let mut held: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    assert!(held.iter_mut().all(|client| client.get("/").status == 200));
    let refused = || gateway.client().try_ask(&Ask::get("/")).map_or(0, |answer| answer.status);
    assert_ne!(refused(), 200);
    held.pop();
    eventually("there is room again", || refused() == 200);
}

#[test]
fn a_client_that_left_is_499_in_the_metrics() {
    let (origin, gateway) = one("");
    origin.hang();
    let mut client = gateway.client();
    client.write(Ask::get("/").bytes());
    eventually("the request is on its way", || origin.count() == 1);
    drop(client);
    eventually("it is counted as 499", || {
        gateway.metrics().sum("headgate_http_requests_total", &[("code", "499")]) == 1.0
    });
    eventually("nothing is in flight", || gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]) == 0.0);
}

#[test]
fn requests_in_flight_bytes_and_connections_are_counted() {
    let (origin, gateway) = one("");
    origin.bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    let mut client = gateway.client();
    client.ask(&Ask::post("/", "12345"));
    client.ask(&Ask::post("/", "12345"));
    let finished = || gateway.metrics().sum("headgate_http_request_duration_seconds_count", &[("code_class", "2xx")]);
    eventually("both are counted", || finished() == 2.0);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("headgate_http_request_bytes_total", &[]), 10.0);
    assert_eq!(metrics.sum("headgate_http_response_bytes_total", &[]), 20.0);
    assert_eq!(metrics.sum("headgate_connections_total", &[]), 1.0);
    assert_eq!(metrics.sum("headgate_connections_active", &[]), 1.0);
    assert_eq!(metrics.sum("headgate_http_requests_in_flight", &[]), 0.0);
    drop(client);
    eventually("the connection is gone", || gateway.metrics().sum("headgate_connections_active", &[]) == 0.0);
}

#[test]
fn a_pipelined_request_is_served_or_its_connection_closed_but_never_mixed_up() {
    let (origin, gateway) = one("");
    origin.script(|request, wire| {
        use std::io::Write;
        let body = &request.target;
        write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        Ok(true)
    });
    let mut client = gateway.client();
    client.write([Ask::get("/one").bytes(), Ask::get("/two").bytes()].concat());
    assert_eq!(client.answer().text(), "/one");
    if let Ok(second) = client.try_answer(false) {
        assert_eq!(second.text(), "/two");
    }
}
