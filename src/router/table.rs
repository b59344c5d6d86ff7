//! The routes of one host pattern by path: the second step of a look-up.

use regex::bytes::Regex;

use super::path::segments;
use super::pattern::PathPattern;
use super::tree::Tree;

/// Indices of routes, each list in the order of precedence.
#[derive(Debug, Default)]
pub(super) struct Table {
    paths: Tree<Here>,
    /// In file order.
    regexes: Vec<(Regex, usize)>,
    any: Vec<usize>,
}

/// The routes at one place of the tree of paths.
#[derive(Debug, Default)]
struct Here {
    exact: Vec<usize>,
    prefix: Vec<usize>,
}

// === impl Table ===

impl Table {
    /// Adds a route; routes come in file order. `rank` tells which of two routes on one path goes first.
    pub(super) fn insert<R: Ord>(&mut self, path: &PathPattern, route: usize, rank: impl Fn(usize) -> R) {
        let list = match path {
            PathPattern::Exact(path) => &mut self.paths.entry(segments(path)).exact,
            PathPattern::Prefix(prefix) => &mut self.paths.entry(segments(prefix)).prefix,
            PathPattern::Regex(regex) => return self.regexes.push((regex.anchored.clone(), route)),
            PathPattern::Any => &mut self.any,
        };
        let at = list.partition_point(|&other| rank(other) <= rank(route));
        list.insert(at, route);
    }

    /// The first route whose path matches and whose other conditions hold.
    pub(super) fn find(&self, path: &str, holds: impl Fn(usize) -> bool) -> Option<usize> {
        let place = self.paths.descend(segments(path));
        let exact = if place.whole { self.paths.value(place.node).exact.as_slice() } else { &[] };
        let prefixes = self.paths.ascend(place.node).flat_map(|here| &here.prefix);
        exact
            .iter()
            .chain(prefixes)
            .copied()
            .find(|&route| holds(route))
            // The conditions are the cheaper test, so they are asked before the regex.
            .or_else(|| {
                let mut regexes = self.regexes.iter();
                regexes.find(|(regex, route)| holds(*route) && regex.is_match(path.as_bytes())).map(|&(_, route)| route)
            })
            .or_else(|| self.any.iter().copied().find(|&route| holds(route)))
    }

    /// The routes that are asked before this one by every request whose path it matches.
    pub(super) fn before(&self, path: &PathPattern, route: usize) -> Vec<usize> {
        let earlier = |list: &[usize]| list.iter().copied().take_while(|&other| other != route).collect::<Vec<_>>();
        let prefixes_of = |literal: &str| {
            let place = self.paths.descend(segments(literal));
            self.paths.ascend(place.node).flat_map(|here| here.prefix.clone()).collect::<Vec<_>>()
        };
        match path {
            PathPattern::Exact(path) => earlier(&self.paths.value(self.paths.descend(segments(path)).node).exact),
            PathPattern::Prefix(path) => earlier(&self.paths.value(self.paths.descend(segments(path)).node).prefix),
            PathPattern::Regex(regex) => {
                let mut before = prefixes_of(regex.literal_prefix());
                let same = |(other, _): &&(Regex, usize)| other.as_str() == regex.anchored.as_str();
                let earlier = self.regexes.iter().take_while(|(_, other)| *other != route);
                before.extend(earlier.filter(same).map(|(_, other)| other));
                before
            }
            PathPattern::Any => {
                let mut before = prefixes_of("");
                before.extend(earlier(&self.any));
                before
            }
        }
    }
}
