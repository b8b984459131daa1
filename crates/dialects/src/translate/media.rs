//! Pictures and sound that models make, from each format to each other one that has a place for them.

use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use serde_json::{Value, json};

use super::{Reply, Transcoder};
use crate::stream::{StreamEnd, StreamTap, TapOptions};

/// What a stream tells a client, event by event; the same however it is cut.
fn streamed(from: Dialect, body: &str, to: Dialect) -> (Vec<Value>, Vec<String>) {
    let tell = |step: usize| {
        let tap = StreamTap::new(TapOptions {
            surface: Surface::new(Operation::Chat, from),
            hide_usage_chunk: false,
            json_array: false,
        });
        let mut transcoder = Transcoder::translate(tap, to, Reply::default());
        let mut out = Vec::new();
        for chunk in body.as_bytes().chunks(step) {
            transcoder.push(Bytes::copy_from_slice(chunk), &mut out);
        }
        match transcoder.finish(true) {
            StreamEnd::Complete { last } => out.push(last),
            end @ StreamEnd::Incomplete { .. } => panic!("{end:?}"),
        }
        let losses = transcoder.losses().iter().map(|loss| loss.what.to_string()).collect();
        (String::from_utf8(out.concat()).unwrap(), losses)
    };
    let whole = tell(usize::MAX);
    assert_eq!(tell(5), whole);
    let lines = whole.0.lines().filter_map(|line| line.strip_prefix("data: {"));
    let events = lines.map(|line| serde_json::from_str(&format!("{{{line}")).unwrap());
    (events.collect(), whole.1)
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn deltas(chunks: &[Value], member: &str) -> Vec<Value> {
    let found = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"].get(member));
    found.cloned().collect()
}

fn parts(chunks: &[Value]) -> Vec<Value> {
    let parts = chunks
        .iter()
        .filter_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array());
    parts.flatten().cloned().collect()
}

#[test]
fn geminis_sound_is_chats() {
    let sound = |data: &str| json!({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": data}});
    let chunk =
        |data: &str| json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [sound(data)]}}]});
    let last = json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}});
    let (told, losses) = streamed(
        Dialect::Gemini,
        &sse(&[chunk("AAAA"), chunk("BBBB"), last]),
        Dialect::OpenaiChat,
    );
    assert_eq!(
        deltas(&told, "audio"),
        [
            json!({"id": "audio_", "expires_at": 0, "data": "AAAA"}),
            json!({"data": "BBBB"})
        ]
    );
    assert!(deltas(&told, "images").is_empty() && losses.is_empty(), "{losses:?}");
}

#[test]
fn chats_sound_is_geminis_with_what_it_says() {
    let chunk = |delta: &Value, finish: Option<&str>| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let body = sse(&[
        chunk(
            &json!({"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hi"}}),
            None,
        ),
        chunk(&json!({"audio": {"id": "audio_1", "data": "AAAA"}}), None),
        chunk(&json!({"audio": {"transcript": " you", "data": "BBBB"}}), None),
        chunk(&json!({"audio": {"expires_at": 9}}), None),
        chunk(&json!({}), Some("stop")),
    ]) + "data: [DONE]\n\n";
    let (told, losses) = streamed(Dialect::OpenaiChat, &body, Dialect::Gemini);
    let sound = |data: &str| json!({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": data}});
    let said: Vec<Value> = parts(&told).into_iter().filter(|part| part["text"] != "").collect();
    assert_eq!(
        said,
        [
            json!({"text": "Hi"}),
            sound("AAAA"),
            json!({"text": " you"}),
            sound("BBBB")
        ]
    );
    assert!(losses.is_empty(), "{losses:?}");
    let (again, _) = streamed(Dialect::OpenaiChat, &body, Dialect::OpenaiChat);
    let audio = deltas(&again, "audio");
    assert_eq!(audio[0], json!({"id": "audio_1", "expires_at": 0, "transcript": "Hi"}));
    assert_eq!(audio[2], json!({"data": "BBBB", "transcript": " you"}));
}
