//! The program under test: the real binary on a file of its own, in a directory of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;

use super::{Answer, Ask, Client, SOON, Samples, ended, eventually, eventually_some, signal, within};

/// How long a drain may take in a test that does not say otherwise.
const DRAIN: &str = "process: { threads: 1, shutdown_timeout: 10s }\n";

/// A gateway to be started: its file, the files beside it, its environment.
pub(crate) struct Setup {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// `DIR` in the text stands for the directory of the file. A listener, the admin listener and a short drain are
    /// added where the text names none, each on a port that the system chooses.
    pub(crate) fn new(yaml: &str) -> Setup {
        let setup = Setup { directory: TempDir::new().unwrap(), environment: Vec::new() };
        fs::write(setup.path(), completed(yaml, setup.directory.path())).unwrap();
        setup
    }

    /// A file beside `gateway.yaml`.
    pub(crate) fn file(self, name: &str, content: &str) -> Setup {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the system trusts is what this file holds.
    pub(crate) fn system_certificates(self, file: &Path) -> Setup {
        self.env("SSL_CERT_DIR", "/nonexistent").env("SSL_CERT_FILE", file.to_str().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("gateway.yaml")
    }

    /// Runs another command on the file, to its end.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = binary();
        command.args(arguments).arg("-c").arg(self.path()).current_dir(self.directory.path());
        command.env("XDG_STATE_HOME", self.directory.path()).envs(self.environment.clone());
        output(command)
    }

    /// Starts the gateway without waiting for it to be ready.
    pub(crate) fn spawn(self) -> Gateway {
        self.spawn_as("run")
    }

    fn spawn_as(self, command: &str) -> Gateway {
        let mut process = binary();
        process.args([command, "-c"]).arg(self.path()).env("XDG_STATE_HOME", self.directory.path());
        process.envs(self.environment.clone());
        let mut child = process.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        log.follow(child.stdout.take().unwrap());
        Gateway { child, directory: self.directory, log }
    }

    /// Starts the gateway and waits until it says that it is ready.
    pub(crate) fn start(self) -> Gateway {
        self.spawn().ready()
    }

    /// Starts `headgate demo` on the file.
    pub(crate) fn demo(self) -> Gateway {
        self.spawn_as("demo").ready()
    }
}

/// A running gateway, killed when dropped; its log is printed when the test fails.
pub(crate) struct Gateway {
    child: Child,
    directory: TempDir,
    log: Log,
}

impl Gateway {
    fn ready(mut self) -> Gateway {
        eventually_some("the gateway is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}");
            }
            let admin = self.listening_lines("admin listening on ").first()?.parse().ok()?;
            let ready = Client::try_connect(admin).ok()?.try_ask(&Ask::get("/readyz").host("127.0.0.1")).ok()?;
            (ready.status == 200).then_some(())
        });
        self
    }

    /// Starts a gateway on this file and waits until it is ready; see `Setup::new` for what may be left out.
    pub(crate) fn start(yaml: &str) -> Gateway {
        Setup::new(yaml).start()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A path beside the file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The address of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener(0)
    }

    /// The address of a listener, in the order of the file.
    pub(crate) fn listener(&self, index: usize) -> SocketAddr {
        eventually_some("the listener is named in the log", || {
            self.listening_lines("listening on ").get(index)?.parse().ok()
        })
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        eventually_some("the admin listener is named in the log", || {
            self.listening_lines("admin listening on ").first()?.parse().ok()
        })
    }

    /// What follows these words in the log; the admin listener's line is no ordinary listener's.
    fn listening_lines(&self, words: &str) -> Vec<String> {
        let admin = words.starts_with("admin");
        let lines = self.log();
        let lines = lines.lines().filter(|line| admin || !line.contains("admin listening on "));
        // In the JSON form the message ends with a quote.
        let word = |text: &str| text.split([' ', '"']).next().map(str::to_owned);
        lines.filter_map(|line| word(line.split_once(words)?.1)).collect()
    }

    /// A new connection to the first listener.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.client().get(target)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, ask: &Ask) -> Answer {
        self.client().ask(ask)
    }

    /// The instances that answer `count` requests in a row.
    pub(crate) fn turns(&self, count: usize, ask: &Ask) -> Vec<String> {
        let mut client = self.client();
        (0..count).map(|_| client.ask(ask).instance().to_owned()).collect()
    }

    pub(crate) fn admin_get(&self, target: &str) -> Answer {
        Client::connect(self.admin()).ask(&Ask::get(target).host("127.0.0.1"))
    }

    pub(crate) fn metrics(&self) -> Samples {
        let answer = self.admin_get("/metrics");
        assert_eq!(answer.status, 200);
        Samples::parse(&answer.text())
    }

    /// Waits until these series of a metric add up to this: what ends a connection is counted when it is over, which the client
    /// may know first.
    #[track_caller]
    pub(crate) fn counts(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        eventually(&format!("{name} {labels:?} is {expected}"), || self.metrics().sum(name, labels) == expected);
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        self.admin_get("/status").json()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.metrics().sum("headgate_config_generation", &[]) as u64
    }

    /// Replaces the file as an editor does, by a rename, and waits until the new generation is in place.
    #[track_caller]
    pub(crate) fn rewrite(&self, yaml: &str) {
        let before = self.generation();
        self.replace_file(yaml);
        self.wait_for_generation_after(before);
    }

    /// Replaces the file, waits until the gateway refuses it, and returns what it said.
    #[track_caller]
    pub(crate) fn rewrite_refused(&self, yaml: &str) -> String {
        let seen = self.log().len();
        self.replace_file(yaml);
        let refused = "reload refused:";
        eventually_some("the reload is refused", || {
            let said = self.log()[seen..].to_owned();
            // What is wrong may follow on lines of its own, which end with the next line that names its level.
            said.contains(refused).then_some(())
        });
        within(Duration::from_millis(100), || None::<()>);
        self.log()[seen..].to_owned()
    }

    /// Replaces the file by a rename and waits for nothing.
    pub(crate) fn replace_file(&self, yaml: &str) {
        let next = self.path("next.tmp");
        fs::write(&next, completed(yaml, self.directory.path())).unwrap();
        fs::rename(next, self.path("gateway.yaml")).unwrap();
    }

    #[track_caller]
    pub(crate) fn wait_for_generation_after(&self, before: u64) {
        eventually_some("a new generation is in place", || (self.generation() > before).then_some(()));
    }

    /// Sends a signal by name: `TERM`, `HUP`, ..
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        self.exit_within(SOON).unwrap_or_else(|| panic!("the gateway still runs after {SOON:?}"))
    }

    pub(crate) fn exit_within(&mut self, bound: Duration) -> Option<ExitStatus> {
        ended(&mut self.child, bound)
    }

    /// All that was said so far, on either output.
    pub(crate) fn log(&self) -> String {
        self.log.0.lock().unwrap().clone()
    }

    /// Waits until a line of the log holds these words and returns it.
    #[track_caller]
    pub(crate) fn logged(&self, words: &str) -> String {
        eventually_some(&format!("the log says {words:?}"), || {
            self.log().lines().find(|line| line.contains(words)).map(str::to_owned)
        })
    }

    /// A value of `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        let status = self.child.wait();
        if thread::panicking() {
            eprintln!("--- gateway ({status:?}) said:\n{}---", self.log());
        }
    }
}

/// What the gateway writes, gathered while it runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn follow(&self, from: impl Read + Send + 'static) {
        let log = self.clone();
        // Ends with the process, whose death closes the pipe.
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = String::new();
            while from.read_line(&mut line).is_ok_and(|read| read > 0) {
                log.0.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary with these arguments, to its end.
pub(crate) fn headgate(arguments: &[&str]) -> Output {
    let mut command = binary();
    command.args(arguments);
    output(command)
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    // What the tester's shell says must not change what the gateway says.
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

fn output(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = gather(child.stdout.take().unwrap());
    let stderr = gather(child.stderr.take().unwrap());
    let status = ended(&mut child, SOON).unwrap_or_else(|| {
        drop(child.kill());
        panic!("{command:?} does not end")
    });
    Output { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn gather(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

fn completed(yaml: &str, directory: &Path) -> String {
    let mut text = yaml.replace("DIR", &directory.display().to_string());
    let has = |text: &str, section: &str| text.lines().any(|line| line.starts_with(section));
    let added = [
        ("listeners:", "listeners: [{ address: 127.0.0.1:0 }]\n"),
        ("admin:", "admin: { address: 127.0.0.1:0 }\n"),
        ("process:", DRAIN),
    ];
    for (section, default) in added {
        if !has(&text, section) {
            // Behind, so that the places in messages are those of the test's own text.
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(default);
        }
    }
    text
}
