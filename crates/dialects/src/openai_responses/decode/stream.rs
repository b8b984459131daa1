//! An upstream's stream.
//!
//! The official order is created, items one after the other, each with its parts, deltas, and every text once more when it
//! is whole. Compatible servers leave out what they like. So a part is opened by whatever names it first, and every event
//! that has a whole text (`….done`, `output_item.done`, the response at the end) tells what no delta has told: what was
//! told before is known by its length.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{list_of, text_of};
use super::answer;
use super::content::{self, PARAGRAPH};
use crate::answer::Nonsense;
use crate::hub::{Content, Delta, Event, Part, Stop, StopReason, Thinking, ToolCall, nested};
use crate::provider_error::ProviderError;

mod items;

use items::{Address, Items, Slot};

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    has_started: bool,
    asks_tool: bool,
    stop: Option<Stop>,
    items: Items,
}

/// What decides how an event is read.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
}

/// A piece of text.
#[derive(Debug, Deserialize)]
struct News<'a> {
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(default)]
    content_index: Option<u64>,
    #[serde(default)]
    summary_index: Option<u64>,
    #[serde(borrow, default)]
    item_id: Option<Cow<'a, str>>,
    #[serde(default)]
    delta: Option<String>,
    #[serde(default)]
    logprobs: Option<Vec<Value>>,
}

const UNREADABLE: Nonsense = Nonsense::NotJson {
    offset: 0,
    what: "expected an event",
};

impl StreamDecoder {
    /// Reads one event.
    pub(crate) fn event(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let head: Head<'_> = serde_json::from_slice(data).map_err(|_| UNREADABLE)?;
        let kind = head.kind.as_deref().unwrap_or_default();
        match kind {
            "response.output_text.delta"
            | "response.refusal.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning_summary_text.delta"
            | "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta" => {
                let news: News<'_> = serde_json::from_slice(data).map_err(|_| UNREADABLE)?;
                self.start(None, out);
                self.grow(kind, news, out);
            }
            _ => {
                let event = nested::read(data).map_err(|_| UNREADABLE)?;
                self.rare(kind, event, out)?;
            }
        }
        Ok(())
    }

    /// Closes what is open, and tells why it ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.start(None, out);
        self.items.close_all(out);
        let reason = if self.asks_tool {
            StopReason::Tool
        } else {
            StopReason::End
        };
        let stop = self.stop.take().unwrap_or_else(|| Stop::new(reason));
        out.push(Event::Stop { choice: 0, stop });
    }

    fn start(&mut self, response: Option<Map<String, Value>>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let response = response.unwrap_or_default();
        out.push(Event::Start {
            id: answer::text(&response, "id"),
            model: answer::text(&response, "model"),
            created: answer::created(&response),
            extra: answer::extra(response),
        });
    }

    /// A piece of something.
    fn grow(&mut self, kind: &str, news: News<'_>, out: &mut Vec<Event>) {
        let address = Address {
            index: news.output_index,
            id: news.item_id.as_deref(),
        };
        let text = news.delta.unwrap_or_default();
        let content = news.content_index.unwrap_or_default();
        match kind {
            "response.output_text.delta" => {
                let items = &mut self.items;
                items.tell(address, Slot::Content(content), empty_text, Delta::Text(text), out);
                items.logprobs(address, Slot::Content(content), news.logprobs.unwrap_or_default(), out);
            }
            "response.refusal.delta" => {
                let delta = Delta::Text(text);
                self.items
                    .tell(address, Slot::Content(content), empty_refusal, delta, out);
            }
            "response.reasoning_text.delta" => {
                self.items
                    .tell(address, Slot::Raw, empty_reasoning, Delta::Text(text), out);
            }
            "response.reasoning_summary_text.delta" => {
                self.paragraph(address, news.summary_index, out);
                self.items
                    .tell(address, Slot::Summary, empty_summary, Delta::Text(text), out);
            }
            _ => {
                self.asks_tool = true;
                let custom = kind == "response.custom_tool_call_input.delta";
                let open = || empty_call(custom);
                self.items.tell(address, Slot::Call, open, Delta::Arguments(text), out);
            }
        }
    }

    /// The pieces of a summary are paragraphs of one part.
    fn paragraph(&mut self, address: Address<'_>, index: Option<u64>, out: &mut Vec<Event>) {
        if self.items.is_next_summary(address, index.unwrap_or_default()) {
            let delta = Delta::Text(PARAGRAPH.to_owned());
            self.items.tell(address, Slot::Summary, empty_summary, delta, out);
        }
    }

    /// Everything that is not told often.
    fn rare(&mut self, kind: &str, mut event: Value, out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let id = event.get("item_id").and_then(Value::as_str).map(str::to_owned);
        let address = Address {
            index: event.get("output_index").and_then(Value::as_u64),
            id: id.as_deref(),
        };
        let slot = Slot::Content(event.get("content_index").and_then(Value::as_u64).unwrap_or_default());
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => self.start(response(&mut event), out),
            "response.failed" | "error" => return Err(failure(&event)),
            "response.completed" | "response.incomplete" => self.end(event, out)?,
            "response.output_item.added" => self.added(&event, address.index, out),
            "response.output_item.done" => {
                self.start(None, out);
                let item = event.get_mut("item").map(Value::take).unwrap_or_default();
                let id = text_of(&item, "id").map(str::to_owned);
                let address = Address {
                    index: address.index,
                    id: id.as_deref(),
                };
                self.whole(address, item, out);
            }
            "response.content_part.added" => {
                self.start(None, out);
                self.part_added(address, slot, &event, out);
            }
            "response.content_part.done" => {
                self.start(None, out);
                let part = event.get_mut("part").map(Value::take).unwrap_or_default();
                self.part(address, slot, part, out);
            }
            "response.output_text.done" | "response.refusal.done" => {
                self.start(None, out);
                let is_refusal = kind == "response.refusal.done";
                let (open, name): (fn() -> Part, _) = if is_refusal {
                    (empty_refusal, "refusal")
                } else {
                    (empty_text, "text")
                };
                let text = text_of(&event, name).unwrap_or_default();
                self.items.rest(address, slot, open, text, out);
            }
            "response.output_text.annotation.added" => {
                self.start(None, out);
                let citation = content::citation(event.get_mut("annotation").map(Value::take).unwrap_or_default());
                self.items
                    .tell(address, slot, empty_text, Delta::Citation(citation), out);
            }
            "response.reasoning_text.done" => {
                self.start(None, out);
                let text = text_of(&event, "text").unwrap_or_default();
                self.items.rest(address, Slot::Raw, empty_reasoning, text, out);
            }
            "response.reasoning_summary_part.added" => {
                self.start(None, out);
                let index = event.get("summary_index").and_then(Value::as_u64);
                self.paragraph(address, index, out);
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                self.start(None, out);
                self.asks_tool = true;
                let custom = kind == "response.custom_tool_call_input.done";
                let text = text_of(&event, if custom { "input" } else { "arguments" }).unwrap_or_default();
                self.items.rest(address, Slot::Call, || empty_call(custom), text, out);
            }
            // Progress of tools that the provider runs: the item, when it is done, says it all.
            _ => {}
        }
        Ok(())
    }

    /// An item begins. A call is opened now, because its name is known; everything else by what is in it.
    fn added(&mut self, event: &Value, index: Option<u64>, out: &mut Vec<Event>) {
        self.start(None, out);
        let item = event.get("item").unwrap_or(&Value::Null);
        let address = Address {
            index,
            id: text_of(item, "id"),
        };
        let kind = text_of(item, "type").unwrap_or_default();
        self.items.begin(address, kind);
        match kind {
            "function_call" | "custom_tool_call" => {
                self.asks_tool = true;
                let Some(mut part) = answer::parts(item.clone()).pop() else {
                    return;
                };
                // Some say the arguments here and once more in deltas.
                if let Content::ToolCall(call) = &mut part.content {
                    call.arguments.clear();
                    self.items.open(address, Slot::Call, || part, out);
                }
            }
            "message" => self.items.about(address, answer::about_message(item.clone())),
            _ => {}
        }
    }

    fn part_added(&mut self, address: Address<'_>, slot: Slot, event: &Value, out: &mut Vec<Event>) {
        match event.get("part").and_then(|part| text_of(part, "type")) {
            Some("output_text") => self.items.open(address, slot, empty_text, out),
            Some("refusal") => self.items.open(address, slot, empty_refusal, out),
            _ => {}
        }
    }

    /// A whole part of a message, or of reasoning.
    fn part(&mut self, address: Address<'_>, slot: Slot, part: Value, out: &mut Vec<Event>) {
        match text_of(&part, "type") {
            Some("output_text") => {
                let text = text_of(&part, "text").unwrap_or_default();
                self.items.rest(address, slot, empty_text, text, out);
                self.items.citations(address, slot, list_of(&part, "annotations"), out);
                if !self.items.has_logprobs(address, slot) {
                    let logprobs = list_of(&part, "logprobs").to_vec();
                    self.items.logprobs(address, slot, logprobs, out);
                }
                self.items.close(address, slot, out);
            }
            Some("refusal") => {
                let text = text_of(&part, "refusal").unwrap_or_default();
                self.items.rest(address, slot, empty_refusal, text, out);
                self.items.close(address, slot, out);
            }
            // Its seal comes with the item.
            Some("reasoning_text") => {
                let text = text_of(&part, "text").unwrap_or_default();
                self.items.rest(address, Slot::Raw, empty_reasoning, text, out);
            }
            Some(_) => {
                self.items.open(address, slot, || content::native(part), out);
                self.items.close(address, slot, out);
            }
            None => {}
        }
    }

    /// A whole item.
    fn whole(&mut self, address: Address<'_>, item: Value, out: &mut Vec<Event>) {
        let kind = text_of(&item, "type").unwrap_or_default().to_owned();
        if !self.items.begin(address, &kind) {
            return;
        }
        match kind.as_str() {
            "message" => {
                let parts = list_of(&item, "content").to_vec();
                self.items.about(address, answer::about_message(item));
                for (place, part) in parts.into_iter().enumerate() {
                    self.part(address, Slot::Content(place as u64), part, out);
                }
            }
            _ => {
                for part in answer::parts(item) {
                    self.whole_part(address, part, out);
                }
            }
        }
        self.items.end(address, out);
    }

    /// A whole part of anything but a message.
    fn whole_part(&mut self, address: Address<'_>, part: Part, out: &mut Vec<Event>) {
        match &part.content {
            Content::Thinking(thinking) => {
                let slot = if thinking.is_summary { Slot::Summary } else { Slot::Raw };
                if !self.items.is_open(address, slot) {
                    return self.items.open(address, slot, || part, out);
                }
                let open = if thinking.is_summary {
                    empty_summary
                } else {
                    empty_reasoning
                };
                self.items.rest(address, slot, open, &thinking.text, out);
                if let Some(signature) = thinking.signature.clone() {
                    self.items.tell(address, slot, open, Delta::Signature(signature), out);
                }
            }
            Content::ToolCall(call) => {
                self.asks_tool = true;
                let text = call.arguments.clone();
                let open = || {
                    let mut part = part;
                    if let Content::ToolCall(call) = &mut part.content {
                        call.arguments.clear();
                    }
                    part
                };
                self.items.rest(address, Slot::Call, open, &text, out);
            }
            _ => self.items.open(address, Slot::Content(0), || part, out),
        }
    }

    /// The response is over; its object says everything once more.
    fn end(&mut self, mut event: Value, out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let mut response = response(&mut event).unwrap_or_default();
        answer::failure(&response)?;
        let items = answer::items(&mut response);
        let stop = |response: &Map<String, Value>, asks_tool| {
            answer::stop(response, asks_tool).or_else(|| Some(Stop::new(StopReason::End)))
        };
        let told = response.clone();
        self.start(Some(response), out);
        for item in items {
            let id = text_of(&item, "id").map(str::to_owned);
            let kind = text_of(&item, "type").unwrap_or_default();
            let index = self.items.again(id.as_deref(), kind);
            let address = Address {
                index: Some(index),
                id: id.as_deref(),
            };
            self.whole(address, item, out);
        }
        self.stop = stop(&told, self.asks_tool);
        Ok(())
    }
}

fn response(event: &mut Value) -> Option<Map<String, Value>> {
    match event.get_mut("response").map(Value::take) {
        Some(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// The provider's word that it failed. The tap has seen it, too; what is told of it is the gateway's to decide.
fn failure(event: &Value) -> Nonsense {
    let response = event.get("response").and_then(|response| response.get("error"));
    let error = response.or_else(|| event.get("error")).unwrap_or(event);
    Nonsense::Error(ProviderError::read(error.to_string().as_bytes()).reported())
}

fn empty_text() -> Part {
    Part::text("")
}

fn empty_refusal() -> Part {
    Part::new(Content::Refusal(String::new()))
}

fn empty_reasoning() -> Part {
    Part::new(Content::Thinking(Thinking::default()))
}

fn empty_summary() -> Part {
    Part::new(Content::Thinking(Thinking {
        is_summary: true,
        ..Thinking::default()
    }))
}

/// A call of which nothing but the arguments is known: the event that names it was left out.
fn empty_call(custom: bool) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        custom,
        ..ToolCall::default()
    }))
}
