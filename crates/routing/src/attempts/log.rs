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

/// The notes of one call.
#[derive(Debug, Default)]
pub(super) struct Log {
    tried: Vec<Tried>,
    /// When it was first asked for what is running.
    pub(super) asked: Option<Timestamp>,
    /// Answered, but perhaps refused.
    pub(super) served: Option<(Choice, Timestamp)>,
    /// Whether two tries ran beside each other.
    pub(super) hedged: bool,
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
        tried.extend(self.log.served.map(|(choice, at)| self.tried(choice, at)));
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

    fn tried(&self, choice: Choice, ended: Timestamp) -> Tried {
        Tried {
            place: [choice.target, choice.credential],
            asked: Moment(self.log.asked.unwrap_or(self.began)),
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
        self.log.tried.push(tried);
        self.log.asked = None;
    }

    pub(super) fn note_refusal(&mut self, cause: RefusalCause) {
        if let Some((choice, at)) = self.log.served.take() {
            let tried = Tried {
                refused: Some(cause),
                ..self.tried(choice, at)
            };
            self.log.tried.push(tried);
            self.log.asked = None;
        }
    }
}
