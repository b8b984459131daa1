//! Counts as providers report them: absent, a count, or something that is none.
//!
//! The third must stay visible: a negative count that reads as zero would be a free answer.

use crate::limits::COUNT_MAX;

/// A count as providers report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// A count.
    Is(u64),
    /// Something that is no count: negative, a fraction, a text, beyond 2^53.
    Bad,
}
impl Figure {
    /// The count, zero if absent or bad.
    pub(crate) const fn or_zero(self) -> u64 {
        match self {
            Self::Is(count) => count,
            Self::Absent | Self::Bad => 0,
        }
    }

    /// Whether something was said.
    pub(crate) const fn is_given(self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Takes `other` if it says something: a later explicit value wins.
    pub(crate) const fn merge(&mut self, other: Self) {
        if other.is_given() {
            *self = other;
        }
    }

    /// This figure, or `other` if this says nothing.
    pub(crate) const fn or(self, other: Self) -> Self {
        if self.is_given() { self } else { other }
    }
}
/// The value of a JSON number that is a count: a whole number from 0 to 2^53, however it is written.
pub(crate) fn count(number: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(number).ok()?;
    let count = match text.parse::<u64>() {
        Ok(count) => count,
        Err(_) => whole(text.parse::<f64>().ok()?)?,
    };
    (count <= COUNT_MAX).then_some(count)
}
fn whole(value: f64) -> Option<u64> {
    let is_count = value.fract() == 0.0 && (0.0..=COUNT_MAX as f64).contains(&value);
    is_count.then_some(value as u64)
}
