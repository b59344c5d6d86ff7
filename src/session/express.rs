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
