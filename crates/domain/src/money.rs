//! Dollars, exactly.
//!
//! Money is a signed count of nano-dollars in 64 bits: enough for nine billion dollars and fine enough that the
//! cheapest token of today (two cents per million) is twenty units. Floating point never touches it. People and
//! APIs see decimal strings (`10.50`), the journal and the database see the integer.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// An amount of US dollars in nano-dollars. Arithmetic saturates: an overflow would need nine billion dollars, and
/// an amount that sticks at the end of the range is safer than one that wraps to the other sign.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMoneyError {
    /// Not of the form `-12.345`.
    #[error("is not a decimal number of dollars such as 10.50")]
    Syntax,
    /// More than nine digits after the point that are not zero.
    #[error("has more than nine decimals; the smallest amount is 0.000000001")]
    TooFine,
    /// Beyond the range of 64-bit nano-dollars.
    #[error("is too large; amounts go up to 9223372036 dollars")]
    TooLarge,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(i64::MAX);

    /// From a count of nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole dollars.
    pub const fn from_dollars(dollars: i32) -> Self {
        Self(dollars as i64 * NANOS_PER_DOLLAR)
    }

    /// The count of nano-dollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// From a 128-bit count of nano-dollars; saturates at the ends of the range.
    pub fn from_nanos_wide(nanos: i128) -> Self {
        Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Whether nothing, or less, is there.
    pub const fn is_spent(self) -> bool {
        self.0 <= 0
    }
}

impl FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(ParseMoneyError::Syntax);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 9 {
            return Err(ParseMoneyError::TooFine);
        }
        let whole: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| ParseMoneyError::TooLarge)?
        };
        let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| ParseMoneyError::Syntax)?;
        let nanos = whole
            .checked_mul(NANOS_PER_DOLLAR)
            .and_then(|nanos| nanos.checked_add(fraction))
            .ok_or(ParseMoneyError::TooLarge)?;
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}

impl fmt::Display for Money {
    /// At least two decimals, at most nine, no trailing zeros beyond the second: `10.50`, `0.0000025`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let dollar = NANOS_PER_DOLLAR as u64;
        let (mut decimals, mut shown) = (magnitude % dollar, 9);
        while shown > 2 && decimals % 10 == 0 {
            (decimals, shown) = (decimals / 10, shown - 1);
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        f.pad(&format!("{sign}{}.{decimals:0shown$}", magnitude / dollar))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${self}")
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Reads the text of the scalar, so that YAML's `0.1` never passes through a binary fraction.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Money;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of dollars such as 10.50")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
                text.parse()
                    .map_err(|error| E::custom(format_args!("`{text}` {error}")))
            }
            fn visit_i64<E: de::Error>(self, dollars: i64) -> Result<Money, E> {
                self.visit_str(&dollars.to_string())
            }
            fn visit_u64<E: de::Error>(self, dollars: u64) -> Result<Money, E> {
                self.visit_str(&dollars.to_string())
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "description": "US dollars with decimals, such as 10.50" })
    }
}

/// Serde as the integer count of nano-dollars: for the journal and the database, where a decimal text would have to
/// be parsed again by SQL.
pub mod nanos {
    use super::{Deserialize, Deserializer, Money, Serializer};

    /// Writes the integer.
    pub fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(money.0)
    }

    /// Reads the integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        i64::deserialize(deserializer).map(Money)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_shows_decimals() {
        for (text, nanos, shown) in [
            ("10.50", 10_500_000_000, "10.50"),
            ("10.5", 10_500_000_000, "10.50"),
            ("-2.5", -2_500_000_000, "-2.50"),
            ("0.0000025", 2_500, "0.0000025"),
            (".5", 500_000_000, "0.50"),
            ("7", 7_000_000_000, "7.00"),
            ("1.0000000000", 1_000_000_000, "1.00"),
        ] {
            let money: Money = text.parse().unwrap();
            assert_eq!(money.nanos(), nanos, "{text}");
            assert_eq!(money.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_money() {
        for (text, error) in [
            ("", ParseMoneyError::Syntax),
            (".", ParseMoneyError::Syntax),
            ("1e3", ParseMoneyError::Syntax),
            ("--1", ParseMoneyError::Syntax),
            ("0.0000000001", ParseMoneyError::TooFine),
            ("9223372037", ParseMoneyError::TooLarge),
        ] {
            assert_eq!(text.parse::<Money>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(nanos in any::<i64>().prop_filter("has a positive twin", |n| *n != i64::MIN)) {
            let money = Money::from_nanos(nanos);
            prop_assert_eq!(money.to_string().parse::<Money>().unwrap(), money);
        }
    }
}
