//! Which candidate a call tries next.
//!
//! The plan's order is what was best when the call began. After a failure it is read again with what the call has learned and
//! what the board knows by now: an upstream that failed this call goes behind those that did not, and one that failed others
//! behind its peers. Most calls are answered by the first, so the others are looked at only when somebody asks.

use domain::Timestamp;
use domain::snapshot::{Route, Upstream};
use smallvec::SmallVec;

use super::troubles::rank_of;
use super::{Attempts, Resting, accounts, exclusion, leave, may_retry, upstream_of};
use crate::board::{Board, Leave, PROVEN};
use crate::plan::{Choice, Excluded, Exclusion};

/// Credentials of one upstream that may be limited in one call before its peers are asked instead of their siblings.
const LIMITED_BEFORE_PEERS: u32 = 2;
/// The same before any other upstream is.
const LIMITED_BEFORE_OTHERS: u32 = 4;

impl Attempts {
    /// Lists all that may be tried, now or after the rest that a provider named.
    pub(super) fn unroll(&mut self) {
        if std::mem::replace(&mut self.is_unrolled, true) {
            return;
        }
        self.untried.extend(self.plan.order.iter().skip(1).copied());
        let rests = |excluded: &Excluded| match excluded.reason {
            Exclusion::Cooldown {
                until,
                named_by_provider: true,
            } => Some(Resting {
                choice: excluded.choice,
                until,
                times: 0,
                due: true,
            }),
            _ => None,
        };
        self.resting.extend(self.plan.excluded.iter().filter_map(rests));
    }

    /// The first of the plan, for a call that has just begun, if nothing is against it by now.
    pub(super) fn take_first(&mut self, route: &Route, board: &Board, now: Timestamp) -> Option<(Choice, Leave)> {
        let choice = *self.untried.first().filter(|_| !self.is_unrolled)?;
        if !self.is_open_to(route, choice, board, now) {
            return None;
        }
        match leave(route, choice, board, now) {
            Leave::Refused => None,
            leave => {
                self.untried.clear();
                Some((choice, leave))
            }
        }
    }

    /// The next untried candidate and the leave to call it: the first whose upstream has not failed in this call, else
    /// the first whose upstream may be tried again. A candidate whose breaker opened since then is passed over, unless
    /// that would leave the call without a single try. A call probes one upstream: when many come half-open in the same
    /// moment, it must not spend all its tries on finding out for others. Only when nothing else is left it probes more.
    pub(super) fn take_untried(&mut self, route: &Route, board: &Board, now: Timestamp) -> Option<(Choice, Leave)> {
        let mut passed_over = None;
        let mut to_probe: SmallVec<[Choice; 4]> = SmallVec::new();
        while let Some(place) = self.next_untried(route, board, now) {
            let choice = self.untried.remove(place);
            match leave(route, choice, board, now) {
                Leave::Canary(_) if self.probed => to_probe.push(choice),
                Leave::Refused if !self.plan.last_resort => passed_over = passed_over.or(Some(choice)),
                leave => {
                    self.untried.extend(to_probe);
                    return Some((choice, leave));
                }
            }
        }
        self.untried.extend(to_probe.iter().skip(1).copied());
        if let Some(choice) = to_probe.first().copied() {
            match leave(route, choice, board, now) {
                Leave::Refused => passed_over = passed_over.or(Some(choice)),
                leave => return Some((choice, leave)),
            }
        }
        let guessed = |choice: &Choice| exclusion(route, *choice, board, now).is_none_or(Exclusion::is_guess);
        let rather_than_none = passed_over.or_else(|| self.untried.iter().copied().find(guessed));
        rather_than_none
            .filter(|choice| self.tries == 0 && guessed(choice))
            .map(|choice| (choice, Leave::Free))
    }

    /// The place of the next candidate among the untried.
    pub(super) fn next_untried(&self, route: &Route, board: &Board, now: Timestamp) -> Option<usize> {
        let usable = |choice: &Choice| self.is_open_to(route, *choice, board, now);
        let untroubled = |choice: &Choice| self.failures_at(route, *choice) == 0 && usable(choice);
        // Another account may be served where one was not: each is asked before the call is given up.
        let left = |choice: &Choice| self.is_left(route, *choice, board) || accounts::is_one(route, *choice);
        let has_room =
            |choice: &Choice| rank_of(route, *choice, board) == PROVEN || may_retry(route, *choice, board, now);
        let retryable = |choice: &Choice| left(choice) && has_room(choice) && usable(choice);
        match self.untried.iter().position(untroubled) {
            Some(place) if self.tries > 0 => Some(self.better(route, place, untroubled, board)),
            Some(place) => Some(place),
            None => {
                let places = self.untried.iter().enumerate().filter(|(_, choice)| retryable(choice));
                let best = places.min_by_key(|(_, choice)| rank_of(route, **choice, board));
                best.map(|(place, _)| place)
            }
        }
    }

    /// A better candidate than the one at `place`, for a call that has failed before and is not the one to find out what
    /// others can: of its peers the first whose upstream answered whoever asked it last, and whose credentials have not
    /// been limited one after another. Else an outage of many upstreams, or one provider that limits all its credentials,
    /// uses up the tries. Where the peers are limited, one of a lower priority or of a fallback, after some more.
    pub(super) fn better(
        &self,
        route: &Route,
        place: usize,
        is_open: impl Fn(&Choice) -> bool,
        board: &Board,
    ) -> usize {
        let rank = |choice: &Choice| {
            let target = route.targets.get(choice.target);
            target.map(|target| (target.tier, target.priority))
        };
        let peers = self.untried.get(place).and_then(rank);
        let is_peer = |choice: &Choice| rank(choice) == peers && self.limits_at(route, *choice) < LIMITED_BEFORE_PEERS;
        let is_doubted =
            |choice: &Choice| upstream_of(route, *choice).is_none_or(|upstream| board.is_doubted(upstream));
        let find =
            |fits: &dyn Fn(&Choice) -> bool| self.untried.iter().position(|choice| fits(choice) && is_open(choice));
        let is_limited = |place: &usize| {
            let choice = self.untried.get(*place);
            choice.is_some_and(|choice| self.limits_at(route, *choice) >= LIMITED_BEFORE_OTHERS)
        };
        find(&|choice| is_peer(choice) && !is_doubted(choice))
            .or_else(|| find(&is_peer))
            .or_else(|| {
                is_limited(&place).then(|| find(&|choice| self.limits_at(route, *choice) < LIMITED_BEFORE_OTHERS))?
            })
            .unwrap_or(place)
    }

    /// Of the credentials that were set aside because we guess that they should rest, the one that should recover first;
    /// one per call. The others have failed by now, and a guess must not turn a call away that it might have answered.
    pub(super) fn take_last_resort(&mut self, route: &Route, board: &Board, now: Timestamp) -> Option<Choice> {
        if self.plan.last_resort || self.refused || self.tries == 0 {
            return None;
        }
        let guessed = |excluded: &&Excluded| {
            let by_guess = |reason: &Exclusion| {
                matches!(
                    reason,
                    Exclusion::Cooldown {
                        named_by_provider: false,
                        ..
                    }
                )
            };
            let troubled = self.failures_at(route, excluded.choice) > 0;
            by_guess(&excluded.reason)
                && !troubled
                && exclusion(route, excluded.choice, board, now).is_none_or(|reason| by_guess(&reason))
        };
        let soonest = self.plan.excluded.iter().filter(guessed);
        let choice = soonest.min_by_key(|excluded| excluded.reason.until())?.choice;
        self.plan.last_resort = true;
        Some(choice)
    }

    pub(super) fn another_is_healthy(&self, route: &Route, upstream: &Upstream, board: &Board, now: Timestamp) -> bool {
        self.untried.iter().any(|choice| {
            upstream_of(route, *choice) != Some(upstream.id)
                && self.failures_at(route, *choice) == 0
                && self.is_open_to(route, *choice, board, now)
        })
    }

    /// Whether nothing is against a candidate now: not in this call, not on the board.
    pub(super) fn is_open_to(&self, route: &Route, choice: Choice, board: &Board, now: Timestamp) -> bool {
        let silent = self.trouble_at(route, choice).is_some_and(|trouble| trouble.silent);
        let against = exclusion(route, choice, board, now);
        !silent && against.is_none_or(|reason| self.plan.last_resort && reason.is_guess())
    }
}
