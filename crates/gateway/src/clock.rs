//! The one place of the data plane that reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// The wall clock at start plus monotonic time: it never runs backwards while the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    anchor: Instant,
}

impl Clock {
    /// Anchored now.
    pub fn start() -> Self {
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        Self {
            wall: Timestamp(i64::try_from(micros).unwrap_or(i64::MAX)),
            anchor: Instant::now(),
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.wall + self.anchor.elapsed()
    }

    /// The instant at which this clock shows `at`; at once if that is past.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.anchor + at.since(self.wall)
    }
}
