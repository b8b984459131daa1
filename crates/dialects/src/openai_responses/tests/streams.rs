//! Streams, in both directions.

use domain::Usage;
use serde_json::{Value, json};

use super::{collected, grammar, news, reply, streamed};
use crate::hub::{Content, Delta, Event, Part, Stop, StopReason, Thinking, ToolCall};

fn open(place: u32, part: Part) -> Event {
    Event::Open {
        choice: 0,
        place,
        part: Box::new(part),
    }
}

fn delta(place: u32, delta: Delta) -> Event {
    Event::Delta {
        choice: 0,
        place,
        delta,
    }
}

fn text(place: u32, more: &str) -> Event {
    delta(place, Delta::Text(more.to_owned()))
}

fn stop(reason: StopReason) -> Event {
    Event::Stop {
        choice: 0,
        stop: Stop::new(reason),
    }
}

fn thinking(is_summary: bool) -> Part {
    Part::new(Content::Thinking(Thinking {
        is_summary,
        ..Thinking::default()
    }))
}

fn call(id: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: Some(id.to_owned()),
        name: "f".to_owned(),
        ..ToolCall::default()
    }))
}

/// The events without the first two and the last, which hold the whole response.
fn inner(stream: &str) -> Vec<&str> {
    let blocks: Vec<&str> = stream.split_terminator("\n\n").collect();
    blocks[2..blocks.len() - 1].to_vec()
}

#[test]
fn a_text_is_told_byte_for_byte() {
    let events = vec![
        open(0, Part::text("")),
        text(0, "Hi"),
        text(0, " \"ä\""),
        stop(StopReason::End),
    ];
    let stream = streamed(events, &reply(&json!({})));
    grammar::check(&stream);
    assert_eq!(
        inner(&stream),
        [
            r#"event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_x1_0","type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
            r#"event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_x1_0","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}"#,
            r#"event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_x1_0","output_index":0,"content_index":0,"delta":"Hi","logprobs":[]}"#,
            r#"event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_x1_0","output_index":0,"content_index":0,"delta":" \"ä\"","logprobs":[]}"#,
            r#"event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":6,"item_id":"msg_x1_0","output_index":0,"content_index":0,"text":"Hi \"ä\"","logprobs":[]}"#,
            r#"event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":7,"item_id":"msg_x1_0","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi \"ä\""}}"#,
            r#"event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"id":"msg_x1_0","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi \"ä\""}]}}"#,
        ]
    );
}

#[test]
fn reasoning_texts_and_overlapping_calls_come_one_after_the_other() {
    let arguments = |place, more: &str| delta(place, Delta::Arguments(more.to_owned()));
    let close = |place| Event::Close { choice: 0, place };
    let events = vec![
        Event::Usage(Usage {
            input: 3,
            ..Usage::default()
        }),
        open(0, thinking(true)),
        text(0, "why"),
        close(0),
        open(1, thinking(false)),
        text(1, "raw"),
        close(1),
        open(2, Part::text("")),
        text(2, "look"),
        close(2),
        open(3, call("a")),
        open(4, call("b")),
        arguments(4, "{\"b\":"),
        arguments(3, "{\"a\":1}"),
        arguments(4, "2}"),
        stop(StopReason::Tool),
        Event::Usage(Usage {
            input: 3,
            output: 9,
            reasoning: 4,
            ..Usage::default()
        }),
    ];
    let response = grammar::check(&streamed(events, &reply(&json!({}))));
    let shape: Vec<_> = response["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["id"].as_str().unwrap(), item["arguments"].as_str()))
        .collect();
    assert_eq!(
        shape,
        [
            ("rs_x1_0", None),
            ("rs_x1_1", None),
            ("msg_x1_2", None),
            ("fc_x1_3", Some("{\"a\":1}")),
            ("fc_x1_4", Some("{\"b\":2}")),
        ]
    );
    assert_eq!(response["usage"]["output_tokens_details"]["reasoning_tokens"], 4);
    assert_eq!(
        (&response["usage"]["total_tokens"], &response["status"]),
        (&json!(12), &json!("completed"))
    );
}

#[test]
fn nothing_like_an_end_is_told_before_the_end() {
    let mut encoder = super::encode::StreamEncoder::new(reply(&json!({})));
    let (mut out, mut losses) = (Vec::new(), crate::hub::Losses::default());
    for event in [
        open(0, Part::text("a")),
        stop(StopReason::Length),
        Event::Usage(Usage::default()),
    ] {
        encoder.event(event, &mut out, &mut losses);
    }
    let so_far = String::from_utf8(out.clone()).unwrap();
    assert!(!so_far.contains("response.incomplete") && !so_far.contains("response.completed"));
    encoder.finish(&mut out, &mut losses);
    let response = grammar::check(&String::from_utf8(out).unwrap());
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
}

#[test]
fn what_is_kept_for_the_end_is_bounded() {
    let mut encoder = super::encode::StreamEncoder::new(reply(&json!({})));
    let (mut out, mut losses) = (Vec::new(), crate::hub::Losses::default());
    assert!(encoder.event(open(0, Part::text("")), &mut out, &mut losses));
    let big = "x".repeat(crate::limits::RETOLD_MAX / 2 + 1);
    assert!(encoder.event(text(0, &big), &mut out, &mut losses));
    assert!(!encoder.event(text(0, &big), &mut out, &mut losses));
}

const ADDED: &str = "response.output_item.added";
const DONE: &str = "response.output_item.done";

#[test]
fn the_official_order_is_read() {
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ab", "annotations": [{"type": "url_citation", "url": "u"}], "logprobs": []}]});
    let events = news(&[
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 3, "status": "in_progress", "tools": []}}),
        json!({"type": ADDED, "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "item_id": "rs_1", "summary_index": 0}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1", "summary_index": 0, "delta": "A"}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "item_id": "rs_1", "summary_index": 1}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1", "summary_index": 1, "delta": "B"}),
        json!({"type": DONE, "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}], "encrypted_content": "gA"}}),
        json!({"type": ADDED, "output_index": 1, "item": {"id": "msg_1", "type": "message", "content": []}}),
        json!({"type": "response.content_part.added", "output_index": 1, "item_id": "msg_1", "content_index": 0, "part": {"type": "output_text", "text": ""}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "item_id": "msg_1", "content_index": 0, "delta": "a", "logprobs": [{"token": "a"}]}),
        json!({"type": "response.output_text.delta", "output_index": 1, "item_id": "msg_1", "content_index": 0, "delta": "b", "logprobs": []}),
        json!({"type": "response.output_text.annotation.added", "output_index": 1, "item_id": "msg_1", "content_index": 0, "annotation_index": 0, "annotation": {"type": "url_citation", "url": "u"}}),
        json!({"type": "response.output_text.done", "output_index": 1, "item_id": "msg_1", "content_index": 0, "text": "ab"}),
        json!({"type": DONE, "output_index": 1, "item": message}),
        json!({"type": "response.completed", "response": {"status": "completed", "output": [message]}}),
    ]);
    assert!(matches!(&events[0], Event::Start { id, model, created: Some(3), .. } if id == "resp_1" && model == "m"));
    let answer = collected(events);
    let said = &answer.choices[0];
    assert!(
        matches!(&said.parts[0].content, Content::Thinking(t) if t.text == "A\n\nB" && t.signature.as_ref().unwrap().value == "rs_1.gA")
    );
    assert!(
        matches!(&said.parts[1].content, Content::Text { text, citations } if text == "ab" && citations.len() == 1)
    );
    assert_eq!(said.parts[1].item.as_deref(), Some("msg_1"));
    assert_eq!(said.logprobs, Some(json!({"content": [{"token": "a"}]})));
    assert_eq!(
        (said.parts.len(), said.stop.as_ref().unwrap().reason),
        (2, StopReason::End)
    );
}

#[test]
fn servers_that_leave_events_out_are_read() {
    let text_of = |events: Vec<Event>| {
        let answer = collected(events);
        let parts = answer.choices[0].parts.iter();
        parts
            .map(|part| match &part.content {
                Content::Text { text, .. } => text.clone(),
                Content::ToolCall(call) => format!("{}({})", call.name, call.arguments),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let message =
        |id: &str, text: &str| json!({"id": id, "type": "message", "content": [{"type": "output_text", "text": text}]});
    let call = json!({"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":1}"});
    // Deltas alone.
    assert_eq!(
        text_of(news(&[
            json!({"type": "response.output_text.delta", "delta": "a"}),
            json!({"type": "response.output_text.delta", "delta": "b"})
        ])),
        ["ab"]
    );
    // The end alone.
    assert_eq!(
        text_of(news(&[
            json!({"type": "response.completed", "response": {"output": [message("m", "x"), call]}})
        ])),
        ["x", "f({\"a\":1})"]
    );
    // Half of the deltas, then an end that names its items otherwise and leaves one out.
    let events = news(&[
        json!({"type": ADDED, "output_index": 0, "item": {"type": "reasoning", "id": "r"}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "item_id": "m", "delta": "ab"}),
        json!({"type": "response.completed", "response": {"output": [message("m", "abcd")]}}),
    ]);
    assert_eq!(text_of(events), ["abcd"]);
    let events = news(&[
        json!({"type": DONE, "output_index": 0, "item": {"type": "reasoning", "id": "r", "summary": []}}),
        json!({"type": DONE, "output_index": 1, "item": message("m", "ab")}),
        json!({"type": "response.completed", "response": {"output": [message("other", "ab")]}}),
    ]);
    assert_eq!(text_of(events), ["ab"]);
    // Arguments that are told when the item is added, in a delta, and when it is done.
    let events = news(&[
        json!({"type": ADDED, "output_index": 0, "item": call}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{\"a\":1}"}),
        json!({"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{\"a\":1}"}),
        json!({"type": DONE, "output_index": 0, "item": call}),
    ]);
    assert_eq!(text_of(events), ["f({\"a\":1})"]);
}

#[test]
fn a_failure_is_never_an_end() {
    let mut decoder = super::decode::StreamDecoder::default();
    let mut out = Vec::new();
    let failed = json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "oops"}}});
    assert!(decoder.event(failed.to_string().as_bytes(), &mut out).is_err());
    let error = json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"});
    assert!(decoder.event(error.to_string().as_bytes(), &mut out).is_err());
    assert!(decoder.event(b"5", &mut out).is_err() && decoder.event(b"{}", &mut out).is_ok());
}

#[test]
fn a_custom_tool_that_was_a_function_elsewhere_is_told_whole() {
    let request = json!({"tools": [{"type": "custom", "name": "f"}]});
    let arguments = |more: &str| delta(0, Delta::Arguments(more.to_owned()));
    let events = vec![
        open(0, call("a")),
        arguments("{\"input\":"),
        arguments("\"x\\ny\"}"),
        stop(StopReason::Tool),
    ];
    let stream = streamed(events, &reply(&request));
    let response = grammar::check(&stream);
    assert_eq!(response["output"][0]["input"], "x\ny");
    assert_eq!(
        stream.matches("event: response.custom_tool_call_input.delta").count(),
        1
    );
    let last: Value = response["output"][0]["type"].clone();
    assert_eq!(last, "custom_tool_call");
}
