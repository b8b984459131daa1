//! The clock and the calendar of the control plane. Days are those of UTC, as in the accounts.

use domain::Timestamp;
use jiff::civil::Date;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Today, in days since the epoch.
pub(crate) fn today() -> i64 {
    now().unix_secs().div_euclid(86_400)
}

/// `2027-01-01`, for days since the epoch.
pub(crate) fn date_of(day: i64) -> String {
    let moment = jiff::Timestamp::from_second(day.saturating_mul(86_400));
    moment
        .map(|moment| moment.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
        .unwrap_or_default()
}

/// Days since the epoch, for `2027-01-01`.
pub(crate) fn day_of(date: &str) -> Option<i64> {
    let date: Date = date.parse().ok()?;
    let moment = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(moment.as_second().div_euclid(86_400))
}

/// A moment as RFC 3339, to the millisecond.
pub(crate) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.unix_ms())
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_round_trip() {
        assert_eq!(date_of(20_454), "2026-01-01");
        assert_eq!(day_of("2026-01-01"), Some(20_454));
        assert_eq!(day_of("2026-13-01"), None);
        assert_eq!(moment(Timestamp(1_767_225_600_123_456)), "2026-01-01T00:00:00.123Z");
    }
}
