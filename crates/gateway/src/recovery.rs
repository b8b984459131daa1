//! Going on with an answer whose upstream broke off in the middle.
//!
//! A client that has seen half an answer cannot be given another one from the start, and one that has seen nothing can.
//! Where a model says `recovery: true`, its streams are therefore decoded into the common vocabulary, also where both sides
//! speak the same format and the bytes pass: so we know what the client has, and the rest can come from anywhere. A break then
//! asks the same [`Attempts`](routing::Attempts) as every failure for the next try. A client that was told nothing is given an
//! answer from its beginning; one that was told text is given the rest of it by a target that takes the beginning of its own answer (the
//! capability `prefill`); anything else is the error that it was before (`docs/adr/0024-answers-taken-up-elsewhere.md`).
//!
//! Calls of other models pay for this with one look at a flag of their route.

use std::sync::Arc;

use dialects::{Beginning, Standing};
use domain::declaration::RefusalCause;
use domain::snapshot::{Route, Target};
use domain::{Failure, FailureClass, Fault, Operation, Recovered, Snapshot, Surface, Timestamp};
use routing::Choice;

use crate::admit::Call;
use crate::dispatch::{self, Answer, Exchange, Got, Seeker, Streamed};
use crate::gateway::Inner;
use crate::limits::RECOVERIES_MAX;
use crate::recall::RESPONSES;
use crate::translation;

/// What the next try is to go on with.
#[derive(Debug)]
pub(crate) struct Resumption {
    /// What was told; nothing: the answer begins again.
    pub(crate) beginning: Beginning,
}

impl Resumption {
    const fn how(&self) -> Recovered {
        if self.beginning.told.is_empty() {
            Recovered::Restarted
        } else {
            Recovered::Continued
        }
    }
}

/// Whether an answer to the call would be gone on with.
pub(crate) fn is_on(call: &Call) -> bool {
    call.route.recovery && is_possible(call)
}

/// Reads the request, if its answer would be gone on with. One that cannot be read passes through like any other.
pub(crate) fn get_ready(call: &mut Call) {
    if is_on(call)
        && let Err(failure) = translation::read(call)
    {
        tracing::debug!(call = %call.settlement.call, detail = failure.detail, "its answer will not be gone on with");
    }
}

/// An answer that its provider keeps under the name that the client is told must come from there to its end. So those are
/// gone on with that are kept here.
fn is_possible(call: &Call) -> bool {
    let recalled = call.recalled.as_deref();
    let is_pinned = recalled.is_some_and(|recalled| recalled.pinned.is_some());
    let is_kept_here = recalled.is_some_and(|recalled| recalled.input.is_some());
    call.stream
        && call.surface().operation == Operation::Chat
        && !is_pinned
        && !call.facts.background
        && (call.surface() != RESPONSES || !call.facts.keep || is_kept_here)
}

/// A target that may go on with an answer of which `told` was told.
fn may_take(target: &Target, surface: Surface, told: &str) -> bool {
    let can = told.is_empty() || target.capabilities.of(domain::Capability::Prefill) == Some(true);
    can && !target.upstream.provider.builtin && target.upstream.serving(surface).is_some()
}

/// What can be gone on with of an answer that broke off like this; `None`: nothing, for the reason that is logged.
pub(crate) fn resumption(
    call: &Call,
    streamed: &Streamed,
    choice: Choice,
    failure: &Failure,
    before: u32,
) -> Option<Resumption> {
    if !streamed.tap.is_recoverable() || before >= RECOVERIES_MAX {
        return None;
    }
    // The provider says that the request is wrong: it would be elsewhere too.
    if matches!(failure.status, Some(400 | 404 | 413 | 422)) {
        return None;
    }
    let beginning = match (streamed.tap.standing(), &call.question) {
        (Standing::Silent, _) => Ok(Beginning::default()),
        (Standing::Spoken(told), Some(question)) => question.beginning(told, has_repeated(call, choice)),
        (Standing::Spoken(_), None) => Err("its request was not read"),
        (Standing::Lost(why), _) => Err(why),
    };
    match beginning {
        Ok(beginning) => Some(Resumption { beginning }),
        Err(why) => {
            tracing::debug!(call = %call.settlement.call, why, "an answer that broke off cannot be gone on with");
            None
        }
    }
}

/// Whether the models of a target are known to say once more what they are given of their answer.
pub(crate) fn repeats(route: &Route, choice: Choice) -> bool {
    let target = route.targets.get(choice.target);
    target.is_some_and(|target| target.upstream.provider.quirks.repeats_prefill)
}

/// Whether what was told may begin with what the client began: who told the first of it decides.
fn has_repeated(call: &Call, choice: Choice) -> bool {
    let before = call.resumption.as_deref().map(|resumption| &resumption.beginning);
    match before.filter(|beginning| !beginning.told.is_empty()) {
        Some(beginning) => beginning.holds_own,
        None => repeats(&call.route, choice),
    }
}

/// What came of looking for who goes on.
pub(crate) type Searched = (Box<Call>, Exchange, Result<(Choice, Timestamp, Got), Fault>);

/// Looks for who goes on with an answer that broke off.
pub(crate) async fn search(
    mut call: Box<Call>,
    mut exchange: Exchange,
    resumption: Resumption,
    failure: Failure,
) -> Searched {
    let route = Arc::clone(&call.route);
    let surface = call.surface();
    {
        let (board, now) = (&call.gateway.board, call.gateway.clock.now());
        let dice = &mut exchange.attempts.dice();
        let takes = |target: &Target| may_take(target, surface, &resumption.beginning.told);
        exchange
            .attempts
            .broke_off(&route, exchange.choice, &failure, takes, board, now, dice);
    }
    // It is no load of its upstream any more.
    exchange.release();
    let how = resumption.how();
    call.resumption = Some(Box::new(resumption));
    let deadline = dispatch::deadline(&*call);
    let found = {
        let mut next = Next { call: &mut call };
        dispatch::seek_on(&mut next, &mut exchange.attempts, &mut exchange.tries, deadline).await
    };
    if let Some(walk) = exchange.attempts.walk(&route) {
        call.walked(walk);
    }
    call.gateway
        .metrics
        .recovered(if found.is_ok() { how.name() } else { "failed" });
    (call, exchange, found)
}

/// Seeks who goes on.
struct Next<'a> {
    call: &'a mut Call,
}

impl Seeker for Next<'_> {
    type Got = Got;

    fn gateway(&self) -> &Arc<Inner> {
        &self.call.gateway
    }

    fn snapshot(&self) -> &Snapshot {
        &self.call.snapshot
    }

    fn route(&self) -> &Arc<Route> {
        &self.call.route
    }

    fn surface(&self) -> Surface {
        self.call.surface()
    }

    fn started(&self) -> Timestamp {
        self.call.started
    }

    fn refusal(_: &Got) -> Option<RefusalCause> {
        None
    }

    /// A refusal is no answer here: the client did not ask for what we asked, and must not be told that it was wrong.
    async fn attempt(&mut self, choice: Choice, deadline: Timestamp) -> Result<Got, Failure> {
        let result = dispatch::attempt(self.call, choice, deadline).await;
        let how = self.call.resumption.as_ref().map(|resumption| resumption.how());
        let record = self.call.settlement.attempts.last_mut();
        let failure = match result {
            Ok(got @ (_, Answer::Stream(_), _)) => {
                if let Some(record) = record {
                    record.recovered = how;
                }
                return Ok(got);
            }
            Ok((_, answer, _)) => unfit(&answer),
            Err(failure) => return Err(failure),
        };
        if let Some(record) = record {
            record.failure = Some(failure.class);
            tracing::warn!(
                call = %self.call.settlement.call, upstream = record.upstream_name, status = failure.status,
                detail = failure.detail, "an attempt to go on with an answer failed"
            );
        }
        Err(failure)
    }
}

/// Why an answer does not go on with another one. Nothing speaks against who gave it.
fn unfit(answer: &Answer) -> Failure {
    let (status, detail) = match answer {
        Answer::Refused { status, body, .. } => {
            let text = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default()).into_owned();
            (
                Some(status.as_u16()),
                format!("it does not go on with the answer: {text}"),
            )
        }
        _ => (None, "the upstream did not stream its answer".to_owned()),
    };
    Failure {
        status,
        ..Failure::new(FailureClass::Unfit, detail)
    }
}
