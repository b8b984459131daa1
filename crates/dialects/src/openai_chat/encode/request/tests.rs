//! A request for an upstream: what is written, and what is named as lost.

use domain::provider::Quirks;
use serde_json::json;

use super::*;
use crate::hub::{
    CacheMark, Content, Extra, Hosted, Media, MediaKind, Message, Part, Role, Sampling, Signature, Source, Thinking,
    ToolCall, ToolResult,
};

const PLAIN: Quirks = Quirks {
    max_completion_tokens: false,
    developer_role: false,
    reasoning_content: false,
    reasoning: false,
    thinking_switch: false,
    reasoning_details: false,
    extra_content: false,
    text_parts: false,
    cache_control: false,
    media_as_data: false,
    unsupported: Vec::new(),
    thinking_models_refuse: Vec::new(),
    renamed: std::collections::BTreeMap::new(),
    message_unsupported: Vec::new(),
    function_unsupported: Vec::new(),
    tool_id_length: 0,
    document_url: false,
    prefill_mark: String::new(),
    repeats_prefill: false,
};

fn told_to(quirks: &Quirks, request: Request) -> (Value, Vec<String>) {
    let mut losses = Losses::default();
    let target = Target {
        model: "there",
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks,
    };
    let body = super::request(request, &target, &mut losses).unwrap();
    (body, losses.into_vec().iter().map(ToString::to_string).collect())
}

fn told(request: Request) -> (Value, Vec<String>) {
    told_to(&PLAIN, request)
}

fn message(role: Role, parts: Vec<Part>) -> Message {
    Message::new(role, parts)
}

fn result(call: &str, parts: Vec<Part>) -> Part {
    Part::new(Content::ToolResult(ToolResult {
        call: call.to_owned(),
        parts,
        ..ToolResult::default()
    }))
}

fn picture() -> Part {
    Part::new(Content::Media(Media {
        kind: MediaKind::Image,
        source: Source::Base64("QQ==".to_owned()),
        mime: "image/png".to_owned(),
        name: None,
        detail: None,
        context: None,
        cite: None,
    }))
}

#[test]
fn results_stand_right_behind_their_calls_and_pictures_after_them() {
    let call = |id: &str| {
        let call = ToolCall {
            id: Some(id.to_owned()),
            name: "f".to_owned(),
            ..ToolCall::default()
        };
        Part::new(Content::ToolCall(call))
    };
    let (body, losses) = told(Request {
        messages: vec![
            message(Role::Assistant, vec![Part::text("so"), call("a"), call("b")]),
            message(
                Role::User,
                vec![
                    result("a", vec![picture()]),
                    result("b", vec![Part::text("two")]),
                    Part::text("and?"),
                ],
            ),
        ],
        ..Request::default()
    });
    assert_eq!(
        body["messages"],
        json!([
            {"role": "assistant", "content": "so", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": ""},
            {"role": "tool", "tool_call_id": "b", "content": "two"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}, {"type": "text", "text": "and?"}]},
        ])
    );
    assert_eq!(
        losses,
        ["tool_result: media: a tool's message has texts only; they follow as the user's"]
    );
}

#[test]
fn instructions_follow_the_providers_quirks() {
    let request = || Request {
        messages: vec![message(Role::Developer, vec![Part::text("a"), Part::text("b")])],
        max_output: Some(7),
        ..Request::default()
    };
    let (plain, _) = told(request());
    assert_eq!(plain["messages"][0], json!({"role": "system", "content": "a\n\nb"}));
    assert_eq!(plain["max_tokens"], 7);
    let openai = Quirks {
        max_completion_tokens: true,
        developer_role: true,
        text_parts: true,
        ..PLAIN
    };
    let (body, _) = told_to(&openai, request());
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    assert_eq!(body["messages"][0], json!({"role": "developer", "content": parts}));
    assert_eq!(body["max_completion_tokens"], 7);
}

#[test]
fn what_cannot_be_said_is_named() {
    let marked = Part {
        cache: Some(CacheMark { ttl: None }),
        ..Part::text("a")
    };
    let native = Hosted {
        kind: HostedKind::CodeExecution,
        origin: Dialect::Gemini,
        native: json!({"codeExecution": {}}),
    };
    let mut extra = Extra {
        origin: Some(Dialect::Gemini),
        ..Extra::default()
    };
    extra.members.insert("safetySettings".to_owned(), json!([]));
    let (body, losses) = told(Request {
        messages: vec![message(Role::User, vec![marked])],
        sampling: Sampling {
            top_k: Some(5.into()),
            stop: vec!["x".to_owned(); 5],
            ..Sampling::default()
        },
        tools: vec![Tool::Hosted(native)],
        extra,
        ..Request::default()
    });
    assert_eq!(body["messages"][0]["content"], "a");
    assert_eq!(body["stop"].as_array().unwrap().len(), 4);
    assert!(body.get("tools").is_none() && body.get("top_k").is_none());
    let named: Vec<&str> = losses.iter().filter_map(|loss| loss.split(": ").next()).collect();
    assert_eq!(named, ["cache_control", "tools", "top_k", "stop", "safetySettings"]);
}

#[test]
fn an_upstream_gets_back_only_its_own_seals() {
    let sealed = |origin| {
        let signature = Some(Signature {
            origin,
            value: "s".to_owned(),
        });
        Part::new(Content::Thinking(Thinking {
            text: "t".to_owned(),
            signature,
            ..Thinking::default()
        }))
    };
    let request = |origin| Request {
        messages: vec![message(Role::Assistant, vec![sealed(origin), Part::text("a")])],
        ..Request::default()
    };
    let knows_details = Quirks {
        reasoning_details: true,
        ..PLAIN
    };
    let (own, _) = told_to(&knows_details, request(Dialect::OpenaiChat));
    assert_eq!(own["messages"][0]["reasoning_details"][0]["signature"], "s");
    // Whoever else speaks this format answers the member with 400.
    let (others, losses) = told(request(Dialect::OpenaiChat));
    assert_eq!(others["messages"][0], json!({"role": "assistant", "content": "a"}));
    assert_eq!(losses.len(), 1);
    let (foreign, losses) = told(request(Dialect::AnthropicMessages));
    assert_eq!(foreign["messages"][0], json!({"role": "assistant", "content": "a"}));
    assert_eq!(losses.len(), 1);
    let takes_back = Quirks {
        reasoning_content: true,
        ..PLAIN
    };
    let (remembered, _) = told_to(&takes_back, request(Dialect::AnthropicMessages));
    assert_eq!(remembered["messages"][0]["reasoning_content"], "t");
    let short = Quirks {
        reasoning: true,
        ..PLAIN
    };
    let (remembered, _) = told_to(&short, request(Dialect::AnthropicMessages));
    assert_eq!(remembered["messages"][0]["reasoning"], "t");
}

#[test]
fn not_to_think_is_an_effort_where_all_models_can_be_told() {
    for has_switch in [false, true] {
        let quirks = Quirks {
            thinking_switch: has_switch,
            ..PLAIN
        };
        let wish = Reasoning {
            budget: Some(ThinkingBudget::Off),
            ..Reasoning::default()
        };
        let (body, losses) = told_to(
            &quirks,
            Request {
                reasoning: Some(wish),
                ..Request::default()
            },
        );
        assert_eq!(body.get("reasoning_effort").is_some(), has_switch);
        assert_eq!(losses.is_empty(), has_switch, "{losses:?}");
    }
}

#[test]
fn allowed_tools_are_the_only_ones_offered() {
    let tool = |name: &str| Tool::Function {
        name: name.to_owned(),
        description: None,
        schema: None,
        strict: None,
        cache: None,
        extra: Extra::default(),
    };
    let (body, losses) = told(Request {
        tools: vec![tool("a"), tool("b")],
        tool_choice: Some(ToolChoice::Allowed {
            names: vec!["b".to_owned()],
            required: true,
        }),
        ..Request::default()
    });
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&body["tools"][0]["function"]["name"], &body["tool_choice"]),
        (&json!("b"), &json!("required"))
    );
    let lost = "tool_choice.allowed_tools: the format cannot forbid some of the tools; those that are not allowed are not offered";
    assert_eq!(losses, [lost]);
}

#[test]
fn an_effort_is_told_in_the_same_word() {
    for effort in Effort::ALL {
        let reasoning = Some(Reasoning {
            effort: Some(effort),
            ..Reasoning::default()
        });
        let (body, _) = told(Request {
            reasoning,
            ..Request::default()
        });
        assert_eq!(body["reasoning_effort"], effort.name());
    }
}

#[test]
fn a_conversation_kept_elsewhere_cannot_be_continued() {
    let target = Target {
        model: "m",
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks: &PLAIN,
    };
    let request = Request {
        previous: Some("resp_1".to_owned()),
        ..Request::default()
    };
    let error = super::request(request, &target, &mut Losses::default()).unwrap_err();
    assert_eq!(error.path, "previous_response_id");
}

#[test]
fn what_is_read_is_written_again() {
    let bodies = [
        json!({"model": "there", "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "hi", "name": "ann"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "r"},
            {"role": "user", "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}},
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1"}}]}],
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}, "strict": true}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
            "max_tokens": 5, "temperature": 0.2, "top_p": 0.9, "seed": 1, "stop": ["x"], "n": 2, "logprobs": true,
            "top_logprobs": 2, "reasoning_effort": "low", "verbosity": "high", "service_tier": "flex", "user": "u",
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
            "prediction": {"type": "content", "content": "x"}}),
        json!({"model": "there", "messages": [{"role": "user", "content": "x"}], "stream": true,
            "stream_options": {"include_usage": true}, "response_format": {"type": "json_object"}, "store": true,
            "metadata": {"a": "b"}}),
    ];
    for body in bodies {
        let read = crate::openai_chat::decode::request(body.to_string().as_bytes()).unwrap();
        let (written, losses) = told(read);
        assert_eq!(written, body);
        assert_eq!(losses, [""; 0]);
    }
}

#[test]
fn geminis_seals_go_only_where_gemini_is() {
    let request = || {
        let mut call = Part::new(Content::ToolCall(ToolCall {
            id: Some("a".to_owned()),
            name: "f".to_owned(),
            ..ToolCall::default()
        }));
        call.signature = Some(Signature {
            origin: Dialect::Gemini,
            value: "c2VhbA==".to_owned(),
        });
        Request {
            messages: vec![message(Role::Assistant, vec![call])],
            ..Request::default()
        }
    };
    let seal = |told: Value| told["messages"][0]["tool_calls"][0]["extra_content"].clone();
    assert_eq!(seal(told(request()).0), Value::Null);
    let gemini = Quirks {
        extra_content: true,
        ..PLAIN
    };
    assert_eq!(
        seal(told_to(&gemini, request()).0),
        json!({"google": {"thought_signature": "c2VhbA=="}})
    );
}

#[test]
fn turns_of_which_nothing_can_be_said_are_left_out() {
    let native = || {
        Part::new(Content::Native {
            origin: Dialect::OpenaiResponses,
            value: json!({"type": "local_shell_call_output", "output": "x"}),
        })
    };
    let thought = Part::new(Content::Thinking(Thinking {
        text: "hm".to_owned(),
        ..Thinking::default()
    }));
    let request = Request {
        messages: vec![
            message(Role::User, vec![Part::text("hi")]),
            message(Role::Assistant, vec![thought]),
            message(Role::Assistant, vec![native()]),
            message(Role::User, vec![native()]),
        ],
        ..Request::default()
    };
    for takes_thinking in [false, true] {
        let quirks = Quirks {
            reasoning_content: takes_thinking,
            ..PLAIN
        };
        let (body, losses) = told_to(&quirks, request.clone());
        assert_eq!(body["messages"], json!([{"role": "user", "content": "hi"}]));
        assert!(losses.iter().any(|loss| loss.starts_with("thinking: ")), "{losses:?}");
        assert!(losses.iter().any(|loss| loss.starts_with("content: ")), "{losses:?}");
    }
}

#[test]
fn data_have_a_name() {
    let data = |name: Option<&str>, mime: &str| {
        Part::new(Content::Media(Media {
            kind: MediaKind::Document,
            source: Source::Base64("QQ==".to_owned()),
            mime: mime.to_owned(),
            name: name.map(str::to_owned),
            detail: None,
            context: None,
            cite: None,
        }))
    };
    let parts = vec![data(None, "application/pdf"), data(Some("a.pdf"), "application/pdf")];
    let (body, _) = told(Request {
        messages: vec![message(Role::User, parts)],
        ..Request::default()
    });
    let content = body["messages"][0]["content"].as_array().unwrap();
    let names: Vec<_> = content.iter().map(|part| &part["file"]["filename"]).collect();
    assert_eq!(names, ["document.pdf", "a.pdf"]);
}

#[test]
fn other_files_than_pdf_are_refused_from_people_and_lost_from_tools() {
    let docx = || {
        Part::new(Content::Media(Media {
            kind: MediaKind::Document,
            source: Source::Base64("QQ==".to_owned()),
            mime: "application/vnd.openxmlformats-officedocument.wordprocessingml.document".to_owned(),
            name: None,
            detail: None,
            context: None,
            cite: None,
        }))
    };
    let asked = Request {
        messages: vec![message(Role::User, vec![docx()])],
        ..Request::default()
    };
    let target = Target {
        model: "there",
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks: &PLAIN,
    };
    let problem = super::request(asked, &target, &mut Losses::default()).unwrap_err();
    assert!(problem.to_string().contains("PDF and text only"), "{problem}");
    let (body, losses) = told(Request {
        messages: vec![message(
            Role::User,
            vec![result("c", vec![Part::text("found"), docx()])],
        )],
        ..Request::default()
    });
    assert_eq!(
        body["messages"],
        json!([{"role": "tool", "tool_call_id": "c", "content": "found"}])
    );
    assert!(
        losses.iter().any(|loss| loss.starts_with("tool_result: document")),
        "{losses:?}"
    );
}
