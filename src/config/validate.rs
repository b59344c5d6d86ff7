//! The tree against the schema: finds every fault of form, and makes the value that serde decodes.
//!
//! The types are the one source of truth: the schema is made from them, and a text with a grammar of its own is parsed
//! by its type. A value that came from outside of the file is never put into a message.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value as Schema;
use serde_yaml::{Mapping, Number, Value};

use super::source::{Fault, Span};
use super::text;
use super::tree::{self, Data, Entry, Kind, Node, Scalar};
use super::want::{List, Object, Text, Want, listed};
use super::words::{self, nearest, snake};

/// Holds `node` to `schema`; the value to decode is whole only where there are no faults.
pub(super) fn validate(node: &Node, schema: &Schema, faults: &mut Vec<Fault>) -> Value {
    let mut validator = Validator { root: schema, faults, patterns: HashMap::new() };
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

struct Validator<'a> {
    root: &'a Schema,
    faults: &'a mut Vec<Fault>,
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
        place.secret = place.context == Some("Secret");
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
            if let Some(hint) = example_of(&missing) {
                fault = fault.hint(hint);
            }
            self.fault(fault);
        }
        let written = |keys: &[&str]| -> Vec<(String, Span)> {
            let of_these = entries.iter().filter(|entry| keys.contains(&entry.key.as_str()));
            of_these.map(|entry| (entry.key.clone(), entry.key_span)).collect()
        };
        if !object.exactly_one.is_empty() && !present.iter().any(|key| object.exactly_one.contains(key)) {
            let message = format!("{what} needs one of {}", listed(&object.exactly_one));
            self.fault(Fault::error(place.label, message));
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
        let Some(pattern) = object.name_pattern else { return };
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
        if words::is_later(key) {
            let message = format!("`{key}` is not in this version of headgate");
            self.fault(Fault::error(entry.key_span, message).hint("leave it out"));
            return Meant::Nothing;
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
        let context = object.definition.unwrap_or_default();
        if let Some((ours, hint)) = words::foreign_key(context, key) {
            self.fault(fault.hint(hint));
            return ours.and_then(known).map_or(Meant::Nothing, |(name, _)| Meant::InPlaceOf(name));
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

    fn scalar(&mut self, scalar: &Scalar, span: Span, want: &Want<'a>, place: &Place<'_>) -> Value {
        let written = scalar.text.as_str();
        let expanded = scalar.written.is_some();
        let kind = if expanded { expanded_kind(written) } else { scalar.kind() };
        if kind == Kind::Null {
            let span = if span.len == 0 { place.label } else { span };
            let fault = Fault::error(span, format!("{} has no value", place.name));
            let or_none = if place.optional { ", or leave the key out" } else { "" };
            self.fault(fault.hint(format!("write {}{or_none}", want.describe())));
            return Value::Null;
        }
        let octal = scalar.plain && !expanded && matches!(kind, Kind::Int(_)) && has_leading_zero(written);
        if octal && (want.integer.is_some() || want.number.is_some()) {
            let fault =
                Fault::error(span, format!("`{written}` begins with a zero: to some it is octal, to some it isn't"));
            let plain = written.trim_start_matches('0');
            self.fault(fault.hint(format!("write `{}`", if plain.is_empty() { "0" } else { plain })));
            return Value::Null;
        }
        match (kind, &want.integer, want.number, want.boolean) {
            (Kind::Int(number), Some(integers), ..) if integers.accept(number) => return integer(number),
            (Kind::Int(number), Some(integers), ..) => {
                let message = format!("{} can't be {}", place.name, show(scalar, place));
                // A port or status written as a number where an address is wanted has more to say below.
                if want.text.is_none() {
                    let near = if number < integers.min { "too small" } else { "out of range" };
                    let also =
                        if want.words.is_empty() { String::new() } else { format!(", or {}", listed(&want.words)) };
                    let hint = if integers.only.is_some() { "it is ".into() } else { format!("{near}: ") };
                    self.fault(Fault::error(span, message).hint(format!("{hint}{}{also}", integers.describe())));
                    return Value::Null;
                }
            }
            (Kind::Int(number), None, Some((min, max)), _) if (min..=max).contains(&(number as f64)) => {
                return integer(number);
            }
            (Kind::Float(number), _, Some((min, max)), _) if (min..=max).contains(&number) => {
                return Value::Number(Number::from(number));
            }
            (Kind::Bool(value), _, _, Some(only)) if only.is_none_or(|only| only == value) => {
                return Value::Bool(value);
            }
            _ => {}
        }
        if want.words.contains(&written) {
            return Value::String(written.to_owned());
        }
        if let Some(text) = &want.text {
            return self.text(scalar, kind, span, text, want, place);
        }
        let on = ["on", "yes", "true", "default", "enabled"].contains(&written.to_ascii_lowercase().as_str());
        let word =
            kind == Kind::Text && !(on && want.map.is_some()) && (!want.words.is_empty() || !want.choices.is_empty());
        if word && !expanded {
            if !self.off(written, span, want, place) && !self.number_in_quotes(scalar, span, want, place) {
                self.unknown_word(written, span, want, place);
            }
            return Value::Null;
        }
        let data = Data::Scalar(scalar.clone());
        self.mismatch(&Node { span, data }, want, place)
    }

    fn text(
        &mut self,
        scalar: &Scalar,
        kind: Kind,
        span: Span,
        text: &Text<'a>,
        want: &Want<'a>,
        place: &Place<'_>,
    ) -> Value {
        let written = scalar.text.as_str();
        let shown = show(scalar, place);
        let value = Value::String(written.to_owned());
        let free = text.name.is_none() && text.pattern.is_none();
        if let Some(name) = text.name
            && let Err(sentence) = text::check(name, written)
        {
            if !self.off(written, span, want, place) {
                let mut hint = if place.secret || scalar.written.is_some() {
                    format!("it is {}", want.describe())
                } else {
                    sentence
                };
                if !want.words.is_empty() && !hint.starts_with("write") {
                    hint = format!("{hint}; or write {}", listed(&want.words));
                }
                let message = format!("{} can't be {shown}", place.name);
                let fault = match nearest(written, &want.words).filter(|_| !want.words.is_empty()) {
                    Some(word) => Fault::error(span, message).hint(format!("did you mean `{word}`?")),
                    None => Fault::error(span, message).hint(hint),
                };
                self.fault(fault);
            }
            return value;
        }
        if scalar.written.is_none() && scalar.plain {
            let ambiguous = ["on", "off", "yes", "no", "y", "n"].contains(&written.to_ascii_lowercase().as_str());
            let what = match kind {
                Kind::Int(_) | Kind::Float(_) if text.or_integer => None,
                Kind::Int(_) | Kind::Float(_) => Some("a number"),
                Kind::Bool(_) => Some("true or false"),
                Kind::Text if free && ambiguous => Some("true or false to some readers of YAML"),
                Kind::Text if free && is_sexagesimal(written) => {
                    Some("a number to the base of 60 to some readers of YAML")
                }
                Kind::Text | Kind::Null => None,
            };
            if let Some(what) = what {
                let message = format!("{} is text, and {shown} without quotes is {what}", place.name);
                let hint = if place.secret { "quote it".into() } else { format!("write \"{written}\"") };
                self.fault(Fault::error(span, message).hint(hint));
                return value;
            }
        }
        if written.is_empty() && (text.min_length > 0 || text.pattern.is_some()) {
            self.fault(Fault::error(span, format!("{} is empty", place.name)));
        } else if (written.chars().count() as u64) < text.min_length {
            let message = format!("{} is too short: at least {} characters", place.name, text.min_length);
            self.fault(Fault::error(span, message));
        } else if let Some(pattern) = text.pattern.filter(|_| text.name.is_none())
            && !self.matches(pattern, written)
        {
            let fault = Fault::error(span, format!("{} can't be {shown}", place.name));
            self.fault(fault.hint(match pattern {
                "^/" if scalar.written.is_none() && !written.contains("://") => {
                    format!("it begins with a slash: `/{written}`")
                }
                "^/" => "it begins with a slash".into(),
                _ => format!("it has to match `{pattern}`"),
            }));
        }
        if written.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
            let fault = Fault::error(span, "these are typographic quotes, which YAML takes for a part of the text");
            self.fault(fault.hint("use straight ones: \" or '"));
        }
        value
    }

    /// A word for "nothing" where there is one of ours; true where that was said.
    fn off(&mut self, written: &str, span: Span, want: &Want<'_>, place: &Place<'_>) -> bool {
        const NOTHING: [&str; 12] =
            ["0", "0s", "0ms", "none", "off", "no", "false", "never", "disabled", "unlimited", "infinite", "infinity"];
        let ours = want.words.iter().find(|word| ["none", "off"].contains(word));
        match ours.filter(|_| NOTHING.contains(&written.to_ascii_lowercase().as_str())) {
            Some(word) => {
                let fault = Fault::error(span, format!("{} can't be `{written}`", place.name));
                self.fault(fault.hint(format!("to be without it, write `{word}`")));
                true
            }
            None => false,
        }
    }

    fn number_in_quotes(&mut self, scalar: &Scalar, span: Span, want: &Want<'_>, place: &Place<'_>) -> bool {
        let number = want.integer.is_some() || want.number.is_some();
        let quoted = number && !scalar.plain && matches!(tree::kind(&scalar.text), Kind::Int(_) | Kind::Float(_));
        if quoted {
            let fault = Fault::error(span, format!("{} is a number, and quotes make it text", place.name));
            self.fault(fault.hint(format!("write {}", scalar.text)));
        }
        quoted
    }

    fn unknown_word(&mut self, word: &str, span: Span, want: &Want<'a>, place: &Place<'_>) {
        let names = names(want);
        let context = place.context.unwrap_or_default();
        let message = match context {
            "Strategy" => format!("`{word}` is not a strategy"),
            "PluginUse" => format!("`{word}` is not a plugin"),
            _ => format!("{} can't be `{word}`", place.name),
        };
        let fault = Fault::error(span, message);
        if context == "PluginUse" && ["name", "type", "plugin", "config", "settings"].contains(&word) {
            self.fault(fault.hint("the plugin's name is itself the key: `- headers: { .. }`"));
            return;
        }
        if let Some(name) = names.iter().find(|name| **name == word) {
            // It exists, but not without settings.
            self.fault(fault.hint(format!("it needs its settings: `{name}: {{ .. }}`")));
            return;
        }
        if (context == "PluginUse" && words::is_later_plugin(word)) || words::is_later(word) {
            self.fault(
                Fault::error(span, format!("`{word}` is not in this version of headgate"))
                    .hint(self.known(want, &names)),
            );
            return;
        }
        if let Some(name) = names.iter().find(|name| **name == snake(word)) {
            self.fault(fault.hint(format!("write `{name}`")));
        } else if let Some(hint) = words::foreign_value(context, word) {
            self.fault(fault.hint(hint));
        } else if let Some(name) = nearest(word, &names) {
            self.fault(fault.hint(format!("did you mean `{name}`? {}", self.known(want, &names))));
        } else {
            self.fault(fault.hint(self.known(want, &names)));
        }
    }

    fn known(&self, want: &Want<'_>, names: &[&str]) -> String {
        match want.choices.is_empty() && want.words.len() == names.len() {
            true => format!("allowed here: {}", want.describe()),
            false => format!("known are {}", listed(names)),
        }
    }

    /// A value of another kind than any that is wanted.
    fn mismatch(&mut self, node: &Node, want: &Want<'a>, place: &Place<'_>) -> Value {
        let span = Span { len: node.span.len.max(1), ..node.span };
        let found = match &node.data {
            Data::Broken => return Value::Null,
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a map".to_owned(),
            Data::Scalar(scalar) => show(scalar, place),
        };
        let mut hint = format!("it is {}", want.describe());
        let message = format!("{} can't be {found}", place.name);
        match (&node.data, want) {
            (Data::Scalar(scalar), Want { list: Some(_), .. }) if scalar.text.starts_with('-') && scalar.plain => {
                hint = "a list item needs a space after its `-`".into();
            }
            (Data::Scalar(scalar), Want { list: Some(list), .. }) if scalar.written.is_none() => {
                let bare = list.items.map(|items| Want::of(self.root, items));
                let bare = bare.is_some_and(|want| want.text.is_some() || !want.words.is_empty());
                hint = match bare && !scalar.text.contains(' ') {
                    true => format!("it is a list: `[{}]`", scalar.text),
                    false => "it is a list: begin each entry on a line of its own with `- `".into(),
                };
            }
            (Data::Map(_), Want { list: Some(_), map: None, .. }) => {
                hint = "it is a list: begin each entry with `- `".into();
            }
            (Data::List(_), Want { map: Some(object), .. }) if object.named.is_some() => {
                let settings =
                    object.named.map(|named| Want::of(self.root, named)).is_some_and(|want| want.map.is_some());
                let value = if settings { "settings: `NAME: { .. }`" } else { "value: `NAME: VALUE`" };
                hint = format!("it is a map from name to {value}, without `- `");
            }
            (Data::List(_), Want { text: Some(_), .. }) if place.key == "upstream" => {
                hint = "it is one name; several share a route as `upstreams: [{ name: .., weight: .. }, ..]`".into();
            }
            (Data::List(nodes), Want { text: Some(_), list: None, .. }) if nodes.len() == 1 => {
                hint = "it is one value, without `[` `]`; a text that begins with `[` has to be quoted".into();
            }
            (Data::Map(entries), Want { text: Some(_), map: None, .. })
                if entries.first().is_some_and(|entry| is_null(&entry.value)) =>
            {
                hint = format!("{hint}; a text that begins with `{{` has to be quoted");
            }
            (Data::Scalar(_), Want { map: Some(Object { definition: Some("Config"), .. }), .. }) => {
                hint = "it is YAML: lines of `key: value`, indented with spaces, the first of them as in `listeners:`"
                    .into();
            }
            (Data::Scalar(scalar), Want { map: Some(object), .. }) if scalar.written.is_none() => {
                if let Some(better) = self.map_hint(scalar, object, want) {
                    hint = better;
                }
            }
            (Data::Scalar(scalar), _) if want.boolean.is_some() && scalar.written.is_none() => {
                let yes = ["on", "yes", "y", "1", "enabled"].contains(&scalar.text.to_ascii_lowercase().as_str());
                let no = ["off", "no", "n", "0", "disabled"].contains(&scalar.text.to_ascii_lowercase().as_str());
                if (yes || no) && want.boolean == Some(None) {
                    hint = format!("write `{yes}`");
                } else if !scalar.plain && matches!(tree::kind(&scalar.text), Kind::Bool(_)) {
                    hint = format!("quotes make it text: write {}", scalar.text);
                }
            }
            (Data::Scalar(scalar), Want { integer: Some(_), .. }) if scalar.written.is_none() && !scalar.plain => {
                if self.number_in_quotes(scalar, span, want, place) {
                    return Value::Null;
                }
            }
            _ => {}
        }
        self.fault(Fault::error(span, message).hint(hint));
        Value::Null
    }

    /// What to write for a value where a map is wanted.
    fn map_hint(&self, scalar: &Scalar, object: &Object<'_>, want: &Want<'_>) -> Option<String> {
        let text = scalar.text.as_str();
        let names = object.names();
        if let Some((key, _)) = text.split_once(':').filter(|(key, _)| names.contains(key)) {
            return Some(format!("a space is missing after `{key}:`"));
        }
        let lower = text.to_ascii_lowercase();
        let definition = object.definition?;
        if ["off", "none", "no", "false", "disabled"].contains(&lower.as_str()) && want.words.is_empty() {
            return words::without(definition).map(str::to_owned);
        }
        if ["on", "yes", "true", "default", "auto", "enabled"].contains(&lower.as_str()) {
            return match object.required.is_empty() && object.exactly_one.is_empty() {
                true => Some("write `{}` for its defaults, or leave the key out where it is on anyway".into()),
                false => Some(format!("write `{{ {}: .. }}`", words::main_key(definition)?)),
            };
        }
        let key = words::main_key(definition)?;
        match want.describe() {
            _ if text.contains([' ', '\n']) || text.len() > 60 => None,
            _ if key == "endpoints" => Some(format!("write `{{ endpoints: [{text}] }}`")),
            _ => Some(format!("write `{{ {key}: {text} }}`")),
        }
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
fn example_of(missing: &[&str]) -> Option<String> {
    Some(match *missing.first()? {
        "listeners" => "as in `listeners: [{ address: 0.0.0.0:8080 }]`".into(),
        "endpoints" => "as in `endpoints: [127.0.0.1:3000]`".into(),
        "key" => "as in `key: client_ip`".into(),
        _ => return None,
    })
}

fn names<'s>(want: &Want<'s>) -> Vec<&'s str> {
    let mut names: Vec<&str> = want.words.iter().copied().chain(want.choices.iter().map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A scalar as it may be shown.
fn show(scalar: &Scalar, place: &Place<'_>) -> String {
    let text = scalar.written.as_deref().unwrap_or(&scalar.text);
    if place.secret && scalar.written.is_none() {
        return "this".into();
    }
    const LONGEST: usize = 60;
    match text.chars().count() > LONGEST {
        true => format!("`{}..`", printable(&text.chars().take(LONGEST).collect::<String>())),
        false => format!("`{}`", printable(text)),
    }
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

/// An expanded value may be a number or a bool where one is wanted; it is never nothing.
fn expanded_kind(text: &str) -> Kind {
    match tree::kind(text) {
        Kind::Null => Kind::Text,
        kind => kind,
    }
}

/// `0777`, not `0` and not `0x1f`.
fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `22:22`, which YAML 1.1 reads as 1342.
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = text.split(':');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(digits) && text.contains(':') && parts.all(|part| digits(part) && part.len() <= 2)
}

fn integer(number: i128) -> Value {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => Value::Number(number.into()),
        (_, Ok(number)) => Value::Number(number.into()),
        _ => Value::Null,
    }
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
