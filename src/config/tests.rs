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

/// What cargo sets for tests anyway, so that the same fixtures can be read with the real environment.
fn environment(name: &str) -> Option<String> {
    (name == "CARGO_PKG_NAME").then(|| "headgate".to_owned())
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

#[test]
fn the_validator_accepts_nothing_that_serde_refuses() {
    // The reverse of what the fixtures show: where the validator is content and serde isn't, the message says so.
    for path in files(INVALID) {
        if let Err(error) = read(&path) {
            assert!(!error.to_string().contains("could not be decoded"), "{error}");
        }
    }
}

#[test]
fn every_key_of_the_schema_stands_in_a_valid_fixture() {
    let text = fs::read_to_string(format!("{VALID}/every_key.yaml")).unwrap();
    let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let unwritten = ["listeners[].limits", "upstreams.*.health_check.tcp", "routes[].path_prefix"];
    for path in key_paths(&schema(&PluginSchemas::new())) {
        let mut found = vec![&value];
        for step in path.replace("[]", ".[]").split('.') {
            found = found.iter().flat_map(|value| below(value, step)).collect();
        }
        // What stands elsewhere in the same form.
        let elsewhere = ["routes[].strategy.consistent_hash", "sessions.*.store."];
        let known = unwritten.contains(&path.as_str()) || elsewhere.iter().any(|place| path.contains(place));
        assert!(!found.is_empty() || known, "{path}");
    }
}

fn below<'v>(value: &'v serde_json::Value, step: &str) -> Vec<&'v serde_json::Value> {
    use serde_json::Value::{Array, Object};
    match (value, step) {
        (Array(values), "[]") => values.iter().collect(),
        (Object(values), "*") => values.values().collect(),
        (value, "[]") => vec![value],
        (value, step) => value.get(step).into_iter().collect(),
    }
}

#[test]
fn the_published_schema_accepts_what_is_accepted_and_refuses_what_is_misspelt() {
    let schema = schema(&plugins());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let instance = |path: &Path| -> Option<serde_json::Value> {
        serde_yaml::from_str(fs::read_to_string(path).ok()?.trim_start_matches('\u{feff}')).ok()
    };
    for path in files(VALID).iter().map(PathBuf::as_path).chain([Path::new("gateway.yaml")]) {
        let instance = instance(path).unwrap();
        let errors: Vec<_> = validator.iter_errors(&instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for name in
        ["key_misspelt", "type_retry", "unit_durations", "route_actions", "foreign_nginx", "foreign_health_check"]
    {
        let instance = instance(Path::new(&format!("{INVALID}/{name}.yaml"))).unwrap();
        assert!(!validator.is_valid(&instance), "{name}");
    }
    let own = ["x-text", "x-exactly-one", "x-at-most-one", "x-at-least-one"];
    assert!(!own.iter().any(|word| schema.to_string().contains(word)), "our own words are not for editors");
}

#[test]
fn each_default_that_a_key_tells_is_the_one_it_has() {
    let schema = schema::whole(&PluginSchemas::new());
    let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let mut told = 0;
    for (key, value) in definitions.filter_map(|schema| schema["properties"].as_object()).flatten() {
        let description = value["description"].as_str().unwrap_or_else(|| panic!("`{key}` is not described"));
        let default = description.split("Default: ").nth(1).map(|text| text.trim_end_matches('.').to_owned());
        let Some(has) = value.get("default").filter(|has| !has.is_object()) else {
            continue;
        };
        let has = has.to_string().replace('"', "").replace(',', ", ");
        let tells = default.unwrap_or_else(|| panic!("`{key}` does not tell its default, {has}"));
        let tells = tells.split(" (").next().unwrap().trim_matches('"');
        assert_eq!(tells, has, "{key}");
        told += 1;
    }
    assert!(told > 25, "{told}");
}

#[test]
fn the_smallest_file_has_the_defaults() {
    let config = accepted(SMALLEST).config;
    assert_eq!(config.admin.address, ListenAddress::Tcp("127.0.0.1:9900".parse().unwrap()));
    let limits = &config.listeners[0].limits;
    assert_eq!((limits.header_bytes, limits.body), (Size(32 * 1024), OrNone(None)));
    let node = &config.upstreams["node"];
    assert_eq!(node.strategy, crate::strategy::Config::RoundRobin);
    assert_eq!(node.outlier.0.as_ref().unwrap().consecutive_errors, 5);
    assert_eq!(node.panic_threshold, OrOff(Some(Percent(0))));
    assert_eq!(node.retry.conditions.len(), 5);
    assert_eq!(node.endpoints[1].address.text, "127.0.0.1:3002");
    assert_eq!(node.endpoints[1].weight, 1);
    assert_eq!(config.routes[0].strategy, Some(crate::strategy::Config::LeastConn));
    assert_eq!(config.routes[1].action(), Some(Action::Upstream("node")));
}

#[test]
fn a_route_changes_of_its_upstream_only_what_it_writes() {
    let text = SMALLEST.to_owned() + "    timeouts: { idle: 5s, request: 1m }\n    retry: { budget: 5% }\n";
    let config = accepted(&text).config;
    let (node, route) = (&config.upstreams["node"], &config.routes[1]);
    let timeouts = node.timeouts.with(&route.timeouts);
    assert_eq!((timeouts.connect, timeouts.idle), (Duration::secs(2), Duration::secs(5)));
    assert_eq!(timeouts.request, OrNone(Some(Duration::secs(60))));
    let retry = node.retry.with(&route.retry);
    assert_eq!((retry.attempts, retry.budget), (2, Percent(5)));
}

#[test]
fn units_read_what_they_write() {
    for text in ["1ms", "250ms", "1.5ms", "1s", "90s", "5m", "1h", "36h", "2d"] {
        assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
    }
    for text in ["0B", "1B", "1500B", "32KiB", "10MiB", "3GiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    assert_eq!("1.5s".parse::<Duration>().unwrap().0, std::time::Duration::from_millis(1500));
    assert_eq!("200-299".parse::<StatusRange>().unwrap().to_string(), "200-299");
    assert_eq!("100%".parse::<Percent>().unwrap().fraction(), 1.0);
}

#[test]
fn a_value_from_outside_is_a_number_where_one_is_wanted_and_text_elsewhere() {
    let loaded = read(Path::new("tests/fixtures/config/valid/references.yaml")).unwrap();
    let config = &loaded.config;
    let node = &config.upstreams["node"];
    assert_eq!((node.endpoints[0].weight, node.endpoints[0].backup, node.endpoints[1].weight), (2, true, 3));
    assert_eq!(config.listeners[0].limits.headers, 50);
    assert_eq!(config.routes[0].headers["x-literal"], "${NOT_EXPANDED}");
    assert_eq!(config.routes[0].headers["x-number"], "1");
    assert_eq!(config.admin.token.as_ref().unwrap().0, "from-a-file");
    let files: Vec<_> = loaded.dependencies.paths().map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["tests/fixtures/config/valid/included/token", "tests/fixtures/config/valid/references.yaml"]);
}

#[test]
fn a_value_from_outside_never_changes_the_structure() {
    let text = SMALLEST.to_owned() + "    name: ${STRUCTURE}\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, text).unwrap();
    let value = "x\n    path: /y\n  - upstream: other";
    let loaded = load_with(&path, &plugins(), &|_| Some(value.into())).unwrap();
    assert_eq!(loaded.config.routes.len(), 2);
    assert_eq!(loaded.config.routes[1].name.as_deref(), Some(value));
}

#[test]
fn a_value_from_outside_shows_in_no_message_and_no_debug() {
    const SECRET: &str = "s3cr3t";
    // Each key of the file gets the secret in turn, where it fits and where it doesn't.
    let text = fs::read_to_string(format!("{VALID}/every_key.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    for (number, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(": ").filter(|(_, value)| !value.is_empty()) else { continue };
        let _ = value;
        let mut changed = lines.clone();
        let replaced = format!("{key}: ${{SECRET}}");
        changed[number] = &replaced;
        fs::write(&path, changed.join("\n")).unwrap();
        let said = match load_with(&path, &plugins(), &|_| Some(SECRET.into())) {
            Ok(loaded) => {
                let at = At::root().key("admin").key("token");
                let located = loaded.locate(Problem::error(at, format!("`{SECRET}` is wrong")).hint(SECRET));
                format!("{located}{loaded:?}{:?}{:?}", loaded.config.admin, loaded.warnings)
            }
            Err(error) => format!("{error}{error:?}"),
        };
        assert!(!said.contains(SECRET), "{replaced}\n{said}");
    }
}

#[test]
fn a_token_that_is_written_out_is_starred_in_every_excerpt() {
    let said = refused(&(SMALLEST.to_owned() + "admin: { token: hunter2, adress: 'x', api_secret: [hunter2] }\n"));
    assert!(!said.contains("hunter2") && said.contains("token: *******"), "{said}");
    let slips = [
        "admin:\n  token: hunter2: x\n",
        "admin: token: hunter2\n",
        "admin: token:hunter2\n",
        "admin: { token:hunter2 }\n",
        "admin:\n  token hunter2\n",
        "admin:\n  token:hunter2\n  address: 127.0.0.1:1\n",
        "admin:\n  token: @hunter2\n",
        "admin:\n  token: \"hunter2\\d\"\n",
        "admin:\n  token: 'hunter2\n",
        "admin:\n  token: [hunter2]\n",
        "admin:\n  token: {hunter2}x\n",
    ];
    for slip in slips {
        let said = refused(&(SMALLEST.to_owned() + slip));
        assert!(!said.contains("hunter2"), "{slip}{said}");
    }
}

/// Secrets in each of the ways to write them.
const WRITTEN_OUT: &str = "\
listeners: [{ address: 0.0.0.0:8080 }]
admin: { token: hunter2hunter2hunter2 }
cookies:
  secrets:
    - hunter2 first
    - \"hunter2\"
    - 'hunter2'
  nonsense: 1
sessions:
  web: { cookie: sid, format: express, secrets: [hunter2, \"hunter2 x\"], store: main, nonsense: 1 }
  api:
    bearer: true
    format: jwt
    jwt:
      secrets: [
        hunter2,
        'hunter2',
      ]
    nonsense: 1
  url: { cookie: sid, format: plain, store: redis://:hunter2@127.0.0.1, nonsense: 1 }
  url2:
    cookie: sid
    format: plain
    store: rediss://app:hunter2@127.0.0.1:6379/1
stores:
  main: redis://app:hunter2@127.0.0.1
  list: { cluster: [redis://:hunter2@a, \"redis://:hunter2@b\"], nonsense: 1 }
  raw: { url: redis://127.0.0.1, user: app, password: hunter2, nonsense: 1 }
  block:
    url: redis://127.0.0.1
    password: >-
      hunter2
      hunter2
  sentinel: { sentinel: { master: m, addresses: [redis://:hunter2@a], nonsense: 1 }, password: 'hunter2' }
routes: []
";

#[test]
fn no_slip_of_the_pen_shows_a_secret_that_is_written_out() {
    // A character too many, too few or another one, anywhere but in the secret and in the words by which it is known.
    const KNOWN: [&str; 7] = ["hunter2", "token:", "secrets:", "password:", "rediss://", "redis://", "app:"];
    const SLIPS: [(&str, usize); 8] =
        [("\"", 0), ("\n", 0), (" ", 0), ("", 1), ("'", 1), ("\n", 1), ("- ", 0), (": ", 0)];
    let inside = |at: usize| {
        let within =
            |word: &&str| WRITTEN_OUT.match_indices(*word).any(|(from, _)| (from..from + word.len()).contains(&at));
        KNOWN.iter().any(within)
    };
    for at in (0..WRITTEN_OUT.len()).filter(|at| !inside(*at)) {
        // Each slip at every fourth place: all at all places take a minute.
        for (piece, removed) in SLIPS.into_iter().skip(at % 4).step_by(4) {
            let (before, after) = (&WRITTEN_OUT[..at], &WRITTEN_OUT[at + removed..]);
            if let Err(error) = read_text(&[before, piece, after].concat()) {
                let said = error.to_string();
                let line = before.matches('\n').count() + 1;
                assert!(!said.contains("hunter2"), "line {line}, {piece:?} for {removed}\n{said}");
            }
        }
    }
}

#[test]
fn included_files_are_one_namespace_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    write("gateway.yaml", &(SMALLEST.to_owned() + "include: ['conf.d/*.yaml']\n"));
    write("conf.d/b.yaml", "routes:\n  - path: /b\n    upstream: b\n");
    write("conf.d/a.yaml", "upstreams:\n  b: { endpoints: ['127.0.0.1:1'] }\nroutes:\n  - path: /a\n    upstream: b\n");
    write("conf.d/.a.yaml.swp", "nonsense");
    write("conf.d/notes.txt", "nonsense");
    let loaded = read(&directory.path().join("gateway.yaml")).unwrap();
    let paths: Vec<_> = loaded.config.routes.iter().map(|route| route.path.as_deref()).collect();
    assert_eq!(paths, [None, None, Some("/a"), Some("/b")]);
    assert_eq!(loaded.config.upstreams.len(), 2);
    assert_eq!(loaded.dependencies.paths().count(), 4);
    assert!(loaded.dependencies.paths().any(|path| path == directory.path().join("conf.d/*.yaml")));
    // A problem of meaning is located in the file that it is in.
    let at = At::root().key("routes").index(3).key("upstream");
    let located = loaded.locate(Problem::error(at, "there is no upstream `b`"));
    assert!(located.file.ends_with("conf.d/b.yaml"), "{}", located.file);
    assert_eq!((located.line, located.column), (3, 15));
}

#[test]
fn what_is_written_after_it_was_read_is_a_change() {
    let directory = tempfile::tempdir().unwrap();
    // A name that a pattern would read otherwise.
    let folder = directory.path().join("site[1]");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    write("gateway.yaml", &(SMALLEST.to_owned() + "include: [missing.yaml, 'conf.d/*.yaml']\n"));
    let refused = read(&folder.join("gateway.yaml")).unwrap_err().dependencies;
    assert!(!refused.changed());
    write("missing.yaml", "routes: []\n");
    assert!(refused.changed(), "a file that was missing");
    let loaded = || read(&folder.join("gateway.yaml")).unwrap().dependencies;
    let before = loaded();
    write("conf.d/a.yaml", "routes: []\n");
    assert!(before.changed(), "another file for the pattern");
    let before = loaded();
    assert!(!before.changed());
    write("conf.d/a.yaml", "routes: []  \n");
    assert!(before.changed(), "a file that was read");
}

#[test]
fn a_refused_file_tells_what_to_watch() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, SMALLEST.to_owned() + "include: [missing.yaml, 'conf.d/*.yaml']\n").unwrap();
    let error = read(&path).unwrap_err();
    let watched: Vec<_> = error.dependencies.paths().collect();
    assert!(watched.contains(&&*directory.path().join("missing.yaml")));
    assert!(watched.contains(&&*directory.path().join("conf.d/*.yaml")));
    let error = read(&directory.path().join("none.yaml")).unwrap_err();
    assert!(error.to_string().ends_with("none.yaml: the file can't be read: there is no such file"), "{error}");
    fs::write(&path, b"listeners: \xff\n").unwrap();
    let said = read(&path).unwrap_err().to_string();
    assert!(said.ends_with("line 1 is not UTF-8 text"), "{said}");
}

#[test]
fn a_problem_is_located_at_its_key_or_at_the_nearest_place_above_that_is_written() {
    let loaded = accepted(SMALLEST);
    let located = |at: At| {
        let problem = loaded.locate(Problem::warning(at, "x").hint("y"));
        (problem.line, problem.column)
    };
    let node = At::root().key("upstreams").key("node");
    assert_eq!(located(node.clone()), (4, 3));
    assert_eq!(located(node.key("endpoints").index(1)), (5, 33));
    assert_eq!(located(node.key("endpoints").index(1).key("address")), (5, 33));
    assert_eq!(located(node.key("strategy")), (4, 3));
    assert_eq!(located(node.key("health_check").key("http")), (6, 27));
    assert_eq!(located(At::root().key("routes").index(0)), (8, 5));
    assert_eq!(located(At::root().key("routes").index(7)), (7, 1));
    assert_eq!(node.key("endpoints").index(1).to_string(), "upstreams.node.endpoints[1]");
}

#[test]
fn a_file_of_ten_thousand_routes_is_read_in_well_under_ten_seconds() {
    let mut text = SMALLEST.to_owned();
    for number in 0..10_000 {
        text += &format!("  - {{ host: h{number}.example.com, path_prefix: /p, upstream: node, strategy: random }}\n");
    }
    let begun = std::time::Instant::now();
    assert_eq!(accepted(&text).config.routes.len(), 10_002);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// Pieces that YAML or the grammar give a meaning.
const PIECES: [&str; 40] = [
    ": ",
    ":",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    " #",
    "*",
    "&a ",
    "!x ",
    "|",
    ">",
    "%",
    "@",
    "`",
    "${",
    "${A}",
    "$${",
    "${file:x}",
    "\t",
    "\u{a0}",
    "null",
    "~",
    "0",
    "-1",
    "1e9",
    "5s",
    "off",
    "<<",
    "? ",
    "---\n",
    "upstream",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_text(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_pieces_make_it_panic(pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..60)) {
        let _ = read_text(&pieces.concat());
    }

    #[test]
    fn no_change_of_a_valid_file_makes_it_panic_or_disagree_with_serde(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..8, proptest::sample::select(&PIECES[..])), 1..5)
    ) {
        let mut text: Vec<char> = fs::read_to_string(format!("{VALID}/every_key.yaml")).unwrap().chars().collect();
        for (at, removed, piece) in changes {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, piece.chars());
        }
        if let Err(error) = read_text(&text.into_iter().collect::<String>()) {
            let said = error.to_string();
            prop_assert!(!said.is_empty());
            prop_assert!(!said.contains("could not be decoded"), "{said}");
        }
    }
}
