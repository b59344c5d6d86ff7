//! `Frames`: the frames of one direction of an HTTP/2 connection, found in passing: their heads are read, nothing is kept.

/// What a client says first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;

/// The error code of a RST_STREAM frame, all of its payload.
const CODE: usize = 4;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What one frame is, as far as its weight goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Of its payload, in bytes.
    pub(super) length: usize,
    flags: u8,
    /// Of a RST_STREAM frame.
    pub(super) code: u32,
}

/// RFC 9113 section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// One of an extension, which everybody may send and nobody need understand.
    Unknown,
}

/// Where in the bytes of one direction we are.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD + CODE],
    /// How much of `head` is there.
    have: usize,
    /// How many bytes of payload, or of the preface, are still to come.
    skip: usize,
    block: Block,
    /// Header blocks that are whole.
    blocks: u64,
}

/// Where in a header block we are: one HEADERS frame and its CONTINUATION frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Outside,
    Open,
    /// In its last frame.
    Last,
}

// === impl Frame ===

impl Frame {
    fn of(head: &[u8; HEAD + CODE]) -> Self {
        let [a, b, c, kind, flags, _, _, _, _, code @ ..] = *head;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            10.. => Kind::Unknown,
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Frame { kind, length, flags, code: u32::from_be_bytes(code) }
    }

    /// Whether it ends its sender's side of a stream.
    pub(super) fn ends_stream(self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags & END_STREAM != 0
    }

    /// Whether it ends a header block.
    pub(super) fn ends_block(self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::PushPromise | Kind::Continuation) && self.flags & END_HEADERS != 0
    }

    /// Whether it only says that a SETTINGS or PING frame was seen.
    pub(super) fn acknowledges(self) -> bool {
        matches!(self.kind, Kind::Settings | Kind::Ping) && self.flags & ACK != 0
    }

    #[cfg(test)]
    pub(super) const fn new(kind: Kind, flags: u8, length: usize, code: u32) -> Self {
        Frame { kind, length, flags, code }
    }
}

// === impl Frames ===

impl Frames {
    /// Those that come from a client, after its preface.
    pub(super) fn of_client() -> Self {
        Frames { skip: PREFACE.len(), ..Self::of_server() }
    }

    /// Those that go to a client.
    pub(super) fn of_server() -> Self {
        Frames { head: [0; HEAD + CODE], have: 0, skip: 0, block: Block::Outside, blocks: 0 }
    }

    /// Tells of each frame whose head is complete with `bytes`, which continue those given before.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip == 0 && self.block == Block::Last && self.have == 0 {
                self.block = Block::Outside;
                self.blocks += 1;
            }
            if bytes.is_empty() {
                return;
            }
            let taken = (self.needed() - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            let needed = self.needed();
            if self.have < needed {
                continue;
            }
            let frame = Frame::of(&self.head);
            self.have = 0;
            self.skip = frame.length.saturating_sub(needed - HEAD);
            if matches!(frame.kind, Kind::Headers | Kind::PushPromise | Kind::Continuation) {
                self.block = if frame.ends_block() { Block::Last } else { Block::Open };
            }
            each(frame);
        }
    }

    /// How many header blocks are whole, and whether another has begun.
    pub(super) fn header_blocks(&self) -> (u64, bool) {
        (self.blocks, self.block != Block::Outside)
    }

    fn needed(&self) -> usize {
        let with_code = self.have >= HEAD && {
            let frame = Frame::of(&self.head);
            frame.kind == Kind::Reset && frame.length == CODE
        };
        if with_code { HEAD + CODE } else { HEAD }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn frames_are_found_however_their_bytes_are_cut() {
        let all = [
            PREFACE.to_vec(),
            frame(4, 0, &[0; 6]),
            frame(1, 0x1, b"abc"),
            frame(9, 0x4, b""),
            frame(3, 0, &[0, 0, 0, 8]),
            frame(0, 0, b""),
            frame(0x2a, 0, &[7; 40]),
        ]
        .concat();
        let expected = [
            Frame::new(Kind::Settings, 0, 6, 0),
            Frame::new(Kind::Headers, 0x1, 3, 0),
            Frame::new(Kind::Continuation, 0x4, 0, 0),
            Frame::new(Kind::Reset, 0, 4, 8),
            Frame::new(Kind::Data, 0, 0, 0),
            Frame::new(Kind::Unknown, 0, 40, 0),
        ];
        for size in 1..=all.len() {
            let (mut frames, mut found) = (Frames::of_client(), Vec::new());
            for piece in all.chunks(size) {
                frames.read(piece, |frame| {
                    found.push(Frame { code: if frame.kind == Kind::Reset { frame.code } else { 0 }, ..frame })
                });
            }
            assert_eq!(found, expected, "in pieces of {size}");
            assert_eq!(frames.header_blocks(), (1, false), "in pieces of {size}");
        }
    }

    #[test]
    fn a_header_block_lasts_to_the_last_byte_of_its_last_frame() {
        let mut frames = Frames::of_server();
        let bytes = [frame(1, 0, b"abc"), frame(9, 0, b""), frame(9, 0x4, b"xy")].concat();
        for (at, byte) in bytes.iter().enumerate() {
            frames.read(&[*byte], |_| {});
            let begun = at + 1 >= HEAD;
            let whole = at + 1 == bytes.len();
            assert_eq!(frames.header_blocks(), (u64::from(whole), begun && !whole), "after {} bytes", at + 1);
        }
    }

    #[test]
    fn a_reset_of_the_wrong_length_is_passed_over_like_any_frame() {
        let (mut frames, mut found) = (Frames::of_server(), 0);
        let bytes = [frame(3, 0, b""), frame(3, 0, &[0; 5]), frame(6, 0, &[0; 8])].concat();
        frames.read(&bytes, |_| found += 1);
        assert_eq!(found, 3);
    }
}
