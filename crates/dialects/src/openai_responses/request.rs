//! What decides in a request of the Responses format.

use crate::conversation::REFERENCE;
use crate::json::{Cursor, Kind, Syntax};
use crate::openai_chat;
use crate::request::{Once, RequestFacts, ScanError, Tool};

/// Reads one top-level member.
pub(crate) fn field(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<(), ScanError> {
    let slot = match key {
        b"model" => Once::Model,
        b"stream" => Once::Stream,
        b"max_output_tokens" => Once::Bound,
        b"max_completion_tokens" => Once::OtherBound,
        b"max_tokens" => Once::ThirdBound,
        b"input" => Once::Input,
        b"tools" => Once::Tools,
        b"previous_response_id" => Once::Reference,
        b"conversation" => Once::OtherReference,
        b"service_tier" => Once::Tier,
        b"background" => Once::Background,
        b"store" => Once::Keep,
        // A stored prompt, by its id.
        b"prompt" => Once::System,
        _ => return Ok(value.skip().map(|_| ())?),
    };
    facts.once(slot, key, value)?;
    match slot {
        Once::Model => facts.take_model(value),
        Once::Stream => facts.take_stream(value),
        Once::Bound | Once::OtherBound | Once::ThirdBound => facts.take_bound(key, value),
        Once::Tools => facts.take_tools(value, tool),
        Once::Reference => facts.take_previous(value),
        Once::OtherReference => Ok(facts.take_id(value)?),
        Once::System => facts.take_reference(value),
        Once::Background => {
            facts.background = RequestFacts::flag(value)?.unwrap_or_default();
            Ok(())
        }
        Once::Keep => {
            facts.keep = RequestFacts::flag(value)?.unwrap_or(true);
            Ok(())
        }
        Once::Input => Ok(facts.walk(value, part)?),
        _ => Ok(value.skip().map(|_| ())?),
    }
}

fn part(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    if key == b"type" && value.kind()? == Kind::String {
        let is_reference = value.string()?.is(REFERENCE);
        if is_reference {
            facts.name_item();
        }
        facts.expect_item(is_reference);
        return Ok(true);
    }
    if key == b"id" && facts.expects_item() {
        facts.take_item(value)?;
        return Ok(true);
    }
    if key == b"id" {
        facts.take_step(value)?;
        return Ok(true);
    }
    // What a tool was asked to do, and the addresses of what it found: none is read again.
    if key == b"action" {
        value.skip()?;
        return Ok(true);
    }
    if key == b"encrypted_content" {
        facts.take_seal(value)?;
        return Ok(true);
    }
    openai_chat::request::part(facts, key, value)
}

fn tool(kind: &str) -> Tool {
    if kind.starts_with("web_search") {
        return Tool::Search;
    }
    let by_client = [
        "function",
        "custom",
        "local_shell",
        "shell",
        "apply_patch",
        "namespace",
        "tool_search",
    ];
    Tool::hosted(!(by_client.contains(&kind) || kind.starts_with("computer")))
}
