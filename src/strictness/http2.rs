//! The head of an HTTP/2 request: held to the rules of its own, then written as HTTP/1 has it and held to every other.
//!
//! So the router, the hooks and the endpoint see one form, and no rule stands twice. `h2` has refused before, by resetting
//! the stream, what is malformed by RFC 9113 sections 8.2 and 8.3: names in upper case, control characters, fields of
//! the connection, pseudo-headers that are unknown, doubled, missing or late.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Uri};
use pingora_http::RequestHeader;

use super::{Bounds, Violation, judge, too_large};

/// Fields that speak of one HTTP/1 connection (RFC 9113 section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Judges the head and rewrites it: the authority becomes `Host`, the target a path, and many `Cookie`s one. Returns what
/// it would be in HTTP/1, of which `header_bytes` are the most.
///
/// # Errors
/// A violation; where there are several, one of them.
pub fn unify(request: &mut RequestHeader, header_bytes: usize, bounds: Bounds) -> Result<Bytes, Violation> {
    if request.method == Method::CONNECT {
        return Err(Violation::Method);
    }
    // `h2` knows these too, but an endpoint must not depend on that.
    // Section 8.2.1: a value has no white space around it; HTTP/1 would lose it on the way.
    let spaced = |value: &HeaderValue| value.as_bytes().trim_ascii().len() < value.len();
    let te = request.headers.get(TE).is_some_and(|te| te != "trailers");
    if te
        || request.headers.values().any(spaced)
        || OF_THE_CONNECTION.iter().any(|name| request.headers.contains_key(name))
    {
        return Err(Violation::Http2Field);
    }
    unify_authority(request)?;
    unify_target(request)?;
    join_cookies(request);
    let head = as_http1(request);
    if head.len() > header_bytes {
        return Err(too_large(&head, bounds));
    }
    judge(&head, bounds).map(|_| head)
}

/// RFC 9113 section 8.3.1: `:authority` and `Host` must not differ, and one of them must be there.
fn unify_authority(request: &mut RequestHeader) -> Result<(), Violation> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Violation::TwoHosts);
    }
    let Some(authority) = request.uri.authority().map(|authority| authority.as_str()) else {
        return if host.is_some() { Ok(()) } else { Err(Violation::NoHost) };
    };
    match host {
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => Ok(()),
        Some(_) => Err(Violation::HostMismatch),
        None => {
            let host = HeaderValue::from_str(authority).map_err(|_| Violation::BadHost)?;
            request.insert_header(HOST, host).map_err(|_| Violation::TooManyHeaders)
        }
    }
}

fn unify_target(request: &mut RequestHeader) -> Result<(), Violation> {
    if request.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Violation::TargetForm);
    }
    let target = request.uri.path_and_query().filter(|target| target.as_str().starts_with('/'));
    let target = Uri::from(target.ok_or(Violation::TargetForm)?.clone());
    request.set_uri(target);
    Ok(())
}

/// RFC 9113 section 8.2.3: what a client has cut for the sake of compression is one value elsewhere.
fn join_cookies(request: &mut RequestHeader) {
    let mut crumbs = request.headers.get_all(COOKIE).iter();
    if crumbs.nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Valid parts with a valid separator.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        // Fails only where there are too many headers to hold this one, and it replaces some.
        let _ = request.insert_header(COOKIE, cookie);
    }
}

fn as_http1(request: &RequestHeader) -> Bytes {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let fields =
        || request.headers.iter().map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    let line = [request.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"];
    let length = |parts: [&[u8]; 4]| parts.iter().map(|part| part.len()).sum::<usize>();
    let mut head = BytesMut::with_capacity(length(line) + fields().map(length).sum::<usize>() + 2);
    std::iter::once(line).chain(fields()).flatten().for_each(|part| head.put_slice(part));
    head.put_slice(b"\r\n");
    head.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;

    const BOUNDS: Bounds = Bounds { target_bytes: 100, headers: 5 };

    type Fields<'a> = &'a [(&'static str, &'static str)];

    fn head(uri: &str, headers: Fields<'_>) -> RequestHeader {
        let mut request = http::Request::builder().uri(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    fn unified(uri: &str, headers: Fields<'_>) -> Result<(RequestHeader, Bytes), Violation> {
        let mut request = head(uri, headers);
        let raw = unify(&mut request, 500, BOUNDS)?;
        Ok((request, raw))
    }

    #[track_caller]
    fn refused(violation: Violation, uri: &str, headers: Fields<'_>) {
        assert_eq!(unified(uri, headers).map(|(_, raw)| raw), Err(violation), "{uri} {headers:?}");
    }

    #[test]
    fn the_authority_becomes_the_host_and_must_not_differ_from_it() {
        let host = |uri, headers: Fields<'_>| unified(uri, headers).unwrap().0.headers["host"].clone();
        assert_eq!(host("https://a.example:8443/", &[]), "a.example:8443");
        assert_eq!(host("https://a.example/", &[("host", "A.example")]), "A.example");
        assert_eq!(host("/", &[("host", "a.example")]), "a.example");
        refused(Violation::NoHost, "/", &[]);
        refused(Violation::NoHost, "/", &[("host", "")]);
        refused(Violation::HostMismatch, "https://a.example/", &[("host", "b.example")]);
        refused(Violation::HostMismatch, "https://a.example/", &[("host", "a.example:443")]);
        refused(Violation::TwoHosts, "https://a.example/", &[("host", "a.example"), ("host", "a.example")]);
        refused(Violation::BadHost, "https://user@a.example/", &[]);
        refused(Violation::BadHost, "https://user@a.example/", &[("host", "user@a.example")]);
        refused(Violation::BadHost, "/", &[("host", "a b")]);
    }

    #[test]
    fn the_target_is_a_path() {
        let (request, raw) = unified("https://a.example/x/y?z=1", &[("b", "c")]).unwrap();
        assert_eq!((request.uri.to_string(), request.raw_path()), ("/x/y?z=1".to_owned(), &b"/x/y?z=1"[..]));
        assert_eq!(raw, "GET /x/y?z=1 HTTP/1.1\r\nb: c\r\nhost: a.example\r\n\r\n");
        refused(Violation::TargetForm, "ftp://a.example/", &[]);
        refused(Violation::TargetForm, "*", &[("host", "a.example")]);
        let mut connect = head("https://a.example/", &[]);
        connect.set_method(Method::CONNECT);
        assert_eq!(unify(&mut connect, 500, BOUNDS), Err(Violation::Method));
    }

    #[test]
    fn crumbs_of_a_cookie_are_one_again() {
        let cookies = |headers: Fields<'_>| {
            let (request, _) = unified("https://a.example/", headers).unwrap();
            let cookies: Vec<_> = request.headers.get_all("cookie").iter().cloned().collect();
            cookies
        };
        assert_eq!(cookies(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]), ["a=1; b=2; c=3"]);
        assert_eq!(cookies(&[("cookie", "a=1")]), ["a=1"]);
        assert!(cookies(&[]).is_empty());
    }

    #[test]
    fn fields_of_an_http_1_connection_are_refused() {
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "te"] {
            refused(Violation::Http2Field, "https://a.example/", &[(name, "chunked")]);
        }
        assert!(unified("https://a.example/", &[("te", "trailers")]).is_ok());
        refused(Violation::Http2Field, "https://a.example/", &[("a", " b")]);
        refused(Violation::Http2Field, "https://a.example/", &[("a", "b\t")]);
    }

    #[test]
    fn every_rule_of_http_1_holds() {
        const A: &str = "https://a.example/";
        refused(Violation::ContentLength, A, &[("content-length", "1"), ("content-length", "1")]);
        refused(Violation::Expectation, A, &[("expect", "a-miracle")]);
        refused(Violation::TooManyHeaders, A, &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")]);
        refused(Violation::TargetTooLong, &format!("https://a.example/{}", "x".repeat(100)), &[]);
        let mut large = head(A, &[("a", "b")]);
        assert_eq!(unify(&mut large, 40, BOUNDS), Err(Violation::HeadTooLarge));
    }
}
