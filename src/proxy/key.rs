//! What a hashing strategy goes by, read from one request. A request that lacks it goes by round robin.

use std::net::IpAddr;

use http::header::HeaderMap;

use crate::route::KeySource;
use crate::session::cookie;
use crate::upstream::{hash_address, hash_key};

/// The parts of a request that a key may be made of.
#[derive(Debug, Clone, Copy)]
pub struct Keyed<'a> {
    /// The client, behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The normalised host.
    pub host: &'a str,
    /// The normal form of the path.
    pub path: &'a str,
    /// The query without `?`.
    pub query: Option<&'a str>,
}

/// The hash that `source` names, or none where the request lacks it or it is empty.
pub fn key(source: &KeySource, request: &Keyed<'_>) -> Option<u64> {
    let text: &[u8] = match source {
        KeySource::ClientIp => return request.client.map(hash_address),
        KeySource::Header(name) => request.headers.get(name)?.as_bytes(),
        KeySource::Cookie(name) => cookie::values(request.headers, name).next()?,
        KeySource::Query(name) => parameter(request.query?, name)?.as_bytes(),
        KeySource::Host => request.host.as_bytes(),
        KeySource::Path => request.path.as_bytes(),
        KeySource::Uri => {
            let path = hash_key(request.path.as_bytes());
            return Some(request.query.map_or(path, |query| path.rotate_left(1) ^ hash_key(query.as_bytes())));
        }
    };
    (!text.is_empty()).then(|| hash_key(text))
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    #[test]
    fn each_source_reads_its_part_and_a_missing_one_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, http::HeaderValue::from_bytes(b"a=\xc3\xa9; user=ann").unwrap());
        headers.append("x-tenant", http::HeaderValue::from_static("blue"));
        let request = Keyed {
            client: "1.2.3.4".parse().ok(),
            headers: &headers,
            host: "shop.example.com",
            path: "/a",
            query: Some("id=7&empty="),
        };
        let of = |source: KeySource| key(&source, &request);
        assert_eq!(of(KeySource::Cookie("user".into())), Some(hash_key(b"ann")));
        assert_eq!(of(KeySource::Cookie("nobody".into())), None);
        assert_eq!(of(KeySource::Header("x-tenant".parse().unwrap())), Some(hash_key(b"blue")));
        assert_eq!(of(KeySource::Header("x-none".parse().unwrap())), None);
        assert_eq!(of(KeySource::Query("id".into())), Some(hash_key(b"7")));
        assert_eq!(of(KeySource::Query("empty".into())), None);
        assert_eq!(of(KeySource::Host), Some(hash_key(b"shop.example.com")));
        assert_eq!(of(KeySource::Path), Some(hash_key(b"/a")));
        assert_eq!(of(KeySource::ClientIp), Some(hash_key(&[1, 2, 3, 4])));
        assert_ne!(of(KeySource::Uri), of(KeySource::Path));
    }
}
