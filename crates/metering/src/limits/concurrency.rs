//! Calls open at the same time.

use std::time::Duration;

use super::DimensionState;

/// What a refused client is told to wait. Nobody knows when a running call ends; a second is short enough not to waste a
/// free place and long enough not to be a busy loop.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Counts also without a limit, so that one that is set while calls run sees them.
#[derive(Default)]
pub(super) struct Concurrency {
    open: u32,
}

impl Concurrency {
    /// How long to wait; `None`: there is a place.
    pub(super) fn wait(&self, limit: u32) -> Option<Duration> {
        (limit > 0 && self.open >= limit).then_some(RETRY_AFTER)
    }

    pub(super) const fn begin(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    pub(super) const fn end(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    pub(super) fn state(&self, limit: u32) -> Option<DimensionState> {
        let remaining = limit.saturating_sub(self.open);
        (limit > 0).then_some(DimensionState {
            limit,
            remaining,
            reset: Duration::ZERO,
        })
    }
}
