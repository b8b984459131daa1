//! When to let a credential rest.
//!
//! Three kinds of rest are kept apart because they allow different things. One that the provider *named* is kept to the
//! letter: asking earlier is what gets an account banned. One that we *guess* (a 429 without a time, a refused key) only
//! says "rather another": it is broken if there is no other. One without *credit* is not broken either, since no retry
//! fills an account: the credential stays out until a call that was let through to look, one at a time, is answered, or
//! until an operator says otherwise.
//!
//! What rests is all of a credential, or one model of it, as the provider's answer says; both have a cooldown of their own.
//!
//! A rest is never made shorter by a later, shorter one, and never longer than the upstream's `cooldown.max`.

use std::time::Duration;

use domain::declaration::CooldownDecl;
use domain::{Failure, FailureClass, Timestamp};
use rand::Rng;

use crate::backoff::Backoff;

/// After a 429 that names no time, and after a refused key; doubled each time in a row.
const RATE_LIMITED: Backoff = Backoff {
    first: Duration::from_secs(1),
    factor: 2,
};
/// See [`RATE_LIMITED`]. A wrong key does not become right by itself; one that is being rotated does within a minute.
const REFUSED: Backoff = Backoff {
    first: Duration::from_secs(15),
    factor: 2,
};

/// How long the one call that looks whether an account has money again is given before another may.
const LOOK: Duration = Duration::from_mins(1);
/// A window that an answer said is used up is left alone for this long at most: providers name the time when it is whole
/// again, and most give parts of it back before.
const SPARED_MAX: Duration = Duration::from_mins(1);

/// Why a credential rests, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The provider named the time.
    Named(Timestamp),
    /// We guess.
    Guessed(Timestamp),
    /// Its account has no money.
    OutOfCredit(Timestamp),
}

impl Rest {
    /// Until then.
    pub const fn until(self) -> Timestamp {
        match self {
            Self::Named(until) | Self::Guessed(until) | Self::OutOfCredit(until) => until,
        }
    }

    /// Of two rests the one that allows less; of two alike the longer.
    pub(crate) fn stricter(self, other: Self) -> Self {
        let strength = |rest: Self| match rest {
            Self::OutOfCredit(until) => (2, until),
            Self::Named(until) => (1, until),
            Self::Guessed(until) => (0, until),
        };
        if strength(self) >= strength(other) { self } else { other }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cooldown {
    named: Timestamp,
    guessed: Timestamp,
    /// When to look again whether there is money.
    out_of_credit: Timestamp,
    /// Since when there is none, as far as is known.
    no_credit_since: Option<Timestamp>,
    /// When the guess was made.
    guessed_at: Timestamp,
    /// Failures in a row that led to guesses.
    strikes: u32,
}

impl Cooldown {
    /// One that rests so, and knows nothing of how it came to.
    pub(crate) fn resting(rest: Rest) -> Self {
        let mut cooldown = Self::default();
        match rest {
            Rest::Named(until) => cooldown.named = until,
            Rest::Guessed(until) => cooldown.guessed = until,
            Rest::OutOfCredit(until) => cooldown.out_of_credit = until,
        }
        cooldown
    }

    /// How often in a row we had to guess.
    pub(crate) const fn strikes(&self) -> u32 {
        self.strikes
    }

    /// That is known of it beside its rest.
    pub(crate) const fn remember(&mut self, strikes: u32) {
        self.strikes = strikes;
    }

    /// The rest at this moment; of several the one that allows least.
    pub(crate) fn rest(&self, now: Timestamp) -> Option<Rest> {
        if self.out_of_credit > now {
            Some(Rest::OutOfCredit(self.out_of_credit))
        } else if self.named > now {
            Some(Rest::Named(self.named))
        } else if self.guessed > now {
            Some(Rest::Guessed(self.guessed))
        } else {
            None
        }
    }

    /// Until when the provider said that it rests, whether that is over or not.
    pub(crate) const fn named(&self) -> Timestamp {
        self.named
    }

    /// The provider said so, and is not asked whether it still does.
    pub(crate) fn is_named(&mut self, until: Timestamp) {
        self.named = self.named.max(until);
    }

    /// When the last of its rests ends.
    pub(crate) fn latest(&self) -> Timestamp {
        self.named.max(self.guessed).max(self.out_of_credit)
    }

    /// Lets it rest as a failure demands. Failures that are not the credential's change nothing.
    pub(crate) fn failed(&mut self, settings: CooldownDecl, failure: &Failure, now: Timestamp, rng: &mut impl Rng) {
        let longest = now + settings.max.0;
        let within = |wait: Duration| (now + wait).min(longest);
        match (failure.class, failure.retry_after) {
            (FailureClass::OutOfCredit, _) => self.lacks_credit(now, longest),
            (FailureClass::RateLimited, Some(wait)) if !wait.is_zero() => self.named = self.named.max(within(wait)),
            (FailureClass::RateLimited, _) => self.guess(within(RATE_LIMITED.delay(self.strikes + 1, rng)), now),
            (FailureClass::Auth, _) => self.guess(within(REFUSED.delay(self.strikes + 1, rng)), now),
            _ => {}
        }
    }

    /// An answer said that nothing is left of a window which is whole again after `wait`. Only a guess: it is no reason to
    /// turn a call away before the provider does.
    pub(crate) fn spare(&mut self, settings: CooldownDecl, wait: Duration, now: Timestamp) {
        self.guessed = self.guessed.max(now + wait.min(SPARED_MAX).min(settings.max.0));
        self.guessed_at = now;
    }

    /// Others answer and this one does not: a guess that says nothing of how often it was limited.
    pub(crate) fn stay_behind(&mut self, until: Timestamp, now: Timestamp) {
        self.guessed = self.guessed.max(until);
        self.guessed_at = now;
    }

    /// There is no money since then; look again at `until`.
    pub(crate) fn lacks_credit(&mut self, since: Timestamp, until: Timestamp) {
        self.out_of_credit = self.out_of_credit.max(until);
        self.no_credit_since.get_or_insert(since);
    }

    pub(crate) const fn is_out_of_credit(&self) -> bool {
        self.no_credit_since.is_some()
    }

    /// A call begins. Where it is the one that looks whether there is money again, the others wait for what it finds.
    pub(crate) fn look(&mut self, settings: CooldownDecl, now: Timestamp) {
        if self.no_credit_since.is_some() && self.out_of_credit <= now {
            self.out_of_credit = now + LOOK.min(settings.max.0);
        }
    }

    /// A request that began at `began` was answered: our guesses were wrong, unless we learned otherwise meanwhile.
    pub(crate) fn accepted(&mut self, began: Timestamp) {
        if began >= self.guessed_at {
            self.guessed = Timestamp::default();
            self.strikes = 0;
        }
    }

    /// A whole call that began at `began` was answered: there is money. Tells whether there was none before.
    pub(crate) fn has_credit(&mut self, began: Timestamp) -> bool {
        let has_credit = self.no_credit_since.is_some_and(|since| began > since);
        if has_credit {
            self.out_of_credit = Timestamp::default();
            self.no_credit_since = None;
        }
        has_credit
    }

    fn guess(&mut self, until: Timestamp, now: Timestamp) {
        self.guessed = self.guessed.max(until);
        self.guessed_at = now;
        self.strikes = self.strikes.saturating_add(1).min(32);
    }
}

#[cfg(test)]
mod tests {
    use domain::declaration::Period;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const SETTINGS: CooldownDecl = CooldownDecl {
        max: Period::from_secs(3_600),
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000) + Duration::from_secs(secs)
    }

    fn failure(class: FailureClass, retry_after: Option<u64>) -> Failure {
        Failure {
            retry_after: retry_after.map(Duration::from_secs),
            ..Failure::new(class, "")
        }
    }

    fn fail(cooldown: &mut Cooldown, class: FailureClass, retry_after: Option<u64>, now: Timestamp) {
        cooldown.failed(
            SETTINGS,
            &failure(class, retry_after),
            now,
            &mut SmallRng::seed_from_u64(3),
        );
    }

    #[test]
    fn a_named_time_is_kept_and_ends_by_itself() {
        let mut cooldown = Cooldown::default();
        fail(&mut cooldown, FailureClass::RateLimited, Some(20), at(0));
        assert_eq!(cooldown.rest(at(19)), Some(Rest::Named(at(20))));
        assert_eq!(cooldown.rest(at(20)), None);
    }

    #[test]
    fn longer_is_never_replaced_by_shorter() {
        let mut cooldown = Cooldown::default();
        fail(&mut cooldown, FailureClass::RateLimited, Some(20), at(0));
        fail(&mut cooldown, FailureClass::RateLimited, Some(5), at(1));
        assert_eq!(cooldown.rest(at(2)), Some(Rest::Named(at(20))));
        fail(&mut cooldown, FailureClass::RateLimited, None, at(2));
        assert_eq!(cooldown.rest(at(2)), Some(Rest::Named(at(20))));
        fail(&mut cooldown, FailureClass::RateLimited, Some(100), at(3));
        assert_eq!(cooldown.rest(at(4)), Some(Rest::Named(at(103))));
    }

    #[test]
    fn nothing_is_longer_than_the_maximum() {
        let mut cooldown = Cooldown::default();
        fail(&mut cooldown, FailureClass::RateLimited, Some(86_400), at(0));
        assert_eq!(cooldown.rest(at(0)), Some(Rest::Named(at(3_600))));
        fail(&mut cooldown, FailureClass::OutOfCredit, None, at(10));
        assert_eq!(cooldown.rest(at(10)), Some(Rest::OutOfCredit(at(3_610))));
        for _ in 0..100 {
            fail(&mut cooldown, FailureClass::Auth, None, at(20));
        }
        assert!(
            cooldown.guessed <= at(20) + Duration::from_secs(75),
            "{:?}",
            cooldown.guessed
        );
    }

    #[test]
    fn looking_for_money_is_no_longer_than_the_maximum_either() {
        let short = CooldownDecl {
            max: Period::from_secs(10),
        };
        let empty = failure(FailureClass::OutOfCredit, None);
        let mut cooldown = Cooldown::default();
        let mut rng = SmallRng::seed_from_u64(3);
        cooldown.failed(short, &empty, at(0), &mut rng);
        cooldown.look(short, at(10));
        assert_eq!(cooldown.rest(at(10)), Some(Rest::OutOfCredit(at(20))));
        cooldown.failed(short, &empty, at(11), &mut rng);
        assert_eq!(cooldown.rest(at(11)), Some(Rest::OutOfCredit(at(21))));
        let mut patient = Cooldown::default();
        patient.lacks_credit(at(0), at(5));
        patient.look(SETTINGS, at(5));
        assert_eq!(patient.rest(at(5)), Some(Rest::OutOfCredit(at(65))));
    }

    #[test]
    fn guesses_grow_until_a_success() {
        let mut cooldown = Cooldown::default();
        let wait = |cooldown: &mut Cooldown, class, now: Timestamp| {
            fail(cooldown, class, None, now);
            match cooldown.rest(now) {
                Some(Rest::Guessed(until)) => until.since(now).as_secs_f64(),
                other => panic!("{other:?}"),
            }
        };
        for (now, base) in [(0, 1.0), (10, 2.0), (20, 4.0), (30, 8.0)] {
            let wait = wait(&mut cooldown, FailureClass::RateLimited, at(now));
            assert!((0.75 * base..=1.25 * base).contains(&wait), "{wait} for {base}");
        }
        cooldown.accepted(at(29));
        assert!(cooldown.rest(at(30)).is_some(), "asked before the last failure");
        cooldown.accepted(at(31));
        assert_eq!((cooldown.rest(at(31)), cooldown.strikes), (None, 0));
        assert!(wait(&mut cooldown, FailureClass::Auth, at(100)) >= 11.25);
    }

    #[test]
    fn a_time_of_zero_is_no_time() {
        let mut cooldown = Cooldown::default();
        fail(&mut cooldown, FailureClass::RateLimited, Some(0), at(0));
        assert!(matches!(cooldown.rest(at(0)), Some(Rest::Guessed(_))));
    }

    #[test]
    fn the_upstreams_failures_are_not_the_credentials() {
        let mut cooldown = Cooldown::default();
        for class in [
            FailureClass::Connect,
            FailureClass::Reset,
            FailureClass::Silence,
            FailureClass::Server,
            FailureClass::Overloaded,
            FailureClass::Nonsense,
        ] {
            fail(&mut cooldown, class, Some(60), at(0));
            assert_eq!(cooldown, Cooldown::default(), "{class:?}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_rest_never_comes_nearer(
            failures in proptest::collection::vec((0_u8..4, 0_u64..5_000, 0_u64..60), 1..60),
        ) {
            let mut cooldown = Cooldown::default();
            let mut now = at(0);
            for (kind, wait, gap) in failures {
                now = now + Duration::from_secs(gap);
                let before = cooldown;
                match kind {
                    0 => fail(&mut cooldown, FailureClass::RateLimited, Some(wait), now),
                    1 => fail(&mut cooldown, FailureClass::RateLimited, None, now),
                    2 => fail(&mut cooldown, FailureClass::Auth, None, now),
                    _ => fail(&mut cooldown, FailureClass::OutOfCredit, None, now),
                }
                prop_assert!(cooldown.named >= before.named && cooldown.guessed >= before.guessed);
                prop_assert!(cooldown.out_of_credit >= before.out_of_credit);
                let longest = now + SETTINGS.max.0;
                prop_assert!(cooldown.named <= longest && cooldown.guessed <= longest && cooldown.out_of_credit <= longest);
            }
        }
    }
}
