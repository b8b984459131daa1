//! Reading the answers of tasks: JSON, plain text, or the events of a stream.

use std::ops::Range;

use domain::{Operation, Usage};

use crate::answer::{Nonsense, Report, SideUsage, UsageReport};
use crate::json::{Cursor, Figure, Kind, Syntax, utf8};
use crate::limits::SIDE_USAGE_MAX;
use crate::observation::{Mark, Observation, Sign, is_filled};
use crate::openai_chat;
use crate::provider_error::ProviderError;
use crate::tasks::usage;

/// What one object held.
#[derive(Debug, Default)]
struct Seen {
    has_body: bool,
    is_error: bool,
    /// The picture(s) in it.
    images: u64,
    /// Something that was made, beside the pictures.
    content: bool,
    text_bytes: u64,
    kind: Event,
    usage: Option<Range<usize>>,
    meta: Option<Range<usize>>,
    svg_usage: Option<Range<usize>>,
    length: Figure,
}

/// What an event of a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Event {
    /// Not named: a whole answer, or a delta.
    #[default]
    Part,
    /// A picture is ready; there may be more.
    Picture,
    /// It is the last.
    Last,
}

/// Reads a whole answer with a 2xx status.
pub(crate) fn read_whole(operation: Operation, body: &[u8]) -> Result<Report, Nonsense> {
    let mut seen = Observation::default();
    let is_text = operation.hears() && body.trim_ascii_start().first() != Some(&b'{');
    if is_text {
        // Subtitles and plain texts; a proxy's page is none.
        utf8(body)?;
        if is_page(body) {
            return Err(Nonsense::NotJson {
                offset: 0,
                what: "a page of HTML",
            });
        }
        seen.report.content_bytes = body.len() as u64;
    } else {
        utf8(body)?;
        let sign = read(operation, body, &mut seen)?;
        if let Mark::Error(error) = sign.mark {
            return Err(Nonsense::Error(error));
        }
        if !seen.has_body && operation != Operation::Speech {
            return Err(Nonsense::Lacks(body_of(operation)));
        }
    }
    Ok(Report {
        complete: true,
        ..seen.report
    })
}

const fn body_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Moderations | Operation::Rerank => "results",
        Operation::Transcriptions | Operation::Translations => "text",
        _ => "data",
    }
}

fn is_page(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    [&b"<!doctype"[..], b"<html"].iter().any(|mark| {
        start
            .get(..mark.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(mark))
    })
}

/// Reads one event of a stream.
pub(crate) fn read_event(operation: Operation, data: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    // vLLM streams transcripts as chunks of a chat.
    if operation.hears() && memchr::memmem::find(data, b"\"choices\"").is_some() {
        let sign = openai_chat::answer::read(data, seen)?;
        seen.closing |= seen.choices.all_finished();
        return Ok(sign);
    }
    read(operation, data, seen)
}

fn read(operation: Operation, data: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let mut found = Seen::default();
    let mut cursor = Cursor::strict(data);
    cursor.object(|key, value| member(operation, key, value, seen, &mut found))?;
    cursor.end()?;
    seen.has_body |= found.has_body;
    seen.report.content_bytes += found.text_bytes;
    seen.closing |= found.kind != Event::Part;
    note_usage(operation, &cursor, &found, seen)?;
    let mark = if found.is_error {
        Mark::Error(ProviderError::read(data).reported())
    } else {
        match found.kind {
            Event::Part => Mark::None,
            Event::Picture => Mark::Perhaps,
            Event::Last => Mark::End,
        }
    };
    Ok(Sign {
        content: found.content || found.images > 0,
        usage_only: false,
        mark,
    })
}

fn member(
    operation: Operation,
    key: &[u8],
    value: &mut Cursor<'_>,
    seen: &mut Observation,
    found: &mut Seen,
) -> Result<(), Syntax> {
    match key {
        b"data" if operation.makes_images() => {
            found.has_body |= value.array_if(|image| {
                found.images += 1;
                image.skip().map(|_| ())
            })?;
        }
        b"results" | b"data" => found.has_body |= value.array_if(|element| element.skip().map(|_| ()))?,
        b"text" if operation.hears() => {
            let text = value.string_if()?;
            found.has_body |= text.is_some();
            // The last event says the whole text once more.
            if let Some(text) = text.filter(|_| seen.report.content_bytes == 0) {
                found.text_bytes += text.len();
                found.content |= !text.is_empty();
            }
        }
        b"delta" if operation.hears() => {
            if let Some(text) = value.string_if()? {
                found.text_bytes += text.len();
                found.content |= !text.is_empty();
            }
        }
        b"audio" | b"b64_json" | b"url" => found.content |= is_filled(value)?,
        b"type" => {
            if let Some(text) = value.string_if()? {
                found.is_error |= text.is("error");
                found.kind = event(&text.decode());
            }
            found.images += u64::from(found.kind == Event::Picture);
        }
        b"usage" => found.usage = object(value)?.or(found.usage.take()),
        b"meta" if operation == Operation::Rerank => found.meta = object(value)?,
        b"svg_usage" => found.svg_usage = object(value)?,
        b"duration" if operation.hears() => found.length = usage::milliseconds(value)?,
        b"error" => found.is_error |= is_filled(value)?,
        b"object" => found.is_error |= value.string_if()?.is_some_and(|text| text.is("error")),
        b"model" => seen.model(value)?,
        _ => {
            value.skip()?;
        }
    }
    Ok(())
}

/// `image_generation.completed`, `transcript.text.done`, `speech.audio.done`.
fn event(name: &str) -> Event {
    match name.rsplit_once('.') {
        Some((_, "completed")) => Event::Picture,
        Some((_, "done")) => Event::Last,
        _ => Event::Part,
    }
}

fn object(value: &mut Cursor<'_>) -> Result<Option<Range<usize>>, Syntax> {
    let kind = value.kind()?;
    let span = value.skip()?;
    Ok((kind == Kind::Object).then_some(span))
}

fn note_usage(operation: Operation, cursor: &Cursor<'_>, found: &Seen, seen: &mut Observation) -> Result<(), Syntax> {
    let mut report = UsageReport::None;
    if let Some(span) = &found.usage {
        let raw = cursor.slice(span.clone());
        report = usage::report(&usage::read(raw, operation)?, raw);
    }
    if let (UsageReport::None, Some(span)) = (&report, &found.meta) {
        let raw = cursor.slice(span.clone());
        report = usage::report(&usage::read_meta(raw)?, raw);
    }
    if let (UsageReport::None, Figure::Is(audio_ms)) = (&report, found.length) {
        // `verbose_json` says how long the recording is, beside or instead of the usage.
        let usage = Usage {
            audio_ms,
            ..Usage::default()
        };
        report = UsageReport::Possible(usage);
    }
    let pictures = Usage {
        images: found.images,
        ..Usage::default()
    };
    if found.images > 0 {
        usage::add(&mut report, UsageReport::Possible(pictures));
    }
    usage::add(&mut seen.report.usage, report);
    if let Some(span) = &found.svg_usage {
        note_author(cursor.slice(span.clone()), seen)?;
    }
    Ok(())
}

/// The model that wrote a drawing is billed beside the one that made the picture.
fn note_author(raw: &[u8], seen: &mut Observation) -> Result<(), Syntax> {
    let mut model = None;
    Cursor::strict(raw).object_if(|key, value| {
        if key == b"model" {
            model = value.string_if()?.map(|text| text.decode().into_owned());
        } else {
            value.skip()?;
        }
        Ok::<(), Syntax>(())
    })?;
    let tally = openai_chat::usage::read(&mut Cursor::strict(raw))?;
    if let UsageReport::Possible(usage) = usage::report(&tally, raw)
        && seen.report.side_usage.len() < SIDE_USAGE_MAX
    {
        seen.report.side_usage.push(SideUsage {
            role: "svg".to_owned(),
            model,
            usage,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
