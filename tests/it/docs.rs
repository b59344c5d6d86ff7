//! What the README, the docs and the examples say is so: their files load, their links lead somewhere, their quotations
//! equal what they quote.

mod reference;

use std::{fmt::Write, fs, path::PathBuf, process::Command};

use headgate::{config::Config, router::path::normalise, strictness::Violation, telemetry::metrics::FAMILIES};

use crate::harness::{Authority, Setup, root, rsa};

/// Every Markdown file that is ours, and its text.
fn pages() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "examples", "examples/*", "grafana", "plugins"];
    let mut pages = Vec::new();
    for folder in folders {
        for page in glob::glob(&format!("{}/{folder}/*.md", root().display())).unwrap() {
            let page = page.unwrap();
            let text = fs::read_to_string(&page).unwrap();
            pages.push((page, text));
        }
    }
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

/// The fenced blocks whose info string is exactly `kind`.
fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let open = format!("\n```{kind}\n");
    text.split(&open).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Holds a whole file to `headgate check`; a directory that its paths name is its own.
fn check(what: &str, yaml: &str) {
    let (authority, system) = (Authority::new(), tempfile::NamedTempFile::new().unwrap());
    fs::write(system.path(), authority.certificate()).unwrap();
    let gateway = authority.issue(&["gateway.internal"]);
    let setup = Setup::new(yaml).system_certificates(system.path());
    let setup = setup.file("tls/internal-ca.crt", &authority.certificate());
    let setup = setup.file("tls/gateway.crt", &gateway.certificate).file("tls/gateway.key", &gateway.key);
    let mut setup = setup.file("tls/clients.crt", &authority.certificate());
    for (file, certified) in [
        ("shop", authority.issue(&["shop.example.com"])),
        ("admin", authority.issue(&["admin.example.com"])),
        ("shop-rsa", rsa("shop.example.com")),
    ] {
        setup = setup.file(&format!("tls/{file}.crt"), &certified.certificate);
        setup = setup.file(&format!("tls/{file}.key"), &certified.key);
    }
    let output = setup.command(&["check"]);
    assert_eq!(output.code, Some(0), "{what}:\n{yaml}\n{}{}", output.stdout, output.stderr);
}

#[test]
fn the_readme_quotes_gateway_yaml_as_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shipped = fs::read_to_string(root().join("gateway.yaml")).unwrap();
    assert!(blocks(&readme, "yaml").contains(&shipped.trim_end()), "the README's quotation differs from gateway.yaml");
}

#[test]
fn every_whole_file_in_the_docs_passes_the_check() {
    let mut seen = 0;
    for (page, text) in pages() {
        for yaml in blocks(&text, "yaml") {
            check(&page.display().to_string(), yaml);
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} blocks were found");
}

#[test]
fn every_link_inside_the_repository_leads_somewhere() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let outside = target.contains("://") || file.is_empty();
            if !outside && !page.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Where the part of a page that is made from the code begins and ends.
const MARKS: (&str, &str) = ("<!-- made from here on: UPDATE_DOCS=1 -->\n", "<!-- to here -->\n");

/// Holds the made part of a page to what is made now; `UPDATE_DOCS=1` writes the page instead.
fn hold(page: &str, made: &str) {
    let path = root().join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(MARKS.0).expect("the first mark");
    let (_, tail) = rest.split_once(MARKS.1).expect("the second mark");
    let expected = format!("{head}{}{made}\n{}{tail}", MARKS.0, MARKS.1);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, &expected).unwrap();
    }
    assert!(text == expected, "{page} is behind the code: UPDATE_DOCS=1 cargo test --test it docs:: writes it");
}

#[test]
fn the_reference_says_what_the_schema_says() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let plugins = headgate_plugins::builtin().schemas();
    let plugins: Vec<_> = plugins.into_iter().map(|(name, schema)| (name, schema.to_value())).collect();
    hold("docs/configuration.md", &reference::made(&schema, &plugins));
}

#[test]
fn the_list_of_metrics_is_the_one_in_the_code() {
    let mut table = "\n| metric | labels | |\n|---|---|---|\n".to_owned();
    for family in FAMILIES {
        writeln!(table, "| `{}` | {} | {} |", family.name, family.labels.join(", "), family.help).unwrap();
    }
    hold("docs/monitoring.md", &table);
}

#[test]
fn every_metric_that_the_docs_name_exists() {
    for (page, text) in pages() {
        for named in text.split("`headgate_").skip(1) {
            let name: String =
                named.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
            let name = format!("headgate_{name}");
            assert!(FAMILIES.iter().any(|family| family.name == name), "{}: there is no {name}", page.display());
        }
    }
}

/// What stands in code font in one cell of a table.
fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_normal_paths_is_what_the_router_does() {
    let page = fs::read_to_string(root().join("docs/routing.md")).unwrap();
    let table = page.split("### One normal form").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut seen = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let (from, to) = (spans(cells[0]), spans(cells[1]));
        assert!(to.is_empty() || to.len() == from.len(), "{row}");
        for (index, path) in from.iter().enumerate() {
            let normal = normalise(path).ok();
            assert_eq!(normal.as_deref(), to.get(index).copied(), "{row}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} paths were found");
}

#[test]
fn no_lock_file_carries_a_download_address() {
    for lock in ["examples/*/package-lock.json", "tests/apps/*/package-lock.json"] {
        for lock in glob::glob(&format!("{}/{lock}", root().display())).unwrap().map(Result::unwrap) {
            assert!(!fs::read_to_string(&lock).unwrap().contains("\"resolved\""), "{}", lock.display());
        }
    }
}

#[test]
fn the_readme_shows_what_the_check_says_of_a_broken_file() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let broken = blocks(&readme, "yaml broken")[0];
    let shown =
        blocks(&readme, "console").into_iter().find_map(|block| block.strip_prefix("$ headgate check\n")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("gateway.yaml"), format!("{broken}\n")).unwrap();
    let check =
        Command::new(env!("CARGO_BIN_EXE_headgate")).arg("check").current_dir(directory.path()).output().unwrap();
    assert_eq!(String::from_utf8(check.stderr).unwrap().trim_end(), shown);
    assert_eq!(check.status.code(), Some(2));
}

#[test]
fn every_reason_of_a_refusal_is_explained_with_its_status() {
    let page = fs::read_to_string(root().join("docs/refusals.md")).unwrap();
    for violation in Violation::ALL {
        let (reason, status) = (format!("`{}`", violation.label()), violation.status().to_string());
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(&reason));
        let row = row.unwrap_or_else(|| panic!("{reason} is not explained"));
        assert!(row.contains(&format!("| {status} |")) || row.contains("| cut off |"), "{reason}: {row}");
    }
}
