//! Steady load: some connections, each asking again as soon as it was answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Ask, Client, Target, within};

/// A load on a busy machine takes its time.
const LONG: Duration = Duration::from_secs(90);

/// How a load went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub by_status: BTreeMap<u16, usize>,
    pub by_instance: BTreeMap<String, usize>,
    /// Requests that got no answer, and why.
    pub errors: Vec<String>,
    /// How long each answered request took, in no order.
    pub took: Vec<Duration>,
}

impl Tally {
    pub(crate) fn total(&self) -> usize {
        self.by_status.values().sum::<usize>() + self.errors.len()
    }

    pub(crate) fn of(&self, instance: &str) -> usize {
        self.by_instance.get(instance).copied().unwrap_or_default()
    }

    pub(crate) fn count(&self, status: u16) -> usize {
        self.by_status.get(&status).copied().unwrap_or_default()
    }

    /// Fails unless every request was answered with 200.
    #[track_caller]
    pub(crate) fn assert_all_ok(&self) {
        assert!(self.total() > 0, "nothing was asked");
        assert_eq!(self.count(200), self.total(), "{self:#?}");
    }

    /// How many requests took longer than this.
    pub(crate) fn slower_than(&self, bound: Duration) -> usize {
        self.took.iter().filter(|&&took| took > bound).count()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.took.iter().copied().max().unwrap_or_default()
    }

    fn add(&mut self, other: Tally) {
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (instance, count) in other.by_instance {
            *self.by_instance.entry(instance).or_default() += count;
        }
        self.errors.extend(other.errors);
        self.took.extend(other.took);
    }
}

/// A load that runs until it is stopped; dropping it stops it as well.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// `count` requests over `connections` connections, and what came of them.
    pub(crate) fn run(target: impl Into<Target>, connections: usize, count: usize, ask: &Ask) -> Tally {
        let limit = count.div_ceil(connections);
        Load::spawn(target.into(), connections, limit, Arc::new(AtomicBool::new(false)), ask).join()
    }

    pub(crate) fn start(target: impl Into<Target>, connections: usize, ask: &Ask) -> Load {
        Load::spawn(target.into(), connections, usize::MAX, Arc::new(AtomicBool::new(false)), ask)
    }

    fn spawn(target: Target, connections: usize, limit: usize, stop: Arc<AtomicBool>, ask: &Ask) -> Load {
        let asked = Arc::new(AtomicUsize::new(0));
        let threads = (0..connections).map(|_| {
            let (stop, asked, ask) = (Arc::clone(&stop), Arc::clone(&asked), ask.clone());
            let target = target.clone();
            thread::spawn(move || drive(&target, limit, &stop, &asked, &ask))
        });
        let threads = threads.collect();
        Load { stop, asked, threads }
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn more(&self, count: usize) {
        let goal = self.asked.load(Ordering::Relaxed) + count;
        let enough = || (self.asked.load(Ordering::Relaxed) >= goal).then_some(());
        assert!(within(LONG, enough).is_some(), "the load stands still");
    }

    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(mut self) -> Tally {
        let mut tally = Tally::default();
        for thread in self.threads.drain(..) {
            tally.add(thread.join().unwrap());
        }
        tally
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn drive(target: &Target, limit: usize, stop: &AtomicBool, asked: &AtomicUsize, ask: &Ask) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<Client> = None;
    for _ in 0..limit {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let start = Instant::now();
        let answered = match kept.take().map_or_else(|| Client::try_reach(target), Ok) {
            Ok(mut client) => client.try_ask(ask).map(|answer| (client, answer)),
            Err(error) => Err(error),
        };
        match answered {
            Ok((client, answer)) => {
                tally.took.push(start.elapsed());
                *tally.by_status.entry(answer.status).or_default() += 1;
                if let Some(instance) = answer.header("x-instance") {
                    *tally.by_instance.entry(instance.to_owned()).or_default() += 1;
                }
                kept = Some(client).filter(Client::reusable);
            }
            Err(error) => tally.errors.push(error.to_string()),
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    tally
}
