//! One try at a target: timed, counted as load while it lasts, and recorded whatever comes of it.

use std::sync::Arc;

use domain::snapshot::{Credential, Target};
use domain::{AttemptRecord, Failure, FailureClass, Timestamp};
use routing::Choice;

use super::answer::{Answer, Got};
use super::exchange::{exchange, passes_through};
use crate::admit::Call;
use crate::recovery;
use crate::settle::{Settlement, attempt_record};
use crate::translation;
use crate::upstream::confidence;

/// One try. Its record is kept whatever comes of it.
pub(crate) async fn attempt(call: &mut Call, choice: Choice, deadline: Timestamp) -> Result<Got, Failure> {
    let started_ms = call.settlement.elapsed_ms();
    let route = Arc::clone(&call.route);
    let (target, credential) = chosen(&route, choice)?;
    call.settlement.trying = Some((choice, started_ms));
    let now = call.gateway.clock.now();
    let open = call.gateway.board.begin(&target.upstream, credential, now);
    let asked = call.surface();
    let served = target.serving(asked, call.facts.wants_chat).unwrap_or(asked);
    let mut losses = Vec::new();
    // What is fetched for the caller takes nothing of the time that the upstream has.
    let (prepared, begun) = if passes_through(call, served) {
        recovery::get_ready(call);
        (Ok(()), now)
    } else {
        let prepared = Box::pin(translation::prepare(call, target, served.dialect, deadline.since(now))).await;
        (prepared, call.gateway.clock.now())
    };
    let left = deadline.since(begun);
    let limit = target.upstream.timeouts.first_byte.min(left);
    let silence = || Failure::new(FailureClass::Silence, format!("no content within {limit:?}"));
    let result = match prepared {
        Err(failure) => Err(failure),
        Ok(()) => match tokio::time::timeout(limit, exchange(call, target, credential, served, &mut losses)).await {
            Ok(result) => result,
            Err(_) => Err(silence()),
        },
    };
    let result = result.map_err(|failure| {
        let spoken = call.gateway.account_tokens.spoken(credential);
        if failure.class == FailureClass::Auth {
            call.gateway.account_tokens.doubt(credential, now);
        }
        Failure {
            detail: confidence::unspoken(&failure.detail, &target.upstream, &spoken),
            ..failure
        }
    });
    let outcome = match &result {
        Ok((_, Answer::Refused { status, .. } | Answer::Whole { status, .. })) => Ok(status.as_u16()),
        Ok((_, Answer::Stream(_) | Answer::Taken)) => Ok(200),
        Err(failure) => Err(failure),
    };
    let record = AttemptRecord {
        dialect: (served.dialect != call.dialect()).then_some(served.dialect),
        losses,
        ..record(&call.settlement, target, credential, started_ms, outcome)
    };
    call.settlement.attempts.push(record);
    call.settlement.trying = None;
    result.map(|(headers, answer)| {
        let open = (!matches!(answer, Answer::Refused { .. })).then_some(open);
        (headers, answer, open)
    })
}

/// What is kept of a try. One that failed is logged here, and nowhere else.
pub(crate) fn record(
    settlement: &Settlement,
    target: &Target,
    credential: &Credential,
    started_ms: u32,
    outcome: Result<u16, &Failure>,
) -> AttemptRecord {
    if let Err(failure) = outcome {
        tracing::warn!(
            call = %settlement.call, upstream = target.upstream.name, credential = credential.name,
            class = failure.class.name(), status = failure.status, detail = failure.detail, "an attempt failed"
        );
    }
    AttemptRecord {
        status: outcome.map_or_else(|failure| failure.status, Some),
        failure: outcome.err().map(|failure| failure.class),
        ..attempt_record(target, credential, started_ms, settlement.elapsed_ms() - started_ms)
    }
}

/// The target and credential that a choice means.
pub(crate) fn chosen(route: &domain::snapshot::Route, choice: Choice) -> Result<(&Target, &Arc<Credential>), Failure> {
    let target = route.targets.get(choice.target);
    target
        .and_then(|target| Some((target, target.upstream.credentials.get(choice.credential)?)))
        .ok_or_else(|| Failure::new(FailureClass::Connect, "the chosen target does not exist"))
}
