//! Reading an answer, or one frame of a stream.
//!
//! A stream is whole when `messageStop` came and `metadata` after it: only that has the usage, and Bedrock always sends it.

use std::ops::Range;

use super::usage;
use crate::answer::Finish;
use crate::json::{Cursor, Kind, Syntax, utf8};
use crate::observation::{Mark, Observation, Sign, generated, is_filled};
use crate::provider_error::ProviderError;
use crate::stream::frames::Message;

/// Reads one frame.
pub(crate) fn read_frame(frame: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let message = Message::read(frame).ok_or(Syntax {
        at: 0,
        what: "the frame is damaged",
    })?;
    if message.kind != b"event" {
        return Ok(Sign {
            mark: Mark::Error(error(&message).reported()),
            ..Sign::default()
        });
    }
    utf8(message.payload)?;
    let mut sign = Sign::default();
    let mut usage_span = None;
    let mut cursor = Cursor::strict(message.payload);
    cursor.object(|key, value| {
        match (message.name, key) {
            (b"contentBlockStart", b"start") => sign.content |= read_start(value, seen)?,
            (b"contentBlockDelta", b"delta") => sign.content |= read_delta(value, seen)?,
            (b"messageStop", b"stopReason") => read_stop(value, seen)?,
            (b"metadata", b"usage") => usage_span = Some(value.skip()?),
            (b"metadata", b"serviceTier") => read_tier(value, seen)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    cursor.end()?;
    take_usage(&cursor, usage_span, seen)?;
    match message.name {
        b"messageStop" => seen.closing = true,
        b"metadata" if seen.closing => sign.mark = Mark::End,
        _ => {}
    }
    Ok(sign)
}

/// Reads a whole answer, or a count of tokens.
pub(crate) fn read_whole(body: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let mut cursor = Cursor::strict(body);
    let (mut usage_span, mut is_error) = (None, false);
    cursor.object(|key, value| {
        match key {
            b"output" => {
                value.object_if(|key, member| {
                    if key == b"message" && member.kind()? == Kind::Object {
                        seen.has_body = true;
                        seen.report.content_bytes += generated(member)?;
                    } else {
                        member.skip()?;
                    }
                    Ok::<(), Syntax>(())
                })?;
            }
            b"stopReason" => read_stop(value, seen)?,
            b"usage" => usage_span = Some(value.skip()?),
            b"serviceTier" => read_tier(value, seen)?,
            // `CountTokens`: the figure is the answer.
            b"inputTokens" => seen.has_body |= value.figure()?.is_given(),
            // All that its errors have is a message.
            b"error" | b"__type" | b"message" => is_error |= is_filled(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    cursor.end()?;
    take_usage(&cursor, usage_span, seen)?;
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

/// What an exception, or an error without payload, says.
fn error(message: &Message<'_>) -> ProviderError {
    let name = String::from_utf8_lossy(message.name);
    ProviderError::read(message.payload)
        .with_code(&name)
        .with_message(&String::from_utf8_lossy(message.words))
}

fn take_usage(cursor: &Cursor<'_>, span: Option<Range<usize>>, seen: &mut Observation) -> Result<(), Syntax> {
    span.map_or(Ok(()), |span| usage::take(cursor.slice(span), seen))
}

/// A tool's name is content.
fn read_start(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<bool, Syntax> {
    let bytes = generated(value)?;
    seen.report.content_bytes += bytes;
    Ok(bytes > 0)
}

/// Says whether something was generated in it.
fn read_delta(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<bool, Syntax> {
    let (mut content, mut bytes) = (false, 0);
    value.object_if(|key, member| {
        match key {
            b"text" | b"toolUse" => bytes += generated(member)?,
            b"reasoningContent" => {
                member.object_if(|key, inner| {
                    match key {
                        b"text" => bytes += generated(inner)?,
                        _ => content |= is_filled(inner)?,
                    }
                    Ok::<(), Syntax>(())
                })?;
            }
            // Citations and what is yet to come.
            _ => content |= is_filled(member)?,
        }
        Ok::<(), Syntax>(())
    })?;
    seen.report.content_bytes += bytes;
    Ok(content || bytes > 0)
}

fn read_stop(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<(), Syntax> {
    if let Some(reason) = value.string_if()? {
        seen.report.finish = match reason.raw {
            b"end_turn" | b"stop_sequence" => Finish::Stop,
            b"max_tokens" | b"model_context_window_exceeded" => Finish::Length,
            b"tool_use" => Finish::Tool,
            b"guardrail_intervened" | b"content_filtered" => Finish::Filter,
            _ => Finish::Other,
        };
    }
    Ok(())
}

/// `{type: default}`
fn read_tier(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        if key == b"type" {
            seen.service_tier(member)
        } else {
            member.skip().map(|_| ())
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{Dialect, FailureClass, Operation, Surface, Usage};

    use super::*;
    use crate::stream::frames::{event, write};
    use crate::{StreamEnd, StreamFault, StreamTap, TapOptions, TapState, UsageReport, read_answer};

    const SURFACE: Surface = Surface::new(Operation::Chat, Dialect::BedrockConverse);

    fn tap() -> StreamTap {
        StreamTap::new(TapOptions {
            surface: SURFACE,
            hide_usage_chunk: false,
            json_array: false,
        })
    }

    fn whole() -> Vec<Vec<u8>> {
        vec![
            event("messageStart", r#"{"role":"assistant"}"#),
            event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":""}}"#),
            event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#),
            event("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            event("messageStop", r#"{"stopReason":"end_turn"}"#),
            event(
                "metadata",
                r#"{"usage":{"inputTokens":3,"outputTokens":2},"serviceTier":{"type":"priority"}}"#,
            ),
        ]
    }

    /// Found by the fuzz target `frames`: the terminal frame went out with what followed it, before the receipt was written.
    #[test]
    fn what_follows_the_last_frame_is_dropped() {
        let more = event("contentBlockStop", r#"{"contentBlockIndex":9}"#);
        let bytes = [whole().concat(), more].concat();
        for chunk in [1, 7, bytes.len()] {
            let (mut tap, mut out) = (tap(), Vec::new());
            for piece in bytes.chunks(chunk) {
                tap.push(Bytes::copy_from_slice(piece), &mut out);
            }
            assert_eq!(out.concat(), whole()[..5].concat());
            let last = whole().remove(5).into();
            assert_eq!(tap.finish(true), StreamEnd::Complete { last });
        }
    }

    #[test]
    fn a_stream_is_whole_with_stop_and_metadata() {
        let bytes = whole().concat();
        for chunk in [1, 5, 16, bytes.len()] {
            let (mut tap, mut out, mut states) = (tap(), Vec::new(), Vec::new());
            for piece in bytes.chunks(chunk) {
                states.push(tap.push(Bytes::copy_from_slice(piece), &mut out));
            }
            assert_eq!(states.last(), Some(&TapState::Terminal));
            assert!(tap.has_content());
            let StreamEnd::Complete { last } = tap.finish(true) else {
                panic!("not complete")
            };
            assert_eq!(last, whole()[5], "the end is held back");
            assert_eq!([out.concat(), last.to_vec()].concat(), bytes);
            let report = tap.report();
            assert_eq!(
                (report.finish, report.service_tier.as_deref()),
                (Finish::Stop, Some("priority"))
            );
            let usage = Usage {
                input: 3,
                output: 2,
                ..Usage::default()
            };
            assert_eq!(report.usage, UsageReport::Possible(usage));
            assert_eq!(report.content_bytes, 2);
        }
    }

    #[test]
    fn a_cut_stream_is_never_whole() {
        let frames = whole();
        for kept in 0..frames.len() {
            let (mut tap, mut out) = (tap(), Vec::new());
            let mut bytes = frames[..kept].concat();
            bytes.extend_from_slice(&frames[kept][..frames[kept].len() - 1]);
            tap.push(bytes.into(), &mut out);
            let end = tap.finish(true);
            let why = StreamFault::Truncated;
            assert_eq!(end, StreamEnd::Incomplete { why }, "cut in frame {kept}");
        }
    }

    #[test]
    fn a_flipped_bit_breaks_the_stream_where_it_is() {
        let bytes = whole().concat();
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            let (mut tap, mut out) = (tap(), Vec::new());
            let state = tap.push(damaged.into(), &mut out);
            assert!(matches!(state, TapState::Broken(StreamFault::Malformed { .. })), "{at}");
        }
    }

    #[test]
    fn exceptions_are_errors_of_their_kind() {
        for (name, class, status) in [
            ("throttlingException", FailureClass::RateLimited, Some(429)),
            ("serviceUnavailableException", FailureClass::Server, Some(503)),
            ("modelStreamErrorException", FailureClass::Server, Some(500)),
            ("validationException", FailureClass::Nonsense, Some(400)),
        ] {
            let frame = write(
                &[(":exception-type", name), (":message-type", "exception")],
                r#"{"message":"Too many tokens"}"#,
            );
            let sign = read_frame(&frame, &mut Observation::default()).unwrap();
            let Mark::Error(found) = sign.mark else {
                panic!("{name}")
            };
            assert_eq!((found.class, found.status), (class, status), "{name}");
            assert!(found.message.contains("Too many tokens"), "{}", found.message);
        }
        let frame = write(
            &[
                (":message-type", "error"),
                (":error-code", "InternalServerException"),
                (":error-message", "oops"),
            ],
            "",
        );
        let sign = read_frame(&frame, &mut Observation::default()).unwrap();
        assert!(matches!(sign.mark, Mark::Error(found) if found.message.contains("oops")));
    }

    #[test]
    fn content_begins_with_the_first_text_tool_or_thought() {
        for (name, payload, content) in [
            (
                "contentBlockStart",
                r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}"#,
                true,
            ),
            ("contentBlockDelta", r#"{"delta":{"toolUse":{"input":""}}}"#, false),
            ("contentBlockDelta", r#"{"delta":{"toolUse":{"input":"{"}}}"#, true),
            (
                "contentBlockDelta",
                r#"{"delta":{"reasoningContent":{"text":""}}}"#,
                false,
            ),
            (
                "contentBlockDelta",
                r#"{"delta":{"reasoningContent":{"signature":"s"}}}"#,
                true,
            ),
            (
                "contentBlockDelta",
                r#"{"delta":{"reasoningContent":{"redactedContent":"cg=="}}}"#,
                true,
            ),
        ] {
            let sign = read_frame(&event(name, payload), &mut Observation::default()).unwrap();
            assert_eq!(sign.content, content, "{payload}");
        }
    }

    #[test]
    fn whole_answers_and_counts_are_read() {
        let body = br#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"},{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1}}}]}},
            "stopReason":"guardrail_intervened","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}"#;
        let report = read_answer(SURFACE, body).unwrap();
        assert_eq!(
            (report.finish, report.model, report.content_bytes),
            (Finish::Filter, None, 10)
        );
        let count = Surface::new(Operation::CountTokens, Dialect::BedrockConverse);
        assert!(read_answer(count, br#"{"inputTokens":5}"#).is_ok());
        assert!(read_answer(SURFACE, br#"{"message":"no"}"#).is_err());
    }
}
