//! What a call was told and did after its first failure: what [`Attempts`] need to be asked the same again.
//!
//! Kept only of calls that did not go straight to their answer, so the others pay nothing.

use domain::declaration::{Period, RefusalCause};
use domain::snapshot::Route;
use domain::{Failure, Scope, Timestamp};

use super::{Attempts, Beside, Phase};
use crate::board::{Board, Counted};
use crate::chance::{Dice, lot};
use crate::decision::{Asked, BreakerCount, BrokeOff, Moment, Pair, Rules, Tried, Walk};
use crate::plan::Choice;

/// The notes of one call. Small, because every call has them.
#[derive(Debug, Default)]
pub(super) struct Log {
    tried: Vec<Tried>,
    /// When it was first asked for what is running; 0: not yet.
    asked: Timestamp,
    /// When waits ended before that, after each of which it was asked again.
    woken: Vec<Timestamp>,
    /// What the breakers had counted when something first failed.
    counted: Counts,
    /// When what is running was answered, which may yet be a refusal; 0: not yet.
    served: Timestamp,
    /// Which of two tries that ran beside each other is still running, when the other is over.
    left: Option<Pair>,
}

/// What breakers had counted before the call added to it.
#[derive(Debug, Default)]
enum Counts {
    /// Nothing has failed yet.
    #[default]
    Unseen,
    /// Seen then.
    Seen(Vec<Counted>),
    /// Known from a record: to be put back then.
    Recorded(Vec<Counted>),
}

impl Log {
    pub(super) const fn asks(&mut self, now: Timestamp) {
        if self.asked.0 == 0 {
            self.asked = now;
        }
    }

    pub(super) fn wakes(&mut self, now: Timestamp) {
        self.woken.push(now);
    }

    pub(super) const fn serves(&mut self, now: Timestamp) {
        self.served = now;
    }

    fn add(&mut self, tried: Tried) {
        self.tried.push(tried);
        self.woken.clear();
        (self.asked, self.served, self.left) = (Timestamp(0), Timestamp(0), None);
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
            counted: match &self.log.counted {
                Counts::Seen(counted) => counted.iter().map(BreakerCount::from).collect(),
                Counts::Unseen | Counts::Recorded(_) => Vec::new(),
            },
            gave_up,
            gave_up_at: gave_up.is_some().then(|| Asked {
                asked: Moment(self.log.asked),
                woken: self.log.woken.iter().copied().map(Moment).collect(),
            }),
            hedged: false,
        })
    }

    fn tried(&self, choice: Choice, ended: Timestamp) -> Tried {
        Tried {
            place: [choice.target, choice.credential],
            asked: Moment(self.log.asked),
            woken: self
                .log
                .woken
                .iter()
                .copied()
                .filter(|at| *at < self.began)
                .map(Moment)
                .collect(),
            began: Moment(self.began),
            ended: Moment(ended),
            failure: None,
            status: None,
            of_model: false,
            retry_after_us: None,
            refused: None,
            pair: self.log.left,
            given_up: false,
            broke_off: None,
        }
    }

    /// The call is made again from a record in which breakers had counted this.
    pub(crate) fn recall(&mut self, counted: Vec<Counted>) {
        self.log.counted = Counts::Recorded(counted);
    }

    /// Something is about to be counted against an upstream.
    pub(super) fn note_counted(&mut self, route: &Route, board: &Board, now: Timestamp) {
        let counted = match std::mem::take(&mut self.log.counted) {
            Counts::Unseen => board.counted(route, now),
            Counts::Recorded(counted) => {
                board.put_counted(route, &counted);
                counted
            }
            Counts::Seen(counted) => counted,
        };
        self.log.counted = Counts::Seen(counted);
    }

    pub(super) fn note_failure(&mut self, choice: Choice, failure: &Failure, ended: Timestamp) {
        let tried = self.tried(choice, ended).failed(failure);
        self.log.add(tried);
    }

    /// One of two tries is over, and the other goes on. `failure`: how it failed; nothing where it was answered or given up.
    pub(super) fn note_beside(
        &mut self,
        which: Beside,
        (choice, began): (Choice, Timestamp),
        end: Result<(), Option<&Failure>>,
        ended: Timestamp,
    ) {
        let (own, other) = match which {
            Beside::First => (Pair::First, Pair::Hedge),
            Beside::Hedge => (Pair::Hedge, Pair::First),
        };
        let tried = Tried {
            began: Moment(began),
            pair: Some(own),
            given_up: end == Err(None),
            ..self.tried(choice, ended)
        };
        self.log.tried.push(match end {
            Err(Some(failure)) => tried.failed(failure),
            Ok(()) | Err(None) => tried,
        });
        self.log.left = Some(other);
    }

    /// What was answered broke off now, and these targets may take it up.
    pub(super) fn note_break(&mut self, failure: &Failure, takers: Vec<usize>, now: Timestamp) {
        if let Some(answered) = self.answered() {
            let broke_off = Some(BrokeOff {
                at: Moment(now),
                takers,
            });
            self.log.add(Tried {
                broke_off,
                ..answered.failed(failure)
            });
        }
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

impl Tried {
    fn failed(self, failure: &Failure) -> Self {
        Self {
            failure: Some(failure.class),
            status: failure.status,
            of_model: failure.scope == Scope::Model,
            retry_after_us: failure
                .retry_after
                .map(|wait| wait.as_micros().min(u128::from(u64::MAX)) as u64),
            ..self
        }
    }
}
