//! Requests of other formats, as Bedrock gets them.

use domain::{Dialect, provider::Quirks};

use super::*;
use crate::hub::{
    CacheMark, Content, Effort, Media, MediaKind, Message, Part, Reasoning, Role, Signature, Source, Thinking,
    ThinkingBudget, Tool, ToolCall, ToolChoice, ToolResult,
};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn told_to(model: &str, request_: Request) -> Result<(Value, Vec<String>), BadRequest> {
    let quirks = Quirks::default();
    let target = Target {
        model,
        max_output: 0,
        thinks: None,
        include_usage: false,
        quirks: &quirks,
    };
    let mut losses = Losses::default();
    let body = request(request_, &target, &mut losses)?;
    Ok((
        body,
        losses
            .into_vec()
            .into_iter()
            .map(|loss| loss.what.into_owned())
            .collect(),
    ))
}

fn told(request: Request) -> (Value, Vec<String>) {
    told_to(CLAUDE, request).unwrap()
}

fn says(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::text(text)])
}

fn asks(messages: Vec<Message>) -> Request {
    Request {
        messages,
        ..Request::default()
    }
}

fn call(id: &str, arguments: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: Some(id.to_owned()),
        name: "f".to_owned(),
        arguments: arguments.to_owned(),
        custom: false,
    }))
}

fn result(id: &str, parts: Vec<Part>) -> Part {
    Part::new(Content::ToolResult(ToolResult {
        call: id.to_owned(),
        parts,
        is_error: Some(true),
        ..ToolResult::default()
    }))
}

fn media(kind: MediaKind, source: Source, mime: &str) -> Part {
    Part::new(Content::Media(Media {
        kind,
        source,
        mime: mime.to_owned(),
        name: Some("a_b.pdf".to_owned()),
        detail: None,
        context: None,
        cite: None,
    }))
}

fn function(name: &str) -> Tool {
    Tool::Function {
        name: name.to_owned(),
        description: Some(String::new()),
        schema: None,
        strict: Some(true),
        cache: Some(CacheMark {
            ttl: Some("1h".to_owned()),
        }),
        extra: Extra::default(),
    }
}

#[test]
fn a_plain_question() {
    let mut question = asks(vec![
        says(Role::System, "be brief"),
        says(Role::Developer, "be kind"),
        says(Role::User, "a"),
        says(Role::User, "b"),
        says(Role::Assistant, ""),
        says(Role::User, "c"),
    ]);
    question.max_output = Some(9);
    question.sampling.temperature = Some(1.5.into());
    question.sampling.top_p = Some(0.5.into());
    question.sampling.top_k = Some(7.into());
    question.sampling.stop = vec!["END".to_owned(), String::new()];
    question.sampling.seed = Some(1.into());
    question.service_tier = Some("priority".to_owned());
    question.metadata = Map::from_iter([("team".to_owned(), "blue".into()), ("n".to_owned(), 1.into())]);
    let (body, losses) = told(question);
    let expected = json!({
        "system": [{"text": "be brief"}, {"text": "be kind"}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 1, "stopSequences": ["END"]},
        "messages": [{"role": "user", "content": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}],
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "additionalModelRequestFields": {"top_k": 7},
        "serviceTier": {"type": "priority"},
        "requestMetadata": {"team": "blue"},
    });
    assert_eq!(body, expected);
    assert_eq!(losses, ["top_p", "temperature", "seed", "metadata"]);
}

#[test]
fn tools_and_their_results() {
    let picture = media(MediaKind::Image, Source::Base64("aGk=".to_owned()), "image/jpeg");
    let mut question = asks(vec![
        says(Role::User, "q"),
        Message::new(
            Role::Assistant,
            vec![call("call|1", r#"{"a":1}"#), call("c2", ""), call("c3", "oops")],
        ),
        Message::new(
            Role::User,
            vec![
                Part::text("and"),
                result("call|1", vec![Part::text("no"), picture]),
                result("c2", vec![]),
            ],
        ),
    ]);
    question.tools = vec![function("f"), function("g")];
    question.tool_choice = Some(ToolChoice::Allowed {
        names: vec!["f".to_owned()],
        required: true,
    });
    let (body, losses) = told(question);
    assert_eq!(
        body["toolConfig"],
        json!({"tools": [
            {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}, "strict": true}},
            {"cachePoint": {"type": "default", "ttl": "1h"}}],
            "toolChoice": {"any": {}}})
    );
    let calls = body["messages"][1]["content"].as_array().unwrap();
    let id = calls[0]["toolUse"]["toolUseId"].as_str().unwrap();
    assert!(id.starts_with("call_1_"), "{id}");
    assert_eq!(calls[0]["toolUse"]["input"], json!({"a": 1}));
    assert_eq!(calls[1]["toolUse"]["input"], json!({}));
    assert_eq!(calls[2]["toolUse"]["input"], json!({"arguments": "oops"}));
    let answers = body["messages"][2]["content"].as_array().unwrap();
    assert_eq!(
        answers[0],
        json!({"toolResult": {"toolUseId": id, "content": [{"text": "no"},
            {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}], "status": "error"}})
    );
    assert_eq!(answers[1]["toolResult"]["content"], json!([]));
    assert_eq!(answers[2], json!({"text": "and"}), "results come first");
    assert_eq!(losses, ["tool_calls[].arguments", "tool_choice.allowed_tools"]);
}

#[test]
fn a_conversation_with_calls_declares_them_even_if_none_may_be_called() {
    let mut question = asks(vec![
        says(Role::User, "q"),
        Message::new(Role::Assistant, vec![call("c1", "{}")]),
        Message::new(Role::User, vec![result("c1", vec![Part::text("x")])]),
    ]);
    question.tools = vec![function("f")];
    question.tool_choice = Some(ToolChoice::None);
    let (body, losses) = told(question.clone());
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    assert_eq!(losses, ["tool_choice"]);
    question.messages.truncate(1);
    let (body, losses) = told(question);
    assert!(body.get("toolConfig").is_none(), "offering none is forbidding them");
    assert!(losses.is_empty());
}

#[test]
fn media_are_bytes_or_in_s3() {
    let documents = vec![
        media(
            MediaKind::Document,
            Source::Base64("JVBERi0=".to_owned()),
            "application/pdf",
        ),
        media(MediaKind::Document, Source::Text("hi".to_owned()), "text/plain"),
        media(
            MediaKind::Video,
            Source::Url("s3://bucket/film".to_owned()),
            "video/quicktime",
        ),
    ];
    let (body, _) = told(asks(vec![Message::new(Role::User, documents)]));
    assert_eq!(
        body["messages"][0]["content"],
        json!([
            {"text": "a b pdf"},
            {"document": {"format": "pdf", "name": "a b pdf", "source": {"bytes": "JVBERi0="}}},
            {"document": {"format": "txt", "name": "a b pdf 2", "source": {"bytes": "aGk="}}},
            {"video": {"format": "mov", "source": {"s3Location": {"uri": "s3://bucket/film"}}}},
        ])
    );
    for (source, mime) in [
        (Source::Url("https://x/y.png".to_owned()), "image/png"),
        (Source::File("file-1".to_owned()), "image/png"),
        (Source::Base64(String::new()), "image/tiff"),
    ] {
        let message = Message::new(Role::User, vec![media(MediaKind::Image, source, mime)]);
        assert!(told_to(CLAUDE, asks(vec![message])).is_err());
    }
}

#[test]
fn reasoning_goes_back_only_under_its_own_seal() {
    let thought = |origin, redacted| {
        Part::new(Content::Thinking(Thinking {
            text: "hm".to_owned(),
            signature: Some(Signature {
                origin,
                value: "sig".to_owned(),
            }),
            redacted,
            ..Thinking::default()
        }))
    };
    let parts = vec![
        thought(Dialect::BedrockConverse, false),
        thought(Dialect::BedrockConverse, true),
        thought(Dialect::Gemini, false),
        Part::text("x"),
    ];
    let (body, losses) = told(asks(vec![says(Role::User, "q"), Message::new(Role::Assistant, parts)]));
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
            {"reasoningContent": {"redactedContent": "sig"}},
            {"text": "x"},
        ])
    );
    assert_eq!(losses, ["thinking"]);
}

#[test]
fn thinking_is_said_in_the_makers_words() {
    let wish = |effort, budget| Reasoning {
        effort,
        budget,
        ..Reasoning::default()
    };
    let tokens = |tokens| Some(ThinkingBudget::Tokens(tokens));
    for (model, wish, expected) in [
        (
            CLAUDE,
            wish(None, tokens(2_000)),
            json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ),
        (
            CLAUDE,
            wish(Some(Effort::Low), None),
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ),
        (
            CLAUDE,
            wish(None, tokens(9_000)),
            json!({"thinking": {"type": "enabled", "budget_tokens": 3999}}),
        ),
        (CLAUDE, wish(Some(Effort::None), None), Value::Null),
        (
            "anthropic.claude-sonnet-4-6",
            wish(Some(Effort::Max), None),
            json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        ),
        (
            "anthropic.claude-sonnet-4-6",
            wish(None, tokens(2_000)),
            json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ),
        (
            "anthropic.claude-opus-5",
            wish(None, tokens(2_000)),
            json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ),
        (
            "anthropic.claude-3-haiku-20240307-v1:0",
            wish(None, tokens(2_000)),
            Value::Null,
        ),
        (
            "us.amazon.nova-2-lite-v1:0",
            wish(Some(Effort::High), None),
            json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        ),
        (
            "openai.gpt-oss-120b-1:0",
            wish(Some(Effort::High), None),
            json!({"reasoning_effort": "high"}),
        ),
        ("meta.llama3", wish(Some(Effort::High), None), Value::Null),
    ] {
        let mut question = asks(vec![says(Role::User, "q")]);
        question.max_output = Some(4_000);
        question.reasoning = Some(wish);
        let (body, _) = told_to(model, question).unwrap();
        assert_eq!(
            body.get("additionalModelRequestFields").unwrap_or(&Value::Null),
            &expected,
            "{model}"
        );
    }
}

#[test]
fn claude_does_not_think_where_it_would_be_refused() {
    let mut question = asks(vec![
        says(Role::User, "q"),
        Message::new(Role::Assistant, vec![call("c1", "{}")]),
        Message::new(Role::User, vec![result("c1", vec![Part::text("x")])]),
    ]);
    question.reasoning = Some(Reasoning {
        budget: Some(ThinkingBudget::Tokens(2_000)),
        ..Reasoning::default()
    });
    let (body, losses) = told(question.clone());
    assert!(body.get("additionalModelRequestFields").is_none());
    assert_eq!(losses, ["thinking"]);
    question.messages.truncate(1);
    question.tool_choice = Some(ToolChoice::Required);
    question.tools = vec![function("f")];
    assert!(told(question).0.get("additionalModelRequestFields").is_none());
}

#[test]
fn schemas_caches_and_what_is_only_bedrocks() {
    let mut question = asks(vec![says(Role::User, "q")]);
    question.messages[0].parts[0].cache = Some(CacheMark {
        ttl: Some("1h".to_owned()),
    });
    question.format = Some(OutputFormat::Schema {
        name: Some("n".to_owned()),
        description: None,
        schema: json!({"type": "object"}),
        strict: Some(true),
    });
    question.extra = Extra {
        origin: Some(Dialect::OpenaiChat),
        members: Map::from_iter([
            ("guardrailConfig".to_owned(), json!({"guardrailIdentifier": "g"})),
            (
                "additionalModelRequestFields".to_owned(),
                json!({"anthropic_beta": ["x"]}),
            ),
            ("prediction".to_owned(), json!({})),
        ]),
    };
    let (body, losses) = told(question.clone());
    assert_eq!(
        body["messages"][0]["content"][1],
        json!({"cachePoint": {"type": "default", "ttl": "1h"}})
    );
    assert_eq!(
        body["outputConfig"],
        json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{\"type\":\"object\",\"additionalProperties\":false}", "name": "n"}}}})
    );
    assert_eq!(body["guardrailConfig"]["guardrailIdentifier"], "g");
    assert_eq!(body["additionalModelRequestFields"]["anthropic_beta"], json!(["x"]));
    assert_eq!(losses, ["prediction"]);
    let (body, losses) = told_to("meta.llama3", question).unwrap();
    assert_eq!(body["messages"][0]["content"].as_array().unwrap().len(), 1);
    assert_eq!(losses, ["cache_control", "prediction"]);
}

/// What Bedrock demands of every conversation.
fn assert_sound(id: &str, body: &Value) {
    let messages = body["messages"].as_array().unwrap();
    let mut last = "";
    let mut uses_tools = false;
    for message in messages {
        let role = message["role"].as_str().unwrap();
        assert_ne!(role, last, "{id}: turns must alternate");
        last = role;
        let content = message["content"].as_array().unwrap();
        assert!(!content.is_empty(), "{id}: an empty turn");
        for block in content {
            let blank = block["text"].as_str().is_some_and(|text| text.trim().is_empty());
            assert!(!blank, "{id}: a blank text");
            uses_tools |= block.get("toolUse").is_some() || block.get("toolResult").is_some();
            if let Some(call) = block.get("toolUse") {
                assert!(call["input"].is_object(), "{id}: {call}");
                let name = call["toolUseId"].as_str().unwrap();
                let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
                assert!(
                    (1..=64).contains(&name.len()) && name.chars().all(plain),
                    "{id}: {name}"
                );
            }
        }
    }
    assert!(
        !uses_tools || body.get("toolConfig").is_some(),
        "{id}: calls without declarations"
    );
    assert!(body.get("model").is_none() && body.get("stream").is_none(), "{id}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "recordings are files, found by the environment"
)]
fn recorded_requests_of_every_format_are_told_soundly() {
    let named = std::env::var_os("TOLLGATE_RECORDINGS").map(std::path::PathBuf::from);
    let beside = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings");
    let folder = named.unwrap_or(beside);
    let (mut told, mut refused) = (0, Vec::new());
    for (file, dialect) in [
        ("openai-chat", Dialect::OpenaiChat),
        ("openai-responses", Dialect::OpenaiResponses),
        ("anthropic-messages", Dialect::AnthropicMessages),
        ("gemini", Dialect::Gemini),
    ] {
        let Ok(text) = std::fs::read_to_string(folder.join(format!("{file}.jsonl"))) else {
            println!("no recordings at {}: nothing tested", folder.display());
            return;
        };
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let (id, body) = (line["id"].as_str().unwrap(), line["request"]["body"]["text"].as_str());
            let Some(body) = body.filter(|_| line["response"]["status"] == 200) else {
                continue;
            };
            let asked = crate::translate::Asked {
                surface: domain::Surface::new(domain::Operation::Chat, dialect),
                model: "m",
                stream: false,
                json_array: false,
                id: "x",
                created: 0,
            };
            let Ok(question) = crate::translate::Question::read(&asked, body.as_bytes()) else {
                continue;
            };
            for model in [CLAUDE, "us.amazon.nova-2-lite-v1:0", "meta.llama3-3-70b-instruct-v1:0"] {
                let quirks = Quirks::default();
                let target = Target {
                    model,
                    max_output: 0,
                    thinks: None,
                    include_usage: false,
                    quirks: &quirks,
                };
                match question.encode(Dialect::BedrockConverse, &target) {
                    Ok(encoded) => {
                        told += 1;
                        assert_sound(id, &serde_json::from_slice(&encoded.body).unwrap());
                    }
                    Err(error) => refused.push(format!("{id}: {error}")),
                }
            }
        }
    }
    println!("{told} told, {} refused: {refused:#?}", refused.len());
    assert!(told > 500, "only {told} were told");
    let known = [
        "only as data or from S3",
        "does not have the client's files",
        "no media of the type",
        "keeps no answers",
        "only its own provider keeps",
    ];
    let strange: Vec<_> = refused
        .iter()
        .filter(|why| !known.iter().any(|known| why.contains(known)))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn a_chat_of_instructions_only_has_a_turn() {
    let (body, losses) = told(asks(vec![says(Role::System, "a"), says(Role::Developer, "b")]));
    assert_eq!(body["system"], json!([{"text": "a"}]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"text": "b"}]}]));
    assert_eq!(losses, ["system"]);
}

#[test]
fn a_prefill_ends_without_white_space() {
    let (body, losses) = told(asks(vec![says(Role::User, "a "), says(Role::Assistant, "b \n")]));
    let expected = json!([
        {"role": "user", "content": [{"text": "a "}]}, {"role": "assistant", "content": [{"text": "b"}]}]);
    assert_eq!((&body["messages"], losses), (&expected, vec!["white space".to_owned()]));
    let (body, losses) = told(asks(vec![says(Role::Assistant, "b "), says(Role::User, "a ")]));
    assert_eq!(
        (&body["messages"][0]["content"][0]["text"], losses),
        (&json!("b "), vec![])
    );
}

#[test]
fn one_call_at_a_time_is_said_to_claude_where_nothing_else_is_chosen() {
    let asked = |model: &str, choice, tools: Vec<Tool>| {
        let question = Request {
            tools,
            tool_choice: choice,
            parallel_tools: Some(false),
            ..asks(vec![says(Role::User, "q")])
        };
        let (body, losses) = told_to(model, question).unwrap();
        let is_lost = losses.iter().any(|loss| loss == "parallel_tool_calls");
        (
            body["additionalModelRequestFields"]["tool_choice"].clone(),
            is_lost,
            body,
        )
    };
    let one = json!({"type": "auto", "disable_parallel_tool_use": true});
    for choice in [None, Some(ToolChoice::Auto)] {
        let (said, is_lost, body) = asked(CLAUDE, choice, vec![function("f")]);
        assert_eq!((said, is_lost), (one.clone(), false));
        assert!(body["toolConfig"].get("toolChoice").is_none(), "{body}");
    }
    let (said, is_lost, _) = asked(CLAUDE, Some(ToolChoice::Required), vec![function("f")]);
    assert_eq!((said, is_lost), (Value::Null, true));
    let (said, is_lost, _) = asked("amazon.nova-pro-v1:0", None, vec![function("f")]);
    assert_eq!((said, is_lost), (Value::Null, true));
    let (said, is_lost, _) = asked(CLAUDE, None, Vec::new());
    assert_eq!((said, is_lost), (Value::Null, false));
}
