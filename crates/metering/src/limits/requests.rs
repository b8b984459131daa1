//! Requests per minute: never more within any sixty seconds.

use std::time::Duration;

use domain::Timestamp;

use super::DimensionState;
use super::window::Window;

pub(super) struct Requests(Window);

impl Requests {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self(Window::new(now))
    }

    /// How long until one more fits; `None`: now.
    pub(super) fn wait(&mut self, limit: u32, now: Timestamp) -> Option<Duration> {
        (limit > 0).then(|| self.0.wait(1, limit, now)).flatten()
    }

    /// Counts one. Without a limit nothing is counted.
    pub(super) fn take(&mut self, limit: u32, now: Timestamp) {
        if limit > 0 {
            self.0.add(1, limit, now);
        }
    }

    pub(super) fn state(&mut self, limit: u32, now: Timestamp) -> Option<DimensionState> {
        (limit > 0).then(|| self.0.state(limit, now))
    }
}
