//! `headgate check` and `headgate schema`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::harness::{Setup, files, headgate, root};

/// The shipped example, and everybody's examples.
fn examples() -> Vec<PathBuf> {
    let mut found = vec![root().join("gateway.yaml")];
    let examples = root().join("examples");
    if examples.exists() {
        found.extend(files(&examples, "yaml").into_iter().filter(|path| path.ends_with("gateway.yaml")));
    }
    found
}

/// A copy of an example that makes its certificates first, with them; none where it needs none.
pub(crate) fn made(example: &Path) -> Option<TempDir> {
    let script = example.join("certificates.sh");
    script.exists().then(|| {
        let copy = TempDir::new().unwrap();
        fs::copy(example.join("gateway.yaml"), copy.path().join("gateway.yaml")).unwrap();
        assert!(Command::new("sh").arg(&script).current_dir(copy.path()).status().unwrap().success());
        copy
    })
}

#[test]
fn every_shipped_file_passes_the_check() {
    for path in examples() {
        let directory = made(path.parent().unwrap());
        let file = directory.as_ref().map_or(path.clone(), |copy| copy.path().join("gateway.yaml"));
        let output = headgate(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(output.code, Some(0), "{}: {output:?}", path.display());
        assert!(output.stdout.contains("series"), "it says how many series the file makes: {output:?}");
    }
}

#[test]
fn every_shipped_file_validates_against_the_schema() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let problems: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_check_refuses() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for wrong in [
        r#"{"listeners": [], "rutes": []}"#,
        r#"{"listeners": [{"address": "127.0.0.1:0", "limits": {"header_timeout": "10"}}]}"#,
        r#"{"listeners": [{"address": "127.0.0.1:0"}], "upstreams": {"a": {"endpoints": ["h:1"], "strategy": "leastconn"}}}"#,
        r#"{"listeners": [{"address": "127.0.0.1:0"}], "acme": {}}"#,
    ] {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
        let output = Setup::new(wrong).command(&["check"]);
        assert_eq!(output.code, Some(2), "{wrong}: {output:?}");
    }
}

pub(crate) fn schema() -> serde_json::Value {
    let output = headgate(&["schema"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn a_broken_file_is_answered_with_all_its_problems_at_their_places() {
    let text = "\
upstreams:
  node:
    stratgy: least_conn
    endpoints: [127.0.0.1:3001]
    timeouts: { connect: 5 }
routes:
  - upstream: nod
  - path_prefix: api
    upstream: node
";
    let output = Setup::new(text).command(&["check"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    for (place, word) in [("gateway.yaml:3:5", "strategy"), ("gateway.yaml:5:", "5s"), ("gateway.yaml:8:", "/api")] {
        assert!(said.contains(place) && said.contains(word), "{place} {word} is missing:\n{said}");
    }
}

#[test]
fn names_that_are_not_defined_are_all_found() {
    let text = "\
upstreams:
  node: { endpoints: [127.0.0.1:3001] }
routes:
  - { path: /a, upstream: nod }
  - { path: /b, upstream: mode }
  - { path: /c, upstream: node, listener: public }
";
    let output = Setup::new(text).command(&["check"]);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(2), "{said}");
    for place in ["gateway.yaml:4:", "gateway.yaml:5:", "gateway.yaml:6:"] {
        assert!(said.contains(place), "{place} is missing:\n{said}");
    }
    assert!(said.contains("did you mean `node`"), "{said}");
}

#[test]
fn a_route_that_can_never_match_is_a_warning() {
    let text = "routes:\n  - { path: /a, respond: { body: one } }\n  - { path: /a, methods: [GET], respond: { body: two } }\n  \
                - { path: /a, respond: { body: three } }\n";
    let output = Setup::new(text).command(&["check"]);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("gateway.yaml:4:"), "{said}");
}

#[test]
fn a_later_versions_key_is_answered_as_such() {
    for key in ["acme: {}", "process: { upgrade_socket: /run/x.sock }"] {
        let output = Setup::new(&format!("{key}\nroutes: []\n")).command(&["check"]);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code, Some(2), "{said}");
        assert!(said.contains("not in this version"), "{said}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    let text = "routes:\n  - respond: { status: '${SECRET}' }\nadmin: { address: '${SECRET}' }\n";
    let output = Setup::new(text).env("SECRET", "hunter2hunter2").command(&["check"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
}

#[test]
fn a_name_that_does_not_resolve_is_no_problem_of_the_file() {
    let text = "upstreams: { node: { endpoints: ['nowhere.invalid:3000'] } }\nroutes: [{ upstream: node }]\n";
    assert_eq!(Setup::new(text).command(&["check"]).code, Some(0));
}
