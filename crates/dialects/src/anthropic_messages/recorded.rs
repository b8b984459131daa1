//! Every recorded exchange of this format: read, compared with what must be found in it, and written again.
//!
//! The recordings live outside the repository; where they are absent the tests say so and pass.
#![expect(
    clippy::disallowed_methods,
    reason = "recordings are files, found by the environment"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::fixtures::{check_grammar, collected, events, noted, reply, streamed, told};
use super::{decode, encode};
use crate::hub::{Answer, Content, Event, Losses, StopReason};

fn recordings(file: &str) -> Vec<Value> {
    let named = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings");
    let path = named.unwrap_or(beside).join(format!("{file}.jsonl"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("no recordings at {}: nothing tested", path.display());
        return Vec::new();
    };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn body<'a>(line: &'a Value, side: &str) -> Option<&'a str> {
    line[side]["body"]["text"].as_str()
}

fn is_fine(line: &Value) -> bool {
    line["response"]["status"].as_u64().is_some_and(|status| status < 300)
}

fn is_stream(line: &Value) -> bool {
    line["has_stream"] == true
}

/// What a recording must be found to say, from the answer that was read.
fn found(answer: &Answer) -> BTreeMap<&'static str, Value> {
    let (mut text, mut thinking, mut calls, mut native) = (String::new(), String::new(), Vec::new(), Vec::new());
    let choice = &answer.choices[0];
    for part in &choice.parts {
        match &part.content {
            Content::Text { text: more, citations } => {
                text.push_str(more);
                if !citations.is_empty() {
                    native.push("citations".to_owned());
                }
            }
            Content::Thinking(thought) => thinking.push_str(&thought.text),
            Content::ToolCall(call) => calls.push(json!({
                "id": call.id, "name": call.name, "raw": null,
                "args": serde_json::from_str::<Value>(&call.arguments).unwrap(),
            })),
            Content::Native { value, .. } => native.push(value["type"].as_str().unwrap().to_owned()),
            other => panic!("unexpected {other:?}"),
        }
    }
    native.sort();
    native.dedup();
    let stop = choice.stop.as_ref().map(|stop| match stop.reason {
        StopReason::End | StopReason::Sequence => "stop",
        StopReason::Length | StopReason::Context => "length",
        StopReason::Tool => "tool",
        StopReason::Filter => "filter",
        StopReason::Pause => "pause",
        StopReason::Other => "other",
    });
    BTreeMap::from([
        ("text", text.into()),
        ("thinking", thinking.into()),
        ("tool_calls", calls.into()),
        ("native", native.into()),
        ("stop", stop.into()),
        ("stop_raw", choice.stop.as_ref().map(|stop| stop.raw.clone()).into()),
        ("model", answer.model.clone().into()),
    ])
}

fn read(line: &Value) -> Answer {
    let body = body(line, "response").unwrap();
    if is_stream(line) {
        collected(events(body))
    } else {
        decode::answer(body.as_bytes()).unwrap()
    }
}

#[test]
fn answers_say_what_they_must() {
    let mut count = 0;
    for line in recordings("anthropic-messages").iter().filter(|line| is_fine(line)) {
        for (name, value) in found(&read(line)) {
            let expected = &line["expected"][name];
            match line["expected"][format!("{name}_len")].as_u64() {
                Some(length) if expected.is_null() => {
                    assert_eq!(
                        value.as_str().unwrap().chars().count() as u64,
                        length,
                        "{} {name}",
                        line["id"]
                    );
                }
                _ => assert_eq!(&value, expected, "{} {name}", line["id"]),
            }
        }
        count += 1;
    }
    println!("{count} answers");
}

/// Members that are not told again: what the tap saw takes their place, or they say nothing.
fn normal_answer(mut answer: Value) -> Value {
    let members = answer.as_object_mut().unwrap();
    members.remove("usage");
    members.retain(|_, value| !value.is_null());
    for block in members["content"].as_array_mut().unwrap() {
        normal_block(block);
    }
    // An empty text is not told.
    members["content"]
        .as_array_mut()
        .unwrap()
        .retain(|block| block["text"] != "");
    answer
}

/// Blocks of one meaning in one spelling.
fn normal_block(block: &mut Value) {
    let Some(members) = block.as_object_mut() else { return };
    members.retain(|name, value| !(name == "citations" && (value.is_null() || value == &json!([]))));
    if members.get("type") == Some(&"thinking".into()) {
        members.entry("signature").or_insert("".into());
    }
    if members.get("type") == Some(&"tool_result".into())
        && let Some(Value::String(text)) = members.get("content").cloned()
    {
        members.insert("content".to_owned(), json!([{"type": "text", "text": text}]));
    }
    if members.get("type") == Some(&"tool_result".into()) && members.get("content") == Some(&json!([])) {
        members.remove("content");
    }
}

#[test]
fn answers_come_out_as_they_went_in() {
    for line in recordings("anthropic-messages").iter().filter(|line| is_fine(line)) {
        let answer = read(line);
        let mut losses = Losses::default();
        let again = encode::answer(answer.clone(), &reply(), &mut losses);
        assert_eq!(noted(losses), [] as [String; 0], "{}", line["id"]);
        if !is_stream(line) {
            let original: Value = serde_json::from_str(body(line, "response").unwrap()).unwrap();
            assert_eq!(normal_answer(again.clone()), normal_answer(original), "{}", line["id"]);
        }
        // As a stream: the same grammar, the same answer.
        let (stream, losses) = streamed(answer.clone().into_events());
        check_grammar(&stream);
        assert_eq!(losses, [] as [String; 0], "{}", line["id"]);
        let told = collected(events(&stream));
        assert_eq!(found(&told), found(&answer), "{}", line["id"]);
        if is_stream(line) {
            let events = events(body(line, "response").unwrap());
            assert!(matches!(events[0], Event::Start { .. }));
            let (stream, _) = streamed(events);
            check_grammar(&stream);
            assert_eq!(
                found(&collected(super::fixtures::events(&stream))),
                found(&answer),
                "{}",
                line["id"]
            );
        }
    }
}

/// Requests of one meaning in one spelling: texts as lists of one block, neighbours of one role as one turn.
fn normal_request(mut request: Value) -> Value {
    let as_list = |value: &Value| match value {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        other => other.as_array().cloned().unwrap_or_default(),
    };
    let members = request.as_object_mut().unwrap();
    members.retain(|name, value| !(name == "stream" && value == false) && value != &json!([]));
    if let Some(system) = members.get("system").map(as_list) {
        members.insert("system".to_owned(), system.into());
    }
    let mut turns: Vec<Value> = Vec::new();
    for message in members["messages"].as_array().unwrap() {
        let mut content = as_list(&message["content"]);
        content.iter_mut().for_each(normal_block);
        content.retain(|block| block["text"].as_str().is_none_or(|text| !text.trim().is_empty()));
        let role = if message["role"] == "system" {
            "user"
        } else {
            message["role"].as_str().unwrap()
        };
        match turns.last_mut() {
            Some(turn) if turn["role"] == role => turn["content"].as_array_mut().unwrap().extend(content),
            _ => turns.push(json!({"role": role, "content": content})),
        }
    }
    for turn in &mut turns {
        let blocks = turn["content"].as_array_mut().unwrap();
        blocks.sort_by_key(|block| block["type"] != "tool_result");
    }
    members.insert("messages".to_owned(), turns.into());
    request
}

/// Differences that are meant, by recording, as they are noted.
const MEANT: [(&str, &str); 3] = [
    ("d9734e09ed63", "system message"),
    ("601b594bb4e4", "system message"),
    // The model once said nothing but a space before its calls.
    ("37774026f230", "white space"),
];

/// Calls of two turns have one id in it, which Anthropic took; here each call gets its own.
const SAME_ID: &str = "1256c9eb2eb1";

#[test]
fn requests_come_out_as_they_went_in() {
    let mut count = 0;
    let all = [recordings("anthropic-messages"), recordings("anthropic-count")].concat();
    for line in all.iter().filter(|line| is_fine(line)) {
        let Some(text) = body(line, "request") else { continue };
        let mut request = decode::request(text.as_bytes()).unwrap();
        request.link_tools();
        let original: Value = serde_json::from_str(text).unwrap();
        let model = request.model.clone();
        let (mut again, losses) = told(request, &model, 0);
        if original.get("max_tokens").is_none() {
            again.as_object_mut().unwrap().remove("max_tokens");
        }
        let id = line["id"].as_str().unwrap();
        let meant = MEANT.iter().filter(|(meant, _)| *meant == id).map(|(_, what)| *what);
        assert_eq!(losses, meant.collect::<Vec<_>>(), "{id}");
        if id == SAME_ID {
            again = serde_json::from_str(&again.to_string().replace("0usajhl5_2", "0usajhl5")).unwrap();
        }
        assert_eq!(normal_request(again), normal_request(original), "{id}");
        count += 1;
    }
    println!("{count} requests");
}

/// Bytes of recordings, bent at any place, must never make a reader panic.
#[test]
fn bent_recordings_are_refused_or_read() {
    let values = [
        json!(null),
        json!(1),
        json!([]),
        json!({}),
        json!("text"),
        json!([1]),
        json!({"type": 1}),
    ];
    for (place, line) in recordings("anthropic-messages").iter().enumerate() {
        for (side, text) in [("request", body(line, "request")), ("response", body(line, "response"))] {
            let is_events = side == "response" && is_stream(line);
            let lines = text
                .unwrap_or_default()
                .lines()
                .filter_map(|line| line.strip_prefix("data:"));
            let bodies: Vec<&str> = if is_events {
                lines.collect()
            } else {
                text.into_iter().collect()
            };
            let mut decoder = decode::StreamDecoder::default();
            let mut out = Vec::new();
            for (at, text) in bodies.iter().enumerate() {
                let Ok(mut value) = serde_json::from_str::<Value>(text) else {
                    continue;
                };
                bend(&mut value, &values, (place + at) * 7919);
                let bent = value.to_string();
                if is_events {
                    drop(decoder.event(bent.as_bytes(), &mut out));
                } else if side == "request" {
                    if let Ok(request) = decode::request(bent.as_bytes()) {
                        drop(told(request, "claude-sonnet-4-5", 0));
                    }
                } else if let Ok(answer) = decode::answer(bent.as_bytes()) {
                    encode::answer(answer, &reply(), &mut Losses::default());
                }
            }
            decoder.finish(&mut out);
            check_grammar(&streamed(out).0);
        }
    }
}

/// Puts something else at a place that the seed chooses.
fn bend(value: &mut Value, values: &[Value], seed: usize) {
    let next = seed / 3 + 1;
    match value {
        Value::Object(members) if !members.is_empty() && !seed.is_multiple_of(5) => {
            let at = seed % members.len();
            bend(members.values_mut().nth(at).unwrap(), values, next);
        }
        Value::Array(items) if !items.is_empty() && !seed.is_multiple_of(7) => {
            let at = seed % items.len();
            bend(&mut items[at], values, next);
        }
        other => *other = values[seed % values.len()].clone(),
    }
}
