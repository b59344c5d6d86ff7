//! Certificates and private keys out of the PEM text of a file. No sentence here quotes what a file holds.

use pingora::tls::{CertificateDer, PrivateKeyDer};
use rustls_pki_types::pem::{Error, PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificates of a file, in its order; at least one.
///
/// # Errors
/// What is wrong with the file, as the end of a sentence that begins with it.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|_| "holds a certificate that is cut off or is not base64".to_owned())?;
    if found.is_empty() {
        return Err(match text.contains("PRIVATE KEY-----") {
            true => "holds a private key and no certificate".into(),
            false => "holds no certificate (PEM)".into(),
        });
    }
    let number = |at: usize| if found.len() > 1 { format!("certificate {} of it", at + 1) } else { "it".to_owned() };
    for (at, certificate) in found.iter().enumerate() {
        if !X509Certificate::from_der(certificate).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err(format!("can't be read: {} is no X.509 certificate", number(at)));
        }
    }
    Ok(found)
}

/// The private key of a file.
///
/// # Errors
/// What is wrong with the file, as the end of a sentence that begins with it.
pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        Error::NoItemsFound if text.contains("ENCRYPTED") => {
            "holds a key that is encrypted, and nobody is here to type its password".into()
        }
        Error::NoItemsFound if text.contains("BEGIN CERTIFICATE") => "holds a certificate and no private key".into(),
        Error::NoItemsFound => "holds no private key (PEM)".into(),
        _ => "holds a private key that is cut off or is not base64".to_owned(),
    })
}
