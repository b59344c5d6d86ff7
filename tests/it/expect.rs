//! `Expect: 100-continue`: who says whether a body is sent, and what becomes of it when he says nothing or no.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    thread,
    time::Duration,
};

use crate::harness::{Client, Gateway, Origin, list, upstream};

const UPLOAD: &str = "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

fn gateway(endpoints: &str) -> Gateway {
    Gateway::start(&upstream(endpoints, "timeouts: { first_byte: 500ms }, retry: { attempts: 2, methods: any }"))
}

/// An endpoint that reads a head, writes `first`, reads a line where one is sent, and closes; the heads it gets.
fn endpoint(first: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        stream.write_all(first.as_bytes()).unwrap();
        // Until the gateway has heard it, and sends the body or closes.
        let _ = reader.fill_buf();
        head
    });
    (address, serving)
}

/// The status line that comes next, and the head behind it.
fn status(client: &mut Client) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.bytes(1));
    }
    String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_endpoints_100_is_relayed_and_then_the_body_is_sent() {
    let origin = Origin::start("a");
    let gateway = gateway(&list(&[&origin]));
    let mut client = gateway.client();
    client.write(UPLOAD);
    assert_eq!(status(&mut client), 100);
    client.write("hello");
    assert_eq!(client.answer().status, 200);
    assert_eq!((origin.request().header("expect"), origin.request().text().as_str()), (Some("100-continue"), "hello"));
    // The connection goes on.
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_client_that_does_not_wait_is_served_as_well() {
    let origin = Origin::start("a");
    let gateway = gateway(&list(&[&origin]));
    let mut client = gateway.client();
    client.write(format!("{UPLOAD}hello"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.request().text(), "hello");
}

#[test]
fn a_final_answer_comes_at_once_and_the_body_is_never_asked_for() {
    let (address, serving) = endpoint("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let gateway = gateway(&format!("[{address}]"));
    let mut client = gateway.client();
    client.write(UPLOAD);
    assert_eq!(status(&mut client), 403);
    assert_eq!(client.rest(), b"no", "and the connection is closed");
    assert!(serving.join().unwrap().to_ascii_lowercase().contains("expect: 100-continue"));
    let served = |code: &str| gateway.metrics().sum("headgate_http_requests_total", &[("code", code)]);
    crate::harness::eventually("it is over and counted", || served("403") == 1.0);
}

#[test]
fn a_refused_client_is_not_asked_for_its_body() {
    let gateway = Gateway::start("routes:\n  - { path: /up, respond: { status: 401, body: 'no' } }\n");
    let mut client = gateway.client();
    client.write(UPLOAD);
    assert_eq!(status(&mut client), 401);
    assert_eq!(client.rest(), b"no");
}

#[test]
fn an_endpoint_that_says_nothing_is_what_is_late() {
    let origin = Origin::start("a");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway(&format!("[{}]", silent.local_addr().unwrap()));
    let mut client = gateway.client();
    client.write(UPLOAD);
    assert_eq!(status(&mut client), 504);
    drop((origin, silent));
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_answer_and_the_endpoint_no_expectation() {
    let origin = Origin::start("a");
    let gateway = gateway(&list(&[&origin]));
    let mut client = gateway.client();
    client.write(UPLOAD.replace("HTTP/1.1", "HTTP/1.0") + "hello");
    assert_eq!(status(&mut client), 200);
    assert_eq!((origin.request().header("expect"), origin.request().text().as_str()), (None, "hello"));
}

#[test]
fn a_client_is_told_to_go_on_once_however_many_attempts_there_are() {
    let (broken, serving) = endpoint("HTTP/1.1 100 Continue\r\n\r\n");
    let origin = Origin::start("a");
    // The first of the two is asked first.
    let endpoints = format!("[{broken}, {}]", origin.address());
    let settings = "strategy: first, retry: { attempts: 2, methods: any }";
    let gateway = Gateway::start(&upstream(&endpoints, settings));
    let mut client = gateway.client();
    client.write(UPLOAD);
    assert_eq!(status(&mut client), 100);
    client.write("hello");
    assert_eq!(status(&mut client), 200, "no second 100");
    assert!(serving.join().unwrap().to_ascii_lowercase().contains("expect: 100-continue"));
    assert_eq!((origin.request().header("expect"), origin.request().text().as_str()), (None, "hello"));
}

#[test]
fn curl_uploads_and_is_refused_as_it_expects() {
    let origin = Origin::start("a");
    let gateway = gateway(&list(&[&origin]));
    let file = gateway.path("upload");
    std::fs::write(&file, vec![b'x'; 2 << 20]).unwrap();
    let curl = |method: &str, expect100: &str| {
        let url = format!("http://{}/{method}", gateway.address());
        let output = Command::new("curl")
            .args(["-sv", "-m", "10", "--expect100-timeout", expect100, "-H", "Expect: 100-continue", "-T"])
            .arg(&file)
            .args(["-o", "/dev/null", "-w", "%{http_code} %{time_total}", &url])
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (told, log) = curl("put", "8");
    let (code, seconds) = told.split_once(' ').unwrap();
    assert!(code == "200" && seconds.parse::<f64>().unwrap() < 4.0 && log.contains("HTTP/1.1 100"), "{told} {log}");
    assert_eq!(origin.request().body.bytes.len(), 2 << 20);
    let (refused, _) = curl("%00", "8");
    assert!(refused.starts_with("400 "), "{refused}");
    assert!(Duration::from_secs_f64(refused[4..].parse().unwrap()) < Duration::from_secs(4), "{refused}");
}
