//! What is read of tasks, in both shapes.

use domain::{Dialect, Operation, Surface, Units, Usage};

use crate::request::{RequestFacts, ScanError, scan, scan_form};

const fn surface(operation: Operation) -> Surface {
    Surface::new(operation, Dialect::OpenaiChat)
}

fn json(operation: Operation, body: &str) -> Result<RequestFacts, ScanError> {
    scan(surface(operation), body.as_bytes())
}

fn units(operation: Operation, body: &str) -> Units {
    *json(operation, body).unwrap().units.unwrap()
}

fn fields(operation: Operation, parts: &[(&str, &[u8])]) -> Result<RequestFacts, ScanError> {
    let mut body = Vec::new();
    for (name, value) in parts {
        body.extend_from_slice(format!("--b\r\ncontent-disposition: form-data; {name}\r\n\r\n").as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    scan_form(surface(operation), "b", &body)
}

#[test]
fn pictures_are_counted_with_their_kind() {
    let body = r#"{"model":"gpt-image-2","prompt":"a fox","n":3,"size":"1024x1536","quality":"high","stream":true,"background":"opaque"}"#;
    let facts = json(Operation::ImageGenerations, body).unwrap();
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("gpt-image-2"), true));
    let units = facts.units.unwrap();
    assert_eq!((units.asked.images, units.most.images, units.text_bytes), (3, 3, 5));
    assert_eq!(
        (units.quality.as_deref(), units.size.as_deref()),
        (Some("high"), Some("1024x1536"))
    );
    let plain = self::units(Operation::ImageGenerations, r#"{"prompt":"a","n":null,"size":"auto"}"#);
    assert_eq!((plain.asked.images, plain.size), (1, None));
    let edit = r#"{"model":"m","prompt":"a","images":[{"image_url":"data:image/png;base64,AAAA"},{"file_id":"f"}],"mask":{"file_id":"g"}}"#;
    assert_eq!(self::units(Operation::ImageEdits, edit).pictures, 3);
}

#[test]
fn a_form_says_the_same() {
    let facts = fields(
        Operation::ImageEdits,
        &[
            ("name=\"image[]\"; filename=\"a.png\"", b"\x89PNG"),
            ("name=\"image[]\"; filename=\"b.png\"", b"\x89PNG"),
            ("name=\"model\"", b"gpt-image-2"),
            ("name=\"prompt\"", b"a fox"),
            ("name=\"n\"", b"2"),
            ("name=\"quality\"", b"low"),
            ("name=\"stream\"", b"true"),
        ],
    )
    .unwrap();
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("gpt-image-2"), true));
    let units = facts.units.unwrap();
    assert_eq!((units.asked.images, units.pictures, units.text_bytes), (2, 2, 5));
    assert_eq!(units.quality.as_deref(), Some("low"));
}

#[test]
fn characters_are_counted_and_not_bytes() {
    let body = r#"{"model":"tts-1","input":"Grüße, \u00e4 \ud83d\ude00","voice":"alloy","stream_format":"sse"}"#;
    let facts = json(Operation::Speech, body).unwrap();
    assert!(facts.stream);
    assert_eq!(
        facts.units.unwrap().asked,
        Usage {
            characters: 10,
            ..Usage::default()
        }
    );
    assert!(
        !json(
            Operation::Speech,
            r#"{"model":"m","input":"a","stream_format":"audio"}"#
        )
        .unwrap()
        .stream
    );
}

#[test]
fn a_recording_has_a_length() {
    let facts = fields(
        Operation::Transcriptions,
        &[
            ("name=\"file\"; filename=\"a.webm\"", &[0; 16_000]),
            ("name=\"model\"", b"whisper-1"),
        ],
    )
    .unwrap();
    let units = facts.units.unwrap();
    assert_eq!(
        (units.asked.audio_ms, units.most.audio_ms, units.text_bytes),
        (2_000, 32_000, 0)
    );
    let referenced = fields(
        Operation::Transcriptions,
        &[("name=\"url\"", b"https://x/y.mp3"), ("name=\"model\"", b"w")],
    );
    let units = referenced.unwrap().units.unwrap();
    assert_eq!((units.asked.audio_ms, units.most.audio_ms), (0, 86_400_000));
    assert_eq!(
        self::units(Operation::Transcriptions, r#"{"model":"m","file_url":"https://x"}"#)
            .most
            .audio_ms,
        86_400_000
    );
}

#[test]
fn a_ranking_is_a_search_per_hundred_documents() {
    let documents = |count: usize| {
        format!(
            r#"{{"model":"m","query":"what?","documents":[{}]}}"#,
            vec![r#""a""#; count].join(",")
        )
    };
    for (count, searches) in [(0, 1), (1, 1), (100, 1), (101, 2)] {
        assert_eq!(
            units(Operation::Rerank, &documents(count)).asked.reranks,
            searches,
            "{count}"
        );
    }
    // Long documents are split: at most into as many pieces as have 500 bytes.
    let long = format!(r#"{{"model":"m","query":"q","documents":["{}"]}}"#, "a".repeat(100_000));
    assert_eq!(
        (
            units(Operation::Rerank, &long).asked.reranks,
            units(Operation::Rerank, &long).most.reranks
        ),
        (1, 3)
    );
    let body = documents(3);
    assert_eq!(units(Operation::Rerank, &body).text_bytes, body.len() as u64 + 3 * 5);
}

#[test]
fn what_decides_is_said_once_and_plainly() {
    for body in [
        r#"{"model":"a","model":"b"}"#,
        r#"{"n":1,"n":2}"#,
        r#"{"n":1.5}"#,
        r#"{"n":1001}"#,
        r#"{"stream":"yes"}"#,
    ] {
        assert!(json(Operation::ImageGenerations, body).is_err(), "{body}");
    }
    let model: (&str, &[u8]) = ("name=\"model\"", b"m");
    for more in [
        model,
        ("name=\"n\"", b"x"),
        ("name=\"n\"", b"1.0"),
        ("name=\"n\"", b"1001"),
        ("name=\"stream\"", b"maybe"),
        ("name=\"size\"", b"\xff"),
    ] {
        assert!(fields(Operation::ImageEdits, &[model, more]).is_err(), "{more:?}");
    }
    assert!(fields(Operation::ImageEdits, &[("name=\"model\"; filename=\"x\"", b"m")]).is_err());
    assert!(fields(Operation::ImageEdits, &[("name=\"model\"", b"")]).is_err());
}
