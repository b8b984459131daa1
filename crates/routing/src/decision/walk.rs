//! Making again what a call did after its failures: the same conversation with [`Attempts`], from its record.
//!
//! How a try ended is taken from the record, since nobody can know it otherwise; what is done then is worked out anew. Where
//! that is not what was done, the walk goes on with what is known of the candidates: a try of which the record tells nothing
//! ends it. The board has what the choice saw. What other calls found out meanwhile is not in the record, and shows as a
//! difference.

use std::time::Duration;

use domain::declaration::{Defaults, Period, RefusalCause};
use domain::snapshot::Route;
use domain::{Failure, FailureClass, Scope, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Candidate, Decision, Moment, Unreplayable, is_default, is_false};
use crate::attempts::{Attempts, Step};
use crate::board::{Board, Entries};
use crate::chance::Dice;
use crate::plan::{Choice, Plan};

/// What a call did until it was answered or given up, where that was more than one try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// What bounded it.
    pub rules: Rules,
    /// When it had to be over.
    pub deadline: Moment,
    /// What was tried, and how that ended.
    pub tried: Vec<Tried>,
    /// The status of the refusal, where it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<u16>,
    /// Whether two tries ran beside each other. How they ended is not in here, so such a call is not made again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hedged: bool,
}

/// The settings that bound the tries of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// `defaults.retries`
    pub retries: u32,
    /// `defaults.attempts_max`
    pub attempts_max: u32,
    /// `defaults.retry_delay`
    pub retry_delay: Period,
    /// `defaults.retry_factor`
    pub retry_factor: u32,
    /// Refusals at which the model's fallbacks are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_on: Vec<RefusalCause>,
}

/// A try and its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which candidate: the places of target and credential.
    pub place: [usize; 2],
    /// When it was asked what to do.
    pub asked: Moment,
    /// When that was done, after what was to be waited for.
    pub began: Moment,
    /// When it was over.
    pub ended: Moment,
    /// How it failed; nothing where it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureClass>,
    /// With which status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether it concerned only the model, and not all of the credential.
    #[serde(default, skip_serializing_if = "is_false")]
    pub of_model: bool,
    /// When to come back, if the provider said so, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_us: Option<u64>,
    /// Why the model refused, where a fallback was asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusalCause>,
}

/// A step of a walk that was made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// What is done.
    pub next: Next,
    /// Where; nothing where it is given up.
    #[serde(flatten)]
    pub at: Option<Named>,
    /// What was waited before, in milliseconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waited_ms: u64,
    /// How that ended: `answered`, `503 server`, `refused`, or the status that the client is given; nothing where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<String>,
    /// What was done then, as far as that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// The first candidate.
    First,
    /// The same candidate again.
    Same,
    /// Another credential of the same upstream.
    Sibling,
    /// Another upstream.
    Other,
    /// A fallback of the model.
    Fallback,
    /// Nothing: the client is answered.
    GiveUp,
}

/// A candidate by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The upstream's.
    pub upstream: String,
    /// The credential's.
    pub credential: String,
    /// The model's there.
    pub model: String,
}

/// What a call did where the walk does something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// It tried this.
    Tried(Named),
    /// It was given up with this status.
    GaveUp(u16),
    /// It was over.
    Nothing,
}

impl Decision {
    /// The walk, made again from this record alone; `None` where the first try was the answer, or two ran beside each other.
    ///
    /// # Errors
    /// The record does not have what it takes.
    pub fn walk_again(&self) -> Result<Option<Vec<Again>>, Unreplayable> {
        let Some(walk) = self.walk.as_ref().filter(|walk| !walk.hedged) else {
            return Ok(None);
        };
        let (mut route, entries) = self.world()?;
        route.fallback_on.clone_from(&walk.rules.fallback_on);
        let defaults = Defaults {
            retries: walk.rules.retries,
            attempts_max: walk.rules.attempts_max,
            retry_delay: walk.rules.retry_delay,
            retry_factor: walk.rules.retry_factor,
            ..Defaults::default()
        };
        Ok(Some(self.walked(walk, &route, entries, &defaults)))
    }

    /// The same with another configuration: tries end as those of the same candidate did.
    ///
    /// # Errors
    /// The record does not have what it takes.
    pub fn walk_with(&self, route: &Route, defaults: &Defaults) -> Result<Option<Vec<Again>>, Unreplayable> {
        let Some(walk) = self.walk.as_ref().filter(|walk| !walk.hedged) else {
            return Ok(None);
        };
        let entries = self.entries_with(route)?;
        Ok(Some(self.walked(walk, route, entries, defaults)))
    }

    fn walked(&self, walk: &Walk, route: &Route, mut entries: Entries, defaults: &Defaults) -> Vec<Again> {
        let (asked, now) = (self.question(), self.at.0);
        let linked = entries.link(route, asked.surface);
        let dice = &mut Dice::new(self.seed.0);
        let plan = Plan::made(route, &asked, self.pin(), (&entries, linked), now, dice);
        if let Some(first) = plan.order.first() {
            entries.stamp(route, *first, linked, now);
        }
        let attempts = Attempts::new(plan, defaults, walk.deadline.0);
        Walker {
            route,
            board: Board::of(entries),
            attempts,
            walk,
            candidates: self.candidates(),
            used: vec![false; walk.tried.len()],
            now,
            before: None,
        }
        .run()
    }
}

struct Walker<'a> {
    route: &'a Route,
    board: Board,
    attempts: Attempts,
    walk: &'a Walk,
    candidates: Vec<&'a Candidate>,
    /// Which of the recorded tries have told how they ended.
    used: Vec<bool>,
    now: Timestamp,
    before: Option<Choice>,
}

impl Walker<'_> {
    fn run(mut self) -> Vec<Again> {
        let mut steps: Vec<Again> = Vec::new();
        // Each step but the last uses up one of the recorded tries.
        for place in 0..=self.walk.tried.len() {
            let in_step = steps.iter().all(|step| step.recorded.is_none());
            let recorded = self.walk.tried.get(place).filter(|_| in_step);
            let (step, waited) = self.ask(recorded);
            let choice = match step {
                Step::Try(choice) => choice,
                Step::GiveUp(fault) => {
                    let status = fault.kind.status();
                    let same = in_step && recorded.is_none() && self.walk.gave_up == Some(status);
                    steps.push(Again {
                        next: Next::GiveUp,
                        at: None,
                        waited_ms: waited,
                        came: Some(status.to_string()),
                        recorded: (!same).then(|| self.recorded(place)),
                    });
                    break;
                }
                Step::Wait { .. } => break,
            };
            let at = named(self.route, choice);
            let same = recorded.is_some_and(|tried| self.named(tried) == at);
            let found = if same { Some(place) } else { self.find(at.as_ref()) };
            let tried = found.and_then(|found| self.walk.tried.get(found));
            if let Some(used) = found.and_then(|found| self.used.get_mut(found)) {
                *used = true;
            }
            steps.push(Again {
                next: self.how(choice),
                at,
                waited_ms: waited,
                came: tried.map(came),
                recorded: (!same).then(|| self.recorded(place)),
            });
            self.before = Some(choice);
            match tried {
                Some(tried) if self.ends(choice, tried, same) => {}
                _ => break,
            }
        }
        steps
    }

    /// What is to be done, and what is waited before, in milliseconds.
    fn ask(&mut self, recorded: Option<&Tried>) -> (Step, u64) {
        if let Some(tried) = recorded {
            self.now = tried.asked.0;
        }
        let began = self.now;
        let mut step = self.attempts.next(self.route, &self.board, self.now);
        while let Step::Wait { until } = step {
            // A timer comes late, never early.
            let late = recorded.map_or(until, |tried| tried.began.0.max(until));
            self.now = late;
            step = self.attempts.next(self.route, &self.board, self.now);
        }
        let waited = self.now.since(began).as_millis() as u64;
        (step, waited)
    }

    /// Tells how a try ended; whether anything comes after it.
    fn ends(&mut self, choice: Choice, tried: &Tried, same: bool) -> bool {
        let Some(target) = self.route.targets.get(choice.target) else {
            return false;
        };
        let Some(credential) = target.upstream.credentials.get(choice.credential) else {
            return false;
        };
        let open = self.board.begin(&target.upstream, credential, self.now);
        self.now = if same {
            tried.ended.0
        } else {
            self.now + tried.ended.0.since(tried.began.0)
        };
        drop(open);
        let Some(class) = tried.failure else {
            self.attempts.served(self.route, choice, &self.board, self.now);
            let refused = |cause| self.attempts.refused(self.route, choice, cause);
            return tried.refused.is_some_and(refused);
        };
        let failure = Failure {
            status: tried.status,
            scope: if tried.of_model {
                Scope::Model
            } else {
                Scope::Credential
            },
            retry_after: tried.retry_after_us.map(Duration::from_micros),
            ..Failure::new(class, "")
        };
        let dice = &mut self.attempts.dice();
        self.attempts
            .failed(self.route, choice, &failure, &self.board, self.now, dice);
        true
    }

    fn how(&self, choice: Choice) -> Next {
        let Some(before) = self.before else {
            return Next::First;
        };
        if before == choice {
            return Next::Same;
        }
        let target = |choice: Choice| self.route.targets.get(choice.target);
        match (target(before), target(choice)) {
            (Some(one), Some(other)) if other.tier > one.tier => Next::Fallback,
            (Some(one), Some(other)) if other.upstream.id == one.upstream.id => Next::Sibling,
            _ => Next::Other,
        }
    }

    /// The first recorded try of a candidate that has not told its end yet.
    fn find(&self, at: Option<&Named>) -> Option<usize> {
        let is_it = |(index, tried): &(usize, &Tried)| {
            let unused = self.used.get(*index) == Some(&false);
            unused && self.named(tried).zip(at).is_some_and(|(one, other)| one.is_same(other))
        };
        self.walk.tried.iter().enumerate().find(is_it).map(|(index, _)| index)
    }

    fn named(&self, tried: &Tried) -> Option<Named> {
        let found = self
            .candidates
            .binary_search_by_key(&tried.place, |one| one.terms.place);
        let one = self.candidates.get(found.ok()?)?;
        Some(Named {
            upstream: one.upstream.clone(),
            credential: one.credential.clone(),
            model: one.model.clone(),
        })
    }

    fn recorded(&self, place: usize) -> Recorded {
        match (
            self.walk.tried.get(place).and_then(|tried| self.named(tried)),
            self.walk.gave_up,
        ) {
            (Some(named), _) => Recorded::Tried(named),
            (None, Some(status)) if place == self.walk.tried.len() => Recorded::GaveUp(status),
            (None, _) => Recorded::Nothing,
        }
    }
}

impl Named {
    fn is_same(&self, other: &Self) -> bool {
        self.upstream.eq_ignore_ascii_case(&other.upstream)
            && self.credential.eq_ignore_ascii_case(&other.credential)
            && self.model == other.model
    }
}

fn named(route: &Route, choice: Choice) -> Option<Named> {
    let target = route.targets.get(choice.target)?;
    let credential = target.upstream.credentials.get(choice.credential)?;
    Some(Named {
        upstream: target.upstream.name.clone(),
        credential: credential.name.clone(),
        model: target.model.to_string(),
    })
}

fn came(tried: &Tried) -> String {
    match (tried.failure, tried.status, tried.refused) {
        (Some(class), Some(status), _) => format!("{status} {}", class.name()),
        (Some(class), None, _) => class.name().to_owned(),
        (None, _, Some(_)) => "refused".to_owned(),
        (None, _, None) => "answered".to_owned(),
    }
}
