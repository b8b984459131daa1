//! However an answer is cut, joined with its rest it is the whole answer, once, in each format.

use domain::{Dialect, Operation, Surface};
use proptest::prelude::*;

use super::super::{Beginning, Reply, StreamDecoder, StreamEnd, StreamTap, Transcoder};
use super::*;
use crate::hub::{Extra, Losses, Stop, StopReason, Thinking, ToolCall};
use crate::stream::TapOptions;
use crate::translate::coder::StreamEncoder;

fn start() -> Event {
    Event::Start {
        id: "a1".to_owned(),
        model: "m".to_owned(),
        created: Some(1),
        extra: Extra::default(),
    }
}

fn open(place: u32, content: Content) -> Event {
    Event::Open {
        choice: 0,
        place,
        part: Box::new(Part::new(content)),
    }
}

fn words(place: u32, text: &str) -> Event {
    Event::Delta {
        choice: 0,
        place,
        delta: Delta::Text(text.to_owned()),
    }
}

fn close(place: u32) -> Event {
    Event::Close { choice: 0, place }
}

fn stop() -> Event {
    Event::Stop {
        choice: 0,
        stop: Stop::new(StopReason::End),
    }
}

fn blank() -> Content {
    Content::Text {
        text: String::new(),
        citations: Vec::new(),
    }
}

/// What the client has of what was told: the texts.
fn text_of(events: &[Event]) -> String {
    let texts = events.iter().filter_map(|event| match event {
        Event::Open { part, .. } => part.as_text(),
        Event::Delta {
            delta: Delta::Text(text),
            ..
        } => Some(text),
        _ => None,
    });
    texts.collect()
}

/// What is told of an answer that breaks off after `said`, and of the rest that another stream says.
fn joined(said: &[Event], is_repeated: bool, rest: Vec<Event>) -> Vec<Event> {
    let (mut thread, mut out) = (Thread::default(), Vec::new());
    for event in said {
        thread.push(event.clone(), &mut out);
    }
    let begun = thread.told.trim_end().to_owned();
    thread.join(begun, is_repeated);
    for event in rest {
        thread.push(event, &mut out);
    }
    out
}

fn standing(said: Vec<Event>) -> Standing {
    let (mut thread, mut out) = (Thread::default(), Vec::new());
    for event in said {
        thread.push(event, &mut out);
    }
    assert!(!out.is_empty());
    thread.standing()
}

/// A stream that says this in one part.
fn speech(pieces: &[&str]) -> Vec<Event> {
    let mut events = vec![start(), open(0, blank())];
    events.extend(pieces.iter().map(|piece| words(0, piece)));
    events.extend([close(0), stop()]);
    events
}

#[test]
fn an_open_text_goes_on_with_one_start_and_one_part() {
    let said = [start(), open(0, blank()), words(0, "The sky ")];
    let told = joined(&said, false, speech(&[" is", " blue."]));
    let expected = [
        start(),
        open(0, blank()),
        words(0, "The sky "),
        words(0, "is"),
        words(0, " blue."),
        close(0),
        stop(),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_text_that_was_closed_is_gone_on_with_in_another_part() {
    let said = [start(), open(0, blank()), words(0, "One."), close(0)];
    let told = joined(&said, false, speech(&[" Two."]));
    assert_eq!(told[4..6], [open(1, blank()), words(1, " Two.")]);
    assert_eq!(text_of(&told), "One. Two.");
}

#[test]
fn what_is_no_text_ends_the_text_that_is_open() {
    let call = || Content::ToolCall(ToolCall::default());
    let said = [start(), open(0, blank()), words(0, "Let me look.")];
    let told = joined(&said, false, vec![start(), open(0, call()), close(0), stop()]);
    assert_eq!(told[3..], [close(0), open(1, call()), close(1), stop()]);
}

#[test]
fn an_echo_is_dropped_where_it_is_known_or_long_enough() {
    let long = "x1 ".repeat(40);
    for (said, is_repeated) in [("Short", true), (long.as_str(), false)] {
        let begun = [start(), open(0, blank()), words(0, said)];
        let again = said.trim_end();
        for at in [1, again.len() / 2, again.len()] {
            let (first, second) = again.split_at(at);
            let told = joined(&begun, is_repeated, speech(&[first, second, " end"]));
            assert_eq!(
                text_of(&told),
                format!("{} end", said.trim_end()),
                "{said:?} cut at {at}"
            );
        }
    }
}

/// The client's own beginning is part of what is said once more, and was not told by us.
#[test]
fn an_echo_begins_with_what_the_client_began() {
    let mut thread = Thread::default();
    let mut out = Vec::new();
    for event in [start(), open(0, blank()), words(0, "The sky ")] {
        thread.push(event, &mut out);
    }
    thread.join("Well: The sky".to_owned(), true);
    for event in speech(&["Well: Th", "e sky", " is"]) {
        thread.push(event, &mut out);
    }
    assert_eq!(text_of(&out), "The sky is");
}

#[test]
fn what_is_no_echo_is_told_whole() {
    let long = "x1 ".repeat(40);
    for (said, rest) in [
        ("ha", "ha"),
        ("no echo ", "no way"),
        (long.as_str(), "x1 x1 x2"),
        (long.as_str(), "x1 x1"),
    ] {
        let begun = [start(), open(0, blank()), words(0, said)];
        let told = joined(&begun, false, speech(&[rest]));
        assert_eq!(text_of(&told), format!("{said}{rest}"));
    }
}

#[test]
fn only_text_can_be_gone_on_with() {
    let thinking = || Content::Thinking(Thinking::default());
    let spoken = |text: &str| Standing::Spoken(text.to_owned());
    let text = || [open(1, blank()), words(1, "So ")].into_iter();
    let is_lost = |said: Vec<Event>| matches!(standing(said), Standing::Lost(_));
    assert_eq!(standing(vec![start()]), Standing::Silent);
    assert_eq!(standing(vec![open(0, blank()), words(0, " \n")]), Standing::Silent);
    assert_eq!(standing(text().collect()), spoken("So"));
    let thought = [open(0, thinking()), words(0, "Hm."), close(0)];
    assert!(is_lost(vec![open(0, thinking())]), "half a thought");
    assert!(is_lost(thought.to_vec()), "nothing but a thought");
    assert_eq!(standing(thought.into_iter().chain(text()).collect()), spoken("So"));
    for content in [
        Content::ToolCall(ToolCall::default()),
        Content::Refusal("No".to_owned()),
    ] {
        assert!(is_lost(text().chain([open(2, content)]).collect()));
    }
    assert!(is_lost(text().chain([stop()]).collect()), "its end was told");
    let other = Event::Open {
        choice: 1,
        place: 0,
        part: Box::new(Part::text("b")),
    };
    assert!(is_lost(text().chain([other]).collect()));
    assert!(is_lost(vec![open(0, blank()), words(0, &"x".repeat(PREFILL_MAX + 1))]));
}

/// A stream in a format, made by our own encoder, and its events cut apart.
fn stream_of(dialect: Dialect, events: Vec<Event>) -> Vec<Vec<u8>> {
    let mut encoder = StreamEncoder::new(dialect, Reply::default());
    let (mut out, mut losses) = (Vec::new(), Losses::default());
    for event in events {
        encoder.event(event, &mut out, &mut losses);
    }
    encoder.finish(&mut out, &mut losses);
    let text = String::from_utf8(out).unwrap();
    text.split_inclusive("\n\n")
        .map(|event| event.as_bytes().to_vec())
        .collect()
}

fn tap(dialect: Dialect) -> StreamTap {
    StreamTap::new(TapOptions {
        surface: Surface::new(Operation::Chat, dialect),
        hide_usage_chunk: false,
        json_array: false,
    })
}

/// The beginning of an answer to a request that does not begin it itself.
fn told(told: &str) -> Beginning {
    Beginning {
        told: told.to_owned(),
        ..Beginning::default()
    }
}

const FORMATS: [Dialect; 4] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
];

/// The texts that a client of a format reads from a whole stream of it, which is read to its end without an error.
fn read(dialect: Dialect, told: &[u8]) -> String {
    let mut tap = tap(dialect);
    let mut released = Vec::new();
    tap.push(bytes::Bytes::copy_from_slice(told), &mut released);
    let end = tap.finish(true);
    let StreamEnd::Complete { last } = end else {
        panic!("{dialect}: {end:?}: {}", String::from_utf8_lossy(told));
    };
    released.push(last);
    let (mut decoder, mut events) = (StreamDecoder::new(dialect), Vec::new());
    for event in crate::sse::events(&released.concat()) {
        let data = event.data.unwrap_or_default();
        if !data.is_empty() && *data != *b"[DONE]" {
            decoder.event(&data, &mut events).unwrap();
        }
    }
    decoder.finish(&mut events);
    let starts = events.iter().filter(|event| matches!(event, Event::Start { .. }));
    assert_eq!(starts.count(), 1, "{dialect}: one answer");
    let stops = events.iter().filter(|event| matches!(event, Event::Stop { .. }));
    assert_eq!(stops.count(), 1, "{dialect}: which ends once");
    text_of(&events)
}

/// Behind a stop reason nobody says more, although its event is held back while the connection may still bring another.
#[test]
fn what_was_said_to_its_end_is_whole_however_the_connection_ends() {
    for from in [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::Gemini] {
        for (to, half) in FORMATS.into_iter().flat_map(|to| [(to, ""), (to, "data: {\"ty")]) {
            let mut events = stream_of(from, speech(&["The sky ", "is blue."]));
            if from != Dialect::Gemini {
                events.pop();
            }
            let mut transcoder = Transcoder::recoverable(tap(from), to, Reply::default());
            let mut out = Vec::new();
            for event in events {
                transcoder.push(event.into(), &mut out);
            }
            transcoder.push(half.into(), &mut out);
            assert!(matches!(transcoder.standing(), Standing::Lost(_)), "{from} {to}");
            let StreamEnd::Complete { last } = transcoder.finish(false) else {
                panic!("{from} {to}: it is whole");
            };
            out.push(last);
            assert_eq!(read(to, &out.concat()), "The sky is blue.", "{from} {to}");
        }
    }
}

/// Gemini without `alt=sse`: one array, with one comma between any two elements.
#[test]
fn an_array_goes_on_as_one_array() {
    let reply = Reply {
        json_array: true,
        ..Reply::default()
    };
    let mut transcoder = Transcoder::recoverable(tap(Dialect::OpenaiChat), Dialect::Gemini, reply);
    let mut out = Vec::new();
    for event in stream_of(Dialect::OpenaiChat, speech(&["One ", "two "])).iter().take(3) {
        transcoder.push(event.clone().into(), &mut out);
    }
    let mut listening = Transcoder::listening(tap(Dialect::AnthropicMessages));
    for event in stream_of(Dialect::AnthropicMessages, speech(&[" three"])) {
        listening.push(event.into(), &mut Vec::new());
    }
    // It has ended before it is known that it goes on.
    assert!(matches!(listening.finish(true), StreamEnd::Complete { .. }));
    let Some(StreamEnd::Complete { last }) = transcoder.resume(listening, &told("One"), false, &mut out) else {
        panic!("it is whole");
    };
    out.push(last);
    let elements: Vec<serde_json::Value> = serde_json::from_slice(&out.concat()).unwrap();
    let said: String = elements
        .iter()
        .filter_map(|element| element["candidates"][0]["content"]["parts"][0]["text"].as_str())
        .collect();
    assert_eq!(said, "One two three");
}

proptest! {
    /// Any answer, cut anywhere, gone on with by a stream of any format, told to clients of any format.
    #[test]
    fn a_cut_answer_and_its_rest_are_the_answer(
        pieces in prop::collection::vec("[a-z]{1,5}[ \n]{0,2}", 2..24),
        cut in any::<prop::sample::Index>(),
        from in prop::sample::select(FORMATS.to_vec()),
        next in prop::sample::select(FORMATS.to_vec()),
        to in prop::sample::select(FORMATS.to_vec()),
        is_repeated in any::<bool>(),
    ) {
        let whole = pieces.concat();
        let refs: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let first = stream_of(from, speech(&refs));
        let mut transcoder = Transcoder::recoverable(tap(from), to, Reply::default());
        let mut out = Vec::new();
        for event in first.iter().take(cut.index(first.len())) {
            transcoder.push(event.clone().into(), &mut out);
        }
        let told = match transcoder.standing() {
            Standing::Silent => String::new(),
            Standing::Spoken(told) => told,
            // Its end was told to the encoder: nothing is missing but the terminator.
            Standing::Lost(_) => return Ok(()),
        };
        prop_assert!(whole.starts_with(&told));
        let beginning = self::told(&told);
        let rest = if is_repeated { whole.as_str() } else { &whole[told.len()..] };
        let rest: Vec<&str> = rest.split_inclusive(' ').collect();
        let mut listening = Transcoder::listening(tap(next));
        let mut nothing = Vec::new();
        let second = stream_of(next, speech(&rest));
        let (early, late) = second.split_at(second.len() / 2);
        for event in early {
            listening.push(event.clone().into(), &mut nothing);
        }
        prop_assert!(nothing.is_empty(), "nothing is told before it is known who goes on");
        prop_assert_eq!(transcoder.resume(listening, &beginning, is_repeated, &mut out), None);
        for event in late {
            transcoder.push(event.clone().into(), &mut out);
        }
        let StreamEnd::Complete { last } = transcoder.finish(true) else { panic!("it is whole") };
        out.push(last);
        prop_assert_eq!(read(to, &out.concat()), whole);
    }
}
