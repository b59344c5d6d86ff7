//! Names that nothing in the file has. `compile` finds them in a file whose form is right; [`check`] finds them in one
//! whose form is wrong elsewhere, so that both kinds of fault are told in one run.

use super::source::Fault;
use super::tree::{Data, Node};

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

/// Finds the upstreams that routes name and the file doesn't. Only for a file that has them all itself: what an included
/// file with a fault would have named is not known.
pub(super) fn check(tree: &Node, faults: &mut Vec<Fault>) {
    let names = |entry: &Node| match &entry.data {
        Data::Map(entries) => Some(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>()),
        Data::Scalar(_) | Data::List(_) | Data::Broken => None,
    };
    let Some(known) = tree.get("upstreams").map_or(Some(Vec::new()), |entry| names(&entry.value)) else { return };
    let routes = tree.get("routes").map(|entry| &entry.value.data);
    if tree.get("include").is_some() {
        return;
    }
    for route in list(routes) {
        let targets =
            list(route.get("upstreams").map(|entry| &entry.value.data)).filter_map(|target| target.get("name"));
        for entry in route.get("upstream").into_iter().chain(targets) {
            let Data::Scalar(scalar) = &entry.value.data else { continue };
            let told = faults.iter().any(|fault| fault.span == entry.value.span);
            if !told && !known.contains(&scalar.text) {
                let shown = scalar.written.as_ref().unwrap_or(&scalar.text);
                let (message, hint) = unknown("upstream", shown, known.iter().map(String::as_str));
                faults.push(Fault::error(entry.value.span, message).hint(hint));
            }
        }
    }
}

fn list(data: Option<&Data>) -> impl Iterator<Item = &Node> {
    let nodes = match data {
        Some(Data::List(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    nodes.iter()
}
