//! Reading a chat answer or one chunk of a stream: they differ in `message` against `delta`, so one reader does both.

use std::ops::Range;

use domain::FailureClass;

use crate::answer::{Finish, ReportedFailure};
use crate::json::{Cursor, Figure, Kind, Syntax};
use crate::observation::{Mark, Observation, Sign, generated, is_filled};
use crate::openai_chat::usage;
use crate::provider_error::{ProviderError, is_complaint};
use crate::searches::cites_page;
use crate::usage::{Tally, judge};

/// What one choice held.
#[derive(Debug, Default)]
struct Choice {
    index: u64,
    finish: Option<Finish>,
    part: Part,
}

/// What one delta (or message) held.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    content: bool,
    text: u64,
    /// Reasoning comes under up to three names at once, with the same text: the longest counts.
    thinking: u64,
    tools: bool,
}

/// Reads a whole JSON object.
pub(crate) fn read(data: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    let mut cursor = Cursor::strict(data);
    let mut sign = Sign::default();
    let mut usage = None;
    let (mut is_error, mut choices, mut failed) = (false, 0_u32, None);
    let (mut complains, mut is_of_an_answer) = (false, false);
    cursor.object(|key, value| {
        match key {
            b"choices" => {
                is_of_an_answer = true;
                seen.has_body |= value.array_if(|choice| {
                    choices += 1;
                    let start = choice.position();
                    if let Some(end) = read_choice(choice, seen, &mut sign, &mut usage)? {
                        failed = Some((end, start..choice.position()));
                    }
                    Ok::<(), Syntax>(())
                })?;
            }
            b"usage" => note_usage(value, &mut usage)?,
            // Groq, before it had `usage` in streams.
            b"x_groq" => {
                value.object_if(|key, member| {
                    if key == b"usage" {
                        note_usage(member, &mut usage)
                    } else {
                        member.skip().map(|_| ())
                    }
                })?;
            }
            b"error" => is_error |= is_filled(value)?,
            // vLLM: {"object": "error", "message": …}
            b"object" => is_error |= value.string_if()?.is_some_and(|text| text.is("error")),
            b"base_resp" => is_error |= minimax_failed(value)?,
            b"model" => seen.model(value)?,
            b"created" => seen.counter(value)?,
            b"obfuscation" => seen.aside(value)?,
            b"service_tier" => seen.service_tier(value)?,
            b"data" => {
                let is_list = value.array_if(|element| element.skip().map(|_| ()))?;
                seen.has_body |= is_list;
                is_of_an_answer |= is_list;
            }
            key if is_complaint(key) => complains |= is_filled(value)?,
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    cursor.end()?;
    seen.usage_was_last = usage.is_some();
    sign.usage_only = usage.is_some() && choices == 0;
    is_error |= complains && !is_of_an_answer && usage.is_none();
    if let Some((tally, span)) = usage.filter(|(tally, _)| tally.is_given()) {
        seen.report.usage = judge(&tally, cursor.slice(span), usage::normal);
        seen.bill_chat_search();
    }
    if is_error {
        sign.mark = Mark::Error(ProviderError::read(data).reported());
    } else if let Some((end, choice)) = failed {
        sign.mark = Mark::Error(failure(end, cursor.slice(choice)));
    }
    Ok(sign)
}

/// Reads a choice; `Some`: it ended because whoever generated it failed, which is no end.
fn read_choice(
    value: &mut Cursor<'_>,
    seen: &mut Observation,
    sign: &mut Sign,
    usage: &mut Option<(Tally, Range<usize>)>,
) -> Result<Option<FailedEnd>, Syntax> {
    let mut choice = Choice::default();
    let mut failed = None;
    value.object(|key, member| {
        match key {
            b"index" => choice.index = index(member.figure()?),
            b"finish_reason" => {
                let word = member.string_if()?.filter(|text| !text.is_empty());
                failed = word.as_ref().and_then(|text| FailedEnd::of(text.raw));
                choice.finish = word.filter(|_| failed.is_none()).map(|text| finish(text.raw));
            }
            b"delta" | b"message" => read_part(member, seen, &mut choice.part)?,
            b"text" => choice.part.add_text(seen.said(member)?),
            // Moonshot.
            b"usage" => note_usage(member, usage)?,
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    if !seen.choices.note(choice.index, choice.finish.is_some()) {
        return Err(value.error("too many choices"));
    }
    if let Some(finish) = choice.finish {
        seen.finish(choice.index, finish);
    }
    sign.content |= choice.part.content;
    seen.tool_asked |= choice.part.tools;
    seen.report.content_bytes += choice.part.text + choice.part.thinking;
    Ok(failed)
}

fn read_part(value: &mut Cursor<'_>, seen: &mut Observation, part: &mut Part) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        match key {
            b"content" | b"refusal" => part.add_text(seen.said(member)?),
            b"reasoning_content" | b"reasoning" | b"reasoning_details" => {
                let bytes = seen.said(member)?;
                part.thinking = part.thinking.max(bytes);
                part.content |= bytes > 0;
            }
            b"tool_calls" => {
                let filled = member.kind()? == Kind::Array && is_filled(&mut member.clone())?;
                part.add_text(generated(member)?);
                part.content |= filled;
                part.tools |= filled;
            }
            b"function_call" => {
                let bytes = generated(member)?;
                part.add_text(bytes);
                part.tools |= bytes > 0;
            }
            b"audio" => {
                part.content |= is_filled(&mut member.clone())?;
                part.text += generated(member)?;
            }
            b"images" => part.content |= is_filled(member)?,
            b"annotations" => {
                part.content |= is_filled(&mut member.clone())?;
                seen.searches.counted |= u64::from(cites_page(member)?);
            }
            _ => {
                member.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(())
}

impl Part {
    const fn add_text(&mut self, bytes: u64) {
        self.text += bytes;
        self.content |= bytes > 0;
    }
}

/// Reads usage, and where it stands; `null` says nothing.
fn note_usage(value: &mut Cursor<'_>, found: &mut Option<(Tally, Range<usize>)>) -> Result<(), Syntax> {
    if value.kind()? != Kind::Object {
        return value.skip().map(|_| ());
    }
    let start = value.position();
    let tally = usage::read(value)?;
    *found = Some((tally, start..value.position()));
    Ok(())
}

/// MiniMax answers errors with 200 and a code other than 0.
fn minimax_failed(value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let mut failed = false;
    value.object_if(|key, member| {
        if key == b"status_code" {
            failed = !matches!(member.figure()?, Figure::Is(0) | Figure::Absent);
        } else {
            member.skip()?;
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(failed)
}

/// A missing index is the first choice.
const fn index(figure: Figure) -> u64 {
    figure.or_zero()
}

/// How a choice ends that has no end, because whoever generated it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FailedEnd {
    word: &'static str,
    class: FailureClass,
}

/// All words for it that are known, with who says so:
/// - `error`: OpenRouter, of every provider, and it may say nothing else
///   (<https://openrouter.ai/docs/api-reference/overview>); Mistral (mistralai 3.7, `models/chatcompletionchoice.py`); IBM;
/// - `insufficient_system_resource`: DeepSeek, "the request is interrupted due to insufficient resource of the inference
///   system" (<https://api-docs.deepseek.com/api/create-chat-completion>);
/// - `network_error`: Zhipu and Z.ai, "service exception" (zai-sdk, `types/assistant/assistant_completion.py`; of chats
///   <https://docs.bigmodel.cn/api-reference>), whose `sensitive` is a filter;
/// - `abort`: vLLM and `SGLang`, where somebody else than the client ended the call: we, who read, did not.
const FAILED_ENDS: [FailedEnd; 4] = [
    FailedEnd {
        word: "error",
        class: FailureClass::Server,
    },
    FailedEnd {
        word: "insufficient_system_resource",
        class: FailureClass::Overloaded,
    },
    FailedEnd {
        word: "network_error",
        class: FailureClass::Server,
    },
    FailedEnd {
        word: "abort",
        class: FailureClass::Server,
    },
];

impl FailedEnd {
    fn of(reason: &[u8]) -> Option<Self> {
        FAILED_ENDS.into_iter().find(|end| end.word.as_bytes() == reason)
    }
}

/// The failure of a choice that ended so: OpenRouter may put the error into the choice.
fn failure(end: FailedEnd, choice: &[u8]) -> ReportedFailure {
    let said = ProviderError::read(choice).reported();
    if said.message.is_empty() {
        let words = format!("the model ended its answer with `{}`", end.word);
        return ReportedFailure::told(end.class, said.status, words);
    }
    said
}

fn finish(reason: &[u8]) -> Finish {
    match reason {
        b"stop" | b"eos" | b"end_turn" | b"stop_sequence" => Finish::Stop,
        b"length" | b"max_tokens" | b"model_length" | b"model_context_window_exceeded" => Finish::Length,
        b"tool_calls" | b"function_call" | b"tool_use" => Finish::Tool,
        b"content_filter" | b"refusal" | b"sensitive" => Finish::Filter,
        _ => Finish::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(text: &str) -> Sign {
        read(text.as_bytes(), &mut Observation::default()).unwrap()
    }

    fn delta(delta: &str) -> Sign {
        sign(&format!(
            r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#
        ))
    }

    #[test]
    fn content_is_what_the_model_generated() {
        for empty in [
            r#"{"role":"assistant","content":""}"#,
            r#"{"content":null,"refusal":null,"tool_calls":null}"#,
            r#"{"content":"","refusal":"","function_call":{"name":"","arguments":""},"tool_calls":[]}"#,
            "{}",
            "null",
            r#"{"annotations":[],"reasoning_details":[]}"#,
        ] {
            assert!(!delta(empty).content, "{empty}");
        }
        for filled in [
            r#"{"content":" "}"#,
            r#"{"reasoning_content":"hm"}"#,
            r#"{"reasoning":"hm"}"#,
            r#"{"refusal":"no"}"#,
            r#"{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"function_call":{"name":"f","arguments":""}}"#,
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#,
            r#"{"images":[{"type":"image_url"}]}"#,
            r#"{"audio":{"id":"a","data":"AAAA"}}"#,
        ] {
            assert!(delta(filled).content, "{filled}");
        }
        assert!(sign(r#"{"choices":[{"text":"a","index":0}]}"#).content);
        assert!(!sign(r#"{"choices":[],"prompt_filter_results":[{"x":1}]}"#).content);
    }

    #[test]
    fn reasoning_under_several_names_counts_once() {
        let mut seen = Observation::default();
        let text = r#"{"choices":[{"delta":{"content":"ab","reasoning":"xyz","reasoning_content":"xyz","reasoning_details":[{"type":"reasoning.text","text":"xyz"}]}}]}"#;
        read(text.as_bytes(), &mut seen).unwrap();
        assert_eq!(seen.report.content_bytes, 5);
    }

    #[test]
    fn usage_alone_is_told_from_usage_beside_choices() {
        assert!(sign(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#).usage_only);
        assert!(!sign(r#"{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}"#).usage_only);
        assert!(!sign(r#"{"choices":[],"usage":null}"#).usage_only);
    }

    #[test]
    fn errors_are_found_in_every_shape() {
        for error in [
            r#"{"error":{"message":"m","type":"server_error"}}"#,
            r#"{"error":"boom"}"#,
            r#"{"object":"error","message":"m","code":500}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}],"error":{"code":502,"message":"m"}}"#,
            r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#,
        ] {
            assert!(matches!(sign(error).mark, Mark::Error(_)), "{error}");
        }
        for fine in [
            r#"{"error":null,"choices":[]}"#,
            r#"{"choices":[],"base_resp":{"status_code":0,"status_msg":""}}"#,
        ] {
            assert_eq!(sign(fine).mark, Mark::None, "{fine}");
        }
    }

    #[test]
    fn an_end_that_is_a_failure_is_none() {
        for (choice, class, status, message) in [
            (
                r#"{"index":0,"message":{"content":"half"},"finish_reason":"error","native_finish_reason":"x"}"#,
                FailureClass::Server,
                None,
                "the model ended its answer with `error`",
            ),
            (
                r#"{"index":0,"delta":{"content":""},"finish_reason":"error"}"#,
                FailureClass::Server,
                None,
                "the model ended its answer with `error`",
            ),
            (
                r#"{"error":{"code":429,"message":"slow down"},"message":{"content":"half"},"finish_reason":"error"}"#,
                FailureClass::RateLimited,
                Some(429),
                "slow down",
            ),
            (
                r#"{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}"#,
                FailureClass::Overloaded,
                None,
                "the model ended its answer with `insufficient_system_resource`",
            ),
            (
                r#"{"index":0,"message":{"content":"half"},"finish_reason":"network_error"}"#,
                FailureClass::Server,
                None,
                "the model ended its answer with `network_error`",
            ),
            (
                r#"{"index":0,"message":{"content":"half"},"finish_reason":"abort"}"#,
                FailureClass::Server,
                None,
                "the model ended its answer with `abort`",
            ),
        ] {
            let mut seen = Observation::default();
            let answer = format!(r#"{{"choices":[{choice}],"usage":{{"prompt_tokens":1}}}}"#);
            let Mark::Error(failure) = read(answer.as_bytes(), &mut seen).unwrap().mark else {
                panic!("{choice}")
            };
            assert_eq!((failure.class, failure.status), (class, status), "{choice}");
            assert!(failure.message.contains(message), "{choice}: {}", failure.message);
            assert!(!seen.choices.all_finished(), "{choice}");
            assert_eq!(seen.report.finish, Finish::Unknown, "{choice}");
        }
    }

    #[test]
    fn ends_of_a_providers_own_are_no_failures() {
        for (word, end) in [
            ("sensitive", Finish::Filter),
            ("model_length", Finish::Length),
            ("model_context_window_exceeded", Finish::Length),
            ("time_limit", Finish::Other),
            ("errors", Finish::Other),
        ] {
            let mut seen = Observation::default();
            let answer = format!(r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"{word}"}}]}}"#);
            let sign = read(answer.as_bytes(), &mut seen).unwrap();
            assert_eq!((sign.mark, seen.report.finish), (Mark::None, end), "{word}");
        }
    }

    #[test]
    fn every_choice_must_finish() {
        let mut seen = Observation::default();
        read(
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{"content":"a"}}]}"#,
            &mut seen,
        )
        .unwrap();
        assert!(!seen.choices.all_finished());
        read(
            br#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#,
            &mut seen,
        )
        .unwrap();
        assert!(seen.choices.all_finished());
        assert_eq!(seen.report.finish, Finish::Stop);
    }
}
