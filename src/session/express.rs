//! express-session's signed ids: `s:` id `.` signature, the signature an HMAC-SHA256 in base64 without `=`.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use ring::hmac;

use super::id::{Secret, SessionId};

/// Keys that a signature may be made with.
pub(super) struct Express(Box<[hmac::Key]>);

// === impl Express ===

impl Express {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        Self(secrets.iter().map(Secret::hmac).collect())
    }

    /// The id that a decoded value holds, if one of the keys signed it.
    pub(super) fn id<'v>(&self, value: &'v [u8]) -> Option<&'v str> {
        let signed = value.strip_prefix(b"s:")?;
        // The last dot, because an id may have dots of its own; a signature has none.
        let dot = memchr::memrchr(b'.', signed)?;
        let id = SessionId::check(&signed[..dot])?;
        let mut signature = [0; 33];
        let length = STANDARD_NO_PAD.decode_slice(&signed[dot + 1..], &mut signature).ok()?;
        let signature = &signature[..length];
        self.0.iter().any(|key| hmac::verify(key, id.as_bytes(), signature).is_ok()).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::cookie;

    /// Made by express-session 1.19.0's own `cookie-signature` and `cookie`.
    const MADE: [(&str, &str, &str); 8] = [
        (
            "keyboard cat",
            "8HJd3Dpl-Zt2QGOfQ4mM1v0cE7sWnKxa",
            "s%3A8HJd3Dpl-Zt2QGOfQ4mM1v0cE7sWnKxa.tsYXh%2FKZlg4glvu43k3Sm6xE6o22CdN%2BhNdY%2BwXWbKE",
        ),
        ("keyboard cat", "a.b.c", "s%3Aa.b.c.G8ReS2HiYVtvMBGFvZUGp5RaCauWFLUTjnnTm%2FEQ2aE"),
        ("keyboard cat", "user/123:abc", "s%3Auser%2F123%3Aabc.UdE2uu5y3kafnzGs6j049hSGHx6X14M61uT4X13A8k0"),
        ("keyboard cat", "x", "s%3Ax.QbtlXSTVNejzRVcfI9s8EX1VrPh6zJMbOtCoEMLgPmM"),
        (
            "s\u{e8}cret",
            "8HJd3Dpl-Zt2QGOfQ4mM1v0cE7sWnKxa",
            "s%3A8HJd3Dpl-Zt2QGOfQ4mM1v0cE7sWnKxa.HxPSdedS1Cpnc8RlDPmH3SWaR%2F%2FcceF2T%2FRUvhYIwUM",
        ),
        ("s\u{e8}cret", "a.b.c", "s%3Aa.b.c.PRv6liftM3gtVR8ulax7f4oEAOsxG7TK6VJNGcyovvQ"),
        ("s\u{e8}cret", "user/123:abc", "s%3Auser%2F123%3Aabc.laBL3ggSQitG1H1A5TDZFRT%2B4L7hK0hFIsvuCH0BAak"),
        ("s\u{e8}cret", "x", "s%3Ax.mPlGaaFgjr5Nue3b%2BjvmAOdvOQWiN16tassxwtghotU"),
    ];
    /// Signed as well, and no id.
    const EMPTY: &str = "s:.aJcKKTu8Uv0mRiw7LTI435t+pOa+giU/WLAuLCKGEFc";
    const NOT_ASCII: &str = "s:\u{e9}.IJHQiGrJN1r6CT8N7exFS1utW6xz39cpVto0zc447p0";

    fn express(secrets: &[&str]) -> Express {
        Express::new(&secrets.iter().map(|secret| Secret::new(secret.as_bytes())).collect::<Vec<_>>())
    }

    #[test]
    fn what_express_signed_is_found_with_any_of_the_secrets() {
        for (secret, id, value) in MADE {
            let decoded = cookie::decode(value.as_bytes());
            for secrets in [&[secret][..], &["new", secret], &[secret, "new"]] {
                assert_eq!(express(secrets).id(&decoded), Some(id));
            }
            for secrets in [&["new"][..], &[], &["Keyboard cat", ""]] {
                assert_eq!(express(secrets).id(&decoded), None);
            }
        }
    }

    #[test]
    fn what_was_touched_is_refused() {
        let express = express(&["keyboard cat"]);
        let good = "s:x.QbtlXSTVNejzRVcfI9s8EX1VrPh6zJMbOtCoEMLgPmM";
        assert_eq!(express.id(good.as_bytes()), Some("x"));
        let signature = &good[4..];
        for bad in [
            String::new(),
            "s:".into(),
            "s:.".into(),
            "s:x".into(),
            "s:x.".into(),
            "x".into(),
            good[2..].into(),
            format!("s:{good}"),
            format!("S:x.{signature}"),
            format!("j:x.{signature}"),
            format!("s:y.{signature}"),
            format!("s:x.{signature}="),
            format!("s:x.{signature}A"),
            format!("s:x..{signature}"),
            format!("s:x.{signature}."),
            format!("s: x.{signature}"),
            format!("s:x .{signature}"),
            good.replace("PmM", "PmN"),
            good[..good.len() - 1].into(),
            good.to_lowercase(),
            "s%3Ax.QbtlXSTVNejzRVcfI9s8EX1VrPh6zJMbOtCoEMLgPmM".into(),
            format!("s:{}.{signature}", "x".repeat(8192)),
            format!("s:x.{}", "A".repeat(8192)),
            ".".repeat(8192),
            EMPTY.into(),
            NOT_ASCII.into(),
        ] {
            assert_eq!(express.id(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(express.id(b"s:\xff.\xff"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_pass(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "s:[ -~]{0,80}") {
            let express = express(&["keyboard cat"]);
            prop_assert_eq!(express.id(&bytes), None);
            prop_assert_eq!(express.id(text.as_bytes()), None);
        }
    }
}
