//! Answers that are read to their end before anything is known of them: refusals, and those that do not stream.
//!
//! A status of 200 is no word that there is an answer, and one of 400 none that the upstream is well; both are told by the
//! body.

use std::sync::Arc;

use bytes::Bytes;
use dialects::{Nonsense, ReportedFailure, Verdict};
use domain::snapshot::{Credential, Target};
use domain::{Failure, FailureClass, Surface};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::answer::Answer;
use super::begin::{self, failed_answer};
use super::source::{Overflow, Source, collect};
use crate::admit::Call;
use crate::limits::{ANSWER_MAX, ERROR_BODY_MAX};
use crate::translation;
use crate::upstream::confidence;
use crate::upstream::incoming::UpstreamBody;

pub(super) async fn refused(
    call: &Call,
    target: &Target,
    served: Surface,
    credential: &Arc<Credential>,
    head: &http::response::Parts,
    body: UpstreamBody,
) -> Result<(HeaderMap, Answer), Failure> {
    let body = collect(Source::Upstream(body, None), ERROR_BODY_MAX, Overflow::Cut).await?;
    let status = head.status.as_u16();
    if head.status.is_redirection() {
        let message = "the upstream redirects; redirects are not followed, so give its final address as `base_url`";
        return Err(Failure {
            status: Some(status),
            ..Failure::new(FailureClass::Nonsense, message)
        });
    }
    match dialects::classify(served.dialect, status, &head.headers, &body, call.gateway.clock.now()) {
        Verdict::Failure(failure) => Err(failure),
        Verdict::Caller => {
            let has_fallback = !call.route.fallbacks.is_empty();
            let cause = has_fallback.then(|| dialects::refusal_cause(&body, "")).flatten();
            let spoken = &*call.gateway.account_tokens.spoken(credential);
            let mut headers = confidence::headers(&head.headers, &target.upstream, spoken);
            let mut body = confidence::text(body, &target.upstream, spoken);
            if served != call.surface() {
                let id = call.settlement.call.to_string();
                body = dialects::retell_refusal(call.dialect(), status, &body, &id).body;
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            let answer = Answer::Refused {
                status: head.status,
                body,
                cause,
            };
            Ok((headers, answer))
        }
    }
}

pub(super) async fn whole(
    call: &Call,
    served: Surface,
    status: StatusCode,
    source: Source,
    losses: &mut Vec<String>,
) -> Result<Answer, Failure> {
    let body = collect(source, ANSWER_MAX, Overflow::Fail).await?;
    let report = match dialects::read_answer(served, &body) {
        Ok(report) => report,
        Err(Nonsense::Error(failure)) => return said_failure(call, &failure, &body),
        Err(nonsense) => {
            return Err(Failure {
                status: Some(status.as_u16()),
                ..Failure::new(FailureClass::Nonsense, nonsense.to_string())
            });
        }
    };
    if let Some(failure) = failed_answer(&report) {
        return Err(failure);
    }
    if served == call.surface() {
        let body = repeating(call, body);
        return Ok(Answer::whole(status, body, report));
    }
    if let Some(failure) = &report.failure {
        return said_failure(call, failure, &body);
    }
    let told = translation::answer(call, served, &body, &report)?;
    losses.extend(translation::shown(&told.losses));
    Ok(Answer::Whole {
        status,
        body: told.body,
        report,
        kept: told.kept,
    })
}

/// A whole answer in the client's format, which repeats what the client sent.
pub(super) fn repeating(call: &Call, body: Bytes) -> Bytes {
    match begin::repeated(call) {
        Some(own) => own.restore(&body),
        None => body,
    }
}

/// The provider's word under a 200 that it has no answer: what its error stands for, as in a stream.
fn said_failure(call: &Call, failure: &ReportedFailure, body: &[u8]) -> Result<Answer, Failure> {
    let Some(status) = begin::callers_status(failure) else {
        return Err(Failure {
            status: failure.status,
            ..Failure::new(failure.class, failure.detail.clone())
        });
    };
    let id = call.settlement.call.to_string();
    Ok(Answer::Refused {
        status,
        body: dialects::retell_refusal(call.dialect(), status.as_u16(), body, &id).body,
        cause: dialects::refusal_cause(body, ""),
    })
}
