//! The built-in demonstration: a provider inside the process, so that a newcomer has an answer without any key.
//!
//! It speaks every dialect natively instead of translating from one of them: an SDK is only shown to work when the very
//! grammar of its own format arrives, streamed word by word, with usage figures, tool calls and refusals. What it *says*
//! is the same everywhere and is decided in [`conversation`]; the dialect files only read a request into a
//! [`conversation::Prompt`] and write down what came of it. The rest of the gateway sees an upstream like any other:
//! its answers are tapped, metered and priced.
//!
//! Documents are read into `serde_json::Value` here, which the relay never does: nothing of this is hot.

mod anthropic_messages;
mod arguments;
mod conversation;
mod gemini;
mod openai_chat;
mod openai_responses;
mod refusal;
mod script;
mod tasks;
#[cfg(test)]
mod testing;
mod vector;

use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use serde_json::Value;

pub(crate) use script::Script;

use refusal::Refusal;

/// What the demonstration is asked.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// The operation and the format of `body`.
    pub(crate) surface: Surface,
    /// The model that the answer is to name.
    pub(crate) model: &'a str,
    /// The request, JSON.
    pub(crate) body: &'a [u8],
    /// Whether the answer streams.
    pub(crate) stream: bool,
    /// Gemini without `alt=sse`: the stream is one JSON array.
    pub(crate) json_array: bool,
    /// Whether an `OpenAI` stream ends with a usage chunk.
    pub(crate) include_usage: bool,
    /// The boundary of a body that is a form.
    pub(crate) form: Option<&'a str>,
}

/// What the demonstration says.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A whole answer, status 200.
    Whole(Bytes),
    /// A whole answer that is not JSON, and what it is.
    Plain(&'static str, Bytes),
    /// A stream, status 200.
    Stream(Script),
    /// The caller's mistake in the dialect's error envelope, status 400.
    Refused(Bytes),
}

/// Answers the call at once; only a [`Script`] takes its time.
pub(crate) fn answer(ask: &Ask<'_>) -> Reply {
    respond(ask).unwrap_or_else(|refusal| Reply::Refused(refusal.render(ask.surface.dialect)))
}

fn respond(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    if ask.surface.operation.is_task() {
        return tasks::answer(ask);
    }
    let body = dialects::read_json(ask.body)
        .map_err(|error| Refusal::invalid(format!("The body is not valid JSON: {error}.")))?;
    match (ask.surface.operation, ask.surface.dialect) {
        (Operation::Chat, Dialect::OpenaiChat) => openai_chat::chat(ask, &body),
        (Operation::Completions, Dialect::OpenaiChat) => openai_chat::completions(ask, &body),
        (Operation::Embeddings, Dialect::OpenaiChat) => openai_chat::embeddings(ask, &body),
        (Operation::Chat, Dialect::OpenaiResponses) => openai_responses::create(ask, &body),
        (Operation::Chat, Dialect::AnthropicMessages) => anthropic_messages::create(ask, &body),
        (Operation::CountTokens, Dialect::AnthropicMessages) => anthropic_messages::count_tokens(&body),
        (Operation::Chat, Dialect::Gemini) => gemini::generate_content(ask, &body),
        (Operation::CountTokens, Dialect::Gemini) => gemini::count_tokens(&body),
        (Operation::Embeddings, Dialect::Gemini) => gemini::embed_content(&body),
        _ => Err(Refusal::invalid(format!("The demo does not offer {}.", ask.surface))),
    }
}

/// An id that no other call has: `prefix` and a UUID that sorts by time.
fn fresh_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::now_v7().simple())
}

/// Seconds since 1970, as the `created` fields have them.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// JSON as bytes. A `Value` always has a text.
fn json_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::testing::{ask, refused};
    use super::*;

    #[test]
    fn bodies_that_are_not_json_are_refused_in_every_dialect() {
        let openai = refused(&ask(Operation::Chat, Dialect::OpenaiChat, b"{"));
        assert_eq!(openai["error"]["type"], "invalid_request_error");
        let responses = refused(&ask(Operation::Chat, Dialect::OpenaiResponses, b"{"));
        assert_eq!(responses["error"]["type"], "invalid_request_error");
        let anthropic = refused(&ask(Operation::Chat, Dialect::AnthropicMessages, b"{"));
        assert_eq!(
            (&anthropic["type"], &anthropic["error"]["type"]),
            (&"error".into(), &"invalid_request_error".into())
        );
        let gemini = refused(&ask(Operation::Chat, Dialect::Gemini, b"{"));
        assert_eq!(
            (&gemini["error"]["code"], &gemini["error"]["status"]),
            (&400.into(), &"INVALID_ARGUMENT".into())
        );
    }

    #[test]
    fn an_operation_that_is_not_offered_is_refused() {
        let body = refused(&ask(Operation::Completions, Dialect::Gemini, b"{}"));
        assert_eq!(body["error"]["message"], "The demo does not offer completions.gemini.");
    }

    #[test]
    fn ids_are_unique() {
        assert_ne!(fresh_id("x"), fresh_id("x"));
    }
}
