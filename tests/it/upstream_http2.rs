//! HTTP/2 to endpoints: whatever the client speaks, and with every rule that holds for HTTP/1.1.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::harness::{
    Ask, Authority, Gateway, Http2Origin, Http2Reply, Origin, Setup, TlsFront, eventually, timed, upstream,
};

fn before(origins: &[&Http2Origin], settings: &str) -> Gateway {
    let endpoints: Vec<_> = origins.iter().map(|origin| origin.address().to_string()).collect();
    Gateway::start(&upstream(&format!("[{}]", endpoints.join(", ")), &format!("http2: true, {settings}")))
}

#[test]
fn an_endpoint_is_spoken_to_in_http2_in_plain_text_and_in_tls() {
    let authority = Authority::new();
    let (plain, tls) = (Http2Origin::start("plain"), Http2Origin::tls("tls", &authority.issue(&["127.0.0.1"])));
    for (origin, settings, scheme) in [(&plain, "", "http"), (&tls, "tls: { ca: ca.crt }, ", "https")] {
        let settings = format!("http2: true, {settings}health_check: {{ http: /healthz, interval: 100ms }}");
        let yaml = upstream(&format!("[{}]", origin.address()), &settings);
        let gateway = Setup::new(&yaml).file("ca.crt", &authority.certificate()).start();
        let ask =
            Ask::post("/a?b=c", "hello").host("shop.example.com").header("te", "trailers, deflate").header("x-a", "1");
        let answer = gateway.ask(&ask);
        assert_eq!((answer.status, answer.text()), (200, answer.instance().to_owned()));
        let seen = origin.last();
        assert_eq!((seen.method.as_str(), seen.scheme.as_str(), seen.target.as_str()), ("POST", scheme, "/a?b=c"));
        assert_eq!((seen.authority.as_str(), &seen.body[..]), ("shop.example.com", &b"hello"[..]));
        let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((header("x-a"), header("te"), header("host")), (Some("1"), Some("trailers"), None));
        assert_eq!(
            (header("x-forwarded-for"), header("x-forwarded-host")),
            (Some("127.0.0.1"), Some("shop.example.com"))
        );
        eventually("it is probed in HTTP/2", || origin.probes() > 1);
    }
}

#[test]
fn many_requests_share_one_connection_and_each_counts_for_itself() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "");
    let mut clients: Vec<_> = (0..20).map(|_| gateway.client()).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    }
    assert_eq!(origin.requests().len(), 100);
    assert!(origin.connections() <= 2, "{}", origin.connections());
    assert_eq!(gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]), 0.0);
}

#[test]
fn a_host_of_the_upstreams_becomes_the_authority() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "host_header: app.internal");
    assert_eq!(gateway.ask(&Ask::get("/").host("shop.example.com")).status, 200);
    assert_eq!(origin.last().authority, "app.internal");
}

/// Takes one connection and one request, says that it has looked at none (GOAWAY), and is gone.
fn leaving() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).unwrap();
            if head[3] == 1 {
                break;
            }
        }
        stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    });
    (address, thread)
}

#[test]
fn what_an_endpoint_refused_unseen_is_sent_again_whatever_its_method() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "retry: { attempts: 1 }");
    origin.reply_once(Http2Reply::Refuse);
    assert_eq!(gateway.ask(&Ask::post("/", "once")).status, 200);

    let (leaving, thread) = leaving();
    let endpoints = format!("[{leaving}, {}]", origin.address());
    let gateway = Gateway::start(&upstream(&endpoints, "http2: true, strategy: first, retry: { attempts: 1 }"));
    assert_eq!(gateway.ask(&Ask::post("/", "once")).status, 200);
    thread.join().unwrap();
    let bodies: Vec<_> = origin.requests().iter().map(|request| request.body.clone()).collect();
    assert_eq!(bodies, ["once", "once"]);
}

#[test]
fn an_answer_is_tried_again_elsewhere_as_in_http1() {
    let (bad, good) = (Http2Origin::start("bad"), Http2Origin::start("good"));
    bad.reply(Http2Reply::Status(503));
    let gateway = before(&[&bad, &good], "strategy: first");
    assert_eq!(gateway.get("/").text(), "good");
    assert_eq!(gateway.ask(&Ask::post("/", "x")).status, 503, "a POST is not");
}

#[test]
fn an_endpoint_that_says_nothing_is_504_and_its_stream_is_reset() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "timeouts: { first_byte: 300ms }");
    origin.reply_once(Http2Reply::Hang);
    let (answer, took) = timed(|| gateway.get("/"));
    assert_eq!(answer.status, 504);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(gateway.get("/").status, 200, "the connection serves on");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_that_is_reset_in_its_middle_is_cut_and_never_whole() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "");
    origin.reply(Http2Reply::ResetAfter("half"));
    let mut client = gateway.client();
    client.write(Ask::get("/").bytes());
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap().unwrap(), b"half");
    assert!(!matches!(client.chunk(), Ok(None)), "no last chunk");
}

#[test]
fn an_answer_that_stalls_is_cut_after_the_idle_timeout_and_others_go_on() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "timeouts: { idle: 500ms }");
    origin.reply_once(Http2Reply::StallAfter("half"));
    let mut client = gateway.client();
    client.write(Ask::get("/").bytes());
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap().unwrap(), b"half");
    let (closed, took) = timed(|| client.closed_within(Duration::from_secs(15)));
    assert!(closed && took >= Duration::from_millis(200), "{took:?}");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(origin.connections(), 1, "only its stream is over");
}

#[test]
fn an_endpoint_that_does_not_offer_http2_is_502_and_gets_nothing() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    for alpn in [&["http/1.1"][..], &[]] {
        let front = TlsFront::asking(&origin, &authority.issue(&["127.0.0.1"]), alpn, None);
        let yaml = upstream(&format!("[{}]", front.address()), "http2: true, tls: { ca: ca.crt }");
        let gateway = Setup::new(&yaml).file("ca.crt", &authority.certificate()).start();
        assert_eq!(gateway.get("/").status, 502);
        gateway.logged(if alpn.is_empty() { "does not offer HTTP/2" } else { "tls_error" });
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_request_that_would_change_protocols_is_an_ordinary_one_and_blames_nobody() {
    let authority = Authority::new();
    let origin = Http2Origin::tls("a", &authority.issue(&["127.0.0.1"]));
    let yaml = upstream(&format!("[{}]", origin.address()), "http2: true, tls: { ca: ca.crt }");
    let gateway = Setup::new(&yaml).file("ca.crt", &authority.certificate()).start();
    let ask = Ask::get("/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let ask = ask.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(gateway.ask(&ask).text(), "a");
    assert!(origin.last().headers.get("upgrade").is_none());
    assert_eq!(gateway.metrics().sum("headgate_upstream_requests_total", &[("code", "200")]), 1.0);
}

#[test]
fn a_client_that_does_not_read_holds_no_memory_and_holds_up_nobody() {
    let origin = Http2Origin::start("a");
    let gateway = before(&[&origin], "");
    assert_eq!(gateway.get("/").status, 200);
    let memory = gateway.memory_kib("VmHWM");
    let mut clients: Vec<_> = (0..16).map(|_| gateway.client()).collect();
    for client in &mut clients {
        origin.reply_once(Http2Reply::Endless);
        client.write(Ask::get("/").bytes());
        assert_eq!(client.head().status, 200);
    }
    let mut last = 0;
    eventually("the flow stands still", || {
        thread::sleep(Duration::from_millis(200));
        let now = gateway.memory_kib("VmRSS");
        std::mem::replace(&mut last, now) == now
    });
    let grown = gateway.memory_kib("VmHWM") - memory;
    assert!(grown < 16 * 1024, "grown by {grown} KiB");
    assert_eq!(gateway.get("/").status, 200, "the same connection serves others");
    assert_eq!(origin.connections(), 1);
}

/// One request by HTTP/2 in plain text, and what answers it.
fn ask_by_http2(
    gateway: &Gateway,
    request: http::Request<()>,
    body: &'static str,
) -> (http::response::Parts, Vec<u8>, http::HeaderMap) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = async {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.unwrap();
        let (answer, mut sending) = client.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            sending.send_data(body.into(), true).unwrap();
        }
        let (head, mut rest) = answer.await.unwrap().into_parts();
        let mut read = Vec::new();
        while let Some(piece) = rest.data().await {
            read.extend_from_slice(&piece.unwrap());
        }
        (head, read, rest.trailers().await.unwrap().unwrap_or_default())
    };
    runtime.block_on(async { tokio::time::timeout(crate::harness::SOON, asked).await.unwrap() })
}

#[test]
fn a_client_of_http2_is_passed_on_by_http2_with_its_authority_and_trailers() {
    let origin = Http2Origin::start("a");
    origin.reply(Http2Reply::Answer { head: &[("x-a", "1")], body: "body", trailers: &[("x-behind", "2")] });
    for (settings, authority) in [("", "shop.example.com"), ("host_header: app.internal", "app.internal")] {
        let yaml = upstream(&format!("[{}]", origin.address()), &format!("http2: true, {settings}"));
        let gateway = Gateway::start(&format!("listeners: [{{ address: 127.0.0.1:0, http2: true }}]\n{yaml}"));
        let request = http::Request::post("http://shop.example.com/a?b=c").header("te", "trailers");
        let request = request.header("proxy-authorization", "Basic x").header("x-forwarded-for", "10.0.0.1");
        let (head, body, trailers) = ask_by_http2(&gateway, request.body(()).unwrap(), "sent");
        assert_eq!((head.status.as_u16(), &body[..]), (200, &b"body"[..]));
        assert_eq!((&head.headers["x-a"], &trailers["x-behind"]), (&"1".parse().unwrap(), &"2".parse().unwrap()));
        let seen = origin.last();
        assert_eq!(
            (seen.authority.as_str(), seen.target.as_str(), &seen.body[..]),
            (authority, "/a?b=c", &b"sent"[..])
        );
        let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((header("te"), header("host"), header("proxy-authorization")), (Some("trailers"), None, None));
        assert_eq!(
            (header("x-forwarded-for"), header("x-forwarded-host")),
            (Some("127.0.0.1"), Some("shop.example.com"))
        );
    }
}

#[test]
fn a_client_of_http2_is_told_of_an_endpoint_that_breaks_off() {
    let origin = Http2Origin::start("a");
    origin.reply(Http2Reply::ResetAfter("half"));
    let yaml = upstream(&format!("[{}]", origin.address()), "http2: true");
    let gateway = Gateway::start(&format!("listeners: [{{ address: 127.0.0.1:0, http2: true }}]\n{yaml}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = http::Request::get("http://a/").body(()).unwrap();
        let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
        // What came before the reset may be lost with it; only an end is never seen.
        let end = match answer.await {
            Ok(answer) => {
                let mut body = answer.into_body();
                loop {
                    match body.data().await.expect("it looks whole") {
                        Ok(piece) => assert_eq!(piece, "half"),
                        Err(error) => break error,
                    }
                }
            }
            Err(error) => error,
        };
        assert!(end.is_reset(), "{end}");
    });
}
