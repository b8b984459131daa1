//! Whole answers, their usage, and refusals: against `serde_json`, and against a planted secret.

use dialects::{Nonsense, Report, UsageReport, Verdict, classify, read_answer};
use domain::{Dialect, Operation, Timestamp};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::case::Case;
use crate::{json, usage};

/// Levels that the readers take.
const DEPTH_MAX: usize = 128;

/// Stands where an input has `@@`.
const PLANTED: &str = "sk-planted-7Qx9ZkVb3LmN8pRt";

/// No part of it may be told, either; an input that has this of its own proves nothing (the fuzzer learns what it is
/// compared with).
const PART: &str = "7Qx9Z";

/// Characters of a provider's message that may be kept, and some for the words around it.
const DETAIL_MAX: usize = 300 + 300;

/// The claims.
pub fn check(data: &[u8]) {
    dialects::fuzz::answer(data);
    dialects::fuzz::refusal(data);
    let case = Case::read(data);
    match read_answer(case.surface, case.body) {
        Ok(report) => reads_like_serde(&case, &report),
        Err(nonsense) => refuses_for_a_reason(&case, &nonsense),
    }
    refusals_keep_secrets(&case);
}

fn reads_like_serde(case: &Case<'_>, report: &Report) {
    usage::check(report, case.body.len());
    if case.surface.operation == Operation::Passthrough {
        return;
    }
    // Transcripts may be plain text.
    let is_text = case.surface.operation.hears() && case.body.trim_ascii_start().first() != Some(&b'{');
    if is_text && case.surface.dialect == Dialect::OpenaiChat {
        return;
    }
    assert!(json::is_object(case.body), "read what is no JSON object");
    let Some(value) = json::unambiguous(case.body) else {
        return;
    };
    if matches!(case.surface.dialect, Dialect::OpenaiChat | Dialect::AnthropicMessages) {
        let named = value.get("model").and_then(Value::as_str);
        if named.is_some_and(|name| name.len() < 80) {
            assert_eq!(report.model.as_deref(), named.filter(|name| !name.is_empty()));
        }
    }
    if let UsageReport::Possible(usage) = &report.usage {
        let expected = match case.surface.dialect {
            Dialect::OpenaiChat => openai(&value),
            Dialect::AnthropicMessages => anthropic(&value),
            _ => None,
        };
        if let Some((prompt, outputs)) = expected {
            assert_eq!(usage.prompt(), prompt, "{usage:?} of {value}");
            assert!(outputs.contains(&usage.output), "{usage:?} of {value}");
        }
    }
}

/// Prompt tokens, and what the output may be, of an object whose figures are all plain.
fn openai(value: &Value) -> Option<(u64, Vec<u64>)> {
    let usage = value.get("usage")?.as_object()?;
    let elsewhere = value.get("x_groq").is_some() || value.get("choices").is_some_and(has_usage);
    let known = [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "completion_tokens_details",
        "prompt_tokens_details",
    ];
    if elsewhere || !usage.keys().all(|key| known.contains(&key.as_str())) {
        return None;
    }
    let (prompt, output) = (
        usage.get("prompt_tokens")?.as_u64()?,
        usage.get("completion_tokens")?.as_u64()?,
    );
    let details = usage.get("completion_tokens_details");
    let reasoning = details.and_then(|details| details.get("reasoning_tokens"));
    let reasoning = reasoning.map_or(Some(0), Value::as_u64)?;
    Some((prompt, vec![output, output.saturating_add(reasoning)]))
}

/// Moonshot has it in its choices.
fn has_usage(choices: &Value) -> bool {
    let has = |choice: &Value| choice.get("usage").is_some();
    choices.as_array().is_some_and(|choices| choices.iter().any(has))
}

fn anthropic(value: &Value) -> Option<(u64, Vec<u64>)> {
    let usage = value.get("usage")?.as_object()?;
    let known = [
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ];
    if !usage.keys().all(|key| known.contains(&key.as_str())) {
        return None;
    }
    let figure = |key: &str| match usage.get(key) {
        None | Some(Value::Null) => Some(0),
        Some(value) => value.as_u64(),
    };
    let prompt = figure(known[0])?
        .checked_add(figure(known[2])?)?
        .checked_add(figure(known[3])?)?;
    Some((prompt, vec![figure(known[1])?]))
}

fn refuses_for_a_reason(case: &Case<'_>, nonsense: &Nonsense) {
    match nonsense {
        Nonsense::NotJson { offset, .. } => {
            assert!(*offset <= case.body.len());
            let is_served = case.surface.dialect != Dialect::BedrockConverse;
            if is_served && json::depth(case.body) <= DEPTH_MAX {
                assert!(!json::is_object(case.body), "{nonsense}");
            }
        }
        Nonsense::Lacks(_) => assert!(json::is_object(case.body)),
        Nonsense::Error(error) => shown(&error.message),
    }
}

fn refusals_keep_secrets(case: &Case<'_>) {
    let status = [401, 403, 429, 500, 200 + u16::from(case.options)][usize::from(case.options) % 5];
    let text = String::from_utf8_lossy(case.body);
    if text.contains("planted") || text.contains(PART) {
        return;
    }
    let text = text.replace("@@", PLANTED);
    let mut headers = HeaderMap::new();
    let value: String = text.chars().take(24).collect();
    for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-requests"] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    let now = Timestamp::from_secs(1_800_000_000);
    if let Verdict::Failure(failure) = classify(case.surface.dialect, status, &headers, text.as_bytes(), now) {
        assert!(!format!("{failure:?}").contains(PART), "a secret is told: {failure:?}");
        let week = std::time::Duration::from_hours(7 * 24);
        assert!(failure.retry_after.is_none_or(|wait| wait <= week), "{failure:?}");
        shown(&failure.detail);
    }
    if let Err(nonsense) = read_answer(case.surface, text.as_bytes()) {
        assert!(
            !format!("{nonsense:?}").contains(PART),
            "a secret is told: {nonsense:?}"
        );
    }
}

/// Words that stand in logs.
fn shown(words: &str) {
    assert!(
        words.chars().count() <= DETAIL_MAX,
        "{} characters",
        words.chars().count()
    );
    assert!(!words.contains(char::is_control), "{words:?}");
}
