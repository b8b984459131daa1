//! A sliding minute in slices of a second, with debt.
//!
//! A count stays in its slice until the whole slice is at least sixty seconds old, so what any sixty seconds see is
//! never more than the limit; the price is that a place may come back up to a second late. Remembering each event
//! instead would be exact to the microsecond and cost eight bytes per event.
//!
//! What is added beyond the limit (tokens that a call turned out to have used) becomes *debt*: it enters the window as
//! place becomes free, before anything new. So a limit that was overshot is made up for, instead of being forgiven when
//! the minute is over.

use std::time::Duration;

use domain::Timestamp;

use super::DimensionState;

/// Sixty whole seconds and the one that has begun.
const SLICES: usize = 61;
/// The same as a count of seconds.
const SPAN: i64 = SLICES as i64;

/// Debt that is remembered, in whole windows: a day. Who uses more than that in one call is not locked out for a week,
/// and an absurd figure (a provider's slip) not for ever.
const DEBT_WINDOWS_MAX: u64 = 24 * 60;

#[derive(Clone)]
pub(super) struct Window {
    /// Counts by second, modulo [`SLICES`].
    slices: [u64; SLICES],
    /// Of all slices.
    sum: u64,
    /// What is to enter as soon as it fits. While there is any, `sum` is at the limit.
    debt: u64,
    /// The newest second.
    head: i64,
}

impl Window {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            slices: [0; SLICES],
            sum: 0,
            debt: 0,
            head: now.unix_secs(),
        }
    }

    /// How long until `count` more fit; `None`: now. More than the whole limit fits when the window is empty.
    pub(super) fn wait(&mut self, count: u64, limit: u32, now: Timestamp) -> Option<Duration> {
        self.advance(now.unix_secs(), u64::from(limit));
        if self.fits(count, limit) {
            return None;
        }
        let mut later = self.clone();
        later.skip_debt(u64::from(limit));
        while !later.fits(count, limit) {
            later.advance(later.head + 1, u64::from(limit));
        }
        Some(until(later.head, now))
    }

    /// Adds `count`; what is beyond the limit becomes debt.
    pub(super) fn add(&mut self, count: u64, limit: u32, now: Timestamp) {
        self.advance(now.unix_secs(), u64::from(limit));
        self.debt = self.debt.saturating_add(count);
        self.admit_debt(u64::from(limit));
    }

    /// Takes back part of what was added at `then`; nothing where that is out of the window already.
    pub(super) fn take_back(&mut self, count: u64, then: Timestamp, limit: u32, now: Timestamp) {
        self.advance(now.unix_secs(), u64::from(limit));
        if self.head - then.unix_secs() >= SPAN {
            return;
        }
        let from_debt = count.min(self.debt);
        self.debt -= from_debt;
        let slice = &mut self.slices[index(then.unix_secs())];
        let from_slice = (count - from_debt).min(*slice);
        *slice -= from_slice;
        self.sum -= from_slice;
        self.admit_debt(u64::from(limit));
    }

    pub(super) fn state(&mut self, limit: u32, now: Timestamp) -> DimensionState {
        self.advance(now.unix_secs(), u64::from(limit));
        let remaining = u64::from(limit).saturating_sub(self.sum.saturating_add(self.debt));
        DimensionState {
            limit,
            remaining: remaining as u32,
            reset: self.reset(u64::from(limit), now),
        }
    }

    /// How long until the window is empty.
    fn reset(&self, limit: u64, now: Timestamp) -> Duration {
        if self.debt == 0 {
            return self.emptied(now);
        }
        let mut later = self.clone();
        later.skip_debt(limit);
        while later.debt > 0 {
            later.advance(later.head + 1, limit);
        }
        later.emptied(now)
    }

    /// How long until what is in the slices has left them.
    fn emptied(&self, now: Timestamp) -> Duration {
        let newest = (0..SPAN).find(|age| self.slices[index(self.head - age)] > 0);
        newest.map_or(Duration::ZERO, |age| until(self.head - age + SPAN, now))
    }

    const fn fits(&self, count: u64, limit: u32) -> bool {
        let limit = limit as u64;
        let count = if count < limit { count } else { limit };
        self.debt == 0 && self.sum + count <= limit
    }

    /// Moves to `second`: slices leave, debt enters.
    fn advance(&mut self, second: i64, limit: u64) {
        self.admit_debt(limit);
        // While there is debt the window is full, and after a whole span it is full of debt in the same way.
        let windows = ((second - self.head) / SPAN).clamp(0, self.windows_of_debt(limit));
        self.debt -= windows as u64 * limit;
        self.head += windows * SPAN;
        while self.head < second {
            if self.sum == 0 && self.debt == 0 {
                self.head = second;
                return;
            }
            self.head += 1;
            let slice = std::mem::take(&mut self.slices[index(self.head)]);
            self.sum -= slice;
            self.admit_debt(limit);
        }
    }

    /// Moves on by whole windows to the last one in which there is debt, so that what follows can look at every second.
    fn skip_debt(&mut self, limit: u64) {
        let windows = self.debt.saturating_sub(1).checked_div(limit).unwrap_or_default();
        self.advance(self.head + SPAN * windows as i64, limit);
    }

    fn windows_of_debt(&self, limit: u64) -> i64 {
        self.debt.checked_div(limit).unwrap_or_default() as i64
    }

    /// Lets in as much debt as fits, and forgets what is beyond the most that is remembered.
    fn admit_debt(&mut self, limit: u64) {
        self.debt = self.debt.min(limit.saturating_mul(DEBT_WINDOWS_MAX));
        let entering = self.debt.min(limit.saturating_sub(self.sum));
        self.slices[index(self.head)] += entering;
        self.sum += entering;
        self.debt -= entering;
    }
}

const fn index(second: i64) -> usize {
    second.rem_euclid(SPAN) as usize
}

fn until(second: i64, now: Timestamp) -> Duration {
    Timestamp::from_secs(second).since(now)
}
