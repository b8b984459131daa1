//! A whole answer. What a provider says beyond its own grammar never makes an answer unreadable: an item that cannot be
//! read as what it says it is passes as it came.

use serde_json::{Map, Value};

use super::super::names::Names;
use super::super::{SELF, echo, list_of, text_of};
use super::content;
use super::item;
use super::media;
use crate::answer::Nonsense;
use crate::hub::{Answer, Choice, Content, Extra, Fields, Part, Stop, StopReason};
use crate::provider_error::ProviderError;

/// Members that are told in other ways, or that repeat what is.
const KNOWN: [&str; 10] = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "error",
    "incomplete_details",
    "model",
    "output",
    "usage",
];

/// Reads an answer.
pub(crate) fn answer(body: &[u8]) -> Result<Answer, Nonsense> {
    let mut members = match Fields::parse(body) {
        Ok(fields) => fields.into_map(),
        Err(_) => {
            return Err(Nonsense::NotJson {
                offset: 0,
                what: "expected an object",
            });
        }
    };
    failure(&members)?;
    let mut said = Choice::default();
    let mut logprobs = Vec::new();
    for item in items(&mut members) {
        logprobs.extend(content::logprobs(&item));
        said.parts.extend(parts(item));
    }
    if !logprobs.is_empty() {
        said.logprobs = Some(serde_json::json!({ "content": logprobs }));
    }
    said.stop = stop(&members, asks_tool(&said.parts));
    Ok(Answer {
        id: text(&members, "id"),
        model: text(&members, "model"),
        created: created(&members),
        choices: vec![said],
        usage: None,
        service_tier: None,
        extra: extra(members),
    })
}

/// The items of a response object.
pub(super) fn items(response: &mut Map<String, Value>) -> Vec<Value> {
    match response.remove("output") {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// A text member; empty where there is none.
pub(super) fn text(response: &Map<String, Value>, name: &str) -> String {
    let text = response.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// When it was made. Some say it with a fraction.
pub(super) fn created(response: &Map<String, Value>) -> Option<i64> {
    let created = response.get("created_at")?;
    created
        .as_i64()
        .or_else(|| created.as_f64().map(|seconds| seconds as i64))
}

/// What no other family has a word for. Settings that are repeated, and members without a value, say nothing.
pub(super) fn extra(mut response: Map<String, Value>) -> Extra {
    response.retain(|name, value| !value.is_null() && !KNOWN.contains(&name.as_str()) && !echo::is_repeated(name));
    Extra {
        origin: (!response.is_empty()).then_some(SELF),
        members: response,
    }
}

/// An answer that says of itself that it failed is none.
pub(super) fn failure(response: &Map<String, Value>) -> Result<(), Nonsense> {
    let error = response.get("error").filter(|error| !error.is_null());
    let has_failed = response.get("status").and_then(Value::as_str) == Some("failed");
    if error.is_none() && !has_failed {
        return Ok(());
    }
    let text = error.map(Value::to_string).unwrap_or_default();
    Err(Nonsense::Error(ProviderError::read(text.as_bytes()).reported()))
}

/// Why a response ended; `None`: it has not.
pub(super) fn stop(response: &Map<String, Value>, asks_tool: bool) -> Option<Stop> {
    let status = response.get("status").and_then(Value::as_str).unwrap_or("completed");
    let why = response.get("incomplete_details");
    let why = why.and_then(|details| text_of(details, "reason"));
    let reason = match (status, why) {
        ("queued" | "in_progress", _) => return None,
        (_, Some("max_output_tokens")) => StopReason::Length,
        (_, Some("content_filter")) => StopReason::Filter,
        ("incomplete" | "cancelled", _) | (_, Some(_)) => StopReason::Other,
        // Some servers say `complete`.
        _ if asks_tool => StopReason::Tool,
        _ => StopReason::End,
    };
    Some(Stop {
        raw: why.unwrap_or(status).to_owned(),
        ..Stop::new(reason)
    })
}

/// Whether the client has to run something.
pub(super) fn asks_tool(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)))
}

/// What an item of an answer says. A reasoning item in which there is nothing to read and nothing sealed says nothing.
pub(super) fn parts(item: Value) -> Vec<Part> {
    match text_of(&item, "type") {
        Some("message") => message(item),
        Some("reasoning") => {
            let read = Fields::of("", item.clone()).and_then(|mut fields| {
                fields.take("type");
                content::thinking(fields)
            });
            let is_empty = |part: &Part| match &part.content {
                Content::Thinking(thinking) => thinking.text.is_empty() && thinking.signature.is_none(),
                _ => false,
            };
            match read {
                Ok((parts, _)) => parts.into_iter().filter(|part| !is_empty(part)).collect(),
                Err(_) => vec![native(item)],
            }
        }
        Some(kind @ ("function_call" | "custom_tool_call")) => {
            let custom = kind == "custom_tool_call";
            let mut fields = Fields::of("", item.clone());
            if let Ok(fields) = &mut fields {
                // It follows from the event, or from the answer's.
                fields.take("status");
            }
            let call = fields.and_then(|fields| item::call(fields, custom, &Names::default()));
            vec![call.unwrap_or_else(|_| native(item))]
        }
        Some("image_generation_call") => vec![media::made(item)],
        _ => vec![native(item)],
    }
}

pub(super) fn native(value: Value) -> Part {
    let item = text_of(&value, "id").map(str::to_owned);
    let mut part = Part::new(Content::Native { origin: SELF, value });
    part.item = item;
    part
}

/// The parts of a message; what is said of the message as a whole goes with the first.
fn message(item: Value) -> Vec<Part> {
    let id = text_of(&item, "id").map(str::to_owned);
    let mut parts: Vec<Part> = list_of(&item, "content")
        .iter()
        .map(|part| {
            let read = content::part(part.clone(), String::new());
            read.unwrap_or_else(|_| content::native(part.clone()))
        })
        .collect();
    for part in &mut parts {
        part.item.clone_from(&id);
    }
    if let Some(first) = parts.first_mut() {
        let about = about_message(item);
        if !about.members.is_empty() {
            first.extra.origin = Some(SELF);
            first.extra.members.extend(about.members);
        }
    }
    parts
}

/// What is said of a message as a whole (`phase`). Its status follows from the answer's.
pub(super) fn about_message(item: Value) -> Extra {
    let Value::Object(mut members) = item else {
        return Extra::default();
    };
    let told = ["type", "id", "role", "content", "status"];
    members.retain(|name, value| !value.is_null() && !told.contains(&name.as_str()));
    Extra {
        origin: (!members.is_empty()).then_some(SELF),
        members,
    }
}
