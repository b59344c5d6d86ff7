//! `tls` of a listener: files -> the certificates that are shown, and those who may sign clients'.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Inputs, pem};
use crate::config::{
    At, Certificate as WrittenCertificate, ClientAuth as WrittenAuth, ClientAuthMode, File, Problem, Severity,
    Tls as Written, TlsVersion,
};
use crate::tls::{Certificate, ClientAuth, Entry, Mode, Policy, Version};

/// What is read out of a certificate.
struct Facts {
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// The policy of a listener whose `tls` is at `at`; none where there are problems.
pub(super) fn compile(
    written: &Written,
    http2: bool,
    previous: Option<&Policy>,
    inputs: &Inputs<'_>,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Policy>> {
    let before = errors(problems);
    let min_version = version(written.min_version);
    let auth = written.client_auth.as_ref();
    let auth = auth.and_then(|auth| client_auth(auth, &at.key("client_auth"), problems));
    let mut entries: Vec<Entry> = Vec::new();
    for (index, certificate) in written.certificates.iter().enumerate() {
        let at = at.key("certificates").index(index);
        let own = certificate.client_auth.as_ref();
        let auth = match own {
            Some(own) => client_auth(own, &at.key("client_auth"), problems),
            None => auth.clone(),
        };
        let min_version = certificate.min_version.map_or(min_version, version);
        if let Some(entry) = entry(certificate, auth, min_version, inputs, &at, problems) {
            check_beside(&entries, &entry, &at, problems);
            entries.push(entry);
        }
    }
    if errors(problems) > before {
        return None;
    }
    let policy = Policy::new(entries, http2, previous);
    policy.map(Arc::new).map_err(|why| problems.push(Problem::error(at.clone(), why))).ok()
}

fn errors(problems: &[Problem]) -> usize {
    problems.iter().filter(|problem| problem.severity == Severity::Error).count()
}

fn version(written: TlsVersion) -> Version {
    match written {
        TlsVersion::Tls12 => Version::Tls12,
        TlsVersion::Tls13 => Version::Tls13,
    }
}

fn client_auth(written: &WrittenAuth, at: &At, problems: &mut Vec<Problem>) -> Option<Arc<ClientAuth>> {
    let at = at.key("ca");
    let authorities = pem::certificates(&written.ca.text).map_err(|fault| format!("this file {fault}"));
    let auth = authorities.and_then(|authorities| {
        let mode = match written.mode {
            ClientAuthMode::Require => Mode::Require,
            ClientAuthMode::Request => Mode::Request,
        };
        let auth = ClientAuth { authorities, mode };
        match auth.roots() {
            Ok(_) => Ok(Arc::new(auth)),
            Err(why) => Err(format!("a certificate in this file can't sign: {why}")),
        }
    });
    auth.map_err(|fault| problems.push(Problem::error(at, fault))).ok()
}

fn entry(
    written: &WrittenCertificate,
    client_auth: Option<Arc<ClientAuth>>,
    min_version: Version,
    inputs: &Inputs<'_>,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let mut found = |key: &str, fault: String| problems.push(Problem::error(at.key(key), fault));
    let chain = pem::certificates(&written.certificate.text);
    let chain = chain.map_err(|fault| found("certificate", format!("this file {fault}"))).ok();
    let key = pem::private_key(&written.key.text).map_err(|fault| found("key", format!("this file {fault}"))).ok();
    let ocsp = written.ocsp.as_ref().map(|file| staple(file).map_err(|fault| found("ocsp", fault)));
    let (chain, key) = (chain?, key?);
    let facts = facts(chain.first()?)?;
    let mut certified = match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(certified) => certified,
        Err(rustls::Error::InconsistentKeys(_)) => {
            found("key", "this key is not that of the certificate".to_owned());
            return None;
        }
        Err(error) => {
            found("key", format!("this key can't be used: {error}"));
            return None;
        }
    };
    certified.ocsp = match ocsp {
        Some(staple) => Some(staple.ok()?),
        None => None,
    };
    if facts.names.is_empty() {
        let message = "this certificate is for no name: it has no subjectAltName that is one".to_owned();
        let problem = Problem::error(at.key("certificate"), message);
        problems
            .push(problem.hint("clients take names from there alone (RFC 9110 section 4.3.4), not from the subject"));
        return None;
    }
    check_time(&facts, inputs.date, at, problems);
    let metrics = inputs.metrics.certificate(&facts.names[0]);
    let certificate = Certificate { metrics, not_after: facts.not_after };
    Some(Entry { names: facts.names, key: Arc::new(certified), client_auth, min_version, certificate })
}

/// The names of a certificate, lower case, and its time.
fn facts(certificate: &CertificateDer<'_>) -> Option<Facts> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(written)) = parsed.subject_alternative_name() {
        for name in &written.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                // Nobody asks for an address in a handshake (RFC 6066 section 3), but it is a name all the same.
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    let time = |at: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = parsed.validity();
    Some(Facts { names, not_before: time(validity.not_before), not_after: time(validity.not_after) })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(bytes).to_string());
    }
    Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string())
}

/// A certificate out of its time is shown all the same: without it there would be nothing to show.
fn check_time(facts: &Facts, date: SystemTime, at: &At, problems: &mut Vec<Problem>) {
    let when = if facts.not_after <= date {
        "has expired"
    } else if facts.not_before > date {
        "is not valid yet"
    } else {
        return;
    };
    let message = format!("the certificate for {} {when}: clients will refuse it", facts.names[0]);
    problems.push(Problem::warning(at.key("certificate"), message));
}

/// One name can't be verified in two ways, and needs no two certificates of a kind.
fn check_beside(before: &[Entry], entry: &Entry, at: &At, problems: &mut Vec<Problem>) {
    for other in before {
        let Some(name) = entry.names.iter().find(|name| other.names.contains(name)) else { continue };
        let same = |one: &Option<Arc<ClientAuth>>, two: &Option<Arc<ClientAuth>>| match (one, two) {
            (None, None) => true,
            (Some(one), Some(two)) => one.mode == two.mode && one.authorities == two.authorities,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same(&other.client_auth, &entry.client_auth) || other.min_version != entry.min_version {
            let message = format!("`{name}` has another certificate, with another `client_auth` or `min_version`");
            let hint = "what holds for a name has to be the same in each of its certificates";
            problems.push(Problem::error(at.clone(), message).hint(hint));
        } else if other.key.key.algorithm() == entry.key.key.algorithm() {
            let message = format!("`{name}` has another certificate with a key of the same kind before this one");
            let hint = "the one before is always shown; take one of them out";
            problems.push(Problem::warning(at.key("certificate"), message).hint(hint));
        }
    }
}

fn staple(file: &File) -> Result<Vec<u8>, String> {
    let bytes = file.der();
    // A SEQUENCE of at least a status and the response (RFC 6960 section 4.2.1).
    bytes.filter(|bytes| bytes.len() > 4).ok_or_else(|| "this file holds no OCSP response (DER)".to_owned())
}
