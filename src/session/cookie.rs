//! Cookies as Node's `cookie` package reads them, so that the gateway and the application see the same session: the
//! first cookie of a name counts, over all `Cookie` lines; quotes around a value go; percent escapes are decoded, and a
//! value in which one is broken stays as it is.

use std::borrow::Cow;

use http::header::{COOKIE, HeaderMap};
use memchr::memchr;

/// The values of all cookies of that name, in the order of the request, without quotes and not decoded. The first is the
/// application's.
pub fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(|pair| value(pair, name.as_bytes()))
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line);
        rest = end.map(|end| &line[end + 1..]);
        Some(&line[..end.unwrap_or(line.len())])
    })
}

/// The value of a pair, if it has that name.
pub(super) fn value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after = trim(pair).strip_prefix(name)?;
    // A space may stand before the `=`, and only a space: else the name goes on.
    let value = trim_start(after).strip_prefix(b"=")?;
    Some(unquoted(trim_start(value)))
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    fn sid(line: &str) -> Option<String> {
        let headers = headers(&[line.as_bytes()]);
        values(&headers, "sid").next().map(|value| String::from_utf8(decode(value).into_owned()).unwrap())
    }

    /// Each was given to `cookie` 0.7.2, which express-session reads with.
    #[test]
    fn a_cookie_is_what_node_takes_for_it() {
        for (line, expected) in [
            ("sid=a", Some("a")),
            ("sid=a; sid=b", Some("a")),
            ("sid=; sid=b", Some("")),
            ("sid; sid=b", Some("b")),
            ("sid;=x; sid=b", Some("b")),
            ("x=1;sid=a", Some("a")),
            ("x=1;;; \t sid \t = \t a \t ;y=2", Some("a")),
            ("x=sid=a", None),
            ("xsid=a; sid2=b; sid x=c; SID=d", None),
            ("sid=a=b==", Some("a=b==")),
            ("sid=\"a\"", Some("a")),
            ("sid=\"a b\" ", Some("a b")),
            ("sid=\"a", Some("\"a")),
            ("sid=a\"", Some("a\"")),
            ("sid=\"", Some("")),
            ("sid=\"\"", Some("")),
            ("sid=\"\"a\"\"", Some("\"a\"")),
            ("sid=\"a;b\"; sid=c", Some("\"a")),
            ("sid=%41%2e%2F", Some("A./")),
            ("sid=%C3%A9", Some("\u{e9}")),
            ("sid=%41%", Some("%41%")),
            ("sid=%41%4", Some("%41%4")),
            ("sid=%41%zz", Some("%41%zz")),
            ("sid=%41%+1", Some("%41%+1")),
            ("sid=%41%C3", Some("%41%C3")),
            ("sid=%41%ff", Some("%41%ff")),
            ("sid=%2541", Some("%41")),
            ("sid=a+b", Some("a+b")),
            ("sid", None),
            ("=", None),
            ("", None),
        ] {
            assert_eq!(sid(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn the_first_of_several_lines_counts() {
        let first = |lines: &[&[u8]]| values(&headers(lines), "sid").next().map(<[u8]>::to_owned);
        assert_eq!(first(&[b"x=1", b"sid=a", b"sid=b"]), Some(b"a".to_vec()));
        assert_eq!(first(&[b"sid=\xff\xfe"]), Some(b"\xff\xfe".to_vec()));
        assert_eq!(first(&[]), None);
    }

    #[test]
    fn all_of_a_name_are_found_in_their_order() {
        let headers = headers(&[b"x=1; sid=a; y=2;sid=b ;  sid=", b"SID=c; sidx=d", b"sid=\"e\";sid=\xff"]);
        let found: Vec<_> = values(&headers, "sid").collect();
        assert_eq!(found, [&b"a"[..], b"b", b"", b"e", b"\xff"]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&line);
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let _ = values(&HeaderMap::from_iter([(COOKIE, value)]), "sid").count();
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(decode(encoded.as_bytes()), text.as_bytes());
        }
    }
}
