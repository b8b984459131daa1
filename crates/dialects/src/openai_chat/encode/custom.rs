//! Custom tools that a target without them was offered as functions.
//!
//! A custom tool takes free text (`tools[].type` and `tool_calls[].type` are `custom`, with `custom: {name, input}`; openai
//! 3.57, `types/chat/chat_completion_message_custom_tool_call.py`). Other formats call functions, so it is offered there as
//! one with a single text, and its calls come back so. Its client declared no such function and could not dispatch the
//! call: it is told as what it was declared.

use serde_json::Value;

use crate::hub::{Content, Part, ToolCall, free_text};
use crate::openai_chat::decode::CUSTOM_TOOLS;
use crate::translate::Reply;

/// Whether a call of a function is one of a tool that was declared as custom.
fn is_of_custom(call: &ToolCall, reply: &Reply) -> bool {
    let declared = reply.echo.get(CUSTOM_TOOLS).and_then(Value::as_array);
    !call.custom && declared.is_some_and(|names| names.iter().any(|name| *name == *call.name))
}

/// The parts of a whole answer, with the calls of custom tools as such.
pub(super) fn called(mut parts: Vec<Part>, reply: &Reply) -> Vec<Part> {
    for part in &mut parts {
        if let Content::ToolCall(call) = &mut part.content
            && is_of_custom(call, reply)
        {
            call.custom = true;
            call.arguments = free_text(std::mem::take(&mut call.arguments));
        }
    }
    parts
}

/// Makes a call that begins one of a custom tool, if it is one; gives what it is called with so far, still wrapped.
pub(super) fn wrapped(call: &mut ToolCall, reply: &Reply) -> Option<String> {
    is_of_custom(call, reply).then(|| {
        call.custom = true;
        std::mem::take(&mut call.arguments)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hub::{Answer, Choice, Delta, Event, Losses};
    use crate::limits::WAITING_MAX;
    use crate::openai_chat::decode;
    use crate::openai_chat::encode::StreamEncoder;

    fn reply() -> Reply {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "custom", "custom": {"name": "sh"}}, {"type": "function", "function": {"name": "f"}}]});
        let request = decode::request(body.to_string().as_bytes()).unwrap();
        Reply {
            id: "ID".to_owned(),
            echo: request.echo,
            ..Reply::default()
        }
    }

    fn call(name: &str, arguments: &str) -> Part {
        Part::new(Content::ToolCall(ToolCall {
            id: Some(format!("call_{name}")),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            ..ToolCall::default()
        }))
    }

    #[test]
    fn a_whole_answer_calls_them_as_they_were_declared() {
        let parts = vec![call("sh", r#"{"input":"ls -l"}"#), call("f", r#"{"input":"x"}"#)];
        let answer = Answer {
            choices: vec![Choice {
                parts,
                ..Choice::default()
            }],
            ..Answer::default()
        };
        let told = crate::openai_chat::encode::answer(answer, &reply(), &mut Losses::default());
        let calls = &told["choices"][0]["message"]["tool_calls"];
        assert_eq!(
            calls[0],
            json!({"id": "call_sh", "type": "custom", "custom": {"name": "sh", "input": "ls -l"}})
        );
        assert_eq!(calls[1]["function"]["arguments"], r#"{"input":"x"}"#);
    }

    fn streamed(events: Vec<Event>) -> Vec<Value> {
        let (mut encoder, mut out, mut losses) = (StreamEncoder::new(reply()), Vec::new(), Losses::default());
        for event in events {
            assert!(encoder.event(event, &mut out, &mut losses));
        }
        encoder.finish(&mut out, &mut losses);
        let text = String::from_utf8(out).unwrap();
        let chunks = text.lines().filter_map(|line| line.strip_prefix("data: {"));
        let chunks = chunks.map(|chunk| serde_json::from_str::<Value>(&format!("{{{chunk}")).unwrap());
        chunks
            .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0).cloned())
            .collect()
    }

    fn events(name: &str, place: u32, pieces: &[&str]) -> Vec<Event> {
        let mut events = vec![Event::Open {
            choice: 0,
            place,
            part: Box::new(call(name, "")),
        }];
        events.extend(pieces.iter().map(|piece| Event::Delta {
            choice: 0,
            place,
            delta: Delta::Arguments((*piece).to_owned()),
        }));
        events
    }

    #[test]
    fn a_stream_tells_the_input_when_it_is_whole() {
        let mut all = events("sh", 0, &[r#"{"inp"#, r#"ut":"ls\n"#]);
        all.extend(events("f", 1, &["{}"]));
        all.extend(events("sh", 0, &[]).into_iter().skip(1));
        all.push(Event::Delta {
            choice: 0,
            place: 0,
            delta: Delta::Arguments(r#"-l"}"#.to_owned()),
        });
        all.push(Event::Close { choice: 0, place: 1 });
        all.push(Event::Close { choice: 0, place: 0 });
        assert_eq!(
            streamed(all),
            [
                json!({"index": 0, "id": "call_sh", "type": "custom", "custom": {"name": "sh", "input": ""}}),
                json!({"index": 1, "id": "call_f", "type": "function", "function": {"name": "f", "arguments": ""}}),
                json!({"index": 1, "function": {"arguments": "{}"}}),
                json!({"index": 0, "custom": {"input": "ls\n-l"}}),
            ]
        );
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let (mut encoder, mut out, mut losses) = (StreamEncoder::new(reply()), Vec::new(), Losses::default());
        let piece = "x".repeat(WAITING_MAX / 2);
        let mut all = events("sh", 0, &[&piece, &piece, "y"]).into_iter();
        let mut tell = || encoder.event(all.next().unwrap(), &mut out, &mut losses);
        assert!(tell() && tell() && tell());
        assert!(!tell());
    }

    #[test]
    fn calls_of_the_own_kind_stay_as_they_are() {
        let mut native = call("sh", r#"{"input":"ls"}"#);
        if let Content::ToolCall(call) = &mut native.content {
            call.custom = true;
        }
        let parts = called(vec![native], &reply());
        assert!(matches!(&parts[0].content, Content::ToolCall(call) if call.arguments == r#"{"input":"ls"}"#));
    }
}
