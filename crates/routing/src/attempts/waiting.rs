//! What is waited for: candidates that rest, and further tries; and what is looked at when the wait is over.
//!
//! Other calls go on meanwhile, and operators decide: so nothing that held when the wait began is believed when it ends.

use std::time::Duration;

use domain::Timestamp;
use domain::snapshot::Route;
use rand::Rng;

use super::troubles::rank_of;
use super::{Attempts, Phase, Resting, Step, exclusion, find, named_rest, upstream_of};
use crate::board::{Board, Leave, PROVEN};
use crate::plan::{Choice, Exclusion};

impl Attempts {
    /// Takes note of the rests that providers named to other calls meanwhile: untried candidates move to those that
    /// rest, and those that rest may do so for longer.
    pub(super) fn set_resting_aside(&mut self, route: &Route, board: &Board, now: Timestamp) {
        let Self { untried, resting, .. } = self;
        for resting in resting.iter_mut().filter(|resting| resting.due) {
            resting.until =
                named_rest(route, resting.choice, board, now).map_or(resting.until, |named| named.max(resting.until));
        }
        untried.retain(|choice| {
            let named = named_rest(route, *choice, board, now);
            resting.extend(named.map(|until| Resting {
                choice: *choice,
                until,
                times: 0,
                due: true,
            }));
            named.is_none()
        });
    }

    /// Whether what is known by now speaks against asking a candidate again that was waited for. A rest was waited for or is
    /// a guess; a breaker that opened meanwhile is heeded, unless this call goes on in spite of it or is what probes.
    pub(super) const fn is_barred_by(&self, reason: Exclusion) -> bool {
        match reason {
            Exclusion::Cooldown { .. } | Exclusion::UpstreamCooldown { .. } => false,
            Exclusion::BreakerOpen { .. } | Exclusion::Probing => !self.plan.last_resort && !self.probed,
            _ => true,
        }
    }

    /// Leave to call the candidate that was waited for; `None` if it rests even longer by now, if an operator closed it off
    /// or its breaker opened meanwhile, or if it is doubted and there is another upstream to turn to.
    pub(super) fn leave_after_wait(
        &mut self,
        route: &Route,
        choice: Choice,
        board: &Board,
        now: Timestamp,
    ) -> Option<Leave> {
        if !self.may_begin(now) {
            return None;
        }
        if let Some(until) = named_rest(route, choice, board, now) {
            match self.resting.iter_mut().find(|resting| resting.choice == choice) {
                Some(resting) => resting.until = resting.until.max(until),
                None => self.resting.push(Resting {
                    choice,
                    until,
                    times: 0,
                    due: true,
                }),
            }
            return None;
        }
        let (upstream, _) = find(route, choice)?;
        let is_last = self.plan.last_resort || !self.another_is_healthy(route, upstream, board, now);
        let against = exclusion(route, choice, board, now);
        if against.is_some_and(|reason| self.is_barred_by(reason) || !is_last) {
            return None;
        }
        match board.leave(upstream, now) {
            Leave::Refused if self.another_is_healthy(route, upstream, board, now) => None,
            leave => Some(leave),
        }
    }

    /// Whether a try of this candidate is within its upstream's retry budget, which is told of it here. A first try is, and one
    /// with a credential that is answered while others fail: that amplifies no outage.
    pub(super) fn has_room(&mut self, route: &Route, choice: Choice, board: &Board, now: Timestamp) -> bool {
        let is_bounded = || self.is_further(route, choice) && rank_of(route, choice, board) != PROVEN;
        let Some(upstream) = upstream_of(route, choice).filter(|_| is_bounded()) else {
            self.again = None;
            return true;
        };
        let held = self.again.take().filter(|again| again.is_at(upstream));
        self.again = held.or_else(|| board.again(upstream, now));
        self.again.is_some()
    }

    pub(super) fn wait(&mut self, choice: Choice, until: Timestamp, now: Timestamp) -> Step {
        self.waited += until.since(now);
        self.phase = Phase::Waiting { choice, until };
        Step::Wait { until }
    }

    /// A candidate was told to come back later.
    pub(super) fn rest(&mut self, choice: Choice, named: Option<Duration>, now: Timestamp, rng: &mut impl Rng) {
        let times = 1 + self
            .resting
            .iter()
            .find(|resting| resting.choice == choice)
            .map_or(0, |resting| resting.times);
        let until = now + self.rules.backoff.delay(times, rng).max(named.unwrap_or_default());
        self.resting.retain(|resting| resting.choice != choice);
        self.resting.push(Resting {
            choice,
            until,
            times,
            due: true,
        });
    }
}
