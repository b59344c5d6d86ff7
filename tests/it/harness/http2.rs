//! One HTTP/2 connection of a client, frame by frame: well-behaved requests by `ask`, anything else by `frame` and `write`.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{SOON, hpack, is_gone};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const WITH_PRIORITY: u8 = 0x20;
}

/// Error codes (section 7).
pub(crate) mod code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const COMPRESSION_ERROR: u32 = 9;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a request ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Of the final response; 0 where none came.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub trailers: Vec<(String, String)>,
    /// The statuses of the 1xx heads that came before.
    pub interim: Vec<u16>,
    pub body: Vec<u8>,
    /// The response is whole.
    pub ended: bool,
    /// The code by which the stream was reset.
    pub reset: Option<u32>,
    /// The code of a GOAWAY frame.
    pub goaway: Option<u32>,
    /// The connection was closed.
    pub closed: bool,
    /// Nothing more came.
    pub silent: bool,
}

/// What bytes travel on.
pub(crate) trait Transport: Read + Write + Send {
    /// How long a read may wait.
    fn patience(&self, bound: Duration);
}

impl Transport for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn patience(&self, bound: Duration) {
        self.sock.set_read_timeout(Some(bound)).unwrap();
    }
}

impl Transport for TcpStream {
    fn patience(&self, bound: Duration) {
        self.set_read_timeout(Some(bound)).unwrap();
    }
}

/// A connection of a client that speaks HTTP/2.
pub(crate) struct Http2 {
    transport: Box<dyn Transport>,
    /// `http`, or `https` over TLS.
    pub scheme: &'static str,
    next: u32,
}

// === impl Frame ===

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY frame.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn is(&self, kind: u8, flags: u8) -> bool {
        self.kind == kind && self.flags & flags == flags
    }
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

// === impl Http2 ===

impl Http2 {
    /// A connection in clear text whose settings have been exchanged.
    pub(crate) fn connect(address: SocketAddr) -> Http2 {
        let mut http2 = Http2::silent(address);
        http2.hello(&[]);
        http2
    }

    /// A connection in clear text on which nothing was said.
    pub(crate) fn silent(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect_timeout(&address, SOON).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Http2::over(Box::new(stream), "http")
    }

    /// A connection in TLS on which nothing of HTTP was said; whoever the gateway is, it is believed.
    pub(crate) fn silent_tls(address: SocketAddr, ca: &str) -> Http2 {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let client = rustls::ClientConnection::new(Arc::new(config), "test.example".try_into().unwrap()).unwrap();
        let stream = TcpStream::connect_timeout(&address, SOON).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Http2::over(Box::new(rustls::StreamOwned::new(client, stream)), "https")
    }

    /// A connection on which nothing was said.
    pub(crate) fn over(transport: Box<dyn Transport>, scheme: &'static str) -> Http2 {
        transport.patience(SOON);
        Http2 { transport, scheme, next: 1 }
    }

    /// Says the preface and these settings, and hears the gateway's.
    pub(crate) fn hello(&mut self, settings: &[(u16, u32)]) -> Vec<(u16, u32)> {
        self.write(PREFACE);
        // Our reader has no dynamic table.
        let settings = [&[(1, 0)], settings].concat();
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        self.frame(kind::SETTINGS, 0, 0, &payload);
        let first = self.read().unwrap().expect("settings");
        assert!(first.is(kind::SETTINGS, 0), "{first:?}");
        self.frame(kind::SETTINGS, flag::ACK, 0, &[]);
        let setting = |bytes: &[u8]| {
            let value = u32::from_be_bytes(bytes[2..].try_into().unwrap());
            (u16::from_be_bytes([bytes[0], bytes[1]]), value)
        };
        first.payload.chunks(6).map(setting).collect()
    }

    pub(crate) fn patience(&self, bound: Duration) {
        self.transport.patience(bound);
    }

    /// Writes; that the other side has closed is found by reading.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.try_write(bytes.as_ref()));
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.transport.write_all(bytes)?;
        self.transport.flush()
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(frame(kind, flags, stream, payload));
    }

    /// The pseudo-headers of a request for this path, and these fields.
    pub(crate) fn request<'a>(&self, method: &'a str, path: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<u8> {
        let pseudo = [(":method", method), (":scheme", self.scheme), (":path", path), (":authority", "test.example")];
        hpack::block(&[&pseudo[..], fields].concat())
    }

    /// Begins a stream with this header block.
    pub(crate) fn begin(&mut self, block: &[u8], end: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        let end = if end { flag::END_STREAM } else { 0 };
        self.frame(kind::HEADERS, flag::END_HEADERS | end, stream, block);
        stream
    }

    /// One GET, to its end.
    pub(crate) fn get(&mut self, path: &str) -> Outcome {
        self.ask("GET", path, &[], None)
    }

    /// One request, to its end.
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: Option<&[u8]>) -> Outcome {
        let block = self.request(method, path, fields);
        let stream = self.begin(&block, body.is_none());
        if let Some(body) = body {
            let mut pieces = body.chunks(16_384).peekable();
            if pieces.peek().is_none() {
                self.frame(kind::DATA, flag::END_STREAM, stream, &[]);
            }
            while let Some(piece) = pieces.next() {
                let end = if pieces.peek().is_none() { flag::END_STREAM } else { 0 };
                self.frame(kind::DATA, end, stream, piece);
            }
        }
        self.outcome(stream)
    }

    /// Reads until the stream has ended, or the connection, and gives the gateway room for as much as comes. PING and SETTINGS
    /// frames are answered.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        let mut outcome = Outcome::default();
        let mut block = Vec::new();
        while !outcome.ended && outcome.reset.is_none() {
            let frame = match self.read() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    outcome.closed = true;
                    break;
                }
                Err(error) if is_gone(&error) => {
                    outcome.closed = true;
                    break;
                }
                Err(_) => {
                    outcome.silent = true;
                    break;
                }
            };
            match frame.kind {
                kind::PING if frame.flags & flag::ACK == 0 => self.frame(kind::PING, flag::ACK, 0, &frame.payload),
                kind::SETTINGS if frame.flags & flag::ACK == 0 => self.frame(kind::SETTINGS, flag::ACK, 0, &[]),
                kind::GOAWAY => outcome.goaway = Some(frame.code()),
                _ if frame.stream != stream => {}
                kind::RST_STREAM => outcome.reset = Some(frame.code()),
                kind::DATA => {
                    outcome.body.extend(&frame.payload);
                    outcome.ended = frame.flags & flag::END_STREAM != 0;
                    if !frame.payload.is_empty() {
                        let more = (frame.payload.len() as u32).to_be_bytes();
                        self.frame(kind::WINDOW_UPDATE, 0, stream, &more);
                        self.frame(kind::WINDOW_UPDATE, 0, 0, &more);
                    }
                }
                kind::HEADERS | kind::CONTINUATION => {
                    block.extend(&frame.payload);
                    if frame.flags & flag::END_HEADERS == 0 {
                        continue;
                    }
                    let mut fields = hpack::fields(&std::mem::take(&mut block));
                    let status = fields.iter().position(|(name, _)| name == ":status");
                    let status = status.map(|at| fields.remove(at).1.parse().unwrap());
                    match status {
                        Some(status @ 100..200) => outcome.interim.push(status),
                        Some(status) => (outcome.status, outcome.headers) = (status, fields),
                        None => outcome.trailers = fields,
                    }
                    outcome.ended = frame.is(kind::HEADERS, flag::END_STREAM);
                }
                _ => {}
            }
        }
        outcome
    }

    /// The next frame; none where the gateway has closed.
    pub(crate) fn read(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 9];
        match self.transport.read(&mut head[..1])? {
            0 => return Ok(None),
            _ => self.transport.read_exact(&mut head[1..])?,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.transport.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
    }

    /// Reads on until a frame is as wanted, and gives it; none where the gateway has closed.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            match self.read() {
                Ok(Some(frame)) if wanted(&frame) => return Some(frame),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) if is_gone(&error) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads to the end: the code of the last GOAWAY frame, and whether the gateway has closed within this time.
    pub(crate) fn end_within(&mut self, bound: Duration) -> (Option<u32>, bool) {
        self.patience(bound);
        let mut goaway = None;
        loop {
            match self.read() {
                Ok(Some(frame)) if frame.kind == kind::GOAWAY => goaway = Some(frame.code()),
                Ok(Some(_)) => {}
                Ok(None) => return (goaway, true),
                Err(error) => return (goaway, is_gone(&error)),
            }
        }
    }

    /// Asks for an answer on the connection itself; true when it comes.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.frame(kind::PING, 0, 0, b"am alive");
        self.until(|frame| frame.is(kind::PING, flag::ACK) && frame.payload == b"am alive").is_some()
    }
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
