//! Where in a request a session's id stands.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::cookie;

/// Where in a request a session's id stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the cookie of this name.
    Cookie(Box<str>),
    /// In this header.
    Header(HeaderName),
    /// In `Authorization: Bearer ..`.
    Bearer,
}

/// What stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// Nothing.
    Nothing,
    /// More than one value, of which others may believe another one than we do.
    Ambiguous,
    /// A value; a cookie's without quotes, but not decoded.
    Value(&'a [u8]),
}

// === impl Place ===

impl Place {
    /// What stands there in these headers.
    pub(super) fn read<'a>(&self, headers: &'a HeaderMap) -> Read<'a> {
        match self {
            // Node's applications believe the first cookie of a name, so that one is the session.
            Self::Cookie(name) => cookie::values(headers, name).next().map_or(Read::Nothing, Read::of),
            Self::Header(name) => only(headers, name),
            Self::Bearer => match only(headers, &AUTHORIZATION) {
                Read::Value(value) => bearer(value).map_or(Read::Nothing, Read::of),
                none => none,
            },
        }
    }
}

// === impl Read ===

impl<'a> Read<'a> {
    fn of(value: &'a [u8]) -> Self {
        if value.is_empty() { Self::Nothing } else { Self::Value(value) }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Read<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Read::Nothing,
        (Some(value), None) => Read::of(value.as_bytes().trim_ascii()),
        (Some(_), Some(_)) => Read::Ambiguous,
    }
}

/// The token after `Bearer`, a word in any case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let apart = token.is_empty() || token.starts_with(b" ");
    (scheme.eq_ignore_ascii_case(b"bearer") && apart).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(place: &Place, lines: &[(&str, &[u8])]) -> Option<Vec<u8>> {
        let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap()));
        let headers: HeaderMap = lines.collect();
        match place.read(&headers) {
            Read::Nothing => None,
            Read::Ambiguous => Some(b"ambiguous".to_vec()),
            Read::Value(value) => Some(value.to_vec()),
        }
    }

    #[test]
    fn a_bearer_is_what_stands_after_the_word() {
        for (line, expected) in [
            (&b"Bearer abc"[..], Some("abc")),
            (b"bearer  abc ", Some("abc")),
            (b"BEARER abc def", Some("abc def")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Bearerabc", None),
            (b"Basic abc", None),
            (b"", None),
        ] {
            let expected = expected.map(|token| token.as_bytes().to_vec());
            assert_eq!(read(&Place::Bearer, &[("authorization", line)]), expected, "{line:?}");
        }
        assert_eq!(read(&Place::Bearer, &[]), None);
    }

    #[test]
    fn a_header_that_stands_there_twice_is_believed_by_nobody() {
        let ambiguous = Some(b"ambiguous".to_vec());
        let header = Place::Header(HeaderName::from_static("x-session"));
        assert_eq!(read(&header, &[("x-session", b" abc ")]), Some(b"abc".to_vec()));
        assert_eq!(read(&header, &[("x-session", b"")]), None);
        assert_eq!(read(&header, &[("x-session", b"a"), ("x-session", b"a")]), ambiguous);
        assert_eq!(read(&Place::Bearer, &[("authorization", b"Basic x"), ("authorization", b"Bearer a")]), ambiguous);
        assert_eq!(
            read(&Place::Cookie("sid".into()), &[("cookie", b"sid=a"), ("cookie", b"sid=b")]),
            Some(b"a".to_vec())
        );
        assert_eq!(read(&Place::Cookie("sid".into()), &[("cookie", b"sid=")]), None);
    }

    proptest! {
        #[test]
        fn no_value_panics(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = Place::Bearer.read(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
            }
        }
    }
}
