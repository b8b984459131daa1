//! A second try beside the first one, which takes long.
//!
//! The machine knows of one try that runs. For a while there are two: the *first* and its *hedge*. Whichever ends first leaves
//! the other to be the try that runs, so that [`Attempts::served`] and [`Attempts::failed`] end it like every other. What
//! ends beside it is told to the board, and decides nothing: what is next is asked when nothing runs any more.

use domain::snapshot::{Credential, Route, Upstream};
use domain::{Failure, FailureClass, Timestamp};
use rand::Rng;

use super::{Attempts, Phase, exclusion, find, leave, model_of, upstream_of};
use crate::board::{Board, Leave, Tried};
use crate::plan::Choice;

/// A try that was begun beside another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hedge {
    choice: Choice,
    began: Timestamp,
}

/// One of two tries that run beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The one that takes long.
    First,
    /// The one that was begun then.
    Hedge,
}

/// Why a try is not hedged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhedged {
    /// Nothing else could be tried now.
    NoCandidate,
    /// Too many of the model's calls were sent twice.
    OverBudget,
}

impl Unhedged {
    /// The word in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCandidate => "no_candidate",
            Self::OverBudget => "over_budget",
        }
    }
}

impl Attempts {
    /// Begins a second try beside the one that runs: at the next candidate of the same model against which nothing speaks,
    /// of another upstream if there is one. It probes nothing, and a fallback is not asked because the model itself is slow.
    pub fn hedge(&mut self, route: &Route, board: &Board, now: Timestamp) -> Result<Choice, Unhedged> {
        let Phase::Trying(first) = self.phase else {
            return Err(Unhedged::NoCandidate);
        };
        if self.hedge.is_some() || !self.may_begin(now) {
            return Err(Unhedged::NoCandidate);
        }
        self.unroll();
        let fits = |choice: Choice| self.may_run_beside(route, first, choice, board, now);
        let mut fitting: Vec<Choice> = self.untried.iter().copied().filter(|choice| fits(*choice)).collect();
        fitting.sort_by_key(|choice| upstream_of(route, *choice) == upstream_of(route, first));
        if fitting.is_empty() {
            return Err(Unhedged::NoCandidate);
        }
        if !board.take_hedge(route) {
            return Err(Unhedged::OverBudget);
        }
        // The last use of the day may have gone to another call.
        let taken = |choice: &Choice| {
            find(route, *choice).is_some_and(|(upstream, credential)| board.take(upstream, credential, now))
        };
        let choice = fitting.into_iter().find(taken).ok_or(Unhedged::NoCandidate)?;
        self.untried.retain(|other| *other != choice);
        board.stamp(route, choice, now);
        self.tries += 1;
        self.hedge = Some(Hedge { choice, began: now });
        Ok(choice)
    }

    fn may_run_beside(&self, route: &Route, first: Choice, choice: Choice, board: &Board, now: Timestamp) -> bool {
        let tier = |choice: Choice| route.targets.get(choice.target).map(|target| target.tier);
        tier(choice) == tier(first)
            && !are_same(find(route, choice), find(route, first))
            && self.trouble_at(route, choice).is_none()
            && exclusion(route, choice, board, now).is_none()
            && matches!(leave(route, choice, board, now), Leave::Free)
    }

    /// One of two tries failed; the other goes on.
    pub fn failed_beside(
        &mut self,
        route: &Route,
        which: Beside,
        failure: &Failure,
        board: &Board,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        let Some((choice, began)) = self.leave_alone(which) else {
            return;
        };
        let canary = self.canary.take_if(|_| which == Beside::First);
        let Some((upstream, credential)) = find(route, choice) else {
            return;
        };
        self.note_beside(which, (choice, began), Err(Some(failure)), now);
        self.note_counted(route, board, now);
        board.wasted(route, choice, failure.class, now.since(began), now);
        let tried = Tried {
            upstream,
            model: model_of(route, choice),
            credential,
            began,
        };
        board.failed(tried, failure, canary.as_ref(), now, rng);
        self.judge_beside(upstream, choice, failure, now, rng);
    }

    /// Keeps what a failure says of the candidate for later. One that would be tried again after a delay rests meanwhile.
    fn judge_beside(
        &mut self,
        upstream: &Upstream,
        choice: Choice,
        failure: &Failure,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        self.verdict.note(failure);
        match failure.class {
            FailureClass::Auth
            | FailureClass::OutOfCredit
            | FailureClass::CreditShort
            | FailureClass::Untranslatable
            | FailureClass::Unfit => {}
            FailureClass::Silence | FailureClass::Barred => self.trouble(upstream, choice).silent = true,
            FailureClass::Nonsense => {
                self.trouble(upstream, choice);
            }
            FailureClass::RateLimited => {
                self.troubles_at(upstream, choice).limits += 1;
                self.rest(choice, failure.retry_after, now, rng);
            }
            FailureClass::Connect | FailureClass::Reset | FailureClass::Server | FailureClass::Overloaded => {
                self.trouble(upstream, choice);
                self.rest(choice, failure.retry_after, now, rng);
            }
        }
    }

    /// The hedge was answered at `at`, but the first had the better answer: the caller's mistake elsewhere is none here.
    pub fn served_beside(&mut self, route: &Route, board: &Board, at: Timestamp) {
        let Some((choice, began)) = self.leave_alone(Beside::Hedge) else {
            return;
        };
        self.note_beside(Beside::Hedge, (choice, began), Ok(()), at);
        if let Some((upstream, credential)) = find(route, choice) {
            let tried = Tried {
                upstream,
                model: model_of(route, choice),
                credential,
                began,
            };
            board.succeeded(tried, at);
            board.answered(route, choice, at.since(began), at);
        }
    }

    /// One of two tries was given up, because the other was answered. Nothing is known of how it would have ended; but the
    /// first has taken as long as this at least.
    pub fn given_up(&mut self, route: &Route, which: Beside, board: &Board, now: Timestamp) {
        let Some((choice, began)) = self.leave_alone(which) else {
            return;
        };
        self.note_beside(which, (choice, began), Err(None), now);
        if which == Beside::First {
            self.canary = None;
            board.answered(route, choice, now.since(began), now);
        }
    }

    /// Takes one of two tries away and leaves the other as the one that runs. Tells what was taken away and when it began.
    fn leave_alone(&mut self, which: Beside) -> Option<(Choice, Timestamp)> {
        let Phase::Trying(first) = self.phase else {
            return None;
        };
        let hedge = self.hedge.take()?;
        match which {
            Beside::Hedge => Some((hedge.choice, hedge.began)),
            Beside::First => {
                self.phase = Phase::Trying(hedge.choice);
                Some((first, std::mem::replace(&mut self.began, hedge.began)))
            }
        }
    }
}

/// Whether two candidates are the same credential of the same upstream, whatever model they name.
fn are_same(one: Option<(&Upstream, &Credential)>, other: Option<(&Upstream, &Credential)>) -> bool {
    let ids =
        |found: Option<(&Upstream, &Credential)>| found.map(|(upstream, credential)| (upstream.id, credential.id));
    ids(one) == ids(other)
}
