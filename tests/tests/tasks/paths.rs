//! Every path: routed, recorded and answered in the provider's own bytes.

use blackbox::{CLIENT_KEY, UPSTREAM_KEY, receipt_of};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::Setup;
use testkit::upstream::{Answer, Behaviour, Upstream, Usage, sound};

use super::{RECORDING, form_request, post, send_form, start, transcription};

#[test]
fn json_tasks_reach_their_upstream_under_the_targets_name() {
    let upstream = Upstream::start();
    let models = "models:
  - {name: painter, targets: [{upstream: openai-main, model: gpt-image-2}]}
  - {name: voice, targets: [{upstream: openai-main, model: tts-1}]}
  - {name: judge, targets: [{upstream: openai-main, model: omni-moderation-latest}]}
  - {name: ranker, targets: [{upstream: ranks, model: rerank-v3.5}]}
";
    let gateway = start(&upstream, "{name: alice}", models);
    for (path, there, model, theirs, operation) in [
        (
            "/v1/images/generations",
            "/v1/images/generations",
            "painter",
            "gpt-image-2",
            "image_generations",
        ),
        (
            "/v1/images/edits",
            "/v1/images/edits",
            "painter",
            "gpt-image-2",
            "image_edits",
        ),
        ("/api/v1/audio/speech", "/v1/audio/speech", "voice", "tts-1", "speech"),
        (
            "/v1/moderations",
            "/v1/moderations",
            "judge",
            "omni-moderation-latest",
            "moderations",
        ),
        ("/v1/rerank", "/v1/rerank", "ranker", "rerank-v3.5", "rerank"),
        ("/v2/rerank", "/v1/rerank", "ranker", "rerank-v3.5", "rerank"),
    ] {
        let body = json!({"model": model, "prompt": "a fox", "input": "a fox", "query": "fox?", "documents": ["a", "b"], "own": {"kept": [1]}});
        let response = post(&gateway, path, &body);
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        let received = upstream.take_received().pop().unwrap();
        assert_eq!(
            (received.path(), received.credential.as_deref()),
            (there, Some(UPSTREAM_KEY))
        );
        assert_eq!(
            received.body,
            body.to_string().replace(model, theirs).into_bytes(),
            "{path}"
        );
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(
            (&receipt["operation"], &receipt["model"]),
            (&json!(operation), &json!(model))
        );
        assert_eq!(
            (&receipt["ending"], &receipt["dialect"]),
            (&json!("complete"), &json!("openai_chat"))
        );
    }
}

#[test]
fn sound_comes_byte_for_byte_and_as_it_is_made() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    let body = json!({"model": "tts-1", "input": "a fox", "voice": "alloy"});
    let response = post(&gateway, "/v1/audio/speech", &body);
    assert_eq!(
        (response.body.as_slice(), response.header("content-type")),
        (sound(), Some("audio/mpeg"))
    );
    assert!(response.is_complete());
    assert_eq!(response.header("x-tollgate-upstream"), Some("openai-main"));

    // All but the last byte is there before the upstream has said the rest.
    let gate = testkit::upstream::Gate::closed();
    upstream.always(Behaviour::answer(Answer::default()).hold(testkit::upstream::At::Bytes(7), &gate));
    let mut exchange = Request::post("/v1/audio/speech", &body)
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .unwrap();
    assert!(exchange.read_until("ID3"));
    gate.open();
    let response = exchange.finish();
    assert_eq!(response.body, sound());
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(
        (&receipt["ending"], &receipt["stream"]),
        (&json!("complete"), &json!(false))
    );
}

#[test]
fn streams_pass_untouched_with_their_usage() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::answer(Answer::text("a fox").usage(Usage::of(30, 50))));
    let gateway = start(&upstream, "{name: alice}", "");
    let picture = json!({"model": "gpt-image-2", "prompt": "a fox", "stream": true, "partial_images": 1});
    let speech = json!({"model": "gpt-4o-mini-tts", "input": "a fox", "voice": "alloy", "stream_format": "sse"});
    let heard = form_request(
        "/v1/audio/transcriptions",
        super::form(&transcription("gpt-4o-transcribe", &[("stream", None, b"true")])),
    );
    for (request, last, usage) in [
        (
            Request::post("/v1/images/generations", &picture).bearer(CLIENT_KEY),
            "image_generation.completed",
            json!({"images": 1, "input": 30, "output": 50, "output_image": 50}),
        ),
        (
            Request::post("/v1/audio/speech", &speech).bearer(CLIENT_KEY),
            "speech.audio.done",
            json!({"input": 30, "output": 50, "output_audio": 50}),
        ),
        (
            heard,
            "transcript.text.done",
            json!({"input": 30, "input_audio": 30, "output": 50}),
        ),
    ] {
        let response = request.send(&gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        let events = response.events();
        assert!(events.len() >= 2 && response.is_complete());
        assert_eq!(events.last().unwrap().json().unwrap()["type"], last);
        let receipt = receipt_of(&gateway, &response);
        assert_eq!(
            (&receipt["usage"], &receipt["stream"]),
            (&usage, &json!(true)),
            "{receipt}"
        );
        assert_eq!(receipt["usage_source"], "reported");
    }
}

#[test]
fn transcripts_come_in_every_format() {
    let upstream = Upstream::start();
    upstream.always(Behaviour::text("a fox"));
    let gateway = start(&upstream, "{name: alice}", "");
    for (path, format, part) in [
        ("/v1/audio/transcriptions", "json", "\"text\":\"a fox\""),
        ("/v1/audio/transcriptions", "verbose_json", "\"duration\":8.47"),
        ("/v1/audio/translations", "text", "a fox\n"),
        ("/v1/audio/translations", "srt", "a fox\n"),
    ] {
        let fields = transcription("whisper-1", &[("response_format", None, format.as_bytes())]);
        let response = send_form(&gateway, path, &fields);
        assert!(response.text().contains(part), "{format}: {}", response.text());
        assert_eq!(upstream.take_received().pop().unwrap().path(), path);
    }
}

#[test]
fn moderation_needs_no_model_and_no_money() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice, policy: hard}", "");
    let response = post(&gateway, "/v1/moderations", &json!({"input": ["a", "b"]}));
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.json()["results"].as_array().unwrap().len(), 2);
    assert_eq!(
        upstream.take_received().pop().unwrap().json()["model"],
        "omni-moderation-latest"
    );
    let receipt = receipt_of(&gateway, &response);
    assert_eq!(
        (&receipt["charged"], &receipt["operation"]),
        (&json!(0), &json!("moderations"))
    );
    let stranger = Request::post("/v1/moderations", &json!({"input": "a"}))
        .bearer("sk-tg-nobody")
        .send(&gateway.url());
    assert_eq!(stranger.status(), 401);
    let picture = post(&gateway, "/v1/images/generations", &json!({"prompt": "a"}));
    assert_eq!(
        picture.status(),
        400,
        "only moderation has a default: {}",
        picture.text()
    );
}

#[test]
fn what_no_upstream_offers_is_refused_with_the_reason() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    let response = post(
        &gateway,
        "/v1/rerank",
        &json!({"model": "gpt-4o", "query": "a", "documents": ["b"]}),
    );
    assert!(matches!(response.status(), 400 | 404 | 503), "{}", response.text());
    assert!(response.text().contains("rerank"), "{}", response.text());
    assert!(upstream.received().is_empty());
}

#[test]
fn the_demo_answers_all_of_them() {
    let yaml = format!(
        "upstreams: [{{name: demo, provider: demo}}]\nusers: [{{name: alice}}]\nkeys: [{{name: laptop, user: alice, key: \"{CLIENT_KEY}\"}}]\n"
    );
    let gateway = Setup::config(&yaml).start();
    for (path, body) in [
        (
            "/v1/images/generations",
            json!({"model": "demo", "prompt": "a", "n": 2}),
        ),
        (
            "/v1/images/generations",
            json!({"model": "demo", "prompt": "a", "stream": true}),
        ),
        ("/v1/audio/speech", json!({"model": "demo", "input": "a"})),
        (
            "/v1/audio/speech",
            json!({"model": "demo", "input": "a", "stream_format": "sse"}),
        ),
        ("/v1/moderations", json!({"model": "demo", "input": "a"})),
        (
            "/v1/rerank",
            json!({"model": "demo", "query": "a", "documents": ["b", "a"]}),
        ),
    ] {
        let response = post(&gateway, path, &body);
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        assert_eq!(receipt_of(&gateway, &response)["ending"], "complete", "{path}");
    }
    for more in [
        &[][..],
        &[("stream", None, &b"true"[..])],
        &[("response_format", None, b"text")],
    ] {
        let response = send_form(&gateway, "/v1/audio/transcriptions", &transcription("demo", more));
        assert!(response.text().contains("8000"), "{}", response.text());
    }
    assert_eq!(RECORDING.len(), 8_000);
}
