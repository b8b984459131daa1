//! How many tokens a request would have: the same request, asked at another path, and one figure as the answer.
//!
//! A count is only worth asking where the target counts for its own models; so the request is told in the target's format
//! like one for an answer, without what a counting endpoint does not take, and the figure comes back in the client's words.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::Target;
use crate::answer::Nonsense;
use crate::hub::{BadRequest, nested};

/// What `POST /v1/messages/count_tokens` takes: <https://docs.claude.com/en/api/messages-count-tokens>.
const ANTHROPIC: [&str; 9] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "mcp_servers",
    "cache_control",
];

/// What `POST /v1/responses/input_tokens` takes: <https://platform.openai.com/docs/api-reference/responses/input-tokens>.
const RESPONSES: [&str; 9] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
];

/// What of a Gemini request is counted.
const GEMINI: [&str; 3] = ["contents", "systemInstruction", "tools"];

/// What `CountTokens` takes of a conversation:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseTokensRequest.html>.
const BEDROCK: [&str; 4] = ["messages", "system", "toolConfig", "additionalModelRequestFields"];

/// A request for an answer as one for its count.
pub(super) fn request(dialect: Dialect, body: Value, target: &Target<'_>) -> Result<Value, BadRequest> {
    match dialect {
        Dialect::AnthropicMessages => Ok(only(body, &ANTHROPIC)),
        Dialect::OpenaiResponses => Ok(only(body, &RESPONSES)),
        Dialect::Gemini => {
            let mut inner = only(body, &GEMINI);
            // The inner request must name the model again, as a resource.
            inner["model"] = format!("models/{}", target.model).into();
            Ok(json!({"generateContentRequest": inner}))
        }
        Dialect::BedrockConverse => Ok(json!({"input": {"converse": only(body, &BEDROCK)}})),
        Dialect::OpenaiChat => Err(BadRequest::new(
            "body",
            "the target's format has no way to count tokens",
        )),
    }
}

fn only(body: Value, members: &[&str]) -> Value {
    let Value::Object(body) = body else { return body };
    body.into_iter()
        .filter(|(name, _)| members.contains(&name.as_str()))
        .collect::<Map<_, _>>()
        .into()
}

/// The figure of an upstream's answer.
pub(super) fn read(dialect: Dialect, body: &[u8]) -> Result<u64, Nonsense> {
    let member = match dialect {
        Dialect::Gemini => "totalTokens",
        Dialect::BedrockConverse => "inputTokens",
        _ => "input_tokens",
    };
    let read = nested::read(body).ok();
    read.and_then(|answer| answer.get(member)?.as_u64())
        .ok_or(Nonsense::Lacks(member))
}

/// A figure as the client is told it.
pub fn count_answer(dialect: Dialect, tokens: u64) -> Value {
    match dialect {
        Dialect::Gemini => json!({"totalTokens": tokens}),
        Dialect::OpenaiResponses => json!({"object": "response.input_tokens", "input_tokens": tokens}),
        Dialect::OpenaiChat | Dialect::AnthropicMessages | Dialect::BedrockConverse => json!({"input_tokens": tokens}),
    }
}

#[cfg(test)]
mod tests {
    use domain::provider::Quirks;

    use super::*;

    fn counted(dialect: Dialect, body: Value) -> Value {
        let quirks = Quirks::default();
        let target = Target {
            model: "m",
            max_output: 0,
            thinks: None,
            include_usage: false,
            quirks: &quirks,
        };
        request(dialect, body, &target).unwrap()
    }

    #[test]
    fn only_what_is_counted_is_asked() {
        let anthropic = json!({"model": "m", "max_tokens": 5, "messages": [], "temperature": 1, "system": "s"});
        assert_eq!(
            counted(Dialect::AnthropicMessages, anthropic),
            json!({"model": "m", "messages": [], "system": "s"})
        );
        let gemini = json!({"contents": [], "generationConfig": {}});
        assert_eq!(
            counted(Dialect::Gemini, gemini),
            json!({"generateContentRequest": {"contents": [], "model": "models/m"}})
        );
    }

    #[test]
    fn the_figure_is_found_and_told() {
        assert_eq!(read(Dialect::Gemini, br#"{"totalTokens": 7}"#), Ok(7));
        assert_eq!(read(Dialect::AnthropicMessages, br#"{"input_tokens": 7}"#), Ok(7));
        assert!(read(Dialect::AnthropicMessages, br#"{"input_tokens": -7}"#).is_err());
        for dialect in [Dialect::Gemini, Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
            assert_eq!(read(dialect, count_answer(dialect, 9).to_string().as_bytes()), Ok(9));
        }
    }
}
