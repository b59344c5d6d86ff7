//! `Admission`: how many connections are open, and how many of one client. Counts fall when their guards drop.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Enough that the threads of a large machine seldom meet at one lock.
const SHARDS: usize = 32;

/// Connections open on all listeners, and how many there may be. An idle one is closed as soon as the process stops, so that
/// from then on this is what is still being served.
#[derive(Debug)]
pub struct OpenConnections {
    count: AtomicUsize,
    most: usize,
}

/// The connections of one listener, by client.
#[derive(Debug)]
pub(super) struct Admission {
    hasher: RandomState,
    /// Counted even where there is no bound, for the configuration that brings one.
    clients: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

/// One admitted connection, counted for its client.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    client: Option<IpAddr>,
}

/// A connection that is open, whoever's it is.
#[derive(Debug)]
pub(super) struct Opened(Arc<OpenConnections>);

// === impl OpenConnections ===

impl OpenConnections {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { count: AtomicUsize::new(0), most }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Counts one more until the guard drops; none where there are as many as there may be.
    pub(super) fn open(self: &Arc<Self>) -> Option<Opened> {
        let before = self.count.fetch_add(1, Ordering::AcqRel);
        // Made before the comparison: dropping it takes the count back.
        let opened = Opened(Arc::clone(self));
        (before < self.most).then_some(opened)
    }
}

// === impl Opened ===

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Admission ===

impl Admission {
    /// No connections yet.
    pub(super) fn new() -> Self {
        Admission { hasher: RandomState::new(), clients: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Counts a connection until the guard drops; none where its client has `most` already.
    pub(super) fn admit(self: &Arc<Self>, client: Option<IpAddr>, most: Option<u32>) -> Option<Admitted> {
        let client = client.map(network);
        if let Some(client) = client {
            let mut shard = self.shard(client);
            let count = shard.get(&client).copied().unwrap_or(0);
            if most.is_some_and(|most| count >= most) {
                return None;
            }
            shard.insert(client, count + 1);
        }
        Some(Admitted { admission: Arc::clone(self), client })
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let shard = &self.clients[self.hasher.hash_one(client) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one client. Whoever has IPv6 has at least the 2^64 addresses of a subnet (RFC 6177), so those are one.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

// === impl Admitted ===

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(client) = self.client
            && let Entry::Occupied(mut count) = self.admission.shard(client).entry(client)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_refused_at_its_limit_and_admitted_again_below_it() {
        let admission = Arc::new(Admission::new());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| Some(ip.parse().unwrap()));

        let first = admission.admit(one, Some(2)).unwrap();
        let second = admission.admit(one, Some(2)).unwrap();
        assert!(admission.admit(one, Some(2)).is_none());
        let beside = admission.admit(other, Some(2)).unwrap();

        drop(first);
        let again = admission.admit(one, Some(2)).unwrap();
        drop((second, beside, again));
        assert!(admission.clients.iter().all(|shard| shard.lock().unwrap().is_empty()), "nobody is remembered");
    }

    #[test]
    fn no_more_are_open_than_may_be_and_a_refused_one_is_not_open() {
        let connections = Arc::new(OpenConnections::new(2));
        let (first, second) = (connections.open().unwrap(), connections.open().unwrap());
        assert!(connections.open().is_none());
        assert_eq!(connections.count(), 2);
        drop(first);
        let third = connections.open().unwrap();
        drop((second, third));
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn a_subnet_of_ipv6_is_one_client() {
        let admission = Arc::new(Admission::new());
        let admit = |ip: &str| admission.admit(Some(ip.parse().unwrap()), Some(1));
        let _first = admit("2001:db8:0:1::1").unwrap();
        assert!(admit("2001:db8:0:1:ffff::2").is_none());
        let _neighbour = admit("2001:db8:0:2::1").unwrap();
    }

    #[test]
    fn a_limit_that_a_reload_brings_counts_the_connections_before_it() {
        let admission = Arc::new(Admission::new());
        let client = Some("192.0.2.1".parse().unwrap());
        let _before = admission.admit(client, None).unwrap();
        assert!(admission.admit(client, Some(1)).is_none());
    }
}
