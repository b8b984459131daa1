//! Events as `OpenAI` documents them (`openai` 3.57, `types/realtime`; guide "Realtime conversations").

use domain::{FaultKind, Usage};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::answer::{Finish, UsageReport};

const DONE: &str = r#"{"type":"response.done","event_id":"event_CCXLFwHTwg","response":{"object":"realtime.response",
"id":"resp_CCXHxYTxFxDDdmKpxNzVq","status":"completed","status_details":null,"output":[{"id":"item_1","type":"message",
"content":[{"type":"output_audio","transcript":"Hey there! \"response\":{"}]}],"conversation_id":"conv_1",
"output_modalities":["audio"],"max_output_tokens":"inf","usage":{"total_tokens":355,"input_tokens":267,
"output_tokens":88,"input_token_details":{"text_tokens":127,"audio_tokens":140,"image_tokens":0,"cached_tokens":192,
"cached_tokens_details":{"text_tokens":64,"audio_tokens":128,"image_tokens":0}},
"output_token_details":{"text_tokens":24,"audio_tokens":64}},"metadata":null}}"#;

fn report(text: &str) -> (String, crate::Report) {
    match read_server(text) {
        ServerEvent::Done { response, report } => (response, *report),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_response_is_told_by_kind_and_cache() {
    let (response, report) = report(DONE);
    let expected = Usage {
        input: 75,
        input_audio: 12,
        cache_read: 192,
        cache_read_audio: 128,
        output: 88,
        output_audio: 64,
        ..Usage::default()
    };
    assert_eq!(response, "resp_CCXHxYTxFxDDdmKpxNzVq");
    assert_eq!(report.usage, UsageReport::Possible(expected));
    assert_eq!((report.finish, report.failure), (Finish::Stop, None));
}

#[test]
fn cancelled_and_incomplete_responses_have_used_what_they_say() {
    for status in ["cancelled", "incomplete"] {
        let (_, report) = report(&DONE.replace(r#""status":"completed""#, &format!(r#""status":"{status}""#)));
        assert!(
            matches!(report.usage, UsageReport::Possible(_)) && report.failure.is_none(),
            "{status}"
        );
    }
}

#[test]
fn a_failed_response_is_a_failure() {
    let text = r#"{"type":"response.done","response":{"id":"r","status":"failed","usage":null,"status_details":
        {"type":"failed","error":{"type":"server_error","code":"server_error","message":"The server had an error"}}}}"#;
    let (_, report) = report(text);
    assert_eq!(report.usage, UsageReport::None);
    assert!(report.failure.unwrap().message.contains("The server had an error"));
}

#[test]
fn impossible_figures_are_quarantined() {
    let (_, report) = report(&DONE.replace(r#""cached_tokens":192"#, r#""cached_tokens":1920"#));
    assert!(matches!(report.usage, UsageReport::Impossible { .. }));
}

#[test]
fn the_order_of_members_does_not_matter() {
    let text = r#"{"response":{"usage":{"input_tokens":3,"output_tokens":4},"id":"r"},"type":"response.done"}"#;
    assert!(matches!(report(text).1.usage, UsageReport::Possible(_)));
    assert_eq!(
        read_server(r#"{"delta":"a\u00e9","response_id":"r","type":"response.output_text.delta"}"#),
        ServerEvent::Delta(Delta {
            response: Some("r".to_owned()),
            text_bytes: 3,
            audio_chars: 0
        })
    );
}

#[test]
fn deltas_are_measured_under_both_names() {
    for name in ["response.output_audio.delta", "response.audio.delta"] {
        let event = read_server(&format!(
            r#"{{"type":"{name}","response_id":"r","item_id":"i","delta":"AAAA"}}"#
        ));
        assert_eq!(
            event,
            ServerEvent::Delta(Delta {
                response: Some("r".to_owned()),
                text_bytes: 0,
                audio_chars: 4
            })
        );
    }
    let event = read_server(r#"{"type":"response.function_call_arguments.delta","response_id":"r","delta":"{\"a\""}"#);
    assert_eq!(
        event,
        ServerEvent::Delta(Delta {
            response: Some("r".to_owned()),
            text_bytes: 4,
            audio_chars: 0
        })
    );
}

#[test]
fn sessions_say_who_begins_responses_and_who_writes_down() {
    let ga = r#"{"type":"session.updated","session":{"type":"realtime","model":"gpt-realtime","max_output_tokens":"inf",
        "audio":{"input":{"transcription":{"model":"gpt-4o-transcribe"},"turn_detection":{"type":"server_vad","create_response":true}}}}}"#;
    let beta = r#"{"type":"session.created","session":{"turn_detection":null,"input_audio_transcription":null,"max_response_output_tokens":512}}"#;
    let facts = |text: &str| match read_server(text) {
        ServerEvent::Session(facts) => facts,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        facts(ga),
        SessionFacts {
            output_bound: Some(OutputBound::Unbounded),
            is_automatic: Some(true),
            transcription: Some(Some("gpt-4o-transcribe".to_owned())),
            by_reference: false,
        }
    );
    assert_eq!(
        facts(beta),
        SessionFacts {
            output_bound: Some(OutputBound::Tokens(512)),
            is_automatic: Some(false),
            transcription: Some(None),
            by_reference: false,
        }
    );
    let quiet = ga.replace(r#""create_response":true"#, r#""create_response":false"#);
    assert_eq!(facts(&quiet).is_automatic, Some(false));
}

#[test]
fn transcriptions_are_billed_by_tokens_or_by_time() {
    let text = r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","content_index":0,
        "transcript":"Hey","usage":{"type":"tokens","total_tokens":48,"input_tokens":38,"input_token_details":
        {"text_tokens":10,"audio_tokens":28},"output_tokens":10}}"#;
    let transcribed = |text: &str| match read_server(text) {
        ServerEvent::Transcribed(transcribed) => *transcribed,
        other => panic!("{other:?}"),
    };
    let expected = Usage {
        input: 38,
        input_audio: 28,
        output: 10,
        ..Usage::default()
    };
    assert_eq!(transcribed(text).usage, UsageReport::Possible(expected));
    assert_eq!(transcribed(text).text_bytes, 3);
    let by_time = r#"{"type":"conversation.item.input_audio_transcription.completed","transcript":"Hey","usage":{"type":"duration","seconds":2.5004}}"#;
    assert_eq!(transcribed(by_time).duration_ms, Some(2_501));
}

#[test]
fn what_a_client_asks_for_is_seen() {
    let create = read_client(
        r#"{"event_id":"e1","type":"response.create","response":{"max_output_tokens":100,"instructions":"x"}}"#,
    );
    assert_eq!(create.what, ClientWhat::Create(Some(OutputBound::Tokens(100))));
    assert_eq!(create.event_id.as_deref(), Some("e1"));
    assert_eq!(
        read_client(r#"{"type":"response.create"}"#).what,
        ClientWhat::Create(None)
    );
    let twice = r#"{"type":"response.create","response":{"max_output_tokens":1,"max_output_tokens":4096}}"#;
    assert_eq!(
        read_client(twice).what,
        ClientWhat::Create(Some(OutputBound::Unbounded))
    );
    let speech = read_client(r#"{"type":"input_audio_buffer.append","audio":"AAAAAAAA"}"#);
    assert_eq!((speech.what, speech.audio_chars), (ClientWhat::Speech, 8));
    let item = read_client(
        r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[
        {"type":"input_text","text":"hi"},{"type":"input_audio","audio":"AAAA"},{"type":"input_image","image_url":"data:image/png;base64,AA"}]}}"#,
    );
    assert_eq!(
        (item.what, item.audio_chars, item.pictures, item.by_reference),
        (ClientWhat::Other, 4, 1, false)
    );
}

#[test]
fn what_is_brought_in_by_reference_is_seen() {
    for text in [
        r#"{"type":"session.update","session":{"tools":[{"type":"function","name":"f"},{"type":"mcp","server_url":"https://x"}]}}"#,
        r#"{"type":"session.update","session":{"prompt":{"id":"pmpt_1"}}}"#,
        r#"{"type":"response.create","response":{"prompt":{"id":"pmpt_1"}}}"#,
        r#"{"type":"response.create","response":{"input":[{"content":[{"type":"input_image","image_url":"https://x"}]}]}}"#,
    ] {
        assert!(read_client(text).by_reference, "{text}");
    }
    assert!(
        !read_client(r#"{"type":"session.update","session":{"tools":[{"type":"function"}],"prompt":null}}"#)
            .by_reference
    );
}

#[test]
fn errors_name_what_they_are_about_and_ours_are_like_theirs() {
    let theirs = r#"{"type":"error","event_id":"event_890","error":{"type":"invalid_request_error","code":"invalid_event",
        "message":"The 'type' field is missing.","param":null,"event_id":"event_567"}}"#;
    assert_eq!(
        read_server(theirs),
        ServerEvent::Error {
            about: Some("event_567".to_owned())
        }
    );
    let fault = Fault::new(FaultKind::BalanceExhausted, "nothing left");
    let ours: Value = serde_json::from_str(&error_event(&fault, "event_1", Some("e1"))).unwrap();
    assert_eq!(ours["error"]["code"], "insufficient_balance");
    assert_eq!(
        read_server(&ours.to_string()),
        ServerEvent::Error {
            about: Some("e1".to_owned())
        }
    );
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in ".{0,200}", at in 0..DONE.len(), cut in 0..40_usize) {
        read_client(&text);
        read_server(&text);
        let mutated: String = DONE.chars().take(at).chain(DONE.chars().skip(at + cut)).collect();
        read_server(&mutated);
        read_client(&mutated);
    }
}
