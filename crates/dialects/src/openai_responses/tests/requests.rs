//! Requests, in both directions.

use domain::Dialect;
use serde_json::{Value, json};

use super::{decoded, encoded, foreign};
use crate::hub::{
    Content, Effort, Extra, HostedKind, MediaKind, Message, OutputFormat, Part, Request, Role, Signature, Source,
    Thinking, ThinkingBudget, Tool, ToolCall, ToolChoice, ToolResult,
};

/// Told in its own format again, a request is what it was.
fn same(body: &Value) {
    let (mut again, losses) = encoded(decoded(body));
    again["model"].clone_from(&body["model"]);
    assert_eq!(&again, body);
    // What is told is no loss, but for what OpenAI says that it refuses.
    assert!(losses.iter().all(|loss| loss.what == "input_audio"), "{losses:?}");
}

fn parts(request: &Request) -> Vec<(Role, &Content)> {
    let messages = request.messages.iter();
    messages
        .flat_map(|message| message.parts.iter().map(|part| (message.role, &part.content)))
        .collect()
}

#[test]
fn settings_are_the_same_again() {
    same(&json!({
        "model": "gpt-5", "instructions": "Be brief.", "input": [{"role": "user", "content": "Hi"}],
        "tools": [
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true, "defer_loading": true},
            {"type": "custom", "name": "c", "description": "d", "format": {"type": "grammar", "syntax": "lark", "definition": "start: A"}},
            {"type": "namespace", "name": "crm", "description": "Customers", "tools": [
                {"type": "function", "name": "find", "parameters": {"type": "object"}},
                {"type": "custom", "name": "raw", "defer_loading": true}]},
            {"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["a.org"]}},
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "mcp", "server_label": "s", "server_url": "https://mcp"},
            {"type": "tool_search"}],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]},
        "parallel_tool_calls": false, "max_output_tokens": 100, "temperature": 0.5, "top_p": 0.9,
        "reasoning": {"effort": "high", "summary": "auto", "context": "all_turns"},
        "text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
        "top_logprobs": 3,
        "include": ["file_search_call.results", "reasoning.encrypted_content", "message.output_text.logprobs"],
        "stream": true, "service_tier": "flex", "user": "u", "metadata": {"a": "b"}, "store": false,
        "previous_response_id": "resp_1", "prompt_cache_key": "k",
        "prompt_cache_retention": "24h", "truncation": "auto", "background": false, "conversation": "conv_1",
        "context_management": [{"type": "compaction"}], "stream_options": {"include_obfuscation": false},
    }));
}

#[test]
fn items_are_the_same_again() {
    same(&json!({
        "model": "gpt-5",
        "input": [
            {"role": "developer", "content": "Rules."},
            {"role": "user", "content": [
                {"type": "input_text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
                {"type": "input_image", "image_url": "https://i/p.png", "detail": "high"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                {"type": "input_image", "file_id": "file-1"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
                {"type": "input_file", "file_url": "https://i/a.pdf"},
                {"type": "input_file", "file_id": "file-2"},
                {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "mp3"}},
                {"type": "input_video", "video_url": "https://i/v"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}], "encrypted_content": "gAAA"},
            {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "s"}], "content": [{"type": "reasoning_text", "text": "r"}], "encrypted_content": "gBBB"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary", "content": [
                {"type": "output_text", "text": "one", "annotations": [{"type": "url_citation", "start_index": 0, "end_index": 3, "title": "t", "url": "https://u"}]},
                {"type": "refusal", "refusal": "no"}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "find", "namespace": "crm", "arguments": "{\"a\":1}"},
            {"type": "function_call", "call_id": "call_2", "name": "loaded", "namespace": "loaded", "arguments": "{}"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_3", "name": "c", "input": "free"},
            {"type": "function_call_output", "call_id": "call_1", "output": "found"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "x"}, {"type": "input_image", "file_id": "f"}]},
            {"type": "custom_tool_call_output", "call_id": "call_3", "output": "ok"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"role": "assistant", "content": "two"},
            {"role": "assistant", "content": "three"},
            {"type": "item_reference", "id": "msg_0"},
            {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "f"}},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "e"},
            {"role": "user", "content": "Go on"}],
        "tools": [{"type": "namespace", "name": "crm", "description": "Customers", "tools": [{"type": "function", "name": "find", "parameters": {}}]}],
        "include": ["reasoning.encrypted_content"],
    }));
}

#[test]
fn a_text_is_a_message_of_the_users() {
    let request = decoded(&json!({"input": "Hi", "instructions": "Be brief."}));
    assert_eq!(
        request.messages,
        [
            Message::new(Role::System, vec![Part::text("Be brief.")]),
            Message::new(Role::User, vec![Part::text("Hi")]),
        ]
    );
}

#[test]
fn what_the_model_did_between_two_turns_is_one_message() {
    let request = decoded(&json!({"input": [
        {"role": "user", "content": "Q"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "I look"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "function_call_output", "call_id": "b", "output": "2"},
        {"role": "user", "content": "And?"},
    ]}));
    let shape: Vec<_> = request
        .messages
        .iter()
        .map(|message| (message.role, message.parts.len()))
        .collect();
    assert_eq!(
        shape,
        [(Role::User, 1), (Role::Assistant, 4), (Role::User, 2), (Role::User, 1)]
    );
    let Content::Thinking(thinking) = &request.messages[1].parts[0].content else {
        panic!()
    };
    assert_eq!(
        thinking
            .signature
            .as_ref()
            .map(|seal| (seal.origin, seal.value.as_str())),
        Some((Dialect::OpenaiResponses, "rs_1.gAAA"))
    );
}

#[test]
fn media_are_read() {
    let request = decoded(&json!({"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/webp;base64,AAAA"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
        {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "wav"}},
    ]}]}));
    let media: Vec<_> = parts(&request)
        .into_iter()
        .map(|(_, content)| match content {
            Content::Media(media) => (
                media.kind,
                media.source.clone(),
                media.mime.as_str(),
                media.name.as_deref(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let here = |data: &str| Source::Base64(data.to_owned());
    assert_eq!(
        media,
        [
            (MediaKind::Image, here("AAAA"), "image/webp", None),
            (MediaKind::Document, here("BBBB"), "application/pdf", Some("a.pdf")),
            (MediaKind::Audio, here("CCCC"), "audio/wav", None),
        ]
    );
}

#[test]
fn tools_of_namespaces_and_of_the_input_are_tools_like_others() {
    let body = json!({
        "tools": [{"type": "namespace", "name": "crm", "description": "d", "tools": [{"type": "function", "name": "find", "parameters": {}}]}],
        "tool_choice": {"type": "function", "name": "find"},
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "late", "parameters": {}}]},
            {"type": "function_call", "call_id": "a", "name": "find", "namespace": "crm", "arguments": "{}"}],
    });
    let request = decoded(&body);
    let names: Vec<_> = request.tools.iter().filter_map(Tool::name).collect();
    assert_eq!(names, ["crm__find", "late"]);
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("crm__find".to_owned())));
    assert!(matches!(parts(&request)[0].1, Content::ToolCall(call) if call.name == "crm__find"));
    assert_eq!(request.echo["tools"].as_array().unwrap().len(), 2);
    let (again, _) = encoded(request);
    assert_eq!(again["tools"][0], body["tools"][0]);
    assert_eq!(again["tools"][1]["name"], "late");
    assert_eq!(again["tool_choice"], body["tool_choice"]);
}

#[test]
fn hosted_tools_say_what_they_have_in_common() {
    let request = decoded(&json!({"input": "q", "tools": [
        {"type": "web_search_preview", "user_location": {"type": "approximate", "city": "Rome"}, "filters": {"allowed_domains": ["a.org"]}},
        {"type": "code_interpreter", "container": "c"},
        {"type": "image_generation"},
    ]}));
    let kinds: Vec<_> = request
        .tools
        .iter()
        .map(|tool| match tool {
            Tool::Hosted(hosted) => hosted.kind.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        matches!(&kinds[0], HostedKind::WebSearch { allowed_domains, user_location: Some(_), .. } if allowed_domains == &["a.org"])
    );
    assert_eq!(kinds[1..], [HostedKind::CodeExecution, HostedKind::Other]);
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let error = |body: Value| {
        super::decode::request(body.to_string().as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert!(error(json!({"input": 5})).starts_with("input: expected a string or a list"));
    assert!(error(json!({"input": [{"role": "king", "content": "x"}]})).starts_with("input[0].role: expected `user`"));
    assert!(
        error(json!({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}))
            .starts_with("input[0].content[0].text")
    );
    assert!(error(json!({"tools": [{"type": "function"}]})).starts_with("tools[0].name"));
    assert!(error(json!({"text": {"format": {"type": "xml"}}})).starts_with("text.format.type"));
}

#[test]
fn another_formats_request_becomes_stateless_and_not_strict() {
    let thinking = Part::new(Content::Thinking(Thinking {
        text: "why".to_owned(),
        signature: Some(Signature::read(
            Dialect::AnthropicMessages,
            "tollgate:openai_responses:rs_1.gAAA",
        )),
        ..Thinking::default()
    }));
    let unsealed = Part::new(Content::Thinking(Thinking {
        text: "foreign".to_owned(),
        signature: Some(Signature::read(Dialect::AnthropicMessages, "Eq")),
        ..Thinking::default()
    }));
    let call = Part::new(Content::ToolCall(ToolCall {
        id: Some("toolu_1".to_owned()),
        name: "f".to_owned(),
        ..ToolCall::default()
    }));
    let result = Part::new(Content::ToolResult(ToolResult {
        call: "toolu_1".to_owned(),
        parts: vec![Part::text("bad")],
        is_error: Some(true),
        ..ToolResult::default()
    }));
    let request = foreign(Request {
        messages: vec![
            Message::new(Role::System, vec![Part::text("A"), Part::text("B")]),
            Message::new(Role::User, vec![Part::text("Q")]),
            Message::new(Role::Assistant, vec![thinking, unsealed, Part::text("I look"), call]),
            Message::new(Role::User, vec![result, Part::text("well?")]),
            Message::new(Role::System, vec![Part::text("late")]),
        ],
        tools: vec![Tool::Function {
            name: "f".to_owned(),
            description: None,
            schema: None,
            strict: None,
            cache: None,
            extra: Extra::default(),
        }],
        max_output: Some(1),
        reasoning: Some(crate::hub::Reasoning {
            budget: Some(ThinkingBudget::Tokens(9_000)),
            visible: Some(true),
            ..Default::default()
        }),
        user: Some("x".repeat(70)),
        ..Request::default()
    });
    let (body, losses) = encoded(request);
    assert_eq!(
        body,
        json!({
            "model": "up",
            "instructions": "A\n\nB",
            "input": [
                {"role": "user", "content": "Q"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "why"}], "encrypted_content": "gAAA"},
                {"role": "assistant", "content": "I look"},
                {"type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "toolu_1", "output": "bad"},
                {"role": "user", "content": "well?"},
                {"role": "system", "content": "late"}],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": false}],
            "max_output_tokens": 16,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "user": "x".repeat(64),
            "store": false,
        })
    );
    let lost: Vec<_> = losses.iter().map(|loss| loss.what.as_ref()).collect();
    assert_eq!(lost, ["thinking", "tool_result.is_error", "max_output_tokens", "user"]);
}

#[test]
fn what_the_format_lacks_is_noted() {
    let mut request = foreign(decoded(&json!({"input": "q"})));
    request.sampling.top_k = Some(5.into());
    request.sampling.stop = vec!["x".to_owned()];
    request.choices = Some(2);
    request.format = Some(OutputFormat::Other);
    request.extra.members.insert("container".to_owned(), json!("c"));
    request.messages[0].name = Some("Ada".to_owned());
    request.messages[0].parts[0].cache = Some(crate::hub::CacheMark { ttl: None });
    let (_, losses) = encoded(request);
    let lost: Vec<_> = losses.iter().map(|loss| loss.what.as_ref()).collect();
    assert_eq!(
        lost,
        [
            "name",
            "cache_control",
            "top_k",
            "stop",
            "response_format",
            "n",
            "request.container"
        ]
    );
}

#[test]
fn what_a_provider_does_not_take_is_left_out() {
    let quirks = domain::provider::Quirks {
        unsupported: vec!["include".to_owned(), "store".to_owned()],
        ..Default::default()
    };
    let mut losses = crate::hub::Losses::default();
    let mut request = foreign(decoded(&json!({"input": "q", "reasoning": {"effort": "low"}})));
    request.reasoning.as_mut().unwrap().effort = Some(Effort::Low);
    let body = super::encode::request(request, &super::target(&quirks), &mut losses).unwrap();
    assert!(body.get("include").is_none() && body.get("store").is_none());
    assert_eq!(losses.as_slice().len(), 2);
}

#[test]
fn seals_of_others_come_back_to_what_they_were_on() {
    let request = decoded(&json!({"input": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "next:tollgate:gemini:S"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"role": "assistant", "content": "done"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "previous:tollgate:gemini:T"},
        {"type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": "redacted:tollgate:anthropic_messages:R"},
    ]}));
    let seals: Vec<_> = request
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .map(|part| part.signature.as_ref().map(|seal| seal.value.as_str()))
        .collect();
    assert_eq!(seals, [Some("S"), Some("T"), None]);
    let last = request.messages.last().unwrap().parts.last().unwrap();
    assert!(
        matches!(&last.content, Content::Thinking(thinking) if thinking.redacted && thinking.signature.as_ref().unwrap().origin == Dialect::AnthropicMessages)
    );
}

#[test]
fn what_a_tool_said_in_foreign_words_is_said() {
    let result = ToolResult {
        call: "a".to_owned(),
        parts: vec![Part::new(Content::Native {
            origin: Dialect::AnthropicMessages,
            value: json!({"type": "tool_reference", "tool_name": "f"}),
        })],
        ..ToolResult::default()
    };
    let request = Request {
        messages: vec![Message::new(Role::User, vec![Part::new(Content::ToolResult(result))])],
        ..Request::default()
    };
    let (told, _) = encoded(request);
    let output = told["input"][0]["output"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(output).unwrap(),
        json!({"type": "tool_reference", "tool_name": "f"})
    );
}
