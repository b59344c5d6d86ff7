//! The harness tested without a gateway: a double that lies would make every other test worthless.

use std::time::Duration;

use super::{
    Ask, Browser, Client, Load, NodeApp, Origin, Redis, RedisCluster, RedisSentinel, Reply, SOON, Says, StoreDouble,
    stored,
};

#[test]
fn an_origin_answers_records_goes_down_and_comes_up_on_its_port() {
    let mut origin = Origin::start("a");
    let mut client = Client::connect(origin.address());
    let answer = client.ask(&Ask::new("PUT", "/x").header("X-Y", "z").chunks(&["hello ", "world"]));
    assert_eq!((answer.status, answer.instance()), (200, "a"));
    let request = origin.request();
    assert_eq!((request.method.as_str(), request.target.as_str(), request.header("x-y")), ("PUT", "/x", Some("z")));
    assert_eq!((request.text().as_str(), request.body.chunks.as_slice()), ("hello world", &[6, 5][..]));
    origin.down();
    assert!(Client::try_connect(origin.address()).is_err());
    origin.up();
    assert_eq!(Client::connect(origin.address()).get("/").status, 200);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn an_origin_resets_and_replies_once_as_told() {
    let origin = Origin::start("a");
    origin.reply_once(Reply::Status(503));
    origin.reply_once(Reply::Reset);
    let mut client = Client::connect(origin.address());
    assert_eq!(client.get("/").status, 503);
    let error = client.try_ask(&Ask::get("/")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(Client::connect(origin.address()).get("/").status, 200);
}

#[test]
fn a_load_counts_what_came_of_each_request() {
    let origin = Origin::start("a");
    let tally = Load::run(origin.address(), 4, 100, &Ask::get("/"));
    tally.assert_all_ok();
    assert_eq!((tally.total(), tally.of("a"), origin.count(), origin.accepted()), (100, 100, 100, 4));
}

#[test]
fn a_node_app_answers_dies_and_starts_again_on_its_port() {
    let mut app = NodeApp::start("n1");
    assert_eq!(Client::connect(app.address()).get("/").instance(), "n1");
    app.healthy(false);
    assert_eq!(Client::connect(app.address()).get("/healthz").status, 503);
    app.kill();
    assert!(Client::try_connect(app.address()).is_err());
    app.restart();
    assert_eq!(Client::connect(app.address()).get("/healthz").status, 200);
}

#[test]
fn a_redis_keeps_its_port_and_its_sessions_over_death_and_frost() {
    let mut redis = Redis::start();
    redis.plant("x", "alice");
    redis.restart();
    assert_eq!(redis.keys("sess:*"), ["sess:x"]);
    redis.forget_calls();
    assert_eq!(redis.ask::<Option<String>>(&["GET", "sess:x"]).unwrap(), stored("alice"));
    assert_eq!(redis.called("get"), 1);
    redis.freeze();
    let frozen = redis::Client::open(redis.url()).unwrap().get_connection_with_timeout(Duration::from_millis(300));
    assert!(frozen.is_err());
    redis.thaw();
    assert!(redis.end("x"));
}

#[test]
fn a_cluster_moves_a_slot_with_its_sessions() {
    let cluster = RedisCluster::start();
    cluster.plant("x", "alice");
    let before = cluster.owner("sess:x");
    cluster.move_slot_of("sess:x");
    assert_ne!(cluster.owner("sess:x"), before);
    assert!(cluster.end("x"));
}

#[test]
fn sentinels_make_the_replica_the_master() {
    let mut sentinel = RedisSentinel::start();
    sentinel.master().plant("x", "alice");
    let before = sentinel.master().address();
    sentinel.fail_over();
    assert_ne!(sentinel.master().address(), before);
    assert_eq!(sentinel.master().keys("sess:*"), ["sess:x"]);
}

#[test]
fn a_session_app_keeps_its_session_in_redis_over_login_and_logout() {
    let redis = Redis::start();
    let apps = NodeApp::several_with_sessions(2, &redis);
    let mut browser = Browser::new(apps[0].address());
    assert_eq!(browser.get("/").json()["visits"], 1);
    let before = browser.cookie("connect.sid").unwrap().to_owned();
    browser.go_to(apps[1].address());
    assert_eq!((browser.get("/").json()["visits"].as_u64(), browser.get("/").instance()), (Some(2), "n2"));
    assert_eq!(browser.post("/login?user=bob").json()["user"], "bob");
    assert_ne!(browser.cookie("connect.sid").unwrap(), before);
    assert_eq!(browser.get("/account").json()["visits"], 3);
    // What the tests sign and store themselves is what the app understands.
    let mut planted = Browser::new(apps[0].address()).with(&redis.plant("planted", "carol"));
    assert_eq!(planted.get("/account").json()["user"], "carol");
    browser.post("/logout");
    assert_eq!(
        (browser.cookie("connect.sid"), redis.keys("sess:*").as_slice()),
        (None, &["sess:planted".to_owned()][..])
    );
}

#[test]
fn a_store_double_errs_or_says_nothing() {
    let double = StoreDouble::start(Says::Error("LOADING Redis is loading the dataset in memory"));
    let mut connection = redis::Client::open(double.url()).unwrap().get_connection_with_timeout(SOON).unwrap();
    let error = redis::cmd("GET").arg("x").query::<String>(&mut connection).unwrap_err();
    assert!(error.to_string().contains("loading"), "{error}");
    assert_eq!(double.commands(), 1);
    let silent = StoreDouble::start(Says::Nothing);
    assert!(
        redis::Client::open(silent.url()).unwrap().get_connection_with_timeout(Duration::from_millis(200)).is_err()
    );
}
