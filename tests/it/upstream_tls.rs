//! TLS to endpoints: whom the gateway trusts, what it shows, and what becomes of a request whose endpoint is not who it should be.

use std::{fs, path::Path, process::Command};

use crate::harness::{Authority, Gateway, Origin, Setup, TlsFront, eventually, upstream};

/// An endpoint in TLS, and a file beside the gateway's with whom to trust.
fn trusting(authority: &Authority, endpoints: &str, settings: &str) -> Gateway {
    let yaml = upstream(endpoints, settings);
    Setup::new(&yaml).file("ca.crt", &authority.certificate()).start()
}

#[test]
fn an_endpoint_is_spoken_to_in_tls_and_verified_by_its_name_or_address() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    let front = TlsFront::start(&origin, &authority.issue(&["localhost", "127.0.0.1"]));
    let port = front.address().port();
    for (endpoint, sni) in [(format!("localhost:{port}"), Some("localhost")), (format!("127.0.0.1:{port}"), None)] {
        let gateway = trusting(&authority, &format!("['{endpoint}']"), "tls: { ca: ca.crt }");
        assert_eq!(gateway.get("/").text(), "a");
        let handshake = front.handshakes().pop().unwrap();
        assert_eq!((handshake.sni.as_deref(), handshake.alpn.as_deref()), (sni, Some("http/1.1")));
        assert_eq!(origin.last().header("x-forwarded-proto"), Some("http"), "the client's own scheme");
    }
}

#[test]
fn a_server_name_is_asked_for_instead_of_the_endpoints_own() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    let front = TlsFront::start(&origin, &authority.issue(&["app.internal"]));
    let endpoints = format!("[{}]", front.address());
    let gateway = trusting(&authority, &endpoints, "tls: { ca: ca.crt, server_name: app.internal }");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(front.handshakes()[0].sni.as_deref(), Some("app.internal"));
}

#[test]
fn an_endpoint_that_is_not_who_it_should_be_is_502_and_the_log_says_why() {
    let (authority, stranger, origin) = (Authority::new(), Authority::new(), Origin::start("a"));
    for (certified, why) in [
        (stranger.issue(&["127.0.0.1"]), "UnknownIssuer"),
        (authority.issue_expired(&["127.0.0.1"]), "xpired"),
        (authority.issue(&["other.internal", "127.0.0.2"]), "not valid for name"),
    ] {
        let front = TlsFront::start(&origin, &certified);
        let gateway = Setup::new(&format!(
            "telemetry: {{ access_log: {{ path: DIR/access.log, format: json }} }}\n{}",
            upstream(&format!("[{}]", front.address()), "tls: { ca: ca.crt }")
        ))
        .file("ca.crt", &authority.certificate())
        .start();
        let answer = gateway.get("/");
        assert_eq!(answer.status, 502);
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
        let said = gateway.logged("502 tls_error");
        assert!(said.contains(why), "{said}");
        eventually("the access log has it", || {
            fs::read_to_string(gateway.path("access.log")).is_ok_and(|log| log.contains("\"tls_error\""))
        });
        assert_eq!(gateway.metrics().sum("headgate_upstream_requests_total", &[("code", "connect_error")]), 1.0);
    }
    assert_eq!(origin.count(), 0, "nothing was sent to anybody");
}

#[test]
fn a_request_goes_to_another_endpoint_when_one_has_a_wrong_certificate_and_that_one_is_ejected() {
    let (authority, origins) = (Authority::new(), Origin::several(2));
    let wrong = TlsFront::start(&origins[0], &authority.issue_expired(&["127.0.0.1"]));
    let right = TlsFront::start(&origins[1], &authority.issue(&["127.0.0.1"]));
    let endpoints = format!("[{}, {}]", wrong.address(), right.address());
    let gateway =
        trusting(&authority, &endpoints, "tls: { ca: ca.crt }, outlier: { consecutive_errors: 2, eject_for: 1h }");
    for _ in 0..6 {
        assert_eq!(gateway.get("/").text(), "b");
    }
    assert_eq!(wrong.handshakes().len(), 2, "set aside after two");
    assert_eq!(gateway.metrics().sum("headgate_upstream_ejections_total", &[]), 1.0);
}

#[test]
fn an_endpoint_that_asks_for_a_certificate_gets_the_one_that_is_written() {
    let (authority, clients, origin) = (Authority::new(), Authority::new(), Origin::start("a"));
    let certified = authority.issue(&["127.0.0.1"]);
    let front = TlsFront::asking(&origin, &certified, &[], Some(&clients.certificate()));
    let ours = clients.issue(&["gateway"]);
    let endpoints = format!("[{}]", front.address());
    let setup = |settings: &str| {
        let files = Setup::new(&upstream(&endpoints, settings)).file("ca.crt", &authority.certificate());
        files.file("client.crt", &ours.certificate).file("client.key", &ours.key)
    };
    let with = setup("tls: { ca: ca.crt, certificate: client.crt, key: client.key }").start();
    assert_eq!(with.get("/").text(), "a");
    assert_eq!(front.handshakes()[0].client.as_deref(), Some(&*ours.der().0[0]));
    let without = setup("tls: { ca: ca.crt }").start();
    assert_eq!(without.get("/").status, 502);
}

#[test]
fn a_key_may_be_of_every_kind_that_openssl_writes() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    let files = tempfile::tempdir().unwrap();
    for make in
        ["openssl genrsa -traditional 2048", "openssl genrsa 2048", "openssl ecparam -genkey -noout -name prime256v1"]
    {
        let sign = "openssl req -x509 -key client.key -subj /CN=client -days 2 -out client.crt -addext basicConstraints=critical,CA:FALSE";
        let made = Command::new("sh")
            .args(["-c", &format!("{make} > client.key && {sign}")])
            .current_dir(&files)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let read = |name: &str| fs::read_to_string(files.path().join(name)).unwrap();
        // Trusted by itself.
        let front = TlsFront::asking(&origin, &authority.issue(&["127.0.0.1"]), &[], Some(&read("client.crt")));
        let yaml = upstream(
            &format!("[{}]", front.address()),
            "tls: { ca: ca.crt, certificate: client.crt, key: client.key }",
        );
        let setup = Setup::new(&yaml).file("ca.crt", &authority.certificate());
        let gateway = setup.file("client.crt", &read("client.crt")).file("client.key", &read("client.key")).start();
        assert_eq!(gateway.get("/").text(), "a", "{make}: {:?}", front.handshakes());
    }
}

#[test]
fn a_change_of_whom_to_trust_takes_no_old_connection_and_other_changes_keep_them() {
    let (authority, stranger, origin) = (Authority::new(), Authority::new(), Origin::start("a"));
    let front = TlsFront::start(&origin, &authority.issue(&["127.0.0.1"]));
    let text =
        |settings: &str| upstream(&format!("[{}]", front.address()), &format!("tls: {{ ca: ca.crt }}{settings}"));
    let gateway = Setup::new(&text("")).file("ca.crt", &authority.certificate()).start();
    assert_eq!(gateway.get("/").status, 200);
    gateway.rewrite(&text(", slow_start: 1s"));
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(front.handshakes().len(), 1, "its connection was kept");

    // The file is watched; a rename replaces it as a tool would.
    let replace = |certificate: &str| {
        let before = gateway.generation();
        fs::write(gateway.path("ca.new"), certificate).unwrap();
        fs::rename(gateway.path("ca.new"), gateway.path("ca.crt")).unwrap();
        before
    };
    gateway.wait_for_generation_after(replace(&stranger.certificate()));
    assert_eq!(gateway.get("/").status, 502, "trusted no more, and no kept connection hides it");
    gateway.wait_for_generation_after(replace(&authority.certificate()));
    assert_eq!(gateway.get("/").status, 200);

    let before = replace("broken");
    gateway.logged("reload refused:");
    gateway.logged("ca.crt");
    assert_eq!((gateway.generation(), gateway.get("/").status), (before, 200), "the old one goes on");
}

#[test]
fn without_verification_everybody_is_trusted_and_that_is_said() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    let front = TlsFront::start(&origin, &authority.issue_expired(&["other.internal"]));
    let yaml = upstream(&format!("[{}]", front.address()), "tls: { verify: false }");
    let system = tempfile::NamedTempFile::new().unwrap();
    fs::write(system.path(), authority.certificate()).unwrap();
    let gateway = Setup::new(&yaml).system_certificates(system.path()).start();
    assert_eq!(gateway.get("/").text(), "a");
    gateway.logged("are not verified");
}

#[test]
fn the_certificates_of_the_system_are_trusted_where_no_others_are_named() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    let front = TlsFront::start(&origin, &authority.issue(&["127.0.0.1"]));
    let system = tempfile::NamedTempFile::new().unwrap();
    fs::write(system.path(), authority.certificate()).unwrap();
    let yaml =
        upstream(&format!("[{}]", front.address()), "tls: true, health_check: { http: /healthz, interval: 50ms }");
    let gateway = Setup::new(&yaml).system_certificates(system.path()).start();
    assert_eq!(gateway.get("/").status, 200);
    eventually("it is probed in TLS", || origin.probes() > 0);
}

#[test]
fn a_system_without_certificates_starts_and_refuses_only_who_needs_them() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    let front = TlsFront::start(&origin, &authority.issue(&["127.0.0.1"]));
    let endpoints = format!("[{}]", front.address());
    for nothing in ["/nonexistent/ca.pem", "/dev/null"] {
        let needs =
            Setup::new(&upstream(&endpoints, "tls: true")).system_certificates(Path::new(nothing)).command(&["check"]);
        assert_eq!(needs.code, Some(2), "{needs:?}");
        assert!(needs.stderr.contains("gateway.yaml:2:") && needs.stderr.contains("`tls: { ca: FILE }`"), "{needs:?}");
        let own = upstream(&endpoints, "tls: { ca: ca.crt }, health_check: { tcp: true }");
        let own =
            Setup::new(&own).system_certificates(Path::new(nothing)).file("ca.crt", &authority.certificate()).start();
        assert_eq!(own.get("/").text(), "a");
    }
}

#[test]
fn a_probe_trusts_whom_requests_trust() {
    let (authority, origin) = (Authority::new(), Origin::start("a"));
    for check in ["http: /healthz", "tcp: true"] {
        let front = TlsFront::start(&origin, &authority.issue_expired(&["127.0.0.1"]));
        let settings = format!("tls: {{ ca: ca.crt }}, health_check: {{ {check}, interval: 50ms, fall: 1 }}");
        let gateway = trusting(&authority, &format!("[{}]", front.address()), &settings);
        let said = gateway.logged("is down:");
        assert!(said.contains("xpired"), "{said}");
    }
}

#[test]
fn an_endpoint_on_a_unix_socket_needs_a_name_for_its_certificate() {
    let output = Setup::new(&upstream("[unix:/run/app.sock]", "tls: { ca: ca.crt }"))
        .file("ca.crt", &Authority::new().certificate())
        .command(&["check"]);
    assert!(output.stderr.contains("no name that a certificate could have"), "{output:?}");
    assert!(output.stderr.contains("server_name"), "{output:?}");
}
