//! What the tests of this dialect share.

use domain::provider::Quirks;
use serde_json::Value;

use super::{decode, encode};
use crate::hub::{BadRequest, Collector, Event, Losses, Request};
use crate::translate::{Reply, Target};

/// A reply of the call `0abc`.
pub(super) fn reply() -> Reply {
    Reply {
        model: "claude-test".to_owned(),
        id: "0abc".to_owned(),
        ..Reply::default()
    }
}

/// The request as an upstream's model gets it, and what was noted.
pub(super) fn told(request: Request, model: &str, max_output: u64) -> (Value, Vec<String>) {
    let (value, losses) = tried(request, model, max_output);
    (value.unwrap(), noted(losses))
}

/// Why a request cannot be told to a model.
pub(super) fn refused(request: Request, model: &str) -> BadRequest {
    tried(request, model, 0).0.unwrap_err()
}

fn tried(request: Request, model: &str, max_output: u64) -> (Result<Value, BadRequest>, Losses) {
    let quirks = Quirks::default();
    let target = Target {
        model,
        max_output,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    let mut losses = Losses::default();
    (encode::request(request, &target, &mut losses), losses)
}

/// Names of what was lost.
pub(super) fn noted(losses: Losses) -> Vec<String> {
    losses
        .into_vec()
        .into_iter()
        .map(|loss| loss.what.into_owned())
        .collect()
}

/// The events of a stream's text, which is whole.
pub(super) fn events(stream: &str) -> Vec<Event> {
    let (mut decoder, mut events) = (decode::StreamDecoder::default(), Vec::new());
    for event in crate::sse::events(stream.as_bytes()) {
        let data = event.data.unwrap_or_default();
        if !data.trim_ascii().is_empty() {
            decoder.event(data.trim_ascii(), &mut events).unwrap();
        }
    }
    decoder.finish(&mut events);
    events
}

/// The stream that a client gets of these events.
pub(super) fn streamed(events: Vec<Event>) -> (String, Vec<String>) {
    let (mut encoder, mut out) = (encode::StreamEncoder::new(reply()), Vec::new());
    let mut losses = Losses::default();
    for event in events {
        assert!(encoder.event(event, &mut out, &mut losses));
    }
    encoder.finish(&mut out, &mut losses);
    (String::from_utf8(out).unwrap(), noted(losses))
}

/// The answer that events tell.
pub(super) fn collected(events: Vec<Event>) -> crate::hub::Answer {
    let mut collector = Collector::default();
    for event in events {
        collector.push(event);
    }
    collector.into_answer()
}

/// Checks the grammar of a whole stream and returns the types of its blocks.
pub(super) fn check_grammar(stream: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    let mut open: Option<u64> = None;
    let (mut count, mut is_over) = (0, false);
    for (place, event) in crate::sse::events(stream.as_bytes()).enumerate() {
        let data: Value = serde_json::from_slice(&event.data.unwrap()).unwrap();
        let kind = data["type"].as_str().unwrap();
        assert_eq!(kind.as_bytes(), event.name, "the event's name is its type");
        assert!(!is_over, "something follows the end: {data}");
        assert_eq!(place == 0, kind == "message_start", "the start comes first and once");
        match kind {
            "message_start" => assert!(data["message"]["usage"]["input_tokens"].is_u64()),
            "content_block_start" => {
                assert_eq!(open, None, "a block begins inside another");
                assert_eq!(data["index"], count, "indexes have a gap");
                open = Some(count);
                kinds.push(data["content_block"]["type"].as_str().unwrap().to_owned());
            }
            "content_block_delta" => {
                assert_eq!(open, data["index"].as_u64(), "a delta of a block that is not open");
                let expected: &[&str] = match kinds.last().unwrap().as_str() {
                    "text" => &["text_delta", "citations_delta"],
                    "thinking" => &["thinking_delta", "signature_delta"],
                    "tool_use" | "server_tool_use" | "mcp_tool_use" => &["input_json_delta"],
                    _ => &[],
                };
                assert!(expected.contains(&data["delta"]["type"].as_str().unwrap()), "{data}");
            }
            "content_block_stop" => {
                assert_eq!(open.take(), data["index"].as_u64());
                count += 1;
            }
            "message_delta" => {
                assert_eq!(open, None, "the message ends inside a block");
                assert!(data["delta"]["stop_reason"].is_string() && data["usage"]["output_tokens"].is_u64());
            }
            "message_stop" => is_over = true,
            other => panic!("unknown event {other}"),
        }
    }
    assert!(is_over, "there is no end");
    kinds
}
