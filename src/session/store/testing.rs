//! A real `redis-server` for unit tests: private, on its own port, gone with the value.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Address, Credentials, RedisConfig, Servers, StoreConfig};

/// A running server.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    child: Child,
}

// === impl RedisServer ===

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments, as on a command line. `{dir}` is its directory, `{port}` its port.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..10 {
            let port = free_port();
            let arguments = arguments
                .iter()
                .map(|a| a.replace("{dir}", directory.path().to_str().unwrap()).replace("{port}", &port.to_string()));
            let arguments: Vec<_> = arguments.collect();
            if let Some(child) = spawn(port, &arguments, &directory) {
                return Self { port, arguments, directory, child };
            }
        }
        panic!("redis-server did not start")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> Address {
        Address { host: "127.0.0.1".into(), port: self.port }
    }

    /// How to reach it, without credentials.
    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig::Redis(RedisConfig {
            servers: Servers::One(self.address()),
            credentials: Credentials::default(),
            db: 0,
            tls: None,
        })
    }

    /// Carries out one command on a connection of its own; what it answered, errors included. Arrays are lines. Tried
    /// again where the connection breaks: a replica closes all of them when it becomes a master.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            match command(self.port, arguments) {
                Ok(answer) => return answer,
                Err(error) => assert!(Instant::now() < until, "{arguments:?}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port; what it knew is forgotten.
    pub(crate) fn restart(&mut self) {
        let until = Instant::now() + Duration::from_secs(5);
        self.child = loop {
            match spawn(self.port, &self.arguments, &self.directory) {
                Some(child) => break child,
                None => assert!(Instant::now() < until, "redis-server did not start again"),
            }
        };
    }

    /// Stops it without closing anything.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], directory: &TempDir) -> Option<Child> {
    let mut all = vec![];
    // `--sentinel` is one only as the second word, after its file.
    let file = arguments.first().filter(|first| !first.starts_with("--"));
    all.extend(file.cloned());
    all.extend(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"].map(str::to_owned));
    all.push(directory.path().to_str()?.to_owned());
    all.extend(["--save", "", "--appendonly", "no", "--loglevel", "warning"].map(str::to_owned));
    all.extend(arguments.iter().skip(usize::from(file.is_some())).cloned());
    let mut child = Command::new("redis-server")
        .args(all)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server");
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        if child.try_wait().ok()?.is_some() {
            return None;
        }
        // With TLS alone there is no plain port to ask: the caller waits for the other.
        if arguments.iter().any(|argument| argument == "--tls-port") || command(port, &["PING"]).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn command(port: u16, arguments: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        request += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    stream.write_all(request.as_bytes())?;
    answer(&mut BufReader::new(stream))
}

fn answer(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "$" if rest != "-1" => {
            let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
            from.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned())
        }
        "*" => {
            let items: std::io::Result<Vec<_>> = (0..rest.parse().unwrap_or(0)).map(|_| answer(from)).collect();
            Ok(items?.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    }
}
