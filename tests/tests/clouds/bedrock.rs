//! Bedrock's own format, Converse: signed, framed, and served to clients of every format.

use blackbox::format::{FORMATS, Format};
use blackbox::receipt_of;
use serde_json::json;
use testkit::client::Request;
use testkit::recordings::Recordings;
use testkit::upstream::{Behaviour, Chunking, Match};

use crate::bedrock_invoke::invoking;
use crate::event_stream::{event, frame, stream_of};
use crate::lab::World;
use crate::signature::{AWS_SECRET, AWS_TOKEN, assert_signed};

pub(crate) const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

pub(crate) fn bedrock(key: &str) -> World {
    World::new(|upstream| {
        format!(
            "upstreams:
  - {{name: aws, provider: bedrock, base_url: \"{}\", variables: {{region: eu-west-1}}, breaker: off, credentials: [{{name: k1, key: \"{key}\"}}]}}
models: [{{name: claude, targets: [{{upstream: aws, model: \"{MODEL}\"}}]}}]",
            upstream.url()
        )
    })
}

/// A stream that says `one two`, calls a tool and ends.
fn streamed() -> Vec<Vec<u8>> {
    vec![
        event("messageStart", &json!({"role": "assistant"})),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 0, "delta": {"text": "one "}}),
        ),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 0, "delta": {"text": "two"}}),
        ),
        event("contentBlockStop", &json!({"contentBlockIndex": 0})),
        event(
            "contentBlockStart",
            &json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "look"}}}),
        ),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{\"x\":"}}}),
        ),
        event(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": "1}"}}}),
        ),
        event("contentBlockStop", &json!({"contentBlockIndex": 1})),
        event("messageStop", &json!({"stopReason": "tool_use"})),
        event(
            "metadata",
            &json!({"usage": {"inputTokens": 40, "outputTokens": 9, "totalTokens": 49}}),
        ),
    ]
}

fn whole() -> Behaviour {
    let body = json!({"output": {"message": {"role": "assistant", "content": [{"text": "one two"},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"x": 1}}}]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 40, "outputTokens": 9, "totalTokens": 49}});
    Behaviour::raw(200, &[("content-type", "application/json")], body.to_string())
}

#[test]
fn bedrock_serves_clients_of_every_format_by_a_signed_request() {
    let world = bedrock(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    world.upstream.rule(Match::path("/converse"), whole());
    world
        .upstream
        .rule(Match::path("/converse-stream"), stream_of(streamed().concat()));
    for client in FORMATS {
        for (request, end) in [
            (client.call("claude"), "converse"),
            (client.stream("claude"), "converse-stream"),
        ] {
            let response = world.send(&request);
            let text = response.text();
            assert_eq!(response.status(), 200, "{client:?} {end}: {text}");
            assert!(response.is_complete(), "{client:?} {end}");
            for word in ["one", "two", "look"] {
                assert!(text.contains(word), "{client:?} {end}: no `{word}` in {text}");
            }
            let asked = world.asked();
            assert_eq!(asked.path(), format!("/model/{}/{end}", MODEL.replace(':', "%3A")));
            assert_signed(&asked, "eu-west-1");
            let body = asked.json();
            assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
            assert_eq!(
                body["messages"][0],
                json!({"role": "user", "content": [{"text": "hi"}]})
            );
            let receipt = receipt_of(&world.gateway, &response);
            assert_eq!(
                (&receipt["usage"]["input"], &receipt["usage"]["output"]),
                (&json!(40), &json!(9)),
                "{receipt}"
            );
            assert_eq!(receipt["attempts"][0]["dialect"], "bedrock_converse", "{receipt}");
        }
    }
    let logs = world.gateway.stdout() + &world.gateway.stderr();
    assert!(
        !logs.contains(AWS_SECRET) && !logs.contains(AWS_TOKEN),
        "a secret is in the log"
    );
}

#[test]
fn a_bedrock_api_key_is_a_bearer() {
    let world = bedrock("ABSKQmVkcm9ja0FQSUtleQ==");
    world.upstream.rule(Match::path("/converse"), whole());
    assert_eq!(world.send(&Format::Chat.call("claude")).status(), 200);
    let asked = world.asked();
    assert_eq!(asked.header("authorization"), Some("Bearer ABSKQmVkcm9ja0FQSUtleQ=="));
    assert_eq!(asked.header("x-amz-date"), None);
}

#[test]
fn a_bedrock_stream_that_is_cut_damaged_or_fails_ends_as_an_error() {
    let world = bedrock(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    let frames = streamed();
    let mut damaged = frames.concat();
    let at = frames[..3].concat().len() - 8;
    damaged[at] ^= 1;
    let failing = [
        frames[..3].concat(),
        frame(
            "exception",
            ":exception-type",
            "throttlingException",
            &json!({"message": "slow down"}),
        ),
    ];
    for body in [damaged, frames[..4].concat(), frames[..9].concat(), failing.concat()] {
        world.upstream.rule(Match::path("/converse-stream"), stream_of(body));
        let response = world.send(&Format::Chat.stream("claude"));
        let text = response.text();
        assert!(!text.contains("[DONE]") && text.contains("\"error\""), "{text}");
        let receipt = receipt_of(&world.gateway, &response);
        assert_eq!(receipt["ending"], "upstream_gone", "{receipt}");
    }
}

#[test]
fn recorded_bedrock_streams_reach_the_client() {
    let Some(recordings) = Recordings::find() else { return };
    let world = bedrock(&format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_TOKEN}"));
    let mut seen = 0;
    for recording in recordings.load("bedrock-converse") {
        if !recording
            .request
            .as_ref()
            .is_some_and(|request| request.path.ends_with("converse-stream"))
        {
            continue;
        }
        world
            .upstream
            .rule(Match::path("/converse-stream"), recording.replay(Chunking::Size(97)));
        let response = world.send(&Format::Chat.stream("claude"));
        let text: String = response
            .events()
            .iter()
            .filter_map(|event| {
                event.json()?["choices"][0]["delta"]["content"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect();
        assert!(response.is_complete(), "{}", recording.id);
        if let Some(expected) = recording
            .expected
            .as_ref()
            .and_then(|expected| expected.text.as_deref())
        {
            assert_eq!(text, expected, "{}", recording.id);
        }
        seen += 1;
    }
    assert!(seen > 5, "only {seen} recorded streams");
}

#[test]
fn bedrock_counts_tokens() {
    for world in [bedrock("bedrock-api-key"), invoking("bedrock-api-key")] {
        let json = [("content-type", "application/json")];
        let answer = Behaviour::raw(200, &json, r#"{"inputTokens": 18}"#);
        world.upstream.rule(Match::path("/count-tokens"), answer);
        let body = json!({"model": "claude", "system": "s", "messages": [{"role": "user", "content": "hi"}]});
        let response = world.send(&Request::post("/v1/messages/count_tokens", &body));
        assert_eq!(response.json(), json!({"input_tokens": 18}), "{}", response.text());
        let asked = world.asked();
        assert_eq!(
            asked.path(),
            format!("/model/{}/count-tokens", MODEL.replace(':', "%3A"))
        );
        let converse = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "s"}]});
        assert_eq!(asked.json(), json!({"input": {"converse": converse}}));
    }
}
