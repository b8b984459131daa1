//! The one place of the data plane that reads the time.
//!
//! Monotonic time plus an offset to the wall clock. The offset is looked at again every second: a clock that was anchored
//! once would be hours behind after a suspended machine woke up, and wrong for ever on one whose time was set after the
//! start; keys would expire late and receipts count for the wrong day.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// How often the wall clock is looked at. More often would cost a second system call per reading.
const LOOK_EVERY_US: i64 = 1_000_000;

/// The wall clock is followed backwards only where it is off by more than this: small corrections shall not make a call
/// end before it began.
const BACKWARDS_US: i64 = 1_000_000;

/// The wall clock, read cheaply.
#[derive(Debug)]
pub struct Clock {
    anchor: Instant,
    /// From the time since `anchor` to the time since the epoch, in microseconds.
    offset: AtomicI64,
    /// When the wall clock was looked at last, since `anchor`.
    looked: AtomicI64,
}

impl Clock {
    /// Anchored now.
    pub fn start() -> Self {
        Self {
            anchor: Instant::now(),
            offset: AtomicI64::new(wall()),
            looked: AtomicI64::new(0),
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let since = micros(self.anchor.elapsed());
        if since - self.looked.load(Ordering::Relaxed) >= LOOK_EVERY_US {
            self.follow(since, wall());
        }
        Timestamp(since + self.offset.load(Ordering::Relaxed))
    }

    /// The instant at which this clock shows `at`; at once if that is past.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let since = at.0.saturating_sub(self.offset.load(Ordering::Relaxed)).max(0);
        self.anchor + Duration::from_micros(since.unsigned_abs())
    }

    /// Takes the wall clock's word for what time it is.
    fn follow(&self, since: i64, wall: i64) {
        self.looked.store(since, Ordering::Relaxed);
        let offset = wall - since;
        let ahead = offset - self.offset.load(Ordering::Relaxed);
        if !(-BACKWARDS_US..=0).contains(&ahead) {
            self.offset.store(offset, Ordering::Relaxed);
        }
    }
}

fn wall() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_set_is_followed_and_small_steps_back_are_not() {
        let clock = Clock::start();
        let offset = clock.offset.load(Ordering::Relaxed);
        let hours = 8 * 3_600_000_000;
        for (step, followed) in [
            (hours, hours),
            (hours - BACKWARDS_US, hours),
            (hours + 5, hours + 5),
            (-hours, -hours),
        ] {
            clock.follow(0, offset + step);
            assert_eq!(clock.offset.load(Ordering::Relaxed), offset + followed, "{step}");
        }
    }

    #[test]
    fn an_instant_is_when_the_clock_shows_it() {
        let clock = Clock::start();
        let now = clock.now();
        let later = clock.instant(now + Duration::from_secs(5));
        let left = later.saturating_duration_since(Instant::now());
        assert!(
            left <= Duration::from_secs(5) && left > Duration::from_secs(4),
            "{left:?}"
        );
        assert!(clock.instant(Timestamp(0)) <= Instant::now());
        clock.follow(0, clock.offset.load(Ordering::Relaxed) + 3_600_000_000);
        assert!(
            clock.instant(now + Duration::from_secs(5)) <= Instant::now(),
            "it is past now"
        );
    }
}
