//! What every format makes of every other one, as texts that a person can read and judge.
//!
//! The recordings say whether what is expected arrives; they do not show what it looks like, nor what else was sent. Here
//! each small fixture, written by hand after the provider's documentation, gives one snapshot with a section for each
//! direction: what goes out, and what is declared as lost. So a change of a codec shows itself in the review, in all
//! formats at once. How to add one is in `golden/README.md`.
#![expect(clippy::disallowed_methods, reason = "fixtures are files")]
#![expect(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dialects::{
    Asked, Loss, Question, Report, StreamEnd, StreamFault, StreamTap, TapOptions, TapState, Target, Transcoder,
    UsageReport, in_band, read_answer,
};
use domain::catalog;
use domain::{Dialect, Fault, FaultKind, Operation, Surface};
use serde_json::Value;

const CLIENTS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];

/// Each upstream's format, a model that is asked in it, and the provider whose quirks hold.
const UPSTREAMS: [(Dialect, &str, &str); 5] = [
    (Dialect::OpenaiChat, "gpt-5.1", "openai"),
    (Dialect::OpenaiResponses, "gpt-5.1", "openai"),
    (Dialect::AnthropicMessages, "claude-sonnet-4-5", "anthropic"),
    (Dialect::Gemini, "gemini-3-pro-preview", "gemini"),
    (
        Dialect::BedrockConverse,
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock",
    ),
];

/// Characters of a line of JSON, as of this code.
const LINE_MAX: usize = 120;

/// The case whose streams end in the middle of an event.
const BROKEN_OFF: &str = "broken_off";

#[test]
fn requests() {
    each("requests", |fixture| {
        let sections = UPSTREAMS.iter().map(|upstream| told_request(fixture, *upstream));
        sections.collect::<Vec<_>>().join("\n")
    });
}

#[test]
fn answers() {
    each("answers", |fixture| {
        let surface = Surface::new(Operation::Chat, fixture.dialect);
        let report = read_answer(surface, &fixture.bytes).unwrap();
        let mut shown = shown_report(&report);
        for client in CLIENTS {
            shown.push('\n');
            shown.push_str(&told_answer(fixture, client, &report));
        }
        shown
    });
}

#[test]
fn streams() {
    each("streams", |fixture| {
        let mut shown = String::new();
        for client in CLIENTS {
            let told = told_stream(fixture, client, fixture.bytes.len());
            for size in [1, 7, 100] {
                assert_eq!(told, told_stream(fixture, client, size), "in chunks of {size}");
            }
            if shown.is_empty() {
                shown.push_str(&shown_report(&told.report));
            }
            shown.push('\n');
            shown.push_str(&told.shown(client));
        }
        shown
    });
}

/// A snapshot of a fixture that is gone would be believed forever.
#[test]
fn every_snapshot_has_its_fixture() {
    let expected: BTreeSet<String> = ["requests", "answers", "streams"]
        .iter()
        .flat_map(|kind| fixtures(kind))
        .map(|fixture| format!("{}.snap", fixture.snapshot))
        .collect();
    let found: BTreeSet<String> = entries(&folder().join("snapshots"))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !name.ends_with(".snap.new"))
        .collect();
    let stale: Vec<_> = found.difference(&expected).collect();
    assert!(stale.is_empty(), "without a fixture, to be deleted: {stale:?}");
}

// --- fixtures -----------------------------------------------------------------------------------------------------

struct Fixture {
    dialect: Dialect,
    case: String,
    /// The snapshot's name.
    snapshot: String,
    bytes: Bytes,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn fixtures(kind: &str) -> Vec<Fixture> {
    let mut all = Vec::new();
    for dialect in Dialect::ALL {
        let folder = folder().join(kind).join(dialect.name());
        if dialect == Dialect::BedrockConverse && kind == "requests" {
            continue;
        }
        for path in entries(&folder) {
            let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            all.push(Fixture {
                dialect,
                snapshot: format!("{kind}-{dialect}-{case}"),
                bytes: bytes_of(kind, dialect, &case, text),
                case,
            });
        }
    }
    assert!(!all.is_empty(), "no fixtures of {kind}");
    all
}

/// What would come over the wire. A file ends with a line break that a stream which broke off does not have.
fn bytes_of(kind: &str, dialect: Dialect, case: &str, mut text: String) -> Bytes {
    if kind != "streams" {
        return text.into();
    }
    let mut bytes = if dialect == Dialect::BedrockConverse {
        text.lines().flat_map(frame).collect()
    } else {
        text.truncate(text.trim_end().len());
        format!("{text}\n\n").into_bytes()
    };
    if case == BROKEN_OFF {
        bytes.truncate(bytes.len() - 5);
    }
    bytes.into()
}

/// A line of a fixture, `event {…}` or `!exception {…}`, as Amazon frames it: lengths, their checksum, headers, payload,
/// checksum. Written here once more, so that a mistake of the reader is not made by the writer too.
fn frame(line: &str) -> Vec<u8> {
    let (name, payload) = line.split_once(' ').unwrap();
    let (kind, name) = match name.strip_prefix('!') {
        Some(name) => (("exception", ":exception-type"), name),
        None => (("event", ":event-type"), name),
    };
    let mut headers = Vec::new();
    for (key, value) in [
        (kind.1, name),
        (":content-type", "application/json"),
        (":message-type", kind.0),
    ] {
        headers.push(key.len() as u8);
        headers.extend_from_slice(key.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let mut frame = Vec::new();
    frame.extend_from_slice(&((12 + headers.len() + payload.len() + 4) as u32).to_be_bytes());
    frame.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload.as_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

fn each(kind: &str, shown: impl Fn(&Fixture) -> String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // All of them are compared, so that one run shows everything that a change does.
    let differs = |fixture: &Fixture| {
        let compare = || settings.bind(|| insta::assert_snapshot!(fixture.snapshot.as_str(), shown(fixture)));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(compare)).is_err()
    };
    let changed: Vec<_> = fixtures(kind).into_iter().filter(differs).collect();
    let names: Vec<_> = changed.iter().map(|fixture| fixture.snapshot.as_str()).collect();
    assert!(names.is_empty(), "these differ: {names:?}");
}

// --- requests -----------------------------------------------------------------------------------------------------

fn asked(dialect: Dialect, stream: bool) -> Asked<'static> {
    Asked {
        surface: Surface::new(Operation::Chat, dialect),
        model: "smart",
        stream,
        json_array: false,
        id: "0123456789abcdef",
        created: 1_764_000_000,
    }
}

fn told_request(fixture: &Fixture, (dialect, model, provider): (Dialect, &str, &str)) -> String {
    let body: Value = serde_json::from_slice(&fixture.bytes).unwrap();
    let question = Question::read(&asked(fixture.dialect, body["stream"] == true), &fixture.bytes).unwrap();
    let target = Target {
        model,
        max_output: 64_000,
        // Elsewhere nothing is known of the model, so that all that is said of sampling shows.
        thinks: (fixture.case == "thinking").then_some(true),
        include_usage: true,
        quirks: &catalog::provider(provider).unwrap().quirks,
    };
    match question.encode(dialect, &target) {
        Ok(encoded) => section(dialect, &pretty(&encoded.body), &encoded.losses),
        Err(error) => section(dialect, &format!("refused: {error}"), &[]),
    }
}

// --- answers ------------------------------------------------------------------------------------------------------

/// What was asked where only the answer matters.
fn question(client: Dialect, stream: bool) -> Question {
    let body = match client {
        Dialect::OpenaiChat => {
            r#"{"model": "smart", "messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": true}}"#
        }
        Dialect::OpenaiResponses => r#"{"model": "smart", "input": "hi", "store": false}"#,
        Dialect::AnthropicMessages => {
            r#"{"model": "smart", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}"#
        }
        Dialect::Gemini | Dialect::BedrockConverse => r#"{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}"#,
    };
    Question::read(&asked(client, stream), body.as_bytes()).unwrap()
}

fn told_answer(fixture: &Fixture, client: Dialect, report: &Report) -> String {
    match question(client, false).answer(fixture.dialect, client, &fixture.bytes, report) {
        Ok(encoded) => section(client, &pretty(&encoded.body), &encoded.losses),
        Err(error) => section(client, &format!("nonsense: {error}"), &[]),
    }
}

// --- streams ------------------------------------------------------------------------------------------------------

#[derive(Debug, PartialEq)]
struct Told {
    text: String,
    why: Option<StreamFault>,
    losses: Vec<Loss>,
    report: Report,
}

fn told_stream(fixture: &Fixture, client: Dialect, size: usize) -> Told {
    let options = TapOptions {
        surface: Surface::new(Operation::Chat, fixture.dialect),
        hide_usage_chunk: false,
        json_array: false,
    };
    let reply = question(client, true).reply;
    let mut transcoder = Transcoder::translate(StreamTap::new(options), client, reply);
    let (mut out, mut why) = (Vec::new(), None);
    for chunk in fixture.bytes.chunks(size) {
        if let TapState::Broken(fault) = transcoder.push(Bytes::copy_from_slice(chunk), &mut out) {
            why = Some(fault);
            break;
        }
    }
    if why.is_none() {
        match transcoder.finish(fixture.case != BROKEN_OFF) {
            StreamEnd::Complete { last } => out.push(last),
            StreamEnd::Incomplete { why: fault } => why = Some(fault),
        }
    }
    if why.is_some() {
        // The gateway's words for it (`relay.rs`), so that the whole is seen which the client gets.
        let fault = Fault::new(
            FaultKind::BadGateway,
            "the upstream broke off in the middle of its answer",
        );
        out.push(in_band(client, &fault, false));
    }
    Told {
        text: String::from_utf8(out.concat()).unwrap(),
        why,
        losses: transcoder.losses().to_vec(),
        report: transcoder.report(),
    }
}

impl Told {
    fn shown(&self, client: Dialect) -> String {
        let mut shown = section(client, self.text.trim_end(), &self.losses);
        if let Some(why) = &self.why {
            writeln!(shown, "broken: {why:?}").unwrap();
        }
        shown
    }
}

// --- how it is shown ----------------------------------------------------------------------------------------------

fn section(dialect: Dialect, told: &str, losses: &[Loss]) -> String {
    let mut shown = format!("== {dialect} ==\n{told}\n");
    for loss in losses {
        writeln!(shown, "lost: {loss}").unwrap();
    }
    shown
}

/// JSON, where what fits in a line is one.
fn pretty(body: &[u8]) -> String {
    let mut shown = String::new();
    write_json(&serde_json::from_slice(body).unwrap(), 0, &mut shown);
    shown
}

fn write_json(value: &Value, indent: usize, out: &mut String) {
    let line = value.to_string();
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (format!("{key:?}: "), value))
            .collect(),
        Value::Array(elements) => elements.iter().map(|value| (String::new(), value)).collect(),
        _ => Vec::new(),
    };
    if inner.is_empty() || indent + line.len() <= LINE_MAX {
        out.push_str(&line);
        return;
    }
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    writeln!(out, "{open}").unwrap();
    for (at, (key, value)) in inner.iter().enumerate() {
        write!(out, "{:1$}{key}", "", indent + 2).unwrap();
        write_json(value, indent + 2, out);
        out.push_str(if at + 1 < inner.len() { ",\n" } else { "\n" });
    }
    write!(out, "{:indent$}{close}", "").unwrap();
}

/// What is billed.
fn shown_report(report: &Report) -> String {
    let usage = match &report.usage {
        UsageReport::Possible(usage) => serde_json::to_string(usage).unwrap(),
        other => format!("{other:?}"),
    };
    format!(
        "read: {:?} of {}, tier {}, {usage}\n",
        report.finish,
        report.model.as_deref().unwrap_or("?"),
        report.service_tier.as_deref().unwrap_or("?"),
    )
}
