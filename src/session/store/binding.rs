//! THE ONLY KEYS WE WRITE: where a session's endpoint is kept in the store.

use std::time::Duration;

use bytes::Bytes;
use ring::digest::{SHA256, digest};

/// The key of one session's binding in one upstream: `headgate:sticky:<upstream>:<hash of the id>`. All that writes to a
/// store takes one of these, so an application's key can't be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindingKey(Box<str>);

/// What a store knows of a session's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What was written: the endpoint.
    pub value: Bytes,
    /// How long the store will keep it from here.
    pub left: Duration,
}

/// Whether a binding gives way to one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Who came first stays.
    IfAbsent,
    /// What is there is replaced.
    Always,
}

// === impl BindingKey ===

impl BindingKey {
    /// What all our keys begin with.
    pub const PREFIX: &str = "headgate:sticky:";

    /// The key of the session `id` in `upstream`. The id itself is not in it: whoever may list keys learns no session.
    #[must_use]
    pub fn new(upstream: &str, id: &str) -> Self {
        const HASH: usize = 16;
        let mut key = String::with_capacity(Self::PREFIX.len() + upstream.len() + 1 + 2 * HASH);
        key.push_str(Self::PREFIX);
        key.push_str(upstream);
        key.push(':');
        for byte in &digest(&SHA256, id.as_bytes()).as_ref()[..HASH] {
            for digit in [byte >> 4, byte & 15] {
                key.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        Self(key.into())
    }

    /// The key whose part after [`BindingKey::PREFIX`] this is.
    #[must_use]
    pub fn of(own: &str) -> Self {
        Self([Self::PREFIX, own].concat().into())
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes after [`BindingKey::PREFIX`].
    #[must_use]
    pub fn own(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_the_upstream_and_hides_the_id() {
        let key = BindingKey::new("node", "abc");
        assert_eq!(key.as_str(), "headgate:sticky:node:ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(key.own(), "node:ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(BindingKey::of(key.own()), key);
    }
}
