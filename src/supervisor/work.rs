//! What the supervisor does for one endpoint: probe it, and keep the addresses of its name fresh.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::endpoint::Endpoint;
use crate::health::resolve::{Answer, Schedule};
use crate::health::{Change, Probe, Threshold};
use crate::telemetry::metrics::ProbeResult;

/// One endpoint of one upstream and what is to be done for it in the background.
#[derive(Clone)]
pub struct Work {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The endpoint. If it is written by name, its addresses are kept fresh.
    pub endpoint: Arc<Endpoint>,
    /// How it is probed; none: it counts as healthy.
    pub probe: Option<Arc<Probe>>,
}

/// The first probes of all endpoints spread over at most this time, or a quarter of the interval.
const LONGEST_FIRST_DELAY: Duration = Duration::from_secs(1);

// === impl Work ===

impl Work {
    /// Whether the tasks that run for `self` are the ones that `other` asks for.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.endpoint.state, &other.endpoint.state) && self.probe == other.probe
    }

    /// Whether the endpoint has an address, or it is known why it has none.
    pub(super) fn looked_up(&self) -> bool {
        self.endpoint.targets() > 0 || self.endpoint.state.why_down().is_some()
    }
}

/// Probes an endpoint for ever with `check`.
pub(super) async fn keep_probed<C, F>(work: Work, probe: Arc<Probe>, check: C)
where
    C: Fn() -> F,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let Work { upstream, endpoint, .. } = &work;
    let mut threshold = Threshold::new(probe.rise, probe.fall, !endpoint.state.down());
    sleep((probe.interval / 4).min(LONGEST_FIRST_DELAY).mul_f64(fastrand::f64())).await;
    loop {
        let started = Instant::now();
        // A name without an address is down for that reason, and there is nothing to learn.
        if endpoint.state.reachable() {
            let result = guarded(check()).await;
            endpoint.metrics.probed(if result.is_ok() { ProbeResult::Passed } else { ProbeResult::Failed });
            match (threshold.observe(result.is_ok()), result) {
                (Some(Change::Up), _) => {
                    endpoint.state.set_up(now());
                    log::info!("upstream {upstream}: endpoint {} is up: {} probes passed", endpoint.id, probe.rise);
                }
                (Some(Change::Down), Err(reason)) => {
                    let failed = format!("{} probes failed", probe.fall);
                    log::warn!("upstream {upstream}: endpoint {} is down: {reason} ({failed})", endpoint.id);
                    endpoint.state.set_down(reason);
                }
                // Still down: the newest reason is the one to show.
                (None, Err(reason)) if endpoint.state.down() => {
                    endpoint.state.set_down(reason);
                }
                (None, _) | (Some(Change::Down), Ok(())) => {}
            }
        }
        sleep_until(started + probe.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

/// Keeps the addresses of an endpoint's name fresh for ever with `resolve`; a failure leaves the last good ones in place.
pub(super) async fn keep_resolved<R, F>(work: Work, port: u16, resolve: R)
where
    R: Fn() -> F,
    F: Future<Output = Result<Answer, String>> + Send + 'static,
{
    let Work { upstream, endpoint, .. } = &work;
    let mut schedule = Schedule::new();
    let mut failing = false;
    loop {
        let answer = guarded(resolve()).await;
        let known = endpoint.state.addresses();
        let pause = match answer {
            Ok(Answer { addresses, ttl }) => {
                let found: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
                // Name servers rotate their answers: another order is no news.
                if failing || found.len() != known.len() || !found.iter().all(|address| known.contains(address)) {
                    log::info!("upstream {upstream}: endpoint {} is at {found:?}", endpoint.id);
                }
                failing = false;
                endpoint.state.set_addresses(found, now());
                schedule.answered(ttl)
            }
            Err(reason) => {
                let reason = format!("the name does not resolve: {reason}");
                if !failing && known.is_empty() {
                    log::warn!("upstream {upstream}: endpoint {} is down: {reason}", endpoint.id);
                } else if !failing {
                    log::warn!("upstream {upstream}: endpoint {} stays at {known:?}: {reason}", endpoint.id);
                }
                failing = true;
                endpoint.state.unresolved(reason);
                schedule.failed(fastrand::f64())
            }
        };
        sleep(pause).await;
    }
}

/// The state of endpoints counts in std's time.
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Runs `work` as a task of its own, so that a panic in it is an error here and not the end of the loop around it.
async fn guarded<T: Send + 'static>(
    work: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err("a fault of the gateway: the check panicked".to_string()),
        None => Err("a fault of the gateway: the check is gone".to_string()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::health::ProbeKind;

    pub(in crate::supervisor) const TICK: Duration = Duration::from_secs(5);

    pub(in crate::supervisor) fn work(address: &str, probe: Option<Probe>) -> Work {
        let endpoint = Arc::new(crate::health::tests::endpoint(address, &[]));
        Work { upstream: "app".into(), endpoint, probe: probe.map(Arc::new) }
    }

    pub(in crate::supervisor) fn tcp(interval: Duration) -> Probe {
        let transport = Arc::default();
        Probe { kind: ProbeKind::Tcp, transport, port: None, interval, timeout: interval, rise: 2, fall: 3 }
    }

    /// A check that answers with these, one a call, then with the last for ever; and how many were asked for.
    fn scripted(
        answers: &[Result<(), &str>],
    ) -> (Arc<AtomicUsize>, impl Fn() -> std::future::Ready<Result<(), String>>) {
        let answers: Vec<_> = answers.iter().map(|answer| answer.map_err(str::to_string)).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let check = move || {
            let call = count.fetch_add(1, Relaxed);
            std::future::ready(answers[call.min(answers.len() - 1)].clone())
        };
        (asked, check)
    }

    #[tokio::test(start_paused = true)]
    async fn failures_take_an_endpoint_out_and_successes_bring_it_back() {
        let work = work("127.0.0.1:1", Some(tcp(TICK)));
        let probe = work.probe.clone().unwrap();
        let (asked, check) =
            scripted(&[Ok(()), Err("status 503"), Err("status 503"), Err("status 503"), Ok(()), Ok(())]);
        let state = work.endpoint.state.clone();
        let task = tokio::spawn(keep_probed(work, probe, check));
        let mut seen = Vec::new();
        for call in 1..=6 {
            while asked.load(Relaxed) < call {
                sleep(Duration::from_millis(10)).await;
            }
            sleep(Duration::from_millis(10)).await;
            seen.push(!state.down());
        }
        assert_eq!(seen, [true, true, true, false, false, true]);
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_probe_is_early_and_the_next_come_with_jitter() {
        let work = work("127.0.0.1:1", Some(tcp(TICK)));
        let probe = work.probe.clone().unwrap();
        let started = Instant::now();
        let (sender, mut times) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(keep_probed(work, probe, move || {
            sender.send(Instant::now()).unwrap();
            std::future::ready(Ok(()))
        }));
        let mut last = times.recv().await.unwrap();
        assert!(last - started <= LONGEST_FIRST_DELAY);
        let mut gaps = Vec::new();
        for _ in 0..20 {
            let now = times.recv().await.unwrap();
            gaps.push(now - last);
            last = now;
        }
        assert!(gaps.iter().all(|gap| (0.89..1.11).contains(&(gap.as_secs_f64() / TICK.as_secs_f64()))), "{gaps:?}");
        gaps.dedup();
        assert!(gaps.len() > 10, "they differ: {gaps:?}");
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_check_is_a_failure_and_probing_goes_on() {
        let work = work("127.0.0.1:1", Some(tcp(TICK)));
        let (probe, state) = (work.probe.clone().unwrap(), work.endpoint.state.clone());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let task = tokio::spawn(keep_probed(work, probe, move || {
            let call = count.fetch_add(1, Relaxed);
            async move { if call < 3 { panic!("on purpose") } else { Ok(()) } }
        }));
        sleep(TICK * 5 / 2).await;
        assert!(asked.load(Relaxed) >= 3);
        assert!(state.down(), "three failures");
        sleep(TICK * 4).await;
        assert!(!state.down());
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_keeps_its_last_good_addresses_when_it_stops_resolving() {
        let work = work("app.internal:3000", None);
        let endpoint = work.endpoint.clone();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let task = tokio::spawn(keep_resolved(work, 3000, move || {
            let call = count.fetch_add(1, Relaxed);
            let address = |last| Ok(Answer { addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))], ttl: TICK });
            std::future::ready(match call {
                0 | 2 => Err("no such name".to_string()),
                1 => address(1),
                _ => address(2),
            })
        }));
        let after = |calls_made: usize| {
            let (calls, endpoint) = (calls.clone(), endpoint.clone());
            async move {
                while calls.load(Relaxed) < calls_made {
                    sleep(Duration::from_millis(10)).await;
                }
                sleep(Duration::from_millis(10)).await;
                endpoint.state.addresses().to_vec()
            }
        };
        assert_eq!(after(1).await, []);
        assert_eq!(after(2).await, ["10.0.0.1:3000".parse().unwrap()]);
        assert_eq!(after(3).await, ["10.0.0.1:3000".parse().unwrap()], "the last good answer stays");
        assert_eq!(after(4).await, ["10.0.0.2:3000".parse().unwrap()]);
        task.abort();
    }
}
