//! The fields of a stored session that routes ask for, read once when the session is.
//!
//! Everything else is passed over without being built, and judged as little as `JSON.parse` judges it: half a surrogate
//! pair in a user's shortened name, or a deep tree, is no reason to call a session garbage.

use std::fmt;

use http::HeaderValue;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Longer values don't go into a header: servers commonly take 8 KiB for all of a request's.
const MAX_VALUE: usize = 1024;

/// The way to a field through objects, such as `passport.user`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath(Box<[Box<str>]>);

/// A field that routes of a source ask for; see [`super::Source::field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldIndex(usize);

/// What a session holds at each of its source's fields.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Fields(Box<[Field]>);

#[derive(Clone, Debug, PartialEq, Eq, Default)]
enum Field {
    /// Nothing, null, false, or the empty text.
    #[default]
    Empty,
    /// Something, and what a header may say of it.
    Held(Option<HeaderValue>),
}

/// The fields sought at one place of the tree: index, and the way that is left.
type Sought<'p> = Vec<(usize, &'p [Box<str>])>;

/// Reads an object's members.
struct Members<'p, 'f> {
    sought: Sought<'p>,
    fields: &'f mut [Field],
}

/// Reads a member's name: what is sought under it.
struct Name<'s, 'p>(&'s [(usize, &'p [Box<str>])]);

// === impl FieldPath ===

impl FieldPath {
    /// Cuts `passport.user` into its names.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(path: &str) -> Result<Self, String> {
        let names: Box<[Box<str>]> = path.split('.').map(Into::into).collect();
        if names.iter().any(|name| name.is_empty()) {
            return Err(format!("`{path}` is not a field: write names with one `.` between, such as `passport.user`"));
        }
        Ok(Self(names))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

// === impl FieldIndex ===

impl FieldIndex {
    /// Where `path` stands among these.
    pub(super) fn of(path: &FieldPath, paths: &[FieldPath]) -> Option<Self> {
        paths.iter().position(|one| one == path).map(Self)
    }
}

// === impl Fields ===

impl Fields {
    /// What a stored value holds at `paths`; none where it is no JSON object.
    pub(super) fn read(json: &[u8], paths: &[FieldPath]) -> Option<Self> {
        let sought: Sought<'_> = paths.iter().enumerate().map(|(index, path)| (index, &*path.0)).collect();
        // A field that can't be read, for half a surrogate pair, is as good as absent; the session is as good as ever.
        Self::seek(json, paths.len(), sought).or_else(|| Self::seek(json, paths.len(), Sought::new()))
    }

    fn seek(json: &[u8], count: usize, sought: Sought<'_>) -> Option<Self> {
        let mut fields = vec![Field::Empty; count].into_boxed_slice();
        let mut json = serde_json::Deserializer::from_slice(json);
        let members = Members { sought, fields: &mut fields };
        json.deserialize_map(members).and_then(|()| json.end()).ok()?;
        Some(Self(fields))
    }

    pub(super) fn holds(&self, field: FieldIndex) -> bool {
        matches!(self.0.get(field.0), Some(Field::Held(_)))
    }

    pub(super) fn value(&self, field: FieldIndex) -> Option<&HeaderValue> {
        match self.0.get(field.0)? {
            Field::Held(value) => value.as_ref(),
            Field::Empty => None,
        }
    }

    /// Bytes of memory beyond the struct itself.
    pub(super) fn bytes(&self) -> usize {
        let values = self.0.iter().map(|field| match field {
            Field::Held(Some(value)) => value.len(),
            Field::Held(None) | Field::Empty => 0,
        });
        size_of_val(&*self.0) + values.sum::<usize>()
    }
}

// === impl Field ===

impl Field {
    /// A text for a header: none where it would not arrive as it is. Spaces around it are lost on the way, and ` admin`
    /// must not arrive as `admin`.
    fn text(text: &str) -> Self {
        let faithful = text.len() <= MAX_VALUE && !text.starts_with([' ', '\t']) && !text.ends_with([' ', '\t']);
        match text {
            "" => Self::Empty,
            _ if faithful => Self::Held(HeaderValue::from_bytes(text.as_bytes()).ok()),
            _ => Self::Held(None),
        }
    }
}

// === impl Members ===

impl Members<'_, '_> {
    fn set(self, field: &Field) {
        for (index, _) in self.sought.into_iter().filter(|(_, way)| way.is_empty()) {
            if let Some(place) = self.fields.get_mut(index) {
                place.clone_from(field);
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        let Self { sought, fields, .. } = self;
        while let Some(below) = members.next_key_seed(Name(&sought))? {
            if below.is_empty() {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            // The last member of a name counts, as in JavaScript: nothing of an earlier one may stay.
            for (index, _) in &below {
                fields[*index] = Field::Empty;
            }
            members.next_value_seed(Members { sought: below, fields })?;
        }
        Members { sought, fields }.set(&Field::Held(None));
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.set(&Field::Held(None));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.set(&Field::text(text));
        Ok(())
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<(), E> {
        self.set(&if yes { Field::text("true") } else { Field::Empty });
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.set(&Field::text(&number.to_string()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.set(&Field::text(&number.to_string()));
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.set(&Field::text(&number.to_string()));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.set(&Field::Empty);
        Ok(())
    }
}

// === impl Name ===

impl<'p> Name<'_, 'p> {
    fn below(&self, name: &[u8]) -> Sought<'p> {
        let below = |(index, way): &(usize, &'p [Box<str>])| {
            let (first, rest) = way.split_first()?;
            (first.as_bytes() == name).then_some((*index, rest))
        };
        self.0.iter().filter_map(below).collect()
    }
}

impl<'de, 'p> DeserializeSeed<'de> for Name<'_, 'p> {
    type Value = Sought<'p>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Sought<'p>, D::Error> {
        // As bytes, because a name may be half a surrogate pair as well.
        name.deserialize_bytes(self)
    }
}

impl<'p> Visitor<'_> for Name<'_, 'p> {
    type Value = Sought<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Sought<'p>, E> {
        Ok(self.below(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Sought<'p>, E> {
        Ok(self.below(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(paths: &[&str]) -> Vec<FieldPath> {
        paths.iter().map(|path| FieldPath::parse(path).unwrap()).collect()
    }

    fn value(json: &str, path: &str) -> (bool, Option<String>) {
        let fields = Fields::read(json.as_bytes(), &paths(&[path])).unwrap();
        let value = fields.value(FieldIndex(0)).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        (fields.holds(FieldIndex(0)), value)
    }

    #[test]
    fn a_field_is_found_through_objects_and_nothing_false_is_held() {
        for (json, held, text) in [
            (r#"{"a":{"b":"ann"}}"#, true, Some("ann")),
            (r#"{"a":{"b":7}}"#, true, Some("7")),
            (r#"{"a":{"b":0}}"#, true, Some("0")),
            (r#"{"a":{"b":-7}}"#, true, Some("-7")),
            (r#"{"a":{"b":1.5}}"#, true, Some("1.5")),
            (r#"{"a":{"b":true}}"#, true, Some("true")),
            (r#"{"a":{"b":{"c":1}}}"#, true, None),
            (r#"{"a":{"b":[1]}}"#, true, None),
            (r#"{"a":{"b":"\u00fcnal"}}"#, true, Some("\u{fc}nal")),
            (r#"{"a":{"b":false}}"#, false, None),
            (r#"{"a":{"b":null}}"#, false, None),
            (r#"{"a":{"b":""}}"#, false, None),
            (r#"{"a":{"c":1},"b":"x","a.b":"x"}"#, false, None),
            (r#"{"a":"b"}"#, false, None),
            (r#"{"a":[{"b":1}]}"#, false, None),
            (r#"{"a":null}"#, false, None),
            ("{}", false, None),
        ] {
            assert_eq!(value(json, "a.b"), (held, text.map(str::to_owned)), "{json}");
        }
    }

    #[test]
    fn what_a_header_would_change_is_held_but_not_forwarded() {
        for text in [" admin", "admin ", "\\tadmin", "a\\r\\nx-admin: 1", "a\\u0000", &"x".repeat(MAX_VALUE + 1)] {
            assert_eq!(value(&format!(r#"{{"user":"{text}"}}"#), "user"), (true, None), "{text}");
        }
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        assert_eq!(value(r#"{"a":"x","a":"y"}"#, "a"), (true, Some("y".into())));
        assert_eq!(value(r#"{"a":{"b":1},"a":{"c":2}}"#, "a.b"), (false, None));
    }

    #[test]
    fn a_field_and_one_below_it_are_both_found() {
        let fields = Fields::read(br#"{"user":{"id":7}}"#, &paths(&["user", "user.id", "x"])).unwrap();
        assert!(fields.holds(FieldIndex(0)) && fields.holds(FieldIndex(1)) && !fields.holds(FieldIndex(2)));
        assert!(!fields.holds(FieldIndex(3)));
        assert_eq!(fields.value(FieldIndex(1)).unwrap(), "7");
    }

    #[test]
    fn what_is_no_object_is_no_session() {
        for bad in ["", "null", "7", "\"x\"", "[]", "[{}]", "{", "{}x", "{\"a\":}", "nul", "{\"a\":1e999}x", "\u{0}"] {
            assert_eq!(Fields::read(bad.as_bytes(), &paths(&["a"])), None, "{bad}");
        }
        assert_eq!(Fields::read(b"\xff\xfe", &[]), None);
    }

    #[test]
    fn what_javascript_reads_is_no_garbage() {
        let deep = format!("{{\"deep\":{}{},\"a\":\"x\"}}", "[".repeat(5000), "]".repeat(5000));
        let bytes = [&b"{\"other\":\"\xff\",\"a\":\"x\"}"[..], deep.as_bytes(), br#"{"\ud83d":"\ud83d","a":"x"}"#];
        for json in bytes {
            assert!(Fields::read(json, &paths(&["a"])).unwrap().holds(FieldIndex(0)));
        }
        // Half a pair in the very field that is asked for.
        assert!(!Fields::read(br#"{"a":"\ud83d"}"#, &paths(&["a"])).unwrap().holds(FieldIndex(0)));
    }

    #[test]
    fn a_path_with_an_empty_name_is_refused() {
        for bad in ["", ".", "a.", ".a", "a..b"] {
            assert!(FieldPath::parse(bad).unwrap_err().contains("is not a field"));
        }
        assert_eq!(FieldPath::parse("a.b").unwrap().to_string(), "a.b");
    }

    proptest! {
        #[test]
        fn no_stored_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::read(&bytes, &paths(&["a", "a.b"]));
        }

        #[test]
        fn no_json_panics(text in r#"[\{\}\[\]a-b":,.0-9e\\u\- ]{0,60}"#) {
            let _ = Fields::read(text.as_bytes(), &paths(&["a", "a.b"]));
        }
    }
}
