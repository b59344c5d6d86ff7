//! The key that our cookies are signed with where the file names none: made once, kept, and its owner's alone.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use tempfile::TempDir;

use crate::harness::{Browser, Gateway, Origin, Setup, list, upstream};

const FILE: &str = "cookie.key";

fn sticky(origins: &[Origin], process: &str) -> String {
    let origins: Vec<_> = origins.iter().collect();
    format!("{}    sticky: {{ cookie: srv }}\nprocess: {{ {process} }}\n", upstream(&list(&origins), ""))
}

fn kept_in(directory: &Path) -> String {
    format!("state_dir: '{}'", directory.display())
}

#[test]
fn a_made_key_outlives_a_restart_and_is_its_owner_s_alone() {
    let (origins, state) = (Origin::several(3), TempDir::new().unwrap());
    let directory = state.path().join("headgate");
    let text = sticky(&origins, &kept_in(&directory));
    let first = Gateway::start(&text);
    let mut browser = Browser::new(first.address());
    let instance = browser.get("/").instance().to_owned();
    let key = fs::metadata(directory.join(FILE)).unwrap();
    assert_eq!((key.mode() & 0o777, key.len()), (0o600, 32));
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    drop(first);

    let second = Gateway::start(&text);
    browser.go_to(second.address());
    for _ in 0..6 {
        let answer = browser.get("/");
        assert_eq!(answer.instance(), instance);
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert_eq!(second.metrics().sum("headgate_sticky_total", &[("result", "kept")]), 6.0);
}

#[test]
fn a_reload_finds_the_same_key_even_where_its_file_is_gone() {
    let (origins, state) = (Origin::several(3), TempDir::new().unwrap());
    let text = sticky(&origins, &kept_in(state.path()));
    let gateway = Gateway::start(&text);
    let mut browser = Browser::new(gateway.address());
    let instance = browser.get("/").instance().to_owned();
    fs::remove_file(state.path().join(FILE)).unwrap();
    gateway.rewrite(&text.replace("sticky:", "methods: [GET]\n    sticky:"));
    assert_eq!(browser.get("/").instance(), instance);
}

#[test]
fn a_check_leaves_no_trace() {
    let (origins, state) = (Origin::several(1), TempDir::new().unwrap());
    let setup = Setup::new(&sticky(&origins, &kept_in(&state.path().join("headgate"))));
    assert_eq!(setup.command(&["check"]).code, Some(0));
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn written_secrets_need_no_made_key() {
    let (origins, state) = (Origin::several(1), TempDir::new().unwrap());
    let secrets = "cookies: { secrets: ['a secret of sixteen letters and more'] }\n";
    let text = sticky(&origins, &kept_in(state.path()));
    let gateway = Gateway::start(&format!("{text}{secrets}"));
    assert!(gateway.get("/").header("set-cookie").is_some());
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn a_key_that_others_can_read_stops_the_start_and_is_named() {
    let (origins, state) = (Origin::several(1), TempDir::new().unwrap());
    let key = state.path().join(FILE);
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let mut gateway = Setup::new(&sticky(&origins, &kept_in(state.path()))).spawn();
    assert_eq!(gateway.wait_exit().code(), Some(2));
    let said = gateway.logged("others can read this key");
    assert!(said.contains(&key.display().to_string()), "{said}");
    assert_eq!(fs::read(&key).unwrap(), [7; 32]);
}

#[test]
fn where_no_key_can_be_kept_the_log_says_that_a_restart_forgets() {
    let origins = Origin::several(2);
    let setup = Setup::new(&sticky(&origins, "threads: 1"));
    // A file is no directory.
    let nowhere = setup.path().display().to_string();
    let gateway = setup.env("XDG_STATE_HOME", &nowhere).start();
    gateway.logged("a restart will forget every pin");
    let mut browser = Browser::new(gateway.address());
    let instance = browser.get("/").instance().to_owned();
    assert_eq!(browser.get("/").instance(), instance);
}

#[test]
fn the_key_is_given_to_the_user_that_the_process_becomes() {
    // Only root can become somebody else.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: this needs root");
        return;
    }
    let (origins, state) = (Origin::several(2), TempDir::new().unwrap());
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = state.path().join("headgate");
    let text = sticky(&origins, &format!("user: nobody, {}", kept_in(&directory)));
    let first = Gateway::start(&text);
    let mut browser = Browser::new(first.address());
    let instance = browser.get("/").instance().to_owned();
    let owners = [fs::metadata(&directory), fs::metadata(directory.join(FILE))].map(|found| found.unwrap().uid());
    assert!(owners.iter().all(|owner| *owner != 0), "{owners:?}");
    drop(first);
    let second = Gateway::start(&text);
    browser.go_to(second.address());
    assert_eq!(browser.get("/").instance(), instance);
}
