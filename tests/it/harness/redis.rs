//! Real session stores: a `Redis` of the test's own, which can be killed, frozen and restarted on its port; three of them as
//! a `RedisCluster`; and a `RedisSentinel`, whose master can be killed.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use redis::FromRedisValue;
use ring::hmac;
use tempfile::TempDir;

use super::{SOON, ended, eventually, eventually_some, port::Port, signal};

/// What a session application signs its cookies with, in every test.
pub(crate) const SECRET: &str = "a secret of sixteen letters and more";

/// A `connect.sid` as express-session signs and encodes it.
pub(crate) fn signed(id: &str, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = BASE64_STANDARD_NO_PAD.encode(hmac::sign(&key, id.as_bytes()));
    format!("connect.sid=s%3A{id}.{}", signature.replace('+', "%2B").replace('/', "%2F"))
}

/// The value under `sess:ID` of somebody who is logged in as `user`, as connect-redis writes it.
pub(crate) fn stored(user: &str) -> String {
    let cookie = r#"{"originalMaxAge":null,"expires":null,"secure":false,"httpOnly":true,"path":"/"}"#;
    format!(r#"{{"cookie":{cookie},"visits":1,"passport":{{"user":"{user}"}}}}"#)
}

/// A private `redis-server`, killed when dropped. What was written survives its death, as in production.
pub(crate) struct Redis {
    port: Port,
    directory: TempDir,
    arguments: Vec<String>,
    child: Child,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::with(&[])
    }

    /// With further settings: `["--maxmemory", "1mb"]`.
    pub(crate) fn with(settings: &[&str]) -> Redis {
        Redis::launch(Port::reserve(), TempDir::new().unwrap(), &[settings, &["--appendonly", "yes"]].concat())
    }

    fn launch(port: Port, directory: TempDir, settings: &[&str]) -> Redis {
        let arguments: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let child = spawn(&port, &directory, &arguments);
        let redis = Redis { port, directory, arguments, child };
        redis.ready();
        redis
    }

    /// One that speaks TLS on a second port as well, and the bytes of the authority that signed its certificate.
    pub(crate) fn tls() -> (Redis, u16, String) {
        let directory = TempDir::new().unwrap();
        let tls = Port::reserve();
        let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
            -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt && \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis -keyout redis.key -out redis.csr && \
            printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > extensions && \
            openssl x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -days 2 -extfile extensions -out redis.crt";
        let made = Command::new("sh").args(["-c", make]).current_dir(directory.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let ca = fs::read_to_string(directory.path().join("ca.crt")).unwrap();
        let port = tls.address().port();
        let settings = [
            ("--tls-port", port.to_string().as_str()),
            ("--tls-cert-file", "redis.crt"),
            ("--tls-key-file", "redis.key"),
            ("--tls-ca-cert-file", "ca.crt"),
            ("--tls-auth-clients", "no"),
        ]
        .map(|(name, value)| [name.to_owned(), value.to_owned()])
        .concat();
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        (Redis::launch(Port::reserve(), directory, &settings), port, ca)
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        self.port.address().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    fn ready(&self) {
        eventually("redis-server is ready", || self.try_ask::<String>(&["PING"]).is_ok());
    }

    /// Runs one command: `redis.ask::<u64>(&["DEL", "sess:x"])`.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub(crate) fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(SOON)?;
        connection.set_read_timeout(Some(SOON))?;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut connection)
    }

    /// Puts the session of somebody logged in, and returns the cookie that the application would have set.
    pub(crate) fn plant(&self, id: &str, user: &str) -> String {
        self.ask::<()>(&["SET", &format!("sess:{id}"), &stored(user), "EX", "86400"]);
        signed(id, SECRET)
    }

    /// Ends a session as the application does; false when there was none.
    pub(crate) fn end(&self, id: &str) -> bool {
        self.ask(&["DEL", &format!("sess:{id}")])
    }

    /// The keys that match, in order.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", pattern]);
        keys.sort();
        keys
    }

    /// How often each command was asked for since the start or the last `forget_calls`: `get`, `client|tracking`, ..
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        let text: String = self.ask(&["INFO", "commandstats"]);
        let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
        lines.map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap().parse().unwrap())).collect()
    }

    /// How often this command was asked for.
    pub(crate) fn called(&self, command: &str) -> u64 {
        self.calls().get(command).copied().unwrap_or_default()
    }

    pub(crate) fn forget_calls(&self) {
        self.ask::<()>(&["CONFIG", "RESETSTAT"]);
    }

    /// SIGKILL: connections are reset, new ones refused.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        ended(&mut self.child, SOON).unwrap();
    }

    /// Starts it again on its port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.port, &self.directory, &self.arguments);
        self.ready();
    }

    /// SIGSTOP: it keeps its connections, accepts more by way of the kernel, and answers nothing.
    pub(crate) fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(self.child.id(), "CONT");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(port: &Port, directory: &TempDir, arguments: &[String]) -> Child {
    let log = fs::File::create(directory.path().join("log")).unwrap();
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"]);
    server.arg("--port").arg(port.address().port().to_string());
    server.args(arguments).current_dir(directory.path()).stdin(Stdio::null()).stdout(log);
    server.spawn().unwrap_or_else(|error| panic!("redis-server is needed: {error}"))
}

/// Three masters, each with a third of the slots.
pub(crate) struct RedisCluster {
    nodes: Vec<Redis>,
    _buses: Vec<Port>,
}

impl RedisCluster {
    pub(crate) fn start() -> RedisCluster {
        let buses: Vec<_> = (0..3).map(|_| Port::reserve()).collect();
        let nodes = buses.iter().map(|bus| {
            let bus = bus.address().port().to_string();
            Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
        });
        let nodes: Vec<_> = nodes.collect();
        for (index, (first, last)) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate() {
            nodes[index].ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
            let (port, bus) =
                (nodes[index].port.address().port().to_string(), buses[index].address().port().to_string());
            nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let agree = |node: &Redis| {
            let info: String = node.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        eventually("the cluster's nodes know each other", || nodes.iter().all(agree));
        RedisCluster { nodes, _buses: buses }
    }

    /// `[redis://127.0.0.1:1, ..]`, ready to stand behind `cluster:`.
    pub(crate) fn list(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Redis::url).collect();
        format!("[{}]", urls.join(", "))
    }

    /// The node that keeps this key.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let answers = |node: &Redis| node.try_ask::<Option<String>>(&["GET", key]).is_ok();
        // A node that has not heard of the others for a while, on a busy machine, answers nobody until it has.
        eventually_some(&format!("somebody keeps {key}"), || self.nodes.iter().position(answers))
    }

    /// Puts the session of somebody logged in, where it belongs, and returns the application's cookie.
    pub(crate) fn plant(&self, id: &str, user: &str) -> String {
        self.nodes[self.owner(&format!("sess:{id}"))].plant(id, user)
    }

    pub(crate) fn end(&self, id: &str) -> bool {
        self.nodes[self.owner(&format!("sess:{id}"))].end(id)
    }

    /// Moves the slot of this key, with its keys, to another node.
    pub(crate) fn move_slot_of(&self, key: &str) {
        let from = self.owner(key);
        let to = (from + 1) % self.nodes.len();
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let slot: u64 = source.ask(&["CLUSTER", "KEYSLOT", key]);
        let slot = slot.to_string();
        let ids: Vec<String> = self.nodes.iter().map(|node| node.ask(&["CLUSTER", "MYID"])).collect();
        target.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]);
        source.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]);
        let keys: Vec<String> = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        let port = target.port.address().port().to_string();
        for key in &keys {
            source.ask::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
        for node in [target, source, &self.nodes[(from + 2) % 3]] {
            node.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]);
        }
        assert_eq!(self.owner(key), to);
    }
}

/// A master, a replica, and three sentinels that watch them.
pub(crate) struct RedisSentinel {
    nodes: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl RedisSentinel {
    /// The name by which the sentinels know the master.
    pub(crate) const MASTER: &str = "sessions";

    pub(crate) fn start() -> RedisSentinel {
        let master = Redis::start();
        let port = master.port.address().port().to_string();
        let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
        let followed = || replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up");
        eventually("the replica follows", followed);
        let name = RedisSentinel::MASTER;
        let sentinels = (0..3).map(|_| {
            let directory = TempDir::new().unwrap();
            let text = format!(
                "sentinel monitor {name} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {name} 700\n\
                 sentinel failover-timeout {name} 4000\n"
            );
            fs::write(directory.path().join("sentinel.conf"), text).unwrap();
            Redis::launch_sentinel(directory)
        });
        let sentinels: Vec<_> = sentinels.collect();
        let sentinel = RedisSentinel { nodes: [master, replica], sentinels };
        let knows = |node: &Redis| {
            let facts: BTreeMap<String, String> = node.ask(&["SENTINEL", "MASTER", name]);
            facts["num-slaves"] == "1" && facts["num-other-sentinels"] == "2"
        };
        eventually("the sentinels know each other", || sentinel.sentinels.iter().all(knows));
        sentinel
    }

    /// `[127.0.0.1:1, ..]`, ready to stand behind `addresses:`.
    pub(crate) fn list(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(Redis::address).collect();
        format!("[{}]", addresses.join(", "))
    }

    /// The one that takes writes.
    pub(crate) fn master(&self) -> &Redis {
        let leads = |node: &&Redis| {
            node.try_ask::<String>(&["INFO", "replication"]).is_ok_and(|info| info.contains("role:master"))
        };
        eventually_some("there is a master", || self.nodes.iter().rev().find(leads))
    }

    /// Kills the master and waits until the sentinels made the replica the new one.
    pub(crate) fn fail_over(&mut self) {
        // What it has not yet told its replica would be lost, as in life; a test wants to know what it will find.
        self.nodes[0].ask::<u64>(&["WAIT", "1", "5000"]);
        self.nodes[0].kill();
        // Its clients are cut off when it is promoted.
        let role = || self.nodes[1].try_ask::<String>(&["INFO", "replication"]);
        eventually("the replica leads", || role().is_ok_and(|info| info.contains("role:master")));
    }
}

impl Redis {
    /// A Sentinel that watches the TLS port of a `Redis::tls`, and the port at which it speaks TLS itself.
    pub(crate) fn sentinel_by_tls(&self, tls_port: u16) -> (Redis, u16) {
        let (directory, port) = (TempDir::new().unwrap(), Port::reserve().address().port());
        let (name, files) = (RedisSentinel::MASTER, self.directory.path().display());
        let text = format!(
            "tls-port {port}\ntls-auth-clients no\ntls-replication yes\ntls-ca-cert-file {files}/ca.crt\ntls-cert-file {files}/redis.crt\n\
             tls-key-file {files}/redis.key\nsentinel monitor {name} 127.0.0.1 {tls_port} 1\n"
        );
        fs::write(directory.path().join("sentinel.conf"), text).unwrap();
        (Redis::launch_sentinel(directory), port)
    }

    fn launch_sentinel(directory: TempDir) -> Redis {
        let port = Port::reserve();
        let mut server = Command::new("redis-server");
        server.args(["sentinel.conf", "--sentinel", "--bind", "127.0.0.1", "--port"]);
        server.arg(port.address().port().to_string()).current_dir(directory.path());
        server.stdin(Stdio::null()).stdout(fs::File::create(directory.path().join("log")).unwrap());
        let redis = Redis { port, directory, arguments: Vec::new(), child: server.spawn().unwrap() };
        redis.ready();
        redis
    }
}
