//! Streams of other providers, as an Anthropic client gets them.

use domain::{Dialect, Usage};
use proptest::prelude::*;
use serde_json::json;

use crate::anthropic_messages::fixtures::{check_grammar, collected, events, streamed};
use crate::hub::{Content, Delta, Event, Extra, Part, Signature, Stop, StopReason, Thinking, ToolCall};

fn start() -> Event {
    Event::Start {
        id: String::new(),
        model: "gpt-5".to_owned(),
        created: None,
        extra: Extra::default(),
    }
}

fn open(place: u32, content: Content) -> Event {
    Event::Open {
        choice: 0,
        place,
        part: Box::new(Part::new(content)),
    }
}

fn delta(place: u32, delta: Delta) -> Event {
    Event::Delta {
        choice: 0,
        place,
        delta,
    }
}

fn close(place: u32) -> Event {
    Event::Close { choice: 0, place }
}

fn stop(reason: StopReason) -> Event {
    Event::Stop {
        choice: 0,
        stop: Stop::new(reason),
    }
}

fn text() -> Content {
    Content::Text {
        text: String::new(),
        citations: vec![],
    }
}

fn call(id: &str, custom: bool) -> Content {
    Content::ToolCall(ToolCall {
        id: Some(id.to_owned()),
        name: "f".to_owned(),
        arguments: String::new(),
        custom,
    })
}

fn more(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn arguments(text: &str) -> Delta {
    Delta::Arguments(text.to_owned())
}

#[test]
fn a_text_and_a_call_to_the_byte() {
    let usage = Usage {
        input: 3,
        ..Usage::default()
    };
    let (stream, losses) = streamed(vec![
        Event::Usage(usage),
        start(),
        open(0, text()),
        delta(0, more("Hi\n")),
        close(0),
        open(1, call("a", false)),
        delta(1, arguments("{\"a\":")),
        delta(1, arguments("1}")),
        close(1),
        stop(StopReason::Tool),
        Event::Usage(Usage { output: 7, ..usage }),
    ]);
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_0abc","type":"message","role":"assistant","model":"gpt-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi\n"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":7}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(stream, expected);
    assert_eq!(losses, [] as [&str; 0]);
}

#[test]
fn parallel_calls_come_one_after_the_other() {
    let (stream, _) = streamed(vec![
        start(),
        open(0, text()),
        open(1, call("a", false)),
        open(2, call("b", true)),
        delta(2, arguments("say \"x\"")),
        delta(1, arguments("{}")),
        delta(2, arguments("\n")),
    ]);
    // The text said nothing, so it is no block.
    assert_eq!(check_grammar(&stream), ["tool_use", "tool_use"]);
    let a = stream.find(r#""id":"a""#).unwrap();
    let b = stream.find(r#""id":"b""#).unwrap();
    assert!(a < b);
    let answer = collected(events(&stream));
    let inputs: Vec<&str> = answer.choices[0]
        .parts
        .iter()
        .map(|part| match &part.content {
            Content::ToolCall(call) => call.arguments.as_str(),
            _ => "",
        })
        .collect();
    assert_eq!(inputs, ["{}", r#"{"input":"say \"x\"\n"}"#]);
    // Free text is told inside of a JSON string, piece by piece.
    let pieces = [
        r#""partial_json":"{\"input\":\""}"#,
        r#""partial_json":"say \\\"x\\\"""#,
        r#""partial_json":"\\n""#,
    ];
    for piece in pieces {
        assert!(stream.contains(piece), "{piece} is not in {stream}");
    }
    assert!(stream.contains(r#""stop_reason":"tool_use""#));
}

#[test]
fn thoughts_and_seals() {
    let seal = |origin| Signature {
        origin,
        value: "s".to_owned(),
    };
    let redacted = Content::Thinking(Thinking {
        redacted: true,
        ..Thinking::default()
    });
    let mut sealed = Part::new(call("a", false));
    sealed.signature = Some(seal(Dialect::Gemini));
    let (stream, losses) = streamed(vec![
        start(),
        open(0, Content::Thinking(Thinking::default())),
        delta(0, more("Hm.")),
        delta(0, Delta::Signature(seal(Dialect::AnthropicMessages))),
        close(0),
        open(1, redacted),
        delta(1, Delta::Signature(seal(Dialect::AnthropicMessages))),
        close(1),
        Event::Open {
            choice: 0,
            place: 2,
            part: Box::new(sealed),
        },
        close(2),
        open(3, text()),
        delta(3, more("x")),
        delta(3, Delta::Signature(seal(Dialect::Gemini))),
    ]);
    assert_eq!(
        check_grammar(&stream),
        ["thinking", "redacted_thinking", "thinking", "tool_use", "text"]
    );
    for piece in [
        r#"{"type":"thinking_delta","thinking":"Hm."}"#,
        r#"{"type":"signature_delta","signature":"s"}"#,
        r#"{"type":"redacted_thinking","data":"s"}"#,
        r#"{"type":"signature_delta","signature":"tollgate:gemini:s"}"#,
    ] {
        assert!(stream.contains(piece), "{piece} is not in {stream}");
    }
    assert_eq!(losses, ["signature"]);
}

#[test]
fn before_the_end_nothing_looks_like_one() {
    let mut encoder = super::StreamEncoder::new(crate::anthropic_messages::fixtures::reply());
    let (mut out, mut losses) = (Vec::new(), crate::hub::Losses::default());
    for event in [
        start(),
        open(0, text()),
        delta(0, more("x")),
        close(0),
        stop(StopReason::End),
    ] {
        assert!(encoder.event(event, &mut out, &mut losses));
    }
    let told = String::from_utf8(out).unwrap();
    assert!(!told.contains("message_delta") && !told.contains("message_stop") && !told.contains("end_turn"));
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        "[a\"]{0,2}".prop_map(|text| Content::Text {
            text,
            citations: vec![]
        }),
        Just(Content::Refusal(String::new())),
        any::<(bool, bool)>().prop_map(|(redacted, sealed)| Content::Thinking(Thinking {
            redacted,
            signature: sealed.then(|| Signature::read(Dialect::Gemini, "s")),
            ..Thinking::default()
        })),
        any::<bool>().prop_map(|custom| call("", custom)),
        any::<bool>().prop_map(|own| Content::Native {
            origin: if own {
                Dialect::AnthropicMessages
            } else {
                Dialect::Gemini
            },
            value: json!({"type": "server_tool_use"}),
        }),
    ]
}

fn any_delta() -> impl Strategy<Value = Delta> {
    prop_oneof![
        ".{0,3}".prop_map(Delta::Text),
        ".{0,3}".prop_map(Delta::Arguments),
        Just(Delta::Signature(Signature::read(Dialect::Gemini, "s"))),
        Just(Delta::Citation(crate::hub::Citation {
            span: None,
            quote: None,
            source: crate::hub::CitedSource::Url {
                url: "u".to_owned(),
                title: None
            },
            native: None,
        })),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let address = (0..2_u32, 0..4_u32);
    prop_oneof![
        1 => Just(start()),
        4 => (address.clone(), any_content(), any::<bool>()).prop_map(|((choice, place), content, sealed)| {
            let mut part = Part::new(content);
            part.signature = sealed.then(|| Signature::read(Dialect::Gemini, "s"));
            Event::Open { choice: choice / 2, place, part: Box::new(part) }
        }),
        6 => (address.clone(), any_delta()).prop_map(|((choice, place), delta)| Event::Delta { choice, place, delta }),
        3 => address.prop_map(|(choice, place)| Event::Close { choice, place }),
        1 => Just(stop(StopReason::Length)),
        1 => Just(Event::Usage(Usage::default())),
        1 => Just(Event::ServiceTier("x".to_owned())),
    ]
}

proptest! {
    #[test]
    fn any_events_make_the_grammar(events in proptest::collection::vec(any_event(), 0..40)) {
        check_grammar(&streamed(events).0);
    }
}
