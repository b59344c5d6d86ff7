//! The JSON Schema of the file, made from the types: what editors complete by, and what the validator holds a file to.

use schemars::Schema;
use serde_json::{Value, json};

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
