//! The conversation: instructions apart, then the contents by turns.
//!
//! Gemini wants a model's turn that calls functions directly after a user's, and the results of all its calls in one turn
//! directly after it; so neighbours of one role that call or answer become one. Everything else stays as it came.
//!
//! Gemini 3 refuses a step's first function call without a seal. Seals that a foreign client could only keep on the
//! thinking before the call go back onto the call; calls that Gemini never made, or whose seal is lost, get the value that
//! Google documents for exactly this (<https://ai.google.dev/gemini-api/docs/thought-signatures>).

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::model::{Generation, Model};
use super::part::{self, To};
use super::{put, restore};
use crate::gemini::response;
use crate::hub::{BadRequest, Content, Losses, Media, MediaKind, Message, Part, Role, Signature, Source, ToolResult};

/// Accepted by the Gemini API and by Vertex in place of a seal.
const NO_SEAL: &str = "skip_thought_signature_validator";

/// The two places of a conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) system: Option<Value>,
    pub(super) contents: Vec<Value>,
}

/// Writes the messages.
pub(super) fn conversation(
    messages: Vec<Message>,
    model: Model,
    losses: &mut Losses,
) -> Result<Conversation, BadRequest> {
    let mut instructions = Vec::new();
    let mut turns: Vec<Message> = Vec::new();
    for message in messages {
        losses.note_if(
            message.name.is_some(),
            "name",
            "Gemini does not tell participants apart",
        );
        match message.role {
            Role::System | Role::Developer => {
                losses.note_if(
                    !turns.is_empty(),
                    "instructions in the conversation",
                    "Gemini has them at the beginning only; they are moved there",
                );
                instruct(message, losses, &mut instructions)?;
            }
            Role::User | Role::Assistant => match turns.last_mut() {
                Some(last) if belong(last, &message) => {
                    last.parts.extend(message.parts);
                    restore_into(last, message.extra, losses);
                }
                _ => turns.push(message),
            },
        }
    }
    let mut contents = Vec::new();
    for turn in turns {
        contents.extend(content(turn, model, losses)?);
    }
    if contents.is_empty() && !instructions.is_empty() {
        // A request without contents is refused, one of an empty text is not.
        contents.push(turn_of("user", vec![json!({"text": ""})]));
    }
    let mut system = Map::new();
    put(&mut system, "parts", (!instructions.is_empty()).then_some(instructions));
    Ok(Conversation {
        system: (!system.is_empty()).then_some(Value::Object(system)),
        contents,
    })
}

fn turn_of(role: &str, parts: Vec<Value>) -> Value {
    let mut members = Map::new();
    members.insert("role".to_owned(), role.into());
    members.insert("parts".to_owned(), parts.into());
    Value::Object(members)
}

fn instruct(message: Message, losses: &mut Losses, out: &mut Vec<Value>) -> Result<(), BadRequest> {
    for part in message.parts {
        if part.as_text().is_some() {
            part::write(part, To::Upstream, losses, out)?;
        } else {
            losses.note("instructions", "Gemini takes only texts as instructions");
        }
    }
    let mut nothing = Map::new();
    restore(&mut nothing, message.extra, losses);
    Ok(())
}

/// Whether two neighbours must be one turn.
fn belong(last: &Message, next: &Message) -> bool {
    let has = |message: &Message, what: fn(&Part) -> bool| message.parts.iter().any(what);
    let calls = |part: &Part| matches!(part.content, Content::ToolCall(_));
    let answers = |part: &Part| matches!(part.content, Content::ToolResult(_));
    last.role == next.role
        && match next.role {
            Role::Assistant => has(last, calls) || has(next, calls),
            _ => has(last, answers) && has(next, answers),
        }
}

fn restore_into(last: &mut Message, extra: crate::hub::Extra, losses: &mut Losses) {
    if extra.origin == Some(Dialect::Gemini) {
        last.extra.origin = extra.origin;
        last.extra.members.extend(extra.members);
    } else {
        restore(&mut Map::new(), extra, losses);
    }
}

fn content(mut turn: Message, model: Model, losses: &mut Losses) -> Result<Option<Value>, BadRequest> {
    let is_model = turn.role == Role::Assistant;
    if is_model {
        seal(&mut turn.parts, model, losses);
    }
    let (mut parts, mut after) = (Vec::new(), Vec::new());
    for part in turn.parts {
        match part.content {
            Content::ToolResult(_) => answered(part, model, losses, &mut parts, &mut after)?,
            _ => part::write(part, To::Upstream, losses, &mut parts)?,
        }
    }
    parts.append(&mut after);
    if parts.is_empty() {
        return Ok(None);
    }
    let mut members = Map::new();
    restore(&mut members, turn.extra, losses);
    let mut content = turn_of(if is_model { "model" } else { "user" }, parts);
    if let Value::Object(content) = &mut content {
        content.extend(members);
    }
    Ok(Some(content))
}

/// Gives the first call of a turn a seal, if Gemini wants one and it has none.
fn seal(parts: &mut [Part], model: Model, losses: &mut Losses) {
    let is_own = |seal: &Option<Signature>| seal.as_ref().is_some_and(|seal| seal.origin == Dialect::Gemini);
    let Some(at) = parts
        .iter()
        .position(|part| matches!(part.content, Content::ToolCall(_)))
    else {
        return;
    };
    let (before, from) = parts.split_at_mut(at);
    let Some(call) = from.first_mut().filter(|call| !is_own(&call.signature)) else {
        return;
    };
    let kept = before.iter_mut().rev().find_map(|part| match &mut part.content {
        Content::Thinking(thinking) if is_own(&thinking.signature) => thinking.signature.take(),
        _ => None,
    });
    if kept.is_none() && model.generation != Generation::Level {
        return;
    }
    losses.note_if(
        call.signature.is_some(),
        "thought_signature",
        "it is the seal of another provider",
    );
    call.signature = kept.or_else(|| {
        Some(Signature {
            origin: Dialect::Gemini,
            value: NO_SEAL.to_owned(),
        })
    });
}

/// Writes what a function said. Media that cannot stand inside come after the last result.
fn answered(
    part: Part,
    model: Model,
    losses: &mut Losses,
    parts: &mut Vec<Value>,
    after: &mut Vec<Value>,
) -> Result<(), BadRequest> {
    let Content::ToolResult(result) = part.content else {
        return Ok(());
    };
    losses.note_if(part.cache.is_some(), "cache_control", "Gemini caches by itself");
    let is_own = part.extra.origin == Some(Dialect::Gemini);
    let ToolResult {
        call,
        name,
        parts: said,
        is_error,
        ..
    } = result;
    let (mut texts, mut inside) = (Vec::new(), Vec::new());
    for mut part in said {
        match part.content {
            Content::Text { text, .. } | Content::Refusal(text) => texts.push(text),
            // What the client's tool said in words of its own format (`tool_reference`) is said all the same.
            Content::Native { origin, value } if origin != Dialect::Gemini => texts.push(value.to_string()),
            Content::Media(media) if is_own || fits_inside(&media, model) => {
                let mut members = Map::new();
                let (field, blob) = part::blob(media, is_own, losses)?;
                members.insert(field.to_owned(), blob);
                restore(&mut members, part.extra, losses);
                inside.push(Value::Object(members));
            }
            content => {
                losses.note_if(
                    matches!(content, Content::Media(_)),
                    "tool_result: media",
                    "a result has no place for it; it stands beside",
                );
                part.content = content;
                part::write(part, To::Upstream, losses, after)?;
            }
        }
    }
    let mut members = Map::new();
    put(&mut members, "id", Some(call.clone()).filter(|id| !id.is_empty()));
    // A result without a name is refused; where nobody knows it, the call's id is the best there is.
    members.insert("name".to_owned(), if name.is_empty() { call } else { name }.into());
    members.insert("response".to_owned(), response::write(&texts.join("\n"), is_error));
    put(&mut members, "parts", (!inside.is_empty()).then_some(inside));
    let mut whole = Map::new();
    whole.insert("functionResponse".to_owned(), Value::Object(members));
    put(
        &mut whole,
        "thoughtSignature",
        To::Upstream.seal(part.signature.as_ref(), losses),
    );
    restore(&mut whole, part.extra, losses);
    parts.push(Value::Object(whole));
    Ok(())
}

/// Since Gemini 3 results may hold pictures and documents (<https://ai.google.dev/gemini-api/docs/function-calling>).
fn fits_inside(media: &Media, model: Model) -> bool {
    model.generation == Generation::Level
        && matches!(media.source, Source::Base64(_))
        && match media.kind {
            MediaKind::Image => true,
            MediaKind::Document => matches!(media.mime.as_str(), "application/pdf" | "text/plain"),
            MediaKind::Audio | MediaKind::Video => false,
        }
}
