//! What becomes of a pin, for everything that a request and its session can be.

mod redis;

use http::header::COOKIE;

use super::*;
use crate::session::store::{BindingKey, Store, StoreConfig};
use crate::session::{Format, KeyTemplate, Place, Secret, Session, SourceSettings};
use crate::telemetry::metrics::{CheckResult, Label as _, Metrics};

const BUDGET: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_secs(86_400);

fn id(text: &str) -> EndpointId {
    EndpointId::new(text)
}

fn targets(written: &[(&str, &[&str])]) -> Vec<(Arc<str>, Vec<EndpointId>)> {
    written.iter().map(|(name, endpoints)| ((*name).into(), endpoints.iter().map(|text| id(text)).collect())).collect()
}

fn cookie() -> CookieSettings {
    CookieSettings {
        name: "srv".into(),
        path: "/".into(),
        domain: None,
        same_site: SameSite::Lax,
        secure: Secure::Auto,
        max_age: None,
    }
}

fn by_cookie(secrets: &[&str], session: Option<&Arc<Source>>, written: &[(&str, &[&str])]) -> Sticky {
    let form = Form::Cookie { cookie: cookie(), keys: CookieKeys::new(secrets), session: session.cloned() };
    Sticky::new(StickySettings { form, when_down: WhenDown::Repin }, targets(written))
}

fn check(standing: Standing) -> Check {
    Check { standing, result: CheckResult::Live }
}

fn headers(cookie: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !cookie.is_empty() {
        headers.insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
    }
    headers
}

/// The pin that `sticky` would give out for its first target's endpoint `at`.
fn pin(sticky: &Sticky, at: usize, kind: Kind) -> String {
    let How::Cookie { pins, .. } = &sticky.how else { panic!("no cookie") };
    String::from_utf8(pins.text(Pin { target: 0, endpoint: at, kind }).unwrap().to_vec()).unwrap()
}

/// The pin in a `Set-Cookie`.
fn set(remembered: &Remembered) -> Option<String> {
    let line = remembered.set_cookie.as_ref()?.to_str().unwrap();
    Some(line.strip_prefix("srv=").unwrap().split(';').next().unwrap().to_owned())
}

mod by_cookie {
    use super::*;

    const NODE: &[(&str, &[&str])] = &[("node", &["a:1", "b:1"])];

    /// What a request with `cookie` comes to when it is answered by whom it is pinned to, or else by `b:1`: the result, and
    /// which pin is set.
    async fn outcome(sticky: &Sticky, standing: Option<Standing>, cookie: &str) -> String {
        let check = standing.map(check);
        let looked_up = sticky.look_up(&headers(cookie), check.as_ref()).await;
        let (target, endpoint) =
            looked_up.pinned.clone().map_or((0, id("b:1")), |pinned| (pinned.target, pinned.endpoint));
        let remembered = sticky.remember(&looked_up, Some((target, &endpoint)), None, &Issued::Nothing, false).await;
        let mut outcome = remembered.result.unwrap().label().to_owned();
        if let Some(set) = set(&remembered) {
            for (name, at, kind) in [
                (" a", 0, Kind::WithoutSession),
                (" a+", 0, Kind::WithSession),
                (" b", 1, Kind::WithoutSession),
                (" b+", 1, Kind::WithSession),
            ] {
                if pin(sticky, at, kind) == set {
                    outcome.push_str(name);
                }
            }
        }
        outcome
    }

    /// For each standing of the session, what each pin comes to. A pin for `a:1` is found; `b:1` answers where none is.
    #[tokio::test]
    async fn each_pin_and_each_session_come_to_one_result() {
        let source = source(None);
        let [plain, bound] = [None, Some(&source)].map(|source| by_cookie(&["s"], source, NODE));
        let stale = by_cookie(&["s"], None, &[("node", &["gone:1"])]);
        let other = by_cookie(&["s"], None, &[("other", &["a:1"])]);
        let foreign = by_cookie(&["foreign"], None, NODE);
        let with = pin(&plain, 0, Kind::WithSession);
        let without = pin(&plain, 0, Kind::WithoutSession);
        let bad = [
            pin(&stale, 0, Kind::WithoutSession),
            pin(&other, 0, Kind::WithoutSession),
            pin(&foreign, 0, Kind::WithSession),
            without[..21].to_owned(),
            String::new(),
            "x".repeat(8192),
        ];
        let live = || Standing::Live(Session::of("id"));
        for (sticky, standing, none, invalid, found, found_with) in [
            (&plain, None, "new b", "invalid b", "kept", "kept"),
            (&bound, Some(live()), "new b+", "invalid b+", "kept a+", "kept"),
            (&bound, Some(Standing::Dead), "new b", "invalid b", "kept", "forgotten b"),
            (&bound, Some(Standing::Absent), "new b", "invalid b", "kept", "forgotten b"),
            (&bound, Some(Standing::Forged), "new b", "invalid b", "kept", "forgotten b"),
            (&bound, Some(Standing::Unknown), "new b", "invalid b", "kept", "kept"),
        ] {
            let of = |cookie: String| {
                let standing = standing.clone();
                async move { outcome(sticky, standing, &cookie).await }
            };
            assert_eq!(of(String::new()).await, none, "{standing:?}");
            assert_eq!(of("other=1; srvx=2".to_owned()).await, none, "{standing:?}");
            for bad in &bad {
                assert_eq!(of(format!("srv={bad}")).await, invalid, "{standing:?} {bad}");
            }
            assert_eq!(of(format!("srv={without}")).await, found, "{standing:?}");
            assert_eq!(of(format!("srv={with}")).await, found_with, "{standing:?}");
        }
    }

    #[tokio::test]
    async fn the_first_of_our_pins_counts_whatever_stands_before_it() {
        let sticky = by_cookie(&["s"], None, NODE);
        let [a, b] = [0, 1].map(|at| pin(&sticky, at, Kind::WithoutSession));
        for (cookie, expected) in [
            (format!("srv=shadow; srv={a}; srv={b}"), "a:1"),
            (format!("srv={b}; srv={a}"), "b:1"),
            (format!("x=1;srv=\"{a}\""), "a:1"),
        ] {
            let looked_up = sticky.look_up(&headers(&cookie), None).await;
            assert_eq!(looked_up.pinned, Some(Pinned { target: 0, endpoint: id(expected) }), "{cookie}");
        }
    }

    #[tokio::test]
    async fn a_pin_moves_with_its_reason_and_stays_where_there_was_no_room() {
        let sticky = by_cookie(&["s"], None, NODE);
        let cookie = headers(&format!("srv={}", pin(&sticky, 0, Kind::WithoutSession)));
        for (answered_by, moved, result, cookie_set) in [
            (Some("a:1"), None, "kept", false),
            (Some("a:1"), Some(Moved::Down), "kept", false),
            (Some("b:1"), Some(Moved::Down), "repinned_down", true),
            (Some("b:1"), Some(Moved::Drain), "repinned_drain", true),
            (Some("b:1"), Some(Moved::Full), "kept", false),
            (Some("b:1"), None, "kept", false),
            (None, None, "kept", false),
            (None, Some(Moved::Down), "kept", false),
        ] {
            let looked_up = sticky.look_up(&cookie, None).await;
            let by = answered_by.map(id);
            let by = by.as_ref().map(|endpoint| (0, endpoint));
            let remembered = sticky.remember(&looked_up, by, moved, &Issued::Nothing, true).await;
            assert_eq!(remembered.result.unwrap().label(), result, "{answered_by:?} {moved:?}");
            assert_eq!(remembered.set_cookie.is_some(), cookie_set, "{answered_by:?} {moved:?}");
            if cookie_set {
                assert_eq!(set(&remembered).unwrap(), pin(&sticky, 1, Kind::WithoutSession));
                assert!(remembered.set_cookie.unwrap().to_str().unwrap().ends_with("; Secure"));
            }
        }
    }

    #[tokio::test]
    async fn a_request_that_nobody_answered_gets_no_pin() {
        let sticky = by_cookie(&["s"], None, NODE);
        for (cookie, result) in [("", None), ("srv=x", Some(StickyResult::Invalid))] {
            let looked_up = sticky.look_up(&headers(cookie), None).await;
            let remembered = sticky.remember(&looked_up, None, None, &Issued::Nothing, false).await;
            assert_eq!(remembered, Remembered { result, set_cookie: None });
        }
    }

    #[tokio::test]
    async fn a_pin_chooses_the_upstream_of_a_canary() {
        let sticky = by_cookie(&["s"], None, &[("v1", &["a:1"]), ("v2", &["a:1", "b:1"])]);
        let v2 = by_cookie(&["s"], None, &[("v2", &["b:1"])]);
        let cookie = headers(&format!("srv={}", pin(&v2, 0, Kind::WithoutSession)));
        let looked_up = sticky.look_up(&cookie, None).await;
        assert_eq!(looked_up.pinned, Some(Pinned { target: 1, endpoint: id("b:1") }));
    }

    #[tokio::test]
    async fn without_a_key_no_pin_is_made() {
        let sticky = by_cookie(&[], None, NODE);
        let looked_up = sticky.look_up(&headers("srv=AAAAAAAAAAAAAAAAAAAAAA"), None).await;
        assert_eq!(looked_up.pinned, None);
    }
}

/// A source of unsigned ids in the cookie `sid`.
fn source(store: Option<&Arc<Store>>) -> Arc<Source> {
    let settings = SourceSettings {
        name: "web".into(),
        place: Place::Cookie("sid".into()),
        format: Format::Plain,
        key: Some(KeyTemplate::starting_with("sess:")),
        timeout: BUDGET,
        cache: Duration::from_secs(2),
        allow_when_down: true,
        fields: Vec::new(),
        hash_key: Secret::new(b"log"),
    };
    Source::new(settings, store.cloned(), Metrics::new().session("web"), None)
}

/// One gateway's route that keeps sessions by bindings.
struct Replica(Sticky);

impl Replica {
    fn new(store: &Arc<Store>, written: &[(&str, &[&str])]) -> Self {
        let bindings = Bindings::new(&source(Some(store)), || Arc::clone(store), std::iter::empty());
        let form = Form::Session { bindings, max_age: DAY };
        Self(Sticky::new(StickySettings { form, when_down: WhenDown::Repin }, targets(written)))
    }

    async fn look_up(&self, standing: Standing, sid: &str) -> LookedUp {
        self.0.look_up(&headers(&format!("sid={sid}")), Some(&check(standing))).await
    }

    async fn live(&self, sid: &str) -> LookedUp {
        self.look_up(Standing::Live(Session::of(sid)), sid).await
    }

    /// Where a living session is bound.
    async fn at(&self, sid: &str) -> Option<String> {
        self.live(sid).await.pinned.map(|pinned| pinned.endpoint.to_string())
    }

    /// `endpoint` of the first target answers.
    async fn answer(&self, looked_up: &LookedUp, endpoint: &str, moved: Option<Moved>, issued: &Issued) -> String {
        let endpoint = id(endpoint);
        let remembered = self.0.remember(looked_up, Some((0, &endpoint)), moved, issued, false).await;
        assert_eq!(remembered.set_cookie, None, "a binding needs no cookie");
        remembered.result.map_or("-", |result| result.label()).to_owned()
    }

    /// A whole request of a living session, answered by `endpoint`.
    async fn request(&self, sid: &str, endpoint: &str) -> String {
        self.answer(&self.live(sid).await, endpoint, None, &Issued::Nothing).await
    }
}

fn issued(sid: &str) -> Issued {
    Issued::New { id: SessionId::new(sid.as_bytes()).unwrap(), max_age: None }
}

fn memory() -> Arc<Store> {
    Store::new("memory".into(), StoreConfig::Memory, Metrics::new().store("memory"))
}

mod by_session {
    use super::*;

    const NODE: &[(&str, &[&str])] = &[("node", &["a:1", "b:1"])];

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_binds_and_the_next_request_finds_it() {
        let replica = Replica::new(&memory(), NODE);
        assert_eq!(replica.at("s1").await, None);
        assert_eq!(replica.request("s1", "a:1").await, "new");
        assert_eq!(replica.at("s1").await.as_deref(), Some("a:1"));
        assert_eq!(replica.request("s1", "a:1").await, "kept");
        assert_eq!(replica.at("s2").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_loses_the_race_goes_by_the_winner() {
        let replica = Replica::new(&memory(), NODE);
        let (first, second) = (replica.live("s1").await, replica.live("s1").await);
        assert_eq!(replica.answer(&first, "a:1", None, &Issued::Nothing).await, "new");
        assert_eq!(replica.answer(&second, "b:1", None, &Issued::Nothing).await, "new");
        assert_eq!(replica.at("s1").await.as_deref(), Some("a:1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_makes_a_new_id_keeps_the_endpoint() {
        let replica = Replica::new(&memory(), NODE);
        replica.request("before", "a:1").await;
        let login = replica.live("before").await;
        assert_eq!(replica.answer(&login, "a:1", None, &issued("after")).await, "kept");
        assert_eq!(replica.at("after").await.as_deref(), Some("a:1"));
        let anonymous = replica.look_up(Standing::Absent, "").await;
        assert_eq!(replica.answer(&anonymous, "b:1", None, &issued("first")).await, "new");
        assert_eq!(replica.at("first").await.as_deref(), Some("b:1"));
        let expired = replica.look_up(Standing::Dead, "old").await;
        assert_eq!(replica.answer(&expired, "b:1", None, &issued("young")).await, "new");
        assert_eq!(replica.at("young").await.as_deref(), Some("b:1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_session_is_bound_to_nothing() {
        let replica = Replica::new(&memory(), NODE);
        for standing in [Standing::Absent, Standing::Forged, Standing::Dead, Standing::Unknown] {
            let looked_up = replica.look_up(standing.clone(), "s1").await;
            assert_eq!(looked_up.pinned, None);
            assert_eq!(replica.answer(&looked_up, "a:1", None, &Issued::Nothing).await, "-", "{standing:?}");
        }
        assert_eq!(replica.at("s1").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_session_s_binding_is_dropped_and_counted_once() {
        let store = memory();
        let replica = Replica::new(&store, NODE);
        replica.request("s1", "a:1").await;
        for expected in ["forgotten", "-"] {
            let dead = replica.look_up(Standing::Dead, "s1").await;
            assert_eq!(dead.pinned, None);
            assert_eq!(replica.answer(&dead, "b:1", None, &Issued::Nothing).await, expected);
        }
        let key = BindingKey::new("node", "s1");
        assert_eq!(store.binding(&key, BUDGET).await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_logout_ends_the_binding_at_once() {
        let store = memory();
        let replica = Replica::new(&store, NODE);
        replica.request("s1", "a:1").await;
        let logout = replica.live("s1").await;
        assert_eq!(replica.answer(&logout, "a:1", None, &Issued::Ended).await, "kept");
        assert_eq!(store.binding(&BindingKey::new("node", "s1"), BUDGET).await, Ok(None));
        let short = replica.live("s2").await;
        assert_eq!(replica.answer(&short, "a:1", None, &Issued::Ended).await, "-");
        assert_eq!(replica.at("s2").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_binding_moves_with_its_reason_and_stays_where_there_was_no_room() {
        for (answered_by, moved, result, then) in [
            ("b:1", Some(Moved::Down), "repinned_down", "b:1"),
            ("b:1", Some(Moved::Drain), "repinned_drain", "b:1"),
            ("b:1", Some(Moved::Full), "kept", "a:1"),
            ("b:1", None, "kept", "a:1"),
            ("a:1", Some(Moved::Down), "kept", "a:1"),
        ] {
            let replica = Replica::new(&memory(), NODE);
            replica.request("s1", "a:1").await;
            let looked_up = replica.live("s1").await;
            assert_eq!(replica.answer(&looked_up, answered_by, moved, &Issued::Nothing).await, result, "{moved:?}");
            assert_eq!(replica.at("s1").await.as_deref(), Some(then), "{moved:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_binding_to_what_is_no_endpoint_is_replaced() {
        let store = memory();
        let old = Replica::new(&store, &[("node", &["gone:1"])]);
        old.request("s1", "gone:1").await;
        let replica = Replica::new(&store, NODE);
        assert_eq!(replica.request("s1", "b:1").await, "invalid");
        assert_eq!(replica.request("s1", "b:1").await, "kept");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_canary_the_bound_upstream_is_chosen() {
        let store = memory();
        let v2 = Replica::new(&store, &[("v2", &["a:1"])]);
        v2.request("s1", "a:1").await;
        let both = Replica::new(&store, &[("v1", &["a:1"]), ("v2", &["a:1"])]);
        assert_eq!(both.live("s1").await.pinned, Some(Pinned { target: 1, endpoint: id("a:1") }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_binding_in_use_is_extended_once_half_its_time_is_over() {
        let store = memory();
        let replica = Replica::new(&store, NODE);
        let key = BindingKey::new("node", "s1");
        let left = async || store.binding(&key, BUDGET).await.unwrap().unwrap().left;
        replica.request("s1", "a:1").await;
        tokio::time::advance(DAY / 2 - Duration::from_secs(10)).await;
        replica.request("s1", "a:1").await;
        assert!(left().await < DAY / 2 + Duration::from_secs(20));
        tokio::time::advance(Duration::from_secs(20)).await;
        let overflow = replica.live("s1").await;
        replica.answer(&overflow, "b:1", Some(Moved::Full), &Issued::Nothing).await;
        assert!(left().await < DAY / 2);
        replica.request("s1", "a:1").await;
        assert_eq!(left().await, DAY);
        tokio::time::advance(DAY).await;
        assert_eq!(replica.at("s1").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn bindings_outlive_a_reload_of_a_source_that_stays() {
        let store = memory();
        let web = source(None);
        let first = Bindings::new(&web, || Arc::clone(&store), std::iter::empty());
        let kept = Bindings::new(&web, || panic!("a second memory"), std::iter::once(&first));
        assert!(Arc::ptr_eq(&first, &kept));
        let other = source(None);
        assert!(!Arc::ptr_eq(&first, &Bindings::new(&other, || store, std::iter::once(&first))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_told_by_upstream() {
        let replica = Replica::new(&memory(), NODE);
        for (sid, endpoint) in [("s1", "a:1"), ("s2", "b:1"), ("s3", "b:1")] {
            replica.request(sid, endpoint).await;
        }
        replica.at("s4").await;
        let told = |upstream: &str| {
            let mut told = Vec::new();
            replica.0.bindings().unwrap().for_each(upstream, |endpoint| told.push(endpoint.to_owned()));
            told.sort();
            told
        };
        assert_eq!(told("node"), ["a:1", "b:1", "b:1"]);
        assert_eq!(told("other"), [""; 0]);
    }
}
