//! Real Node instances: the express app of `tests/apps/express`, each its own process on a port of its own.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{Ask, Client, SOON, ended, root, signal};

/// A running instance, killed when dropped.
pub(crate) struct NodeApp {
    child: Child,
    listen: String,
    name: String,
}

impl NodeApp {
    pub(crate) fn start(name: &str) -> NodeApp {
        NodeApp::listen(name, "0")
    }

    /// An instance on a port (`0`: any) or on a unix socket.
    pub(crate) fn listen(name: &str, port: &str) -> NodeApp {
        let directory = root().join("tests/apps/express");
        npm_ci(&directory);
        let mut child = Command::new("node")
            .arg("app.js")
            .current_dir(&directory)
            .env("NAME", name)
            .env("PORT", port)
            .env("NODE_ENV", "production")
            .env("ENDS_WITH_INPUT", "1")
            // The app ends when its input does, so it never outlives a test process that was killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node is needed: {error}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listen = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("the app said {line:?}"));
        NodeApp { listen: listen.to_owned(), name: name.to_owned(), child }
    }

    /// `count` instances named `n1`, `n2`, ...
    pub(crate) fn several(count: usize) -> Vec<NodeApp> {
        npm_ci(&root().join("tests/apps/express"));
        let starting = (1..=count).map(|index| thread::spawn(move || NodeApp::start(&format!("n{index}"))));
        starting.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listen.parse().unwrap()
    }

    /// SIGKILL: no goodbye to anybody.
    pub(crate) fn kill(&mut self) {
        signal(self.child.id(), "KILL");
        ended(&mut self.child, SOON).unwrap();
    }

    /// Starts it again on the port that it had.
    pub(crate) fn restart(&mut self) {
        let port = self.address().port().to_string();
        *self = NodeApp::listen(&self.name.clone(), &port);
    }

    /// Turns its `/healthz` to 503 (false) or 200 (true), behind the gateway's back.
    pub(crate) fn healthy(&self, healthy: bool) {
        self.tell(if healthy { "/healthz/up" } else { "/healthz/down" });
    }

    /// Makes it wait this long before it does anything.
    pub(crate) fn delay(&self, delay: Duration) {
        self.tell(&format!("/delay/{}", delay.as_millis()));
    }

    fn tell(&self, target: &str) {
        assert_eq!(Client::connect(self.address()).ask(&Ask::post(target, "")).status, 204);
    }
}

impl Drop for NodeApp {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `[127.0.0.1:1, 127.0.0.1:2]`, ready to stand behind `endpoints:`.
pub(crate) fn node_list(apps: &[NodeApp]) -> String {
    let addresses: Vec<_> = apps.iter().map(|app| app.address().to_string()).collect();
    format!("[{}]", addresses.join(", "))
}

/// Installs what the lock file of this directory names, once; other test processes wait for it.
pub(crate) fn npm_ci(directory: &Path) {
    let lock = lock_beside(directory);
    let stamp = directory.join("node_modules/.package-lock.json");
    if !stamp.exists() {
        let mut npm = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--silent"])
            .current_dir(directory)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("npm is needed: {error}"));
        let status = ended(&mut npm, Duration::from_secs(300)).unwrap_or_else(|| panic!("npm ci takes forever"));
        assert!(status.success(), "npm ci in {}", directory.display());
    }
    drop(lock);
}

/// A lock that is held until it is dropped; its file stands beside `node_modules`, which `npm ci` removes.
fn lock_beside(directory: &Path) -> File {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("npm-{}.lock", directory.strip_prefix(root()).unwrap().display().to_string().replace('/', "-")));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    file.lock().unwrap();
    file
}
