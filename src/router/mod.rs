//! Request head -> route: the table that answers "which route is this?", pure and built once a snapshot.
//!
//! A router knows nothing of what it finds. Of all routes that match a request, the first in this order wins, as in
//! Kubernetes' Gateway API:
//!
//! 1. host: exact, then the longest wildcard, then routes for any host;
//! 2. path: exact, then the longest prefix (by whole segments), then regexes in file order, then routes for any path;
//! 3. a route with `methods` before one without, then more `headers`, then more `query`;
//! 4. a route bound to a listener before one for all, then order in the file.
//!
//! The order is over matching routes only: where a more specific host or path has no route whose other conditions
//! hold, the next less specific one is asked. Among regexes of one host file order alone decides, for nothing else
//! tells which of two regexes is the narrower; a route without a path comes after them, or no regex could ever match
//! beside a catch-all. A `path_prefix: /` does come before them.
//!
//! Look-up walks the parts of the host and of the path, never the routes: it costs the same for ten routes as for ten
//! thousand, and a hostile path ends the walk at its first unknown segment. Regexes are tried one by one, and only
//! where no exact path or prefix of that host matched. A look-up allocates nothing (a regex's own cache aside, made at
//! its first use).

use std::collections::HashMap;

use http::{HeaderMap, Method};

pub mod host;
pub mod path;
mod pattern;
mod predicate;
mod shadow;
mod table;
mod tree;

pub use pattern::{HostPattern, PathPattern, PatternError};
pub use predicate::Match;
pub use shadow::Unreachable;

use table::Table;
use tree::Tree;

/// What of a request decides its route.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The number of the listener the connection came in by, in the order of the file.
    pub listener: usize,
    /// Whether only routes that are bound to that listener count.
    pub bound_only: bool,
    /// The host in its normal form ([`host::normalise`]); empty where the request has none, which only routes for any
    /// host match.
    pub host: &'a str,
    /// The path in its normal form ([`path::normalise`]), without the query.
    pub path: &'a str,
    /// The query as sent, without its `?`.
    pub query: Option<&'a str>,
    /// The method as sent; `HEAD` is not `GET`.
    pub method: &'a Method,
    /// The header fields as sent.
    pub headers: &'a HeaderMap,
}

/// The routes of one snapshot, ordered for look-up. Built once, then only read.
#[derive(Debug)]
pub struct Router<T> {
    routes: Vec<(Match, T)>,
    exact: HashMap<Box<str>, Table>,
    /// By labels from the right: `*.example.com` is at `com`, `example`.
    wildcard: Tree<Option<Table>>,
    any: Table,
}

// === impl Router ===

impl<T> Router<T> {
    /// A router over these routes, in the order of the file.
    pub fn new(routes: Vec<(Match, T)>) -> Router<T> {
        let mut exact = HashMap::<Box<str>, Table>::new();
        let mut wildcard = Tree::<Option<Table>>::default();
        let mut any = Table::default();
        for (route, (matched, _)) in routes.iter().enumerate() {
            let rank = |other: usize| routes[other].0.rank();
            if matched.hosts.is_empty() {
                any.insert(&matched.path, route, rank);
            }
            for pattern in &matched.hosts {
                let table = match pattern {
                    HostPattern::Exact(name) => exact.entry(name.clone()).or_default(),
                    HostPattern::Wildcard(suffix) => wildcard.entry(host::labels(suffix)).get_or_insert_default(),
                };
                table.insert(&matched.path, route, rank);
            }
        }
        Router { routes, exact, wildcard, any }
    }

    /// What belongs to the first route, in the order of precedence, that matches this request; none when none does.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&T> {
        // A wildcard stands for at least one label, so the first never takes part in the walk.
        let parent = head.host.split_once('.').map_or("", |(_, parent)| parent);
        let wildcards = self.wildcard.ascend(self.wildcard.descend(host::labels(parent)).node).flatten();
        self.exact
            .get(head.host)
            .into_iter()
            .chain(wildcards)
            .chain([&self.any])
            .find_map(|table| table.find(head.path, |route| self.routes[route].0.holds(head)))
            .map(|route| &self.routes[route].1)
    }
}

#[cfg(test)]
mod tests;
