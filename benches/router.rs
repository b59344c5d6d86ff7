//! What a look-up costs: exact paths and prefixes from 10 to 10,000 routes (flat), regexes one by one, and the normal
//! forms of host and path.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't be built should say so and end")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use headgate::router::{HostPattern, Match, PathPattern, RequestHead, Router, host, path};
use http::{HeaderMap, Method};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn look_up(
    c: &mut Criterion,
    group: &str,
    table: impl Fn(usize) -> Vec<Match>,
    request: impl Fn(usize) -> (String, String),
) {
    let headers = HeaderMap::new();
    let mut group = c.benchmark_group(group);
    for size in SIZES {
        let router = Router::new(table(size).into_iter().zip(0..).collect());
        // Requests all over the table, or the caches would flatter it.
        let requests: Vec<_> = (0..64).map(|n| request(n * 7919 % size)).collect();
        let mut turn = requests.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let (host, path) = turn.next().unwrap();
                let (listener, bound_only, query, method) = (0, false, None, &Method::GET);
                let head = RequestHead { listener, bound_only, host, path, query, method, headers: &headers };
                black_box(router.find(black_box(&head)).unwrap());
            });
        });
    }
    group.finish();
}

fn on_host(host: &str, path: PathPattern) -> Match {
    Match { hosts: vec![HostPattern::parse(host).unwrap()], path, ..Match::default() }
}

fn look_ups(c: &mut Criterion) {
    let one = |n: usize, rest: &str| ("shop.example.com".to_owned(), format!("/api/v1/part{n}{rest}"));
    let exact =
        |size| (0..size).map(|n| on_host("shop.example.com", PathPattern::exact(&one(n, "").1).unwrap())).collect();
    look_up(c, "exact, one host", exact, |n| one(n, ""));
    let prefix =
        |size| (0..size).map(|n| on_host("shop.example.com", PathPattern::prefix(&one(n, "").1).unwrap())).collect();
    look_up(c, "prefix, one host", prefix, |n| one(n, "/orders/1234"));

    let many = |n: usize, path: &str| (format!("shop{n}.example.com"), path.to_owned());
    let exact =
        |size| (0..size).map(|n| on_host(&many(n, "").0, PathPattern::exact("/api/v1/part").unwrap())).collect();
    look_up(c, "exact, many hosts", exact, |n| many(n, "/api/v1/part"));
    let prefix = |size| (0..size).map(|n| on_host(&many(n, "").0, PathPattern::prefix("/api").unwrap())).collect();
    look_up(c, "prefix, many hosts", prefix, |n| many(n, "/api/v1/part/orders/1234"));
    let wildcard = |size| (0..size).map(|n| on_host(&format!("*.shop{n}.example.com"), PathPattern::Any)).collect();
    look_up(c, "wildcard, many hosts", wildcard, |n| (format!("eu.shop{n}.example.com"), "/api/v1/part".to_owned()));
}

fn regexes(c: &mut Criterion) {
    let headers = HeaderMap::new();
    let mut group = c.benchmark_group("regex, the last of");
    for size in [1, 10, 100] {
        let regex = |n| on_host("shop.example.com", PathPattern::regex(&format!("/api/v[0-9]+/part{n}/.*")).unwrap());
        let router = Router::new((0..size).map(|n| (regex(n), n)).collect());
        let path = format!("/api/v1/part{}/orders/1234", size - 1);
        let head = RequestHead {
            listener: 0,
            bound_only: false,
            host: "shop.example.com",
            path: &path,
            query: None,
            method: &Method::GET,
            headers: &headers,
        };
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| black_box(router.find(black_box(&head)).unwrap()))
        });
    }
    group.finish();
}

fn normal_forms(c: &mut Criterion) {
    let mut group = c.benchmark_group("normalise");
    for (name, raw) in [
        ("clean path", "/api/v1/part/orders/1234-5678"),
        ("path with kept escapes", "/api/v1/caf%C3%A9%20au%20lait/1234"),
        ("dirty path", "/api/./v1//part/%7euser/../orders%2f1234"),
    ] {
        group.bench_function(name, |b| b.iter(|| black_box(path::normalise(black_box(raw)).unwrap())));
    }
    for (name, raw) in [("clean host", "shop.example.com:8080"), ("dirty host", "Shop.Example.com.:8080")] {
        group.bench_function(name, |b| b.iter(|| black_box(host::normalise(black_box(raw)).unwrap())));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // A tenth of criterion's defaults: the question is whether the line is flat.
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(700));
    targets = look_ups, regexes, normal_forms
}
criterion_main!(benches);
