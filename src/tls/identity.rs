//! `ClientIdentity`: what the application is told of a certificate that a client has shown. Made once a handshake.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A client's certificate, verified, as headers.
#[derive(Debug)]
pub struct ClientIdentity {
    /// `client-cert` (RFC 9440) and, easier to read, `x-client-cert-subject`, `-san`, `-serial` and `-fingerprint`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// No name in a certificate needs more; what is longer would not fit into an application's limit for a head.
const LONGEST: usize = 2048;

impl ClientIdentity {
    /// What is told of this certificate. What can't be read of it is left out; verified it is all the same.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut headers = Vec::with_capacity(5);
        let mut add = |name: &'static str, value: &str| {
            if !value.is_empty()
                && value.len() <= LONGEST.max(2 * certificate.len())
                && let Ok(value) = HeaderValue::from_str(&printable(value))
            {
                headers.push((HeaderName::from_static(name), value));
            }
        };
        // A Structured Field Byte Sequence (RFC 9440 section 2.2, RFC 8941 section 3.3.5).
        add("client-cert", &format!(":{}:", BASE64_STANDARD.encode(certificate)));
        add("x-client-cert-fingerprint", &hex(digest(&SHA256, certificate).as_ref()));
        if let Ok((_, parsed)) = X509Certificate::from_der(certificate) {
            add("x-client-cert-subject", &parsed.subject().to_string());
            add("x-client-cert-serial", &hex(parsed.raw_serial()));
            if let Ok(Some(names)) = parsed.subject_alternative_name() {
                let names: Vec<String> = names.value.general_names.iter().filter_map(named).collect();
                add("x-client-cert-san", &names.join(", "));
            }
        }
        Self { headers }
    }
}

/// A name with its kind, as OpenSSL writes it. A comma in it would look like the next name.
fn named(name: &GeneralName<'_>) -> Option<String> {
    let (kind, name) = match name {
        GeneralName::DNSName(name) => ("DNS", *name),
        GeneralName::RFC822Name(name) => ("email", *name),
        GeneralName::URI(name) => ("URI", *name),
        _ => return None,
    };
    (!name.contains(',')).then(|| format!("{kind}:{name}"))
}

/// Only what may stand in any header: everything else is written as its bytes, as in a URL.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => printable.push(char::from(byte)),
            // Writing to a String can't fail.
            _ => drop(write!(printable, "%{byte:02X}")),
        }
    }
    printable
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_certificate_ends_a_header_or_begins_another() {
        assert_eq!(printable("CN=Zoë\r\nx-user: root"), "CN=Zo%C3%AB%0D%0Ax-user: root");
        assert_eq!(printable("100%"), "100%25");
        assert_eq!(named(&GeneralName::DNSName("a, DNS:b")), None);
    }

    #[test]
    fn what_is_no_certificate_has_still_a_fingerprint() {
        let identity = ClientIdentity::of(&CertificateDer::from(&b"nonsense"[..]));
        let names: Vec<&str> = identity.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["client-cert", "x-client-cert-fingerprint"]);
        assert_eq!(identity.headers[0].1, ":bm9uc2Vuc2U=:");
    }
}
