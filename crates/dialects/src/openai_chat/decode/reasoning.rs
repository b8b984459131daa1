//! Reasoning, for which this format has no word of its own, and every server another one.
//!
//! `reasoning_content` (DeepSeek and most), `reasoning` (OpenRouter, Groq, Ollama), `reasoning_details` (OpenRouter: with
//! seals), lists of `thinking` parts (Mistral). Where several stand side by side they say the same.

use serde_json::Value;

use crate::hub::{BadRequest, Content, Fields, Part, Thinking};
use crate::openai_chat::detail;

/// The reasoning of a message.
pub(super) fn parts(fields: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    let plain = plain(fields);
    let details = fields.list("reasoning_details")?;
    let mut parts: Vec<Part> = Vec::new();
    for entry in details {
        if let Value::Object(entry) = entry
            && !detail::is_empty(&entry)
        {
            parts.push(Part::new(Content::Thinking(detail::read(entry))));
        }
    }
    let told = parts
        .iter()
        .any(|part| matches!(&part.content, Content::Thinking(thinking) if !thinking.text.is_empty()));
    if !told && !plain.is_empty() {
        parts.insert(
            0,
            Part::new(Content::Thinking(Thinking {
                text: plain,
                ..Thinking::default()
            })),
        );
    }
    Ok(parts)
}

/// The plain text, under whichever name.
pub(super) fn plain(fields: &mut Fields) -> String {
    let mut found = String::new();
    for name in ["reasoning_content", "reasoning"] {
        if let Some(Value::String(text)) = fields.take(name)
            && found.is_empty()
        {
            found = text;
        }
    }
    found
}

/// Mistral: `thinking: [{type: text, text}]`.
pub(super) fn mistral(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        Some(Value::Array(items)) => items.iter().filter_map(|item| item.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}
