//! Requests of others, as Gemini gets them.

use domain::Dialect;
use serde_json::json;

use crate::gemini::encode;
use crate::hub::{
    CacheMark, Content, Effort, Extra, Hosted, HostedKind, Losses, Media, MediaKind, Message, OutputFormat, Part,
    Reasoning, Request, Role, Sampling, Signature, Source, Thinking, ThinkingBudget, Tool, ToolCall, ToolChoice,
    ToolResult, Verbosity,
};
use crate::translate::Target;

use super::requests::{write, write_for};

fn seal(origin: Dialect, value: &str) -> Signature {
    Signature {
        origin,
        value: value.to_owned(),
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
        name: "f".to_owned(),
        parts,
        is_error: None,
        custom: false,
    }))
}

fn media(kind: MediaKind, mime: &str, source: Source) -> Media {
    Media {
        kind,
        source,
        mime: mime.to_owned(),
        name: None,
        detail: None,
        context: None,
        cite: None,
    }
}

fn user(parts: Vec<Part>) -> Message {
    Message::new(Role::User, parts)
}

fn of(messages: Vec<Message>) -> Request {
    Request {
        messages,
        ..Request::default()
    }
}

#[test]
fn a_conversation_of_others() {
    let thinking = Part::new(Content::Thinking(Thinking {
        text: "hm".to_owned(),
        signature: Some(seal(Dialect::AnthropicMessages, "s")),
        ..Thinking::default()
    }));
    let request = of(vec![
        Message::new(Role::System, vec![Part::text("one")]),
        user(vec![Part::text("hi"), Part::text("")]),
        Message::new(Role::Developer, vec![Part::text("two")]),
        Message::new(Role::Assistant, vec![thinking, Part::text("I call")]),
        Message::new(Role::Assistant, vec![call("a", r#"{"x":1}"#), call("b", "")]),
        user(vec![result("a", vec![Part::text(r#"{"y": 2}"#)])]),
        user(vec![result("b", vec![Part::text("done"), Part::text("well")])]),
        user(vec![Part::text("go on")]),
    ]);
    let (told, lost) = write(request);
    assert_eq!(
        told,
        json!({
            "systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [
                    {"text": "I call"},
                    {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": "skip_thought_signature_validator"},
                    {"functionCall": {"id": "b", "name": "f", "args": {}}},
                ]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "a", "name": "f", "response": {"y": 2}}},
                    {"functionResponse": {"id": "b", "name": "f", "response": {"output": "done\nwell"}}},
                ]},
                {"role": "user", "parts": [{"text": "go on"}]},
            ],
        })
    );
    assert_eq!(
        lost,
        ["instructions in the conversation", "thought_signature", "thinking"]
    );
}

#[test]
fn seals_go_home_onto_the_call() {
    let messages = |call_seal: Option<Signature>, thought_seal: Option<Signature>| {
        let thought = Part::new(Content::Thinking(Thinking {
            text: "hm".to_owned(),
            signature: thought_seal,
            ..Thinking::default()
        }));
        let call = Part {
            signature: call_seal,
            ..call("a", "{}")
        };
        of(vec![
            user(vec![Part::text("hi")]),
            Message::new(Role::Assistant, vec![thought, call]),
        ])
    };
    let seal_of = |model: &str, request: Request| {
        let told = write_for(model, request).0;
        let parts = told["contents"][1]["parts"].as_array().unwrap().clone();
        parts.last().unwrap()["thoughtSignature"].as_str().map(str::to_owned)
    };
    let own = || Some(seal(Dialect::Gemini, "own"));
    let foreign = || Some(seal(Dialect::OpenaiResponses, "foreign"));
    for model in ["gemini-3-pro", "gemini-2.5-pro"] {
        assert_eq!(seal_of(model, messages(own(), None)).as_deref(), Some("own"));
        assert_eq!(seal_of(model, messages(None, own())).as_deref(), Some("own"));
        assert_eq!(seal_of(model, messages(foreign(), own())).as_deref(), Some("own"));
    }
    let documented = Some("skip_thought_signature_validator".to_owned());
    assert_eq!(seal_of("gemini-flash-latest", messages(foreign(), None)), documented);
    assert_eq!(seal_of("gemini-3-pro", messages(None, foreign())), documented);
    assert_eq!(seal_of("gemini-2.5-pro", messages(foreign(), None)), None);
}

#[test]
fn media_of_others() {
    let image = || media(MediaKind::Image, "", Source::Base64("iVBORw0KGgoAAA".to_owned()));
    let part = |media| Part::new(Content::Media(media));
    let request = of(vec![user(vec![
        part(image()),
        part(media(
            MediaKind::Image,
            "",
            Source::Url("https://a/b.jpg?x=1".to_owned()),
        )),
        part(media(
            MediaKind::Image,
            "",
            Source::Url("data:image/gif;base64,R0lG".to_owned()),
        )),
        part(media(
            MediaKind::Document,
            "text/plain",
            Source::Text("words".to_owned()),
        )),
        part(media(
            MediaKind::Document,
            "",
            Source::Parts(vec![Part::text("p"), part(image())]),
        )),
    ])]);
    let (told, lost) = write(request);
    let png = json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoAAA"}});
    assert_eq!(
        told["contents"][0]["parts"],
        json!([
            png,
            {"fileData": {"fileUri": "https://a/b.jpg?x=1", "mimeType": "image/jpeg"}},
            {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}},
            {"text": "words"},
            {"text": "p"},
            png,
        ])
    );
    assert!(lost.is_empty(), "{lost:?}");
    let quirks = domain::provider::Quirks::default();
    let target = Target {
        model: "gemini-3-pro",
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    let request = of(vec![user(vec![part(media(
        MediaKind::Image,
        "",
        Source::File("file-abc".to_owned()),
    ))])]);
    assert!(encode::request(request, &target, &mut Losses::default()).is_err());
}

#[test]
fn pictures_in_results() {
    let said = vec![
        Part::text("see"),
        Part::new(Content::Media(media(
            MediaKind::Image,
            "image/png",
            Source::Base64("AA".to_owned()),
        ))),
    ];
    let request = || {
        of(vec![
            Message::new(Role::Assistant, vec![call("a", "{}")]),
            user(vec![result("a", said.clone()), Part::text("so?")]),
        ])
    };
    let blob = json!({"inlineData": {"mimeType": "image/png", "data": "AA"}});
    let inside = write_for("gemini-3-flash", request()).0["contents"][1]["parts"].clone();
    assert_eq!(
        inside,
        json!([{"functionResponse": {"id": "a", "name": "f", "response": {"output": "see"}, "parts": [blob]}}, {"text": "so?"}])
    );
    let beside = write_for("gemini-2.5-flash", request()).0["contents"][1]["parts"].clone();
    assert_eq!(
        beside,
        json!([{"functionResponse": {"id": "a", "name": "f", "response": {"output": "see"}}}, {"text": "so?"}, blob])
    );
}

#[test]
fn thinking_in_the_words_of_each_generation() {
    let thinking = |model: &str, effort, budget| {
        let request = Request {
            reasoning: Some(Reasoning {
                effort,
                budget,
                ..Reasoning::default()
            }),
            ..Request::default()
        };
        let (told, lost) = write_for(model, request);
        (told["generationConfig"]["thinkingConfig"].clone(), lost.len())
    };
    let tokens = |tokens| Some(ThinkingBudget::Tokens(tokens));
    for (model, effort, budget, expected, lost) in [
        (
            "gemini-3-flash",
            Some(Effort::Medium),
            None,
            json!({"thinkingLevel": "MEDIUM"}),
            0,
        ),
        (
            "gemini-3-flash",
            Some(Effort::None),
            None,
            json!({"thinkingLevel": "MINIMAL"}),
            1,
        ),
        (
            "gemini-3-pro",
            Some(Effort::Minimal),
            None,
            json!({"thinkingLevel": "LOW"}),
            0,
        ),
        (
            "gemini-3-pro",
            Some(Effort::Max),
            None,
            json!({"thinkingLevel": "HIGH"}),
            1,
        ),
        (
            "gemini-3-pro",
            None,
            tokens(20_000),
            json!({"thinkingLevel": "HIGH", "includeThoughts": true}),
            0,
        ),
        (
            "gemini-3-pro",
            None,
            Some(ThinkingBudget::Adaptive),
            json!({"includeThoughts": true}),
            0,
        ),
        (
            "gemini-2.5-flash",
            Some(Effort::Low),
            None,
            json!({"thinkingBudget": 1024}),
            0,
        ),
        (
            "gemini-2.5-flash",
            None,
            Some(ThinkingBudget::Off),
            json!({"thinkingBudget": 0}),
            0,
        ),
        (
            "gemini-2.5-pro",
            None,
            Some(ThinkingBudget::Off),
            json!({"thinkingBudget": 128}),
            1,
        ),
        (
            "gemini-2.5-pro",
            None,
            tokens(64_000),
            json!({"thinkingBudget": 32768, "includeThoughts": true}),
            1,
        ),
        (
            "gemini-2.5-pro",
            None,
            Some(ThinkingBudget::Adaptive),
            json!({"thinkingBudget": -1, "includeThoughts": true}),
            0,
        ),
        ("gemini-2.0-flash", Some(Effort::High), None, json!(null), 1),
        ("gemini-2.0-flash", Some(Effort::None), None, json!(null), 0),
    ] {
        assert_eq!(
            thinking(model, effort, budget),
            (expected, lost),
            "{model} {effort:?} {budget:?}"
        );
    }
}

#[test]
fn tools_of_others() {
    let function = Tool::Function {
        name: "f".to_owned(),
        description: Some("d".to_owned()),
        schema: Some(json!({"$schema": "x", "type": "object", "properties": {"k": {"const": "v"}}})),
        strict: Some(true),
        cache: None,
        extra: Extra::default(),
    };
    let custom = Tool::Custom {
        name: "patch".to_owned(),
        description: None,
        format: None,
        extra: Extra::default(),
    };
    let hosted = |kind: HostedKind| {
        Tool::Hosted(Hosted {
            kind,
            origin: Dialect::OpenaiResponses,
            native: json!({"type": "some_tool"}),
        })
    };
    let search = hosted(HostedKind::WebSearch {
        max_uses: Some(3),
        allowed_domains: Vec::new(),
        blocked_domains: Vec::new(),
        user_location: None,
    });
    let request = || Request {
        tools: vec![
            search.clone(),
            function.clone(),
            hosted(HostedKind::Other),
            custom.clone(),
        ],
        tool_choice: Some(ToolChoice::Allowed {
            names: vec!["f".to_owned()],
            required: false,
        }),
        parallel_tools: Some(false),
        ..Request::default()
    };
    let declared = json!({"functionDeclarations": [
        {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {"k": {"enum": ["v"]}}}},
        {"name": "patch", "parametersJsonSchema": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}},
    ]});
    let choice = json!({"mode": "VALIDATED", "allowedFunctionNames": ["f"]});
    let (told, lost) = write_for("gemini-3-flash", request());
    assert_eq!(told["tools"], json!([{"googleSearch": {}}, declared]));
    assert_eq!(
        told["toolConfig"],
        json!({"functionCallingConfig": choice, "includeServerSideToolInvocations": true})
    );
    assert_eq!(
        lost,
        [
            "parallel_tool_calls",
            "web_search.max_uses",
            "tools.some_tool",
            "tools.custom"
        ]
    );
    let (told, lost) = write_for("gemini-2.5-flash", request());
    assert_eq!(told["tools"], json!([declared]));
    assert_eq!(told["toolConfig"], json!({"functionCallingConfig": choice}));
    assert_eq!(lost, ["parallel_tool_calls", "tools", "tools.custom"]);
}

#[test]
fn what_gemini_cannot_say_is_noted() {
    let own = Extra {
        origin: Some(Dialect::OpenaiChat),
        members: json!({"prediction": {}}).as_object().unwrap().clone(),
    };
    let request = Request {
        messages: vec![Message {
            name: Some("Ann".to_owned()),
            ..user(vec![Part {
                cache: Some(CacheMark { ttl: None }),
                ..Part::text("hi")
            }])
        }],
        sampling: Sampling {
            seed: Some(json!(9_999_999_999_u64)),
            logit_bias: Some(json!({})),
            temperature: Some(json!(1)),
            ..Sampling::default()
        },
        max_output: Some(100_000),
        format: Some(OutputFormat::Json),
        verbosity: Some(Verbosity::Low),
        user: Some("u".to_owned()),
        service_tier: Some("scale".to_owned()),
        tool_choice: Some(ToolChoice::Required),
        extra: own,
        ..Request::default()
    };
    let (told, lost) = write(request);
    assert_eq!(
        told,
        json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"temperature": 1, "maxOutputTokens": 65536, "responseMimeType": "application/json"}})
    );
    assert_eq!(
        lost,
        [
            "verbosity",
            "user",
            "name",
            "cache_control",
            "tool_choice",
            "seed",
            "logit_bias",
            "max_output_tokens",
            "service_tier",
            "prediction"
        ]
    );
}

#[test]
fn instructions_alone_and_quirks() {
    let request = of(vec![Message::new(Role::System, vec![Part::text("joke")])]);
    let (told, lost) = write(request);
    assert_eq!(
        told,
        json!({"systemInstruction": {"parts": [{"text": "joke"}]}, "contents": [{"role": "user", "parts": [{"text": ""}]}]})
    );
    assert!(lost.is_empty());
    let quirks = domain::provider::Quirks {
        unsupported: vec!["seed".to_owned(), "serviceTier".to_owned(), "absent".to_owned()],
        ..domain::provider::Quirks::default()
    };
    let target = Target {
        model: "m",
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    let request = Request {
        sampling: Sampling {
            seed: Some(json!(1)),
            ..Sampling::default()
        },
        service_tier: Some("flex".to_owned()),
        ..Request::default()
    };
    let mut losses = Losses::default();
    let told = encode::request(request, &target, &mut losses).unwrap();
    assert_eq!(told, json!({"contents": [], "generationConfig": {}}));
    assert_eq!(losses.as_slice().len(), 2);
    let kept = Request {
        previous: Some("resp_1".to_owned()),
        ..Request::default()
    };
    assert!(encode::request(kept, &target, &mut losses).is_err());
}

#[test]
fn arguments_that_are_no_object_are_kept() {
    let request = of(vec![Message::new(
        Role::Assistant,
        vec![call("a", "{broken"), call("b", "[1]")],
    )]);
    let (told, lost) = write_for("gemini-2.5-pro", request);
    assert_eq!(
        told["contents"][0]["parts"][0]["functionCall"]["args"],
        json!({"arguments": "{broken"})
    );
    assert_eq!(
        told["contents"][0]["parts"][1]["functionCall"]["args"],
        json!({"arguments": "[1]"})
    );
    assert_eq!(lost, ["tool_call.arguments"]);
}

#[test]
fn strict_functions_are_held_to_their_schemas() {
    let tool = |strict| Tool::Function {
        name: "f".to_owned(),
        description: None,
        schema: Some(json!({"type": "object"})),
        strict,
        cache: None,
        extra: Extra::default(),
    };
    let mode = |strict, choice| {
        let (told, lost) = write(Request {
            tools: vec![tool(None), tool(strict)],
            tool_choice: choice,
            ..of(vec![user(vec![Part::text("q")])])
        });
        assert_eq!(lost, [""; 0]);
        told["toolConfig"]["functionCallingConfig"]["mode"].clone()
    };
    assert_eq!(mode(Some(true), None), "VALIDATED");
    assert_eq!(mode(Some(true), Some(ToolChoice::Auto)), "VALIDATED");
    assert_eq!(mode(Some(true), Some(ToolChoice::Required)), "ANY");
    assert_eq!(mode(Some(true), Some(ToolChoice::None)), "NONE");
    assert_eq!(mode(Some(false), Some(ToolChoice::Auto)), "AUTO");
    assert_eq!(mode(None, None), json!(null));
}
