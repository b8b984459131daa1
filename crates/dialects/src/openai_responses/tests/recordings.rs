//! Every recorded exchange of the format. The recordings live outside the repository; where they are absent, nothing is
//! tested.
#![expect(
    clippy::disallowed_methods,
    reason = "recordings are files, found by the environment"
)]

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{collected, decode, decoded, encoded, grammar, streamed, told};
use crate::hub::{Answer, Content, Event, StopReason};
use crate::openai_responses::{echo, seal};
use crate::sse;
use crate::translate::Reply;

fn recordings() -> Vec<Value> {
    let named = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings"));
    let Ok(text) = std::fs::read_to_string(folder.join("openai-responses.jsonl")) else {
        println!("no recordings at {}: nothing tested", folder.display());
        return Vec::new();
    };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those that were answered and have a body, and are not failures.
fn answered() -> Vec<(String, Value, bool)> {
    let all = recordings().into_iter();
    all.filter(|recording| recording["response"]["status"] == 200 && recording["expected"]["error"].is_null())
        .map(|recording| {
            let id = recording["id"].as_str().unwrap().to_owned();
            let is_stream = recording["has_stream"] != false;
            (id, recording, is_stream)
        })
        .collect()
}

fn body(recording: &Value) -> &str {
    recording["response"]["body"]["text"].as_str().unwrap()
}

/// A stream's events, as the tap releases them.
fn events(body: &str) -> Vec<Event> {
    let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
    for event in sse::events(body.as_bytes()) {
        let data = event.data.unwrap_or_default();
        if !data.is_empty() && data.as_ref() != b"[DONE]" {
            decoder.event(&data, &mut out).unwrap();
        }
    }
    decoder.finish(&mut out);
    out
}

/// The response object of a whole answer, or at a stream's end.
fn response(body: &str, is_stream: bool) -> Value {
    if !is_stream {
        return serde_json::from_str(body).unwrap();
    }
    let data = sse::events(body.as_bytes()).filter_map(|event| event.data);
    let parsed = data.filter_map(|data| serde_json::from_slice::<Value>(&data).ok());
    let last = parsed.filter(|event| event["type"] == "response.completed").last();
    last.unwrap()["response"].clone()
}

fn disagreements(answer: &Answer, expected: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut text, mut thinking, mut refusal) = (String::new(), String::new(), String::new());
    let mut calls = Vec::new();
    for part in &answer.choices[0].parts {
        match &part.content {
            Content::Text { text: more, .. } => text.push_str(more),
            Content::Refusal(more) => refusal.push_str(more),
            Content::Thinking(more) => thinking.push_str(&more.text),
            Content::ToolCall(call) if !call.custom => {
                calls.push(json!({"id": call.id, "name": call.name, "raw": call.arguments}));
            }
            _ => {}
        }
    }
    for (name, found) in [("text", &text), ("thinking", &thinking), ("refusal", &refusal)] {
        // Long ones are known by their length.
        if let Some(length) = expected[format!("{name}_len")].as_u64() {
            if length != found.chars().count() as u64 {
                problems.push(format!("{name}: {} characters, not {length}", found.chars().count()));
            }
            continue;
        }
        // Pieces are joined without a border there.
        let plain = found.replace("\n\n", "");
        let is_same = expected[name]
            .as_str()
            .is_none_or(|text| text.replace("\n\n", "") == plain);
        if !is_same {
            problems.push(format!("{name}: {found:?}, not {}", expected[name]));
        }
    }
    let wanted: Vec<Value> = expected["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| json!({"id": call["id"], "name": call["name"], "raw": call["raw"]}))
        .collect();
    if wanted != calls {
        problems.push(format!("calls: {calls:?}, not {wanted:?}"));
    }
    let stop = answer.choices[0].stop.as_ref().map(|stop| stop.reason);
    let stop = match stop {
        Some(StopReason::Tool) if !calls.is_empty() => "tool",
        // The list counts custom tools as the provider's.
        Some(StopReason::End | StopReason::Tool) => "stop",
        Some(StopReason::Length) => "length",
        Some(StopReason::Filter) => "filter",
        _ => "other",
    };
    // Some servers say `complete`, which the list takes for an unknown word.
    if expected["stop"] != stop && expected["stop_raw"] != "complete" {
        problems.push(format!("stop: {stop}, not {}", expected["stop"]));
    }
    problems
}

#[test]
fn answers_say_what_is_expected() {
    let mut wrong = Vec::new();
    for (id, recording, is_stream) in answered() {
        let whole = if is_stream {
            collected(events(body(&recording)))
        } else {
            decode::answer(body(&recording).as_bytes()).unwrap()
        };
        let problems = disagreements(&whole, &recording["expected"]);
        wrong.extend(problems.into_iter().map(|problem| format!("{id}: {problem}")));
        if is_stream {
            // The stream tells what its end says once more.
            let end = response(body(&recording), true);
            let end = decode::answer(end.to_string().as_bytes()).unwrap();
            if comparable(&end) != comparable(&whole) {
                wrong.push(format!(
                    "{id}: {:?}\nat the end {:?}",
                    comparable(&whole),
                    comparable(&end)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An answer without what a stream says otherwise: a part opens before it is known whether a summary has several pieces.
fn comparable(answer: &Answer) -> Vec<crate::hub::Part> {
    let mut parts = answer.choices[0].parts.clone();
    for part in &mut parts {
        part.extra.members.shift_remove("summary");
        if part.extra.members.is_empty() {
            part.extra.origin = None;
        }
        // OpenRouter names reasoning anew.
        part.item = part.item.take().filter(|id| !id.starts_with("rs_tmp"));
        // Encrypted anew each time that it is told.
        if let Content::Native { value, .. } = &mut part.content
            && let Some(members) = value.as_object_mut()
        {
            members.shift_remove("fingerprint");
        }
        if let Content::Thinking(thinking) = &mut part.content
            && let Some(seal) = &mut thinking.signature
        {
            seal.value = seal::split(&seal.value).0.unwrap_or_default().to_owned();
        }
    }
    parts
}

fn reply_to(recording: &Value) -> Reply {
    let request = recording["request"]["body"]["text"].as_str().unwrap_or("{}");
    let request: Map<String, Value> = serde_json::from_str(request).unwrap_or_default();
    Reply {
        id: "x1".to_owned(),
        echo: echo::of(&request),
        ..Reply::default()
    }
}

/// An output without what may differ: nulls, empty lists, statuses (they follow from the answer's), reasoning in which
/// there is nothing.
fn normal(mut output: Value) -> Value {
    strip(&mut output);
    if let Value::Array(items) = &mut output {
        let is_empty = |item: &Value| item["type"] == "reasoning" && item.as_object().unwrap().len() <= 2;
        items.retain(|item| !is_empty(item));
    }
    output
}

/// An output without what is made anew each time that it is told: seals, and OpenRouter's names of reasoning.
fn timeless(mut output: Value) -> Value {
    for item in output.as_array_mut().unwrap() {
        let members = item.as_object_mut().unwrap();
        members.shift_remove("encrypted_content");
        members.shift_remove("fingerprint");
        if members["type"] == "reasoning" {
            members.shift_remove("id");
        }
    }
    output
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(members) => {
            members.values_mut().for_each(strip);
            members.retain(|name, value| {
                let is_empty = value.as_array().is_some_and(Vec::is_empty);
                !(value.is_null() || is_empty || name == "status")
            });
        }
        _ => {}
    }
}

#[test]
fn answers_are_the_same_again() {
    for (id, recording, is_stream) in answered() {
        let original = response(body(&recording), is_stream);
        let whole = decode::answer(original.to_string().as_bytes()).unwrap();
        let (again, losses) = told(whole, &reply_to(&recording));
        assert_eq!(losses, [], "{id}");
        assert_eq!(
            normal(again["output"].clone()),
            normal(original["output"].clone()),
            "{id}"
        );
        for name in ["id", "model", "object", "incomplete_details"] {
            assert_eq!(again.get(name), original.get(name), "{id} {name}");
        }
    }
}

#[test]
fn streams_are_the_same_again() {
    for (id, recording, _) in answered().into_iter().filter(|(_, _, is_stream)| *is_stream) {
        let told = events(body(&recording));
        let stream = streamed(told.clone(), &reply_to(&recording));
        let response = grammar::check(&stream);
        assert_eq!(collected(events(&stream)), collected(told), "{id}");
        let original = self::response(body(&recording), true);
        let end = |response: &Value| timeless(normal(response["output"].clone()));
        assert_eq!(end(&response), end(&original), "{id}");
    }
}

/// A request without what may differ by name: nulls; statuses; whether a single text is in a list; the type of an easy
/// message; whether seals are asked for; a declaration in the input, which is told with the other tools; log probabilities
/// and annotations where there are none.
fn normal_request(mut request: Value) -> Value {
    strip(&mut request);
    let members = request.as_object_mut().unwrap();
    members.shift_remove("model");
    if members.get("stream") == Some(&Value::Bool(false)) {
        members.shift_remove("stream");
    }
    if let Some(include) = members.get_mut("include").and_then(Value::as_array_mut) {
        include.retain(|wish| wish != "reasoning.encrypted_content");
        if include.is_empty() {
            members.shift_remove("include");
        }
    }
    if let Some(Value::Object(reasoning)) = members.get_mut("reasoning")
        && let Some(older) = reasoning.shift_remove("generate_summary")
    {
        reasoning.insert("summary".to_owned(), older);
    }
    let mut declared = Vec::new();
    if let Some(text) = members["input"].as_str().map(str::to_owned) {
        members.insert("input".to_owned(), json!([{"role": "user", "content": text}]));
    }
    for item in members["input"].as_array_mut().unwrap() {
        if item["type"] == "additional_tools" {
            declared.append(item["tools"].as_array_mut().unwrap());
            *item = Value::Null;
            continue;
        }
        let is_message = item.get("role").is_some();
        let members = item.as_object_mut().unwrap();
        if is_message {
            members.shift_remove("type");
        }
        for name in ["content", "output"] {
            let alone = match members.get(name).and_then(Value::as_array).map(Vec::as_slice) {
                Some([only]) if only.as_object().unwrap().len() == 2 => only.get("text").cloned(),
                _ => None,
            };
            if let Some(text) = alone.filter(|_| members.get("type") != Some(&json!("reasoning"))) {
                members.insert(name.to_owned(), text);
            }
        }
    }
    members["input"].as_array_mut().unwrap().retain(|item| !item.is_null());
    if !declared.is_empty() {
        let tools = members.entry("tools").or_insert_with(|| json!([]));
        tools.as_array_mut().unwrap().append(&mut declared);
    }
    // The order of members and of declarations in a namespace stays; that of our own members is ours.
    members.sort_keys();
    request
}

#[test]
fn requests_are_the_same_again() {
    let mut count = 0;
    for recording in recordings() {
        let id = recording["id"].as_str().unwrap().to_owned();
        let text = recording["request"]["body"]["text"].as_str();
        let Some(text) = text.filter(|_| recording["response"]["status"] == 200) else {
            continue;
        };
        let original: Value = serde_json::from_str(text).unwrap();
        let (again, losses) = encoded(decoded(&original));
        assert_eq!(losses, [], "{id}");
        assert_eq!(normal_request(again), normal_request(original), "{id}");
        count += 1;
    }
    println!("{count} requests are the same again");
}

/// Replaces, removes and doubles members, by a seed: what a server could send that errs.
fn mutated(value: &mut Value, seed: &mut u64) {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let dice = *seed >> 33;
    if dice.is_multiple_of(23) {
        let others = [
            Value::Null,
            json!(7),
            json!("x"),
            json!([]),
            json!({}),
            json!([{"type": "message"}]),
        ];
        *value = others[(dice / 23) as usize % others.len()].clone();
        return;
    }
    match value {
        Value::Array(items) => {
            for item in items.iter_mut() {
                mutated(item, seed);
            }
            if dice.is_multiple_of(17) {
                items.extend(items.clone());
            }
        }
        Value::Object(members) => members.values_mut().for_each(|member| mutated(member, seed)),
        _ => {}
    }
}

#[test]
fn nothing_that_errs_makes_a_decoder_panic() {
    let mut seed = 17;
    for recording in recordings() {
        let body = recording["response"]["body"]["text"].as_str().unwrap_or_default();
        let request = recording["request"]["body"]["text"].as_str().unwrap_or_default();
        for _ in 0..8 {
            if let Ok(mut request) = serde_json::from_str::<Value>(request) {
                mutated(&mut request, &mut seed);
                if let Ok(request) = decode::request(request.to_string().as_bytes()) {
                    encoded(request);
                }
            }
            if let Ok(mut answer) = serde_json::from_str::<Value>(body) {
                mutated(&mut answer, &mut seed);
                if let Ok(answer) = decode::answer(answer.to_string().as_bytes()) {
                    told(answer, &Reply::default());
                }
                continue;
            }
            let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
            for event in sse::events(body.as_bytes()) {
                let data = event.data.unwrap_or_default();
                let Ok(mut event) = serde_json::from_slice::<Value>(&data) else {
                    continue;
                };
                mutated(&mut event, &mut seed);
                drop(decoder.event(event.to_string().as_bytes(), &mut out));
            }
            decoder.finish(&mut out);
            grammar::check(&streamed(out, &Reply::default()));
        }
    }
}

#[test]
fn a_transcoder_tells_usage_and_never_tells_a_failure_as_an_end() {
    use crate::{StreamEnd, StreamTap, TapOptions, Transcoder};
    let options = TapOptions {
        surface: domain::Surface::new(domain::Operation::Chat, domain::Dialect::OpenaiResponses),
        hide_usage_chunk: false,
        json_array: false,
    };
    for recording in recordings().iter().filter(|recording| recording["has_stream"] == true) {
        let mut transcoder =
            Transcoder::translate(StreamTap::new(options), options.surface.dialect, reply_to(recording));
        let mut out = Vec::new();
        for chunk in body(recording).as_bytes().chunks(100) {
            transcoder.push(bytes::Bytes::copy_from_slice(chunk), &mut out);
        }
        let id = &recording["id"];
        let so_far = String::from_utf8(out.concat()).unwrap();
        assert!(!so_far.contains("event: response.completed"), "{id}");
        match transcoder.finish(true) {
            StreamEnd::Complete { last } => {
                let response = grammar::check(&(so_far + std::str::from_utf8(&last).unwrap()));
                let usage = &recording["usage"];
                let pairs = [("input_tokens", "input"), ("output_tokens", "output")];
                for (told, expected) in pairs {
                    assert_eq!(response["usage"][told], usage[expected], "{id}");
                }
            }
            StreamEnd::Incomplete { .. } => assert_eq!(recording["expected"]["stop_raw"], "failed", "{id}"),
        }
    }
}
