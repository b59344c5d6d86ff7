//! `docs/configuration.md` from the schema: a table a section, a row a key. What a key means and its default come from
//! the doc comments of the configuration types, so they are written once.

use std::fmt::Write;

use serde_json::Value;

/// The order of the sections: what everybody writes first.
const ORDER: [&str; 10] =
    ["listeners", "upstreams", "routes", "sessions", "stores", "cookies", "include", "process", "admin", "telemetry"];

/// The sections of the file, then those of the plugins.
pub(super) fn made(schema: &Value, plugins: &[(String, Value)]) -> String {
    let mut reference = Reference { root: schema, text: String::new(), shown: Vec::new() };
    let keys = schema["properties"].as_object().unwrap();
    assert_eq!(keys.len(), ORDER.len(), "a section is missing in ORDER: {:?}", keys.keys());
    for key in ORDER {
        reference.section(2, key, &keys[key]);
    }
    for (name, settings) in plugins {
        let mut plugin = Reference { root: settings, text: String::new(), shown: Vec::new() };
        plugin.object(2, &format!("plugin {name}"), settings, None);
        reference.text += &plugin.text;
    }
    reference.text
}

/// The page being written.
struct Reference<'a> {
    root: &'a Value,
    text: String,
    /// Objects that have their section already, and its heading.
    shown: Vec<(&'a Value, String)>,
}

impl<'a> Reference<'a> {
    /// A key of the file's top level: its own heading even where it is a plain list.
    fn section(&mut self, level: usize, key: &str, schema: &'a Value) {
        let about = schema["description"].as_str();
        let objects = self.objects(key, schema);
        if objects.is_empty() {
            let row = self.row(key, schema, false);
            writeln!(self.text, "\n## `{key}`\n\n{HEAD}\n{row}").unwrap();
        }
        for (path, object) in objects {
            self.object(level, &path, object, about);
        }
    }

    /// A section with a row for each key, then the sections of what the keys hold.
    fn object(&mut self, level: usize, path: &str, object: &'a Value, about: Option<&str>) {
        let about = line(about.or(object["description"].as_str()).unwrap_or_default());
        let keys: Vec<(&String, &'a Value)> = object["properties"].as_object().into_iter().flatten().collect();
        // Known before its rows are made, so that they can point at what is below them.
        self.shown.push((object, path.to_owned()));
        let mut below: Vec<(String, &'a Value)> = Vec::new();
        for &(key, schema) in &keys {
            for (path, found) in self.objects(&format!("{path}.{key}"), schema) {
                if !self.shown.iter().any(|(seen, _)| std::ptr::eq(*seen, found)) {
                    self.shown.push((found, path.clone()));
                    below.push((path, found));
                }
            }
        }
        let required: Vec<_> = object["required"].as_array().into_iter().flatten().collect();
        writeln!(self.text, "\n{} `{path}`\n\n{about}", "#".repeat(level)).unwrap();
        for (word, said) in [
            ("x-exactly-one", "Exactly one of"),
            ("x-at-most-one", "At most one of"),
            ("x-at-least-one", "At least one of"),
        ] {
            if let Some(keys) = object[word].as_array() {
                let keys: Vec<_> = keys.iter().map(|key| format!("`{}`", plain(key))).collect();
                writeln!(self.text, "{said} {} is written.", keys.join(", ")).unwrap();
            }
        }
        if keys.is_empty() {
            writeln!(self.text, "\nNo settings.").unwrap();
            return;
        }
        writeln!(self.text, "\n{HEAD}").unwrap();
        for &(key, schema) in &keys {
            let row = self.row(key, schema, required.iter().any(|name| name.as_str() == Some(key)));
            writeln!(self.text, "{row}").unwrap();
        }
        for (path, found) in below {
            self.object(3, &path, found, None);
        }
    }

    fn row(&self, key: &str, schema: &'a Value, required: bool) -> String {
        let about = line(schema["description"].as_str().unwrap_or_default());
        let (meaning, default) = match (about.split_once("Default: "), about.split_once("Absent: ")) {
            (Some((meaning, default)), _) => (meaning, code(default.trim_end_matches('.'))),
            (_, Some((meaning, absent))) => (meaning, format!("absent: {}", absent.trim_end_matches('.'))),
            _ if required => (about.as_str(), "**required**".to_owned()),
            _ => (about.as_str(), String::new()),
        };
        format!("| `{key}` | {} | {default} | {} |", self.value(schema), meaning.trim_end().replace('|', "\\|"))
    }

    /// What may be written as the value.
    fn value(&self, schema: &'a Value) -> String {
        if let Some(heading) = self.heading(schema) {
            return format!("[settings](#{})", slug(heading));
        }
        if let Some(word) = schema["x-text"].as_str() {
            return text(word);
        }
        if let Some(found) = self.referred(schema) {
            return self.value(found);
        }
        if let Some(literal) = schema.get("const") {
            return format!("`{}`", plain(literal));
        }
        for several in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[several].as_array() {
                let choices: Vec<_> =
                    choices.iter().filter(|choice| choice["type"] != "null").map(|choice| self.value(choice)).collect();
                return choices.join(", ");
            }
        }
        if let Some(literals) = schema["enum"].as_array() {
            return literals.iter().map(|literal| format!("`{}`", plain(literal))).collect::<Vec<_>>().join(", ");
        }
        let kinds = schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let kind =
            schema["type"].as_str().or_else(|| kinds.into_iter().find(|kind| *kind != "null")).unwrap_or_default();
        match (kind, schema["properties"].as_object()) {
            ("array", _) => format!("list: {}", self.value(&schema["items"])),
            // A choice with settings.
            ("object", Some(keys)) if keys.len() == 1 => {
                let (name, settings) = keys.iter().next().unwrap();
                format!("`{name}:` {}", self.value(settings))
            }
            ("object", _) => format!("name: {}", self.value(&schema["additionalProperties"])),
            ("integer" | "number", _) => range(schema),
            ("boolean", _) => "`true`, `false`".to_owned(),
            ("string", _) => "text".to_owned(),
            _ => "a [plugin](plugins.md)".to_owned(),
        }
    }

    /// The heading of the section that describes exactly this.
    fn heading(&self, schema: &'a Value) -> Option<&str> {
        let object = self.referred(schema).unwrap_or(schema);
        self.shown.iter().find(|(seen, _)| std::ptr::eq(*seen, object)).map(|(_, path)| path.as_str())
    }

    fn referred(&self, schema: &'a Value) -> Option<&'a Value> {
        let name = schema["$ref"].as_str()?.strip_prefix("#/$defs/")?;
        Some(&self.root["$defs"][name])
    }

    /// The objects with keys that a value may hold, each with its path in the file.
    fn objects(&self, path: &str, schema: &'a Value) -> Vec<(String, &'a Value)> {
        if let Some(found) = self.referred(schema) {
            return self.objects(path, found);
        }
        let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        if let Some(choices) = choices {
            let mut all: Vec<(String, &'a Value)> = Vec::new();
            for (path, found) in choices.iter().flat_map(|choice| self.objects(path, choice)) {
                if !all.iter().any(|(_, seen)| std::ptr::eq(*seen, found)) {
                    all.push((path, found));
                }
            }
            return all;
        }
        if let Some(keys) = schema["properties"].as_object() {
            let choice = schema["required"].as_array().is_some_and(|required| required.len() == 1) && keys.len() == 1;
            let of_a_choice =
                choice.then(|| keys.iter().next().unwrap()).filter(|(_, held)| held.get("$ref").is_some());
            return match of_a_choice {
                Some((name, settings)) => self.objects(&format!("{path}.{name}"), settings),
                None => vec![(path.to_owned(), schema)],
            };
        }
        if schema["items"].is_object() {
            return self.objects(&format!("{path}[]"), &schema["items"]);
        }
        if schema["additionalProperties"].is_object() {
            return self.objects(&format!("{path}.NAME"), &schema["additionalProperties"]);
        }
        Vec::new()
    }
}

const HEAD: &str = "| key | value | default | meaning |\n|---|---|---|---|";

/// The texts with a grammar of their own; the page explains time, size and percent at its top.
fn text(name: &str) -> String {
    match name {
        "Duration" => "time",
        "Size" => "size",
        "Percent" => "percent",
        "ListenAddress" => "`IP:port`, `[IPv6]:port`, `unix:/path`",
        "EndpointAddress" => "`host:port`, `[IPv6]:port`, `unix:/path`",
        "Network" => "address or network (`10.0.0.0/8`)",
        "Method" => "method",
        "StatusRange" => "status or range (`200-299`)",
        "HostHeader" => "`keep`, `endpoint`, or a host",
        "AccessLogFormat" => "`json`, `combined`, or a template",
        "HashKey" => "key",
        "Store" => "`memory`, `redis://..`, `rediss://..`",
        "StoreUse" => "`memory`, `redis://..`, `rediss://..`, a name in `stores`",
        "RedisUrl" => "`redis://..`, `rediss://..`",
        "SentinelAddress" => "`HOST:PORT` or URL",
        "SessionKey" => "text with `{id}`",
        "RevokedKey" => "text with `{jti}`",
        "CacheTime" => "time, or `0s`",
        "FieldPath" => "path of names (`passport.user`)",
        "File" => "file",
        _ => panic!("say in reference.rs what a {name} looks like"),
    }
    .to_owned()
}

fn range(schema: &Value) -> String {
    // Without a real bound schemars writes that of the integer's type.
    let bound = |key: &str| schema[key].as_f64().filter(|bound| *bound != 65535.0 && *bound != 255.0);
    match (bound("minimum"), bound("maximum")) {
        (Some(from), Some(to)) => format!("number, {from} to {to}"),
        (Some(from), None) if from > 0.0 => format!("number, {from} or more"),
        _ => "number".to_owned(),
    }
}

fn line(text: &str) -> String {
    text.replace('\n', " ")
}

fn plain(literal: &Value) -> String {
    literal.as_str().map_or_else(|| literal.to_string(), str::to_owned)
}

/// A default in code font; a remark in brackets behind it stays text.
fn code(default: &str) -> String {
    match default.split_once(" (").or(default.split_once(", ").filter(|_| !default.starts_with('['))) {
        Some((value, remark)) => format!("`{value}` ({}", remark.trim_end_matches(')').to_owned() + ")"),
        None => format!("`{default}`"),
    }
}

/// The anchor that Markdown gives a heading.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
            _ => None,
        })
        .collect()
}
