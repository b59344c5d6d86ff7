//! What is shipped for a newcomer does what it says: the file at the root with its demo endpoints, and the examples that
//! need no application.

use std::{collections::BTreeSet, fs, process::Command};

use crate::harness::{Ask, Browser, Client, Gateway, Origin, Port, Setup, list, root};

/// Runs a shipped file with demo endpoints, on ports of its own.
fn demo(file: &str) -> Gateway {
    let ports: Vec<_> = (0..3).map(|_| Port::reserve()).collect();
    let mut text = fs::read_to_string(root().join(file)).unwrap().replace("0.0.0.0:8080", "127.0.0.1:0");
    for (port, shipped) in ports.iter().zip([3001, 3002, 3003]) {
        text = text.replace(&format!("127.0.0.1:{shipped}"), &port.address().to_string());
    }
    // The demo opens its endpoints itself.
    drop(ports);
    Setup::new(&text).demo()
}

#[test]
fn a_session_of_the_demo_stays_where_it_began_and_opens_what_is_closed_without_one() {
    let gateway = demo("gateway.yaml");
    let mut browser = Browser::new(gateway.address());
    let endpoints: BTreeSet<_> = (0..3).map(|_| browser.get("/").text()).collect();
    assert_eq!(endpoints.len(), 3, "without a session they take turns: {endpoints:?}");
    assert_eq!(browser.get("/account").status, 401);
    let home = browser.get("/login").text().lines().next().unwrap().to_owned();
    for _ in 0..4 {
        assert_eq!(browser.get("/").text().trim_end(), home);
    }
    let account = browser.get("/account");
    assert_eq!((account.status, account.text().lines().next()), (200, Some(home.as_str())));
    let old = Ask::get("/account").header("Cookie", &format!("sid={}", browser.cookie("sid").unwrap()));
    assert_eq!(browser.get("/logout").status, 200);
    assert_eq!(Client::connect(gateway.address()).ask(&old).status, 401, "it is over for whoever has kept it, too");
    let endpoints: BTreeSet<_> = (0..3).map(|_| browser.get("/").text()).collect();
    assert_eq!(endpoints.len(), 3, "{endpoints:?}");
}

#[test]
fn a_token_of_the_jwt_example_tells_the_application_whose_it_is() {
    let gateway = demo("examples/jwt/gateway.yaml");
    let token = |arguments: &[&str]| {
        let made =
            Command::new("node").arg("token.js").args(arguments).current_dir(root().join("examples/jwt")).output();
        format!("Bearer {}", String::from_utf8(made.unwrap().stdout).unwrap().trim_end())
    };
    let ask = |token: &str| {
        let ask = Ask::get("/orders").header("X-User", "root").header("Authorization", token);
        Client::connect(gateway.address()).ask(&ask)
    };
    let answer = ask(&token(&["bob"]));
    let told: Vec<_> = answer.text().lines().filter(|line| line.starts_with("x-user")).map(str::to_owned).collect();
    assert_eq!((answer.status, told), (200, vec!["x-user: bob".to_owned()]));
    assert_eq!(ask(&token(&["bob", "-1"])).status, 401, "it has expired");
    assert_eq!(ask("Bearer a.b.c").status, 401);
}

#[test]
fn the_https_example_asks_who_it_is_at_one_of_its_names() {
    let example = root().join("examples/https");
    let made = crate::check::made(&example).unwrap();
    let text = fs::read_to_string(example.join("gateway.yaml")).unwrap();
    let (plain, tls) = (Port::reserve(), Port::reserve());
    let origin = Origin::start("a");
    let text = text.replace("0.0.0.0:8080", &plain.address().to_string());
    let text = text.replace("0.0.0.0:8443", &tls.address().to_string());
    let text = text.replace("[127.0.0.1:3001, 127.0.0.1:3002, 127.0.0.1:3003]", &list(&[&origin]));
    let mut setup = Setup::new(&text);
    for file in fs::read_dir(made.path().join("tls")).unwrap() {
        let file = file.unwrap();
        let content = fs::read_to_string(file.path()).unwrap();
        setup = setup.file(&format!("tls/{}", file.file_name().to_str().unwrap()), &content);
    }
    let address = tls.address();
    drop((plain, tls));
    let gateway = setup.start();
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert", "tls/ca.crt", "-o", "out", "-w", "%{http_code}"]);
        curl.args(["--connect-to", &format!("::{address}")]).args(arguments).current_dir(made.path());
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!(curl(&["https://shop.localhost:8443/"]), "200");
    assert_eq!(curl(&["https://admin.localhost:8443/"]), "000", "no handshake");
    assert_eq!(curl(&["--cert", "tls/ann.crt", "--key", "tls/ann.key", "https://admin.localhost:8443/"]), "200");
    assert_eq!(origin.last().header("x-client-cert-san"), Some("email:ann@example.com"));
    // By HTTP/2, as a browser that reuses a connection does.
    assert_eq!(curl(&["--http2", "-H", "Host: admin.localhost", "https://shop.localhost:8443/"]), "421");
    let answer = gateway.ask(&Ask::get("/x").host("shop.localhost:8080"));
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://shop.localhost:8443/x")));
}
