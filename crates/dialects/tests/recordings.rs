//! Every recorded answer of the formats served here, read at several chunkings.
//!
//! The recordings live outside the repository (`TOLLGATE_RECORDINGS`, else `../shared/recordings` beside it); where
//! they are absent the tests say so and pass. What must hold for each recording: usage equals the provider's figures in
//! normal form, is quarantined where these are impossible, absent where there are none; what is released equals what
//! came in, at any chunking.
#![expect(
    clippy::disallowed_methods,
    reason = "recordings are files, found by the environment"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this is a test and reports its counts"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dialects::{
    Nonsense, Report, ReportedFailure, StreamEnd, StreamFault, StreamTap, TapOptions, TapState, UsageReport, Verdict,
};
use domain::{Dialect, FailureClass, Operation, Surface, Timestamp, Usage};
use serde_json::Value;

const FILES: [(&str, Operation, Dialect); 13] = [
    ("openai-chat", Operation::Chat, Dialect::OpenaiChat),
    ("openai-completions", Operation::Completions, Dialect::OpenaiChat),
    ("embeddings", Operation::Embeddings, Dialect::OpenaiChat),
    ("openai-responses", Operation::Chat, Dialect::OpenaiResponses),
    ("openai-responses-compact", Operation::Chat, Dialect::OpenaiResponses),
    (
        "openai-responses-count",
        Operation::CountTokens,
        Dialect::OpenaiResponses,
    ),
    ("anthropic-messages", Operation::Chat, Dialect::AnthropicMessages),
    ("anthropic-count", Operation::CountTokens, Dialect::AnthropicMessages),
    ("gemini", Operation::Chat, Dialect::Gemini),
    ("gemini-embed", Operation::Embeddings, Dialect::Gemini),
    ("gemini-count", Operation::CountTokens, Dialect::Gemini),
    ("bedrock-converse", Operation::Chat, Dialect::BedrockConverse),
    ("bedrock-count-tokens", Operation::CountTokens, Dialect::BedrockConverse),
];

/// Recordings whose figures are impossible (README: "Azure Grok reports more cached than prompt tokens").
const IMPOSSIBLE: [&str; 1] = ["92d73ca75324"];

/// The stream that fails before its first content: another target is tried, so the provider's event is not released.
const FAILS_OVER: [&str; 1] = ["9a22e3dcbd47"];

/// Recordings of which the list of usage says nothing although the answer has figures: of completions, compaction and
/// embeddings in Gemini's format it lists none at all. Input and output as the bodies say.
const NOT_LISTED: [(&str, u64, u64); 4] = [
    ("615b6a0024d2", 20, 79),
    ("8ab8a2276da7", 10, 512),
    ("7977b03f23b5", 156, 190),
    ("5f221e2bc41f", 7, 0),
];

/// Lengths of the chunks that a stream is cut into; 0: not at all.
const CHUNKS: [usize; 7] = [0, 1, 2, 7, 64, 300, 4096];

struct Recording {
    id: String,
    surface: Surface,
    stream: bool,
    json_array: bool,
    status: u16,
    body: Bytes,
    usage: Option<Value>,
    expected: Value,
    request: Option<Bytes>,
}

/// What a tap made of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    released: Vec<u8>,
    last: Option<Bytes>,
    fault: Option<StreamFault>,
    has_content: bool,
    report: Report,
}

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings");
    let folder = named.unwrap_or(beside);
    if !folder.is_dir() {
        println!("no recordings at {}: nothing tested", folder.display());
        return None;
    }
    Some(folder)
}

fn recordings() -> Vec<Recording> {
    let Some(folder) = folder() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, operation, dialect) in FILES {
        let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        let surface = Surface::new(operation, dialect);
        all.extend(
            text.lines()
                .map(|line| recording(surface, &serde_json::from_str(line).unwrap())),
        );
    }
    all
}

fn recording(surface: Surface, line: &Value) -> Recording {
    let text = |value: &Value| {
        let plain = value["text"].as_str().map(|text| text.as_bytes().to_vec());
        plain
            .or_else(|| STANDARD.decode(value["b64"].as_str()?).ok())
            .map(Bytes::from)
    };
    let stream = &line["has_stream"];
    let body = text(&line["response"]["body"]).unwrap_or_default();
    Recording {
        id: line["id"].as_str().unwrap().to_owned(),
        surface,
        stream: *stream != Value::Bool(false),
        json_array: *stream != Value::Bool(false) && body.starts_with(b"["),
        status: line["response"]["status"].as_u64().unwrap() as u16,
        body,
        usage: Some(line["usage"].clone()).filter(Value::is_object),
        expected: line["expected"].clone(),
        request: text(&line["request"]["body"]),
    }
}

fn run(recording: &Recording, hide_usage_chunk: bool, size: usize) -> Outcome {
    let options = TapOptions {
        surface: recording.surface,
        hide_usage_chunk,
        json_array: recording.json_array,
    };
    let mut tap = StreamTap::new(options);
    let mut out = Vec::new();
    let mut rest = recording.body.clone();
    while !rest.is_empty() {
        let length = if size == 0 { rest.len() } else { size.min(rest.len()) };
        tap.push(rest.split_to(length), &mut out);
    }
    let (last, fault) = match tap.finish(true) {
        StreamEnd::Complete { last } => (Some(last), None),
        StreamEnd::Incomplete { why } => (None, Some(why)),
    };
    let mut released = out.concat();
    released.extend_from_slice(last.as_deref().unwrap_or_default());
    Outcome {
        released,
        last,
        fault,
        has_content: tap.has_content(),
        report: tap.report(),
    }
}

/// How the report differs from what the recording says.
fn disagreement(recording: &Recording, report: &UsageReport) -> Option<String> {
    if let Some((_, input, output)) = NOT_LISTED.iter().find(|(id, ..)| *id == recording.id) {
        let listed = UsageReport::Possible(Usage {
            input: *input,
            output: *output,
            ..Usage::default()
        });
        return (*report != listed).then(|| format!("expected {listed:?}, found {report:?}"));
    }
    let Some(expected) = &recording.usage else {
        return (*report != UsageReport::None).then(|| format!("expected none, found {report:?}"));
    };
    if IMPOSSIBLE.contains(&recording.id.as_str()) {
        return (!matches!(report, UsageReport::Impossible { .. }))
            .then(|| format!("expected impossible, found {report:?}"));
    }
    let UsageReport::Possible(usage) = report else {
        return Some(format!("expected {expected}, found {report:?}"));
    };
    let figure = |name: &str| expected[name].as_u64().unwrap_or(0);
    let pairs = [
        ("input", usage.prompt()),
        ("cached", usage.cache_read),
        ("cache_write", usage.cache_write_5m + usage.cache_write_1h),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
    ];
    let wrong: Vec<String> = pairs
        .iter()
        .filter(|(name, found)| *found != figure(name))
        .map(|(name, found)| format!("{name} {found}"))
        .collect();
    (!wrong.is_empty()).then(|| format!("{}: expected {expected}", wrong.join(", ")))
}

#[test]
fn usage_and_bytes_of_whole_answers_and_streams() {
    let mut counts: BTreeMap<String, (u32, u32, u32)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for recording in recordings().iter().filter(|recording| recording.status == 200) {
        let kind = if recording.stream { "stream" } else { "whole" };
        let count = counts.entry(format!("{} {kind}", recording.surface)).or_default();
        count.1 += 1;
        count.2 += u32::from(recording.usage.is_some());
        let problems = if recording.stream {
            check_stream(recording)
        } else {
            check_whole(recording)
        };
        count.0 += u32::from(problems.is_empty());
        wrong.extend(
            problems
                .into_iter()
                .map(|problem| format!("{} {} {problem}", recording.surface, recording.id)),
        );
    }
    for (name, (right, all, with_usage)) in &counts {
        println!("{name}: {right} of {all} agree ({with_usage} with usage)");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_whole(recording: &Recording) -> Vec<String> {
    match dialects::read_answer(recording.surface, &recording.body) {
        Err(nonsense) => vec![format!("is nonsense: {nonsense}")],
        Ok(report) => check_report(recording, &report),
    }
}

fn check_stream(recording: &Recording) -> Vec<String> {
    let whole = run(recording, false, 0);
    let mut problems = Vec::new();
    if FAILS_OVER.contains(&recording.id.as_str()) {
        let is_error = matches!(
            whole.fault,
            Some(StreamFault::ErrorEvent(ReportedFailure {
                class: FailureClass::OutOfCredit,
                ..
            }))
        );
        if !is_error || whole.has_content {
            problems.push(format!("should fail over: {:?}", whole.fault));
        }
    } else {
        problems.extend(check_report(recording, &whole.report));
        if whole.fault.is_some() {
            problems.push(format!("is incomplete: {:?}", whole.fault));
        }
        if whole.released != recording.body {
            problems.push(format!(
                "released {} of {} bytes",
                whole.released.len(),
                recording.body.len()
            ));
        }
    }
    for size in CHUNKS {
        for hide in [false, true] {
            let reference = run(recording, hide, 0);
            let cut = run(recording, hide, size);
            if cut != reference {
                problems.push(format!(
                    "differs in chunks of {size}, hide {hide}: {:?} {:?}",
                    cut.fault, reference.fault
                ));
            }
            problems.extend(check_hidden(recording, &reference.released, hide));
        }
    }
    problems
}

/// What is hidden is exactly the chunks that have usage and no choices.
fn check_hidden(recording: &Recording, released: &[u8], hide: bool) -> Option<String> {
    if !hide || FAILS_OVER.contains(&recording.id.as_str()) {
        return None;
    }
    let Ok(text) = std::str::from_utf8(&recording.body) else {
        return (recording.body != released).then(|| "hides something of frames".to_owned());
    };
    let is_chat = recording.surface.dialect == Dialect::OpenaiChat;
    let kept: String = text
        .split_inclusive("\n\n")
        .filter(|event| !(is_chat && is_usage_only(event)))
        .collect();
    (kept.as_bytes() != released).then(|| "hides something else".to_owned())
}

fn is_usage_only(event: &str) -> bool {
    let data = event
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap_or_default();
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    value["choices"].as_array().is_some_and(Vec::is_empty)
        && (value["usage"].is_object() || value["x_groq"]["usage"].is_object())
}

fn check_report(recording: &Recording, report: &Report) -> Vec<String> {
    let mut problems: Vec<String> = disagreement(recording, &report.usage).into_iter().collect();
    let billed = recording.surface.operation.is_billed();
    if billed && !report.complete {
        problems.push("is not complete".to_owned());
    }
    if recording.surface.operation == Operation::Chat {
        let native = recording.expected["native"].as_array().map_or(&[][..], Vec::as_slice);
        // The list counts tools of the provider's own making as no tools, also those that the client runs.
        let client_runs = ["custom_tool_call", "apply_patch_call", "local_shell_call", "shell_call"];
        let asks = native
            .iter()
            .any(|kind| client_runs.contains(&kind.as_str().unwrap_or_default()));
        let expected = if asks {
            "tool"
        } else {
            recording.expected["stop"].as_str().unwrap_or("unknown")
        };
        if report.finish.name() != expected && recording.expected.is_object() {
            problems.push(format!(
                "finish {:?}, expected {expected} ({})",
                report.finish, recording.expected["stop_raw"]
            ));
        }
        let text = recording.expected["text"].as_str().map_or(0, str::len) as u64;
        if report.content_bytes < text {
            problems.push(format!(
                "{} bytes of content, of text alone {text}",
                report.content_bytes
            ));
        }
    }
    problems
}

#[test]
fn refusals_are_classified() {
    let mut seen = 0;
    for recording in recordings().iter().filter(|recording| recording.status != 200) {
        seen += 1;
        let dialect = recording.surface.dialect;
        let now = Timestamp::from_secs(1_800_000_000);
        let verdict = dialects::classify(dialect, recording.status, &http::HeaderMap::new(), &recording.body, now);
        let is_bad_key = String::from_utf8_lossy(&recording.body)
            .to_ascii_lowercase()
            .contains("api key");
        let expected = match recording.status {
            401 => Some(FailureClass::Auth),
            429 => Some(FailureClass::RateLimited),
            400 if is_bad_key => Some(FailureClass::Auth),
            _ => None,
        };
        let found = match verdict {
            Verdict::Caller => None,
            Verdict::Failure(failure) => Some(failure.class),
        };
        assert_eq!(found, expected, "{} {}", recording.id, recording.status);
        if recording.surface.operation != Operation::CountTokens {
            let under_200 = dialects::read_answer(recording.surface, &recording.body);
            assert!(
                matches!(under_200, Err(Nonsense::Error(_))),
                "{}: {under_200:?}",
                recording.id
            );
        }
    }
    println!("{seen} refusals classified");
}

#[test]
fn recorded_requests_scan_and_stay_as_they_are() {
    let mut seen = 0;
    for recording in recordings() {
        let Some(body) = recording.request.filter(|body| !body.is_empty()) else {
            continue;
        };
        seen += 1;
        let facts =
            dialects::scan(recording.surface, &body).unwrap_or_else(|error| panic!("{}: {error}", recording.id));
        let value: Value = serde_json::from_slice(&body).unwrap();
        let is_gemini = recording.surface.dialect == Dialect::Gemini;
        assert_eq!(
            facts.model.as_deref(),
            value["model"].as_str().filter(|_| !is_gemini),
            "{}",
            recording.id
        );
        assert_eq!(facts.stream, value["stream"] == Value::Bool(true), "{}", recording.id);
        let tools = |key: &str| value[key].as_array().is_some_and(|tools| !tools.is_empty());
        let nested = value["generateContentRequest"]["tools"].is_array();
        assert_eq!(
            facts.tools,
            tools("tools") || tools("functions") || nested,
            "{}",
            recording.id
        );
        assert_eq!(
            facts.asked_for_usage(),
            value["stream_options"]["include_usage"] == Value::Bool(true),
            "{}",
            recording.id
        );
        let same = facts.edit(
            &body,
            &dialects::Edits {
                model: facts.model.as_deref(),
                ..Default::default()
            },
        );
        assert_eq!(
            (same.as_ptr(), same.len()),
            (body.as_ptr(), body.len()),
            "{}",
            recording.id
        );
        let edited = facts.edit(
            &body,
            &dialects::Edits {
                model: Some("other"),
                omit_model: false,
                omit: &[],
                include_usage: true,
                params: &[],
            },
        );
        check_edited(&recording.id, recording.surface, value, &edited);
    }
    println!("{seen} requests scanned");
}

/// As a document, the edited request is the old one with the changes.
fn check_edited(id: &str, surface: Surface, mut value: Value, edited: &[u8]) {
    if surface.dialect == Dialect::Gemini {
        for request in value
            .get_mut("requests")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            request["model"] = Value::from("models/other");
        }
        for pointer in ["/model", "/generateContentRequest/model"] {
            if let Some(model) = value.pointer_mut(pointer) {
                *model = Value::from("models/other");
            }
        }
    } else {
        value["model"] = Value::from("other");
    }
    if surface.dialect == Dialect::OpenaiChat {
        value["stream_options"]["include_usage"] = Value::Bool(true);
    }
    assert_eq!(serde_json::from_slice::<Value>(edited).unwrap(), value, "{id}");
}

#[test]
fn a_recorded_stream_that_is_cut_never_looks_complete() {
    let mut seen = 0;
    for recording in recordings()
        .iter()
        .filter(|recording| recording.stream && recording.status == 200)
    {
        seen += 1;
        let whole = run(recording, false, 0);
        // Cut at many places, also with a proxy that puts a terminator after everything.
        let step = (recording.body.len() / 97).max(1);
        for end in (0..recording.body.len()).step_by(step) {
            for added in ["", terminator(recording)] {
                let body = Bytes::from([&recording.body[..end], added.as_bytes()].concat());
                let outcome = run(
                    &Recording {
                        body,
                        ..recording.clone_head()
                    },
                    false,
                    0,
                );
                if outcome.fault.is_some() {
                    continue;
                }
                // Complete all the same: then nothing that the model said may be missing.
                assert_eq!(
                    outcome.report.content_bytes, whole.report.content_bytes,
                    "{} cut at {end}",
                    recording.id
                );
                assert_eq!(
                    outcome.report.finish, whole.report.finish,
                    "{} cut at {end}",
                    recording.id
                );
            }
        }
        let mut tap = StreamTap::new(TapOptions {
            surface: recording.surface,
            hide_usage_chunk: false,
            json_array: recording.json_array,
        });
        let half = tap.push(recording.body.slice(..recording.body.len() / 2), &mut Vec::new());
        if half == TapState::Open {
            assert!(
                matches!(tap.finish(false), StreamEnd::Incomplete { .. }),
                "{} broke off",
                recording.id
            );
        }
    }
    println!("{seen} streams cut");
}

/// What a careless proxy would put after whatever it got.
fn terminator(recording: &Recording) -> &'static str {
    match recording.surface.dialect {
        Dialect::AnthropicMessages => "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        Dialect::Gemini if recording.json_array => "]",
        _ => "\n\ndata: [DONE]\n\n",
    }
}

impl Recording {
    fn clone_head(&self) -> Self {
        Self {
            id: self.id.clone(),
            usage: self.usage.clone(),
            expected: Value::Null,
            request: None,
            body: Bytes::new(),
            ..*self
        }
    }
}

/// Real traffic with a few bytes damaged gets further into the readers than made-up bytes do.
#[test]
fn damaged_recordings_hold_the_claims_for_any_bytes() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    let mut seen = 0;
    for recording in recordings().iter().filter(|recording| recording.body.len() > 8) {
        let position = |dialect| Dialect::ALL.iter().position(|known| *known == dialect).unwrap() as u8;
        let operation = Operation::ALL
            .iter()
            .position(|known| *known == recording.surface.operation)
            .unwrap() as u8;
        for _ in 0..6 {
            seen += 1;
            let options = next(64) as u8 & !2 | u8::from(recording.json_array) << 1;
            let head = [position(recording.surface.dialect), operation, options];
            let mut data = [&head[..], &recording.body].concat();
            for _ in 0..next(4) {
                let at = head.len() + next(recording.body.len());
                match next(3) {
                    0 => data[at] = next(256) as u8,
                    1 => data[at] = b"\"{}[]:,\n\r\\"[next(10)],
                    _ => data.truncate(at),
                }
                if data.len() <= recording.body.len() {
                    break;
                }
            }
            dialects::fuzz::stream(&data);
            dialects::fuzz::answer(&data);
            dialects::fuzz::refusal(&data);
            if let Some(request) = &recording.request {
                let mut data = [&head[..], request].concat();
                let at = head.len() + next(request.len());
                if at < data.len() {
                    data[at] = next(256) as u8;
                }
                dialects::fuzz::request(&data);
            }
        }
    }
    println!("{seen} damaged recordings read");
}

#[test]
fn usage_of_another_model_is_reported_beside() {
    let all = recordings();
    let side = |id: &str| {
        let recording = all.iter().find(|recording| recording.id == id)?;
        let report = if recording.stream {
            run(recording, false, 0).report
        } else {
            dialects::read_answer(recording.surface, &recording.body).unwrap()
        };
        Some(
            report
                .side_usage
                .into_iter()
                .map(|side| (side.role, side.model.unwrap_or_default(), side.usage))
                .collect::<Vec<_>>(),
        )
    };
    let usage = |input, output| Usage {
        input,
        output,
        ..Usage::default()
    };
    let role = |role: &str, model: &str, usage| (role.to_owned(), model.to_owned(), usage);
    if let Some(found) = side("538610ebd5fd") {
        assert_eq!(found, [role("advisor_message", "claude-opus-4-7", usage(2_728, 3_880))]);
    }
    if let Some(found) = side("86f9769711bc") {
        assert_eq!(found, [role("message", "claude-fable-5", usage(408, 0))]);
    }
}
