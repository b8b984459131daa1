//! One exchange with an upstream: the request goes out, and the head of the response says which shape the answer has.

use std::sync::Arc;

use dialects::{Allowance, SoundTap, Transcoder};
use domain::snapshot::{Credential, Target};
use domain::{Dialect, Failure, FailureClass, Operation, Surface};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::answer::{Answer, Streamed};
use super::begin::{begin, first_content};
use super::demonstrate::demonstrate;
use super::outgoing::{outgoing, translated};
use super::source::Source;
use super::whole::{refused, whole};
use crate::admit::Call;
use crate::translation;
use crate::upstream::{auth, confidence};

/// One exchange with a target, which is asked as `served`. What a format cannot say on the way is added to `losses`.
pub(super) async fn exchange(
    call: &mut Call,
    target: &Target,
    credential: &Arc<Credential>,
    served: Surface,
    losses: &mut Vec<String>,
) -> Result<(HeaderMap, Answer), Failure> {
    if target.upstream.provider.builtin {
        return Box::pin(demonstrate(call, target, served)).await;
    }
    let readied = auth::ready(&call.gateway, &target.upstream, credential).await?;
    let request = if passes_through(call, served) {
        outgoing(call, target, credential, readied)
    } else {
        let told = translation::tell(call, target, served.dialect)?;
        losses.extend(translation::shown(&told.losses));
        translated(call, target, credential, readied, served, told.body)
    };
    let request = request.map_err(|message| Failure::new(FailureClass::Connect, message))?;
    let response = call.gateway.client.send(&target.upstream, request).await?;
    let (head, body) = response.into_parts();
    learn(call, target, credential, served.dialect, &head);
    if !head.status.is_success() {
        return refused(call, target, served, credential, &head, body).await;
    }
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
        return Err(Failure::new(
            FailureClass::Nonsense,
            format!("the answer has content-encoding {encoding:?}, which was not asked for"),
        ));
    }
    // Frames around the events of another format are taken off first.
    let is_wrapped = is_amazons(&head.headers) && served.dialect != Dialect::BedrockConverse;
    let mut source = Source::upstream(body, is_wrapped);
    let mut answer =
        if is_event_stream(&head.headers) || call.stream && (call.json_array || source.begins_with_event().await?) {
            begin(call, target, served, source).await?
        } else if is_sound(served, &head.headers)? {
            first_content(call, Streamed::new(source, Transcoder::Sound(SoundTap::default()))).await?
        } else {
            whole(call, served, head.status, source, losses).await?
        };
    let spoken = call.gateway.account_tokens.spoken(credential);
    let mut headers = confidence::headers(&head.headers, &target.upstream, &spoken);
    match &mut answer {
        Answer::Stream(_) if is_wrapped || served != call.surface() => {
            headers.insert(CONTENT_TYPE, streamed_type(call));
        }
        Answer::Whole { .. } if served != call.surface() => {
            let content_type = if call.stream {
                streamed_type(call)
            } else {
                HeaderValue::from_static("application/json")
            };
            headers.insert(CONTENT_TYPE, content_type);
        }
        Answer::Refused { body, .. } => {
            *body = confidence::text(std::mem::take(body), &target.upstream, &spoken);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Answer::Stream(_) | Answer::Whole { .. } | Answer::Taken => {}
    }
    Ok((headers, answer))
}

/// Whether the request goes on as the client wrote it. Where it brings back a seal that another provider put on its
/// reasoning, it is told anew without it, in the same format; the answer passes through all the same.
pub(super) fn passes_through(call: &Call, served: Surface) -> bool {
    served == call.surface() && !call.facts.has_foreign_seals() && call.resumption.is_none()
}

/// Tells the board what an answer says of the limits that the next call will meet. Of a refusal only the allowances:
/// what it says of limits is read with its reason.
fn learn(call: &Call, target: &Target, credential: &Credential, dialect: Dialect, head: &http::response::Parts) {
    let (board, now) = (&call.gateway.board, call.gateway.clock.now());
    let told = Allowance::read(dialect, &head.headers, now);
    if let Some(wait) = told.used_up.filter(|_| head.status.is_success()) {
        board.spare(target, credential, wait, now);
    }
    if !told.windows.is_empty() {
        board.tell_windows(&target.upstream, credential, told.windows, now);
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"text/event-stream") || is_amazons(headers)
}

fn is_amazons(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.starts_with(b"application/vnd.amazon.eventstream")
}

/// Whether the answer is sound, which goes through unread as it comes. Speech may also be told in JSON; a page is none.
fn is_sound(served: Surface, headers: &HeaderMap) -> Result<bool, Failure> {
    if served.operation != Operation::Speech {
        return Ok(false);
    }
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if content_type.starts_with(b"text/") {
        return Err(Failure::new(
            FailureClass::Nonsense,
            "the answer is text where sound was asked for",
        ));
    }
    Ok(!content_type.starts_with(b"application/json"))
}

/// The content type of the stream that the client asked for.
const fn streamed_type(call: &Call) -> HeaderValue {
    if call.json_array {
        HeaderValue::from_static("application/json")
    } else {
        HeaderValue::from_static("text/event-stream")
    }
}
