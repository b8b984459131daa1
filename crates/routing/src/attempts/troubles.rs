//! What went wrong at which upstream in this call, and whether it is asked again for all that.

use domain::snapshot::{Route, Upstream};
use domain::{Failure, FailureClass, Timestamp, UpstreamId};
use rand::Rng;

use super::{Attempts, Phase, Resting, find, upstream_of};
use crate::board::Board;
use crate::plan::{Choice, Exclusion};

/// More tries at an upstream that is not the only healthy one.
const RETRIES_WITH_ANOTHER: u32 = 1;

/// What went wrong at one upstream in this call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) upstream: UpstreamId,
    pub(super) failures: u32,
    /// How many of its 429s this call met.
    pub(super) limits: u32,
    /// It did not answer in time: never again in this call.
    pub(super) silent: bool,
    /// It was tried again at once after a reset.
    pub(super) reset: bool,
    /// The last credential tried there, and how often in a row.
    pub(super) credential: usize,
    pub(super) in_a_row: u32,
}

impl Attempts {
    /// Decides whether the upstream that just failed is asked again.
    pub(super) fn after_trouble(
        &mut self,
        route: &Route,
        choice: Choice,
        failure: &Failure,
        board: &Board,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Phase {
        let Some((upstream, _)) = find(route, choice) else {
            return Phase::Choosing;
        };
        let another = self.another_is_healthy(route, upstream, board, now);
        let first_reset = failure.class == FailureClass::Reset && !self.was_reset(upstream);
        let trouble = *self.trouble(upstream, choice);
        let own = self.rules.backoff.delay(trouble.failures, rng);
        let named = failure.retry_after.unwrap_or_default();
        if trouble.failures > self.retries_at(failure.class, another) {
            return Phase::Choosing;
        }
        if first_reset {
            if !self.has_room(route, choice, board, now) {
                return Phase::Choosing;
            }
            if let Some(trouble) = self.trouble_mut(upstream) {
                trouble.reset = true;
            }
            return Phase::Waiting { choice, until: now };
        }
        let opened = matches!(
            board.exclusion_of(upstream, now),
            Some(Exclusion::BreakerOpen { .. } | Exclusion::ForcedOpen)
        );
        if another && (named > own || opened) {
            return Phase::Choosing;
        }
        let delay = own.max(named);
        if !self.fits(delay, now) || !self.has_room(route, choice, board, now) {
            return Phase::Choosing;
        }
        self.waited += delay;
        Phase::Waiting {
            choice: self.same_or_sibling(route, choice, trouble),
            until: now + delay,
        }
    }

    /// How often an upstream is tried again after a failure of this class.
    pub(super) fn retries_at(&self, class: FailureClass, another_is_healthy: bool) -> u32 {
        let few = self.rules.retries.min(RETRIES_WITH_ANOTHER);
        match class {
            FailureClass::Connect if another_is_healthy => 0,
            _ if another_is_healthy || self.plan.last_resort => few,
            _ => self.rules.retries,
        }
    }

    /// After two tries in a row with one credential another of the same upstream may do better.
    pub(super) fn same_or_sibling(&mut self, route: &Route, choice: Choice, trouble: Trouble) -> Choice {
        if trouble.in_a_row < 2 {
            return choice;
        }
        let sibling = self
            .untried
            .iter()
            .position(|other| upstream_of(route, *other) == Some(trouble.upstream));
        sibling.map_or(choice, |place| self.untried.remove(place))
    }

    /// Whether the upstream has failed this call before, or its provider told it to come back.
    pub(super) fn is_further(&self, route: &Route, choice: Choice) -> bool {
        let came_back = |resting: &Resting| resting.choice == choice && resting.times > 0;
        self.failures_at(route, choice) > 0 || self.resting.iter().any(came_back)
    }

    pub(super) fn failures_at(&self, route: &Route, choice: Choice) -> u32 {
        self.trouble_at(route, choice).map_or(0, |trouble| trouble.failures)
    }

    pub(super) fn trouble_at(&self, route: &Route, choice: Choice) -> Option<&Trouble> {
        let upstream = upstream_of(route, choice)?;
        self.troubles.iter().find(|trouble| trouble.upstream == upstream)
    }

    pub(super) fn was_reset(&self, upstream: &Upstream) -> bool {
        self.troubles
            .iter()
            .any(|trouble| trouble.upstream == upstream.id && trouble.reset)
    }

    pub(super) fn trouble_mut(&mut self, upstream: &Upstream) -> Option<&mut Trouble> {
        self.troubles.iter_mut().find(|trouble| trouble.upstream == upstream.id)
    }

    pub(super) fn limits_at(&self, route: &Route, choice: Choice) -> u32 {
        self.trouble_at(route, choice).map_or(0, |trouble| trouble.limits)
    }

    /// Notes one more failure at an upstream.
    pub(super) fn trouble(&mut self, upstream: &Upstream, choice: Choice) -> &mut Trouble {
        let trouble = self.troubles_at(upstream, choice);
        trouble.failures += 1;
        trouble.in_a_row = if trouble.credential == choice.credential {
            trouble.in_a_row + 1
        } else {
            1
        };
        trouble.credential = choice.credential;
        trouble
    }

    /// What went wrong at an upstream.
    pub(super) fn troubles_at(&mut self, upstream: &Upstream, choice: Choice) -> &mut Trouble {
        let place = self
            .troubles
            .iter()
            .position(|trouble| trouble.upstream == upstream.id)
            .unwrap_or_else(|| {
                self.troubles.push(Trouble {
                    upstream: upstream.id,
                    failures: 0,
                    limits: 0,
                    silent: false,
                    reset: false,
                    credential: choice.credential,
                    in_a_row: 0,
                });
                self.troubles.len() - 1
            });
        &mut self.troubles[place]
    }
}
