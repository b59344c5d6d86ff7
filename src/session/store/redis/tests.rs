//! Against a real redis-server each, and against what pretends to be one.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::super::{
    Address, Bind, BindingKey, Credentials, Invalidated, RedisConfig, Servers, Store, StoreConfig, StoreError,
    StoreState, Tls,
    testing::{RedisServer, free_port},
};
use crate::telemetry::metrics::Metrics;

const BUDGET: Duration = Duration::from_millis(100);
/// What a look-up may take beyond its budget on a machine that is busy with all these tests.
const A_LITTLE: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(86_400);

/// A store with its keeper.
struct Kept {
    store: Arc<Store>,
    keeper: JoinHandle<()>,
}

/// Writes down what a cache would hear.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, Instant)>>);

impl Invalidated for Heard {
    fn invalidated(&self, key: &[u8]) {
        self.note(String::from_utf8_lossy(key).into_owned());
    }

    fn lost(&self) {
        self.note("(lost)".to_owned());
    }
}

impl Heard {
    fn note(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((what, Instant::now()));
    }

    fn has(&self, what: &str) -> bool {
        self.at(what).is_some()
    }

    fn at(&self, what: &str) -> Option<Instant> {
        self.0.lock().unwrap().iter().find(|(heard, _)| heard == what).map(|(_, at)| *at)
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Kept {
    fn new(config: StoreConfig) -> Self {
        let store = Store::new("web".into(), config, Metrics::new().store("web"));
        let keeper = tokio::spawn(Arc::clone(&store).keep());
        Self { store, keeper }
    }

    async fn up(config: StoreConfig) -> Self {
        let kept = Self::new(config);
        kept.turns(StoreState::Up).await;
        kept
    }

    async fn turns(&self, state: StoreState) {
        eventually(&format!("{state:?}: {:?}", self.store.health()), || self.store.health().state == state).await;
    }

    /// A look-up, held to its budget.
    async fn get(&self, key: &str) -> Result<Option<String>, StoreError> {
        let began = Instant::now();
        let found = self.store.get(key, BUDGET).await;
        assert!(began.elapsed() < BUDGET + A_LITTLE, "a look-up took {:?}", began.elapsed());
        found.map(|value| value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// Looks up until it is answered again.
    async fn answers(&self, key: &str, expected: Option<&str>) {
        let until = Instant::now() + LONG;
        while self.get(key).await != Ok(expected.map(str::to_owned)) {
            assert!(Instant::now() < until, "never answered: {:?}", self.store.health());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn last_error(&self) -> String {
        self.store.health().last_error.unwrap_or_default().into()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < until, "never {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn redis(servers: Servers) -> RedisConfig {
    RedisConfig { servers, credentials: Credentials::default(), db: 0, tls: None }
}

fn at(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

fn who(user: &str, password: &str) -> Credentials {
    Credentials { user: Some(user.into()), password: Some(password.into()) }
}

/// Accepts connections and lets `serve` deal with each, until the test ends.
fn pretender(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> StoreConfig {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    StoreConfig::Redis(redis(Servers::One(at(port))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_with_its_bytes_or_not_at_all() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    server.command(&["SET", "sess:a", "{}"]);
    server.command(&["SET", "ok", "OK"]);
    server.command(&["SET", "empty", ""]);
    server.command(&["RPUSH", "list", "x"]);
    assert_eq!(kept.get("sess:a").await, Ok(Some("{}".to_owned())));
    assert_eq!(kept.get("ok").await, Ok(Some("OK".to_owned())));
    assert_eq!(kept.get("empty").await, Ok(None), "an empty text is no session");
    assert_eq!(kept.get("sess:b").await, Ok(None));
    assert_eq!(kept.store.exists("sess:a", BUDGET).await, Ok(true));
    assert_eq!(kept.store.exists("sess:b", BUDGET).await, Ok(false));
    for _ in 0..5 {
        assert_eq!(
            kept.get("list").await,
            Err(StoreError::Garbage),
            "what is no string is garbage, and no fault of Redis"
        );
    }
    assert_eq!(kept.store.health().state, StoreState::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_made_once_extended_and_removed() {
    let server = RedisServer::start();
    let (one, two) = (Kept::up(server.config()).await, Kept::up(server.config()).await);
    let key = BindingKey::new("node", "abc");
    assert_eq!(one.store.binding(&key, BUDGET).await, Ok(None));
    assert_eq!(one.store.bind(&key, "a:1", DAY, Bind::IfAbsent, BUDGET).await, Ok(None));
    let lost_race = two.store.bind(&key, "b:1", DAY, Bind::IfAbsent, BUDGET).await;
    assert_eq!(lost_race, Ok(Some("a:1".into())), "who came first stays, and the other hears of it");
    let found = two.store.binding(&key, BUDGET).await.unwrap().unwrap();
    assert_eq!(&*found.value, b"a:1");
    assert!(found.left <= DAY && found.left > DAY - LONG, "{:?}", found.left);
    assert_eq!(two.store.bind(&key, "b:1", LONG, Bind::Always, BUDGET).await, Ok(None));
    assert_eq!(two.store.extend(&key, DAY, BUDGET).await, Ok(()));
    let found = one.store.binding(&key, BUDGET).await.unwrap().unwrap();
    assert_eq!(&*found.value, b"b:1");
    assert!(found.left > LONG);
    assert_eq!(one.store.remove(&key, BUDGET).await, Ok(()));
    assert_eq!(two.store.binding(&key, BUDGET).await, Ok(None));
    assert_eq!(two.store.extend(&key, DAY, BUDGET).await, Ok(()), "what is gone is not made again");
    assert_eq!(server.command(&["KEYS", "*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_heard_of_at_once() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    assert!(kept.store.health().tracking);
    let heard = Arc::new(Heard::default());
    let cache: Arc<dyn Invalidated> = heard.clone();
    kept.store.subscribe(Arc::downgrade(&cache));
    let mut slowest = Duration::ZERO;
    let changes: [&[&str]; 5] = [
        &["SET", "sess:a", "{}"],
        &["EXPIRE", "sess:a", "60"],
        &["SET", "sess:a", "{\"n\":1}", "EX", "60"],
        &["DEL", "sess:a"],
        &["SET", "sess:a", "x", "PX", "500"],
    ];
    for change in changes {
        kept.get("sess:a").await.unwrap();
        heard.forget();
        let began = Instant::now();
        server.command(change);
        eventually("heard of the change", || heard.has("sess:a")).await;
        slowest = slowest.max(heard.at("sess:a").unwrap() - began);
    }
    assert_eq!(kept.get("sess:a").await, Ok(Some("x".to_owned())));
    heard.forget();
    // Redis removes what has expired when it comes across it: here, when somebody asks.
    eventually("heard of the end", || {
        server.command(&["EXISTS", "sess:a"]);
        heard.has("sess:a")
    })
    .await;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    println!("from asking for a change to its push: at most {slowest:?}");

    kept.get("sess:b").await.unwrap();
    heard.forget();
    let key = BindingKey::new("node", "abc");
    kept.store.binding(&key, BUDGET).await.unwrap();
    kept.store.bind(&key, "a:1", DAY, Bind::Always, BUDGET).await.unwrap();
    server.command(&["SET", "sess:b", "x"]);
    eventually("heard", || heard.has("sess:b")).await;
    assert!(!heard.has(key.as_str()), "what we write ourselves is not told");

    heard.forget();
    server.command(&["FLUSHALL"]);
    eventually("heard that all is gone", || heard.has("(lost)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_down_at_once_and_back_without_help() {
    let mut server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    let heard = Arc::new(Heard::default());
    let cache: Arc<dyn Invalidated> = heard.clone();
    kept.store.subscribe(Arc::downgrade(&cache));
    server.kill();
    kept.turns(StoreState::Down).await;
    // Told as soon as nobody can ask any more, by whoever found the connection gone: a moment later than that shows.
    eventually("what is remembered may be stale from here on", || heard.has("(lost)")).await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(kept.get("a").await, Err(StoreError::Down));
    }
    assert!(began.elapsed() < BUDGET, "without a connection nobody waits");
    assert!(!kept.store.health().tracking);
    server.restart();
    server.command(&["SET", "a", "1"]);
    kept.answers("a", Some("1")).await;
    let health = kept.store.health();
    assert!(health.tracking && health.reconnects == 1, "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_are_made_again() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    for round in 1..=3 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("made again", || kept.store.health().reconnects == round).await;
        kept.answers("a", None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_is_frozen_many_look_ups_cost_the_budget_once() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    server.command(&["SET", "a", "1"]);
    kept.answers("a", Some("1")).await;
    server.freeze();
    let began = Instant::now();
    let all: Vec<_> = (0..500)
        .map(|_| {
            let store = Arc::clone(&kept.store);
            tokio::spawn(async move { store.get("a", BUDGET).await })
        })
        .collect();
    for one in all {
        assert!(matches!(one.await.unwrap(), Err(StoreError::Timeout | StoreError::Down)));
    }
    assert!(began.elapsed() < BUDGET + A_LITTLE, "{:?}", began.elapsed());
    assert_eq!(kept.store.health().state, StoreState::Failing);
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(kept.get("a").await, Err(StoreError::Down));
    }
    assert!(began.elapsed() < BUDGET, "the breaker is open: nobody waits");
    server.thaw();
    kept.answers("a", Some("1")).await;
    assert_eq!(kept.store.health().reconnects, 0, "a hiccup costs no connection");

    server.freeze();
    kept.turns(StoreState::Down).await;
    assert_eq!(kept.get("a").await, Err(StoreError::Down));
    server.thaw();
    kept.answers("a", Some("1")).await;
    kept.turns(StoreState::Up).await;
    println!("{:?}", kept.store.health());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_too_long_for_a_session_is_garbage_and_holds_up_nobody() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    server.command(&["SET", "long", &"x".repeat(super::MOST_READ)]);
    // Whole, it would take longer to come than a look-up may.
    server.command(&["SETRANGE", "huge", &(200 << 20).to_string(), "x"]);
    assert_eq!(kept.get("long").await.map(|value| value.map(|value| value.len())), Ok(Some(super::MOST_READ)));
    for _ in 0..5 {
        assert_eq!(kept.get("huge").await, Err(StoreError::Garbage));
    }
    assert_eq!(kept.store.health().state, StoreState::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_wait_are_sent_away() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    server.freeze();
    let all: Vec<_> = (0..super::MOST_WAITING + 10)
        .map(|_| {
            let store = Arc::clone(&kept.store);
            tokio::spawn(async move { store.get("a", Duration::from_secs(1)).await })
        })
        .collect();
    let mut overload = 0;
    for one in all {
        overload += usize::from(one.await.unwrap() == Err(StoreError::Overload));
    }
    assert_eq!(overload, 10);
    server.thaw();
    kept.answers("a", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_errors_is_left_alone_until_it_does_not() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    server.command(&["SET", "a", "1"]);
    server.command(&["ACL", "SETUSER", "default", "-getrange"]);
    assert_eq!(kept.get("a").await, Err(StoreError::Refused));
    let until = Instant::now() + LONG;
    while kept.get("a").await != Err(StoreError::Down) {
        assert!(Instant::now() < until, "the breaker never opened");
    }
    let health = kept.store.health();
    assert_eq!(health.state, StoreState::Failing);
    assert_eq!(health.last_error.as_deref(), Some("it refuses the user what is needed (NOPERM)"));
    server.command(&["ACL", "SETUSER", "default", "+getrange"]);
    kept.answers("a", Some("1")).await;
    assert_eq!(kept.store.health().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_write_is_still_read() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    server.command(&["SET", "a", "1"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let key = BindingKey::new("node", "abc");
    for _ in 0..5 {
        let bound = kept.store.bind(&key, "a:1", DAY, Bind::IfAbsent, BUDGET).await;
        assert_eq!(bound, Err(StoreError::Refused));
    }
    assert_eq!(kept.get("a").await, Ok(Some("1".to_owned())));
    assert_eq!(kept.last_error(), "it answers with an error (OOM)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_is_down_and_harms_nobody() {
    let silent = pretender(std::mem::forget);
    let closing = pretender(drop);
    let says = |bytes: &'static [u8]| {
        pretender(move |mut stream| {
            let _ = stream.write_all(bytes);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = stream.read(&mut [0; 1024]);
        })
    };
    let pretenders = [
        silent,
        closing,
        says(b"\x00\xff\xfe\x80garbage\r\n"),
        says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        says(b"*9223372036854775807\r\n"),
        says(b"*100000000\r\n"),
        says(b"%9223372036854775807\r\n"),
        says(b"$9223372036854775807\r\nx"),
        says(b"$-7\r\n:9999999999999999999999\r\n"),
        says(b"-LOADING Redis is loading the dataset in memory\r\n-LOADING\r\n-LOADING\r\n-LOADING\r\n-LOADING\r\n"),
        StoreConfig::Redis(redis(Servers::One(at(free_port())))),
        StoreConfig::Redis(redis(Servers::One(Address { host: "no.such.host.invalid".into(), port: 6379 }))),
    ];
    let stores: Vec<_> = pretenders.into_iter().map(Kept::new).collect();
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        for kept in &stores {
            assert_eq!(kept.get("a").await, Err(StoreError::Down));
            assert!(!kept.keeper.is_finished(), "{:?}", kept.store);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for kept in &stores {
        println!("{}", kept.last_error());
        assert!(kept.store.health().last_error.is_some(), "{:?}", kept.store);
    }
}

/// Hands on every byte to `port`, after as many milliseconds as it is told.
fn slow_way(to: u16, late: Arc<AtomicU64>) -> StoreConfig {
    pretender(move |from_us| {
        let server = std::net::TcpStream::connect(("127.0.0.1", to)).unwrap();
        for (mut from, mut to) in [
            (from_us.try_clone().unwrap(), server.try_clone().unwrap()),
            (server.try_clone().unwrap(), from_us.try_clone().unwrap()),
        ] {
            let late = Arc::clone(&late);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = from.read(&mut bytes) {
                    std::thread::sleep(Duration::from_millis(late.load(Relaxed)));
                    if to.write_all(&bytes[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_too_late_is_left_alone_but_kept() {
    let server = RedisServer::start();
    server.command(&["SET", "a", "1"]);
    let late = Arc::new(AtomicU64::new(0));
    let kept = Kept::up(slow_way(server.port(), Arc::clone(&late))).await;
    let heard = Arc::new(Heard::default());
    let cache: Arc<dyn Invalidated> = heard.clone();
    kept.store.subscribe(Arc::downgrade(&cache));
    kept.answers("a", Some("1")).await;
    late.store(150, Relaxed);
    let until = Instant::now() + Duration::from_secs(2);
    let mut late_ones = 0;
    while Instant::now() < until {
        late_ones += usize::from(kept.get("a").await == Err(StoreError::Timeout));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(late_ones, 3, "a probe that is answered too late lets nobody in");
    assert_eq!(kept.store.health().state, StoreState::Failing);
    server.command(&["SET", "a", "2"]);
    eventually("heard of the change all the same", || heard.has("a")).await;
    late.store(0, Relaxed);
    kept.answers("a", Some("2")).await;
    assert_eq!(kept.store.health().reconnects, 0);
    assert!(!heard.has("(lost)"), "what was remembered stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_it_and_a_right_one_lets_in() {
    let server = RedisServer::start();
    server.command(&[
        "ACL",
        "SETUSER",
        "gate",
        "on",
        ">pa:ss/w@rd",
        "~sess:*",
        "+getrange",
        "+exists",
        "+hello",
        "+client|tracking",
    ]);
    server.command(&["SET", "sess:a", "1"]);
    server.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    let with = |credentials| match server.config() {
        StoreConfig::Redis(config) => StoreConfig::Redis(RedisConfig { credentials, ..config }),
        StoreConfig::Memory => unreachable!(),
    };
    let nobody = Kept::new(with(Credentials::default()));
    let wrong = Kept::new(with(who("gate", "wr0ng")));
    let right = Kept::up(with(who("gate", "pa:ss/w@rd"))).await;
    assert_eq!(right.get("sess:a").await, Ok(Some("1".to_owned())));
    assert!(right.store.health().tracking, "a user that may do only what is needed gets all of it");
    eventually("refused", || nobody.last_error() == "it wants a password (NOAUTH)").await;
    eventually("refused", || wrong.last_error() == "it refuses the user or the password (WRONGPASS)").await;
    assert_eq!(wrong.get("sess:a").await, Err(StoreError::Down));
    for kept in [&nobody, &wrong, &right] {
        let printed = format!("{:?} {:?}", kept.store, kept.store.health());
        assert!(!["hunter2", "wr0ng", "pa:ss"].iter().any(|secret| printed.contains(secret)), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_used_without_being_told_of_changes() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    let kept = Kept::up(server.config()).await;
    server.command(&["SET", "a", "1"]);
    assert_eq!(kept.get("a").await, Ok(Some("1".to_owned())));
    assert!(!kept.store.health().tracking);
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("made again", || kept.store.health().reconnects == 1).await;
    kept.answers("a", Some("1")).await;

    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "default", "-client|tracking"]);
    let kept = Kept::up(server.config()).await;
    assert!(!kept.store.health().tracking, "and so is one that doesn't let us track");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_is_another_store() {
    let server = RedisServer::start();
    server.command(&["SET", "a", "1"]);
    let in_db = |db| StoreConfig::Redis(RedisConfig { db, ..redis(Servers::One(server.address())) });
    assert_eq!(Kept::up(in_db(3)).await.get("a").await, Ok(None));
    let kept = Kept::new(in_db(99));
    eventually("refused", || kept.last_error() == "it has no such database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_cancelled_leaves_the_connection_to_the_next() {
    let mut server = RedisServer::start();
    let mut kept = Kept::up(server.config()).await;
    for _ in 0..3 {
        kept.keeper.abort();
        assert!((&mut kept.keeper).await.unwrap_err().is_cancelled());
        assert!(!kept.store.later(Box::pin(async {})), "nobody would do it");
        assert_eq!(kept.get("a").await, Ok(None), "requests go on meanwhile");
        kept.keeper = tokio::spawn(Arc::clone(&kept.store).keep());
    }
    assert_eq!(kept.store.health().reconnects, 0);
    let done = Arc::new(Mutex::new(0));
    eventually("somebody does it", || {
        let done = Arc::clone(&done);
        kept.store.later(Box::pin(async move { *done.lock().unwrap() += 1 }))
    })
    .await;
    assert!(
        kept.store.later(Box::pin(async { std::panic::resume_unwind(Box::new("of its own")) })),
        "and is not harmed by a panic"
    );
    eventually("done", || *done.lock().unwrap() == 1).await;
    server.kill();
    kept.turns(StoreState::Down).await;
    server.restart();
    kept.answers("a", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_with_the_last_who_holds_it() {
    let server = RedisServer::start();
    let kept = Kept::up(server.config()).await;
    let (ours, itself) = (Arc::downgrade(&kept.store), Arc::clone(&kept.store));
    assert!(kept.store.later(Box::pin(async move {
        let _itself = itself;
        std::future::pending().await
    })));
    drop(kept);
    eventually("gone", || ours.strong_count() == 0).await;
    eventually("closed", || !server.command(&["CLIENT", "LIST"]).contains("lib-name=headgate")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_wants_a_certificate_of_the_right_ca() {
    let certificates = tempfile::tempdir().unwrap();
    let make = |script: &str| {
        let made =
            Command::new("sh").args(["-ec", script]).current_dir(certificates.path()).stderr(Stdio::null()).status();
        assert!(made.unwrap().success());
    };
    let ca = |name: &str| {
        make(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} \
             -keyout {name}.key -out {name}.crt"
        ));
    };
    ca("right");
    ca("wrong");
    make(
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis -keyout redis.key -out redis.csr
         printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > extensions
         openssl x509 -req -days 2 -in redis.csr -CA right.crt -CAkey right.key -extfile extensions -out redis.crt",
    );
    let tls_port = free_port();
    let file = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let server = RedisServer::start_with(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &file("redis.crt"),
        "--tls-key-file",
        &file("redis.key"),
        "--tls-ca-cert-file",
        &file("right.crt"),
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "hunter2",
    ]);
    let by = |ca: &str, host: &str| {
        StoreConfig::Redis(RedisConfig {
            credentials: Credentials { user: None, password: Some("hunter2".into()) },
            tls: Some(Tls { ca: Some(fs::read(file(ca)).unwrap().into()) }),
            ..redis(Servers::One(Address { host: host.into(), port: tls_port }))
        })
    };
    let right = Kept::up(by("right.crt", "127.0.0.1")).await;
    assert_eq!(right.get("a").await, Ok(None));
    assert!(right.store.health().tracking);
    for (refused, why) in
        [(by("wrong.crt", "127.0.0.1"), "UnknownIssuer"), (by("right.crt", "localhost"), "NotValidForName")]
    {
        assert_eq!(refused.check(), Ok(()));
        let kept = Kept::new(refused);
        eventually(why, || kept.last_error().contains(why) || kept.last_error().contains("not valid for name")).await;
        assert_eq!(kept.get("a").await, Err(StoreError::Down));
    }
    let no_certificate = by("right.key", "127.0.0.1");
    assert_eq!(no_certificate.check(), Err("there is no certificate (PEM) in it".to_owned()));
    fs::write(file("broken.crt"), "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n").unwrap();
    assert!(by("broken.crt", "127.0.0.1").check().is_err());
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_that_sentinels_name_is_followed() {
    let master = RedisServer::start();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    master.command(&["SET", "a", "1"]);
    let sentinels: Vec<_> = (0..3).map(|_| sentinel(master.port())).collect();
    let mut addresses = vec![at(free_port())];
    addresses.extend(sentinels.iter().map(|(sentinel, _)| sentinel.address()));
    let config = |name: &str| {
        StoreConfig::Redis(redis(Servers::Sentinel {
            master: name.into(),
            sentinels: addresses.clone(),
            credentials: Credentials::default(),
            tls: None,
        }))
    };
    let unknown = Kept::new(config("other"));
    let kept = Kept::up(config("shop")).await;
    assert!(kept.store.health().tracking);
    assert_eq!(kept.get("a").await, Ok(Some("1".to_owned())));
    eventually("replica is there", || replica.command(&["GET", "a"]) == "1").await;
    for (sentinel, _) in &sentinels {
        let told = || sentinel.command(&["SENTINEL", "MASTER", "shop"]);
        eventually("Sentinels know each other", || told().contains("num-other-sentinels\n2\n")).await;
        eventually("Sentinels know the replica", || told().contains("num-slaves\n1\n")).await;
    }
    master.freeze();
    let began = Instant::now();
    eventually("failed over", || replica.command(&["ROLE"]).starts_with("master")).await;
    replica.command(&["SET", "a", "2"]);
    kept.answers("a", Some("2")).await;
    println!("failed over after {:?}", began.elapsed());
    master.thaw();
    let key = BindingKey::new("node", "abc");
    assert_eq!(kept.store.bind(&key, "a:1", DAY, Bind::IfAbsent, BUDGET).await, Ok(None));
    eventually("told", || unknown.last_error().contains("knows no master \"other\"")).await;
}

fn sentinel(master: u16) -> (RedisServer, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sentinel.conf");
    let lines = format!(
        "sentinel monitor shop 127.0.0.1 {master} 2\nsentinel down-after-milliseconds shop 500\n\
         sentinel failover-timeout shop 2000\n"
    );
    fs::write(&file, lines).unwrap();
    (RedisServer::start_with(&[file.to_str().unwrap(), "--sentinel"]), directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_demoted_is_left() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let (sentinel, _directory) = sentinel(old.port());
    sentinel.command(&["ACL", "SETUSER", "asker", "on", ">s3ntinel", "+sentinel"]);
    old.command(&["ACL", "SETUSER", "gate", "on", ">m4ster", "~*", "+@all"]);
    let with = |credentials| {
        let sentinels = vec![sentinel.address()];
        let servers = Servers::Sentinel { master: "shop".into(), sentinels, credentials, tls: None };
        StoreConfig::Redis(RedisConfig { credentials: who("gate", "m4ster"), ..redis(servers) })
    };
    let stranger = Kept::new(with(who("asker", "wr0ng")));
    let kept = Kept::up(with(who("asker", "s3ntinel"))).await;
    eventually("refused", || stranger.last_error().contains("it refuses the user or the password")).await;
    // What a Sentinel does in the end, but for closing our connection.
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    let key = BindingKey::new("node", "abc");
    let until = Instant::now() + LONG;
    while kept.store.bind(&key, "a:1", DAY, Bind::Always, BUDGET).await.is_ok() {
        assert!(Instant::now() < until);
    }
    eventually("refused", || kept.last_error().contains("it is no master")).await;
    new.command(&["ACL", "SETUSER", "gate", "on", ">m4ster", "~*", "+@all"]);
    sentinel.command(&["SENTINEL", "REMOVE", "shop"]);
    sentinel.command(&["SENTINEL", "MONITOR", "shop", "127.0.0.1", &new.port().to_string(), "1"]);
    kept.turns(StoreState::Up).await;
    assert_eq!(kept.store.bind(&key, "a:1", DAY, Bind::Always, BUDGET).await, Ok(None));
    assert_eq!(new.command(&["GET", key.as_str()]), "a:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_followed_when_a_slot_moves_and_outlives_a_node() {
    let mut nodes: Vec<_> = (0..3)
        .map(|_| {
            // The bus would else be at the port + 10000, which may be too high.
            let bus = free_port().to_string();
            let arguments =
                ["--cluster-enabled", "yes", "--cluster-config-file", "{dir}/nodes.conf", "--cluster-port", &bus];
            RedisServer::start_with(
                &[&arguments[..], &["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"]]
                    .concat(),
            )
        })
        .collect();
    let names: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&names)
        .args(["--cluster-yes"])
        .stdout(Stdio::null())
        .status();
    assert!(created.unwrap().success());
    for node in &nodes {
        eventually("the nodes agree", || node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).await;
    }
    let config = redis(Servers::Cluster(vec![at(free_port()), nodes[0].address()]));
    let kept = Kept::up(StoreConfig::Redis(config)).await;
    assert!(!kept.store.health().tracking);
    let key = BindingKey::new("node", "abc");
    assert_eq!(kept.store.bind(&key, "a:1", DAY, Bind::IfAbsent, BUDGET).await, Ok(None));
    assert_eq!(kept.store.bind(&key, "b:1", DAY, Bind::IfAbsent, BUDGET).await, Ok(Some("a:1".into())));
    let holds = |node: &RedisServer, key: &str| !node.command(&["GET", key]).starts_with("MOVED");
    let holder = |nodes: &[RedisServer], key: &str| nodes.iter().position(|node| holds(node, key)).unwrap();

    // The slot of foo moves from its node to the next.
    let (from, slot) = (holder(&nodes, "foo"), nodes[0].command(&["CLUSTER", "KEYSLOT", "foo"]));
    let to = (from + 1) % 3;
    nodes[from].command(&["SET", "foo", "1"]);
    assert_eq!(kept.get("foo").await, Ok(Some("1".to_owned())));
    let id = |node: &RedisServer| node.command(&["CLUSTER", "MYID"]);
    let (old, new) = (id(&nodes[from]), id(&nodes[to]));
    nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old]);
    nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new]);
    nodes[from].command(&["MIGRATE", "127.0.0.1", &nodes[to].port().to_string(), "foo", "0", "1000"]);
    assert_eq!(kept.get("foo").await, Ok(Some("1".to_owned())), "asked where it is going");
    nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]);
    nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]);
    kept.answers("foo", Some("1")).await;
    assert_eq!(kept.store.health().state, StoreState::Up);

    // The node that holds bar dies; what the others hold is read all the same.
    let dead = holder(&nodes, "bar");
    let living = (0..1000).map(|n| format!("k{n}")).find(|key| holder(&nodes, key) == (dead + 1) % 3).unwrap();
    nodes[dead].kill();
    let until = Instant::now() + LONG;
    while kept.store.health().state != StoreState::Failing {
        assert!(Instant::now() < until);
        assert!(kept.get("bar").await.is_err());
    }
    for _ in 0..5 {
        assert_eq!(kept.get(&living).await, Ok(None));
        assert_eq!(kept.get("bar").await, Err(StoreError::Down));
    }
    nodes[dead].restart();
    kept.answers("bar", None).await;
    kept.turns(StoreState::Up).await;

    // And all at once.
    nodes.iter_mut().for_each(RedisServer::kill);
    let until = Instant::now() + LONG;
    while kept.get("foo").await.is_ok() {
        assert!(Instant::now() < until);
    }
    nodes.iter_mut().for_each(RedisServer::restart);
    kept.answers("bar", None).await;
}
