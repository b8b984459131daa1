//! Shares as people write them: `90%`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A share from 1 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

/// Why a text is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a share from 1% to 100%")]
pub struct ParsePercentError;

impl Percent {
    /// One in twenty.
    pub const FIVE: Self = Self(5);

    /// In thousandths, as providers' figures are kept.
    pub const fn permille(self) -> u32 {
        self.0 as u32 * 10
    }
}

impl FromStr for Percent {
    type Err = ParsePercentError;

    /// The sign may be left out: nothing else is meant by a number here.
    fn from_str(text: &str) -> Result<Self, ParsePercentError> {
        let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
        let share: u8 = digits.parse().map_err(|_| ParsePercentError)?;
        (1..=100)
            .contains(&share)
            .then_some(Self(share))
            .ok_or(ParsePercentError)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| de::Error::custom(format_args!("`{text}` {error}")))
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+%?$", "description": "A share from 1% to 100%" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows_shares() {
        for text in ["90%", "90", "90 %"] {
            let share: Percent = text.parse().unwrap();
            assert_eq!((share.to_string().as_str(), share.permille()), ("90%", 900), "{text}");
        }
        for text in ["", "%", "0%", "101%", "-5%", "0.9", "9 0"] {
            assert_eq!(text.parse::<Percent>(), Err(ParsePercentError), "{text}");
        }
    }
}
