//! What an answer's `Set-Cookie` says of one cookie, as a browser takes it (RFC 6265 section 5).

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, SET_COOKIE};
use jiff::{civil::DateTime, tz::TimeZone};

use super::cookie;

/// What became of the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issue<'a> {
    /// It has this value now, without quotes and not decoded.
    Set {
        /// Never empty.
        value: &'a [u8],
        /// How long the client keeps it; none: as long as it runs.
        max_age: Option<Duration>,
    },
    /// The client forgets it.
    Deleted,
}

/// What the last `Set-Cookie` of that name says: that is the one that stays.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str, now: SystemTime) -> Option<Issue<'a>> {
    let lines = headers.get_all(SET_COOKIE).iter();
    lines.filter_map(|line| issue(line.as_bytes(), name.as_bytes(), now)).next_back()
}

fn issue<'a>(line: &'a [u8], name: &[u8], now: SystemTime) -> Option<Issue<'a>> {
    let mut parts = line.split(|byte| *byte == b';');
    let value = cookie::value(parts.next()?, name)?;
    let (mut max_age, mut expires) = (None, None);
    for part in parts {
        let (key, text) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (part[..at].trim_ascii(), part[at + 1..].trim_ascii()),
            None => continue,
        };
        if key.eq_ignore_ascii_case(b"max-age") {
            max_age = seconds(text).or(max_age);
        } else if key.eq_ignore_ascii_case(b"expires") {
            expires = date(text).or(expires);
        }
    }
    let left = match (max_age, expires) {
        (Some(left), _) => Some(left),
        (None, Some(at)) => Some(at.duration_since(now).unwrap_or_default()),
        (None, None) => None,
    };
    if value.is_empty() || left.is_some_and(|left| left.is_zero()) {
        return Some(Issue::Deleted);
    }
    Some(Issue::Set { value, max_age: left })
}

/// `Max-Age`: zero and less end the cookie.
fn seconds(text: &[u8]) -> Option<Duration> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More seconds than a number holds are as good as for ever.
    let seconds = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::from(u32::MAX));
    Some(if negative { Duration::ZERO } else { Duration::from_secs(seconds.min(u32::MAX.into())) })
}

/// `Expires`, as browsers find a date in nearly anything (RFC 6265 section 5.1.1).
fn date(text: &[u8]) -> Option<SystemTime> {
    const MONTHS: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let separates = |byte: &u8| !(byte.is_ascii_alphanumeric() || *byte == b':' || *byte >= 0x80);
    for token in text.split(separates).filter(|token| !token.is_empty()) {
        if let Some(found) = clock(token).filter(|_| time.is_none()) {
            time = Some(found);
        } else if let Some(found) = number(token, 1..=2).filter(|_| day.is_none()) {
            day = Some(found);
        } else if let Some(found) = named(token, &MONTHS).filter(|_| month.is_none()) {
            month = Some(found);
        } else if let Some(found) = number(token, 2..=4).filter(|_| year.is_none()) {
            year = Some(match found {
                70..=99 => found + 1900,
                0..=69 => found + 2000,
                _ => found,
            });
        }
    }
    let ((hour, minute, second), year) = (time?, year.filter(|year| *year >= 1601)?);
    let at = DateTime::new(year, month?, i8::try_from(day?).ok()?, hour, minute, second, 0).ok()?;
    let seconds = TimeZone::UTC.to_timestamp(at).ok()?.as_second();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn named(token: &[u8], months: &[&[u8; 3]]) -> Option<i8> {
    let start = token.get(..3)?;
    let at = months.iter().position(|month| start.eq_ignore_ascii_case(*month))?;
    i8::try_from(at + 1).ok()
}

/// A number of so many digits, whatever else follows that is no digit.
fn number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<i16> {
    let count = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !digits.contains(&count) {
        return None;
    }
    std::str::from_utf8(&token[..count]).ok()?.parse().ok()
}

fn clock(token: &[u8]) -> Option<(i8, i8, i8)> {
    let mut parts = token.splitn(3, |byte| *byte == b':');
    let mut next = || i8::try_from(number(parts.next()?, 1..=2)?).ok();
    Some((next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (SET_COOKIE, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    fn one(line: &str) -> Option<(String, Option<u64>)> {
        match read(&headers(&[line.as_bytes()]), "sid", at(1_795_457_079))? {
            Issue::Set { value, max_age } => {
                Some((String::from_utf8(value.to_vec()).unwrap(), max_age.map(|age| age.as_secs())))
            }
            Issue::Deleted => Some(("deleted".into(), None)),
        }
    }

    #[test]
    fn what_express_sets_and_clears_is_read() {
        let set = |max_age| Some(("s%3Aa.b".to_owned(), max_age));
        let deleted = Some(("deleted".to_owned(), None));
        for (line, expected) in [
            ("sid=s%3Aa.b; Path=/; Expires=Mon, 23 Nov 2026 18:05:39 GMT; HttpOnly", set(Some(60))),
            ("sid=s%3Aa.b; Path=/; HttpOnly", set(None)),
            ("sid=s%3Aa.b", set(None)),
            (" sid = s%3Aa.b ;path=/;MAX-AGE=60", set(Some(60))),
            ("sid=s%3Aa.b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", set(Some(60))),
            ("sid=s%3Aa.b; Max-Age=99999999999999999999999", set(Some(u32::MAX.into()))),
            ("sid=s%3Aa.b; Max-Age=soon; Expires=never", set(None)),
            ("sid=s%3Aa.b; Expires=Monday, 23-Nov-26 18:05:39 GMT", set(Some(60))),
            ("sid=s%3Aa.b; Expires=Mon Nov 23 18:05:39 2026", set(Some(60))),
            ("sid=s%3Aa.b; Expires=Mon, 31 Feb 2026 18:05:39 GMT", set(None)),
            ("sid=s%3Aa.b; Expires=Mon, 23 Nov 2026 25:05:39 GMT", set(None)),
            ("sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", deleted.clone()),
            ("sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", deleted.clone()),
            ("sid=x; Max-Age=0", deleted.clone()),
            ("sid=x; Max-Age=-1", deleted.clone()),
            ("sid=\"\"", deleted),
            ("sid2=x", None),
            ("sid", None),
            ("x=sid=1", None),
            ("", None),
        ] {
            assert_eq!(one(line), expected, "{line}");
        }
    }

    #[test]
    fn the_last_line_of_the_name_counts() {
        let answer = headers(&[b"sid=; Max-Age=0", b"other=x", b"sid=new", b"other=y"]);
        let set = Issue::Set { value: b"new", max_age: None };
        assert_eq!(read(&answer, "sid", at(0)), Some(set));
        assert_eq!(read(&headers(&[b"sid=new", b"sid=; Max-Age=0"]), "sid", at(0)), Some(Issue::Deleted));
        assert_eq!(read(&headers(&[]), "sid", at(0)), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics(line in proptest::collection::vec(0x20u8..=0xff, 0..200), text in "sid=x; (Expires|Max-Age)=[ -~]{0,40}") {
            for line in [&line[..], text.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(line) {
                    let _ = read(&HeaderMap::from_iter([(SET_COOKIE, value)]), "sid", at(0));
                }
            }
        }
    }
}
