//! What decides in a request of Gemini's format.
//!
//! The path names the model and whether to stream. Protobuf's JSON takes every field in `camelCase` and in
//! `snake_case`, so each is looked for under both names, and both together are a duplicate.

use crate::json::{Cursor, Kind, Syntax};
use crate::observation::is_filled;
use crate::request::{Once, RequestFacts, ScanError};

/// Tools that search and are billed by the piece.
const SEARCHES: [&[u8]; 6] = [
    b"googleSearch",
    b"google_search",
    b"googleSearchRetrieval",
    b"google_search_retrieval",
    b"enterpriseWebSearch",
    b"enterprise_web_search",
];

/// Reads one top-level member.
pub(crate) fn field(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<(), ScanError> {
    let slot = match key {
        b"model" => Once::Model,
        b"generationConfig" | b"generation_config" => Once::Bound,
        b"contents" | b"content" => Once::Input,
        b"systemInstruction" | b"system_instruction" => Once::System,
        b"tools" => Once::Tools,
        b"cachedContent" | b"cached_content" => Once::Reference,
        b"requests" => Once::Choices,
        b"generateContentRequest" | b"generate_content_request" => Once::OtherReference,
        b"serviceTier" | b"service_tier" => Once::Tier,
        _ => return Ok(value.skip().map(|_| ())?),
    };
    facts.once(slot, key, value)?;
    match slot {
        Once::Model => facts.note_model(value),
        Once::Bound => generation_config(facts, value),
        Once::Tools => Ok(tools(facts, value)?),
        Once::Reference => Ok(facts.take_id(value)?),
        Once::Input | Once::System => Ok(facts.walk(value, part)?),
        Once::Choices => batch(facts, value),
        Once::OtherReference => request(facts, value),
        _ => Ok(value.skip().map(|_| ())?),
    }
}

fn generation_config(facts: &mut RequestFacts, value: &mut Cursor<'_>) -> Result<(), ScanError> {
    value.object_if(|key, member| match key {
        b"maxOutputTokens" | b"max_output_tokens" => facts.take_bound(key, member),
        b"candidateCount" | b"candidate_count" => {
            facts.take_choices(key, member)?;
            facts.wants_chat |= facts.choices > 1;
            Ok(())
        }
        // A seed of 0 is one too.
        b"seed" => {
            facts.wants_chat |= member.kind()? != Kind::Null;
            Ok(member.skip().map(|_| ())?)
        }
        b"stopSequences" | b"stop_sequences" | b"presencePenalty" | b"presence_penalty" | b"frequencyPenalty"
        | b"frequency_penalty" | b"speechConfig" | b"speech_config" => {
            facts.wants_chat |= is_filled(member)?;
            Ok(())
        }
        b"responseModalities" | b"response_modalities" => {
            member.array_if(|modality| {
                facts.wants_chat |= modality.string_if()?.is_some_and(|text| text.is("AUDIO"));
                Ok::<(), Syntax>(())
            })?;
            Ok(())
        }
        _ => Ok(member.skip().map(|_| ())?),
    })?;
    Ok(())
}

/// `batchEmbedContents`: requests in a list, each with its model.
fn batch(facts: &mut RequestFacts, value: &mut Cursor<'_>) -> Result<(), ScanError> {
    value.array_if(|element| request(facts, element))?;
    Ok(())
}

/// A request inside a request.
fn request(facts: &mut RequestFacts, value: &mut Cursor<'_>) -> Result<(), ScanError> {
    value.object_if(|key, member| match key {
        b"model" => facts.note_model(member),
        b"tools" => Ok(tools(facts, member)?),
        b"cachedContent" | b"cached_content" => Ok(facts.take_id(member)?),
        _ => Ok(facts.walk(member, part)?),
    })?;
    Ok(())
}

/// Whether it is a document or a film, of which the bytes say nothing about the tokens; and whether it is sound.
fn kind_of(blob: &mut Cursor<'_>) -> Result<(bool, bool), Syntax> {
    let mut found = (false, false);
    blob.object_if(|key, member| {
        if matches!(key, b"mimeType" | b"mime_type") {
            let kind = member.string_if()?.map(|text| text.decode());
            let kind = kind.as_deref().unwrap_or_default();
            found.0 |= kind.starts_with("application/") || kind.starts_with("video/");
            found.1 |= kind.starts_with("audio/");
        } else {
            member.skip()?;
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(found)
}

fn part(facts: &mut RequestFacts, key: &[u8], value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    match key {
        b"fileData" | b"file_data" => {
            facts.by_reference |= is_filled(&mut value.clone())?;
            file(facts, value)?;
        }
        b"inlineData" | b"inline_data" => {
            let (is_document, is_sound) = kind_of(&mut value.clone())?;
            facts.by_reference |= is_document;
            facts.wants_chat |= is_sound;
            facts.inline_media = facts.inline_media.saturating_add(u32::from(is_filled(value)?));
        }
        b"thoughtSignature" | b"thought_signature" => facts.take_seal(value)?,
        // Arguments and results of functions: text to the model.
        b"args" | b"response" => {
            value.skip()?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A file of the provider's own is named by its URL, which ends with its name.
fn file(facts: &mut RequestFacts, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        if !matches!(key, b"fileUri" | b"file_uri") {
            return member.skip().map(|_| ());
        }
        if let Some(text) = member.string_if()? {
            let url = text.decode();
            if let Some((_, name)) = url.rsplit_once("/files/") {
                facts.name(&format!("files/{name}"));
            }
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

/// A tool is a declaration of functions, or one that Google runs.
fn tools(facts: &mut RequestFacts, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    value.array_if(|tool| {
        facts.tools = true;
        tool.object_if(|key, member| {
            let by_client = matches!(
                key,
                b"functionDeclarations" | b"function_declarations" | b"computerUse" | b"computer_use"
            );
            // An empty object switches a hosted tool on: `{"googleSearch": {}}`.
            let is_null = member.kind()? == Kind::Null;
            facts.by_reference |= !by_client && !is_null;
            facts.offer_search(!is_null && SEARCHES.contains(&key));
            member.skip().map(|_| ())
        })?;
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}
