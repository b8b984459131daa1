//! How many more tries an upstream in trouble is given.
//!
//! Each call's own bound lets it try four times, so an upstream that fails everything gets four times its traffic, at the
//! very moment when it can bear least. The budget bounds what all calls do together: further tries of the same call at the
//! same upstream may be a fifth of the first ones, beyond a number that does nobody harm. Turning to *another* upstream is
//! never bounded by it: that is not what amplifies an outage, and it is what clients are promised. A further try is counted
//! when it is granted, at the failure, and given back if it never begins.
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
    further: u32,
    /// Further tries that were granted, begun or not: a call waits before it tries again, and meanwhile others ask.
    granted: u32,
}

/// The slice that a grant was counted in, to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted(i64);

impl RetryBudget {
    /// A try began, whichever.
    pub(crate) fn tried(&mut self, now: Timestamp) {
        let slice = self.slice(now);
        slice.tries = slice.tries.saturating_add(1);
    }

    /// Grants a further try, if there is room for one. It is counted at once, and not when it begins: calls that fail in
    /// the same moment would each see the room that one of them takes.
    pub(crate) fn grant(&mut self, now: Timestamp) -> Option<Granted> {
        if !self.has_room(now) {
            return None;
        }
        let slice = self.slice(now);
        slice.granted = slice.granted.saturating_add(1);
        Some(Granted(slice.number))
    }

    /// The try that begins is a further one that was granted.
    pub(crate) fn retried(&mut self, now: Timestamp) {
        let slice = self.slice(now);
        slice.further = slice.further.saturating_add(1);
    }

    /// A further try that was granted does not begin.
    pub(crate) fn give_back(&mut self, granted: Granted) {
        let slice = &mut self.slices[granted.0.rem_euclid(SLICES as i64) as usize];
        if slice.number == granted.0 {
            slice.granted = slice.granted.saturating_sub(1);
        }
    }

    /// Whether a further try may be made.
    pub(crate) fn has_room(&self, now: Timestamp) -> bool {
        let oldest = number(now) - SLICES as i64;
        let live = self.slices.iter().filter(|slice| slice.number > oldest);
        let (first, granted) = live.fold((0_u32, 0_u32), |(first, granted), slice| {
            let firsts = slice.tries.saturating_sub(slice.further);
            (first.saturating_add(firsts), granted.saturating_add(slice.granted))
        });
        granted < RETRIES_FREE_MAX + first / FIRST_TRIES_PER_RETRY
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
                if budget.grant(now).is_some() {
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
            assert!(budget.grant(at(0)).is_some());
        }
        assert!(!budget.has_room(at(9_999)));
        assert!(budget.has_room(at(10_000)));
    }

    #[test]
    fn what_does_not_begin_is_given_back_where_it_was_counted() {
        let mut budget = RetryBudget::default();
        let granted: Vec<Granted> = (0..RETRIES_FREE_MAX).filter_map(|_| budget.grant(at(0))).collect();
        assert_eq!(budget.grant(at(1)), None, "counted before any begins");
        budget.give_back(granted[0]);
        assert!(budget.grant(at(1)).is_some() && budget.grant(at(1)).is_none());
        for _ in 0..RETRIES_FREE_MAX {
            assert!(budget.grant(at(10_000)).is_some());
        }
        budget.give_back(granted[1]);
        assert_eq!(
            budget.grant(at(10_000)),
            None,
            "of a slice that is over nothing comes back"
        );
    }
}
