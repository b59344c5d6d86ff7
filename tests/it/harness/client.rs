//! One connection of a client: well-behaved requests by `ask`, hostile ones by `write`.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rustls::{ClientConnection, HandshakeKind, StreamOwned};

use super::{
    SOON, Trust,
    http::{Body, Framing, Head},
    is_gone,
};

/// A request that a well-behaved client sends.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunks: Option<Vec<Vec<u8>>>,
}

impl Ask {
    pub(crate) fn new(method: &str, target: &str) -> Ask {
        let (method, target) = (method.to_owned(), target.to_owned());
        Ask { method, target, host: Some("test.example".into()), headers: Vec::new(), body: None, chunks: None }
    }

    pub(crate) fn get(target: &str) -> Ask {
        Ask::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Ask {
        Ask::new("POST", target).body(body)
    }

    pub(crate) fn host(mut self, host: &str) -> Ask {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Ask {
        self.body = Some(body.into());
        self
    }

    /// A body in these chunks, of no announced length.
    pub(crate) fn chunks(mut self, chunks: &[&str]) -> Ask {
        self.chunks = Some(chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect());
        self
    }

    /// The request as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let host = self.host.iter().map(|host| ("Host", host.as_str()));
        for (name, value) in host.chain(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if let Some(body) = &self.body {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        if self.chunks.is_some() {
            head.push_str("Transfer-Encoding: chunked\r\n");
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend(self.body.iter().flatten());
        for chunk in self.chunks.iter().flatten() {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        if self.chunks.is_some() {
            bytes.extend(b"0\r\n\r\n");
        }
        bytes
    }
}

/// A response as it came.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: Head,
    pub body: Body,
    /// The 1xx heads that came before.
    pub interim: Vec<Head>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The instance that answered: what `Origin` and the Node app write into `x-instance`.
    pub(crate) fn instance(&self) -> &str {
        self.header("x-instance").unwrap_or_else(|| panic!("no instance answered: {} {}", self.head.line, self.text()))
    }
}

/// Where a gateway is, and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    trust: Option<Trust>,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target { address, trust: None }
    }
}

impl From<(SocketAddr, &Trust)> for Target {
    fn from((address, trust): (SocketAddr, &Trust)) -> Target {
        Target { address, trust: Some(trust.clone()) }
    }
}

/// A connection to a gateway.
pub(crate) struct Client {
    stream: BufReader<Stream>,
    reusable: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("no connection to {address}: {error}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        Ok(Client { stream: BufReader::new(Stream::Tcp(stream)), reusable: true })
    }

    /// A connection in TLS, its handshake made.
    #[track_caller]
    pub(crate) fn tls(address: SocketAddr, trust: &Trust) -> Client {
        Client::try_tls(address, trust).unwrap_or_else(|error| panic!("no TLS with {address}: {error}"))
    }

    pub(crate) fn try_tls(address: SocketAddr, trust: &Trust) -> io::Result<Client> {
        Client::try_connect(address)?.secured(trust)
    }

    pub(crate) fn try_reach(target: &Target) -> io::Result<Client> {
        match &target.trust {
            None => Client::try_connect(target.address),
            Some(trust) => Client::try_tls(target.address, trust),
        }
    }

    /// Goes on in TLS on a connection that was plain so far.
    pub(crate) fn secured(self, trust: &Trust) -> io::Result<Client> {
        let Stream::Tcp(stream) = self.stream.into_inner() else { panic!("this is no TCP") };
        let mut stream = StreamOwned::new(trust.connection(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Client { stream: BufReader::new(Stream::Tls(Box::new(stream))), reusable: true })
    }

    /// Whether its handshake resumed an earlier one's session.
    pub(crate) fn resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that it was shown.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.session().peer_certificates().unwrap()[0].to_vec()
    }

    fn session(&self) -> &ClientConnection {
        let Stream::Tls(stream) = self.stream.get_ref() else { panic!("this is no TLS") };
        &stream.conn
    }

    pub(crate) fn unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Client { stream: BufReader::new(Stream::Unix(stream)), reusable: true }
    }

    /// False once the gateway has said that it closes this connection.
    pub(crate) fn reusable(&self) -> bool {
        self.reusable
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.ask(&Ask::get(target))
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.try_ask(ask).unwrap_or_else(|error| panic!("no answer to {} {}: {error}", ask.method, ask.target))
    }

    pub(crate) fn try_ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        // A gateway may answer and close before it has read everything; its answer is still there to be read.
        if let Err(error) = self.stream.get_mut().write_all(&ask.bytes())
            && !is_gone(&error)
        {
            return Err(error);
        }
        self.try_answer(ask.method == "HEAD")
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).unwrap();
    }

    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Reads one whole answer to a request that was not HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub(crate) fn try_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let mut answer = self.try_head()?;
        let bodiless = to_head || answer.status == 204 || answer.status == 304 || answer.status < 200;
        let framing = if bodiless { Framing::Length(0) } else { answer.head.framing(Framing::UntilClose) };
        answer.body = Body::read(&mut self.stream, framing)?;
        self.reusable = framing != Framing::UntilClose && !answer.head.has_token("connection", "close");
        Ok(answer)
    }

    /// Reads the head of an answer, with the interim ones before it; its body is still to be read.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        self.try_head().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    fn try_head(&mut self) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let head = Head::read(&mut self.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.line.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::other(format!("no status: {:?}", head.line)))?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            return Ok(Answer { status, head, body: Body::default(), interim });
        }
    }

    /// Reads one chunk of a chunked body.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        super::http::read_chunk(&mut self.stream)
    }

    /// What is left of a chunked body; how it was cut into chunks is nobody's promise.
    pub(crate) fn rest_of_chunks(&mut self) -> String {
        String::from_utf8(Body::read(&mut self.stream, Framing::Chunked).unwrap().bytes).unwrap()
    }

    /// Reads exactly this many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads and throws away a body of this framing by way of `Read`, for bodies too large to keep.
    pub(crate) fn drain(&mut self, length: u64) {
        let read = io::copy(&mut (&mut self.stream).take(length), &mut io::sink()).unwrap();
        assert_eq!(read, length, "the body ended early");
    }

    /// Everything until the gateway closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if is_gone(&error) => bytes,
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }

    /// True when the gateway closes (or has closed) within `bound` without another byte.
    pub(crate) fn closed_within(&mut self, bound: Duration) -> bool {
        self.set_read_timeout(bound);
        let closed = match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => is_gone(&error),
        };
        self.set_read_timeout(SOON);
        closed
    }

    /// True when something to read (an end counts) comes within `bound`.
    pub(crate) fn input_within(&mut self, bound: Duration) -> bool {
        self.set_read_timeout(bound);
        let came = match self.stream.fill_buf() {
            Ok(_) => true,
            Err(error) => is_gone(&error),
        };
        self.set_read_timeout(SOON);
        came
    }

    pub(crate) fn set_read_timeout(&mut self, bound: Duration) {
        match self.stream.get_ref() {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(bound)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(bound)),
            Stream::Tls(stream) => stream.sock.set_read_timeout(Some(bound)),
        }
        .unwrap();
    }

    /// Says that no more will be sent.
    pub(crate) fn finish_writing(&mut self) {
        match self.stream.get_ref() {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => stream.sock.shutdown(Shutdown::Write),
        }
        .unwrap();
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
