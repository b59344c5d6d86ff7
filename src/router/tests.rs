//! The router against a linear reference written from the order of precedence, and that order in examples.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// A route as a test writes it.
#[derive(Debug, Clone, Default)]
struct Spec {
    listener: Option<usize>,
    hosts: Vec<&'static str>,
    path: Path,
    methods: Vec<Method>,
    /// Names; the value is always `1`.
    headers: Vec<&'static str>,
    query: Vec<&'static str>,
}

#[derive(Debug, Clone, Default)]
enum Path {
    #[default]
    Any,
    Exact(String),
    Prefix(String),
    /// The number of one of [`REGEXES`].
    Regex(usize),
}

type Meaning = fn(&str) -> bool;

/// Regexes, each with what it means said without one.
const REGEXES: [(&str, Meaning); 8] = [
    (".*", |_| true),
    ("/a.*", |path| path.starts_with("/a")),
    (".*b", |path| path.ends_with('b')),
    ("/a|/b/", |path| path == "/a" || path == "/b/"),
    ("^/[ab]$", |path| path == "/a" || path == "/b"),
    ("/a/.*", |path| path.starts_with("/a/")),
    ("/a/?b?", |path| ["/a", "/a/", "/ab", "/a/b"].contains(&path)),
    ("/A", |_| false),
];

#[derive(Debug, Clone)]
struct Request {
    listener: usize,
    bound_only: bool,
    host: &'static str,
    path: String,
    method: Method,
    headers: Vec<&'static str>,
    query: Vec<&'static str>,
}

fn router(specs: &[Spec]) -> Router<usize> {
    let path = |path: &Path| match path {
        Path::Any => Ok(PathPattern::Any),
        Path::Exact(path) => PathPattern::exact(path),
        Path::Prefix(path) => PathPattern::prefix(path),
        Path::Regex(number) => PathPattern::regex(REGEXES[*number].0),
    };
    let matched = |spec: &Spec| Match {
        listener: spec.listener,
        hosts: spec.hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
        path: path(&spec.path).unwrap(),
        methods: spec.methods.clone(),
        headers: spec.headers.iter().map(|name| (HeaderName::from_static(name), "1".to_owned())).collect(),
        query: spec.query.iter().map(|&name| (name.to_owned(), "1".to_owned())).collect(),
    };
    Router::new(specs.iter().enumerate().map(|(route, spec)| (matched(spec), route)).collect())
}

fn found(router: &Router<usize>, request: &Request) -> Option<usize> {
    let query = request.query.iter().map(|name| format!("{name}=1")).collect::<Vec<_>>().join("&");
    let mut headers = HeaderMap::new();
    for &name in &request.headers {
        headers.insert(name, HeaderValue::from_static("1"));
    }
    let head = RequestHead {
        listener: request.listener,
        bound_only: request.bound_only,
        host: request.host,
        path: &request.path,
        query: (!query.is_empty()).then_some(&query),
        method: &request.method,
        headers: &headers,
    };
    router.find(&head).copied()
}

/// Sorts all that match by the order of precedence and takes the first.
fn reference(specs: &[Spec], request: &Request) -> Option<usize> {
    let matching = specs.iter().enumerate().filter_map(|(route, spec)| {
        let host = host_rank(spec, request.host)?;
        let path = path_rank(spec, route, &request.path)?;
        let holds = spec.listener.map_or(!request.bound_only, |listener| listener == request.listener)
            && (spec.methods.is_empty() || spec.methods.contains(&request.method))
            && spec.headers.iter().all(|name| request.headers.contains(name))
            && spec.query.iter().all(|name| request.query.contains(name));
        let more = (Reverse(spec.headers.len()), Reverse(spec.query.len()));
        holds.then_some((host, path, spec.methods.is_empty(), more, spec.listener.is_none(), route))
    });
    matching.min().map(|(.., route)| route)
}

fn host_rank(spec: &Spec, host: &str) -> Option<(u8, Reverse<usize>)> {
    if spec.hosts.is_empty() {
        return Some((2, Reverse(0)));
    }
    let rank = |pattern: &&str| match pattern.strip_prefix('*') {
        None => (*pattern == host).then_some((0, Reverse(0))),
        Some(suffix) => (host.ends_with(suffix) && host.len() > suffix.len()).then_some((1, Reverse(suffix.len()))),
    };
    spec.hosts.iter().filter_map(rank).min()
}

fn path_rank(spec: &Spec, route: usize, path: &str) -> Option<(u8, Reverse<usize>, usize)> {
    match &spec.path {
        Path::Exact(exact) => (exact == path).then_some((0, Reverse(0), 0)),
        Path::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            let below = path == prefix || path.starts_with(&format!("{prefix}/"));
            below.then_some((1, Reverse(prefix.len()), 0))
        }
        Path::Regex(number) => REGEXES[*number].1(path).then_some((2, Reverse(0), route)),
        Path::Any => Some((3, Reverse(0), 0)),
    }
}

// Small alphabets, so that routes meet.

fn a_path() -> impl Strategy<Value = String> {
    (prop::collection::vec(select(vec!["a", "b", "ab"]), 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let slash = if slash || segments.is_empty() { "/" } else { "" };
        segments.iter().map(|segment| format!("/{segment}")).collect::<String>() + slash
    })
}

fn a_spec() -> impl Strategy<Value = Spec> {
    let path = prop_oneof![
        1 => Just(Path::Any),
        3 => a_path().prop_map(Path::Exact),
        4 => a_path().prop_map(Path::Prefix),
        3 => (0..REGEXES.len()).prop_map(Path::Regex),
    ];
    let listener = prop_oneof![3 => Just(None), 1 => (0..2usize).prop_map(Some)];
    let methods = prop_oneof![2 => Just(vec![]), 1 => subsequence(vec![Method::GET, Method::POST], 1..=2)];
    let hosts = subsequence(vec!["x", "a.x", "b.a.x", "*.x", "*.a.x", "y"], 0..3);
    let names = || prop_oneof![2 => Just(vec![]), 1 => subsequence(vec!["m", "n"], 1..=2)];
    (listener, hosts, path, methods, names(), names()).prop_map(|(listener, hosts, path, methods, headers, query)| {
        Spec { listener, hosts, path, methods, headers, query }
    })
}

fn a_request() -> impl Strategy<Value = Request> {
    let host = select(vec!["x", "a.x", "b.x", "b.a.x", "c.b.a.x", "ax", "y", ""]);
    let names = || subsequence(vec!["m", "n"], 0..=2);
    let door = (0..2usize, prop::bool::weighted(0.2));
    (door, host, a_path(), select(vec![Method::GET, Method::POST, Method::PUT]), names(), names()).prop_map(
        |((listener, bound_only), host, path, method, headers, query)| Request {
            listener,
            bound_only,
            host,
            path,
            method,
            headers,
            query,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_router_finds_what_the_linear_reference_finds(
        specs in prop::collection::vec(a_spec(), 0..16),
        requests in prop::collection::vec(a_request(), 32),
    ) {
        let router = router(&specs);
        for request in &requests {
            prop_assert_eq!(found(&router, request), reference(&specs, request), "{:?}", request);
        }
    }

    #[test]
    fn no_request_reaches_a_route_that_is_called_unreachable(
        specs in prop::collection::vec(a_spec(), 0..16),
        requests in prop::collection::vec(a_request(), 32),
    ) {
        let unreachable = router(&specs).unreachable();
        for request in &requests {
            let reached = reference(&specs, &Request { bound_only: false, ..request.clone() });
            prop_assert!(unreachable.iter().all(|dead| Some(dead.route) != reached), "{:?} {:?}", request, unreachable);
        }
    }

    #[test]
    fn a_route_written_twice_is_called_a_duplicate(specs in prop::collection::vec(a_spec(), 1..8), at in any::<prop::sample::Index>()) {
        let mut twice = specs.clone();
        let mut again = specs[at.index(specs.len())].clone();
        again.hosts.reverse();
        again.methods.reverse();
        again.headers.reverse();
        twice.push(again);
        let unreachable = router(&twice).unreachable();
        let copy = unreachable.iter().find(|dead| dead.route == specs.len());
        prop_assert!(copy.is_some_and(|copy| copy.duplicate && copy.by <= at.index(specs.len())), "{:?}", unreachable);
    }
}

fn exact(path: &str) -> Spec {
    Spec { path: Path::Exact(path.into()), ..Spec::default() }
}

fn prefix(path: &str) -> Spec {
    Spec { path: Path::Prefix(path.into()), ..Spec::default() }
}

fn regex(number: usize) -> Spec {
    Spec { path: Path::Regex(number), ..Spec::default() }
}

fn get(host: &'static str, path: &str) -> Request {
    let (listener, bound_only, method) = (0, false, Method::GET);
    Request { listener, bound_only, host, path: path.into(), method, headers: vec![], query: vec![] }
}

#[test]
fn a_prefix_matches_whole_segments_only() {
    for written in ["/api", "/api/"] {
        let router = router(&[prefix(written)]);
        for path in ["/api", "/api/", "/api/x", "/api/x/y/"] {
            assert_eq!(found(&router, &get("x", path)), Some(0), "{path}");
        }
        for path in ["/", "/apix", "/ap", "/x/api", "/api%2Fx"] {
            assert_eq!(found(&router, &get("x", path)), None, "{path}");
        }
    }
}

#[test]
fn a_wildcard_matches_one_or_more_labels_and_not_its_suffix() {
    let router = router(&[Spec { hosts: vec!["*.a.x"], ..Spec::default() }]);
    for (host, route) in [("b.a.x", Some(0)), ("c.b.a.x", Some(0)), ("a.x", None), ("ba.x", None), ("b.x", None)] {
        assert_eq!(found(&router, &get(host, "/")), route, "{host}");
    }
}

#[test]
fn exact_goes_before_prefix_before_regex_before_any() {
    let router = router(&[Spec::default(), regex(1), prefix("/a"), prefix("/a/b"), exact("/a/b/a"), regex(0)]);
    for (path, route) in [("/a/b/a", 4), ("/a/b/b", 3), ("/a/a", 2), ("/ab", 1), ("/b", 5)] {
        assert_eq!(found(&router, &get("x", path)), Some(route), "{path}");
    }
}

#[test]
fn a_host_without_a_matching_route_falls_to_the_next() {
    let shop = Spec { hosts: vec!["b.a.x"], ..exact("/only") };
    let post = Spec { hosts: vec!["*.a.x"], methods: vec![Method::POST], ..Spec::default() };
    let router = router(&[Spec::default(), Spec { hosts: vec!["*.x"], ..prefix("/a") }, post, shop]);
    assert_eq!(found(&router, &get("b.a.x", "/only")), Some(3));
    assert_eq!(found(&router, &Request { method: Method::POST, ..get("b.a.x", "/a") }), Some(2));
    assert_eq!(found(&router, &get("b.a.x", "/a")), Some(1));
    assert_eq!(found(&router, &get("b.a.x", "/b")), Some(0));
}

#[test]
fn conditions_go_by_method_then_headers_then_query_then_listener_then_order() {
    let method = Spec { methods: vec![Method::GET], ..Spec::default() };
    let headers = Spec { headers: vec!["m"], ..Spec::default() };
    let query = Spec { query: vec!["m", "n"], ..Spec::default() };
    let listener = Spec { listener: Some(0), ..Spec::default() };
    let all = Request { headers: vec!["m"], query: vec!["m", "n"], ..get("x", "/") };
    let mut specs = vec![Spec::default(), Spec::default(), listener, query, headers, method];
    for route in [5, 4, 3, 2, 0] {
        assert_eq!(found(&router(&specs), &all), Some(route));
        specs.pop();
    }
}

#[test]
fn routes_that_can_never_match_are_told_with_the_one_that_takes_their_requests() {
    let on = |hosts: &[&'static str], spec: Spec| Spec { hosts: hosts.to_vec(), ..spec };
    let methods = |methods: &[Method], spec: Spec| Spec { methods: methods.to_vec(), ..spec };
    let dead = |specs: &[Spec]| {
        let unreachable = router(specs).unreachable();
        unreachable.into_iter().map(|dead| (dead.route, dead.by, dead.duplicate)).collect::<Vec<_>>()
    };
    // The same, however it is written.
    assert_eq!(dead(&[prefix("/a"), exact("/a"), prefix("/a/")]), [(2, 0, true)]);
    assert_eq!(dead(&[on(&["x", "y"], exact("/a")), on(&["y", "x"], exact("/a"))]), [(1, 0, true)]);
    // Taken by one that asks for less and goes first.
    assert_eq!(dead(&[prefix("/"), Spec::default()]), [(1, 0, false)]);
    assert_eq!(dead(&[regex(5), prefix("/a")]), [(0, 1, false)]);
    assert_eq!(dead(&[regex(1), prefix("/a"), prefix("/")]), [(0, 2, false)]);
    assert_eq!(dead(&[on(&["x", "y"], exact("/a")), on(&["y"], exact("/a"))]), [(1, 0, false)]);
    assert_eq!(
        dead(&[on(&["x"], exact("/a")), on(&["y"], exact("/a")), on(&["x", "y"], exact("/a"))]),
        [(2, 0, false)]
    );
    let both = methods(&[Method::GET, Method::POST], exact("/a"));
    assert_eq!(dead(&[both.clone(), methods(&[Method::POST], exact("/a"))]), [(1, 0, false)]);
    // Not taken.
    assert_eq!(dead(&[methods(&[Method::POST], exact("/a")), both, exact("/a"), prefix("/a")]), []);
    assert_eq!(dead(&[Spec::default(), regex(0), exact("/a"), on(&["x"], exact("/a")), on(&["*.x"], exact("/a"))]), []);
    assert_eq!(dead(&[on(&["x"], exact("/a")), on(&["x", "y"], exact("/a"))]), []);
    assert_eq!(
        dead(&[Spec { listener: Some(0), ..prefix("/") }, Spec { listener: Some(1), ..prefix("/") }, Spec::default()]),
        []
    );
}
