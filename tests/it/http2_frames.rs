//! What RFC 9113 (sections 3 to 8) and RFC 7541 say a server must do, frame by frame, in clear text and in TLS alike.
//!
//! Each case stands with its section. Where Pingora's `h2` does another thing than the RFC has it, the case says what, and
//! why; the test fails when it does neither, and when the deviation is gone.

use std::time::Duration;

use crate::harness::{
    Authority, Gateway, Http2, Origin, Setup, hpack,
    http2::{PREFACE, code::*, flag::*, frame, kind::*},
};

/// What a case must come to.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// A connection error with one of these codes: GOAWAY, and the connection is closed.
    Close(&'static [u32]),
    /// A stream error with one of these codes on the stream begun last: RST_STREAM, and the connection goes on. It may be
    /// made a connection error (section 5.4.2), or, where it is a malformed request, be answered with 400 before (8.1.1).
    Reset(&'static [u32]),
    /// An answer with this status on the stream begun last.
    Answer(u16),
    /// Nothing: the connection goes on.
    Nothing,
    /// Whatever the case itself finds.
    Own,
}
use Must::*;

type Send = fn(&mut Case<'_>);

/// Section, rule, what is sent, what must come of it, and what comes of it instead, with the reason.
type Row = (&'static str, &'static str, Send, Must, Option<(Must, &'static str)>);

const NOT_NAMED: &str = "h2 says PROTOCOL_ERROR of every frame that it cannot load; the connection is closed alike";
const NOT_COMPRESSION: &str =
    "h2 says PROTOCOL_ERROR of every block that it cannot decode; the connection is closed alike";

const HALF_CLOSED: &str = "h2 makes a connection error of it, as section 5.4.2 allows, and says PROTOCOL_ERROR";

/// One connection of one case.
struct Case<'a> {
    client: &'a mut Http2,
    last: u32,
}

impl Case<'_> {
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.client.frame(kind, flags, stream, payload);
    }

    /// Begins a request that is whole.
    fn get(&mut self, path: &str) {
        let block = self.client.request("GET", path, &[]);
        self.last = self.client.begin(&block, true);
    }

    /// Begins a request with a body.
    fn post(&mut self, fields: &[(&str, &str)]) {
        self.post_to("/", fields);
    }

    fn post_to(&mut self, path: &str, fields: &[(&str, &str)]) {
        let block = self.client.request("POST", path, fields);
        self.last = self.client.begin(&block, false);
    }

    /// A request of these fields alone.
    fn fields(&mut self, fields: &[(&str, &str)]) {
        self.last = self.client.begin(&hpack::block(fields), true);
    }

    /// A GET with this field too.
    fn with(&mut self, name: &[u8], value: &[u8]) {
        let block = [self.client.request("GET", "/", &[]), hpack::literal(name, value)].concat();
        self.last = self.client.begin(&block, true);
    }

    /// A block of these bytes behind the pseudo-headers of a GET.
    fn block(&mut self, bytes: &[u8]) {
        let block = [&*self.client.request("GET", "/", &[]), bytes].concat();
        self.last = self.client.begin(&block, true);
    }

    fn data(&mut self, flags: u8, payload: &[u8]) {
        self.frame(DATA, flags, self.last, payload);
    }
}

const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "https");
const P: (&str, &str) = (":path", "/");
const A: (&str, &str) = (":authority", "test.example");

const ROWS: &[Row] = &[
    // 3.4 HTTP/2 connection preface
    (
        "9113 3.4",
        "the settings are the first frame from the server and are acknowledged",
        settings_are_exchanged,
        Own,
        None,
    ),
    // 4.1 Frame format
    ("9113 4.1", "a frame of an unknown type is ignored", |c| c.frame(0xbe, 0xff, 0, b"?"), Nothing, None),
    (
        "9113 4.1",
        "flags that mean nothing are ignored",
        |c| c.frame(PRIORITY, 0xff, 1, &[0, 0, 0, 0, 16]),
        Nothing,
        None,
    ),
    ("9113 4.1", "the reserved bit is ignored", |c| c.frame(WINDOW_UPDATE, 0, 1 << 31, &[0, 0, 0, 1]), Nothing, None),
    // 4.2 Frame size
    (
        "9113 4.2",
        "16,384 bytes of DATA are taken",
        |c| {
            c.post(&[]);
            c.data(END_STREAM, &[b'x'; 16_384])
        },
        Answer(200),
        None,
    ),
    (
        "9113 4.2",
        "more are not",
        |c| {
            c.post(&[]);
            c.data(END_STREAM, &[b'x'; 16_385])
        },
        Close(&[FRAME_SIZE_ERROR]),
        None,
    ),
    (
        "9113 4.2",
        "nor of HEADERS",
        |c| c.frame(HEADERS, END_HEADERS, 1, &[0; 16_385]),
        Close(&[FRAME_SIZE_ERROR]),
        None,
    ),
    // 4.3 Field section compression
    (
        "9113 4.3",
        "a block that cannot be decoded ends the connection",
        |c| c.block(&[0x40]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "9113 4.3",
        "nothing comes between the frames of a block",
        |c| {
            let block = c.client.request("GET", "/", &[]);
            c.frame(HEADERS, END_STREAM, 1, &block);
            c.frame(PING, 0, 0, &[0; 8]);
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    // 5.1 Stream states
    ("9113 5.1", "DATA on an idle stream", |c| c.frame(DATA, END_STREAM, 1, b"x"), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 5.1",
        "RST_STREAM on an idle stream",
        |c| c.frame(RST_STREAM, 0, 1, &[0; 4]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.1",
        "WINDOW_UPDATE on an idle stream",
        |c| c.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.1",
        "CONTINUATION on an idle stream",
        |c| c.frame(CONTINUATION, END_HEADERS, 1, &[]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.1",
        "DATA after the end of the request",
        |c| {
            c.get("/hang");
            c.data(END_STREAM, b"x")
        },
        Reset(&[STREAM_CLOSED]),
        Some((Close(&[PROTOCOL_ERROR]), HALF_CLOSED)),
    ),
    (
        "9113 5.1",
        "HEADERS after the end of the request",
        |c| {
            c.get("/hang");
            let block = hpack::block(&[("x", "y")]);
            c.frame(HEADERS, END_HEADERS | END_STREAM, c.last, &block);
        },
        Reset(&[STREAM_CLOSED]),
        Some((Close(&[PROTOCOL_ERROR]), HALF_CLOSED)),
    ),
    (
        "9113 5.1",
        "DATA after the client's RST_STREAM",
        |c| {
            c.post_to("/hang", &[]);
            c.frame(RST_STREAM, 0, c.last, &CANCEL.to_be_bytes());
            c.data(END_STREAM, b"x");
        },
        Reset(&[STREAM_CLOSED]),
        None,
    ),
    (
        "9113 5.1",
        "HEADERS on a closed stream",
        |c| {
            c.get("/");
            assert_eq!(c.client.outcome(c.last).status, 200);
            let block = c.client.request("GET", "/", &[]);
            c.frame(HEADERS, END_HEADERS | END_STREAM, c.last, &block);
        },
        Close(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.1",
        "WINDOW_UPDATE and RST_STREAM on a stream that just closed are ignored",
        |c| {
            c.get("/");
            assert_eq!(c.client.outcome(c.last).status, 200);
            c.frame(WINDOW_UPDATE, 0, c.last, &[0, 0, 0, 1]);
            c.frame(RST_STREAM, 0, c.last, &[0; 4]);
        },
        Nothing,
        None,
    ),
    (
        "9113 5.1.1",
        "a stream of an even number",
        |c| {
            let block = c.client.request("GET", "/", &[]);
            c.frame(HEADERS, END_HEADERS | END_STREAM, 2, &block);
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.1.1",
        "a stream of a lower number than one before",
        |c| {
            let block = c.client.request("GET", "/hang", &[]);
            c.frame(HEADERS, END_HEADERS | END_STREAM, 5, &block);
            c.frame(HEADERS, END_HEADERS | END_STREAM, 3, &block);
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.1.2",
        "more streams than allowed",
        |c| {
            for _ in 0..=100 {
                c.get("/hang")
            }
        },
        Reset(&[REFUSED_STREAM, PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 5.3.1",
        "PRIORITY on an idle stream is taken",
        |c| c.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]),
        Nothing,
        None,
    ),
    (
        "9113 5.5",
        "an unknown frame within a block",
        |c| {
            let block = c.client.request("GET", "/", &[]);
            c.frame(HEADERS, END_STREAM, 1, &block);
            c.frame(0xbe, 0, 1, &[]);
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    // 6.1 DATA
    ("9113 6.1", "DATA on stream 0", |c| c.frame(DATA, 0, 0, b"x"), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 6.1",
        "padding is taken away",
        |c| {
            c.post(&[("content-length", "1")]);
            c.data(END_STREAM | PADDED, &[2, b'x', 0, 0])
        },
        Answer(200),
        None,
    ),
    (
        "9113 6.1",
        "more padding than payload",
        |c| {
            c.post(&[]);
            c.data(END_STREAM | PADDED, &[9, b'x'])
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    // 6.2 HEADERS
    ("9113 6.2", "HEADERS on stream 0", |c| c.frame(HEADERS, END_HEADERS, 0, &[]), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 6.2",
        "HEADERS with padding and priority",
        |c| {
            let block = c.client.request("GET", "/", &[]);
            let payload = [&[3, 0, 0, 0, 0, 15], &*block, &[0, 0, 0]].concat();
            c.last = 1;
            c.frame(HEADERS, END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY, 1, &payload);
        },
        Answer(200),
        None,
    ),
    (
        "9113 6.2",
        "more padding than payload",
        |c| c.frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    // 6.3 PRIORITY
    (
        "9113 6.3",
        "PRIORITY on stream 0",
        |c| c.frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 16]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.3",
        "PRIORITY of another length than 5",
        |c| {
            c.get("/hang");
            c.frame(PRIORITY, 0, c.last, &[0; 4])
        },
        Reset(&[FRAME_SIZE_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    // 6.4 RST_STREAM
    ("9113 6.4", "RST_STREAM on stream 0", |c| c.frame(RST_STREAM, 0, 0, &[0; 4]), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 6.4",
        "RST_STREAM of another length than 4",
        |c| {
            c.get("/hang");
            c.frame(RST_STREAM, 0, c.last, &[0; 3])
        },
        Close(&[FRAME_SIZE_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    // 6.5 SETTINGS
    (
        "9113 6.5",
        "an acknowledgement with a payload",
        |c| c.frame(SETTINGS, ACK, 0, &[0; 6]),
        Close(&[FRAME_SIZE_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    ("9113 6.5", "SETTINGS on a stream", |c| c.frame(SETTINGS, 0, 1, &[]), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 6.5",
        "SETTINGS of a length that is no multiple of 6",
        |c| c.frame(SETTINGS, 0, 0, &[0; 5]),
        Close(&[FRAME_SIZE_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    (
        "9113 6.5.2",
        "ENABLE_PUSH beyond 1",
        |c| c.frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.5.2",
        "INITIAL_WINDOW_SIZE beyond the largest window",
        |c| c.frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        Close(&[FLOW_CONTROL_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    (
        "9113 6.5.2",
        "MAX_FRAME_SIZE below 16,384",
        |c| c.frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.5.2",
        "MAX_FRAME_SIZE beyond 16,777,215",
        |c| c.frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.5.2",
        "an unknown setting is ignored",
        |c| c.frame(SETTINGS, 0, 0, &[0xbe, 0xef, 0, 0, 0, 1]),
        Nothing,
        None,
    ),
    (
        "9113 6.5.3",
        "settings are acknowledged",
        |c| {
            c.frame(SETTINGS, 0, 0, &[]);
            assert!(c.client.until(|frame| frame.is(SETTINGS, ACK)).is_some());
        },
        Nothing,
        None,
    ),
    // 6.6 PUSH_PROMISE
    (
        "9113 6.6",
        "a client promises nothing",
        |c| {
            let block = [&[0, 0, 0, 2], &*c.client.request("GET", "/", &[])].concat();
            c.get("/hang");
            c.frame(PUSH_PROMISE, END_HEADERS, c.last, &block);
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    // 6.7 PING
    (
        "9113 6.7",
        "a PING is answered with its payload",
        |c| {
            c.frame(PING, 0, 0, b"8 bytes.");
            assert_eq!(
                c.client.until(|frame| frame.kind == PING).map(|frame| (frame.flags, frame.payload)),
                Some((ACK, b"8 bytes.".to_vec()))
            );
        },
        Nothing,
        None,
    ),
    (
        "9113 6.7",
        "an acknowledgement is not answered",
        |c| {
            c.frame(PING, ACK, 0, b"unasked.");
            c.frame(PING, 0, 0, b"8 bytes.");
            assert_eq!(c.client.until(|frame| frame.kind == PING).unwrap().payload, b"8 bytes.");
        },
        Nothing,
        None,
    ),
    ("9113 6.7", "PING on a stream", |c| c.frame(PING, 0, 1, &[0; 8]), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 6.7",
        "PING of another length than 8",
        |c| c.frame(PING, 0, 0, &[0; 6]),
        Close(&[FRAME_SIZE_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    // 6.8 GOAWAY
    ("9113 6.8", "GOAWAY on a stream", |c| c.frame(GOAWAY, 0, 1, &[0; 8]), Close(&[PROTOCOL_ERROR]), None),
    (
        "9113 6.8",
        "what was begun before the client's GOAWAY is answered",
        |c| {
            c.get("/slow");
            c.frame(GOAWAY, 0, 0, &[0; 8])
        },
        Answer(200),
        None,
    ),
    // 6.9 WINDOW_UPDATE
    (
        "9113 6.9",
        "an increment of 0 on a stream",
        |c| {
            c.get("/hang");
            c.frame(WINDOW_UPDATE, 0, c.last, &[0; 4])
        },
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.9",
        "an increment of 0 on the connection",
        |c| c.frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.9",
        "WINDOW_UPDATE of another length than 4",
        |c| c.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]),
        Close(&[FRAME_SIZE_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_NAMED)),
    ),
    ("9113 6.9.1", "no more is sent than the window has", sends_no_more_than_the_window, Own, None),
    (
        "9113 6.9.1",
        "a window beyond the largest, of the connection",
        |c| c.frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        Close(&[FLOW_CONTROL_ERROR]),
        None,
    ),
    (
        "9113 6.9.1",
        "a window beyond the largest, of a stream",
        |c| {
            c.get("/hang");
            c.frame(WINDOW_UPDATE, 0, c.last, &[0x7f, 0xff, 0xff, 0xff])
        },
        Reset(&[FLOW_CONTROL_ERROR]),
        None,
    ),
    (
        "9113 6.9.1",
        "more DATA than our window has",
        |c| {
            // Waits for its turn behind the first, so nobody reads it.
            c.get("/unread");
            assert!(c.client.is_alive() && c.client.is_alive());
            c.post_to("/unread", &[]);
            for _ in 0..17 {
                c.data(0, &[b'x'; 16_384])
            }
        },
        Reset(&[FLOW_CONTROL_ERROR]),
        None,
    ),
    (
        "9113 6.9.2",
        "a change of the initial window moves those of open streams",
        moves_the_windows_of_open_streams,
        Own,
        None,
    ),
    // 6.10 CONTINUATION
    (
        "9113 6.10",
        "a block in several frames is one",
        |c| {
            let block = c.client.request("GET", "/", &[]);
            let (first, rest) = block.split_at(9);
            c.last = 1;
            c.frame(HEADERS, END_STREAM, 1, first);
            c.frame(CONTINUATION, 0, 1, &rest[..5]);
            c.frame(CONTINUATION, END_HEADERS, 1, &rest[5..]);
        },
        Answer(200),
        None,
    ),
    (
        "9113 6.10",
        "CONTINUATION after the end of the block",
        |c| {
            c.get("/hang");
            c.frame(CONTINUATION, END_HEADERS, c.last, &[])
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.10",
        "CONTINUATION on stream 0",
        |c| c.frame(CONTINUATION, END_HEADERS, 0, &[]),
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.10",
        "CONTINUATION of another stream",
        |c| {
            let block = c.client.request("GET", "/", &[]);
            c.frame(HEADERS, END_STREAM, 1, &block);
            c.frame(CONTINUATION, END_HEADERS, 3, &[]);
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 6.10",
        "CONTINUATION after DATA",
        |c| {
            c.post_to("/hang", &[]);
            c.data(0, b"x");
            c.frame(CONTINUATION, END_HEADERS, c.last, &[])
        },
        Close(&[PROTOCOL_ERROR]),
        None,
    ),
    // 7 Error codes
    (
        "9113 7",
        "an unknown error code is an error like any",
        |c| {
            c.get("/hang");
            c.frame(RST_STREAM, 0, c.last, &[0xff; 4])
        },
        Nothing,
        None,
    ),
    // 8.1 HTTP message framing
    (
        "9113 8.1",
        "trailers end the request",
        |c| {
            c.post(&[]);
            c.data(0, b"x");
            c.frame(HEADERS, END_HEADERS | END_STREAM, c.last, &hpack::block(&[("x-sum", "1")]));
        },
        Answer(200),
        None,
    ),
    (
        "9113 8.1",
        "a second HEADERS that does not end the request",
        |c| {
            c.post(&[]);
            c.frame(HEADERS, END_HEADERS, c.last, &hpack::block(&[("x-sum", "1")]));
        },
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.1",
        "a pseudo-header in trailers",
        |c| {
            c.post(&[]);
            c.frame(HEADERS, END_HEADERS | END_STREAM, c.last, &hpack::block(&[(":path", "/other")]));
        },
        Reset(&[PROTOCOL_ERROR]),
        Some((Answer(200), "h2 leaves it out of the trailers, and those are not passed on")),
    ),
    (
        "9113 8.1.1",
        "a body shorter than its length",
        |c| {
            c.post(&[("content-length", "2")]);
            c.data(END_STREAM, b"x")
        },
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.1.1",
        "a body longer than its length",
        |c| {
            c.post(&[("content-length", "1")]);
            c.data(END_STREAM, b"xyz")
        },
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    ("9113 8.1.1", "a length without a body", |c| c.with(b"content-length", b"1"), Reset(&[PROTOCOL_ERROR]), None),
    // 8.2 HTTP fields
    ("9113 8.2.1", "a name in upper case", |c| c.with(b"X-A", b"1"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a name of nothing", |c| c.with(b"", b"1"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a name with a space", |c| c.with(b"x a", b"1"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a name with a colon", |c| c.with(b"x:a", b"1"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a name with a control character", |c| c.with(b"x\ra", b"1"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a value with CR", |c| c.with(b"x-a", b"1\r2"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a value with LF", |c| c.with(b"x-a", b"1\n2"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a value with NUL", |c| c.with(b"x-a", b"1\x002"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a value with white space before it", |c| c.with(b"x-a", b" 1"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.1", "a value with white space behind it", |c| c.with(b"x-a", b"1\t"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "Connection", |c| c.with(b"connection", b"keep-alive"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "Transfer-Encoding", |c| c.with(b"transfer-encoding", b"chunked"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "Keep-Alive", |c| c.with(b"keep-alive", b"timeout=5"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "Proxy-Connection", |c| c.with(b"proxy-connection", b"keep-alive"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "Upgrade", |c| c.with(b"upgrade", b"websocket"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "TE with anything but trailers", |c| c.with(b"te", b"gzip"), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.2.2", "TE with trailers", |c| c.with(b"te", b"trailers"), Answer(200), None),
    // 8.3 HTTP control data
    (
        "9113 8.3",
        "a pseudo-header behind a field",
        |c| c.fields(&[M, S, P, ("x-a", "1"), A]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.3",
        "an unknown pseudo-header",
        |c| c.fields(&[M, S, P, A, (":other", "1")]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.3",
        "a pseudo-header of responses",
        |c| c.fields(&[M, S, P, A, (":status", "200")]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    ("9113 8.3", "a doubled pseudo-header", |c| c.fields(&[M, S, P, P, A]), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.3.1", "no :method", |c| c.fields(&[S, P, A]), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.3.1", "no :scheme", |c| c.fields(&[M, P, A]), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.3.1", "no :path", |c| c.fields(&[M, S, A]), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.3.1", "an empty :path", |c| c.fields(&[M, S, (":path", ""), A]), Reset(&[PROTOCOL_ERROR]), None),
    ("9113 8.3.1", "a :path that is no path", |c| c.fields(&[M, S, (":path", "x"), A]), Reset(&[PROTOCOL_ERROR]), None),
    (
        "9113 8.3.1",
        "a :path that is an absolute URI",
        |c| c.fields(&[M, S, (":path", "https://test.example/"), A]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.3.1",
        "* for another method than OPTIONS",
        |c| c.fields(&[M, S, (":path", "*"), A]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    ("9113 8.3.1", "no authority at all", |c| c.fields(&[M, S, P]), Reset(&[PROTOCOL_ERROR]), None),
    (
        "9113 8.3.1",
        "an authority with userinfo",
        |c| c.fields(&[M, S, P, (":authority", "user@test.example")]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.3.1",
        "Host that is not the authority",
        |c| c.fields(&[M, S, P, A, ("host", "other.example")]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    (
        "9113 8.3.1",
        "Host in place of the authority",
        |c| c.fields(&[M, S, P, ("host", "test.example")]),
        Answer(200),
        None,
    ),
    (
        "9113 8.3.1",
        "Host that is the authority",
        |c| c.fields(&[M, S, P, A, ("host", "test.example")]),
        Answer(200),
        None,
    ),
    ("9113 8.5", "CONNECT with a path", |c| c.fields(&[(":method", "CONNECT"), P, A]), Reset(&[PROTOCOL_ERROR]), None),
    ("9110 9.3.6", "CONNECT", |c| c.fields(&[(":method", "CONNECT"), A]), Answer(405), None),
    (
        "8441 3",
        "extended CONNECT, which was not offered",
        |c| c.fields(&[(":method", "CONNECT"), S, P, A, (":protocol", "websocket")]),
        Reset(&[PROTOCOL_ERROR]),
        None,
    ),
    ("9110 9.3.8", "TRACE", |c| c.fields(&[(":method", "TRACE"), S, P, A]), Answer(405), None),
    // RFC 7541
    (
        "7541 2.3.3",
        "a field that is in no table",
        |c| c.block(&hpack::indexed(62)),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 2.3.2",
        "a field that was kept",
        |c| {
            c.block(&hpack::kept(b"x-a", b"1"));
            assert_eq!(c.client.outcome(c.last).status, 200);
            c.block(&hpack::indexed(62));
        },
        Answer(200),
        None,
    ),
    (
        "7541 4.2",
        "a larger table than allowed",
        |c| {
            let block = [hpack::integer(0x20, 5, 4097), c.client.request("GET", "/", &[])].concat();
            c.last = c.client.begin(&block, true);
        },
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 4.2",
        "a change of the table's size behind a field",
        |c| c.block(&[0x20]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 4.3",
        "a change of the table's size before all fields",
        |c| {
            let block = [vec![0x20], c.client.request("GET", "/", &[])].concat();
            c.last = c.client.begin(&block, true);
        },
        Answer(200),
        None,
    ),
    (
        "7541 5.1",
        "an integer without end",
        |c| c.block(&[0xff; 12]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 5.2",
        "a string longer than the block",
        |c| c.block(&[0x00, 0x03, b'x', b'-']),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    // www.example.com, and "no-cache" with other ends.
    (
        "7541 5.2",
        "a string in Huffman code",
        |c| {
            const WWW: &[u8] = &[0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
            c.last = c.client.begin(&[&[0x82, 0x86, 0x84], WWW].concat(), true);
        },
        Answer(200),
        None,
    ),
    (
        "7541 5.2",
        "padding of more than 7 bits",
        |c| c.block(&[0x00, 0x01, b'x', 0x82, 0x1f, 0xff]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 5.2",
        "padding that is not the end's beginning",
        |c| c.block(&[0x00, 0x01, b'x', 0x81, 0x18]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 5.2",
        "the end's own code",
        |c| c.block(&[0x00, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
    (
        "7541 6.1",
        "the field of number 0",
        |c| c.block(&[0x80]),
        Close(&[COMPRESSION_ERROR]),
        Some((Close(&[PROTOCOL_ERROR]), NOT_COMPRESSION)),
    ),
];

fn settings_are_exchanged(case: &mut Case<'_>) {
    // `hello` has read the gateway's; ours are acknowledged next.
    assert!(case.client.until(|frame| frame.is(SETTINGS, ACK)).is_some());
}

fn sends_no_more_than_the_window(case: &mut Case<'_>) {
    case.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 3]);
    case.get("/large");
    let stream = case.last;
    let first = case.client.until(|frame| frame.kind == DATA && frame.stream == stream).unwrap();
    assert_eq!(first.payload.len(), 3);
    case.frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 5]);
    let second = case.client.until(|frame| frame.kind == DATA && frame.stream == stream).unwrap();
    assert_eq!(second.payload.len(), 5);
    assert!(case.client.is_alive());
}

fn moves_the_windows_of_open_streams(case: &mut Case<'_>) {
    case.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 3]);
    case.get("/large");
    let stream = case.last;
    assert_eq!(case.client.until(|frame| frame.kind == DATA).unwrap().payload.len(), 3);
    // To 2, which leaves it at -1, and by 3 to 2.
    case.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 2]);
    case.frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 3]);
    assert_eq!(case.client.until(|frame| frame.kind == DATA).unwrap().payload.len(), 2);
    case.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 6]);
    assert_eq!(case.client.until(|frame| frame.kind == DATA).unwrap().payload.len(), 4);
}

/// Whether it comes to what it must; what came instead otherwise.
fn comes_to(must: Must, case: &mut Case<'_>) -> Result<(), String> {
    match must {
        Own => Ok(()),
        Nothing if case.client.is_alive() => Ok(()),
        Nothing => Err("closed".to_owned()),
        Answer(status) => {
            let outcome = case.client.outcome(case.last);
            (outcome.status == status && outcome.ended).then_some(()).ok_or_else(|| format!("{outcome:?}"))
        }
        Close(codes) => {
            let (goaway, closed) = case.client.end_within(Duration::from_secs(5));
            let as_said = goaway.is_some_and(|code| codes.contains(&code)) && closed;
            as_said.then_some(()).ok_or_else(|| format!("goaway {goaway:?}, closed {closed}"))
        }
        Reset(codes) => {
            let outcome = case.client.outcome(case.last);
            let closed = outcome.goaway.is_some_and(|code| code != NO_ERROR && codes.contains(&code));
            let reset = outcome.reset.is_some_and(|code| codes.contains(&code));
            let refused = outcome.status == 400 && outcome.ended && codes == [PROTOCOL_ERROR];
            let goes_on = closed || case.client.is_alive();
            ((closed || reset || refused) && goes_on)
                .then_some(())
                .ok_or_else(|| format!("{outcome:?}, goes on {goes_on}"))
        }
    }
}

fn hold_rows(gateway: &Gateway, connect: impl Fn() -> Http2) {
    let mut wrong = String::new();
    for (section, rule, send, must, instead) in ROWS {
        let try_for = |must: Must| {
            let mut client = connect();
            client.hello(&[]);
            client.patience(Duration::from_secs(5));
            let mut case = Case { client: &mut client, last: 1 };
            send(&mut case);
            comes_to(must, &mut case)
        };
        match (try_for(*must), instead) {
            (Ok(()), None) => {}
            (Ok(()), Some((_, why))) => wrong += &format!("{section} {rule}: holds now; gone is: {why}\n"),
            (Err(said), None) => wrong += &format!("{section} {rule}: must {must:?}, came to {said}\n"),
            (Err(_), Some((known, _))) => {
                if let Err(said) = try_for(*known) {
                    wrong += &format!("{section} {rule}: known to {known:?}, came to {said}\n");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let mut client = connect();
    client.hello(&[]);
    assert_eq!(client.get("/").status, 200, "the gateway is as well as before: {}", gateway.log());
}

struct Scene {
    _origins: Vec<Origin>,
    gateway: Gateway,
}

fn scene(listener: &str, setup: impl Fn(Setup) -> Setup) -> Scene {
    let origins = Origin::several(4);
    origins[1].hang();
    origins[2].delay(Duration::from_millis(300));
    origins[3].bytes(&format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)));
    let [quick, hangs, slow, large] = [0, 1, 2, 3].map(|at| origins[at].address());
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0, {listener} }}]
upstreams:
  quick: {{ endpoints: ['{quick}'] }}
  hangs: {{ endpoints: ['{hangs}'] }}
  narrow: {{ endpoints: [{{ address: '{hangs}', max_connections: 1 }}], queue: {{ size: 10, timeout: 10s }} }}
  slow: {{ endpoints: ['{slow}'] }}
  large: {{ endpoints: ['{large}'] }}
routes:
  - {{ path: /hang, upstream: hangs }}
  - {{ path: /slow, upstream: slow }}
  - {{ path: /large, upstream: large }}
  - {{ path: /unread, upstream: narrow }}
  - upstream: quick
"
    );
    let gateway = setup(Setup::new(&text)).start();
    Scene { _origins: origins, gateway }
}

#[test]
fn every_rule_of_http_2_holds_in_clear_text() {
    let scene = scene("http2: true", |setup| setup);
    let address = scene.gateway.address();
    hold_rows(&scene.gateway, || Http2::silent(address));
}

#[test]
fn every_rule_of_http_2_holds_in_tls() {
    let authority = Authority::new();
    let certified = authority.issue(&["test.example"]);
    let listener = "tls: { certificates: [{ certificate: DIR/tls.crt, key: DIR/tls.key }] }";
    let scene = scene(listener, |setup| setup.file("tls.crt", &certified.certificate).file("tls.key", &certified.key));
    let address = scene.gateway.address();
    let ca = authority.certificate();
    hold_rows(&scene.gateway, || Http2::silent_tls(address, &ca));
}

#[test]
fn a_preface_that_is_none_ends_the_connection() {
    let scene = scene("http2: true", |setup| setup);
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n\r\n"] {
        let mut client = Http2::silent(scene.gateway.address());
        client.write(bytes);
        assert!(client.end_within(Duration::from_secs(5)).1, "{bytes:?}");
    }
    // RFC 9113 section 3.4 wants SETTINGS first; h2 takes any frame, which nothing depends on.
    let mut client = Http2::silent(scene.gateway.address());
    client.write([PREFACE, &frame(PING, 0, 0, b"8 bytes.")].concat());
    assert!(client.until(|frame| frame.kind == PING).is_some());
}
