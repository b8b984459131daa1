//! Streams cut at every byte, faults of every kind, and what must never look complete.

use domain::{FailureClass, Operation};
use proptest::prelude::*;

use super::*;
use crate::answer::{ReportedFailure, UsageReport};

/// What came of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    released: String,
    end: StreamEnd,
    content: bool,
    report: Report,
}

fn options(dialect: Dialect) -> TapOptions {
    TapOptions {
        surface: Surface::new(Operation::Chat, dialect),
        hide_usage_chunk: false,
        json_array: false,
    }
}

fn run(options: TapOptions, pieces: &[&[u8]], clean: bool) -> Outcome {
    let mut tap = StreamTap::new(options);
    let mut out = Vec::new();
    for piece in pieces {
        tap.push(Bytes::copy_from_slice(piece), &mut out);
    }
    let end = tap.finish(clean);
    let released = String::from_utf8_lossy(&out.concat()).into_owned();
    Outcome {
        released,
        end,
        content: tap.has_content(),
        report: tap.report(),
    }
}

fn chat(text: &str) -> Outcome {
    run(options(Dialect::OpenaiChat), &[text.as_bytes()], true)
}

fn last(outcome: &Outcome) -> &str {
    match &outcome.end {
        StreamEnd::Complete { last } => std::str::from_utf8(last).unwrap(),
        StreamEnd::Incomplete { why } => panic!("{why:?}"),
    }
}

fn why(outcome: &Outcome) -> &StreamFault {
    match &outcome.end {
        StreamEnd::Complete { .. } => panic!("complete: {outcome:?}"),
        StreamEnd::Incomplete { why } => why,
    }
}

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
const TEXT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const SILENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";

#[test]
fn a_stream_passes_in_one_slice_and_the_end_is_held_back() {
    let text = [ROLE, ": comment\n\n", TEXT, STOP, USAGE, DONE].concat();
    let mut tap = StreamTap::new(options(Dialect::OpenaiChat));
    let (mut out, chunk) = (Vec::new(), Bytes::from(text.clone()));
    assert_eq!(tap.push(chunk.clone(), &mut out), TapState::Terminal);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr(), "bytes were copied");
    assert_eq!(
        tap.finish(true),
        StreamEnd::Complete {
            last: Bytes::from_static(DONE.as_bytes())
        }
    );
    assert_eq!([&out[0][..], DONE.as_bytes()].concat(), text.as_bytes());
    let usage = domain::Usage {
        input: 5,
        output: 2,
        ..domain::Usage::default()
    };
    assert_eq!(tap.report().usage, UsageReport::Possible(usage));
    assert!(tap.report().complete && tap.has_content());
}

#[test]
fn only_the_chunk_with_nothing_but_usage_is_hidden() {
    let hiding = TapOptions {
        hide_usage_chunk: true,
        ..options(Dialect::OpenaiChat)
    };
    let beside = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5}}\n\n";
    let filter = "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n";
    let text = [filter, TEXT, beside, USAGE, DONE].concat();
    let outcome = run(hiding, &[text.as_bytes()], true);
    assert_eq!(outcome.released, [filter, TEXT, beside].concat());
    assert_eq!(last(&outcome), DONE);
    assert!(matches!(outcome.report.usage, UsageReport::Possible(_)));
    let shown = run(options(Dialect::OpenaiChat), &[text.as_bytes()], true);
    assert_eq!(shown.released, [filter, TEXT, beside, USAGE].concat());
}

#[test]
fn a_forgotten_terminator_is_added_to_a_whole_answer_only() {
    assert_eq!(last(&chat(&[TEXT, STOP].concat())), DONE);
    assert_eq!(last(&chat(&[TEXT, STOP, USAGE].concat())), DONE);
    assert_eq!(why(&chat(TEXT)), &StreamFault::Truncated);
    assert_eq!(why(&chat("")), &StreamFault::Truncated);
    assert_eq!(
        why(&run(
            options(Dialect::OpenaiChat),
            &[TEXT.as_bytes(), STOP.as_bytes()],
            false
        )),
        &StreamFault::Truncated
    );
    let two = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]}\n\n";
    assert_eq!(why(&chat(&[TEXT, two, STOP].concat())), &StreamFault::Truncated);
    assert_eq!(why(&chat(&[TEXT, two, STOP, DONE].concat())), &StreamFault::Truncated);
}

#[test]
fn without_finish_reasons_the_usage_before_done_vouches_for_the_end() {
    assert_eq!(last(&chat(&[SILENT, USAGE, DONE].concat())), DONE);
    assert_eq!(why(&chat(&[SILENT, DONE].concat())), &StreamFault::Truncated);
    assert_eq!(why(&chat(&[USAGE, SILENT, DONE].concat())), &StreamFault::Truncated);
    assert_eq!(why(&chat(&[SILENT, USAGE].concat())), &StreamFault::Truncated);
    assert_eq!(why(&chat(DONE)), &StreamFault::Truncated);
}

#[test]
fn an_event_without_its_blank_line_counts_if_the_stream_ended_cleanly() {
    for missing in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n"] {
        assert_eq!(last(&chat(&[TEXT, STOP, missing].concat())), missing);
    }
    assert_eq!(last(&chat(&[TEXT, STOP.trim_end()].concat())), [STOP, DONE].concat());
    assert_eq!(last(&chat(&[TEXT, STOP, "\n"].concat())), DONE);
    assert_eq!(
        last(&chat(&[TEXT, STOP, ": bye"].concat())),
        [": bye\n\n", DONE].concat()
    );
    assert_eq!(why(&chat(&[TEXT, STOP, "data: [DO"].concat())), &StreamFault::Truncated);
    assert_eq!(why(&chat(&[TEXT, STOP, "dat"].concat())), &StreamFault::Truncated);
    assert_eq!(
        why(&chat(&[TEXT, "data: {\"choices\":[{\"index\":0,\"fin"].concat())),
        &StreamFault::Truncated
    );
}

#[test]
fn malformed_events_are_never_released() {
    for bad in [
        "data: {\"choices\":[\n\n",
        "data: nonsense\n\n",
        "data: 1\n\n",
        "data: {} {}\n\n",
        "data: {\"a\":\"\u{1}\"}\n\n",
    ] {
        let outcome = chat(&[ROLE, TEXT, bad, STOP, DONE].concat());
        assert_eq!(outcome.released, [ROLE, TEXT].concat(), "{bad}");
        assert_eq!(why(&outcome), &StreamFault::Malformed { event: 3 }, "{bad}");
    }
    let invalid = [ROLE.as_bytes(), b"data: {\"a\":\"\xff\"}\n\n"].concat();
    assert_eq!(
        why(&run(options(Dialect::OpenaiChat), &[&invalid], true)),
        &StreamFault::Malformed { event: 2 }
    );
}

#[test]
fn error_events_break_the_stream_and_stay_inside() {
    let error = "data: {\"error\":{\"message\":\"Overloaded sk-abcdefghijk\",\"type\":\"overloaded_error\"}}\n\n";
    let outcome = chat(&[ROLE, error, DONE].concat());
    assert_eq!(outcome.released, ROLE);
    assert!(!outcome.content);
    let expected = StreamFault::ErrorEvent(ReportedFailure {
        class: FailureClass::Overloaded,
        detail: "overloaded_error".to_owned(),
        message: "overloaded_error: Overloaded …".to_owned(),
        status: Some(529),
    });
    assert_eq!(why(&outcome), &expected);
    let anthropic =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\"}}\n\n";
    let outcome = run(options(Dialect::AnthropicMessages), &[anthropic.as_bytes()], true);
    assert!(matches!(
        why(&outcome),
        StreamFault::ErrorEvent(ReportedFailure {
            class: FailureClass::RateLimited,
            ..
        })
    ));
    let gemini = "data: {\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n";
    let outcome = run(options(Dialect::Gemini), &[gemini.as_bytes()], true);
    assert!(matches!(
        why(&outcome),
        StreamFault::ErrorEvent(ReportedFailure {
            class: FailureClass::Server,
            status: Some(503),
            ..
        })
    ));
}

#[test]
fn content_is_not_the_role() {
    let mut tap = StreamTap::new(options(Dialect::OpenaiChat));
    let mut out = Vec::new();
    tap.push(Bytes::from_static(ROLE.as_bytes()), &mut out);
    assert!(!tap.has_content());
    let (head, rest) = TEXT.split_at(20);
    tap.push(Bytes::from_static(head.as_bytes()), &mut out);
    assert!(
        !tap.has_content() && out.concat() == ROLE.as_bytes(),
        "half an event was released"
    );
    tap.push(Bytes::from_static(rest.as_bytes()), &mut out);
    assert!(tap.has_content() && out.concat() == [ROLE, TEXT].concat().as_bytes());
}

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
const CLOSING: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n";

#[test]
fn anthropic_ends_with_message_stop() {
    let stop = std::str::from_utf8(anthropic_messages::TERMINATOR).unwrap();
    let run = |text: &str| run(options(Dialect::AnthropicMessages), &[text.as_bytes()], true);
    assert_eq!(last(&run(&[START, DELTA, CLOSING, stop].concat())), stop);
    assert_eq!(last(&run(&[START, DELTA, CLOSING].concat())), stop);
    assert_eq!(why(&run(&[START, DELTA].concat())), &StreamFault::Truncated);
    assert_eq!(why(&run(&[START, DELTA, stop].concat())), &StreamFault::Truncated);
    let usage = domain::Usage {
        input: 3,
        output: 9,
        ..domain::Usage::default()
    };
    assert_eq!(
        run(&[START, DELTA, CLOSING].concat()).report.usage,
        UsageReport::Possible(usage)
    );
}

#[test]
fn responses_end_as_they_say() {
    let run = |text: &str| run(options(Dialect::OpenaiResponses), &[text.as_bytes()], true);
    let text =
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    let completed = "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\nevent: response.completed\n\n";
    assert_eq!(last(&run(&[text, completed].concat())), completed);
    // What OpenRouter puts behind it is kept, once, and nothing else.
    assert_eq!(
        last(&run(&[text, completed, DONE, DONE, text].concat())),
        [completed, DONE].concat()
    );
    assert_eq!(why(&run(text)), &StreamFault::Truncated);
    assert_eq!(why(&run(&[text, DONE].concat())), &StreamFault::Truncated);

    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"oops\"}}\n\n";
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"oops\"}}}\n\n";
    assert!(matches!(
        why(&run(&[error, failed].concat())),
        StreamFault::ErrorEvent(ReportedFailure {
            class: FailureClass::Server,
            ..
        })
    ));
    let outcome = run(&[text, error, failed].concat());
    assert_eq!(
        (outcome.released.as_str(), last(&outcome)),
        (text, [error, failed].concat().as_str())
    );
    assert_eq!(
        outcome.report.failure.as_ref().map(|failure| failure.class),
        Some(FailureClass::Server)
    );
    assert_eq!(last(&run(&[text, error].concat())), error);
    assert_eq!(
        run(&[text, error, text].concat()).released,
        [text, error, text].concat()
    );
}

const PART: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]}\r\n\r\n";
const FINAL: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"!\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2}}\r\n\r\n";

#[test]
fn gemini_holds_back_what_may_be_the_last_event() {
    let run = |text: &str| run(options(Dialect::Gemini), &[text.as_bytes()], true);
    let outcome = run(&[PART, FINAL].concat());
    assert_eq!((outcome.released.as_str(), last(&outcome)), (PART, FINAL));
    let outcome = run(&[PART, FINAL, FINAL].concat());
    assert_eq!(
        (outcome.released, last(&run(&[PART, FINAL, FINAL].concat()))),
        ([PART, FINAL].concat(), FINAL)
    );
    assert_eq!(why(&run(PART)), &StreamFault::Truncated);
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n\r\n";
    assert_eq!(last(&run(blocked)), blocked);
}

#[test]
fn gemini_as_an_array_ends_with_its_bracket() {
    let array = TapOptions {
        json_array: true,
        ..options(Dialect::Gemini)
    };
    let run = |text: &str| run(array, &[text.as_bytes()], true);
    let part = "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"[{\\\"\"}]}}]}\n";
    let end = ",\r\n{\"candidates\":[{\"finishReason\":\"STOP\"}]}";
    let outcome = run(&[part, end, "\n]"].concat());
    assert_eq!(
        [outcome.released.as_str(), last(&outcome)].concat(),
        [part, end, "\n]"].concat()
    );
    assert!(last(&outcome).ends_with("\n]"));
    assert_eq!(
        [outcome.released.as_str(), last(&run(&[part, end, "\n"].concat()))].concat(),
        [part, end, "\n]"].concat()
    );
    assert_eq!(why(&run(&[part, "]"].concat())), &StreamFault::Truncated);
    assert_eq!(why(&run(part)), &StreamFault::Truncated);
    assert_eq!(why(&run("[]")), &StreamFault::Truncated);
    assert_eq!(why(&run(&[part, end, ","].concat())), &StreamFault::Truncated);
    assert_eq!(why(&run(&[part, " {}"].concat())), &StreamFault::Malformed { event: 2 });
    let error = "{\"error\":{\"code\":500,\"message\":\"m\"}}";
    assert!(matches!(
        why(&run(error)),
        StreamFault::ErrorEvent(ReportedFailure {
            class: FailureClass::Server,
            ..
        })
    ));
    assert!(matches!(
        why(&run(&format!("[{error}]"))),
        StreamFault::ErrorEvent(ReportedFailure {
            class: FailureClass::Server,
            ..
        })
    ));
    assert_eq!(
        why(&run("{\"candidates\":[{\"finishReason\":\"STOP\"}]}")),
        &StreamFault::Malformed { event: 1 }
    );
}

#[test]
fn a_byte_order_mark_and_lone_returns_are_understood() {
    let text = ["\u{feff}", TEXT, STOP, DONE].concat();
    let outcome = chat(&text);
    assert_eq!([outcome.released.as_str(), last(&outcome)].concat(), text);
    assert!(outcome.content);
    let returns = [TEXT, STOP, DONE].concat().replace('\n', "\r");
    let outcome = chat(&returns);
    assert_eq!([outcome.released.as_str(), last(&outcome)].concat(), returns);
}

#[test]
fn an_event_without_end_is_not_held_for_ever() {
    let mut tap = StreamTap::new(options(Dialect::OpenaiChat));
    let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
    let mut state = TapState::Open;
    let mut taken = 0;
    while state == TapState::Open && taken <= 2 * EVENT_MAX {
        state = tap.push(chunk.clone(), &mut Vec::new());
        taken += chunk.len();
    }
    assert_eq!(state, TapState::Broken(StreamFault::TooLong));
    assert!(taken <= EVENT_MAX + chunk.len());
    let mut after = StreamTap::new(options(Dialect::OpenaiChat));
    after.push(Bytes::from([STOP, DONE].concat()), &mut Vec::new());
    for _ in 0..100 {
        after.push(Bytes::from_static(b"data: more and more and more"), &mut Vec::new());
    }
    assert!(after.partial.len() <= TRAILER_MAX + 1);
}

#[test]
fn a_hidden_event_without_its_blank_line_leaves_nothing_behind() {
    // Found by fuzzing: the blank line was added for it all the same.
    let hiding = TapOptions {
        hide_usage_chunk: true,
        ..options(Dialect::OpenaiChat)
    };
    let outcome = run(hiding, &[STOP.as_bytes(), USAGE.trim_end().as_bytes()], true);
    assert_eq!((outcome.released.as_str(), last(&outcome)), (STOP, DONE));
    assert!(matches!(outcome.report.usage, UsageReport::Possible(_)));
}

#[test]
fn what_follows_the_end_is_judged_the_same_however_it_is_cut() {
    // Found by fuzzing: of an event too long to follow the end, only the pieces after the limit were looked at.
    let options = options(Dialect::OpenaiResponses);
    let end = "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n";
    let long = "x".repeat(TRAILER_MAX + 1);
    for after in [
        format!("{long}\n{DONE}"),
        format!("{long}\n{DONE}{DONE}"),
        " ".repeat(2 * TRAILER_MAX),
        format!("{}\n\n{DONE}", " ".repeat(2 * TRAILER_MAX)),
    ] {
        let text = [end, &after].concat();
        let whole = run(options, &[text.as_bytes()], true);
        assert!(last(&whole).starts_with(end) && last(&whole).len() <= end.len() + DONE.len());
        for size in [1, 13, TRAILER_MAX] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(run(options, &pieces, true), whole, "{after:?} by {size}");
        }
    }
}

fn event() -> impl Strategy<Value = String> {
    let known = [
        ROLE,
        TEXT,
        STOP,
        USAGE,
        DONE,
        SILENT,
        START,
        DELTA,
        CLOSING,
        PART,
        FINAL,
        ": c\n\n",
        "\n",
        "event: ping\n\n",
        "data: {}\n\n",
        "data:\n\n",
        "data: x\n\n",
        "data: {\ndata: }\n\n",
    ];
    prop_oneof![
        proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        "[a-z:\\[\\]{}\", \n\r]{0,20}"
    ]
}

fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.sort_unstable();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for end in at {
        pieces.push(bytes[from..end].to_vec());
        from = end;
    }
    pieces.push(bytes[from..].to_vec());
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn chunks_do_not_matter(
        events in proptest::collection::vec(event(), 0..8),
        ends in proptest::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
        dialect in proptest::sample::select(Dialect::ALL.to_vec()),
        hide_usage_chunk in any::<bool>(),
        json_array in any::<bool>(),
        clean in any::<bool>(),
    ) {
        let text = events.concat().replace('\n', ends);
        let options = TapOptions { hide_usage_chunk, json_array, ..options(dialect) };
        let whole = run(options, &[text.as_bytes()], clean);
        let pieces = cut(text.as_bytes(), &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(run(options, &pieces, clean), whole);
    }

    /// Whatever comes: what is released is a prefix of what came in, unless something is hidden.
    #[test]
    fn nothing_is_made_up(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        dialect in proptest::sample::select(Dialect::ALL.to_vec()),
        json_array in any::<bool>(),
    ) {
        let options = TapOptions { json_array, ..options(dialect) };
        let pieces = cut(&bytes, &cuts);
        let mut tap = StreamTap::new(options);
        let mut out = Vec::new();
        for piece in pieces {
            tap.push(Bytes::from(piece), &mut out);
        }
        prop_assert!(bytes.starts_with(&out.concat()));
        let _end = tap.finish(true);
    }
}

#[test]
fn the_number_of_the_next_event_is_known_however_the_others_were_read() {
    let created = r#"{"type":"response.created","sequence_number":7,"response":{"id":"r","status":"in_progress"}}"#;
    let delta = |number: u64| {
        format!(
            r#"{{"type":"response.output_text.delta","sequence_number":{number},"item_id":"m","output_index":0,"content_index":0,"delta":"ab"}}"#
        )
    };
    let options = TapOptions {
        surface: Surface::new(Operation::Chat, Dialect::OpenaiResponses),
        hide_usage_chunk: false,
        json_array: false,
    };
    let mut tap = StreamTap::new(options);
    let mut out = Vec::new();
    let mut push = |text: &str| {
        tap.push(Bytes::from(format!("data: {text}\n\n")), &mut out);
        tap.next_number()
    };
    assert_eq!(push(created), 8);
    // The second and third fit the stencil of the first and are not read.
    assert_eq!([8, 9, 10].map(|number| push(&delta(number))), [9, 10, 11]);
    assert_eq!(push(": a comment"), 11);
    assert_eq!(
        push(r#"{"type":"error","sequence_number":0,"error":{"message":"no"}}"#),
        11
    );
}
