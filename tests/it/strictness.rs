//! Hostile and sloppy requests, byte by byte: what is refused, what is dropped, and what an endpoint sees of the rest.

mod corpus;

use std::fs;
use std::time::Duration;

use crate::harness::{Answer, Ask, Gateway, Origin, eventually, eventually_some, list, upstream, within};

struct Case {
    origin: Origin,
    gateway: Gateway,
}

impl Case {
    fn new() -> Case {
        Case::with("")
    }

    /// With these settings of the listener.
    fn with(listener: &str) -> Case {
        let origin = Origin::start("a");
        let text = upstream(&list(&[&origin]), "");
        let log = "telemetry: { access_log: { path: DIR/access.log, format: json } }";
        let gateway = Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, {listener} }}]\n{log}\n"));
        Case { origin, gateway }
    }

    fn send(&self, bytes: &str) -> Answer {
        let mut client = self.gateway.client();
        client.write(bytes);
        client.answer()
    }

    /// Refused with this status, and the connection closed.
    #[track_caller]
    fn refused(&self, status: u16, bytes: &str) {
        let mut client = self.gateway.client();
        client.write(bytes);
        let answer = client.try_answer(false).unwrap_or_else(|error| panic!("no answer to {bytes:?}: {error}"));
        assert_eq!(answer.status, status, "{bytes:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{bytes:?}");
        assert!(answer.header("date").is_some() && answer.header("server").is_none(), "{answer:?}");
        assert!(client.rest().is_empty(), "more than one answer to {bytes:?}");
        assert_eq!(self.origin.count(), 0, "forwarded: {bytes:?}: {:?}", self.origin.requests());
    }

    /// Sends each case, and holds that it is refused, counted once by its reason and logged with it.
    fn all_refused(&self, cases: &[(&str, u16, String)]) {
        for (number, (reason, status, bytes)) in cases.iter().enumerate() {
            let before = self.counted(reason);
            self.refused(*status, bytes);
            eventually("the refusal is counted", || self.counted(reason) > before);
            assert_eq!(self.counted(reason), before + 1.0, "counted once as {reason}: {bytes:?}");
            let metrics = self.gateway.metrics();
            let count = (number + 1) as f64;
            assert_eq!(metrics.sum("headgate_http_requests_refused_total", &[]), count, "{bytes:?}");
            assert_eq!(metrics.sum("headgate_http_requests_total", &[]), count, "{bytes:?}");
        }
        let log = eventually_some("all lines are written", || {
            let text = fs::read_to_string(self.gateway.path("access.log")).ok()?;
            (text.lines().count() == cases.len()).then_some(text)
        });
        for (line, (reason, status, bytes)) in log.lines().zip(cases) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (&line["failure"], &line["status"]),
                (&(*reason).into(), &(*status).into()),
                "{bytes:?}: {line}"
            );
        }
    }

    fn counted(&self, reason: &str) -> f64 {
        self.gateway.metrics().sum("headgate_http_requests_refused_total", &[("reason", reason)])
    }

    /// Forwarded with this target.
    #[track_caller]
    fn forwarded(&self, target: &str, as_target: &str) {
        let answer = self.gateway.get(target);
        assert_eq!((answer.status, self.origin.last().target.as_str()), (200, as_target), "{target}");
    }
}

#[test]
fn a_head_that_two_could_read_differently_is_refused_counted_and_logged() {
    let cases: Vec<_> =
        corpus::HEADS.iter().map(|&(reason, status, bytes)| (reason, status, bytes.to_owned())).collect();
    Case::new().all_refused(&cases);
}

#[test]
fn a_chunked_body_that_two_could_read_differently_is_refused_counted_and_logged() {
    let whole = |&(reason, status, body): &corpus::Case| (reason, status, format!("{}{body}", corpus::CHUNKED));
    Case::new().all_refused(&corpus::BODIES.iter().map(whole).collect::<Vec<_>>());
}

#[test]
fn a_target_beyond_its_limit_is_414() {
    let case = Case::with("limits: { target_bytes: 1KiB, header_bytes: 2KiB }");
    assert_eq!(case.gateway.get(&format!("/{}", "x".repeat(1023))).status, 200);
    assert_eq!(case.gateway.get(&format!("/{}", "x".repeat(1024))).status, 414);
    assert_eq!(case.gateway.get(&format!("/{}", "x".repeat(9000))).status, 414, "longer than a whole head may be");
    assert_eq!(case.counted("target_too_long"), 2.0);
}

#[test]
fn a_refusal_tells_json_where_that_is_asked_for_and_405_what_is_allowed() {
    let case = Case::new();
    let answer = case.send("TRACE / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    assert_eq!((answer.status, answer.header("content-type")), (405, Some("application/json")));
    assert_eq!(answer.json()["detail"], "this method is not allowed");
    assert!(answer.header("allow").is_some_and(|methods| methods.contains("GET") && !methods.contains("TRACE")));
}

#[test]
fn an_http_1_0_request_without_host_reaches_the_endpoint_with_the_endpoints_own() {
    let case = Case::new();
    assert_eq!(case.send("GET / HTTP/1.0\r\n\r\n").status, 200);
    assert_eq!(case.origin.last().header("host"), Some(case.origin.address().to_string().as_str()));
}

#[test]
fn requests_behind_a_chunked_body_are_served_in_turn() {
    let case = Case::new();
    let mut client = case.gateway.client();
    let chunked = format!("{}5;x=y\r\nhello\r\n0\r\nChecksum: 1\r\n\r\n", corpus::CHUNKED);
    client.write(format!("{chunked}{chunked}GET /last HTTP/1.1\r\nHost: a\r\n\r\n"));
    let statuses = [(); 3].map(|()| client.answer().status);
    assert_eq!(statuses, [200; 3]);
    let seen: Vec<_> = case.origin.requests().iter().map(|request| (request.target.clone(), request.text())).collect();
    let expected = [("/", "hello"), ("/", "hello"), ("/last", "")].map(|(target, body)| (target.into(), body.into()));
    assert_eq!(seen, expected);
}

#[test]
fn an_absolute_target_must_name_the_host_and_is_forwarded_without_it() {
    let case = Case::new();
    assert_eq!(case.send("GET http://a/x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let request = case.origin.last();
    assert_eq!((request.target.as_str(), request.header("host")), ("/x?y=1", Some("a")));
    assert_eq!(case.send("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(case.origin.last().target, "/");
}

#[test]
fn the_path_is_forwarded_in_its_one_normal_form() {
    let case = Case::new();
    for (sent, forwarded) in [
        ("/", "/"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2E/b", "/b"),
        ("/a//b///c", "/a/b/c"),
        ("/%61%7Eb", "/a~b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/b/..", "/a/"),
        ("/a%20b", "/a%20b"),
        ("/a?x=../%2e//&y=%zz", "/a?x=../%2e//&y=%zz"),
    ] {
        case.forwarded(sent, forwarded);
    }
}

#[test]
fn an_encoded_slash_is_never_a_separator() {
    let gateway = Gateway::start(
        "routes:\n  - { path_prefix: /admin, respond: { body: admin } }\n  - respond: { body: other }\n",
    );
    for (path, body) in
        [("/admin/x", "admin"), ("/admin%2Fx", "other"), ("/x/..%2Fadmin", "other"), ("/x/%2e%2e/admin", "admin")]
    {
        assert_eq!(gateway.get(path).text(), body, "{path}");
    }
}

#[test]
fn a_header_with_an_underscore_is_dropped_refused_or_kept_as_written() {
    let ask = Ask::get("/").header("X_User", "root").header("X-Other", "1");
    let case = Case::new();
    assert_eq!(case.gateway.ask(&ask).status, 200);
    let request = case.origin.last();
    assert_eq!(
        (request.header("x_user"), request.header("x-user"), request.header("x-other")),
        (None, None, Some("1"))
    );

    assert_eq!(Case::with("underscores: refuse").gateway.ask(&ask).status, 400);

    let case = Case::with("underscores: keep");
    case.gateway.ask(&ask);
    assert_eq!(case.origin.last().header("x_user"), Some("root"));
}

#[test]
fn bytes_behind_an_upgrade_request_that_was_not_taken_up_are_no_request() {
    let case = Case::new();
    let mut client = case.gateway.client();
    client.write(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    // Either one request, and the rest thrown away; or two, and an answer to each.
    let mut answers = 0;
    client.set_read_timeout(Duration::from_secs(1));
    while client.try_answer(false).is_ok_and(|answer| answer.status == 200) {
        answers += 1;
    }
    assert_eq!(answers, case.origin.count(), "{:?}", case.origin.requests());
}

#[test]
fn a_body_that_ends_early_reaches_no_endpoint_as_a_whole_request() {
    let case = Case::new();
    let mut client = case.gateway.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this");
    client.finish_writing();
    client.rest();
    assert_eq!(case.origin.count(), 0);
    assert_eq!(case.gateway.get("/").status, 200, "the next client is served");
}

#[test]
fn an_http_1_0_request_is_served_and_its_connection_closed() {
    let case = Case::new();
    let mut client = case.gateway.client();
    client.write("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(client.rest().is_empty());
}

#[test]
fn an_upgrade_that_connection_does_not_name_is_none() {
    let case = Case::new();
    let handshake =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    case.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{handshake}\r\n"));
    assert_eq!((case.origin.last().header("upgrade"), case.origin.last().header("connection")), (None, None));
    let named = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n{handshake}\r\n");
    case.send(&named);
    assert_eq!(case.origin.last().header("upgrade"), Some("websocket"));
    assert_eq!(case.gateway.metrics().sum("headgate_http_foreign_upgrades_total", &[]), 1.0);
}

#[test]
fn an_upgrade_that_nobody_asked_for_opens_no_tunnel() {
    let case = Case::new();
    case.origin.bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw");
    let answer = case.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 502);
}

#[test]
fn an_answer_is_framed_once_and_in_our_own_version() {
    let case = Case::new();
    for head in ["1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2", "1.1 200 OK\r\nContent-Length: 2, 2"] {
        case.origin.bytes(&format!("HTTP/{head}\r\n\r\nok"));
        let answer = case.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.head.headers("content-length"), answer.text().as_str()), (vec!["2"], "ok"), "{head}");
    }
    case.origin.bytes("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let mut client = case.gateway.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.rest().starts_with(b"HTTP/1.1 200 "));
}

/// Requests that are served, some of them odd, and how many reach the endpoint by each.
const SERVED: &[(usize, &str)] = &[
    (1, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (1, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (1, "GET / HTTP/1.0\r\n\r\n"),
    (1, "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    (2, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (1, "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (1, "GET /1 HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (2, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (1, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET /in HTTP/1.1\r\nHost: a\r\n\r\n."),
    (
        2,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        1,
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
    ),
    (1, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"),
];

/// Sends bytes on a connection of their own and waits for the gateway to close, or to have nothing more to say.
fn send_and_wait(case: &Case, bytes: &[u8]) {
    let mut client = case.gateway.client();
    client.write(bytes);
    client.set_read_timeout(Duration::from_secs(8));
    client.rest();
}

#[test]
fn an_endpoint_sees_exactly_the_requests_that_were_counted() {
    // Whatever waits for more bytes is over soon.
    let case = Case::with("limits: { header_timeout: 400ms, body_timeout: 400ms, idle_timeout: 400ms }");
    let counted = || {
        let metrics = case.gateway.metrics();
        let (all, refused) = ("headgate_http_requests_total", "headgate_http_requests_refused_total");
        (metrics.sum(all, &[]) as usize, metrics.sum(refused, &[]) as usize)
    };
    let balanced = |what: &str| {
        let mut last = ((0, 0), 0);
        let settled = within(Duration::from_secs(10), || {
            last = (counted(), case.origin.count());
            let ((all, refused), seen) = last;
            (all - refused == seen).then_some(())
        });
        assert!(settled.is_some(), "after {what}: counted (all, refused) and seen: {last:?}");
    };

    for (expected, bytes) in SERVED {
        let before = case.origin.count();
        send_and_wait(&case, bytes.as_bytes());
        assert_eq!(case.origin.count() - before, *expected, "{bytes:?}");
        balanced(bytes);
    }
    let mut hostile: Vec<Vec<u8>> = corpus::HEADS.iter().map(|(_, _, bytes)| bytes.as_bytes().to_vec()).collect();
    hostile.extend(corpus::BODIES.iter().map(|(_, _, body)| format!("{}{body}", corpus::CHUNKED).into_bytes()));
    // And what is one byte off: each is served or refused, but never seen twice, nor unseen and counted.
    let mut random = fastrand::Rng::with_seed(4);
    let nasty = b"\0\t\n\r :;,\"/%09azAZ\x7f\xff";
    for _ in 0..150 {
        let (_, bytes) = SERVED[random.usize(..SERVED.len())];
        let mut bytes = bytes.as_bytes().to_vec();
        let at = random.usize(..bytes.len());
        let byte = nasty[random.usize(..nasty.len())];
        match random.u8(..3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        hostile.push(bytes);
    }
    let before = case.origin.count();
    std::thread::scope(|scope| {
        for part in hostile.chunks(hostile.len().div_ceil(12)) {
            scope.spawn(|| part.iter().for_each(|bytes| send_and_wait(&case, bytes)));
        }
    });
    balanced("all that is hostile");
    assert!(case.origin.count() > before, "some of it is harmless");
}
