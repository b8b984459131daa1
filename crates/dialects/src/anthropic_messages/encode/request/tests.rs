//! Requests of other formats, as Anthropic gets them.

use domain::Dialect;
use serde_json::{Map, Value, json};

use crate::anthropic_messages::fixtures::{noted, refused, told};
use crate::hub::{
    CacheMark, Citation, CitedSource, Content, Effort, Extra, Media, MediaKind, Message, Part, Reasoning, Request,
    Role, Sampling, Signature, Source, Thinking, ThinkingBudget, Tool, ToolCall, ToolResult,
};

mod thinking;
mod tools;

const OLD: &str = "claude-sonnet-4-5";
const NEW: &str = "claude-opus-4-8";

fn text(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::text(text)])
}

fn asking(messages: Vec<Message>) -> Request {
    Request {
        messages,
        ..Request::default()
    }
}

fn hello() -> Request {
    asking(vec![text(Role::User, "Hello")])
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: Some(id.to_owned()),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        custom: false,
    }))
}

fn result(call: &str, text: &str) -> Part {
    Part::new(Content::ToolResult(ToolResult {
        call: call.to_owned(),
        parts: vec![Part::text(text)],
        ..ToolResult::default()
    }))
}

fn thought(origin: Dialect) -> Part {
    Part::new(Content::Thinking(Thinking {
        text: "Hm.".to_owned(),
        signature: Some(Signature {
            origin,
            value: "sealed".to_owned(),
        }),
        ..Thinking::default()
    }))
}

fn media(kind: MediaKind, mime: &str, source: Source) -> Part {
    Part::new(Content::Media(Media {
        kind,
        source,
        mime: mime.to_owned(),
        name: None,
        detail: None,
        context: None,
        cite: None,
    }))
}

fn function(name: &str, schema: Option<Value>) -> Tool {
    Tool::Function {
        name: name.to_owned(),
        description: None,
        schema,
        strict: None,
        cache: None,
        extra: Extra::default(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is the request's member")]
fn reasoning(effort: Option<Effort>, budget: Option<ThinkingBudget>) -> Option<Reasoning> {
    Some(Reasoning {
        effort,
        budget,
        ..Reasoning::default()
    })
}

/// The content of the only message.
fn content(parts: Vec<Part>) -> (Value, Vec<String>) {
    let (mut value, losses) = told(asking(vec![Message::new(Role::User, parts)]), OLD, 0);
    (value["messages"][0]["content"].take(), losses)
}

#[test]
fn the_least_is_a_model_a_bound_and_a_turn() {
    assert_eq!(
        told(hello(), OLD, 0),
        (
            json!({
                "model": OLD,
                "max_tokens": 8192,
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
            }),
            vec![]
        )
    );
    assert_eq!(told(hello(), OLD, 64_000).0["max_tokens"], 64_000);
    let much = Request {
        max_output: Some(100_000),
        ..hello()
    };
    let (value, losses) = told(much, OLD, 64_000);
    assert_eq!(
        (&value["max_tokens"], losses),
        (&json!(64_000), vec!["max_tokens".to_owned()])
    );
}

#[test]
fn instructions_go_to_the_top_and_later_ones_to_the_user() {
    let (value, losses) = told(
        asking(vec![
            text(Role::System, "Be kind."),
            text(Role::Developer, "Be brief."),
            text(Role::User, "Hello"),
            text(Role::Assistant, "Hi!"),
            text(Role::System, "Be French."),
            text(Role::User, "Go on"),
        ]),
        OLD,
        0,
    );
    let block = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(value["system"], json!([block("Be kind."), block("Be brief.")]));
    assert_eq!(
        value["messages"],
        json!([
            {"role": "user", "content": [block("Hello")]},
            {"role": "assistant", "content": [block("Hi!")]},
            {"role": "user", "content": [block("Be French."), block("Go on")]},
        ])
    );
    assert_eq!(losses, ["system message"]);
}

#[test]
fn instructions_alone_still_make_a_turn() {
    let (value, losses) = told(asking(vec![text(Role::System, "A."), text(Role::System, "B.")]), OLD, 0);
    assert_eq!(value["system"], json!([{"type": "text", "text": "A."}]));
    assert_eq!(value["messages"][0]["role"], "user");
    assert_eq!(losses, ["system"]);
}

#[test]
fn results_come_first_in_one_turn_and_find_their_calls() {
    let (value, losses) = told(
        asking(vec![
            text(Role::User, "Weather?"),
            Message::new(
                Role::Assistant,
                vec![
                    call("functions.get:0", "get", "{\"a\":1}"),
                    call("functions_get_0", "get", ""),
                ],
            ),
            text(Role::System, "Hurry."),
            Message::new(Role::User, vec![result("functions.get:0", "sunny")]),
            Message::new(Role::User, vec![result("functions_get_0", "")]),
        ]),
        OLD,
        0,
    );
    assert_eq!(
        value["messages"][1]["content"],
        json!([
            {"type": "tool_use", "id": "functions_get_0", "name": "get", "input": {"a": 1}},
            {"type": "tool_use", "id": "functions_get_0_2", "name": "get", "input": {}},
        ])
    );
    assert_eq!(
        value["messages"][2]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "functions_get_0", "content": [{"type": "text", "text": "sunny"}]},
            {"type": "tool_result", "tool_use_id": "functions_get_0_2"},
            {"type": "text", "text": "Hurry."},
        ])
    );
    assert_eq!(losses, ["system message"]);
}

#[test]
fn arguments_are_objects() {
    for (given, input, lost) in [
        ("", json!({}), false),
        ("null", json!({}), false),
        ("{\"a\":", json!({"arguments": "{\"a\":"}), true),
        ("[1]", json!({"arguments": "[1]"}), true),
    ] {
        let turn = Message::new(Role::Assistant, vec![call("a", "f", given)]);
        let (value, losses) = told(asking(vec![turn]), OLD, 0);
        assert_eq!(value["messages"][0]["content"][0]["input"], input);
        assert_eq!(!losses.is_empty(), lost, "{given}");
    }
}

#[test]
fn only_own_seals_go_back() {
    let turn = |thought: Part| {
        asking(vec![
            text(Role::User, "Hello"),
            Message::new(
                Role::Assistant,
                vec![Part::text("I look."), call("a", "f", "{}"), thought],
            ),
            Message::new(Role::User, vec![result("a", "b")]),
        ])
    };
    let (value, losses) = told(turn(thought(Dialect::AnthropicMessages)), OLD, 0);
    // Thoughts come first in a turn that calls tools.
    assert_eq!(
        value["messages"][1]["content"][0],
        json!({"type": "thinking", "thinking": "Hm.", "signature": "sealed"})
    );
    assert_eq!(losses, [] as [&str; 0]);
    let (value, losses) = told(turn(thought(Dialect::Gemini)), OLD, 0);
    assert_eq!(value["messages"][1]["content"].as_array().unwrap().len(), 2);
    assert_eq!(losses, ["thinking"]);
    // Without its thoughts a turn with calls cannot be gone on with while thinking by a budget.
    let thinking = Request {
        reasoning: reasoning(Some(Effort::Low), None),
        ..turn(thought(Dialect::Gemini))
    };
    let (value, losses) = told(thinking.clone(), OLD, 0);
    assert!(value.get("thinking").is_none());
    assert_eq!(losses, ["thinking", "reasoning"]);
    assert_eq!(told(thinking, NEW, 0).0["thinking"], json!({"type": "adaptive"}));
}

#[test]
fn media_are_told_as_anthropic_takes_them() {
    let base64 = |data: &str| Source::Base64(data.to_owned());
    let url = |url: &str| Source::Url(url.to_owned());
    for (part, expected) in [
        (
            media(MediaKind::Image, "image/jpg", base64("AA==")),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}}),
        ),
        (
            media(MediaKind::Image, "", base64("R0lGODlh")),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGODlh"}}),
        ),
        (
            media(MediaKind::Image, "", url("data:image/png;base64,AA==")),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}),
        ),
        (
            media(MediaKind::Image, "", url("https://a.example/b.png")),
            json!({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}),
        ),
        (
            media(MediaKind::Document, "application/pdf", base64("JVBERi0=")),
            json!({"type": "document", "source": {
                "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=",
            }}),
        ),
        (
            media(MediaKind::Document, "text/csv", base64("YSxi")),
            json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}}),
        ),
        (
            media(MediaKind::Document, "", Source::File("file_1".to_owned())),
            json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
        ),
    ] {
        assert_eq!(content(vec![part]), (json!([expected]), vec![]));
    }
    for (part, lost) in [
        (media(MediaKind::Audio, "audio/wav", base64("AA==")), "audio"),
        (media(MediaKind::Video, "video/mp4", base64("AA==")), "video"),
        (media(MediaKind::Image, "image/tiff", base64("AA==")), "image"),
        (
            media(MediaKind::Document, "application/zip", base64("AA==")),
            "document",
        ),
    ] {
        let asked = asking(vec![Message::new(Role::User, vec![Part::text("See:"), part.clone()])]);
        let refused = refused(asked, OLD);
        assert!(refused.to_string().contains(lost), "{refused}");
        // A tool's answer is told without.
        let answered = Part::new(Content::ToolResult(ToolResult {
            call: "a".to_owned(),
            parts: vec![Part::text("See:"), part],
            ..ToolResult::default()
        }));
        let (value, losses) = content(vec![answered]);
        assert_eq!(value[0]["content"], json!([{"type": "text", "text": "See:"}]));
        assert_eq!(losses, [lost]);
    }
}

#[test]
fn a_cache_marker_survives_what_it_stood_on() {
    let mark = Some(CacheMark {
        ttl: Some("1h".to_owned()),
    });
    let mut empty = Part::text("");
    empty.cache.clone_from(&mark);
    let (value, losses) = content(vec![Part::text("A"), empty]);
    assert_eq!(
        value,
        json!([{"type": "text", "text": "A", "cache_control": {"type": "ephemeral", "ttl": "1h"}}])
    );
    assert_eq!(losses, [] as [&str; 0]);
    let mut odd = Part::text("A");
    odd.cache = Some(CacheMark {
        ttl: Some("24h".to_owned()),
    });
    let (value, losses) = content(vec![odd]);
    assert_eq!(value[0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(losses, ["cache ttl"]);
}

#[test]
fn what_the_format_cannot_say_is_noted() {
    let request = Request {
        choices: Some(2),
        logprobs: Some(1),
        modalities: vec!["text".to_owned(), "audio".to_owned()],
        cache_key: Some("k".to_owned()),
        service_tier: Some("flex".to_owned()),
        store: Some(true),
        metadata: Map::from_iter([("a".to_owned(), json!("b"))]),
        sampling: Sampling {
            frequency_penalty: Some(json!(1)),
            presence_penalty: Some(json!(1)),
            seed: Some(json!(1)),
            logit_bias: Some(json!({})),
            ..Sampling::default()
        },
        user: Some("u".to_owned()),
        extra: Extra {
            origin: Some(Dialect::OpenaiChat),
            members: Map::from_iter([("prediction".to_owned(), json!({}))]),
        },
        ..hello()
    };
    let (value, losses) = told(request, OLD, 0);
    assert_eq!(value["metadata"], json!({"user_id": "u"}));
    assert_eq!(value.as_object().unwrap().len(), 4);
    assert_eq!(
        losses,
        [
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "logit_bias",
            "logprobs",
            "n",
            "modalities",
            "prompt_cache_key",
            "store",
            "metadata",
            "service_tier",
            "prediction",
        ]
    );
}

#[test]
fn what_the_provider_refuses_is_left_out() {
    let quirks = domain::provider::Quirks {
        unsupported: vec!["top_k".to_owned(), "absent".to_owned()],
        ..domain::provider::Quirks::default()
    };
    let target = crate::translate::Target {
        model: OLD,
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    let request = Request {
        sampling: Sampling {
            top_k: Some(json!(3)),
            ..Sampling::default()
        },
        ..hello()
    };
    let mut losses = crate::hub::Losses::default();
    let value = super::request(request, &target, &mut losses).unwrap();
    assert!(value.get("top_k").is_none());
    assert_eq!(noted(losses), ["top_k"]);
}

#[test]
fn a_turn_to_be_gone_on_with_ends_without_white_space() {
    let turns = vec![text(Role::User, "Go on:"), text(Role::Assistant, "So \n")];
    let (value, losses) = told(asking(turns), OLD, 0);
    assert_eq!(value["messages"][1]["content"][0]["text"], "So");
    assert_eq!(losses, ["white space"]);
}

#[test]
fn only_own_citations_go_back() {
    let cite = |native| Citation {
        span: None,
        quote: None,
        source: CitedSource::Url {
            url: "u".to_owned(),
            title: None,
        },
        native,
    };
    let own = json!({"type": "web_search_result_location", "url": "u", "encrypted_index": "e"});
    // As our own answers tell what another provider cited.
    let told_by_us = json!({"type": "web_search_result_location", "url": "u", "encrypted_index": ""});
    let text = Part::new(Content::Text {
        text: "A".to_owned(),
        citations: vec![
            cite(Some((Dialect::AnthropicMessages, own.clone()))),
            cite(Some((Dialect::AnthropicMessages, told_by_us))),
            cite(None),
        ],
    });
    let (value, losses) = content(vec![text]);
    assert_eq!(value, json!([{"type": "text", "text": "A", "citations": [own]}]));
    assert_eq!(losses, ["citations"]);
}

#[test]
fn a_kept_answer_cannot_be_continued_elsewhere() {
    let request = Request {
        previous: Some("resp_1".to_owned()),
        ..hello()
    };
    let quirks = domain::provider::Quirks::default();
    let target = crate::translate::Target {
        model: OLD,
        max_output: 0,
        thinks: None,
        include_usage: true,
        quirks: &quirks,
    };
    let refused = super::request(request, &target, &mut crate::hub::Losses::default());
    assert_eq!(refused.unwrap_err().path, "previous_response_id");
}
