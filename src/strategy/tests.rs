//! What every strategy promises, held against many fleets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::{Candidates, Config, ConsistentHash, EndpointSet, HashKey, Strategy, build, hash_address, hash_key};
use crate::endpoint::{Address, Endpoint, EndpointId, EndpointSettings, EndpointState};
use crate::telemetry::metrics::Metrics;

/// Endpoints with everything that a strategy may know of them, and a clock that stands still.
struct Fleet {
    endpoints: Vec<Arc<Endpoint>>,
    fit: EndpointSet,
    slow_start: Option<Duration>,
    now: Instant,
    random: u64,
}

impl Fleet {
    fn of(weights: &[u32]) -> Self {
        let named: Vec<_> = weights.iter().enumerate().map(|(index, weight)| (index, *weight)).collect();
        Self::named(&named)
    }

    /// Endpoints by a number that gives the name, and weight.
    fn named(endpoints: &[(usize, u32)]) -> Self {
        let now = Instant::now();
        let metrics = Metrics::new().upstream("node");
        let make = |(number, weight): &(usize, u32)| {
            let address = Address::Tcp(([10, 0, 0, 1], *number as u16).into());
            let id = EndpointId::new(&format!("10.0.0.1:{number}"));
            let state = Arc::new(EndpointState::new(&address, false, now));
            let metrics = metrics.endpoint(id.as_str());
            let host_header = None;
            let settings =
                EndpointSettings { id, address, weight: *weight, backup: false, max_connections: None, host_header };
            Arc::new(Endpoint::new(settings, state, metrics))
        };
        let all: Vec<_> = endpoints.iter().map(make).collect();
        let fit = (0..all.len()).filter(|index| all[*index].weight > 0).collect();
        Self { endpoints: all, fit, slow_start: None, now, random: 1 }
    }

    fn strategy(&self, config: &Config) -> Box<dyn Strategy> {
        build(config, &self.endpoints)
    }

    fn without(&mut self, down: &[usize]) {
        self.fit = self.fit.iter().filter(|index| !down.contains(index)).collect();
    }

    fn candidates(&mut self) -> Candidates<'_> {
        self.random = super::hash::mix(self.random.wrapping_add(0x9e37_79b9));
        Candidates::new(&self.endpoints, self.fit.clone(), self.slow_start, self.now, self.random).unwrap()
    }

    fn pick(&mut self, strategy: &dyn Strategy, key: Option<u64>) -> usize {
        strategy.pick(&self.candidates(), key).index
    }

    /// Picks and counts the request in flight.
    fn take(&mut self, strategy: &dyn Strategy, key: Option<u64>) -> usize {
        let choice = strategy.pick(&self.candidates(), key);
        assert!(self.endpoints[choice.index].state.claim(choice.seen, None), "a load that nobody had");
        choice.index
    }

    fn release(&self, index: usize) {
        self.endpoints[index].state.release();
    }

    fn load(&self, index: usize) -> u32 {
        self.endpoints[index].state.in_flight()
    }

    fn answered(&self, index: usize, took: Duration) {
        let state = &self.endpoints[index].state;
        state.latency().observe(took, state.since_origin(self.now));
    }

    fn failed(&self, index: usize, took: Duration) {
        let state = &self.endpoints[index].state;
        state.latency().observe_failure(took, state.since_origin(self.now));
    }

    fn counts(&mut self, strategy: &dyn Strategy, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; self.endpoints.len()];
        (0..picks).for_each(|_| counts[self.pick(strategy, None)] += 1);
        counts
    }
}

fn consistent_hash(load_bound: f64) -> Config {
    Config::ConsistentHash(ConsistentHash { key: HashKey::Uri, load_bound })
}

fn every_strategy() -> Vec<Config> {
    use Config::{First, IpHash, LeastConn, PeakEwma, Random, RandomTwo, RoundRobin};
    vec![RoundRobin, Random, LeastConn, RandomTwo, PeakEwma, IpHash, consistent_hash(1.25), First]
}

fn keys(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|number| hash_key(&number.to_le_bytes()))
}

/// Whether `part` of `whole` picks is near `share`, give or take a tolerance as a part of `whole`.
fn near(part: usize, whole: usize, share: f64, tolerance: f64) -> bool {
    (part as f64 / whole as f64 - share).abs() <= tolerance
}

fn weights() -> impl proptest::strategy::Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..=12, 1..12).prop_filter("somebody takes requests", |all| all.iter().any(|w| *w > 0))
}

/// Weights, and a mark for those who are down; somebody with a weight is up.
fn half_down() -> impl proptest::strategy::Strategy<Value = Vec<(u32, bool)>> {
    prop::collection::vec((0u32..=9, any::<bool>()), 2..12)
        .prop_filter("somebody takes requests", |all| all.iter().any(|(weight, down)| *weight > 0 && !down))
}

proptest! {
    // Each case is thousands of picks.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_strategy_chooses_an_eligible_endpoint_whenever_there_is_one(fleet in half_down(), key in any::<Option<u64>>()) {
        let weights: Vec<u32> = fleet.iter().map(|(weight, _)| *weight).collect();
        let down: Vec<usize> = (0..fleet.len()).filter(|index| fleet[*index].1).collect();
        for config in every_strategy() {
            let mut fleet = Fleet::of(&weights);
            let strategy = fleet.strategy(&config);
            fleet.without(&down);
            for _ in 0..50 {
                let index = fleet.take(&*strategy, key);
                prop_assert!(weights[index] > 0 && !down.contains(&index), "{config:?}");
            }
        }
    }

    #[test]
    fn round_robin_is_exact_in_every_turn_and_smooth_within_it(weights in weights()) {
        let mut fleet = Fleet::of(&weights);
        let strategy = fleet.strategy(&Config::RoundRobin);
        let turn: u32 = weights.iter().sum();
        let mut counts = vec![0u32; weights.len()];
        for pick in 1..=3 * turn {
            counts[fleet.pick(&*strategy, None)] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from(pick * weight) / f64::from(turn);
                prop_assert!((f64::from(*count) - due).abs() < 2.0, "{counts:?} after {pick} of {weights:?}");
            }
            if pick % turn == 0 {
                let exact: Vec<u32> = weights.iter().map(|weight| weight * (pick / turn)).collect();
                prop_assert_eq!(&counts, &exact);
            }
        }
    }

    #[test]
    fn a_dead_endpoints_share_goes_to_all_others_and_its_return_is_no_burst(weights in weights(), before in 0u32..50, absent in 1u32..500) {
        let mut fleet = Fleet::of(&weights);
        let strategy = fleet.strategy(&Config::RoundRobin);
        let dead = fleet.fit.iter().next().unwrap();
        prop_assume!(fleet.fit.len() > 1);
        (0..before).for_each(|_| { fleet.pick(&*strategy, None); });

        let all = fleet.fit.clone();
        fleet.without(&[dead]);
        let turn = weights.iter().sum::<u32>() - weights[dead];
        let counts = fleet.counts(&*strategy, (turn * absent) as usize);
        for index in fleet.fit.iter() {
            // One more or less where the turn did not begin with its death.
            let exact = i64::from(weights[index] * absent);
            prop_assert!((counts[index] as i64 - exact).abs() <= 2, "{counts:?} in {absent} turns of {weights:?}");
        }

        fleet.fit = all;
        let back = fleet.counts(&*strategy, (turn + weights[dead]) as usize);
        prop_assert!(back[dead] <= weights[dead] as usize + 1, "{back:?} of {weights:?}");
    }

    #[test]
    fn hashed_keys_move_only_with_their_endpoint(fleet in half_down()) {
        let weights: Vec<u32> = fleet.iter().map(|(weight, _)| *weight).collect();
        let down: Vec<usize> = (0..fleet.len()).filter(|index| fleet[*index].1).collect();
        for config in [Config::IpHash, consistent_hash(1.25)] {
            let mut fleet = Fleet::of(&weights);
            let strategy = fleet.strategy(&config);
            let before: Vec<usize> = keys(200).map(|key| fleet.pick(&*strategy, Some(key))).collect();
            fleet.without(&down);
            let after: Vec<usize> = keys(200).map(|key| fleet.pick(&*strategy, Some(key))).collect();
            for (before, after) in before.into_iter().zip(after) {
                prop_assert!(before == after || down.contains(&before), "{config:?}");
            }
        }
    }

    #[test]
    fn a_reload_that_adds_an_endpoint_moves_its_share_of_keys_and_nothing_else(
        weights in prop::collection::vec(1u32..=5, 1..8), new in 1u32..=5, at in any::<prop::sample::Index>(),
    ) {
        let old: Vec<(usize, u32)> = weights.into_iter().enumerate().collect();
        let mut with = old.clone();
        let newcomer = old.len();
        with.insert(at.index(old.len() + 1), (newcomer, new));
        for config in [Config::IpHash, consistent_hash(1.25)] {
            let place = |fleet: &[(usize, u32)]| {
                let mut endpoints = Fleet::named(fleet);
                let strategy = endpoints.strategy(&config);
                keys(2_000).map(|key| fleet[endpoints.pick(&*strategy, Some(key))].0).collect::<Vec<_>>()
            };
            let (before, after) = (place(&old), place(&with));
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert_eq!(moved, after.iter().filter(|number| **number == newcomer).count(), "others moved too");
            let share = f64::from(new) / with.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>();
            prop_assert!(near(moved, 2_000, share, 0.12), "{moved} of 2000 moved, due {share}: {config:?}");
        }
    }

    #[test]
    fn consistent_hash_keeps_its_load_bound(weights in prop::collection::vec(1u32..=5, 1..8), hot in 0u64..4) {
        let mut fleet = Fleet::of(&weights);
        let strategy = fleet.strategy(&consistent_hash(1.25));
        let total: u32 = weights.iter().sum();
        for number in 1..=400u32 {
            // Few keys, so that without a bound few endpoints would have all of them.
            let key = hash_key(&(u64::from(number) % (hot + 1)).to_le_bytes());
            let index = fleet.take(&*strategy, Some(key));
            let bound = (1.25 * f64::from(number) * f64::from(weights[index]) / f64::from(total)).ceil();
            prop_assert!(f64::from(fleet.load(index)) <= bound.max(8.0), "{} over {bound}", fleet.load(index));
        }
    }

    #[test]
    fn least_conn_never_leaves_a_less_loaded_endpoint_aside(weights in weights(), ends in prop::collection::vec(any::<prop::sample::Index>(), 1..200)) {
        let mut fleet = Fleet::of(&weights);
        let strategy = fleet.strategy(&Config::LeastConn);
        let mut held = Vec::new();
        for end in ends {
            let index = fleet.take(&*strategy, None);
            let with = f64::from(fleet.load(index)) / f64::from(weights[index]);
            for other in fleet.fit.iter().filter(|other| *other != index) {
                let instead = f64::from(fleet.load(other) + 1) / f64::from(weights[other]);
                let idle = fleet.load(index) == 1;
                prop_assert!(idle || (fleet.load(other) > 0 && with <= instead + 1e-9), "{with} over {instead}");
            }
            held.push(index);
            // Now and then one ends.
            if end.index(3) == 0 {
                let index = held.swap_remove(end.index(held.len()));
                fleet.release(index);
            }
        }
    }

    #[test]
    fn a_set_has_what_was_put_in(indexes in prop::collection::btree_set(0usize..700, 0..40)) {
        let set: EndpointSet = indexes.iter().copied().collect();
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), indexes.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(set.len(), indexes.len());
        prop_assert_eq!(set.is_empty(), indexes.is_empty());
        prop_assert!((0..1000).all(|index| set.contains(index) == indexes.contains(&index)));
    }
}

#[test]
fn round_robin_interleaves() {
    let order = |weights: &[u32], picks: usize| {
        let mut fleet = Fleet::of(weights);
        let strategy = fleet.strategy(&Config::RoundRobin);
        (0..picks).map(|_| char::from(b'a' + fleet.pick(&*strategy, None) as u8)).collect::<String>()
    };
    assert_eq!(order(&[1, 1, 1], 7), "abcabca");
    assert_eq!(order(&[4, 1, 1], 12), "abaacaabaaca");
    assert_eq!(order(&[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 20), "abacadaeafagahaiajak");
    assert_eq!(order(&[3, 0, 1], 8), "aacaaaca");
}

#[test]
fn endpoints_that_return_together_take_turns_as_before() {
    let mut fleet = Fleet::of(&[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    let strategy = fleet.strategy(&Config::RoundRobin);
    let all = fleet.fit.clone();
    fleet.without(&(1..11).collect::<Vec<_>>());
    fleet.counts(&*strategy, 1007);
    fleet.fit = all;
    fleet.counts(&*strategy, 20);
    let mut before = usize::MAX;
    for _ in 0..200 {
        let index = fleet.pick(&*strategy, None);
        assert!(index != 0 || before != 0, "the heavy one twice in a row");
        before = index;
    }
}

#[test]
fn an_attempt_that_may_not_use_an_endpoint_costs_it_no_turn() {
    let mut fleet = Fleet::of(&[1, 1, 1]);
    let strategy = fleet.strategy(&Config::RoundRobin);
    let all = fleet.fit.clone();
    let mut counts = [0usize; 3];
    for _ in 0..300 {
        let failed = fleet.pick(&*strategy, None);
        fleet.without(&[failed]);
        counts[failed] += 1;
        counts[fleet.pick(&*strategy, None)] += 1;
        fleet.fit = all.clone();
    }
    assert!(counts.iter().all(|count| count.abs_diff(200) <= 1), "{counts:?}");
}

#[test]
fn round_robin_outlives_the_wrap_of_its_clock() {
    let mut fleet = Fleet::of(&[2, 1]);
    let strategy = super::round_robin::RoundRobin::starting_at(&fleet.endpoints, u64::MAX - 5);
    let counts = fleet.counts(&strategy, 30);
    assert_eq!(counts, [20, 10]);
}

#[test]
fn round_robin_is_exact_when_threads_share_it() {
    let fleet = Fleet::of(&[3, 2, 1, 1]);
    let strategy = fleet.strategy(&Config::RoundRobin);
    let counts: Vec<_> = (0..4).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..7_000 {
                    let candidates = Candidates::new(&fleet.endpoints, fleet.fit.clone(), None, fleet.now, 0).unwrap();
                    let index = strategy.pick(&candidates, None).index;
                    counts[index].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    for (count, exact) in counts.iter().zip([12_000, 8_000, 4_000, 4_000]) {
        // A thread that is suspended with an old clock in hand may cost a turn or two.
        let count = count.load(std::sync::atomic::Ordering::Relaxed);
        assert!(count.abs_diff(exact) <= 40, "{count}, not {exact}");
    }
}

#[test]
fn random_goes_by_weight() {
    for config in [Config::Random, Config::RandomTwo] {
        let mut fleet = Fleet::of(&[1, 3, 0, 6]);
        let strategy = fleet.strategy(&config);
        let counts = fleet.counts(&*strategy, 20_000);
        assert_eq!(counts[2], 0);
        for (index, share) in [(0, 0.1), (1, 0.3), (3, 0.6)] {
            assert!(near(counts[index], 20_000, share, 0.02), "{config:?}: {counts:?}");
        }
    }
}

#[test]
fn random_two_takes_the_less_loaded() {
    let mut fleet = Fleet::of(&[1, 1, 1, 1]);
    let strategy = fleet.strategy(&Config::RandomTwo);
    (0..50).for_each(|_| assert!(fleet.endpoints[2].state.claim(None, None)));
    assert_eq!(fleet.counts(&*strategy, 1_000)[2], 0);
    (0..400).for_each(|_| {
        fleet.take(&*strategy, None);
    });
    let loads: Vec<u32> = (0..4).map(|index| fleet.load(index)).collect();
    assert!(loads.iter().all(|load| load.abs_diff(112) <= 6), "{loads:?}");
}

#[test]
fn least_conn_rotates_among_idle_endpoints_by_weight() {
    let mut fleet = Fleet::of(&[1, 1, 2]);
    let strategy = fleet.strategy(&Config::LeastConn);
    let mut counts = [0; 3];
    for _ in 0..400 {
        let index = fleet.take(&*strategy, None);
        counts[index] += 1;
        fleet.release(index);
    }
    assert_eq!(counts, [100, 100, 200]);
}

#[test]
fn least_conn_fills_by_weight() {
    let mut fleet = Fleet::of(&[1, 2, 3]);
    let strategy = fleet.strategy(&Config::LeastConn);
    (0..600).for_each(|_| {
        fleet.take(&*strategy, None);
    });
    let loads: Vec<u32> = (0..3).map(|index| fleet.load(index)).collect();
    assert!(loads.iter().zip([100, 200, 300]).all(|(load, due)| load.abs_diff(due) <= 1), "{loads:?}");
}

/// Peak EWMA as the gateway drives it: one request at a time, each endpoint with its own latency.
fn served(
    fleet: &mut Fleet,
    strategy: &dyn Strategy,
    requests: usize,
    latency: impl Fn(usize) -> Result<u64, u64>,
) -> Vec<usize> {
    let mut counts = vec![0; fleet.endpoints.len()];
    for _ in 0..requests {
        let index = fleet.take(strategy, None);
        counts[index] += 1;
        match latency(index) {
            Ok(millis) => {
                fleet.now += Duration::from_millis(millis);
                fleet.answered(index, Duration::from_millis(millis));
            }
            Err(millis) => {
                fleet.now += Duration::from_millis(millis);
                fleet.failed(index, Duration::from_millis(millis));
            }
        }
        fleet.release(index);
    }
    counts
}

#[test]
fn peak_ewma_leaves_a_slow_endpoint_and_comes_back_when_it_recovers() {
    let mut fleet = Fleet::of(&[1, 1, 1]);
    let strategy = fleet.strategy(&Config::PeakEwma);
    let alike = served(&mut fleet, &*strategy, 3_000, |_| Ok(10));
    assert!(alike.iter().all(|count| near(*count, 3_000, 1.0 / 3.0, 0.1)), "{alike:?}");

    let slow = served(&mut fleet, &*strategy, 3_000, |index| Ok(if index == 1 { 1_000 } else { 10 }));
    assert!(slow[1] <= 12, "the slow one got {slow:?}");
    assert!(slow[1] >= 1, "the slow one was never asked again: {slow:?}");

    let recovering = served(&mut fleet, &*strategy, 6_000, |_| Ok(10));
    assert!(recovering[1] > 0, "{recovering:?}");
    let recovered = served(&mut fleet, &*strategy, 3_000, |_| Ok(10));
    assert!(near(recovered[1], 3_000, 1.0 / 3.0, 0.1), "{recovered:?}");
}

#[test]
fn peak_ewma_is_not_fooled_by_an_endpoint_that_fails_fast() {
    for normal in [5, 50, 3_000] {
        let mut fleet = Fleet::of(&[1, 1, 1]);
        let strategy = fleet.strategy(&Config::PeakEwma);
        let counts = served(&mut fleet, &*strategy, 2_000, |index| if index == 0 { Err(1) } else { Ok(normal) });
        // Half of a fair share, though only a handful of 3 s requests fit into the time after which a failure is forgiven.
        assert!(counts[0] < 2_000 / 6, "{counts:?} at {normal} ms");
    }
}

#[test]
fn peak_ewma_tries_a_new_endpoint_without_flooding_it() {
    let mut fleet = Fleet::of(&[1, 1, 1]);
    let strategy = fleet.strategy(&Config::PeakEwma);
    fleet.answered(0, Duration::from_millis(10));
    fleet.answered(1, Duration::from_millis(10));
    (0..30).for_each(|_| {
        fleet.take(&*strategy, None);
    });
    assert!((5..=15).contains(&fleet.load(2)), "{}", fleet.load(2));
}

#[test]
fn first_fills_in_order() {
    let mut fleet = Fleet::of(&[0, 1, 5]);
    let strategy = fleet.strategy(&Config::First);
    assert_eq!(fleet.counts(&*strategy, 10), [0, 10, 0]);
    fleet.without(&[1]);
    assert_eq!(fleet.counts(&*strategy, 10), [0, 0, 10]);
}

#[test]
fn hashed_keys_go_by_weight_and_requests_without_one_by_turns() {
    for config in [Config::IpHash, consistent_hash(1.25)] {
        let mut fleet = Fleet::of(&[1, 2, 0, 5]);
        let strategy = fleet.strategy(&config);
        let mut counts = [0; 4];
        keys(20_000).for_each(|key| counts[fleet.pick(&*strategy, Some(key))] += 1);
        assert_eq!(counts[2], 0);
        for (index, share) in [(0, 0.125), (1, 0.25), (3, 0.625)] {
            assert!(near(counts[index], 20_000, share, 0.05), "{config:?}: {counts:?}");
        }
        assert_eq!(fleet.counts(&*strategy, 8), [1, 2, 0, 5]);
    }
}

#[test]
fn a_dead_endpoints_keys_go_to_all_others_alike() {
    for config in [Config::IpHash, consistent_hash(1.25)] {
        let mut fleet = Fleet::of(&[1, 1, 1, 1]);
        let strategy = fleet.strategy(&config);
        let orphans: Vec<u64> = keys(20_000).filter(|key| fleet.pick(&*strategy, Some(*key)) == 3).collect();
        fleet.without(&[3]);
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for key in &orphans {
            *counts.entry(fleet.pick(&*strategy, Some(*key))).or_default() += 1;
        }
        assert!(counts.values().all(|count| near(*count, orphans.len(), 1.0 / 3.0, 0.13)), "{config:?}: {counts:?}");
    }
}

#[test]
fn consistent_hash_keeps_a_key_together_while_there_is_no_crowd() {
    let mut fleet = Fleet::of(&[1, 1, 1, 1]);
    let strategy = fleet.strategy(&consistent_hash(1.25));
    let home = fleet.pick(&*strategy, Some(7));
    assert!((0..8).all(|_| fleet.take(&*strategy, Some(7)) == home));
    assert_ne!(fleet.take(&*strategy, Some(7)), home);
}

#[test]
fn slow_start_scales_the_weight_of_who_came_up() {
    for config in [Config::RoundRobin, Config::Random, Config::RandomTwo, Config::IpHash, consistent_hash(1.25)] {
        let mut fleet = Fleet::of(&[1, 1]);
        let strategy = fleet.strategy(&config);
        fleet.slow_start = Some(Duration::from_secs(30));
        let mut share = || {
            let picks = keys(10_000).map(|key| fleet.pick(&*strategy, Some(key))).collect::<Vec<_>>();
            picks.iter().filter(|index| **index == 1).count() as f64 / 10_000.0
        };
        assert!((share() - 0.5).abs() < 0.06, "{config:?}: at the gateway's start all are alike");
        assert!(fleet.endpoints[1].state.set_down("gone") && fleet.endpoints[1].state.set_up(fleet.now));
        for (after, due) in [(0, 0.1 / 1.1), (15, 0.5 / 1.5), (15, 0.5), (1000, 0.5)] {
            fleet.now += Duration::from_secs(after);
            let picks = keys(10_000).filter(|key| fleet.pick(&*strategy, Some(*key)) == 1).count();
            assert!(near(picks, 10_000, due, 0.06), "{config:?}: {picks} of 10000, due {due}");
        }
    }
}

#[test]
fn a_hash_holds_for_ever() {
    // Gateways of different versions must agree; these values may not change.
    assert_eq!(hash_key(b""), 17_665_956_581_633_026_203);
    assert_eq!(hash_key(b"user-42"), 8_797_103_408_588_478_355);
    let (v4, mapped) = ("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(hash_address(v4), hash_address(mapped));
    assert_ne!(hash_address(v4), hash_address("192.0.2.2".parse().unwrap()));
}
