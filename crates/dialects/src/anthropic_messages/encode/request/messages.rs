//! The conversation: system blocks at the top, then turns of user and assistant by turns.
//!
//! Instructions before the first turn go to `system`; later ones become a text of the user's, since only the newest models
//! take a system turn, and those only at some places. Neighbours of one role are one turn. Results of tools stand first
//! in their turn and thoughts first in a turn that calls tools, as Anthropic demands.

use serde_json::{Value, json};

use super::ids::Ids;
use super::parts::{self, Writer};
use crate::anthropic_messages::encode::blocks::{Members, put_back};
use crate::hub::{BadRequest, Extra, Losses, Message, Role};

/// The conversation in this format.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) system: Vec<Value>,
    pub(super) messages: Vec<Value>,
    /// The model's last turn calls tools and does not begin with a thought.
    pub(super) lacks_thoughts: bool,
}

/// A turn that may still grow.
#[derive(Debug)]
struct Turn {
    is_assistant: bool,
    blocks: Vec<Value>,
    extra: Vec<Extra>,
}

/// Writes the messages.
pub(super) fn encode(
    messages: Vec<Message>,
    is_own: bool,
    ids: &mut Ids,
    losses: &mut Losses,
) -> Result<Turns, BadRequest> {
    let mut leading = messages.iter().take_while(|message| is_instruction(message)).count();
    if leading == messages.len() && leading > 0 {
        losses.note(
            "system",
            "Anthropic demands a turn of the user; the last instruction is told as one",
        );
        leading -= 1;
    }
    let mut writer = Writer {
        ids,
        losses,
        may_omit: false,
        refused: None,
    };
    let mut turns = Turns::default();
    let mut open: Vec<Turn> = Vec::new();
    for (place, message) in messages.into_iter().enumerate() {
        if place < leading {
            note_name(&message, writer.losses);
            turns.system.extend(writer.texts(message.parts));
            note_extra(message.extra, writer.losses);
        } else {
            take(message, leading > 0 && place == leading, &mut writer, &mut open);
        }
    }
    if let Some(refused) = writer.refused.take() {
        return Err(refused);
    }
    let last = open.len().saturating_sub(1);
    for (place, mut turn) in open.into_iter().enumerate() {
        arrange(&mut turn, is_own);
        if turn.is_assistant {
            turns.lacks_thoughts = calls_tools(&turn.blocks) && !turn.blocks.first().is_some_and(is_thought);
            if place == last {
                trim_end(&mut turn.blocks, writer.losses);
            }
        }
        if !turn.blocks.is_empty() {
            turns.messages.push(finish(turn, writer.losses));
        }
    }
    Ok(turns)
}

fn is_instruction(message: &Message) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}

fn note_name(message: &Message, losses: &mut Losses) {
    losses.note_if(
        message.name.is_some(),
        "messages[].name",
        "Anthropic's participants have no names",
    );
}

fn note_extra(extra: Extra, losses: &mut Losses) {
    for (name, _) in extra.members {
        losses.note(name, "instructions of Anthropic's format have no such member");
    }
}

/// Adds a message to the turn of its role.
fn take(message: Message, is_noted: bool, writer: &mut Writer<'_>, open: &mut Vec<Turn>) {
    note_name(&message, writer.losses);
    writer.losses.note_if(
        is_instruction(&message) && !is_noted,
        "system message",
        "Anthropic takes instructions at the beginning; one that came later is told as the user's text",
    );
    let is_assistant = message.role == Role::Assistant;
    let blocks = if is_instruction(&message) {
        writer.texts(message.parts)
    } else {
        writer.blocks(message.parts, is_assistant)
    };
    match open.last_mut() {
        Some(turn) if turn.is_assistant == is_assistant => {
            turn.blocks.extend(blocks);
            turn.extra.push(message.extra);
        }
        _ => open.push(Turn {
            is_assistant,
            blocks,
            extra: vec![message.extra],
        }),
    }
}

/// Puts first what must stand first. Anthropic's own words stand as they came: its thoughts may not be moved.
fn arrange(turn: &mut Turn, is_own: bool) {
    if !turn.is_assistant {
        // A stable sort: results first, the rest as it was.
        turn.blocks.sort_by_key(|block| !parts::is(block, "tool_result"));
    } else if !is_own && calls_tools(&turn.blocks) && !turn.blocks.first().is_some_and(is_thought) {
        turn.blocks.sort_by_key(|block| !is_thought(block));
    }
}

fn is_thought(block: &Value) -> bool {
    parts::is(block, "thinking") || parts::is(block, "redacted_thinking")
}

fn calls_tools(blocks: &[Value]) -> bool {
    blocks.iter().any(|block| parts::is(block, "tool_use"))
}

/// Anthropic refuses white space at the end of a turn that the model shall go on with.
fn trim_end(blocks: &mut Vec<Value>, losses: &mut Losses) {
    let Some(Value::String(text)) = blocks.last_mut().and_then(|block| block.get_mut("text")) else {
        return;
    };
    let length = text.trim_end().len();
    losses.note_if(
        length < text.len(),
        "white space",
        "Anthropic refuses it at the end of a turn that the model shall go on with",
    );
    text.truncate(length);
    if text.is_empty() {
        blocks.pop();
    }
}

fn finish(turn: Turn, losses: &mut Losses) -> Value {
    let role = if turn.is_assistant { "assistant" } else { "user" };
    let mut message = Members::new();
    message.insert("role".to_owned(), role.into());
    message.insert("content".to_owned(), json!(turn.blocks));
    for extra in turn.extra {
        put_back(&mut message, extra, losses);
    }
    message.into()
}
