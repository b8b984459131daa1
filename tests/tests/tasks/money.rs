//! What the tasks are charged, by the published prices and by an operator's own, and what is held for them.

use blackbox::{audit, books, receipt_of};
use serde_json::{Value, json};
use testkit::upstream::{Answer, Behaviour, Reporting, Upstream, Usage};

use super::{post, send_form, start, transcription};

fn silent() -> Behaviour {
    Behaviour::answer(Answer::text("a fox").reporting(Reporting::Never))
}

fn reported(raw: Value) -> Behaviour {
    Behaviour::answer(Answer::text("a fox").usage_raw(raw))
}

/// (charged, where the usage is from)
fn paid(receipt: &Value) -> (i64, &str) {
    (
        receipt["charged"].as_i64().expect("an amount"),
        receipt["usage_source"].as_str().expect("a source"),
    )
}

#[test]
fn tokens_of_pictures_have_their_own_prices() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice, opening_credit: 10.00, policy: hard}", "");
    upstream.always(reported(json!({
        "input_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}, "output_tokens": 4160, "total_tokens": 4210,
    })));
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "n": 2, "size": "1024x1536", "quality": "high"});
    let response = post(&gateway, "/v1/images/generations", &body);
    let receipt = receipt_of(&gateway, &response);
    // 10 × $5 + 40 × $8 + 4,160 × $30 per million
    assert_eq!(
        paid(&receipt),
        (50_000 + 320_000 + 124_800_000, "reported"),
        "{receipt}"
    );
    assert_eq!(receipt["usage"]["images"], 2);
    assert_eq!(response.header("x-tollgate-cost"), Some("0.12517"));
    books::settled(&gateway);
    assert_eq!(books::balance(&gateway, "alice"), 10_000_000_000 - 125_170_000);
}

#[test]
fn what_is_billed_by_the_piece_is_counted_from_request_and_answer() {
    let upstream = Upstream::start();
    let models = "models:
  - {name: dall-e-3, price: {input: 0, images: 0.04, image_kinds: {hd/1024x1024: 0.08, hd/1024x1792: 0.12}}, targets: [{upstream: openai-main, model: dall-e-3}]}
";
    let gateway = start(&upstream, "{name: alice, opening_credit: 10.00, policy: hard}", models);
    upstream.always(silent());
    for (more, charged) in [
        (json!({}), 40_000_000),
        (json!({"n": 2, "quality": "hd", "size": "1024x1792"}), 240_000_000),
        (json!({"quality": "standard", "size": "1792x1024"}), 40_000_000),
    ] {
        let mut body = json!({"model": "dall-e-3", "prompt": "a fox"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = post(&gateway, "/v1/images/generations", &body);
        let receipt = receipt_of(&gateway, &response);
        // The pictures are there to be counted.
        assert_eq!(paid(&receipt), (charged, "reported"), "{receipt}");
    }
    let speech = json!({"model": "tts-1-hd", "input": "Grüße! 🦊", "voice": "alloy"});
    let receipt = receipt_of(&gateway, &post(&gateway, "/v1/audio/speech", &speech));
    // 8 characters at $30 per million
    assert_eq!(
        (paid(&receipt), &receipt["usage"]),
        ((240_000, "estimated"), &json!({"characters": 8}))
    );

    let documents = vec!["a fox"; 101];
    let rank = json!({"model": "rerank-v3.5", "query": "fox?", "documents": documents});
    let receipt = receipt_of(&gateway, &post(&gateway, "/v1/rerank", &rank));
    assert_eq!(paid(&receipt), (4_000_000, "estimated"), "{receipt}");
    upstream.always(Behaviour::answer(Answer::default()));
    let receipt = receipt_of(&gateway, &post(&gateway, "/v1/rerank", &rank));
    assert_eq!(
        paid(&receipt),
        (2_000_000, "reported"),
        "what Cohere counted goes first: {receipt}"
    );
}

#[test]
fn recordings_are_charged_by_tokens_by_length_or_by_what_was_sent() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    let hear = |model: &str, format: &str| {
        let fields = transcription(model, &[("response_format", None, format.as_bytes())]);
        let response = send_form(&gateway, "/v1/audio/transcriptions", &fields);
        assert_eq!(response.status(), 200, "{}", response.text());
        receipt_of(&gateway, &response)
    };
    upstream.always(Behaviour::answer(Answer::text("a fox").usage(Usage::of(14, 3))));
    // 14 × $2.5 + 3 × $10 per million
    assert_eq!(paid(&hear("gpt-4o-transcribe", "json")), (65_000, "reported"));
    upstream.always(reported(json!({"type": "duration", "seconds": 90.5})));
    // $0.006 a minute
    assert_eq!(paid(&hear("whisper-1", "json")), (9_050_000, "reported"));
    upstream.always(silent());
    assert_eq!(
        paid(&hear("whisper-1", "verbose_json")),
        (847_000, "reported"),
        "it says its length"
    );
    // A second was sent.
    assert_eq!(paid(&hear("whisper-1", "srt")), (100_000, "estimated"));
    upstream.always(reported(json!({"type": "duration", "seconds": -3})));
    let receipt = hear("whisper-1", "json");
    assert_eq!(paid(&receipt), (0, "quarantined"), "{receipt}");
    assert!(receipt["usage_raw"].as_str().unwrap().contains("-3"), "{receipt}");
}

#[test]
fn rankings_by_tokens_are_charged_as_tokens() {
    let upstream = Upstream::start();
    let more = "models: [{name: jina, price: {input: 0.05}, targets: [{upstream: ranks, model: jina-reranker-v3}]}]\n";
    let gateway = start(&upstream, "{name: alice}", more);
    upstream.always(reported(json!({"total_tokens": 1_000})));
    let rank = json!({"model": "jina", "query": "fox?", "documents": ["a", "b"]});
    assert_eq!(
        paid(&receipt_of(&gateway, &post(&gateway, "/v1/rerank", &rank))),
        (50_000, "reported")
    );
}

#[test]
fn who_pays_in_advance_is_held_to_the_dearest_that_it_can_be() {
    let upstream = Upstream::start();
    let models = "models:
  - {name: dall-e-3, price: {input: 0, images: 0.04}, targets: [{upstream: openai-main, model: dall-e-3}]}
  - {name: words, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: whisper-1}]}
  - {name: unheard, price: {input: 0, images: 1.00}, targets: [{upstream: openai-main, model: whisper-1}]}
";
    let gateway = start(&upstream, "{name: alice, opening_credit: 0.10, policy: hard}", models);
    upstream.always(silent());
    let draw = |n: u64| {
        post(
            &gateway,
            "/v1/images/generations",
            &json!({"model": "dall-e-3", "prompt": "a", "n": n}),
        )
    };
    assert_eq!(draw(3).status(), 402, "three cost twelve cents");
    let spoken = "word ".repeat(1_400);
    let speech = json!({"model": "tts-1", "input": spoken, "voice": "alloy"});
    assert_eq!(post(&gateway, "/v1/audio/speech", &speech).status(), 402, "10.5 cents");
    // A minute and a half of MP3 may be twelve minutes of the worst there is; a token of sound may be a picture's.
    let unpriced = send_form(&gateway, "/v1/audio/transcriptions", &transcription("unheard", &[]));
    assert_eq!(
        unpriced.status(),
        402,
        "a price of something else is none: {}",
        unpriced.text()
    );
    assert!(upstream.received().is_empty());

    assert_eq!(draw(2).status(), 200);
    books::settled(&gateway);
    assert_eq!(books::balance(&gateway, "alice"), 20_000_000);
    assert_eq!(draw(1).status(), 402);
}

#[test]
fn what_has_no_price_is_flagged_and_free() {
    let upstream = Upstream::start();
    let more = "models: [{name: words, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: whisper-1}]}]\n";
    let gateway = start(&upstream, "{name: alice}", more);
    upstream.always(reported(json!({"type": "duration", "seconds": 60})));
    let receipt = receipt_of(
        &gateway,
        &send_form(&gateway, "/v1/audio/transcriptions", &transcription("words", &[])),
    );
    assert_eq!(
        (paid(&receipt), &receipt["usage"]["audio_ms"]),
        ((0, "reported"), &json!(60_000))
    );
    assert!(receipt.get("rates").is_none(), "{receipt}");
    books::settled(&gateway);
    assert_eq!(audit(&gateway)["unpriced"], 1);
}
