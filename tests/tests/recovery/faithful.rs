//! Answers that could be gone on with are still their provider's own, byte for byte, until they break off.

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, receipt_of};
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::upstream::{Answer, At, How};

use crate::answers::{events, said};
use crate::lab::{TAKES, TOKENS, World, attempts, whole};

/// What a format's providers say that no other does.
fn extras(format: Format) -> &'static str {
    match format {
        Format::Chat => {
            "data: {\"object\":\"chat.completion.chunk\",\"provider\":\"Acme\",\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"mood\":\"good\"}}]}\n\n: keep-alive\n\n"
        }
        Format::Responses => "event: response.acme.mood\ndata: {\"type\":\"response.acme.mood\",\"mood\":\"good\"}\n\n",
        Format::Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: mood\ndata: {\"type\": \"mood\"}\n\n",
        Format::Gemini => "data: {\"candidates\":[{\"index\":0,\"avgLogprobs\":-0.25}],\"mood\":\"good\"}\n\n",
    }
}

/// A stream whose answer nobody keeps: one that is kept is told under our name.
fn unkept(format: Format, model: &str) -> Request {
    if format != Format::Responses {
        return format.stream(model);
    }
    let mut body = format.body(model);
    body["stream"] = json!(true);
    body["store"] = json!(false);
    Request::post(&format.path(model), &body)
}

/// All values of a member that names the answer, or a part of it, from beginning to end.
fn names(format: Format, events: &[Value]) -> Vec<Value> {
    let name = |event: &Value| match format {
        Format::Chat => event["id"].clone(),
        Format::Responses => event["response"]["id"].clone(),
        Format::Anthropic => event["message"]["id"].clone(),
        Format::Gemini => event["responseId"].clone(),
    };
    let mut all: Vec<Value> = events.iter().map(name).filter(|name| !name.is_null()).collect();
    all.dedup();
    all
}

/// Where both sides speak one format, nothing of it is lost to the chance of a break; and what is told anew behind one goes on
/// under the names and numbers that the client knows.
#[test]
fn a_stream_is_its_providers_own_until_it_breaks_off() {
    std::thread::scope(|scope| {
        for format in FORMATS {
            scope.spawn(move || {
                let world = World::new(format, format, "", [TAKES, ""]);
                // Answers carry their number in their names: those of the two must differ.
                for _ in 0..5 {
                    unkept(format, "small").send(&world.spare.url());
                }
                let ask = |model| unkept(format, model).bearer(CLIENT_KEY).send(&world.gateway.url());
                // What a model gives that does not recover; its answer has the number before.
                let plain = |number: usize| {
                    let text = ask("plain").text();
                    let of = |sign| (format!("tk{sign}{number}"), format!("tk{sign}{}", number + 1));
                    [of('-'), of('_')]
                        .iter()
                        .fold(text, |text, (from, to)| text.replace(from, to))
                };
                world.main.always(whole().insert(10, extras(format)));
                let expected = plain(1);
                let response = ask("main");
                assert_eq!(response.text(), expected, "{format:?}");
                assert!(expected.contains("mood"), "{expected}");
                let receipt = receipt_of(&world.gateway, &response);
                assert!(
                    attempts(&receipt)[0]["losses"].as_array().is_none_or(Vec::is_empty),
                    "{receipt}"
                );

                let cut = whole().insert(10, extras(format)).cut(At::Events(40), How::Close);
                world.main.always(cut);
                let before = plain(3);
                // Its last event is the error.
                let begins = if matches!(format, Format::Chat | Format::Gemini) {
                    "data: "
                } else {
                    "event: "
                };
                let before = &before[..before.rfind(begins).expect("an error")];
                let response = ask("main");
                let text = response.text();
                assert!(
                    before.contains("t30 ") && text.starts_with(before),
                    "{format:?}: {text}\nis not behind\n{before}"
                );
                let events = events(&response);
                assert_eq!(said(format, &response), Answer::tokens(TOKENS).whole_text(), "{text}");
                assert!(
                    format.looks_complete(&text) && !format.ends_in_error(&text),
                    "{format:?}: {text}"
                );
                assert_eq!(names(format, &events).len(), 1, "{format:?}: {text}");
                if format == Format::Responses {
                    let items: Vec<_> = events.iter().filter(|event| event["item_id"].is_string()).collect();
                    assert!(
                        items.windows(2).all(|two| two[0]["item_id"] == two[1]["item_id"]),
                        "{text}"
                    );
                    let numbers = events.iter().filter_map(|event| event["sequence_number"].as_u64());
                    let numbers: Vec<u64> = numbers.collect();
                    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
                }
                if format == Format::Anthropic {
                    let blocks = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
                    assert_eq!(
                        (blocks("content_block_start"), blocks("content_block_stop")),
                        (1, 1),
                        "{text}"
                    );
                }
                let receipt = world.assert_billed(&response, "continued");
                assert_eq!(
                    receipt["attempts"][1]["losses"].as_array().map(Vec::len),
                    Some(1),
                    "{receipt}"
                );
            });
        }
    });
}
