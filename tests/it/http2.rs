//! HTTP/2 of clients, as requests: what goes through, what is limited, how a connection ends.

use std::time::Duration;

use crate::harness::{
    Gateway, Http2, Origin,
    http2::{code, kind},
    list, upstream,
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
