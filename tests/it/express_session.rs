//! Three real express instances with express-session and connect-redis, a real Redis, and users who log in and out.

use std::{collections::BTreeMap, time::Duration};

use crate::harness::{
    Browser, Client, Gateway, NodeApp, Redis, SECRET, Samples, eventually, eventually_some, node_list, timed,
};

/// The three forms of stickiness.
const OWN_COOKIE: &str = "{ cookie: srv }";
const BOUND_COOKIE: &str = "{ cookie: srv, session: web }";
const IN_STORE: &str = "{ session: web }";

/// Three instances and their Redis.
struct Shop {
    apps: Vec<NodeApp>,
    redis: Redis,
}

impl Shop {
    fn open() -> Shop {
        let redis = Redis::start();
        Shop { apps: NodeApp::several_with_sessions(3, &redis), redis }
    }

    /// A file that keeps sessions like this. Only a push explains that a change is seen before a minute has passed.
    fn file(&self, sticky: &str) -> String {
        self.file_for(&node_list(&self.apps), sticky)
    }

    fn file_for(&self, endpoints: &str, sticky: &str) -> String {
        let redis = self.redis.url();
        format!(
            "cookies: {{ secrets: [the key of every replica's cookies] }}
sessions:
  web: {{ cookie: connect.sid, format: express, secrets: [an old one of sixteen letters, {SECRET}], store: '{redis}',
          timeout: 5s, cache: 60s, when_store_down: deny }}
upstreams:
  node: {{ endpoints: {endpoints}, outlier: {{ eject_for: 300ms }} }}
routes:
  - {{ name: all, upstream: node, sticky: {sticky} }}
  - {{ name: account, path_prefix: /account, upstream: node, sticky: {sticky},
      session: {{ source: web, require: {{ field: passport.user }}, forward: {{ x-user: passport.user }} }} }}\n"
        )
    }

    /// A gateway that knows its store; it may serve before that.
    fn gateway(&self, sticky: &str) -> Gateway {
        let gateway = Gateway::start(&self.file(sticky));
        eventually("the store is asked, and tells of changes", || {
            gateway.metrics().sum("headgate_session_store_tracking", &[]) == 1.0
        });
        gateway
    }

    fn app(&mut self, name: &str) -> &mut NodeApp {
        let index: usize = name.trim_start_matches('n').parse().unwrap();
        &mut self.apps[index - 1]
    }
}

/// The key under which the endpoint of this session is kept.
fn binding_of(cookie: &str) -> String {
    let id = cookie.trim_start_matches("s%3A").split('.').next().unwrap();
    let hash = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    let digits = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}"));
    format!("headgate:sticky:node:{}", digits.collect::<String>())
}

fn sticky(samples: &Samples, result: &str) -> f64 {
    samples.sum("headgate_sticky_total", &[("result", result)])
}

/// Comes, looks and logs in: the instance that did it, and how often the app has seen the session.
fn log_in(browser: &mut Browser, user: &str) -> (String, u64) {
    browser.get("/");
    let login = browser.post(&format!("/login?user={user}"));
    assert_eq!((login.status, login.json()["user"].as_str()), (200, Some(user)));
    (login.instance().to_owned(), login.json()["visits"].as_u64().unwrap())
}

/// The same instance with the same session, `count` times.
#[track_caller]
fn stays(browser: &mut Browser, home: &str, visits: &mut u64, count: usize) {
    for _ in 0..count {
        let answer = browser.get("/");
        *visits += 1;
        let said = answer.json();
        assert_eq!((answer.instance(), said["visits"].as_u64().unwrap()), (home, *visits), "{said}");
        assert_eq!(said["user"], "alice");
    }
}

/// Logs in, and asks two hundred times more: here, at a replica, after a restart and after a reordering.
fn a_session_keeps_its_instance(form: &str) {
    let shop = Shop::open();
    let gateway = shop.gateway(form);
    let replica = shop.gateway(form);
    let mut browser = Browser::new(gateway.address());
    let (home, mut visits) = log_in(&mut browser, "alice");
    stays(&mut browser, &home, &mut visits, 140);
    browser.go_to(replica.address());
    stays(&mut browser, &home, &mut visits, 20);

    let account = browser.get("/account").json();
    assert_eq!((account["forwarded"].as_str(), account["instance"].as_str()), (Some("alice"), Some(home.as_str())));

    drop(gateway);
    let gateway = shop.gateway(form);
    browser.go_to(gateway.address());
    stays(&mut browser, &home, &mut visits, 20);
    let reversed: Vec<_> = shop.apps.iter().rev().map(|app| app.address().to_string()).collect();
    gateway.rewrite(&shop.file_for(&format!("[{}]", reversed.join(", ")), form));
    stays(&mut browser, &home, &mut visits, 20);

    // It is no accident: others are elsewhere.
    let mut homes = BTreeMap::<String, usize>::new();
    for _ in 0..12 {
        let mut other = Browser::new(gateway.address());
        let (home, _) = log_in(&mut other, "bob");
        assert_eq!(other.get("/").instance(), home);
        *homes.entry(home).or_default() += 1;
    }
    assert_eq!(homes.len(), 3, "{homes:?}");
}

#[test]
fn a_session_keeps_its_instance_on_every_replica_by_our_cookie() {
    a_session_keeps_its_instance(OWN_COOKIE);
}

#[test]
fn a_session_keeps_its_instance_on_every_replica_by_our_cookie_that_is_bound_to_it() {
    a_session_keeps_its_instance(BOUND_COOKIE);
}

#[test]
fn a_session_keeps_its_instance_on_every_replica_by_a_binding_in_its_store() {
    a_session_keeps_its_instance(IN_STORE);
}

/// Kills the instance of somebody logged in.
fn a_killed_instance_moves_the_pin_once(form: &str) {
    let mut shop = Shop::open();
    let gateway = shop.gateway(form);
    let mut browser = Browser::new(gateway.address());
    let (home, mut visits) = log_in(&mut browser, "alice");
    stays(&mut browser, &home, &mut visits, 5);

    shop.app(&home).kill();
    let answer = browser.get("/");
    visits += 1;
    let next = answer.instance().to_owned();
    assert_ne!(next, home);
    assert_eq!((answer.json()["visits"].as_u64(), answer.json()["user"].as_str()), (Some(visits), Some("alice")));
    stays(&mut browser, &next, &mut visits, 20);
    shop.app(&home).restart();
    stays(&mut browser, &next, &mut visits, 20);
    let samples = gateway.metrics();
    assert_eq!(sticky(&samples, "repinned_down"), 1.0, "{samples:?}");
}

#[test]
fn a_killed_instance_moves_the_pin_once_and_the_session_is_intact_by_our_cookie() {
    a_killed_instance_moves_the_pin_once(OWN_COOKIE);
    a_killed_instance_moves_the_pin_once(BOUND_COOKIE);
}

#[test]
fn a_killed_instance_moves_the_pin_once_and_the_session_is_intact_by_a_binding_in_the_store() {
    a_killed_instance_moves_the_pin_once(IN_STORE);
}

#[test]
fn a_session_that_rather_fails_waits_for_its_instance() {
    let mut shop = Shop::open();
    for form in [BOUND_COOKIE, IN_STORE] {
        let gateway = shop.gateway(&form.replace(" }", ", when_down: fail }"));
        let mut browser = Browser::new(gateway.address());
        let (home, mut visits) = log_in(&mut browser, "alice");
        shop.app(&home).kill();
        for _ in 0..8 {
            assert_eq!(browser.get("/").status, 503, "{form}");
        }
        let newcomer = Browser::new(gateway.address()).get("/");
        assert!(newcomer.status == 200 && newcomer.instance() != home, "{form}: {newcomer:?}");
        shop.app(&home).restart();
        let back = eventually_some("it is back", || Some(browser.get("/")).filter(|answer| answer.status == 200));
        visits += 1;
        assert_eq!((back.instance(), back.json()["visits"].as_u64()), (home.as_str(), Some(visits)), "{form}");
        stays(&mut browser, &home, &mut visits, 5);
        assert_eq!(sticky(&gateway.metrics(), "repinned_down"), 0.0, "{form}");
    }
}

#[test]
fn who_logs_out_is_out_at_once_on_every_replica_and_the_pin_is_dropped() {
    let shop = Shop::open();
    for form in [BOUND_COOKIE, IN_STORE] {
        let gateways = [shop.gateway(form), shop.gateway(form)];
        let mut browser = Browser::new(gateways[0].address());
        log_in(&mut browser, "alice");
        assert_eq!(browser.get("/account").status, 200);
        // Somebody who kept the cookies.
        let mut thief = Browser::new(gateways[1].address());
        for name in ["connect.sid", "srv"] {
            browser.cookie(name).into_iter().for_each(|value| thief.set_cookie(name, value));
        }
        assert_eq!(thief.get("/account").status, 200);
        let pin = thief.cookie("srv").map(str::to_owned);
        let binding = binding_of(browser.cookie("connect.sid").unwrap());
        assert_eq!(shop.redis.keys("headgate:sticky:*").contains(&binding), form == IN_STORE);

        assert_eq!(browser.post("/logout").json()["bye"], true);
        for gateway in &gateways {
            thief.go_to(gateway.address());
            let (_, took) = timed(|| eventually("it is dead", || thief.get("/account").status == 401));
            eprintln!("{form}: out {took:?} after the answer to the logout");
            assert!(took < Duration::from_secs(10), "only a push, not the cache time, ends it so soon");
        }
        assert!(!shop.redis.keys("headgate:sticky:*").contains(&binding), "{form}: its binding went with it");
        assert_eq!(thief.get("/").status, 200, "a session is not required here");
        assert!(form == IN_STORE || sticky(&gateways[1].metrics(), "forgotten") >= 1.0, "{form}");
        assert!(pin.is_none() || thief.cookie("srv").map(str::to_owned) != pin, "{form}: a fresh pin");
        let home = thief.get("/").instance().to_owned();
        for _ in 0..10 {
            assert_eq!(thief.get("/").instance(), home, "{form}: and it holds");
        }
    }
}

#[test]
fn a_deleted_key_is_a_dead_session_within_milliseconds() {
    let shop = Shop::open();
    let gateway = shop.gateway(BOUND_COOKIE);
    let mut client = gateway.client();
    let mut connection = redis::Client::open(shop.redis.url()).unwrap().get_connection().unwrap();
    let mut took = Vec::new();
    let mut late = 0;
    for round in 0..50 {
        let (id, cookie) = (format!("round{round}"), shop.redis.plant(&format!("round{round}"), "alice"));
        let ask = crate::harness::Ask::get("/account").header("Cookie", &cookie);
        for _ in 0..3 {
            assert_eq!(client.ask(&ask).status, 200);
        }
        let ((), waited) = timed(|| {
            redis::cmd("DEL").arg(format!("sess:{id}")).exec(&mut connection).unwrap();
            eventually("it is dead", || {
                let dead = client.ask(&ask).status == 401;
                late += usize::from(!dead);
                dead
            });
        });
        took.push(waited);
    }
    took.sort();
    let (median, slowest) = (took[25], took[49]);
    eprintln!(
        "DEL to 401, the request included: median {median:?}, slowest {slowest:?}; {late} requests of 50 came before it"
    );
    assert!(slowest < Duration::from_secs(10), "only a push, not the cache time, ends it so soon");
    assert!(gateway.metrics().sum("headgate_session_store_invalidations_total", &[]) >= 50.0);
}

#[test]
fn a_login_that_changes_the_id_keeps_the_instance_that_the_store_keeps() {
    let shop = Shop::open();
    let gateways = [shop.gateway(IN_STORE), shop.gateway(IN_STORE)];
    for round in 0..30 {
        let mut browser = Browser::new(gateways[round % 2].address());
        let home = browser.get("/").instance().to_owned();
        let before = browser.cookie("connect.sid").unwrap().to_owned();
        // The login comes to another replica than the first visit, and what follows to yet another.
        browser.go_to(gateways[(round + 1) % 2].address());
        assert_eq!(browser.post("/login?user=alice").instance(), home);
        assert_ne!(browser.cookie("connect.sid").unwrap(), before);
        assert_eq!(browser.cookie("srv"), None, "no cookie of ours");
        for gateway in &gateways {
            browser.go_to(gateway.address());
            assert_eq!(browser.get("/account").instance(), home);
        }
    }
    let bindings = shop.redis.keys("headgate:sticky:node:*");
    assert!(bindings.len() >= 30, "{bindings:?}");
    let ids: Vec<_> = shop.redis.keys("sess:*").iter().map(|key| key["sess:".len()..].to_owned()).collect();
    assert!(
        ids.len() >= 30 && !bindings.iter().any(|key| ids.iter().any(|id| key.contains(id.as_str()))),
        "{bindings:?}"
    );
    for key in &bindings {
        let left: i64 = shop.redis.ask(&["TTL", key]);
        assert!((1..=86_400).contains(&left), "{key} lives {left} s");
    }
}

/// What part of a hundred requests a logged-in user's session cost no look-up, one request after the other.
fn hit_rate(touch: &str) -> f64 {
    let redis = Redis::start();
    let app = NodeApp::with_sessions("n1", &redis, &[("TOUCH", touch)]);
    let shop = Shop { apps: vec![app], redis };
    let gateway = shop.gateway(BOUND_COOKIE);
    let mut browser = Browser::new(gateway.address());
    log_in(&mut browser, "alice");
    let checks = |result: &[(&str, &str)]| gateway.metrics().sum("headgate_session_checks_total", result);
    let (all, cached) = (checks(&[]), checks(&[("result", "cached")]));
    let asked = || shop.redis.called("get") + shop.redis.called("getrange");
    let before = asked();
    for _ in 0..100 {
        assert_eq!(browser.get("/account").status, 200);
    }
    let gets = asked() - before;
    let rate = (checks(&[("result", "cached")]) - cached) / (checks(&[]) - all);
    eprintln!("touch {touch}: {:.0} % from the cache, {gets} reads at Redis, of which 100 are the app's", rate * 100.0);
    rate
}

#[test]
fn a_session_that_is_asked_for_again_and_again_is_looked_up_rarely() {
    assert!(hit_rate("off") > 0.9);
    // A push follows each touch; the session is read again off the requests' way.
    assert!(hit_rate("on") > 0.3);
}

#[test]
fn the_example_works_as_its_readme_says() {
    let redis = Redis::start();
    let apps = NodeApp::several_with_sessions(3, &redis);
    let mut text =
        std::fs::read_to_string(crate::harness::root().join("examples/express-session/gateway.yaml")).unwrap();
    text = text.replace("0.0.0.0:8080", "127.0.0.1:0").replace("redis://127.0.0.1:6379", &redis.url());
    // A busy machine is not what is shown here.
    text = text.replace("    when_store_down", "    timeout: 2s\n    when_store_down");
    for (app, port) in apps.iter().zip([3001, 3002, 3003]) {
        text = text.replace(&format!("127.0.0.1:{port}"), &app.address().to_string());
    }
    let gateway = crate::harness::Setup::new(&text).env("SESSION_SECRET", SECRET).start();
    eventually("the store is there", || gateway.metrics().sum("headgate_session_store_up", &[]) == 1.0);
    let mut browser = Browser::new(gateway.address());
    assert_eq!(browser.get("/account").status, 401);
    let (home, _) = log_in(&mut browser, "alice");
    assert_eq!(
        (browser.get("/").instance(), browser.get("/account").json()["forwarded"].as_str()),
        (home.as_str(), Some("alice"))
    );
    redis.ask::<()>(&["FLUSHALL"]);
    eventually("it is dead", || {
        Client::connect(gateway.address())
            .ask(&{
                let value = browser.cookie("connect.sid").unwrap();
                crate::harness::Ask::get("/account").header("Cookie", &format!("connect.sid={value}"))
            })
            .status
            == 401
    });
}
