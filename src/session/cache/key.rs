//! What a store calls an id, and back: a push names a key, a cache knows ids.

/// The store's key around an id: `sess:{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    before: Box<str>,
    after: Box<str>,
}

// === impl KeyTemplate ===

impl KeyTemplate {
    /// Of `template`, which holds `placeholder`; `None` if it doesn't.
    pub fn new(template: &str, placeholder: &str) -> Option<Self> {
        let (before, after) = template.split_once(placeholder)?;
        Some(Self { before: before.into(), after: after.into() })
    }

    /// Of keys that are `before` and then the id.
    pub fn starting_with(before: &str) -> Self {
        Self { before: before.into(), after: "".into() }
    }

    /// The key of `id`.
    pub fn key(&self, id: &str) -> String {
        [&self.before, id, &self.after].concat()
    }

    /// The id that `key` is the key of, if it is one of ours.
    pub fn id<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let id = key.strip_prefix(self.before.as_bytes())?.strip_suffix(self.after.as_bytes())?;
        std::str::from_utf8(id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_again_in_its_key() {
        let keys = KeyTemplate::new("sess:{id}:v2", "{id}").unwrap();
        assert_eq!(keys.key("a{id}"), "sess:a{id}:v2");
        assert_eq!(keys.id(b"sess:a{id}:v2"), Some("a{id}"));
        assert_eq!(keys.id(b"sess:abc"), None);
        assert_eq!(keys.id(b"cart:abc:v2"), None);
        assert_eq!(keys.id(b"sess:\xff:v2"), None);
    }

    #[test]
    fn a_key_too_short_for_both_ends_is_not_ours() {
        let keys = KeyTemplate::new("a{id}a", "{id}").unwrap();
        assert_eq!(keys.id(b"a"), None);
        assert_eq!(keys.id(b"aa"), Some(""));
    }

    #[test]
    fn a_template_needs_a_place_for_the_id() {
        assert_eq!(KeyTemplate::new("sess:", "{id}"), None);
    }
}
