//! A host in its one normal form.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// The longest host name there is (RFC 1035, in text and without the root's dot).
const LONGEST: usize = 253;

/// Why a request's host is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// Nothing is left of it.
    Empty,
    /// Longer than a host name can be.
    TooLong,
    /// Two dots side by side, or one at the start.
    EmptyLabel,
    /// What follows the colon is not a port.
    Port,
    /// Brackets without an IPv6 address in them.
    Address,
    /// A character that no host name has.
    Character(char),
}

/// The one form in which a host is matched: lower case, without port and without the root's dot; an IPv6 address in its
/// shortest text, in brackets.
///
/// A name in normal form comes back as it is, without allocation, as does one where only a port or dot is cut off.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, HostError> {
    if let Some(bracketed) = raw.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or(HostError::Address)?;
        let address: Ipv6Addr = address.parse().map_err(|_| HostError::Address)?;
        check_port(port)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    let (name, port) = raw.split_at(raw.find(':').unwrap_or(raw.len()));
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if let Some(strange) = name.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(HostError::Character(strange));
    }
    if name.len() > LONGEST {
        return Err(HostError::TooLong);
    }
    if name.split('.').any(str::is_empty) {
        return Err(HostError::EmptyLabel);
    }
    check_port(port)?;
    let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// `port` is what follows the name: nothing, or a colon and a number. RFC 3986 lets the number be absent.
fn check_port(port: &str) -> Result<(), HostError> {
    let Some(number) = port.strip_prefix(':') else {
        return if port.is_empty() { Ok(()) } else { Err(HostError::Port) };
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (number.is_empty() || number.parse::<u16>().is_ok()) { Ok(()) } else { Err(HostError::Port) }
}

/// The labels of a host from the right, none for an empty one.
pub(super) fn labels(host: &str) -> impl Iterator<Item = &str> {
    host.rsplit('.').filter(|label| !label.is_empty())
}

// === impl HostError ===

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::Empty => f.write_str("the host is empty"),
            HostError::TooLong => write!(f, "the host is longer than {LONGEST} characters"),
            HostError::EmptyLabel => f.write_str("the host has an empty label"),
            HostError::Port => f.write_str("the host's port is not a number up to 65535"),
            HostError::Address => f.write_str("the host's brackets do not hold an IPv6 address"),
            HostError::Character(c) => write!(f, "the host has {c:?} in it"),
        }
    }
}

impl std::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_matched_in_lower_case_without_port_and_root_dot() {
        for raw in [
            "shop.example.com",
            "Shop.Example.COM",
            "shop.example.com:8080",
            "shop.example.com.",
            "SHOP.example.com.:80",
            "shop.example.com:",
        ] {
            assert_eq!(normalise(raw).as_deref(), Ok("shop.example.com"), "{raw}");
        }
        assert_eq!(normalise("my_app-1:3000").as_deref(), Ok("my_app-1"));
        assert_eq!(normalise("127.0.0.1:80").as_deref(), Ok("127.0.0.1"));
        assert_eq!(normalise("[0:0::1]:80").as_deref(), Ok("[::1]"));
        assert_eq!(normalise("[2001:DB8::A]").as_deref(), Ok("[2001:db8::a]"));
    }

    #[test]
    fn a_normal_host_is_not_copied() {
        for raw in ["shop.example.com", "shop.example.com:8080", "shop.example.com."] {
            assert!(matches!(normalise(raw), Ok(Cow::Borrowed(_))), "{raw}");
        }
    }

    #[test]
    fn junk_is_no_host() {
        let long = "a".repeat(LONGEST + 1);
        for (raw, error) in [
            ("", HostError::Empty),
            (".", HostError::Empty),
            (":80", HostError::Empty),
            ("a..b", HostError::EmptyLabel),
            ("a.b..", HostError::EmptyLabel),
            (".a", HostError::EmptyLabel),
            ("a b", HostError::Character(' ')),
            ("user@host", HostError::Character('@')),
            ("user:secret@host", HostError::Port),
            ("a/b", HostError::Character('/')),
            ("a%2eb", HostError::Character('%')),
            ("münchen.de", HostError::Character('ü')),
            ("a,b", HostError::Character(',')),
            ("*.example.com", HostError::Character('*')),
            ("a:b", HostError::Port),
            ("a:80:80", HostError::Port),
            ("a:+80", HostError::Port),
            ("a:65536", HostError::Port),
            ("::1", HostError::Empty),
            ("[::1", HostError::Address),
            ("[::1]x", HostError::Port),
            ("[::1%25eth0]", HostError::Address),
            ("[127.0.0.1]", HostError::Address),
            (long.as_str(), HostError::TooLong),
        ] {
            assert_eq!(normalise(raw), Err(error), "{raw}");
        }
    }
}
