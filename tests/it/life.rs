//! Start, signals, end: exit codes, drains, and what the process does to its surroundings.

use std::{fs, io::ErrorKind, time::Duration};

use crate::harness::{Ask, Client, Gateway, NodeApp, Origin, Port, Setup, eventually, headgate, list, timed, upstream};

const PING: &str = "routes:\n  - respond: { body: pong }\n";
const AT_ONCE: Duration = Duration::from_secs(10);

/// A gateway with one request in flight that takes `ms`, and a drain of at most `drain`.
fn busy(ms: u32, drain: &str) -> (NodeApp, Gateway, Client) {
    let app = NodeApp::start("n1");
    let text = upstream(&format!("[{}]", app.address()), "");
    let gateway = Gateway::start(&format!("{text}process: {{ shutdown_timeout: {drain} }}\n"));
    let mut client = gateway.client();
    client.write(Ask::get(&format!("/slow?ms={ms}")).bytes());
    eventually("the request is in flight", || {
        gateway.metrics().sum("headgate_upstream_requests_in_flight", &[]) == 1.0
    });
    (app, gateway, client)
}

#[test]
fn sigterm_and_sigquit_let_requests_finish_and_exit_as_soon_as_they_are_done() {
    for signal in ["TERM", "QUIT"] {
        let (_app, mut gateway, mut client) = busy(1500, "1h");
        let address = gateway.address();
        gateway.signal(signal);
        eventually("the listener is closed", || Client::try_connect(address).is_err());
        let answer = client.answer();
        assert_eq!((answer.status, answer.instance()), (200, "n1"), "{signal}");
        let (status, took) = timed(|| gateway.wait_exit());
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(took < AT_ONCE, "{signal}: {took:?}");
    }
}

#[test]
fn a_drain_without_requests_ends_at_once_and_idle_connections_hold_nothing_up() {
    let mut gateway = Gateway::start(&format!("{PING}process: {{ shutdown_timeout: 1h }}\n"));
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").status, 200);
    gateway.signal("TERM");
    let (status, took) = timed(|| gateway.wait_exit());
    assert_eq!(status.code(), Some(0));
    assert!(took < AT_ONCE, "{took:?}");
    assert!(idle.closed_within(AT_ONCE));
}

#[test]
fn a_drain_ends_after_the_shutdown_timeout() {
    let (_app, mut gateway, _client) = busy(60_000, "700ms");
    gateway.signal("TERM");
    let (status, took) = timed(|| gateway.wait_exit());
    assert_eq!(status.code(), Some(0));
    assert!((Duration::from_millis(600)..AT_ONCE).contains(&took), "{took:?}");
}

#[test]
fn a_draining_gateway_is_not_ready_and_says_so() {
    let (_app, gateway, _client) = busy(60_000, "1h");
    assert_eq!(gateway.admin_get("/readyz").status, 200);
    gateway.signal("TERM");
    eventually("it is not ready", || gateway.admin_get("/readyz").status == 503);
    assert_eq!(gateway.admin_get("/healthz").status, 200);
}

#[test]
fn ctrl_c_ends_at_once_and_is_no_error() {
    let (_app, mut gateway, _client) = busy(60_000, "1h");
    gateway.signal("INT");
    let (status, took) = timed(|| gateway.wait_exit());
    assert_eq!(status.code(), Some(0));
    assert!(took < AT_ONCE, "{took:?}");
    assert!(!gateway.log().contains(" ERROR "), "{}", gateway.log());
}

#[test]
fn a_second_signal_ends_at_once() {
    let (_app, mut gateway, _client) = busy(60_000, "1h");
    let address = gateway.address();
    gateway.signal("TERM");
    eventually("it drains", || Client::try_connect(address).is_err());
    assert!(gateway.exit_within(Duration::from_millis(300)).is_none(), "the drain did not wait");
    gateway.signal("TERM");
    let (_, took) = timed(|| gateway.wait_exit());
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn sigint_ends_at_once() {
    let (_app, mut gateway, _client) = busy(60_000, "1h");
    gateway.signal("INT");
    let (_, took) = timed(|| gateway.wait_exit());
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn an_address_in_use_is_an_error_that_names_it_and_exit_1() {
    let port = Port::reserve();
    let _taken = port.listen();
    let mut gateway = Setup::new(&format!("{PING}listeners: [{{ address: '{}' }}]\n", port.address())).spawn();
    assert_eq!(gateway.wait_exit().code(), Some(1));
    gateway.logged(&port.address().to_string());

    let mut gateway = Setup::new(&format!("{PING}admin: {{ address: '{}' }}\n", port.address())).spawn();
    assert_eq!(gateway.wait_exit().code(), Some(1));
    gateway.logged(&port.address().to_string());
}

#[test]
fn a_bad_file_is_exit_2_with_its_problems() {
    let mut gateway = Setup::new("rutes: []\n").spawn();
    assert_eq!(gateway.wait_exit().code(), Some(2));
    gateway.logged("rutes");
}

#[test]
fn bad_usage_is_exit_2() {
    for arguments in [&["run", "--nonsense"][..], &["fly"], &["run", "-c", "/nowhere/gateway.yaml"]] {
        assert_eq!(headgate(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(soft.min(1024), hard).unwrap();
    let gateway = Gateway::start(PING);
    rlimit::Resource::NOFILE.set(soft, hard).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let values: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(values[0], values[1], "{line}");
}

#[test]
fn the_pid_file_names_the_process_and_goes_with_it() {
    let mut gateway = Gateway::start(&format!("{PING}process: {{ pid_file: DIR/headgate.pid }}\n"));
    let written = fs::read_to_string(gateway.path("headgate.pid")).unwrap();
    assert_eq!(written.trim(), gateway.pid().to_string());
    gateway.signal("TERM");
    gateway.wait_exit();
    assert!(!gateway.path("headgate.pid").exists());
}

#[test]
fn the_pid_file_of_a_successor_is_left_alone() {
    let mut gateway = Gateway::start(&format!("{PING}process: {{ pid_file: DIR/headgate.pid }}\n"));
    fs::write(gateway.path("headgate.pid"), "1\n").unwrap();
    gateway.signal("TERM");
    gateway.wait_exit();
    assert_eq!(fs::read_to_string(gateway.path("headgate.pid")).unwrap(), "1\n");
}

#[test]
fn threads_are_as_many_as_written() {
    let count = |threads: &str| {
        let gateway = Gateway::start(&format!("{PING}process: {{ threads: {threads} }}\n"));
        assert_eq!(gateway.get("/").status, 200);
        fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap().count()
    };
    assert_eq!(count("8"), count("2") + 6);
}

#[test]
fn a_listener_on_a_unix_socket_serves_and_leaves_nothing_behind() {
    let mut gateway = Gateway::start(&format!("{PING}listeners: [{{ address: 'unix:DIR/edge.sock' }}]\n"));
    let socket = gateway.path("edge.sock");
    eventually("the socket is there", || socket.exists());
    assert_eq!(Client::unix(&socket).get("/").text(), "pong");
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn an_endpoint_on_a_unix_socket_answers() {
    let directory = tempfile::TempDir::new().unwrap();
    let socket = directory.path().join("app.sock");
    let _app = NodeApp::listen("n1", socket.to_str().unwrap());
    let health = "health_check: { http: /healthz, interval: 150ms, fall: 1 }";
    let gateway = Gateway::start(&upstream(&format!("['unix:{}']", socket.display()), health));
    assert_eq!(gateway.get("/").instance(), "n1");
    eventually("probes pass", || {
        gateway.metrics().sum("headgate_upstream_health_checks_total", &[("result", "passed")]) > 1.0
    });
    assert_eq!(gateway.metrics().sum("headgate_upstream_endpoint_up", &[]), 1.0);
}

#[test]
fn the_admin_listener_asks_for_its_token() {
    let text = format!("{PING}admin: {{ address: 127.0.0.1:0, token: '${{TOKEN}}' }}\n");
    let gateway = Setup::new(&text).env("TOKEN", "open-sesame-1234").start();
    let ask = |target: &str, token: Option<&str>| {
        let ask = Ask::get(target).host("127.0.0.1");
        let ask = token.into_iter().fold(ask, |ask, token| ask.header("Authorization", &format!("Bearer {token}")));
        Client::connect(gateway.admin()).ask(&ask).status
    };
    for target in ["/metrics", "/status"] {
        assert_eq!((ask(target, None), ask(target, Some("wrong"))), (401, 401), "{target}");
        assert_eq!(ask(target, Some("open-sesame-1234")), 200, "{target}");
    }
    assert_eq!((ask("/healthz", None), ask("/readyz", None)), (200, 200));
    assert!(!gateway.log().contains("open-sesame"), "a secret was printed");
}

#[test]
fn an_admin_listener_for_others_needs_a_token() {
    let output = Setup::new(&format!("{PING}admin: {{ address: 0.0.0.0:0 }}\n")).command(&["check"]);
    assert_eq!(output.code, Some(2));
    assert!(format!("{}{}", output.stdout, output.stderr).contains("token"), "{output:?}");
}

#[test]
fn the_log_is_text_or_json_of_the_level_that_is_written() {
    let gateway = Gateway::start(&format!("{PING}telemetry: {{ log: {{ level: debug, format: json }} }}\n"));
    let line = gateway.logged("listening on");
    let parsed: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(parsed.to_string().to_lowercase().contains("info"), "{line}");

    let mut quiet = Setup::new(&format!("{PING}telemetry: {{ log: {{ level: error }} }}\n")).spawn();
    assert!(quiet.exit_within(Duration::from_secs(1)).is_none());
    assert!(!quiet.log().contains("listening"), "{}", quiet.log());
}

#[test]
fn the_demo_needs_nothing_else() {
    let port = Port::reserve();
    let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
    // The demo opens its endpoints itself, so their ports are given back just before.
    let endpoints: Vec<_> = ports.iter().map(|port| port.address().to_string()).collect();
    let listeners = format!("listeners: [{{ address: '{}' }}]\n", port.address());
    let text = format!("{}{listeners}", upstream(&format!("[{}]", endpoints.join(", ")), ""));
    drop((port, ports));
    let gateway = Setup::new(&text).demo();
    let answered = (0..3).map(|_| gateway.get("/").text()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(answered.len(), 3, "{answered:?}");
}

#[test]
fn a_user_that_does_not_exist_is_an_error_that_names_it() {
    let mut gateway = Setup::new(&format!("{PING}process: {{ user: nobody-of-that-name }}\n")).spawn();
    let code = gateway.wait_exit().code();
    assert!(matches!(code, Some(1 | 2)), "{code:?}");
    gateway.logged("nobody-of-that-name");
}

#[test]
fn the_process_becomes_the_user_that_is_written() {
    // Only root can become somebody else.
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        eprintln!("skipped: this needs root");
        return;
    }
    let text = format!(
        "{PING}process: {{ user: nobody }}\nlisteners: [{{ address: 127.0.0.1:0 }}, {{ address: 'unix:DIR/edge.sock' }}]\n"
    );
    let gateway = Gateway::start(&text);
    let socket = fs::metadata(gateway.path("edge.sock")).unwrap();
    assert_ne!(std::os::unix::fs::MetadataExt::uid(&socket), 0, "its group could not connect");
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let uids = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(uids.split_whitespace().skip(1).all(|uid| uid != "0"), "{uids}");
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_connection_to_a_gateway_that_ended_is_refused() {
    let origin = Origin::start("a");
    let mut gateway = Gateway::start(&upstream(&list(&[&origin]), ""));
    let address = gateway.address();
    gateway.signal("TERM");
    gateway.wait_exit();
    assert_eq!(Client::try_connect(address).err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
}
