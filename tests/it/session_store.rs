//! The store is away, slow or lying: what the policy allows passes, nothing waits longer than its budget, and all is well
//! again without a restart.

use std::time::Duration;

use crate::harness::{
    Ask, Gateway, Load, NodeApp, Origin, Redis, RedisCluster, RedisSentinel, SECRET, Says, Setup, StoreDouble,
    eventually, list, signed, timed,
};

/// What a look-up may cost in these tests.
const BUDGET: Duration = Duration::from_millis(100);

/// What a busy machine may add to that. A look-up without a budget would take as long as the store is frozen.
const ENOUGH: Duration = Duration::from_secs(4);

/// A route that requires a session of this store (`redis://..`, or settings), and one that only uses it for its pin.
fn text(store: &str, origins: &[Origin], policy: &str, cache: &str) -> String {
    let endpoints = list(&origins.iter().collect::<Vec<_>>());
    format!(
        "cookies: {{ secrets: [the key of our own cookies] }}
stores:\n  main: {store}
sessions:
  web: {{ cookie: connect.sid, format: express, secrets: [{SECRET}], store: main, timeout: {}ms, cache: {cache},
          when_store_down: {policy} }}
upstreams:\n  node: {{ endpoints: {endpoints} }}
routes:
  - {{ upstream: node, session: {{ source: web, require: true }} }}
  - {{ path_prefix: /free, upstream: node, sticky: {{ cookie: srv, session: web }} }}
  - {{ path_prefix: /bound, upstream: node, sticky: {{ session: web }} }}\n",
        BUDGET.as_millis()
    )
}

fn url(redis: &Redis) -> String {
    format!("'{}'", redis.url())
}

fn with(cookie: &str) -> Ask {
    Ask::get("/").header("Cookie", cookie)
}

/// True once a session that the store doesn't know is refused: it was asked, and it answered.
fn asked(gateway: &Gateway) -> bool {
    gateway.ask(&with(&signed("nobody", SECRET))).status == 401
}

fn connected(gateway: &Gateway) {
    eventually("the store is asked", || asked(gateway));
}

fn up(gateway: &Gateway) -> f64 {
    gateway.metrics().sum("headgate_session_store_up", &[("store", "main")])
}

fn checks(gateway: &Gateway, result: &str) -> f64 {
    gateway.metrics().sum("headgate_session_checks_total", &[("source", "web"), ("result", result)])
}

/// What befalls a Redis, and what puts it right again.
type Step = fn(&mut Redis);

/// Trouble under load: each request asks the store, as nothing is cached.
fn trouble(policy: &str, begin: Step, end: Step) {
    let (mut redis, origins) = (Redis::start(), Origin::several(2));
    let gateway = Gateway::start(&text(&url(&redis), &origins, policy, "0s"));
    connected(&gateway);
    let cookie = redis.plant("alive", "alice");
    let ask = with(&cookie);
    let load = Load::start(gateway.address(), 4, &ask);
    // Where no session is required, no policy refuses anybody.
    let free = Load::start(gateway.address(), 1, &Ask::get("/free").header("Cookie", &cookie));
    let bound = Load::start(gateway.address(), 1, &Ask::get("/bound").header("Cookie", &cookie));
    load.more(100);
    begin(&mut redis);
    load.more(400);
    eventually("it is seen to be down", || up(&gateway) == 0.0);
    load.more(200);
    end(&mut redis);
    eventually("it is asked again", || asked(&gateway) && up(&gateway) == 1.0);
    load.more(100);
    let (tally, free, bound) = (load.stop(), free.stop(), bound.stop());
    eprintln!(
        "{policy}: {:?} of {}, {} slower than the budget, slowest {:?}; where none is required: {:?}, slowest {:?}; bound: {:?}, slowest {:?}",
        tally.by_status,
        tally.total(),
        tally.slower_than(BUDGET),
        tally.slowest(),
        free.by_status,
        free.slowest(),
        bound.by_status,
        bound.slowest()
    );
    if policy == "allow" {
        tally.assert_all_ok();
    } else {
        assert_eq!(tally.count(200) + tally.count(503), tally.total(), "{:?} {:?}", tally.by_status, tally.errors);
        assert!(tally.count(503) > 0, "it was away");
    }
    free.assert_all_ok();
    bound.assert_all_ok();
    for tally in [&tally, &free, &bound] {
        assert_eq!(tally.slower_than(BUDGET + ENOUGH), 0, "slowest: {:?}", tally.slowest());
    }
    // The breaker: most requests don't pay for a store that is known to be away. Counted, as on a busy machine all are slow.
    let (waited, spared) = (checks(&gateway, "timeout"), checks(&gateway, "error"));
    assert!(waited < spared, "{waited} waited for the whole budget, {spared} were told at once");
    assert_eq!(gateway.ask(&ask).status, 200, "the session is there again");
}

const KILL: Step = Redis::kill;
const RESTART: Step = Redis::restart;
const FREEZE: Step = |redis| redis.freeze();
const THAW: Step = |redis| redis.thaw();
const REFUSE: Step = |redis| redis.ask(&["ACL", "SETUSER", "default", "-get", "-@read", "-exists"]);
const ADMIT: Step = |redis| redis.ask(&["ACL", "SETUSER", "default", "+@all"]);

#[test]
fn a_killed_redis_under_load_fails_no_request_that_the_policy_allows() {
    trouble("allow", KILL, RESTART);
}

#[test]
fn a_killed_redis_under_load_costs_503_where_it_is_denied_until_it_is_back() {
    trouble("deny", KILL, RESTART);
}

#[test]
fn a_frozen_redis_under_load_fails_no_request_that_the_policy_allows() {
    trouble("allow", FREEZE, THAW);
}

#[test]
fn a_frozen_redis_under_load_costs_503_where_it_is_denied_until_it_thaws() {
    trouble("deny", FREEZE, THAW);
}

#[test]
fn a_redis_that_errs_under_load_fails_no_request_that_the_policy_allows() {
    trouble("allow", REFUSE, ADMIT);
}

#[test]
fn a_redis_that_errs_under_load_costs_503_where_it_is_denied_until_it_answers() {
    trouble("deny", REFUSE, ADMIT);
}

#[test]
fn a_redis_that_restarts_under_load_is_asked_again() {
    for policy in ["allow", "deny"] {
        let (mut redis, origins) = (Redis::start(), Origin::several(2));
        let gateway = Gateway::start(&text(&url(&redis), &origins, policy, "60s"));
        connected(&gateway);
        let ask = with(&redis.plant("alive", "alice"));
        let load = Load::start(gateway.address(), 4, &ask);
        for _ in 0..3 {
            load.more(100);
            redis.restart();
            eventually("it is asked again", || asked(&gateway));
        }
        let tally = load.stop();
        assert_eq!(tally.count(200) + tally.count(503), tally.total(), "{tally:?}");
        assert!(policy == "deny" || tally.count(503) == 0, "{:?}", tally.by_status);
        assert_eq!(tally.slower_than(BUDGET + ENOUGH), 0, "{:?}", tally.slowest());
        // It pushes again, too.
        eventually("it tells of changes", || gateway.metrics().sum("headgate_session_store_tracking", &[]) == 1.0);
        assert_eq!(gateway.ask(&ask).status, 200);
        redis.end("alive");
        eventually("it is dead", || gateway.ask(&ask).status == 401);
        assert!(gateway.metrics().sum("headgate_session_store_reconnects_total", &[("store", "main")]) >= 3.0);
    }
}

#[test]
fn the_gateway_starts_and_reloads_while_redis_is_away() {
    let (mut redis, origins) = (Redis::start(), Origin::several(2));
    let cookie = redis.plant("alive", "alice");
    redis.kill();
    for (policy, away) in [("allow", 200), ("deny", 503)] {
        let gateway = Gateway::start(&text(&url(&redis), &origins, policy, "60s"));
        let (answer, took) = timed(|| gateway.ask(&with(&cookie)));
        assert_eq!((answer.status, up(&gateway)), (away, 0.0), "{policy}");
        assert!(took < BUDGET + ENOUGH, "{took:?}");
        gateway.rewrite(&text(&url(&redis), &origins, policy, "50s"));
        assert_eq!(gateway.ask(&with(&cookie)).status, away, "{policy}");
        assert_eq!(gateway.get("/free").status, 200);
        redis.restart();
        connected(&gateway);
        assert_eq!(gateway.ask(&with(&cookie)).status, 200);
        redis.kill();
        eventually("it is away", || gateway.ask(&with(&cookie)).status == away);
    }
}

#[test]
fn nobody_is_let_in_because_a_new_store_is_yet_to_be_connected() {
    let (one, other, origins) = (Redis::start(), Redis::start(), Origin::several(1));
    let slow = |redis: &Redis| redis.ask::<()>(&["CLIENT", "PAUSE", "400", "ALL"]);
    slow(&one);
    let gateway = Gateway::start(&text(&url(&one), &origins, "allow", "60s"));
    let load = Load::start(gateway.address(), 2, &with(&signed("nobody", SECRET)));
    load.more(20);
    slow(&other);
    gateway.rewrite(&text(&url(&other), &origins, "allow", "60s"));
    load.more(20);
    let tally = load.stop();
    assert_eq!(tally.count(401), tally.total(), "{:?}", tally.by_status);
}

#[test]
fn a_store_that_accepts_and_says_nothing_or_nonsense_costs_at_most_the_budget() {
    let origins = Origin::several(1);
    let says = [
        Says::Nothing,
        Says::Goodbye,
        Says::Error("LOADING Redis is loading the dataset in memory"),
        Says::Error("ERR unknown"),
        Says::Error("NOAUTH Authentication required."),
        Says::Error("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        Says::Bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        Says::Bytes(b"\xff\xfe\x00\x01\r\n\r\n"),
        Says::Bytes(b"$99999999999999999999\r\n"),
        Says::Bytes(b"*2147483647\r\n"),
    ];
    let doubles = says.map(StoreDouble::start);
    for (policy, away) in [("allow", 200), ("deny", 503)] {
        // Each is the store of a source of its own.
        let mut text = format!("upstreams: {{ node: {{ endpoints: {} }} }}\nsessions:\n", list(&[&origins[0]]));
        for (index, double) in doubles.iter().enumerate() {
            text.push_str(&format!(
                "  s{index}: {{ cookie: connect.sid, format: express, secrets: [{SECRET}], store: '{}', timeout: {}ms, \
                 when_store_down: {policy} }}\n",
                double.url(),
                BUDGET.as_millis()
            ));
        }
        text.push_str("routes:\n");
        for index in 0..doubles.len() {
            let rule = format!("session: {{ source: s{index}, require: true }}");
            text.push_str(&format!("  - {{ path: /{index}, upstream: node, {rule} }}\n"));
            text.push_str(&format!("  - {{ path: /free/{index}, upstream: node, sticky: {{ session: s{index} }} }}\n"));
        }
        let gateway = Gateway::start(&text);
        for (index, says) in says.iter().enumerate() {
            let ask = |path: &str| Ask::get(&format!("{path}/{index}")).header("Cookie", &signed("any", SECRET));
            let tally = Load::run(gateway.address(), 4, 40, &ask(""));
            assert_eq!((tally.count(away), tally.total()), (40, 40), "{says:?} {policy}: {tally:?}");
            assert_eq!(tally.slower_than(BUDGET + ENOUGH), 0, "{says:?} {policy}: {:?}", tally.slowest());
            assert_eq!(gateway.ask(&ask("/free")).status, 200, "{says:?}");
        }
    }
}

#[test]
fn a_reload_keeps_the_connection_and_what_is_known_and_lets_go_of_a_store_that_is_gone() {
    let (redis, other, origins) = (Redis::start(), Redis::start(), Origin::several(2));
    let gateway = Gateway::start(&text(&url(&redis), &origins, "deny", "60s"));
    connected(&gateway);
    let cookie = redis.plant("alive", "alice");
    assert_eq!(gateway.ask(&with(&cookie)).status, 200);
    redis.forget_calls();
    for change in 0..5 {
        let more = format!("  - {{ path: /more{change}, upstream: node }}\n");
        gateway.rewrite(&format!("{}{more}", text(&url(&redis), &origins, "deny", "60s")));
        assert_eq!(gateway.ask(&with(&cookie)).status, 200);
    }
    let calls = redis.calls();
    assert!(!calls.contains_key("hello") && !calls.contains_key("getrange"), "{calls:?}");
    // Its own connection counts, and those of the one who asks.
    let clients = |redis: &Redis| redis.ask::<String>(&["CLIENT", "LIST"]).lines().count();
    assert!(clients(&redis) > 1);
    gateway.rewrite(&text(&url(&other), &origins, "deny", "60s"));
    other.plant("alive", "alice");
    connected(&gateway);
    assert_eq!(gateway.ask(&with(&cookie)).status, 200);
    eventually("the old one is let go", || clients(&redis) == 1);
    let status = gateway.status();
    assert!(status.to_string().contains("\"main\""), "{status}");
}

#[test]
fn a_store_is_connected_before_the_configuration_that_brings_it_serves() {
    let (redis, other, origins) = (Redis::start(), Redis::start(), Origin::several(2));
    let cookie = redis.plant("alive", "alice");
    other.plant("alive", "alice");
    let of = |change: usize| text(&url([&redis, &other][change % 2]), &origins, "deny", "60s");
    let gateway = Gateway::start(&of(0));
    assert_eq!(gateway.ask(&with(&cookie)).status, 200, "the first request of all");
    let load = Load::start(gateway.address(), 4, &with(&cookie));
    for change in 1..=10 {
        gateway.rewrite(&of(change));
        load.more(10);
    }
    load.stop().assert_all_ok();
}

#[test]
fn a_store_is_spoken_to_in_tls_and_its_certificate_is_verified() {
    let (redis, port, ca) = Redis::tls();
    let (_, _, strange) = Redis::tls();
    let origins = Origin::several(1);
    let cookie = redis.plant("alive", "alice");
    for host in ["127.0.0.1", "localhost"] {
        let store = format!("{{ url: 'rediss://{host}:{port}', ca: ca.crt }}");
        let gateway = Setup::new(&text(&store, &origins, "deny", "60s")).file("ca.crt", &ca).start();
        connected(&gateway);
        assert_eq!(gateway.ask(&with(&cookie)).status, 200, "{host}");
        redis.end("alive");
        eventually("it is dead", || gateway.ask(&with(&cookie)).status == 401);
        redis.plant("alive", "alice");
    }
    let unknown = [
        Setup::new(&text(&format!("{{ url: 'rediss://127.0.0.1:{port}', ca: ca.crt }}"), &origins, "deny", "60s"))
            .file("ca.crt", &strange),
        Setup::new(&text(&format!("'rediss://127.0.0.1:{port}'"), &origins, "deny", "60s")),
    ];
    for setup in unknown {
        let gateway = setup.start();
        eventually("the log says why", || gateway.log().to_lowercase().contains("certificate"));
        assert_eq!((gateway.ask(&with(&cookie)).status, up(&gateway)), (503, 0.0));
    }
}

#[test]
fn a_cluster_finds_each_session_also_when_its_slot_moves() {
    let (cluster, origins) = (RedisCluster::start(), Origin::several(2));
    let store = format!("{{ cluster: {} }}", cluster.list());
    let gateway = Gateway::start(&text(&store, &origins, "deny", "300ms"));
    connected(&gateway);
    // Their slots are on all of the nodes.
    let cookies: Vec<_> = (0..12).map(|index| cluster.plant(&format!("s{index}"), "alice")).collect();
    let nodes: std::collections::BTreeSet<_> = (0..12).map(|index| cluster.owner(&format!("sess:s{index}"))).collect();
    assert_eq!(nodes.len(), 3);
    for cookie in &cookies {
        assert_eq!(gateway.ask(&with(cookie)).status, 200);
    }
    let load = Load::start(gateway.address(), 2, &with(&cookies[0]));
    load.more(20);
    cluster.move_slot_of("sess:s0");
    load.more(200);
    let tally = load.stop();
    eprintln!("a moved slot: {:?}, slowest {:?}", tally.by_status, tally.slowest());
    tally.assert_all_ok();
    let mut browser = crate::harness::Browser::new(gateway.address()).with(&cookies[0]);
    let home = browser.get("/bound").instance().to_owned();
    for _ in 0..6 {
        assert_eq!(browser.get("/bound").instance(), home);
    }
    assert!(cluster.end("s0"));
    eventually("the cache time is over", || gateway.ask(&with(&cookies[0])).status == 401);
    assert_eq!(gateway.ask(&with(&cookies[1])).status, 200);
}

#[test]
fn sentinels_lead_to_the_new_master_under_load() {
    let (mut sentinel, origins) = (RedisSentinel::start(), Origin::several(2));
    let store =
        format!("{{ sentinel: {{ master: {}, addresses: {}, db: 1 }} }}", RedisSentinel::MASTER, sentinel.list());
    let gateway = Gateway::start(&text(&store, &origins, "allow", "60s"));
    connected(&gateway);
    let in_db_1 = |sentinel: &RedisSentinel, command: &[&str]| {
        let client = redis::Client::open(format!("{}/1", sentinel.master().url())).unwrap();
        redis::cmd(command[0]).arg(&command[1..]).exec(&mut client.get_connection().unwrap()).unwrap();
    };
    in_db_1(&sentinel, &["SET", "sess:alive", &crate::harness::stored("alice")]);
    let ask = with(&signed("alive", SECRET));
    let load = Load::start(gateway.address(), 4, &ask);
    load.more(100);
    let ((), took) = timed(|| sentinel.fail_over());
    let ((), found) = timed(|| connected(&gateway));
    eprintln!("the sentinels took {took:?}, the gateway {found:?} more");
    load.more(100);
    let tally = load.stop();
    tally.assert_all_ok();
    assert_eq!(tally.slower_than(BUDGET + ENOUGH), 0, "{:?}", tally.slowest());
    assert_eq!(gateway.ask(&ask).status, 200, "the session was replicated");
    in_db_1(&sentinel, &["DEL", "sess:alive"]);
    eventually("it is dead", || gateway.ask(&ask).status == 401);
}

#[test]
fn sentinels_lead_to_a_master_that_speaks_tls_only() {
    let (redis, port, ca) = Redis::tls();
    let (sentinel, sentinel_port) = redis.sentinel_by_tls(port);
    let origins = Origin::several(1);
    let cookie = redis.plant("alive", "alice");
    let by_tls = format!("addresses: ['rediss://127.0.0.1:{sentinel_port}']");
    let in_plain_text = format!("addresses: ['{}'], tls: true", sentinel.address());
    for sentinels in [by_tls, in_plain_text] {
        let store = format!("{{ sentinel: {{ master: {}, {sentinels} }}, ca: ca.crt }}", RedisSentinel::MASTER);
        let gateway = Setup::new(&text(&store, &origins, "deny", "60s")).file("ca.crt", &ca).start();
        connected(&gateway);
        assert_eq!(gateway.ask(&with(&cookie)).status, 200, "{sentinels}");
    }
}

#[test]
fn an_express_application_whose_redis_died_is_still_reached() {
    let mut redis = Redis::start();
    let apps = NodeApp::several_with_sessions(2, &redis);
    let endpoints = crate::harness::node_list(&apps);
    let text = text(&url(&redis), &[], "allow", "60s").replace("endpoints: []", &format!("endpoints: {endpoints}"));
    let gateway = Gateway::start(&text);
    connected(&gateway);
    let mut browser = crate::harness::Browser::new(gateway.address());
    browser.set_cookie("connect.sid", redis.plant("alive", "alice").split_once('=').unwrap().1);
    assert_eq!(browser.get("/account").json()["user"], "alice");
    let load = Load::start(gateway.address(), 2, &Ask::get("/public").header("Cookie", &signed("alive", SECRET)));
    load.more(20);
    redis.kill();
    load.more(100);
    redis.restart();
    eventually("all is well again", || {
        let answer = browser.get("/account");
        answer.status == 200 && answer.json()["user"] == "alice"
    });
    load.more(20);
    load.stop().assert_all_ok();
}
