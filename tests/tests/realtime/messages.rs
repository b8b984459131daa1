//! What is said goes through as it was said, and is measured.

use serde_json::json;
use testkit::frame::{BINARY, Frame, TEXT};
use testkit::socket::Came;

use super::*;

/// Members in an order, spaces and escapes that no writer of ours would choose.
const ODD: &str = "{ \"x\":1e0,  \"delta\" : \"\\u00e9\\/\\ud83d\\ude00 é\" ,\"type\":\"some.event\",\"x\":2}\n";

#[test]
fn text_and_bytes_go_through_unchanged_in_both_directions() {
    let upstream = Upstream::start();
    talks(
        &upstream,
        vec![
            manual(),
            Turn::Say(ODD.to_owned()),
            Turn::SayBytes(vec![0, 159, 146, 150].into()),
            Turn::SayInFrames(vec!["{\"type\":".to_owned(), "\"a.b\"".to_owned(), "}".to_owned()]),
            Turn::Say("not json at all".to_owned()),
            heard("end"),
        ],
    );
    let mut gateway = start(&upstream, "");
    let mut socket = connect(&gateway);
    assert_eq!(socket.text(), ODD);
    assert_eq!(socket.hear(), Came::Binary(vec![0, 159, 146, 150]));
    assert_eq!(socket.text(), "{\"type\":\"a.b\"}");
    assert_eq!(socket.text(), "not json at all");
    socket.say(ODD);
    socket.send(&Frame {
        last: false,
        ..Frame::whole(TEXT, "{\"type\":")
    });
    socket.send(&Frame::whole(testkit::frame::PING, "between fragments"));
    socket.send(&Frame::whole(testkit::frame::CONTINUATION, "\"x.y\"}"));
    socket.send(&Frame::whole(BINARY, b"bytes".to_vec()));
    socket.say("the end");
    assert_eq!(socket.came(), Came::Pong);
    socket.close(1000);
    assert_eq!(socket.hear(), Came::Close(Some((1000, String::new()))));
    let call = upstream.wait_for("a goodbye", |call| {
        call.messages.iter().any(|message| message == "close 1000")
    });
    assert_eq!(
        call.messages,
        [ODD, "{\"type\":\"x.y\"}", "bytes", "the end", "close 1000"]
    );
    let (responses, session) = ended(&gateway);
    assert!(responses.is_empty());
    assert_eq!(
        (&session["ending"], &session["status"]),
        (&json!("complete"), &json!(101))
    );
    assert_eq!(session["charged"], 0);
    assert!(gateway.stop().success());
}

#[test]
fn signs_of_life_are_answered_on_both_sides() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual(), Turn::Ping]);
    let gateway = start(&upstream, "");
    let mut socket = connect(&gateway);
    socket.send(&Frame::whole(testkit::frame::PING, "there?"));
    assert_eq!(socket.came(), Came::Pong);
    upstream.wait_for("a pong", |call| call.messages == ["pong"]);
}

#[test]
fn the_largest_message_passes_and_a_larger_one_ends_the_session() {
    let upstream = Upstream::start();
    talks(&upstream, vec![manual()]);
    let gateway = start(&upstream, "");
    let mut socket = connect(&gateway);
    let audio = "A".repeat(15 * 1024 * 1024);
    socket.say_json(&json!({"type": "input_audio_buffer.append", "audio": audio}));
    upstream.wait_for("the sound", |call| {
        call.messages.iter().any(|message| message.len() > 15 * 1024 * 1024)
    });
    socket.say(&"x".repeat(16 * 1024 * 1024 + 1));
    assert_eq!(socket.until("error")["error"]["code"], "request_too_large");
    assert_eq!(socket.hear(), Came::Close(Some((1009, String::new()))));
}

#[test]
fn each_response_is_metered_exactly_by_kind_and_cache() {
    let upstream = Upstream::start();
    let usage = json!({"total_tokens": 355, "input_tokens": 267, "output_tokens": 88,
        "input_token_details": {"text_tokens": 127, "audio_tokens": 140, "image_tokens": 0, "cached_tokens": 192,
            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 128, "image_tokens": 0}},
        "output_token_details": {"text_tokens": 24, "audio_tokens": 64}});
    talks(
        &upstream,
        vec![
            manual(),
            heard("response.create"),
            created("resp_1"),
            delta("resp_1", "Hello"),
            Turn::Say(done_event("resp_1", "completed", &usage)),
            heard("response.create"),
            created("resp_2"),
            Turn::Say(done_event("resp_2", "cancelled", &tokens(300, 7))),
            heard("response.create"),
            created("resp_3"),
            Turn::Say(done_event("resp_3", "failed", &tokens(300, 0))),
        ],
    );
    let mut gateway = start(&upstream, ", opening_credit: 1.00, policy: soft");
    let mut socket = connect(&gateway);
    for _ in 0..3 {
        socket.say_json(&ask());
        socket.until("response.done");
    }
    socket.close(1000);
    assert_eq!(socket.hear(), Came::Close(Some((1000, String::new()))));
    let (responses, session) = ended(&gateway);
    assert_eq!(responses.len(), 3);
    // 63 × 1 + 12 × 10 + 64 × 0.1 + 128 × 0.2 + 24 × 5 + 64 × 50 dollars per million.
    assert_eq!(responses[0]["charged"], 3_535_000);
    assert_eq!(
        responses[0]["usage"],
        json!({"input": 75, "cache_read": 192, "output": 88, "input_audio": 12, "output_audio": 64, "cache_read_audio": 128})
    );
    assert_eq!(responses[0]["operation"], "realtime");
    assert_eq!(responses[0]["usage_source"], "reported");
    // A cancelled response is paid for as far as it came.
    assert_eq!(responses[1]["charged"], 335_000);
    // What the provider says has failed is not.
    assert_eq!(
        (&responses[2]["charged"], &responses[2]["cost"]),
        (&json!(0), &json!(300_000))
    );
    assert_eq!(session["attempts"].as_array().map(Vec::len), Some(1));
    assert!(gateway.stop().success());
    blackbox::audit(&gateway);
    assert_eq!(blackbox::books::balance(&gateway, "alice"), 1_000_000_000 - 3_870_000);
}

#[test]
fn speech_that_is_written_down_is_paid_at_its_own_models_price() {
    let upstream = Upstream::start();
    let models = MODELS.replace(
        "models: [",
        "models: [{name: gpt-4o-transcribe, targets: [{upstream: openai-main, model: gpt-4o-transcribe}], price: {input: 2.00, output: 8.00, input_audio: 3.00}}, {name: whisper-1, targets: [{upstream: openai-main, model: whisper-1}], price: {input: 0, audio_minutes: 0.006}}, ",
    );
    let written = |usage: Value| {
        let event = json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i",
            "content_index": 0, "transcript": "Hey", "usage": usage});
        Turn::Say(event.to_string())
    };
    let updated = |model: &str| {
        let event =
            json!({"type": "session.updated", "session": {"audio": {"input": {"transcription": {"model": model}}}}});
        Turn::Say(event.to_string())
    };
    talks(
        &upstream,
        vec![
            manual(),
            updated("gpt-4o-transcribe"),
            written(
                json!({"type": "tokens", "total_tokens": 48, "input_tokens": 38, "output_tokens": 10,
                "input_token_details": {"text_tokens": 10, "audio_tokens": 28}}),
            ),
            updated("whisper-1"),
            written(json!({"type": "duration", "seconds": 30})),
        ],
    );
    let yaml = config(&upstream, &models)
        .replace("\"gpt-*\"", "\"gpt-*\", \"whisper-*\"")
        .replace("{name: alice}", "{name: alice, opening_credit: 1.00, policy: hard}");
    let gateway = Setup::config(&yaml).start();
    let mut socket = connect(&gateway);
    for _ in 0..2 {
        socket.until("conversation.item.input_audio_transcription.completed");
    }
    socket.close(1000);
    let (responses, _) = ended(&gateway);
    let charged: Vec<_> = responses
        .iter()
        .map(|receipt| (&receipt["model"], &receipt["charged"]))
        .collect();
    // 10 × 2 + 28 × 3 + 10 × 8 dollars per million; half a minute.
    assert_eq!(
        charged,
        [
            (&json!("gpt-4o-transcribe"), &json!(184_000)),
            (&json!("whisper-1"), &json!(3_000_000))
        ]
    );
}
