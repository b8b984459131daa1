//! The scan of a request and the edits in it, against `serde_json`'s reading of the same bytes.

mod expected;

use bytes::Bytes;
use dialects::{Edits, RequestFacts, ScanError, scan};
use domain::{Dialect, Operation};
use serde_json::Value;

use crate::case::Case;
use crate::json;

/// Levels that the scan takes.
const DEPTH_MAX: usize = 128;

/// Names that a target may have: some must be escaped, one is a resource, one is nothing.
const NAMES: [&str; 6] = ["to/model", "gpt-4o", "a\"b\\\u{1}", "é", "", "models/x"];

/// The claims.
pub fn check(data: &[u8]) {
    dialects::fuzz::request(data);
    let case = Case::read(data);
    match scan(case.surface, case.body) {
        Ok(facts) => {
            reads_like_serde(&case, &facts);
            edits_only_what_it_says(&case, &facts);
        }
        Err(error) => refuses_for_a_reason(&case, &error),
    }
}

fn reads_like_serde(case: &Case<'_>, facts: &RequestFacts) {
    let is_text = |byte: &u8| *byte >= 0x20;
    if case.surface.operation == Operation::Passthrough {
        return;
    }
    assert!(
        json::is_object(case.body) || !case.body.iter().all(is_text),
        "scanned what is no JSON object"
    );
    assert!(facts.choices >= 1);
    let Some(value) = json::unambiguous(case.body) else {
        return;
    };
    if matches!(
        case.surface.dialect,
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::AnthropicMessages
    ) {
        assert_eq!(facts.model.as_deref(), value.get("model").and_then(Value::as_str));
        // Speech says it in another way.
        if case.surface.operation != Operation::Speech {
            assert_eq!(facts.stream, value.get("stream") == Some(&Value::Bool(true)));
        }
    } else {
        assert_eq!((&facts.model, facts.stream), (&None, false));
    }
    if is_task(case) {
        return;
    }
    bounds(case, facts, &value);
    if case.surface.dialect == Dialect::OpenaiChat {
        let asked = value.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        // A pointer steps into lists, too.
        let is_object = value.get("stream_options").is_some_and(Value::is_object);
        assert_eq!(facts.asked_for_usage(), asked && is_object);
    }
}

/// Tasks have no bound in tokens and no usage to ask for.
fn is_task(case: &Case<'_>) -> bool {
    case.surface.operation.is_task() && case.surface.dialect == Dialect::OpenaiChat
}

fn bounds(case: &Case<'_>, facts: &RequestFacts, value: &Value) {
    let (at, bounds, choices): (_, &[&str], &[&str]) = match case.surface.dialect {
        Dialect::OpenaiChat => (
            Some(value),
            &["max_tokens", "max_completion_tokens", "max_output_tokens"],
            &["n", "best_of"],
        ),
        Dialect::OpenaiResponses => (
            Some(value),
            &["max_tokens", "max_completion_tokens", "max_output_tokens"],
            &[],
        ),
        Dialect::AnthropicMessages => (Some(value), &["max_tokens"], &[]),
        Dialect::Gemini => (
            value.get("generationConfig").or_else(|| value.get("generation_config")),
            &["maxOutputTokens", "max_output_tokens"],
            &["candidateCount", "candidate_count"],
        ),
        Dialect::BedrockConverse => return,
    };
    let (Some(bound), Some(asked)) = (most(at, bounds), most(at, choices)) else {
        return;
    };
    assert_eq!(facts.output_bound, bound);
    let prompts = match value.get("prompt") {
        Some(Value::Array(texts))
            if (case.surface.operation, case.surface.dialect) == (Operation::Completions, Dialect::OpenaiChat) =>
        {
            let texts = texts.iter().filter(|text| text.is_string() || text.is_array());
            texts.count().max(1) as u64
        }
        _ => 1,
    };
    // Each of the three may stand for the texts to complete; together they are refused.
    let is_plain = value.get("messages").is_none() && value.get("input").is_none();
    if is_plain {
        assert_eq!(facts.choices, asked.unwrap_or(1).max(1).saturating_mul(prompts));
    }
}

/// The largest of the whole numbers under `keys`. `None`: one is written in a way that need not read alike everywhere.
#[expect(clippy::option_option, reason = "unclear, absent, and given are three answers")]
fn most(at: Option<&Value>, keys: &[&str]) -> Option<Option<u64>> {
    let mut most = None;
    for key in keys {
        match at.and_then(|at| at.get(key)) {
            None | Some(Value::Null) => {}
            Some(Value::Number(number)) => most = most.max(Some(number.as_u64()?)),
            Some(_) => return None,
        }
    }
    Some(most)
}

fn edits_only_what_it_says(case: &Case<'_>, facts: &RequestFacts) {
    let body = Bytes::copy_from_slice(case.body);
    let params = [
        ("store".to_owned(), "false".to_owned()),
        ("model".to_owned(), "\"never\"".to_owned()),
        ("store".to_owned(), "true".to_owned()),
    ];
    let edits = Edits {
        omit_model: false,
        omit: &[],
        model: (case.options & 1 == 0).then(|| NAMES[usize::from(case.options >> 3) % NAMES.len()]),
        include_usage: case.options & 2 != 0 && !is_task(case),
        params: if case.options & 4 != 0 { &params } else { &[] },
    };
    let edited = facts.edit(&body, &edits);
    if *facts == RequestFacts::default() {
        // Passed through unread, perhaps because of what a metered operation would refuse.
        assert_eq!(case.surface.operation, Operation::Passthrough);
        assert_eq!(edited, body);
    } else if let Some(expected) = expected::edited(case.surface.dialect, case.body, &edits) {
        assert_eq!(
            String::from_utf8_lossy(&edited),
            String::from_utf8_lossy(&expected),
            "from {:?}",
            String::from_utf8_lossy(case.body)
        );
        assert_eq!(facts.edit(&edited, &Edits::default()), edited);
    }
    assert_eq!(facts.edit(&body, &Edits::default()), body);
    let is_control = |byte: &u8| *byte < 0x20;
    if !json::is_object(case.body) && !case.body.iter().any(is_control) && json::depth(case.body) < DEPTH_MAX {
        assert_eq!(edited, body, "an edit of what is no JSON object");
    }
}

fn refuses_for_a_reason(case: &Case<'_>, error: &ScanError) {
    assert!(error.offset <= case.body.len(), "{error} in {} bytes", case.body.len());
    if error.what.contains("not a valid JSON object") && json::depth(case.body) <= DEPTH_MAX {
        assert!(!json::is_object(case.body), "{error}");
    }
    // The words are for a person: no control characters but what a key quotes.
    assert!(!error.what.is_empty());
}
