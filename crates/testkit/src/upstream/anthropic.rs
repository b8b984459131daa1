//! Anthropic's messages: blocks opened and closed by index, a ping among them, input usage at the start and cumulative
//! output usage near the end.

use bytes::Bytes;

use super::answer::{Answer, Reporting, Stop};
use super::asked::{Asked, Operation};
use super::json::{Object, Text, object};
use super::refusal::Refusal;
use super::rendered::Rendered;

pub(crate) fn render(call: u64, asked: &Asked, answer: &Answer) -> Rendered {
    let scribe = Scribe { call, asked, answer };
    let rendered = match asked.operation {
        Operation::Chat if asked.stream.is_some() => scribe.stream(),
        Operation::Chat => Rendered::json(&scribe.message()),
        Operation::CountTokens => Rendered::json(&object! { "input_tokens": answer.usage.prompt() }),
        Operation::Models => Rendered::json(&models(&answer.models)),
        Operation::Model => Rendered::json(&model(&asked.model)),
        _ => return Refusal::no_such_path().render(call, asked),
    };
    rendered.with_headers([
        ("request-id", format!("req_tk_{call}")),
        (
            "anthropic-organization-id",
            "00000000-0000-0000-0000-000000000000".to_owned(),
        ),
        ("anthropic-ratelimit-requests-limit", "4000".to_owned()),
        ("anthropic-ratelimit-requests-remaining", "3999".to_owned()),
        ("anthropic-ratelimit-requests-reset", "2026-11-20T12:00:00Z".to_owned()),
    ])
}

/// The in-band error of a message stream.
pub(crate) fn error_event() -> Bytes {
    let error = object! { "type": "overloaded_error", "message": "Overloaded" };
    event("error", &object! { "type": "error", "error": error })
}

fn event(kind: &str, data: &Text) -> Bytes {
    Bytes::from(format!("event: {kind}\ndata: {}\n\n", data.get()))
}

fn models(ids: &[String]) -> Text {
    let data: Vec<Text> = ids.iter().map(|id| model(id)).collect();
    object! { "data": data, "has_more": false, "first_id": ids.first(), "last_id": ids.last() }
}

fn model(id: &str) -> Text {
    object! { "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" }
}

struct Scribe<'a> {
    call: u64,
    asked: &'a Asked,
    answer: &'a Answer,
}

/// Signatures must come back verbatim, so this one has characters that careless handling would change.
const SIGNATURE: &str = "ErUBCkYIARgCIkD+scripted/tk==";

impl Scribe<'_> {
    fn message(&self) -> Text {
        let answer = self.answer;
        let mut content: Vec<Text> = Vec::new();
        if let Some(thinking) = &answer.thinking {
            content.push(object! { "type": "thinking", "thinking": thinking, "signature": SIGNATURE });
        }
        if self.says_something() {
            content.push(object! { "type": "text", "text": answer.whole_text() });
        }
        for call in &answer.tool_calls {
            content.push(object! { "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments });
        }
        let mut message = self.envelope(&content, Some(stop_reason(answer)));
        if answer.reporting != Reporting::Never {
            message.field("usage", &usage(answer, answer.usage.output));
        }
        message.finish()
    }

    fn says_something(&self) -> bool {
        self.answer.pieces.iter().any(|piece| !piece.is_empty()) || self.answer.tool_calls.is_empty()
    }

    fn envelope(&self, content: &[Text], stop: Option<&str>) -> Object {
        let mut message = Object::default();
        message.field("id", &format!("msg_tk_{}", self.call));
        message.field("type", "message");
        message.field("role", "assistant");
        message.field("model", self.answer.model.as_deref().unwrap_or(&self.asked.model));
        message.field("content", content);
        message.field("stop_reason", &stop);
        message.field("stop_sequence", &());
        message
    }

    fn stream(&self) -> Rendered {
        let mut events = vec![event("message_start", &self.message_start())];
        for (index, (start, deltas)) in self.blocks().into_iter().enumerate() {
            let data = object! { "type": "content_block_start", "index": index, "content_block": start };
            events.push(event("content_block_start", &data));
            if index == 0 {
                events.push(event("ping", &object! { "type": "ping" }));
            }
            for delta in deltas {
                let data = object! { "type": "content_block_delta", "index": index, "delta": delta };
                events.push(event("content_block_delta", &data));
            }
            let data = object! { "type": "content_block_stop", "index": index };
            events.push(event("content_block_stop", &data));
        }
        let finish = events.len();
        if self.answer.reporting == Reporting::OnEvery {
            let half = self.answer.usage.output / 2;
            events.push(event("message_delta", &self.message_delta(None, half)));
        }
        let stop = Some(stop_reason(self.answer));
        events.push(event(
            "message_delta",
            &self.message_delta(stop, self.answer.usage.output),
        ));
        let terminator = events.len();
        events.push(event("message_stop", &object! { "type": "message_stop" }));
        Rendered {
            events,
            streamed: true,
            finish,
            terminator,
            error_event: error_event(),
            ..Rendered::whole(200, "text/event-stream; charset=utf-8", Bytes::new())
        }
        .with_headers([("cache-control", "no-cache".to_owned())])
    }

    fn message_start(&self) -> Text {
        let mut message = self.envelope(&[], None);
        if self.answer.reporting != Reporting::Never {
            message.field("usage", &usage(self.answer, 1));
        }
        object! { "type": "message_start", "message": message.finish() }
    }

    fn message_delta(&self, stop: Option<&str>, output: i64) -> Text {
        let mut data = Object::default();
        data.field("type", "message_delta");
        data.field("delta", &object! { "stop_reason": stop, "stop_sequence": () });
        if self.answer.reporting != Reporting::Never {
            let usage = self
                .answer
                .usage_raw
                .as_ref()
                .map_or_else(|| object! { "output_tokens": output }, Object::verbatim);
            data.field("usage", &usage);
        }
        data.finish()
    }

    /// Each block: how it opens, and its deltas.
    fn blocks(&self) -> Vec<(Text, Vec<Text>)> {
        let answer = self.answer;
        let mut blocks = Vec::new();
        if let Some(thinking) = &answer.thinking {
            let start = object! { "type": "thinking", "thinking": "", "signature": "" };
            let deltas = vec![
                object! { "type": "thinking_delta", "thinking": thinking },
                object! { "type": "signature_delta", "signature": SIGNATURE },
            ];
            blocks.push((start, deltas));
        }
        if self.says_something() {
            let deltas = answer
                .pieces
                .iter()
                .map(|piece| object! { "type": "text_delta", "text": piece })
                .collect();
            blocks.push((object! { "type": "text", "text": "" }, deltas));
        }
        for call in &answer.tool_calls {
            let start = object! { "type": "tool_use", "id": call.id, "name": call.name, "input": object! {} };
            let pieces = std::iter::once(String::new()).chain(call.fragments());
            let deltas = pieces
                .map(|json| object! { "type": "input_json_delta", "partial_json": json })
                .collect();
            blocks.push((start, deltas));
        }
        blocks
    }
}

fn stop_reason(answer: &Answer) -> &'static str {
    match answer.ends_as() {
        Stop::End => "end_turn",
        Stop::Length => "max_tokens",
        Stop::ToolCalls => "tool_use",
        Stop::Filter => "refusal",
    }
}

fn usage(answer: &Answer, output: i64) -> Text {
    if let Some(raw) = &answer.usage_raw {
        return Object::verbatim(raw);
    }
    let usage = &answer.usage;
    let split = object! {
        "ephemeral_5m_input_tokens": usage.cache_write_5m, "ephemeral_1h_input_tokens": usage.cache_write_1h,
    };
    object! {
        "input_tokens": usage.input, "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.cache_read, "cache_creation": split, "output_tokens": output,
        "service_tier": "standard",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::answer::Usage;
    use super::super::request::Request;
    use super::*;

    fn stream(answer: &Answer) -> Vec<Value> {
        let asked = Asked::read(&Request::of(
            "POST",
            "/v1/messages",
            &[],
            r#"{"model":"c","stream":true}"#,
        ));
        let rendered = render(1, &asked, answer);
        let events = crate::sse::events(&rendered.events.concat());
        for event in &events {
            assert_eq!(event.json().unwrap()["type"], event.name.as_deref().unwrap());
        }
        assert_eq!(events[rendered.terminator].name.as_deref(), Some("message_stop"));
        events.iter().filter_map(crate::sse::Event::json).collect()
    }

    #[test]
    fn blocks_open_and_close_by_contiguous_index() {
        let answer = Answer::text("a b").thinking("hm").and_tool_call("f", json!({"x": "y"}));
        let events = stream(&answer);
        let (mut open, mut next, mut json) = (None, 0, String::new());
        for event in &events {
            let index = event["index"].as_u64();
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    assert_eq!((open, index), (None, Some(next)));
                    open = index;
                }
                "content_block_delta" => {
                    assert_eq!(index, open);
                    json.push_str(event["delta"]["partial_json"].as_str().unwrap_or_default());
                }
                "content_block_stop" => {
                    assert_eq!(index, open.take());
                    next += 1;
                }
                _ => {}
            }
        }
        assert_eq!((next, json.as_str()), (3, r#"{"x":"y"}"#));
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn usage_starts_with_the_input_and_ends_with_the_output() {
        let usage = Usage {
            cache_read: 5,
            cache_write_5m: 2,
            cache_write_1h: 3,
            ..Usage::of(4, 9)
        };
        let events = stream(&Answer::text("a").usage(usage));
        let start = &events[0]["message"]["usage"];
        assert_eq!(
            (
                &start["input_tokens"],
                &start["cache_read_input_tokens"],
                &start["cache_creation_input_tokens"]
            ),
            (&json!(4), &json!(5), &json!(5))
        );
        assert_eq!(start["cache_creation"]["ephemeral_1h_input_tokens"], 3);
        assert_eq!(events[events.len() - 2]["usage"], json!({"output_tokens": 9}));
    }
}
