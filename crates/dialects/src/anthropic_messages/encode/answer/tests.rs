//! Answers of other providers, as an Anthropic client gets them.

use domain::{Dialect, Usage};
use serde_json::{Value, json};

use crate::anthropic_messages::fixtures::{noted, reply};
use crate::hub::{
    Answer, Choice, Citation, CitedSource, Content, Losses, Media, MediaKind, Part, Signature, Source, Stop,
    StopReason, Thinking, ToolCall,
};

fn said(parts: Vec<Part>, reason: StopReason) -> Answer {
    Answer {
        choices: vec![Choice {
            parts,
            stop: Some(Stop::new(reason)),
            logprobs: None,
        }],
        ..Answer::default()
    }
}

fn told(answer: Answer) -> (Value, Vec<String>) {
    let mut losses = Losses::default();
    let value = super::answer(answer, &reply(), &mut losses);
    (value, noted(losses))
}

fn call(id: Option<&str>) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: id.map(str::to_owned),
        name: "f".to_owned(),
        arguments: "{\"a\":1}".to_owned(),
        custom: false,
    }))
}

#[test]
fn a_whole_answer() {
    let answer = Answer {
        id: "msg_1".to_owned(),
        model: "gpt-5".to_owned(),
        usage: Some(Usage {
            input: 10,
            cache_read: 4,
            cache_write_5m: 2,
            cache_write_1h: 1,
            output: 9,
            reasoning: 5,
            web_searches: 2,
            ..Usage::default()
        }),
        service_tier: Some("default".to_owned()),
        ..said(vec![Part::text("Hello")], StopReason::End)
    };
    assert_eq!(
        told(answer),
        (
            json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "gpt-5",
                "content": [{"type": "text", "text": "Hello"}],
                "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {
                    "input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4,
                    "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 1},
                    "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5},
                    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
                    "service_tier": "standard",
                },
            }),
            vec![]
        )
    );
}

#[test]
fn what_is_not_given_is_derived_from_the_call() {
    let (value, losses) = told(said(
        vec![Part::text(""), call(None), call(Some("a:b"))],
        StopReason::End,
    ));
    assert_eq!(
        (&value["id"], &value["model"]),
        (&json!("msg_0abc"), &json!("claude-test"))
    );
    assert_eq!(value["content"][0]["id"], "toolu_0abc_0");
    assert_eq!(value["content"][1]["id"], "a_b");
    // A call is a call, whatever word the provider ends with.
    assert_eq!(value["stop_reason"], "tool_use");
    assert_eq!(value["usage"]["input_tokens"], 0);
    assert_eq!(losses, [] as [&str; 0]);
}

#[test]
fn reasons_have_their_words() {
    for (reason, word) in [
        (StopReason::End, "end_turn"),
        (StopReason::Sequence, "end_turn"),
        (StopReason::Length, "max_tokens"),
        (StopReason::Context, "model_context_window_exceeded"),
        (StopReason::Filter, "refusal"),
        (StopReason::Pause, "pause_turn"),
        (StopReason::Other, "end_turn"),
    ] {
        assert_eq!(told(said(vec![], reason)).0["stop_reason"], word);
    }
    let refusal = Part::new(Content::Refusal("No.".to_owned()));
    let (value, _) = told(said(vec![refusal], StopReason::End));
    assert_eq!(value["stop_reason"], "refusal");
    assert_eq!(value["content"], json!([{"type": "text", "text": "No."}]));
}

#[test]
fn seals_travel_wrapped_and_come_home() {
    let seal = |origin| Signature {
        origin,
        value: "s".to_owned(),
    };
    let thought = Part::new(Content::Thinking(Thinking {
        text: "Hm.".to_owned(),
        signature: Some(seal(Dialect::OpenaiResponses)),
        ..Thinking::default()
    }));
    let unsealed = Part::new(Content::Thinking(Thinking {
        text: "So.".to_owned(),
        ..Thinking::default()
    }));
    let mut sealed_call = call(Some("a"));
    sealed_call.signature = Some(seal(Dialect::Gemini));
    let (value, losses) = told(said(vec![thought, unsealed, sealed_call.clone()], StopReason::Tool));
    assert_eq!(
        value["content"],
        json!([
            {"type": "thinking", "thinking": "Hm.", "signature": "tollgate:openai_responses:s"},
            {"type": "thinking", "thinking": "So.", "signature": ""},
            {"type": "thinking", "thinking": "", "signature": "tollgate:gemini:s"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}},
        ])
    );
    assert_eq!(losses, [] as [&str; 0]);
    // The client's next turn.
    let body = json!({"messages": [{"role": "assistant", "content": value["content"]}]}).to_string();
    let request = crate::anthropic_messages::decode::request(body.as_bytes()).unwrap();
    let parts = &request.messages[0].parts;
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2], sealed_call);
}

#[test]
fn citations_of_the_web_are_told_and_others_noted() {
    let cite = |source| Citation {
        span: Some((0, 5)),
        quote: Some("words".to_owned()),
        source,
        native: None,
    };
    let text = Part::new(Content::Text {
        text: "Hello".to_owned(),
        citations: vec![
            cite(CitedSource::Url {
                url: "https://a.example".to_owned(),
                title: None,
            }),
            cite(CitedSource::File {
                id: "f".to_owned(),
                name: None,
            }),
        ],
    });
    let (value, losses) = told(said(vec![text], StopReason::End));
    assert_eq!(
        value["content"][0]["citations"],
        json!([{
            "type": "web_search_result_location", "cited_text": "words", "url": "https://a.example",
            "title": null, "encrypted_index": "",
        }])
    );
    assert_eq!(losses, ["citations[].span", "citations"]);
}

#[test]
fn what_the_format_cannot_say_is_noted() {
    let picture = Part::new(Content::Media(Media {
        kind: MediaKind::Image,
        source: Source::Base64("AA==".to_owned()),
        mime: "image/png".to_owned(),
        name: None,
        detail: None,
        context: None,
        cite: None,
    }));
    let native = Part::new(Content::Native {
        origin: Dialect::OpenaiResponses,
        value: json!({"type": "web_search_call"}),
    });
    let mut answer = said(vec![picture, native], StopReason::End);
    answer.choices[0].logprobs = Some(json!({}));
    answer.choices.push(Choice::default());
    answer.service_tier = Some("flex".to_owned());
    let (value, losses) = told(answer);
    assert_eq!(value["content"], json!([]));
    assert_eq!(
        losses,
        [
            "choices",
            "logprobs",
            "media in the answer",
            "web_search_call",
            "service_tier"
        ]
    );
}

#[test]
fn a_seal_on_an_empty_text_comes_home() {
    let sealed = Part {
        signature: Some(Signature::read(Dialect::Gemini, "c2VhbA==")),
        ..Part::text("")
    };
    let (value, _) = told(said(vec![Part::text("Hi"), sealed], StopReason::End));
    assert_eq!(
        value["content"],
        json!([
            {"type": "text", "text": "Hi"},
            {"type": "thinking", "thinking": "", "signature": "tollgate:gemini:c2VhbA=="},
        ])
    );
    let (value, losses) = told(said(vec![Part::text("Hi"), Part::text("")], StopReason::End));
    assert_eq!((value["content"].as_array().unwrap().len(), losses), (1, vec![]));
}
