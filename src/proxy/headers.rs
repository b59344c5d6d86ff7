//! Whose request is it, and what the endpoint is told about that: `X-Forwarded-*`, `Forwarded` (RFC 7239), `Client-Cert` (RFC
//! 9440), `Host`, hop-by-hop fields.
//!
//! Pingora strips the hop-by-hop fields of requests (RFC 9110 section 7.6.1) before these are written, so a client cannot
//! nominate ours away; those of responses are stripped here.

use std::fmt::Write;
use std::net::IpAddr;

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use ipnet::IpNet;
use pingora::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::tls::ClientIdentity;

/// The chain of addresses that proxies write.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Names beside `X-Forwarded..` by which proxies tell applications of the client, of the target it asked for, or of TLS.
const CLAIMS: [&str; 11] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-original-url",
    "x-rewrite-url",
    "front-end-https",
    "x-url-scheme",
];

/// More proxies than this in one `X-Forwarded-For` are not looked through: an honest chain is far shorter.
const MAX_HOPS: usize = 32;

/// Who asks, as far as we may believe it. Made once per request, before routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address at the other end of the connection; none on a unix socket.
    pub peer: Option<IpAddr>,
    /// The address that policies go by: the peer's, or what a chain of trusted proxies says.
    pub client: Option<IpAddr>,
    /// Whether the peer may tell us about the client.
    pub trusted: bool,
    /// Whether the connection itself is secured by TLS.
    pub tls: bool,
    /// Whether the client came by TLS: the connection's own, or what a trusted proxy says.
    pub secure: bool,
}

// === impl ClientAddress ===

impl ClientAddress {
    /// Finds the client behind `peer`: walks `X-Forwarded-For` from its right end past every address that `trusted` names
    /// and stops at the first that it doesn't. The left end is whatever the client wrote and never believed.
    /// `tls` says whether the connection itself is secured.
    pub fn find(peer: Option<IpAddr>, tls: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.map(|ip| ip.to_canonical());
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
        let Some(ip) = peer.filter(is_trusted) else {
            return Self { peer, client: peer, trusted: false, tls, secure: tls };
        };
        let mut client = ip;
        let lines: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        // By bytes: a client's own part may be no text, and must hide neither the rest of its line nor the line.
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MAX_HOPS) {
            let Some(ip) = std::str::from_utf8(hop).ok().and_then(|hop| parse_hop(hop.trim())) else { break };
            client = ip;
            if !is_trusted(&ip) {
                break;
            }
        }
        // The first is the scheme that the client itself used; every proxy behind it may add its own.
        let first = |proto: &HeaderValue| {
            let first = proto.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
            first.trim_ascii().eq_ignore_ascii_case(b"https")
        };
        let secure = headers.get(X_FORWARDED_PROTO).map_or(tls, first);
        Self { peer, client: Some(client), trusted: true, tls, secure }
    }

    /// The scheme that the client itself used.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// An address with or without port, as proxies write it: `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    if let Ok(ip) = hop.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(address) = hop.parse::<std::net::SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let bracketed: IpAddr = hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(bracketed.to_canonical())
}

/// Tells the endpoint who asked for what. What a trusted proxy said is kept and extended, anybody else's is replaced.
///
/// `host` is the client's own `Host`. Called once per attempt, on a fresh copy of the client's head.
///
/// # Errors
/// None in practice: every value written is a valid header value.
pub fn forward(request: &mut RequestHeader, from: &ClientAddress, host: Option<&HeaderValue>) -> Result<()> {
    let mut chain = String::with_capacity(64);
    let mut element = String::with_capacity(96);
    if from.trusted {
        join(&mut chain, &request.headers, &X_FORWARDED_FOR);
        join(&mut element, &request.headers, &FORWARDED);
    } else {
        drop_claims(request);
    }
    for text in [&mut chain, &mut element] {
        if !text.is_empty() {
            text.push_str(", ");
        }
    }
    match from.peer {
        Some(ip) => {
            // Writing to a String cannot fail.
            let _ = write!(chain, "{ip}");
            let _ = match ip {
                IpAddr::V4(ip) => write!(element, "for={ip}"),
                IpAddr::V6(ip) => write!(element, "for=\"[{ip}]\""),
            };
        }
        None => {
            chain.push_str("unknown");
            element.push_str("for=unknown");
        }
    }
    // A quoted-string must not end early: a host that holds a quote or a backslash never gets past the router.
    if let Some(host) = host.and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\'])) {
        let quote = if host.contains([':', '[']) { "\"" } else { "" };
        let _ = write!(element, ";host={quote}{host}{quote}");
    }
    element.push_str(if from.tls { ";proto=https" } else { ";proto=http" });
    request.insert_header(X_FORWARDED_FOR, chain)?;
    request.insert_header(FORWARDED, element)?;
    if !request.headers.contains_key(&X_FORWARDED_PROTO) {
        request.insert_header(X_FORWARDED_PROTO, if from.tls { HTTPS } else { HTTP })?;
    }
    if let Some(host) = host.filter(|_| !request.headers.contains_key(&X_FORWARDED_HOST)) {
        request.insert_header(X_FORWARDED_HOST, host.clone())?;
    }
    Ok(())
}

fn join(into: &mut String, headers: &HeaderMap, name: &HeaderName) {
    for line in headers.get_all(name) {
        if !into.is_empty() {
            into.push_str(", ");
        }
        // What is no text stays in its place, unreadable: without it another entry would stand there.
        into.extend(line.as_bytes().iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }));
    }
}

/// Removes every header by which a client could pose as a proxy.
fn drop_claims(request: &mut RequestHeader) {
    let posing = |name: &HeaderName| name.as_str().starts_with("x-forwarded") || CLAIMS.contains(&name.as_str());
    let claims: Vec<HeaderName> = request.headers.keys().filter(|name| posing(name)).cloned().collect();
    for name in claims {
        request.remove_header(&name);
    }
}

/// Makes a request that goes by HTTP/2 one of its own: Pingora strips hop-by-hop fields only of those that came by HTTP/1.1. What
/// stays is that the client takes trailers, without which gRPC servers refuse it (RFC 9113 section 8.2.2); `from` is its own head.
///
/// # Errors
/// None in practice: the value written is valid.
pub fn by_http2(request: &mut RequestHeader, from: &HeaderMap) -> Result<()> {
    let lines = from.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let trailers = lines.flat_map(|line| line.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    for name in [TE, TRAILER, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        request.remove_header(&name);
    }
    if trailers {
        request.insert_header(TE, HeaderValue::from_static("trailers"))?;
    }
    Ok(())
}

/// Whether a header of this name tells applications whose certificate a client has shown. Only we say that: what comes from outside
/// is deleted before anything else sees it. With `_` for `-` it is the same header to many an application.
pub(super) fn names_a_certificate(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let begins = |with: &[u8]| {
        let same = |(&one, &other): (&u8, &u8)| one == other || (one == b'_' && other == b'-');
        name.len() >= with.len() && name.iter().zip(with).all(same)
    };
    let is = |other: &[u8]| name.len() == other.len() && begins(other);
    match name.first() {
        Some(b'c') => is(b"client-cert") || is(b"client-cert-chain"),
        Some(b'x') => begins(b"x-client-cert"),
        _ => false,
    }
}

/// Tells the endpoint who the client has shown to be.
///
/// # Errors
/// Where there are too many headers to hold these.
pub fn identify(request: &mut RequestHeader, client: &ClientIdentity) -> Result<()> {
    for (name, value) in &client.headers {
        request.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Takes an upgrade out that the client's own `Connection` does not name: it came from beyond a hop that did not know it
/// (RFC 9110 section 7.8), and Pingora would name it anew.
pub fn drop_unnamed_upgrade(request: &mut RequestHeader, from: &HeaderMap) {
    if !request.headers.contains_key(UPGRADE) {
        return;
    }
    let mut options = from.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if !options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
        request.remove_header(&UPGRADE);
        request.remove_header(&CONNECTION);
    }
}

/// Writes the `Host` that the endpoint shall see, where it differs from the client's. An HTTP/1.0 client may leave it out;
/// what we send is HTTP/1.1 and must have one (RFC 9112 section 3.2): then it is the endpoint's `own`.
///
/// # Errors
/// None in practice: the value was checked when the configuration was compiled.
pub fn set_host(request: &mut RequestHeader, host: Option<&HeaderValue>, own: impl FnOnce() -> String) -> Result<()> {
    match host {
        Some(host) => request.insert_header(HOST, host.clone()),
        None if request.headers.contains_key(HOST) => Ok(()),
        None => request.insert_header(HOST, own()),
    }
}

/// Frames a response for its client: in our own version whatever the endpoint speaks, with one length (Pingora has
/// refused those that differ), and for an HTTP/1.0 client, which knows no chunks, with a body that ends with the
/// connection (RFC 9112 sections 2.5, 6.1 and 6.3).
pub fn frame_for(session: &mut Session, response: &mut ResponseHeader) {
    response.set_version(Version::HTTP_11);
    if let Some(length) = response.headers.get(CONTENT_LENGTH).cloned() {
        let one = length.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        if one.len() < length.len() || response.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
            let one = HeaderValue::from_bytes(one).unwrap_or(length);
            // Fails only where there are too many headers to hold this one, and it replaces one.
            let _ = response.insert_header(CONTENT_LENGTH, one);
        }
    }
    if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
        response.remove_header(&TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
}

/// Removes what belonged to the connection with the endpoint (RFC 9110 section 7.6.1); Pingora writes the client's own.
pub fn strip_hop_by_hop(response: &mut ResponseHeader) {
    if response.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    if response.headers.contains_key(CONNECTION) {
        let nominated: Vec<HeaderName> = response
            .headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            // An endpoint must not make us drop what frames or identifies its own answer.
            .filter(|name| {
                !matches!(name.as_str(), "content-length" | "transfer-encoding" | "set-cookie" | "content-type")
            })
            .collect();
        for name in nominated {
            response.remove_header(&name);
        }
        response.remove_header(&CONNECTION);
    }
    for name in
        [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection"), TE, TRAILER, UPGRADE]
    {
        response.remove_header(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn find(peer: &str, forwarded: &'static str) -> (String, bool) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let map = headers(&[("x-forwarded-for", forwarded)]);
        let found = ClientAddress::find(Some(peer.parse().unwrap()), false, &map, &trusted);
        (found.client.unwrap().to_string(), found.trusted)
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_no_trusted_proxy_owns() {
        assert_eq!(find("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2"), ("1.2.3.4".into(), true));
        assert_eq!(find("10.0.0.1", "1.2.3.4:999"), ("1.2.3.4".into(), true));
        assert_eq!(find("fd00::1", "[2001:db8::1]:80"), ("2001:db8::1".into(), true));
        assert_eq!(find("10.0.0.1", "10.0.0.3, 10.0.0.2"), ("10.0.0.3".into(), true));
        assert_eq!(find("10.0.0.1", "1.2.3.4, garbage"), ("10.0.0.1".into(), true));
        assert_eq!(find("::ffff:10.0.0.1", "1.2.3.4"), ("1.2.3.4".into(), true));
    }

    #[test]
    fn what_is_no_text_hides_no_address() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer: Option<IpAddr> = "10.0.0.1".parse().ok();
        for (lines, client, chain) in [
            (&[&b"6.6.6.6"[..], b"\x80, 1.2.3.4"][..], "1.2.3.4", "6.6.6.6, ?, 1.2.3.4, 10.0.0.1"),
            (&[b"\x80, 1.2.3.4"], "1.2.3.4", "?, 1.2.3.4, 10.0.0.1"),
            (&[b"6.6.6.6", b"\x80"], "10.0.0.1", "6.6.6.6, ?, 10.0.0.1"),
            (&[b"[::ffff:1.2.3.4]"], "1.2.3.4", "[::ffff:1.2.3.4], 10.0.0.1"),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            for line in lines {
                request.append_header(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap()).unwrap();
            }
            let found = ClientAddress::find(peer, false, &request.headers, &trusted);
            assert_eq!(found.client.unwrap().to_string(), client);
            forward(&mut request, &found, None).unwrap();
            assert_eq!(request.headers[X_FORWARDED_FOR], chain);
        }
    }

    #[test]
    fn nobody_else_may_name_a_client() {
        assert_eq!(find("11.0.0.1", "1.2.3.4"), ("11.0.0.1".into(), false));
    }

    fn forwarded(from: &ClientAddress, fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        forward(&mut request, from, Some(&HeaderValue::from_static("shop.example.com:8080"))).unwrap();
        request
    }

    #[test]
    fn claims_of_a_stranger_are_replaced() {
        let peer = Some("1.2.3.4".parse().unwrap());
        let request = forwarded(
            &ClientAddress { peer, client: peer, trusted: false, tls: false, secure: false },
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=6.6.6.6"),
                ("x-real-ip", "6.6.6.6"),
                ("cf-connecting-ip", "6.6.6.6"),
                ("x-original-url", "/admin"),
                ("x-forwarded-prefix", "/admin"),
            ],
        );
        assert_eq!(request.headers["x-forwarded-for"], "1.2.3.4");
        assert_eq!(request.headers["x-forwarded-proto"], "http");
        assert_eq!(request.headers["x-forwarded-host"], "shop.example.com:8080");
        assert_eq!(request.headers["forwarded"], "for=1.2.3.4;host=\"shop.example.com:8080\";proto=http");
        assert!(
            !["x-real-ip", "cf-connecting-ip", "x-original-url"].iter().any(|name| request.headers.contains_key(*name))
        );
        assert!(!request.headers.contains_key("x-forwarded-prefix"));
    }

    #[test]
    fn what_a_trusted_proxy_said_is_kept_and_extended() {
        let request = forwarded(
            &ClientAddress {
                peer: "fd00::1".parse().ok(),
                client: "1.2.3.4".parse().ok(),
                trusted: true,
                tls: false,
                secure: true,
            },
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-for", "10.0.0.9"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "public.example.com"),
                ("forwarded", "for=1.2.3.4;proto=https"),
            ],
        );
        assert_eq!(request.headers["x-forwarded-for"], "1.2.3.4, 10.0.0.9, fd00::1");
        assert_eq!(request.headers["x-forwarded-proto"], "https");
        assert_eq!(request.headers["x-forwarded-host"], "public.example.com");
        assert_eq!(
            request.headers["forwarded"],
            "for=1.2.3.4;proto=https, for=\"[fd00::1]\";host=\"shop.example.com:8080\";proto=http"
        );
    }

    #[test]
    fn the_scheme_is_the_connections_own_unless_a_trusted_proxy_says_otherwise() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (peer, tls, said, secure) in [
            ("11.0.0.1", false, Some("https"), false),
            ("11.0.0.1", true, Some("http"), true),
            ("11.0.0.1", true, None, true),
            ("10.0.0.1", false, None, false),
            ("10.0.0.1", true, None, true),
            ("10.0.0.1", false, Some(" HTTPS , http"), true),
            ("10.0.0.1", true, Some("http"), false),
        ] {
            let fields: Vec<_> = said.iter().map(|said| ("x-forwarded-proto", *said)).collect();
            let found = ClientAddress::find(peer.parse().ok(), tls, &headers(&fields), &trusted);
            assert_eq!((found.tls, found.secure), (tls, secure), "{peer} {tls} {said:?}");
            let own = if tls { "https" } else { "http" };
            let request = forwarded(&found, &fields);
            let expected = said.filter(|_| found.trusted).unwrap_or(own);
            assert_eq!(request.headers["x-forwarded-proto"], expected);
            assert!(request.headers["forwarded"].to_str().unwrap().ends_with(&format!(";proto={own}")));
        }
    }

    #[test]
    fn no_spelling_of_a_certificates_header_is_let_through_and_no_other_header_is_taken_for_one() {
        let names = |name: &str| names_a_certificate(&HeaderName::from_bytes(name.as_bytes()).unwrap());
        for name in [
            "Client-Cert",
            "client-cert-chain",
            "client_cert",
            "client-cert_chain",
            "x-client-cert",
            "X-Client-Cert-Subject",
            "x_client_cert_san",
            "x-client_cert-anything",
            "x-client-certificate",
        ] {
            assert!(names(name), "{name}");
        }
        for name in
            ["client-certain", "client-cert-chains-of", "client", "x-client-ip", "c", "x", "x-clientcert", "cookie"]
        {
            assert!(!names(name), "{name}");
        }
    }

    #[test]
    fn hop_by_hop_fields_of_an_answer_go_no_further() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("connection", "close, x-internal, content-length"),
            ("keep-alive", "timeout=5"),
            ("x-internal", "1"),
            ("content-length", "0"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ] {
            response.insert_header(name, value).unwrap();
        }
        strip_hop_by_hop(&mut response);
        let left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&"content-length") && left.contains(&"x-kept"));
    }
}
