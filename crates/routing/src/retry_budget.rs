//! How many more tries an upstream in trouble is given.
//!
//! Each call's own bound lets it try four times, so an upstream that fails everything gets four times its traffic, at the
//! very moment when it can bear least. The budget bounds what all calls do together: further tries of the same call at the
//! same upstream may be a fifth of the first ones, beyond a number that does nobody harm. Turning to *another* upstream is
//! never bounded by it: that is not what amplifies an outage, and it is what clients are promised.
//!
//! The figures are those of Linkerd's service profiles (`retryRatio: 0.2`, `minRetriesPerSecond: 10`, `ttl: 10s`), which
//! have been in wide use for years.

use std::time::Duration;

use domain::Timestamp;

/// The window is counted in this many slices.
const SLICES: usize = 10;
/// How long one is.
const SLICE: Duration = Duration::from_secs(1);
/// Of the first tries: one further try for this many.
const FIRST_TRIES_PER_RETRY: u32 = 5;
/// Further tries within the window that are always granted.
pub const RETRIES_FREE_MAX: u32 = 100;

/// The tries at one upstream within the last seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RetryBudget {
    slices: [Slice; SLICES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which slice of time, counted from the epoch.
    number: i64,
    tries: u32,
    /// Those of them that were not a call's first there.
    retries: u32,
}

impl RetryBudget {
    /// A try began, whichever.
    pub(crate) fn tried(&mut self, now: Timestamp) {
        let slice = self.slice(now);
        slice.tries = slice.tries.saturating_add(1);
    }

    /// The try that begins is a further one.
    pub(crate) fn retried(&mut self, now: Timestamp) {
        let slice = self.slice(now);
        slice.retries = slice.retries.saturating_add(1);
    }

    /// Whether a further try may be made.
    pub(crate) fn has_room(&self, now: Timestamp) -> bool {
        let oldest = number(now) - SLICES as i64;
        let live = self.slices.iter().filter(|slice| slice.number > oldest);
        let (tries, retries) = live.fold((0_u32, 0_u32), |(tries, retries), slice| {
            (tries.saturating_add(slice.tries), retries.saturating_add(slice.retries))
        });
        retries < RETRIES_FREE_MAX + tries.saturating_sub(retries) / FIRST_TRIES_PER_RETRY
    }

    fn slice(&mut self, now: Timestamp) -> &mut Slice {
        let number = number(now);
        let slice = &mut self.slices[number.rem_euclid(SLICES as i64) as usize];
        if slice.number != number {
            *slice = Slice {
                number,
                ..Slice::default()
            };
        }
        slice
    }
}

const fn number(now: Timestamp) -> i64 {
    now.0.div_euclid(SLICE.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000) + Duration::from_millis(ms)
    }

    /// Retries granted while this many calls come and each wants three more tries.
    fn granted(calls: u32, over: Duration) -> u32 {
        let mut budget = RetryBudget::default();
        let mut granted = 0;
        for call in 0..calls {
            let now = at(0) + over * call / calls;
            budget.tried(now);
            for _ in 0..3 {
                if budget.has_room(now) {
                    budget.tried(now);
                    budget.retried(now);
                    granted += 1;
                }
            }
        }
        granted
    }

    #[test]
    fn a_few_are_always_granted_and_then_a_fifth() {
        assert_eq!(granted(30, Duration::from_secs(9)), 90);
        assert_eq!(granted(1_000, Duration::from_secs(9)), 300);
    }

    #[test]
    fn the_window_moves_on() {
        let mut budget = RetryBudget::default();
        for _ in 0..RETRIES_FREE_MAX {
            budget.retried(at(0));
        }
        assert!(!budget.has_room(at(9_999)));
        assert!(budget.has_room(at(10_000)));
    }
}
