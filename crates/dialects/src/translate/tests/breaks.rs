//! Where a stream that may be taken up elsewhere breaks off: what stands there decides whether anybody can go on with it.

use bytes::Bytes;
use domain::{Dialect, Operation, Surface};
use serde_json::json;

use crate::stream::{StreamEnd, StreamTap, TapOptions, TapState};
use crate::translate::{Asked, Beginning, Question, Reply, Standing, Transcoder};

fn tap() -> StreamTap {
    StreamTap::new(TapOptions {
        surface: Surface::new(Operation::Chat, Dialect::OpenaiChat),
        hide_usage_chunk: false,
        json_array: false,
    })
}

fn recoverable(client: Dialect) -> Transcoder {
    Transcoder::recoverable(tap(), client, Reply::default())
}

fn chunk(rest: &str) -> Bytes {
    format!("data: {{\"id\":\"a\",\"model\":\"m\",{rest}}}\n\n").into()
}

fn content(text: &str) -> Bytes {
    chunk(&format!(r#""choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]"#))
}

fn spoken(text: &str) -> Standing {
    Standing::Spoken(text.to_owned())
}

fn beginning(told: &str) -> Beginning {
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Go"}]});
    let asked = Asked {
        surface: Surface::new(Operation::Chat, Dialect::OpenaiChat),
        model: "m",
        stream: true,
        json_array: false,
        id: "7",
        created: 1,
    };
    let question = Question::read(&asked, body.to_string().as_bytes()).unwrap();
    question.beginning(told.to_owned(), false).unwrap()
}

/// OpenRouter says a failure with an end beside it
/// (<https://openrouter.ai/docs/api-reference/errors>, "Mid-Stream Errors").
#[test]
fn an_end_that_is_said_with_an_error_is_none() {
    let error = r#""error":{"code":502,"message":"Provider disconnected"},"#;
    for (error, word, is_end) in [
        (error, "error", false),
        (error, "stop", false),
        ("", "error", false),
        ("", "stop", true),
    ] {
        for client in [Dialect::OpenaiChat, Dialect::AnthropicMessages] {
            let mut stream = recoverable(client);
            stream.push(content("Look"), &mut Vec::new());
            let last = format!(r#"{error}"choices":[{{"index":0,"delta":{{"content":""}},"finish_reason":"{word}"}}]"#);
            let state = stream.push(chunk(&last), &mut Vec::new());
            assert_eq!(matches!(state, TapState::Broken(_)), !is_end, "{error} {word}");
            let expected = if is_end {
                Standing::Lost("it had come to its end")
            } else {
                spoken("Look")
            };
            assert_eq!(stream.standing(), expected, "{client}: {error} {word}");
        }
    }
}

#[test]
fn an_error_behind_the_end_is_no_break() {
    let mut stream = recoverable(Dialect::OpenaiChat);
    stream.push(content("Look"), &mut Vec::new());
    let end = r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#;
    stream.push(chunk(end), &mut Vec::new());
    stream.push(chunk(r#""error":{"code":502,"message":"m"}"#), &mut Vec::new());
    assert_eq!(stream.standing(), Standing::Lost("it had come to its end"));
}

/// The client has it as it came, and nothing that is told anew can stand behind it.
#[test]
fn nobody_goes_on_behind_half_a_character_that_passed() {
    let mut stream = recoverable(Dialect::OpenaiChat);
    stream.push(content("Look: "), &mut Vec::new());
    stream.push(content("\\ud83d"), &mut Vec::new());
    assert!(matches!(stream.standing(), Standing::Lost(_)));
    stream.push(content("\\ude00"), &mut Vec::new());
    assert_eq!(stream.standing(), spoken("Look: 😀"), "it is whole now");
}

#[test]
fn half_a_character_that_was_told_to_nobody_is_left_out() {
    for rest in [&["😀 is"][..], &["\\ud83d", "\\ude00 is"], &["\\ud83d\\ude00 is"]] {
        let (mut stream, mut out) = (recoverable(Dialect::AnthropicMessages), Vec::new());
        stream.push(content("Look: "), &mut out);
        stream.push(content("\\ud83d"), &mut out);
        assert_eq!(stream.standing(), spoken("Look:"));
        let mut next = Transcoder::listening(tap());
        let (first, more) = rest.split_first().unwrap();
        next.push(content(first), &mut Vec::new());
        stream.resume(next, &beginning("Look:"), false, &mut out);
        for text in more {
            stream.push(content(text), &mut out);
        }
        let end = r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#;
        stream.push(chunk(end), &mut out);
        let StreamEnd::Complete { last } = stream.finish(true) else {
            panic!("{rest:?}")
        };
        out.push(last);
        let told = String::from_utf8(out.concat()).unwrap();
        assert!(told.contains("😀 is"), "{rest:?}: {told}");
        assert!(!told.contains('\u{fffd}'), "{rest:?}: {told}");
    }
}
