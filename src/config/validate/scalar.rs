//! One scalar against what is wanted: numbers, words, texts with a grammar, and the sentence for each that isn't one.

use std::path::Path;

use serde_yaml::{Number, Value};

use super::super::foreign;
use super::super::source::{Fault, Span};
use super::super::text;
use super::super::tree::{self, Data, Kind, Node, Scalar};
use super::super::want::{Object, Text, Want, listed};
use super::super::words::{self, nearest, snake};
use super::{Place, Validator, is_null, names, printable};

impl<'a> Validator<'a> {
    pub(super) fn scalar(&mut self, scalar: &Scalar, span: Span, want: &Want<'a>, place: &Place<'_>) -> Value {
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
                    let hint = match want.map {
                        Some(_) => format!("it is {}", want.describe()),
                        None if integers.only.is_some() => format!("it is {}{also}", integers.describe()),
                        None => format!("{near}: {}{also}", integers.describe()),
                    };
                    self.fault(Fault::error(span, message).hint(hint));
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
        let named = !want.words.is_empty() || !want.choices.is_empty();
        let settings = on && want.map.is_some();
        let word = named && kind == Kind::Text && !settings;
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
                let hidden = scalar.written.is_some() && !text::is_secret(name);
                let hint = match (hidden, want.words.as_slice()) {
                    (true, _) => format!("it is {}", want.describe()),
                    (false, []) => sentence,
                    (false, _) if sentence.starts_with("write") => sentence,
                    (false, words) => format!("{sentence}; or write {}", listed(words)),
                };
                let message = format!("{} can't be {shown}", place.name);
                let fault = match nearest(written, &want.words).filter(|_| !want.words.is_empty()) {
                    Some(word) => Fault::error(span, message).hint(format!("did you mean `{word}`?")),
                    None => Fault::error(span, message).hint(hint),
                };
                self.fault(fault);
            }
            return value;
        }
        if text.name == Some("File") {
            return self.file(scalar, span, place);
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
                let hint = match (kind, place.key.as_str()) {
                    _ if place.secret => "quote it".into(),
                    (Kind::Bool(_), "cookie" | "session" | "source") => {
                        format!("a name is wanted: `{}: NAME`", place.key)
                    }
                    _ => format!("write \"{written}\""),
                };
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

    /// A file that is named, as `File` is decoded: its place and what it holds.
    fn file(&mut self, scalar: &Scalar, span: Span, place: &Place<'_>) -> Value {
        let (path, text) = (self.read)(span.file, Path::new(&scalar.text));
        match text {
            Ok(text) => Value::Mapping(
                [("path", path.to_string_lossy().into_owned()), ("text", text)]
                    .map(|(key, value)| (key.into(), value.into()))
                    .into_iter()
                    .collect(),
            ),
            Err(reason) => {
                let mut fault = Fault::error(span, format!("{} can't be read: {reason}", place.name));
                if scalar.text.starts_with("http://") || scalar.text.starts_with("https://") {
                    let file = if place.key == "jwks" { "keys.json" } else { "FILE" };
                    fault = fault.hint(format!(
                        "files are read, and nothing is fetched: `curl -fsS -o {file} URL`, and write `{}: {file}`",
                        place.key
                    ));
                } else if scalar.written.is_none() && Path::new(&scalar.text).is_relative() {
                    fault = fault.hint(format!("paths begin at the file that names them: `{}`", path.display()));
                }
                self.fault(fault);
                Value::Null
            }
        }
    }

    /// A word for "nothing" where there is one of ours; true where that was said.
    fn off(&mut self, written: &str, span: Span, want: &Want<'_>, place: &Place<'_>) -> bool {
        const NOTHING: [&str; 12] =
            ["0", "0s", "0ms", "none", "off", "no", "false", "never", "disabled", "unlimited", "infinite", "infinity"];
        let ours = want.words.iter().find(|word| ["none", "off"].contains(word));
        match ours
            .filter(|_| place.context != Some("SameSite") && NOTHING.contains(&written.to_ascii_lowercase().as_str()))
        {
            Some(word) => {
                let fault = Fault::error(span, format!("{} can't be `{written}`", place.name));
                self.fault(fault.hint(format!("to be without it, write `{word}`")));
                true
            }
            None => false,
        }
    }

    fn number_in_quotes(&mut self, scalar: &Scalar, span: Span, want: &Want<'_>, place: &Place<'_>) -> bool {
        let number = (want.integer.is_some() || want.number.is_some()) && scalar.written.is_none();
        let quoted = number && !scalar.plain && matches!(tree::kind(&scalar.text), Kind::Int(_) | Kind::Float(_));
        if quoted {
            let fault = Fault::error(span, format!("{} is a number, and quotes make it text", place.name));
            self.fault(fault.hint(format!("write {}", scalar.text)));
        }
        quoted
    }

    pub(super) fn unknown_word(&mut self, word: &str, span: Span, want: &Want<'a>, place: &Place<'_>) {
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
        if (context == "PluginUse" && foreign::is_later_plugin(word)) || foreign::is_later(word) {
            self.fault(
                Fault::error(span, format!("`{word}` is not in this version of headgate"))
                    .hint(self.known(want, &names)),
            );
            return;
        }
        if let Some(name) = names.iter().find(|name| **name == snake(word)) {
            self.fault(fault.hint(format!("write `{name}`")));
        } else if let Some(hint) = foreign::foreign_value(context, word) {
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
    pub(super) fn mismatch(&mut self, node: &Node, want: &Want<'a>, place: &Place<'_>) -> Value {
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
            (Data::Scalar(scalar), Want { integer: Some(_), .. })
                if self.number_in_quotes(scalar, span, want, place) =>
            {
                return Value::Null;
            }
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
            (Data::Scalar(scalar), _) if self.number_in_quotes(scalar, span, want, place) => return Value::Null,
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
        // HAProxy's and nginx's `cookie SRV insert indirect`.
        if let (Some(rest), "Sticky") = (text.strip_prefix("cookie "), definition) {
            return Some(format!("write `{{ cookie: {} }}`", rest.split_whitespace().next().unwrap_or("srv")));
        }
        if ["off", "none", "no", "false", "disabled"].contains(&lower.as_str()) && want.words.is_empty() {
            return words::without(definition).map(str::to_owned);
        }
        if definition == "Sticky" {
            let by_address = ["ip", "ip_hash", "source", "source_ip", "client_ip"].contains(&lower.as_str());
            let strategy = "by the client's address is a strategy: `strategy: ip_hash`";
            return if by_address { Some(strategy) } else { words::choice_of(definition) }.map(str::to_owned);
        }
        if want.boolean == Some(None) && ["on", "yes", "enabled", "off", "no", "disabled"].contains(&lower.as_str()) {
            return Some(format!("write `{}`", ["on", "yes", "enabled"].contains(&lower.as_str())));
        }
        if ["on", "yes", "true", "default", "auto", "enabled"].contains(&lower.as_str()) {
            return match object.required.is_empty() && object.exactly_one.is_empty() && object.at_least_one.is_empty() {
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

/// An expanded value may be a number or a bool where one is wanted; it is never nothing.
fn expanded_kind(text: &str) -> Kind {
    let kind = tree::kind(text);
    if kind == Kind::Null { Kind::Text } else { kind }
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

pub(super) fn integer(number: i128) -> Value {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => Value::Number(number.into()),
        (_, Ok(number)) => Value::Number(number.into()),
        _ => Value::Null,
    }
}
