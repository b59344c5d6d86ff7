//! The JSON Schema of the file, made from the types: what editors complete by, and what the validator holds a file to.

use schemars::Schema;
use serde_json::{Map, Value, json};

use super::{Config, PluginSchemas};

/// The JSON Schema (draft 2020-12) of the whole file, plugins' settings included, for editors: units are patterned
/// texts, and `${..}` is accepted wherever a scalar is.
#[must_use]
pub fn schema(plugins: &PluginSchemas) -> Value {
    let mut schema = whole(plugins);
    publish(&mut schema);
    schema
}

/// Every key that `schema` knows, as in `listeners[].limits.body` and `upstreams.*.endpoints[].weight`: for tests that
/// hold each key to an effect.
#[must_use]
pub fn key_paths(schema: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect_paths(schema, schema, "", &mut paths);
    paths.sort();
    paths.dedup();
    paths
}

fn collect_paths(root: &Value, schema: &Value, at: &str, paths: &mut Vec<String>) {
    let schema = resolve(root, schema);
    for (key, value) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        collect_paths(root, value, &path, paths);
        paths.push(path);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        collect_paths(root, values, &format!("{at}.*"), paths);
    }
    if let Some(items) = schema.get("items") {
        collect_paths(root, items, &format!("{at}[]"), paths);
    }
    for branch in ["anyOf", "oneOf"].iter().filter_map(|word| schema.get(word)?.as_array()).flatten() {
        collect_paths(root, branch, at, paths);
    }
}

/// The schema that the validator reads: with our own `x-` words.
pub(super) fn whole(plugins: &PluginSchemas) -> Value {
    let mut root = schemars::schema_for!(Config).to_value();
    if let Some(defs) = root.get_mut("$defs").and_then(Value::as_object_mut) {
        let uses = plugins.iter().flat_map(|(name, schema)| plugin(name, schema, defs)).collect::<Vec<_>>();
        let description = "A plugin: its name, or its name with settings.";
        let known = if uses.is_empty() { json!({ "not": {} }) } else { json!({ "oneOf": uses }) };
        let mut entry = json!({ "description": description });
        if let (Some(entry), Value::Object(known)) = (entry.as_object_mut(), known) {
            entry.extend(known);
        }
        defs.insert("PluginUse".into(), entry);
    }
    tidy(&mut root);
    root
}

/// Adds a plugin's definitions under names of its own; the ways to write its use.
fn plugin(name: &str, schema: &Schema, defs: &mut Map<String, Value>) -> Vec<Value> {
    let prefix = format!("plugin.{name}");
    let mut settings = schema.clone().to_value();
    let mut own = Map::new();
    if let Some(object) = settings.as_object_mut() {
        object.remove("$schema");
        if let Some(Value::Object(defs)) = object.remove("$defs") {
            own = defs;
        }
    }
    rename_refs(&mut settings, &prefix);
    let bare = settings.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty);
    for (def, mut value) in own {
        rename_refs(&mut value, &prefix);
        defs.insert(format!("{prefix}.{def}"), value);
    }
    let description = settings.get("description").cloned();
    defs.insert(prefix.clone(), settings);
    let mut with_settings = json!({
        "type": "object",
        "properties": { name: { "$ref": format!("#/$defs/{prefix}") } },
        "required": [name],
        "additionalProperties": false,
    });
    let mut alone = json!({ "type": "string", "const": name });
    for way in [&mut with_settings, &mut alone] {
        if let (Some(way), Some(description)) = (way.as_object_mut(), &description) {
            way.insert("description".into(), description.clone());
        }
    }
    if bare { vec![with_settings, alone] } else { vec![with_settings] }
}

fn rename_refs(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref") {
                *target = match target.strip_prefix("#/$defs/") {
                    Some(def) => format!("#/$defs/{prefix}.{def}"),
                    None => format!("#/$defs/{prefix}"),
                };
            }
            map.values_mut().for_each(|value| rename_refs(value, prefix));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename_refs(value, prefix)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Absence is not writing a key, never `null`; and a description is one line.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".into(), one);
                }
            }
            if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
                branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
                if branches.len() == 1
                    && let Some(Value::Object(only)) = branches.pop()
                {
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// For editors: without our own words, and with `${..}` beside every scalar that is not any text anyway.
fn publish(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(publish),
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("x-"));
            // A reference would match several words at once.
            if map
                .get("oneOf")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|one| one.get("type").is_some()))
                && let Some(branches) = map.remove("oneOf")
            {
                map.insert("anyOf".into(), branches);
            }
            for (key, value) in map.iter_mut() {
                match key.as_str() {
                    // Values, not schemas.
                    "default" | "const" | "enum" | "required" => {}
                    "properties" | "$defs" => {
                        value.as_object_mut().into_iter().flatten().for_each(|(_, schema)| publish(schema));
                    }
                    _ => publish(value),
                }
            }
            if is_narrow_scalar(map) {
                const NARROW: [&str; 8] =
                    ["type", "pattern", "const", "enum", "minimum", "maximum", "format", "minLength"];
                let narrow: Map<String, Value> = NARROW.iter().filter_map(|key| map.remove_entry(*key)).collect();
                map.insert("anyOf".into(), json!([narrow, { "type": "string", "pattern": r"\$\{.+\}" }]));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_narrow_scalar(map: &Map<String, Value>) -> bool {
    match map.get("type") {
        Some(Value::String(kind)) if kind == "string" => {
            ["pattern", "const", "enum", "minLength"].iter().any(|key| map.contains_key(*key))
        }
        Some(Value::String(kind)) => ["integer", "number", "boolean"].contains(&kind.as_str()),
        Some(Value::Array(_)) => true,
        _ => false,
    }
}

/// Follows `$ref` to the definition that it names.
pub(super) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    definition(schema).and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

/// The name of the definition that a schema refers to.
pub(super) fn definition(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// Holds an object to exactly one of `keys`.
pub(super) fn exactly_one(schema: &mut Schema, keys: &[&str]) {
    exclusive(schema, "x-exactly-one", keys, keys.iter().map(|key| json!({ "required": [key] })).collect());
}

/// Holds an object to at most one of `keys`.
pub(super) fn at_most_one(schema: &mut Schema, keys: &[&str]) {
    let one = keys.iter().map(|key| json!({ "required": [key] }));
    let none = json!({ "not": { "anyOf": one.clone().collect::<Vec<_>>() } });
    exclusive(schema, "x-at-most-one", keys, one.chain([none]).collect());
}

/// `oneOf` is for editors; the validator reads `word`, which names the keys for its message.
fn exclusive(schema: &mut Schema, word: &str, keys: &[&str], branches: Vec<Value>) {
    let object = schema.ensure_object();
    object.insert(word.into(), json!(keys));
    if let Value::Array(all) = object.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ "oneOf": branches }));
    }
}
