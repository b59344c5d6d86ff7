//! Cookies as Node's `cookie` package reads them, so that the gateway and the application see the same session: the
//! first cookie of a name counts, over all `Cookie` lines; quotes around a value go; percent escapes are decoded, and a
//! value in which one is broken stays as it is.

use std::borrow::Cow;

use http::header::{COOKIE, HeaderMap};
use memchr::memchr;

/// The value of the first cookie of that name, without quotes and not decoded.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(COOKIE).iter().find_map(|line| find(line.as_bytes(), name.as_bytes()))
}

fn find<'a>(mut line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    loop {
        let (pair, rest) = match memchr(b';', line) {
            Some(end) => (&line[..end], Some(&line[end + 1..])),
            None => (line, None),
        };
        let pair = trim(pair);
        // Only a name followed by the pair's first `=` is the name, or something in front of a space and a `=`.
        if let Some(after) = pair.strip_prefix(name)
            && let Some(value) = trim_start(after).strip_prefix(b"=")
        {
            return Some(unquoted(trim_start(value)));
        }
        line = rest?;
    }
}

/// Space and tab, and nothing else that others call white.
fn trim(text: &[u8]) -> &[u8] {
    let mut text = trim_start(text);
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        [b'"'] => b"",
        _ => value,
    }
}

/// What `decodeURIComponent` makes of a value, or the value itself where that refuses it.
pub(super) fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', value).is_none() {
        return Cow::Borrowed(value);
    }
    match try_decode(value) {
        Some(decoded) if std::str::from_utf8(&decoded).is_ok() => Cow::Owned(decoded),
        _ => Cow::Borrowed(value),
    }
}

fn try_decode(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some(percent) = memchr(b'%', rest) {
        decoded.extend_from_slice(&rest[..percent]);
        let [high, low] = rest.get(percent + 1..percent + 3)? else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        decoded.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        rest = &rest[percent + 3..];
    }
    decoded.extend_from_slice(rest);
    Some(decoded)
}
