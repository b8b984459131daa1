//! A whole answer as a client gets it.

use domain::{Dialect, Usage};
use serde_json::{Map, Value, json};

use super::custom;
use super::request::put;
use super::said;
use super::usage::Written;
use crate::hub::{Answer, Extra, Losses, Stop, StopReason};
use crate::openai_chat::decode::LEGACY_FUNCTIONS;

use crate::translate::Reply;

/// Writes an answer.
pub(crate) fn answer(answer: Answer, reply: &Reply, losses: &mut Losses) -> Value {
    let legacy = is_legacy(reply);
    let mut body = Map::new();
    body.insert("id".to_owned(), id(&answer.id, reply).into());
    body.insert("object".to_owned(), "chat.completion".into());
    body.insert("created".to_owned(), answer.created.unwrap_or(reply.created).into());
    body.insert("model".to_owned(), model(&answer.model, reply).into());
    let choices: Vec<Value> = answer
        .choices
        .into_iter()
        .enumerate()
        .map(|(index, choice)| {
            note_untold(None, choice.stop.as_ref(), losses);
            // Ids of calls must differ between choices too.
            let base = if index == 0 {
                reply.id.clone()
            } else {
                format!("{}_{index}", reply.id)
            };
            json!({
                "index": index,
                "message": said::answer(custom::called(choice.parts, reply), &base, legacy, losses),
                "logprobs": choice.logprobs,
                "finish_reason": choice.stop.as_ref().map_or("stop", |stop| finish_reason(stop, legacy)),
            })
        })
        .collect();
    body.insert("choices".to_owned(), choices.into());
    note_untold(answer.usage.as_ref(), None, losses);
    put(
        &mut body,
        "usage",
        answer
            .usage
            .and_then(|usage| serde_json::to_value(Written::from(usage)).ok()),
    );
    put(
        &mut body,
        "service_tier",
        answer.service_tier.map(|tier| named(tier).into()),
    );
    if answer.extra.origin == Some(Dialect::OpenaiChat) {
        for (name, value) in answer.extra.members {
            body.entry(name).or_insert(value);
        }
    } else {
        note_unsaid(&answer.extra, losses);
    }
    Value::Object(body)
}

/// What another format says of an answer beside it.
pub(super) fn note_unsaid(extra: &Extra, losses: &mut Losses) {
    for name in extra.unsaid().filter(|_| extra.origin != Some(Dialect::OpenaiChat)) {
        losses.note(name.to_owned(), "only the provider's own format has it");
    }
}

/// What this format has no figure for, and which stop sequence was met.
pub(super) fn note_untold(usage: Option<&Usage>, stop: Option<&Stop>, losses: &mut Losses) {
    losses.note_if(
        usage.is_some_and(|usage| usage.web_searches > 0),
        "usage.web_searches",
        "the format does not count searches",
    );
    losses.note_if(
        stop.is_some_and(|stop| stop.sequence.is_some()),
        "stop_sequence",
        "the format does not tell which one was met",
    );
}

/// A tier in OpenAI's words: what others call standard is its default.
pub(super) fn named(tier: String) -> String {
    if matches!(tier.as_str(), "standard" | "on_demand") {
        "default".to_owned()
    } else {
        tier
    }
}

/// Whether the client speaks of `function_call`.
pub(super) fn is_legacy(reply: &Reply) -> bool {
    reply.echo.contains_key(LEGACY_FUNCTIONS)
}

pub(super) fn id(known: &str, reply: &Reply) -> String {
    if known.is_empty() {
        format!("chatcmpl-{}", reply.id)
    } else {
        known.to_owned()
    }
}

pub(super) fn model<'a>(known: &'a str, reply: &'a Reply) -> &'a str {
    if known.is_empty() { &reply.model } else { known }
}

/// `wire-facts.md` §5.5.
pub(super) const fn finish_reason(stop: &Stop, legacy: bool) -> &'static str {
    match stop.reason {
        StopReason::Tool if legacy => "function_call",
        StopReason::Tool => "tool_calls",
        StopReason::Length | StopReason::Context => "length",
        StopReason::Filter => "content_filter",
        StopReason::End | StopReason::Sequence | StopReason::Pause | StopReason::Other => "stop",
    }
}
