//! Batches: many requests that are handed over at once and answered hours later, in files with one JSON object a line.
//!
//! What is asked and what came of it are told by the same scans as in any other call; this is only the wrapping, which
//! `OpenAI`, Anthropic and Gemini have each of their own: <https://platform.openai.com/docs/api-reference/batch>,
//! <https://docs.claude.com/en/api/creating-message-batches>, <https://ai.google.dev/gemini-api/docs/batch-api>. Requests that failed, expired or were cancelled are in the
//! files too, and nobody bills them.

use domain::{Dialect, Operation, Surface};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::{Nonsense, Report, UsageReport, read_answer};

mod gemini;

pub use gemini::{Card, card, inlined};

/// The tier whose prices batches have, whatever their answers say: `OpenAI`'s say `default`.
pub const TIER: &str = "batch";

/// How far a batch is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its name.
    pub id: String,
    /// Whether nothing more will come.
    pub is_over: bool,
    /// Where its requests go; Anthropic's all go to one place.
    pub endpoint: Option<String>,
    /// The file with the answers, where that is a file of its own.
    pub output: Option<String>,
    /// The model of all requests, where the provider says so.
    pub model: Option<String>,
    /// What all of it used, where the provider says so: enough where the answers are gone.
    pub total: Option<Report>,
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The client's name for it, unique within the batch.
    pub custom_id: String,
    /// What was seen of the answer.
    pub report: Report,
}

#[derive(Deserialize)]
struct Object<'a> {
    id: String,
    status: Option<String>,
    processing_status: Option<String>,
    endpoint: Option<String>,
    output_file_id: Option<String>,
    model: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Reads the object that describes a batch; `None`: it is none.
pub fn state(dialect: Dialect, object: &[u8]) -> Option<State> {
    if dialect == Dialect::Gemini {
        return gemini::state(object);
    }
    let object: Object<'_> = serde_json::from_slice(object).ok()?;
    let is_over = match dialect {
        Dialect::AnthropicMessages => object.processing_status.as_deref() == Some("ended"),
        _ => matches!(
            object.status.as_deref(),
            Some("completed" | "failed" | "expired" | "cancelled")
        ),
    };
    let total = object.usage.filter(|usage| usage.get().contains("total_tokens"));
    Some(State {
        id: object.id,
        is_over,
        endpoint: object.endpoint,
        output: object.output_file_id.filter(|id| !id.is_empty()),
        model: None,
        total: total.and_then(|usage| summary(object.model.as_deref(), usage)),
    })
}

/// The whole usage is told in the words of a response.
fn summary(model: Option<&str>, usage: &RawValue) -> Option<Report> {
    let response =
        serde_json::json!({"object": "response", "status": "completed", "output": [], "model": model, "usage": usage});
    let surface = Surface::new(Operation::Chat, Dialect::OpenaiResponses);
    let report = read_answer(surface, response.to_string().as_bytes()).ok()?;
    Some(Report { stored: None, ..report })
}

#[derive(Deserialize)]
struct Creation<'a> {
    #[serde(borrow, default)]
    requests: Vec<Params<'a>>,
    input_file_id: Option<String>,
    endpoint: Option<String>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    params: &'a RawValue,
}

/// What is asked for when a batch is made.
#[derive(Debug)]
pub enum Asked<'a> {
    /// The requests themselves.
    Here(Vec<&'a RawValue>),
    /// They are in a file that the provider has.
    File {
        /// The file.
        id: String,
        /// Where they go.
        endpoint: String,
    },
}

/// Reads the request that makes a batch.
///
/// # Errors
/// If it is not one, in words for the client.
pub fn asked(dialect: Dialect, body: &[u8]) -> Result<Asked<'_>, String> {
    if dialect == Dialect::Gemini {
        return gemini::asked(body);
    }
    let creation: Creation<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if dialect == Dialect::AnthropicMessages {
        let params = creation.requests.into_iter().map(|request| request.params).collect();
        return Ok(Asked::Here(params));
    }
    let id = creation.input_file_id.ok_or("it names no `input_file_id`")?;
    let endpoint = creation.endpoint.ok_or("it names no `endpoint`")?;
    Ok(Asked::File { id, endpoint })
}

#[derive(Deserialize)]
struct Line<'a> {
    /// Gemini's word is `request`.
    #[serde(borrow, alias = "request")]
    body: &'a RawValue,
}

/// The request that a line of a file holds.
///
/// # Errors
/// If it holds none, in words for the client.
pub fn request(line: &[u8]) -> Result<&RawValue, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok(line.body)
}

#[derive(Deserialize)]
struct OpenaiLine<'a> {
    custom_id: String,
    #[serde(borrow)]
    response: Option<OpenaiResponse<'a>>,
}

#[derive(Deserialize)]
struct OpenaiResponse<'a> {
    status_code: u16,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AnthropicLine<'a> {
    custom_id: String,
    #[serde(borrow)]
    result: AnthropicResult<'a>,
}

#[derive(Deserialize)]
struct AnthropicResult<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// Reads a line of the file of answers; `None` for a request that has none and costs nothing.
///
/// # Errors
/// If it cannot be read.
pub fn answered(surface: Surface, line: &[u8]) -> Result<Option<Answered>, Nonsense> {
    let not_read = |_| Nonsense::Lacks("the parts of a line of a batch's results");
    let (custom_id, body) = if surface.dialect == Dialect::Gemini {
        gemini::line(line).map_err(not_read)?
    } else if surface.dialect == Dialect::AnthropicMessages {
        let line: AnthropicLine<'_> = serde_json::from_slice(line).map_err(not_read)?;
        (line.custom_id, line.result.message)
    } else {
        let line: OpenaiLine<'_> = serde_json::from_slice(line).map_err(not_read)?;
        let succeeded = line
            .response
            .filter(|response| (200..300).contains(&response.status_code));
        (line.custom_id, succeeded.and_then(|response| response.body))
    };
    let Some(body) = body else { return Ok(None) };
    match read_answer(surface, body.get().as_bytes()) {
        Ok(report) => Ok(Some(Answered {
            custom_id,
            report: Report {
                service_tier: Some(TIER.to_owned()),
                usage: match report.usage {
                    UsageReport::None if surface.dialect == Dialect::Gemini => gemini::counted(body.get()),
                    usage => usage,
                },
                ..report
            },
        })),
        Err(Nonsense::Error(_)) => Ok(None),
        Err(nonsense) => Err(nonsense),
    }
}

#[cfg(test)]
mod tests {
    use domain::Usage;

    use super::*;

    const CHAT: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
    const MESSAGES: Surface = Surface::new(Operation::Chat, Dialect::AnthropicMessages);

    #[test]
    fn a_batch_says_how_far_it_is() {
        let openai = |status: &str| {
            let text = format!(
                r#"{{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions","status":"{status}","output_file_id":"file-o"}}"#
            );
            state(Dialect::OpenaiChat, text.as_bytes()).unwrap()
        };
        assert!(
            ["validating", "in_progress", "finalizing", "cancelling"]
                .iter()
                .all(|status| !openai(status).is_over)
        );
        assert!(
            ["completed", "failed", "expired", "cancelled"]
                .iter()
                .all(|status| openai(status).is_over)
        );
        assert_eq!(openai("completed").output.as_deref(), Some("file-o"));
        let anthropic = |status: &str| {
            let text = format!(r#"{{"id":"msgbatch_1","type":"message_batch","processing_status":"{status}"}}"#);
            state(Dialect::AnthropicMessages, text.as_bytes()).unwrap().is_over
        };
        assert_eq!(
            ["in_progress", "canceling", "ended"].map(anthropic),
            [false, false, true]
        );
        assert_eq!(state(Dialect::OpenaiChat, b"[]"), None);
    }

    #[test]
    fn a_batch_says_what_all_of_it_used() {
        let text = br#"{"id":"b","status":"completed","model":"gpt-4o","usage":{"input_tokens":10,
            "input_tokens_details":{"cached_tokens":4},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":13}}"#;
        let total = state(Dialect::OpenaiChat, text).unwrap().total.unwrap();
        assert_eq!(total.model.as_deref(), Some("gpt-4o"));
        let UsageReport::Possible(usage) = total.usage else {
            panic!()
        };
        assert_eq!((usage.input, usage.cache_read, usage.output), (6, 4, 3));
    }

    #[test]
    fn answers_are_told_from_what_failed() {
        let good = br#"{"id":"r","custom_id":"a","response":{"status_code":200,"body":{"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}},"error":null}"#;
        let read = answered(CHAT, good).unwrap().unwrap();
        assert_eq!(
            (read.custom_id.as_str(), read.report.service_tier.as_deref()),
            ("a", Some(TIER))
        );
        let expected = Usage {
            input: 5,
            output: 2,
            ..Usage::default()
        };
        assert_eq!(read.report.usage, UsageReport::Possible(expected));
        for nothing in [
            r#"{"custom_id":"a","response":{"status_code":400,"body":{"error":{"message":"no"}}},"error":null}"#,
            r#"{"custom_id":"a","response":null,"error":{"code":"batch_expired"}}"#,
        ] {
            assert_eq!(answered(CHAT, nothing.as_bytes()).unwrap(), None, "{nothing}");
        }
        let message = br#"{"custom_id":"b","result":{"type":"succeeded","message":{"id":"m","type":"message","role":"assistant",
            "model":"claude-haiku-4-5","content":[],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":4}}}}"#;
        let read = answered(MESSAGES, message).unwrap().unwrap();
        assert_eq!(read.report.model.as_deref(), Some("claude-haiku-4-5"));
        for kind in ["errored", "canceled", "expired"] {
            let line = format!(r#"{{"custom_id":"b","result":{{"type":"{kind}"}}}}"#);
            assert_eq!(answered(MESSAGES, line.as_bytes()).unwrap(), None, "{kind}");
        }
        assert!(answered(CHAT, b"lines").is_err());
    }

    #[test]
    fn requests_are_found_where_they_stand() {
        let body =
            br#"{"requests":[{"custom_id":"a","params":{"model":"m"}},{"custom_id":"b","params":{"model":"n"}}]}"#;
        let Ok(Asked::Here(params)) = asked(Dialect::AnthropicMessages, body) else {
            panic!()
        };
        assert_eq!(
            params.iter().map(|params| params.get()).collect::<Vec<_>>(),
            [r#"{"model":"m"}"#, r#"{"model":"n"}"#]
        );
        assert!(
            matches!(asked(Dialect::OpenaiChat, br#"{"input_file_id":"f","endpoint":"/v1/responses"}"#), Ok(Asked::File { id, .. }) if id == "f")
        );
        assert!(asked(Dialect::OpenaiChat, b"{}").is_err());
        let line = br#"{"custom_id":"a","method":"POST","url":"/v1/responses","body":{"model":"m"}}"#;
        assert_eq!(request(line).unwrap().get(), r#"{"model":"m"}"#);
        assert!(request(b"content").is_err());
    }
}
