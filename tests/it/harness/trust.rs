//! How a client speaks TLS: whom it trusts, which name it asks for, what it shows.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{Authority, Certified};

/// Both versions that there are.
const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A client's settings. Clones share their sessions, so a later connection may resume an earlier one's.
#[derive(Clone)]
pub(crate) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// Trusts `authority` and asks for `name`.
    pub(crate) fn new(authority: &Authority, name: &str) -> Trust {
        Trust::made(authority, name, None, BOTH)
    }

    /// Shows a certificate where one is asked for.
    pub(crate) fn showing(authority: &Authority, name: &str, shown: &Certified) -> Trust {
        Trust::made(authority, name, Some(shown), BOTH)
    }

    /// Speaks TLS 1.2 only.
    pub(crate) fn old(authority: &Authority, name: &str) -> Trust {
        Trust::made(authority, name, None, &[&rustls::version::TLS12])
    }

    fn made(
        authority: &Authority,
        name: &str,
        shown: Option<&Certified>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            Some(shown) => {
                let (chain, key) = shown.der();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Trust { config: Arc::new(config), name: ServerName::try_from(name.to_owned()).unwrap() }
    }

    pub(super) fn connection(&self) -> rustls::ClientConnection {
        rustls::ClientConnection::new(Arc::clone(&self.config), self.name.clone()).unwrap()
    }
}

/// What `openssl s_client` says of a connection over which it asks for `/` of `host`; for no name where that is empty.
pub(crate) fn s_client(address: SocketAddr, host: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-ign_eof", "-connect", &address.to_string()]);
    let name = if host.is_empty() { vec!["-noservername"] } else { vec!["-servername", host] };
    command.args(name).args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl is there");
    // Where there is no connection nobody reads it.
    let _ = write!(child.stdin.take().unwrap(), "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The first certificate in a text, PEM, without its line breaks.
pub(crate) fn pem(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    Some(body.split_whitespace().collect())
}

/// Runs openssl in a directory.
#[track_caller]
pub(crate) fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate for this name with an RSA key, signed by itself.
pub(crate) fn rsa(name: &str) -> Certified {
    let directory = tempfile::TempDir::new().unwrap();
    let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "certificate"];
    openssl(directory.path(), &[&request[..], &["-days", "30", "-subj", &subject, "-addext", &names]].concat());
    let read = |file: &str| fs::read_to_string(directory.path().join(file)).unwrap();
    Certified { certificate: read("certificate"), key: read("key") }
}
