//! `anthropic_messages`: usage comes in two places, the prompt's with the first event and the answer's with the last
//! but one. A meter that looks only at the end bills no input.

use serde::Serialize;

use super::{SYSTEM, StreamText, Tokens, Turn, chunk_text, to_json};

const MODEL: &str = "claude-sonnet-4-5-20250929";
const ID: &str = "msg_01Qm8vT4nYzKc3LxWd6RjHbF";

/// Fields in the order in which clients write them.
#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    system: &'a str,
    messages: &'a [Turn],
    temperature: f64,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
}

pub(super) fn request(model: &str, turns: &[Turn], streaming: bool) -> String {
    let stream = streaming.then_some(true);
    to_json(&Request {
        model,
        system: SYSTEM,
        messages: turns,
        temperature: 0.7,
        max_tokens: 1024,
        stream,
    })
}

pub(super) fn plain(text: &str, Tokens { input, output }: Tokens) -> String {
    format!(
        r#"{{"id":"{ID}","type":"message","role":"assistant","model":"{MODEL}","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}},"output_tokens":{output},"service_tier":"standard"}}}}"#
    )
}

pub(super) fn stream(chunks: u32, Tokens { input, output }: Tokens) -> StreamText {
    let start = event(
        "message_start",
        &format!(
            r#""message":{{"id":"{ID}","type":"message","role":"assistant","model":"{MODEL}","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}}}"#
        ),
    );
    let block = event(
        "content_block_start",
        r#""index":0,"content_block":{"type":"text","text":""}"#,
    );
    let delta = |index| {
        let text = chunk_text(index);
        event(
            "content_block_delta",
            &format!(r#""index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#),
        )
    };
    let end = format!(
        r#""delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{output}}}"#
    );
    StreamText {
        opening: start + &block,
        content: (0..chunks).map(delta).collect(),
        closing: vec![
            event("content_block_stop", r#""index":0"#),
            event("message_delta", &end),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
        ],
    }
}

fn event(name: &str, fields: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\",{fields}}}\n\n")
}
