//! Tokens per minute, input and output together.
//!
//! How many a call uses is known at its end only. An estimate is taken at admission and corrected then; a minute may
//! thus turn out to have been over the limit, and the excess is worked off by those that follow.

use std::time::Duration;

use domain::Timestamp;

use super::DimensionState;
use super::window::Window;

pub(super) struct Tokens(Window);

impl Tokens {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self(Window::new(now))
    }

    /// How long until `tokens` fit; `None`: now.
    pub(super) fn wait(&mut self, limit: u32, tokens: u64, now: Timestamp) -> Option<Duration> {
        (limit > 0).then(|| self.0.wait(tokens, limit, now)).flatten()
    }

    /// Counts an estimate. Without a limit nothing is counted.
    pub(super) fn take(&mut self, limit: u32, tokens: u64, now: Timestamp) {
        if limit > 0 {
            self.0.add(tokens, limit, now);
        }
    }

    /// Replaces `counted` tokens of a call admitted then by what it used.
    pub(super) fn correct(&mut self, limit: u32, admitted: Timestamp, counted: u64, used: u64, now: Timestamp) {
        if limit == 0 {
            return;
        }
        if used > counted {
            self.0.add(used - counted, limit, now);
        } else {
            self.0.take_back(counted - used, admitted, limit, now);
        }
    }

    pub(super) fn state(&mut self, limit: u32, now: Timestamp) -> Option<DimensionState> {
        (limit > 0).then(|| self.0.state(limit, now))
    }
}
