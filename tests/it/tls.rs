//! TLS to clients: which certificate for which name, renewals, tickets, and what the application is told.

use std::{
    fs,
    io::{self, Read},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use crate::harness::{
    Ask, Authority, Certified, Client, Gateway, Load, Origin, SOON, Setup, Trust, eventually, list, openssl, pem, rsa,
    s_client, timed, upstream,
};

const PONG: &str = "routes:\n  - respond: { body: pong }\n";

/// A file whose only listener has these certificates (`[..]`) and settings besides.
fn yaml(routes: &str, certificates: &str, tls: &str, listener: &str) -> String {
    let tls = format!("tls: {{ certificates: {certificates}, {tls} }}");
    format!("{routes}listeners: [{{ address: 127.0.0.1:0, name: https, {listener} {tls} }}]\n")
}

/// An entry of `certificates`, with settings besides.
fn entry(name: &str, more: &str) -> String {
    format!("{{ certificate: {name}.crt, key: {name}.key, {more} }}")
}

/// The files that an entry names.
fn with(setup: Setup, name: &str, certified: &Certified) -> Setup {
    setup.file(&format!("{name}.crt"), &certified.certificate).file(&format!("{name}.key"), &certified.key)
}

/// A gateway that has a certificate for `shop.example`, and who has signed it.
fn shop(routes: &str, tls: &str, listener: &str) -> (Authority, Gateway) {
    let authority = Authority::new();
    let setup = Setup::new(&yaml(routes, &format!("[{}]", entry("shop", "")), tls, listener));
    let gateway = with(setup, "shop", &authority.issue(&["shop.example"])).start();
    (authority, gateway)
}

/// Writes a file beside the gateway's as a renewal does: whole, by a rename.
fn renew(gateway: &Gateway, name: &str, content: &str) {
    let next = gateway.path("renewed.tmp");
    fs::write(&next, content).unwrap();
    fs::rename(next, gateway.path(name)).unwrap();
}

fn get(host: &str) -> Ask {
    Ask::get("/").host(host)
}

#[test]
fn a_name_has_the_certificate_that_is_for_it_and_the_first_is_for_every_other() {
    let authority = Authority::new();
    let shop = authority.issue(&["shop.example", "www.shop.example"]);
    let any = authority.issue(&["*.shop.example"]);
    let certificates = format!("[{}, {}]", entry("shop", ""), entry("any", ""));
    let setup = with(Setup::new(&yaml(PONG, &certificates, "", "")), "shop", &shop);
    let gateway = with(setup, "any", &any).start();
    let shown = |name: &str| pem(&s_client(gateway.address(), name, &[]));
    for (name, certified) in [
        ("shop.example", &shop),
        ("SHOP.example", &shop),
        ("www.shop.example", &shop),
        ("new.shop.example", &any),
        ("a.new.shop.example", &shop),
        ("other.example", &shop),
    ] {
        assert_eq!(shown(name), pem(&certified.certificate), "{name}");
    }
    let unnamed = s_client(gateway.address(), "", &[]);
    assert_eq!(pem(&unnamed), pem(&shop.certificate), "{unnamed}");
    assert_eq!(Client::tls(gateway.address(), &Trust::new(&authority, "new.shop.example")).get("/").text(), "pong");
}

#[test]
fn a_client_gets_the_certificate_of_the_kind_that_it_can_verify() {
    let (authority, other) = (Authority::new(), rsa("shop.example"));
    let certified = authority.issue(&["shop.example"]);
    for order in [["rsa", "ecdsa"], ["ecdsa", "rsa"]] {
        let certificates = format!("[{}, {}]", entry(order[0], ""), entry(order[1], ""));
        let setup = with(Setup::new(&yaml(PONG, &certificates, "", "")), "rsa", &other);
        let gateway = with(setup, "ecdsa", &certified).start();
        for (arguments, expected) in [
            (&["-tls1_3"][..], &certified),
            (&["-tls1_2"], &certified),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], &other),
            (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], &other),
        ] {
            let said = s_client(gateway.address(), "shop.example", arguments);
            assert_eq!(pem(&said), pem(&expected.certificate), "{arguments:?}: {said}");
            assert!(said.contains("pong"), "{said}");
        }
    }
}

#[test]
fn the_least_version_is_the_listeners_or_a_names_own() {
    let authority = Authority::new();
    let certificates = format!("[{}, {}]", entry("shop", ""), entry("strict", "min_version: \"1.3\""));
    let setup = with(Setup::new(&yaml(PONG, &certificates, "", "")), "shop", &authority.issue(&["shop.example"]));
    let gateway = with(setup, "strict", &authority.issue(&["strict.example"])).start();
    let speaks = |gateway: &Gateway, name: &str, version: &str| {
        s_client(gateway.address(), name, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]).contains("pong")
    };
    assert!(speaks(&gateway, "shop.example", "-tls1_2") && speaks(&gateway, "shop.example", "-tls1_3"));
    assert!(!speaks(&gateway, "strict.example", "-tls1_2") && speaks(&gateway, "strict.example", "-tls1_3"));
    assert!(!speaks(&gateway, "shop.example", "-tls1_1"), "RFC 8996");
    let metrics = gateway.metrics();
    let handshakes = |version: &str| metrics.sum("headgate_tls_handshakes_total", &[("version", version)]);
    assert_eq!((handshakes("1.2"), handshakes("1.3")), (1.0, 2.0));
    gateway.counts("headgate_tls_handshake_failures_total", &[("reason", "incompatible")], 2.0);
    let (_, gateway) = shop(PONG, "min_version: 1.3", "");
    assert!(!speaks(&gateway, "shop.example", "-tls1_2") && speaks(&gateway, "shop.example", "-tls1_3"));
}

#[test]
fn a_connection_in_tls_is_said_to_be_one_everywhere() {
    let origin = Origin::start("a");
    let routes = format!(
        "upstreams:\n  node: {{ endpoints: {} }}\nroutes:\n  - {{ path: /to, redirect: {{ to: '{{scheme}}://{{host}}/x' }} }}\n  \
         - upstream: node\n    sticky: {{ cookie: srv }}\n    plugins: [{{ headers: {{ response: {{ set: {{ \
         strict-transport-security: max-age=31536000 }} }} }} }}]\n",
        list(&[&origin])
    );
    let (authority, gateway) = shop(&routes, "", "");
    let mut client = Client::tls(gateway.address(), &Trust::new(&authority, "shop.example"));
    let ask = get("shop.example").header("X-Forwarded-Proto", "http").header("X-Forwarded-Ssl", "off");
    let answer = client.ask(&ask);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{answer:?}");
    let request = origin.last();
    assert_eq!((request.header("x-forwarded-proto"), request.header("x-forwarded-ssl")), (Some("https"), None));
    assert!(request.header("forwarded").unwrap().ends_with(";proto=https"), "{request:?}");
    let to = client.ask(&Ask::get("/to").host("shop.example"));
    assert_eq!(to.header("location"), Some("https://shop.example/x"));
}

/// Certificates for `shop.example`, which asks nobody, for `maybe.example`, which asks, and for `admin.example`, which wants
/// one; and an application behind them.
struct Mutual {
    authority: Authority,
    clients: Authority,
    origin: Origin,
    gateway: Gateway,
}

impl Mutual {
    fn new() -> Mutual {
        let (authority, clients, origin) = (Authority::new(), Authority::new(), Origin::start("a"));
        let certificates = format!(
            "[{}, {}, {}]",
            entry("shop", ""),
            entry("admin", "client_auth: { ca: clients.crt }"),
            entry("maybe", "client_auth: { ca: clients.crt, mode: request }")
        );
        let mut setup = Setup::new(&yaml(&upstream(&list(&[&origin]), ""), &certificates, "", ""));
        for name in ["shop", "admin", "maybe"] {
            setup = with(setup, name, &authority.issue(&[&format!("{name}.example")]));
        }
        let gateway = setup.file("clients.crt", &clients.certificate()).start();
        Mutual { authority, clients, origin, gateway }
    }

    fn showing(&self, name: &str, shown: &Certified) -> Trust {
        Trust::showing(&self.authority, name, shown)
    }

    /// The status of a request for `host` over a connection of its own; none where there was no answer.
    fn status(&self, trust: &Trust, host: &str) -> Option<u16> {
        let answer = Client::try_tls(self.gateway.address(), trust).and_then(|mut client| client.try_ask(&get(host)));
        answer.ok().map(|answer| answer.status)
    }
}

#[test]
fn who_has_to_show_a_certificate_does_by_name() {
    let case = Mutual::new();
    let (own, foreign) = (case.clients.issue(&["ann.example"]), case.authority.issue(&["eve.example"]));
    let expired = case.clients.issue_expired(&["old.example"]);
    for (name, shown, status) in [
        ("shop.example", None, Some(200)),
        ("shop.example", Some(&foreign), Some(200)),
        ("admin.example", None, None),
        ("admin.example", Some(&own), Some(200)),
        ("admin.example", Some(&foreign), None),
        ("admin.example", Some(&expired), None),
        ("maybe.example", None, Some(200)),
        ("maybe.example", Some(&own), Some(200)),
        ("maybe.example", Some(&foreign), None),
    ] {
        let trust = match shown {
            Some(shown) => case.showing(name, shown),
            None => Trust::new(&case.authority, name),
        };
        assert_eq!(case.status(&trust, name), status, "{name}");
    }
    case.gateway.counts("headgate_tls_handshake_failures_total", &[("reason", "client_certificate")], 4.0);
}

#[test]
fn a_listener_may_want_a_certificate_for_every_name() {
    let (authority, clients) = (Authority::new(), Authority::new());
    for (mode, without) in [("require", None), ("request", Some(200))] {
        let auth = format!("client_auth: {{ ca: clients.crt, mode: {mode} }}");
        let setup = Setup::new(&yaml(PONG, &format!("[{}]", entry("shop", "")), &auth, ""));
        let setup = with(setup, "shop", &authority.issue(&["shop.example"]));
        let gateway = setup.file("clients.crt", &clients.certificate()).start();
        let status = |trust: &Trust| {
            let client = Client::try_tls(gateway.address(), trust);
            client.and_then(|mut client| client.try_ask(&get("shop.example"))).ok().map(|answer| answer.status)
        };
        assert_eq!(status(&Trust::new(&authority, "shop.example")), without, "{mode}");
        let own = clients.issue(&["ann.example"]);
        assert_eq!(status(&Trust::showing(&authority, "shop.example", &own)), Some(200), "{mode}");
    }
}

#[test]
fn a_host_that_is_verified_otherwise_needs_a_connection_of_its_own() {
    let case = Mutual::new();
    let own = case.clients.issue(&["ann.example"]);
    let plain = Trust::new(&case.authority, "shop.example");
    for host in ["admin.example", "ADMIN.example:443", "admin.example.", "maybe.example"] {
        let mut client = Client::tls(case.gateway.address(), &plain);
        assert_eq!(client.ask(&get(host)).status, 421, "{host}");
        assert!(client.closed_within(SOON), "{host}");
    }
    assert_eq!(case.status(&case.showing("admin.example", &own), "shop.example"), Some(421), "nor the other way");
    assert_eq!(case.status(&case.showing("admin.example", &own), "maybe.example"), Some(421));
    assert_eq!(case.status(&plain, "unknown.example"), Some(200), "what no certificate is for is the first's");
    // RFC 6066 section 3: a session belongs to the name that it began under.
    let mut first = Client::tls(case.gateway.address(), &plain);
    assert_eq!(first.ask(&get("shop.example")).status, 200);
    let mut again = Client::tls(case.gateway.address(), &plain);
    assert!(again.resumed());
    assert_eq!(again.ask(&get("admin.example")).status, 421);
    assert_eq!(case.origin.requests().iter().filter(|seen| seen.header("host") == Some("admin.example")).count(), 0);
    assert_eq!(case.gateway.metrics().sum("headgate_http_requests_total", &[("code", "421")]), 7.0);
}

#[test]
fn the_application_is_told_whose_certificate_was_shown_and_by_nobody_else() {
    let case = Mutual::new();
    let own = case.clients.issue(&["ann.example", "bob.example"]);
    let forged = |name: &str| {
        let ask = get(name).header("Client-Cert", ":Zm9yZ2Vk:").header("X-Client-Cert-Subject", "CN=root");
        ask.header("X-Client-Cert-San", "DNS:root").header("Client-Cert-Chain", ":Zm9yZ2Vk:")
    };
    let told = |trust: &Trust, name: &str| {
        let mut client = Client::tls(case.gateway.address(), trust);
        assert_eq!(client.ask(&forged(name)).status, 200);
        (case.origin.last(), client.resumed())
    };
    let identity = ["client-cert", "x-client-cert-subject", "x-client-cert-san", "x-client-cert-serial"];
    for (trust, name) in [
        (Trust::new(&case.authority, "shop.example"), "shop.example"),
        (case.showing("shop.example", &own), "shop.example"),
        (Trust::new(&case.authority, "maybe.example"), "maybe.example"),
    ] {
        let (request, _) = told(&trust, name);
        for header in identity {
            assert_eq!(request.header(header), None, "{name} {header}");
        }
    }
    let trust = case.showing("admin.example", &own);
    let whole = format!(":{}:", pem(&own.certificate).unwrap());
    // And the same of a session that is resumed, with which no certificate is shown.
    for resumes in [false, true] {
        let (request, resumed) = told(&trust, "admin.example");
        assert_eq!(resumed, resumes);
        assert_eq!(request.head.headers("client-cert"), [whole.as_str()], "RFC 9440");
        assert_eq!(request.head.headers("x-client-cert-san"), ["DNS:ann.example, DNS:bob.example"]);
        assert!(request.header("x-client-cert-subject").unwrap().starts_with("CN=rcgen"), "{request:?}");
        assert_eq!(request.header("x-client-cert-fingerprint").map(str::len), Some(64));
        assert!(request.header("x-client-cert-serial").is_some());
        assert_eq!(request.header("client-cert-chain"), None);
    }
}

#[test]
fn another_authority_ends_what_the_one_before_had_signed() {
    let case = Mutual::new();
    let own = case.clients.issue(&["ann.example"]);
    let trust = case.showing("admin.example", &own);
    let mut kept = Client::tls(case.gateway.address(), &trust);
    assert_eq!(kept.ask(&get("admin.example")).status, 200);
    let before = case.gateway.generation();
    renew(&case.gateway, "clients.crt", &Authority::new().certificate());
    case.gateway.wait_for_generation_after(before);
    assert_eq!(kept.ask(&get("admin.example")).status, 421, "a connection that was kept");
    assert_eq!(case.status(&trust, "admin.example"), None, "a ticket");
}

/// Asks openssl for a session and then to resume it, and says whether it was.
fn resumes(gateway: &Gateway, version: &str, from: (usize, &str), to: (usize, &str), between: impl FnOnce()) -> bool {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("session");
    let file = path.to_str().unwrap();
    let first = s_client(gateway.listener(from.0), from.1, &[version, "-sess_out", file]);
    assert!(first.contains("New, TLSv1") && path.exists(), "{first}");
    between();
    let second = s_client(gateway.listener(to.0), to.1, &[version, "-sess_in", file]);
    assert!(second.contains("pong"), "{second}");
    second.contains("Reused, TLSv1")
}

#[test]
fn a_ticket_resumes_a_session_where_clients_are_verified_alike_and_nowhere_else() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let certificates = |auth: &str| {
        let asks = entry("asks", &format!("client_auth: {{ ca: clients.crt, mode: {auth} }}"));
        format!("[{}, {}, {asks}]", entry("shop", ""), entry("blog", ""))
    };
    let text = |routes: &str, auth: &str| {
        let one = format!("tls: {{ certificates: {} }}", certificates(auth));
        let other = format!("tls: {{ certificates: [{}] }}", entry("shop", ""));
        format!(
            "{routes}listeners: [{{ address: 127.0.0.1:0, name: one, {one} }}, {{ address: 127.0.0.1:0, name: other, \
             {other} }}]\n"
        )
    };
    let mut setup = Setup::new(&text(PONG, "request"));
    for name in ["shop", "blog", "asks"] {
        setup = with(setup, name, &authority.issue(&[&format!("{name}.example")]));
    }
    let gateway = setup.file("clients.crt", &clients.certificate()).start();
    let nothing = || ();
    for version in ["-tls1_2", "-tls1_3"] {
        let shop = (0, "shop.example");
        assert!(resumes(&gateway, version, shop, shop, nothing), "{version}");
        assert!(!resumes(&gateway, version, shop, (0, "asks.example"), nothing), "{version}: to a name that asks");
        assert!(!resumes(&gateway, version, (0, "asks.example"), shop, nothing), "{version}: to one that doesn't");
        assert!(!resumes(&gateway, version, shop, (1, "shop.example"), nothing), "{version}: to another listener");
        let other_routes = || gateway.rewrite(&text(&PONG.replace("- respond", "- path: /\n    respond"), "request"));
        assert!(resumes(&gateway, version, shop, shop, other_routes), "{version}: over a reload");
        let renewal = || {
            let before = gateway.generation();
            renew(&gateway, "shop.key", &authority.issue(&["shop.example"]).key);
            let certified = authority.issue(&["shop.example"]);
            renew(&gateway, "shop.crt", &certified.certificate);
            renew(&gateway, "shop.key", &certified.key);
            gateway.wait_for_generation_after(before);
        };
        assert!(resumes(&gateway, version, shop, shop, renewal), "{version}: over a renewal");
        gateway.rewrite(&text(PONG, "request"));
    }
    // One that has to show a certificate from now on doesn't come in with what it had before.
    let asks = (0, "asks.example");
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("session");
    let file = path.to_str().unwrap();
    assert!(s_client(gateway.listener(asks.0), asks.1, &["-sess_out", file]).contains("pong"));
    gateway.rewrite(&text(PONG, "require"));
    assert!(!s_client(gateway.listener(asks.0), asks.1, &["-sess_in", file]).contains("pong"));
}

#[test]
fn a_staple_is_sent_to_who_asks_for_it() {
    let authority = Authority::new();
    let certificates = format!("[{}, {}]", entry("shop", "ocsp: shop.ocsp"), entry("bare", ""));
    let certified = rsa("shop.example");
    let directory = tempfile::TempDir::new().unwrap();
    fs::write(directory.path().join("c"), &certified.certificate).unwrap();
    fs::write(directory.path().join("k"), &certified.key).unwrap();
    fs::write(directory.path().join("index"), "").unwrap();
    let sign = ["ocsp", "-index", "index", "-CA", "c", "-rsigner", "c", "-rkey", "k", "-issuer", "c", "-cert", "c"];
    openssl(directory.path(), &[&sign[..], &["-ndays", "7", "-respout", "staple"]].concat());
    let setup = with(Setup::new(&yaml(PONG, &certificates, "", "")), "shop", &certified);
    let setup = with(setup, "bare", &authority.issue(&["bare.example"]));
    fs::copy(directory.path().join("staple"), setup.path().with_file_name("shop.ocsp")).unwrap();
    let gateway = setup.start();
    let said = s_client(gateway.address(), "shop.example", &["-status"]);
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    let said = s_client(gateway.address(), "bare.example", &["-status"]);
    assert!(said.contains("OCSP response: no response sent"), "{said}");
}

#[test]
fn a_broken_file_keeps_the_certificate_that_was_and_says_so() {
    let (authority, gateway) = shop(PONG, "", "");
    let trust = Trust::new(&authority, "shop.example");
    let shown = || Client::tls(gateway.address(), &trust).certificate();
    let first = shown();
    let next = authority.issue(&["shop.example"]);
    for (file, content, says) in [
        ("shop.crt", "no certificate", "certificate"),
        ("shop.crt", &next.certificate, "key is not that of the certificate"),
    ] {
        let seen = gateway.log().len();
        renew(&gateway, file, content);
        eventually("it is said", || {
            let said = gateway.log()[seen..].to_owned();
            said.contains("reload refused") && said.contains(says)
        });
        assert_eq!(shown(), first);
    }
    assert_eq!(gateway.metrics().sum("headgate_config_last_reload_success", &[]), 0.0);
    renew(&gateway, "shop.key", &next.key);
    eventually("the new one is shown", || shown() == next.der().0[0].to_vec());
    assert_eq!(gateway.metrics().sum("headgate_config_last_reload_success", &[]), 1.0);
}

#[test]
fn a_certificate_is_renewed_fifty_times_under_load() {
    let origin = Origin::start("a");
    let (authority, gateway) = shop(&upstream(&list(&[&origin]), ""), "", "");
    let trust = Trust::new(&authority, "shop.example");
    let load = Load::start((gateway.address(), &trust), 2, &get("shop.example"));
    // Every request a connection of its own: each makes a handshake, or resumes.
    let closing = Load::start((gateway.address(), &trust), 2, &get("shop.example").header("Connection", "close"));
    let ca = gateway.path("ca.crt");
    fs::write(&ca, authority.certificate()).unwrap();
    let mut kept = Client::tls(gateway.address(), &trust);
    for renewal in 1..=50 {
        let next = authority.issue(&["shop.example"]);
        renew(&gateway, "shop.key", &next.key);
        renew(&gateway, "shop.crt", &next.certificate);
        let der = next.der().0[0].to_vec();
        // A resumed session has the certificate that it began with: this one begins anew.
        let fresh = || Client::tls(gateway.address(), &Trust::new(&authority, "shop.example")).certificate();
        eventually("the new one is shown", || fresh() == der);
        if renewal % 10 == 0 {
            let said = s_client(gateway.address(), "shop.example", &[]);
            assert_eq!(pem(&said), pem(&next.certificate), "{said}");
            let to = format!("shop.example:443:{}", gateway.address());
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-v", "--max-time", "20", "--http1.1", "--connect-to", &to, "--cacert"]);
            let output = curl.arg(&ca).args(["-w", "%{http_code}", "https://shop.example/"]).output().unwrap();
            assert!(output.stdout.ends_with(b"200"), "{}", String::from_utf8_lossy(&output.stderr));
        }
        load.more(2);
        closing.more(2);
        assert_eq!(kept.ask(&get("shop.example")).status, 200, "no connection was ended");
    }
    load.stop().assert_all_ok();
    closing.stop().assert_all_ok();
}

#[test]
fn a_renewal_by_another_link_is_seen_as_certbot_makes_it() {
    let authority = Authority::new();
    let certificates = "[{ certificate: live/fullchain.pem, key: live/privkey.pem }]";
    let mut setup = Setup::new(&yaml(PONG, certificates, "", "")).file("live/README", "");
    let versions = [authority.issue(&["shop.example"]), authority.issue(&["shop.example"])];
    for (number, version) in versions.iter().enumerate() {
        setup = setup.file(&format!("archive/fullchain{number}.pem"), &version.certificate);
        setup = setup.file(&format!("archive/privkey{number}.pem"), &version.key);
    }
    let live = setup.path().with_file_name("live");
    let point = |number: usize| {
        for file in ["privkey", "fullchain"] {
            let (link, next) = (live.join(format!("{file}.pem")), live.join("next"));
            std::os::unix::fs::symlink(format!("../archive/{file}{number}.pem"), &next).unwrap();
            fs::rename(next, link).unwrap();
        }
    };
    point(0);
    let gateway = setup.start();
    let shown = || Client::tls(gateway.address(), &Trust::new(&authority, "shop.example")).certificate();
    assert_eq!(shown(), versions[0].der().0[0].to_vec());
    point(1);
    eventually("the new one is shown", || shown() == versions[1].der().0[0].to_vec());
}

#[test]
fn when_certificates_end_is_a_metric_that_goes_with_them() {
    let (authority, gateway) = shop(PONG, "", "");
    let ends = |name: &str| gateway.metrics().sum("headgate_tls_certificate_not_after_seconds", &[("name", name)]);
    assert!(ends("shop.example") > 1.7e9);
    let next = authority.issue_expired(&["old.example"]);
    renew(&gateway, "shop.key", &next.key);
    renew(&gateway, "shop.crt", &next.certificate);
    eventually("it is the new one's", || ends("old.example") == 1_609_459_200.0 && ends("shop.example") == 0.0);
    gateway.logged("has expired");
}

#[test]
fn http_without_tls_is_told_so() {
    let (authority, gateway) = shop(PONG, "", "");
    let answer = gateway.get("/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("TLS"), "{}", answer.text());
    let mut client = gateway.client();
    client.write("\0\0nonsense");
    assert!(client.rest().is_empty());
    for reason in ["plain_http", "malformed"] {
        gateway.counts("headgate_tls_handshake_failures_total", &[("reason", reason)], 1.0);
    }
    assert_eq!(Client::tls(gateway.address(), &Trust::new(&authority, "shop.example")).get("/").status, 200);
}

#[test]
fn a_handshake_has_its_time_in_all() {
    let (_, gateway) = shop(PONG, "", "limits: { handshake_timeout: 300ms },");
    for begins in [&b""[..], &[22, 3, 1, 1, 0, 1, 0, 0, 252][..]] {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        io::Write::write_all(&mut stream, begins).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let (read, took) = timed(|| stream.read_to_end(&mut Vec::new()));
        assert!(took >= Duration::from_millis(250) && took < SOON, "{read:?} after {took:?}");
    }
    let timeouts = || gateway.metrics().sum("headgate_tls_handshake_failures_total", &[("reason", "timeout")]);
    eventually("both are counted", || timeouts() == 2.0);
}

#[test]
fn connections_of_one_address_are_bounded_before_their_handshake() {
    let (authority, gateway) = shop(PONG, "", "limits: { connections_per_ip: 1 },");
    let trust = Trust::new(&authority, "shop.example");
    let mut first = Client::tls(gateway.address(), &trust);
    assert_eq!(first.get("/").status, 200);
    assert!(Client::try_tls(gateway.address(), &trust).is_err(), "no second one");
    drop(first);
    eventually("it has room again", || Client::try_tls(gateway.address(), &trust).is_ok());
}

#[test]
fn a_balancer_may_name_the_client_before_the_handshake() {
    let origin = Origin::start("a");
    let listener = "proxy_protocol: true, trusted_proxies: [127.0.0.1],";
    let (authority, gateway) = shop(&upstream(&list(&[&origin]), ""), "", listener);
    let mut client = gateway.client();
    client.write("PROXY TCP4 203.0.113.7 10.0.0.1 5 443\r\n");
    let mut client = client.secured(&Trust::new(&authority, "shop.example")).unwrap();
    assert_eq!(client.ask(&get("shop.example")).status, 200);
    let request = origin.last();
    assert_eq!(
        (request.header("x-forwarded-for"), request.header("x-forwarded-proto")),
        (Some("203.0.113.7"), Some("https"))
    );
}

#[test]
fn a_listener_that_begins_to_speak_tls_serves_no_kept_plain_connection() {
    let authority = Authority::new();
    let plain = format!("{PONG}listeners: [{{ address: 127.0.0.1:0, name: https }}]\n");
    let gateway = with(Setup::new(&plain), "shop", &authority.issue(&["shop.example"])).start();
    let mut kept = gateway.client();
    assert_eq!(kept.get("/").status, 200);
    let auth = entry("shop", "client_auth: { ca: shop.crt }");
    gateway.rewrite(&yaml(PONG, &format!("[{auth}]"), "", ""));
    let answer = kept.try_ask(&Ask::get("/"));
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 421));
}

#[test]
fn tls_1_2_is_spoken_as_well() {
    let (authority, gateway) = shop(PONG, "", "");
    let mut client = Client::tls(gateway.address(), &Trust::old(&authority, "shop.example"));
    assert_eq!(client.get("/").text(), "pong");
    let mut again = Client::tls(gateway.address(), &Trust::old(&authority, "shop.example"));
    assert_eq!(again.get("/").text(), "pong");
}
