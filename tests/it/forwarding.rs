//! What an endpoint is told of the client, and what of the client's own connection it never sees.

use crate::harness::{Ask, Gateway, Origin, Recorded, list, upstream};

fn one(settings: &str, listener: &str) -> (Origin, Gateway) {
    let origin = Origin::start("a");
    let text = upstream(&list(&[&origin]), settings);
    let gateway = Gateway::start(&format!("{text}listeners: [{{ address: 127.0.0.1:0, {listener} }}]\n"));
    (origin, gateway)
}

fn seen(listener: &str, ask: &Ask) -> Recorded {
    let (origin, gateway) = one("", listener);
    assert_eq!(gateway.ask(ask).status, 200);
    origin.request()
}

#[test]
fn a_strangers_forwarding_headers_are_replaced() {
    let ask = Ask::get("/")
        .host("shop.example:8080")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Port", "1")
        .header("X-Real-IP", "203.0.113.7")
        .header("Forwarded", "for=203.0.113.7;proto=https");
    let request = seen("", &ask);
    assert_eq!(request.head.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.head.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(request.head.headers("x-forwarded-host"), ["shop.example:8080"]);
    assert_eq!(request.header("x-real-ip").unwrap_or("127.0.0.1"), "127.0.0.1");
    let forwarded = request.head.headers("forwarded").join(" ");
    assert!(forwarded.contains("for=127.0.0.1") && !forwarded.contains("203.0.113.7"), "{forwarded}");
    assert!(request.header("via").is_none());
}

#[test]
fn a_trusted_proxys_forwarding_headers_are_kept_and_extended() {
    let ask = Ask::get("/")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "shop.example")
        .header("Forwarded", "for=203.0.113.7;proto=https");
    let request = seen("trusted_proxies: [127.0.0.0/8]", &ask);
    assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(request.head.headers("x-forwarded-proto"), ["https"]);
    assert_eq!(request.head.headers("x-forwarded-host"), ["shop.example"]);
    let forwarded = request.head.headers("forwarded").join(", ");
    assert!(
        forwarded.starts_with("for=203.0.113.7;proto=https, ") && forwarded.contains("for=127.0.0.1"),
        "{forwarded}"
    );
}

#[test]
fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&format!(
        "{}listeners: [{{ address: 127.0.0.1:0, trusted_proxies: [127.0.0.1, 10.0.0.0/8] }}]\n\
         telemetry: {{ access_log: {{ path: DIR/access.log, format: combined }} }}\n",
        upstream(&list(&[&origin]), "")
    ));
    gateway.ask(&Ask::get("/").header("X-Forwarded-For", "198.51.100.1, 203.0.113.7, 10.1.2.3"));
    let line = crate::access_log::line(&gateway, 1);
    assert!(line.starts_with("203.0.113.7 "), "{line}");
}

#[test]
fn no_client_can_say_whose_certificate_it_has_shown() {
    for listener in ["", "underscores: keep", "trusted_proxies: [127.0.0.1]"] {
        let ask = Ask::get("/")
            .header("Client-Cert", ":Zm9yZ2Vk:")
            .header("Client-Cert-Chain", ":Zm9yZ2Vk:")
            .header("X-Client-Cert-Subject", "CN=root")
            .header("x-client-cert-anything", "1")
            .header("Client_Cert", ":Zm9yZ2Vk:")
            .header("X_Client-Cert_SAN", "DNS:root")
            .header("X-Client", "1");
        let request = seen(listener, &ask);
        let forged: Vec<_> =
            request.head.headers.iter().filter(|(_, value)| value.contains("Zm9y") || value.contains("root")).collect();
        assert!(forged.is_empty(), "{listener}: {forged:?}");
        assert_eq!((request.header("x-client-cert-anything"), request.header("x-client")), (None, Some("1")));
    }
}

#[test]
fn hop_by_hop_headers_stop_here() {
    let ask = Ask::get("/")
        .header("Connection", "keep-alive, X-Nominated")
        .header("X-Nominated", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("TE", "trailers")
        .header("Upgrade", "h2c")
        .header("X-Ordinary", "1");
    let request = seen("", &ask);
    for name in ["x-nominated", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("x-ordinary"), Some("1"));
}

#[test]
fn no_client_can_have_the_forwarding_headers_or_the_host_dropped() {
    for name in ["X-Forwarded-For", "Host", "Forwarded"] {
        let (origin, gateway) = one("", "");
        let answer = gateway.ask(&Ask::get("/").header("Connection", name));
        if answer.status == 200 {
            assert!(origin.request().header(name).is_some(), "{name} was dropped on demand");
        } else {
            assert_eq!((answer.status, origin.count()), (400, 0), "{name}");
        }
    }
}

#[test]
fn hop_by_hop_headers_of_an_endpoint_stop_here_too() {
    let (origin, gateway) = one("", "");
    origin.bytes(
        "HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         X-Ordinary: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = gateway.get("/");
    assert_eq!(
        (answer.header("x-inner"), answer.header("keep-alive"), answer.header("x-ordinary")),
        (None, None, Some("1"))
    );
}

#[test]
fn the_host_is_kept_or_the_endpoints_or_a_literal() {
    let host = |settings: &str| {
        let (origin, gateway) = one(settings, "");
        gateway.ask(&Ask::get("/").host("Shop.Example:8080"));
        let request = origin.request();
        assert_eq!(request.header("x-forwarded-host"), Some("Shop.Example:8080"), "{settings}");
        (request.header("host").unwrap().to_owned(), origin.address().to_string())
    };
    assert_eq!(host("").0, "Shop.Example:8080");
    let (seen, address) = host("host_header: endpoint");
    assert_eq!(seen, address);
    assert_eq!(host("host_header: internal.example").0, "internal.example");
}

#[test]
fn an_endpoint_may_have_a_host_header_of_its_own() {
    let origins = Origin::several(2);
    let endpoints =
        format!("[{{ address: '{}', host_header: special.example }}, {}]", origins[0].address(), origins[1].address());
    let gateway = Gateway::start(&upstream(&endpoints, "host_header: usual.example"));
    gateway.turns(2, &Ask::get("/"));
    let hosts: Vec<_> = origins.iter().map(|origin| origin.request().header("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, ["special.example", "usual.example"]);
}
