//! What a call was told and did after its first failure: what [`Attempts`] need to be asked the same again.
//!
//! Kept only of calls that did not go straight to their answer, so the others pay nothing.

use domain::declaration::{Period, RefusalCause};
use domain::snapshot::Route;
use domain::{Failure, Scope, Timestamp};

use super::{Attempts, Phase};
use crate::chance::{Dice, lot};
use crate::decision::{Moment, Rules, Tried, Walk};
use crate::plan::Choice;

/// The notes of one call. Small, because every call has them.
#[derive(Debug, Default)]
pub(super) struct Log {
    tried: Vec<Tried>,
    /// When it was first asked for what is running; 0: not yet.
    asked: Timestamp,
    /// When what is running was answered, which may yet be a refusal; 0: not yet.
    served: Timestamp,
    /// Whether two tries ran beside each other.
    pub(super) hedged: bool,
}

impl Log {
    pub(super) const fn asks(&mut self, now: Timestamp) {
        if self.asked.0 == 0 {
            self.asked = now;
        }
    }

    pub(super) const fn serves(&mut self, now: Timestamp) {
        self.served = now;
    }

    fn add(&mut self, tried: Tried) {
        self.tried.push(tried);
        (self.asked, self.served) = (Timestamp(0), Timestamp(0));
    }
}

impl Attempts {
    /// The lots of what is done after this many tries; the same for the same plan.
    pub const fn dice(&self) -> Dice {
        Dice::new(lot(self.plan.lots, !(self.tries as u64)))
    }

    /// What happened, for the record of the call; `None` where its first try was its answer.
    pub fn walk(&self, route: &Route) -> Option<Walk> {
        let gave_up = match &self.phase {
            Phase::Over(fault) => Some(fault.kind.status()),
            Phase::Choosing | Phase::Trying(_) | Phase::Waiting { .. } => None,
        };
        if self.log.tried.is_empty() && gave_up.is_none() {
            return None;
        }
        let mut tried = self.log.tried.clone();
        tried.extend(self.answered());
        Some(Walk {
            rules: Rules {
                retries: self.rules.retries,
                attempts_max: self.rules.attempts_max,
                retry_delay: Period(self.rules.backoff.first),
                retry_factor: self.rules.backoff.factor,
                fallback_on: route.fallback_on.clone(),
            },
            deadline: Moment(self.deadline),
            tried,
            gave_up,
            hedged: self.log.hedged,
        })
    }

    const fn tried(&self, choice: Choice, ended: Timestamp) -> Tried {
        Tried {
            place: [choice.target, choice.credential],
            asked: Moment(self.log.asked),
            began: Moment(self.began),
            ended: Moment(ended),
            failure: None,
            status: None,
            of_model: false,
            retry_after_us: None,
            refused: None,
        }
    }

    pub(super) fn note_failure(&mut self, choice: Choice, failure: &Failure, ended: Timestamp) {
        let tried = Tried {
            failure: Some(failure.class),
            status: failure.status,
            of_model: failure.scope == Scope::Model,
            retry_after_us: failure
                .retry_after
                .map(|wait| wait.as_micros().min(u128::from(u64::MAX)) as u64),
            ..self.tried(choice, ended)
        };
        self.log.add(tried);
    }

    pub(super) fn note_refusal(&mut self, cause: RefusalCause) {
        if let Some(answered) = self.answered() {
            self.log.add(Tried {
                refused: Some(cause),
                ..answered
            });
        }
    }

    /// The running try, if it was answered.
    fn answered(&self) -> Option<Tried> {
        match self.phase {
            Phase::Trying(choice) if self.log.served.0 != 0 => Some(self.tried(choice, self.log.served)),
            _ => None,
        }
    }
}
