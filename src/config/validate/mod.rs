//! The tree against the schema: finds every fault of form, and makes the value that serde decodes.
//!
//! The types are the one source of truth: the schema is made from them, and a text with a grammar of its own is parsed
//! by its type. A value that came from outside of the file is never put into a message.

mod scalar;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value as Schema;
use serde_yaml::{Mapping, Value};

use self::scalar::integer;
use super::foreign;
use super::source::{Fault, FileId, Span};
use super::tree::{Data, Entry, Kind, Node, Scalar};
use super::want::{List, Object, Want, listed};
use super::words::{self, nearest, snake};

/// Holds `node` to `schema`; the value to decode is whole only where there are no faults.
///
/// `read` gives the place and the text of a file that a node names.
pub(super) fn validate(node: &Node, schema: &Schema, read: ReadFile<'_>, faults: &mut Vec<Fault>) -> Value {
    let mut validator = Validator { root: schema, faults, read, patterns: HashMap::new() };
    let place = Place {
        name: "the file".into(),
        key: String::new(),
        label: node.span,
        context: None,
        secret: false,
        optional: false,
    };
    validator.object_root(node, &place)
}

/// Reads a file that the text of a source names: where it is, and what it holds, or why it can't be read.
pub(super) type ReadFile<'a> = &'a mut dyn FnMut(FileId, &Path) -> (PathBuf, Result<String, String>);

struct Validator<'a> {
    root: &'a Schema,
    faults: &'a mut Vec<Fault>,
    read: ReadFile<'a>,
    /// The schema's patterns, each compiled once for the whole file.
    patterns: HashMap<&'a str, Option<Regex>>,
}

/// Where a value stands, for messages.
struct Place<'s> {
    /// What it is called: "`weight`", "an endpoint".
    name: String,
    /// The key under which it, or the list that holds it, stands.
    key: String,
    /// What to mark when something is missing in it: its key, or the value itself in a list.
    label: Span,
    /// The type that it becomes.
    context: Option<&'s str>,
    /// Its text is not to be shown.
    secret: bool,
    /// It may be left out.
    optional: bool,
}

impl<'a> Validator<'a> {
    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    fn matches(&mut self, pattern: &'a str, text: &str) -> bool {
        let compiled = self.patterns.entry(pattern).or_insert_with(|| Regex::new(pattern).ok());
        compiled.as_ref().is_some_and(|pattern| pattern.is_match(text))
    }

    fn object_root(&mut self, node: &Node, place: &Place<'_>) -> Value {
        let mut want = Want::of(self.root, self.root);
        if let Some(object) = &mut want.map {
            object.definition = Some("Config");
        }
        self.wanted(node, &want, place)
    }

    fn value(&mut self, node: &Node, schema: &'a Schema, mut place: Place<'a>) -> Value {
        place.context = super::schema::definition(schema).or(place.context);
        place.secret = place.context.is_some_and(super::text::is_secret);
        let want = Want::of(self.root, schema);
        self.wanted(node, &want, &place)
    }

    fn wanted(&mut self, node: &Node, want: &Want<'a>, place: &Place<'_>) -> Value {
        if want.anything {
            return raw(node);
        }
        match &node.data {
            Data::Broken => Value::Null,
            Data::Scalar(scalar) => self.scalar(scalar, node.span, want, place),
            Data::List(nodes) => match &want.list {
                Some(list) => self.list(nodes, node.span, list, place),
                None => self.mismatch(node, want, place),
            },
            Data::Map(entries) => match &want.map {
                Some(object) => self.object(entries, object, place),
                None if !want.choices.is_empty() => self.choice(entries, node, want, place),
                None => self.mismatch(node, want, place),
            },
        }
    }

    fn list(&mut self, nodes: &[Node], span: Span, list: &List<'a>, place: &Place<'_>) -> Value {
        if (nodes.len() as u64) < list.min {
            let message = format!("{} is empty; it has at least one entry", place.name);
            self.fault(Fault::error(Span { len: span.len.max(1), ..span }, message));
        }
        let item = |node: &Node| Place {
            name: words::item_name(&place.key),
            key: place.key.clone(),
            label: start(node),
            context: None,
            secret: false,
            optional: false,
        };
        let Some(items) = list.items else { return Value::Sequence(nodes.iter().map(raw).collect()) };
        Value::Sequence(nodes.iter().map(|node| self.value(node, items, item(node))).collect())
    }

    fn object(&mut self, entries: &[Entry], object: &Object<'a>, place: &Place<'_>) -> Value {
        let mut mapping = Mapping::new();
        let mut present: Vec<&str> = Vec::new();
        let mut whole = true;
        for entry in entries {
            let known = object.keys.and_then(|keys| keys.get_key_value(&entry.key));
            let (name, schema) = match known {
                Some((name, schema)) => (name.as_str(), schema),
                None => match object.named {
                    Some(schema) => {
                        self.name(entry, object, place);
                        (entry.key.as_str(), schema)
                    }
                    None if object.open => {
                        mapping.insert(entry.key.as_str().into(), raw(&entry.value));
                        continue;
                    }
                    None => match self.unknown_key(entry, object, place) {
                        // What was surely meant is read on, so that its own faults show in the same run.
                        Meant::Key(name, schema) => (name, schema),
                        Meant::InPlaceOf(name) => {
                            present.push(name);
                            continue;
                        }
                        Meant::Anything => {
                            whole = false;
                            continue;
                        }
                        Meant::Nothing => continue,
                    },
                },
            };
            present.push(name);
            let below = Place {
                name: format!("`{name}`"),
                key: name.to_owned(),
                label: entry.key_span,
                context: None,
                secret: false,
                optional: !object.required.contains(&name),
            };
            let value = self.value(&entry.value, schema, below);
            mapping.insert(name.into(), value);
        }
        if whole {
            self.completeness(entries, &present, object, place);
        }
        Value::Mapping(mapping)
    }

    /// Keys that must be there, and keys that exclude each other.
    fn completeness(&mut self, entries: &[Entry], present: &[&str], object: &Object<'a>, place: &Place<'_>) {
        let what = called(object, place);
        let missing: Vec<_> = object.required.iter().copied().filter(|key| !present.contains(key)).collect();
        if !missing.is_empty() {
            let what = if what == TOP { "the file" } else { &what };
            let mut fault = Fault::error(place.label, format!("{what} needs {}", listed(&missing)));
            if let Some(hint) = example_of(object.definition, &missing) {
                fault = fault.hint(hint);
            }
            self.fault(fault);
        }
        let written = |keys: &[&str]| -> Vec<(String, Span)> {
            let of_these = entries.iter().filter(|entry| keys.contains(&entry.key.as_str()));
            of_these.map(|entry| (entry.key.clone(), entry.key_span)).collect()
        };
        for keys in [&object.exactly_one, &object.at_least_one] {
            if !keys.is_empty() && !present.iter().any(|key| keys.contains(key)) {
                let mut fault = Fault::error(place.label, format!("{what} needs one of {}", listed(keys)));
                fault.hint = object.definition.and_then(words::choice_of).map(str::to_owned);
                self.fault(fault);
            }
        }
        for keys in [&object.exactly_one, &object.at_most_one] {
            if let [(first, at), (second, span), ..] = written(keys).as_slice() {
                let message =
                    format!("`{first}` and `{second}` exclude each other: {what} has one of {}", listed(keys));
                self.fault(Fault::error(*span, message).also("the other is here:", *at));
            }
        }
    }

    /// A name of the operator's choice, as of an upstream.
    fn name(&mut self, entry: &Entry, object: &Object<'a>, place: &Place<'_>) {
        let Some(pattern) = object.name_pattern.filter(|_| !entry.key.contains("${")) else { return };
        if !self.matches(pattern, &entry.key) {
            let message = format!("`{}` can't be a name in {}", entry.key, place.name);
            let fault = Fault::error(entry.key_span, message);
            self.fault(
                fault.hint("a name is made of letters, digits, `-`, `_` and `.`, and begins with a letter or digit"),
            );
        }
    }

    fn unknown_key(&mut self, entry: &Entry, object: &Object<'a>, place: &Place<'_>) -> Meant<'a> {
        let key = entry.key.as_str();
        let names = object.names();
        let what = called(object, place);
        let at = if what == TOP { "at" } else { "in" };
        let known = |name: &str| {
            object.keys.and_then(|keys| keys.get_key_value(name)).map(|(name, schema)| (name.as_str(), schema))
        };
        if key == "<<" {
            let fault = Fault::error(entry.key_span, "a merge key (`<<`) has no meaning here");
            self.fault(fault.hint("write the keys out"));
            return Meant::Anything;
        }
        let context = object.definition.unwrap_or_default();
        if let Some((ours, hint)) = foreign::foreign_key(context, key) {
            self.fault(
                Fault::error(entry.key_span, format!("unknown key `{}` {at} {what}", printable(key))).hint(hint),
            );
            return ours.and_then(known).map_or(Meant::Nothing, |(name, _)| Meant::InPlaceOf(name));
        }
        if foreign::is_later(key) {
            let message = format!("`{key}` is not in this version of headgate");
            self.fault(Fault::error(entry.key_span, message).hint("leave it out"));
            return Meant::Nothing;
        }
        if key.starts_with("//") || key.starts_with("/*") {
            self.fault(Fault::error(entry.key_span, "a comment begins with `#`"));
            return Meant::Anything;
        }
        let fault = Fault::error(entry.key_span, format!("unknown key `{}` {at} {what}", printable(key)));
        // `{b:c}` and `key:value` alone in a map.
        let empty = matches!(&entry.value.data, Data::Scalar(Scalar { text, .. }) if text.is_empty());
        if let Some((head, _)) = key.split_once(':').filter(|(head, _)| empty && names.contains(head)) {
            self.fault(fault.hint(format!("a space is missing after `{head}:`")));
            return known(head).map_or(Meant::Nothing, |(name, _)| Meant::InPlaceOf(name));
        }
        if key.chars().any(|c| c.is_whitespace() && c != ' ') {
            self.fault(fault.hint("there is an invisible character (a no-break space?) in it; type it anew"));
            return Meant::Nothing;
        }
        if let Some((name, schema)) = known(&snake(key)) {
            self.fault(fault.hint(format!("write `{name}`")));
            return Meant::Key(name, schema);
        }
        let allowed = if names.is_empty() { "nothing".into() } else { listed(&names) };
        if let Some(name) = nearest(key, &names) {
            self.fault(fault.hint(format!("did you mean `{name}`? allowed here: {allowed}")));
            return known(name).map_or(Meant::Nothing, |(name, schema)| Meant::Key(name, schema));
        }
        let hint = match self.owner(key) {
            Some(owner) => format!("`{key}` belongs to {owner}; allowed here: {allowed}"),
            None => format!("allowed here: {allowed}"),
        };
        self.fault(fault.hint(hint));
        Meant::Nothing
    }

    /// The part of the file that does have such a key.
    fn owner(&self, key: &str) -> Option<&'static str> {
        let has = |schema: &Schema| schema.get("properties").is_some_and(|keys| keys.get(key).is_some());
        if has(self.root) {
            return Some(TOP);
        }
        let definitions = self.root.get("$defs")?.as_object()?;
        let first = ["Route", "Upstream", "Listener", "EndpointSettings", "HealthCheck", "Limits"];
        let rest = definitions.keys().map(String::as_str).filter(|name| !name.ends_with("Overrides"));
        let mut all = first.into_iter().chain(rest);
        all.find(|name| definitions.get(*name).is_some_and(has)).and_then(words::object_name)
    }

    /// A name with settings: a map of one key.
    fn choice(&mut self, entries: &[Entry], node: &Node, want: &Want<'a>, place: &Place<'_>) -> Value {
        let mut mapping = Mapping::new();
        let [entry] = entries else {
            let (fault, names) =
                (Fault::error(node.span, format!("{} is one name with its settings", place.name)), names(want));
            let fault = match entries {
                [first, ..] if is_null(&first.value) && names.contains(&first.key.as_str()) => fault
                    .hint(format!("the settings of `{}` have to be indented deeper than the name itself", first.key)),
                [first, second, ..] if names.contains(&first.key.as_str()) && names.contains(&second.key.as_str()) => {
                    fault.hint("each one stands in a list item of its own, begun with `- `")
                }
                _ => fault.hint(format!("as in `{}: {{ .. }}`", names.first().unwrap_or(&"name"))),
            };
            self.fault(fault);
            return Value::Null;
        };
        let key = entry.key.as_str();
        if let Some((name, schema)) = want.choices.iter().find(|(name, _)| *name == key) {
            if is_null(&entry.value) {
                let fault = Fault::error(entry.key_span, format!("`{name}` has no settings"));
                let alone = want.words.contains(name);
                self.fault(fault.hint(match alone {
                    true => format!("without settings it is written without the colon: `{name}`"),
                    false => format!("it needs some: `{name}: {{ .. }}`"),
                }));
                return Value::Null;
            }
            let below = Place {
                name: format!("`{name}`"),
                key: key.to_owned(),
                label: entry.key_span,
                context: None,
                secret: false,
                optional: false,
            };
            let value = self.value(&entry.value, schema, below);
            mapping.insert(key.into(), value);
        } else if want.words.contains(&key) {
            let fault = Fault::error(entry.key_span, format!("`{key}` takes no settings"));
            self.fault(fault.hint(format!("write `{key}` alone")));
        } else {
            self.unknown_word(key, entry.key_span, want, place);
        }
        Value::Mapping(mapping)
    }
}

/// What the outermost map is called.
const TOP: &str = "the top of the file";

/// What an unknown key was meant to be.
enum Meant<'s> {
    /// This key; its value is read on.
    Key(&'s str, &'s Schema),
    /// It stands for this key, which then isn't missing; its value has another shape.
    InPlaceOf(&'s str),
    /// Whatever is missing.
    Anything,
    Nothing,
}

/// What an object is called in a sentence.
fn called(object: &Object<'_>, place: &Place<'_>) -> String {
    match object.definition.and_then(words::object_name) {
        Some(name) => name.to_owned(),
        None => place.name.clone(),
    }
}

/// What to write for keys whose form is not obvious.
fn example_of(definition: Option<&str>, missing: &[&str]) -> Option<String> {
    Some(match *missing.first()? {
        "listeners" => "as in `listeners: [{ address: 0.0.0.0:8080 }]`".into(),
        "endpoints" => "as in `endpoints: [127.0.0.1:3000]`".into(),
        "key" if definition == Some("Certificate") => "the file with its private key".into(),
        "key" => "as in `key: client_ip`".into(),
        "certificates" => "as in `certificates: [{ certificate: FILE, key: FILE }]`".into(),
        "format" => "it is `plain` (the id itself), `express` (signed by express-session) or `jwt`".into(),
        "source" => "as in `source: NAME`, an entry of `sessions`".into(),
        "master" | "addresses" => "as in `sentinel: { master: NAME, addresses: [HOST:26379] }`".into(),
        "field" => "as in `field: passport.user`".into(),
        "redirect" => "as in `redirect: /login`".into(),
        _ => return None,
    })
}

fn names<'s>(want: &Want<'s>) -> Vec<&'s str> {
    let mut names: Vec<&str> = want.words.iter().copied().chain(want.choices.iter().map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What to mark of a map that stands for itself: its first key.
fn start(node: &Node) -> Span {
    match &node.data {
        Data::Map(entries) => entries.first().map_or(node.span, |entry| entry.key_span),
        Data::Scalar(_) | Data::List(_) | Data::Broken => node.span,
    }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.data, Data::Scalar(scalar) if scalar.kind() == Kind::Null)
}

/// A node as YAML's core schema reads it, where the schema asks for nothing in particular.
fn raw(node: &Node) -> Value {
    match &node.data {
        Data::Broken => Value::Null,
        Data::List(nodes) => Value::Sequence(nodes.iter().map(raw).collect()),
        Data::Map(entries) => {
            Value::Mapping(entries.iter().map(|entry| (entry.key.as_str().into(), raw(&entry.value))).collect())
        }
        Data::Scalar(scalar) => match scalar.kind() {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Int(number) => integer(number),
            Kind::Float(number) => Value::Number(number.into()),
            Kind::Text => Value::String(scalar.text.clone()),
        },
    }
}
