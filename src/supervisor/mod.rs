//! The background work that a snapshot asks for: probes, the addresses of endpoints written by name, and the connections to
//! session stores.
//!
//! Each new generation is compared with what runs: what is new starts, what is gone is stopped and joined, what did not
//! change goes on undisturbed, its count of probes in a row included. With the listener manager this is the only place
//! that spawns.

mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::endpoint::{Address, EndpointId};
use crate::health::check_once;
use crate::health::resolve::Resolver;
use crate::session::store::Store;

pub use work::Work;
use work::{keep_probed, keep_resolved};

/// All the background work of one generation.
#[derive(Clone, Default)]
pub struct Orders {
    /// What is to be done for each endpoint.
    pub endpoints: Arc<[Work]>,
    /// The stores that are to be kept connected.
    pub stores: Arc<[Arc<Store>]>,
}

/// Runs the background work of the newest generation.
pub struct Supervisor {
    resolver: Arc<Resolver>,
    running: HashMap<(Arc<str>, EndpointId), Running>,
    /// Each store with the task that keeps it.
    stores: Vec<(Arc<Store>, JoinSet<()>)>,
}

/// The tasks of one endpoint. Dropping it ends them.
struct Running {
    work: Work,
    tasks: JoinSet<()>,
}

// === impl Orders ===

impl Orders {
    /// Waits until each name was looked up and each store was connected, once, or for `longest`: else the first requests
    /// would be answered with 503. Blocks its thread.
    pub fn wait_until_tried(&self, longest: Duration) {
        /// A hosts file and a Redis on this machine answer sooner.
        const LOOK: Duration = Duration::from_millis(2);
        let until = Instant::now() + longest;
        let tried = || self.endpoints.iter().all(Work::looked_up) && self.stores.iter().all(|store| store.was_tried());
        while Instant::now() < until && !tried() {
            std::thread::park_timeout(LOOK);
        }
    }
}

// === impl Supervisor ===

impl Supervisor {
    /// A supervisor with nothing to do yet.
    pub fn new() -> Self {
        Self { resolver: Arc::new(Resolver::new()), running: HashMap::new(), stores: Vec::new() }
    }

    /// Follows the generations until `shutdown` turns true or nobody is left to send one; then all its tasks are over.
    pub async fn run(mut self, mut generations: watch::Receiver<Orders>, mut shutdown: watch::Receiver<bool>) {
        loop {
            let orders = generations.borrow_and_update().clone();
            self.keep(&orders.stores).await;
            self.apply(&orders.endpoints).await;
            let goes_on = select! {
                changed = generations.changed() => changed.is_ok(),
                _ = shutdown.wait_for(|over| *over) => false,
            };
            if !goes_on {
                break;
            }
        }
        self.apply(&[]).await;
        self.keep(&[]).await;
    }

    /// Keeps exactly these stores connected; one that stays is left alone.
    async fn keep(&mut self, wanted: &[Arc<Store>]) {
        let gone = self.stores.extract_if(.., |(store, _)| !wanted.iter().any(|wanted| Arc::ptr_eq(wanted, store)));
        for (_, mut task) in gone.collect::<Vec<_>>() {
            task.shutdown().await;
        }
        for store in wanted {
            if !self.stores.iter().any(|(kept, _)| Arc::ptr_eq(kept, store)) {
                let mut task = JoinSet::new();
                task.spawn(Arc::clone(store).keep());
                self.stores.push((Arc::clone(store), task));
            }
        }
    }

    /// Makes what runs equal to `generation`. When it returns, what is gone has ended: it touches no endpoint any more.
    async fn apply(&mut self, generation: &[Work]) {
        let mut wanted: HashMap<_, _> =
            generation.iter().map(|work| ((work.upstream.clone(), work.endpoint.id.clone()), work)).collect();
        let mut gone: Vec<Running> = self
            .running
            .extract_if(|key, running| !wanted.get(key).is_some_and(|work| running.work.is_same(work)))
            .map(|(_, running)| running)
            .collect();
        for running in &mut gone {
            running.tasks.abort_all();
        }
        for mut running in gone {
            running.tasks.shutdown().await;
        }
        wanted.retain(|key, _| !self.running.contains_key(key));
        for (key, work) in wanted {
            self.running.insert(key, Running::start(work.clone(), &self.resolver));
        }
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Running ===

impl Running {
    fn start(work: Work, resolver: &Arc<Resolver>) -> Self {
        let mut tasks = JoinSet::new();
        if let Address::Name { host, port } = &work.endpoint.address {
            let (resolver, host) = (resolver.clone(), Arc::<str>::from(host.as_str()));
            let resolve = move || {
                let (resolver, host) = (resolver.clone(), host.clone());
                async move { resolver.resolve(&host).await }
            };
            tasks.spawn(keep_resolved(work.clone(), *port, resolve));
        }
        match &work.probe {
            Some(probe) => {
                let (endpoint, settings) = (work.endpoint.clone(), probe.clone());
                let check = move || {
                    let (endpoint, probe) = (endpoint.clone(), settings.clone());
                    async move { check_once(&endpoint, &probe).await }
                };
                tasks.spawn(keep_probed(work.clone(), probe.clone(), check));
            }
            // Nobody would ever bring back what a probe of an earlier generation took out.
            None if work.endpoint.state.down() => {
                work.endpoint.state.set_up(Instant::now());
                log::info!("upstream {}: endpoint {} is up: it is probed no more", work.upstream, work.endpoint.id);
            }
            None => {}
        }
        Self { work, tasks }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::{sleep, timeout};

    use super::work::tests::{TICK, tcp, work};
    use super::*;

    fn orders(endpoints: [Work; 1]) -> Orders {
        Orders { endpoints: Arc::from(endpoints), ..Orders::default() }
    }

    async fn eventually(what: &str, condition: impl Fn() -> bool) {
        let waited = timeout(Duration::from_secs(5), async {
            while !condition() {
                sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    #[tokio::test]
    async fn a_generation_starts_what_is_new_and_ends_what_is_gone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let server = tokio::spawn(async move {
            loop {
                listener.accept().await.unwrap();
                count.fetch_add(1, Relaxed);
            }
        });
        let probed = work(&address.to_string(), Some(tcp(Duration::from_millis(10))));
        let state = probed.endpoint.state.clone();
        let (generations, follow) = watch::channel(orders([probed.clone()]));
        let (shutdown, over) = watch::channel(false);
        let supervisor = tokio::spawn(Supervisor::new().run(follow, over));
        eventually("it is probed", || accepted.load(Relaxed) > 3).await;

        server.abort();
        eventually("it is down", || state.down()).await;

        generations.send(orders([Work { probe: None, ..probed.clone() }])).unwrap();
        eventually("without a probe it counts as healthy", || !state.down()).await;

        generations.send(Orders::default()).unwrap();
        shutdown.send(true).unwrap();
        timeout(Duration::from_secs(1), supervisor).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_did_not_change_is_left_alone() {
        let unchanged = work("127.0.0.1:1", Some(tcp(TICK)));
        let changed = work("127.0.0.1:2", Some(tcp(TICK)));
        let mut supervisor = Supervisor::new();
        supervisor.apply(&[unchanged.clone(), changed.clone()]).await;
        let tasks = |supervisor: &Supervisor, work: &Work| {
            let running = &supervisor.running[&(work.upstream.clone(), work.endpoint.id.clone())];
            Arc::as_ptr(running.work.probe.as_ref().unwrap())
        };
        let before = (tasks(&supervisor, &unchanged), tasks(&supervisor, &changed));

        let copy = |work: &Work, interval| Work { probe: Some(Arc::new(tcp(interval))), ..work.clone() };
        supervisor.apply(&[copy(&unchanged, TICK), copy(&changed, TICK * 2)]).await;
        assert_eq!(tasks(&supervisor, &unchanged), before.0);
        assert_ne!(tasks(&supervisor, &changed), before.1);
    }

    #[tokio::test]
    async fn localhost_is_resolved_and_then_probed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let work = work(&format!("localhost:{port}"), Some(tcp(Duration::from_millis(10))));
        let mut supervisor = Supervisor::new();
        supervisor.apply(std::slice::from_ref(&work)).await;
        timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
        assert_eq!(work.endpoint.state.addresses()[0], (Ipv4Addr::LOCALHOST, port).into());
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_holds_nothing_up() {
        let mut supervisor = Supervisor::new();
        let work = work("app.invalid:3000", Some(tcp(Duration::from_millis(5))));
        timeout(Duration::from_secs(1), supervisor.apply(std::slice::from_ref(&work))).await.unwrap();
        assert!(work.endpoint.state.addresses().is_empty());
        timeout(Duration::from_secs(1), supervisor.apply(&[])).await.unwrap();
        assert!(!work.endpoint.state.down(), "what it has no address for was never probed");
    }
}
