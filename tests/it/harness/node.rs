//! Real Node instances, each its own process on a port of its own: the express app of `tests/apps/express`, and the one with
//! sessions in Redis of `examples/express-session`, and that of `examples/socket-io`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    Ask, Client, SOON, ended,
    redis::{Redis, SECRET},
    root, signal,
};

/// A running instance, killed when dropped.
pub(crate) struct NodeApp {
    child: Child,
    listen: String,
    launch: Launch,
}

/// All that it takes to start an instance again.
#[derive(Clone)]
struct Launch {
    /// Where `main` is, below the root.
    directory: &'static str,
    main: &'static str,
    environment: Vec<(String, String)>,
}

impl NodeApp {
    pub(crate) fn start(name: &str) -> NodeApp {
        NodeApp::listen(name, "0")
    }

    /// An instance on a port (`0`: any) or on a unix socket.
    pub(crate) fn listen(name: &str, port: &str) -> NodeApp {
        let launch = Launch { directory: "tests/apps/express", main: "app.js", environment: named(name) };
        launch.start(port)
    }

    /// An instance of `examples/express-session` that keeps its sessions in this store; `environment`: `TOUCH`, `ROLLING`.
    pub(crate) fn with_sessions(name: &str, store: &Redis, environment: &[(&str, &str)]) -> NodeApp {
        let own = [("REDIS_URL", store.url()), ("SESSION_SECRET", SECRET.to_owned())];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let further = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let environment = named(name).into_iter().chain(own).chain(further).collect();
        Launch { directory: "examples/express-session", main: "server.js", environment }.start("0")
    }

    /// `count` of them, named `n1`, `n2`, ...
    pub(crate) fn several_with_sessions(count: usize, store: &Redis) -> Vec<NodeApp> {
        npm_ci(&root().join("examples/express-session"));
        thread::scope(|scope| {
            let start = |index| scope.spawn(move || NodeApp::with_sessions(&format!("n{index}"), store, &[]));
            let starting: Vec<_> = (1..=count).map(start).collect();
            starting.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// `count` instances of `examples/socket-io`, named `n1`, `n2`, ...
    pub(crate) fn several_of_socket_io(count: usize) -> Vec<NodeApp> {
        let launch = |index| Launch {
            directory: "examples/socket-io",
            main: "server.js",
            environment: named(&format!("n{index}")),
        };
        (1..=count).map(|index| launch(index).start("0")).collect()
    }

    /// The name that it was given.
    pub(crate) fn name(&self) -> &str {
        &self.launch.environment[0].1
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
        *self = self.launch.clone().start(&port);
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

impl Launch {
    fn start(self, port: &str) -> NodeApp {
        let directory = root().join(self.directory);
        npm_ci(&directory);
        // The app ends when its input does, so it never outlives a test process that was killed.
        let program = format!("process.stdin.resume().on('end', () => process.exit()); require('./{}')", self.main);
        let mut child = Command::new("node")
            .args(["-e", &program])
            .current_dir(&directory)
            .env("PORT", port)
            .env("NODE_ENV", "production")
            .envs(self.environment.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node is needed: {error}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listen = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("the app said {line:?}"));
        NodeApp { listen: listen.to_owned(), launch: self, child }
    }
}

fn named(name: &str) -> Vec<(String, String)> {
    vec![("NAME".to_owned(), name.to_owned())]
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
