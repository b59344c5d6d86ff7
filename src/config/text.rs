//! A text with a grammar of its own (`250ms`, `32KiB`, `10.0.0.0/8`): written as one YAML scalar, read by its type.
//!
//! The type's `FromStr` is the only parser: serde decodes with it, and the validator finds it again through the
//! schema's `x-text` and shows its sentence at the place of the value. Each parse error is a whole sentence that says
//! what to write instead.

use std::str::FromStr;

use super::address::{EndpointAddress, ListenAddress, Network};
use super::fitness::StatusRange;
use super::route::Method;
use super::telemetry::AccessLogFormat;
use super::unit::{Duration, Percent, Size};
use super::upstream::HostHeader;
use crate::strategy;

/// Gives a `FromStr + Display` type its serde and schema faces.
macro_rules! text {
    ($type:ty, $name:literal, $pattern:literal $(, $number:ident)?) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = $crate::config::text::scalar(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let kind = $crate::config::text::kind(&[$(stringify!($number))?]);
                schemars::json_schema!({ "type": kind, "pattern": $pattern, "x-text": $name })
            }
        }
    };
}
pub(crate) use text;

/// Reads one scalar as text; a whole number is taken as it is written (`status: 200`).
pub(crate) fn scalar<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Visitor;
    impl serde::de::Visitor<'_> for Visitor {
        type Value = String;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("text")
        }
        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_u64<E>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// The JSON type of a text: a string, or a string or a whole number.
pub(crate) fn kind(also: &[&str]) -> serde_json::Value {
    if also.is_empty() { "string".into() } else { serde_json::json!(["string", "integer"]) }
}

/// Parses `text` by the grammar that the schema calls `name`; an unknown name accepts all.
pub(super) fn check(name: &str, text: &str) -> Result<(), String> {
    fn parses<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
        text.parse::<T>().map(drop)
    }
    match name {
        "Duration" => parses::<Duration>(text),
        "Size" => parses::<Size>(text),
        "Percent" => parses::<Percent>(text),
        "ListenAddress" => parses::<ListenAddress>(text),
        "EndpointAddress" => parses::<EndpointAddress>(text),
        "Network" => parses::<Network>(text),
        "Method" => parses::<Method>(text),
        "StatusRange" => parses::<StatusRange>(text),
        "HostHeader" => parses::<HostHeader>(text),
        "AccessLogFormat" => parses::<AccessLogFormat>(text),
        "HashKey" => parses::<strategy::HashKey>(text),
        _ => Ok(()),
    }
}
