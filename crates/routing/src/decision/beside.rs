//! Two tries beside each other, made again.
//!
//! That a call was not streamed, and slow enough, stands in its record only by the second try that it got. So a walk begins one
//! where the call did: not where the model is not hedged any more, or where the first would have been answered before.

use domain::Timestamp;

use super::walk::{Again, Next, Recorded, Tried, Walker, came, named};
use crate::attempts::Beside;
use crate::plan::Choice;

/// The record of two tries beside each other.
pub(super) struct Both<'a> {
    pub(super) first: &'a Tried,
    pub(super) hedge: &'a Tried,
    /// Which of them ended first.
    pub(super) earlier: Beside,
}

/// A second try that was begun again.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    choice: Choice,
    at: Timestamp,
}

impl Walker<'_> {
    /// Begins the second try beside this one, if there was one beside it and there still would be.
    pub(super) fn hedge(&mut self, first: Choice, pair: &Both<'_>) -> Option<Begun> {
        let hedge = self.route.hedge?;
        let at = named(self.route, first)?;
        if !self.named(pair.first)?.is_same(&at) {
            return None;
        }
        // A timer comes late, never early.
        let begins = (self.now + hedge.after.0).max(pair.hedge.began.0);
        if begins >= pair.first.ended.0 {
            return None;
        }
        self.board.grant_hedge(self.route);
        let choice = self.attempts.hedge(self.route, &self.board, begins).ok()?;
        self.begins(first, self.now);
        self.begins(choice, begins);
        Some(Begun { choice, at: begins })
    }

    fn begins(&self, choice: Choice, now: Timestamp) {
        let target = self.route.targets.get(choice.target);
        if let Some(target) = target
            && let Some(credential) = target.upstream.credentials.get(choice.credential)
        {
            drop(self.board.begin(&target.upstream, credential, now));
        }
    }

    /// Tells how both ended, and adds their steps; whether anything comes after them.
    pub(super) fn both(
        &mut self,
        first: Choice,
        begun: Begun,
        pair: &Both<'_>,
        place: usize,
        steps: &mut Vec<Again>,
    ) -> bool {
        let at = named(self.route, begun.choice);
        let same = self
            .named(pair.hedge)
            .zip(at.as_ref())
            .is_some_and(|(one, other)| one.is_same(other));
        let step = |next, at, tried: Option<&Tried>, recorded| Again {
            next,
            at,
            waited_ms: 0,
            came: tried.map(came),
            recorded,
        };
        let next = self.how(first);
        let differs = if same {
            None
        } else {
            self.named(pair.hedge).map(Recorded::Tried)
        };
        steps.push(step(next, named(self.route, first), Some(pair.first), None));
        steps.push(step(Next::Beside, at, same.then_some(pair.hedge), differs));
        for used in self.used.iter_mut().skip(place).take(if same { 2 } else { 1 }) {
            *used = true;
        }
        if !same {
            return false;
        }
        let (earlier, later, left) = match pair.earlier {
            Beside::First => (pair.first, pair.hedge, begun.choice),
            Beside::Hedge => (pair.hedge, pair.first, first),
        };
        self.end_beside(pair.earlier, earlier, begun);
        self.before = Some(left);
        self.now = self.now.max(later.ended.0);
        self.told(left, later) && !later.given_up
    }

    fn end_beside(&mut self, which: Beside, tried: &Tried, begun: Begun) {
        self.now = begun.at.max(tried.ended.0);
        let (route, board, now) = (self.route, &self.board, self.now);
        match tried.failed_how() {
            Some(failure) => {
                let dice = &mut self.attempts.dice();
                self.attempts.failed_beside(route, which, &failure, board, now, dice);
            }
            None if tried.given_up => self.attempts.given_up(route, which, board, now),
            None => self.attempts.served_beside(route, board, now),
        }
    }
}
