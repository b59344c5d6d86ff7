//! A path in its one normal form.
//!
//! The form in which a path is matched, judged by plugins and forwarded is the same, so no two of them can see
//! different paths.

use std::borrow::Cow;
use std::fmt;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_matched_in_its_one_normal_form() {
        for (raw, normal) in [
            ("/", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a//b///c//", "/a/b/c/"),
            ("/a//../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/a/.%2e", "/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/..b/.c", "/a/..b/.c"),
            ("/%61%7E%5f%2D", "/a~_-"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2f..%2fb", "/a%2F..%2Fb"),
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b%3f%23", "/a%20b%3F%23"),
            ("/a;v=1,2/b:c@d!$&'()*+", "/a;v=1,2/b:c@d!$&'()*+"),
            ("/x[0]{1}|^`\"<>", "/x%5B0%5D%7B1%7D%7C%5E%60%22%3C%3E"),
        ] {
            assert_eq!(normalise(raw).as_deref(), Ok(normal), "{raw}");
        }
    }

    #[test]
    fn a_path_that_servers_read_differently_is_refused() {
        for (raw, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("http://host/", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/%2e%2e/etc", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("//../b", PathError::AboveRoot),
            ("/a%00", PathError::Nul),
            ("/a%5cb", PathError::Backslash),
            ("/a%5Cb", PathError::Backslash),
            ("/a\\b", PathError::Byte(b'\\')),
            ("/a b", PathError::Byte(b' ')),
            ("/a\tb", PathError::Byte(b'\t')),
            ("/a\r\nb", PathError::Byte(b'\r')),
            ("/a\x7f", PathError::Byte(0x7f)),
            ("/a\0", PathError::Byte(0)),
            ("/a#b", PathError::Byte(b'#')),
            ("/a?b", PathError::Byte(b'?')),
            ("/é", PathError::Byte(0xc3)),
            ("/%", PathError::Escape),
            ("/%2", PathError::Escape),
            ("/%2/", PathError::Escape),
            ("/%zz", PathError::Escape),
            ("/%+1", PathError::Escape),
            ("/%u002e", PathError::Escape),
        ] {
            assert_eq!(normalise(raw), Err(error), "{raw:?}");
        }
    }

    /// Whether a path is normal, said once more from its definition.
    fn looks_normal(path: &str) -> bool {
        let escapes = || path.match_indices('%').map(|(at, _)| path.get(at + 1..at + 3).unwrap_or_default());
        let kept = |digits: &str| {
            u8::from_str_radix(digits, 16).is_ok_and(|byte| !is_unreserved(byte) && byte != 0 && byte != b'\\')
                && digits.to_ascii_uppercase() == digits
        };
        path.starts_with('/')
            && !path.contains("//")
            && path.split('/').all(|segment| segment != "." && segment != "..")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>[]^`{|}\\?#".contains(&byte))
            && escapes().all(kept)
    }

    fn escape_all(path: &str) -> String {
        let escape = |byte: u8| match byte {
            b'/' | b'%' => char::from(byte).to_string(),
            _ if is_unreserved(byte) => format!("%{byte:02x}"),
            _ => char::from(byte).to_string(),
        };
        // The digits of escapes stay as they are: an escaped one would change what they mean.
        let mut text = String::new();
        let mut rest = path.bytes();
        while let Some(byte) = rest.next() {
            text.push_str(&escape(byte));
            if byte == b'%' {
                text.extend(rest.by_ref().take(2).map(char::from));
            }
        }
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn what_comes_out_is_normal_and_stays_as_it_is(raw in "/([a./%;\\[ ]|%[0-9a-fA-F]{2}|%2[eEfF]|/\\.){0,12}") {
            if let Ok(normal) = normalise(&raw) {
                prop_assert!(looks_normal(&normal), "{normal}");
                prop_assert!(matches!(normalise(&normal), Ok(Cow::Borrowed(again)) if again == normal), "{normal}");
            }
        }

        #[test]
        fn a_normal_path_is_not_copied(raw in "/([a./%~]|%[0-9A-F]{2}|\\PC){0,8}") {
            let copied = !matches!(normalise(&raw), Ok(Cow::Borrowed(_)));
            prop_assert_eq!(looks_normal(&raw), !copied);
        }

        #[test]
        fn every_disguise_of_a_path_is_the_same_path(raw in "(/([a~]|%2F|%20){0,3}){1,4}", detour in 0usize..4) {
            let detour = ["/./", "//", "/x/../", "/%2e/.//"][detour];
            let plain = normalise(&raw).unwrap();
            for disguise in [raw.replace('/', detour), escape_all(&raw), raw.replace("%2F", "%2f")] {
                prop_assert!(normalise(&disguise).as_deref() == Ok(&*plain), "{disguise}");
            }
        }
    }
}
