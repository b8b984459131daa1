//! What decides in a request of the classic `OpenAI` formats.

use domain::Operation;

use crate::json::{Cursor, Kind, Syntax};
use crate::request::{Once, RequestFacts, ScanError, Tool};

/// Reads one top-level member.
pub(crate) fn field(
    facts: &mut RequestFacts,
    operation: Operation,
    key: &[u8],
    value: &mut Cursor<'_>,
) -> Result<(), ScanError> {
    let slot = match key {
        b"model" => Once::Model,
        b"stream" => Once::Stream,
        b"stream_options" => Once::StreamOptions,
        b"max_tokens" => Once::Bound,
        b"max_completion_tokens" => Once::OtherBound,
        b"max_output_tokens" => Once::ThirdBound,
        b"n" => Once::Choices,
        b"best_of" => Once::BestOf,
        b"messages" | b"input" | b"prompt" => Once::Input,
        b"tools" => Once::Tools,
        b"web_search_options" => Once::Reference,
        b"service_tier" => Once::Tier,
        b"functions" => {
            facts.tools |= crate::observation::is_filled(value)?;
            return Ok(());
        }
        b"store" => {
            facts.stores |= RequestFacts::flag(value)? == Some(true);
            return Ok(());
        }
        _ => return Ok(value.skip().map(|_| ())?),
    };
    facts.once(slot, key, value)?;
    match slot {
        Once::Model => facts.take_model(value),
        Once::Stream => facts.take_stream(value),
        Once::StreamOptions => facts.take_stream_options(value),
        Once::Bound | Once::OtherBound | Once::ThirdBound => facts.take_bound(key, value),
        Once::Choices | Once::BestOf => facts.take_choices(key, value),
        Once::Tools => facts.take_tools(value, tool),
        Once::Reference => {
            facts.offer_search(value.kind()? != Kind::Null);
            facts.take_reference(value)
        }
        Once::Input if operation == Operation::Completions => facts.take_prompts(value),
        Once::Input => Ok(facts.walk(value, part)?),
        _ => Ok(value.skip().map(|_| ())?),
    }
}

/// Looks at a member inside messages; Responses has the same parts under other types.
pub(crate) fn part(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    match key {
        b"image_url" | b"video_url" | b"audio_url" => {
            // Either the URL itself or an object that holds it.
            if value.kind()? == Kind::Object {
                return Ok(false);
            }
            facts.take_url(value)?;
        }
        b"url" | b"file_url" => facts.take_url(value)?,
        b"file_id" => facts.take_id(value)?,
        // Of `reasoning_details`.
        b"data" | b"signature" => facts.take_seal(value)?,
        b"file_data" => facts.by_reference |= crate::observation::is_filled(value)?,
        b"input_audio" => {
            let filled = crate::observation::is_filled(value)?;
            facts.inline_media = facts.inline_media.saturating_add(u32::from(filled));
        }
        b"arguments" | b"parameters" | b"logprobs" => {
            value.skip()?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn tool(kind: &str) -> Tool {
    if kind.starts_with("web_search") {
        return Tool::Search;
    }
    Tool::hosted(!matches!(kind, "function" | "custom"))
}
