//! What a session costs: its check where it is remembered, for each format, and where the store is asked, which is memory
//! here; and a pin, found and kept.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use headgate::endpoint::EndpointId;
use headgate::session::store::{Store, StoreConfig};
use headgate::session::{Format, Issued, JwtSettings, KeyTemplate, Place, Secret, Source, SourceSettings, Standing};
use headgate::sticky::{CookieKeys, CookieSettings, Form, SameSite, Secure, Sticky, StickySettings, WhenDown};
use headgate::telemetry::metrics::Metrics;
use http::{HeaderMap, HeaderValue, header::COOKIE};
use ring::hmac;

const SECRET: &[u8] = b"a secret of sixteen letters and more";
const ID: &str = "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345";

/// What ends at once, as all does here: nothing waits for a network.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("it waits"),
    }
}

fn sign(text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text.as_bytes())
}

fn express() -> (Format, String) {
    let signature = STANDARD_NO_PAD.encode(sign(ID)).replace('+', "%2B").replace('/', "%2F");
    (Format::Express(vec![Secret::new(SECRET)]), format!("s%3A{ID}.{signature}"))
}

fn jwt() -> (Format, String) {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() + 86_400);
    let claims = format!(r#"{{"jti":"{ID}","sub":"ann","exp":{end}}}"#);
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(&signed));
    let settings = JwtSettings { secrets: vec![Secret::new(SECRET)], ..JwtSettings::default() };
    (Format::Jwt(settings), format!("{signed}.{signature}"))
}

/// A source with a session that lives, and the headers of a browser that has it.
fn source((format, value): (Format, String), cache: Duration) -> (Arc<Source>, HeaderMap) {
    let metrics = Metrics::new();
    let store = Store::new("memory".into(), StoreConfig::Memory, metrics.store("memory"));
    let is_jwt = matches!(format, Format::Jwt(_));
    if !is_jwt {
        store.learn(&format!("sess:{ID}"), Duration::from_secs(86_400));
    }
    let settings = SourceSettings {
        name: "web".into(),
        place: Place::Cookie("connect.sid".into()),
        format,
        key: if is_jwt { None } else { KeyTemplate::new("sess:{id}", "{id}") },
        timeout: Duration::from_millis(50),
        cache,
        allow_when_down: false,
        fields: Vec::new(),
        hash_key: Secret::new(b"for the log"),
    };
    let source = Source::new(settings, (!is_jwt).then_some(store), metrics.session("web"), None);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("theme=dark; connect.sid={value}")) {
        headers.insert(COOKIE, value);
    }
    assert!(matches!(now(source.check(&headers)).standing, Standing::Live(_)));
    (source, headers)
}

fn check(c: &mut Criterion) {
    const LONG: Duration = Duration::from_secs(3600);
    let plain = || (Format::Plain, ID.to_owned());
    let mut group = c.benchmark_group("check");
    let cases = [
        ("plain/remembered", source(plain(), LONG)),
        ("express/remembered", source(express(), LONG)),
        ("jwt", source(jwt(), LONG)),
        ("plain/asked", source(plain(), Duration::ZERO)),
        ("express/asked", source(express(), Duration::ZERO)),
    ];
    for (name, (source, headers)) in cases {
        group.bench_function(name, |b| b.iter(|| now(source.check(black_box(&headers)))));
    }
    group.finish();
}

fn sticky(c: &mut Criterion) {
    let endpoints: Vec<_> = (0..16).map(|number| EndpointId::new(&format!("10.0.0.{number}:3000"))).collect();
    let (source, mut headers) = source(express(), Duration::from_secs(3600));
    let form = Form::Cookie {
        cookie: CookieSettings {
            name: "srv".into(),
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
            secure: Secure::Auto,
            max_age: None,
        },
        keys: CookieKeys::new([SECRET]),
        session: Some(source.clone()),
    };
    let settings = StickySettings { form, when_down: WhenDown::Repin };
    let sticky = Sticky::new(settings, vec![("node".into(), endpoints.clone())]);
    let request = |headers: &HeaderMap| {
        let check = now(source.check(headers));
        let looked_up = now(sticky.look_up(headers, Some(&check)));
        let pinned = looked_up.pinned.as_ref().map_or((0, &endpoints[7]), |pinned| (pinned.target, &pinned.endpoint));
        now(sticky.remember(&looked_up, Some(pinned), None, &Issued::Nothing, false))
    };
    let pin = request(&headers).set_cookie.and_then(|set| Some(set.to_str().ok()?.split(';').next()?.to_owned()));
    let cookies = headers.get(COOKIE).and_then(|cookies| cookies.to_str().ok()).unwrap_or_default().to_owned();
    if let Some(Ok(value)) = pin.map(|pin| HeaderValue::from_str(&format!("{cookies}; {pin}"))) {
        headers.insert(COOKIE, value);
    }
    assert_eq!(request(&headers).set_cookie, None, "it is kept");
    c.bench_function("check and pin/kept", |b| b.iter(|| request(black_box(&headers))));
}

criterion_group!(benches, check, sticky);
criterion_main!(benches);
