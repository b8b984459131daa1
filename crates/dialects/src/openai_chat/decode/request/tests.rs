//! A client's request, member by member: what is found, and how mistakes are told.

use serde_json::json;

use super::*;
use crate::hub::{Content, MediaKind, Role, Source, ThinkingBudget};

fn read(body: &Value) -> Request {
    request(body.to_string().as_bytes()).unwrap()
}

fn refused(body: &Value) -> String {
    request(body.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn settings_find_their_words() {
    let request = read(&json!({
        "model": "m", "messages": [], "max_tokens": 5, "max_completion_tokens": 9, "temperature": 0.5, "stop": "x",
        "n": 2, "logprobs": true, "top_logprobs": 3, "reasoning_effort": "high", "stream": true,
        "stream_options": {"include_usage": true}, "user": "u", "parallel_tool_calls": false, "verbosity": "low",
        "modalities": ["text", "audio"], "audio": {"voice": "v"}, "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": true}},
    }));
    assert_eq!(
        (request.max_output, request.choices, request.logprobs),
        (Some(9), Some(2), Some(3))
    );
    assert_eq!(request.sampling.stop, ["x"]);
    assert_eq!(request.reasoning.unwrap().effort, Some(Effort::High));
    assert!(request.stream && request.stream_usage);
    assert_eq!(
        (request.parallel_tools, request.verbosity),
        (Some(false), Some(Verbosity::Low))
    );
    assert_eq!(request.modalities, ["audio"]);
    assert!(
        matches!(request.format, Some(OutputFormat::Schema { name: Some(name), strict: Some(true), .. }) if name == "s")
    );
    assert_eq!(request.extra.members.keys().collect::<Vec<_>>(), ["audio"]);
}

#[test]
fn reasoning_is_said_in_two_ways() {
    let request = read(&json!({"messages": [], "reasoning": {"max_tokens": 2000, "exclude": true}}));
    let reasoning = request.reasoning.unwrap();
    assert_eq!(
        (reasoning.budget, reasoning.visible),
        (Some(ThinkingBudget::Tokens(2000)), Some(false))
    );
}

#[test]
fn every_kind_of_part_is_read() {
    let request = read(&json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
        {"type": "file", "file": {"filename": "f.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "hologram", "x": 1},
    ]}]}));
    let parts = &request.messages[0].parts;
    assert_eq!(parts[0].cache.as_ref().unwrap().ttl.as_deref(), Some("1h"));
    let media: Vec<_> = parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Media(media) => Some((media.kind, media.source.clone(), media.mime.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        media,
        [
            (MediaKind::Image, Source::Base64("QUJD".to_owned()), "image/png"),
            (MediaKind::Image, Source::Url("https://x/y.png".to_owned()), ""),
            (MediaKind::Audio, Source::Base64("QQ==".to_owned()), "audio/mpeg"),
            (
                MediaKind::Document,
                Source::Base64("QQ==".to_owned()),
                "application/pdf"
            ),
            (MediaKind::Document, Source::File("file-1".to_owned()), ""),
        ]
    );
    assert!(matches!(&parts[6].content, Content::Native { value, .. } if value["type"] == "hologram"));
}

#[test]
fn a_turn_with_tools_and_its_results() {
    let mut request = read(&json!({"messages": [
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"},
             "extra_content": {"google": {"thought_signature": "seal"}}},
            {"id": "b", "type": "custom", "custom": {"name": "c", "input": "free"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}]},
    ]}));
    request.link_tools();
    let said = &request.messages[0].parts;
    assert!(matches!(&said[0].content, Content::Thinking(thinking) if thinking.text == "hm"));
    assert_eq!(said[1].signature.as_ref().unwrap().origin, Dialect::Gemini);
    assert!(matches!(&said[2].content, Content::ToolCall(call) if call.custom && call.arguments == "free"));
    let results: Vec<_> = request.messages[1..]
        .iter()
        .map(|message| match &message.parts[0].content {
            Content::ToolResult(result) => (message.role, result.name.as_str(), result.custom),
            _ => (message.role, "", false),
        })
        .collect();
    assert_eq!(results, [(Role::User, "f", false), (Role::User, "c", true)]);
}

#[test]
fn the_older_words_for_tools_are_read_and_remembered() {
    let request = read(&json!({"messages": [
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ], "functions": [{"name": "f", "parameters": {"type": "object"}}], "function_call": {"name": "f"}}));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".to_owned())));
    assert_eq!(request.tools.len(), 1);
    assert!(request.echo.contains_key(LEGACY_FUNCTIONS));
}

#[test]
fn choices_of_tools() {
    let choice = |value: Value| {
        read(&json!({"messages": [], "tool_choice": value}))
            .tool_choice
            .unwrap()
    };
    assert_eq!(choice(json!("required")), ToolChoice::Required);
    assert_eq!(
        choice(json!({"type": "function", "function": {"name": "f"}})),
        ToolChoice::Named("f".to_owned())
    );
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}});
    assert_eq!(
        choice(allowed),
        ToolChoice::Allowed {
            names: vec!["f".to_owned()],
            required: true
        }
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (body, expected) in [
        (json!({}), "messages: is missing; a list of messages belongs here"),
        (
            json!({"messages": [{"role": "king"}]}),
            "messages[0].role: `king` is none of",
        ),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "messages[0].content: expected a string or a list",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages[0].content[0].image_url: is missing",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "messages[0].tool_call_id: is missing",
        ),
        (
            json!({"messages": [], "tools": [{"type": "function"}]}),
            "tools[0].function: is missing",
        ),
        (
            json!({"messages": [], "reasoning_effort": "huge"}),
            "reasoning_effort: `huge` is no effort",
        ),
        (
            json!({"messages": [], "max_tokens": -1}),
            "max_tokens: expected a whole number",
        ),
    ] {
        let told = refused(&body);
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn thinking_can_be_switched_without_an_effort() {
    let budget = |thinking: Value| {
        let read = read(&json!({"messages": [], "thinking": thinking}));
        read.reasoning.and_then(|reasoning| reasoning.budget)
    };
    assert_eq!(budget(json!({"type": "enabled"})), Some(ThinkingBudget::Adaptive));
    assert_eq!(budget(json!({"type": "disabled"})), Some(ThinkingBudget::Off));
    assert_eq!(budget(json!({"type": "auto"})), None);
}
