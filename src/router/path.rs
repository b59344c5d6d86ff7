//! A path in its one normal form, and the patterns that match it.
//!
//! The form in which a path is matched, judged by plugins and forwarded is the same, so no two of them can see
//! different paths.

use std::borrow::Cow;
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::pattern::PatternError;

/// What one regex may cost in memory, compiled; also the bound of its cache, one a thread. Real path patterns need a
/// few KiB, a counted repetition of a counted repetition (`(a{99}){99}`) a hundred times as much.
const REGEX_SIZE: usize = 1 << 20;

/// Why a request's path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with `/`. (`OPTIONS *` has no path: decide it before.)
    NotAbsolute,
    /// A raw byte that may not stand in a path: a control, a space, a backslash, `?`, `#` or one outside ASCII.
    Byte(u8),
    /// A `%` without two hexadecimal digits.
    Escape,
    /// `%00`, which ends a string for some applications.
    Nul,
    /// `%5C`, which is a separator for some applications.
    Backslash,
    /// More `..` than segments before them.
    AboveRoot,
}

/// The paths that a route is for. Made by its constructors, so that what it holds is in normal form.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum PathPattern {
    /// Every path.
    #[default]
    Any,
    /// This path and no other: `/a` is not `/a/`.
    Exact(Box<str>),
    /// This path and all below it, by whole segments; without a slash at the end, so empty for `/`.
    Prefix(Box<str>),
    /// The paths that match from end to end.
    Regex(PathRegex),
}

/// A regex over whole paths.
#[derive(Debug, Clone)]
pub struct PathRegex {
    written: Box<str>,
    pub(super) anchored: Regex,
}

/// The one form in which a path is matched and forwarded, given it without its query.
///
/// - escapes of letters, digits and `-._~` are decoded, all others kept with upper-case digits: `%2F` is never a
///   separator, `%252e` is decoded no further;
/// - characters that RFC 3986 keeps out of a path though clients send them (``"<>[]^`{|}``) are escaped;
/// - empty segments are dropped, then `.` and `..` resolved; a slash at the end stays, and one is left by `.` or `..`.
///
/// A path in normal form comes back as it is, without allocation. Doing it twice changes nothing.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if is_normal(raw.as_bytes()) { Ok(Cow::Borrowed(raw)) } else { rebuild(raw).map(Cow::Owned) }
}

fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'/', [b'/', ..] | [b'.'] | [b'.', b'.'] | [b'.', b'/', ..] | [b'.', b'.', b'/', ..]) => return false,
            (b'%', [high, low, after @ ..]) if is_kept(*high, *low) => after,
            _ if PLAIN[byte as usize] || byte == b'/' => tail,
            _ => return false,
        };
    }
    true
}

/// Whether an escape is already what normalising would make of it.
fn is_kept(high: u8, low: u8) -> bool {
    let upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    upper && escaped(high, low).is_some_and(|byte| !is_unreserved(byte) && byte != 0 && byte != b'\\')
}

fn rebuild(raw: &str) -> Result<String, PathError> {
    let mut segments = raw.strip_prefix('/').ok_or(PathError::NotAbsolute)?.split('/').peekable();
    let mut normal = String::with_capacity(raw.len());
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() && !last {
            continue;
        }
        let start = normal.len();
        normal.push('/');
        push_segment(&mut normal, segment.as_bytes())?;
        match &normal[start + 1..] {
            "." => normal.truncate(start),
            ".." => {
                normal.truncate(start);
                normal.truncate(normal.rfind('/').ok_or(PathError::AboveRoot)?);
            }
            _ => continue,
        }
        if last {
            normal.push('/');
        }
    }
    Ok(normal)
}

fn push_segment(normal: &mut String, mut rest: &[u8]) -> Result<(), PathError> {
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = tail else { return Err(PathError::Escape) };
                match escaped(*high, *low).ok_or(PathError::Escape)? {
                    0 => return Err(PathError::Nul),
                    b'\\' => return Err(PathError::Backslash),
                    byte if is_unreserved(byte) => normal.push(char::from(byte)),
                    byte => push_escape(normal, byte),
                }
                rest = after;
            }
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => push_escape(normal, byte),
            _ if PLAIN[byte as usize] => normal.push(char::from(byte)),
            _ => return Err(PathError::Byte(byte)),
        }
    }
    Ok(())
}

fn push_escape(normal: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    normal.push(char::from(DIGITS[usize::from(byte >> 4)]));
    normal.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The bytes that stand for themselves in a segment (RFC 3986, `pchar`). A table, for every byte of every request's
/// path is looked up in it.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        plain[byte as usize] = is_unreserved(byte)
            || matches!(
                byte,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
            );
        byte += 1;
    }
    plain
};

/// The segments of a path; none for an empty one, an empty last one for a slash at the end.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').into_iter().flat_map(|inner| inner.split('/'))
}

// === impl PathError ===

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::NotAbsolute => f.write_str("the path does not begin with `/`"),
            PathError::Byte(byte) => write!(f, "the path has {:?} in it", char::from(*byte)),
            PathError::Escape => f.write_str("the path has a `%` without two hexadecimal digits"),
            PathError::Nul => f.write_str("the path has `%00` in it"),
            PathError::Backslash => f.write_str("the path has `%5C` in it"),
            PathError::AboveRoot => f.write_str("the path climbs above its root"),
        }
    }
}

impl std::error::Error for PathError {}

// === impl PathPattern ===

impl PathPattern {
    /// A `path` of the file: this path and no other.
    pub fn exact(written: &str) -> Result<PathPattern, PatternError> {
        check_literal(written)?;
        Ok(PathPattern::Exact(written.into()))
    }

    /// A `path_prefix` of the file: `/api` and `/api/` both match `/api`, `/api/` and `/api/x`, never `/apix`.
    pub fn prefix(written: &str) -> Result<PathPattern, PatternError> {
        if let Some(base) = written.strip_suffix('*') {
            let base = if base.is_empty() { "/" } else { base };
            let hint = format!("write {base}; a prefix matches all below it by itself");
            return Err(PatternError::new(format!("`{written}` ends in a `*`"), hint));
        }
        check_literal(written)?;
        Ok(PathPattern::Prefix(written.strip_suffix('/').unwrap_or(written).into()))
    }

    /// A `path_regex` of the file: matches the whole normal path, from end to end, byte by byte.
    pub fn regex(written: &str) -> Result<PathPattern, PatternError> {
        if !written.is_ascii() {
            let hint = "a path is matched with its escapes: write %C3%A9 for é";
            return Err(PatternError::new(format!("`{written}` has characters outside ASCII"), hint));
        }
        check_start(written)?;
        // Compiled as written first: an anchored group around `a)|(b` would be a different regex, and the places in
        // messages are those of the file.
        compile(written)?;
        let anchored = compile(&format!(r"\A(?:{written})\z"))?;
        Ok(PathPattern::Regex(PathRegex { written: written.into(), anchored }))
    }
}

fn check_literal(written: &str) -> Result<(), PatternError> {
    let wrong = |message: &str, hint: String| Err(PatternError::new(format!("`{written}` {message}"), hint));
    if !written.starts_with('/') {
        return wrong("does not begin with `/`", format!("write /{written}"));
    }
    if let Some((path, _)) = written.split_once('?') {
        return wrong("has a query in it", format!("write {path} here and the parameters into `query`"));
    }
    match normalise(written) {
        Ok(Cow::Borrowed(_)) => Ok(()),
        Ok(Cow::Owned(normal)) => {
            wrong("can match no request: paths are matched in their normal form", format!("write {normal}"))
        }
        Err(PathError::Byte(byte)) if byte == b' ' || !byte.is_ascii() => {
            let escape = |byte: u8| {
                if byte == b' ' || !byte.is_ascii() { format!("%{byte:02X}") } else { char::from(byte).into() }
            };
            let escaped: String = written.bytes().map(escape).collect();
            wrong("has a space or a character outside ASCII in it", format!("write it as clients send it: {escaped}"))
        }
        Err(error) => wrong(&format!("is not a path: {error}"), "requests with such a path are refused".into()),
    }
}

/// Catches what other servers' habits leave out: a regex here matches the whole path, and that begins with `/`.
fn check_start(written: &str) -> Result<(), PatternError> {
    let literal = written.strip_prefix('^').unwrap_or(written);
    let dot = literal.strip_prefix(r"\.");
    let start = dot.or_else(|| literal.strip_prefix(|c: char| c.is_ascii_alphanumeric() || "-_~%".contains(c)));
    if start.is_some_and(|rest| !rest.starts_with(['?', '*', '{'])) {
        let hint = format!("it must match the whole path, which begins with `/`: write .*{literal} or /{literal}");
        return Err(PatternError::new(format!("`{written}` can match no path"), hint));
    }
    Ok(())
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    // Without Unicode: paths are ASCII, and `\w` and `(?i)` of Unicode are a hundred times the size.
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::new(
            format!("the regex needs more than {} KiB", REGEX_SIZE / 1024),
            "write fewer or smaller counted repetitions, such as + for {1,1000}",
        ),
        // The message spans lines and draws its own arrow under the pattern.
        error => PatternError::new(format!("not a regex: {error}"), "https://docs.rs/regex/latest/regex/#syntax"),
    })
}

// === impl PathRegex ===

impl PathRegex {
    /// What every match begins with, up to a whole segment: enough to tell the prefixes that go before. May be shorter
    /// than the truth.
    pub(super) fn literal_prefix(&self) -> &str {
        // Alternatives would each begin differently.
        if self.written.contains('|') {
            return "";
        }
        let pattern = self.written.strip_prefix('^').unwrap_or(&self.written);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_~%".contains(c);
        let (literal, rest) = pattern.split_at(pattern.find(|c| !plain(c)).unwrap_or(pattern.len()));
        if matches!(rest, "" | "$") {
            return literal;
        }
        // The last character may be absent under these, the slash of `/api/?x` too.
        let sure = if rest.starts_with(['?', '*', '{']) { literal.len().saturating_sub(1) } else { literal.len() };
        // Only what a slash closed is a whole segment.
        &literal[..literal[..sure].rfind('/').unwrap_or(0)]
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &PathRegex) -> bool {
        self.written == other.written
    }
}
