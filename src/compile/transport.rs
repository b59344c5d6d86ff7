//! `tls` and `http2` of an upstream: how its endpoints are spoken to.

use std::sync::Arc;

use pingora::tls::{ClientConfig, PrivateKeyDer, RootCertStore, install_default_crypto_provider, version};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::{CertificateDer, ServerName};

use super::{Inputs, pem};
use crate::config::{At, EndpointTls, EndpointTlsSettings, File, Place, Problem, Upstream as Written};
use crate::transport::{Tls, Transport};

/// How the endpoints of the upstream `name` are spoken to. With problems it is not to be used.
pub(super) fn compile(name: &str, written: &Written, inputs: &Inputs<'_>, problems: &mut Vec<Problem>) -> Transport {
    let at = At::root().key("upstreams").key(name);
    let tls = match &written.tls {
        EndpointTls::Off => None,
        EndpointTls::On(settings) => {
            check_names(settings, written, &at, problems);
            Some(tls(settings, inputs, &at.key("tls"), problems))
        }
    };
    Transport::new(name, tls, written.http2)
}

/// Every endpoint needs a name by which its certificate can be known.
fn check_names(settings: &EndpointTlsSettings, written: &Written, upstream: &At, problems: &mut Vec<Problem>) {
    let is_name = |name: &str| ServerName::try_from(name).is_ok();
    if let Some(name) = &settings.server_name {
        if !is_name(name) {
            let problem = Problem::error(
                upstream.key("tls").key("server_name"),
                format!("`{name}` is neither a host's name nor an IP address"),
            );
            problems.push(problem.hint("it has neither scheme nor port, as in `app.internal`"));
        }
        return;
    }
    let nameless = written.endpoints.iter().position(|endpoint| match &endpoint.address.place {
        Place::Socket(_) => false,
        Place::Name { host, .. } => !is_name(host),
        Place::Unix(_) => true,
    });
    if let Some(index) = nameless {
        let message = "this endpoint has no name that a certificate could have";
        let problem = Problem::error(upstream.key("endpoints").index(index), message);
        problems.push(problem.hint("write the name: `tls: { server_name: app.internal }`"));
    }
}

fn tls(settings: &EndpointTlsSettings, inputs: &Inputs<'_>, at: &At, problems: &mut Vec<Problem>) -> Tls {
    let EndpointTlsSettings { server_name, ca, certificate, key, verify } = settings;
    let ca = ca.as_ref().and_then(|file| {
        if !verify {
            let message = "`ca` has no effect with `verify: false`";
            problems
                .push(Problem::error(at.key("ca"), message).hint("take `verify: false` out: `ca` says whom to trust"));
        }
        trusted(file).map_err(|fault| problems.push(Problem::error(at.key("ca"), fault))).ok()
    });
    if !verify {
        let message =
            "the endpoints' certificates are not verified: whoever is in between can read and change everything";
        problems.push(Problem::warning(at.key("verify"), message).hint("trust the one that signed them: `ca: FILE`"));
    }
    // Pingora's own verifier needs somebody to trust even where it is told to trust everybody.
    if settings.ca.is_none()
        && let Err(why) = (inputs.system_roots)()
    {
        let message = format!("the certificates that this system trusts can't be read: {why}");
        let hint = "install them (`apt-get install ca-certificates`) and start headgate anew, or name those to trust: `tls: { ca: FILE }`";
        problems.push(Problem::error(at.clone(), message).hint(hint));
    }
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => client(certificate, key, at, problems),
        (Some(_), None) => {
            let message = "a `certificate` comes with the `key` that belongs to it";
            problems.push(Problem::error(at.key("certificate"), message).hint("write `key: FILE` beside it"));
            None
        }
        (None, Some(_)) => {
            let message = "a `key` comes with the `certificate` that belongs to it";
            problems.push(Problem::error(at.key("key"), message).hint("write `certificate: FILE` beside it"));
            None
        }
        (None, None) => None,
    };
    Tls { server_name: server_name.clone(), ca, client, verify: *verify }
}

/// Those whom an endpoint's certificate may be signed by.
fn trusted(file: &File) -> Result<Arc<[WrappedX509]>, String> {
    let certificates = pem::certificates(&file.text).map_err(|fault| format!("this file {fault}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("a certificate in this file can't be trusted: {error}"))?;
    }
    Ok(certificates.iter().map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect())
}

/// What is shown to an endpoint that asks for a certificate.
fn client(certificate: &File, key: &File, at: &At, problems: &mut Vec<Problem>) -> Option<Arc<CertKey>> {
    let chain = pem::certificates(&certificate.text);
    let private = pem::private_key(&key.text);
    if let Err(fault) = &chain {
        problems.push(Problem::error(at.key("certificate"), format!("this file {fault}")));
    }
    if let Err(fault) = &private {
        problems.push(Problem::error(at.key("key"), format!("this file {fault}")));
    }
    let (chain, private) = (chain.ok()?, private.ok()?);
    // Pingora gets the bytes alone, and panics over those that it can't tell apart.
    let known = PrivateKeyDer::try_from(private.secret_der()).is_ok();
    let usable =
        if known { belongs(&chain, &private) } else { Err("this key is of a kind that is not known".to_owned()) };
    if let Err(fault) = usable {
        problems.push(Problem::error(at.key("key"), fault));
        return None;
    }
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Some(Arc::new(CertKey::new(chain, private.secret_der().to_vec())))
}

/// Whether a connection could be made with these; each one's is made anew from the same bytes.
fn belongs(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<(), String> {
    install_default_crypto_provider();
    let config = ClientConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13])
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain.to_vec(), key.clone_key());
    config.map(drop).map_err(|error| match error {
        pingora::tls::RusTlsError::InconsistentKeys(_) => "this key is not that of the certificate".to_owned(),
        error => format!("this key can't be used: {error}"),
    })
}
