//! Forms: the model renamed where it stands, every other byte as it came, and nothing that two readers could read
//! differently.

use blackbox::format::Format;
use blackbox::receipt_of;
use serde_json::json;
use testkit::upstream::{Behaviour, Match, Upstream};

use super::{BOUNDARY, Field, RECORDING, form, form_request, send_form, start, transcription};

const MODELS: &str = "models:
  - {name: ears, targets: [{upstream: openai-main, model: gpt-4o-transcribe}]}
  - {name: painter, targets: [{upstream: openai-main, model: gpt-image-2}]}
";

#[test]
fn a_form_arrives_as_it_was_sent_but_for_the_model() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", MODELS);
    // A file with everything in it that a form is made of.
    let mut file = b"--\r\n\r\n--form\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nears\r\n".to_vec();
    file.extend((0..=u8::MAX).cycle().take(100_000));
    for (path, model, theirs, named) in [
        ("/v1/audio/transcriptions", "ears", "gpt-4o-transcribe", "file"),
        ("/v1/audio/translations", "ears", "gpt-4o-transcribe", "file"),
        ("/v1/images/edits", "painter", "gpt-image-2", "image[]"),
        ("/v1/images/variations", "painter", "gpt-image-2", "image"),
    ] {
        let fields = |model: &'static str| -> Vec<Field<'_>> {
            vec![
                (named, Some("a \\\"b\\\".bin"), file.as_slice()),
                ("model", None, model.as_bytes()),
                ("prompt", None, "ein Füchslein, ears".as_bytes()),
            ]
        };
        let response = send_form(&gateway, path, &fields(model));
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        let received = upstream.take_received().pop().unwrap();
        assert_eq!(received.path(), path);
        assert!(received.body == form(&fields(theirs)), "{path}: other bytes arrived");
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        assert_eq!(received.header("content-type"), Some(content_type.as_str()));
        assert_eq!(
            received.header("content-length"),
            Some(received.body.len().to_string().as_str())
        );
        assert_eq!(receipt_of(&gateway, &response)["model"], model);
    }
}

#[test]
fn the_next_candidate_gets_the_form_under_its_own_name() {
    let (upstream, second) = (Upstream::start(), Upstream::start());
    upstream.always(Behaviour::status(500));
    let more = format!(
        "models:
  - {{name: ears, targets: [{{upstream: openai-main, model: whisper-1}}, {{base_url: \"{}\", key: other, dialect: openai_chat, model: their-whisper, priority: 1}}]}}
defaults: {{retries: 0}}
",
        second.v1()
    );
    let gateway = start(&upstream, "{name: alice}", &more);
    let response = send_form(&gateway, "/v1/audio/transcriptions", &transcription("ears", &[]));
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.header("x-tollgate-attempts"), Some("2"));
    assert!(upstream.received()[0].body == form(&transcription("whisper-1", &[])));
    assert!(second.received()[0].body == form(&transcription("their-whisper", &[])));
}

#[test]
fn what_could_be_read_in_two_ways_goes_nowhere() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", MODELS);
    let plain = form(&transcription("ears", &[]));
    let text = |fields: &[Field<'_>]| form(fields);
    let twice = transcription("ears", &[("model", None, b"gpt-4o")]);
    let file = transcription("ears", &[("n\"; name=\"model", None, b"gpt-4o")]);
    for body in [
        text(&twice),
        text(&file),
        [b"preamble\r\n", plain.as_slice()].concat(),
        [plain.as_slice(), b"--other\r\n"].concat(),
        plain[..plain.len() - 9].to_vec(),
        b"{\"model\":\"ears\"}".to_vec(),
        Vec::new(),
    ] {
        let response = form_request("/v1/audio/transcriptions", body).send(&gateway.url());
        Format::Chat.assert_refusal(&response, 400);
    }
    let unbounded = testkit::client::Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data")
        .bearer(blackbox::CLIENT_KEY)
        .body(plain);
    Format::Chat.assert_refusal(&unbounded.send(&gateway.url()), 400);
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
}

#[test]
fn models_are_allowed_and_bounded_as_everywhere() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "server: {body_limit: 64KiB}\n");
    let large = vec![0_u8; 70_000];
    let fields: [Field<'_>; 2] = [("file", Some("a"), &large), ("model", None, b"whisper-1")];
    Format::Chat.assert_refusal(&send_form(&gateway, "/v1/audio/transcriptions", &fields), 413);
    Format::Chat.assert_refusal(
        &send_form(&gateway, "/v1/audio/transcriptions", &transcription("nobodys", &[])),
        404,
    );
    let nameless: [Field<'_>; 1] = [("file", Some("a"), RECORDING.as_slice())];
    Format::Chat.assert_refusal(&send_form(&gateway, "/v1/audio/transcriptions", &nameless), 400);
    assert!(upstream.received().is_empty());
}

#[test]
fn the_bytes_of_files_are_no_tokens_of_the_keys_minute() {
    let upstream = Upstream::start();
    let more = "  - {name: slow, user: alice, key: sk-tg-slow-0123456789abcdef, limits: {tpm: 100}}\n";
    let gateway = start(&upstream, "{name: alice}", more);
    let picture = format!("data:image/png;base64,{}", "A".repeat(50_000));
    let edit = json!({"model": "gpt-image-2", "prompt": "a fox", "images": [{"image_url": picture}]});
    for request in [
        testkit::client::Request::post("/v1/images/edits", &edit),
        testkit::client::Request::new("POST", "/v1/audio/transcriptions")
            .header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(form(&transcription("gpt-4o-transcribe", &[]))),
    ] {
        // Each reports 19 tokens: what was counted before the answer would have used the minute up.
        let response = request.bearer("sk-tg-slow-0123456789abcdef").send(&gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
        let remaining = response.header("x-ratelimit-remaining-tokens").map(str::to_owned);
        assert!(remaining.is_some_and(|left| left.parse::<u32>().is_ok_and(|left| left > 0)));
    }
}

#[test]
fn the_callers_own_mistake_comes_back_in_the_providers_words() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "{name: alice}", "");
    let said = json!({"error": {"message": "Unrecognized file format.", "type": "invalid_request_error", "param": null, "code": null}});
    let typed = [("content-type", "application/json")];
    upstream.rule(
        Match::path("/audio/transcriptions"),
        Behaviour::raw(400, &typed, said.to_string()),
    );
    let response = send_form(&gateway, "/v1/audio/transcriptions", &transcription("whisper-1", &[]));
    assert_eq!((response.status(), response.json()), (400, said));
    let receipt = receipt_of(&gateway, &response);
    assert_eq!((&receipt["charged"], &receipt["ending"]), (&json!(0), &json!("failed")));
}
