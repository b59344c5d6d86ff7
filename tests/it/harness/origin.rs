//! An HTTP server behind the gateway that records what reaches it and misbehaves on demand.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, Weak},
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;

use super::{
    SOON,
    http::{Body, Framing, Head},
    is_gone,
    port::Port,
};

/// A request as it reached an origin.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub method: String,
    pub target: String,
    pub head: Head,
    pub body: Body,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }
}

/// What an origin does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers with this status, the origin's name as body and in `x-instance`.
    Status(u16),
    /// Reads the request and then says nothing.
    Hang,
    /// Reads the request and resets the connection.
    Reset,
    /// Writes these bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Writes these bytes and closes.
    BytesThenClose(Vec<u8>),
    /// Does as it likes on the connection; true keeps it.
    Script(Arc<Script>),
}

type Script = dyn Fn(&Recorded, &mut Wire<'_>) -> io::Result<bool> + Send + Sync;

/// The connection on which a request came: what was read ahead is read first.
pub(crate) struct Wire<'a> {
    reader: BufReader<&'a TcpStream>,
    stream: &'a TcpStream,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server on a port of its own. Dropping it joins its threads, so their panics fail the test.
pub(crate) struct Origin {
    name: String,
    port: Port,
    shared: Arc<Mutex<Shared>>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    open: bool,
    reply: Reply,
    /// Replies that come before `reply`, the last first.
    first: Vec<Reply>,
    delay: Duration,
    healthy: bool,
    recorded: Vec<Recorded>,
    probes: usize,
    accepted: usize,
    connections: Vec<(Weak<TcpStream>, JoinHandle<()>)>,
}

impl Origin {
    pub(crate) fn start(name: &str) -> Origin {
        let shared = Shared {
            open: false,
            reply: Reply::Status(200),
            first: Vec::new(),
            delay: Duration::ZERO,
            healthy: true,
            recorded: Vec::new(),
            probes: 0,
            accepted: 0,
            connections: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(shared));
        let mut origin = Origin { name: name.to_owned(), port: Port::reserve(), shared, accepting: None };
        origin.up();
        origin
    }

    /// `count` origins named `a`, `b`, `c`, ...
    pub(crate) fn several(count: u8) -> Vec<Origin> {
        (0..count).map(|index| Origin::start(&char::from(b'a' + index).to_string())).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Listens again after `down`.
    pub(crate) fn up(&mut self) {
        assert!(self.accepting.is_none(), "already up");
        self.shared.lock().unwrap().open = true;
        let listener = self.port.listen();
        let (name, shared) = (self.name.clone(), Arc::clone(&self.shared));
        self.accepting = Some(thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut locked = shared.lock().unwrap();
                if !locked.open {
                    return;
                }
                locked.accepted += 1;
                stream.set_nodelay(true).unwrap();
                stream.set_write_timeout(Some(SOON)).unwrap();
                let stream = Arc::new(stream);
                let cut = Arc::downgrade(&stream);
                let (name, shared) = (name.clone(), Arc::clone(&shared));
                locked.connections.push((cut, thread::spawn(move || serve(&name, &shared, stream))));
            }
        }));
    }

    /// Closes everything: a connection is refused from now on, those that were open are cut.
    pub(crate) fn down(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.lock().unwrap().open = false;
        // Wakes `accept`; the error of a listener that is already gone says the same.
        drop(TcpStream::connect(self.address()));
        let mut panicked = accepting.join().is_err();
        let connections = std::mem::take(&mut self.shared.lock().unwrap().connections);
        for (stream, thread) in connections {
            if let Some(stream) = stream.upgrade() {
                drop(stream.shutdown(Shutdown::Both));
            }
            panicked |= thread.join().is_err();
        }
        assert!(!panicked || thread::panicking(), "origin {} panicked", self.name);
    }

    pub(crate) fn reply(&self, reply: Reply) {
        self.shared.lock().unwrap().reply = reply;
    }

    /// The next request gets this reply; several calls queue up.
    pub(crate) fn reply_once(&self, reply: Reply) {
        self.shared.lock().unwrap().first.insert(0, reply);
    }

    pub(crate) fn status(&self, status: u16) {
        self.reply(Reply::Status(status));
    }

    pub(crate) fn bytes(&self, bytes: &str) {
        self.reply(Reply::Bytes(bytes.as_bytes().to_vec()));
    }

    pub(crate) fn script(&self, script: impl Fn(&Recorded, &mut Wire<'_>) -> io::Result<bool> + Send + Sync + 'static) {
        self.reply(Reply::Script(Arc::new(script)));
    }

    pub(crate) fn hang(&self) {
        self.reply(Reply::Hang);
    }

    pub(crate) fn reset(&self) {
        self.reply(Reply::Reset);
    }

    /// Waits this long before each reply.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.lock().unwrap().delay = delay;
    }

    /// What `/healthz` answers: 200 or 503. It answers apart from all else and is not recorded.
    pub(crate) fn healthy(&self, healthy: bool) {
        self.shared.lock().unwrap().healthy = healthy;
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().unwrap().recorded.clone()
    }

    /// The one request that came.
    #[track_caller]
    pub(crate) fn request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().unwrap()
    }

    /// The last request that came.
    #[track_caller]
    pub(crate) fn last(&self) -> Recorded {
        self.requests().pop().unwrap_or_else(|| panic!("nothing reached {}", self.name))
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.lock().unwrap().recorded.len()
    }

    pub(crate) fn probes(&self) -> usize {
        self.shared.lock().unwrap().probes
    }

    /// How many connections were ever accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.lock().unwrap().accepted
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.down();
    }
}

/// Serves one connection until either side is done with it. The socket closes when the last handle is dropped, which is
/// this one: only so can it be reset.
fn serve(name: &str, shared: &Mutex<Shared>, stream: Arc<TcpStream>) {
    let mut wire = Wire { reader: BufReader::new(&stream), stream: &stream };
    loop {
        match exchange(name, shared, &mut wire) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if is_gone(&error) => break,
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Reads one request and replies; false when the connection is over.
fn exchange(name: &str, shared: &Mutex<Shared>, wire: &mut Wire<'_>) -> io::Result<bool> {
    let Some(head) = Head::read(&mut wire.reader)? else { return Ok(false) };
    if head.has_token("expect", "100-continue") {
        wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = Body::read(&mut wire.reader, head.framing(Framing::Length(0)))?;
    let mut words = head.line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let keep = !head.has_token("connection", "close");
    let request = Recorded { method, target, head, body };

    let (reply, delay) = {
        let mut shared = shared.lock().unwrap();
        if request.target == "/healthz" {
            shared.probes += 1;
            (Reply::Status(if shared.healthy { 200 } else { 503 }), Duration::ZERO)
        } else {
            shared.recorded.push(request.clone());
            let reply = shared.first.pop().unwrap_or_else(|| shared.reply.clone());
            (reply, shared.delay)
        }
    };
    // The delay is part of the double's behaviour, not a wait for something to happen.
    thread::sleep(delay);
    match reply {
        Reply::Status(status) => {
            let body = if request.method == "HEAD" { "" } else { name };
            let length = name.len();
            // One write: a peer that has enough may close, and a second write would then be an error.
            let answer =
                format!("HTTP/1.1 {status} Said\r\nX-Instance: {name}\r\nContent-Length: {length}\r\n\r\n{body}");
            wire.write_all(answer.as_bytes())?;
            Ok(keep)
        }
        Reply::Hang => {
            io::copy(&mut wire.reader, &mut io::sink())?;
            Ok(false)
        }
        Reply::Reset => {
            SockRef::from(wire.stream).set_linger(Some(Duration::ZERO))?;
            Ok(false)
        }
        Reply::Bytes(bytes) => {
            wire.write_all(&bytes)?;
            Ok(keep)
        }
        Reply::BytesThenClose(bytes) => {
            wire.write_all(&bytes)?;
            Ok(false)
        }
        Reply::Script(script) => script(&request, wire),
    }
}
