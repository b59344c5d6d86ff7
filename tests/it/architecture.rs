//! Who may import whom: the table of `docs/architecture.md`, held against the source.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::harness::{files, root};

/// The table's rows: a module, and the siblings that it may name; none for one that may name all.
fn table() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let mut table = BTreeMap::new();
    for row in text.lines().skip_while(|line| !line.contains("| may name |")).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let may = if cells[2] == "all" { None } else { Some(words(cells[2])) };
        table.extend(words(cells[0]).into_iter().map(|module| (module, may.clone())));
    }
    assert!(table.len() > 10, "the table is not where it was");
    table
}

/// Words that a module's own code must not hold, and why.
const NEVER: &[(&str, &[&str], &str)] = &[
    ("strategy", &["tokio", "pingora"], "a strategy is pure: it orders candidates, no more"),
    ("router", &["tokio", "pingora"], "the router is pure, and generic in what it finds"),
    ("config", &["tokio", "pingora", "Arc<"], "what was written is plain data"),
    ("compile", &["tokio", "std::fs", "Instant::now", "spawn("], "compile is pure: no I/O, no spawn, no clock"),
];

/// The crate's own module that a file belongs to.
fn module_of(path: &Path) -> String {
    let inner = path.strip_prefix(root().join("src")).unwrap();
    let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// True for a file that holds nothing but tests.
fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "tests") || path.components().any(|part| part.as_os_str() == "tests")
}

/// The code of a file, without comments and without its tests, which may name what they test with.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The siblings that a piece of code names, as `crate::x` or within `crate::{..}`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (at, letter) in group.char_indices() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    letter if start && !letter.is_whitespace() => {
                        named.insert(word(&group[at..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            named.insert(word(rest));
        }
    }
    named.remove("");
    named
}

#[test]
fn every_module_names_only_those_it_may() {
    let table = table();
    let mut breaches = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let module = module_of(&path);
        let place = path.strip_prefix(root()).unwrap().display();
        if ["lib", "main"].contains(&module.as_str()) || is_test(&path) {
            continue;
        }
        let Some(may_name) = table.get(&module) else {
            breaches.push(format!("{place}: `{module}` has no row in the table"));
            continue;
        };
        let Some(allowed) = may_name else { continue };
        for name in named(&code(&path)) {
            if name != module && !allowed.contains(&name) {
                breaches.push(format!("{place}: `{module}` must not name `{name}`"));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn pure_modules_stay_pure() {
    let mut breaches = Vec::new();
    for path in files(&root().join("src"), "rs").into_iter().filter(|path| !is_test(path)) {
        for (module, words, why) in NEVER {
            for word in words.iter().filter(|_| module_of(&path) == *module) {
                if code(&path).contains(word) {
                    breaches.push(format!("{}: `{word}`: {why}", path.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn plugins_never_see_the_gateway() {
    let manifest = fs::read_to_string(root().join("plugins/Cargo.toml")).unwrap();
    let dependencies = manifest.split("dependencies]").nth(1).unwrap();
    assert!(!dependencies.lines().any(|line| line.starts_with("headgate")), "{dependencies}");
}

#[test]
fn only_one_module_implements_the_proxy() {
    let sources = files(&root().join("src"), "rs").into_iter().filter(|path| !is_test(path));
    let implementing = sources.filter(|path| code(path).contains("ProxyHttp for "));
    let implementing: BTreeSet<_> = implementing.map(|path| module_of(&path)).collect();
    assert_eq!(implementing, BTreeSet::from(["proxy".to_owned()]));
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::{config::{self, At}, telemetry as t,\n router};\nlet x = crate::reload::x(); pub(crate) fn y() {} \
                use crate::endpoint; subcrate::nothing()";
    let expected = ["config", "endpoint", "reload", "router", "telemetry"];
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), expected);
}
