//! Bindings of several gateways in one real Redis.

use tokio::task::JoinHandle;

use super::*;
use crate::session::store::StoreState;
use crate::session::store::testing::RedisServer;

const NODE: &[(&str, &[&str])] = &[("node", &["a:1", "b:1"])];
const LONG: Duration = Duration::from_secs(10);
/// What a wait may take beyond its budget on a machine that is busy with all these tests.
const A_LITTLE: Duration = Duration::from_millis(250);

/// A gateway with a connection of its own.
struct Gateway {
    replica: Replica,
    store: Arc<Store>,
    keeper: JoinHandle<()>,
}

impl Gateway {
    async fn new(server: &RedisServer) -> Self {
        let store = Store::new("web".into(), server.config(), Metrics::new().store("web"));
        let keeper = tokio::spawn(Arc::clone(&store).keep());
        let gateway = Self { replica: Replica::new(&store, NODE), store, keeper };
        gateway.turns(StoreState::Up).await;
        gateway
    }

    async fn turns(&self, state: StoreState) {
        eventually(async || self.store.health().state == state).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn eventually(holds: impl AsyncFn() -> bool) {
    let until = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < until, "never");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn key(sid: &str) -> String {
    BindingKey::new("node", sid).as_str().to_owned()
}

/// How often the server carried out a command that changes something, by its name.
fn writes(server: &RedisServer) -> Vec<String> {
    let reads = ["get", "pttl", "ping", "hello", "client", "config", "info", "role", "select", "exists"];
    let stats = server.command(&["INFO", "commandstats"]);
    let of = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let name = name.split('|').next().unwrap_or(name);
        let calls = rest.split(',').next()?;
        (!reads.contains(&name)).then(|| format!("{name} {calls}"))
    };
    let mut writes: Vec<_> = stats.lines().filter_map(of).collect();
    writes.sort();
    writes
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_send_a_session_to_one_endpoint() {
    let server = RedisServer::start();
    let (one, two) = (Gateway::new(&server).await, Gateway::new(&server).await);
    // Both know that there is none.
    assert_eq!((one.replica.at("s1").await, two.replica.at("s1").await), (None, None));
    assert_eq!(one.replica.request("s1", "b:1").await, "new");
    eventually(async || two.replica.at("s1").await.as_deref() == Some("b:1")).await;
    assert_eq!(server.command(&["GET", &key("s1")]), "b:1");
    let moved = two.replica.live("s1").await;
    let moved = two.replica.answer(&moved, "a:1", Some(Moved::Down), &Issued::Nothing).await;
    assert_eq!(moved, "repinned_down");
    eventually(async || one.replica.at("s1").await.as_deref() == Some("a:1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_known_to_the_other_gateway_before_its_answer_is_out() {
    let server = RedisServer::start();
    let (one, two) = (Gateway::new(&server).await, Gateway::new(&server).await);
    for round in 0..20 {
        let [before, after] = ["before", "after"].map(|name| format!("{name}{round}"));
        one.replica.request(&before, "b:1").await;
        let login = one.replica.live(&before).await;
        assert_eq!(one.replica.answer(&login, "b:1", None, &issued(&after)).await, "kept");
        assert_eq!(two.replica.at(&after).await.as_deref(), Some("b:1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_first_requests_at_once_one_binds_and_all_follow() {
    let server = RedisServer::start();
    let gateways = Arc::new([Gateway::new(&server).await, Gateway::new(&server).await]);
    for round in 0..10 {
        let sid = format!("s{round}");
        let requests = (0..16).map(|number| {
            let (gateways, sid) = (Arc::clone(&gateways), sid.clone());
            tokio::spawn(async move {
                let endpoint = if number % 4 < 2 { "a:1" } else { "b:1" };
                gateways[number % 2].replica.request(&sid, endpoint).await
            })
        });
        for request in requests.collect::<Vec<_>>() {
            assert!(["new", "kept"].contains(&request.await.unwrap().as_str()));
        }
        let winner = Some(server.command(&["GET", &key(&sid)]));
        for gateway in &*gateways {
            eventually(async || gateway.replica.at(&sid).await == winner).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_lives_for_its_time_and_is_extended_in_use() {
    let server = RedisServer::start();
    let one = Gateway::new(&server).await;
    one.replica.request("s1", "a:1").await;
    let left = || server.command(&["PTTL", &key("s1")]).parse::<u128>().unwrap();
    let day = DAY.as_millis();
    assert!(left() > day - 60_000 && left() <= day);
    let third = (day / 3).to_string();
    server.command(&["PEXPIRE", &key("s1"), &third]);
    eventually(async || {
        assert_eq!(one.replica.request("s1", "a:1").await, "kept");
        left() > day - 60_000
    })
    .await;
    server.command(&["DEL", &key("s1")]);
    eventually(async || one.replica.at("s1").await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_our_own_keys_is_written_and_nothing_twice() {
    let server = RedisServer::start();
    server.command(&["SET", "sess:s1", "{}", "PX", "3600000"]);
    server.command(&["SET", "sess:s2", "{}", "PX", "3600000"]);
    let one = Gateway::new(&server).await;
    server.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..5 {
        one.replica.request("s1", "a:1").await;
        // express-session with `rolling` sets the same id again.
        let rolling = one.replica.live("s1").await;
        one.replica.answer(&rolling, "a:1", None, &issued("s1")).await;
    }
    assert_eq!(writes(&server), ["set 1"]);
    let login = one.replica.live("s1").await;
    one.replica.answer(&login, "a:1", None, &issued("s2")).await;
    let moved = one.replica.live("s2").await;
    one.replica.answer(&moved, "b:1", Some(Moved::Drain), &Issued::Nothing).await;
    let logout = one.replica.live("s2").await;
    one.replica.answer(&logout, "b:1", None, &Issued::Ended).await;
    assert_eq!(writes(&server), ["del 1", "set 3"]);
    let mut keys: Vec<_> = server.command(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, [key("s1").as_str(), "sess:s1", "sess:s2"]);
    for app in ["sess:s1", "sess:s2"] {
        assert_eq!(server.command(&["GET", app]), "{}");
        assert!(server.command(&["PTTL", app]).parse::<u32>().unwrap() < 3_600_000, "never extended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_there_is_replaced() {
    let server = RedisServer::start();
    let one = Gateway::new(&server).await;
    for (sid, garbage) in [("s1", &["RPUSH", "x"][..]), ("s2", &["SET", "\u{7f}\u{1}"]), ("s3", &["SET", ""])] {
        server.command(&[garbage[0], &key(sid), garbage[1]]);
        assert_eq!(one.replica.request(sid, "a:1").await, "invalid", "{sid}");
        assert_eq!(one.replica.request(sid, "a:1").await, "kept", "{sid}");
        assert_eq!(server.command(&["GET", &key(sid)]), "a:1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_or_frozen_store_holds_no_request_up_and_bindings_return_with_it() {
    let mut server = RedisServer::start();
    let one = Gateway::new(&server).await;
    one.replica.request("s1", "a:1").await;
    let goes_on = async |sid: &str, issued: &Issued| {
        let began = Instant::now();
        let looked_up = one.replica.live(sid).await;
        let result = one.replica.answer(&looked_up, "b:1", None, issued).await;
        // One wait for the look-up, one for the binding of a new session.
        assert!(began.elapsed() < 2 * BUDGET + A_LITTLE, "{:?}", began.elapsed());
        (looked_up.pinned, result)
    };
    server.freeze();
    for round in 0..10 {
        assert_eq!(goes_on(&format!("frozen{round}"), &Issued::Nothing).await, (None, "-".to_owned()));
    }
    assert_eq!(goes_on("frozen", &issued("new")).await, (None, "-".to_owned()));
    server.thaw();
    one.turns(StoreState::Up).await;
    eventually(async || one.replica.at("s1").await.as_deref() == Some("a:1")).await;
    server.kill();
    one.turns(StoreState::Down).await;
    // What is remembered is forgotten a moment after the store is seen to be down.
    eventually(async || goes_on("s1", &Issued::Nothing).await == (None, "-".to_owned())).await;
    assert_eq!(goes_on("s1", &issued("s2")).await, (None, "-".to_owned()));
    server.restart();
    one.turns(StoreState::Up).await;
    eventually(async || one.replica.request("s3", "b:1").await == "new").await;
    assert_eq!(one.replica.at("s3").await.as_deref(), Some("b:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_a_session_is_bound_leaves_nothing_wrong_behind() {
    let server = RedisServer::start();
    let one = Gateway::new(&server).await;
    let looked_up = one.replica.live("s1").await;
    assert_eq!(looked_up.pinned, None);
    server.freeze();
    let bound = one.replica.answer(&looked_up, "b:1", None, &Issued::Nothing);
    assert!(tokio::time::timeout(BUDGET / 5, bound).await.is_err(), "it was cancelled");
    server.thaw();
    eventually(async || server.command(&["GET", &key("s1")]) == "b:1").await;
    assert_eq!(one.replica.at("s1").await.as_deref(), Some("b:1"));
}
