//! Answers of every task, whole and as streams.

use bytes::Bytes;
use domain::{Dialect, Surface};
use proptest::prelude::*;

use super::*;
use crate::stream::{StreamEnd, StreamTap, TapOptions, TapState};

fn whole(operation: Operation, body: &str) -> Result<Report, Nonsense> {
    read_whole(operation, body.as_bytes())
}

fn usage(report: &Report) -> Usage {
    match report.usage {
        UsageReport::Possible(usage) => usage,
        _ => panic!("{report:?}"),
    }
}

#[test]
fn pictures_are_counted_beside_their_tokens() {
    let body = r#"{"created":1,"data":[{"b64_json":"AAAA"},{"b64_json":"BBBB"}],"size":"1024x1024","quality":"high",
        "usage":{"input_tokens":50,"input_tokens_details":{"image_tokens":40,"text_tokens":10},"output_tokens":100,"total_tokens":150}}"#;
    let report = whole(Operation::ImageGenerations, body).unwrap();
    let expected = Usage {
        images: 2,
        input: 50,
        input_image: 40,
        output: 100,
        output_image: 100,
        ..Usage::default()
    };
    assert_eq!(usage(&report), expected);
    assert!(report.complete);
    let bare = whole(
        Operation::ImageGenerations,
        r#"{"created":1,"data":[{"url":"https://x"}],"usage":{"cost_in_usd_ticks":9}}"#,
    );
    assert_eq!(
        usage(&bare.unwrap()),
        Usage {
            images: 1,
            ..Usage::default()
        }
    );
}

#[test]
fn a_drawing_has_an_author_who_is_billed_too() {
    let body = r#"{"data":[{"b64_json":"AA"}],"svg_usage":{"model":"gpt-5.5","input_tokens":10,"output_tokens":20,"reasoning_tokens":5,"total_tokens":30}}"#;
    let report = whole(Operation::ImageGenerations, body).unwrap();
    let side = &report.side_usage[0];
    assert_eq!(
        (side.model.as_deref(), side.usage.input, side.usage.output),
        (Some("gpt-5.5"), 10, 20)
    );
}

#[test]
fn transcripts_are_json_or_text() {
    let tokens = r#"{"text":"Hi.","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":14},"output_tokens":3,"total_tokens":17}}"#;
    assert_eq!(
        usage(&whole(Operation::Transcriptions, tokens).unwrap()).input_audio,
        14
    );
    let verbose =
        r#"{"task":"transcribe","language":"english","duration":8.470000267028809,"text":"Hi.","segments":[]}"#;
    assert_eq!(
        usage(&whole(Operation::Transcriptions, verbose).unwrap()).audio_ms,
        8_470
    );
    let both = r#"{"duration":8.47,"text":"Hi.","usage":{"type":"duration","seconds":9}}"#;
    assert_eq!(
        usage(&whole(Operation::Translations, both).unwrap()).audio_ms,
        9_000,
        "what is billed goes first"
    );
    for text in ["Hi.\n", "1\n00:00:00,000 --> 00:00:02,000\nHi.\n\n", "WEBVTT\n\n", ""] {
        let report = whole(Operation::Transcriptions, text).unwrap();
        assert_eq!(
            (report.usage, report.content_bytes),
            (UsageReport::None, text.len() as u64)
        );
    }
    for nonsense in ["<!DOCTYPE html><p>", " <html>", "{\"a\":1}", "{"] {
        assert!(whole(Operation::Transcriptions, nonsense).is_err(), "{nonsense}");
    }
}

#[test]
fn rankings_report_in_three_ways() {
    for (body, expected) in [
        (
            r#"{"id":"a","results":[{"index":0,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}"#,
            Usage {
                reranks: 1,
                ..Usage::default()
            },
        ),
        (
            r#"{"model":"jina-reranker-v3","object":"list","usage":{"total_tokens":26},"results":[]}"#,
            Usage {
                input: 26,
                ..Usage::default()
            },
        ),
        (
            r#"{"object":"list","data":[{"relevance_score":0.5,"index":0}],"model":"rerank-2.5","usage":{"total_tokens":26}}"#,
            Usage {
                input: 26,
                ..Usage::default()
            },
        ),
    ] {
        assert_eq!(usage(&whole(Operation::Rerank, body).unwrap()), expected, "{body}");
    }
    assert!(matches!(
        whole(Operation::Rerank, "{}"),
        Err(Nonsense::Lacks("results"))
    ));
}

#[test]
fn moderation_reports_nothing() {
    let body = r#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false}]}"#;
    let report = whole(Operation::Moderations, body).unwrap();
    assert_eq!(
        (report.usage, report.model.as_deref()),
        (UsageReport::None, Some("omni-moderation-latest"))
    );
}

#[test]
fn an_error_is_none_of_them() {
    for operation in Operation::ALL.into_iter().filter(|operation| operation.is_task()) {
        let error = r#"{"error":{"message":"boom","type":"server_error","code":500}}"#;
        assert!(
            matches!(whole(operation, error), Err(Nonsense::Error(_))),
            "{operation}"
        );
    }
}

/// Feeds a stream in pieces of `size` bytes: what was passed on, and how it ended.
fn streamed(operation: Operation, text: &str, size: usize) -> (String, StreamEnd, Report) {
    let mut tap = StreamTap::new(TapOptions {
        surface: Surface::new(operation, Dialect::OpenaiChat),
        hide_usage_chunk: false,
        json_array: false,
    });
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(size) {
        if let TapState::Broken(_) = tap.push(Bytes::copy_from_slice(chunk), &mut out) {
            break;
        }
    }
    let end = tap.finish(true);
    let mut passed = out.concat();
    if let StreamEnd::Complete { last } = &end {
        passed.extend_from_slice(last);
    }
    (String::from_utf8(passed).unwrap(), end, tap.report())
}

const PICTURES: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\",\"partial_image_index\":0}\n\n\
    event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AAAA\",\"usage\":{\"input_tokens\":10,\"output_tokens\":100,\"total_tokens\":110,\"input_tokens_details\":{\"text_tokens\":10,\"image_tokens\":0}}}\n\n\
    event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"BBBB\",\"usage\":{\"input_tokens\":10,\"output_tokens\":200,\"total_tokens\":210}}\n\n";
const TRANSCRIPT: &str = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\n\
    data: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},\"output_tokens\":2,\"total_tokens\":16}}\n\n";
const SPOKEN: &str = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\n\
    data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":5,\"output_tokens\":20,\"total_tokens\":25}}\n\n";
const VLLM: &str = "data: {\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n\
    data: {\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn streams_are_whole_with_their_last_event_and_pass_untouched() {
    for (operation, text, expected) in [
        (
            Operation::ImageGenerations,
            PICTURES,
            Some(Usage {
                images: 2,
                input: 20,
                output: 300,
                output_image: 300,
                ..Usage::default()
            }),
        ),
        (
            Operation::Transcriptions,
            TRANSCRIPT,
            Some(Usage {
                input: 14,
                input_audio: 14,
                output: 2,
                ..Usage::default()
            }),
        ),
        (
            Operation::Speech,
            SPOKEN,
            Some(Usage {
                input: 5,
                output: 20,
                output_audio: 20,
                ..Usage::default()
            }),
        ),
        (Operation::Transcriptions, VLLM, None),
    ] {
        for (ending, size) in [("", 1), ("", 7), ("", 10_000), ("data: [DONE]\n\n", 10_000)] {
            let text = format!("{text}{}", if text.ends_with("[DONE]\n\n") { "" } else { ending });
            let (passed, end, report) = streamed(operation, &text, size);
            assert_eq!(passed, text, "{operation} {size}");
            assert!(
                matches!(end, StreamEnd::Complete { .. }) && report.complete,
                "{operation} {size}"
            );
            match expected {
                Some(expected) => assert_eq!(usage(&report), expected, "{operation}"),
                None => assert_eq!((report.usage, report.content_bytes), (UsageReport::None, 2)),
            }
        }
    }
}

#[test]
fn a_stream_without_its_last_event_is_cut() {
    for (operation, text) in [
        (Operation::ImageGenerations, PICTURES),
        (Operation::Transcriptions, TRANSCRIPT),
        (Operation::Speech, SPOKEN),
        (Operation::Transcriptions, VLLM),
    ] {
        let first = &text[..text.find("\n\n").unwrap() + 2];
        for cut in [first.to_owned(), format!("{first}data: [DONE]\n\n")] {
            let (_, end, _) = streamed(operation, &cut, 10_000);
            assert!(matches!(end, StreamEnd::Incomplete { .. }), "{operation} {cut}");
        }
    }
}

#[test]
fn an_error_ends_a_stream() {
    for error in [
        r#"{"error":{"message":"m","type":"server_error"}}"#,
        r#"{"type":"error","error":{"message":"m"}}"#,
    ] {
        let (passed, end, _) = streamed(Operation::ImageEdits, &format!("data: {error}\n\n"), 10_000);
        assert!(
            passed.is_empty() && matches!(end, StreamEnd::Incomplete { .. }),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300), tail in "(data: )?\\{\"(type|usage|data|text|meta)\":.{0,40}\n\n") {
        for operation in Operation::ALL.into_iter().filter(|operation| operation.is_task()) {
            drop(read_whole(operation, &body));
            drop(read_whole(operation, tail.as_bytes()));
            streamed(operation, &tail, 3);
        }
    }
}
