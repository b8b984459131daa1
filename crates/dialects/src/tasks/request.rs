//! What decides in a task's request, as JSON or as a form.

use domain::Operation;

use crate::json::{Cursor, Kind, Syntax};
use crate::limits::{AUDIO_MS_MAX, IMAGES_MAX, REFERENCED_AUDIO_MS_MAX};
use crate::request::{Once, RequestFacts, ScanError};
use crate::tasks::duration;
use crate::tasks::form::{Form, Part};

/// Documents that Cohere counts as one search, and the tokens (so: at least as many bytes) of each beyond which it is split
/// into several: <https://docs.cohere.com/docs/rerank-overview>.
const DOCUMENTS_PER_SEARCH: u64 = 100;
const TOKENS_PER_DOCUMENT: u64 = 500;

/// What a ranking compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    query_bytes: u64,
    documents: u64,
}

/// Reads one top-level member of a JSON body.
pub(crate) fn field(
    facts: &mut RequestFacts,
    compared: &mut Compared,
    operation: Operation,
    key: &[u8],
    value: &mut Cursor<'_>,
) -> Result<(), ScanError> {
    let slot = match (key, operation) {
        (b"model", _) => Once::Model,
        (b"stream", _) => Once::Stream,
        (b"stream_format", Operation::Speech) => Once::StreamOptions,
        (b"n", _) if operation.makes_images() => Once::Choices,
        (b"quality", _) if operation.makes_images() => Once::Quality,
        (b"size", _) if operation.makes_images() => Once::Size,
        (b"image" | b"images", _) if operation.makes_images() => Once::Reference,
        (b"mask" | b"markup", _) if operation.makes_images() => Once::OtherReference,
        (b"prompt", _) if operation.makes_images() || operation.hears() => Once::Input,
        (b"input", Operation::Speech) | (b"query", Operation::Rerank) => Once::Input,
        (b"documents", Operation::Rerank) => Once::Reference,
        (b"instructions", Operation::Speech) => Once::System,
        _ => return Ok(value.skip().map(|_| ())?),
    };
    // A mask and a markup may both be there.
    if slot != Once::OtherReference {
        facts.once(slot, key, value)?;
    }
    match slot {
        Once::Model => facts.take_model(value),
        Once::Stream => facts.take_stream(value),
        Once::StreamOptions => {
            facts.stream = value.string_if()?.is_some_and(|text| text.is("sse"));
            Ok(())
        }
        Once::Choices => facts.take_choices(key, value),
        Once::Quality | Once::Size => {
            let text = value.string_if()?.and_then(|text| kind(&text.decode()));
            let units = facts.units_mut();
            match slot {
                Once::Quality => units.quality = text,
                _ => units.size = text,
            }
            Ok(())
        }
        Once::Reference if operation == Operation::Rerank => {
            value.array_if(|document| {
                compared.documents += 1;
                document.skip().map(|_| ())
            })?;
            Ok(())
        }
        Once::Reference | Once::OtherReference => {
            let pictures = things(value)?;
            facts.units_mut().pictures += pictures;
            Ok(())
        }
        _ => {
            let Some(text) = value.string_if()? else { return Ok(()) };
            compared.query_bytes += text.len();
            let units = facts.units_mut();
            units.text_bytes += text.len();
            if key == b"input" {
                units.asked.characters = text.decode().chars().count() as u64;
            }
            Ok(())
        }
    }
}

/// How many things a value is: those of a list, else one, if it is anything.
fn things(value: &mut Cursor<'_>) -> Result<u64, Syntax> {
    let mut count = 0;
    if value.kind()? == Kind::Array {
        value.array(|element| {
            count += 1;
            element.skip().map(|_| ())
        })?;
        return Ok(count);
    }
    crate::observation::is_filled(value).map(u64::from)
}

/// A quality or size that says something.
fn kind(text: &str) -> Option<String> {
    const KIND_MAX: usize = 32;
    let says = !text.is_empty() && text.len() <= KIND_MAX && !text.eq_ignore_ascii_case("auto");
    says.then(|| text.to_owned())
}

/// After the last member: what all of them together ask for.
pub(crate) fn complete(
    facts: &mut RequestFacts,
    compared: Compared,
    operation: Operation,
    body_bytes: u64,
) -> Result<(), ScanError> {
    if operation.hears() {
        // The recording is somewhere else.
        facts.units_mut().most.audio_ms = REFERENCED_AUDIO_MS_MAX;
    }
    if operation == Operation::Rerank {
        let Compared { query_bytes, documents } = compared;
        let units = facts.units_mut();
        // The query is read again with each document.
        units.text_bytes = body_bytes.saturating_add(query_bytes.saturating_mul(documents));
        units.asked.reranks = documents.div_ceil(DOCUMENTS_PER_SEARCH).max(1);
        let pieces = documents + body_bytes / TOKENS_PER_DOCUMENT;
        units.most.reranks = pieces.div_ceil(DOCUMENTS_PER_SEARCH).max(1);
    }
    ask(facts, operation)
}

/// What the request asks for in pieces that are known exactly.
fn ask(facts: &mut RequestFacts, operation: Operation) -> Result<(), ScanError> {
    let choices = facts.choices.max(1);
    let units = facts.units_mut();
    if operation.makes_images() {
        if choices > IMAGES_MAX {
            return Err(ScanError {
                offset: 0,
                what: format!("`n` asks for more than {IMAGES_MAX} pictures"),
            });
        }
        (units.asked.images, units.most.images) = (choices, choices);
    }
    units.most.characters = units.asked.characters;
    Ok(())
}

/// Reads a form.
pub(crate) fn form(
    facts: &mut RequestFacts,
    operation: Operation,
    boundary: &str,
    body: &[u8],
) -> Result<Form, ScanError> {
    let form = Form::read(body, boundary, |part| take_part(facts, operation, part))?;
    ask(facts, operation)?;
    Ok(form)
}

fn take_part(facts: &mut RequestFacts, operation: Operation, part: &Part<'_>) -> Result<(), ScanError> {
    let slot = match part.name {
        "model" => Once::Model,
        "stream" => Once::Stream,
        "n" => Once::Choices,
        "quality" => Once::Quality,
        "size" => Once::Size,
        "file" => Once::Input,
        "url" | "file_url" | "file_id" if operation.hears() => Once::Reference,
        "image" | "image[]" | "mask" | "markup" => {
            facts.units_mut().pictures += 1;
            return Ok(());
        }
        _ => {
            if !part.is_file {
                facts.units_mut().text_bytes += part.value.len() as u64;
            }
            return Ok(());
        }
    };
    facts.once_at(slot, part.name, part.at)?;
    if slot == Once::Input {
        let length = duration::of(part.value);
        let units = facts.units_mut();
        units.asked.audio_ms = length.likely.min(AUDIO_MS_MAX);
        units.most.audio_ms = units.most.audio_ms.max(length.most.min(AUDIO_MS_MAX));
        return Ok(());
    }
    let text = text(part)?;
    match slot {
        Once::Model if text.is_empty() => Err(wrong(part, "is empty")),
        Once::Model => {
            facts.model = Some(text.to_owned());
            Ok(())
        }
        Once::Stream => {
            facts.stream = match text {
                "true" | "True" | "1" => true,
                "false" | "False" | "0" | "" => false,
                _ => return Err(wrong(part, "must be true or false")),
            };
            Ok(())
        }
        Once::Choices => {
            let count = crate::json::count(text.as_bytes()).filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
            facts.choices = count.ok_or_else(|| wrong(part, "must be a whole number"))?;
            Ok(())
        }
        Once::Quality => {
            facts.units_mut().quality = kind(text);
            Ok(())
        }
        Once::Size => {
            facts.units_mut().size = kind(text);
            Ok(())
        }
        _ => {
            facts.units_mut().most.audio_ms = REFERENCED_AUDIO_MS_MAX;
            Ok(())
        }
    }
}

/// The text of a field that must not be a file.
fn text<'a>(part: &Part<'a>) -> Result<&'a str, ScanError> {
    if part.is_file {
        return Err(wrong(part, "must not be a file"));
    }
    std::str::from_utf8(part.value).map_err(|_| wrong(part, "is not UTF-8"))
}

fn wrong(part: &Part<'_>, what: &str) -> ScanError {
    ScanError {
        offset: part.at,
        what: format!("`{}` {what}", part.name),
    }
}

#[cfg(test)]
mod tests;
