//! The addresses that clients connect to: added and removed by a reload, behind another balancer, and full.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::harness::{
    Answer, Ask, Client, Gateway, Load, Origin, Port, SOON, Setup, eventually, list, timed, upstream,
};

const PONG: &str = "routes:\n  - respond: { body: pong }\n";

/// The file with these listeners besides the first, whose port the system chose.
fn with(text: &str, more: &str) -> String {
    format!("{text}listeners: [{{ address: 127.0.0.1:0 }}{more}]\n")
}

fn ping(address: SocketAddr) -> Answer {
    Client::connect(address).get("/")
}

#[test]
fn a_listener_is_added_and_removed_fifty_times_under_load() {
    let origins = Origin::several(2);
    let text = upstream(&list(&[&origins[0], &origins[1]]), "");
    let gateway = Gateway::start(&with(&text, ""));
    let load = Load::start(gateway.address(), 4, &Ask::get("/"));
    let port = Port::reserve();
    let more = format!(", {{ address: '{}', name: more }}", port.address());
    for change in 0..50 {
        gateway.rewrite(&with(&text, &more));
        let mut kept = Client::connect(port.address());
        assert_eq!(kept.get("/").status, 200, "at change {change}");
        load.more(5);
        gateway.rewrite(&with(&text, ""));
        eventually("nobody accepts there", || TcpStream::connect(port.address()).is_err());
        assert!(kept.closed_within(SOON), "a connection that idles is closed with its listener");
        load.more(5);
    }
    load.stop().assert_all_ok();
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("headgate_config_reloads_total", &[("result", "success")]), 100.0);
    assert_eq!(metrics.sum("headgate_connections_total", &[("listener", "more")]), 0.0, "what is gone has no series");
}

#[test]
fn a_request_that_runs_while_its_listener_goes_is_answered_and_told_to_close() {
    let (origin, port) = (Origin::start("a"), Port::reserve());
    let text = upstream(&list(&[&origin]), "");
    let gateway = Gateway::start(&with(&text, &format!(", {{ address: '{}' }}", port.address())));
    origin.delay(Duration::from_millis(1500));
    let mut client = Client::connect(port.address());
    client.write(Ask::get("/").bytes());
    eventually("it is asked", || origin.count() == 1);
    gateway.rewrite(&with(&text, ""));
    eventually("nobody accepts there", || TcpStream::connect(port.address()).is_err());
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.closed_within(SOON));
}

#[test]
fn a_listener_on_a_socket_file_comes_and_goes_with_its_file() {
    let gateway = Gateway::start(&with(PONG, ""));
    let path = gateway.path("late.sock");
    gateway.rewrite(&with(PONG, ", { address: 'unix:DIR/late.sock' }"));
    assert_eq!(Client::unix(&path).get("/").status, 200);
    gateway.rewrite(&with(PONG, ""));
    eventually("its file is gone", || !path.exists());
    gateway.rewrite(&with(PONG, ", { address: 'unix:DIR/late.sock' }"));
    assert_eq!(Client::unix(&path).get("/").status, 200, "again");
    let mut gateway = gateway;
    gateway.signal("TERM");
    gateway.wait_exit();
    assert!(!path.exists(), "and with the process");
}

#[test]
fn an_address_that_is_taken_refuses_the_reload_and_the_old_listeners_serve_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = Port::reserve();
    let gateway = Gateway::start(&with(PONG, ""));
    let both = format!(", {{ address: '{}' }}, {{ address: '{address}' }}", port.address());
    let said = gateway.rewrite_refused(&with(PONG, &both));
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("in use"), "{said}");
    assert!(TcpStream::connect(port.address()).is_err(), "none of them is open");
    assert_eq!(ping(gateway.address()).status, 200);
    drop(taken);
    gateway.rewrite(&with(PONG, &both.replace("{ address", "{ underscores: keep, address")));
    assert_eq!((ping(port.address()).status, ping(address).status), (200, 200));
}

#[test]
fn the_status_tells_where_each_listener_really_is() {
    let gateway = Gateway::start(&with(PONG, ""));
    gateway.rewrite(&with(PONG, ", { address: 127.0.0.1:0, name: second }"));
    let status = gateway.status();
    let address: SocketAddr = status["listeners"][1]["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(status["listeners"][1]["name"], "second");
    assert_eq!(ping(address).status, 200);
    gateway.rewrite(&with(PONG, ", { address: 127.0.0.1:0, name: renamed }"));
    assert_eq!(gateway.status()["listeners"][1]["address"], address.to_string(), "a new name moves nothing");
}

/// Connects, sends these bytes and then a request, and reads to the end.
fn through(address: SocketAddr, header: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Cut in two: a header need not come in one piece.
    let (first, second) = header.split_at(header.len() / 2);
    let request = b"GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";
    for part in [first, second, request] {
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    // A connection that is reset has said nothing.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11\xc0\x00\x02\x08\x0a\x00\x00\x01\x30\x39\x00\x50\x20\x00\x02ab";

#[test]
fn a_proxy_header_names_the_client_and_only_a_trusted_proxy_may_send_one() {
    let origin = Origin::start("a");
    let text = upstream(&list(&[&origin]), "");
    let listener = |trusted: &str| {
        format!(
            "{text}listeners: [{{ address: 127.0.0.1:0, proxy_protocol: true, trusted_proxies: [{trusted}], \
             limits: {{ connections_per_ip: 1, header_timeout: 500ms }} }}]\n"
        )
    };
    let gateway = Gateway::start(&listener("127.0.0.0/8"));
    for (header, client) in [(V1, "192.0.2.7"), (V2, "192.0.2.8"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")] {
        assert!(through(gateway.address(), header).starts_with("HTTP/1.1 200"), "{client}");
        assert_eq!(origin.last().header("x-forwarded-for"), Some(client));
    }

    // The client is not trusted for being told by somebody who is.
    let ask = Ask::get("/").header("X-Forwarded-For", "6.6.6.6").bytes();
    let mut kept = Client::connect(gateway.address());
    kept.write([V1, &ask[..]].concat());
    assert_eq!(kept.answer().status, 200);
    assert_eq!(origin.last().header("x-forwarded-for"), Some("192.0.2.7"));
    // `connections_per_ip` counts the client, not the proxy.
    assert!(through(gateway.address(), V1).starts_with("HTTP/1.1 429"));
    assert!(through(gateway.address(), V2).starts_with("HTTP/1.1 200"));

    let before = origin.count();
    for bytes in [&b""[..], b"PROXY TCP4 nonsense\r\n", &V2[..20]] {
        assert_eq!(through(gateway.address(), bytes), "", "closed without a word");
    }
    let (silent, took) = timed(|| {
        let mut answer = String::new();
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(b"PROXY").unwrap();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    assert_eq!(silent.unwrap(), "");
    assert!(took.as_millis() >= 450, "{took:?}");
    gateway.rewrite(&listener("10.0.0.0/8"));
    assert_eq!(through(gateway.address(), V1), "");
    assert_eq!(origin.count(), before, "nobody else got through");
    let refused = |reason| gateway.metrics().sum("headgate_connections_refused_total", &[("reason", reason)]);
    let reasons = ["proxy_malformed", "proxy_timeout", "proxy_untrusted", "connections_per_ip"];
    assert_eq!(reasons.map(refused), [3.0, 1.0, 1.0, 1.0]);
}

#[test]
fn a_socket_file_takes_a_proxy_header_from_whoever_may_open_it() {
    let origin = Origin::start("a");
    let text = upstream(&list(&[&origin]), "");
    let listener = "listeners: [{ address: 'unix:DIR/edge.sock', proxy_protocol: true }]\n";
    let gateway = Gateway::start(&format!("{text}{listener}"));
    let mut client = Client::unix(&gateway.path("edge.sock"));
    client.write([V1, &Ask::get("/").bytes()].concat());
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.last().header("x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn beyond_the_most_connections_there_is_503_at_once() {
    let gateway = Gateway::start(&format!("{PONG}process: {{ max_connections: 2 }}\n"));
    let mut two = [gateway.client(), gateway.client()];
    two.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let mut third = gateway.client();
    let answer = third.answer();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(two[0].get("/").status, 200, "those that are in are served on");
    let [first, _second] = two;
    drop(first);
    eventually("there is room again", || {
        gateway.client().try_ask(&Ask::get("/")).is_ok_and(|answer| answer.status == 200)
    });
    let refused = gateway.metrics().sum("headgate_connections_refused_total", &[("reason", "max_connections")]);
    assert!(refused >= 1.0);
}

#[test]
fn a_file_that_needs_a_port_that_is_not_ours_is_refused_with_that_reason() {
    // Root may bind any port; whoever became `nobody` may not.
    if !fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line == "Uid:\t0\t0\t0\t0") {
        return;
    }
    let text = format!("{PONG}process: {{ user: nobody }}\n");
    let gateway = Setup::new(&with(&text, "")).start();
    let said = gateway.rewrite_refused(&with(&text, ", { address: 127.0.0.1:81 }"));
    assert!(said.contains("cannot listen on 127.0.0.1:81") && said.contains("CAP_NET_BIND_SERVICE"), "{said}");
    assert_eq!(ping(gateway.address()).status, 200);
}

#[test]
fn a_client_that_has_only_connected_holds_no_end_up() {
    let listener =
        "listeners: [{ address: 'unix:DIR/edge.sock', proxy_protocol: true, limits: { header_timeout: 1h } }]\n";
    let mut gateway = Setup::new(&format!("{PONG}{listener}process: {{ shutdown_timeout: 1h }}\n")).start();
    let path = gateway.path("edge.sock");
    let mut silent = Client::unix(&path);
    silent.write(b"PROXY");
    let mut served = Client::unix(&path);
    served.write([V1, &Ask::get("/").bytes()].concat());
    assert_eq!(served.answer().status, 200);
    gateway.signal("TERM");
    gateway.wait_exit();
    assert!(silent.closed_within(SOON));
}
