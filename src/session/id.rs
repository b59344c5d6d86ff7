//! A session's id, and what may be said of it aloud.

use std::{fmt, sync::Arc};

use ring::hmac;

/// Longer ids are nobody's: express makes 32 characters, a UUID has 36, and the store is spared the rest.
const MAX_ID: usize = 256;

/// A session's id as its store knows it: decoded and without signature, 1 to 256 visible ASCII characters. Whoever has it
/// has the session, so it is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

/// What a log may say of a session: eight hexadecimal digits, keyed, so that nobody can try ids against it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortHash(u32);

/// A key that signatures are checked with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

// === impl SessionId ===

impl SessionId {
    /// The id that these bytes are, if they can be one.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Self::check(bytes).map(|text| Self(text.into()))
    }

    /// The text that these bytes are, if it can be an id: a space or a control would be another key to some, and other
    /// bytes than ASCII read differently by Node's and by everybody else's headers.
    pub(super) fn check(bytes: &[u8]) -> Option<&str> {
        let fit = (1..=MAX_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        if fit { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

// === impl ShortHash ===

impl ShortHash {
    /// As a number, for those who write it themselves.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The hash of an id.
    pub(super) fn of(key: &hmac::Key, id: &str) -> Self {
        let tag = hmac::sign(key, id.as_bytes());
        Self(tag.as_ref().iter().take(4).fold(0, |hash, byte| (hash << 8) | u32::from(*byte)))
    }
}

impl fmt::Display for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortHash({self})")
    }
}

// === impl Secret ===

impl Secret {
    /// A key made of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(super) fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_visible_ascii_of_a_bounded_length_and_is_not_printed() {
        for bad in [&b""[..], b"a b", b"a\n", b"\xc3\xa9", b"\xff", b"a\0", &[b'a'; 257]] {
            assert!(SessionId::new(bad).is_none());
        }
        let id = SessionId::new(&[b'~'; 256]).unwrap();
        assert_eq!(format!("{id:?}{:?}", Secret::new(b"keyboard cat")), "SessionId(..)Secret(..)");
    }

    #[test]
    fn a_short_hash_is_keyed() {
        let [a, b] = [b"a", b"b"].map(|key| ShortHash::of(&Secret::new(key).hmac(), "id").to_string());
        assert_eq!(a.len(), 8);
        assert_ne!(a, b);
    }
}
