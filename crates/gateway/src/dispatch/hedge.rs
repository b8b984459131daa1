//! A second attempt beside one that takes long.
//!
//! Most of the time that callers wait in all is spent on the few calls that one upstream is slow with. Where a model says so
//! (`hedge`), a call that is not streamed and not answered after a while is sent to a second candidate too, and whoever answers
//! first is the answer; the connection of the other is closed. That costs a prompt that nobody reads, so it is bounded by a share
//! of the model's calls and by what is held for the call, and it is recorded with the attempt that was given up
//! (`docs/adr/0026-slow-calls-are-sent-twice.md`).
//!
//! Nothing is sent twice that leaves more behind than its answer, and nothing that needs something outside of it: the
//! `twin` has only what every call has.
//!
//! Calls of other models pay for this with one look at a flag of their route.

use std::pin::Pin;
use std::sync::Arc;

use domain::declaration::HedgeDecl;
use domain::{Failure, Operation, Timestamp};
use routing::{Attempts, Beside, Choice};

use super::answer::{Answer, Got};
use super::attempt::attempt;
use super::seek::Ended;
use crate::admit::Call;
use crate::recall::RESPONSES;

/// An attempt under way.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Got, Failure>> + Send + 'a>>;

/// When the call may be sent twice; `None`: never.
pub(super) fn of(call: &Call) -> Option<HedgeDecl> {
    call.route.hedge.filter(|_| is_possible(call))
}

/// Whether all that an upstream does for the call is to answer it, from what stands in the request.
fn is_possible(call: &Call) -> bool {
    let facts = &call.facts;
    let only_answers = match call.surface().operation {
        Operation::Chat => call.surface() != RESPONSES || !facts.keep,
        Operation::Completions | Operation::Embeddings | Operation::Moderations | Operation::Rerank => true,
        // Token counts are not worth it; of the rest each one is a work that is paid by the piece, or is no call.
        Operation::CountTokens
        | Operation::Compact
        | Operation::Realtime
        | Operation::Passthrough
        | Operation::ImageGenerations
        | Operation::ImageEdits
        | Operation::ImageVariations
        | Operation::Speech
        | Operation::Transcriptions
        | Operation::Translations => false,
    };
    only_answers
        && !call.stream
        && !facts.background
        && !facts.stores
        && !facts.by_reference
        && facts.references.is_none()
        && call.recalled.is_none()
}

/// The first attempt, and a second one beside it if it takes long.
pub(super) async fn race(
    call: &mut Call,
    hedge: HedgeDecl,
    attempts: &mut Attempts,
    choice: Choice,
    deadline: Timestamp,
) -> Ended<Got> {
    let mut twin = twin(call);
    let race = Race {
        twin: &mut twin,
        attempts,
        choice,
        deadline,
    };
    let (ended, given_up) = race.run(call, hedge).await;
    match given_up {
        Some(Beside::First) => call.settlement.give_up(),
        Some(Beside::Hedge) => twin.settlement.give_up(),
        None => {}
    }
    call.settlement.join(&mut twin.settlement);
    if ended.choice != choice {
        // What comes of the answer now is told as it was asked.
        call.question = twin.question.take();
        call.share.absorb(twin.share);
    }
    ended
}

/// The call once more, with an account that only collects.
fn twin(call: &mut Call) -> Call {
    Call {
        gateway: Arc::clone(&call.gateway),
        snapshot: Arc::clone(&call.snapshot),
        path: call.path.clone(),
        head: call.head.clone(),
        body: call.body.clone(),
        facts: call.facts.clone(),
        route: Arc::clone(&call.route),
        profile: call.profile.clone(),
        stream: call.stream,
        json_array: call.json_array,
        started: call.started,
        settlement: call.settlement.twin(),
        question: None,
        recalled: None,
        job: None,
        resumption: None,
        unfetched: None,
        instructions: call.instructions.clone(),
        share: call.gateway.bodies.share(),
    }
}

/// Two attempts, of which the second may never begin.
struct Race<'a> {
    twin: &'a mut Call,
    attempts: &'a mut Attempts,
    choice: Choice,
    deadline: Timestamp,
}

impl Race<'_> {
    /// What came of it, and which of the two was given up.
    async fn run(self, call: &mut Call, hedge: HedgeDecl) -> (Ended<Got>, Option<Beside>) {
        let (gateway, route) = (Arc::clone(&call.gateway), Arc::clone(&call.route));
        let Self {
            twin,
            attempts,
            choice,
            deadline,
        } = self;
        gateway.board.may_be_hedged(&route, hedge.budget);
        let now = || gateway.clock.now();
        let alone = |result| (Ended::alone(choice, now(), result), None);
        let funds = call.settlement.second_hold();
        let mut first: Running<'_> = Box::pin(attempt(call, choice, deadline));
        if let Ok(result) = tokio::time::timeout(hedge.after.0, &mut first).await {
            return alone(result);
        }
        // Held until both attempts are over.
        let Ok(_second_hold) = funds.take() else {
            gateway.metrics.hedged("over_balance");
            return alone(first.await);
        };
        let second_choice = match attempts.hedge(&route, &gateway.board, now()) {
            Ok(choice) => choice,
            Err(why) => {
                gateway.metrics.hedged(why.name());
                return alone(first.await);
            }
        };
        let mut second: Running<'_> = Box::pin(attempt(twin, second_choice, deadline));
        let end = |choice, at, result: Result<Got, Failure>, given_up| {
            let outcome = match &result {
                Err(_) => "failed",
                Ok(_) if choice == second_choice => "won",
                Ok(_) => "lost",
            };
            gateway.metrics.hedged(outcome);
            (
                Ended {
                    choice,
                    at,
                    hedges: 1,
                    result,
                },
                given_up,
            )
        };
        let failed = |attempts: &mut Attempts, which, failure: &Failure| {
            let dice = &mut attempts.dice();
            attempts.failed_beside(&route, which, failure, &gateway.board, now(), dice);
            gateway.failed.notify_one();
        };
        let (which, result) = tokio::select! {
            // The second is looked at first, so that it has begun whatever became of the first meanwhile.
            biased;
            result = &mut second => (Beside::Hedge, result),
            result = &mut first => (Beside::First, result),
        };
        match (which, result) {
            (Beside::First, Ok(got)) => {
                attempts.given_up(&route, Beside::Hedge, &gateway.board, now());
                end(choice, now(), Ok(got), Some(Beside::Hedge))
            }
            (Beside::First, Err(failure)) => {
                failed(attempts, Beside::First, &failure);
                let result = second.await;
                end(second_choice, now(), result, None)
            }
            // Without the hedge nobody would have heard of it, so the first may still do better.
            (Beside::Hedge, Ok(got @ (_, Answer::Refused { .. }, _))) => {
                let at = now();
                match first.await {
                    Ok(better) => {
                        attempts.served_beside(&route, &gateway.board, at);
                        end(choice, now(), Ok(better), None)
                    }
                    Err(failure) => {
                        failed(attempts, Beside::First, &failure);
                        end(second_choice, at, Ok(got), None)
                    }
                }
            }
            (Beside::Hedge, Ok(got)) => {
                attempts.given_up(&route, Beside::First, &gateway.board, now());
                end(second_choice, now(), Ok(got), Some(Beside::First))
            }
            (Beside::Hedge, Err(failure)) => {
                failed(attempts, Beside::Hedge, &failure);
                let result = first.await;
                end(choice, now(), result, None)
            }
        }
    }
}
