//! The one that answers soonest, without sending everybody there.
//!
//! Each candidate has a peak-sensitive average of its time to first content: one slow answer counts at once, fast ones
//! win it back slowly. That time, multiplied by the calls that are open there, is its rank, so that a candidate which hangs
//! is left before its first answer is in. A failure counts as a slow answer: failing fast must not look like being fast.
//!
//! Of two candidates that are drawn the better goes first (Mitzenmacher, "The power of two choices in randomized load
//! balancing", 2001): taking the best of all would send every call of the same moment to the same one. What was not
//! measured lately ranks as if it were fast, but only while nobody is finding out already: so new candidates and those that
//! have recovered are tried, by one call at a time.

use std::time::Duration;

use domain::Timestamp;

use super::{Load, by};
use crate::fading::{Fading, HalfLife};

/// Long enough to average over some answers of a language model, short enough to leave one that became slow.
const HALF_LIFE: HalfLife = HalfLife::of_secs(20);
/// After so many half-lives without an answer a measurement says nothing more.
const KNOWN_MAX: f32 = 3.0;
/// What a failure counts as, at least: slower than anything that a client waits for gladly.
const FAILED_MS: f32 = 10_000.0;
/// What each open call adds to one that is not known.
const UNKNOWN_MS: f32 = 10_000.0;

pub(super) fn rank(load: &Load) -> u64 {
    let open = load.open as f32;
    let expected = if load.latency > 0.0 {
        load.latency * (open + 1.0)
    } else {
        UNKNOWN_MS * open
    };
    by(expected, load)
}

/// The places of two that are drawn of so many; `None` where there are so few that the best of them goes first.
pub(crate) fn draw(count: usize, lot: u64) -> Option<(usize, usize)> {
    if count < 3 {
        return None;
    }
    // A product's upper half instead of a remainder: as even, and no division.
    let of = |bits: u32, count: usize| ((u64::from(bits) * count as u64) >> u32::BITS) as usize;
    let one = of((lot >> u32::BITS) as u32, count);
    let step = 1 + of(lot as u32, count - 1);
    Some((one, (one + step) % count))
}

/// How soon a candidate answered lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latency(Fading);

impl Latency {
    /// As it was known then.
    pub(crate) const fn known(millis: f32, at: Timestamp) -> Self {
        Self(Fading::known(millis, at))
    }

    /// It answered after `took`.
    pub(crate) fn served(&mut self, took: Duration, now: Timestamp) {
        self.0.peak(millis(took), HALF_LIFE, now);
    }

    /// It failed after `took`.
    pub(crate) fn failed(&mut self, took: Duration, now: Timestamp) {
        self.0.peak(millis(took).max(FAILED_MS), HALF_LIFE, now);
    }

    /// Milliseconds; 0 where nothing is known any more.
    pub(crate) fn now(&self, now: Timestamp) -> f32 {
        if self.0.halvings(HALF_LIFE, now) > KNOWN_MAX {
            return 0.0;
        }
        self.0.at(HALF_LIFE, now)
    }
}

/// At least a hundredth, because nothing means "not known".
fn millis(took: Duration) -> f32 {
    (took.as_secs_f32() * 1_000.0).max(0.01)
}
