//! Hostile and sloppy requests, byte by byte: what is refused, what is dropped, and what an endpoint sees of the rest.

use std::time::Duration;

use crate::harness::{Answer, Ask, Gateway, Origin, list, upstream};

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
        let gateway = Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, {listener} }}]\n"));
        Case { origin, gateway }
    }

    fn send(&self, bytes: &str) -> Answer {
        let mut client = self.gateway.client();
        client.write(bytes);
        client.answer()
    }

    /// Refused with this status, the connection closed, and nothing of it forwarded.
    #[track_caller]
    fn refused(&self, status: u16, bytes: &str) {
        let mut client = self.gateway.client();
        client.write(bytes);
        let answer = client.try_answer(false).unwrap_or_else(|error| panic!("no answer to {bytes:?}: {error}"));
        assert_eq!(answer.status, status, "{bytes:?}");
        assert!(client.rest().is_empty(), "more than one answer to {bytes:?}");
        assert_eq!(self.origin.count(), 0, "forwarded: {bytes:?}: {:?}", self.origin.requests());
    }

    /// Forwarded with this target.
    #[track_caller]
    fn forwarded(&self, target: &str, as_target: &str) {
        let answer = self.gateway.get(target);
        assert_eq!((answer.status, self.origin.last().target.as_str()), (200, as_target), "{target}");
    }
}

#[test]
fn a_length_together_with_a_transfer_encoding_is_refused() {
    let case = Case::new();
    case.refused(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    case.refused(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n");
}

#[test]
fn a_transfer_encoding_other_than_one_chunked_is_refused() {
    let case = Case::new();
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "xchunked",
        "identity",
        "",
        ",chunked",
        "\"chunked\"",
    ] {
        case.refused(400, &format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"));
    }
    let twice =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    case.refused(400, twice);
    case.refused(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    case.refused(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n");
    case.refused(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn a_length_that_is_not_one_plain_number_is_refused() {
    let case = Case::new();
    for length in ["+1", "-1", "1, 1", "1,2", "0x1", "1 1", "99999999999999999999999", "one", ""] {
        case.refused(400, &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nx"));
    }
    case.refused(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx");
    case.refused(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx");
}

#[test]
fn a_bad_chunk_reaches_no_endpoint_as_a_whole_request() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "z\r\n\r\n",
        "fffffffffffffffff\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
    ] {
        let case = Case::new();
        let mut client = case.gateway.client();
        client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let status = client.try_answer(false).map(|answer| answer.status);
        assert!(matches!(status, Err(_) | Ok(400)), "{body:?}: {status:?}");
        assert_eq!(case.origin.count(), 0, "{body:?}");
    }
}

#[test]
fn a_missing_empty_double_or_malformed_host_is_refused() {
    let case = Case::new();
    case.refused(400, "GET / HTTP/1.1\r\n\r\n");
    for host in ["", "a b", "user@a", "a/b", "a:b:c", "a:99999", "[::1", "a,b", "a\\b", "a#b", "a?b"] {
        case.refused(400, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    case.refused(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    case.refused(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
}

#[test]
fn a_malformed_head_is_refused() {
    let case = Case::new();
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\n X-Folded: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX(): 1\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "G{}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
    ] {
        case.refused(400, bytes);
    }
}

#[test]
fn bare_line_feeds_in_a_head_are_refused() {
    let case = Case::new();
    case.refused(400, "GET / HTTP/1.1\nHost: a\n\n");
    case.refused(400, "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n");
}

#[test]
fn connect_and_trace_are_refused() {
    let case = Case::new();
    case.refused(405, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    case.refused(405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn an_absolute_target_must_name_the_host_and_is_forwarded_without_it() {
    let case = Case::new();
    case.refused(400, "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n");
    case.refused(400, "GET http://user@a/x HTTP/1.1\r\nHost: a\r\n\r\n");
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
fn a_path_that_has_no_safe_normal_form_is_refused() {
    let case = Case::new();
    for path in ["/..", "/a/../..", "/%2e%2e/x", "/a%00", "/a%5Cb", "/a\\b", "/a%", "/a%2", "/a%zz", "/a%e", "/é"] {
        case.refused(400, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
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
fn what_follows_a_refused_request_is_never_served() {
    let case = Case::new();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    case.refused(
        400,
        &format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
    );
    case.refused(400, &format!("GET / HTTP/1.1\r\n\r\n{smuggled}"));
    case.refused(405, &format!("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{smuggled}"));
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
fn a_space_or_a_control_character_in_a_target_reaches_an_endpoint_only_encoded() {
    for (sent, encoded) in [("/a b", "/a%20b"), ("/a\u{1}b", "/a%01b"), ("/a\tb", "/a%09b")] {
        let case = Case::new();
        let status = case.send(&format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n")).status;
        assert!(status == 400 || case.origin.last().target == encoded, "{status} {:?}", case.origin.requests());
    }
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
fn a_fragment_in_a_target_is_refused() {
    let case = Case::new();
    for target in ["/a#b", "/a?b#c", "/#", "http://a/b#c"] {
        case.refused(400, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
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
