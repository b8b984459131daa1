//! Time as data: pure code receives it and never asks for it.
//!
//! One type serves cooldowns that outlive the process (wall clock) and intervals measured within it (monotonic):
//! the shell anchors the wall clock once at start and adds monotonic time, so a [`Timestamp`] never runs backwards
//! while the process lives and still means something after a restart.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn unix_ms(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Seconds since the Unix epoch, rounded down.
    pub const fn unix_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The day in UTC, counted from the epoch.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_MICROS)
    }

    /// When a day, counted from the epoch, begins in UTC.
    pub const fn midnight(day: i64) -> Self {
        Self(day.saturating_mul(DAY_MICROS))
    }

    /// When the next day begins in UTC.
    pub const fn next_midnight(self) -> Self {
        Self::midnight(self.day() + 1)
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let midnight = Timestamp::from_secs(1_798_761_600); // 2027-01-01T00:00:00Z
        let just_before = midnight - Duration::from_micros(1);
        assert_eq!(midnight.day(), just_before.day() + 1);
        assert_eq!(just_before.next_midnight(), midnight);
        assert_eq!(midnight.next_midnight(), midnight + Duration::from_hours(24));
    }
}
