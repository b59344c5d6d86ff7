//! What a reload changed, in one line for the log.

use std::collections::BTreeSet;

use crate::snapshot::Snapshot;

/// Describes how `next` differs from `before` by the names of what came and went.
pub(super) fn describe(before: &Snapshot, next: &Snapshot) -> String {
    let mut changes = Vec::new();
    compare(&mut changes, "listener", &listeners(before), &listeners(next));
    compare(&mut changes, "route", &routes(before), &routes(next));
    compare(&mut changes, "upstream", &upstreams(before), &upstreams(next));
    compare(&mut changes, "endpoint", &endpoints(before), &endpoints(next));
    if changes.is_empty() {
        "the same routes and endpoints, settings as in the file".to_owned()
    } else {
        changes.join(", ")
    }
}

fn listeners(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.listeners.iter().map(|listener| listener.id.to_string()).collect()
}

fn routes(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.routes.iter().map(|route| route.name.to_string()).collect()
}

fn upstreams(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.upstreams.iter().map(|upstream| upstream.name().to_string()).collect()
}

fn endpoints(snapshot: &Snapshot) -> BTreeSet<String> {
    let of = |upstream: &std::sync::Arc<crate::upstream::Upstream>| {
        let name = upstream.name().clone();
        let ids: Vec<String> = upstream.endpoints().iter().map(|endpoint| format!("{name}/{}", endpoint.id)).collect();
        ids
    };
    snapshot.upstreams.iter().flat_map(of).collect()
}

/// Beyond this many names of one kind only their number is said.
const NAMED: usize = 5;

fn compare(changes: &mut Vec<String>, kind: &str, before: &BTreeSet<String>, next: &BTreeSet<String>) {
    for (word, names) in [("new", next - before), ("gone", before - next)] {
        match names.len() {
            0 => {}
            few @ 1..=NAMED => {
                let plural = if few == 1 { "" } else { "s" };
                let names: Vec<String> = names.into_iter().collect();
                changes.push(format!("{word} {kind}{plural} {}", names.join(" ")));
            }
            many => changes.push(format!("{many} {word} {kind}s")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_named_while_it_is_little() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut changes = Vec::new();
        compare(&mut changes, "route", &set(&["a", "b"]), &set(&["b", "c", "d"]));
        compare(&mut changes, "endpoint", &set(&[]), &set(&["1", "2", "3", "4", "5", "6"]));
        assert_eq!(changes, ["new routes c d", "gone route a", "6 new endpoints"]);
    }
}
