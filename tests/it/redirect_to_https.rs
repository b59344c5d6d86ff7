//! A plain listener that sends its clients to HTTPS.

use crate::harness::{Answer, Ask, Client, Gateway, Setup};

const ROUTES: &str = "\
routes:
  - { path_prefix: /.well-known/acme-challenge/, listener: plain, respond: { body: challenge } }
  - { host: shop.example.com, respond: { body: shop } }
  - respond: { body: any }
";

fn gateway(listener: &str) -> Gateway {
    Gateway::start(&format!("{ROUTES}listeners: [{{ address: 127.0.0.1:0, name: plain, {listener} }}]\n"))
}

fn sent_to(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("location").unwrap_or_default())
}

#[test]
fn everything_but_what_is_bound_there_is_sent_to_https() {
    let gateway = gateway("redirect_to_https: true");
    for (host, target, location) in [
        ("shop.example.com", "/", "https://shop.example.com/"),
        ("Shop.Example.com:8080", "/a/../b?x=1&y=%20", "https://shop.example.com/b?x=1&y=%20"),
        ("[::1]:8080", "/a%2Fb", "https://[::1]/a%2Fb"),
        ("shop.example.com", "//evil.example/x", "https://shop.example.com/evil.example/x"),
    ] {
        assert_eq!(sent_to(&gateway.ask(&Ask::get(target).host(host))), (308, location));
    }
    let challenge = Ask::get("/.well-known/acme-challenge/token").host("shop.example.com");
    assert_eq!(gateway.ask(&challenge).text(), "challenge", "though the host's own route is the more specific");
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("headgate_http_requests_total", &[("listener", "plain"), ("code", "308")]), 4.0);
}

#[test]
fn another_port_is_written_and_the_connection_goes_on() {
    let gateway = gateway("redirect_to_https: 8443");
    let mut client = gateway.client();
    let location = "https://test.example:8443/x";
    for method in ["GET", "HEAD", "OPTIONS", "POST"] {
        assert_eq!(sent_to(&client.ask(&Ask::new(method, "/x"))), (308, location), "{method}");
    }
    assert_eq!(sent_to(&gateway.ask(&Ask::post("/x", "body"))), (308, location), "a 308 has the body sent again");
}

#[test]
fn what_is_no_request_is_refused_and_not_sent_anywhere() {
    let gateway = gateway("redirect_to_https: true, limits: { header_bytes: 400B }");
    for (bytes, status) in [
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(400)), 431),
    ] {
        let mut client = gateway.client();
        client.write(&bytes);
        assert_eq!(sent_to(&client.answer()), (status, ""), "{bytes}");
    }
}

#[test]
fn who_came_to_a_trusted_proxy_by_https_is_served() {
    let ask = Ask::get("/").header("X-Forwarded-Proto", "https");
    let gateway_of = |listener: &str| gateway(&format!("redirect_to_https: true, {listener}"));
    assert_eq!(gateway_of("trusted_proxies: [127.0.0.1]").ask(&ask).text(), "any");
    assert_eq!(gateway_of("").ask(&ask).status, 308, "a stranger may say what it likes");
}

#[test]
fn other_listeners_serve_as_ever_and_a_reload_ends_it() {
    let text = |redirect: &str| {
        format!(
            "{ROUTES}listeners: [{{ address: 127.0.0.1:0, name: plain, redirect_to_https: {redirect} }}, \
             {{ address: 'unix:DIR/inner.sock', name: inner }}]\n"
        )
    };
    let gateway = Setup::new(&text("true")).start();
    assert_eq!(gateway.get("/").status, 308);
    assert_eq!(Client::unix(&gateway.path("inner.sock")).get("/").text(), "any");
    gateway.rewrite(&text("false"));
    assert_eq!(gateway.get("/").text(), "any");
}
