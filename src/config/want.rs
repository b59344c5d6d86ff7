//! What a schema accepts at a place, by the kind of what may be written there: one word list, one text, one map, ..
//! A schema's alternatives (`anyOf`, `oneOf`) never share a kind, so the kind of a node tells which one was meant.

use serde_json::{Map, Value};

use super::schema::{definition, resolve};

/// What a schema accepts.
#[derive(Default)]
pub(super) struct Want<'s> {
    /// Words, each of which stands for itself.
    pub(super) words: Vec<&'s str>,
    pub(super) text: Option<Text<'s>>,
    pub(super) integer: Option<Integers<'s>>,
    pub(super) number: Option<(f64, f64)>,
    pub(super) boolean: Option<Option<bool>>,
    pub(super) list: Option<List<'s>>,
    pub(super) map: Option<Object<'s>>,
    /// Names that come with settings.
    pub(super) choices: Vec<(&'s str, &'s Value)>,
    /// Whatever is written.
    pub(super) anything: bool,
}

/// A text, and its grammar.
pub(super) struct Text<'s> {
    /// The type that parses it.
    pub(super) name: Option<&'s str>,
    pub(super) pattern: Option<&'s str>,
    pub(super) min_length: u64,
    /// A whole number will do as well.
    pub(super) or_integer: bool,
}

/// Whole numbers.
pub(super) struct Integers<'s> {
    pub(super) min: i128,
    pub(super) max: i128,
    pub(super) only: Option<&'s Vec<Value>>,
}

/// A list.
pub(super) struct List<'s> {
    pub(super) items: Option<&'s Value>,
    pub(super) min: u64,
}

/// A map.
pub(super) struct Object<'s> {
    /// The type that it becomes.
    pub(super) definition: Option<&'s str>,
    pub(super) keys: Option<&'s Map<String, Value>>,
    /// The schema of values under names of the operator's choice.
    pub(super) named: Option<&'s Value>,
    /// Whether unknown keys are accepted as they are.
    pub(super) open: bool,
    /// What such names look like.
    pub(super) name_pattern: Option<&'s str>,
    pub(super) required: Vec<&'s str>,
    pub(super) exactly_one: Vec<&'s str>,
    pub(super) at_most_one: Vec<&'s str>,
}

// === impl Want ===

impl<'s> Want<'s> {
    pub(super) fn of(root: &'s Value, schema: &'s Value) -> Self {
        let mut want = Self::default();
        want.add(root, schema, false, 0);
        want
    }

    fn add(&mut self, root: &'s Value, schema: &'s Value, choice: bool, depth: usize) {
        // A reference that leads back to itself accepts nothing.
        const DEPTH: usize = 16;
        if depth > DEPTH {
            return;
        }
        let definition = definition(schema);
        let schema = resolve(root, schema);
        if schema.get("$ref").is_some() {
            return self.add(root, schema, choice, depth + 1);
        }
        let words =
            schema.get("const").into_iter().chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let branches = ["anyOf", "oneOf"].into_iter().filter_map(|word| Some((word, schema.get(word)?.as_array()?)));
        let mut branched = false;
        for (word, branches) in branches {
            branched = true;
            branches.iter().for_each(|branch| self.add(root, branch, word == "oneOf", depth + 1));
        }
        let (mut strings, mut integers) = (false, false);
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            Some(kind) => kind.as_str().into_iter().collect(),
            None => Vec::new(),
        };
        for kind in &kinds {
            match *kind {
                "string" => strings = true,
                "integer" => integers = true,
                "number" => self.number = Some(range(schema)),
                "boolean" => self.boolean = Some(schema.get("const").and_then(Value::as_bool)),
                "array" => self.list = Some(List { items: schema.get("items"), min: count(schema, "minItems") }),
                "object" => match single(schema).filter(|_| choice) {
                    Some(one) => self.choices.push(one),
                    None => self.map = Some(Object::of(definition, schema)),
                },
                _ => {}
            }
        }
        if strings && words.is_empty() {
            self.text = Some(Text {
                name: string(schema, "x-text"),
                pattern: string(schema, "pattern"),
                min_length: count(schema, "minLength"),
                or_integer: integers,
            });
        } else if integers {
            self.integer = Some(Integers::of(schema));
        }
        self.words.extend(words);
        self.anything |= kinds.is_empty() && !branched && self.words.is_empty() && schema.get("not").is_none();
    }

    /// What may be written, in words: for the hint of a fault.
    pub(super) fn describe(&self) -> String {
        let mut ways: Vec<String> = Vec::new();
        const MANY: usize = 12;
        let with_settings = self.choices.iter().map(|(name, _)| name).filter(|name| !self.words.contains(name));
        ways.extend(self.words.iter().chain(with_settings).take(MANY).map(|word| format!("`{word}`")));
        if let Some(Text { name, .. }) = &self.text {
            ways.push(name.and_then(example).unwrap_or("text").to_owned());
        }
        if let Some(integers) = &self.integer {
            ways.push(integers.describe());
        }
        if let Some(range) = self.number {
            ways.push(match range {
                (min, max) if min.is_finite() && max.is_finite() => format!("a number from {min} to {max}"),
                _ => "a number".into(),
            });
        }
        match self.boolean {
            Some(Some(only)) => ways.push(format!("`{only}`")),
            Some(None) => ways.push("`true` or `false`".into()),
            None => {}
        }
        if self.list.is_some() {
            ways.push("a list".into());
        }
        if let Some(object) = &self.map {
            ways.push(object.describe());
        }
        match ways.pop() {
            Some(last) if ways.is_empty() => last,
            Some(last) => format!("{} or {last}", ways.join(", ")),
            None => "nothing".into(),
        }
    }
}

/// What a text of this type is, with an example.
fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "Duration" => "a duration as in `250ms`, `5s`, `1h`",
        "Size" => "a size as in `32KiB`, `10MiB`",
        "Percent" => "a share as in `20%`",
        "ListenAddress" => "an address as in `0.0.0.0:8080` or `unix:/run/headgate.sock`",
        "EndpointAddress" => "an address as in `10.0.0.11:3000` or `unix:/run/app.sock`",
        "Network" => "a network as in `10.0.0.0/8`",
        "Method" => "a method as in `GET`",
        "StatusRange" => "a status as in `200` or `200-299`",
        "HostHeader" => "`keep`, `endpoint` or a host",
        "AccessLogFormat" => "`json`, `combined` or a template",
        "HashKey" => "`client_ip`, `header:NAME`, `cookie:NAME`, `query:NAME`, `host`, `path` or `uri`",
        _ => return None,
    })
}

/// The only key of an object that must have it: a name with settings.
fn single(schema: &Value) -> Option<(&str, &Value)> {
    let keys = schema.get("properties")?.as_object().filter(|keys| keys.len() == 1)?;
    let (name, settings) = keys.iter().next()?;
    let required = schema.get("required")?.as_array()?;
    (required.first()?.as_str() == Some(name)).then_some((name.as_str(), settings))
}

fn string<'s>(schema: &'s Value, key: &str) -> Option<&'s str> {
    schema.get(key)?.as_str()
}

fn strings<'s>(schema: &'s Value, key: &str) -> Vec<&'s str> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn count(schema: &Value, key: &str) -> u64 {
    schema.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn range(schema: &Value) -> (f64, f64) {
    let bound = |key| schema.get(key).and_then(Value::as_f64);
    (bound("minimum").unwrap_or(f64::NEG_INFINITY), bound("maximum").unwrap_or(f64::INFINITY))
}

// === impl Integers ===

impl<'s> Integers<'s> {
    fn of(schema: &'s Value) -> Self {
        // The type's own range, which schemars writes as `format` and only sometimes as bounds.
        let (low, high): (i128, i128) = match string(schema, "format") {
            Some("uint8") => (0, u8::MAX.into()),
            Some("uint16") => (0, u16::MAX.into()),
            Some("uint32") => (0, u32::MAX.into()),
            Some("uint" | "uint64") => (0, u64::MAX.into()),
            Some("int8") => (i8::MIN.into(), i8::MAX.into()),
            Some("int16") => (i16::MIN.into(), i16::MAX.into()),
            Some("int32") => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        let bound = |key| schema.get(key).and_then(Value::as_f64).map(|bound| bound as i128);
        Self {
            min: bound("minimum").map_or(low, |min| min.max(low)),
            max: bound("maximum").map_or(high, |max| max.min(high)),
            only: schema.get("enum").and_then(Value::as_array),
        }
    }

    pub(super) fn accept(&self, number: i128) -> bool {
        let listed =
            |only: &Vec<Value>| only.iter().any(|one| one.as_i64().is_some_and(|one| i128::from(one) == number));
        (self.min..=self.max).contains(&number) && self.only.is_none_or(listed)
    }

    pub(super) fn describe(&self) -> String {
        if let Some(only) = self.only {
            return only.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        }
        let (no_min, no_max) = (self.min <= i32::MIN.into(), self.max >= u32::MAX.into());
        match (no_min, no_max) {
            (true, _) => "a whole number".into(),
            (false, true) => format!("a whole number from {} on", self.min),
            (false, false) => format!("a whole number from {} to {}", self.min, self.max),
        }
    }
}

// === impl Object ===

impl<'s> Object<'s> {
    fn of(definition: Option<&'s str>, schema: &'s Value) -> Self {
        let additional = schema.get("additionalProperties");
        Self {
            definition,
            keys: schema.get("properties").and_then(Value::as_object),
            named: additional.filter(|additional| additional.is_object()),
            open: additional.is_none_or(|additional| additional == &Value::Bool(true)),
            name_pattern: schema.get("propertyNames").and_then(|names| string(names, "pattern")),
            required: strings(schema, "required"),
            exactly_one: strings(schema, "x-exactly-one"),
            at_most_one: strings(schema, "x-at-most-one"),
        }
    }

    pub(super) fn names(&self) -> Vec<&'s str> {
        self.keys.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
    }

    fn describe(&self) -> String {
        let names = self.names();
        match names.is_empty() {
            true => "a map of names and values".into(),
            false => format!("a map with the keys {}", listed(&names)),
        }
    }
}

/// Words in backticks, with commas.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
