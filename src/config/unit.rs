//! Quantities with their unit, as written: `250ms`, `32KiB`, `20%`; and the words that stand for "no such thing".

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::text;

/// A length of time: a number and `ms`, `s`, `m`, `h` or `d`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

/// A number of bytes: a number and `B`, `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A share: a whole number from 0 to 100 and `%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

/// A value, or the word `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

/// A value, or the word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrOff<T>(pub Option<T>);

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

// === impl Duration ===

/// Longer is surely a slip, and would overflow a clock.
const LONGEST_DAYS: u64 = 3650;
const MS_PER_DAY: f64 = 86_400_000.0;

impl Duration {
    /// For defaults: whole seconds.
    pub(crate) const fn secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text).ok_or("a duration is a number and its unit, as in `250ms`, `5s`, `1h`")?;
        let ms = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => MS_PER_DAY,
            "" => return Err(format!("a duration needs its unit: `{text}s` or `{text}ms`")),
            "sec" | "secs" | "second" | "seconds" | "S" => return Err(format!("write `{number}s`")),
            "min" | "mins" | "minute" | "minutes" | "M" => return Err(format!("write `{number}m`")),
            "hour" | "hours" | "hr" | "H" => return Err(format!("write `{number}h`")),
            "day" | "days" | "D" => return Err(format!("write `{number}d`")),
            "msec" | "millis" | "milliseconds" | "MS" => return Err(format!("write `{number}ms`")),
            _ if unit.chars().any(|c| c.is_ascii_digit()) => {
                return Err(format!("a duration has one number and one unit; `{text}` has more"));
            }
            _ => return Err(format!("`{unit}` is not a unit of time: ms, s, m, h or d")),
        };
        let ms = number.parse::<f64>().map_err(|_| format!("`{number}` is not a number"))? * ms;
        if ms > LONGEST_DAYS as f64 * MS_PER_DAY {
            return Err(format!("a duration is at most {LONGEST_DAYS}d"));
        }
        let duration = std::time::Duration::from_micros((ms * 1_000.0).round() as u64);
        if duration.is_zero() {
            return Err("a duration of zero is never what is meant; a key that can be without one says `none`".into());
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if !micros.is_multiple_of(1_000) {
            return write!(f, "{}ms", micros as f64 / 1_000.0);
        }
        let ms = micros / 1_000;
        // The largest unit of which it is a whole number, but seconds up to a minute.
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let fits = |(_, size): &&(&str, u128)| ms.is_multiple_of(*size) && (ms > 60_000 || *size <= 1_000);
        match units.iter().find(fits) {
            Some((unit, size)) => write!(f, "{}{unit}", ms / size),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

text!(Duration, "Duration", r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$");

// === impl Size ===

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text).ok_or("a size is a number and its unit, as in `32KiB`, `10MiB`")?;
        let factor = match unit {
            "B" => 1,
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            "" => return Err(format!("a size needs its unit: `{text}B`, `{text}KiB` or `{text}MiB`")),
            _ => {
                return Err(match unit.to_ascii_lowercase().as_str() {
                    "b" | "bytes" => format!("write `{number}B`"),
                    "k" | "kb" | "kib" => format!("write `{number}KiB` (1024 bytes)"),
                    "m" | "mb" | "mib" => format!("write `{number}MiB` (1024 * 1024 bytes)"),
                    "g" | "gb" | "gib" => format!("write `{number}GiB`"),
                    _ => format!("`{unit}` is not a unit of size: B, KiB, MiB or GiB"),
                });
            }
        };
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(factor),
            Err(_) => return Err(format!("`{number}` is not a whole number; choose a smaller unit")),
        };
        match bytes {
            Some(bytes) if bytes <= i64::MAX as u64 => Ok(Self(bytes)),
            _ => Err("that is more bytes than can be counted".into()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0B"),
            n if n % GIB == 0 => write!(f, "{}GiB", n / GIB),
            n if n % MIB == 0 => write!(f, "{}MiB", n / MIB),
            n if n % KIB == 0 => write!(f, "{}KiB", n / KIB),
            n => write!(f, "{n}B"),
        }
    }
}

text!(Size, "Size", r"^[0-9]+(B|KiB|MiB|GiB)$");

// === impl Percent ===

impl Percent {
    /// The share as a fraction: `20%` is 0.2.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else {
            return Err(match text.parse::<f64>() {
                Ok(n) if n > 0.0 && n < 1.0 => format!("a share is written in percent: `{}%`", (n * 100.0).round()),
                Ok(_) => format!("a share needs its sign: `{text}%`"),
                Err(_) => "a share is a whole number and `%`, as in `20%`".into(),
            });
        };
        match number.parse::<u8>() {
            Ok(percent) if percent <= 100 => Ok(Self(percent)),
            _ => Err("a share is a whole number from `0%` to `100%`".into()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

text!(Percent, "Percent", r"^(100|[0-9]{1,2})%$");

/// `250ms` as `("250", "ms")`; nothing where it doesn't begin with a digit.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number.starts_with(|c: char| c.is_ascii_digit()).then_some((number, unit.trim_start()))
}

// === impl OrNone, OrOff ===

macro_rules! or_word {
    ($type:ident, $word:literal) => {
        impl<'de, T: DeserializeOwned> Deserialize<'de> for $type<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // Buffered as JSON, because it reads `name: settings` as a choice without help.
                match serde_json::Value::deserialize(deserializer)? {
                    serde_json::Value::String(word) if word == $word => Ok(Self(None)),
                    value => serde_json::from_value(value).map(|value| Self(Some(value))).map_err(D::Error::custom),
                }
            }
        }

        impl<T: Serialize> Serialize for $type<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match &self.0 {
                    Some(value) => value.serialize(serializer),
                    None => serializer.serialize_str($word),
                }
            }
        }

        impl<T: JsonSchema> JsonSchema for $type<T> {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                format!(concat!(stringify!($type), "{}"), T::schema_name()).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let value = generator.subschema_for::<T>();
                schemars::json_schema!({ "anyOf": [{ "type": "string", "const": $word }, value] })
            }
        }
    };
}

or_word!(OrNone, "none");
or_word!(OrOff, "off");

impl<T> Default for OrNone<T> {
    fn default() -> Self {
        Self(None)
    }
}

// === impl OneOrMany ===

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let value = if value.is_array() { value } else { serde_json::Value::Array(vec![value]) };
        serde_json::from_value(value).map(Self).map_err(D::Error::custom)
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
