//! Everything that was recorded of Gemini. Where the recordings are absent the tests say so and pass.
#![expect(
    clippy::disallowed_methods,
    reason = "recordings are files, found by the environment"
)]

use std::path::PathBuf;

use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use serde_json::{Map, Value, json};

use crate::stream::{StreamEnd, StreamTap, TapOptions};

use crate::UsageReport;
use crate::gemini::{decode, encode};
use crate::hub::{Answer, Choice, Collector, Content, Losses, StopReason};
use crate::sse;
use crate::translate::{Reply, Target, Transcoder};

struct Recording {
    id: String,
    is_stream: bool,
    status: u64,
    request: String,
    model: String,
    answer: String,
    expected: Value,
}

fn recordings(names: &[&str]) -> Vec<Recording> {
    let told = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from);
    let folder = told.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings"));
    if !folder.is_dir() {
        println!("no recordings at {}: nothing tested", folder.display());
        return Vec::new();
    }
    let mut all = Vec::new();
    for name in names {
        let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        all.extend(text.lines().map(recording));
    }
    all
}

fn recording(line: &str) -> Recording {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value["text"].as_str().unwrap_or_default().to_owned();
    let path = line["request"]["path"].as_str().unwrap_or_default();
    let model = path.rsplit('/').next().unwrap_or_default();
    Recording {
        id: line["id"].as_str().unwrap().to_owned(),
        is_stream: line["has_stream"] != Value::Bool(false),
        status: line["response"]["status"].as_u64().unwrap(),
        request: text(&line["request"]["body"]),
        model: model.split(':').next().unwrap_or_default().to_owned(),
        answer: text(&line["response"]["body"]),
        expected: line["expected"].clone(),
    }
}

/// The events' data, of both kinds of streams.
fn events(recording: &Recording) -> Vec<Vec<u8>> {
    if recording.answer.starts_with('[') {
        let items: Vec<Value> = serde_json::from_str(&recording.answer).unwrap();
        return items.iter().map(|item| item.to_string().into_bytes()).collect();
    }
    sse::events(recording.answer.as_bytes())
        .filter_map(|event| Some(event.data?.into_owned()))
        .collect()
}

fn read(recording: &Recording) -> Answer {
    if !recording.is_stream {
        return decode::answer(recording.answer.as_bytes()).unwrap();
    }
    let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
    for data in events(recording) {
        decoder.event(&data, &mut out).unwrap();
    }
    decoder.finish(&mut out);
    let mut collector = Collector::default();
    for event in out {
        collector.push(event);
    }
    collector.into_answer()
}

/// An answer in the words of the recordings' `expected`.
fn told(answer: &Answer) -> Value {
    let nothing = Choice::default();
    let choice = answer.choices.first().unwrap_or(&nothing);
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for part in &choice.parts {
        match &part.content {
            Content::Text { text: more, .. } => text.push_str(more),
            Content::Thinking(more) => thinking.push_str(&more.text),
            Content::ToolCall(call) => calls.push(json!({
                "id": call.id, "name": call.name, "raw": null,
                "args": serde_json::from_str::<Value>(&call.arguments).unwrap(),
            })),
            _ => {}
        }
    }
    let stop = choice.stop.as_ref().map(|stop| match stop.reason {
        StopReason::End | StopReason::Sequence => "stop",
        StopReason::Length | StopReason::Context => "length",
        StopReason::Tool => "tool",
        StopReason::Filter => "filter",
        StopReason::Pause => "pause",
        StopReason::Other => "other",
    });
    json!({
        "text": text, "thinking": thinking, "tool_calls": calls, "stop": stop,
        "stop_raw": choice.stop.as_ref().map(|stop| stop.raw.clone()),
        "model": answer.model, "choices": answer.choices.len().max(1),
    })
}

/// Vertex streams arguments in pieces; the recordings list each piece as a call.
const IN_PIECES: [&str; 2] = ["3c8e942ae5ea", "0572110188a4"];

/// It ends with `UNEXPECTED_TOOL_CALL`: a call of a tool that was not declared, which a client must see as a call.
const UNDECLARED: &str = "d71f402e9afa";

#[test]
fn answers_are_read_as_expected() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for recording in recordings(&["gemini"])
        .iter()
        .filter(|recording| recording.status == 200)
    {
        count += 1;
        let found = told(&read(recording));
        for name in ["text", "thinking", "tool_calls", "stop", "stop_raw", "model", "choices"] {
            let expected = &recording.expected[name];
            let is_hashed = matches!(name, "text" | "thinking") && expected.is_null();
            let is_pieces = name == "tool_calls" && IN_PIECES.contains(&recording.id.as_str());
            let is_undeclared = name == "stop" && recording.id == UNDECLARED;
            let is_unsaid = name == "model" && expected.is_null() && found[name] == "";
            if !is_hashed && !is_pieces && !is_undeclared && !is_unsaid && found[name] != *expected {
                wrong.push(format!(
                    "{} {name}: expected {expected}, found {}",
                    recording.id, found[name]
                ));
            }
        }
    }
    println!("{count} answers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arguments_in_pieces_become_whole() {
    let all = recordings(&["gemini"]);
    let calls = |id: &str| {
        let recording = all.iter().find(|recording| recording.id == id)?;
        Some(told(&read(recording))["tool_calls"].clone())
    };
    let Some(screens) = calls(IN_PIECES[0]) else { return };
    let args: Vec<_> = screens
        .as_array()
        .unwrap()
        .iter()
        .map(|call| (&call["name"], &call["args"]))
        .collect();
    let named = [json!("read_theme"), json!("read_screen")];
    let ids = [json!({}), json!({"id": "A"}), json!({"id": "B"}), json!({"id": "C"})];
    assert_eq!(
        args,
        [
            (&named[0], &ids[0]),
            (&named[1], &ids[1]),
            (&named[1], &ids[2]),
            (&named[1], &ids[3])
        ]
    );
    let recipe = calls(IN_PIECES[1]).unwrap();
    assert_eq!(recipe.as_array().unwrap().len(), 1);
    assert_eq!(recipe[0]["args"]["recipe"]["ingredients"][0]["amount"], "16 oz");
}

/// What is the same to Google: names in both cases, what is absent and what is its default, base64 in both alphabets, the
/// two ways to write a schema. And what the hub says once: all functions in one entry, a role of the instructions.
fn same(path: &str, value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let own = ["args", "response", "parametersJsonSchema", "responseJsonSchema"]
                .iter()
                .any(|name| path.ends_with(name));
            if own {
                return Value::Object(members);
            }
            let members = members.into_iter().filter_map(|(name, value)| {
                let name = decode::camel(&name);
                let value = match name.as_str() {
                    "parameters" | "responseSchema" => crate::gemini::schema::from_openapi(value),
                    _ => same(&format!("{path}.{name}"), value),
                };
                let name = match name.as_str() {
                    "parameters" => "parametersJsonSchema".to_owned(),
                    "responseSchema" => "responseJsonSchema".to_owned(),
                    _ => name,
                };
                let is_default = value == json!({}) && matches!(name.as_str(), "generationConfig" | "toolConfig")
                    || name == "role" && path == ".systemInstruction";
                (!is_default && !value.is_null()).then_some((name, value))
            });
            let mut members: Map<String, Value> = members.collect();
            if members.contains_key("thoughtSignature") && !members.keys().any(|name| DATA.contains(&name.as_str())) {
                members.insert("text".to_owned(), "".into());
            }
            Value::Object(members)
        }
        Value::Array(items) => items.into_iter().map(|item| same(path, item)).collect(),
        Value::String(text) if path.rsplit('.').next() == Some("data") => {
            text.replace('-', "+").replace('_', "/").into()
        }
        Value::String(text) if path.ends_with(".thinkingLevel") => text.to_uppercase().into(),
        other => other,
    }
}

/// A part with none of these is an empty text.
const DATA: [&str; 9] = [
    "text",
    "functionCall",
    "functionResponse",
    "inlineData",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

/// Requests that come back otherwise, and why that means the same.
const OTHERWISE: [(&str, &str); 2] = [
    (
        "6bb27a6fb6c5",
        "results of parallel calls become one turn, as Google documents them",
    ),
    ("90c301e40af0", "neighbouring turns of the model with calls become one"),
];

#[test]
fn requests_come_back() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    let quirks = domain::provider::Quirks::default();
    for recording in recordings(&["gemini", "gemini-count"]) {
        let Ok(original) = serde_json::from_str::<Value>(&recording.request) else {
            continue;
        };
        if recording.status != 200 {
            continue;
        }
        count += 1;
        let request = match decode::request(recording.request.as_bytes()) {
            Ok(request) => request,
            Err(error) => {
                wrong.push(format!("{}: {error}", recording.id));
                continue;
            }
        };
        let target = Target {
            model: &recording.model,
            max_output: 0,
            thinks: None,
            include_usage: true,
            quirks: &quirks,
        };
        let mut losses = Losses::default();
        let told = encode::request(request, &target, &mut losses).unwrap();
        let mut original = original;
        if let Some(inner) = original.get_mut("generateContentRequest") {
            original = inner.take();
            original.as_object_mut().unwrap().remove("model");
        }
        if !losses.as_slice().is_empty() {
            wrong.push(format!("{}: lost {losses:?}", recording.id));
        }
        let (original, told) = (same("", original), same("", told));
        if original != told && !OTHERWISE.iter().any(|(id, _)| *id == recording.id) {
            wrong.push(format!("{}:\n  {original}\n  {told}", recording.id));
        }
    }
    println!("{count} requests");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Answers that come back otherwise.
const ANSWERED_OTHERWISE: [(&str, &str); 2] = [
    ("e3e94f196f31", "OpenAI's log probabilities have no ids of tokens"),
    (
        UNDECLARED,
        "the word for a call of an undeclared tool is told as that of a call",
    ),
];

#[test]
fn answers_come_back() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for recording in recordings(&["gemini"])
        .iter()
        .filter(|recording| recording.status == 200 && !recording.is_stream)
    {
        count += 1;
        let mut losses = Losses::default();
        let told = encode::answer(read(recording), &Reply::default(), &mut losses);
        let mut original: Value = serde_json::from_str(&recording.answer).unwrap();
        // What was consumed comes from the tap; the time is told by Vertex only, and read.
        for name in ["usageMetadata", "createTime"] {
            original.as_object_mut().unwrap().remove(name);
        }
        if original["candidates"][0]["index"].is_null() {
            original["candidates"][0]["index"] = json!(0);
        }
        let (original, told) = (rounded(same("", original)), rounded(same("", told)));
        let is_accepted = ANSWERED_OTHERWISE.iter().any(|(id, _)| *id == recording.id);
        if original != told && !is_accepted || !losses.as_slice().is_empty() {
            wrong.push(format!("{} {losses:?}:\n  {original}\n  {told}", recording.id));
        }
    }
    println!("{count} answers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Calls without arguments have none or an empty object; what is empty need not be there.
fn rounded(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().retain(|_, value| value != "");
    for candidate in answer["candidates"].as_array_mut().into_iter().flatten() {
        candidate
            .as_object_mut()
            .unwrap()
            .retain(|_, value| *value != json!({}));
        for part in candidate["content"]["parts"].as_array_mut().into_iter().flatten() {
            if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
                call.entry("args").or_insert_with(|| json!({}));
            }
        }
    }
    answer
}

/// Tells a stream again, as a Gemini client gets it.
fn retold(recording: &Recording, json_array: bool) -> (String, Losses) {
    let (mut decoder, mut events_of) = (decode::StreamDecoder::default(), Vec::new());
    let reply = Reply {
        json_array,
        ..Reply::default()
    };
    let (mut encoder, mut out, mut losses) = (encode::StreamEncoder::new(reply), Vec::new(), Losses::default());
    for data in events(recording) {
        decoder.event(&data, &mut events_of).unwrap();
        for event in events_of.drain(..) {
            assert!(encoder.event(event, &mut out, &mut losses));
        }
    }
    decoder.finish(&mut events_of);
    for event in events_of {
        assert!(encoder.event(event, &mut out, &mut losses));
    }
    encoder.finish(&mut out, &mut losses);
    (String::from_utf8(out).unwrap(), losses)
}

#[test]
fn streams_come_back() {
    let mut count = 0;
    for recording in recordings(&["gemini"])
        .into_iter()
        .filter(|recording| recording.status == 200 && recording.is_stream)
    {
        count += 1;
        let first = read(&recording);
        for json_array in [false, true] {
            let (answer, losses) = retold(&recording, json_array);
            assert!(losses.as_slice().is_empty(), "{}: {losses:?}", recording.id);
            let again = read(&Recording {
                answer,
                ..copy(&recording)
            });
            assert_eq!(told(&again), told(&first), "{}", recording.id);
            let parts = |answer: &Answer| {
                let parts = answer.choices[0].parts.iter();
                parts
                    .map(|part| (part.content.clone(), part.signature.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(parts(&again), parts(&first), "{}", recording.id);
        }
    }
    println!("{count} streams");
}

fn copy(recording: &Recording) -> Recording {
    Recording {
        id: recording.id.clone(),
        is_stream: recording.is_stream,
        status: recording.status,
        request: String::new(),
        model: String::new(),
        answer: String::new(),
        expected: Value::Null,
    }
}

/// Other JSON in the place of a value, by turns.
fn spoil(value: &mut Value, place: &mut usize, with: &Value) {
    if *place == 0 {
        *value = with.clone();
    }
    *place = place.wrapping_sub(1);
    match value {
        Value::Object(members) => members.values_mut().for_each(|inner| spoil(inner, place, with)),
        Value::Array(items) => items.iter_mut().for_each(|inner| spoil(inner, place, with)),
        _ => {}
    }
}

#[test]
fn spoiled_recordings_are_read_without_panic() {
    let others = [
        Value::Null,
        json!(-1),
        json!(1e300),
        json!("ü"),
        json!([1, {}]),
        json!({"a": {}}),
        json!([]),
    ];
    for recording in recordings(&["gemini"]) {
        if recording.request.len() + recording.answer.len() > 20_000 {
            continue;
        }
        for place in 0..60 {
            let with = &others[place % others.len()];
            let quirks = domain::provider::Quirks::default();
            let target = Target {
                model: &recording.model,
                max_output: 9,
                thinks: None,
                include_usage: true,
                quirks: &quirks,
            };
            let mut losses = Losses::default();
            if let Ok(mut body) = serde_json::from_str(&recording.request) {
                spoil(&mut body, &mut { place }, with);
                if let Ok(request) = decode::request(body.to_string().as_bytes()) {
                    drop(encode::request(request, &target, &mut losses));
                }
            }
            let (mut decoder, mut out) = (decode::StreamDecoder::default(), Vec::new());
            for data in events(&recording) {
                let mut body: Value = serde_json::from_slice(&data).unwrap_or_default();
                spoil(&mut body, &mut { place }, with);
                let body = body.to_string();
                drop(decoder.event(body.as_bytes(), &mut out));
                if let Ok(answer) = decode::answer(body.as_bytes()) {
                    encode::answer(answer, &Reply::default(), &mut losses);
                }
            }
            decoder.finish(&mut out);
        }
    }
}

/// What is billed of a stream, and whether it is whole.
fn tapped(body: &str) -> (StreamTap, TapOptions) {
    let options = TapOptions {
        surface: Surface::new(Operation::Chat, Dialect::Gemini),
        hide_usage_chunk: false,
        json_array: false,
    };
    let mut tap = StreamTap::new(options);
    tap.push(Bytes::copy_from_slice(body.as_bytes()), &mut Vec::new());
    (tap, options)
}

fn without_searches(report: &UsageReport) -> UsageReport {
    match report {
        UsageReport::Possible(usage) => UsageReport::Possible(domain::Usage {
            web_searches: 0,
            ..*usage
        }),
        other => other.clone(),
    }
}

#[test]
fn a_translated_stream_bills_the_same() {
    let mut count = 0;
    for recording in recordings(&["gemini"]) {
        if recording.status != 200 || !recording.is_stream || recording.answer.starts_with('[') {
            continue;
        }
        count += 1;
        let (mut original, options) = tapped(&recording.answer);
        original.finish(true);
        for size in [1, 100, usize::MAX] {
            let mut transcoder = Transcoder::translate(StreamTap::new(options), Dialect::Gemini, Reply::default());
            let mut out = Vec::new();
            for chunk in recording.answer.as_bytes().chunks(size) {
                transcoder.push(Bytes::copy_from_slice(chunk), &mut out);
            }
            let StreamEnd::Complete { last } = transcoder.finish(true) else {
                panic!("{} is whole", recording.id);
            };
            out.push(last);
            let told = String::from_utf8(out.concat()).unwrap();
            let (mut again, _) = tapped(&told);
            assert!(
                matches!(again.finish(true), StreamEnd::Complete { .. }),
                "{}",
                recording.id
            );
            let (again, original) = (again.report(), original.report());
            // What a search asked is not told again, so whoever reads the told stream cannot count it; it is charged by what
            // the provider said.
            assert_eq!(
                without_searches(&again.usage),
                without_searches(&original.usage),
                "{}",
                recording.id
            );
            assert_eq!(
                (again.finish, again.model),
                (original.finish, original.model),
                "{}",
                recording.id
            );
        }
    }
    println!("{count} streams translated");
}
