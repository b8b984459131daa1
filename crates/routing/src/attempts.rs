//! What one call does next, after each of its failures.
//!
//! The machine of the table "after the attempts" (`docs/ARCHITECTURE.md`): it is told what happened and says what to do,
//! and the gateway's dispatch loop is nothing but that conversation. Each [`Step::Try`] must be answered by exactly one
//! of [`Attempts::failed`] or [`Attempts::served`]; dropping the machine in between is fine (the client hung up).
//!
//! | failure | next |
//! |---|---|
//! | 429 | the next candidate at once, after two of one upstream of another; none left: wait for the soonest free |
//! | 401, 402, 403 of the credential, 429 of an empty account | the next candidate |
//! | 500, 502, 503, 529 | the same credential again after a delay, `retries` times, once if another upstream is healthy; after two in a row each of its siblings once, those first that answer while others fail; then the next |
//! | reset before the first content | the same at once (a pooled connection may have died), then as above |
//! | no connection | the next upstream at once; if there is none, as above |
//! | silence | the next upstream at once, and this one never again in this call |
//! | nonsense | the next candidate |
//! | not to be said in the target's format | the next candidate; nothing was sent |
//! | the caller's mistake | none: it is the answer; what a fallback is configured for, the next model that may take it |
//!
//! What bounds it: `attempts_max` tries (and [`PASSED_MAX`] credentials that refuse, which a pool may be full of),
//! [`WAITED_MAX`] of waiting, `1 + retries` failures at one upstream (six, while there are credentials that did not fail) and as many 429s of one credential, what the
//! upstream's [retry budget](crate::retry_budget) has left for calls that it failed, and the call's deadline, beyond
//! which nothing waits. A time that a provider named is never cut short: the wait is the longer of it and our own
//! delay, and if that does not fit, the client is told to wait.

mod accounts;
mod broke;
mod candidates;
mod hedge;
mod log;
mod troubles;
mod verdict;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use domain::declaration::{Defaults, RefusalCause};
use domain::snapshot::{Credential, Route, Target, Upstream};
use domain::{Failure, FailureClass, Fault, Timestamp, UpstreamId};
use rand::Rng;
use smallvec::SmallVec;

use crate::backoff::Backoff;
use crate::board::{Again, Board, Canary, Leave, Tried};
use crate::plan::{Choice, Excluded, Exclusion, Plan};
use troubles::Trouble;
use verdict::Verdict;

pub use hedge::{Beside, Unhedged};

/// How long one call waits in all before it is answered with what it has. A client that has to wait longer is told so:
/// most clients come back by themselves, and meanwhile the connection is not held.
pub const WAITED_MAX: Duration = Duration::from_secs(30);

/// Credentials that one call may find limited or refused, each for the first time, beyond `attempts_max`: such an answer
/// comes at once and costs nothing, and the one that is well may be the last of a large pool. The rests that they are given
/// spare the next call from asking them.
pub const PASSED_MAX: u32 = 64;

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the call there, and tell what came of it.
    Try(Choice),
    /// Do nothing until then, and ask again.
    Wait {
        /// When to ask again. Asking earlier gives the same answer.
        until: Timestamp,
    },
    /// Answer the client with this.
    GiveUp(Fault),
}

/// The tries of one call.
#[derive(Debug)]
pub struct Attempts {
    plan: Plan,
    rules: Rules,
    deadline: Timestamp,
    phase: Phase,
    tries: u32,
    /// Tries that do not count while there is a credential that was not asked; see [`PASSED_MAX`].
    passed: u32,
    waited: Duration,
    /// The choice that the plan marked as used.
    stamped: Option<Choice>,
    /// When the running try began.
    began: Timestamp,
    /// The one that runs beside it.
    hedge: Option<hedge::Hedge>,
    /// Held while the running try is the one that probes.
    canary: Option<Canary>,
    /// Held while a further try at an upstream that failed this call is waited for.
    again: Option<Again>,
    /// Whether this call has probed an upstream.
    probed: bool,
    /// Whether a model refused it, so that only what was left for it then may be tried.
    refused: bool,
    /// Places in `plan.order` that were not tried yet, in order; all of them once `is_unrolled`.
    untried: SmallVec<[Choice; 4]>,
    /// Whether more than the first of the plan was looked at, and those that rest. Most calls are answered by that one, and in what order the
    /// others stand is found out for those that are not.
    is_unrolled: bool,
    /// Candidates that may be tried after a rest.
    resting: SmallVec<[Resting; 2]>,
    troubles: SmallVec<[Trouble; 2]>,
    verdict: Verdict,
    log: log::Log,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    retries: u32,
    attempts_max: u32,
    backoff: Backoff,
}

#[derive(Debug)]
enum Phase {
    /// The next candidate is to be found.
    Choosing,
    /// A try is running.
    Trying(Choice),
    /// The same, or another, is to be tried then.
    Waiting { choice: Choice, until: Timestamp },
    /// It is over.
    Over(Fault),
}

/// A candidate whose provider wants us to come back later.
#[derive(Clone, Copy, Debug)]
struct Resting {
    choice: Choice,
    until: Timestamp,
    /// How often it said so in this call.
    times: u32,
    /// Whether it was not tried again since.
    due: bool,
}

impl Attempts {
    /// The tries of a call with this plan, which must be over by `deadline`.
    pub fn new(plan: Plan, defaults: &Defaults, deadline: Timestamp) -> Self {
        Self {
            rules: Rules {
                retries: defaults.retries,
                attempts_max: defaults.attempts_max.max(1),
                backoff: Backoff::of(defaults),
            },
            deadline,
            phase: Phase::Choosing,
            tries: 0,
            passed: 0,
            waited: Duration::ZERO,
            began: Timestamp::default(),
            hedge: None,
            canary: None,
            again: None,
            stamped: plan.order.first().copied(),
            probed: false,
            refused: false,
            untried: plan.order.first().copied().into_iter().collect(),
            is_unrolled: false,
            resting: SmallVec::new(),
            troubles: SmallVec::new(),
            verdict: Verdict::default(),
            log: log::Log::default(),
            plan,
        }
    }

    /// What to do now. Asked again without news, it gives the same answer.
    pub fn next(&mut self, route: &Route, board: &Board, now: Timestamp) -> Step {
        self.log.asks(now);
        match self.phase {
            Phase::Trying(choice) => return Step::Try(choice),
            Phase::Waiting { until, .. } if now < until => return Step::Wait { until },
            Phase::Waiting { choice, .. } => {
                self.log.wakes(now);
                self.phase = Phase::Choosing;
                if let Some(leave) = self.leave_after_wait(route, choice, board, now) {
                    return self.begin(route, choice, leave, board, now);
                }
            }
            Phase::Choosing => {}
            Phase::Over(ref fault) => return Step::GiveUp(fault.clone()),
        }
        self.choose(route, board, now)
    }

    /// The running try failed before its first content.
    pub fn failed(
        &mut self,
        route: &Route,
        choice: Choice,
        failure: &Failure,
        board: &Board,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        let Some((upstream, credential)) = find(route, choice) else {
            return;
        };
        self.unroll();
        self.note_failure(choice, failure, now);
        self.note_counted(route, board, now);
        board.wasted(route, choice, failure.class, now.since(self.began), now);
        let canary = self.canary.take();
        let tried = Tried {
            upstream,
            model: model_of(route, choice),
            credential,
            began: self.began,
        };
        board.failed(tried, failure, canary.as_ref(), now, rng);
        drop(canary);
        self.phase = self.after_failure(route, upstream, choice, failure, board, now, rng);
    }

    /// What is next after a failure.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a failure is judged by; both ways to fail end here"
    )]
    fn after_failure(
        &mut self,
        route: &Route,
        upstream: &Upstream,
        choice: Choice,
        failure: &Failure,
        board: &Board,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Phase {
        self.verdict.note(failure);
        match failure.class {
            FailureClass::Auth | FailureClass::OutOfCredit | FailureClass::CreditShort => {
                self.pass();
                Phase::Choosing
            }
            FailureClass::Untranslatable | FailureClass::Unfit => Phase::Choosing,
            FailureClass::RateLimited => {
                if !self
                    .resting
                    .iter()
                    .any(|resting| resting.choice == choice && resting.times > 0)
                {
                    self.pass();
                }
                self.troubles_at(upstream, choice).limits += 1;
                self.rest(choice, failure.retry_after, now, rng);
                Phase::Choosing
            }
            // Nothing more of it in this call.
            FailureClass::Silence | FailureClass::Barred => {
                self.trouble(upstream, choice).silent = true;
                Phase::Choosing
            }
            FailureClass::Nonsense => {
                self.trouble(upstream, choice);
                Phase::Choosing
            }
            FailureClass::Connect | FailureClass::Reset | FailureClass::Server | FailureClass::Overloaded => {
                self.after_trouble(route, choice, failure, board, now, rng)
            }
        }
    }

    /// The running try was answered: its first content, or the whole of its answer, arrived. An answer that is the
    /// caller's own fault counts too: the upstream works.
    pub fn served(&mut self, route: &Route, choice: Choice, board: &Board, now: Timestamp) {
        if let Some((upstream, credential)) = find(route, choice) {
            let tried = Tried {
                upstream,
                model: model_of(route, choice),
                credential,
                began: self.began,
            };
            board.succeeded(tried, now);
            board.answered(route, choice, now.since(self.began), now);
        }
        self.log.serves(now);
        self.canary = None;
    }

    /// The answer of the running try, told by [`Attempts::served`] before, is a refusal that another model may not share.
    /// Says whether there is one to turn to: ask [`Attempts::next`] for it. The model itself is not asked again.
    pub fn refused(&mut self, route: &Route, choice: Choice, cause: RefusalCause) -> bool {
        let Some(refusing) = route.targets.get(choice.target) else {
            return false;
        };
        if !route.fallback_on.contains(&cause) {
            return false;
        }
        self.unroll();
        self.note_refusal(cause);
        let may_take = |choice: &Choice| {
            let is_larger = |target: &Target| cause != RefusalCause::ContextLength || target.context > refusing.context;
            let target = route.targets.get(choice.target);
            target.is_some_and(|target| target.tier > refusing.tier && is_larger(target))
        };
        self.untried.retain(|choice| may_take(choice));
        self.resting.retain(|resting| may_take(&resting.choice));
        self.phase = Phase::Choosing;
        self.refused = true;
        !self.untried.is_empty()
    }

    /// Tries so far, the running one included.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// What was decided at first, for the explanation of the call.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Finds the next candidate: an untried one, else the one that rests the shortest, else the end.
    fn choose(&mut self, route: &Route, board: &Board, now: Timestamp) -> Step {
        self.again = None;
        if !self.may_ask_another(now) {
            return self.give_up(route, board, now);
        }
        if let Some((choice, leave)) = self.take_first(route, board, now) {
            return self.begin(route, choice, leave, board, now);
        }
        self.unroll();
        self.set_resting_aside(route, board, now);
        // What an operator closed off, or no call may use any more today, is not waited for.
        self.resting
            .retain(|resting| exclusion(route, resting.choice, board, now).is_none_or(Exclusion::passes));
        if let Some((choice, leave)) = self.take_untried(route, board, now) {
            return self.begin(route, choice, leave, board, now);
        }
        if !self.may_begin(now) {
            return self.give_up(route, board, now);
        }
        let may_come_back = |resting: &&Resting| {
            if resting.times > 0 && !may_retry(route, resting.choice, board, now) {
                return false;
            }
            let trouble = self.trouble_at(route, resting.choice);
            let troubled = trouble.is_some_and(|trouble| trouble.silent || trouble.failures > self.rules.retries);
            let is_barred =
                exclusion(route, resting.choice, board, now).is_some_and(|reason| self.is_barred_by(reason));
            resting.due && resting.times <= self.rules.retries && !troubled && !is_barred
        };
        match self
            .resting
            .iter()
            .filter(may_come_back)
            .min_by_key(|resting| resting.until)
            .copied()
        {
            Some(Resting { choice, until, .. }) if until <= now => {
                let leave = leave(route, choice, board, now);
                self.begin(route, choice, leave, board, now)
            }
            Some(Resting { choice, until, .. }) if self.fits(until.since(now), now) => {
                if self.has_room(route, choice, board, now) {
                    self.wait(choice, until, now)
                } else {
                    self.without(route, choice, board, now)
                }
            }
            _ => match self.take_last_resort(route, board, now) {
                Some(choice) => {
                    let leave = leave(route, choice, board, now);
                    self.begin(route, choice, leave, board, now)
                }
                None => self.give_up(route, board, now),
            },
        }
    }

    fn may_begin(&self, now: Timestamp) -> bool {
        now < self.deadline && self.tries < self.rules.attempts_max
    }

    /// Whether a credential may be tried that was not in this call.
    fn may_ask_another(&self, now: Timestamp) -> bool {
        now < self.deadline && self.tries - self.passed < self.rules.attempts_max
    }

    /// The credential just tried is not the one, which says nothing of the next.
    fn pass(&mut self) {
        self.passed = (self.passed + 1).min(PASSED_MAX);
    }

    fn begin(&mut self, route: &Route, choice: Choice, leave: Leave, board: &Board, now: Timestamp) -> Step {
        // Refused, it goes all the same: as the last resort, or again to an upstream whose breaker this call opened.
        if let Leave::Canary(canary) = leave {
            self.canary = Some(canary);
            self.probed = true;
        }
        let may_take = |(upstream, credential)| board.take(upstream, credential, now);
        if !self.has_room(route, choice, board, now) || !find(route, choice).is_none_or(may_take) {
            return self.without(route, choice, board, now);
        }
        if let Some(again) = self.again.take() {
            again.begins(now);
        }
        if self.tries > 0 || self.stamped != Some(choice) {
            board.stamp(route, choice, now);
        }
        if let Some(resting) = self.resting.iter_mut().find(|resting| resting.choice == choice) {
            resting.due = false;
        }
        self.tries += 1;
        self.began = now;
        self.phase = Phase::Trying(choice);
        Step::Try(choice)
    }

    /// Goes on without a candidate whose last use of the day, or last further try, another call took. It is among the untried no more, and it
    /// does not come back by resting, so this ends.
    fn without(&mut self, route: &Route, choice: Choice, board: &Board, now: Timestamp) -> Step {
        self.canary = None;
        self.unroll();
        self.untried.retain(|other| *other != choice);
        self.resting.retain(|resting| resting.choice != choice);
        self.phase = Phase::Choosing;
        self.choose(route, board, now)
    }

    fn give_up(&mut self, route: &Route, board: &Board, now: Timestamp) -> Step {
        self.unroll();
        if self.tries == 0 {
            self.exclude_anew(route, board, now);
        }
        let soonest = self
            .resting
            .iter()
            .filter(|resting| resting.due)
            .map(|resting| resting.until)
            .min();
        let fault = self
            .verdict
            .fault(&self.plan, route, soonest.map(|until| until.since(now)), now);
        self.phase = Phase::Over(fault.clone());
        Step::GiveUp(fault)
    }

    /// Sets aside, with its reason, what was planned and may not be tried any more: a limit that other calls reached
    /// meanwhile, or what an operator decided. Else nobody could say why nothing was tried.
    fn exclude_anew(&mut self, route: &Route, board: &Board, now: Timestamp) {
        let Plan { order, excluded, .. } = &mut self.plan;
        order.retain(|choice| {
            let reason = exclusion(route, choice, board, now).filter(|reason| !reason.is_guess());
            excluded.extend(reason.map(|reason| Excluded { choice, reason }));
            reason.is_none()
        });
    }

    fn fits(&self, wait: Duration, now: Timestamp) -> bool {
        self.tries < self.rules.attempts_max && self.waited + wait <= WAITED_MAX && now + wait < self.deadline
    }
}

fn find(route: &Route, choice: Choice) -> Option<(&Upstream, &Credential)> {
    let upstream = &route.targets.get(choice.target)?.upstream;
    Some((upstream, upstream.credentials.get(choice.credential)?))
}

fn model_of(route: &Route, choice: Choice) -> Option<&Arc<str>> {
    route.targets.get(choice.target).map(|target| &target.model)
}

/// Whether the upstream of a candidate that failed this call has room for another try.
fn may_retry(route: &Route, choice: Choice, board: &Board, now: Timestamp) -> bool {
    upstream_of(route, choice).is_some_and(|upstream| board.may_retry(upstream, now))
}

fn upstream_of(route: &Route, choice: Choice) -> Option<UpstreamId> {
    route.targets.get(choice.target).map(|target| target.upstream.id)
}

/// Asks for leave to call a candidate's upstream.
fn leave(route: &Route, choice: Choice, board: &Board, now: Timestamp) -> Leave {
    find(route, choice).map_or(Leave::Refused, |(upstream, _)| board.leave(upstream, now))
}

/// Why a candidate is not to be tried now.
fn exclusion(route: &Route, choice: Choice, board: &Board, now: Timestamp) -> Option<Exclusion> {
    let target = route.targets.get(choice.target)?;
    board.exclusion(target, target.upstream.credentials.get(choice.credential)?, now)
}

/// Until when a candidate rests because its provider said so.
fn named_rest(route: &Route, choice: Choice, board: &Board, now: Timestamp) -> Option<Timestamp> {
    match exclusion(route, choice, board, now)? {
        Exclusion::Cooldown {
            until,
            named_by_provider: true,
        } => Some(until),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
