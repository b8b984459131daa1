//! What went wrong at which upstream in this call, and whether it is asked again for all that.

use std::time::Duration;

use domain::snapshot::{Route, Upstream};
use domain::{Failure, FailureClass, Timestamp, UpstreamId};
use rand::Rng;

use super::{Attempts, Phase, Resting, exclusion, find, upstream_of};
use crate::board::{Board, PROVEN, UNFAILED};
use crate::plan::{Choice, Exclusion};

/// More tries at an upstream that is not the only healthy one.
const RETRIES_WITH_ANOTHER: u32 = 1;

/// Failures at one upstream after which a call tries no more of its credentials.
const SIBLINGS_FAILING_MAX: u32 = 5;

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

/// In which order siblings are tried; see [`Board::sibling_rank`].
pub(super) fn rank_of(route: &Route, choice: Choice, board: &Board) -> u16 {
    find(route, choice).map_or(u16::MAX, |(_, credential)| board.sibling_rank(credential))
}

fn is_fresh(route: &Route, choice: Choice, board: &Board) -> bool {
    rank_of(route, choice, board) <= UNFAILED
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
        self.unroll_siblings(route, upstream, board);
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
        let (next, is_proven) = self.same_or_sibling(route, choice, trouble, board, now);
        // One that answers while the others fail need not be given time.
        let delay = if is_proven { Duration::ZERO } else { own.max(named) };
        if !self.fits(delay, now) || !self.has_room(route, next, board, now) {
            return Phase::Choosing;
        }
        self.untried.retain(|untried| *untried != next);
        self.waited += delay;
        Phase::Waiting {
            choice: next,
            until: now + delay,
        }
    }

    /// In the last resort only one is planned: those of its upstream that did not fail by themselves follow it.
    fn unroll_siblings(&mut self, route: &Route, upstream: &Upstream, board: &Board) {
        if !self.plan.last_resort || upstream.credentials.len() < 2 || self.failures_of(upstream) != 1 {
            return;
        }
        let Self { plan, untried, .. } = self;
        let siblings = plan.excluded.iter().filter(|excluded| {
            let is_sibling = upstream_of(route, excluded.choice) == Some(upstream.id);
            is_sibling && excluded.reason.is_guess() && is_fresh(route, excluded.choice, board)
        });
        for sibling in siblings {
            if !untried.contains(&sibling.choice) {
                untried.push(sibling.choice);
            }
        }
    }

    fn failures_of(&self, upstream: &Upstream) -> u32 {
        let trouble = self.troubles.iter().find(|trouble| trouble.upstream == upstream.id);
        trouble.map_or(0, |trouble| trouble.failures)
    }

    /// Whether a candidate may be tried after its upstream failed this call as often as it may with one credential: one that
    /// did not fail itself, which may be the one that is well.
    pub(super) fn is_left(&self, route: &Route, choice: Choice, board: &Board) -> bool {
        let failures = self.failures_at(route, choice);
        let most = if self.plan.last_resort {
            self.rules.retries
        } else {
            SIBLINGS_FAILING_MAX.max(self.rules.retries)
        };
        failures <= self.rules.retries || (failures <= most && is_fresh(route, choice, board))
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

    /// After two tries in a row with one credential, or where it alone fails, another of the same upstream may do better.
    /// Tells whether that was answered while others failed.
    fn same_or_sibling(
        &self,
        route: &Route,
        choice: Choice,
        trouble: Trouble,
        board: &Board,
        now: Timestamp,
    ) -> (Choice, bool) {
        let rests = matches!(exclusion(route, choice, board, now), Some(Exclusion::Cooldown { .. }));
        let first = trouble.failures == trouble.in_a_row;
        if first && trouble.in_a_row < 2 && !rests && !self.plan.last_resort {
            return (choice, false);
        }
        let siblings = self.untried.iter().copied().filter(|other| {
            let against = exclusion(route, *other, board, now);
            upstream_of(route, *other) == Some(trouble.upstream) && !matches!(against, Some(Exclusion::Cooldown { .. }))
        });
        let best = siblings.min_by_key(|sibling| rank_of(route, *sibling, board));
        best.map_or((choice, false), |best| (best, rank_of(route, best, board) == PROVEN))
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
