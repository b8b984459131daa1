//! OpenAI's Responses API. Its streams number every event, repeat the whole response at both ends, report usage always
//! and have no `[DONE]`; a function call's `call_id` is not its item's id.

use bytes::Bytes;

use super::answer::{Answer, Reporting, Stop, ToolCall};
use super::asked::Asked;
use super::json::{Object, Text, object};
use super::rendered::Rendered;
use super::{CREATED, json};

pub(crate) fn render(call: u64, asked: &Asked, answer: &Answer) -> Rendered {
    let scribe = Scribe {
        call,
        asked,
        answer,
        sequence: 0,
        events: Vec::new(),
    };
    let rendered = if asked.stream.is_some() {
        scribe.stream()
    } else {
        Rendered::json(&scribe.response(Phase::Done, &scribe.items()))
    };
    rendered.with_headers([
        ("x-request-id", format!("req_tk_{call}")),
        ("openai-version", "2020-10-01".to_owned()),
    ])
}

/// The in-band error of a Responses stream.
pub(crate) fn error_event() -> Bytes {
    let error = object! {
        "type": "error", "sequence_number": 9_999, "code": "server_error",
        "message": "The server had an error while processing your request.", "param": (),
    };
    Bytes::from(format!("event: error\ndata: {}\n\n", error.get()))
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    InProgress,
    Done,
}

struct Scribe<'a> {
    call: u64,
    asked: &'a Asked,
    answer: &'a Answer,
    sequence: u64,
    events: Vec<Bytes>,
}

impl Scribe<'_> {
    fn response(&self, phase: Phase, output: &[Text]) -> Text {
        let done = phase == Phase::Done;
        let cut = match self.answer.stop {
            Stop::Length => Some("max_output_tokens"),
            Stop::Filter => Some("content_filter"),
            Stop::End | Stop::ToolCalls => None,
        };
        let status = match (done, cut) {
            (false, _) => "in_progress",
            (true, None) => "completed",
            (true, Some(_)) => "incomplete",
        };
        let details = cut.filter(|_| done).map(|reason| object! { "reason": reason });
        let usage = (done && self.answer.reporting != Reporting::Never).then(|| usage(self.answer));
        object! {
            "id": format!("resp_tk_{}", self.call), "object": "response", "created_at": CREATED, "status": status,
            "background": false, "error": (), "incomplete_details": details, "instructions": self.asked.instructions,
            "max_output_tokens": (),
            "model": self.answer.model.as_deref().unwrap_or(&self.asked.model),
            "output": output, "parallel_tool_calls": true, "previous_response_id": (),
            "reasoning": object! { "effort": (), "summary": () }, "service_tier": "default", "store": true,
            "temperature": 1.0, "text": object! { "format": object! { "type": "text" } }, "tool_choice": "auto",
            "tools": [(); 0], "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": (),
            "metadata": object! {},
        }
    }

    fn items(&self) -> Vec<Text> {
        let mut items: Vec<Text> = self
            .answer
            .thinking
            .iter()
            .map(|text| self.reasoning_item(Some(text)))
            .collect();
        if self.says_something() {
            items.push(self.message_item(Some(&self.answer.whole_text())));
        }
        let calls = self.answer.tool_calls.iter().enumerate();
        items.extend(calls.map(|(index, call)| self.call_item(index, call, Phase::Done)));
        items
    }

    fn says_something(&self) -> bool {
        self.answer.pieces.iter().any(|piece| !piece.is_empty()) || self.answer.tool_calls.is_empty()
    }

    fn reasoning_item(&self, text: Option<&str>) -> Text {
        let summary: Vec<Text> = text.map(summary_part).into_iter().collect();
        object! { "id": self.item_id("rs", 0), "type": "reasoning", "summary": summary }
    }

    fn message_item(&self, text: Option<&str>) -> Text {
        let content: Vec<Text> = text.map(text_part).into_iter().collect();
        let status = if text.is_some() { "completed" } else { "in_progress" };
        object! {
            "id": self.item_id("msg", 0), "type": "message", "status": status, "content": content, "role": "assistant",
        }
    }

    fn call_item(&self, index: usize, call: &ToolCall, phase: Phase) -> Text {
        let (status, arguments) = match phase {
            Phase::InProgress => ("in_progress", String::new()),
            Phase::Done => ("completed", json::text(&call.arguments)),
        };
        object! {
            "id": self.item_id("fc", index), "type": "function_call", "status": status, "arguments": arguments,
            "call_id": call.id, "name": call.name,
        }
    }

    fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_tk_{}_{index}", self.call)
    }

    fn stream(mut self) -> Rendered {
        for kind in ["response.created", "response.in_progress"] {
            let response = self.response(Phase::InProgress, &[]);
            self.event(kind, |event| event.field("response", &response));
        }
        let mut output = 0;
        if let Some(thinking) = self.answer.thinking.clone() {
            self.stream_reasoning(output, &thinking);
            output += 1;
        }
        if self.says_something() {
            self.stream_message(output);
            output += 1;
        }
        for (index, call) in self.answer.tool_calls.clone().iter().enumerate() {
            self.stream_call(output + index, index, call);
        }
        let finish = self.events.len();
        let response = self.response(Phase::Done, &self.items());
        let kind = match self.answer.stop {
            Stop::Length | Stop::Filter => "response.incomplete",
            Stop::End | Stop::ToolCalls => "response.completed",
        };
        self.event(kind, |event| event.field("response", &response));
        Rendered {
            events: self.events,
            streamed: true,
            finish,
            terminator: finish,
            error_event: error_event(),
            ..Rendered::whole(200, "text/event-stream; charset=utf-8", Bytes::new())
        }
    }

    fn stream_reasoning(&mut self, output: usize, text: &str) {
        let (id, open, done) = (
            self.item_id("rs", 0),
            self.reasoning_item(None),
            self.reasoning_item(Some(text)),
        );
        self.item_event("response.output_item.added", output, &open);
        let place = |event: &mut Object| {
            event.field("item_id", &id);
            event.field("output_index", &output);
            event.field("summary_index", &0);
        };
        self.event("response.reasoning_summary_part.added", |event| {
            place(event);
            event.field("part", &summary_part(""));
        });
        self.event("response.reasoning_summary_text.delta", |event| {
            place(event);
            event.field("delta", text);
        });
        self.event("response.reasoning_summary_text.done", |event| {
            place(event);
            event.field("text", text);
        });
        self.event("response.reasoning_summary_part.done", |event| {
            place(event);
            event.field("part", &summary_part(text));
        });
        self.item_event("response.output_item.done", output, &done);
    }

    fn stream_message(&mut self, output: usize) {
        let text = self.answer.whole_text();
        let (id, open, done) = (
            self.item_id("msg", 0),
            self.message_item(None),
            self.message_item(Some(&text)),
        );
        self.item_event("response.output_item.added", output, &open);
        let place = |event: &mut Object| {
            event.field("item_id", &id);
            event.field("output_index", &output);
            event.field("content_index", &0);
        };
        self.event("response.content_part.added", |event| {
            place(event);
            event.field("part", &text_part(""));
        });
        for piece in self.answer.pieces.clone() {
            self.event("response.output_text.delta", |event| {
                place(event);
                event.field("delta", &piece);
                event.field("logprobs", &[(); 0]);
            });
        }
        self.event("response.output_text.done", |event| {
            place(event);
            event.field("text", &text);
            event.field("logprobs", &[(); 0]);
        });
        self.event("response.content_part.done", |event| {
            place(event);
            event.field("part", &text_part(&text));
        });
        self.item_event("response.output_item.done", output, &done);
    }

    fn stream_call(&mut self, output: usize, index: usize, call: &ToolCall) {
        let id = self.item_id("fc", index);
        let (open, done) = (
            self.call_item(index, call, Phase::InProgress),
            self.call_item(index, call, Phase::Done),
        );
        self.item_event("response.output_item.added", output, &open);
        for fragment in call.fragments() {
            self.event("response.function_call_arguments.delta", |event| {
                event.field("item_id", &id);
                event.field("output_index", &output);
                event.field("delta", &fragment);
            });
        }
        self.event("response.function_call_arguments.done", |event| {
            event.field("item_id", &id);
            event.field("output_index", &output);
            event.field("arguments", &json::text(&call.arguments));
        });
        self.item_event("response.output_item.done", output, &done);
    }

    fn item_event(&mut self, kind: &str, output: usize, item: &Text) {
        self.event(kind, |event| {
            event.field("output_index", &output);
            event.field("item", item);
        });
    }

    fn event(&mut self, kind: &str, fill: impl FnOnce(&mut Object)) {
        let mut event = Object::default();
        event.field("type", kind);
        event.field("sequence_number", &self.sequence);
        fill(&mut event);
        self.sequence += 1;
        self.events.push(Bytes::from(format!(
            "event: {kind}\ndata: {}\n\n",
            event.finish().get()
        )));
    }
}

fn text_part(text: &str) -> Text {
    object! { "type": "output_text", "annotations": [(); 0], "logprobs": [(); 0], "text": text }
}

fn summary_part(text: &str) -> Text {
    object! { "type": "summary_text", "text": text }
}

fn usage(answer: &Answer) -> Text {
    if let Some(raw) = &answer.usage_raw {
        return Object::verbatim(raw);
    }
    let usage = &answer.usage;
    let mut input = Object::default();
    input.field("cached_tokens", &usage.cache_read);
    if usage.cache_write() != 0 {
        input.field("cache_write_tokens", &usage.cache_write());
    }
    object! {
        "input_tokens": usage.prompt(), "input_tokens_details": input.finish(), "output_tokens": usage.output,
        "output_tokens_details": object! { "reasoning_tokens": usage.reasoning },
        "total_tokens": usage.prompt() + usage.output,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::request::Request;
    use super::*;

    fn events(answer: &Answer) -> Vec<(String, Value)> {
        let asked = Asked::read(&Request::of(
            "POST",
            "/v1/responses",
            &[],
            r#"{"model":"m","stream":true}"#,
        ));
        let rendered = render(1, &asked, answer);
        let events = crate::sse::events(&rendered.events.concat());
        events
            .iter()
            .map(|event| (event.name.clone().unwrap(), event.json().unwrap()))
            .collect()
    }

    #[test]
    fn text_and_call_come_in_order_with_numbers() {
        let answer = Answer::text("a b").thinking("hm").and_tool_call("f", json!({"x": 1}));
        let events = events(&answer);
        let mut kinds: Vec<_> = events
            .iter()
            .map(|(kind, _)| kind.trim_start_matches("response."))
            .collect();
        kinds.dedup();
        let expected = "created in_progress output_item.added reasoning_summary_part.added reasoning_summary_text.delta \
            reasoning_summary_text.done reasoning_summary_part.done output_item.done output_item.added \
            content_part.added output_text.delta output_text.done content_part.done output_item.done output_item.added \
            function_call_arguments.delta function_call_arguments.done output_item.done completed";
        assert_eq!(kinds.join(" "), expected);
        for (at, (kind, event)) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], at as u64);
            assert_eq!(event["type"], kind.as_str());
        }
        let last = &events.last().unwrap().1["response"];
        assert_eq!(last["output"][1]["content"][0]["text"], "a b");
        assert_eq!(last["output"][2]["call_id"], "call_tk_0");
        assert_eq!(last["usage"]["total_tokens"], 19);
    }

    #[test]
    fn an_answer_cut_by_length_is_incomplete() {
        let events = events(&Answer::text("a").stop(Stop::Length));
        let (kind, last) = events.last().unwrap();
        assert_eq!(kind, "response.incomplete");
        assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
    }
}
