//! Which endpoint a session had, and what it takes to move it: forged pins, full, failing, draining and canary endpoints, and
//! a file that changes all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use crate::harness::{
    Answer, Ask, Browser, Gateway, Load, Origin, Redis, Reply, SECRET, Setup, eventually, list, signed,
};

const KEYS: &str = "cookies: { secrets: [the key of our own cookies] }\n";

/// A route to these origins.
fn file(origins: &[Origin], settings: &str, route: &str) -> String {
    let endpoints = list(&origins.iter().collect::<Vec<_>>());
    format!(
        "{KEYS}upstreams:\n  node: {{ endpoints: {endpoints}, {settings} }}\nroutes:\n  - {{ upstream: node, {route} }}\n"
    )
}

/// The same with sessions in this Redis.
fn file_with_sessions(redis: &Redis, origins: &[Origin], settings: &str, route: &str) -> String {
    let redis = redis.url();
    format!(
        "sessions:\n  web: {{ cookie: connect.sid, format: express, secrets: [{SECRET}], store: '{redis}', timeout: 5s, \
         cache: 60s, when_store_down: allow }}\n{}",
        file(origins, settings, route)
    )
}

fn connected(gateway: &Gateway) {
    eventually("the store is there", || gateway.metrics().sum("headgate_session_store_up", &[]) >= 1.0);
}

fn pinned(gateway: &Gateway, result: &str) -> f64 {
    gateway.metrics().sum("headgate_sticky_total", &[("result", result)])
}

/// The cookie of ours that an answer sets: the value, and the attributes in small letters.
fn set(answer: &Answer) -> Option<(String, Vec<String>)> {
    let sets = answer.head.headers("set-cookie");
    assert!(sets.len() <= 1, "{sets:?}");
    let mut parts = sets.first()?.split(';').map(str::trim);
    let value = parts.next()?.strip_prefix("srv=")?.to_owned();
    Some((value, parts.map(str::to_ascii_lowercase).collect()))
}

/// The one of these origins by this name.
fn named<'a>(origins: &'a mut [Origin], name: &str) -> &'a mut Origin {
    let index = usize::from(name.as_bytes()[0] - b'a');
    &mut origins[index]
}

#[test]
fn a_pin_says_nothing_and_is_set_once() {
    let origins = Origin::several(3);
    let gateway = Gateway::start(&file(&origins, "", "sticky: { cookie: srv }"));
    let first = gateway.get("/");
    let (value, attributes) = set(&first).unwrap();
    assert_eq!(attributes, ["path=/", "httponly", "samesite=lax"], "no attribute more over plain text");
    assert!(
        value.len() >= 20 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "{value}"
    );
    let ask = Ask::get("/").header("Cookie", &format!("a=1; srv={value}; b=2"));
    for _ in 0..9 {
        let answer = gateway.ask(&ask);
        assert_eq!((answer.instance(), set(&answer)), (first.instance(), None));
    }
    assert_eq!((pinned(&gateway, "new"), pinned(&gateway, "kept")), (1.0, 9.0));
    // Whoever comes to the same endpoint gets the same: nobody is told from another by it.
    let values: BTreeSet<_> = (0..9).map(|_| set(&gateway.get("/")).unwrap().0).collect();
    assert_eq!(values.len(), 3);
    // The application sees its own cookies, and ours does it no harm.
    assert!(origins.iter().any(|origin| origin.count() > 0 && origin.last().method == "GET"));
}

#[test]
fn the_cookie_has_the_attributes_that_are_written() {
    let origins = Origin::several(1);
    let attributes = |cookie: &str, more: &str| {
        let gateway = Gateway::start(&file(&origins, "", &format!("sticky: {{ cookie: {cookie}{more} }}")));
        set(&gateway.get("/shop/")).unwrap().1.into_iter().collect::<BTreeSet<_>>()
    };
    let is = |attributes: &[&str]| attributes.iter().map(|&text| text.to_owned()).collect::<BTreeSet<_>>();
    let all = "{ name: srv, path: /shop, domain: test.example, same_site: strict, secure: true, max_age: 1h }";
    let said = is(&["path=/shop", "domain=test.example", "samesite=strict", "secure", "max-age=3600", "httponly"]);
    assert_eq!(attributes(all, ""), said);
    let none = attributes("{ name: srv, same_site: none, secure: true }", ", max_age: 90s");
    assert_eq!(none, is(&["path=/", "samesite=none", "secure", "max-age=90", "httponly"]));
    let bare = attributes("{ name: srv, secure: false }", "");
    assert_eq!(bare, is(&["path=/", "samesite=lax", "httponly"]));
}

#[test]
fn secure_is_set_where_a_trusted_proxy_says_that_the_client_came_by_tls() {
    let origins = Origin::several(1);
    let listeners = "listeners: [{ address: 127.0.0.1:0, trusted_proxies: [127.0.0.0/8] }, { address: 127.0.0.1:0 }]\n";
    let gateway = Gateway::start(&format!("{}{listeners}", file(&origins, "", "sticky: { cookie: srv }")));
    let secure = |index: usize, proto: &str| {
        let mut client = crate::harness::Client::connect(gateway.listener(index));
        let answer = client.ask(&Ask::get("/").header("X-Forwarded-Proto", proto));
        set(&answer).unwrap().1.contains(&"secure".to_owned())
    };
    assert_eq!((secure(0, "https"), secure(0, "http"), secure(1, "https")), (true, false, false));
}

#[test]
fn a_forged_foreign_or_stale_pin_is_ignored_and_counted() {
    let origins = Origin::several(3);
    let gateway = Gateway::start(&file(&origins, "", "sticky: { cookie: srv }"));
    let stranger =
        Gateway::start(&file(&origins, "", "sticky: { cookie: srv }").replace("the key of our", "the key of your"));
    let good = set(&gateway.get("/")).unwrap().0;
    let foreign = set(&stranger.get("/")).unwrap().0;
    let mut flipped = good.clone().into_bytes();
    flipped[3] = if flipped[3] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let address = origins[0].address().to_string();
    let forged = ["", "0", "a", &address, "127.0.0.1", &good[1..], &flipped, &foreign, &format!("{good}x"), "%00%ff"];
    for (count, value) in (1..).zip(forged) {
        let answer = gateway.ask(&Ask::get("/").header("Cookie", &format!("srv={value}")));
        assert_eq!(answer.status, 200);
        assert!(set(&answer).is_some(), "{value:?} is replaced");
        assert_eq!(pinned(&gateway, "invalid"), f64::from(count), "{value:?}");
    }
    let long = gateway.ask(&Ask::get("/").header("Cookie", &format!("srv={}", "x".repeat(8192))));
    assert!(long.status == 200 && set(&long).is_some());
    let mut client = gateway.client();
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: srv=\xff\xfe\x80\r\n\r\n");
    assert!([200, 400].contains(&client.answer().status));
    // Stale: its endpoint has left the file.
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    let gone = usize::from(home.as_bytes()[0] - b'a');
    let others: Vec<_> = (0..3).filter(|&index| index != gone).map(|index| &origins[index]).collect();
    let left = file(&origins, "", "sticky: { cookie: srv }")
        .replace(&list(&origins.iter().collect::<Vec<_>>()), &list(&others));
    gateway.rewrite(&left);
    let moved = browser.get("/");
    assert!(moved.instance() != home && set(&moved).is_some());
    assert_eq!(browser.get("/").instance(), moved.instance());
}

#[test]
fn the_first_secret_signs_and_all_verify() {
    let origins = Origin::several(3);
    let text = file(&origins, "", "sticky: { cookie: srv }");
    let rotated = text.replace("[the key of our", "[a newer key of letters, the key of our");
    let old = Gateway::start(&text);
    let mut browser = Browser::new(old.address());
    let home = browser.get("/").instance().to_owned();
    let before = browser.cookie("srv").unwrap().to_owned();
    let new = Gateway::start(&rotated);
    browser.go_to(new.address());
    for _ in 0..6 {
        assert_eq!(browser.get("/").instance(), home);
    }
    assert_eq!(pinned(&new, "invalid"), 0.0);
    // Who comes anew is signed with the new one, which the old gateway does not know.
    let mut late = Browser::new(new.address());
    late.get("/");
    assert_ne!(late.cookie("srv").unwrap(), before);
    late.go_to(old.address());
    late.get("/");
    assert_eq!(pinned(&old, "invalid"), 1.0);
}

#[test]
fn a_made_key_outlives_the_process_and_is_nobody_elses() {
    let origins = Origin::several(3);
    let state = TempDir::new().unwrap();
    let text = file(&origins, "", "sticky: { cookie: srv }").replace(KEYS, "");
    let kept = format!("{text}process: {{ threads: 1, state_dir: '{}/state' }}\n", state.path().display());
    let gateway = Gateway::start(&kept);
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    drop(gateway);
    let gateway = Gateway::start(&kept);
    browser.go_to(gateway.address());
    for _ in 0..9 {
        assert_eq!(browser.get("/").instance(), home);
    }
    use std::os::unix::fs::PermissionsExt;
    let directory = state.path().join("state");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty() && files.iter().all(|path| mode(path) == 0o600), "{files:?}");
    // Another installation has another key.
    let other = Gateway::start(&text);
    browser.go_to(other.address());
    browser.get("/");
    assert_eq!(pinned(&other, "invalid"), 1.0);
}

#[test]
fn a_pin_ends_with_its_session_and_only_then() {
    let (redis, origins) = (Redis::start(), Origin::several(3));
    let gateway = Gateway::start(&file_with_sessions(
        &redis,
        &origins,
        "strategy: random",
        "sticky: { cookie: srv, session: web }",
    ));
    connected(&gateway);
    // Many, so that chance explains nothing.
    let mut browsers: Vec<_> = (0..12)
        .map(|index| Browser::new(gateway.address()).with(&redis.plant(&format!("s{index}"), "alice")))
        .collect();
    let homes: Vec<_> = browsers.iter_mut().map(|browser| browser.get("/").instance().to_owned()).collect();
    for (browser, home) in browsers.iter_mut().zip(&homes) {
        assert_eq!(browser.get("/").instance(), home);
    }
    let pins: Vec<_> = browsers.iter().map(|browser| browser.cookie("srv").unwrap().to_owned()).collect();
    for index in 0..12 {
        redis.end(&format!("s{index}"));
    }
    eventually("the pins are dropped", || {
        browsers.iter_mut().for_each(|browser| drop(browser.get("/")));
        pinned(&gateway, "forgotten") == 12.0
    });
    let now: Vec<_> = browsers.iter_mut().map(|browser| browser.get("/").instance().to_owned()).collect();
    assert_ne!(now, homes, "the strategy chose anew");
    for (browser, pin) in browsers.iter().zip(&pins) {
        assert_ne!(browser.cookie("srv").unwrap(), pin);
    }
    for (browser, home) in browsers.iter_mut().zip(&now) {
        assert_eq!(browser.get("/").instance(), home, "and that holds");
    }
}

#[test]
fn a_forged_session_has_no_pin_and_no_binding() {
    let (redis, origins) = (Redis::start(), Origin::several(3));
    for form in ["{ cookie: srv, session: web }", "{ session: web }"] {
        let gateway = Gateway::start(&file_with_sessions(&redis, &origins, "", &format!("sticky: {form}")));
        connected(&gateway);
        let mut owner = Browser::new(gateway.address()).with(&redis.plant("alive", "alice"));
        owner.get("/");
        redis.forget_calls();
        let pin = owner.cookie("srv").map(|value| format!("; srv={value}")).unwrap_or_default();
        let before = redis.keys("headgate:*");
        for secret in ["another secret of sixteen", "", "x"] {
            let forged = signed("alive", &format!("{secret}!"));
            assert_eq!(gateway.ask(&Ask::get("/").header("Cookie", &format!("{forged}{pin}"))).status, 200);
        }
        let checks = gateway.metrics().sum("headgate_session_checks_total", &[("result", "bad_signature")]);
        assert_eq!((checks, redis.called("get"), redis.called("set")), (3.0, 0, 0), "{form}");
        assert_eq!(redis.keys("headgate:*"), before, "{form}");
        if !pin.is_empty() {
            assert_eq!(pinned(&gateway, "forgotten"), 3.0, "a pin with a session is of no use without it");
        }
    }
}

#[test]
fn an_endpoint_that_breaks_loses_its_pins_and_one_that_errs_keeps_them() {
    let mut origins = Origin::several(3);
    let gateway = Gateway::start(&file(&origins, "outlier: off", "sticky: { cookie: srv }"));
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    // A 503 is tried again elsewhere; the session is still where it was.
    named(&mut origins, &home).reply_once(Reply::Status(503));
    let elsewhere = browser.get("/");
    assert!(elsewhere.status == 200 && elsewhere.instance() != home, "{elsewhere:?}");
    assert_eq!((set(&elsewhere), browser.get("/").instance()), (None, home.as_str()));
    // One that breaks off is not to be trusted with it.
    named(&mut origins, &home).reset();
    let next = browser.get("/");
    assert!(next.status == 200 && next.instance() != home && set(&next).is_some(), "{next:?}");
    named(&mut origins, &home).status(200);
    for _ in 0..6 {
        assert_eq!(browser.get("/").instance(), next.instance());
    }
    assert_eq!(pinned(&gateway, "repinned_down"), 1.0);
}

#[test]
fn a_full_endpoint_overflows_without_moving_the_pin() {
    let origins = Origin::several(2);
    let endpoints: Vec<_> =
        origins.iter().map(|origin| format!("{{ address: '{}', max_connections: 1 }}", origin.address())).collect();
    let text = format!(
        "{KEYS}upstreams:\n  node: {{ endpoints: [{}] }}\nroutes:\n  - {{ upstream: node, sticky: {{ cookie: srv, when_down: fail }} }}\n",
        endpoints.join(", ")
    );
    let gateway = Gateway::start(&text);
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    let at_home = &origins[usize::from(home.as_bytes()[0] - b'a')];
    at_home.reply_once(Reply::Hang);
    let count = at_home.count();
    let mut busy = gateway.client();
    busy.write(Ask::get("/").header("Cookie", &format!("srv={}", browser.cookie("srv").unwrap())).bytes());
    eventually("it is full", || at_home.count() > count);
    let elsewhere = browser.get("/");
    assert!(elsewhere.status == 200 && elsewhere.instance() != home, "{elsewhere:?}");
    assert_eq!(set(&elsewhere), None);
    drop(busy);
    eventually("it has room again", || browser.get("/").instance() == home);
}

#[test]
fn a_pin_comes_before_the_weights_of_a_canary() {
    let origins = Origin::several(2);
    let text = |weights: [u32; 2]| {
        format!(
            "{KEYS}upstreams:\n  v1: {{ endpoints: [{}] }}\n  v2: {{ endpoints: [{}] }}\nroutes:\n  - {{ upstreams: [{{ name: v1, \
             weight: {} }}, {{ name: v2, weight: {} }}], sticky: {{ cookie: srv }} }}\n",
            origins[0].address(),
            origins[1].address(),
            weights[0],
            weights[1]
        )
    };
    let gateway = Gateway::start(&text([50, 50]));
    let mut browsers: Vec<_> = (0..20).map(|_| Browser::new(gateway.address())).collect();
    let homes: Vec<_> = browsers.iter_mut().map(|browser| browser.get("/").instance().to_owned()).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 2, "{homes:?}");
    gateway.rewrite(&text([100, 0]));
    for (browser, home) in browsers.iter_mut().zip(&homes) {
        for _ in 0..3 {
            assert_eq!(browser.get("/").instance(), home);
        }
    }
    assert_eq!(gateway.turns(10, &Ask::get("/")), ["a"; 10], "who comes anew goes by the weights");
}

#[test]
fn one_upstreams_pins_hold_on_all_of_its_routes() {
    let origins = Origin::several(3);
    let text = file(&origins, "", "sticky: { cookie: srv }");
    let gateway = Gateway::start(&format!(
        "{text}  - {{ path_prefix: /api, upstream: node, strategy: random, sticky: {{ cookie: srv }} }}\n"
    ));
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    for _ in 0..10 {
        assert_eq!(browser.get("/api").instance(), home);
    }
}

#[test]
fn a_draining_endpoint_keeps_its_sessions_until_the_deadline_and_gets_no_new_ones() {
    let origins = Origin::several(3);
    let setup = Setup::new(&file(&origins, "", "sticky: { cookie: srv }"));
    let gateway = setup.start();
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    let address = origins[usize::from(home.as_bytes()[0] - b'a')].address();
    let drain = |method: &str, body: &str| {
        let target = format!("/upstreams/node/endpoints/{address}/drain");
        let ask = Ask::new(method, &target).host("127.0.0.1").header("Content-Type", "application/json").body(body);
        crate::harness::Client::connect(gateway.admin()).ask(&ask).status
    };
    assert!([200, 202, 204].contains(&drain("PUT", r#"{ "deadline": "1h" }"#)));
    let state = || {
        let labels = [("endpoint", address.to_string()), ("state", "draining".to_owned())];
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        gateway.metrics().sum("headgate_upstream_endpoint_state", &labels)
    };
    assert_eq!(state(), 1.0);
    for _ in 0..10 {
        assert_eq!(browser.get("/").instance(), home, "who is there stays");
        assert_ne!(gateway.get("/").instance(), home, "nobody new comes");
    }
    assert!(gateway.status().to_string().contains("draining"), "{}", gateway.status());
    // A reload changes nothing of that.
    gateway.rewrite(&file(&origins, "strategy: random", "sticky: { cookie: srv }"));
    assert_eq!((state(), browser.get("/").instance()), (1.0, home.as_str()));
    // Undone, it is one among others.
    assert!([200, 202, 204].contains(&drain("DELETE", "")));
    assert_eq!(state(), 0.0);
    eventually("new ones come", || gateway.get("/").instance() == home);
    // After the deadline the sessions move, once.
    assert!([200, 202, 204].contains(&drain("PUT", r#"{ "deadline": "300ms" }"#)));
    eventually("it moves", || browser.get("/").instance() != home);
    let next = browser.get("/").instance().to_owned();
    for _ in 0..10 {
        assert_eq!(browser.get("/").instance(), next);
    }
    assert_eq!(pinned(&gateway, "repinned_drain"), 1.0);
}

#[test]
fn the_drain_command_moves_sessions_off_an_instance() {
    let origins = Origin::several(2);
    // The command finds the admin listener by the file, which therefore names its port.
    let admin = crate::harness::Port::reserve().address();
    let text = format!("{}admin: {{ address: {admin} }}\n", file(&origins, "", "sticky: { cookie: srv }"));
    let gateway = Gateway::start(&text);
    let command = |arguments: &[&str]| Setup::new(&text).command(arguments);
    let mut browser = Browser::new(gateway.address());
    let home = browser.get("/").instance().to_owned();
    let endpoint = format!("node/{}", origins[usize::from(home.as_bytes()[0] - b'a')].address());
    let output = command(&["drain", &endpoint, "--deadline", "100ms"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    eventually("it moves", || browser.get("/").instance() != home);
    let output = command(&["drain", &endpoint, "--undo"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    eventually("new ones come", || gateway.get("/").instance() == home);
    let unknown = command(&["drain", "node/127.0.0.1:1"]);
    assert_ne!(unknown.code, Some(0), "{unknown:?}");
}

/// Sessions of their own threads, each checking that nobody but the first that answered ever answers.
struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Mispinned>>,
}

#[derive(Debug, Default)]
struct Mispinned {
    asked: usize,
    elsewhere: usize,
    failed: BTreeMap<u16, usize>,
}

impl Crowd {
    fn start(browsers: Vec<Browser>) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = browsers.into_iter().map(|mut browser| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut seen = Mispinned::default();
                let mut home = None;
                while !stop.load(Ordering::Relaxed) {
                    let answer = browser.get("/");
                    seen.asked += 1;
                    if answer.status != 200 {
                        *seen.failed.entry(answer.status).or_default() += 1;
                        continue;
                    }
                    let instance = answer.instance().to_owned();
                    seen.elsewhere += usize::from(home.get_or_insert_with(|| instance.clone()) != &instance);
                }
                seen
            })
        });
        Crowd { stop: Arc::clone(&stop), threads: threads.collect() }
    }

    /// Ends it; fails when any request failed or came to another than the first.
    #[track_caller]
    fn stop_and_assert_loyal(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let seen: Vec<_> = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(seen.iter().all(|seen| seen.asked > 0 && seen.elsewhere == 0 && seen.failed.is_empty()), "{seen:#?}");
        seen.iter().map(|seen| seen.asked).sum()
    }
}

/// Reloads that change everything but which endpoints there are.
fn reloads_under_load_mispin_nobody(form: &str) {
    let (redis, origins) = (Redis::start(), Origin::several(3));
    let strategies = ["round_robin", "least_conn", "random", "ip_hash", "first", "peak_ewma"];
    let text = |change: usize| {
        let settings = format!("strategy: {}", strategies[change % strategies.len()]);
        let mut text = file_with_sessions(&redis, &origins, &settings, &format!("sticky: {form}"));
        let all: Vec<_> = origins.iter().collect();
        let turned = [&origins[change % 3], &origins[(change + 1) % 3], &origins[(change + 2) % 3]];
        text = text.replace(&list(&all), &list(&turned));
        // Another order, another strategy, more routes, another cache time.
        text = text.replace("cache: 60s", &format!("cache: {}s", 50 + change % 3));
        for route in 0..change % 3 {
            text.push_str(&format!("  - {{ path_prefix: /more/{route}, upstream: node }}\n"));
        }
        text
    };
    let gateway = Gateway::start(&text(0));
    if form.contains("session") {
        connected(&gateway);
    }
    let browsers =
        (0..8).map(|index| Browser::new(gateway.address()).with(&redis.plant(&format!("s{index}"), "alice")));
    let crowd = Crowd::start(browsers.collect());
    for change in 1..=40 {
        gateway.rewrite(&text(change));
    }
    let asked = crowd.stop_and_assert_loyal();
    assert!(asked > 100, "{asked}");
}

#[test]
fn reloads_under_load_mispin_nobody_by_our_cookie() {
    reloads_under_load_mispin_nobody("{ cookie: srv }");
}

#[test]
fn reloads_under_load_mispin_nobody_by_our_cookie_that_is_bound_to_the_session() {
    reloads_under_load_mispin_nobody("{ cookie: srv, session: web }");
}

#[test]
fn reloads_under_load_mispin_nobody_by_a_binding_in_the_store() {
    reloads_under_load_mispin_nobody("{ session: web }");
}

#[test]
fn two_replicas_that_bind_one_session_at_once_agree() {
    let (redis, origins) = (Redis::start(), Origin::several(3));
    let text = file_with_sessions(&redis, &origins, "strategy: random", "sticky: { session: web }");
    let gateways = [Gateway::start(&text), Gateway::start(&text)];
    gateways.iter().for_each(connected);
    for round in 0..20 {
        let cookie = redis.plant(&format!("r{round}"), "alice");
        let ask = Ask::get("/").header("Cookie", &cookie);
        thread::scope(|scope| {
            for gateway in &gateways {
                scope.spawn(|| Load::run(gateway.address(), 2, 4, &ask).assert_all_ok());
            }
        });
        let turns = |gateway: &Gateway| gateway.turns(5, &ask).into_iter().collect::<BTreeSet<_>>();
        let homes: BTreeSet<_> = gateways.iter().flat_map(turns).collect();
        assert_eq!(homes.len(), 1, "round {round}: {homes:?}");
    }
    assert_eq!(redis.keys("headgate:sticky:node:*").len(), 20);
}

#[test]
fn a_binding_lives_as_long_as_it_is_used() {
    let (redis, origins) = (Redis::start(), Origin::several(3));
    let gateway = Gateway::start(&file_with_sessions(&redis, &origins, "", "sticky: { session: web, max_age: 1h }"));
    connected(&gateway);
    let ask = Ask::get("/").header("Cookie", &redis.plant("alive", "alice"));
    gateway.ask(&ask);
    let key = redis.keys("headgate:sticky:node:*").pop().unwrap();
    let left = |redis: &Redis| redis.ask::<i64>(&["TTL", &key]);
    assert!((3590..=3600).contains(&left(&redis)), "{}", left(&redis));
    // More than half of it is over: the next request that reads it prolongs it.
    redis.ask::<()>(&["EXPIRE", &key, "60"]);
    eventually("it is prolonged", || gateway.ask(&ask).status == 200 && left(&redis) > 3000);
    // Without its session it ends.
    redis.end("alive");
    eventually("it is gone", || gateway.ask(&ask).status == 200 && redis.keys("headgate:sticky:*").is_empty());
}

#[test]
fn the_applications_keys_are_only_read() {
    let (redis, origins) = (Redis::start(), Origin::several(3));
    // May do all to our keys, and only read the application's.
    redis.ask::<()>(&["ACL", "SETUSER", "gate", "on", ">pw", "+@all", "~headgate:sticky:*", "%R~sess:*"]);
    let text =
        file_with_sessions(&redis, &origins, "", "sticky: { session: web }").replace("redis://", "redis://gate:pw@");
    let gateway = Gateway::start(&text);
    connected(&gateway);
    let cookie = redis.plant("alive", "alice");
    redis.ask::<()>(&["EXPIRE", "sess:alive", "1000"]);
    let before: String = redis.ask(&["GET", "sess:alive"]);
    let ask = Ask::get("/").header("Cookie", &cookie);
    let homes: BTreeSet<_> = gateway.turns(20, &ask).into_iter().collect();
    assert_eq!(homes.len(), 1);
    assert_eq!(redis.ask::<String>(&["GET", "sess:alive"]), before);
    assert!(redis.ask::<i64>(&["TTL", "sess:alive"]) <= 1000, "nor extended");
    let denied: Vec<redis::Value> = redis.ask(&["ACL", "LOG"]);
    assert!(denied.is_empty(), "{denied:?}");
}

#[test]
fn the_log_and_the_status_tell_what_became_of_a_pin() {
    let origins = Origin::several(1);
    let log = "telemetry: { access_log: { path: DIR/access.log, format: json } }\n";
    let gateway = Gateway::start(&format!("{}{log}", file(&origins, "", "sticky: { cookie: srv }")));
    let mut browser = Browser::new(gateway.address());
    browser.get("/");
    browser.get("/");
    browser.set_cookie("srv", "forged");
    browser.get("/");
    let result = |number| {
        let line: serde_json::Value = serde_json::from_str(&crate::access_log::line(&gateway, number)).unwrap();
        line["sticky"].as_str().unwrap().to_owned()
    };
    assert_eq!([result(1), result(2), result(3)], ["new", "kept", "invalid"]);
    let status = gateway.status().to_string();
    assert!(status.contains("\"bindings\""), "{status}");
}
