//! `Chunked`: a chunked body of HTTP/1, byte by byte (RFC 9112 section 7.1).
//!
//! Pingora decodes the body and drops its extensions and trailers unread. This only judges them, and finds where the body
//! ends, so that what follows it is left for the next request.

use super::Violation;
use super::head::{header_line, is_token, is_value};

/// A size of 16 digits fills 64 bits; some parsers ignore what is more.
const SIZE_DIGITS: u8 = 16;

/// What one chunk's extensions may take. Nobody is known to send any.
const EXTENSION_BYTES: usize = 256;

/// What all extensions of a body may take: many small ones would cost more to read than what they frame.
const ALL_EXTENSIONS_BYTES: usize = 16 << 10;

/// What all trailers may take.
const TRAILER_BYTES: usize = 8 << 10;

/// A chunked body, as far as it has been read.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// The extensions of the present chunk, or the present trailer.
    line: Vec<u8>,
    /// The bytes of all extensions so far.
    extensions: usize,
    /// The bytes of all trailers so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In a chunk's size, of which there are so many digits.
    #[default]
    Start,
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// In a trailer, or before the first.
    Trailer,
    TrailerLf,
    Done,
}

// === impl Chunked ===

impl Chunked {
    /// Takes the bytes that follow those given before. Returns how many of them belong to the body where it ends among them.
    ///
    /// # Errors
    /// The body is not framed as the RFC has it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let State::Data { left } = self.state {
                let rest = bytes.len() - at;
                let skipped = usize::try_from(left).map_or(rest, |left| left.min(rest));
                at += skipped;
                let left = left - skipped as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            self.state = self.next(byte)?;
            at += 1;
            if self.state == State::Done {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whether the whole body has been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn next(&mut self, byte: u8) -> Result<State, Violation> {
        let expect = |wanted: u8, next: State| if byte == wanted { Ok(next) } else { Err(Violation::Chunk) };
        match self.state {
            State::Start => Self::digit(byte, 0, 0),
            State::Size { size, .. } if byte == b'\r' => Ok(State::SizeLf { size }),
            State::Size { size, .. } if matches!(byte, b';' | b' ' | b'\t') => {
                self.line.clear();
                self.line.push(byte);
                Ok(State::Extension { size })
            }
            State::Size { digits, size } => Self::digit(byte, digits, size),
            State::Extension { size } if byte == b'\r' => {
                self.extensions += self.line.len();
                let valid = are_extensions(&self.line) && self.extensions <= ALL_EXTENSIONS_BYTES;
                if valid { Ok(State::SizeLf { size }) } else { Err(Violation::Chunk) }
            }
            State::Extension { size } => {
                if !is_value(byte) || self.line.len() == EXTENSION_BYTES {
                    return Err(Violation::Chunk);
                }
                self.line.push(byte);
                Ok(State::Extension { size })
            }
            State::SizeLf { size: 0 } => {
                self.line.clear();
                expect(b'\n', State::Trailer)
            }
            State::SizeLf { size } => expect(b'\n', State::Data { left: size }),
            State::DataCr => expect(b'\r', State::DataLf),
            State::DataLf => expect(b'\n', State::Start),
            State::Trailer if byte == b'\r' => Ok(State::TrailerLf),
            State::Trailer => {
                self.trailers += 1;
                if byte == b'\n' || self.trailers > TRAILER_BYTES {
                    return Err(Violation::Trailer);
                }
                self.line.push(byte);
                Ok(State::Trailer)
            }
            State::TrailerLf if byte != b'\n' => Err(Violation::Trailer),
            State::TrailerLf if self.line.is_empty() => Ok(State::Done),
            State::TrailerLf => {
                let (name, _) = header_line(&self.line).map_err(|_| Violation::Trailer)?;
                if is_forbidden(name) {
                    return Err(Violation::Trailer);
                }
                self.line.clear();
                Ok(State::Trailer)
            }
            // Not reached: `take` steps over data and stops at the end.
            state @ (State::Data { .. } | State::Done) => Ok(state),
        }
    }

    fn digit(byte: u8, digits: u8, size: u64) -> Result<State, Violation> {
        let digit = char::from(byte).to_digit(16).ok_or(Violation::Chunk)?;
        if digits == SIZE_DIGITS {
            return Err(Violation::Chunk);
        }
        Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn are_extensions(mut rest: &[u8]) -> bool {
    loop {
        rest = rest.trim_ascii_start();
        let Some(after) = rest.strip_prefix(b";") else { return false };
        let Some(after) = token(after.trim_ascii_start()) else { return false };
        rest = after;
        if let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") {
            let value = value.trim_ascii_start();
            let after = if value.starts_with(b"\"") { quoted(&value[1..]) } else { token(value) };
            let Some(after) = after else { return false };
            rest = after;
        }
        if rest.is_empty() {
            return true;
        }
    }
}

/// What follows a token.
fn token(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| !is_token(byte)).unwrap_or(bytes.len());
    (end > 0).then(|| &bytes[end..])
}

/// What follows a quoted string whose first quote has been read.
fn quoted(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        bytes = match bytes {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}

/// Fields that must not come after the body that they would frame, route or admit (RFC 9110 section 6.5.1).
fn is_forbidden(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    let claims = name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded"));
    claims || NAMES.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &[u8]) -> Result<Option<usize>, Violation> {
        Chunked::default().take(body)
    }

    #[test]
    fn a_body_ends_at_its_end_however_it_is_cut() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n00\r\n\r\n",
            "3;a\r\nabc\r\n2 ; b=c ;d=\"e\\\"; f\"\r\n\r\n\r\n0;x\r\n\r\n",
            "1\r\n\r\r\n0\r\nChecksum: 1\r\nX: a b\r\n\r\n",
        ] {
            let sent = format!("{body}GET /next HTTP/1.1\r\n\r\n");
            assert_eq!(all(sent.as_bytes()), Ok(Some(body.len())), "{body:?}");
            for cut in 0..body.len() {
                let mut chunked = Chunked::default();
                assert_eq!(chunked.take(&sent.as_bytes()[..cut]), Ok(None), "{body:?} cut at {cut}");
                assert!(!chunked.is_done());
                assert_eq!(chunked.take(&sent.as_bytes()[cut..]), Ok(Some(body.len() - cut)), "{body:?} cut at {cut}");
                assert!(chunked.is_done());
            }
        }
    }

    #[test]
    fn a_chunk_that_two_could_read_differently_is_refused() {
        let long = format!("1;{}\r\n", "a".repeat(EXTENSION_BYTES));
        for body in [
            "\r\n0\r\n\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhellos\r\n",
            "5 \r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            "g\r\n",
            "00000000000000001\r\n",
            "5;\r\nhello\r\n",
            "5;=a\r\nhello\r\n",
            "5;a=\r\nhello\r\n",
            "5;a b\r\nhello\r\n",
            "5;a=\"b\r\nhello\r\n",
            "5;a\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "5;a\0\r\nhello\r\n",
            "5\r\r\nhello\r\n",
            "5\rhello",
            long.as_str(),
        ] {
            assert_eq!(all(body.as_bytes()), Err(Violation::Chunk), "{body:?}");
        }
    }

    #[test]
    fn a_trailer_that_is_no_header_or_would_change_the_request_is_refused() {
        let long = format!("0\r\nA: {}\r\n", "a".repeat(TRAILER_BYTES));
        for body in [
            "0\r\nA\r\n\r\n",
            "0\r\nA : 1\r\n\r\n",
            "0\r\n A: 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nA: 1\n\r\n",
            "0\r\nA: \0\r\n\r\n",
            "0\r\n\n",
            "0\r\n\rX",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\ntransfer-encoding: chunked\r\n\r\n",
            "0\r\nHost: b\r\n\r\n",
            "0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
            "0\r\nA: GET / HTTP/1.1\r\nGET / HTTP/1.1\r\n\r\n",
            long.as_str(),
        ] {
            assert_eq!(all(body.as_bytes()), Err(Violation::Trailer), "{body:?}");
        }
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_body() {
        let chunk = format!("1;{}\r\nx\r\n", "a".repeat(250));
        let body = chunk.repeat(ALL_EXTENSIONS_BYTES / 251 + 2);
        assert_eq!(all(body.as_bytes()), Err(Violation::Chunk));
        assert_eq!(all(&chunk.as_bytes().repeat(10)), Ok(None));
    }
}
