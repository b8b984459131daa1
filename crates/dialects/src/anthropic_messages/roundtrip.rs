//! What this format says comes out of the vocabulary as it went in, and nothing makes its readers panic.

use domain::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{check_grammar, collected, events, noted, reply, streamed, told};
use super::{decode, encode};
use crate::hub::{
    CitedSource, Content, Effort, HostedKind, Losses, MediaKind, OutputFormat, Role, Source, StopReason,
    ThinkingBudget, Tool, ToolChoice,
};

/// A block of each kind that a user's turn may have.
fn user_blocks() -> Vec<Value> {
    let cached = json!({"type": "ephemeral", "ttl": "1h"});
    let words = json!({"type": "text", "text": "words"});
    vec![
        json!({"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "text", "text": "found"},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b"}},
            {"type": "tool_reference", "tool_name": "get"},
            {"type": "search_result", "source": "https://a.example", "title": "A", "content": [words],
                "citations": {"enabled": true}},
        ], "is_error": true, "cache_control": {"type": "ephemeral"}}),
        json!({"type": "text", "text": "Look:", "cache_control": cached}),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}),
        json!({"type": "image", "source": {"type": "file", "file_id": "file_1"}, "transformations": {"a": "b"}}),
        json!({"type": "image", "source": {"type": "strange"}}),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            "title": "T", "context": "C", "citations": {"enabled": true}, "cache_control": cached}),
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}}),
        json!({"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}}),
        json!({"type": "document", "source": {"type": "file", "file_id": "file_2"}}),
        json!({"type": "document", "source": {"type": "content", "content": [words]}}),
        json!({"type": "container_upload", "file_id": "file_3"}),
    ]
}

/// A block of each kind that the model may have said.
fn assistant_blocks() -> Vec<Value> {
    let document = |kind: &str, from: &str, to: &str| json!({"type": kind, "cited_text": "c", "document_index": 1, "document_title": "D", from: 1, to: 2});
    vec![
        json!({"type": "thinking", "thinking": "Hm.", "signature": "seal"}),
        json!({"type": "redacted_thinking", "data": "hidden"}),
        json!({"type": "text", "text": "So", "citations": [
            document("char_location", "start_char_index", "end_char_index"),
            document("page_location", "start_page_number", "end_page_number"),
            document("content_block_location", "start_block_index", "end_block_index"),
            {"type": "web_search_result_location", "cited_text": "c", "url": "u", "title": "t", "encrypted_index": "e"},
            {"type": "search_result_location", "cited_text": "c", "source": "s", "title": null,
                "search_result_index": 0, "start_block_index": 0, "end_block_index": 1},
            {"type": "strange"},
        ]}),
        json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}),
        json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}),
        json!({"type": "tool_use", "id": "t1", "name": "get", "input": {"a": [1, {"b": null}]},
            "caller": {"type": "direct"}}),
        json!({"type": "tool_use", "id": "t2", "name": "get", "input": {}}),
    ]
}

/// Requests that must come out as they went in.
fn requests() -> Vec<Value> {
    let turn = json!([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]);
    let with = |members: Value| {
        let mut request = json!({"model": "claude-sonnet-4-5", "max_tokens": 4096, "messages": turn});
        request
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        request
    };
    vec![
        with(json!({})),
        with(json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "Go"}]},
            {"role": "assistant", "content": assistant_blocks()},
            {"role": "user", "content": user_blocks()},
        ]})),
        with(json!({
            "system": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}],
            "temperature": 0.5, "top_k": 3, "stop_sequences": ["END"], "stream": true,
            "metadata": {"user_id": "u", "other": 1}, "service_tier": "standard_only",
            "cache_control": {"type": "ephemeral", "ttl": "5m"},
            "container": {"id": "c"}, "context_management": {"edits": []}, "mcp_servers": [{"type": "url"}],
            "inference_geo": "us",
        })),
        with(json!({"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}})),
        with(json!({"thinking": {"type": "disabled"}})),
        with(json!({"thinking": {"type": "between_tools"}})),
        with(
            json!({"model": "claude-opus-4-8", "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "max", "task_budget": {"type": "tokens", "total": 20000}}}),
        ),
        with(
            json!({"output_config": {"effort": "low", "format": {"type": "json_schema", "schema":
            {"type": "object", "properties": {}, "additionalProperties": false}}}}),
        ),
        with(json!({
            "tools": [
                {"name": "get", "description": "Gets.", "input_schema": {"type": "object", "properties": {"a": {}}},
                    "strict": true, "cache_control": {"type": "ephemeral"}, "defer_loading": true},
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "allowed_domains": ["a.example"]},
                {"type": "code_execution_20250825", "name": "code_execution"},
                {"type": "bash_20250124", "name": "bash"},
            ],
            "tool_choice": {"type": "tool", "name": "get", "disable_parallel_tool_use": true},
        })),
        with(json!({"tools": [{"name": "get", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "strange"}})),
        with(json!({
            "mcp_servers": [{"type": "url", "name": "s", "url": "http://s.example", "authorization_token": "t"},
                {"type": "url", "name": "old", "url": "https://o.example", "tool_configuration": {"enabled": true}}],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": "s", "configs": {"a": {"enabled": false}}},
                {"name": "get", "input_schema": {"type": "object"}},
                {"type": "mcp_toolset", "mcp_server_name": "unknown"}],
        })),
    ]
}

#[test]
fn requests_come_out_as_they_went_in() {
    for original in requests() {
        let request = decode::request(original.to_string().as_bytes()).unwrap();
        let model = request.model.clone();
        let (again, losses) = told(request, &model, 0);
        assert_eq!(again, original);
        assert_eq!(losses, [] as [&str; 0]);
    }
}

#[test]
fn answers_come_out_as_they_went_in_whole_and_streamed() {
    let original = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": assistant_blocks(),
        "stop_reason": "tool_use", "stop_sequence": null, "container": {"id": "c"},
        "usage": {"input_tokens": 5},
    });
    let answer = decode::answer(original.to_string().as_bytes()).unwrap();
    let mut losses = Losses::default();
    let mut again = encode::answer(answer.clone(), &reply(), &mut losses);
    again["usage"] = json!({"input_tokens": 5});
    assert_eq!(again, original);
    let (stream, more) = streamed(answer.clone().into_events());
    check_grammar(&stream);
    assert_eq!(collected(events(&stream)), answer);
    assert_eq!((noted(losses), more), (vec![], vec![]));
}

#[test]
fn a_stream_to_the_byte_comes_out_as_it_went_in() {
    let stream = include_str!("roundtrip.sse");
    assert_eq!(streamed(events(stream)).0, stream);
}

#[test]
fn what_grows_by_pieces_of_json_is_told_whole_in_the_end() {
    let stream = r#"
data: {"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}

data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"q\":"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"1}"}}

data: {"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"of no block"}}
"#;
    let answer = collected(events(stream));
    let parts = &answer.choices[0].parts;
    let whole = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}});
    assert!(
        parts
            .iter()
            .any(|part| matches!(&part.content, Content::Native { value, .. } if *value == whole))
    );
    assert!(
        parts
            .iter()
            .any(|part| matches!(&part.content, Content::ToolCall(call) if call.arguments == "{}"))
    );
    // What was generated is told, though its block never began.
    assert!(parts.iter().any(|part| part.as_text() == Some("of no block")));
    assert_eq!(parts.len(), 3);
}

#[test]
fn a_request_is_understood() {
    let request = decode::request(requests()[1].to_string().as_bytes()).unwrap();
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
    let said = &request.messages[1].parts;
    let Content::Text { citations, .. } = &said[2].content else {
        panic!("{said:?}");
    };
    let sources: Vec<&CitedSource> = citations.iter().map(|one| &one.source).collect();
    assert!(matches!(sources[0], CitedSource::Document { index: 1, title: Some(title), .. } if title == "D"));
    assert!(matches!(sources[3], CitedSource::Url { url, .. } if url == "u"));
    assert!(matches!(sources[4], CitedSource::Url { url, title: None } if url == "s"));
    assert_eq!(sources[5], &CitedSource::Other);
    assert_eq!(citations[4].quote.as_deref(), Some("c"));
    assert!(matches!(
        said[3].content,
        Content::Native {
            origin: Dialect::AnthropicMessages,
            ..
        }
    ));
    let Content::ToolCall(call) = &said[6].content else {
        panic!("{said:?}");
    };
    assert_eq!((call.id.as_deref(), call.arguments.as_str()), (Some("t2"), "{}"));
    let given = &request.messages[2].parts;
    let Content::ToolResult(result) = &given[0].content else {
        panic!("{given:?}");
    };
    assert_eq!((result.is_error, result.parts.len()), (Some(true), 4));
    assert!(given[0].cache.is_some() && given[1].cache.as_ref().unwrap().ttl.as_deref() == Some("1h"));
    let Content::Media(document) = &given[5].content else {
        panic!("{given:?}");
    };
    assert_eq!((document.kind, document.cite), (MediaKind::Document, Some(true)));
    assert!(matches!(given[9].content, Content::Media(ref media) if matches!(media.source, Source::Parts(_))));
}

#[test]
fn settings_are_understood() {
    let all: Vec<_> = requests()
        .into_iter()
        .map(|request| decode::request(request.to_string().as_bytes()).unwrap())
        .collect();
    let budget = |at: usize| all[at].reasoning.as_ref().and_then(|reasoning| reasoning.budget);
    assert_eq!(budget(3), Some(ThinkingBudget::Tokens(2_000)));
    assert_eq!(budget(4), Some(ThinkingBudget::Off));
    assert_eq!(budget(5), None);
    assert_eq!(budget(6), Some(ThinkingBudget::Adaptive));
    let adaptive = all[6].reasoning.as_ref().unwrap();
    assert_eq!((adaptive.effort, adaptive.visible), (Some(Effort::Max), Some(true)));
    assert!(matches!(all[7].format, Some(OutputFormat::Schema { .. })));
    assert_eq!((all[2].user.as_deref(), all[2].stream), (Some("u"), true));
    assert_eq!(all[8].tool_choice, Some(ToolChoice::Named("get".to_owned())));
    assert_eq!(all[8].parallel_tools, Some(false));
    let hosted: Vec<&HostedKind> = all[8]
        .tools
        .iter()
        .filter_map(|tool| match tool {
            Tool::Hosted(hosted) => Some(&hosted.kind),
            _ => None,
        })
        .collect();
    assert!(matches!(hosted[0], HostedKind::WebSearch { max_uses: Some(2), .. }));
    assert_eq!(hosted[1..], [&HostedKind::CodeExecution]);
    let beta = br#"{"messages": [], "output_format": {"type": "json_schema", "schema": {}}}"#;
    assert!(decode::request(beta).unwrap().format.is_some());
}

#[test]
fn errors_say_where() {
    for (body, path) in [
        (json!({}), "messages"),
        (
            json!({"messages": [{"role": "tool", "content": "a"}]}),
            "messages[0].role",
        ),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (
            json!({"messages": [{"role": "user", "content": [{"text": "a"}]}]}),
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "messages[0].content[0].text",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
            "messages[0].content[0].source",
        ),
        (json!({"messages": [], "max_tokens": -1}), "max_tokens"),
        (
            json!({"messages": [], "thinking": {"type": "enabled"}}),
            "thinking.budget_tokens",
        ),
        (
            json!({"messages": [], "tools": [{"description": "a"}]}),
            "tools[0].name",
        ),
        (
            json!({"messages": [], "output_config": {"effort": "huge"}}),
            "output_config.effort",
        ),
    ] {
        assert_eq!(decode::request(body.to_string().as_bytes()).unwrap_err().path, path);
    }
    assert!(decode::answer(b"{}").is_err());
}

#[test]
fn every_reason_is_known() {
    for (word, reason) in [
        ("end_turn", StopReason::End),
        ("stop_sequence", StopReason::Sequence),
        ("max_tokens", StopReason::Length),
        ("model_context_window_exceeded", StopReason::Context),
        ("tool_use", StopReason::Tool),
        ("refusal", StopReason::Filter),
        ("pause_turn", StopReason::Pause),
        ("compaction", StopReason::Other),
    ] {
        let body = json!({"content": [], "stop_reason": word, "stop_sequence": "END"}).to_string();
        let stop = decode::answer(body.as_bytes()).unwrap().choices[0]
            .stop
            .clone()
            .unwrap();
        assert_eq!((stop.reason, stop.raw.as_str()), (reason, word));
        assert_eq!(stop.sequence.as_deref(), Some("END"));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = "type|text|thinking|image|document|tool_use|tool_result|source|base64|data|content|index|delta|message\
        |content_block|content_block_start|content_block_delta|content_block_stop|message_start|message_delta|input\
        |partial_json|messages|role|user|assistant|system|tools|name|citations|signature|cache_control|output_config";
    let word = proptest::sample::select(words.split('|').collect::<Vec<_>>());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((word.clone(), inner), 0..6).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(values in proptest::collection::vec(any_json(), 1..6)) {
        let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
        for value in &values {
            let body = value.to_string();
            drop(decode::answer(body.as_bytes()));
            drop(decoder.event(body.as_bytes(), &mut out));
            let turn = json!({"messages": [{"role": "user", "content": value}], "tools": value}).to_string();
            for body in [&body, &turn] {
                if let Ok(request) = decode::request(body.as_bytes()) {
                    drop(told(request, "claude-opus-4-8", 0));
                }
            }
        }
        decoder.finish(&mut out);
        check_grammar(&streamed(out).0);
    }
}
