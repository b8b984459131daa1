//! What a request asks for, read from its path, headers and body.
//!
//! Paths are matched by how they end, so that an upstream may be configured with any prefix (`/openai/v1`,
//! `/openai/deployments/m`, `/v1beta1/projects/p/…/publishers/google`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::Request;
use super::tasks::form_field;

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `/v1/chat/completions` and its neighbours.
    OpenaiChat,
    /// `/v1/responses`.
    OpenaiResponses,
    /// `/v1/messages`.
    AnthropicMessages,
    /// `/v1beta/models/{m}:generateContent`.
    Gemini,
}

/// What is wanted in that format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An answer to messages.
    Chat,
    /// The older `/v1/completions`.
    Completion,
    /// Vectors for one or many inputs.
    Embeddings,
    /// Gemini's `batchEmbedContents`.
    BatchEmbeddings,
    /// How many tokens a prompt has.
    CountTokens,
    /// The list of models.
    Models,
    /// One model.
    Model,
    /// Pictures, from a text or from pictures.
    Images,
    /// A text, read aloud.
    Speech,
    /// A recording, written down.
    Transcript,
    /// Whether texts are harmful.
    Moderations,
    /// Texts by how well they answer a query.
    Rerank,
    /// None of these: answered 404 unless the behaviour is raw.
    Unknown,
}

/// How a stream is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamForm {
    Sse,
    /// Gemini without `alt=sse`: one JSON array.
    JsonArray,
}

/// One request, understood.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
    pub(crate) model: String,
    pub(crate) stream: Option<StreamForm>,
    pub(crate) include_usage: bool,
    pub(crate) choices: usize,
    pub(crate) inputs: usize,
    pub(crate) base64: bool,
    pub(crate) dimensions: Option<usize>,
    /// `response_format`, where that is a word.
    pub(crate) format: String,
    /// The beginning of the answer that the request ends with.
    pub(crate) prefill: Option<String>,
    /// `instructions` (Responses), which the answer repeats.
    pub(crate) instructions: Value,
    /// The body is no JSON, as forms are not.
    pub(crate) is_form: bool,
}

impl Asked {
    pub(crate) fn read(request: &Request) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let (dialect, operation, path_model) = route(path, request);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let is_form = body.is_null();
        let field = |name| form_field(&request.body, name).filter(|_| is_form);
        let body_model = body["model"].as_str().or(field("model")).unwrap_or_default();
        let query_model = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("model=").or_else(|| pair.strip_prefix("deployment=")))
            .filter(|_| path.ends_with("/realtime"));
        let model = path_model.or(query_model).unwrap_or(body_model).to_owned();
        Self {
            dialect,
            operation,
            model,
            stream: stream_form(dialect, path, query, &body)
                .or((field("stream") == Some("true")).then_some(StreamForm::Sse))
                .or((body["stream_format"] == "sse").then_some(StreamForm::Sse)),
            include_usage: body["stream_options"]["include_usage"] == Value::Bool(true),
            format: body["response_format"]
                .as_str()
                .or(field("response_format"))
                .unwrap_or_default()
                .to_owned(),
            prefill: prefill(&body),
            instructions: body["instructions"].clone(),
            is_form,
            choices: body["n"]
                .as_u64()
                .or_else(|| field("n")?.parse().ok())
                .unwrap_or(1)
                .clamp(1, CHOICES_MAX) as usize,
            inputs: inputs(&body),
            base64: body["encoding_format"] == "base64",
            dimensions: body["dimensions"].as_u64().map(|d| d.min(DIMENSIONS_MAX) as usize),
        }
    }
}

/// Answers per call that are written at most; OpenAI's own bound.
const CHOICES_MAX: u64 = 128;
/// The longest vector that any provider offers is 3,072 or 4,096 numbers.
const DIMENSIONS_MAX: u64 = 4096;

fn route<'a>(path: &'a str, request: &Request) -> (Dialect, Operation, Option<&'a str>) {
    let last_model = path.rsplit_once("/models/").map(|(_, rest)| rest);
    if let Some((model, verb)) = last_model.and_then(|rest| rest.rsplit_once(':')) {
        return (Dialect::Gemini, gemini_operation(verb), Some(model));
    }
    if path.ends_with("/models") || last_model.is_some() {
        let operation = if last_model.is_some() {
            Operation::Model
        } else {
            Operation::Models
        };
        return (models_dialect(path, request), operation, last_model);
    }
    let known = [
        (
            "/messages/count_tokens",
            Dialect::AnthropicMessages,
            Operation::CountTokens,
        ),
        ("/messages", Dialect::AnthropicMessages, Operation::Chat),
        ("/responses", Dialect::OpenaiResponses, Operation::Chat),
        ("/chat/completions", Dialect::OpenaiChat, Operation::Chat),
        ("/completions", Dialect::OpenaiChat, Operation::Completion),
        ("/embeddings", Dialect::OpenaiChat, Operation::Embeddings),
        ("/images/generations", Dialect::OpenaiChat, Operation::Images),
        ("/images/edits", Dialect::OpenaiChat, Operation::Images),
        ("/images/variations", Dialect::OpenaiChat, Operation::Images),
        ("/audio/speech", Dialect::OpenaiChat, Operation::Speech),
        ("/audio/transcriptions", Dialect::OpenaiChat, Operation::Transcript),
        ("/audio/translations", Dialect::OpenaiChat, Operation::Transcript),
        ("/moderations", Dialect::OpenaiChat, Operation::Moderations),
        ("/rerank", Dialect::OpenaiChat, Operation::Rerank),
    ];
    for (end, dialect, operation) in known {
        if path.ends_with(end) {
            return (dialect, operation, None);
        }
    }
    (Dialect::OpenaiChat, Operation::Unknown, None)
}

fn gemini_operation(verb: &str) -> Operation {
    match verb {
        "generateContent" | "streamGenerateContent" => Operation::Chat,
        "countTokens" => Operation::CountTokens,
        "embedContent" => Operation::Embeddings,
        "batchEmbedContents" => Operation::BatchEmbeddings,
        _ => Operation::Unknown,
    }
}

fn models_dialect(path: &str, request: &Request) -> Dialect {
    if path.contains("/v1beta") || request.header("x-goog-api-key").is_some() {
        Dialect::Gemini
    } else if request.header("anthropic-version").is_some() {
        Dialect::AnthropicMessages
    } else {
        Dialect::OpenaiChat
    }
}

fn stream_form(dialect: Dialect, path: &str, query: &str, body: &Value) -> Option<StreamForm> {
    if dialect == Dialect::Gemini {
        let sse = query.split('&').any(|pair| pair == "alt=sse");
        return path.ends_with(":streamGenerateContent").then_some(if sse {
            StreamForm::Sse
        } else {
            StreamForm::JsonArray
        });
    }
    (body["stream"] == Value::Bool(true)).then_some(StreamForm::Sse)
}

/// The text of the last message, where that is the model's own: the beginning of the answer that is asked for.
pub(super) fn prefill(body: &Value) -> Option<String> {
    let messages = ["messages", "input", "contents"]
        .into_iter()
        .find_map(|member| body[member].as_array())?;
    let last = messages.last()?;
    if !matches!(last["role"].as_str()?, "assistant" | "model") {
        return None;
    }
    let content = if last["parts"].is_array() {
        &last["parts"]
    } else {
        &last["content"]
    };
    match content {
        Value::String(text) => Some(text.clone()),
        parts => Some(
            parts
                .as_array()?
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect(),
        ),
    }
}

/// How many vectors are wanted: a list of strings or of token lists counts its members, one token list counts once.
fn inputs(body: &Value) -> usize {
    let wanted = match (&body["input"], &body["requests"]) {
        (Value::Array(list), _) if !list.first().is_some_and(Value::is_number) => list.len(),
        (_, Value::Array(requests)) => requests.len(),
        _ => 1,
    };
    wanted.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, headers: &[(&str, &str)], body: &str) -> Asked {
        Asked::read(&Request::of("POST", target, headers, body))
    }

    #[test]
    fn knows_every_path() {
        let cases = [
            ("/v1/chat/completions", Dialect::OpenaiChat, Operation::Chat),
            (
                "/openai/deployments/m/chat/completions?api-version=1",
                Dialect::OpenaiChat,
                Operation::Chat,
            ),
            ("/v1/completions", Dialect::OpenaiChat, Operation::Completion),
            ("/v1/embeddings", Dialect::OpenaiChat, Operation::Embeddings),
            ("/v1/models", Dialect::OpenaiChat, Operation::Models),
            ("/v1/models/gpt-4o", Dialect::OpenaiChat, Operation::Model),
            ("/v1/responses", Dialect::OpenaiResponses, Operation::Chat),
            ("/v1/messages", Dialect::AnthropicMessages, Operation::Chat),
            (
                "/v1/messages/count_tokens",
                Dialect::AnthropicMessages,
                Operation::CountTokens,
            ),
            ("/v1beta/models", Dialect::Gemini, Operation::Models),
            ("/v1beta/models/g:generateContent", Dialect::Gemini, Operation::Chat),
            ("/v1/models/g:countTokens", Dialect::Gemini, Operation::CountTokens),
            ("/v1beta/models/g:embedContent", Dialect::Gemini, Operation::Embeddings),
            (
                "/v1beta/models/g:batchEmbedContents",
                Dialect::Gemini,
                Operation::BatchEmbeddings,
            ),
            ("/v1/files", Dialect::OpenaiChat, Operation::Unknown),
        ];
        for (target, dialect, operation) in cases {
            let asked = asked(target, &[], "{}");
            assert_eq!((asked.dialect, asked.operation), (dialect, operation), "{target}");
        }
        assert_eq!(
            asked("/v1/models", &[("Anthropic-Version", "1")], "").dialect,
            Dialect::AnthropicMessages
        );
    }

    #[test]
    fn reads_model_stream_and_counts() {
        let chat = asked(
            "/v1/chat/completions",
            &[],
            r#"{"model":"m","stream":true,"n":3,"stream_options":{"include_usage":true}}"#,
        );
        assert_eq!(
            (chat.model.as_str(), chat.stream, chat.choices, chat.include_usage),
            ("m", Some(StreamForm::Sse), 3, true)
        );
        assert_eq!(
            asked("/v1beta/models/g:streamGenerateContent?alt=sse", &[], "{}").stream,
            Some(StreamForm::Sse)
        );
        let array = asked("/v1beta/models/g:streamGenerateContent?key=1", &[], "{}");
        assert_eq!((array.model.as_str(), array.stream), ("g", Some(StreamForm::JsonArray)));
        assert_eq!(asked("/v1/embeddings", &[], r#"{"input":["a","b"]}"#).inputs, 2);
        assert_eq!(asked("/v1/embeddings", &[], r#"{"input":[1,2,3]}"#).inputs, 1);
    }
}
