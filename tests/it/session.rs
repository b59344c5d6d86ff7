//! Who is let in by a session, what the application is told of it, and what a forged one costs: nothing.

use std::fs;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;

use crate::harness::{Ask, Gateway, NodeApp, Origin, Recorded, Redis, SECRET, Setup, eventually, list, signed, stored};

/// A gateway in front of one origin and one Redis.
struct Case {
    origin: Origin,
    redis: Redis,
    gateway: Gateway,
}

/// The source of the tests that are not about sources.
fn express(redis: &Redis) -> String {
    let redis = redis.url();
    format!(
        "cookie: connect.sid, format: express, secrets: [{SECRET}], store: '{redis}', timeout: 5s, cache: 60s, \
         when_store_down: deny"
    )
}

impl Case {
    /// With `session: { source: web, RULE }` on the route to the origin.
    fn new(rule: &str) -> Case {
        Case::of(express, rule, "")
    }

    /// With this source, and further lines behind the routes.
    fn of(source: impl Fn(&Redis) -> String, rule: &str, more: &str) -> Case {
        let (origin, redis) = (Origin::start("a"), Redis::start());
        let gateway = Gateway::start(&text(&source(&redis), &list(&[&origin]), rule, more));
        connected(&gateway);
        Case { origin, redis, gateway }
    }

    fn status(&self, ask: &Ask) -> u16 {
        self.gateway.ask(ask).status
    }

    fn checks(&self, result: &str) -> f64 {
        checks(&self.gateway, result)
    }

    /// The last request that reached the origin.
    fn told(&self, ask: &Ask) -> Recorded {
        assert_eq!(self.status(ask), 200);
        self.origin.last()
    }
}

fn text(source: &str, endpoints: &str, rule: &str, more: &str) -> String {
    format!(
        "sessions:\n  web: {{ {source} }}\nupstreams:\n  node: {{ endpoints: {endpoints} }}\nroutes:\n  \
         - {{ upstream: node, session: {{ source: web, {rule} }} }}\n{more}\n"
    )
}

fn connected(gateway: &Gateway) {
    eventually("the store is there", || gateway.metrics().sum("headgate_session_store_up", &[]) >= 1.0);
}

fn checks(gateway: &Gateway, result: &str) -> f64 {
    gateway.metrics().sum("headgate_session_checks_total", &[("source", "web"), ("result", result)])
}

fn with(cookie: &str) -> Ask {
    Ask::get("/").header("Cookie", cookie)
}

#[test]
fn a_required_session_lets_in_who_has_one_that_lives() {
    let case = Case::new("require: true");
    let cookie = case.redis.plant("alive", "alice");
    let others = format!("a=1; {cookie}; b=2");
    assert_eq!((case.status(&with(&cookie)), case.status(&with(&others))), (200, 200));
    for ask in [Ask::get("/"), with("a=1"), with(&signed("unknown", SECRET)), with(&signed("alive", "another"))] {
        let answer = case.gateway.ask(&ask);
        assert_eq!(answer.status, 401, "{ask:?}");
    }
    assert_eq!(case.origin.count(), 2);
    let counted = ["live", "cached", "absent", "dead", "bad_signature"].map(|result| case.checks(result));
    assert_eq!(counted, [1.0, 1.0, 2.0, 1.0, 1.0]);
    let waits = case.gateway.metrics().sum("headgate_session_check_duration_seconds_count", &[("source", "web")]);
    assert!(waits >= 2.0, "{waits}");
}

#[test]
fn no_kind_of_request_goes_round_a_required_session() {
    let redis = Redis::start();
    let app = NodeApp::start("n1");
    let gateway = Gateway::start(&text(&express(&redis), &format!("[{}]", app.address()), "require: true", ""));
    connected(&gateway);
    let cookie = redis.plant("alive", "alice");
    let upgrade = || {
        let ask = Ask::get("/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
        ask.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    for ask in [upgrade(), Ask::new("HEAD", "/"), Ask::new("OPTIONS", "/"), Ask::post("/", "x"), Ask::get("/any")] {
        assert_eq!(gateway.ask(&ask).status, 401, "{ask:?}");
    }
    assert_eq!(gateway.ask(&Ask::new("HEAD", "/").header("Cookie", &cookie)).status, 200);
    let mut client = gateway.client();
    client.write(upgrade().header("Cookie", &cookie).bytes());
    assert_eq!(client.head().status, 101);
}

#[test]
fn a_live_session_is_no_logged_in_user() {
    let case = Case::new("require: { field: passport.user }, otherwise: 403");
    case.redis.ask::<()>(&["SET", "sess:guest", r#"{"cookie":{},"visits":3,"passport":{"user":null}}"#]);
    assert_eq!(case.status(&with(&signed("guest", SECRET))), 403);
    assert_eq!(case.status(&with(&case.redis.plant("user", "alice"))), 200);
    // Logging in without a new id changes the value; the cache time is a minute.
    case.redis.ask::<()>(&["SET", "sess:guest", &stored("bob")]);
    eventually("the change is seen", || case.status(&with(&signed("guest", SECRET))) == 200);
    assert_eq!(case.status(&Ask::get("/")), 403);
}

#[test]
fn who_has_no_session_is_sent_to_the_login() {
    let more = "  - { path: /login, upstream: node }\n  - path: /pong\n    respond: { body: pong }\n    \
                session: { source: web, require: true }";
    let case = Case::of(express, "require: true, otherwise: { redirect: /login }", more);
    let answer = case.gateway.get("/basket");
    assert!([302, 303, 307].contains(&answer.status), "{answer:?}");
    assert!(answer.header("location").unwrap().starts_with("/login"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "nobody keeps it for those who are logged in");
    assert_eq!(case.gateway.get("/login").status, 200);
    // A route that answers by itself holds the rule as well.
    assert_eq!(case.gateway.get("/pong").status, 401);
    let answer = case.gateway.ask(&Ask::get("/pong").header("Cookie", &case.redis.plant("alive", "alice")));
    assert_eq!((answer.status, answer.text().as_str()), (200, "pong"));
}

#[test]
fn the_application_is_told_who_it_is_and_never_by_the_client() {
    let more = "  - { path: /open, upstream: node }\nlisteners: [{ address: 127.0.0.1:0, underscores: keep }]";
    let case = Case::of(express, "forward: { x-user: passport.user, X-Visits: visits }", more);
    let cookie = case.redis.plant("alive", "alice");
    let spoofed = |ask: Ask| {
        let ask = ask.header("X-User", "mallory").header("x-user", "eve").header("X_User", "trudy");
        ask.header("x_USER", "oscar").header("X-Visits", "7").header("X-Other", "stays")
    };
    let told = case.told(&spoofed(with(&cookie)));
    assert_eq!((told.head.headers("x-user"), told.head.headers("x-visits")), (vec!["alice"], vec!["1"]));
    assert_eq!((told.header("x_user"), told.header("x-other")), (None, Some("stays")));
    for nobody in [with("a=1"), with(&signed("unknown", SECRET)), with(&signed("alive", "another secret of ours"))] {
        let told = case.told(&spoofed(nobody));
        let none: Vec<&str> = Vec::new();
        assert_eq!((told.head.headers("x-user"), told.head.headers("x-visits")), (none.clone(), none));
        assert_eq!((told.header("x_user"), told.header("x-other")), (None, Some("stays")));
    }
    // Named as a header of the connection it is no less deleted, and the gateway's own no less there.
    let told = case.told(&with(&cookie).header("Connection", "x-user").header("X-User", "mallory"));
    assert_eq!(told.head.headers("x-user"), ["alice"]);
    // The application believes the header wherever it comes in: on a route that says nothing of sessions as well.
    let open = Ask::get("/open").header("X-User", "mallory").header("X_User", "trudy");
    let told = case.told(&open);
    assert_eq!((told.header("x-user"), told.header("x_user")), (None, None));
    // What can't stand in a header is not forwarded.
    case.redis.ask::<()>(&["SET", "sess:odd", r#"{"cookie":{},"passport":{"user":"a\r\nX-Admin: 1"}}"#]);
    let told = case.told(&with(&signed("odd", SECRET)));
    assert_eq!((told.header("x-user"), told.header("x-admin")), (None, None));
}

#[test]
fn what_is_forged_asks_no_store_and_is_counted() {
    let case = Case::new("require: true");
    case.redis.plant("alive", "alice");
    let good = signed("alive", SECRET);
    let (name, value) = good.split_once('=').unwrap();
    let encoded_dot = value.rfind('.').unwrap();
    let forged = [
        signed("alive", "another secret of sixteen letters"),
        format!("{name}={}", &value[..value.len() - 1]),
        format!("{name}={}", &value[..encoded_dot]),
        format!("{name}={}", &value[..encoded_dot + 1]),
        format!("{name}={}", value.replace("alive", "alivf")),
        format!("{name}=s%3A.{}", &value[encoded_dot + 1..]),
        format!("{name}=alive"),
        format!("{name}=s%3Aalive"),
        format!("{name}=s%3A{}", "x".repeat(8192)),
        format!("{name}={}.{}", "%00".repeat(300), &value[encoded_dot + 1..]),
        format!("{name}=j%3A%7B%22a%22%3A1%7D"),
    ];
    case.redis.forget_calls();
    for cookie in &forged {
        assert_eq!(case.status(&with(cookie)), 401, "{cookie}");
    }
    let not_utf8 = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: connect.sid=s%3A\xff\xfe\xfd.abc\xff\r\n\r\n".to_vec();
    let mut client = case.gateway.client();
    client.write(&not_utf8);
    let status = client.answer().status;
    // Such bytes may also be refused before anybody looks for a session.
    assert!([400, 401].contains(&status), "{status}");
    assert_eq!(case.origin.count(), 0);
    assert_eq!((case.redis.called("getrange"), case.redis.called("exists"), case.redis.called("mget")), (0, 0, 0));
    let counted = case.checks("bad_signature");
    assert_eq!(counted, (forged.len() + usize::from(status == 401)) as f64);
    assert_eq!(case.status(&with(&good)), 200);
}

#[test]
fn garbage_in_the_store_is_a_dead_session_and_counted() {
    let case = Case::new("require: true");
    let garbage = ["", "no json", "[1,2]", "\"text\"", "null", "{\"cookie\":", "\u{0}\u{1}\u{ff}"];
    for (index, value) in garbage.into_iter().enumerate() {
        case.redis.ask::<()>(&["SET", &format!("sess:g{index}"), value]);
        assert_eq!(case.status(&with(&signed(&format!("g{index}"), SECRET))), 401, "{value:?}");
    }
    case.redis.ask::<()>(&["LPUSH", "sess:list", "1"]);
    case.redis.ask::<()>(&["HSET", "sess:hash", "a", "1"]);
    for id in ["list", "hash"] {
        assert_eq!(case.status(&with(&signed(id, SECRET))), 401, "{id}");
    }
    let counted = case.gateway.metrics().sum("headgate_session_garbage_total", &[("source", "web")]);
    assert!(counted >= 8.0, "{counted}");
    // What is only odd is as alive as it is to the application.
    let deep = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
    case.redis.ask::<()>(&["SET", "sess:deep", &deep]);
    assert_eq!(case.status(&with(&signed("deep", SECRET))), 200);
    // A store that holds garbage is not down.
    assert_eq!(case.gateway.metrics().sum("headgate_session_store_up", &[]), 1.0);
    assert_eq!(case.status(&with(&case.redis.plant("alive", "alice"))), 200);
}

#[test]
fn a_session_whose_time_is_over_is_dead_at_once() {
    let case = Case::new("require: true");
    let cookie = case.redis.plant("short", "alice");
    case.redis.ask::<()>(&["PEXPIRE", "sess:short", "400"]);
    assert_eq!(case.status(&with(&cookie)), 200);
    eventually("it is over", || case.status(&with(&cookie)) == 401);
}

#[test]
fn every_one_of_the_secrets_verifies() {
    let case = Case::of(
        |redis| express(redis).replace(SECRET, &format!("a newer secret of letters, {SECRET}")),
        "require: true",
        "",
    );
    case.redis.plant("alive", "alice");
    for secret in ["a newer secret of letters", SECRET] {
        assert_eq!(case.status(&with(&signed("alive", secret))), 200);
    }
}

#[test]
fn a_plain_id_in_a_header_or_as_bearer_is_looked_up_under_its_key() {
    for (place, name, before) in [("header: x-session", "X-Session", ""), ("bearer: true", "Authorization", "Bearer ")]
    {
        let source = |redis: &Redis| {
            let redis = redis.url();
            format!("{place}, format: plain, store: '{redis}', key: 'app:{{id}}:s', timeout: 5s, when_store_down: deny")
        };
        let case = Case::of(source, "require: true", "");
        case.redis.ask::<()>(&["SET", "app:alive:s", "whatever"]);
        let ask = |id: &str| Ask::get("/").header(name, &format!("{before}{id}"));
        assert_eq!(
            (case.status(&ask("alive")), case.status(&ask("dead")), case.status(&Ask::get("/"))),
            (200, 401, 401)
        );
        // Somebody who tries one id again and again asks the store once.
        case.redis.forget_calls();
        for _ in 0..5 {
            assert_eq!(case.status(&ask("again")), 401);
        }
        assert!(case.redis.called("getrange") <= 1, "{:?}", case.redis.calls());
    }
}

#[test]
fn with_no_cache_time_the_store_is_asked_for_every_request() {
    let case = Case::of(|redis| express(redis).replace("cache: 60s", "cache: 0s"), "require: true", "");
    let cookie = case.redis.plant("alive", "alice");
    case.redis.forget_calls();
    for _ in 0..5 {
        assert_eq!(case.status(&with(&cookie)), 200);
    }
    assert_eq!((case.redis.called("getrange"), case.checks("live")), (5, 5.0));
    assert!(case.redis.end("alive"));
    assert_eq!(case.status(&with(&cookie)), 401);
}

#[test]
fn without_pushes_the_cache_time_is_what_counts() {
    let source = |redis: &Redis| {
        // A user who may not turn tracking on.
        redis.ask::<()>(&["ACL", "SETUSER", "gate", "on", ">pw", "~*", "+@all", "-client|tracking"]);
        express(redis).replace("redis://", "redis://gate:pw@").replace("cache: 60s", "cache: 700ms")
    };
    let case = Case::of(source, "require: true", "");
    assert_eq!(case.gateway.metrics().sum("headgate_session_store_tracking", &[]), 0.0);
    let cookie = case.redis.plant("alive", "alice");
    assert_eq!((case.status(&with(&cookie)), case.status(&with(&cookie))), (200, 200));
    assert_eq!(case.checks("cached"), 1.0);
    assert!(case.redis.end("alive"));
    eventually("the cache time is over", || case.status(&with(&cookie)) == 401);
}

// --- Tokens

fn encode(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

fn unsigned(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn hs256(claims: &serde_json::Value, secret: &str) -> String {
    let text = unsigned(&json!({ "alg": "HS256", "typ": "JWT" }), claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = encode(hmac::sign(&key, text.as_bytes()));
    format!("{text}.{signature}")
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn bearer(token: &str) -> Ask {
    Ask::get("/").header("Authorization", &format!("Bearer {token}"))
}

#[test]
fn a_token_is_let_in_until_it_expires_or_its_id_is_revoked() {
    let source = |redis: &Redis| {
        let redis = redis.url();
        format!(
            "bearer: true, format: jwt, store: '{redis}', cache: 60s, timeout: 5s, when_store_down: deny, jwt: {{ \
             secrets: [{SECRET}], issuer: 'https://login.example', audience: shop, revoked_key: 'revoked:{{jti}}' }}"
        )
    };
    let case = Case::of(source, "require: { field: sub }, forward: { x-user: sub }", "");
    let claims = |jti: &str, wrong: &[(&str, serde_json::Value)]| {
        let mut claims = json!({ "iss": "https://login.example", "aud": ["shop", "x"], "sub": "alice", "jti": jti,
            "exp": now() + 3600, "nbf": now() - 10 });
        wrong.iter().for_each(|(name, value)| claims[*name] = value.clone());
        claims
    };
    let good = hs256(&claims("t1", &[]), SECRET);
    assert_eq!(case.told(&bearer(&good)).header("x-user"), Some("alice"));
    let wrong = [
        ("exp", json!(now() - 3600)),
        ("nbf", json!(now() + 3600)),
        ("iss", json!("https://other.example")),
        ("aud", json!("other")),
        ("sub", json!("")),
    ];
    for wrong in &wrong {
        assert_eq!(case.status(&bearer(&hs256(&claims("t2", std::slice::from_ref(wrong)), SECRET))), 401, "{wrong:?}");
    }
    let none = format!("{}.", unsigned(&json!({ "alg": "none" }), &claims("t3", &[])));
    for forged in
        [hs256(&claims("t3", &[]), "another secret of sixteen"), none, good.replace('.', ""), good[..40].into()]
    {
        assert_eq!(case.status(&bearer(&forged)), 401, "{forged}");
    }
    case.redis.ask::<()>(&["SET", "revoked:t1", "1", "EX", "3600"]);
    eventually("it is revoked", || case.status(&bearer(&good)) == 401);
    assert_eq!(case.status(&bearer(&hs256(&claims("t4", &[]), SECRET))), 200);
}

#[test]
fn a_token_is_verified_with_the_keys_of_a_file_that_is_watched() {
    let origin = Origin::start("a");
    let key = |id: &str| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &SystemRandom::new()).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": x, "y": y });
        (pair, json!({ "keys": [jwk] }).to_string())
    };
    let token = |pair: &EcdsaKeyPair, id: &str| {
        let text = unsigned(&json!({ "alg": "ES256", "kid": id }), &json!({ "sub": "alice", "exp": now() + 3600 }));
        let signature = encode(pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap());
        format!("{text}.{signature}")
    };
    let ((old, old_set), (new, new_set)) = (key("k1"), key("k2"));
    // No store: a valid token is a live session.
    let text = text("cookie: token, format: jwt, jwt: { jwks: keys.json }", &list(&[&origin]), "require: true", "");
    let gateway = Setup::new(&text).file("keys.json", &old_set).start();
    let status = |pair, id| gateway.ask(&with(&format!("token={}", token(pair, id)))).status;
    assert_eq!((status(&old, "k1"), status(&new, "k2"), status(&new, "k1")), (200, 401, 401));
    let before = gateway.generation();
    fs::write(gateway.path("next"), &new_set).unwrap();
    fs::rename(gateway.path("next"), gateway.path("keys.json")).unwrap();
    gateway.wait_for_generation_after(before);
    assert_eq!((status(&old, "k1"), status(&new, "k2")), (401, 200));
}

// --- The store in memory

#[test]
fn the_store_in_memory_learns_from_the_applications_own_cookies() {
    let origin = Origin::start("a");
    let endpoints = list(&[&origin]);
    let source = "cookie: sid, format: plain, store: memory";
    let text = text(
        source,
        &endpoints,
        "require: true",
        "  - { path: /login, upstream: node }\n  - { path: /logout, upstream: node }",
    );
    let gateway = Gateway::start(&text);
    let ask = |path: &str, set: &str, cookie: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{set}\r\n");
        origin.bytes(&answer);
        gateway.ask(&Ask::get(path).header("Cookie", cookie)).status
    };
    assert_eq!(ask("/", "", "sid=one"), 401);
    assert_eq!(ask("/login", "Set-Cookie: sid=one; Path=/; HttpOnly\r\n", ""), 200);
    assert_eq!((ask("/", "", "sid=one"), ask("/", "", "sid=two")), (200, 401));
    // It lives in the process, not in a generation.
    gateway.rewrite(&text.replace("require: true", "require: true, otherwise: 403"));
    assert_eq!((ask("/", "", "sid=one"), ask("/", "", "sid=two")), (200, 403));
    assert_eq!(ask("/logout", "Set-Cookie: sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n", "sid=one"), 200);
    assert_eq!(ask("/", "", "sid=one"), 403);
    // Alive as long as the cookie says.
    assert_eq!(ask("/login", "Set-Cookie: sid=short; Max-Age=1\r\n", ""), 200);
    assert_eq!(ask("/", "", "sid=short"), 200);
    eventually("it is over", || ask("/", "", "sid=short") == 403);
}

// --- What is said of it

#[test]
fn the_log_tells_how_a_session_stands_and_never_its_id() {
    let case = Case::of(
        express,
        "require: true, forward: { x-user: passport.user }",
        "telemetry: { log: { level: debug }, access_log: { path: DIR/access.log, format: json } }",
    );
    let cookie = case.redis.plant("the-id-of-alice", "alice");
    let (_, value) = cookie.split_once('=').unwrap();
    case.status(&with(&cookie));
    case.status(&with(&cookie));
    case.status(&with(&signed("the-id-of-eve", "another secret")));
    let line = |number| -> serde_json::Value {
        serde_json::from_str(&crate::access_log::line(&case.gateway, number)).unwrap()
    };
    let lines = [line(1), line(2), line(3)];
    let standing = lines.iter().map(|line| line["session"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(standing, ["live", "cached", "bad_signature"]);
    let hash = lines[0]["session_hash"].as_str().unwrap();
    assert!(hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    assert_eq!(lines[1]["session_hash"], hash);
    let status = case.gateway.status().to_string();
    let metrics = case.gateway.admin_get("/metrics").text();
    let said = [fs::read_to_string(case.gateway.path("access.log")).unwrap(), case.gateway.log(), status, metrics];
    for secret in ["the-id-of", value, SECRET] {
        assert!(!said.iter().any(|text| text.contains(secret)), "{secret} was told: {said:#?}");
    }
}

#[test]
fn a_stores_credentials_are_told_nobody() {
    let redis = Redis::start();
    redis.ask::<()>(&["ACL", "SETUSER", "gate", "on", ">p@ss#w/rd%x", "~*", "+@all"]);
    redis.plant("alive", "alice");
    let origin = Origin::start("a");
    let stores = |password: &str, url: &str| {
        let source = format!(
            "cookie: connect.sid, format: express, secrets: [{SECRET}], store: main, timeout: 5s, cache: 60s, when_store_down: deny"
        );
        let stores = format!("stores:\n  main: {{ url: '{url}'{password} }}\n");
        format!("{stores}{}", text(&source, &list(&[&origin]), "require: true", "telemetry: { log: { level: debug } }"))
    };
    let plain = format!("redis://{}", redis.address());
    let in_url = format!("redis://gate:p%40ss%23w%2Frd%25x@{}", redis.address());
    let texts = [
        stores("", &in_url),
        stores(", user: gate, password: 'p@ss#w/rd%x'", &plain),
        stores(", user: gate, password: '${PASSWORD}'", &plain),
    ];
    for text in texts {
        let gateway = Setup::new(&text).env("PASSWORD", "p@ss#w/rd%x").start();
        connected(&gateway);
        assert_eq!(gateway.ask(&with(&signed("alive", SECRET))).status, 200);
        // Refused from now on.
        redis.ask::<()>(&["ACL", "SETUSER", "gate", "resetpass", ">other"]);
        redis.ask::<u64>(&["CLIENT", "KILL", "USER", "gate"]);
        eventually("it is down", || gateway.metrics().sum("headgate_session_store_up", &[]) == 0.0);
        let said = format!("{}{}{}", gateway.log(), gateway.status(), gateway.admin_get("/metrics").text());
        for secret in ["p@ss", "w/rd", "p%40ss"] {
            assert!(!said.contains(secret), "{said}");
        }
        redis.ask::<()>(&["ACL", "SETUSER", "gate", "resetpass", ">p@ss#w/rd%x"]);
        eventually("it is up", || gateway.metrics().sum("headgate_session_store_up", &[]) == 1.0);
    }
}

#[test]
fn a_session_that_died_while_nobody_told_is_found_dead_after_the_connection_broke() {
    let case = Case::new("require: true");
    let cookie = case.redis.plant("alive", "alice");
    assert_eq!(case.status(&with(&cookie)), 200);
    // The connection that pushes would come on breaks, and the key goes in the same moment: what was known is forgotten.
    let script = "redis.call('DEL', KEYS[1]) return 1";
    case.redis.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    case.redis.ask::<()>(&["EVAL", script, "1", "sess:alive"]);
    eventually("it is dead", || case.status(&with(&cookie)) == 401);
    let reconnected = || case.gateway.metrics().sum("headgate_session_store_reconnects_total", &[]) >= 1.0;
    eventually("it is counted", reconnected);
}
