//! Reading a response object, or one event of a stream.
//!
//! Only the end of a stream says that it is the end (`response.completed`, `.incomplete`, `.failed`). A failure is the
//! provider's own event and is passed on as such once content was relayed, or where the caller's request caused it;
//! before that it is an error that another target may not make.

use std::ops::Range;

use crate::answer::Finish;
use crate::json::{Cursor, Figure, Syntax, Text};
use crate::limits::ID_MAX;
use crate::observation::{Mark, Observation, Sign, generated, is_filled};
use crate::openai_chat::usage;
use crate::provider_error::{ProviderError, is_complaint};
use crate::usage::judge;

/// The parts of an event that are looked at once its type is known.
#[derive(Debug, Default)]
struct Parts<'a> {
    kind: Option<Text<'a>>,
    delta_bytes: u64,
    delta_filled: bool,
    text_filled: bool,
    response: Option<Range<usize>>,
    item: Option<Range<usize>>,
    error: Option<Range<usize>>,
    /// It says what is wrong, as an error without an envelope does.
    complains: bool,
}

/// Reads one event. `has_content`: whether content was seen before it.
pub(crate) fn read_event(data: &[u8], seen: &mut Observation, has_content: bool) -> Result<Sign, Syntax> {
    let mut cursor = Cursor::strict(data);
    let parts = read_parts(&mut cursor, seen)?;
    cursor.end()?;
    let kind = parts.kind.map(|text| text.decode()).unwrap_or_default();
    let mut sign = Sign::default();
    match kind.as_ref() {
        "response.completed" | "response.incomplete" | "response.failed" => {
            let error = read_response(cursor.slice(parts.response.unwrap_or_default()), seen)?;
            let is_failed = kind.ends_with("failed") || error.is_some();
            sign.mark = if is_failed {
                failed(error.unwrap_or_default(), seen, has_content, Mark::End)
            } else {
                Mark::End
            };
        }
        // Not an event of this format at all: some servers in between say their errors so, with whatever text.
        "" if parts.error.is_some() || parts.complains => {
            let error = parts.error.map_or(data, |span| cursor.slice(span));
            sign.mark = Mark::Error(ProviderError::read(error).reported());
        }
        _ if kind == "error" || parts.error.is_some() => {
            let error = parts.error.map_or(data, |span| cursor.slice(span));
            sign.mark = failed(error, seen, has_content, Mark::Perhaps);
        }
        "response.created" | "response.in_progress" | "response.queued" => {
            if let Some(span) = parts.response {
                read_beginning(cursor.slice(span), seen)?;
            }
        }
        "response.output_item.added" => {
            let item = read_item(cursor.slice(parts.item.unwrap_or_default()))?;
            seen.tool_asked |= item.asks_tool;
            seen.report.content_bytes += item.name_bytes;
            sign.content = item.asks_tool;
        }
        "response.output_item.done" => {
            let item = read_item(cursor.slice(parts.item.unwrap_or_default()))?;
            seen.tool_asked |= item.asks_tool;
            seen.searches.counted += u64::from(item.is_billed_search());
            sign.content = true;
        }
        _ if kind.ends_with(".delta") => {
            sign.content = parts.delta_filled;
            seen.report.content_bytes += if kind.ends_with("audio.delta") {
                0
            } else {
                parts.delta_bytes
            };
        }
        "response.image_generation_call.partial_image" => sign.content = true,
        _ => sign.content = kind.ends_with(".done") && parts.text_filled,
    }
    Ok(sign)
}

/// Reads a whole response object.
pub(crate) fn read_whole(body: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let error = read_response(body, seen)?;
    let mark = error.map_or(Mark::None, |error| failed(error, seen, false, Mark::End));
    Ok(Sign {
        mark,
        ..Sign::default()
    })
}

fn read_parts<'a>(cursor: &mut Cursor<'a>, seen: &mut Observation) -> Result<Parts<'a>, Syntax> {
    let mut parts = Parts::default();
    // The cursor lends keys only, so the type is taken as a span and read again.
    let mut kind = None;
    cursor.object(|key, value| {
        match key {
            b"type" => kind = Some(value.skip()?),
            b"delta" => {
                parts.delta_filled = is_filled(&mut value.clone())?;
                parts.delta_bytes = seen.said(value)?;
            }
            b"sequence_number" => seen.sequence(value)?,
            b"obfuscation" => seen.aside(value)?,
            b"text" | b"arguments" | b"refusal" | b"input" | b"code" => parts.text_filled |= is_filled(value)?,
            b"response" => parts.response = Some(value.skip()?),
            b"item" => parts.item = Some(value.skip()?),
            b"error" => parts.error = filled(value)?,
            key if is_complaint(key) => parts.complains |= is_filled(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    if let Some(span) = kind {
        parts.kind = Cursor::strict(cursor.slice(span)).string_if()?;
    }
    Ok(parts)
}

/// Reads a response object; returns the error in it, empty where it is only said to have failed.
fn read_response<'a>(text: &'a [u8], seen: &mut Observation) -> Result<Option<&'a [u8]>, Syntax> {
    let mut cursor = Cursor::strict(text);
    let (mut error, mut has_failed, mut output_bytes) = (None, false, 0);
    let mut usage_span = None;
    let mut status = Finish::Unknown;
    let mut reason = None;
    let mut object = Object::default();
    let mut last_item = None;
    let mut searches = 0;
    cursor.object(|key, value| {
        match key {
            b"usage" => usage_span = Some(value.skip()?),
            b"model" => seen.model(value)?,
            b"service_tier" => seen.service_tier(value)?,
            b"error" => error = filled(value)?,
            b"status" => {
                object.take(key, &mut value.clone())?;
                if let Some(text) = value.string_if()? {
                    has_failed = text.is("failed");
                    status = if text.is("completed") {
                        Finish::Stop
                    } else {
                        Finish::Other
                    };
                }
            }
            b"tool_usage" => seen.searches.said = read_tool_usage(value)?,
            b"incomplete_details" => reason = read_reason(value)?,
            b"output" => {
                seen.has_body |= value.array_if(|item| {
                    let span = item.skip()?;
                    let item = read_item(item.slice(span))?;
                    seen.tool_asked |= item.asks_tool;
                    searches += u64::from(item.is_billed_search());
                    output_bytes += item.bytes;
                    last_item = item.id.or(last_item);
                    Ok::<(), Syntax>(())
                })?;
            }
            // `/responses/input_tokens`: the object says what it is and has nothing else.
            b"input_tokens" => seen.has_body |= value.skip().map(|_| true)?,
            _ => {
                if !object.take(key, value)? {
                    value.skip()?;
                }
            }
        }
        Ok::<(), Syntax>(())
    })?;
    cursor.end()?;
    if let Some(span) = usage_span {
        let raw = cursor.slice(span);
        let tally = usage::read(&mut Cursor::strict(raw))?;
        if tally.is_given() {
            seen.report.usage = judge(&tally, raw, usage::normal);
        }
    }
    // The items were there before, one by one; some servers leave them out at the end.
    seen.searches.counted = seen.searches.counted.max(searches);
    seen.bill_searches();
    seen.report.content_bytes = seen.report.content_bytes.max(output_bytes);
    seen.report.finish = match (reason, status) {
        (Some(reason), _) => reason,
        (None, Finish::Stop) if seen.tool_asked => Finish::Tool,
        (None, status) => status,
    };
    seen.closing = !object.is_pending;
    object.note(seen);
    if let (Some(stored), Some(id)) = (&mut seen.report.stored, last_item.filter(|id| id.raw.len() <= ID_MAX)) {
        stored.last_item = Some(id.decode().into_owned());
    }
    Ok(error.map(|span| cursor.slice(span)).or(has_failed.then_some(b"")))
}

/// The span of a value that is there and holds something.
fn filled(value: &mut Cursor<'_>) -> Result<Option<Range<usize>>, Syntax> {
    let is_there = is_filled(&mut value.clone())?;
    let span = value.skip()?;
    Ok(is_there.then_some(span))
}

fn read_reason(value: &mut Cursor<'_>) -> Result<Option<Finish>, Syntax> {
    let mut reason = None;
    value.object_if(|key, member| {
        if key == b"reason" {
            reason = member.string_if()?.map(|text| match text.raw {
                b"max_output_tokens" => Finish::Length,
                b"content_filter" => Finish::Filter,
                _ => Finish::Other,
            });
        } else {
            member.skip()?;
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(reason)
}

/// The searches that a server says it ran (Bedrock).
fn read_tool_usage(value: &mut Cursor<'_>) -> Result<Option<u64>, Syntax> {
    let mut said = Figure::Absent;
    value.object_if(|key, member| {
        if key != b"web_search" {
            return member.skip().map(|_| ());
        }
        member.object_if(|key, count| {
            if key == b"num_requests" {
                said = count.figure()?;
            } else {
                count.skip()?;
            }
            Ok::<(), Syntax>(())
        })?;
        Ok::<(), Syntax>(())
    })?;
    Ok(match said {
        Figure::Is(count) => Some(count),
        Figure::Absent | Figure::Bad => None,
    })
}

/// Reads the response object of an event before the end.
fn read_beginning(text: &[u8], seen: &mut Observation) -> Result<(), Syntax> {
    let mut object = Object::default();
    Cursor::strict(text).object_if(|key, value| {
        if key == b"model" {
            seen.model(value)
        } else if object.take(key, value)? {
            Ok(())
        } else {
            value.skip().map(|_| ())
        }
    })?;
    object.note(seen);
    Ok(())
}

/// What the object says of itself.
#[derive(Debug, Default)]
struct Object<'a> {
    id: Option<Text<'a>>,
    is_dropped: bool,
    is_pending: bool,
    is_cancelled: bool,
}

impl<'a> Object<'a> {
    /// Reads a member, if it is one of these.
    fn take(&mut self, key: &[u8], value: &mut Cursor<'a>) -> Result<bool, Syntax> {
        match key {
            b"id" => self.id = value.string_if()?,
            b"store" => {
                let span = value.skip()?;
                self.is_dropped = value.slice(span) == b"false";
            }
            b"status" => {
                if let Some(text) = value.string_if()? {
                    self.is_pending = text.is("queued") || text.is("in_progress");
                    self.is_cancelled = text.is("cancelled");
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The provider keeps the object unless it was told not to.
    fn note(&self, seen: &mut Observation) {
        let id = self
            .id
            .filter(|id| (1..=ID_MAX).contains(&id.raw.len()) && !self.is_dropped);
        let Some(id) = id else { return };
        let stored = seen.report.stored.get_or_insert_default();
        if !id.is(&stored.id) {
            stored.id = id.decode().into_owned();
        }
        (stored.is_pending, stored.is_cancelled) = (self.is_pending, self.is_cancelled);
    }
}

/// What an output item is.
#[derive(Debug, Default)]
struct Item<'a> {
    id: Option<Text<'a>>,
    asks_tool: bool,
    is_search_call: bool,
    /// Of a search call: it failed, or only read a page.
    is_free: bool,
    name_bytes: u64,
    bytes: u64,
}

impl Item<'_> {
    const fn is_billed_search(&self) -> bool {
        self.is_search_call && !self.is_free
    }
}

fn read_item(text: &[u8]) -> Result<Item<'_>, Syntax> {
    let mut item = Item::default();
    if text.is_empty() {
        return Ok(item);
    }
    Cursor::strict(text).object_if(|key, value| {
        match key {
            b"type" => {
                let kind = value.string_if()?;
                item.is_search_call = kind.is_some_and(|text| text.is("web_search_call"));
                item.asks_tool = kind.is_some_and(|text| {
                    // Those that the client must run; the provider runs the rest itself.
                    [
                        "function_call",
                        "custom_tool_call",
                        "computer_call",
                        "local_shell_call",
                        "shell_call",
                        "apply_patch_call",
                    ]
                    .iter()
                    .any(|kind| text.is(kind))
                });
            }
            b"id" => item.id = value.string_if()?,
            b"status" => item.is_free |= value.string_if()?.is_some_and(|text| text.is("failed")),
            b"action" => item.is_free |= is_other_action(value)?,
            b"name" => item.name_bytes = generated(value)?,
            b"content" | b"arguments" | b"input" | b"summary" | b"code" => item.bytes += generated(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    item.bytes += item.name_bytes;
    Ok(item)
}

/// Whether an action says that it is something else than a search.
fn is_other_action(value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let mut is_other = false;
    value.object_if(|key, member| {
        if key == b"type" {
            is_other = member.string_if()?.is_some_and(|text| !text.is("search"));
        } else {
            member.skip()?;
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(is_other)
}

/// A failure: an error that another target may not make, or an ending that is passed on and flagged.
fn failed(error: &[u8], seen: &mut Observation, has_content: bool, passed_on: Mark) -> Mark {
    let error = ProviderError::read(error);
    let reported = error.reported();
    if !has_content && !error.is_callers() {
        return Mark::Error(reported);
    }
    seen.report.failure.get_or_insert(reported);
    passed_on
}

#[cfg(test)]
mod tests {
    use domain::FailureClass;

    use super::*;

    fn event(text: &str, has_content: bool) -> (Sign, Observation) {
        let mut seen = Observation::default();
        let sign = read_event(text.as_bytes(), &mut seen, has_content).unwrap();
        (sign, seen)
    }

    #[test]
    fn deltas_and_tool_calls_are_content() {
        for (text, content) in [
            (
                r#"{"type":"response.created","response":{"model":"m","output":[]}}"#,
                false,
            ),
            (r#"{"type":"response.output_text.delta","delta":"a"}"#, true),
            (r#"{"type":"response.output_text.delta","delta":""}"#, false),
            (
                r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#,
                false,
            ),
            (
                r#"{"type":"response.output_item.added","item":{"type":"reasoning","summary":[]}}"#,
                false,
            ),
            (
                r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}"#,
                true,
            ),
            (
                r#"{"item":{"type":"message","content":[]},"type":"response.output_item.done"}"#,
                true,
            ),
            (r#"{"type":"response.output_text.done","text":"a"}"#, true),
            (
                r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#,
                false,
            ),
        ] {
            assert_eq!(event(text, false).0.content, content, "{text}");
        }
    }

    #[test]
    fn the_end_brings_usage_and_finish() {
        let text = r#"{"type":"response.completed","response":{"status":"completed","model":"gpt","service_tier":"default","error":null,
            "output":[{"type":"function_call","name":"f","arguments":"{}"}],
            "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":15}}}"#;
        let (sign, seen) = event(text, true);
        assert_eq!(sign.mark, Mark::End);
        assert_eq!(
            (
                seen.report.finish,
                seen.report.model.as_deref(),
                seen.report.content_bytes
            ),
            (Finish::Tool, Some("gpt"), 3)
        );
        let usage = domain::Usage {
            input: 6,
            cache_read: 4,
            output: 5,
            reasoning: 2,
            ..domain::Usage::default()
        };
        assert_eq!(seen.report.usage, crate::UsageReport::Possible(usage));
        let cut = r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#;
        assert_eq!(event(cut, true).1.report.finish, Finish::Length);
    }

    #[test]
    fn failures_fail_over_before_content_and_pass_after_it() {
        let text = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"oops"},"usage":null}}"#;
        let (before, seen) = event(text, false);
        assert!(
            matches!(before.mark, Mark::Error(reported) if reported.class == FailureClass::Server && reported.status == Some(500))
        );
        assert_eq!(seen.report.failure, None);
        let (after, seen) = event(text, true);
        assert_eq!(
            (after.mark, seen.report.failure.unwrap().class),
            (Mark::End, FailureClass::Server)
        );
        let callers = text.replace("server_error", "invalid_prompt");
        let (sign, seen) = event(&callers, false);
        assert_eq!((sign.mark, seen.report.failure.unwrap().status), (Mark::End, Some(400)));
        let flat = r#"{"type":"error","code":"rate_limit_exceeded","message":"slow down","sequence_number":2}"#;
        assert!(
            matches!(event(flat, false).0.mark, Mark::Error(reported) if reported.class == FailureClass::RateLimited)
        );
        assert_eq!(event(flat, true).0.mark, Mark::Perhaps);
    }
}
