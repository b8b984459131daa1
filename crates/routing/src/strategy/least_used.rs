//! Fewest uses within the last hours first.
//!
//! For accounts whose provider counts over hours: it levels out what each has used, whereas taking turns only levels out
//! who is next. Old uses fade with a half-life, so that one that was away is not given everything until it has caught up
//! with a whole day.

use domain::Timestamp;

use super::{Load, by};
use crate::fading::{Fading, HalfLife};

/// The windows of subscription accounts are five hours; what was used an hour ago counts half.
const HALF_LIFE: HalfLife = HalfLife::of_secs(3_600);

pub(super) const fn rank(load: &Load) -> u64 {
    by(load.uses, load)
}

/// Uses, the older the less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Uses(Fading);

impl Uses {
    /// As many as were known then.
    pub(crate) const fn known(uses: f32, at: Timestamp) -> Self {
        Self(Fading::known(uses, at))
    }

    /// One more.
    pub(crate) fn add(&mut self, now: Timestamp) {
        self.0.add(1.0, HALF_LIFE, now);
    }

    /// How many.
    pub(crate) fn now(&self, now: Timestamp) -> f32 {
        self.0.at(HALF_LIFE, now)
    }
}
