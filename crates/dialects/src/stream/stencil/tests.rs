//! What fits and what does not, and that the short cut never shows.

use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use proptest::prelude::*;

use super::*;
use crate::stream::{StreamTap, TapOptions, TapState};

const CHAT: &str = r#"{"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"<>"},"finish_reason":null}],"obfuscation":"ab"}"#;
const THOUGHT: &str = r#"{"choices":[{"index":0,"delta":{"reasoning_content":"<>","reasoning":"<>","content":""}}]}"#;
const MESSAGES: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"<>"}}"#;
const RESPONSES: &str = r#"{"type":"response.output_text.delta","sequence_number":9,"item_id":"i","output_index":0,"delta":"<>","logprobs":[],"obfuscation":"x"}"#;

fn tap(dialect: Dialect) -> StreamTap {
    StreamTap::new(TapOptions {
        surface: Surface::new(Operation::Chat, dialect),
        hide_usage_chunk: false,
        json_array: false,
    })
}

fn push(tap: &mut StreamTap, data: &[u8]) -> (TapState, Vec<u8>) {
    let mut out = Vec::new();
    let event = [b"data: ", data, b"\n\n"].concat();
    let state = tap.push(Bytes::from(event), &mut out);
    (state, out.concat())
}

/// Whether the second event was passed without being read.
fn fits(dialect: Dialect, first: &str, second: &str) -> Option<u64> {
    let mut tap = tap(dialect);
    push(&mut tap, first.as_bytes());
    tap.stencil.fit(second.as_bytes())
}

#[test]
fn an_event_with_another_text_fits() {
    for (dialect, like) in [
        (Dialect::OpenaiChat, CHAT),
        (Dialect::AnthropicMessages, MESSAGES),
        (Dialect::OpenaiResponses, RESPONSES),
    ] {
        let said = |text: &str| like.replace("<>", text);
        assert_eq!(fits(dialect, &said("a"), &said("bcd")), Some(3), "{like}");
        assert_eq!(fits(dialect, &said("a"), &said("")), Some(0), "{like}");
        assert_eq!(fits(dialect, &said("a"), &said("\\n\\u00e9")), Some(3), "{like}");
        assert_eq!(fits(dialect, &said("\\\""), &said("é")), Some(2), "{like}");
        for broken in ["\\x", "a\"", "\n", "\"}"] {
            assert_eq!(fits(dialect, &said("a"), &said(broken)), None, "{like} {broken}");
        }
        // What was said first is no text: nothing shows where it would stand.
        assert_eq!(fits(dialect, &said(""), &said("a")), None, "{like}");
    }
}

#[test]
fn counters_and_padding_may_differ_and_nothing_else() {
    let first = CHAT.replace("<>", "a");
    for (change, to, fits_then) in [
        (":7", ":8123", true),
        (":7", ":0", true),
        (":7", ":07", false),
        (":7", ":", false),
        (":7", ":-7", false),
        ("\"ab\"", "\"\"", true),
        ("\"ab\"", "\"c d\"", true),
        ("\"index\":0", "\"index\":1", false),
        ("null", "\"stop\"", false),
        ("\"m\"", "\"n\"", false),
        ("}]", "}] ", false),
    ] {
        let second = first.replacen(change, to, 1);
        assert_eq!(
            fits(Dialect::OpenaiChat, &first, &second).is_some(),
            fits_then,
            "{second}"
        );
    }
}

#[test]
fn what_counts_by_another_rule_is_read() {
    // The longest of several names for one thought counts, not their sum.
    let first = THOUGHT.replace("<>", "a");
    assert_eq!(fits(Dialect::OpenaiChat, &first, &THOUGHT.replace("<>", "b")), None);
    // The rest of the event says something too.
    let tools = r#"{"choices":[{"index":0,"delta":{"content":"<>","tool_calls":[{"function":{"name":"f"}}]}}]}"#;
    assert_eq!(
        fits(
            Dialect::OpenaiChat,
            &tools.replace("<>", "a"),
            &tools.replace("<>", "b")
        ),
        None
    );
    let audio = r#"{"type":"response.audio.delta","sequence_number":1,"delta":"<>"}"#;
    assert_eq!(
        fits(
            Dialect::OpenaiResponses,
            &audio.replace("<>", "a"),
            &audio.replace("<>", "b")
        ),
        None
    );
    let long = CHAT.replace("<>", &"x".repeat(STENCIL_MAX));
    assert_eq!(fits(Dialect::OpenaiChat, &long, &long), None);
}

#[test]
fn an_event_between_ends_it() {
    let mut tap = tap(Dialect::OpenaiChat);
    let event = CHAT.replace("<>", "a");
    push(&mut tap, event.as_bytes());
    push(
        &mut tap,
        br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
    );
    assert_eq!(tap.stencil.fit(event.as_bytes()), None);
    // The usage is no longer the last word, so a `[DONE]` without a finish reason is not believed.
    push(&mut tap, event.as_bytes());
    assert!(matches!(push(&mut tap, b"[DONE]").0, TapState::Broken(_)));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z é\u{1F600}]{0,6}",
        proptest::sample::select(vec![
            "\\n",
            "\\\"",
            "\\ud83d\\ude00",
            "\\",
            "\"",
            "\n",
            "\",\"content\":\"x"
        ])
        .prop_map(str::to_owned)
    ]
}

/// A change of some byte: set, cut out, or put in.
fn mutate(mut event: Vec<u8>, change: Option<(usize, u8, u8)>) -> Vec<u8> {
    if let Some((at, byte, how)) = change {
        let at = at % event.len();
        match how % 3 {
            0 => event[at] = byte,
            1 => drop(event.remove(at)),
            _ => event.insert(at, byte),
        }
    }
    event.retain(|byte| *byte != b'\r');
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever the events are: with the short cut and without it the tap does the same.
    #[test]
    fn it_changes_nothing(
        like in proptest::sample::select(vec![CHAT, THOUGHT, MESSAGES, RESPONSES]),
        dialect in proptest::sample::select(vec![Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::OpenaiResponses, Dialect::Gemini]),
        texts in proptest::collection::vec((text(), proptest::option::weighted(0.3, (any::<usize>(), any::<u8>(), any::<u8>()))), 1..6),
    ) {
        let (mut short, mut long) = (tap(dialect), tap(dialect));
        for (text, change) in texts {
            let event = mutate(like.replace("<>", &text).into_bytes(), change);
            long.stencil.clear();
            prop_assert_eq!(push(&mut short, &event), push(&mut long, &event));
            prop_assert_eq!(short.report(), long.report());
            prop_assert_eq!(short.has_content(), long.has_content());
        }
        prop_assert_eq!(short.finish(true), long.finish(true));
    }
}
