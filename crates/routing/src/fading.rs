//! A number that halves by itself as time passes.
//!
//! What was measured or counted a while ago says less than what happens now. A window that is moved in steps forgets
//! everything at once, at the same moment for everybody; this forgets evenly, in sixteen bytes and without a timer.

use domain::Timestamp;

/// Bits of a float below its exponent.
const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;

/// A time in which a number halves, as what a microsecond is of it: it divides for each candidate of each call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfLife(f32);

impl HalfLife {
    /// From seconds.
    pub(crate) const fn of_secs(secs: u32) -> Self {
        Self(1e-6 / secs as f32)
    }
}

/// A number that halves by itself; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fading {
    value: f32,
    at: Timestamp,
}

impl Fading {
    /// One that is known to be this much now.
    pub(crate) const fn known(value: f32, at: Timestamp) -> Self {
        Self { value, at }
    }

    /// What is left of it now.
    pub(crate) fn at(&self, half_life: HalfLife, now: Timestamp) -> f32 {
        halved(self.value, self.halvings(half_life, now))
    }

    /// Adds to it.
    pub(crate) fn add(&mut self, more: f32, half_life: HalfLife, now: Timestamp) {
        *self = Self {
            value: self.at(half_life, now) + more,
            at: now.max(self.at),
        };
    }

    /// Takes a measurement: a larger one at once, a smaller one the more, the longer ago the last was.
    pub(crate) fn peak(&mut self, measured: f32, half_life: HalfLife, now: Timestamp) {
        let kept = halved(1.0, self.halvings(half_life, now));
        let mixed = self.at(half_life, now) + measured * (1.0 - kept);
        *self = Self {
            value: mixed.max(measured),
            at: now.max(self.at),
        };
    }

    /// Half-lives since it was last changed.
    pub(crate) fn halvings(&self, half_life: HalfLife, now: Timestamp) -> f32 {
        now.0.saturating_sub(self.at.0).max(0) as f32 * half_life.0
    }
}

/// A float's exponent counts halvings, so taking them from its bits halves it; between two whole ones the result lies on
/// a straight line, within 6 % of the curve. A power would be exact and cost ten times as much, for each candidate of
/// each call.
fn halved(value: f32, halvings: f32) -> f32 {
    let taken = (halvings * (1_u32 << MANTISSA_BITS) as f32) as u32;
    f32::from_bits(value.to_bits().saturating_sub(taken))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: HalfLife = HalfLife::of_secs(60);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000) + Duration::from_secs(secs)
    }

    fn whole(number: &Fading, secs: u64) -> u32 {
        number.at(MINUTE, at(secs)).round() as u32
    }

    #[test]
    fn halves_every_half_life() {
        let mut number = Fading::default();
        number.add(80.0, MINUTE, at(0));
        let left = [0, 60, 120].map(|secs| whole(&number, secs));
        assert_eq!(left, [80, 40, 20]);
        number.add(10.0, MINUTE, at(180));
        assert_eq!(whole(&number, 180), 20);
        assert!(number.at(MINUTE, at(1_000_000)) < 1e-30);
        assert_eq!(whole(&number, 0), 20, "a clock that goes back changes nothing");
    }

    #[test]
    fn a_peak_counts_at_once_and_goes_slowly() {
        let mut number = Fading::default();
        number.peak(100.0, MINUTE, at(0));
        number.peak(900.0, MINUTE, at(0));
        assert_eq!(whole(&number, 0), 900);
        number.peak(100.0, MINUTE, at(60));
        assert_eq!(whole(&number, 60), 500);
    }

    proptest! {
        #[test]
        fn is_near_the_exact_power(value in 0.001_f32..1e9, halvings in 0.0_f32..60.0) {
            let (got, exact) = (halved(value, halvings), value * (-halvings).exp2());
            prop_assert!(got >= exact * 0.939 && got <= exact * 1.062, "{got} for {exact}");
        }
    }
}
