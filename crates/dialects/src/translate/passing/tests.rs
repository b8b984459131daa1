//! Recorded streams, broken off at many places: what came before is the provider's own, and with the rest it is one answer.

use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use serde_json::Value;

use super::super::recordings::{Recording, recordings};
use super::super::{Beginning, Reply, Standing, StreamEncoder, StreamTap, Transcoder};
use crate::hub::{Content, Delta, Event, Extra, Losses, Part, Stop, StopReason};
use crate::stream::{StreamEnd, TapOptions};

/// Places where each is broken off.
const CUTS_MAX: usize = 12;

const REST: &str = " and the rest.";

fn tap(dialect: Dialect, json_array: bool) -> StreamTap {
    StreamTap::new(TapOptions {
        surface: Surface::new(Operation::Chat, dialect),
        hide_usage_chunk: false,
        json_array,
    })
}

fn reply(recording: &Recording) -> Reply {
    Reply {
        id: "7".to_owned(),
        json_array: recording.json_array,
        ..Reply::default()
    }
}

/// A stream of a format that says the rest.
fn rest(dialect: Dialect) -> Bytes {
    let part = Content::Text {
        text: String::new(),
        citations: Vec::new(),
    };
    let events = [
        Event::Start {
            id: "other".to_owned(),
            model: "other".to_owned(),
            created: Some(2),
            extra: Extra::default(),
        },
        Event::Open {
            choice: 0,
            place: 0,
            part: Box::new(Part::new(part)),
        },
        Event::Delta {
            choice: 0,
            place: 0,
            delta: Delta::Text(REST.to_owned()),
        },
        Event::Close { choice: 0, place: 0 },
        Event::Stop {
            choice: 0,
            stop: Stop::new(StopReason::End),
        },
    ];
    let mut encoder = StreamEncoder::new(dialect, Reply::default());
    let (mut out, mut losses) = (Vec::new(), Losses::default());
    for event in events {
        encoder.event(event, &mut out, &mut losses);
    }
    encoder.finish(&mut out, &mut losses);
    out.into()
}

/// The events of what a client has.
fn told(recording: &Recording, bytes: &[u8]) -> Vec<Value> {
    if recording.json_array {
        let text = String::from_utf8_lossy(bytes).into_owned();
        return serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    let events = crate::sse::events(bytes);
    let data = events.filter_map(|event| event.data.map(std::borrow::Cow::into_owned));
    data.filter(|data| !data.trim_ascii().is_empty() && data.trim_ascii() != b"[DONE]")
        .map(|data| serde_json::from_slice(&data).unwrap())
        .collect()
}

/// What the client reads of the answer.
fn said(dialect: Dialect, events: &[Value]) -> String {
    let text = |event: &Value| match dialect {
        Dialect::OpenaiChat => {
            let content = &event["choices"][0]["delta"]["content"];
            content.as_str().unwrap_or_default().to_owned()
        }
        Dialect::OpenaiResponses if event["type"] == "response.output_text.delta" => {
            event["delta"].as_str().unwrap_or_default().to_owned()
        }
        Dialect::AnthropicMessages => event["delta"]["text"].as_str().unwrap_or_default().to_owned(),
        Dialect::Gemini => {
            let parts = event["candidates"][0]["content"]["parts"].as_array();
            let words = parts.into_iter().flatten().filter(|part| part["thought"] != true);
            words.filter_map(|part| part["text"].as_str()).collect()
        }
        _ => String::new(),
    };
    events.iter().map(text).collect()
}

/// The members of events that name or number things fit together.
fn assert_one_answer(dialect: Dialect, events: &[Value], about: &str) {
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["type"] == kind).collect() };
    match dialect {
        Dialect::OpenaiChat => {
            let ids = events.iter().filter_map(|event| event["id"].as_str());
            let ids: Vec<&str> = ids.filter(|id| !id.is_empty()).collect();
            assert_eq!(ids.last(), ids.first(), "{about}");
            let ends = events
                .iter()
                .filter(|event| event["choices"][0]["finish_reason"].is_string());
            assert_eq!(ends.count(), 1, "{about}");
        }
        Dialect::AnthropicMessages => {
            for once in ["message_start", "message_delta", "message_stop"] {
                assert_eq!(of(once).len(), 1, "{about}: {once}");
            }
            let mut open = None;
            let mut next = 0;
            for event in events {
                let index = event["index"].as_u64();
                match event["type"].as_str().unwrap() {
                    "content_block_start" => {
                        assert_eq!((open, index), (None, Some(next)), "{about}");
                        (open, next) = (index, next + 1);
                    }
                    "content_block_delta" => assert_eq!(open, index, "{about}"),
                    "content_block_stop" => assert_eq!(open.take(), index, "{about}"),
                    _ => {}
                }
            }
            assert_eq!(open, None, "{about}");
        }
        Dialect::OpenaiResponses => {
            let numbers = events.iter().filter_map(|event| event["sequence_number"].as_u64());
            let numbers: Vec<u64> = numbers.collect();
            assert!(
                numbers.windows(2).all(|two| two[1] == two[0] + 1),
                "{about}: {numbers:?}"
            );
            let added = of("response.output_item.added");
            let done = of("response.output_item.done");
            let places = |events: &[&Value]| -> Vec<(u64, String)> {
                let place = |event: &&Value| {
                    let id = event["item"]["id"].as_str().unwrap_or_default();
                    (event["output_index"].as_u64().unwrap(), id.to_owned())
                };
                events.iter().map(place).collect()
            };
            assert_eq!(places(&added), places(&done), "{about}");
            let last = &of("response.completed")[0]["response"];
            assert_eq!(last["id"], of("response.created")[0]["response"]["id"], "{about}");
            let items = last["output"].as_array().unwrap();
            assert_eq!(items.len(), added.len(), "{about}");
            let texts = items
                .iter()
                .flat_map(|item| item["content"].as_array().cloned().unwrap_or_default());
            let texts = texts.filter(|part| part["type"] == "output_text");
            let whole: String = texts
                .filter_map(|part| part["text"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(whole, said(dialect, events), "{about}: the whole answer at the end");
        }
        _ => {
            let ends = events
                .iter()
                .filter(|event| event["candidates"][0]["finishReason"].is_string());
            assert_eq!(ends.count(), 1, "{about}");
        }
    }
}

/// Breaks a recording off behind so many bytes. How it stood then.
fn broken(recording: &Recording, bytes: usize) -> &'static str {
    let dialect = recording.dialect;
    let about = format!("{} {dialect} at {bytes}", recording.id);
    let body = recording.body.slice(..bytes);
    let mut plain = Vec::new();
    tap(dialect, recording.json_array).push(body.clone(), &mut plain);
    let mut transcoder = Transcoder::recoverable(tap(dialect, recording.json_array), dialect, reply(recording));
    let mut out = Vec::new();
    transcoder.push(body, &mut out);
    assert_eq!(out.concat(), plain.concat(), "{about}: it is the provider's own");
    assert!(transcoder.losses().is_empty());
    let standing = transcoder.standing();
    let told_before = match &standing {
        Standing::Lost(_) => return "lost",
        Standing::Silent => String::new(),
        Standing::Spoken(told) => told.clone(),
    };
    if matches!(transcoder.finish(false), StreamEnd::Complete { .. }) {
        return "whole";
    }
    // Who goes on may speak another format.
    let from = if bytes.is_multiple_of(2) {
        dialect
    } else {
        Dialect::OpenaiChat
    };
    let mut next = Transcoder::listening(tap(from, false));
    next.push(rest(from), &mut Vec::new());
    next.finish(true);
    let beginning = Beginning {
        told: told_before.clone(),
        ..Beginning::default()
    };
    let end = transcoder.resume(next, &beginning, false, &mut out);
    let Some(StreamEnd::Complete { last }) = end else {
        panic!("{about}: {end:?}");
    };
    out.push(last);
    assert!(out.concat().starts_with(&plain.concat()), "{about}");
    let events = told(recording, &out.concat());
    let said = said(dialect, &events);
    assert!(
        said.trim_start().starts_with(told_before.trim_start()) && said.ends_with(REST.trim_start()),
        "{about}: {said:?} of {told_before:?}"
    );
    assert_one_answer(dialect, &events, &about);
    assert_eq!(transcoder.losses().len(), 1, "{about}: and that is told");
    "gone on with"
}

#[test]
fn a_recorded_stream_is_one_answer_with_its_rest_wherever_it_breaks_off() {
    let mut counts = std::collections::BTreeMap::new();
    for recording in recordings() {
        if !recording.stream || recording.dialect == Dialect::BedrockConverse {
            continue;
        }
        let body = recording.body.clone();
        let ends: Vec<usize> = memchr::memmem::find_iter(&body, if recording.json_array { "}" } else { "\n\n" })
            .map(|at| at + if recording.json_array { 1 } else { 2 })
            .collect();
        let step = ends.len().div_ceil(CUTS_MAX).max(1);
        for end in ends.into_iter().step_by(step) {
            *counts.entry((recording.dialect, broken(&recording, end))).or_insert(0) += 1;
        }
    }
    println!("{counts:?}");
    for dialect in [
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::AnthropicMessages,
        Dialect::Gemini,
    ] {
        let gone_on = counts.get(&(dialect, "gone on with"));
        assert!(
            counts.is_empty() || gone_on.is_some_and(|count| *count > 20),
            "{counts:?}"
        );
    }
}
