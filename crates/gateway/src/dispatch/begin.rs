//! Reading a stream up to its first content: until then nothing has gone to the client, so failing over is free. What a
//! stream says before its content is kept.

use dialects::{
    Instructions, Report, ReportedFailure, StreamEnd, StreamFault, StreamTap, TapOptions, TapState, Transcoder,
};
use domain::snapshot::Target;
use domain::{Failure, FailureClass, Fault, FaultKind, Surface};
use http::StatusCode;

use super::answer::{Answer, Streamed};
use super::outgoing::wants_usage;
use super::source::Source;
use crate::admit::Call;
use crate::limits::PRELUDE_MAX;
use crate::recovery;
use crate::translation;

/// Reads a stream up to its first content.
pub(super) async fn begin(call: &Call, target: &Target, served: Surface, source: Source) -> Result<Answer, Failure> {
    let is_same = served == call.surface();
    let is_recoverable = call.question.is_some() && recovery::is_on(call);
    let tap = StreamTap::new(TapOptions {
        surface: served,
        hide_usage_chunk: is_same && call.resumption.is_none() && wants_usage(call, target),
        json_array: is_same && call.json_array,
    });
    let tap = if call.resumption.is_some() {
        Transcoder::listening(tap)
    } else if is_recoverable {
        Transcoder::recoverable(tap, call.dialect(), translation::reply(call)?.clone())
    } else if is_same {
        Transcoder::Passthrough(match repeated(call) {
            Some(own) => tap.repeating(own),
            None => tap,
        })
    } else {
        Transcoder::translate(tap, call.dialect(), translation::reply(call)?.clone())
    };
    first_content(call, Streamed::new(source, tap)).await
}

/// What the answer is to repeat, where the operator's text was put before it.
pub(super) fn repeated(call: &Call) -> Option<Instructions> {
    call.instructions.clone().map(Instructions::Own)
}

/// Reads up to the first content of what has begun.
pub(super) async fn first_content(call: &Call, mut streamed: Streamed) -> Result<Answer, Failure> {
    let mut seen = 0;
    // Work in the background goes on whether we listen or not: once it has a name, trying elsewhere would do it twice.
    let is_begun = |tap: &Transcoder| tap.has_content() || (call.facts.background && tap.stored().is_some());
    while !is_begun(&streamed.tap) && seen <= PRELUDE_MAX {
        match streamed.source.next().await {
            Some(Ok(chunk)) => {
                seen += chunk.len();
                streamed.state = streamed.tap.push(chunk, &mut streamed.ready);
                match &streamed.state {
                    TapState::Open => {}
                    TapState::Broken(fault) if !streamed.tap.has_content() => return unbegun(call, fault),
                    TapState::Terminal | TapState::Broken(_) => break,
                }
            }
            Some(Err(error)) => return Err(Failure::new(FailureClass::Reset, error.to_string())),
            None => {
                streamed.end = Some(streamed.tap.finish(true));
                break;
            }
        }
    }
    if !streamed.tap.has_content()
        && let report = streamed.tap.report()
        && let Some(failure) = &report.failure
    {
        // In the client's own format it passes as it came.
        let is_retold = !streamed.tap.passes();
        match failed_answer(&report) {
            Some(failure) => return Err(failure),
            None if is_retold => return unbegun(call, &StreamFault::ErrorEvent(failure.clone())),
            None => {}
        }
    }
    match &streamed.end {
        // An answer may be empty, but then it must be a complete one.
        Some(StreamEnd::Incomplete { why }) if !streamed.tap.has_content() => Err(failure_of(why)),
        _ => Ok(Answer::Stream(Box::new(streamed))),
    }
}

/// A stream that broke before its content: another candidate may do better, unless the provider says that the caller
/// made the mistake.
pub(super) fn unbegun(call: &Call, fault: &StreamFault) -> Result<Answer, Failure> {
    match fault {
        StreamFault::ErrorEvent(ReportedFailure {
            message,
            status: Some(status @ (400 | 404 | 413 | 422)),
            ..
        }) => {
            let fault = Fault::new(
                FaultKind::Malformed,
                format!("the upstream refused the request: {message}"),
            );
            let rendered = dialects::refusal(call.dialect(), &fault, &call.settlement.call.to_string());
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(Answer::Refused {
                status,
                body: rendered.body,
                cause: dialects::refusal_cause(b"", message),
            })
        }
        fault => Err(failure_of(fault)),
    }
}

/// The provider's own word that an answer failed, as the failure of an attempt; `None` where trying elsewhere is of no
/// use because the caller made the mistake.
pub(super) fn failed_answer(report: &Report) -> Option<Failure> {
    let failure = report.failure.as_ref()?;
    callers_status(failure).is_none().then(|| Failure {
        status: failure.status,
        ..Failure::new(failure.class, failure.detail.clone())
    })
}

/// The status of an error that the caller's request made.
pub(super) fn callers_status(failure: &ReportedFailure) -> Option<StatusCode> {
    let status = failure
        .status
        .filter(|status| matches!(status, 400 | 404 | 413 | 422))?;
    StatusCode::from_u16(status).ok()
}

/// A stream's fault as the failure of an attempt.
pub(crate) fn failure_of(fault: &StreamFault) -> Failure {
    match fault {
        StreamFault::Malformed { event } => Failure::new(
            FailureClass::Nonsense,
            format!("event {event} of the stream is malformed"),
        ),
        StreamFault::ErrorEvent(failure) => Failure {
            status: failure.status,
            ..Failure::new(failure.class, failure.detail.clone())
        },
        StreamFault::Truncated => Failure::new(FailureClass::Reset, "the stream ended before its content did"),
        StreamFault::TooLong => Failure::new(FailureClass::Nonsense, "an event of the stream is over the limit"),
    }
}
