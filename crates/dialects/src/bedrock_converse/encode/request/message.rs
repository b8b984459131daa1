//! The conversation: instructions apart, then turns of user and assistant, one after the other, none of them empty.

use std::borrow::Cow;

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::super::super::family::Family;
use super::media::{self, Names};
use super::put;
use crate::hub::{
    BadRequest, CacheMark, Content, Losses, Message, NO_OBJECT, Part, Role, Thinking, ToolCall, ToolResult, nested,
};

/// Characters of a tool call's id:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolUseBlock.html>.
const ID_MAX: usize = 64;

/// A conversation as Bedrock gets it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) system: Vec<Value>,
    pub(super) messages: Vec<Value>,
    /// Tools that were called in it, each once: without their declaration it would be refused.
    pub(super) called: Vec<String>,
    /// Whether the last turn of the assistant calls tools without having thought first.
    pub(super) calls_unthought: bool,
}

impl Told {
    /// A cache point behind everything.
    pub(super) fn cache_end(&mut self, mark: Option<&CacheMark>, family: Family, losses: &mut Losses) {
        let Some(point) = cache_point(mark, family, losses) else {
            return;
        };
        let content = self
            .messages
            .last_mut()
            .and_then(|last| last.get_mut("content")?.as_array_mut());
        if let Some(content) = content {
            content.push(point);
        }
    }

    /// Appends to the last turn if it is the same speaker's.
    fn say(&mut self, role: &'static str, mut blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        if let Some(last) = self.messages.last_mut()
            && last.get("role").and_then(Value::as_str) == Some(role)
            && let Some(content) = last.get_mut("content").and_then(Value::as_array_mut)
        {
            content.append(&mut blocks);
            return;
        }
        self.messages.push(json!({"role": role, "content": blocks}));
    }
}

/// Writes the messages.
pub(super) fn conversation(messages: Vec<Message>, family: Family, losses: &mut Losses) -> Result<Told, BadRequest> {
    let (mut told, mut names) = (Told::default(), Names::default());
    let is_instruction = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let last_instruction = (messages.iter().all(is_instruction)).then(|| messages.len().wrapping_sub(1));
    for (place, mut message) in messages.into_iter().enumerate() {
        if Some(place) == last_instruction {
            losses.note(
                "system",
                "the target demands a turn of the user; the last instruction is told as one",
            );
            message.role = Role::User;
        }
        losses.note_if(
            message.name.is_some(),
            "messages[].name",
            "the format has no names of participants",
        );
        for name in message.extra.members.keys() {
            losses.note(format!("messages[].{name}"), "only the client's format has it");
        }
        match message.role {
            Role::System | Role::Developer => {
                let is_late = !told.messages.is_empty();
                losses.note_if(
                    is_late,
                    "system: place",
                    "instructions stand before the conversation in this format",
                );
                instructions(message.parts, family, &mut told.system, losses);
            }
            Role::User => {
                let blocks = user(message.parts, family, &mut names, losses)?;
                told.say("user", blocks);
            }
            Role::Assistant => assistant(message.parts, family, &mut told, losses),
        }
    }
    for message in &mut told.messages {
        results_first(message);
    }
    if let Some(last) = told.messages.last_mut().filter(|last| last["role"] == "assistant") {
        trim_end(last, losses);
    }
    Ok(told)
}

/// Claude refuses white space at the end of a turn that it shall go on with. Blank texts are never written.
fn trim_end(message: &mut Value, losses: &mut Losses) {
    let blocks = message.get_mut("content").and_then(Value::as_array_mut);
    let mut said = blocks
        .into_iter()
        .flatten()
        .rev()
        .filter(|block| block.get("cachePoint").is_none());
    let Some(Value::String(text)) = said.next().and_then(|block| block.get_mut("text")) else {
        return;
    };
    let length = text.trim_end().len();
    losses.note_if(
        length < text.len(),
        "white space",
        "the target refuses it at the end of a turn that the model shall go on with",
    );
    text.truncate(length);
}

/// A cache point, where the model knows them. How long it lives only Claude can be told.
pub(super) fn cache_point(mark: Option<&CacheMark>, family: Family, losses: &mut Losses) -> Option<Value> {
    let mark = mark?;
    if !family.caches() {
        losses.note("cache_control", "the model knows no cache points");
        return None;
    }
    let mut point = Map::new();
    point.insert("type".to_owned(), "default".into());
    let ttl = mark.ttl.clone().filter(|_| matches!(family, Family::Claude(_)));
    losses.note_if(
        mark.ttl.is_some() && ttl.is_none(),
        "cache_control.ttl",
        "the model has one life for all",
    );
    put(&mut point, "ttl", ttl.map(Value::from));
    Some(json!({"cachePoint": point}))
}

fn instructions(parts: Vec<Part>, family: Family, system: &mut Vec<Value>, losses: &mut Losses) {
    for part in parts {
        match part.content {
            Content::Text { text, .. } if text.trim().is_empty() => {}
            Content::Text { text, .. } => system.push(json!({"text": text})),
            _ => losses.note("system", "instructions are texts in this format"),
        }
        if !system.is_empty() {
            system.extend(cache_point(part.cache.as_ref(), family, losses));
        }
    }
}

fn user(parts: Vec<Part>, family: Family, names: &mut Names, losses: &mut Losses) -> Result<Vec<Value>, BadRequest> {
    let mut blocks = Vec::with_capacity(parts.len());
    for mut part in parts {
        let found = media::search_result(&mut part, family, losses);
        unsaid(&part, losses);
        match part.content {
            _ if found.is_some() => blocks.extend(found.into_iter().flatten()),
            Content::Text { text, .. } | Content::Refusal(text) => blocks.extend(text_block(&text)),
            Content::Media(media) => blocks.push(media::block(media, names, losses)?),
            Content::ToolResult(result) => blocks.push(tool_result(result, family, names, losses)?),
            Content::Native { .. } | Content::Deed(_) => {
                losses.note("content", "something in it only the client's format can say");
            }
            Content::Thinking(_) | Content::ToolCall(_) => {
                losses.note("content", "the model's own words cannot be the user's");
            }
        }
        if !blocks.is_empty() {
            blocks.extend(cache_point(part.cache.as_ref(), family, losses));
        }
    }
    introduce(&mut blocks);
    Ok(blocks)
}

/// A document must have a text beside it; its name is the least that can be said.
fn introduce(blocks: &mut Vec<Value>) {
    let has_text = blocks.iter().any(|block| block.get("text").is_some());
    let document = blocks
        .iter()
        .find_map(|block| block.pointer("/document/name")?.as_str());
    if let (false, Some(name)) = (has_text, document) {
        let text = json!({"text": name});
        blocks.insert(0, text);
    }
}

/// Blank texts are refused.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"text": text}))
}

fn assistant(parts: Vec<Part>, family: Family, told: &mut Told, losses: &mut Losses) {
    let mut blocks = Vec::with_capacity(parts.len());
    let mut calls = false;
    for part in parts {
        unsaid(&part, losses);
        match part.content {
            Content::Text { text, citations } => {
                losses.note_if(
                    !citations.is_empty(),
                    "citations",
                    "those of earlier answers are not sent back",
                );
                blocks.extend(text_block(&text));
            }
            Content::Refusal(text) => blocks.extend(text_block(&text)),
            Content::Thinking(thinking) => blocks.extend(reasoning(&thinking, family, losses)),
            Content::ToolCall(call) => {
                calls = true;
                if !told.called.contains(&call.name) {
                    told.called.push(call.name.clone());
                }
                blocks.push(tool_use(call, losses));
            }
            // "You can include images and documents only if the role is user"
            // (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html>).
            Content::Media(_) => losses.note("media", "what the model made cannot be sent back in this format"),
            Content::ToolResult(_) => losses.note("content", "results of tools are the user's in this format"),
            Content::Native { .. } | Content::Deed(_) => {
                losses.note("content", "something in it only the client's format can say");
            }
        }
        if !blocks.is_empty() {
            blocks.extend(cache_point(part.cache.as_ref(), family, losses));
        }
    }
    let thought = blocks
        .first()
        .is_some_and(|block| block.get("reasoningContent").is_some());
    told.calls_unthought = calls && !thought;
    told.say("assistant", blocks);
}

/// Reasoning goes back only under the seal that Bedrock itself put on it, or Claude elsewhere.
fn reasoning(thinking: &Thinking, family: Family, losses: &mut Losses) -> Option<Value> {
    let seal = thinking.signature.as_ref().and_then(|seal| match family {
        Family::Claude(_) => seal.for_claude(Dialect::BedrockConverse, thinking.redacted),
        _ => seal.for_upstream(Dialect::BedrockConverse).map(Cow::Borrowed),
    });
    match seal {
        Some(seal) if thinking.redacted => Some(json!({"reasoningContent": {"redactedContent": seal}})),
        Some(seal) => Some(json!({"reasoningContent": {"reasoningText": {"text": thinking.text, "signature": seal}}})),
        None => {
            losses.note("thinking", "reasoning without the target's own seal is not taken back");
            None
        }
    }
}

fn tool_use(call: ToolCall, losses: &mut Losses) -> Value {
    let id = tool_id(&call.id.unwrap_or_default());
    let text = call.arguments.trim();
    let input = match nested::object(text) {
        _ if text.is_empty() => json!({}),
        Some(input) if !call.custom => input.into(),
        _ if call.custom => json!({"input": call.arguments}),
        _ => {
            losses.note(
                "tool_calls[].arguments",
                "they are no JSON object and were sent as a text in one",
            );
            json!({NO_OBJECT: call.arguments})
        }
    };
    json!({"toolUse": {"toolUseId": id, "name": call.name, "input": input}})
}

/// Ids are letters, digits, `_` and `-`, at most 64. A longer one keeps its beginning and gets a checksum of the whole.
fn tool_id(id: &str) -> String {
    let plain: String = id
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || "_-".contains(letter) {
                letter
            } else {
                '_'
            }
        })
        .collect();
    if plain.len() <= ID_MAX && plain == id && !id.is_empty() {
        return plain;
    }
    let sum = crc32fast::hash(id.as_bytes());
    let kept = plain.get(..plain.len().min(ID_MAX - 9)).unwrap_or_default();
    format!("{kept}_{sum:08x}")
}

fn tool_result(
    result: ToolResult,
    family: Family,
    names: &mut Names,
    losses: &mut Losses,
) -> Result<Value, BadRequest> {
    let mut content = Vec::with_capacity(result.parts.len());
    for mut part in result.parts {
        if let Some(found) = media::search_result(&mut part, family, losses) {
            content.extend(found);
            continue;
        }
        match part.content {
            Content::Text { text, .. } => content.extend(text_block(&text)),
            Content::Media(media) => content.push(media::block(media, names, losses)?),
            Content::Native { value, .. } => content.push(json!({"text": value.to_string()})),
            _ => losses.note("tool_result", "something in it is neither text nor media"),
        }
    }
    let mut written = Map::new();
    written.insert("toolUseId".to_owned(), tool_id(&result.call).into());
    written.insert("content".to_owned(), content.into());
    if result.is_error == Some(true) {
        if family.knows_failed_tools() {
            written.insert("status".to_owned(), "error".into());
        } else {
            losses.note("tool_result.is_error", "the model is not told that a tool failed");
        }
    }
    Ok(json!({"toolResult": written}))
}

/// Results come before anything else that is said in their turn. A cache point stays behind its block.
fn results_first(message: &mut Value) {
    let Some(content) = message.get_mut("content").and_then(Value::as_array_mut) else {
        return;
    };
    let is_result = |block: &Value| block.get("toolResult").is_some();
    let first_other = content
        .iter()
        .position(|block| !is_result(block) && block.get("cachePoint").is_none());
    let last_result = content.iter().rposition(is_result);
    if !matches!((first_other, last_result), (Some(other), Some(result)) if other < result) {
        return;
    }
    let (mut results, mut others, mut to_results) = (Vec::new(), Vec::new(), false);
    for block in content.drain(..) {
        if block.get("cachePoint").is_none() {
            to_results = is_result(&block);
        }
        if to_results { &mut results } else { &mut others }.push(block);
    }
    content.append(&mut results);
    content.append(&mut others);
}

fn unsaid(part: &Part, losses: &mut Losses) {
    losses.note_if(
        part.signature.is_some(),
        "thought_signature",
        "the target has no place for it",
    );
    for name in part.extra.unsaid() {
        losses.note(format!("content[].{name}"), "only the client's format has it");
    }
}
