//! Streams: what is read of Gemini's, and the bytes that its clients get.

use domain::{Dialect, Usage};
use serde_json::{Value, json};

use crate::gemini::{decode, encode};
use crate::hub::{
    Citation, CitedSource, Collector, Content, Delta, Event, Extra, Losses, Part, Signature, Stop, StopReason,
    Thinking, ToolCall,
};
use crate::limits::WAITING_MAX;
use crate::translate::Reply;

fn read(chunks: &[Value]) -> Vec<Event> {
    let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
    for chunk in chunks {
        decoder.event(chunk.to_string().as_bytes(), &mut out).unwrap();
    }
    decoder.finish(&mut out);
    out
}

fn piece(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}}]})
}

fn open(place: u32, part: Part) -> Event {
    Event::Open {
        choice: 0,
        place,
        part: Box::new(part),
    }
}

fn delta(place: u32, delta: Delta) -> Event {
    Event::Delta {
        choice: 0,
        place,
        delta,
    }
}

const fn close(place: u32) -> Event {
    Event::Close { choice: 0, place }
}

pub(super) fn stop(reason: StopReason, raw: &str) -> Event {
    Event::Stop {
        choice: 0,
        stop: Stop {
            raw: raw.to_owned(),
            ..Stop::new(reason)
        },
    }
}

pub(super) fn start() -> Event {
    Event::Start {
        id: "r".to_owned(),
        model: "g".to_owned(),
        created: None,
        extra: Extra::default(),
    }
}

pub(super) fn thinking(text: &str) -> Part {
    Part::new(Content::Thinking(Thinking {
        text: text.to_owned(),
        is_summary: true,
        ..Thinking::default()
    }))
}

pub(super) fn call(name: &str, arguments: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: Some(format!("id_{name}")),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        custom: false,
    }))
}

pub(super) fn seal(origin: Dialect) -> Signature {
    Signature {
        origin,
        value: "c2ln".to_owned(),
    }
}

#[test]
fn texts_grow_and_sealed_ones_stand_alone() {
    let events = read(&[
        json!({"responseId": "r", "modelVersion": "g", "createTime": "2026-05-04T20:01:02.264968Z",
            "candidates": [{"content": {"parts": [{"text": "h", "thought": true}]}}]}),
        piece(&json!([{"text": "m", "thought": true}])),
        piece(&json!([{"text": "a"}])),
        piece(&json!([{"text": "b"}])),
        piece(&json!([{"text": "", "thoughtSignature": "c2ln"}])),
        json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP",
            "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a"}}],
                "groundingSupports": [{"segment": {"endIndex": 2, "text": "ab"}, "groundingChunkIndices": [0]}]}}]}),
    ]);
    let sealed = Part {
        signature: Some(seal(Dialect::Gemini)),
        extra: Extra {
            origin: Some(Dialect::Gemini),
            ..Extra::default()
        },
        ..Part::text("")
    };
    let citation = Citation {
        span: Some((0, 2)),
        quote: None,
        source: CitedSource::Url {
            url: "https://a".to_owned(),
            title: None,
        },
        native: None,
    };
    let grounding = Part::new(Content::Native {
        origin: Dialect::Gemini,
        value: json!({"groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a"}}],
            "groundingSupports": [{"segment": {"endIndex": 2, "text": "ab"}, "groundingChunkIndices": [0]}]}}),
    });
    assert_eq!(
        events,
        [
            Event::Start {
                id: "r".to_owned(),
                model: "g".to_owned(),
                created: Some(1_777_924_862),
                extra: Extra {
                    origin: Some(Dialect::Gemini),
                    ..Extra::default()
                },
            },
            open(0, thinking("h")),
            delta(0, Delta::Text("m".to_owned())),
            close(0),
            open(1, Part::text("a")),
            delta(1, Delta::Text("b".to_owned())),
            open(2, sealed),
            close(2),
            delta(1, Delta::Citation(citation)),
            close(1),
            open(3, grounding),
            close(3),
            stop(StopReason::End, "STOP"),
        ]
    );
}

#[test]
fn calls_whole_and_in_pieces() {
    let events = read(&[
        piece(
            &json!([{"text": "x"}, {"functionCall": {"name": "f", "args": {"a": 1}}}, {"functionCall": {"name": "g"}}]),
        ),
        piece(&json!([{"functionCall": {"name": "h", "willContinue": true}, "thoughtSignature": "c2ln"}])),
        piece(
            &json!([{"functionCall": {"partialArgs": [{"jsonPath": "$.q", "stringValue": "a", "willContinue": true}], "willContinue": true}}]),
        ),
        piece(
            &json!([{"functionCall": {"partialArgs": [{"jsonPath": "$.q", "stringValue": "b"}], "willContinue": true}}]),
        ),
        piece(&json!([{"functionCall": {}}])),
        json!({"candidates": [{"finishReason": "STOP"}]}),
    ]);
    let mut collector = Collector::default();
    let closes = events
        .iter()
        .filter(|event| matches!(event, Event::Close { .. }))
        .count();
    for event in events {
        collector.push(event);
    }
    let answer = collector.into_answer();
    let calls: Vec<_> = answer.choices[0]
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::ToolCall(call) => Some((call.name.as_str(), call.arguments.as_str(), part.signature.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(
        calls,
        [
            ("f", r#"{"a":1}"#, false),
            ("g", "{}", false),
            ("h", r#"{"q":"ab"}"#, true)
        ]
    );
    assert_eq!(closes, 4);
    assert_eq!(answer.choices[0].stop.as_ref().unwrap().reason, StopReason::Tool);
}

pub(super) fn told(events: Vec<Event>, json_array: bool) -> (String, Vec<String>) {
    let reply = Reply {
        model: "asked".to_owned(),
        id: "call1".to_owned(),
        json_array,
        ..Reply::default()
    };
    let (mut encoder, mut out, mut losses) = (encode::StreamEncoder::new(reply), Vec::new(), Losses::default());
    for event in events {
        assert!(encoder.event(event, &mut out, &mut losses));
    }
    encoder.finish(&mut out, &mut losses);
    let lost = losses.as_slice().iter().map(|loss| loss.what.to_string()).collect();
    (String::from_utf8(out).unwrap(), lost)
}

/// Two calls that come interleaved, as chat streams tell them, after thinking and text.
fn conversation() -> Vec<Event> {
    vec![
        Event::Usage(Usage {
            input: 5,
            ..Usage::default()
        }),
        start(),
        open(0, thinking("")),
        delta(0, Delta::Text("hm".to_owned())),
        delta(0, Delta::Signature(seal(Dialect::AnthropicMessages))),
        close(0),
        open(1, Part::text("")),
        delta(1, Delta::Text("Es ist ".to_owned())),
        delta(1, Delta::Text("kühl.".to_owned())),
        delta(
            1,
            Delta::Citation(Citation {
                span: Some((7, 12)),
                quote: None,
                source: CitedSource::Url {
                    url: "https://a".to_owned(),
                    title: Some("A".to_owned()),
                },
                native: None,
            }),
        ),
        close(1),
        open(2, call("f", "")),
        open(3, call("g", "")),
        delta(3, Delta::Arguments("{\"y\":".to_owned())),
        delta(2, Delta::Arguments("{\"x\"".to_owned())),
        delta(3, Delta::Arguments("2}".to_owned())),
        delta(2, Delta::Arguments(":1}".to_owned())),
        close(3),
        close(2),
        stop(StopReason::Tool, "tool_calls"),
        Event::Usage(Usage {
            input: 5,
            output: 9,
            reasoning: 3,
            ..Usage::default()
        }),
    ]
}

const PIECES: [&str; 7] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}],"role":"model"},"index":0}],"modelVersion":"g","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"","thought":true,"thoughtSignature":"dG9sbGdhdGU6YW50aHJvcGljX21lc3NhZ2VzOmMybG4="}],"role":"model"},"index":0}],"modelVersion":"g","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"Es ist "}],"role":"model"},"index":0}],"modelVersion":"g","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"kühl."}],"role":"model"},"index":0}],"modelVersion":"g","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"id_f","name":"f","args":{"x":1}}}],"role":"model"},"index":0}],"modelVersion":"g","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"id_g","name":"g","args":{"y":2}}}],"role":"model"},"index":0}],"modelVersion":"g","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a","title":"A"}}],"groundingSupports":[{"segment":{"startIndex":7,"endIndex":13,"text":"kühl."},"groundingChunkIndices":[0]}]},"index":0}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":6,"totalTokenCount":14,"thoughtsTokenCount":3},"modelVersion":"g","responseId":"r"}"#,
];

#[test]
fn a_stream_of_others_as_events_and_as_an_array() {
    let (events, lost) = told(conversation(), false);
    assert_eq!(events, PIECES.map(|piece| format!("data: {piece}\n\n")).concat());
    assert!(lost.is_empty(), "{lost:?}");
    let (array, _) = told(conversation(), true);
    assert_eq!(array, format!("[{}]", PIECES.join(",\n")));
}

/// What a Gemini client that keeps every piece sends back.
#[test]
fn thinking_of_others_goes_home_in_one() {
    let redacted = Part::new(Content::Thinking(Thinking {
        signature: Some(seal(Dialect::AnthropicMessages)),
        redacted: true,
        ..Thinking::default()
    }));
    // Some streams tell the seal when the thought is opened, some afterwards.
    let later = Part::new(Content::Thinking(Thinking {
        redacted: true,
        ..Thinking::default()
    }));
    let sealing = delta(8, Delta::Signature(seal(Dialect::AnthropicMessages)));
    let mut events = vec![open(9, redacted), close(9), open(8, later), sealing, close(8)];
    events.extend(conversation());
    let (array, _) = told(events, true);
    let items: Vec<Value> = serde_json::from_str(&array).unwrap();
    let contents: Vec<Value> = items
        .iter()
        .map(|item| item["candidates"][0]["content"].clone())
        .collect();
    let request = decode::request(json!({"contents": contents}).to_string().as_bytes()).unwrap();
    let thoughts: Vec<_> = request
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| match &part.content {
            Content::Thinking(thinking) => {
                Some((thinking.text.as_str(), thinking.signature.clone(), thinking.redacted))
            }
            _ => None,
        })
        .collect();
    let sealed = || Some(seal(Dialect::AnthropicMessages));
    assert_eq!(
        thoughts,
        [("", sealed(), true), ("", sealed(), true), ("hm", sealed(), false)]
    );
}

#[test]
fn an_empty_stream_has_a_last_piece() {
    let last = r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"modelVersion":"asked","responseId":"call1"}"#;
    assert_eq!(told(Vec::new(), false).0, format!("data: {last}\n\n"));
    assert_eq!(told(Vec::new(), true).0, format!("[{last}]"));
}

#[test]
fn choices_do_not_wait_for_each_other() {
    let mut encoder = encode::StreamEncoder::new(Reply::default());
    let (mut out, mut losses) = (Vec::new(), Losses::default());
    for choice in [0, 1] {
        let part = Box::new(Part::text("a"));
        assert!(encoder.event(Event::Open { choice, place: 0, part }, &mut out, &mut losses));
    }
    let said = String::from_utf8(out).unwrap();
    assert!(said.contains(r#""index":0"#) && said.contains(r#""index":1"#), "{said}");
}

#[test]
fn calls_wait_within_bounds() {
    let mut encoder = encode::StreamEncoder::new(Reply::default());
    let (mut out, mut losses) = (Vec::new(), Losses::default());
    assert!(encoder.event(open(0, call("f", "")), &mut out, &mut losses));
    let much = "x".repeat(WAITING_MAX);
    assert!(encoder.event(delta(0, Delta::Arguments(much)), &mut out, &mut losses));
    assert!(!encoder.event(delta(0, Delta::Arguments("x".to_owned())), &mut out, &mut losses));
    assert!(encoder.event(close(0), &mut out, &mut losses));
}
