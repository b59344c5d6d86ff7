//! Who may read the admin pages, and who may change something there.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};

/// What a caller must show.
#[derive(PartialEq, Eq)]
pub(super) enum Access {
    /// `Authorization: Bearer` with this token.
    Token(String),
    /// A Host header that names the machine itself or an address. A web page that a user of this machine looks at can
    /// let a name of its own resolve to loopback (DNS rebinding) and read what answers; the Host header tells it.
    LoopbackNames,
    /// Nothing: the file system decides who may connect.
    Anybody,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::LoopbackNames => "LoopbackNames",
            Self::Anybody => "Anybody",
        })
    }
}

impl Access {
    /// Why these headers are not enough; none when they are.
    pub(super) fn refusal(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        match self {
            Self::Token(token) => {
                let shown = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
                let admitted = shown.and_then(bearer).is_some_and(|shown| equal(shown, token.as_bytes()));
                (!admitted).then_some((StatusCode::UNAUTHORIZED, "a bearer token is required"))
            }
            Self::LoopbackNames => {
                let names_us = match headers.get(header::HOST).map(|host| host.to_str()) {
                    None => true,
                    Some(host) => host.is_ok_and(is_address_or_localhost),
                };
                (!names_us).then_some((StatusCode::FORBIDDEN, "this host name is not served here: use an address"))
            }
            Self::Anybody => None,
        }
    }
}

/// Why a request that changes something is refused though it may read: a browser sends it for a page of another origin.
/// Browsers ask before they send a PUT or DELETE of another origin's page, and are answered no; this holds even where
/// somebody puts a too friendly proxy in front.
pub(super) fn foreign_change(method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let origin = headers.get(header::ORIGIN).filter(|_| !method.is_safe())?;
    let host = headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let ours = |scheme: &[u8]| origin.as_bytes().strip_prefix(scheme).is_some_and(|origin| origin == host);
    let ours = !host.is_empty() && (ours(b"http://") || ours(b"https://"));
    (!ours).then_some((StatusCode::FORBIDDEN, "a page of another origin can't change anything here"))
}

/// The credentials of the `Bearer` scheme, whose name has no case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Compares in a time that depends on the lengths alone, so that no caller can guess a token byte by byte.
fn equal(shown: &[u8], token: &[u8]) -> bool {
    let different = shown.iter().zip(token).fold(0, |seen, (one, other)| std::hint::black_box(seen | (one ^ other)));
    different == 0 && shown.len() == token.len() && !token.is_empty()
}

fn is_address_or_localhost(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn refused(access: &Access, name: header::HeaderName, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        access.refusal(&headers).is_some()
    }

    #[test]
    fn only_the_token_itself_is_the_token() {
        let access = Access::Token("s3cret".to_owned());
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(!refused(&access, header::AUTHORIZATION, good), "{good}");
        }
        for bad in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Bearer S3cret", "Basic s3cret", "s3cret"]
        {
            assert!(refused(&access, header::AUTHORIZATION, bad), "{bad}");
        }
        assert!(access.refusal(&HeaderMap::new()).is_some());
        assert!(refused(&Access::Token(String::new()), header::AUTHORIZATION, "Bearer "));
        assert!(!format!("{access:?}").contains("s3cret"));
    }

    #[test]
    fn without_a_token_only_the_machine_s_own_names_are_served() {
        let access = Access::LoopbackNames;
        for good in
            ["127.0.0.1:9900", "localhost", "LOCALHOST.:9900", "[::1]:9900", "[::1]", "10.0.0.5:9900", "a.localhost:1"]
        {
            assert!(!refused(&access, header::HOST, good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:9900",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[",
            "notlocalhost",
            "",
        ] {
            assert!(refused(&access, header::HOST, bad), "{bad}");
        }
        assert!(access.refusal(&HeaderMap::new()).is_none());
    }

    #[test]
    fn only_our_own_pages_change_anything() {
        let refused = |method: Method, host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            foreign_change(&method, &headers).is_some()
        };
        for origin in [None, Some("http://127.0.0.1:9900"), Some("https://127.0.0.1:9900")] {
            assert!(!refused(Method::PUT, "127.0.0.1:9900", origin), "{origin:?}");
        }
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1:9901", "http://127.0.0.1", "127.0.0.1:9900"]
        {
            assert!(refused(Method::PUT, "127.0.0.1:9900", Some(origin)), "{origin}");
            assert!(refused(Method::DELETE, "127.0.0.1:9900", Some(origin)), "{origin}");
            assert!(!refused(Method::GET, "127.0.0.1:9900", Some(origin)), "{origin}");
        }
        assert!(refused(Method::PUT, "", Some("http://")));
    }
}
