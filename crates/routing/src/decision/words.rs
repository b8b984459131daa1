//! Numbers of a record as they are written: moments for people, and bits that no reader of JSON rounds.

use std::fmt;

use domain::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment as RFC 3339 in UTC, to the millisecond, and where that is not exact to the microsecond. Records are read by
/// people, and replayed to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

/// 64 bits as hexadecimal digits: programs that read numbers as floats would lose some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(pub u64);

const DAY_SECS: i64 = 86_400;

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.0.rem_euclid(1_000_000);
        let secs = self.0.0.div_euclid(1_000_000);
        let (year, month, day) = date(secs.div_euclid(DAY_SECS));
        let time = secs.rem_euclid(DAY_SECS);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match micros % 1_000 {
            0 => write!(f, ".{:03}Z", micros / 1_000),
            _ => write!(f, ".{micros:06}Z"),
        }
    }
}

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut date = date.splitn(3, '-').map(str::parse::<i64>);
        let mut next = || date.next()?.ok();
        let days = days(next()?, next()?, next()?)?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut time = time.splitn(3, ':').map(str::parse::<i64>);
        let mut next = || time.next()?.ok();
        let secs = next()? * 3_600 + next()? * 60 + next()?;
        let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
        Some(Self(Timestamp((days * DAY_SECS + secs) * 1_000_000 + micros)))
    }
}

/// The date of a day counted from the epoch (Hinnant, <https://howardhinnant.github.io/date_algorithms.html>): years begin
/// in March, so that the leap day is the last.
const fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// The other way round; `None` where there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(-9_999..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    Some(era * 146_097 + of_era - 719_468)
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format_args!("`{text}` is no moment")))
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bits = u64::from_str_radix(&text, 16);
        bits.map(Self)
            .map_err(|_| D::Error::custom(format_args!("`{text}` is not hexadecimal")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_written_as_people_read_them() {
        assert_eq!(Moment(Timestamp(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Moment(Timestamp(1_767_225_600_123_456)).to_string(),
            "2026-01-01T00:00:00.123456Z"
        );
        assert_eq!(
            Moment(Timestamp::from_secs(1_709_164_799)).to_string(),
            "2024-02-28T23:59:59.000Z"
        );
        assert_eq!(Moment::parse("2026-13-01T00:00:00Z"), None);
        assert_eq!(Moment::parse("2026-01-01"), None);
    }

    proptest! {
        #[test]
        fn moments_and_bits_come_back(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000, bits: u64) {
            let moment = Moment(Timestamp(micros));
            prop_assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
            let text = serde_json::to_string(&Bits(bits)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bits>(&text).unwrap(), Bits(bits));
        }
    }
}
