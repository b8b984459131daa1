//! Whatever comes, in whatever order: nothing panics, and what is told keeps Gemini's grammar.

use domain::{Dialect, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::streams::{call, seal, start, stop, thinking, told};
use crate::gemini::{decode, encode};
use crate::hub::{Act, Citation, CitedSource, Content, Deed, Delta, Event, Losses, Part, StopReason};
use crate::sse;
use crate::translate::Reply;

fn deed(act: Act) -> Part {
    Part::new(Content::Deed(Box::new(Deed::new("", act))))
}

fn any_event() -> impl Strategy<Value = Event> {
    let part = prop_oneof![
        Just(Part::text("")),
        Just(Part::text("ä")),
        Just(thinking("")),
        Just(call("f", "")),
        Just(call("g", "{}")),
        Just(Part::new(Content::Refusal("no".to_owned()))),
        Just(Part::new(Content::Native {
            origin: Dialect::Gemini,
            value: json!({"executableCode": {}})
        })),
        Just(Part::new(Content::Native {
            origin: Dialect::OpenaiChat,
            value: json!({})
        })),
        Just(deed(Act::Search(vec!["q".to_owned()]))),
        Just(deed(Act::Fetch("https://a".to_owned()))),
        Just(deed(Act::Fetched(Err("x".to_owned())))),
        Just(deed(Act::Ran {
            text: "x".to_owned(),
            is_error: false
        })),
    ];
    let citation = Citation {
        span: Some((0, 1)),
        quote: None,
        source: CitedSource::Other,
        native: None,
    };
    let news = prop_oneof![
        Just(Delta::Text("ü".to_owned())),
        Just(Delta::Arguments("{\"a\"".to_owned())),
        Just(Delta::Signature(seal(Dialect::AnthropicMessages))),
        Just(Delta::Citation(citation)),
    ];
    let address = (0..300_u32, 0..3_u32);
    prop_oneof![
        Just(start()),
        (address.clone(), part).prop_map(|((choice, place), part)| Event::Open {
            choice: choice % 3 * 150,
            place,
            part: Box::new(part)
        }),
        (address.clone(), news).prop_map(|((choice, place), delta)| Event::Delta {
            choice: choice % 3 * 150,
            place,
            delta
        }),
        address.prop_map(|(choice, place)| Event::Close {
            choice: choice % 3 * 150,
            place
        }),
        Just(stop(StopReason::Length, "length")),
        Just(Event::Usage(Usage {
            input: 1,
            ..Usage::default()
        })),
        Just(Event::ServiceTier("flex".to_owned())),
        Just(Event::Logprobs {
            choice: 0,
            value: json!({"content": [{"token": "a", "logprob": -1}]})
        }),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a$.\\[\\]0-9ü]{0,6}".prop_map(Value::from),
        Just(json!("STOP")),
        Just(json!("OBJECT")),
    ];
    let names = prop::sample::select(vec![
        "candidates",
        "content",
        "contents",
        "parts",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "args",
        "name",
        "partialArgs",
        "jsonPath",
        "stringValue",
        "willContinue",
        "functionResponse",
        "response",
        "inlineData",
        "fileData",
        "fileUri",
        "groundingMetadata",
        "groundingChunks",
        "groundingSupports",
        "segment",
        "startIndex",
        "endIndex",
        "groundingChunkIndices",
        "index",
        "finishReason",
        "logprobsResult",
        "chosenCandidates",
        "promptFeedback",
        "blockReason",
        "tools",
        "functionDeclarations",
        "parameters",
        "properties",
        "type",
        "enum",
        "nullable",
        "any_of",
        "$ref",
        "const",
        "allOf",
        "toolConfig",
        "functionCallingConfig",
        "mode",
        "generationConfig",
        "thinkingConfig",
        "systemInstruction",
        "generateContentRequest",
        "mediaResolution",
    ]);
    leaf.prop_recursive(8, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_the_grammar(events in prop::collection::vec(any_event(), 0..40)) {
        let (array, _) = told(events.clone(), true);
        let items: Vec<Value> = serde_json::from_str(&array).unwrap();
        let (stream, _) = told(events, false);
        let data: Vec<Value> = sse::events(stream.as_bytes())
            .map(|event| serde_json::from_slice(&event.data.unwrap()).unwrap())
            .collect();
        prop_assert_eq!(&items, &data);
        let (last, before) = items.split_last().unwrap();
        for candidate in last["candidates"].as_array().unwrap() {
            prop_assert!(candidate["finishReason"].is_string());
        }
        for piece in before {
            prop_assert!(piece["candidates"][0].get("finishReason").is_none());
            prop_assert!(piece.get("usageMetadata").is_none());
            let parts = piece["candidates"][0]["content"]["parts"].as_array().unwrap();
            prop_assert!(parts.len() == 1 && parts[0].is_object());
        }
        let mut decoder = decode::StreamDecoder::default();
        for item in &items {
            prop_assert!(decoder.event(item.to_string().as_bytes(), &mut Vec::new()).is_ok());
        }
    }

    #[test]
    fn decoders_never_panic(bodies in prop::collection::vec(any_json(), 1..4), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
        let quirks = domain::provider::Quirks::default();
        let target = crate::translate::Target { model: "gemini-3-pro", max_output: 9, thinks: None, include_usage: true, quirks: &quirks };
        let mut losses = Losses::default();
        for body in bodies.iter().map(|body| body.to_string().into_bytes()).chain([bytes]) {
            drop(decoder.event(&body, &mut out));
            if let Ok(answer) = decode::answer(&body) {
                encode::answer(answer, &Reply::default(), &mut losses);
            }
            if let Ok(mut request) = decode::request(&body) {
                request.link_tools();
                drop(encode::request(request, &target, &mut losses));
            }
        }
        decoder.finish(&mut out);
    }

    #[test]
    fn any_candidate_is_read_without_panic(parts in prop::collection::vec(any_json(), 0..5), rest in any_json()) {
        let mut candidate = json!({"content": {"parts": parts}});
        if let (Value::Object(members), Value::Object(more)) = (&mut candidate, rest) {
            members.extend(more);
        }
        let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
        let body = json!({"candidates": [candidate]}).to_string();
        drop(decoder.event(body.as_bytes(), &mut out));
        drop(decoder.event(body.as_bytes(), &mut out));
        decoder.finish(&mut out);
        drop(decode::answer(body.as_bytes()));
    }
}
