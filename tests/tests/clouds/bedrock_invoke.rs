//! Anthropic's format at Bedrock, inside of Amazon's frames.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blackbox::format::Format;
use blackbox::receipt_of;
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::upstream::{Behaviour, Match};

use crate::bedrock::MODEL;
use crate::event_stream::{event, frame, stream_of};
use crate::lab::World;
use crate::signature::{AWS_SECRET, AWS_TOKEN, assert_signed};

/// Anthropic's own format at Bedrock.
pub(crate) fn invoking(key: &str) -> World {
    World::new(|upstream| {
        format!(
            "upstreams:
  - {{name: aws, provider: bedrock-anthropic, base_url: \"{}\", variables: {{region: eu-west-1}}, breaker: off, credentials: [{{name: k1, key: \"{key}\"}}]}}
models: [{{name: claude, targets: [{{upstream: aws, model: \"{MODEL}\"}}]}}]",
            upstream.url()
        )
    })
}

/// Events of Anthropic's format, as Bedrock wraps them.
fn wrapped(events: &[Value]) -> Vec<u8> {
    let frames = events.iter().map(|event| {
        let payload = json!({"bytes": STANDARD.encode(event.to_string()), "p": "abcdef"});
        self::event("chunk", &payload)
    });
    frames.collect::<Vec<_>>().concat()
}

fn anthropic_events() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [], "stop_reason": null, "usage": {"input_tokens": 40, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 40}}),
    ]
}

#[test]
fn anthropics_own_format_at_bedrock_passes_through_but_for_what_amazon_wants_elsewhere() {
    let world = invoking(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    let whole = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "one two"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 40, "output_tokens": 9}});
    let json = [("content-type", "application/json")];
    world
        .upstream
        .rule(Match::path("/invoke"), Behaviour::raw(200, &json, whole.to_string()));
    let stream = stream_of(wrapped(&anthropic_events()));
    world.upstream.rule(Match::path("/invoke-with-response-stream"), stream);
    let ask = |stream: &str| {
        let body = format!(
            r#"{{"model": "claude", "max_tokens": 9,{stream} "metadata": {{"x": 1}}, "messages": [{{"role": "user", "content": "hi"}}]}}"#
        );
        let request = Request::new("POST", "/v1/messages").body(body);
        let request = request.header("content-type", "application/json");
        request.header(
            "anthropic-beta",
            "claude-code-20250219,context-1m-2025-08-07, effort-2025-11-24",
        )
    };
    for (stream, end) in [("", "invoke"), (" \"stream\": true,", "invoke-with-response-stream")] {
        let response = world.send(&ask(stream));
        let text = response.text();
        assert_eq!(response.status(), 200, "{end}: {text}");
        let asked = world.asked();
        assert_eq!(asked.path(), format!("/model/{}/{end}", MODEL.replace(':', "%3A")));
        assert_signed(&asked, "eu-west-1");
        assert_eq!(asked.header("anthropic-beta"), None);
        assert_eq!(
            String::from_utf8_lossy(&asked.body),
            r#"{ "max_tokens": 9, "metadata": {"x": 1}, "messages": [{"role": "user", "content": "hi"}],"anthropic_beta":["context-1m-2025-08-07","effort-2025-11-24"],"anthropic_version":"bedrock-2023-05-31"}"#
        );
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(
            (&receipt["usage"]["input"], &receipt["usage"]["output"]),
            (&json!(40), &json!(9)),
            "{receipt}"
        );
        if stream.is_empty() {
            assert_eq!(response.json(), whole);
            continue;
        }
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert!(response.is_complete());
        let told: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert_eq!(told, anthropic_events(), "each event as it came");
    }
}

#[test]
fn clients_of_other_formats_are_served_in_anthropics_at_bedrock() {
    let world = invoking("bedrock-api-key");
    let stream = stream_of(wrapped(&anthropic_events()));
    world.upstream.rule(Match::path("/invoke-with-response-stream"), stream);
    for client in [Format::Chat, Format::Responses, Format::Gemini] {
        let response = world.send(&client.stream("claude"));
        assert_eq!(response.status(), 200, "{client:?}: {}", response.text());
        assert!(
            response.is_complete() && response.text().contains("one two"),
            "{client:?}"
        );
        let body = world.asked().json();
        assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
        assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["attempts"][0]["dialect"], "anthropic_messages", "{receipt}");
    }
}

#[test]
fn what_goes_wrong_inside_of_frames_is_an_error_and_never_an_end() {
    let world = invoking("bedrock-api-key");
    let exception = frame(
        "exception",
        ":exception-type",
        "throttlingException",
        &json!({"message": "slow down"}),
    );
    let begun = wrapped(&anthropic_events()[..3]);
    let mut damaged = wrapped(&anthropic_events());
    let near_its_end = damaged.len() - 60;
    damaged[near_its_end] ^= 0xff;
    for (what, body, status) in [
        ("an exception before anything", exception.clone(), 429),
        ("an exception in between", [begun.clone(), exception].concat(), 200),
        ("an end in between", begun, 200),
        ("damage", damaged, 200),
    ] {
        world
            .upstream
            .rule(Match::path("/invoke-with-response-stream"), stream_of(body));
        let response = world.send(&Format::Anthropic.stream("claude"));
        let text = response.text();
        assert_eq!(response.status(), status, "{what}: {text}");
        assert!(!text.contains("message_stop"), "{what}: {text}");
        assert!(text.contains("\"error\""), "{what}: {text}");
    }
}
