//! Routes that no request can reach: what the configuration warns of, or refuses where two routes are the same.

use super::table::Table;
use super::{HostPattern, Router, host};

/// A route that no request can reach. Routes are numbers in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    /// The route.
    pub route: usize,
    /// One that takes all its requests; where several share them, host by host, that of its first host.
    pub by: usize,
    /// Both ask for exactly the same. If not, `by` asks for the same or less and goes first.
    pub duplicate: bool,
}

impl<T> Router<T> {
    /// All routes that no request can reach, for one other route takes everything (one a host, where a route has
    /// several). Routes that only several others together leave nothing to are not found; every one found is right.
    pub fn unreachable(&self) -> Vec<Unreachable> {
        (0..self.routes.len()).filter_map(|route| self.unreachable_route(route)).collect()
    }

    fn unreachable_route(&self, route: usize) -> Option<Unreachable> {
        let (matched, _) = &self.routes[route];
        // A route that goes first and matches all this one does can only stand under the same host pattern: a less
        // specific one is asked later, a more specific one matches fewer hosts.
        let taker = |table: &Table| {
            let mut takers = table.before(&matched.path, route);
            takers.retain(|&other| self.routes[other].0.covers(matched));
            let same = takers.iter().find(|&&other| self.routes[other].0.equals(matched));
            same.or(takers.first()).copied()
        };
        let by = match matched.hosts.as_slice() {
            [] => taker(&self.any)?,
            [first, others @ ..] => {
                for host in others {
                    taker(self.table(host)?)?;
                }
                taker(self.table(first)?)?
            }
        };
        Some(Unreachable { route, by, duplicate: self.routes[by].0.equals(matched) })
    }

    fn table(&self, pattern: &HostPattern) -> Option<&Table> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(suffix) => {
                self.wildcard.value(self.wildcard.descend(host::labels(suffix)).node).as_ref()
            }
        }
    }
}
