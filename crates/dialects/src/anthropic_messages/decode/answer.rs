//! An upstream's whole answer.

use serde_json::Value;

use super::blocks::{parts, rest};
use crate::answer::Nonsense;
use crate::hub::{Answer, BadRequest, Choice, Fields, Stop, StopReason};

/// Reads an answer.
pub(crate) fn answer(body: &[u8]) -> Result<Answer, Nonsense> {
    let mut fields = Fields::parse(body).map_err(|_| Nonsense::Lacks("an object"))?;
    if !fields.has("content") {
        return Err(Nonsense::Lacks("content"));
    }
    read(&mut fields)
        .map(|mut answer| {
            answer.extra = rest(fields);
            answer
        })
        .map_err(|_| Nonsense::Lacks("well-formed content"))
}

fn read(fields: &mut Fields) -> Result<Answer, BadRequest> {
    let blocks = fields.list("content")?;
    let parts = parts("content", blocks)?;
    let reason = fields.text("stop_reason")?;
    let sequence = fields.text("stop_sequence")?;
    // `usage` is told by what the tap saw; the others are the same in every answer.
    for name in ["usage", "type", "role", "stop_reason", "stop_sequence"] {
        fields.take(name);
    }
    Ok(Answer {
        id: fields.text("id")?.unwrap_or_default(),
        model: fields.text("model")?.unwrap_or_default(),
        choices: vec![Choice {
            parts,
            stop: reason.map(|raw| stop(raw, sequence)),
            logprobs: None,
        }],
        ..Answer::default()
    })
}

/// Why it ended.
pub(super) fn stop(raw: String, sequence: Option<String>) -> Stop {
    let reason = match raw.as_str() {
        "end_turn" => StopReason::End,
        "stop_sequence" => StopReason::Sequence,
        "max_tokens" => StopReason::Length,
        "model_context_window_exceeded" => StopReason::Context,
        "tool_use" => StopReason::Tool,
        "refusal" => StopReason::Filter,
        "pause_turn" => StopReason::Pause,
        _ => StopReason::Other,
    };
    Stop { reason, sequence, raw }
}

/// The members of a message that every message has, or that are told otherwise.
pub(super) fn is_common(name: &str) -> bool {
    matches!(
        name,
        "id" | "model" | "type" | "role" | "content" | "stop_reason" | "stop_sequence" | "usage"
    )
}

/// A member's text, if it is one.
pub(super) fn text(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}
