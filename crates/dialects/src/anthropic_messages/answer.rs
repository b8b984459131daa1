//! Reading a message, or one event of a stream.

use std::ops::Range;

use crate::answer::Finish;
use crate::anthropic_messages::usage;
use crate::json::{Cursor, Kind, Syntax};
use crate::observation::{Mark, Observation, Sign, generated, is_filled};
use crate::provider_error::{ProviderError, is_complaint};

/// The parts of an event that are looked at once its type is known.
#[derive(Debug, Default)]
struct Parts {
    kind: Option<Range<usize>>,
    message: Option<Range<usize>>,
    delta: Option<Range<usize>>,
    block: Option<Range<usize>>,
    usage: Option<Range<usize>>,
    has_error: bool,
    /// It says what is wrong, as an error without an envelope does.
    complains: bool,
}

/// Reads one event.
pub(crate) fn read_event(data: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let mut cursor = Cursor::strict(data);
    let parts = read_parts(&mut cursor)?;
    let part = |span: Option<Range<usize>>| Cursor::strict(cursor.slice(span.unwrap_or_default()));
    let kind = match parts.kind {
        Some(span) => part(Some(span)).string_if()?,
        None => None,
    };
    let is = |name: &str| kind.is_some_and(|kind| kind.is(name));
    let mut sign = Sign::default();
    if parts.has_error || is("error") || (kind.is_none() && parts.complains) {
        sign.mark = Mark::Error(ProviderError::read(data).reported());
    } else if is("content_block_delta") && parts.delta.is_some() {
        sign.content = read_delta(&mut part(parts.delta), seen)?;
    } else if is("content_block_start") && parts.block.is_some() {
        sign.content = read_block(&mut part(parts.block), seen)?;
    } else if is("message_start") && parts.message.is_some() {
        read_message(cursor.slice(parts.message.unwrap_or_default()), seen)?;
    } else if is("message_delta") {
        read_closing(parts.delta.map(|span| part(Some(span))), seen)?;
        if let Some(span) = parts.usage {
            usage::take(cursor.slice(span), seen)?;
        }
    } else if is("message_stop") {
        sign.mark = Mark::End;
    }
    Ok(sign)
}

/// Reads a whole message.
pub(crate) fn read_whole(body: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let is_error = read_message(body, seen)?;
    let mark = if is_error {
        Mark::Error(ProviderError::read(body).reported())
    } else {
        Mark::None
    };
    Ok(Sign {
        mark,
        ..Sign::default()
    })
}

fn read_parts(cursor: &mut Cursor<'_>) -> Result<Parts, Syntax> {
    let mut parts = Parts::default();
    cursor.object(|key, value| {
        match key {
            b"type" => parts.kind = Some(value.skip()?),
            b"message" => {
                parts.complains |= value.kind()? == Kind::String;
                parts.message = Some(value.skip()?);
            }
            b"delta" => parts.delta = Some(value.skip()?),
            b"content_block" => parts.block = Some(value.skip()?),
            b"usage" => parts.usage = Some(value.skip()?),
            b"error" => parts.has_error = is_filled(value)?,
            key if is_complaint(key) => parts.complains |= is_filled(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    cursor.end()?;
    Ok(parts)
}

/// Reads a message object; says whether it is an error.
fn read_message(text: &[u8], seen: &mut Observation) -> Result<bool, Syntax> {
    let mut cursor = Cursor::strict(text);
    let mut usage_span = None;
    let mut is_error = false;
    cursor.object(|key, value| {
        match key {
            b"model" => seen.model(value)?,
            b"usage" => usage_span = Some(value.skip()?),
            b"stop_reason" => read_stop(value, seen)?,
            b"content" => {
                seen.has_body |= value.kind()? == Kind::Array;
                seen.report.content_bytes += generated(value)?;
            }
            // `count_tokens`: the figure is the answer.
            b"input_tokens" => seen.has_body |= value.figure()?.is_given(),
            b"type" => is_error |= value.string_if()?.is_some_and(|text| text.is("error")),
            b"error" => is_error |= is_filled(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    cursor.end()?;
    if let Some(span) = usage_span {
        usage::take(cursor.slice(span), seen)?;
    }
    Ok(is_error)
}

/// Says whether something was generated in it.
fn read_delta(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<bool, Syntax> {
    let (mut content, mut bytes) = (false, 0);
    value.object_if(|key, member| {
        match key {
            b"text" | b"thinking" | b"partial_json" => bytes += seen.said(member)?,
            b"type" => {
                member.skip()?;
            }
            // Signatures, citations and what is yet to come.
            _ => content |= is_filled(member)?,
        }
        Ok::<(), Syntax>(())
    })?;
    seen.report.content_bytes += bytes;
    Ok(content || bytes > 0)
}

/// Says whether a block begins with something: a text that is still empty is nothing, the name of a tool is.
fn read_block(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<bool, Syntax> {
    let (mut content, mut bytes) = (false, 0);
    value.object_if(|key, member| {
        match key {
            b"text" | b"thinking" | b"name" => bytes += generated(member)?,
            b"data" | b"content" => content |= is_filled(member)?,
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    seen.report.content_bytes += bytes;
    Ok(content || bytes > 0)
}

fn read_closing(delta: Option<Cursor<'_>>, seen: &mut Observation) -> Result<(), Syntax> {
    seen.closing = true;
    if let Some(mut delta) = delta {
        delta.object_if(|key, value| {
            if key == b"stop_reason" {
                read_stop(value, seen)
            } else {
                value.skip().map(|_| ())
            }
        })?;
    }
    Ok(())
}

fn read_stop(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<(), Syntax> {
    if let Some(reason) = value.string_if()? {
        seen.report.finish = match reason.raw {
            b"end_turn" | b"stop_sequence" => Finish::Stop,
            b"max_tokens" | b"model_context_window_exceeded" => Finish::Length,
            b"tool_use" => Finish::Tool,
            b"refusal" => Finish::Filter,
            b"pause_turn" => Finish::Pause,
            _ => Finish::Other,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::{FailureClass, Usage};

    use super::*;
    use crate::UsageReport;

    fn run(events: &[&str]) -> (Vec<Sign>, Observation) {
        let mut seen = Observation::default();
        let signs = events
            .iter()
            .map(|event| read_event(event.as_bytes(), &mut seen).unwrap())
            .collect();
        (signs, seen)
    }

    #[test]
    fn content_begins_with_the_first_text_tool_or_thought() {
        for (event, content) in [
            (
                r#"{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":1}}}"#,
                false,
            ),
            (r#"{"type":"ping"}"#, false),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                true,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
                true,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
                true,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
                true,
            ),
            (r#"{"type":"content_block_stop","index":0}"#, false),
        ] {
            assert_eq!(run(&[event]).0[0].content, content, "{event}");
        }
    }

    #[test]
    fn the_end_is_message_stop_after_message_delta() {
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}"#;
        let (signs, seen) = run(&[
            r#"{"type":"message_start","message":{"model":"claude","content":[],"usage":{"input_tokens":3,"output_tokens":1,"service_tier":"standard"}}}"#,
            delta,
            r#"{"type":"message_stop"}"#,
        ]);
        assert_eq!(signs[2].mark, Mark::End);
        assert!(seen.closing);
        assert_eq!(
            (
                seen.report.finish,
                seen.report.model.as_deref(),
                seen.report.service_tier.as_deref()
            ),
            (Finish::Tool, Some("claude"), Some("standard"))
        );
        assert_eq!(
            seen.report.usage,
            UsageReport::Possible(Usage {
                input: 3,
                output: 9,
                ..Usage::default()
            })
        );
    }

    #[test]
    fn errors_are_told_apart() {
        let (signs, _) = run(&[r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#]);
        assert!(matches!(&signs[0].mark, Mark::Error(reported) if reported.class == FailureClass::Overloaded));
    }
}
