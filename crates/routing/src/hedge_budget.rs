//! How many calls of a model may be sent twice.
//!
//! A second attempt beside a slow one cuts the tail of the latencies while few calls are slow, and doubles the load (and the
//! bill) of a provider that is slow for all of them. So it is earned: each call that may be hedged adds its share, a hedge takes
//! a whole one, and only a few are saved up. Whatever happens, no more of a model's calls were ever sent twice than the
//! operator said.
//!
//! The [retry budget](crate::retry_budget) counts a window of seconds instead. Here that would either leave a model of few calls
//! without a hedge for ever, or need a number that is always free, which is money; and a window of many calls would let all of
//! its hedges go at once, when everything turns slow.

use domain::declaration::Percent;

/// Hedges that can be saved up.
pub const HEDGES_SAVED_MAX: u32 = 10;
/// What one costs, in the thousandths that are earned.
const COST: u32 = 1_000;

/// What the calls of one model have earned.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HedgeBudget {
    permille: u32,
}

impl HedgeBudget {
    /// A call began that may be hedged.
    pub(crate) fn called(&mut self, share: Percent) {
        self.permille = (self.permille + share.permille()).min(HEDGES_SAVED_MAX * COST);
    }

    /// One more, whatever was earned: for a call of which it is known that it had one.
    pub(crate) const fn grant(&mut self) {
        self.permille += COST;
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.permille.checked_sub(COST);
        self.permille = left.unwrap_or(self.permille);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(percent: u8) -> Percent {
        percent.to_string().parse().unwrap()
    }

    #[test]
    fn one_in_twenty_is_one_in_twenty() {
        let mut budget = HedgeBudget::default();
        let hedged: Vec<u32> = (1..=100)
            .filter(|_| {
                budget.called(share(5));
                budget.take()
            })
            .collect();
        assert_eq!(hedged, [20, 40, 60, 80, 100]);
    }

    #[test]
    fn little_is_saved_for_the_day_when_everything_is_slow() {
        let mut budget = HedgeBudget::default();
        (0..100_000).for_each(|_| budget.called(share(50)));
        assert_eq!((0..1_000).filter(|_| budget.take()).count(), HEDGES_SAVED_MAX as usize);
    }

    proptest! {
        #[test]
        fn never_more_than_the_share(percent in 1_u8..=100, slow in prop::collection::vec(any::<bool>(), 0..400)) {
            let mut budget = HedgeBudget::default();
            let (mut calls, mut hedges) = (0, 0);
            for is_slow in slow {
                budget.called(share(percent));
                calls += 1;
                hedges += usize::from(is_slow && budget.take());
                prop_assert!(hedges * 100 <= calls * usize::from(percent));
            }
        }
    }
}
