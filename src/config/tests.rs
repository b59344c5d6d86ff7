//! The reader as a whole: every fixture's exact problems, agreement of validator and serde, and texts made by chance.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::load::load_with;
use super::*;

/// Files with faults, each with its exact problems beside it; and files without.
const INVALID: &str = "tests/fixtures/config/invalid";
const VALID: &str = "tests/fixtures/config/valid";

/// The YAML files of a directory, sorted; directories below it hold what they include.
pub(crate) fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    files
}

/// Holds what `check` says of each invalid fixture to the file beside it; `UPDATE_EXPECTED=1` writes that file.
pub(crate) fn hold_fixtures(directory: &str, check: impl Fn(&Path) -> String) {
    let mut wrong = String::new();
    for path in files(directory) {
        let said = check(&path).replace(&format!("{directory}/"), "") + "\n";
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&beside, &said).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if said != expected {
            wrong += &format!("=== {}\n--- expected\n{expected}--- said\n{said}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn plugins() -> PluginSchemas {
    headgate_plugins::builtin().schemas()
}

fn environment(name: &str) -> Option<String> {
    match name {
        "HEADGATE_TEST_PORT" => Some("3007".into()),
        "HEADGATE_TEST_TOKEN" => Some("s3cr3t-t0k3n".into()),
        "HEADGATE_TEST_EMPTY" => Some(String::new()),
        "HEADGATE_TEST_STRUCTURE" => Some("a: [b, c]\nd: {".into()),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Loaded, LoadError> {
    load_with(path, &plugins(), &environment)
}

/// Writes a text to a file of its own, and reads it.
fn read_text(text: &str) -> Result<Loaded, LoadError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, text).unwrap();
    read(&path)
}

fn accepted(text: &str) -> Loaded {
    read_text(text).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    read_text(text).expect_err("it is accepted").to_string()
}

const SMALLEST: &str = "\
listeners:
  - address: 0.0.0.0:8080
upstreams:
  node:
    endpoints: [127.0.0.1:3001, 127.0.0.1:3002]
    health_check: { http: /healthz }
routes:
  - path_prefix: /api/
    upstream: node
    strategy: least_conn
  - upstream: node
";

#[test]
fn every_invalid_fixture_says_what_stands_beside_it() {
    assert!(files(INVALID).len() >= 60);
    hold_fixtures(INVALID, |path| match read(path) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"),
        Err(error) => error.to_string(),
    });
}

#[test]
fn every_valid_fixture_is_accepted_without_a_word() {
    for path in files(VALID).iter().map(PathBuf::as_path).chain([Path::new("gateway.yaml")]) {
        let loaded = read(path).unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
    }
}
