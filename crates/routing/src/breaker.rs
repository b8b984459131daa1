//! When to stop asking an upstream for a while.
//!
//! Two signals are needed. A count of failures alone would open the breaker of a busy upstream that loses one call in a
//! thousand; a share of failures alone would open that of an idle one at its first failure. So it opens at N failures
//! within the window that are also at least half of all that was asked in it.
//!
//! While open it is asked nothing. After `open` it is half-open: one call goes through as the canary, whose outcome
//! closes it or opens it anew. The canary holds a guard: if the call ends without an outcome (its client hung up), the
//! place is free for the next one. Time is an argument; nothing here runs by itself.

use std::cell::Cell;

use domain::declaration::BreakerDecl;
use domain::{Forced, Timestamp};

/// The window is counted in this many slices; a failure is forgotten at most one slice early.
const SLICES: usize = 10;

/// How a breaker stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Nothing goes through.
    Open {
        /// Until then.
        until: Timestamp,
    },
    /// One call at a time may probe.
    HalfOpen {
        /// Whether one does.
        probing: bool,
    },
    /// An operator says so.
    Forced(Forced),
}

/// Names one canary, so that a late one does not free the place of its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    opened: Option<Opened>,
    forced: Option<Forced>,
    last_ticket: u64,
    /// What choices look at lies beside each other, so the long window lies elsewhere.
    slices: Box<[Slice; SLICES]>,
    counted: Cell<Counted>,
    /// When the call began whose answer closed it last.
    closed_by: Timestamp,
}

/// The sums of a window, which records ask for far more often than they change.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Of which moments: those of one slice.
    from: Timestamp,
    until: Timestamp,
    failures: u32,
    successes: u32,
}

#[derive(Debug)]
struct Opened {
    at: Timestamp,
    until: Timestamp,
    canary: Option<Ticket>,
}

/// What happened in one slice of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which slice of time, counted from the epoch.
    number: i64,
    failures: u32,
    successes: u32,
}

impl Breaker {
    pub(crate) fn state(&self, now: Timestamp) -> BreakerState {
        match (self.forced, &self.opened) {
            (Some(forced), _) => BreakerState::Forced(forced),
            (None, None) => BreakerState::Closed,
            (None, Some(opened)) if now < opened.until => BreakerState::Open { until: opened.until },
            (None, Some(opened)) => BreakerState::HalfOpen {
                probing: opened.canary.is_some(),
            },
        }
    }

    /// One that stands so, and knows nothing of how it came to.
    pub(crate) fn standing(state: BreakerState, now: Timestamp) -> Self {
        let (opened, forced) = match state {
            BreakerState::Closed => (None, None),
            BreakerState::Forced(forced) => (None, Some(forced)),
            BreakerState::Open { until } => (Some((until, None)), None),
            BreakerState::HalfOpen { probing: true } => (Some((now, Some(Ticket(0)))), None),
            BreakerState::HalfOpen { probing: false } => (Some((now, None)), None),
        };
        Self {
            opened: opened.map(|(until, canary)| Opened { at: now, until, canary }),
            forced,
            ..Self::default()
        }
    }

    /// Failures and successes that are not forgotten yet.
    pub(crate) fn lately(&self, settings: &BreakerDecl, now: Timestamp) -> (u32, u32) {
        self.counted(now).unwrap_or_else(|| {
            let (number, length) = (number(settings, now), slice_micros(settings));
            let (failures, successes) = self.window(settings, now);
            self.counted.set(Counted {
                from: Timestamp(number.saturating_mul(length)),
                until: Timestamp((number + 1).saturating_mul(length)),
                failures,
                successes,
            });
            (failures, successes)
        })
    }

    /// The same, if it was counted since anything changed.
    pub(crate) const fn counted(&self, now: Timestamp) -> Option<(u32, u32)> {
        let counted = self.counted.get();
        if counted.from.0 <= now.0 && now.0 < counted.until.0 {
            Some((counted.failures, counted.successes))
        } else {
            None
        }
    }

    /// Takes them as if they had just been.
    pub(crate) fn remember(&mut self, settings: &BreakerDecl, (failures, successes): (u32, u32), now: Timestamp) {
        let slice = self.slice(settings, now);
        (slice.failures, slice.successes) = (failures, successes);
    }

    /// What it has counted, by the beginnings of its slices; what is forgotten is not among it.
    pub(crate) fn slices(&self, settings: &BreakerDecl, now: Timestamp) -> Vec<(Timestamp, u32, u32)> {
        let (latest, length) = (number(settings, now), slice_micros(settings));
        let counts =
            |slice: &&Slice| slice.number > latest - SLICES as i64 && (slice.failures, slice.successes) != (0, 0);
        let mut live: Vec<_> = self
            .slices
            .iter()
            .filter(counts)
            .map(|slice| {
                let begin = Timestamp(slice.number.saturating_mul(length));
                (begin, slice.failures, slice.successes)
            })
            .collect();
        live.sort_unstable();
        live
    }

    /// Takes this for all that it has counted.
    pub(crate) fn put_slices(&mut self, settings: &BreakerDecl, counted: &[(Timestamp, u32, u32)]) {
        *self.slices = [Slice::default(); SLICES];
        for (at, failures, successes) in counted {
            let slice = self.slice(settings, *at);
            slice.failures = slice.failures.saturating_add(*failures);
            slice.successes = slice.successes.saturating_add(*successes);
        }
    }

    /// Whether nothing is wrong and nothing was decided: the state that needs no further look.
    pub(crate) const fn is_closed(&self) -> bool {
        self.opened.is_none() && self.forced.is_none()
    }

    /// What an operator decides; `None` leaves it to the breaker.
    pub(crate) const fn force(&mut self, forced: Option<Forced>) {
        self.forced = forced;
    }

    /// Takes the canary's place of a half-open breaker; `None` if it is not half-open or the place is taken.
    pub(crate) fn probe(&mut self, now: Timestamp) -> Option<Ticket> {
        let opened = self
            .opened
            .as_mut()
            .filter(|opened| now >= opened.until && opened.canary.is_none())?;
        self.last_ticket += 1;
        opened.canary = Some(Ticket(self.last_ticket));
        opened.canary
    }

    /// The canary is gone; without an outcome before, another may go.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        if let Some(opened) = self.opened.as_mut().filter(|opened| opened.canary == Some(ticket)) {
            opened.canary = None;
        }
    }

    /// A call that began at `began` was answered. Closes an open breaker only if it was asked after it opened: an answer
    /// to an older call says nothing about now.
    pub(crate) fn succeeded(&mut self, settings: &BreakerDecl, began: Timestamp, now: Timestamp) {
        match &self.opened {
            Some(opened) if began < opened.at => {}
            Some(_) => {
                self.close();
                self.closed_by = began;
            }
            None => self.slice(settings, now).successes += 1,
        }
    }

    /// Something that costs nothing was answered, asked at `began`: calls may fail all the same, so one of them may try at once.
    pub(crate) fn listed(&mut self, began: Timestamp, now: Timestamp) {
        if let Some(opened) = self.opened.as_mut().filter(|opened| began >= opened.at) {
            opened.until = opened.until.min(now);
        }
    }

    /// An answer that [`Breaker::succeeded`] was told of broke off: it counts as a failure, and as a success no more. One that
    /// closed the breaker opens it again.
    pub(crate) fn broke(&mut self, settings: &BreakerDecl, began: Timestamp, now: Timestamp) {
        self.counted = Cell::default();
        let latest = self.slices.iter_mut().filter(|slice| slice.successes > 0);
        if let Some(slice) = latest.max_by_key(|slice| slice.number) {
            slice.successes -= 1;
        }
        if self.opened.is_none() && self.closed_by == began && began != Timestamp::default() {
            self.opened = Some(Opened {
                at: now,
                until: now + settings.open.0,
                canary: None,
            });
            return;
        }
        self.failed(settings, None, now);
    }

    /// A call failed. `canary` is its ticket, if it was the one that probed.
    pub(crate) fn failed(&mut self, settings: &BreakerDecl, canary: Option<Ticket>, now: Timestamp) {
        let reopened = Opened {
            at: now,
            until: now + settings.open.0,
            canary: None,
        };
        if let Some(opened) = &mut self.opened {
            if canary.is_some() && opened.canary == canary {
                *opened = reopened;
            }
            return;
        }
        let slice = self.slice(settings, now);
        slice.failures = slice.failures.saturating_add(1);
        let (failures, successes) = self.window(settings, now);
        if failures >= settings.failures.max(1) && failures >= successes {
            self.opened = Some(reopened);
        }
    }

    fn close(&mut self) {
        self.opened = None;
        *self.slices = [Slice::default(); SLICES];
        self.counted = Cell::default();
    }

    /// Failures and successes within the window.
    fn window(&self, settings: &BreakerDecl, now: Timestamp) -> (u32, u32) {
        let oldest = number(settings, now) - SLICES as i64;
        let live = self.slices.iter().filter(|slice| slice.number > oldest);
        live.fold((0, 0), |(failures, successes), slice| {
            (
                failures.saturating_add(slice.failures),
                u32::saturating_add(successes, slice.successes),
            )
        })
    }

    fn slice(&mut self, settings: &BreakerDecl, now: Timestamp) -> &mut Slice {
        self.counted = Cell::default();
        let number = number(settings, now);
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

fn number(settings: &BreakerDecl, now: Timestamp) -> i64 {
    now.0.div_euclid(slice_micros(settings))
}

fn slice_micros(settings: &BreakerDecl) -> i64 {
    (settings.window.0.as_micros() / SLICES as u128).clamp(1, i64::MAX as u128) as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: BreakerDecl = BreakerDecl {
        failures: 5,
        window: domain::declaration::Period::from_secs(60),
        open: domain::declaration::Period::from_secs(30),
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000) + Duration::from_secs(secs)
    }

    fn failed(breaker: &mut Breaker, times: u32, now: Timestamp) {
        for _ in 0..times {
            breaker.failed(&SETTINGS, None, now);
        }
    }

    fn opened(now: Timestamp) -> Breaker {
        let mut breaker = Breaker::default();
        failed(&mut breaker, 5, now);
        breaker
    }

    #[test]
    fn opens_at_the_fifth_failure_in_a_minute() {
        let mut breaker = Breaker::default();
        failed(&mut breaker, 4, at(0));
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
        breaker.failed(&SETTINGS, None, at(50));
        assert_eq!(breaker.state(at(50)), BreakerState::Open { until: at(80) });
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut breaker = Breaker::default();
        failed(&mut breaker, 4, at(0));
        assert_eq!(breaker.window(&SETTINGS, at(53)).0, 4);
        assert_eq!(breaker.window(&SETTINGS, at(60)).0, 0);
        breaker.failed(&SETTINGS, None, at(60));
        assert_eq!(breaker.state(at(60)), BreakerState::Closed);
    }

    #[test]
    fn what_is_told_of_the_window_is_what_is_in_it() {
        let mut breaker = Breaker::default();
        for secs in [0, 1, 5, 7, 8, 30, 29, 61, 65, 66, 200, 199] {
            let now = at(secs);
            assert_eq!(
                breaker.lately(&SETTINGS, now),
                breaker.window(&SETTINGS, now),
                "at {secs}"
            );
            breaker.succeeded(&SETTINGS, now, now);
            assert_eq!(
                breaker.lately(&SETTINGS, now),
                breaker.window(&SETTINGS, now),
                "at {secs}"
            );
            breaker.failed(&SETTINGS, None, now);
            assert_eq!(
                breaker.lately(&SETTINGS, now),
                breaker.window(&SETTINGS, now),
                "at {secs}"
            );
        }
    }

    #[test]
    fn a_busy_upstream_that_fails_rarely_stays_closed() {
        let mut breaker = Breaker::default();
        for n in 0..1_000 {
            breaker.succeeded(&SETTINGS, at(0), at(0));
            if n % 100 == 0 {
                breaker.failed(&SETTINGS, None, at(0));
            }
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
        failed(&mut breaker, 989, at(10));
        assert_eq!(breaker.state(at(10)), BreakerState::Closed);
        failed(&mut breaker, 1, at(10));
        assert!(
            matches!(breaker.state(at(10)), BreakerState::Open { .. }),
            "half of all"
        );
    }

    #[test]
    fn one_canary_at_a_time() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.probe(at(29)), None, "open admits nothing");
        let canary = breaker.probe(at(30)).unwrap();
        assert_eq!(breaker.state(at(30)), BreakerState::HalfOpen { probing: true });
        assert_eq!(breaker.probe(at(31)), None);
        breaker.failed(&SETTINGS, Some(canary), at(32));
        assert_eq!(breaker.state(at(32)), BreakerState::Open { until: at(62) });
        assert!(breaker.probe(at(62)).is_some());
        breaker.succeeded(&SETTINGS, at(62), at(63));
        assert_eq!(breaker.state(at(63)), BreakerState::Closed);
        assert_eq!(breaker.window(&SETTINGS, at(63)).0, 0, "a new beginning");
    }

    #[test]
    fn a_vanished_canary_frees_its_place() {
        let mut breaker = opened(at(0));
        let first = breaker.probe(at(30)).unwrap();
        breaker.abandon(first);
        assert_eq!(breaker.state(at(31)), BreakerState::HalfOpen { probing: false });
        let second = breaker.probe(at(31)).unwrap();
        breaker.abandon(first);
        assert_eq!(
            breaker.state(at(31)),
            BreakerState::HalfOpen { probing: true },
            "only its own place"
        );
        breaker.failed(&SETTINGS, Some(first), at(32));
        assert_eq!(
            breaker.state(at(32)),
            BreakerState::HalfOpen { probing: true },
            "its outcome no longer counts"
        );
        breaker.failed(&SETTINGS, Some(second), at(32));
        assert_eq!(breaker.state(at(32)), BreakerState::Open { until: at(62) });
    }

    #[test]
    fn outcomes_of_older_calls_change_nothing() {
        let mut breaker = opened(at(10));
        breaker.succeeded(&SETTINGS, at(9), at(20));
        assert_eq!(breaker.state(at(20)), BreakerState::Open { until: at(40) });
        failed(&mut breaker, 9, at(20));
        assert_eq!(
            breaker.state(at(20)),
            BreakerState::Open { until: at(40) },
            "it does not stay open for ever"
        );
        breaker.succeeded(&SETTINGS, at(11), at(20));
        assert_eq!(
            breaker.state(at(20)),
            BreakerState::Closed,
            "asked when it was open, and it answered"
        );
    }

    #[test]
    fn an_operator_has_the_last_word() {
        let mut breaker = opened(at(0));
        breaker.force(Some(Forced::Closed));
        assert_eq!(breaker.state(at(1)), BreakerState::Forced(Forced::Closed));
        breaker.force(Some(Forced::Open));
        assert_eq!(breaker.state(at(99)), BreakerState::Forced(Forced::Open));
        breaker.force(None);
        assert_eq!(breaker.state(at(1)), BreakerState::Open { until: at(30) });
    }

    proptest! {
        #[test]
        fn an_open_breaker_admits_nothing(acts in proptest::collection::vec((0_u8..4, 0_u64..20), 1..200)) {
            let (mut breaker, mut now) = (Breaker::default(), at(0));
            let mut canary = None;
            for (act, gap) in acts {
                now = now + Duration::from_secs(gap);
                let state = breaker.state(now);
                match act {
                    0 => breaker.failed(&SETTINGS, canary.take(), now),
                    1 => {
                        if let Some(ticket) = canary.take() {
                            breaker.succeeded(&SETTINGS, now, now);
                            breaker.abandon(ticket);
                        }
                    }
                    2 => {
                        if let Some(ticket) = canary.take() {
                            breaker.abandon(ticket);
                        }
                    }
                    _ => {
                        let free = state == BreakerState::HalfOpen { probing: false };
                        let ticket = breaker.probe(now);
                        prop_assert_eq!(ticket.is_some(), free, "{:?}", state);
                        prop_assert!(ticket.is_none() || canary.is_none(), "two canaries");
                        canary = ticket.or(canary);
                    }
                }
                if let BreakerState::Open { until } = breaker.state(now) {
                    prop_assert!(until > now && until <= now + SETTINGS.open.0);
                }
            }
        }
    }
}
