//! THE ONLY KEYS WE WRITE: where a session's endpoint is kept in the store.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use ring::digest::{SHA256, digest};

/// Before every key that is ours.
const PREFIX: &str = "headgate:sticky:";

/// The key of one session's binding in one upstream: `headgate:sticky:<upstream>:<hash of the id>`. All that writes to a
/// store takes one of these, so an application's key can't be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindingKey {
    key: Box<str>,
    hash_at: usize,
}

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
    /// The key of the session `id` in `upstream`. The id itself is not in it: whoever may list keys learns no session.
    #[must_use]
    pub fn new(upstream: &str, id: &str) -> Self {
        let mut key = String::with_capacity(PREFIX.len() + upstream.len() + 1 + 32);
        key.push_str(&Self::prefix(upstream));
        let hash_at = key.len();
        for byte in &digest(&SHA256, id.as_bytes()).as_ref()[..16] {
            // Writing to a String can't fail.
            let _ = write!(key, "{byte:02x}");
        }
        Self { key: key.into(), hash_at }
    }

    /// What all keys of `upstream` begin with; the hash of the id follows.
    #[must_use]
    pub fn prefix(upstream: &str) -> String {
        format!("{PREFIX}{upstream}:")
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// The hash of the id: 32 hex digits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.key[self.hash_at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_the_upstream_and_hides_the_id() {
        let key = BindingKey::new("node", "abc");
        assert_eq!(key.as_str(), "headgate:sticky:node:ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(key.hash(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(key.as_str(), format!("{}{}", BindingKey::prefix("node"), key.hash()));
    }
}
