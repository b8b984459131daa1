//! An upstream's whole answer.

use domain::Dialect;
use serde_json::Value;

use super::message;
use crate::answer::Nonsense;
use crate::hub::{Answer, BadRequest, Choice, Citation, CitedSource, Content, Fields, Part, Stop, StopReason};
use crate::limits::CHOICES_MAX;

impl From<BadRequest> for Nonsense {
    /// The readers of messages serve requests and answers; what is wrong with an answer is the upstream's fault.
    fn from(_: BadRequest) -> Self {
        Self::Lacks("the shape of its format")
    }
}

/// Reads an answer.
pub(crate) fn answer(body: &[u8]) -> Result<Answer, Nonsense> {
    let mut fields = Fields::parse(body)?;
    let mut answer = Answer {
        id: fields.text("id")?.unwrap_or_default(),
        model: fields.text("model")?.unwrap_or_default(),
        created: created(fields.take("created").as_ref()),
        ..Answer::default()
    };
    for mut choice in fields.objects("choices")?.into_iter().take(CHOICES_MAX) {
        answer.choices.push(read_choice(&mut choice)?);
    }
    // Told by the tap, or by the format.
    for read in ["usage", "service_tier", "object"] {
        fields.take(read);
    }
    answer.extra = fields.rest(Dialect::OpenaiChat);
    Ok(answer)
}

/// Seconds; some servers write a fraction.
pub(super) fn created(value: Option<&Value>) -> Option<i64> {
    let number = value?.as_number()?;
    number
        .as_i64()
        .or_else(|| number.as_f64().map(|seconds| seconds as i64))
        .filter(|seconds| *seconds > 0)
}

fn read_choice(choice: &mut Fields) -> Result<Choice, Nonsense> {
    let mut said = Choice {
        logprobs: choice.take("logprobs"),
        ..Choice::default()
    };
    if let Some(mut fields) = choice.object("message")? {
        let annotations = fields.list("annotations")?;
        said.parts = message::said(&mut fields)?;
        cite(&mut said.parts, &annotations);
    }
    said.stop = choice
        .text("finish_reason")?
        .filter(|word| !word.is_empty())
        .map(|word| stop(&word));
    Ok(said)
}

/// Puts annotations to the text that they are about: there is only one.
fn cite(parts: &mut [Part], annotations: &[Value]) {
    let text = parts.iter_mut().find_map(|part| match &mut part.content {
        Content::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(citations) = text {
        citations.extend(annotations.iter().map(citation));
    }
}

/// `{type: url_citation, url_citation: {start_index, end_index, url, title}}`
pub(super) fn citation(annotation: &Value) -> Citation {
    let inner = annotation.get("url_citation");
    let text = |name: &str| inner?.get(name)?.as_str().map(str::to_owned);
    let number = |name: &str| inner?.get(name)?.as_u64();
    Citation {
        span: number("start_index").zip(number("end_index")),
        quote: text("content"),
        source: match text("url") {
            Some(url) => CitedSource::Url {
                url,
                title: text("title"),
            },
            None => CitedSource::Other,
        },
        native: Some((Dialect::OpenaiChat, annotation.clone())),
    }
}

/// Why it ended. OpenAI says `stop` after a call that the request demanded by name; that is passed on as it said it.
pub(super) fn stop(word: &str) -> Stop {
    let reason = match word {
        "tool_calls" | "function_call" | "tool_use" => StopReason::Tool,
        "stop" | "eos" | "end_turn" => StopReason::End,
        "stop_sequence" => StopReason::Sequence,
        "length" | "max_tokens" => StopReason::Length,
        // Mistral's word and Z.ai's (<https://github.com/anomalyco/opencode/pull/18918>).
        "model_length" | "model_context_window_exceeded" => StopReason::Context,
        "content_filter" | "refusal" | "sensitive" => StopReason::Filter,
        _ => StopReason::Other,
    };
    Stop {
        raw: word.to_owned(),
        ..Stop::new(reason)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Snowflake fills what is not there with empty members.
    #[test]
    fn empty_members_say_nothing() {
        let message = json!({
            "content": "Sure!",
            "audio": {"data": "", "expires_at": 0, "id": "", "transcript": ""},
            "function_call": {"arguments": "", "name": ""},
            "tool_calls": [{
                "id": "a",
                "type": "function",
                "custom": {"input": "", "name": ""},
                "function": {"arguments": "{}", "name": "f"},
            }],
        });
        let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": ""}]});
        let told = answer(body.to_string().as_bytes()).unwrap();
        let parts = &told.choices[0].parts;
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[0].as_text(), Some("Sure!"));
        assert!(matches!(&parts[1].content, Content::ToolCall(call) if call.name == "f" && !call.custom));
    }
}
