//! `openai_chat`: the fields and their order as OpenAI sends them, `usage: null` on every chunk
//! included, because a gateway reads past all of it.

use serde::Serialize;

use super::{SYSTEM, StreamText, Tokens, Turn, chunk_text, to_json};

const MODEL: &str = "gpt-4o-mini-2024-07-18";
const ID: &str = "chatcmpl-CdT5yLw0Qb1mXr8sVn3kHfUe72aGz";

/// Fields in the order in which clients write them.
#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    temperature: f64,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

pub(super) fn request(model: &str, turns: &[Turn], streaming: bool) -> String {
    let mut messages = vec![Message {
        role: "system",
        content: SYSTEM,
    }];
    messages.extend(turns.iter().map(|turn| Message {
        role: turn.role,
        content: &turn.content,
    }));
    to_json(&Request {
        model,
        messages,
        temperature: 0.7,
        max_tokens: 1024,
        stream: streaming.then_some(true),
        // Asked for, so that the usage chunk belongs to the client and the stream passes unchanged.
        stream_options: streaming.then_some(StreamOptions { include_usage: true }),
    })
}

pub(super) fn plain(text: &str, tokens: Tokens) -> String {
    let usage = usage(tokens);
    format!(
        r#"{{"id":"{ID}","object":"chat.completion","created":1763650000,"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage},"service_tier":"default","system_fingerprint":"fp_51db84afab"}}"#
    )
}

pub(super) fn stream(chunks: u32, tokens: Tokens) -> StreamText {
    let role = r#"{"role":"assistant","content":"","refusal":null}"#;
    let content = (0..chunks)
        .map(|index| event(&format!(r#"{{"content":"{}"}}"#, chunk_text(index)), "null"))
        .collect();
    StreamText {
        opening: event(role, "null"),
        content,
        closing: vec![
            event("{}", "\"stop\""),
            usage_event(tokens),
            "data: [DONE]\n\n".to_owned(),
        ],
    }
}

fn event(delta: &str, finish_reason: &str) -> String {
    format!(
        "data: {{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1763650000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_51db84afab\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish_reason}}}],\"usage\":null}}\n\n"
    )
}

fn usage_event(tokens: Tokens) -> String {
    let usage = usage(tokens);
    format!(
        "data: {{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1763650000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_51db84afab\",\"choices\":[],\"usage\":{usage}}}\n\n"
    )
}

fn usage(Tokens { input, output }: Tokens) -> String {
    let total = input + output;
    format!(
        r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#
    )
}
