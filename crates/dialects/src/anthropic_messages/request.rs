//! What decides in a request of the Messages format.

use crate::json::{Cursor, Kind, Syntax};
use crate::observation::is_filled;
use crate::request::{Once, RequestFacts, ScanError, Tool};

/// Reads one top-level member.
pub(crate) fn field(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<(), ScanError> {
    let slot = match key {
        b"model" => Once::Model,
        b"stream" => Once::Stream,
        b"max_tokens" => Once::Bound,
        b"messages" => Once::Input,
        b"system" => Once::System,
        b"tools" => Once::Tools,
        b"mcp_servers" => Once::Reference,
        b"container" => Once::OtherReference,
        b"service_tier" => Once::Tier,
        b"stop_sequences" => {
            facts.wants_chat |= is_filled(value)?;
            return Ok(());
        }
        _ => return Ok(value.skip().map(|_| ())?),
    };
    facts.once(slot, key, value)?;
    match slot {
        Once::Model => facts.take_model(value),
        Once::Stream => facts.take_stream(value),
        Once::Bound => facts.take_bound(key, value),
        Once::Tools => facts.take_tools(value, tool),
        Once::Reference => facts.take_reference(value),
        Once::OtherReference => Ok(facts.take_id(value)?),
        Once::Input | Once::System => Ok(facts.walk(value, part)?),
        _ => Ok(value.skip().map(|_| ())?),
    }
}

fn part(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    match key {
        // `source.type`, and the types of blocks that stand for a file.
        b"type" if value.kind()? == Kind::String => {
            let kind = value.string()?;
            facts.by_reference |= kind.is("url") || kind.is("file") || kind.is("container_upload");
            facts.inline_media = facts.inline_media.saturating_add(u32::from(kind.is("base64")));
        }
        // `source.media_type` of a document.
        b"media_type" => facts.by_reference |= value.string_if()?.is_some_and(|text| text.is("application/pdf")),
        b"file_id" => facts.take_id(value)?,
        b"signature" | b"data" => facts.take_seal(value)?,
        b"id" | b"tool_use_id" => facts.take_step(value)?,
        // Arguments of a tool: whatever stands in them is text to the model.
        b"input" => {
            value.skip()?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Who runs such a tool. Those that Anthropic only defines (shell, editor, computer, memory) are run by the client and
/// add a few hundred tokens.
fn tool(kind: &str) -> Tool {
    let by_client = ["bash_", "text_editor_", "computer_", "memory_", "tool_search_"];
    if kind.starts_with("web_search") {
        return Tool::Search;
    }
    Tool::hosted(kind != "custom" && !by_client.iter().any(|prefix| kind.starts_with(prefix)))
}
