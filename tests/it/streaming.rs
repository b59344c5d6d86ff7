//! Bodies that never end or never fit: events, WebSockets, large transfers, and the memory that they take.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::harness::{Ask, Client, Gateway, NodeApp, Origin, eventually, list, timed, upstream};

const MIB: u64 = 1 << 20;

/// What goes each way in the memory tests; the environment asks for more where there is time.
fn large() -> u64 {
    std::env::var("HEADGATE_TEST_LARGE_MIB").map_or(256, |mib| mib.parse().unwrap()) * MIB
}

fn app(settings: &str) -> (NodeApp, Gateway) {
    let app = NodeApp::start("n1");
    let gateway = Gateway::start(&upstream(&format!("[{}]", app.address()), settings));
    (app, gateway)
}

#[test]
fn server_sent_events_come_one_by_one_as_they_are_sent() {
    let (_app, gateway) = app("");
    let mut client = gateway.client();
    client.write(Ask::get("/stream?ms=300&count=4").header("Accept-Encoding", "gzip").bytes());
    let head = client.head();
    assert!(head.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
    let first = String::from_utf8(client.chunk().unwrap().unwrap()).unwrap();
    let (others, took) = timed(|| client.rest_of_chunks());
    assert!(first.starts_with("data: n1 1\n\n"), "{first}");
    let expected: String = (1..=4).map(|event| format!("data: n1 {event}\n\n")).collect();
    assert_eq!(first + &others, expected);
    assert!(took >= Duration::from_millis(300), "the events came in a lump: {took:?}");
}

#[test]
fn a_piece_of_a_response_passes_before_the_next_is_there() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&upstream(&list(&[&origin]), ""));
    origin.script(|_, wire| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        // Nothing more until the client, which has seen the first piece, leaves.
        io::copy(wire, &mut io::sink())?;
        Ok(false)
    });
    let mut client = gateway.client();
    client.write(Ask::get("/").bytes());
    client.head();
    assert_eq!(client.chunk().unwrap().unwrap(), b"first");
}

/// A frame of a client: final, masked with zeros, shorter than 126 bytes.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn upgrade(path: &str) -> Ask {
    Ask::get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

pub(crate) fn web_socket(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.write(upgrade("/ws").bytes());
    let head = client.head();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(head.head.has_token("upgrade", "websocket") && head.head.has_token("connection", "upgrade"));
    client
}

fn echo(client: &mut Client, text: &str) {
    client.write(frame(1, text.as_bytes()));
    let expected = format!("n1: {text}");
    let head = client.bytes(2);
    assert_eq!(head, [0x81, expected.len() as u8]);
    assert_eq!(client.bytes(expected.len()), expected.as_bytes());
}

#[test]
fn a_web_socket_echoes_until_it_is_closed() {
    let (_app, gateway) = app("");
    let mut client = web_socket(&gateway);
    for text in ["hello", "", "again"] {
        echo(&mut client, text);
    }
    client.write(frame(8, &1000_u16.to_be_bytes()));
    assert_eq!(client.bytes(4), [0x88, 2, 3, 0xe8]);
    assert!(client.rest().is_empty());
    let counted = |code| gateway.metrics().sum("headgate_http_requests_total", &[("code", code)]);
    eventually("it is counted as 101", || counted("101") == 1.0);
}

#[test]
fn a_web_socket_outlives_the_idle_timeout_and_ends_at_its_own() {
    let (_app, gateway) = app("timeouts: { idle: 200ms, first_byte: 200ms, request: 300ms, upgrade_idle: 3s }");
    let mut client = web_socket(&gateway);
    echo(&mut client, "one");
    assert!(!client.input_within(Duration::from_millis(700)), "cut by a timeout that is not its own");
    echo(&mut client, "two");
    let (closed, took) = timed(|| client.closed_within(Duration::from_secs(15)));
    assert!(closed && took >= Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_web_socket_goes_on_through_a_reload() {
    let (app, gateway) = app("");
    let mut client = web_socket(&gateway);
    echo(&mut client, "before");
    gateway.rewrite(&upstream(&format!("[{}]", app.address()), "strategy: least_conn"));
    echo(&mut client, "after");
    assert_eq!(gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]), 1.0);
}

#[test]
fn an_upgrade_to_anything_else_is_stripped_and_counted() {
    let origin = Origin::start("a");
    let gateway = Gateway::start(&upstream(&list(&[&origin]), ""));
    for other in ["h2c", "TLS/1.0", "foo", "websocket, h2c"] {
        let answer = gateway.ask(&Ask::get("/").header("Connection", "Upgrade").header("Upgrade", other));
        assert_eq!(answer.status, 200, "{other}");
        assert_eq!(origin.last().header("upgrade"), None, "{other}");
    }
    assert_eq!(gateway.metrics().sum("headgate_http_foreign_upgrades_total", &[]), 4.0);
}

#[test]
fn large_bodies_pass_in_flat_memory() {
    let (_app, gateway) = app("");
    // What an ordinary request and a moderate body need is no growth.
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    transfer(&mut client, 8 * MIB);
    let before = gateway.memory_kib("VmHWM");
    transfer(&mut client, large());
    let grown = gateway.memory_kib("VmHWM") - before;
    eprintln!("{} MiB each way: peak RSS {} KiB, grown by {grown} KiB", large() / MIB, before + grown);
    assert!(grown < 32 * 1024, "grown by {grown} KiB");
}

/// Uploads and downloads this many bytes.
fn transfer(client: &mut Client, bytes: u64) {
    client.write(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"));
    let block = vec![b'x'; MIB as usize];
    for _ in 0..bytes / MIB {
        client.write(&block);
    }
    assert_eq!(client.answer().text(), bytes.to_string());
    client.write(Ask::get(&format!("/download?bytes={bytes}")).bytes());
    let head = client.head();
    assert_eq!(head.header("content-length"), Some(bytes.to_string().as_str()));
    client.drain(bytes);
}

#[test]
fn a_client_that_does_not_read_holds_no_memory() {
    let (_app, gateway) = app("");
    gateway.get("/");
    let before = gateway.memory_kib("VmHWM");
    let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.write(Ask::get("/download?bytes=1073741824").bytes());
        assert_eq!(client.head().status, 200);
    }
    // Nobody reads; what the kernel's buffers take is all that flows.
    let mut last = 0.0;
    eventually("the flow stands still", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = gateway.memory_kib("VmRSS") as f64;
        std::mem::replace(&mut last, now) == now
    });
    let grown = gateway.memory_kib("VmHWM") - before;
    assert!(grown < 16 * 1024, "grown by {grown} KiB");
}

#[test]
fn ten_thousand_idle_connections_take_little_memory() {
    // Half of the limit is the test's own: it holds the other ends.
    let (_, most) = rlimit::Resource::NOFILE.get().unwrap();
    let count = most.saturating_sub(500).min(10_000) as usize;
    rlimit::Resource::NOFILE.set(most, most).unwrap();
    let limits = "listeners: [{ address: 127.0.0.1:0, limits: { idle_timeout: 1h } }]";
    let gateway = Gateway::start(&format!("routes:\n  - respond: {{ body: pong }}\n{limits}\n"));
    gateway.get("/");
    let before = gateway.memory_kib("VmRSS");
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = gateway.client();
        assert_eq!(client.get("/").status, 200);
        held.push(client);
    }
    assert_eq!(gateway.metrics().sum("headgate_connections_active", &[]), count as f64);
    let grown = gateway.memory_kib("VmRSS") - before;
    eprintln!("{count} idle connections: {grown} KiB, {} KiB each", grown / count as u64);
    assert!(grown / count as u64 <= 16, "{} KiB each", grown / count as u64);
    // They are alive, all of them.
    assert!(held.iter_mut().step_by(500).all(|client| client.get("/").status == 200));
}
