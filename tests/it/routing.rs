//! Which route takes a request, end to end; the rules themselves are held by the router's own tests.

use crate::harness::{Ask, Gateway, Load, Origin, eventually, list};

fn routes(routes: &str) -> Gateway {
    Gateway::start(&format!("routes:\n{routes}"))
}

#[track_caller]
fn says(gateway: &Gateway, ask: &Ask, body: &str) {
    assert_eq!(gateway.ask(ask).text(), body, "{ask:?}");
}

#[test]
fn the_most_specific_host_wins_whatever_its_case_port_and_trailing_dot() {
    let gateway = routes(
        "  - respond: { body: any }
  - { host: '*.example.com', respond: { body: wildcard } }
  - { host: [shop.example.com, store.example.com], respond: { body: exact } }\n",
    );
    for (host, body) in [
        ("shop.example.com", "exact"),
        ("STORE.Example.COM.:8080", "exact"),
        ("other.example.com", "wildcard"),
        ("example.com", "any"),
        ("127.0.0.1", "any"),
    ] {
        says(&gateway, &Ask::get("/").host(host), body);
    }
}

#[test]
fn an_exact_path_wins_over_the_longest_prefix_and_that_over_a_regex() {
    let gateway = routes(
        "  - { path_regex: '/a.*', respond: { body: regex } }
  - { path_prefix: /api, respond: { body: prefix } }
  - { path_prefix: /api/deep/, respond: { body: deep } }
  - { path: /api/exact, respond: { body: exact } }\n",
    );
    for (path, body) in [
        ("/api", "prefix"),
        ("/api/", "prefix"),
        ("/api/x?y", "prefix"),
        ("/apix", "regex"),
        ("/api/deep", "deep"),
        ("/api/deep/x", "deep"),
        ("/api/exact", "exact"),
        ("/api/./deep/../exact", "exact"),
    ] {
        says(&gateway, &Ask::get(path), body);
    }
    assert_eq!(gateway.get("/b/a").status, 404, "a regex is anchored");
}

#[test]
fn methods_headers_and_query_narrow_a_route() {
    let gateway = routes(
        "  - { respond: { body: any } }
  - { methods: [POST, PUT], respond: { body: method } }
  - { headers: { x-beta: '1' }, respond: { body: header } }
  - { query: { preview: 'yes please' }, respond: { body: query } }\n",
    );
    says(&gateway, &Ask::get("/"), "any");
    says(&gateway, &Ask::post("/", ""), "method");
    says(&gateway, &Ask::get("/").header("X-Beta", "1"), "header");
    says(&gateway, &Ask::get("/").header("X-Beta", "2"), "any");
    says(&gateway, &Ask::get("/?a=b&preview=yes%20please"), "query");
    says(&gateway, &Ask::get("/?preview=no"), "any");
}

#[test]
fn a_route_may_belong_to_one_listener() {
    let gateway = Gateway::start(
        "listeners: [{ address: 127.0.0.1:0, name: public }, { address: 127.0.0.1:0, name: private }]
routes:
  - respond: { body: any }
  - { listener: private, respond: { body: private } }\n",
    );
    for (index, body) in [(0, "any"), (1, "private")] {
        assert_eq!(crate::harness::Client::connect(gateway.listener(index)).get("/").text(), body);
    }
    let counted = |listener| gateway.metrics().sum("headgate_http_requests_total", &[("listener", listener)]);
    eventually("each counts its own", || (counted("public"), counted("private")) == (1.0, 1.0));
}

#[test]
fn no_route_is_404() {
    let gateway = routes("  - { path: /x, respond: { body: x } }\n");
    assert_eq!(gateway.get("/").status, 404);
    eventually("it is counted", || gateway.metrics().sum("headgate_http_requests_total", &[("code", "404")]) == 1.0);
}

#[test]
fn a_canary_gets_its_share() {
    let (old, new) = (Origin::start("old"), Origin::start("new"));
    let gateway = Gateway::start(&format!(
        "upstreams: {{ v1: {{ endpoints: {} }}, v2: {{ endpoints: {} }} }}\n\
         routes:\n  - upstreams: [{{ name: v1, weight: 90 }}, {{ name: v2, weight: 10 }}]\n",
        list(&[&old]),
        list(&[&new])
    ));
    let tally = Load::run(gateway.address(), 4, 1000, &Ask::get("/"));
    tally.assert_all_ok();
    // 100 of 1000 are expected; the bounds are more than five standard deviations away if chance decides.
    assert!((50..150).contains(&tally.of("new")), "{tally:?}");
}

#[test]
fn a_redirect_knows_what_was_asked() {
    let gateway = routes(
        "  - { host: old.example.com, redirect: { to: 'https://shop.example.com{uri}' } }
  - { path: /parts, redirect: { to: '{scheme}://{host}/new{path}{query}', status: 302 } }\n",
    );
    let answer = gateway.ask(&Ask::get("/a/b?c=d").host("old.example.com"));
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://shop.example.com/a/b?c=d")));
    let answer = gateway.ask(&Ask::get("/parts?x").host("h.example"));
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://h.example/new/parts?x")));
}

#[test]
fn a_response_of_ours_keeps_the_connection() {
    let gateway = routes("  - { path: /ping, respond: { body: pong } }\n  - { respond: { status: 204 } }\n");
    let mut client = gateway.client();
    for _ in 0..3 {
        let answer = client.get("/ping");
        assert_eq!((answer.status, answer.text().as_str()), (200, "pong"));
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
        assert_eq!(client.ask(&Ask::new("HEAD", "/ping")).header("content-length"), Some("4"));
        assert_eq!(client.get("/").status, 204);
        assert!(client.reusable());
    }
}

#[test]
fn plugins_act_on_the_request_and_on_the_response() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&format!(
        "upstreams: {{ node: {{ endpoints: {} }} }}
routes:
  - upstream: node
    plugins:
      - request_id
      - headers:
          request: {{ set: {{ x-edge: headgate }}, add: {{ x-more: two }}, remove: [x-secret] }}
          response: {{ set: {{ x-frame-options: DENY }}, add: {{ vary: origin }}, remove: [x-instance] }}\n",
        list(&[&origin])
    ));
    let answer =
        gateway.ask(&Ask::get("/").header("X-Secret", "1").header("X-Request-Id", "forged").header("X-More", "one"));
    let request = origin.last();
    assert_eq!((request.header("x-edge"), request.header("x-secret")), (Some("headgate"), None));
    assert_eq!(request.head.headers("x-more"), ["one", "two"]);
    assert_eq!((answer.header("x-frame-options"), answer.header("x-instance")), (Some("DENY"), None));
    assert_eq!(answer.header("vary"), Some("origin"));
    let id = request.header("x-request-id").unwrap();
    assert!(id != "forged" && answer.header("x-request-id") == Some(id), "{answer:?}");
}

#[test]
fn a_request_id_has_the_name_and_the_trust_that_are_written() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&format!(
        "upstreams: {{ node: {{ endpoints: {} }} }}
routes:
  - {{ upstream: node, plugins: [request_id: {{ header: x-trace, trust: true }}] }}\n",
        list(&[&origin])
    ));
    let answer = gateway.ask(&Ask::get("/").header("X-Trace", "abc-123"));
    assert_eq!((origin.last().header("x-trace"), answer.header("x-trace")), (Some("abc-123"), Some("abc-123")));
    gateway.get("/");
    assert!(origin.last().header("x-trace").is_some_and(|id| id.len() > 10));
}

#[test]
fn a_routes_name_is_its_label() {
    let gateway = routes(
        "  - { name: health, path: /ping, respond: { body: pong } }
  - { host: shop.example, path_prefix: /account, respond: { body: account } }\n",
    );
    gateway.get("/ping");
    gateway.ask(&Ask::get("/account/1").host("shop.example"));
    let counted = |route| gateway.metrics().sum("headgate_http_requests_total", &[("route", route)]);
    eventually("each counts its own", || (counted("health"), counted("shop.example/account")) == (1.0, 1.0));
}

#[test]
fn a_redirect_to_the_host_asked_for_needs_one() {
    let gateway = Gateway::start("routes: [{ redirect: { to: 'https://{host}{uri}' } }]");
    assert_eq!(gateway.get("/a").header("location"), Some("https://test.example/a"));
    let mut client = gateway.client();
    client.write(b"GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 400);
}
