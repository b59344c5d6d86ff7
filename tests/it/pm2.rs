//! `examples/pm2` as its README tells it: PM2 starts an express app three times, headgate balances them.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::harness::{Ask, Gateway, Load, ended, npm_ci, root};

/// A PM2 daemon of our own, ended with all that it started.
struct Pm2 {
    home: TempDir,
    first_port: u16,
}

impl Pm2 {
    fn run(&self, arguments: &[&str]) -> Output {
        let directory = root().join("examples/pm2");
        // Into files: the daemon inherits the outputs and would keep a pipe open for as long as it lives.
        let path = |name: &str| self.home.path().join(name);
        let mut child = Command::new(directory.join("node_modules/.bin/pm2"))
            .args(arguments)
            .current_dir(&directory)
            .env("PM2_HOME", self.home.path())
            .env("FIRST_PORT", self.first_port.to_string())
            .env("PM2_DISABLE_VERSION_CHECK", "true")
            .stdin(Stdio::null())
            .stdout(fs::File::create(path("stdout")).unwrap())
            .stderr(fs::File::create(path("stderr")).unwrap())
            .spawn()
            .unwrap();
        let status = ended(&mut child, std::time::Duration::from_secs(60)).unwrap();
        Output { status, stdout: fs::read(path("stdout")).unwrap(), stderr: fs::read(path("stderr")).unwrap() }
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        self.run(&["kill"]);
    }
}

/// Three ports in a row that nobody holds.
fn three_ports() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut firsts = std::iter::repeat_with(first).take(100);
    firsts.find(|&port| port < u16::MAX - 2 && free(port) && free(port + 1) && free(port + 2)).unwrap()
}

#[test]
fn three_instances_in_fork_mode_are_balanced_and_a_restart_fails_no_request() {
    npm_ci(&root().join("examples/pm2"));
    let pm2 = Pm2 { home: TempDir::new().unwrap(), first_port: three_ports() };
    let started = pm2.run(&["start", "ecosystem.config.js"]);
    assert!(started.status.success(), "{started:?}");

    let mut text = fs::read_to_string(root().join("examples/pm2/gateway.yaml")).unwrap();
    text = text.replace("0.0.0.0:8080", "127.0.0.1:0");
    for (index, port) in [3001, 3002, 3003].into_iter().enumerate() {
        text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", pm2.first_port + index as u16));
    }
    let gateway = Gateway::start(&text);
    let ports: BTreeSet<_> = (0..9).map(|_| gateway.get("/").json()["port"].as_u64().unwrap()).collect();
    assert_eq!(ports.len(), 3, "{ports:?}");

    let load = Load::start(gateway.address(), 2, &Ask::get("/"));
    load.more(50);
    let restarted = pm2.run(&["restart", "app"]);
    assert!(restarted.status.success(), "{restarted:?}");
    load.more(50);
    load.stop().assert_all_ok();
}
