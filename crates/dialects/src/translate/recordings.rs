//! Every recorded answer, told in every client's format, and read again.
//!
//! What a reader must find in a recording stands beside it (`expected`, made by other people's code); here it must be
//! found in the translation. The reader is our own decoder of the client's format, so a mistake that decoder and encoder
//! share is not seen here: `tests/sdk` reads the same with the official SDKs. Where the recordings are absent the tests
//! say so and pass.
#![expect(
    clippy::disallowed_methods,
    reason = "recordings are files, found by the environment"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use serde_json::Value;

use super::*;
use crate::UsageReport;
use crate::hub::{Answer, Choice, Collector, Content, StopReason};
use crate::stream::TapOptions;

const FILES: [(&str, Dialect); 5] = [
    ("openai-chat", Dialect::OpenaiChat),
    ("openai-responses", Dialect::OpenaiResponses),
    ("anthropic-messages", Dialect::AnthropicMessages),
    ("gemini", Dialect::Gemini),
    ("bedrock-converse", Dialect::BedrockConverse),
];

const CLIENTS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];

/// Recordings of Bedrock that are told otherwise than listed, on purpose. The first two have text inside
/// `citationsContent`, which the list leaves out; in the others Bedrock ran the tool itself (`server_tool_use`), so that no
/// client must be asked to.
const TOLD_OTHERWISE: [&str; 5] = [
    "6a2216063822",
    "fcd00514193c",
    "f9b9cdf4ba51",
    "e323a2344b96",
    "99cdee76ca27",
];

/// What is accepted, and why: the recording, the clients' formats, and the part that differs.
///
/// OpenAI says `stop` after a call that the request demanded by name. Only its own format can say that: Anthropic documents
/// `tool_use` for every answer with a call (<https://docs.claude.com/en/api/handling-stop-reasons>), Responses and Gemini say
/// nothing but that the answer is complete, which with a call in it means the call.
const DEMANDED_CALLS: [&str; 4] = ["5d13a8b5607e", "8d6a40c86f65", "451585bcfa54", "a9c555e7d424"];

/// Snowflake puts reasoning only where OpenRouter puts its seals (`reasoning_details`), which whoever wrote down what to
/// expect did not read; we do, because without the text the seal is worth nothing.
const REASONING_IN_DETAILS: [&str; 2] = ["e2577fce1a4f", "4be0996defef"];

/// An imitator of Responses says `complete` for `completed`; Gemini's `UNEXPECTED_TOOL_CALL` has no counterpart in the formats
/// of OpenAI and Anthropic (<https://platform.openai.com/docs/api-reference/chat/object>). What is told is the usual word.
const WORDS_OF_NOBODY: [&str; 3] = ["f0723a9953ea", "ea6a1ff3d90b", "d71f402e9afa"];

/// What a custom tool is called with is listed as `native`, and the answer as if nothing were called.
const CUSTOM_CALL: &str = "8f92305e1ece";

/// Vertex streams a call's arguments in pieces; whoever wrote down what to expect counted each piece as a call.
const CALLS_IN_PIECES: [&str; 2] = ["3c8e942ae5ea", "0572110188a4"];

/// Snowflake sends the older word for a call with nothing in it; whoever wrote down what to expect counted it as a call.
const EMPTY_CALLS: [&str; 2] = ["8f7a42bfbf3c", "a8245b151020"];

fn is_accepted(id: &str, why: &str) -> bool {
    let stop = why.starts_with("stop ");
    (stop && (DEMANDED_CALLS.contains(&id) || WORDS_OF_NOBODY.contains(&id)))
        || (id == CUSTOM_CALL && (stop || why == "1 tool calls instead of 0"))
        || (why.contains(" tool calls instead of ") && (CALLS_IN_PIECES.contains(&id) || EMPTY_CALLS.contains(&id)))
        || (why.starts_with("thinking ") && REASONING_IN_DETAILS.contains(&id))
}

pub(super) struct Recording {
    pub(super) id: String,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    pub(super) json_array: bool,
    pub(super) body: Bytes,
    expected: Value,
}

pub(super) fn recordings() -> Vec<Recording> {
    let named = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings"));
    if !folder.is_dir() {
        println!("no recordings at {}: nothing tested", folder.display());
        return Vec::new();
    }
    let mut all = Vec::new();
    for (name, dialect) in FILES {
        let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        all.extend(
            text.lines()
                .filter_map(|line| recording(dialect, &serde_json::from_str(line).unwrap())),
        );
    }
    all
}

/// A recording of an answer; errors have no answer to tell.
fn recording(dialect: Dialect, line: &Value) -> Option<Recording> {
    let body = &line["response"]["body"];
    let body = match body["b64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => body["text"].as_str()?.as_bytes().to_vec(),
    };
    let stream = line["has_stream"] != Value::Bool(false);
    let is_answer =
        line["response"]["status"] == 200 && line["expected"].is_object() && line["expected"]["error"].is_null();
    (is_answer && (!stream || line["expected"]["complete"] == true)).then(|| Recording {
        id: line["id"].as_str().unwrap().to_owned(),
        dialect,
        stream,
        json_array: stream && body.starts_with(b"["),
        body: body.into(),
        expected: line["expected"].clone(),
    })
}

fn reply() -> Reply {
    Reply {
        model: "asked".to_owned(),
        id: "test".to_owned(),
        created: 1,
        stream_usage: true,
        ..Reply::default()
    }
}

/// What the client reads; `Err`: what went wrong.
fn told(recording: &Recording, client: Dialect, chunk: usize) -> Result<Answer, String> {
    if recording.stream {
        told_stream(recording, client, chunk)
    } else {
        told_whole(recording, client)
    }
}

fn told_whole(recording: &Recording, client: Dialect) -> Result<Answer, String> {
    let surface = Surface::new(Operation::Chat, recording.dialect);
    let report = crate::read_answer(surface, &recording.body).map_err(|error| error.to_string())?;
    let told = translate_answer(recording.dialect, client, &recording.body, &report, &reply());
    let told = told.map_err(|error| error.to_string())?.body;
    let read = match client {
        Dialect::OpenaiChat | Dialect::BedrockConverse => openai_chat::decode::answer(&told),
        Dialect::OpenaiResponses => openai_responses::decode::answer(&told),
        Dialect::AnthropicMessages => anthropic_messages::decode::answer(&told),
        Dialect::Gemini => gemini::decode::answer(&told),
    };
    let answer = read.map_err(|error| format!("unreadable: {error}: {}", String::from_utf8_lossy(&told)))?;
    let again = crate::read_answer(Surface::new(Operation::Chat, client), &told).map_err(|error| error.to_string())?;
    if report.usage == again.usage || usage_alike(&report.usage, &again.usage) {
        Ok(answer)
    } else {
        Err(format!("usage {:?} became {:?}", report.usage, again.usage))
    }
}

fn told_stream(recording: &Recording, client: Dialect, chunk: usize) -> Result<Answer, String> {
    let (bytes, report) = retold(recording, client, chunk)?;
    // What we tell must itself be a whole stream to our own tap.
    let options = TapOptions {
        surface: Surface::new(Operation::Chat, client),
        hide_usage_chunk: false,
        json_array: false,
    };
    let mut tap = StreamTap::new(options);
    let mut out = Vec::new();
    tap.push(Bytes::from(bytes.clone()), &mut out);
    if let StreamEnd::Incomplete { why } = tap.finish(true) {
        return Err(format!(
            "told a stream that is {why:?}: {}",
            String::from_utf8_lossy(&bytes)
        ));
    }
    let again = tap.report();
    if !(report.usage == again.usage || usage_alike(&report.usage, &again.usage)) {
        return Err(format!("usage {:?} became {:?}", report.usage, again.usage));
    }
    let (mut decoder, mut events, mut collector) = (StreamDecoder::new(client), Vec::new(), Collector::default());
    for event in sse::events(&bytes) {
        let data = event.data.as_deref().unwrap_or_default().trim_ascii();
        if !data.is_empty() && data != b"[DONE]" {
            decoder.event(data, &mut events).map_err(|error| error.to_string())?;
        }
    }
    decoder.finish(&mut events);
    for event in events {
        collector.push(event);
    }
    Ok(collector.into_answer())
}

fn retold(recording: &Recording, client: Dialect, chunk: usize) -> Result<(Vec<u8>, Report), String> {
    let options = TapOptions {
        surface: Surface::new(Operation::Chat, recording.dialect),
        hide_usage_chunk: false,
        json_array: recording.json_array,
    };
    let mut transcoder = Transcoder::translate(StreamTap::new(options), client, reply());
    let (mut out, mut rest) = (Vec::new(), recording.body.clone());
    while !rest.is_empty() {
        let length = if chunk == 0 { rest.len() } else { chunk.min(rest.len()) };
        if let TapState::Broken(why) = transcoder.push(rest.split_to(length), &mut out) {
            return Err(format!("broken: {why:?}"));
        }
    }
    match transcoder.finish(true) {
        StreamEnd::Complete { last } => out.push(last),
        StreamEnd::Incomplete { why } => return Err(format!("incomplete: {why:?}")),
    }
    Ok((out.concat(), transcoder.report()))
}

/// Formats differ in what they break usage down to; totals must agree.
fn usage_alike(one: &UsageReport, other: &UsageReport) -> bool {
    match (one, other) {
        (UsageReport::Possible(one), UsageReport::Possible(other)) => {
            one.prompt() == other.prompt() && one.output == other.output && one.cache_read == other.cache_read
        }
        (UsageReport::Impossible { .. }, _) => true,
        // A format that must give figures gives zeros.
        (UsageReport::None, UsageReport::Possible(other)) => other.total() == 0,
        (one, other) => one == other,
    }
}

/// Compares with what a reader must find.
fn compare(expected: &Value, answer: &Answer) -> Result<(), String> {
    let nothing = Choice::default();
    let said = answer.choices.first().unwrap_or(&nothing);
    let (mut text, mut thinking, mut refusal, mut calls) = (String::new(), String::new(), String::new(), Vec::new());
    for part in &said.parts {
        match &part.content {
            Content::Text { text: more, .. } => text.push_str(more),
            Content::Thinking(more) => thinking.push_str(&more.text),
            Content::Refusal(more) => refusal.push_str(more),
            // Calls of custom tools are listed as `native` in what to expect.
            Content::ToolCall(call) if !call.custom => calls.push(call),
            _ => {}
        }
    }
    alike("text", &expected["text"], &text)?;
    alike("thinking", &expected["thinking"], &thinking)?;
    let all = format!("{text}{refusal}");
    alike("refusal", &expected["refusal"], &refusal)
        .or_else(|wrong| alike("refusal", &expected["refusal"], &all).map_err(|_| wrong))?;
    let wanted = expected["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    if wanted.len() != calls.len() {
        return Err(format!("{} tool calls instead of {}", calls.len(), wanted.len()));
    }
    for (wanted, call) in wanted.iter().zip(calls) {
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| call.arguments.clone().into());
        let id = wanted["id"].as_str().filter(|id| !id.is_empty());
        if wanted["name"] != *call.name || (!wanted["args"].is_null() && wanted["args"] != arguments) {
            return Err(format!("call {wanted} became {call:?}"));
        }
        if id.is_some() && id != call.id.as_deref() {
            return Err(format!("the call's id {id:?} became {:?}", call.id));
        }
    }
    let stop = said.stop.as_ref().map(|stop| match stop.reason {
        StopReason::End | StopReason::Sequence => "stop",
        StopReason::Length | StopReason::Context => "length",
        StopReason::Tool => "tool",
        StopReason::Filter => "filter",
        StopReason::Pause => "pause",
        StopReason::Other => "other",
    });
    match expected["stop"].as_str() {
        Some(wanted) if Some(wanted) != stop => Err(format!("stop {wanted} became {stop:?}")),
        _ => Ok(()),
    }
}

/// Texts above 2,000 characters are expected by their length and hash; the length will do here.
fn alike(what: &str, expected: &Value, found: &str) -> Result<(), String> {
    let same = match expected {
        Value::Null => true,
        Value::String(text) => text == found,
        long => long["length"]
            .as_u64()
            .or_else(|| long["chars"].as_u64())
            .is_none_or(|length| length == found.chars().count() as u64),
    };
    if same {
        Ok(())
    } else {
        Err(format!("{what} {expected} became {found:?}"))
    }
}

#[test]
fn every_answer_is_found_in_every_format() {
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<(Dialect, Dialect), (u32, u32)> = BTreeMap::new();
    for recording in recordings() {
        for client in CLIENTS {
            let result = told(&recording, client, 0).and_then(|answer| {
                if TOLD_OTHERWISE.contains(&recording.id.as_str()) {
                    return Ok(());
                }
                compare(&recording.expected, &answer)
            });
            let count = counts.entry((recording.dialect, client)).or_default();
            count.1 += 1;
            match result {
                Ok(()) => count.0 += 1,
                Err(why) if is_accepted(&recording.id, &why) => count.0 += 1,
                Err(why) => wrong.push(format!(
                    "{} {} -> {client}: {why:.400}",
                    recording.id, recording.dialect
                )),
            }
        }
    }
    for ((upstream, client), (right, all)) in counts {
        println!("{upstream} -> {client}: {right} of {all}");
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn chunks_do_not_matter() {
    for recording in recordings().iter().filter(|recording| recording.stream) {
        for client in CLIENTS {
            let Ok((whole, _)) = retold(recording, client, 0) else {
                continue;
            };
            for chunk in [1, 7, 300] {
                let (cut, _) = retold(recording, client, chunk).unwrap();
                assert_eq!(cut, whole, "{} -> {client} in chunks of {chunk}", recording.id);
            }
        }
    }
}
