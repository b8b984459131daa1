//! What must hold for anything at all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{collected, decode, encode, grammar, news, reply, streamed};
use crate::hub::{
    Act, Citation, CitedSource, Content, Deed, Delta, Event, Extra, Losses, Part, Signature, Stop, StopReason,
    Thinking, ToolCall,
};
use domain::Dialect;

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("message"),
        Just("reasoning"),
        Just("function_call"),
        Just("custom_tool_call"),
        Just("function_call_output"),
        Just("output_text"),
        Just("input_image"),
        Just("refusal"),
        Just("namespace"),
        Just("user"),
        Just("assistant"),
        Just("data:image/png;base64,AA"),
        Just("completed"),
        Just("tollgate:gemini:x"),
        Just("next:tollgate:gemini:x"),
        Just("ä€"),
        Just(""),
    ]
    .prop_map(str::to_owned)
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("type"),
        Just("role"),
        Just("content"),
        Just("id"),
        Just("call_id"),
        Just("name"),
        Just("namespace"),
        Just("text"),
        Just("summary"),
        Just("encrypted_content"),
        Just("arguments"),
        Just("output"),
        Just("tools"),
        Just("input"),
        Just("item"),
        Just("part"),
        Just("delta"),
        Just("output_index"),
        Just("item_id"),
        Just("response"),
        Just("status"),
        Just("annotations"),
    ]
    .prop_map(str::to_owned)
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4_u64).prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn kinds() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("response.created"),
        Just("response.output_item.added"),
        Just("response.output_item.done"),
        Just("response.content_part.added"),
        Just("response.content_part.done"),
        Just("response.output_text.delta"),
        Just("response.output_text.done"),
        Just("response.output_text.annotation.added"),
        Just("response.refusal.delta"),
        Just("response.reasoning_summary_part.added"),
        Just("response.reasoning_summary_text.delta"),
        Just("response.reasoning_text.done"),
        Just("response.function_call_arguments.delta"),
        Just("response.function_call_arguments.done"),
        Just("response.custom_tool_call_input.delta"),
        Just("response.completed"),
    ]
}

/// Something that another provider did.
fn deed(act: usize, id: &str) -> Part {
    let text = || "x".to_owned();
    let act = match act {
        0 => Act::Search(vec![text()]),
        1 => Act::Found(Ok(Vec::new())),
        2 => Act::Fetch(text()),
        3 => Act::Fetched(Err(text())),
        4 => Act::Run {
            code: text(),
            language: "python",
        },
        5 => Act::Ran {
            text: text(),
            is_error: true,
        },
        6 => Act::Remote {
            server: text(),
            tool: text(),
            arguments: text(),
        },
        _ => Act::Replied {
            text: text(),
            is_error: false,
        },
    };
    Part::new(Content::Deed(Box::new(Deed::new(id, act))))
}

fn events() -> impl Strategy<Value = Event> {
    let part = prop_oneof![
        words().prop_map(Part::text),
        words().prop_map(|text| Part::new(Content::Refusal(text))),
        (words(), any::<bool>()).prop_map(|(text, is_summary)| {
            Part::new(Content::Thinking(Thinking {
                text,
                is_summary,
                ..Thinking::default()
            }))
        }),
        (words(), any::<bool>()).prop_map(|(name, custom)| {
            Part::new(Content::ToolCall(ToolCall {
                name,
                custom,
                ..ToolCall::default()
            }))
        }),
        Just(Part::new(Content::Native {
            origin: Dialect::OpenaiResponses,
            value: json!({"type": "web_search_call", "id": "ws"}),
        })),
        (0..8_usize, 0..3_usize).prop_map(|(act, id)| deed(act, ["", "a", "b"][id])),
    ];
    let signature = || Signature {
        origin: Dialect::Gemini,
        value: "seal".to_owned(),
    };
    let citation = || Citation {
        span: Some((0, 1)),
        quote: None,
        source: CitedSource::Url {
            url: "u".to_owned(),
            title: None,
        },
        native: None,
    };
    let delta = prop_oneof![
        words().prop_map(Delta::Text),
        words().prop_map(Delta::Arguments),
        Just(()).prop_map(move |()| Delta::Signature(signature())),
        Just(()).prop_map(move |()| Delta::Citation(citation())),
    ];
    prop_oneof![
        4 => (0..5_u32, part).prop_map(|(place, part)| Event::Open { choice: 0, place, part: Box::new(part) }),
        6 => (0..5_u32, delta).prop_map(|(place, delta)| Event::Delta { choice: 0, place, delta }),
        3 => (0..5_u32).prop_map(|place| Event::Close { choice: 0, place }),
        1 => Just(Event::Logprobs { choice: 0, value: json!({"content": [{"token": "a"}]}) }),
        1 => Just(Event::Usage(domain::Usage::default())),
        1 => Just(Event::Start { id: "r".to_owned(), model: String::new(), created: None, extra: Extra::default() }),
        1 => Just(Event::Stop { choice: 0, stop: Stop::new(StopReason::Length) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn decoders_take_anything(value in anything(), items in proptest::collection::vec(anything(), 0..4)) {
        drop(decode::answer(value.to_string().as_bytes()));
        drop(decode::answer(json!({"output": items}).to_string().as_bytes()));
        drop(decode::request(value.to_string().as_bytes()));
        if let Ok(request) = decode::request(json!({"input": items, "tools": [value]}).to_string().as_bytes()) {
            super::encoded(request);
        }
    }

    #[test]
    fn stream_decoders_take_anything(events in proptest::collection::vec((kinds(), anything()), 0..12)) {
        let mut decoder = decode::StreamDecoder::default();
        let mut out = Vec::new();
        for (kind, mut event) in events {
            if let Value::Object(members) = &mut event {
                members.insert("type".to_owned(), kind.into());
            }
            drop(decoder.event(event.to_string().as_bytes(), &mut out));
        }
        decoder.finish(&mut out);
        // What was decoded keeps the grammar of parts: opened once, then deltas, then closed once.
        let mut open = std::collections::HashMap::new();
        for event in &out {
            match event {
                Event::Open { place, .. } => prop_assert!(open.insert(*place, true).is_none()),
                Event::Delta { place, .. } => prop_assert_eq!(open.get(place), Some(&true)),
                Event::Close { place, .. } => prop_assert_eq!(open.insert(*place, false), Some(true)),
                _ => {}
            }
        }
        prop_assert!(open.values().all(|is_open| !is_open));
    }

    #[test]
    fn any_order_of_events_keeps_the_grammar(events in proptest::collection::vec(events(), 0..30)) {
        // Each place is opened once.
        let mut seen = std::collections::HashSet::new();
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| !matches!(event, Event::Open { place, .. } if !seen.insert(*place)))
            .collect();
        let reply = reply(&json!({"tools": [{"type": "custom", "name": "user"}]}));
        grammar::check(&streamed(events, &reply));
    }

    #[test]
    fn a_stream_tells_what_the_whole_answer_tells(events in proptest::collection::vec(events(), 0..30)) {
        let mut seen = std::collections::HashSet::new();
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| !matches!(event, Event::Open { place, .. } if !seen.insert(*place)))
            .filter(|event| !matches!(event, Event::Logprobs { .. }))
            .collect();
        let reply = reply(&json!({}));
        let last = grammar::check(&streamed(events, &reply));
        let blocks: Vec<Value> = vec![json!({"type": "response.completed", "response": last})];
        let by_end = collected(news(&blocks));
        let mut losses = Losses::default();
        let again = encode::answer(by_end, &reply, &mut losses);
        let items = |response: &Value| {
            let items = response["output"].as_array().unwrap().iter();
            items
                .filter(|item| item["type"] != "reasoning")
                .map(|item| (item["type"].clone(), item["content"].clone(), item["arguments"].clone(), item["input"].clone()))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(items(&again), items(&last));
    }
}
