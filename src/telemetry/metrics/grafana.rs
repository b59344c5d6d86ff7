//! Holds `grafana/` against the metrics that exist: a renamed metric must not leave an empty panel or a dumb alert behind.

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use regex::Regex;

use super::{FAMILIES, Family, Kind};

/// Metrics that neither dashboard nor alerts show, each with its reason.
const UNUSED: &[(&str, &str)] = &[
    ("headgate_sticky_total", "its row comes with the feature"),
    ("headgate_sticky_pins_total", "its row comes with the feature"),
    ("headgate_session_checks_total", "its row comes with the feature"),
    ("headgate_session_check_duration_seconds", "its row comes with the feature"),
    ("headgate_session_garbage_total", "its row comes with the feature"),
    ("headgate_session_cache_entries", "its row comes with the feature"),
    ("headgate_session_cache_bytes", "its row comes with the feature"),
    ("headgate_session_store_up", "its row comes with the feature"),
    ("headgate_session_store_tracking", "its row comes with the feature"),
    ("headgate_session_store_reconnects_total", "its row comes with the feature"),
    ("headgate_session_store_invalidations_total", "its row comes with the feature"),
    ("headgate_session_store_errors_total", "its row comes with the feature"),
];

/// What the process collector brings.
const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// Labels that Prometheus itself adds to every series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// A query, where it stands, and the labels that its legend or annotations name.
struct Query {
    place: String,
    expression: String,
    named: Vec<String>,
}

/// `record` names, which later rules may use with the labels of the query behind them.
struct Recorded {
    name: String,
    labels: BTreeSet<String>,
}

#[test]
fn every_metric_and_label_of_the_dashboard_exists() {
    for query in dashboard() {
        labels_of(&query, &[]);
    }
}

#[test]
fn every_metric_and_label_of_the_rules_exists() {
    let mut recorded: Vec<Recorded> = Vec::new();
    let rules = rules();
    assert!(rules.len() > 10);
    for (name, query) in rules {
        let labels = labels_of(&query, &recorded);
        if let Some(name) = name {
            recorded.push(Recorded { name, labels });
        }
    }
}

#[test]
fn every_metric_is_used_or_left_out_for_a_reason() {
    let rules = rules().into_iter().map(|(_, query)| query);
    let used: BTreeSet<_> = dashboard().into_iter().chain(rules).flat_map(|query| names(&query.expression)).collect();
    for family in FAMILIES {
        let shown = used.iter().any(|name| family_of(name).is_some_and(|used| used.name == family.name));
        let left_out = UNUSED.iter().any(|(name, _)| *name == family.name);
        assert!(shown != left_out, "{} is shown: {shown}, listed as unused: {left_out}", family.name);
    }
}

/// All labels that the query may use, after checking that it uses no other.
fn labels_of(query: &Query, recorded: &[Recorded]) -> BTreeSet<String> {
    let Query { place, expression, named } = query;
    let mut all: BTreeSet<String> = TARGET_LABELS.map(str::to_owned).into();
    for used in SELECTOR.captures_iter(expression) {
        let name = &used["name"];
        let mut own: BTreeSet<String> = TARGET_LABELS.map(str::to_owned).into();
        if let Some(family) = family_of(name) {
            own.extend(family.labels.iter().map(|label| (*label).to_owned()));
            own.extend(name.ends_with("_bucket").then(|| "le".to_owned()));
        } else if let Some(earlier) = recorded.iter().find(|recorded| recorded.name == name) {
            own.extend(earlier.labels.iter().cloned());
        } else {
            let known = name == "up" || PROCESS.contains(&name);
            assert!(known, "{place}: there is no metric {name}: {expression}");
        }
        let selected = used.name("labels").map_or("", |labels| labels.as_str());
        for label in MATCHER.captures_iter(selected) {
            assert!(own.contains(&label["label"]), "{place}: {name} has no label {}: {expression}", &label["label"]);
        }
        all.extend(own);
    }
    let grouped = GROUPING
        .captures_iter(expression)
        .flat_map(|group| group["labels"].split(',').map(trimmed).collect::<Vec<_>>());
    for label in grouped.chain(named.iter().cloned()) {
        assert!(all.contains(&label), "{place}: no metric here has a label {label}: {expression}");
    }
    all
}

/// The family that a series name belongs to.
fn family_of(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| {
        let histogram = matches!(family.kind, Kind::Histogram(_));
        let part = name.strip_prefix(family.name);
        if histogram { matches!(part, Some("_bucket" | "_sum" | "_count")) } else { part == Some("") }
    })
}

fn names(expression: &str) -> Vec<String> {
    SELECTOR.captures_iter(expression).map(|used| used["name"].to_owned()).collect()
}

fn dashboard() -> Vec<Query> {
    let dashboard: serde_json::Value = serde_json::from_str(&text("dashboards/headgate.json")).unwrap();
    let mut queries = Vec::new();
    let entries = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    for panel in entries(&dashboard["panels"]) {
        for target in entries(&panel["targets"]) {
            let named = LEGEND.captures_iter(target["legendFormat"].as_str().unwrap());
            queries.push(Query {
                place: format!("panel {}", panel["title"]),
                expression: target["expr"].as_str().unwrap().to_owned(),
                named: named.map(|label| label["label"].to_owned()).collect(),
            });
        }
    }
    assert!(queries.len() > 40);
    for variable in entries(&dashboard["templating"]["list"]) {
        let Some(values) = variable["query"]["query"].as_str() else { continue };
        let (expression, label) = values.strip_prefix("label_values(").unwrap().rsplit_once(", ").unwrap();
        let named = vec![label.trim_end_matches(')').to_owned()];
        queries.push(Query {
            place: format!("variable {}", variable["name"]),
            expression: expression.to_owned(),
            named,
        });
    }
    queries
}

/// The rules in order, with the name that a recording rule gives to its result.
fn rules() -> Vec<(Option<String>, Query)> {
    let rules: serde_yaml::Value = serde_yaml::from_str(&text("prometheus/headgate.rules.yml")).unwrap();
    let groups = rules["groups"].as_sequence().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_sequence().unwrap());
    let queries = rules.map(|rule| {
        let words = |key: &str| rule[key].as_str().map(str::to_owned);
        let annotations = serde_yaml::to_string(&rule["annotations"]).unwrap();
        let query = Query {
            place: format!("rule {:?}", words("record").or(words("alert"))),
            expression: words("expr").unwrap(),
            named: ANNOTATION.captures_iter(&annotations).map(|label| label["label"].to_owned()).collect(),
        };
        (words("record"), query)
    });
    queries.collect()
}

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(file)).unwrap()
}

fn trimmed(label: &str) -> String {
    label.trim().to_owned()
}

static SELECTOR: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#"\b(?<name>(?:\w+:)?(?:headgate_\w+(?::\w+)?|process_\w+)|up)\b(?:\{(?<labels>[^}]*)\})?"#)
});
static MATCHER: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?<label>\w+)\s*(?:=~|!~|!=|=)\s*""#));
static GROUPING: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:by|without|on|ignoring)\s*\((?<labels>[^)]*)\)"));
static LEGEND: LazyLock<Regex> = LazyLock::new(|| regex(r"\{\{\s*(?<label>\w+)\s*\}\}"));
static ANNOTATION: LazyLock<Regex> = LazyLock::new(|| regex(r"\$labels\.(?<label>\w+)"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}
