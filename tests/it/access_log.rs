//! One line a request, in three formats.

use std::fs;

use crate::harness::{Ask, Browser, Gateway, Origin, Redis, SECRET, eventually_some, list, upstream};

/// The `number`th line of `access.log`, counted from 1, when it is there.
pub(crate) fn line(gateway: &Gateway, number: usize) -> String {
    line_of(gateway, "access.log", number)
}

fn line_of(gateway: &Gateway, file: &str, number: usize) -> String {
    eventually_some("the line is written", || {
        let text = fs::read_to_string(gateway.path(file)).ok()?;
        text.split_inclusive('\n').nth(number - 1)?.strip_suffix('\n').map(str::to_owned)
    })
}

fn logging(format: &str) -> (Origin, Gateway) {
    let origin = Origin::start("a");
    let log = format!("telemetry: {{ access_log: {{ path: DIR/access.log, format: {format} }} }}\n");
    let gateway = Gateway::start(&format!("{}{log}", upstream(&list(&[&origin]), "")));
    (origin, gateway)
}

#[test]
fn a_json_line_says_what_was_asked_and_what_came_of_it() {
    let (origin, gateway) = logging("json");
    gateway.ask(&Ask::post("/x/../a?b=c", "12345").header("User-Agent", "probe \"1\"").header("Referer", "r"));
    let line: serde_json::Value = serde_json::from_str(&line(&gateway, 1)).unwrap();
    let text = line.to_string();
    for part in ["POST", "200", "127.0.0.1", "test.example", "node", &origin.address().to_string(), "probe"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert_eq!(line["status"], 200);
}

#[test]
fn a_line_tells_how_the_session_stands_and_never_its_id() {
    const ID: &str = "an-id-that-nobody-must-read";
    let (origin, redis) = (Origin::start("a"), Redis::start());
    let cookie = redis.plant(ID, "ann");
    let gateway = Gateway::start(&format!(
        "
cookies: {{ secrets: ['{SECRET}'] }}
sessions:
  web: {{ cookie: connect.sid, format: express, secrets: ['{SECRET}'], store: '{}', when_store_down: deny }}
upstreams:
  node: {{ endpoints: [{}] }}
routes:
  - {{ upstream: node, sticky: {{ cookie: srv, session: web }}, session: {{ source: web, require: true }} }}
telemetry: {{ access_log: {{ path: DIR/access.log, format: json }} }}
",
        redis.url(),
        origin.address()
    ));
    let mut browser = Browser::new(gateway.address()).with(&cookie);
    eventually_some("the store answers", || (browser.get("/").status == 200).then_some(()));
    browser.get("/");
    let mut stranger = Browser::new(gateway.address());
    stranger.get("/");
    stranger.set_cookie("connect.sid", &format!("s%3A{ID}.forged"));
    stranger.get("/");

    let text = eventually_some("the last line is written", || {
        let text = fs::read_to_string(gateway.path("access.log")).ok()?;
        text.contains("bad_signature").then_some(text)
    });
    assert!(!text.contains(ID), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lines: Vec<_> = lines.filter(|line| line["session"] != "error").collect();
    let told = |key: &str| lines.iter().map(|line| line[key].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>();
    assert_eq!(told("session"), ["live", "cached", "absent", "bad_signature"]);
    assert_eq!(told("sticky"), ["new", "kept", "-", "-"]);
    let hashes = told("session_hash");
    assert!(hashes[0].len() == 8 && hashes[0].chars().all(|digit| digit.is_ascii_hexdigit()), "{hashes:?}");
    assert_eq!((&hashes[1], &hashes[2], &hashes[3]), (&hashes[0], &"-".to_owned(), &"-".to_owned()));
}

#[test]
fn a_combined_line_is_what_log_readers_know() {
    let (_origin, gateway) = logging("combined");
    gateway.ask(&Ask::get("/a?b=c").header("User-Agent", "probe").header("Referer", "http://r.example/"));
    let line = line(&gateway, 1);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with("] \"GET /a?b=c HTTP/1.1\" 200 1 \"http://r.example/\" \"probe\""), "{line}");
}

#[test]
fn a_template_is_filled_in() {
    let (_origin, gateway) = logging("'{method} {status} <{route}>'");
    gateway.get("/");
    let line = line(&gateway, 1);
    assert!(line.starts_with("GET 200 <") && line.ends_with('>'), "{line}");
}

#[test]
fn a_client_cannot_write_a_line_of_its_own() {
    let (_origin, gateway) = logging("combined");
    gateway.ask(&Ask::get("/").header("User-Agent", "x\" 200 1\t\\"));
    gateway.get("/second");
    let line = line(&gateway, 1);
    assert!(!line.chars().any(|letter| letter.is_control()), "{line:?}");
    assert!(self::line(&gateway, 2).contains("/second"));
}

#[test]
fn a_failure_says_its_reason_and_a_client_that_left_is_499() {
    let (origin, gateway) = logging("json");
    origin.hang();
    let mut client = gateway.client();
    client.write(Ask::get("/").bytes());
    crate::harness::eventually("the request is on its way", || origin.count() == 1);
    drop(client);
    let line: serde_json::Value = serde_json::from_str(&line(&gateway, 1)).unwrap();
    assert_eq!(line["status"], 499, "{line}");
}

#[test]
fn what_we_refuse_is_logged_too() {
    let (_origin, gateway) = logging("combined");
    assert_eq!(gateway.get("/a/../../b").status, 400);
    assert!(line(&gateway, 1).contains(" 400 "));
}

#[test]
fn sigusr1_reopens_the_file() {
    let (_origin, gateway) = logging("combined");
    gateway.get("/one");
    line(&gateway, 1);
    fs::rename(gateway.path("access.log"), gateway.path("access.log.1")).unwrap();
    gateway.signal("USR1");
    crate::harness::eventually("the file is there again", || gateway.path("access.log").exists());
    gateway.get("/two");
    assert!(line(&gateway, 1).contains("/two"));
    assert!(line_of(&gateway, "access.log.1", 1).contains("/one"));
}

#[test]
fn standard_output_is_a_place_for_it() {
    let origin = Origin::start("a");
    let log = "telemetry: { access_log: { path: '-', format: combined } }\n";
    let gateway = Gateway::start(&format!("{}{log}", upstream(&list(&[&origin]), "")));
    gateway.get("/to-stdout");
    gateway.logged("GET /to-stdout HTTP/1.1");
}

#[test]
fn a_disk_that_is_full_costs_lines_and_no_request() {
    let origin = Origin::start("a");
    let log = "telemetry: { access_log: { path: /dev/full, format: combined } }\n";
    let gateway = Gateway::start(&format!("{}{log}", upstream(&list(&[&origin]), "")));
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }
    crate::harness::eventually("the lost lines are counted", || {
        gateway.metrics().sum("headgate_access_log_dropped_lines_total", &[]) > 0.0
    });
}
