//! Addresses as written: where a listener accepts, where an endpoint is, whom a listener trusts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::text::text;

/// Where a listener accepts: `IP:PORT`, `[IPv6]:PORT` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// The absolute path of a socket file.
    Unix(PathBuf),
}

/// Where an endpoint is. Its identity is `text`, the address as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointAddress {
    /// As written: the endpoint's identity across reloads, its name in logs, metrics and the admin API.
    pub text: String,
    /// What the text says.
    pub place: Place,
}

/// What an endpoint's address says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A host name, to be resolved while running, and a port.
    Name {
        /// The name, without a port.
        host: String,
        /// The port.
        port: u16,
    },
    /// The absolute path of a socket file.
    Unix(PathBuf),
}

/// A network (`10.0.0.0/8`) or one address (`10.0.0.7`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(pub IpNet);

// === impl ListenAddress ===

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = unix(text)? {
            return Ok(Self::Unix(path));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        if text.parse::<u16>().is_ok() {
            return Err(format!(
                "which addresses? `127.0.0.1:{text}` is this host only, `0.0.0.0:{text}` every IPv4 address"
            ));
        }
        let (host, port) = host_and_port(text, "127.0.0.1", 8080)?;
        Err(match host {
            "" | "*" => {
                format!("which addresses? `0.0.0.0:{port}` is every IPv4 address, `[::]:{port}` every IPv6 one")
            }
            "localhost" => format!("a listener's address is an IP address: `127.0.0.1:{port}`"),
            _ if host.contains(':') => format!("an IPv6 address stands in brackets: `[{host}]:{port}`"),
            _ => format!("a listener's address is an IP address and a port, as in `0.0.0.0:{port}`, or `unix:/path`"),
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

text!(ListenAddress, "ListenAddress", r"^(unix:/.+|[0-9.]+:[0-9]+|\[[0-9A-Fa-f:.%]+\]:[0-9]+)$");

// === impl EndpointAddress ===

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = if let Some(path) = unix(text)? {
            Place::Unix(path)
        } else if let Ok(address) = text.parse::<SocketAddr>() {
            if address.port() == 0 {
                return Err("an endpoint's port is from 1 to 65535".into());
            }
            Place::Socket(address)
        } else {
            let (host, port) = host_and_port(text, "127.0.0.1", 3000)?;
            if port == 0 {
                return Err("an endpoint's port is from 1 to 65535".into());
            }
            check_name(host, port)?;
            Place::Name { host: host.to_owned(), port }
        };
        Ok(Self { text: text.to_owned(), place })
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text!(EndpointAddress, "EndpointAddress", r"^(unix:/.+|[^/\s]+:[0-9]+)$");

// === impl Network ===

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        let network: IpNet = text.parse().map_err(|_| {
            "a network is an address and the length of its prefix, as in `10.0.0.0/8`, or one address, as in `10.0.0.7`"
                .to_owned()
        })?;
        if network.trunc() != network {
            return Err(format!("`{text}` has bits beyond its prefix; the network is `{}`", network.trunc()));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text!(Network, "Network", r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$");

/// The path of `unix:/path`, or nothing where the text is no such address.
fn unix(text: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = text.strip_prefix("unix:") else {
        return match text.starts_with('/') {
            true => Err(format!("a socket file is written `unix:{text}`")),
            false => Ok(None),
        };
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    // The kernel's limit for `sun_path`, with its closing zero: 108 bytes on Linux, 104 elsewhere.
    const LONGEST: usize = 103;
    match path {
        _ if !path.starts_with('/') => Err("a socket file is an absolute path, as in `unix:/run/app.sock`".into()),
        _ if path.len() > LONGEST => Err(format!("the path of a socket file has at most {LONGEST} bytes")),
        _ => Ok(Some(path.into())),
    }
}

/// Splits `host:port`, and says what is wrong with what isn't one.
fn host_and_port<'t>(text: &'t str, host: &str, port: u16) -> Result<(&'t str, u16), String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or(rest);
        return Err(match (scheme, rest.contains(':')) {
            ("http", false) => format!("an address has no scheme, and has a port: `{rest}:80`"),
            ("http", true) => format!("an address has no scheme and no path: `{rest}`"),
            ("https", _) => "an address has no scheme; TLS to endpoints is the upstream's `tls: true`".into(),
            _ => format!("an address has no scheme: `{rest}`"),
        });
    }
    if text.contains('/') {
        return Err("an address has no path: `host:port`".into());
    }
    if text.bytes().filter(|byte| *byte == b':').count() > 1 && !text.starts_with('[') {
        return Err(format!("an IPv6 address stands in brackets: `[2001:db8::1]:{port}`"));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'))
    else {
        return Err(match text.parse::<u64>() {
            Ok(_) => format!("an address needs its host: `{host}:{text}`"),
            Err(_) => format!("an address needs its port, as in `{text}:{port}`"),
        });
    };
    if host.starts_with('[') {
        return Err(format!("`{host}` is not an IPv6 address"));
    }
    match port.parse::<u16>() {
        Ok(number) => Ok((host, number)),
        Err(_) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
            Err(format!("`{port}` is not a port: 1 to 65535"))
        }
        Err(_) if port.contains('-') => Err("an endpoint has one port; write one endpoint a port".into()),
        Err(_) => Err(format!("`{port}` is not a port: 1 to 65535")),
    }
}

/// Holds a host name to letters, digits, `-`, `_` and dots, and to what DNS can ask for.
fn check_name(host: &str, port: u16) -> Result<(), String> {
    if host.is_empty() {
        return Err(format!("an endpoint needs its host: `127.0.0.1:{port}`"));
    }
    if host.contains('*') {
        return Err("an endpoint is one host; a wildcard belongs to a route's `host`".into());
    }
    let fit = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    if host.len() > 253 || !labels.split('.').all(fit) {
        return Err(format!("`{host}` is not a host name"));
    }
    if labels.split('.').all(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("`{host}` is not an IP address: four numbers from 0 to 255"));
    }
    Ok(())
}
