//! Lengths of time as people write them: `250ms`, `10s`, `5m`, `1h`, `90d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// Why a text is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a length of time such as 250ms, 10s, 5m, 1h or 90d")]
pub struct ParsePeriodError;

/// Units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Period {
    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, ParsePeriodError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let count: u64 = count.parse().map_err(|_| ParsePeriodError)?;
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(ParsePeriodError)?;
        count
            .checked_mul(*ms)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or(ParsePeriodError)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let (unit, size) = UNITS
            .iter()
            .find(|(_, size)| ms >= *size && ms.is_multiple_of(*size))
            .unwrap_or(&("s", 1_000));
        write!(f, "{}{unit}", ms / size)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| de::Error::custom(format_args!("`{text}` {error}")))
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "A length of time: 250ms, 10s, 5m, 1h, 90d" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("90d", 7_776_000_000),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0.as_millis(), ms, "{text}");
            assert_eq!(period.to_string(), text);
        }
        for text in ["", "10", "s", "1.5s", "-1s", "10 s", "1w"] {
            assert_eq!(text.parse::<Period>(), Err(ParsePeriodError), "{text}");
        }
    }
}
