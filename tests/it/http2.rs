//! HTTP/2 of clients, as requests: what goes through, what is limited, how a connection ends.

use std::time::{Duration, Instant};

use crate::harness::{
    Gateway, Http2, Origin, SOON, eventually, hpack,
    http2::{code, flag, frame, kind},
    list, timed, upstream, within,
};

/// A gateway that speaks HTTP/2 in clear text, with these further settings of its listener, in front of `origins`.
fn gateway(origins: &[&Origin], listener: &str, settings: &str) -> Gateway {
    let text = upstream(&list(origins), settings);
    Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, http2: true, {listener} }}]\n"))
}

#[test]
fn http_2_by_prior_knowledge_is_spoken_only_where_the_file_says_so() {
    let origin = Origin::start("a");
    let gateway = gateway(&[&origin], "", "");
    let mut client = Http2::connect(gateway.address());
    let outcome = client.ask("POST", "/x?y=1", &[("x-a", "b")], Some(b"hello"));
    assert_eq!((outcome.status, outcome.text().as_str(), outcome.ended), (200, "a", true));
    let request = origin.request();
    assert_eq!(
        (request.method.as_str(), request.target.as_str(), request.text().as_str()),
        ("POST", "/x?y=1", "hello")
    );
    assert_eq!((request.header("host"), request.header("x-a")), (Some("test.example"), Some("b")));
    assert_eq!(gateway.get("/").status, 200, "HTTP/1.1 is spoken beside it");
    let metrics = gateway.metrics();
    for (protocol, count) in [("http/1.1", 1.0), ("http/2", 1.0)] {
        assert_eq!(metrics.sum("headgate_connections_total", &[("protocol", protocol)]), count, "{protocol}");
    }

    let without = Gateway::start(&upstream(&list(&[&origin]), ""));
    let mut client = without.client();
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.try_answer(false).unwrap().status, 505);
}

#[test]
fn a_request_of_http_1_that_begins_like_the_preface_is_served_and_a_short_one_does_not_wait() {
    let origin = Origin::start("a");
    let gateway = gateway(&[&origin], "", "");
    let mut client = gateway.client();
    client.write("P");
    client.write("RINT / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    // 18 bytes, fewer than the preface has.
    let mut client = gateway.client();
    client.write("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn no_more_streams_are_open_at_a_time_than_may_be() {
    let origin = Origin::start("a");
    origin.delay(Duration::from_millis(300));
    let gateway = gateway(&[&origin], "limits: { streams: 2 }", "");
    let mut client = Http2::silent(gateway.address());
    let settings = client.hello(&[]);
    assert!(settings.contains(&(3, 2)), "it is said: {settings:?}");
    let block = client.request("GET", "/", &[]);
    let streams = [(); 3].map(|()| client.begin(&block, true));
    let refused = client.until(|frame| frame.kind == kind::RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.code()), (streams[2], code::REFUSED_STREAM));
    assert_eq!(client.outcome(streams[1]).status, 200);
    assert_eq!(client.get("/").status, 200, "there is room again");
    assert_eq!(origin.count(), 3);
}

/// A request of HTTP/2 that an endpoint behind HTTP/1.1 could read differently must not reach it, and what reaches it must be
/// this and nothing else.
#[test]
fn no_request_reaches_an_http_1_endpoint_that_it_could_read_differently() {
    type Fields<'a> = &'a [(&'a [u8], &'a [u8])];
    const GET: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test.example")];
    let origin = Origin::start("a");
    let gateway = gateway(&[&origin], "", "");
    let refused = |fields: Fields<'_>, body: Option<&[u8]>| {
        let mut client = Http2::connect(gateway.address());
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| hpack::literal(name, value)).collect();
        let stream = client.begin(&block, body.is_none());
        if let Some(body) = body {
            client.frame(kind::DATA, flag::END_STREAM, stream, body);
        }
        let outcome = client.outcome(stream);
        let shown: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.escape_ascii().to_string(), value.escape_ascii().to_string()))
            .collect();
        let answered = (400..500).contains(&outcome.status);
        assert!(
            answered || outcome.reset.is_some() || outcome.goaway.is_some_and(|code| code != 0),
            "{shown:?}: {outcome:?}"
        );
        assert_eq!(origin.count(), 0, "{shown:?} came as {:?}", origin.requests());
    };
    // In names and values: what ends a line, a name or a string elsewhere.
    for byte in [b'\r', b'\n', 0, b':', b' ', b'\t', 0x7f, b'A', b'(', 0x80] {
        refused(&[&GET[..], &[(&[b'x', byte, b'y'], b"1")]].concat(), None);
        refused(&[&GET[..], &[(&[b'x', byte], b"1")]].concat(), None);
    }
    for value in [&b"1\r\nx-smuggled: 1"[..], b"1\nx", b"1\rx", b"1\0x", b"1\x7f", b" 1", b"1 "] {
        refused(&[&GET[..], &[(b"x-a", value)]].concat(), None);
        refused(&[&GET[..], &[(b"cookie", value)]].concat(), None);
        for at in 0..4 {
            let mut fields = GET.to_vec();
            fields[at].1 = value;
            refused(&fields, None);
        }
    }
    for path in [
        &b"/ HTTP/1.1\r\nx: 1"[..],
        b"/a b",
        b"/\t",
        b"/\x01",
        b"",
        b"x",
        b"*",
        b"//",
        b"http://test.example/",
        b"/%00",
        b"/%",
        b"/../x",
        b"/a\\b",
    ] {
        let mut fields = GET.to_vec();
        fields[2].1 = path;
        // Two slashes are one, and the rest is no path.
        if path != b"//" {
            refused(&fields, None);
        }
    }
    for method in [&b""[..], b"GET /", b"G\r\nT", b"CONNECT", b"TRACE", b"GET:"] {
        let mut fields = GET.to_vec();
        fields[0].1 = method;
        refused(&fields, None);
    }
    for authority in [&b""[..], b"a b", b"user@test.example", b"test.example/x", b"a,b", b"a\r\nb", b"test.example:x"] {
        let mut fields = GET.to_vec();
        fields[3].1 = authority;
        refused(&fields, None);
        // The same where only Host says it.
        fields[3].0 = b"host";
        refused(&fields, None);
    }
    for scheme in [&b""[..], b"ftp", b"http:", b"ht tp", b"http://other.example/?"] {
        let mut fields = GET.to_vec();
        fields[1].1 = scheme;
        refused(&fields, None);
    }
    for (at, field) in GET.into_iter().enumerate() {
        let mut doubled = GET.to_vec();
        doubled.insert(at, field);
        refused(&doubled, None);
        let mut missing = GET.to_vec();
        missing.remove(at);
        refused(&missing, None);
    }
    for (name, value) in [
        (&b"transfer-encoding"[..], &b"chunked"[..]),
        (b"transfer-encoding", b"identity"),
        (b"connection", b"close"),
        (b"connection", b"x-a"),
        (b"upgrade", b"websocket"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"te", b"chunked"),
        (b"host", b"other.example"),
        (b"host", b"test.example:80"),
        (b"host", b""),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        (b":method", b"POST"),
        (b"expect", b"200-ok"),
    ] {
        refused(&[&GET[..], &[(name, value)]].concat(), None);
    }
    refused(&[&GET[..], &[(b"host", b"test.example"), (b"host", b"test.example")]].concat(), None);
    for length in [&b"1"[..], b"3", b"-1", b"+2", b"2, 2", b"0x2", b" 2", b"99999999999999999999", b""] {
        let mut fields = GET.to_vec();
        fields[0].1 = b"POST";
        refused(&[&fields[..], &[(b"content-length", length)]].concat(), Some(b"ab"));
    }
    refused(&[&GET[..], &[(b"content-length", b"2"), (b"content-length", b"2")]].concat(), Some(b"ab"));
    refused(&[&GET[..], &[(b"content-length", b"2"), (b"content-length", b"3")]].concat(), Some(b"ab"));

    let mut client = Http2::connect(gateway.address());
    let cookies = [("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("te", "trailers"), ("x_a", "2")];
    assert_eq!(client.ask("POST", "/a/../b?c#", &cookies, Some(b"body")).status, 200);
    let request = origin.request();
    assert_eq!((request.target.as_str(), request.text().as_str()), ("/b?c", "body"));
    assert_eq!(request.head.headers("cookie"), ["a=1; b=2"]);
    assert_eq!(request.head.headers("host"), ["test.example"]);
    assert_eq!((request.header("te"), request.header("x_a"), request.header("x-a")), (None, None, Some("1")));
    assert_eq!(request.head.headers("transfer-encoding"), ["chunked"]);
}

#[test]
fn limits_of_head_target_and_body_are_those_of_http_1() {
    let origin = Origin::start("a");
    let gateway =
        gateway(&[&origin], "limits: { header_bytes: 4KiB, headers: 20, target_bytes: 1KiB, body: 1000B }", "");
    let mut client = Http2::connect(gateway.address());
    let long = "x".repeat(5000);
    assert_eq!(client.ask("GET", "/", &[("x-a", &long)], None).status, 431);
    let many: Vec<_> = (0..21).map(|at| format!("x-{at}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(client.ask("GET", "/", &many, None).status, 431);
    assert_eq!(client.get(&format!("/{}", &long[..1100])).status, 414);
    assert_eq!(client.ask("POST", "/", &[("content-length", "1001")], Some(&[b'x'; 1001])).status, 413);
    assert_eq!(client.ask("POST", "/", &[], Some(&[b'x'; 5000])).status, 413);
    // Beyond twice the limit h2 answers itself; far beyond, it closes.
    assert_eq!(client.ask("GET", "/", &[("x-a", &long), ("x-b", &long)], None).status, 431);
    assert_eq!(client.ask("POST", "/", &[], Some(&[b'x'; 1000])).status, 200);
    let metrics = gateway.metrics();
    for reason in ["head_too_large", "too_many_headers", "target_too_long", "body_too_large"] {
        assert!(metrics.sum("headgate_http_requests_refused_total", &[("reason", reason)]) > 0.0, "{reason}");
    }
}

#[test]
fn time_limits_end_one_stream_and_leave_the_others() {
    let origins = Origin::several(3);
    origins[0].hang();
    origins[1].script(|_, wire| {
        use std::io::Write;
        wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        std::thread::sleep(Duration::from_secs(3));
        Ok(false)
    });
    let [hangs, stops, quick] = [0, 1, 2].map(|at| origins[at].address());
    let gateway = Gateway::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0, http2: true }}]
upstreams:
  hangs: {{ endpoints: ['{hangs}'] }}
  stops: {{ endpoints: ['{stops}'] }}
  quick: {{ endpoints: ['{quick}'] }}
routes:
  - {{ path: /first, upstream: hangs, timeouts: {{ first_byte: 300ms }} }}
  - {{ path: /request, upstream: hangs, timeouts: {{ request: 300ms }} }}
  - {{ path: /idle, upstream: stops, timeouts: {{ idle: 300ms }} }}
  - {{ path: /upload, upstream: quick, timeouts: {{ idle: 300ms }} }}
  - upstream: quick
"
    ));
    let mut client = Http2::connect(gateway.address());
    for (path, status) in [("/first", 504), ("/request", 504)] {
        let (outcome, took) = timed(|| client.get(path));
        assert_eq!((outcome.status, outcome.ended), (status, true), "{path}");
        assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&took), "{path}: {took:?}");
    }
    let outcome = client.get("/idle");
    assert_eq!((outcome.status, outcome.text().as_str(), outcome.ended), (200, "half", false));
    assert!(
        outcome.reset.is_some_and(|code| code != code::NO_ERROR),
        "a short answer must not look whole: {outcome:?}"
    );
    let block = client.request("POST", "/upload", &[("content-length", "10")]);
    let stream = client.begin(&block, false);
    client.frame(kind::DATA, 0, stream, b"half");
    assert_eq!(client.outcome(stream).status, 408, "an upload that stops");
    assert_eq!(client.get("/").status, 200, "on the same connection");
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_ended_and_holds_little() {
    let origin = Origin::start("a");
    origin.script(|_, wire| {
        use std::io::Write;
        wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")?;
        for _ in 0..10_000 {
            wire.write_all(&[b'x'; 10_000])?;
        }
        Ok(false)
    });
    let text = upstream(&list(&[&origin]), "");
    let text = text.replace(
        "  - upstream: node",
        "  - { path: /ok, respond: { body: ok } }\n  - { upstream: node, timeouts: { idle: 1s } }",
    );
    let gateway = Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, http2: true }}]\n"));
    let before = gateway.memory_kib("VmRSS");
    // A window of nothing for every stream.
    let mut client = Http2::silent(gateway.address());
    client.hello(&[(4, 0)]);
    let block = client.request("GET", "/", &[]);
    let streams: Vec<u32> = (0..50).map(|_| client.begin(&block, true)).collect();
    let (last, took) = timed(|| {
        let mut open = streams.len();
        while open > 0 {
            let Some(frame) = client.until(|frame| frame.kind == kind::RST_STREAM) else { break };
            assert!(streams.contains(&frame.stream));
            open -= 1;
        }
        open
    });
    assert_eq!(last, 0, "every stream is reset");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let grown = gateway.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 40_000, "50 streams that take nothing cost {grown} KiB");
    assert!(client.is_alive());
}

/// What the gateway says of the connections it has closed.
fn closings(gateway: &Gateway) -> String {
    let text = gateway.admin_get("/metrics").text();
    let lines = text.lines().filter(|line| line.contains("http2_connections_closed") && !line.ends_with(" 0"));
    lines.collect::<Vec<_>>().join("; ")
}

/// Sends a flood and holds that it ends the connection for this reason, that memory stays, and that another client is served.
#[track_caller]
fn flood(gateway: &Gateway, reason: &str, mut send: impl FnMut(&mut Http2) -> std::io::Result<()>) {
    let closed = |gateway: &Gateway| {
        let metrics = gateway.metrics();
        let of = |reason: &str| metrics.sum("headgate_http2_connections_closed_total", &[("reason", reason)]);
        // h2 has bounds of its own for streams given up before anybody took them, and for pieces of a header block; which comes
        // first is a matter of timing.
        of(reason) + of("limit")
    };
    let before = (closed(gateway), gateway.memory_kib("VmRSS"));
    let mut normal = Http2::connect(gateway.address());
    let mut client = Http2::connect(gateway.address());
    client.patience(SOON);
    let end = Instant::now() + SOON;
    let mut slowest = Duration::ZERO;
    while send(&mut client).is_ok() && closed(gateway) == before.0 {
        let (outcome, took) = timed(|| normal.get("/ok"));
        assert_eq!(outcome.status, 200, "{reason}: the normal client");
        slowest = slowest.max(took);
        assert!(Instant::now() < end, "{reason}: nobody stops it");
    }
    let (goaway, gone) = client.end_within(SOON);
    assert!(gone, "{reason}: the connection is closed");
    assert!(
        goaway.is_none_or(|code| code == code::ENHANCE_YOUR_CALM || code == code::NO_ERROR),
        "{reason}: {goaway:?}"
    );
    let counted = within(Duration::from_secs(5), || (closed(gateway) > before.0).then_some(()));
    assert!(counted.is_some(), "{reason} is not counted, but: {}", closings(gateway));
    assert_eq!(normal.get("/ok").status, 200);
    assert!(slowest < Duration::from_secs(2), "{reason}: the normal client waited {slowest:?}");
    let grown = gateway.memory_kib("VmRSS").saturating_sub(before.1);
    assert!(grown < 20_000, "{reason}: memory grew by {grown} KiB");
}

#[test]
fn a_flood_ends_its_connection_and_nothing_else() {
    let origin = Origin::start("a");
    origin.hang();
    let text = upstream(&list(&[&origin]), "");
    let text = text.replace("  - upstream: node", "  - { path: /ok, respond: { body: ok } }\n  - upstream: node");
    let gateway = Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, http2: true }}]\n"));
    let many = |bytes: Vec<u8>, count: usize| bytes.repeat(count);
    flood(&gateway, "pings", |client| client.try_write(&many(frame(kind::PING, 0, 0, &[0; 8]), 100)));
    flood(&gateway, "settings", |client| client.try_write(&many(frame(kind::SETTINGS, 0, 0, &[]), 20)));
    flood(&gateway, "window_updates", |client| {
        client.try_write(&many(frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 300))
    });
    flood(&gateway, "useless_frames", |client| {
        client.try_write(&many(frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), 300))
    });
    flood(&gateway, "resets", |client| {
        let block = client.request("GET", "/", &[]);
        for _ in 0..20 {
            let stream = client.begin(&block, true);
            client.try_write(&frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes()))?;
        }
        Ok(())
    });
    // Each makes the gateway reset a stream: "MadeYouReset".
    flood(&gateway, "stream_errors", |client| {
        let block = client.request("GET", "/", &[]);
        for _ in 0..20 {
            let stream = client.begin(&block, true);
            client.try_write(&frame(kind::WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]))?;
        }
        Ok(())
    });
    let mut posted = 0;
    flood(&gateway, "empty_data", |client| {
        if posted == 0 {
            let block = client.request("POST", "/", &[]);
            posted = client.begin(&block, false);
        }
        client.try_write(&many(frame(kind::DATA, 0, posted, &[]), 50))
    });
    let mut begun = false;
    flood(&gateway, "continuations", |client| {
        if !std::mem::replace(&mut begun, true) {
            let block = client.request("GET", "/", &[]);
            client.try_write(&frame(kind::HEADERS, flag::END_STREAM, 1, &block))?;
        }
        client.try_write(&many(frame(kind::CONTINUATION, 0, 1, &[]), 3))
    });
}

/// A field of 4 KiB is kept once and named by one byte as often as a frame has room: 64 MiB from 16 KiB.
#[test]
fn a_block_that_unfolds_without_end_ends_its_connection() {
    let origin = Origin::start("a");
    let gateway = gateway(&[&origin], "", "");
    let before = gateway.memory_kib("VmRSS");
    for _ in 0..20 {
        let mut client = Http2::connect(gateway.address());
        let seed = [client.request("GET", "/", &[]), hpack::kept(b"x", &[b'y'; 4000])].concat();
        let stream = client.begin(&seed, true);
        assert_eq!(client.outcome(stream).status, 200);
        let bomb = [client.request("GET", "/", &[]), hpack::indexed(62).repeat(16_000)].concat();
        client.begin(&bomb, true);
        let (goaway, closed) = client.end_within(SOON);
        assert!(closed && goaway == Some(code::ENHANCE_YOUR_CALM), "{goaway:?}");
    }
    gateway.counts("headgate_http2_connections_closed_total", &[("reason", "limit")], 20.0);
    let grown = gateway.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 20_000, "memory grew by {grown} KiB");
    assert_eq!(origin.count(), 20);
}

#[test]
fn a_header_block_and_an_idle_connection_have_their_time() {
    let origin = Origin::start("a");
    let gateway = gateway(&[&origin], "limits: { header_timeout: 500ms, idle_timeout: 1s }", "");
    let mut client = Http2::connect(gateway.address());
    let block = client.request("GET", "/", &[]);
    client.frame(kind::HEADERS, flag::END_STREAM, 1, &block);
    let ((goaway, closed), took) = timed(|| client.end_within(SOON));
    assert!(closed && goaway == Some(code::ENHANCE_YOUR_CALM), "{goaway:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    gateway.counts("headgate_http2_connections_closed_total", &[("reason", "slow_head")], 1.0);

    let mut idle = Http2::connect(gateway.address());
    assert_eq!(idle.get("/").status, 200);
    let (goaway, took) = timed(|| idle.until(|frame| frame.kind == kind::GOAWAY));
    assert_eq!(goaway.map(|frame| frame.code()), Some(code::NO_ERROR), "it is told");
    assert!((Duration::from_millis(800)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let mut silent = Http2::silent(gateway.address());
    silent.write(&crate::harness::http2::PREFACE[..10]);
    assert!(silent.end_within(SOON).1, "a preface has its time too");
}

#[test]
fn a_session_keeps_to_its_endpoint_whatever_the_client_speaks() {
    let origins = Origin::several(3);
    for origin in &origins {
        let name = origins.iter().position(|other| std::ptr::eq(other, origin)).unwrap();
        origin.bytes(&format!("HTTP/1.1 200 OK\r\nSet-Cookie: sid=s{name}\r\nContent-Length: 1\r\n\r\n{name}"));
    }
    let text = format!(
        "sessions: {{ web: {{ cookie: sid, format: plain, store: memory }} }}
upstreams: {{ node: {{ endpoints: {} }} }}
routes: [{{ upstream: node, sticky: {{ session: web }} }}]
listeners: [{{ address: 127.0.0.1:0, http2: true }}]
",
        list(&origins.iter().collect::<Vec<_>>())
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    let first = client.get("/");
    let cookie = first.header("set-cookie").unwrap().to_owned();
    let at = first.text();
    for _ in 0..6 {
        // The session's cookie is the second crumb.
        let outcome = client.ask("GET", "/", &[("cookie", "theme=dark"), ("cookie", &cookie)], None);
        assert_eq!(outcome.text(), at);
    }
    let answer = gateway.ask(&crate::harness::Ask::get("/").header("Cookie", &cookie));
    assert_eq!(answer.text(), at, "over HTTP/1.1 too");
}

#[test]
fn a_reload_keeps_http_2_connections_and_a_stop_lets_their_streams_finish() {
    let origin = Origin::start("a");
    let text = format!("{}listeners: [{{ address: 127.0.0.1:0, http2: true }}]\n", upstream(&list(&[&origin]), ""));
    let mut gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.get("/").status, 200);
    let next = text.replace("routes:\n", "routes:\n  - { path: /new, respond: { body: new } }\n");
    gateway.rewrite(&next);
    assert_eq!(client.get("/new").text(), "new", "the same connection sees the new file");

    origin.delay(Duration::from_millis(700));
    let block = client.request("GET", "/", &[]);
    let stream = client.begin(&block, true);
    eventually("it is asked", || origin.count() == 2);
    gateway.signal("TERM");
    let outcome = client.outcome(stream);
    assert_eq!((outcome.status, outcome.ended), (200, true));
    assert_eq!(outcome.goaway, Some(code::NO_ERROR), "it is told first");
    assert!(client.end_within(SOON).1);
    assert!(gateway.wait_exit().success());
}

#[test]
fn an_expectation_is_met_by_a_100_of_the_endpoints() {
    let origin = Origin::start("a");
    let gateway = gateway(&[&origin], "", "");
    let mut client = Http2::connect(gateway.address());
    let block = client.request("POST", "/", &[("expect", "100-continue"), ("content-length", "4")]);
    let stream = client.begin(&block, false);
    // The body is sent only once it is asked for.
    let interim = client.until(|frame| frame.kind == kind::HEADERS && frame.stream == stream).unwrap();
    assert_eq!(hpack::fields(&interim.payload)[0].1, "100");
    client.frame(kind::DATA, flag::END_STREAM, stream, b"body");
    assert_eq!(client.outcome(stream).status, 200);
    assert_eq!(origin.request().text(), "body");
}
