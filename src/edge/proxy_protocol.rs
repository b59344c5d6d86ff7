//! The PROXY header, versions 1 and 2: by which another balancer tells whose connection it passes on
//! (haproxy.org/download/2.9/doc/proxy-protocol.txt).
//!
//! Whoever may send one may be anybody, so only `trusted_proxies` may. Not one byte is read beyond it: what follows is TLS or
//! a request.

use std::net::SocketAddr;

use pingora::protocols::Stream;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::listener::Listener;
use crate::telemetry::metrics::RefusalReason;

/// As long as no header can be shorter: `PROXY UNKNOWN\r\n` has 15 bytes, and version 2 begins with these twelve.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, and the length of the rest (section 2.2).
const V2_FIXED: usize = 16;

/// The longest line of version 1 (section 2.1).
const V1_LONGEST: usize = 107;

/// The most that may follow the fixed part of version 2. Two addresses of a unix socket have 216 bytes; what clouds add has
/// some tens, a certificate's name some hundreds.
const V2_LONGEST: usize = 4096;

/// Reads the header of a connection of `peer`. Returns whose it is: `peer` itself, where the proxy speaks for itself (its own
/// health checks) or does not know.
///
/// # Errors
/// Why the connection is closed without a word.
pub(super) async fn read(
    stream: &mut Stream,
    listener: &Listener,
    peer: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, RefusalReason> {
    // A unix socket is for those who may open its file.
    if peer.is_some_and(|peer| !listener.trusts(peer.ip())) {
        return Err(RefusalReason::ProxyUntrusted);
    }
    match timeout(listener.limits.header_timeout, header(stream)).await {
        Ok(Ok(client)) => Ok(client.or(peer)),
        Ok(Err(Malformed)) => Err(RefusalReason::ProxyMalformed),
        Err(_) => Err(RefusalReason::ProxyTimeout),
    }
}

/// The bytes are no PROXY header, or they ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Malformed> {
    let mut bytes = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut bytes).await.map_err(|_| Malformed)?;
    if bytes == SIGNATURE {
        bytes.resize(V2_FIXED, 0);
        stream.read_exact(&mut bytes[SIGNATURE.len()..]).await.map_err(|_| Malformed)?;
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        if length > V2_LONGEST {
            return Err(Malformed);
        }
        bytes.resize(V2_FIXED + length, 0);
        stream.read_exact(&mut bytes[V2_FIXED..]).await.map_err(|_| Malformed)?;
        return version_2(&bytes);
    }
    // By single bytes, as its end is known only when it is there.
    while bytes.last() != Some(&b'\n') {
        if bytes.len() == V1_LONGEST || !bytes.starts_with(b"PROXY ") {
            return Err(Malformed);
        }
        bytes.push(stream.read_u8().await.map_err(|_| Malformed)?);
    }
    version_1(&bytes)
}

/// Whose connection a line of version 1 says it is; none where it says that it does not know.
fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let header = v1::Header::try_from(line).map_err(|_| Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(both) => Some((both.source_address, both.source_port).into()),
        v1::Addresses::Tcp6(both) => Some((both.source_address.to_canonical(), both.source_port).into()),
    })
}

/// The same of version 2. Its TLVs are skipped, but must be whole.
fn version_2(bytes: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let header = v2::Header::try_from(bytes).map_err(|_| Malformed)?;
    if header.tlvs().any(|tlv| tlv.is_err()) {
        return Err(Malformed);
    }
    // LOCAL: the proxy's own connection, whatever addresses it carries (section 2.2).
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(both) => Some((both.source_address, both.source_port).into()),
        v2::Addresses::IPv6(both) => Some((both.source_address.to_canonical(), both.source_port).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the header says, and what is left for the next reader.
    async fn told(mut bytes: &[u8]) -> (Result<Option<String>, Malformed>, Vec<u8>) {
        let client = header(&mut bytes).await.map(|client| client.map(|client| client.to_string()));
        (client, bytes.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];

    #[tokio::test]
    async fn both_versions_tell_the_client_and_take_nothing_of_what_follows() {
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[0; 16], &[0x30, 0x39, 0, 80]].concat();
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(), Some("192.0.2.7:12345")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n".to_vec(), Some("[2001:db8::7]:12345")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), None),
            (v2(0x21, 0x11, &V4), Some("192.0.2.7:12345")),
            (v2(0x21, 0x21, &mapped), Some("192.0.2.7:12345")),
            (v2(0x21, 0x11, &[&V4[..], &[0x20, 0, 2, 1, 2], &[0xe0, 0, 0]].concat()), Some("192.0.2.7:12345")),
            (v2(0x20, 0x11, &V4), None),
            (v2(0x21, 0x00, &[]), None),
        ] {
            let (told, rest) = told(&[&header[..], b"GET /"].concat()).await;
            assert_eq!(told, Ok(client.map(str::to_owned)), "{}", String::from_utf8_lossy(&header));
            assert_eq!(rest, b"GET /");
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 12345 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 12345 80\r\n",
            b"proxy UNKNOWN\r\n",
            b"PROXY",
            long.as_bytes(),
            // Another version, another command, a family that does not fit its length, cut TLVs, too long.
            &v2(0x31, 0x11, &V4),
            &v2(0x22, 0x11, &V4),
            &v2(0x21, 0x21, &V4),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x11, &[&V4[..], &[0x20, 0, 9, 1]].concat()),
            &v2(0x21, 0x11, &[0; V2_LONGEST + 1]),
            &v2(0x21, 0x11, &V4)[..20],
        ] {
            assert_eq!(told(bytes).await.0, Err(Malformed), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
