//! Real provider traffic through the real binary: what the client gets is what the provider sent, byte for byte, and
//! the receipt says what the provider said.

use blackbox::{CLIENT_KEY, receipts};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::recordings::{HasStream, Recording, Recordings};
use testkit::upstream::{Chunking, Upstream};

/// Whether the models are ones whose answers would be gone on with (`recovery`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recovery {
    On,
    Off,
}

/// One gateway whose upstreams serve every name, one per dialect, chosen by `upstream/model`.
fn start(upstream: &Upstream, recovery: Recovery) -> Tollgate {
    let (url, v1) = (upstream.url(), upstream.v1());
    let config = format!(
        "defaults: {{retries: 0, first_byte_timeout: 20s}}
upstreams:
  - {{name: rec-chat, provider: openai-compatible, base_url: \"{v1}\", breaker: off, cooldown: off, priority: 0, models: [\"*\"]}}
  - {{name: rec-claude, provider: anthropic, base_url: \"{v1}\", breaker: off, cooldown: off, priority: 1, models: [\"*\"]}}
  - {{name: rec-google, provider: gemini, base_url: \"{url}/v1beta\", breaker: off, cooldown: off, priority: 2, models: [\"*\"]}}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]
{}",
        match recovery {
            Recovery::Off => "",
            Recovery::On =>
                "models: [{name: \"*\", recovery: true, targets: [{upstream: rec-chat}, {upstream: rec-claude}, {upstream: rec-google}]}]\n",
        }
    );
    Setup::config(&config).start()
}

fn streams(recording: &Recording) -> bool {
    recording.has_stream != HasStream::Sse(false)
}

/// The request to send: the recorded one where it can be had, else a plain one of the same kind.
fn request(recording: &Recording, recovery: Recovery) -> Request {
    let recorded: Option<Value> = recording
        .request
        .as_ref()
        .and_then(|request| serde_json::from_slice(&request.body).ok());
    let stream = streams(recording);
    let (path, body) = match recording.api.as_str() {
        "gemini" => {
            let method = if stream {
                "streamGenerateContent"
            } else {
                "generateContent"
            };
            let array = recording.response.body.trim_ascii_start().starts_with(b"[");
            let sse = if stream && !array { "?alt=sse" } else { "" };
            let body = recorded.unwrap_or_else(|| json!({"contents": [{"parts": [{"text": "hi"}]}]}));
            (format!("/v1beta/models/gemini-2.5-flash:{method}{sse}"), body)
        }
        api => {
            let path = match api {
                "openai-responses" => "/v1/responses",
                "anthropic-messages" => "/v1/messages",
                _ => "/v1/chat/completions",
            };
            let mut body = recorded
                .filter(Value::is_object)
                .unwrap_or_else(|| json!({"messages": [], "max_tokens": 9}));
            if !body["model"].is_string() {
                body["model"] = json!("model-of-the-recording");
            }
            if stream {
                body["stream"] = json!(true);
            }
            // What is kept is told under our name.
            if recovery == Recovery::On && api == "openai-responses" {
                body["store"] = json!(false);
            }
            (path.to_owned(), body)
        }
    };
    Request::post(&path, &body).bearer(CLIENT_KEY)
}

/// Whether the client of this recording asked for the usage chunk.
fn asked_for_usage(recording: &Recording) -> bool {
    recording.request.as_ref().is_some_and(|request| {
        serde_json::from_slice::<Value>(&request.body)
            .is_ok_and(|body| body["stream_options"]["include_usage"] == json!(true))
    })
}

/// The recorded bytes as the client must get them: without a usage chunk that it did not ask for.
fn expected_body(recording: &Recording) -> String {
    let text = String::from_utf8_lossy(&recording.response.body).into_owned();
    if recording.api != "openai-chat" || !recording.is_sse() || asked_for_usage(recording) {
        return text;
    }
    let mut kept = String::new();
    for event in text.split_inclusive("\n\n") {
        let data = event.trim().strip_prefix("data:").unwrap_or("").trim();
        let value: Value = serde_json::from_str(data).unwrap_or(Value::Null);
        let usage_only = value["usage"].is_object() && value["choices"].as_array().is_some_and(Vec::is_empty);
        if !usage_only {
            kept.push_str(event);
        }
    }
    kept
}

/// What the receipt's usage must be, from the recording; `None` where nothing is to be compared.
fn expected_usage(recording: &Recording) -> Option<[i64; 4]> {
    let usage = recording.usage.as_ref()?;
    let get = |count: Option<i64>| count.unwrap_or(0);
    Some([
        get(usage.input),
        get(usage.cached),
        get(usage.cache_write),
        get(usage.output),
    ])
}

fn receipt_usage(receipt: &Value) -> [i64; 4] {
    let get = |name: &str| receipt["usage"][name].as_i64().unwrap_or(0);
    let written = get("cache_write_5m") + get("cache_write_1h");
    [
        get("input") + get("cache_read") + written,
        get("cache_read"),
        written,
        get("output"),
    ]
}

struct Tally {
    replayed: usize,
    wrong: Vec<String>,
}

/// Replays every successful recording of an API in one chunking.
fn replay(api: &str, chunking: &Chunking, recovery: Recovery) -> Tally {
    let mut tally = Tally {
        replayed: 0,
        wrong: Vec::new(),
    };
    let Some(recordings) = Recordings::find() else {
        return tally;
    };
    let upstream = Upstream::start();
    let gateway = start(&upstream, recovery);
    let mut checks = Vec::new();
    for recording in recordings.load(api) {
        if !(200..300).contains(&recording.response.status) {
            continue;
        }
        upstream.always(recording.replay(chunking.clone()));
        let response = request(&recording, recovery).send(&gateway.url());
        tally.replayed += 1;
        checks.push((recording, response));
    }
    let receipts = receipts(&gateway);
    for (recording, response) in checks {
        let id = response.header("x-request-id").unwrap_or_default().to_owned();
        if let Err(why) = check(&recording, &response, receipts.get(&id)) {
            tally.wrong.push(format!(
                "{} ({} {}): {why}",
                recording.id, recording.provider, recording.source
            ));
        }
    }
    tally
}

fn check(recording: &Recording, response: &testkit::client::Response, receipt: Option<&Value>) -> Result<(), String> {
    let receipt = receipt.ok_or_else(|| format!("no receipt; status {}, {}", response.status(), response.text()))?;
    let broken = recording.expected.as_ref().is_some_and(|expected| {
        expected.complete == Some(false) || expected.error.as_ref().is_some_and(|error| !error.is_null())
    });
    let want = expected_body(recording);
    let got = response.text();
    if !broken {
        // A missing terminator is added; nothing else may differ.
        let rest = got
            .strip_prefix(want.as_str())
            .or_else(|| got.strip_prefix(want.trim_end()));
        match rest.map(str::trim) {
            Some("" | "data: [DONE]") => {}
            _ if rest.is_some_and(|rest| rest.contains("message_stop")) => {}
            _ => {
                let shown: String = got.chars().take(300).collect();
                return Err(format!(
                    "bytes differ: got {} bytes, want {}: {shown}",
                    got.len(),
                    want.len()
                ));
            }
        }
        if receipt["ending"] != "complete" {
            return Err(format!("ended as {}: {}", receipt["ending"], receipt["error"]));
        }
    }
    match (receipt["usage_source"].as_str(), expected_usage(recording)) {
        (Some("reported"), Some(want)) if receipt_usage(receipt) == want => Ok(()),
        (Some("reported"), Some(want)) => Err(format!("usage {:?}, want {want:?}", receipt_usage(receipt))),
        (Some("quarantined"), Some(_)) | (Some("estimated" | "none"), None) => Ok(()),
        (_, _) if broken => Ok(()),
        (source, want) => Err(format!("usage is {source:?}, the recording has {want:?}")),
    }
}

fn assert_all(api: &str, chunkings: &[Chunking]) {
    assert_all_with(api, chunkings, Recovery::Off);
}

fn assert_all_with(api: &str, chunkings: &[Chunking], recovery: Recovery) {
    for chunking in chunkings {
        let tally = replay(api, chunking, recovery);
        assert!(
            tally.wrong.is_empty(),
            "{api}, {chunking:?}: {} of {} recordings are not as recorded:\n{}",
            tally.wrong.len(),
            tally.replayed,
            tally.wrong.join("\n")
        );
    }
}

const CHUNKINGS: [Chunking; 3] = [Chunking::Events, Chunking::Whole, Chunking::Size(7)];

#[test]
fn openai_chat_is_relayed_as_recorded() {
    assert_all("openai-chat", &CHUNKINGS);
}

#[test]
fn openai_responses_is_relayed_as_recorded() {
    assert_all("openai-responses", &CHUNKINGS);
}

#[test]
fn anthropic_messages_is_relayed_as_recorded() {
    assert_all("anthropic-messages", &CHUNKINGS);
}

#[test]
fn gemini_is_relayed_as_recorded() {
    assert_all("gemini", &CHUNKINGS);
}

/// That a break would be mended is no reason to lose anything where nothing breaks.
#[test]
fn answers_that_would_be_gone_on_with_are_relayed_as_recorded() {
    for api in ["openai-chat", "openai-responses", "anthropic-messages", "gemini"] {
        assert_all_with(api, &[Chunking::Events, Chunking::Size(7)], Recovery::On);
    }
}
