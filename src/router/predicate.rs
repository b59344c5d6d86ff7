//! What a route asks of a request, and the conditions beside host and path: the last step of a look-up.

use std::cmp::Reverse;

use http::{HeaderName, Method};

use super::{HostPattern, PathPattern, RequestHead, path};

/// What a route matches: every condition must hold. The default matches everything.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// The number of the listener, in the order of the file; none: all of them.
    pub listener: Option<usize>,
    /// Any of these hosts; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Any of these methods, exactly as named; empty: every method.
    pub methods: Vec<Method>,
    /// All of these header fields. Of a field sent several times one line must have the value, to the byte.
    pub headers: Vec<(HeaderName, String)>,
    /// All of these query parameters, compared as decoded (`%31` is `1`, `+` is a space). Of a parameter sent several
    /// times the first counts, as Gateway API advises.
    pub query: Vec<(String, String)>,
}

// === impl Match ===

impl Match {
    /// Where a route stands among those of the same host and path: lower is asked first, equals go by file order.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let (headers, query) = (Reverse(self.headers.len()), Reverse(self.query.len()));
        (self.methods.is_empty(), headers, query, self.listener.is_none())
    }

    /// Whether the conditions beside host and path hold.
    pub(super) fn holds(&self, head: &RequestHead<'_>) -> bool {
        self.listener.map_or(!head.bound_only, |listener| listener == head.listener)
            && (self.methods.is_empty() || self.methods.contains(head.method))
            && self
                .headers
                .iter()
                .all(|(name, value)| head.headers.get_all(name).iter().any(|sent| sent.as_bytes() == value.as_bytes()))
            && self.query.iter().all(|(name, value)| {
                parameter(head.query.unwrap_or_default(), name).is_some_and(|sent| decoded(sent).eq(value.bytes()))
            })
    }

    /// Whether the conditions beside host and path hold for every request for which the other's do.
    pub(super) fn covers(&self, other: &Match) -> bool {
        (self.listener.is_none() || self.listener == other.listener)
            && (self.methods.is_empty() || (!other.methods.is_empty() && within(&other.methods, &self.methods)))
            && within(&self.headers, &other.headers)
            && within(&self.query, &other.query)
    }

    /// Whether both ask exactly the same, in whatever order it is written.
    pub(super) fn equals(&self, other: &Match) -> bool {
        let hosts = within(&self.hosts, &other.hosts) && within(&other.hosts, &self.hosts);
        hosts && self.path == other.path && self.covers(other) && other.covers(self)
    }
}

fn within<V: PartialEq>(inner: &[V], outer: &[V]) -> bool {
    inner.iter().all(|value| outer.contains(value))
}

/// The raw value of the first parameter of this name; a parameter without `=` has an empty one.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(sent, _)| decoded(sent).eq(name.bytes())).map(|(_, value)| value)
}

/// The bytes that form decoding gives; a broken escape stands for itself.
fn decoded(raw: &str) -> impl Iterator<Item = u8> {
    let mut rest = raw.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        let (decoded, after) = match (byte, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match path::escaped(*high, *low) {
                Some(decoded) => (decoded, after),
                None => (byte, tail),
            },
            _ => (byte, tail),
        };
        rest = after;
        Some(decoded)
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn holds(matched: &Match, query: Option<&str>, headers: &HeaderMap) -> bool {
        let (listener, bound_only, method) = (0, false, &Method::GET);
        matched.holds(&RequestHead { listener, bound_only, host: "", path: "/", query, method, headers })
    }

    #[test]
    fn a_parameter_is_compared_as_decoded_and_its_first_value_counts() {
        let matched = Match { query: vec![("a b".into(), "1&%".into())], ..Match::default() };
        for query in ["a+b=1%26%", "x&a%20b=%31%26%25", "a%20b=1%26%25&a+b=2"] {
            assert!(holds(&matched, Some(query), &HeaderMap::new()), "{query}");
        }
        for query in [None, Some(""), Some("a+b"), Some("a+b=1"), Some("a+b=2&a+b=1%26%"), Some("a+b=1&%")] {
            assert!(!holds(&matched, query, &HeaderMap::new()), "{query:?}");
        }
        let empty = Match { query: vec![("debug".into(), String::new())], ..Match::default() };
        assert!(holds(&empty, Some("x=1&debug"), &HeaderMap::new()));
        assert!(holds(&empty, Some("debug="), &HeaderMap::new()));
        assert!(!holds(&empty, Some("x=1"), &HeaderMap::new()));
    }

    #[test]
    fn one_line_of_a_repeated_header_is_enough() {
        let name = HeaderName::from_static("x-beta");
        let matched = Match { headers: vec![(name.clone(), "1".into())], ..Match::default() };
        let mut headers = HeaderMap::new();
        assert!(!holds(&matched, None, &headers));
        headers.append(&name, HeaderValue::from_static("2"));
        assert!(!holds(&matched, None, &headers));
        headers.append(&name, HeaderValue::from_static("1"));
        assert!(holds(&matched, None, &headers));
    }
}
