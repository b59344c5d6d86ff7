//! `examples/socket-io` as its README tells it: clients of Socket.IO stay on their instance, however they come.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use crate::harness::{Gateway, NodeApp, eventually, eventually_some, root};

/// A running `client.js`, killed when dropped.
struct SocketClient {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl SocketClient {
    fn start(gateway: &Gateway, transports: &str) -> SocketClient {
        let mut child = Command::new("node")
            .args(["client.js", &format!("http://{}", gateway.address()), transports])
            .current_dir(root().join("examples/socket-io"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (said, from) = (Arc::clone(&lines), BufReader::new(child.stdout.take().unwrap()));
        let reading =
            thread::spawn(move || from.lines().map_while(Result::ok).for_each(|line| said.lock().unwrap().push(line)));
        SocketClient { child, lines, reading: Some(reading) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The instance that answered the last question, how often it was asked on this session, and by which transport.
    fn last(&self) -> Option<(String, u32, String)> {
        let line = self.lines().pop()?;
        let words: Vec<_> = line.split(' ').collect();
        let [instance, asked, transport] = words[..] else { return None };
        Some((instance.to_owned(), asked.parse().ok()?, transport.to_owned()))
    }

    /// Waits until it was answered so often, on one session, by this transport; the instance that answered.
    #[track_caller]
    fn answered(&self, times: u32, transport: &str) -> String {
        let find = || self.last().filter(|(_, asked, by)| *asked >= times && by == transport);
        eventually_some(&format!("{times} answers by {transport}: {:?}", self.lines()), find).0
    }
}

impl Drop for SocketClient {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.reading.take().map(JoinHandle::join));
    }
}

/// The example's file, with these instances.
fn before(apps: &[NodeApp], change: impl Fn(String) -> String) -> Gateway {
    let mut text = fs::read_to_string(root().join("examples/socket-io/gateway.yaml")).unwrap();
    text = text.replace("0.0.0.0:8080", "127.0.0.1:0");
    for (app, port) in apps.iter().zip(["3001", "3002", "3003"]) {
        text = text.replace(&format!("127.0.0.1:{port}"), &app.address().to_string());
    }
    Gateway::start(&change(text))
}

#[test]
fn a_client_stays_on_its_instance_by_polling_and_by_web_socket_and_moves_when_it_dies() {
    let mut apps = NodeApp::several_of_socket_io(3);
    let gateway = before(&apps, |text| text);
    let polling: Vec<_> = (0..3).map(|_| SocketClient::start(&gateway, "polling")).collect();
    let upgrading = SocketClient::start(&gateway, "polling,websocket");
    let direct = SocketClient::start(&gateway, "websocket");
    for client in &polling {
        client.answered(15, "polling");
    }
    upgrading.answered(15, "websocket");
    direct.answered(15, "websocket");
    for client in polling.iter().chain([&upgrading, &direct]) {
        let lines = client.lines();
        let instance = lines[0].split(' ').next().unwrap().to_owned();
        // The same instance and the same session from the first answer on.
        let kept = lines.iter().enumerate().all(|(at, line)| line.starts_with(&format!("{instance} {} ", at + 1)));
        assert!(kept, "{lines:?}");
    }

    for (client, transport) in [(&polling[0], "polling"), (&upgrading, "websocket")] {
        let instance = client.answered(15, transport);
        apps.iter_mut().find(|app| app.name() == instance).unwrap().kill();
        eventually("it is on another instance, and stays there", || {
            client.last().is_some_and(|(now, asked, by)| now != instance && asked >= 10 && by == transport)
        });
        apps.iter_mut().find(|app| app.name() == instance).unwrap().restart();
    }
}

#[test]
fn without_stickiness_polling_does_not_work() {
    let apps = NodeApp::several_of_socket_io(3);
    let turns = |text: String| text.replace("    sticky: { cookie: srv }\n", "").replace("least_conn", "round_robin");
    let gateway = before(&apps, turns);
    let client = SocketClient::start(&gateway, "polling");
    eventually("an instance doesn't know the session", || {
        client.lines().iter().any(|line| line.starts_with("error:") || line.starts_with("disconnected:"))
    });
}
