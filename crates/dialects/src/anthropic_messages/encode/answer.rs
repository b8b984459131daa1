//! A whole answer, as a client gets it.

use serde_json::{Value, json};

use super::OWN;
use super::blocks::{self, Members, bare_seal, citation, object, put_back, safe_id};
use super::usage::{tier, usage};
use crate::anthropic_messages::served::Names;
use crate::hub::{Answer, Content, Losses, Part, Signature, Stop, StopReason, ToolCall, native_name};
use crate::translate::Reply;

/// Writes an answer.
pub(crate) fn answer(answer: Answer, reply: &Reply, losses: &mut Losses) -> Value {
    let mut choices = answer.choices.into_iter();
    let said = choices.next().unwrap_or_default();
    losses.note_if(choices.next().is_some(), "choices", ONE_ANSWER);
    losses.note_if(said.logprobs.is_some(), "logprobs", NO_LOGPROBS);
    let shape = Shape::of(&said.parts);
    let (mut content, mut names) = (Vec::new(), Names::default());
    for part in said.parts {
        match part.content {
            Content::Deed(deed) => content.push(names.block(*deed, &reply.id, losses)),
            _ => block(part, reply, &mut content, losses),
        }
    }
    let (reason, sequence) = stop(said.stop, shape, answer.extra.origin == Some(OWN), losses);
    let tier = tier(answer.service_tier.as_deref(), losses);
    let mut message = Members::new();
    message.insert("id".to_owned(), id(answer.id, reply).into());
    message.insert("type".to_owned(), "message".into());
    message.insert("role".to_owned(), "assistant".into());
    message.insert("model".to_owned(), model(answer.model, reply).into());
    message.insert("content".to_owned(), content.into());
    message.insert("stop_reason".to_owned(), reason.into());
    message.insert("stop_sequence".to_owned(), sequence.into());
    message.insert(
        "usage".to_owned(),
        json!(usage(&answer.usage.unwrap_or_default(), tier)),
    );
    put_back(&mut message, answer.extra, losses);
    Value::Object(message)
}

/// Why other choices are missing.
pub(super) const ONE_ANSWER: &str = "Anthropic's format has one answer; the first is told";
/// Why log probabilities are missing.
pub(super) const NO_LOGPROBS: &str = "Anthropic's format has none";

/// The answer's id: the provider's, else one of our own.
pub(super) fn id(given: String, reply: &Reply) -> String {
    if given.is_empty() {
        format!("msg_{}", reply.id)
    } else {
        given
    }
}

/// Who answers: what the provider says, else the name that the client asked for.
pub(super) fn model(given: String, reply: &Reply) -> String {
    if given.is_empty() { reply.model.clone() } else { given }
}

/// A call's id: the provider's, else one that is derived from the call of the gateway and the place of the block.
pub(super) fn call_id(call: &ToolCall, reply: &Reply, place: usize) -> String {
    match &call.id {
        Some(id) if !id.is_empty() => safe_id(id),
        _ => format!("toolu_{}_{place}", reply.id),
    }
}

/// What in an answer decides why it ended, where the provider's word leaves that open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// It calls tools of the client.
    pub(super) calls: bool,
    /// The model declined in its own words.
    pub(super) refuses: bool,
}

impl Shape {
    fn of(parts: &[Part]) -> Self {
        let mut shape = Self::default();
        for part in parts {
            shape.see(&part.content);
        }
        shape
    }

    /// Takes a part into account.
    pub(super) fn see(&mut self, content: &Content) {
        self.calls |= matches!(content, Content::ToolCall(_));
        self.refuses |= matches!(content, Content::Refusal(_));
    }
}

/// Why it ended, and the stop sequence that was met.
pub(super) fn stop(stop: Option<Stop>, shape: Shape, is_own: bool, losses: &mut Losses) -> (String, Option<String>) {
    let stop = stop.unwrap_or_else(|| Stop::new(StopReason::End));
    let word = match stop.reason {
        StopReason::End | StopReason::Tool if shape.calls => "tool_use",
        StopReason::End if shape.refuses => "refusal",
        StopReason::End | StopReason::Tool => "end_turn",
        // Some formats say that a stop sequence was met but not which; clients look the sequence up.
        StopReason::Sequence if stop.sequence.is_none() => "end_turn",
        StopReason::Sequence => "stop_sequence",
        StopReason::Length => "max_tokens",
        StopReason::Context => "model_context_window_exceeded",
        StopReason::Filter => "refusal",
        StopReason::Pause => "pause_turn",
        StopReason::Other if is_own && !stop.raw.is_empty() => return (stop.raw, stop.sequence),
        StopReason::Other => {
            losses.note("stop reason", "Anthropic's format has no word for it; told as end_turn");
            "end_turn"
        }
    };
    (word.to_owned(), stop.sequence)
}

/// Writes a part as a block, if it is one in this format.
fn block(part: Part, reply: &Reply, content: &mut Vec<Value>, losses: &mut Losses) {
    let mut seal = part.signature.as_ref().and_then(bare_seal);
    let written = match part.content {
        // An empty text says nothing, and Anthropic refuses it when it is sent back.
        Content::Text { text, citations } if text.is_empty() && citations.is_empty() => {
            // Its seal is worth as much as one on words: Gemini puts it on an empty text where it said nothing after it.
            content.extend(seal.map(seal_block));
            return;
        }
        Content::Text { text, citations } => {
            let cited: Vec<Value> = citations.into_iter().filter_map(|one| citation(one, losses)).collect();
            let mut block = object([("type", "text".into()), ("text", text.into())]);
            if !cited.is_empty() {
                block["citations"] = cited.into();
            }
            block
        }
        Content::Refusal(text) => object([("type", "text".into()), ("text", text.into())]),
        Content::Thinking(thinking) => {
            let signature = thinking.signature.as_ref().map(|seal| seal.for_client(OWN));
            // A seal on the thought itself; see `bare_seal` for the others.
            seal = None;
            if thinking.redacted {
                json!({"type": "redacted_thinking", "data": signature.unwrap_or_default()})
            } else {
                let signature =
                    signature.or_else(|| part.signature.as_ref().map(|seal: &Signature| seal.for_client(OWN)));
                object([
                    ("type", "thinking".into()),
                    ("thinking", thinking.text.into()),
                    ("signature", signature.unwrap_or_default().into()),
                ])
            }
        }
        Content::ToolCall(call) => {
            let place = content.len() + usize::from(seal.is_some());
            json!({
                "type": "tool_use",
                "id": call_id(&call, reply, place),
                "name": call.name,
                "input": blocks::input(&call, losses),
            })
        }
        Content::Native { origin, value } if origin == OWN => value,
        other => {
            note_missing(&other, losses);
            return;
        }
    };
    content.extend(seal.map(seal_block));
    let Value::Object(mut members) = written else {
        content.push(written);
        return;
    };
    put_back(&mut members, part.extra, losses);
    content.push(members.into());
}

/// A thinking block that is nothing but a seal.
fn seal_block(seal: String) -> Value {
    object([
        ("type", "thinking".into()),
        ("thinking", "".into()),
        ("signature", seal.into()),
    ])
}

/// Notes a part that this format's answers have no block for.
pub(super) fn note_missing(content: &Content, losses: &mut Losses) {
    match content {
        Content::Media(_) => losses.note(
            "media in the answer",
            "Anthropic's answers are text, thinking and calls",
        ),
        Content::Native { value, .. } => {
            losses.note(
                native_name(value),
                "only the provider's own format can tell what it did",
            );
        }
        _ => losses.note("a tool's result in the answer", "Anthropic's answers have none"),
    }
}

#[cfg(test)]
mod tests;
