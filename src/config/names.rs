//! Names that nothing in the file has. `compile` finds them in a file whose form is right; [`check`] finds them in one
//! whose form is wrong elsewhere, so that both kinds of fault are told in one run.

use super::source::Fault;
use super::store::StoreUse;
use super::tree::{Data, Entry, Node};

/// What is wrong with a name that nothing has, and what was surely meant. `noun` is what it should name.
pub(crate) fn unknown<'a>(noun: &str, name: &str, known: impl Iterator<Item = &'a str>) -> (String, String) {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known)).min();
    let hint = match near.filter(|(distance, near)| *distance <= near.len().max(name.len()).div_ceil(3)) {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "the file names none".to_owned(),
        None => format!("there is `{}`", known.join("`, `")),
    };
    (format!("there is no {noun} `{name}`"), hint)
}

/// Finds the upstreams, sources of sessions and stores that are named and that the file doesn't have. Only for a file that
/// has them all itself: what an included file with a fault would have named is not known.
pub(super) fn check(tree: &Node, faults: &mut Vec<Fault>) {
    if tree.get("include").is_some() {
        return;
    }
    let routes = || list(tree.get("routes"));
    let below = |node: &'_ Node, section: &str, key: &str| Some(node.get(section)?.value.get(key)?.clone());
    let of_upstreams =
        routes().flat_map(|route| list(route.get("upstreams"))).filter_map(|target| target.get("name").cloned());
    let upstreams = routes().filter_map(|route| route.get("upstream").cloned()).chain(of_upstreams);
    unknown_of(tree, "upstreams", "upstream", upstreams, faults);
    let of_rules = routes().filter_map(|route| below(route, "session", "source"));
    let sources = routes().filter_map(|route| below(route, "sticky", "session")).chain(of_rules);
    unknown_of(tree, "sessions", "source of sessions", sources, faults);
    let written = tree.get("sessions").map(|entry| &entry.value.data);
    let sessions = match written {
        Some(Data::Map(entries)) => entries.as_slice(),
        Some(Data::Scalar(_) | Data::List(_) | Data::Broken) | None => &[],
    };
    let is_name = |entry: &Entry| matches!(scalar(entry).map(str::parse), Some(Ok(StoreUse::Named(_))));
    let stores = sessions.iter().filter_map(|source| source.value.get("store").cloned()).filter(is_name);
    unknown_of(tree, "stores", "store", stores, faults);
}

/// Finds the names of `named` that `section` doesn't have.
fn unknown_of(tree: &Node, section: &str, noun: &str, named: impl Iterator<Item = Entry>, faults: &mut Vec<Fault>) {
    let known: Vec<&str> = match tree.get(section).map(|entry| &entry.value.data) {
        None => Vec::new(),
        Some(Data::Map(entries)) => entries.iter().map(|entry| entry.key.as_str()).collect(),
        Some(Data::Scalar(_) | Data::List(_) | Data::Broken) => return,
    };
    for entry in named {
        let Data::Scalar(scalar) = &entry.value.data else { continue };
        let told = faults.iter().any(|fault| fault.span == entry.value.span);
        if !told && !known.contains(&scalar.text.as_str()) {
            let shown = scalar.written.as_ref().unwrap_or(&scalar.text);
            let (message, hint) = unknown(noun, shown, known.iter().copied());
            faults.push(Fault::error(entry.value.span, message).hint(hint));
        }
    }
}

fn scalar(entry: &Entry) -> Option<&str> {
    match &entry.value.data {
        Data::Scalar(scalar) => Some(&scalar.text),
        Data::List(_) | Data::Map(_) | Data::Broken => None,
    }
}

fn list(entry: Option<&Entry>) -> impl Iterator<Item = &Node> {
    let nodes = match entry.map(|entry| &entry.value.data) {
        Some(Data::List(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    nodes.iter()
}
