//! Reading a Gemini answer; a chunk of a stream is one too.

use crate::answer::Finish;
use crate::gemini::usage;
use crate::json::{Cursor, Kind, Syntax};
use crate::observation::{Mark, Observation, Sign, generated, is_filled};
use crate::provider_error::{ProviderError, is_complaint};

/// What one candidate held.
#[derive(Debug, Default)]
struct Candidate {
    index: u64,
    finish: Option<Finish>,
    content: bool,
    bytes: u64,
    tools: bool,
}

/// Reads a whole JSON object.
pub(crate) fn read(data: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let mut cursor = Cursor::strict(data);
    let mut sign = Sign::default();
    let mut usage_span = None;
    let mut is_error = false;
    let (mut complains, mut is_of_an_answer) = (false, false);
    cursor.object(|key, value| {
        is_of_an_answer |= matches!(
            key,
            b"candidates" | b"promptFeedback" | b"usageMetadata" | b"embedding" | b"embeddings" | b"totalTokens"
        );
        match key {
            b"candidates" => {
                seen.has_body |= value.array_if(|candidate| read_candidate(candidate, seen, &mut sign))?;
            }
            b"usageMetadata" => usage_span = Some(value.skip()?),
            b"modelVersion" => seen.model(value)?,
            b"promptFeedback" => read_feedback(value, seen)?,
            b"error" => is_error |= is_filled(value)?,
            // Embeddings, and the answer of `countTokens`.
            b"embedding" | b"embeddings" | b"totalTokens" => seen.has_body |= is_filled(value)?,
            key if is_complaint(key) => complains |= is_filled(value)?,
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
    seen.bill_searches();
    if seen.report.finish == Finish::Stop && seen.tool_asked {
        seen.report.finish = Finish::Tool;
    }
    if is_error || (complains && !is_of_an_answer) {
        sign.mark = Mark::Error(ProviderError::read(data).reported());
    } else if seen.choices.all_finished() || seen.blocked {
        // There is no terminal marker, so this may be the last event.
        sign.mark = Mark::Perhaps;
    }
    Ok(sign)
}

fn read_candidate(value: &mut Cursor<'_>, seen: &mut Observation, sign: &mut Sign) -> Result<(), Syntax> {
    let mut candidate = Candidate::default();
    value.object(|key, member| {
        match key {
            b"index" => candidate.index = member.figure()?.or_zero(),
            b"finishReason" => candidate.finish = member.string_if()?.and_then(|text| finish(text.raw)),
            b"content" => read_content(member, seen, &mut candidate)?,
            b"groundingMetadata" => seen.searches.take_grounding(member)?,
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    if !seen.choices.note(candidate.index, candidate.finish.is_some()) {
        return Err(value.error("too many candidates"));
    }
    if let Some(finish) = candidate.finish {
        seen.finish(candidate.index, finish);
    }
    seen.tool_asked |= candidate.tools;
    seen.report.content_bytes += candidate.bytes;
    sign.content |= candidate.content;
    Ok(())
}

fn read_content(value: &mut Cursor<'_>, seen: &mut Observation, candidate: &mut Candidate) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        if key == b"parts" {
            member.array_if(|part| read_part(part, seen, candidate)).map(|_| ())
        } else {
            member.skip().map(|_| ())
        }
    })?;
    Ok(())
}

fn read_part(value: &mut Cursor<'_>, seen: &mut Observation, candidate: &mut Candidate) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        match key {
            b"text" => {
                let bytes = generated(member)?;
                candidate.bytes += bytes;
                candidate.content |= bytes > 0;
            }
            b"functionCall" => {
                candidate.tools = true;
                candidate.content = true;
                candidate.bytes += generated(member)?;
            }
            b"executableCode" | b"codeExecutionResult" => {
                candidate.content = true;
                candidate.bytes += generated(member)?;
            }
            b"toolCall" => {
                candidate.content |= is_filled(&mut member.clone())?;
                seen.searches.take_call(member)?;
            }
            b"thought" | b"thoughtSignature" | b"videoMetadata" => {
                member.skip()?;
            }
            _ => candidate.content |= is_filled(member)?,
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

/// A blocked prompt has no candidates; the answer is whole all the same.
fn read_feedback(value: &mut Cursor<'_>, seen: &mut Observation) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        let is_text = member.kind()? == Kind::String;
        if is_filled(member)? && is_text && key == b"blockReason" {
            seen.blocked = true;
            seen.has_body = true;
            seen.finish(0, Finish::Filter);
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

fn finish(reason: &[u8]) -> Option<Finish> {
    Some(match reason {
        b"" | b"FINISH_REASON_UNSPECIFIED" => return None,
        b"STOP" => Finish::Stop,
        b"MAX_TOKENS" => Finish::Length,
        b"SAFETY"
        | b"RECITATION"
        | b"BLOCKLIST"
        | b"PROHIBITED_CONTENT"
        | b"SPII"
        | b"IMAGE_SAFETY"
        | b"IMAGE_PROHIBITED_CONTENT"
        | b"IMAGE_RECITATION"
        | b"MODEL_ARMOR" => Finish::Filter,
        _ => Finish::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (Sign, Observation) {
        let mut seen = Observation::default();
        let sign = read(text.as_bytes(), &mut seen).unwrap();
        (sign, seen)
    }

    #[test]
    fn content_finish_and_blocks() {
        let (sign, seen) =
            run(r#"{"candidates":[{"content":{"parts":[{"text":"ab"}],"role":"model"}}],"modelVersion":"g"}"#);
        assert!(sign.content && sign.mark == Mark::None);
        assert_eq!(
            (seen.report.content_bytes, seen.report.model.as_deref()),
            (2, Some("g"))
        );
        let (sign, seen) = run(
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}}}]},"finishReason":"STOP"}]}"#,
        );
        assert!(sign.content && sign.mark == Mark::Perhaps);
        assert_eq!((seen.report.finish, seen.report.content_bytes), (Finish::Tool, 8));
        let (sign, seen) = run(
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"abc"}]},"finishReason":"MAX_TOKENS"}]}"#,
        );
        assert!(!sign.content);
        assert_eq!(seen.report.finish, Finish::Length);
        let (sign, seen) = run(r#"{"promptFeedback":{"blockReason":"SAFETY","safetyRatings":[]}}"#);
        assert_eq!(
            (sign.mark, seen.report.finish, seen.has_body),
            (Mark::Perhaps, Finish::Filter, true)
        );
        let (_, seen) = run(r#"{"promptFeedback":{"blockReason":null}}"#);
        assert!(!seen.blocked);
    }

    #[test]
    fn every_candidate_must_finish() {
        let (sign, _) = run(
            r#"{"candidates":[{"index":0,"finishReason":"STOP"},{"index":1,"finishReason":"FINISH_REASON_UNSPECIFIED"}]}"#,
        );
        assert_eq!(sign.mark, Mark::None);
    }

    #[test]
    fn errors() {
        let (sign, _) = run(r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#);
        assert!(matches!(sign.mark, Mark::Error(reported) if reported.class == domain::FailureClass::Overloaded));
    }
}
