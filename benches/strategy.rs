//! What a choice costs: the pick, the count of the request in flight and its end, for each strategy; alone, and while
//! another thread does the same.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use headgate::endpoint::{Address, EndpointId, EndpointSettings};
use headgate::health::outlier;
use headgate::strategy::{Config, ConsistentHash, HashKey, hash_key};
use headgate::telemetry::metrics::Metrics;
use headgate::upstream::{Ask, Settings, StrategyIndex, Tried, Upstream};

const SIZES: [u16; 3] = [3, 16, 100];

fn strategies() -> [(&'static str, Config); 8] {
    let ring = Config::ConsistentHash(ConsistentHash { key: HashKey::Uri, load_bound: 1.25 });
    [
        ("round_robin", Config::RoundRobin),
        ("random", Config::Random),
        ("least_conn", Config::LeastConn),
        ("random_two", Config::RandomTwo),
        ("peak_ewma", Config::PeakEwma),
        ("ip_hash", Config::IpHash),
        ("consistent_hash", ring),
        ("first", Config::First),
    ]
}

fn upstream(strategy: Config, endpoints: u16) -> Arc<Upstream> {
    let one = |port: u16| EndpointSettings {
        id: EndpointId::new(&format!("10.0.0.1:{port}")),
        address: Address::Tcp((Ipv4Addr::new(10, 0, 0, 1), port).into()),
        weight: u32::from(port % 3 + 1),
        backup: false,
        max_connections: None,
        host_header: None,
    };
    let outlier = outlier::Settings { consecutive_errors: 5, eject_for: Duration::from_secs(10), max_ejected: 50 };
    let settings = Settings {
        strategy,
        slow_start: None,
        panic_threshold: Some(0),
        outlier: Some(outlier),
        queue: None,
        retry_budget: 20,
    };
    let metrics = Metrics::new().upstream("node");
    Arc::new(Upstream::new("node", (0..endpoints).map(one).collect(), settings, metrics, None, Instant::now()))
}

/// One request: chosen and ended.
fn request(upstream: &Arc<Upstream>, tried: &Tried, number: u64, now: Instant) {
    let key = Some(hash_key(&number.to_le_bytes()));
    let ask = Ask { by: StrategyIndex::default(), key, preferred: None, tried };
    drop(black_box(upstream.lease(&ask, now, number.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
}

fn pick(c: &mut Criterion) {
    let now = Instant::now();
    let tried = Tried::default();
    for (name, config) in strategies() {
        let mut group = c.benchmark_group(format!("pick/{name}"));
        for size in SIZES {
            let upstream = upstream(config.clone(), size);
            let mut number = 0u64;
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    number += 1;
                    request(&upstream, &tried, number, now);
                });
            });
        }
        group.finish();
    }
}

fn contended(c: &mut Criterion) {
    let now = Instant::now();
    let mut group = c.benchmark_group("pick beside another thread, 16 endpoints");
    for (name, config) in strategies() {
        let upstream = upstream(config, 16);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (tried, mut number) = (Tried::default(), u64::MAX / 2);
                while !over.load(Relaxed) {
                    number += 1;
                    request(&upstream, &tried, number, now);
                }
            });
            let (tried, mut number) = (Tried::default(), 0u64);
            group.bench_function(name, |b| {
                b.iter(|| {
                    number += 1;
                    request(&upstream, &tried, number, now);
                });
            });
            over.store(true, Relaxed);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = pick, contended
}
criterion_main!(benches);
