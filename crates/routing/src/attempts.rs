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
//! | 500, 502, 503, 529 | the same credential again after a delay, `retries` times, once if another upstream is healthy; then the next |
//! | reset before the first content | the same at once (a pooled connection may have died), then as above |
//! | no connection | the next upstream at once; if there is none, as above |
//! | silence | the next upstream at once, and this one never again in this call |
//! | nonsense | the next candidate |
//! | not to be said in the target's format | the next candidate; nothing was sent |
//! | the caller's mistake | none: it is the answer; what a fallback is configured for, the next model that may take it |
//!
//! What bounds it: `attempts_max` tries (and [`PASSED_MAX`] credentials that refuse, which a pool may be full of),
//! [`WAITED_MAX`] of waiting, `1 + retries` failures at one upstream and as many 429s of one credential, what the
//! upstream's [retry budget](crate::retry_budget) has left for calls that it failed, and the call's deadline, beyond
//! which nothing waits. A time that a provider named is never cut short: the wait is the longer of it and our own
//! delay, and if that does not fit, the client is told to wait.

mod accounts;
mod broke;
mod hedge;
mod log;
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
use verdict::Verdict;

pub use hedge::{Beside, Unhedged};

/// How long one call waits in all before it is answered with what it has. A client that has to wait longer is told so:
/// most clients come back by themselves, and meanwhile the connection is not held.
pub const WAITED_MAX: Duration = Duration::from_secs(30);
/// More tries at an upstream that is not the only healthy one.
const RETRIES_WITH_ANOTHER: u32 = 1;
/// Credentials of one upstream that may be limited in one call before its peers are asked instead of their siblings.
const LIMITED_BEFORE_PEERS: u32 = 2;
/// The same before any other upstream is.
const LIMITED_BEFORE_OTHERS: u32 = 4;

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
    /// Whether more than the first of the plan was looked at. Most calls are answered by that one, and in what order the
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

/// What went wrong at one upstream in this call.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    upstream: UpstreamId,
    failures: u32,
    /// How many of its 429s this call met.
    limits: u32,
    /// It did not answer in time: never again in this call.
    silent: bool,
    /// It was tried again at once after a reset.
    reset: bool,
    /// The last credential tried there, and how often in a row.
    credential: usize,
    in_a_row: u32,
}

impl Attempts {
    /// The tries of a call with this plan, which must be over by `deadline`.
    pub fn new(plan: Plan, defaults: &Defaults, deadline: Timestamp) -> Self {
        let resting = plan.excluded.iter().filter_map(|excluded| match excluded.reason {
            Exclusion::Cooldown {
                until,
                named_by_provider: true,
            } => Some(Resting {
                choice: excluded.choice,
                until,
                times: 0,
                due: true,
            }),
            _ => None,
        });
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
            is_unrolled: plan.order.len() < 2,
            resting: resting.collect(),
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

    /// Lists all that may be tried.
    fn unroll(&mut self) {
        if !std::mem::replace(&mut self.is_unrolled, true) {
            self.untried.extend(self.plan.order.iter().skip(1).copied());
        }
    }

    /// The first of the plan, for a call that has just begun, if nothing is against it by now.
    fn take_first(&mut self, route: &Route, board: &Board, now: Timestamp) -> Option<(Choice, Leave)> {
        let choice = *self.untried.first().filter(|_| !self.is_unrolled)?;
        if !self.is_open_to(route, choice, board, now) {
            return None;
        }
        match leave(route, choice, board, now) {
            Leave::Refused => None,
            leave => {
                self.untried.clear();
                Some((choice, leave))
            }
        }
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

    /// Of the credentials that were set aside because we guess that they should rest, the one that should recover first;
    /// one per call. The others have failed by now, and a guess must not turn a call away that it might have answered.
    fn take_last_resort(&mut self, route: &Route, board: &Board, now: Timestamp) -> Option<Choice> {
        if self.plan.last_resort || self.refused || self.tries == 0 {
            return None;
        }
        let guessed = |excluded: &&Excluded| {
            let by_guess = |reason: &Exclusion| {
                matches!(
                    reason,
                    Exclusion::Cooldown {
                        named_by_provider: false,
                        ..
                    }
                )
            };
            let troubled = self.failures_at(route, excluded.choice) > 0;
            by_guess(&excluded.reason)
                && !troubled
                && exclusion(route, excluded.choice, board, now).is_none_or(|reason| by_guess(&reason))
        };
        let soonest = self.plan.excluded.iter().filter(guessed);
        let choice = soonest.min_by_key(|excluded| excluded.reason.until())?.choice;
        self.plan.last_resort = true;
        Some(choice)
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

    /// The next untried candidate and the leave to call it: the first whose upstream has not failed in this call, else
    /// the first whose upstream may be tried again. A candidate whose breaker opened since then is passed over, unless
    /// that would leave the call without a single try. A call probes one upstream: when many come half-open in the same
    /// moment, it must not spend all its tries on finding out for others. Only when nothing else is left it probes more.
    fn take_untried(&mut self, route: &Route, board: &Board, now: Timestamp) -> Option<(Choice, Leave)> {
        let mut passed_over = None;
        let mut to_probe: SmallVec<[Choice; 4]> = SmallVec::new();
        while let Some(place) = self.next_untried(route, board, now) {
            let choice = self.untried.remove(place);
            match leave(route, choice, board, now) {
                Leave::Canary(_) if self.probed => to_probe.push(choice),
                Leave::Refused if !self.plan.last_resort => passed_over = passed_over.or(Some(choice)),
                leave => {
                    self.untried.extend(to_probe);
                    return Some((choice, leave));
                }
            }
        }
        self.untried.extend(to_probe.iter().skip(1).copied());
        if let Some(choice) = to_probe.first().copied() {
            match leave(route, choice, board, now) {
                Leave::Refused => passed_over = passed_over.or(Some(choice)),
                leave => return Some((choice, leave)),
            }
        }
        let guessed = |choice: &Choice| exclusion(route, *choice, board, now).is_none_or(Exclusion::is_guess);
        let rather_than_none = passed_over.or_else(|| self.untried.iter().copied().find(guessed));
        rather_than_none
            .filter(|choice| self.tries == 0 && guessed(choice))
            .map(|choice| (choice, Leave::Free))
    }

    /// The place of the next candidate among the untried.
    fn next_untried(&self, route: &Route, board: &Board, now: Timestamp) -> Option<usize> {
        let usable = |choice: &Choice| self.is_open_to(route, *choice, board, now);
        let untroubled = |choice: &Choice| self.failures_at(route, *choice) == 0 && usable(choice);
        // Another account may be served where one was not: each is asked before the call is given up.
        let left = |choice: &Choice| {
            self.failures_at(route, *choice) <= self.rules.retries || accounts::is_one(route, *choice)
        };
        let retryable = |choice: &Choice| left(choice) && may_retry(route, *choice, board, now) && usable(choice);
        match self.untried.iter().position(untroubled) {
            Some(place) if self.tries > 0 => Some(self.better(route, place, untroubled, board)),
            Some(place) => Some(place),
            None => self.untried.iter().position(retryable),
        }
    }

    /// A better candidate than the one at `place`, for a call that has failed before and is not the one to find out what
    /// others can: of its peers the first whose upstream answered whoever asked it last, and whose credentials have not
    /// been limited one after another. Else an outage of many upstreams, or one provider that limits all its credentials,
    /// uses up the tries. Where the peers are limited, one of a lower priority or of a fallback, after some more.
    fn better(&self, route: &Route, place: usize, is_open: impl Fn(&Choice) -> bool, board: &Board) -> usize {
        let rank = |choice: &Choice| {
            let target = route.targets.get(choice.target);
            target.map(|target| (target.tier, target.priority))
        };
        let peers = self.untried.get(place).and_then(rank);
        let is_peer = |choice: &Choice| rank(choice) == peers && self.limits_at(route, *choice) < LIMITED_BEFORE_PEERS;
        let is_doubted =
            |choice: &Choice| upstream_of(route, *choice).is_none_or(|upstream| board.is_doubted(upstream));
        let find =
            |fits: &dyn Fn(&Choice) -> bool| self.untried.iter().position(|choice| fits(choice) && is_open(choice));
        let is_limited = |place: &usize| {
            let choice = self.untried.get(*place);
            choice.is_some_and(|choice| self.limits_at(route, *choice) >= LIMITED_BEFORE_OTHERS)
        };
        find(&|choice| is_peer(choice) && !is_doubted(choice))
            .or_else(|| find(&is_peer))
            .or_else(|| {
                is_limited(&place).then(|| find(&|choice| self.limits_at(route, *choice) < LIMITED_BEFORE_OTHERS))?
            })
            .unwrap_or(place)
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

    /// Decides whether the upstream that just failed is asked again.
    fn after_trouble(
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
        let delay = own.max(named);
        if !self.fits(delay, now) || !self.has_room(route, choice, board, now) {
            return Phase::Choosing;
        }
        self.waited += delay;
        Phase::Waiting {
            choice: self.same_or_sibling(route, choice, trouble),
            until: now + delay,
        }
    }

    /// How often an upstream is tried again after a failure of this class.
    fn retries_at(&self, class: FailureClass, another_is_healthy: bool) -> u32 {
        let few = self.rules.retries.min(RETRIES_WITH_ANOTHER);
        match class {
            FailureClass::Connect if another_is_healthy => 0,
            _ if another_is_healthy || self.plan.last_resort => few,
            _ => self.rules.retries,
        }
    }

    /// After two tries in a row with one credential another of the same upstream may do better.
    fn same_or_sibling(&mut self, route: &Route, choice: Choice, trouble: Trouble) -> Choice {
        if trouble.in_a_row < 2 {
            return choice;
        }
        let sibling = self
            .untried
            .iter()
            .position(|other| upstream_of(route, *other) == Some(trouble.upstream));
        sibling.map_or(choice, |place| self.untried.remove(place))
    }

    fn another_is_healthy(&self, route: &Route, upstream: &Upstream, board: &Board, now: Timestamp) -> bool {
        self.untried.iter().any(|choice| {
            upstream_of(route, *choice) != Some(upstream.id)
                && self.failures_at(route, *choice) == 0
                && self.is_open_to(route, *choice, board, now)
        })
    }

    /// Whether nothing is against a candidate now: not in this call, not on the board.
    fn is_open_to(&self, route: &Route, choice: Choice, board: &Board, now: Timestamp) -> bool {
        let silent = self.trouble_at(route, choice).is_some_and(|trouble| trouble.silent);
        let against = exclusion(route, choice, board, now);
        !silent && against.is_none_or(|reason| self.plan.last_resort && reason.is_guess())
    }

    /// Whether the upstream has failed this call before, or its provider told it to come back.
    fn is_further(&self, route: &Route, choice: Choice) -> bool {
        let came_back = |resting: &Resting| resting.choice == choice && resting.times > 0;
        self.failures_at(route, choice) > 0 || self.resting.iter().any(came_back)
    }

    fn failures_at(&self, route: &Route, choice: Choice) -> u32 {
        self.trouble_at(route, choice).map_or(0, |trouble| trouble.failures)
    }

    fn trouble_at(&self, route: &Route, choice: Choice) -> Option<&Trouble> {
        let upstream = upstream_of(route, choice)?;
        self.troubles.iter().find(|trouble| trouble.upstream == upstream)
    }

    fn was_reset(&self, upstream: &Upstream) -> bool {
        self.troubles
            .iter()
            .any(|trouble| trouble.upstream == upstream.id && trouble.reset)
    }

    fn trouble_mut(&mut self, upstream: &Upstream) -> Option<&mut Trouble> {
        self.troubles.iter_mut().find(|trouble| trouble.upstream == upstream.id)
    }

    fn limits_at(&self, route: &Route, choice: Choice) -> u32 {
        self.trouble_at(route, choice).map_or(0, |trouble| trouble.limits)
    }

    /// Notes one more failure at an upstream.
    fn trouble(&mut self, upstream: &Upstream, choice: Choice) -> &mut Trouble {
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
    fn troubles_at(&mut self, upstream: &Upstream, choice: Choice) -> &mut Trouble {
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
