//! Making again what a call did after its failures: the same conversation with [`Attempts`], from its record.
//!
//! How a try ended is taken from the record, since nobody can know it otherwise; what is done then is worked out anew. Where
//! that is not what was done, the walk goes on with what is known of the candidates: a try of which the record tells nothing
//! ends it. The board has what the choice saw. What other calls found out meanwhile is not in the record, and shows as a
//! difference.

use std::time::Duration;

use domain::declaration::{Defaults, Period, RefusalCause};
use domain::snapshot::{Route, Target};
use domain::{Failure, FailureClass, Scope, Timestamp};
use serde::{Deserialize, Serialize};

use super::beside::Both;
use super::{Candidate, Decision, Moment, Unreplayable, is_default, is_false};
use crate::attempts::{Attempts, Beside, Step};
use crate::board::{Board, Counted, Entries};
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
    /// What the breakers had counted when something first failed, where that was anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<BreakerCount>,
    /// The status of the refusal, where it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<u16>,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up_at: Option<Asked>,
    /// In records of earlier versions: whether two tries ran beside each other. How they ended is not in there, so such a call
    /// is not made again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hedged: bool,
}

/// When it was asked what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// At first.
    pub asked: Moment,
    /// And after each wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub woken: Vec<Moment>,
}

/// What the breaker of an upstream has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerCount {
    /// The place of its first target.
    pub target: usize,
    /// When a part of its window began, and the failures and successes in it.
    pub slices: Vec<(Moment, u32, u32)>,
}

impl From<&Counted> for BreakerCount {
    fn from(counted: &Counted) -> Self {
        let slices = counted.slices.iter();
        Self {
            target: counted.target,
            slices: slices
                .map(|(at, failures, successes)| (Moment(*at), *failures, *successes))
                .collect(),
        }
    }
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
    /// When waits ended that were not the last before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub woken: Vec<Moment>,
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
    /// Which of two that ran beside each other it was. The two follow each other here, in the order of their ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// Whether it was given up because the other of the two was answered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub given_up: bool,
    /// Where its answer began and then broke off (with this failure), and another was asked to go on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke_off: Option<BrokeOff>,
}

/// One of two tries beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pair {
    /// The one that took long.
    First,
    /// The one that was begun then.
    Hedge,
}

/// An answer that broke off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokeOff {
    /// When; [`Tried::ended`] is when it began.
    pub at: Moment,
    /// The places of the targets that could go on with it.
    pub takers: Vec<usize>,
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
    /// Another candidate beside the one before, which takes long.
    Beside,
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
    /// It tried this too, beside the one that is told here.
    Hedged(Named),
    /// It was given up with this status.
    GaveUp(u16),
    /// It was over.
    Nothing,
}

impl Decision {
    /// The walk, made again from this record alone; `None` where the first try was the answer.
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
        let mut attempts = Attempts::new(plan, defaults, walk.deadline.0);
        attempts.recall(self.counted(walk, route));
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

impl Decision {
    /// What the breakers had counted, by the targets of this route.
    fn counted(&self, walk: &Walk, route: &Route) -> Vec<Counted> {
        let candidates = self.candidates();
        let of = |place: usize| candidates.iter().find(|one| one.terms.place[0] == place);
        let counted = walk.counted.iter().filter_map(|one| {
            let upstream = &of(one.target)?.upstream;
            let is_it = |target: &Target| target.upstream.name.eq_ignore_ascii_case(upstream);
            Some(Counted {
                target: route.targets.iter().position(is_it)?,
                slices: one
                    .slices
                    .iter()
                    .map(|(at, failures, successes)| (at.0, *failures, *successes))
                    .collect(),
            })
        });
        counted.collect()
    }
}

pub(super) struct Walker<'a> {
    pub(super) route: &'a Route,
    pub(super) board: Board,
    pub(super) attempts: Attempts,
    walk: &'a Walk,
    candidates: Vec<&'a Candidate>,
    /// Which of the recorded tries have told how they ended.
    pub(super) used: Vec<bool>,
    pub(super) now: Timestamp,
    pub(super) before: Option<Choice>,
}

impl<'a> Walker<'a> {
    fn run(mut self) -> Vec<Again> {
        let mut steps: Vec<Again> = Vec::new();
        // Each step but the last uses up one of the recorded tries.
        while steps.len() <= self.walk.tried.len() {
            let place = steps.len();
            let in_step = steps.iter().all(|step| step.recorded.is_none());
            let recorded = self.walk.tried.get(place).filter(|_| in_step);
            let pair = self.pair(place).filter(|_| recorded.is_some());
            let is_over = in_step && place == self.walk.tried.len();
            let (step, waited) = self.ask(pair.as_ref().map_or(recorded, |pair| Some(pair.first)), is_over);
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
            if let Some(pair) = &pair
                && let Some(begun) = self.hedge(choice, pair)
            {
                let goes_on = self.both(choice, begun, pair, place, &mut steps);
                if goes_on {
                    continue;
                }
                break;
            }
            let at = named(self.route, choice);
            let same = recorded.is_some_and(|tried| self.named(tried) == at);
            let found = if same { Some(place) } else { self.find(at.as_ref()) };
            // How one would have ended that was given up, nobody knows.
            let tried = found.and_then(|found| self.walk.tried.get(found));
            let tried = tried.filter(|tried| !tried.given_up);
            if let Some(used) = found.and_then(|found| self.used.get_mut(found)) {
                *used = true;
            }
            steps.push(Again {
                next: self.how(choice),
                at,
                waited_ms: waited,
                came: tried.map(came),
                recorded: match pair {
                    _ if !same => Some(self.recorded(place)),
                    Some(pair) => self.named(pair.hedge).map(Recorded::Hedged),
                    None => None,
                },
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
    fn ask(&mut self, recorded: Option<&Tried>, is_over: bool) -> (Step, u64) {
        // After the last try it may still have waited before it gave up.
        let end = self.walk.gave_up_at.as_ref().filter(|_| is_over);
        if let Some(asked) = recorded.map(|tried| tried.asked).or(end.map(|end| end.asked)) {
            self.now = asked.0;
        }
        let began = self.now;
        let mut step = self.attempts.next(self.route, &self.board, self.now);
        let waits = recorded.into_iter().flat_map(|tried| &tried.woken);
        let last = recorded.map(|tried| &tried.began);
        let mut woken = waits.chain(last).chain(end.into_iter().flat_map(|end| &end.woken));
        while let Step::Wait { until } = step {
            // A timer comes late, never early.
            self.now = woken.next().map_or(until, |late| late.0.max(until));
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
        self.told(choice, tried)
    }

    /// Tells the end of the try that runs, which is now; whether anything comes after it.
    pub(super) fn told(&mut self, choice: Choice, tried: &Tried) -> bool {
        let Some(failure) = tried.failed_how() else {
            self.attempts.served(self.route, choice, &self.board, self.now);
            let refused = |cause| self.attempts.refused(self.route, choice, cause);
            return tried.refused.is_some_and(refused);
        };
        if let Some(broke_off) = &tried.broke_off {
            self.attempts.served(self.route, choice, &self.board, self.now);
            self.now = self.now + broke_off.at.0.since(tried.ended.0);
            self.break_off(choice, &failure, broke_off);
            return true;
        }
        let dice = &mut self.attempts.dice();
        self.attempts
            .failed(self.route, choice, &failure, &self.board, self.now, dice);
        true
    }

    /// An answer that began breaks off.
    fn break_off(&mut self, choice: Choice, failure: &Failure, broke_off: &BrokeOff) {
        let takers: Vec<(&str, &str)> = self
            .candidates
            .iter()
            .filter(|one| broke_off.takers.contains(&one.terms.place[0]))
            .map(|one| (one.upstream.as_str(), one.model.as_str()))
            .collect();
        // Of a target that is not in the record it is not known whether it could; so it is not asked.
        let may_take = |target: &Target| {
            let is_it = |(upstream, model): &(&str, &str)| {
                upstream.eq_ignore_ascii_case(&target.upstream.name) && *model == &*target.model
            };
            takers.iter().any(is_it)
        };
        let dice = &mut self.attempts.dice();
        self.attempts
            .broke_off(self.route, choice, failure, may_take, &self.board, self.now, dice);
    }

    /// The two recorded tries from this place on, if they ran beside each other.
    fn pair(&self, place: usize) -> Option<Both<'a>> {
        let [earlier, later] = self.walk.tried.get(place..place + 2)? else {
            return None;
        };
        match (earlier.pair?, later.pair?) {
            (Pair::First, Pair::Hedge) => Some(Both {
                first: earlier,
                hedge: later,
                earlier: Beside::First,
            }),
            (Pair::Hedge, Pair::First) => Some(Both {
                first: later,
                hedge: earlier,
                earlier: Beside::Hedge,
            }),
            _ => None,
        }
    }

    pub(super) fn how(&self, choice: Choice) -> Next {
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

    pub(super) fn named(&self, tried: &Tried) -> Option<Named> {
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

    pub(super) fn recorded(&self, place: usize) -> Recorded {
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

impl Tried {
    pub(super) fn failed_how(&self) -> Option<Failure> {
        Some(Failure {
            status: self.status,
            scope: if self.of_model { Scope::Model } else { Scope::Credential },
            retry_after: self.retry_after_us.map(Duration::from_micros),
            ..Failure::new(self.failure?, "")
        })
    }
}

impl Named {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.upstream.eq_ignore_ascii_case(&other.upstream)
            && self.credential.eq_ignore_ascii_case(&other.credential)
            && self.model == other.model
    }
}

pub(super) fn named(route: &Route, choice: Choice) -> Option<Named> {
    let target = route.targets.get(choice.target)?;
    let credential = target.upstream.credentials.get(choice.credential)?;
    Some(Named {
        upstream: target.upstream.name.clone(),
        credential: credential.name.clone(),
        model: target.model.to_string(),
    })
}

pub(super) fn came(tried: &Tried) -> String {
    if tried.given_up {
        return "given up".to_owned();
    }
    if tried.broke_off.is_some() {
        return format!("broke off ({})", tried.failure.map_or("", FailureClass::name));
    }
    match (tried.failure, tried.status, tried.refused) {
        (Some(class), Some(status), _) => format!("{status} {}", class.name()),
        (Some(class), None, _) => class.name().to_owned(),
        (None, _, Some(_)) => "refused".to_owned(),
        (None, _, None) => "answered".to_owned(),
    }
}
