//! What an upstream promises, with a clock that the tests move.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use proptest::prelude::*;

use super::*;
use crate::endpoint::{Address, Target};
use crate::strategy::Config;
use crate::telemetry::metrics::{Condition, Metrics};

static NOBODY: LazyLock<Tried> = LazyLock::new(Tried::default);

fn settings(strategy: Config) -> Settings {
    Settings {
        strategy,
        slow_start: None,
        panic_threshold: Some(0),
        outlier: Some(outlier::Settings { consecutive_errors: 5, eject_for: Duration::from_secs(10), max_ejected: 50 }),
        queue: None,
        retry_budget: 20,
    }
}

/// Endpoints written as in the file: `a`, `a*2` with a weight, `a!` a backup, `a/3` with a limit, `name:a` to be resolved.
fn endpoints(written: &str) -> Vec<EndpointSettings> {
    let one = |text: &str| {
        let (text, limit) = text.split_once('/').map_or((text, None), |(text, limit)| (text, limit.parse().ok()));
        let (text, backup) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
        let (id, weight) = text.split_once('*').map_or((text, 1), |(text, weight)| (text, weight.parse().unwrap()));
        let address = match id.strip_prefix("name:") {
            Some(host) => Address::Name { host: host.into(), port: 80 },
            None => Address::Tcp(([127, 0, 0, 1], id.as_bytes()[0].into()).into()),
        };
        let host_header = None;
        EndpointSettings { id: EndpointId::new(id), address, weight, backup, max_connections: limit, host_header }
    };
    written.split_whitespace().map(one).collect()
}

fn upstream_with(written: &str, settings: Settings, previous: Option<&Upstream>, now: Instant) -> Arc<Upstream> {
    Arc::new(Upstream::new("node", endpoints(written), settings, Metrics::new().upstream("node"), previous, now))
}

fn upstream(written: &str) -> (Arc<Upstream>, Instant) {
    let now = Instant::now();
    (upstream_with(written, settings(Config::RoundRobin), None, now), now)
}

fn ask(tried: &Tried) -> Ask<'_> {
    Ask { by: StrategyIndex::default(), key: None, preferred: None, tried }
}

/// The endpoints that the next `requests` go to, each ended before the next begins; `-` for a refusal.
fn order(upstream: &Arc<Upstream>, requests: usize, now: Instant) -> String {
    let one = |number| match upstream.lease(&ask(&NOBODY), now, number as u64) {
        Ok(lease) => lease.endpoint().id.to_string(),
        Err(_) => "-".into(),
    };
    (0..requests).map(one).collect()
}

fn down(upstream: &Upstream, ids: &str) {
    for endpoint in upstream.endpoints() {
        if ids.contains(endpoint.id.as_str()) {
            endpoint.state.set_down("no answer");
        }
    }
}

/// Ends `times` attempts to the endpoint with this outcome.
fn outcomes(upstream: &Upstream, index: usize, outcome: Outcome, times: usize, now: Instant) {
    (0..times).for_each(|_| upstream.observe(index, outcome, Duration::from_millis(5), now));
}

const RESET: Outcome = Outcome::Failed(AttemptFailure::Reset);

#[test]
fn unfit_draining_and_weightless_endpoints_get_nothing() {
    let (upstream, now) = upstream("a b c d*0 name:e");
    down(&upstream, "a");
    upstream.endpoints()[1].state.drain(None);
    assert_eq!(order(&upstream, 3, now), "ccc");
}

#[test]
fn backups_serve_only_when_no_primary_can() {
    let (upstream, now) = upstream("a b c! d!");
    assert_eq!(order(&upstream, 4, now), "abab");
    down(&upstream, "a");
    assert_eq!(order(&upstream, 2, now), "bb");
    down(&upstream, "b");
    assert_eq!(order(&upstream, 4, now), "cdcd");
    upstream.endpoints()[0].state.set_up(now);
    assert_eq!(order(&upstream, 2, now), "aa");
}

#[test]
fn full_and_tried_primaries_overflow_to_a_backup() {
    let (upstream, now) = upstream("a/1 b!");
    let first = upstream.lease(&ask(&NOBODY), now, 0).unwrap();
    assert_eq!(order(&upstream, 2, now), "bb");
    let mut tried = Tried::default();
    tried.insert(&first);
    drop(first);
    let second = upstream.lease(&ask(&tried), now, 0).unwrap();
    assert_eq!(second.endpoint().id.as_str(), "b");
    tried.insert(&second);
    assert_eq!(upstream.lease(&ask(&tried), now, 0).unwrap_err(), Refusal::NoEndpoint);
}

#[test]
fn all_are_used_when_none_is_fit_unless_that_is_switched_off() {
    let now = Instant::now();
    for (threshold, dead, expected) in [
        (Some(0), "ab", "cccccc"),
        (Some(0), "abc", "abcabc"),
        (Some(33), "ab", "cccccc"),
        (Some(34), "ab", "abcabc"),
        (None, "ab", "cccccc"),
        (None, "abc", "------"),
    ] {
        let settings = Settings { panic_threshold: threshold, ..settings(Config::RoundRobin) };
        let upstream = upstream_with("a b c", settings, None, now);
        down(&upstream, dead);
        assert_eq!(order(&upstream, 6, now), expected, "{threshold:?}, {dead} down");
    }
}

#[test]
fn a_fit_backup_comes_before_failing_open() {
    let (upstream, now) = upstream("a b c!");
    down(&upstream, "ab");
    assert_eq!(order(&upstream, 2, now), "cc");
    down(&upstream, "c");
    assert_eq!(order(&upstream, 2, now), "ab");
}

#[test]
fn failing_open_is_counted_for_unfit_endpoints() {
    let now = Instant::now();
    let metrics = Metrics::new();
    let settings = Settings { panic_threshold: Some(50), ..settings(Config::RoundRobin) };
    let upstream = Arc::new(Upstream::new("node", endpoints("a b"), settings, metrics.upstream("node"), None, now));
    upstream.put_in_place();
    down(&upstream, "a");
    assert_eq!(order(&upstream, 10, now), "ababababab");
    let text = metrics.text();
    assert!(text.contains("headgate_upstream_fail_open_total{upstream=\"node\"} 5"), "{text}");
    assert!(text.contains("headgate_upstream_endpoint_up{upstream=\"node\",endpoint=\"a\"} 0"), "{text}");
}

#[test]
fn a_limit_is_kept_and_said_to_be_the_reason() {
    let (upstream, now) = upstream("a/2 b/1");
    let leases: Vec<Lease> = (0..3).map(|_| upstream.lease(&ask(&NOBODY), now, 0).unwrap()).collect();
    assert_eq!(upstream.lease(&ask(&NOBODY), now, 0).unwrap_err(), Refusal::Full);
    drop(leases);
    assert_eq!(order(&upstream, 2, now).len(), 2);
    assert!(upstream.endpoints().iter().all(|endpoint| endpoint.state.in_flight() == 0));
}

#[test]
fn the_endpoint_a_request_had_before_is_honoured_while_it_is_fit() {
    let (upstream, now) = upstream("a b*0 c/1");
    let had = |id: &str| {
        let (id, tried) = (EndpointId::new(id), Tried::default());
        let ask = Ask { preferred: Some(&id), ..ask(&tried) };
        upstream.lease(&ask, now, 0).unwrap()
    };
    assert_eq!(had("b").endpoint().id.as_str(), "b", "no weight: nobody new");
    upstream.endpoints()[2].state.drain(None);
    let kept = had("c");
    assert_eq!(kept.endpoint().id.as_str(), "c", "draining: nobody new");
    assert_eq!(had("c").endpoint().id.as_str(), "a", "full");
    drop(kept);
    down(&upstream, "c");
    assert_eq!(had("c").endpoint().id.as_str(), "a", "down");
    assert_eq!(had("gone").endpoint().id.as_str(), "a");
}

#[test]
fn routes_share_endpoints_and_equal_strategies() {
    let now = Instant::now();
    let metrics = Metrics::new().upstream("node");
    let mut upstream = Upstream::new("node", endpoints("a b"), settings(Config::RoundRobin), metrics, None, now);
    assert_eq!(upstream.strategy(&Config::RoundRobin), StrategyIndex::default());
    let least = upstream.strategy(&Config::LeastConn);
    assert_ne!(least, StrategyIndex::default());
    assert_eq!(upstream.strategy(&Config::LeastConn), least);
    let first = upstream.strategy(&Config::First);

    let upstream = Arc::new(upstream);
    let by = |by| upstream.lease(&Ask { by, ..ask(&NOBODY) }, now, 0).unwrap();
    let _held = by(first);
    assert_eq!(by(least).endpoint().id.as_str(), "b", "one route's load counts on the other");
}

#[test]
fn a_reload_keeps_what_is_known_of_endpoints() {
    let (old, now) = upstream("a b*2 c d");
    let held = old.lease(&ask(&NOBODY), now, 0).unwrap();
    let at = old.endpoints().iter().position(|endpoint| endpoint.id == held.endpoint().id).unwrap();
    down(&old, "c");
    outcomes(&old, 3, RESET, 5, now);
    old.budget().try_spend();

    let new = upstream_with("d*3 c a b e", settings(Config::LeastConn), Some(&old), now);
    for endpoint in old.endpoints() {
        let again = new.endpoints().iter().find(|other| other.id == endpoint.id).unwrap();
        assert!(Arc::ptr_eq(&endpoint.state, &again.state), "{}", endpoint.id);
    }
    assert_eq!(new.endpoints()[0].condition(now), Condition::Ejected);
    assert_eq!(new.endpoints()[1].condition(now), Condition::Down);
    let carried = new.endpoints().iter().find(|endpoint| endpoint.id == old.endpoints()[at].id).unwrap();
    assert_eq!(carried.state.in_flight(), 1);
    drop(held);
    assert_eq!(carried.state.in_flight(), 0);
    assert!(std::ptr::eq(old.budget(), new.budget()));
}

#[test]
fn an_ejection_does_not_count_after_outlier_is_switched_off() {
    let (old, now) = upstream("a b");
    outcomes(&old, 0, RESET, 5, now);
    assert_eq!(order(&old, 2, now), "bb");
    let new = upstream_with("a b", Settings { outlier: None, ..settings(Config::RoundRobin) }, Some(&old), now);
    assert_eq!(order(&new, 2, now), "ab");
}

#[test]
fn an_endpoint_added_by_a_reload_starts_slowly_and_one_at_the_start_does_not() {
    let now = Instant::now();
    let slow = || Settings { slow_start: Some(Duration::from_secs(30)), ..settings(Config::RoundRobin) };
    let old = upstream_with("a", slow(), None, now);
    let new = upstream_with("a b", slow(), Some(&old), now);
    let share = |now| order(&new, 1_000, now).matches('b').count();
    assert!((80..105).contains(&share(now)), "{}", share(now));
    assert!((490..510).contains(&share(now + Duration::from_secs(31))));
}

#[test]
fn a_name_serves_once_it_resolves_and_tries_its_addresses_in_turn() {
    let (upstream, now) = upstream("name:a b");
    let state = &upstream.endpoints()[0].state;
    assert_eq!(upstream.endpoints()[0].condition(now), Condition::Down);
    state.unresolved("no such name");
    assert_eq!(state.why_down().as_deref(), Some("no such name"));
    assert_eq!(order(&upstream, 2, now), "bb");

    let addresses = [([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 80).into()];
    state.set_addresses(addresses.to_vec(), now);
    down(&upstream, "b");
    let mut tried = Tried::default();
    for address in addresses {
        let lease = upstream.lease(&ask(&tried), now, 0).unwrap();
        assert_eq!(lease.endpoint().target(), Some(Target::Tcp(address)));
        tried.refused(&lease);
    }
    assert_eq!(upstream.lease(&ask(&tried), now, 0).unwrap_err(), Refusal::NoEndpoint);
    state.unresolved("name server is away");
    assert_eq!(upstream.endpoints()[0].condition(now), Condition::Up, "the last good answer stays");
}

#[test]
fn least_conn_spreads_requests_that_come_at_once() {
    let now = Instant::now();
    let upstream = upstream_with("a b c d", settings(Config::LeastConn), None, now);
    for _ in 0..20 {
        let barrier = std::sync::Barrier::new(8);
        let leases = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    for number in 0..25 {
                        let lease = upstream.lease(&ask(&NOBODY), now, number).unwrap();
                        leases.lock().unwrap().push(lease);
                    }
                });
            }
        });
        let loads: Vec<u32> = upstream.endpoints().iter().map(|endpoint| endpoint.state.in_flight()).collect();
        assert_eq!(loads.iter().sum::<u32>(), 200);
        assert!(loads.iter().all(|load| load.abs_diff(50) <= 2), "{loads:?}");
    }
}

#[test]
fn a_limit_holds_when_threads_race_for_the_last_place() {
    let now = Instant::now();
    for strategy in [Config::RoundRobin, Config::LeastConn, Config::First] {
        let upstream = upstream_with("a/3 b/4", settings(strategy), None, now);
        let granted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let held: Vec<_> = (0..5).map(|_| upstream.lease(&ask(&NOBODY), now, 0)).collect();
                    granted.fetch_add(held.iter().filter(|lease| lease.is_ok()).count(), SeqCst);
                    std::mem::forget(held);
                });
            }
        });
        assert_eq!(granted.load(SeqCst), 7);
        assert_eq!(upstream.endpoints()[0].state.in_flight(), 3);
        assert_eq!(upstream.endpoints()[1].state.in_flight(), 4);
    }
}

#[test]
fn a_client_that_left_says_nothing_of_the_endpoint() {
    let (upstream, now) = upstream("a b");
    outcomes(&upstream, 0, Outcome::Failed(AttemptFailure::ClientGone), 100, now);
    outcomes(&upstream, 1, Outcome::Answered(500), 100, now);
    assert_eq!(order(&upstream, 2, now), "ab");
    assert_eq!(upstream.endpoints()[0].state.latency().average(), None);
}

#[test]
fn only_the_first_observation_of_a_lease_counts() {
    let (upstream, now) = upstream("a b");
    for _ in 0..5 {
        let mut lease = upstream.lease(&ask(&NOBODY), now, 0).unwrap();
        lease.observe(Outcome::Answered(200), Some(Duration::from_millis(20)), now);
        lease.observe(RESET, None, now + Duration::from_secs(60));
    }
    assert_eq!(upstream.endpoints()[0].state.latency().average(), Some(Duration::from_millis(20)));
    assert_eq!(order(&upstream, 2, now).matches('a').count(), 1);
}

proptest! {
    #[test]
    fn who_is_fit_is_never_passed_over_for_who_is_not(
        fleet in prop::collection::vec((0u32..3, any::<bool>(), any::<bool>(), any::<bool>()), 1..10),
        random in any::<u64>(),
    ) {
        let now = Instant::now();
        let written: Vec<String> = fleet
            .iter()
            .enumerate()
            .map(|(index, (weight, backup, ..))| {
                format!("{}*{weight}{}", char::from(b'a' + index as u8), if *backup { "!" } else { "" })
            })
            .collect();
        let upstream = upstream_with(&written.join(" "), settings(Config::Random), None, now);
        for (endpoint, (_, _, down, draining)) in upstream.endpoints().iter().zip(&fleet) {
            if *down {
                endpoint.state.set_down("");
            }
            if *draining {
                endpoint.state.drain(None);
            }
        }
        let member = |endpoint: &Endpoint| endpoint.weight > 0;
        let rank = |endpoint: &Endpoint| (endpoint.state.down(), endpoint.state.draining(), endpoint.backup);
        let best = upstream.endpoints().iter().filter(|endpoint| member(endpoint)).map(|endpoint| rank(endpoint)).min();
        match upstream.lease(&ask(&NOBODY), now, random) {
            Ok(lease) => {
                let got = lease.endpoint();
                prop_assert!(member(got));
                prop_assert_eq!(Some(rank(got)), best);
            }
            Err(refusal) => {
                prop_assert_eq!(refusal, Refusal::NoEndpoint);
                prop_assert_eq!(best, None);
            }
        }
    }
}

// === the queue ===

fn queued(written: &str, size: usize) -> Arc<Upstream> {
    let queue = Some(QueueSettings { size, timeout: Duration::from_secs(2) });
    upstream_with(written, Settings { queue, ..settings(Config::RoundRobin) }, None, Instant::now())
}

/// A request that waits, as the proxy makes it; it reports its number when it is served.
fn waits(
    upstream: &Arc<Upstream>,
    number: usize,
    served: &tokio::sync::mpsc::UnboundedSender<(usize, Lease)>,
) -> tokio::task::JoinHandle<Option<Refusal>> {
    let (upstream, served) = (upstream.clone(), served.clone());
    tokio::spawn(async move {
        match upstream.wait(&ask(&Tried::default())).await {
            Ok(lease) => {
                served.send((number, lease)).unwrap();
                None
            }
            Err(refusal) => Some(refusal),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn requests_are_served_in_the_order_in_which_they_came() {
    let upstream = queued("a/1", 10);
    let now = Instant::now();
    let held = upstream.lease(&ask(&NOBODY), now, 0).unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10 {
        waits(&upstream, number, &sender);
        tokio::task::yield_now().await;
    }
    drop(held);
    for number in 0..10 {
        // A newcomer does not push in while the room is promised.
        assert_eq!(upstream.lease(&ask(&NOBODY), now, 0).unwrap_err(), Refusal::Full);
        let (next, lease) = served.recv().await.unwrap();
        assert_eq!(next, number);
        drop(lease);
    }
    assert!(upstream.lease(&ask(&NOBODY), now, 0).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_away_and_a_long_wait_ends() {
    let upstream = queued("a/1", 1);
    let _held = upstream.lease(&ask(&NOBODY), Instant::now(), 0).unwrap();
    let (sender, _served) = tokio::sync::mpsc::unbounded_channel();
    let waiting = waits(&upstream, 0, &sender);
    tokio::task::yield_now().await;
    assert_eq!(upstream.wait(&ask(&NOBODY)).await.unwrap_err(), Refusal::QueueFull);
    let began = tokio::time::Instant::now();
    assert_eq!(waiting.await.unwrap(), Some(Refusal::QueueTimeout));
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(upstream.wait(&ask(&NOBODY)).await.unwrap_err(), Refusal::QueueTimeout, "the place is free again");
}

#[tokio::test]
async fn without_a_queue_nobody_waits() {
    let (upstream, now) = upstream("a/1");
    let _held = upstream.lease(&ask(&NOBODY), now, 0).unwrap();
    assert_eq!(upstream.wait(&ask(&NOBODY)).await.unwrap_err(), Refusal::Full);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_passes_its_call_on() {
    let upstream = queued("a/1", 10);
    let held = upstream.lease(&ask(&NOBODY), Instant::now(), 0).unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    let first = waits(&upstream, 0, &sender);
    tokio::task::yield_now().await;
    waits(&upstream, 1, &sender);
    tokio::task::yield_now().await;
    drop(held);
    first.abort();
    assert_eq!(served.recv().await.unwrap().0, 1);
    assert!(!upstream.shared.queue.promised());
}

#[tokio::test(start_paused = true)]
async fn room_that_the_first_cannot_use_goes_to_the_next() {
    let upstream = queued("a/1 b/1", 10);
    let now = Instant::now();
    let (a, b) = (upstream.lease(&ask(&NOBODY), now, 0).unwrap(), upstream.lease(&ask(&NOBODY), now, 0).unwrap());
    assert_eq!(a.endpoint().id.as_str(), "a");
    let mut been_to_a = Tried::default();
    been_to_a.insert(&a);
    let picky = tokio::spawn({
        let upstream = upstream.clone();
        async move { upstream.wait(&ask(&been_to_a)).await }
    });
    tokio::task::yield_now().await;
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    waits(&upstream, 1, &sender);
    tokio::task::yield_now().await;
    drop(a);
    let (_, lease) = served.recv().await.unwrap();
    assert_eq!(lease.endpoint().id.as_str(), "a");
    drop(b);
    assert_eq!(picky.await.unwrap().unwrap().endpoint().id.as_str(), "b");
    assert!(!upstream.shared.queue.promised());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_serves_all_who_wait() {
    let upstream = queued("a/1 b/3", 10);
    down(&upstream, "b");
    let _held = upstream.lease(&ask(&NOBODY), Instant::now(), 0).unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..3 {
        waits(&upstream, number, &sender);
        tokio::task::yield_now().await;
    }
    upstream.endpoints()[1].state.set_up(Instant::now());
    let mut leases = Vec::new();
    for number in 0..3 {
        let (next, lease) = served.recv().await.unwrap();
        assert_eq!(next, number);
        leases.push(lease);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_refused_when_nobody_is_left_to_wait_for() {
    let now = Instant::now();
    let queue = Some(QueueSettings { size: 1, timeout: Duration::from_secs(2) });
    let settings = Settings { queue, panic_threshold: None, ..settings(Config::RoundRobin) };
    let upstream = upstream_with("a/1", settings, None, now);
    let _held = upstream.lease(&ask(&NOBODY), now, 0).unwrap();
    let (sender, _served) = tokio::sync::mpsc::unbounded_channel();
    let waiting = waits(&upstream, 0, &sender);
    tokio::task::yield_now().await;
    down(&upstream, "a");
    assert_eq!(waiting.await.unwrap(), Some(Refusal::NoEndpoint));
}

#[tokio::test]
async fn a_waiter_of_the_old_generation_is_served_by_a_request_of_the_new_one() {
    let old = queued("a/1", 10);
    let queue = Some(QueueSettings { size: 10, timeout: Duration::from_secs(2) });
    let new = upstream_with("a/1", Settings { queue, ..settings(Config::First) }, Some(&old), Instant::now());
    let held = new.lease(&ask(&NOBODY), Instant::now(), 0).unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    waits(&old, 0, &sender);
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(served.recv().await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_when_many_wait() {
    let queue = Some(QueueSettings { size: 10_000, timeout: Duration::from_secs(20) });
    let upstream = upstream_with("a/2 b/1", Settings { queue, ..settings(Config::LeastConn) }, None, Instant::now());
    let requests: Vec<_> = (0..2_000)
        .map(|number| {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let tried = Tried::default();
                let lease = match upstream.lease(&ask(&tried), Instant::now(), number) {
                    Err(Refusal::Full) => upstream.wait(&ask(&tried)).await,
                    found => found,
                };
                let lease = lease.unwrap();
                assert!(lease.endpoint().state.in_flight() <= 2);
                tokio::task::yield_now().await;
            })
        })
        .collect();
    let began = Instant::now();
    for request in requests {
        request.await.unwrap();
    }
    // 2000 requests over 3 places: were wake-ups lost, each would cost a look-again of 100 ms.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!upstream.shared.queue.promised());
    assert!(upstream.endpoints().iter().all(|endpoint| endpoint.state.in_flight() == 0));
}

#[test]
fn an_endpoint_drains_until_its_deadline_and_comes_back() {
    let (upstream, now) = upstream("a b");
    let state = &upstream.endpoints()[0].state;
    let tried = Tried::default();
    let later = |seconds| now + Duration::from_secs(seconds);
    let pinned = |now| {
        let had = EndpointId::new("a");
        let lease = upstream.lease(&Ask { preferred: Some(&had), ..ask(&tried) }, now, 0).unwrap();
        (lease.endpoint().id.to_string(), upstream.standing(&had, &tried, now))
    };
    state.drain(None);
    assert_eq!(order(&upstream, 3, now), "bbb");
    assert_eq!(pinned(later(1_000_000)), ("a".into(), Standing::Fit), "no deadline");
    state.drain(Some(later(60)));
    assert_eq!(pinned(later(59)), ("a".into(), Standing::Fit));
    assert_eq!(state.drains_for(later(59)), Some(Duration::from_secs(1)));
    assert_eq!(pinned(later(60)), ("b".into(), Standing::Drained));
    assert_eq!(state.drains_for(later(61)), Some(Duration::ZERO));
    assert_eq!(state.condition(now), Condition::Draining);
    // Known again after a reload.
    let reloaded = upstream_with("b a", settings(Config::RoundRobin), Some(&upstream), later(1));
    assert_eq!(order(&reloaded, 3, later(1)), "bbb");
    assert!(state.undrain(later(2)));
    assert!(!state.undrain(later(2)));
    assert_eq!(state.drains_for(later(2)), None);
    assert_eq!(pinned(later(61)), ("a".into(), Standing::Fit));
    assert_eq!(state.ramp(Duration::from_secs(10), later(3)), 0.1, "eased in");
}

#[test]
fn a_draining_endpoint_serves_when_no_other_is_fit() {
    let now = Instant::now();
    for (draining, dead, threshold, expected) in [
        ("a", "", Some(0), "bcbc"),
        ("ab", "c", Some(0), "abab"),
        ("ab", "c", None, "abab"),
        ("abc", "", Some(0), "abca"),
        ("abc", "c", Some(0), "abab"),
        ("abc", "abc", Some(0), "abca"),
        ("abc", "abc", None, "----"),
        ("a", "abc", Some(0), "bcbc"),
    ] {
        let settings = Settings { panic_threshold: threshold, ..settings(Config::RoundRobin) };
        let upstream = upstream_with("a b c", settings, None, now);
        down(&upstream, dead);
        for endpoint in upstream.endpoints().iter().filter(|endpoint| draining.contains(endpoint.id.as_str())) {
            endpoint.state.drain(Some(now));
        }
        assert_eq!(order(&upstream, 4, now), expected, "{draining} drain, {dead} down, {threshold:?}");
    }
}

#[test]
fn who_is_full_keeps_a_draining_endpoint_out() {
    let (upstream, now) = upstream("a b/1");
    upstream.endpoints()[0].state.drain(None);
    let _held = upstream.lease(&ask(&NOBODY), now, 0).unwrap();
    assert_eq!(upstream.lease(&ask(&NOBODY), now, 0).unwrap_err(), Refusal::Full);
}

#[test]
fn how_an_endpoint_stands_says_why_it_is_not_taken_again() {
    let (upstream, now) = upstream("a/1 b name:c d*0");
    let standing = |id: &str, tried: &Tried| upstream.standing(&EndpointId::new(id), tried, now);
    let nobody = Tried::default();
    assert_eq!(standing("a", &nobody), Standing::Fit);
    assert_eq!(standing("d", &nobody), Standing::Fit, "no weight: nobody new");
    assert_eq!(standing("name:c", &nobody), Standing::Down, "no address");
    assert_eq!(standing("gone", &nobody), Standing::Gone);
    let had = EndpointId::new("a");
    let lease = upstream.lease(&Ask { preferred: Some(&had), ..ask(&nobody) }, now, 0).unwrap();
    assert_eq!(standing("a", &nobody), Standing::Full);
    let mut tried = Tried::default();
    tried.insert(&lease);
    drop(lease);
    assert_eq!(standing("a", &tried), Standing::Down, "it failed this request");
    outcomes(&upstream, 0, RESET, 5, now);
    assert_eq!(standing("a", &nobody), Standing::Down, "set aside");
    down(&upstream, "b");
    assert_eq!(standing("b", &nobody), Standing::Fit, "all are used");
}

/// A health check that is wrong for everybody must not move every session at each request.
#[test]
fn when_all_are_used_each_session_keeps_its_endpoint() {
    let (upstream, now) = upstream("a b c");
    down(&upstream, "abc");
    let tried = Tried::default();
    let had = EndpointId::new("b");
    for random in 0..20 {
        let lease = upstream.lease(&Ask { preferred: Some(&had), ..ask(&tried) }, now, random).unwrap();
        assert_eq!(lease.endpoint().id, had);
    }
    assert_eq!(upstream.standing(&had, &tried, now), Standing::Fit);
}
