//! Answers that break off after their first content.
//!
//! They count against their upstream like every failure. What is left of the call is another matter: most of what could be
//! tried cannot take up half an answer, and who can is for the caller to say.

use domain::snapshot::{Route, Target};
use domain::{Failure, FailureClass, Timestamp};
use rand::Rng;

use super::{Attempts, Phase, find, model_of};
use crate::board::{Board, Broke, Tried};
use crate::plan::Choice;

impl Attempts {
    fn tried_at<'a>(&self, route: &'a Route, choice: Choice) -> Option<Tried<'a>> {
        let (upstream, credential) = find(route, choice)?;
        Some(Tried {
            upstream,
            model: model_of(route, choice),
            credential,
            began: self.began,
        })
    }

    /// The upstream broke off after the first content: it counts against its breaker, and there is no further try.
    pub fn broke(&mut self, route: &Route, choice: Choice, board: &Board, now: Timestamp) {
        if let Some(tried) = self.tried_at(route, choice) {
            let failure = Failure::new(FailureClass::Reset, "");
            board.wasted(route, choice, failure.class, now.since(self.began), now);
            board.broke(tried, &failure, Broke::Off, now);
        }
    }

    /// The upstream broke off after the first content, and another may take up its answer: it counts as in
    /// [`Attempts::broke`], and of what is left only targets that `may_take` it up are tried. Ask [`Attempts::next`] for one.
    #[expect(clippy::too_many_arguments, reason = "those of `failed`, and who may take it up")]
    pub fn broke_off(
        &mut self,
        route: &Route,
        choice: Choice,
        failure: &Failure,
        may_take: impl Fn(&Target) -> bool,
        board: &Board,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        let Some((upstream, _)) = find(route, choice) else {
            return;
        };
        let takers = (0..).zip(&route.targets).filter(|(_, target)| may_take(target));
        let takers = takers.map(|(place, _)| place).collect();
        let may_take = |choice: &Choice| route.targets.get(choice.target).is_some_and(&may_take);
        self.unroll();
        self.note_break(failure, takers, now);
        self.note_counted(route, board, now);
        if let Some(tried) = self.tried_at(route, choice) {
            board.wasted(route, choice, failure.class, now.since(self.began), now);
            board.broke(tried, failure, Broke::Off, now);
        }
        self.refused = true;
        self.untried.retain(|choice| may_take(choice));
        self.resting.retain(|resting| may_take(&resting.choice));
        self.phase = match self.after_failure(route, upstream, choice, failure, board, now, rng) {
            Phase::Waiting { choice, .. } if !may_take(&choice) => Phase::Choosing,
            phase => phase,
        };
        self.resting.retain(|resting| may_take(&resting.choice));
    }
}
