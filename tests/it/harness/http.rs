//! HTTP/1.1 messages as bytes: just enough to read and write them exactly, with nothing repaired or hidden.

use std::io::{self, BufRead, Read};

/// A start line and its headers, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub line: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line; `None` when the peer closed before the first byte.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line)? == 0 {
                return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if !line.ends_with(b"\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut lines = lines.into_iter();
        let line = lines.next().unwrap_or_default();
        let headers = lines.map(|line| match line.split_once(':') {
            Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
            None => (line, String::new()),
        });
        Ok(Some(Head { line, headers: headers.collect() }))
    }

    /// The value of the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of all headers of this name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// True when the header holds this token, whatever the case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.headers(name).iter().flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// The length that the headers announce; `otherwise` is the rule for a message that announces none.
    pub(crate) fn framing(&self, otherwise: Framing) -> Framing {
        if self.has_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        match self.header("content-length").map(str::parse) {
            Some(Ok(length)) => Framing::Length(length),
            Some(Err(_)) | None => otherwise,
        }
    }
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A body as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub bytes: Vec<u8>,
    /// The size of each chunk, the last empty one left out; empty for a body that was not chunked.
    pub chunks: Vec<usize>,
    pub trailers: Vec<(String, String)>,
}

impl Body {
    pub(crate) fn read(from: &mut impl BufRead, framing: Framing) -> io::Result<Body> {
        let mut body = Body::default();
        match framing {
            Framing::Length(length) => {
                let read = from.take(length).read_to_end(&mut body.bytes)?;
                if (read as u64) < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Framing::UntilClose => {
                from.read_to_end(&mut body.bytes)?;
            }
            Framing::Chunked => {
                while let Some(chunk) = read_chunk(from)? {
                    body.chunks.push(chunk.len());
                    body.bytes.extend(chunk);
                }
                // A head without a start line is what trailers are; the fake line keeps one reader for both.
                body.trailers = Head::read(&mut (&b"trailers\r\n"[..]).chain(from))?.unwrap_or_default().headers;
            }
        }
        Ok(body)
    }
}

/// One chunk; `None` is the last, empty one, whose trailers are still to be read.
pub(crate) fn read_chunk(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::other(format!("no chunk size: {line:?}")))?;
    if size == 0 {
        return Ok(None);
    }
    let mut chunk = vec![0; size + 2];
    from.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok(Some(chunk))
}
