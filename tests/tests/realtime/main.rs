//! Realtime sessions through the real binary: handshakes, messages, money, endings.

mod endings;
mod handshake;
mod messages;
mod money;

use std::collections::HashMap;

use blackbox::{CLIENT_KEY, config, receipts};
use serde_json::{Value, json};
use testkit::gateway::{Setup, Tollgate};
use testkit::socket::Socket;
use testkit::upstream::{Behaviour, Match, Talk, Turn, Upstream};

/// Where the clients connect.
const TARGET: &str = "/v1/realtime?model=voice";

/// A dollar per million tokens in, five out; sound ten times as much.
const MODELS: &str = "models: [{name: voice, targets: [{upstream: openai-main, model: gpt-realtime}], price: {input: 1.00, output: 5.00, cache_read: 0.10, input_audio: 10.00, output_audio: 50.00, cache_read_audio: 0.20}}]\n";

/// A gateway whose user is described so.
fn start(upstream: &Upstream, user: &str) -> Tollgate {
    Setup::config(&configured(upstream, user)).start()
}

fn configured(upstream: &Upstream, user: &str) -> String {
    config(upstream, MODELS).replace("{name: alice}", &format!("{{name: alice{user}}}"))
}

fn bearer() -> String {
    format!("Bearer {CLIENT_KEY}")
}

/// A session; the handshake must succeed, and the upstream must have said what the session is like: before that the
/// gateway does not know what bounds a response.
fn connect(gateway: &Tollgate) -> Socket {
    let mut socket = Socket::open(&gateway.url(), TARGET, &[("authorization", &bearer())]).expect("a session");
    assert_eq!(socket.json()["type"], "session.created");
    socket
}

/// The upstream has this session with everybody.
fn talks(upstream: &Upstream, turns: Vec<Turn>) {
    upstream.always(Behaviour::talk(Talk::of(turns)));
}

/// The first event of a session in which the client asks for each response.
fn session(detection: &Value) -> Turn {
    let session = json!({"type": "session.created", "event_id": "event_1", "session": {"type": "realtime",
        "object": "realtime.session", "id": "sess_1", "model": "gpt-realtime", "max_output_tokens": 100,
        "audio": {"input": {"turn_detection": detection, "transcription": null}}}});
    Turn::Say(session.to_string())
}

fn manual() -> Turn {
    session(&Value::Null)
}

/// The server begins responses by itself.
fn automatic() -> Turn {
    session(&json!({"type": "server_vad", "create_response": true, "interrupt_response": true}))
}

fn created(id: &str) -> Turn {
    let event = json!({"type": "response.created", "event_id": "event_2", "response": {"object": "realtime.response",
        "id": id, "status": "in_progress", "output": [], "usage": null}});
    Turn::Say(event.to_string())
}

fn delta(id: &str, text: &str) -> Turn {
    let event = json!({"type": "response.output_text.delta", "event_id": "event_3", "response_id": id,
        "item_id": "item_1", "output_index": 0, "content_index": 0, "delta": text});
    Turn::Say(event.to_string())
}

fn done_event(id: &str, status: &str, usage: &Value) -> String {
    json!({"type": "response.done", "event_id": "event_4", "response": {"object": "realtime.response", "id": id,
        "status": status, "status_details": null, "output": [], "usage": usage}})
    .to_string()
}

fn done(id: &str, input: u64, output: u64) -> Turn {
    Turn::Say(done_event(id, "completed", &tokens(input, output)))
}

fn tokens(input: u64, output: u64) -> Value {
    json!({"total_tokens": input + output, "input_tokens": input, "output_tokens": output,
        "input_token_details": {"text_tokens": input, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": output, "audio_tokens": 0}})
}

fn heard(what: &str) -> Turn {
    Turn::Hear(what.to_owned())
}

/// Answers every `response.create` with a response of as many tokens.
fn answering(input: u64, output: u64) -> Vec<Turn> {
    vec![
        manual(),
        heard("response.create"),
        created("resp_1"),
        delta("resp_1", "Hello"),
        done("resp_1", input, output),
    ]
}

fn ask() -> Value {
    json!({"type": "response.create"})
}

/// The receipts of responses, in order, and that of the session.
fn told(gateway: &Tollgate) -> (Vec<Value>, Value) {
    let all: HashMap<String, Value> = receipts(gateway);
    let (mut responses, mut sessions): (Vec<_>, Vec<_>) =
        all.into_values().partition(|receipt| receipt.get("session").is_some());
    responses.sort_by_key(|receipt| receipt["call"].as_str().map(str::to_owned));
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let session = sessions.remove(0);
    for response in &responses {
        assert_eq!(response["session"], session["call"], "{response}");
    }
    (responses, session)
}

/// Waits for what a session leaves when it has ended.
fn ended(gateway: &Tollgate) -> (Vec<Value>, Value) {
    blackbox::wait::until("the session's receipt", || {
        receipts(gateway)
            .values()
            .any(|receipt| receipt.get("session").is_none())
    });
    told(gateway)
}

fn realtime() -> Match {
    Match::path("/realtime")
}
