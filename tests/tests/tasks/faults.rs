//! What breaks off, answers nonsense or is left: told as far as the format can, and charged as the table says.

use blackbox::{CLIENT_KEY, receipt_of, receipts, wait};
use serde_json::{Value, json};
use testkit::client::{End, Request};
use testkit::upstream::{Answer, At, Behaviour, Gate, How, Upstream, sound};

use super::{post, send_form, start, transcription};

fn speech() -> Value {
    json!({"model": "tts-1", "input": "a fox", "voice": "alloy"})
}

#[test]
fn sound_that_breaks_off_is_broken_off_and_not_ended_in_words() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    upstream.always(Behaviour::answer(Answer::default()).cut(At::Bytes(9), How::Close));
    let response = post(&gateway, "/v1/audio/speech", &speech());
    assert_eq!(response.status(), 200);
    assert!(!response.is_complete(), "{:?}", response.end);
    assert!(matches!(response.end, End::Closed | End::Reset), "{:?}", response.end);
    assert_eq!(
        response.body,
        sound()[..8],
        "the last byte that came is not sent: nobody may take this for the whole"
    );
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(
        (&receipt["ending"], &receipt["charged"]),
        (&json!("upstream_gone"), &json!(0))
    );
    assert_eq!(receipt["cost"], 75_000, "what it cost the operator is known");
}

#[test]
fn before_the_first_byte_the_next_try_answers() {
    let upstream = Upstream::start();
    let second = Upstream::start();
    let inline = format!(
        "{{base_url: \"{}\", key: other, dialect: openai_chat, model: m, priority: 1}}",
        second.v1()
    );
    let more = format!(
        "models:
  - {{name: voice, price: {{input: 0, characters: 15}}, targets: [{{upstream: openai-main, model: tts-1}}, {inline}]}}
  - {{name: ears, targets: [{{upstream: openai-main, model: whisper-1}}, {inline}]}}
defaults: {{retries: 0}}
"
    );
    let gateway = start(&upstream, "{name: alice}", &more);
    let html = [("content-type", "text/html")];
    for trouble in [
        Behaviour::status(500),
        Behaviour::reset(),
        Behaviour::raw(200, &html, "<html>busy</html>"),
        Behaviour::raw(200, &[("content-type", "audio/mpeg")], ""),
    ] {
        upstream.then(trouble);
        let response = post(
            &gateway,
            "/v1/audio/speech",
            &json!({"model": "voice", "input": "a fox", "voice": "alloy"}),
        );
        assert_eq!(
            (response.status(), response.body.as_slice()),
            (200, sound()),
            "{}",
            response.text()
        );
        assert_eq!(response.header("x-tollgate-attempts"), Some("2"));
    }
    // Another one, whose breaker has seen nothing yet.
    let gateway = start(&upstream, "{name: alice}", &more);
    for nonsense in ["<!DOCTYPE html>", "{\"error\":{\"message\":\"boom\"}}", "{\"a\":1}"] {
        upstream.then(Behaviour::raw(200, &[("content-type", "application/json")], nonsense));
        let response = send_form(&gateway, "/v1/audio/transcriptions", &transcription("ears", &[]));
        assert_eq!(
            (response.status(), response.header("x-tollgate-attempts")),
            (200, Some("2")),
            "{nonsense}"
        );
    }
}

#[test]
fn who_hangs_up_on_sound_pays_for_it() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    let gate = Gate::closed();
    upstream.always(Behaviour::answer(Answer::default()).hold(At::Bytes(9), &gate));
    let mut exchange = Request::post("/v1/audio/speech", &speech())
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .unwrap();
    assert!(exchange.read_until("ID3"));
    exchange.leave();
    wait::until("the receipt", || !receipts(&gateway).is_empty());
    let receipt = receipts(&gateway).into_values().next().unwrap();
    // 5 characters at $15 per million
    assert_eq!(
        (&receipt["ending"], &receipt["charged"]),
        (&json!("client_gone"), &json!(75_000))
    );
    assert_eq!(receipt["usage_source"], "estimated");
    gate.open();
}

#[test]
fn a_stream_of_pictures_that_breaks_ends_in_the_formats_own_error() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    upstream.always(Behaviour::answer(Answer::default()).cut(At::Events(1), How::Close));
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "stream": true});
    let response = post(&gateway, "/v1/images/generations", &body);
    let events = response.events();
    assert_eq!(events[0].json().unwrap()["type"], "image_generation.partial_image");
    assert!(
        events[1].json().unwrap()["error"]["message"].is_string(),
        "{}",
        response.text()
    );
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(
        (&receipt["ending"], &receipt["charged"]),
        (&json!("upstream_gone"), &json!(0))
    );
}

#[test]
fn a_client_that_waits_for_a_stream_gets_signs_of_life() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "defaults: {heartbeat: 50ms}\n");
    let gate = Gate::closed();
    upstream.always(Behaviour::answer(Answer::default()).hold_head(&gate));
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "stream": true});
    let mut exchange = Request::post("/v1/images/generations", &body)
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .unwrap();
    assert!(exchange.read_until(":"));
    gate.open();
    let response = exchange.finish();
    assert_eq!(
        response.events().last().unwrap().json().unwrap()["type"],
        "image_generation.completed"
    );
    // Sound has no place for one: nothing is sent before it, and nothing between.
    let gate = Gate::closed();
    upstream.always(Behaviour::answer(Answer::default()).hold(At::Bytes(9), &gate));
    let mut exchange = Request::post("/v1/audio/speech", &speech())
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .unwrap();
    assert!(exchange.read_until("ID3"));
    wait::lasts(std::time::Duration::from_millis(200));
    gate.open();
    assert_eq!(exchange.finish().body, sound());
}
