use http::{
    HeaderValue,
    header::{AUTHORIZATION, COOKIE, HeaderName, SET_COOKIE},
};
use proptest::prelude::*;

use super::*;
use crate::{
    session::{
        Jwks,
        store::{Address, Credentials, RedisConfig, Servers, StoreConfig, testing::RedisServer},
        vectors,
    },
    telemetry::metrics::Metrics,
};

/// `x`, signed with `keyboard cat`.
const X: &str = "connect.sid=s%3Ax.QbtlXSTVNejzRVcfI9s8EX1VrPh6zJMbOtCoEMLgPmM";
const ABC: &str = "connect.sid=s%3Aa.b.c.G8ReS2HiYVtvMBGFvZUGp5RaCauWFLUTjnnTm%2FEQ2aE";

fn settings(format: Format) -> SourceSettings {
    SourceSettings {
        name: "web".into(),
        place: Place::Cookie("connect.sid".into()),
        format,
        key: KeyTemplate::new("sess:{id}", "{id}"),
        timeout: Duration::from_millis(50),
        cache: Duration::from_secs(2),
        allow_when_down: false,
        fields: vec![FieldPath::parse("user.id").unwrap()],
        hash_key: Secret::new(b"hash"),
    }
}

fn express() -> Format {
    Format::Express(vec![Secret::new(b"new"), Secret::new(b"keyboard cat")])
}

fn tokens() -> SourceSettings {
    let jwt = JwtSettings { keys: Jwks::parse(vectors::JWKS.as_bytes()).unwrap(), ..JwtSettings::default() };
    SourceSettings { place: Place::Bearer, key: None, ..settings(Format::Jwt(jwt)) }
}

fn memory() -> Arc<Store> {
    Store::new("memory".into(), StoreConfig::Memory, Metrics::new().store("memory"))
}

/// Never connected: whoever asks it gets an error.
fn away() -> Arc<Store> {
    let address = Address { host: "127.0.0.1".into(), port: 1 };
    let servers = Servers::One(address);
    let config = RedisConfig { servers, credentials: Credentials::default(), db: 0, tls: None };
    Store::new("away".into(), StoreConfig::Redis(config), Metrics::new().store("away"))
}

fn source(settings: SourceSettings, store: Option<Arc<Store>>) -> Arc<Source> {
    counted(settings, store, &Metrics::new())
}

fn counted(settings: SourceSettings, store: Option<Arc<Store>>, metrics: &Metrics) -> Arc<Source> {
    Source::new(settings, store, metrics.session("web"), None)
}

fn cookie(line: &str) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).unwrap())])
}

fn answer(line: &str) -> HeaderMap {
    HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_str(line).unwrap())])
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
}

async fn result(source: &Source, headers: &HeaderMap) -> CheckResult {
    source.check(headers).await.result
}

#[tokio::test]
async fn memory_knows_a_session_from_its_cookie_to_its_deletion() {
    for format in [express(), Format::Plain] {
        let source = source(settings(format), Some(memory()));
        let headers = cookie(X);
        assert_eq!(result(&source, &headers).await, CheckResult::Dead);
        source.learn(&HeaderMap::new(), &source.issued(&answer(X)));
        let check = source.check(&headers).await;
        let Standing::Live(session) = &check.standing else { panic!("{check:?}") };
        assert_eq!((check.result, session.hash.to_string().len()), (CheckResult::Live, 8));
        assert!(!session.holds(source.field(&FieldPath::parse("user.id").unwrap()).unwrap()));
        assert_eq!(result(&source, &headers).await, CheckResult::Cached);
        source.learn(&headers, &source.issued(&answer("connect.sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")));
        assert_eq!(result(&source, &headers).await, CheckResult::Dead);
    }
}

#[tokio::test]
async fn a_new_id_ends_the_one_that_it_follows() {
    let source = source(settings(express()), Some(memory()));
    source.learn(&HeaderMap::new(), &source.issued(&answer(X)));
    source.learn(&cookie(X), &source.issued(&answer(X)));
    assert_eq!(result(&source, &cookie(X)).await, CheckResult::Live);
    source.learn(&cookie(X), &source.issued(&answer(&format!("{ABC}; Path=/; Max-Age=60"))));
    assert_eq!(result(&source, &cookie(X)).await, CheckResult::Dead);
    assert_eq!(result(&source, &cookie(ABC)).await, CheckResult::Live);
}

#[tokio::test]
async fn no_store_is_asked_for_what_nobody_signed() {
    let express = source(settings(express()), Some(away()));
    let long = format!("connect.sid=s%3A{}", "x".repeat(8192));
    for line in ["connect.sid=x", "connect.sid=s%3Ax.AAAA", "connect.sid=%00", &X[..X.len() - 2], &long] {
        assert_eq!(result(&express, &cookie(line)).await, CheckResult::BadSignature, "{line}");
    }
    let raw = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(b"connect.sid=\xff\xfe").unwrap())]);
    assert_eq!(result(&express, &raw).await, CheckResult::BadSignature);
    let plain = source(settings(Format::Plain), Some(away()));
    for line in ["connect.sid=a b", "connect.sid=%00", "connect.sid=%C3%A9", &long] {
        assert_eq!(result(&plain, &cookie(line)).await, CheckResult::BadSignature, "{line}");
    }
    for source in [express, plain] {
        for line in ["", "x=1", "connect.sid=", "connect.sid"] {
            assert_eq!(result(&source, &cookie(line)).await, CheckResult::Absent, "{line}");
        }
        let check = source.check(&cookie(X)).await;
        assert_eq!((check.standing, check.result), (Standing::Unknown, CheckResult::Error));
    }
}

#[tokio::test]
async fn a_token_needs_no_store_and_brings_its_fields() {
    let source = source(tokens(), None);
    let user = source.field(&FieldPath::parse("user.id").unwrap()).unwrap();
    for token in [vectors::RS256, vectors::ES256, vectors::RS256] {
        let Check { standing: Standing::Live(session), result } = source.check(&bearer(token)).await else { panic!() };
        assert_eq!((result, session.id.as_str()), (CheckResult::Live, "token-1"));
        assert_eq!(session.value(user).unwrap(), "7");
    }
    assert_eq!(result(&source, &bearer(vectors::HS256)).await, CheckResult::BadSignature);
    assert_eq!(result(&source, &HeaderMap::new()).await, CheckResult::Absent);
}

#[tokio::test]
async fn a_token_that_is_remembered_still_expires() {
    let source = source(tokens(), None);
    let headers = bearer(vectors::ES256);
    assert!(matches!(source.find(&headers), Found::Id(_)));
    let after = now() + Duration::from_secs(2_000_000_000);
    assert!(matches!(source.carried(&headers, after), Carried::Over));
}

#[tokio::test]
async fn a_token_is_revoked_by_a_key_that_is_there() {
    let store = memory();
    let settings = SourceSettings { key: KeyTemplate::new("revoked:{jti}", "{jti}"), ..tokens() };
    let source = source(settings.clone(), Some(Arc::clone(&store)));
    assert_eq!(result(&source, &bearer(vectors::RS256)).await, CheckResult::Live);
    let cached = source.check(&bearer(vectors::ES256)).await;
    assert_eq!(cached.result, CheckResult::Cached);
    assert!(matches!(cached.standing, Standing::Live(_)));
    store.learn("revoked:token-1", DAY);
    source.kept.as_ref().unwrap().clear();
    assert_eq!(result(&source, &bearer(vectors::RS256)).await, CheckResult::Dead);
    assert_eq!(result(&self::source(settings, Some(away())), &bearer(vectors::RS256)).await, CheckResult::Error);
}

#[test]
fn answers_tell_of_ids_that_requests_could_bring() {
    let source = source(settings(express()), Some(memory()));
    let id = SessionId::new(b"x").unwrap();
    let new = |max_age| Issued::New { id: id.clone(), max_age };
    assert_eq!(source.issued(&answer(X)), new(None));
    assert_eq!(source.issued(&answer(&format!("{X}; Max-Age=5"))), new(Some(Duration::from_secs(5))));
    assert_eq!(source.issued(&answer("connect.sid=s%3Ax.forged")), Issued::Nothing);
    assert_eq!(source.issued(&answer("other=x")), Issued::Nothing);
    assert_eq!(source.issued(&answer("connect.sid=; Max-Age=0")), Issued::Ended);
    assert_eq!(self::source(tokens(), None).issued(&answer(X)), Issued::Nothing);
}

#[tokio::test]
async fn equal_settings_over_the_same_store_keep_what_is_remembered() {
    let (store, metrics) = (memory(), Metrics::new().session("web"));
    let make = |settings, store: &Arc<Store>, previous: Option<&Arc<Source>>| {
        Source::new(settings, Some(Arc::clone(store)), Arc::clone(&metrics), previous)
    };
    let first = make(settings(express()), &store, None);
    assert!(Arc::ptr_eq(&first, &make(settings(express()), &store, Some(&first))));
    assert!(!Arc::ptr_eq(&first, &make(settings(express()), &memory(), Some(&first))));
    assert!(!Arc::ptr_eq(&first, &make(settings(Format::Plain), &store, Some(&first))));
    let other_keys = settings(Format::Express(vec![Secret::new(b"new")]));
    assert!(!Arc::ptr_eq(&first, &make(other_keys, &store, Some(&first))));
    first.learn(&HeaderMap::new(), &first.issued(&answer(X)));
    let _ = first.check(&cookie(X)).await;
    first.put_in_place();
    assert_eq!(first.sample().entries, 1);
    assert!(first.sample().bytes > 0);
}

#[test]
fn nothing_secret_is_printed() {
    let text = format!("{:?} {:?}", settings(express()), source(settings(express()), Some(memory())));
    assert!(!text.contains("cat") && !text.contains("hash\""), "{text}");
}

/// A source of express's over a real Redis, whose store is kept connected while `test` runs.
async fn with_redis(cache: Duration, test: impl AsyncFn(&RedisServer, &Source, &Metrics)) {
    let metrics = Metrics::new();
    let redis = RedisServer::start();
    let store = Store::new("redis".into(), redis.config(), Metrics::new().store("redis"));
    let patient = SourceSettings { cache, timeout: Duration::from_secs(5), ..settings(express()) };
    let source = counted(patient, Some(Arc::clone(&store)), &metrics);
    tokio::select! {
        () = Arc::clone(&store).keep() => {}
        () = async {
            eventually(async || result(&source, &cookie(X)).await == CheckResult::Dead).await;
            test(&redis, &source, &metrics).await;
        } => {}
    }
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), held).await.expect("it to hold within 10 s");
}

#[tokio::test]
async fn redis_says_what_lives_and_a_deleted_session_is_dead_at_once() {
    with_redis(Duration::from_secs(3600), async |redis, source, _| {
        let user = source.field(&FieldPath::parse("user.id").unwrap()).unwrap();
        // Express extends a session without writing it, so what it says of its own end is not believed.
        let stored = r#"{"cookie":{"originalMaxAge":1,"expires":"2020-01-01T00:00:00.000Z"},"user":{"id":"ann"}}"#;
        redis.command(&["SET", "sess:x", stored]);
        eventually(async || result(source, &cookie(X)).await == CheckResult::Cached).await;
        let Standing::Live(session) = source.check(&cookie(X)).await.standing else { panic!() };
        assert_eq!(session.value(user).unwrap(), "ann");
        redis.command(&["DEL", "sess:x"]);
        eventually(async || result(source, &cookie(X)).await == CheckResult::Dead).await;
    })
    .await;
}

#[tokio::test]
async fn garbage_in_redis_is_dead_and_counted() {
    with_redis(Duration::ZERO, async |redis, source, metrics| {
        for garbage in ["null", "[]", "7", "not json", "{\"a\":"] {
            redis.command(&["SET", "sess:x", garbage]);
            assert_eq!(result(source, &cookie(X)).await, CheckResult::Dead, "{garbage}");
        }
        redis.command(&["DEL", "sess:x"]);
        redis.command(&["HSET", "sess:x", "a", "b"]);
        assert_eq!(result(source, &cookie(X)).await, CheckResult::Dead);
        assert!(metrics.text().contains("garbage_total{source=\"web\"} 6\n"), "{}", metrics.text());
        redis.command(&["DEL", "sess:x"]);
        redis.command(&["SET", "sess:x", "{}"]);
        assert_eq!(result(source, &cookie(X)).await, CheckResult::Live);
    })
    .await;
}

proptest! {
    #[test]
    fn no_request_panics_or_is_taken_for_signed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let names = [COOKIE, AUTHORIZATION, HeaderName::from_static("x-session")];
        let places = [Place::Cookie("s".into()), Place::Bearer, Place::Header(names[2].clone())];
        let lines = [&b"s="[..], b"Bearer ", b""];
        for ((name, place), line) in names.into_iter().zip(places).zip(lines) {
            let Ok(value) = HeaderValue::from_bytes(&[line, &bytes].concat()) else { continue };
            let headers = HeaderMap::from_iter([(name, value)]);
            for format in [Format::Plain, express(), tokens().format] {
                let is_signed = format != Format::Plain;
                let found = source(SourceSettings { place: place.clone(), ..settings(format) }, None).find(&headers);
                prop_assert!(!is_signed || matches!(found, Found::Absent | Found::Forged));
            }
        }
    }
}
