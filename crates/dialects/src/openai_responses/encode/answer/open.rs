//! The item that is being told.

use serde_json::{Map, Value, json};

use super::super::super::seal;
use super::super::item::put_back;
use super::wire::{Piece, Wire};
use crate::hub::{Extra, Losses, Signature, free_text};
use crate::translate::Place;

/// What is open.
#[derive(Debug)]
pub(super) enum Open {
    Message(Message),
    Reasoning(Reasoning),
    Call(Call),
}

/// A message of texts and refusals.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    /// What is said of it as a whole.
    pub(super) about: Map<String, Value>,
    content: Vec<Value>,
    /// The part that grows.
    pub(super) live: Option<Live>,
}

/// A part of a message that grows.
#[derive(Debug)]
pub(super) struct Live {
    is_refusal: bool,
    text: String,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
    pub(super) seal: Option<Signature>,
}

impl Live {
    pub(super) const fn new(is_refusal: bool, seal: Option<Signature>) -> Self {
        Self {
            is_refusal,
            text: String::new(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
            seal,
        }
    }

    fn part(&self) -> Value {
        if self.is_refusal {
            return json!({"type": "refusal", "refusal": self.text});
        }
        json!({
            "type": "output_text",
            "annotations": self.annotations,
            "logprobs": self.logprobs,
            "text": self.text,
        })
    }
}

impl Message {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            about: Map::new(),
            content: Vec::new(),
            live: None,
        }
    }

    /// Whether its parts are those of a provider's message.
    pub(super) fn stands_as(&self, other: &Place) -> bool {
        let begun = self.content.len() as u64;
        match (&self.live, other.part) {
            (Some(live), Some(index)) => !live.is_refusal && index == begun && other.parts == begun + 1,
            (None, None) => other.parts == begun,
            _ => false,
        }
    }

    pub(super) fn item(&self, status: &str) -> Value {
        let mut item = json!({
            "id": self.id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": self.content,
        });
        if let Value::Object(members) = &mut item {
            members.extend(self.about.clone());
        }
        item
    }

    /// What an event about the part that grows says; with what it says of the text, or else with the part.
    pub(super) fn part_event(&self, at: usize, more: Option<Value>) -> Value {
        let mut event = json!({
            "item_id": self.id,
            "output_index": at,
            "content_index": self.content.len(),
        });
        if let Value::Object(members) = &mut event {
            if let Some(Value::Object(more)) = more {
                members.extend(more);
            } else {
                let part = self.live.as_ref().map_or(Value::Null, Live::part);
                members.insert("part".to_owned(), part);
            }
        }
        event
    }

    pub(super) fn push(&mut self, text: &str, at: usize, wire: &mut Wire<'_>) {
        let Some(live) = &mut self.live else { return };
        live.text.push_str(text);
        let kind = if live.is_refusal {
            "response.refusal.delta"
        } else {
            "response.output_text.delta"
        };
        wire.piece(Piece {
            kind,
            sequence_number: 0,
            item_id: &self.id,
            output_index: at,
            content_index: Some(self.content.len()),
            summary_index: None,
            delta: text,
            logprobs: (!live.is_refusal).then_some(&[]),
        });
    }

    /// Log probabilities come after the text that they are of: they go out with no further text.
    pub(super) fn logprobs(&mut self, mut list: Vec<Value>, at: usize, wire: &mut Wire<'_>) {
        let Some(live) = self.live.as_mut().filter(|live| !live.is_refusal) else {
            // Of an answer as a whole, told when its texts are.
            if let Some(Value::Array(known)) = self.content.last_mut().and_then(|part| part.get_mut("logprobs")) {
                known.append(&mut list);
            }
            return;
        };
        wire.piece(Piece {
            kind: "response.output_text.delta",
            sequence_number: 0,
            item_id: &self.id,
            output_index: at,
            content_index: Some(self.content.len()),
            summary_index: None,
            delta: "",
            logprobs: Some(&list),
        });
        live.logprobs.append(&mut list);
    }

    pub(super) fn annotate(&mut self, annotation: Value, at: usize, wire: &mut Wire<'_>) {
        let index = self.live.as_ref().map_or(0, |live| live.annotations.len());
        wire.event("response.output_text.annotation.added", || {
            let more = json!({"annotation_index": index, "annotation": &annotation});
            self.part_event(at, Some(more))
        });
        if let Some(live) = &mut self.live {
            live.annotations.push(annotation);
        }
    }

    /// The part that grows is whole; its seal is given back.
    pub(super) fn end_part(&mut self, at: usize, wire: &mut Wire<'_>) -> Option<Signature> {
        let live = self.live.as_ref()?;
        if live.is_refusal {
            wire.event("response.refusal.done", || {
                self.part_event(at, Some(json!({"refusal": live.text})))
            });
        } else {
            wire.event("response.output_text.done", || {
                self.part_event(at, Some(json!({"text": live.text, "logprobs": live.logprobs})))
            });
        }
        wire.event("response.content_part.done", || self.part_event(at, None));
        let mut live = self.live.take()?;
        let seal = live.seal.take();
        self.content.push(live.part());
        seal
    }
}

/// Reasoning.
#[derive(Debug, Default)]
pub(super) struct Reasoning {
    pub(super) id: String,
    pub(super) is_summary: bool,
    pub(super) redacted: bool,
    pub(super) seal: Option<Signature>,
    pub(super) extra: Extra,
    pub(super) text: String,
}

impl Reasoning {
    fn part(&self) -> Value {
        let kind = if self.is_summary {
            "summary_text"
        } else {
            "reasoning_text"
        };
        json!({"type": kind, "text": self.text})
    }

    /// What an event about its one part says.
    fn event(&self, at: usize, more: Value) -> Value {
        let index = if self.is_summary {
            "summary_index"
        } else {
            "content_index"
        };
        let mut event = json!({"item_id": self.id, "output_index": at, index: 0});
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    }

    pub(super) fn push(&mut self, text: &str, at: usize, wire: &mut Wire<'_>) {
        if self.text.is_empty() {
            let kind = if self.is_summary {
                "response.reasoning_summary_part.added"
            } else {
                "response.content_part.added"
            };
            wire.event(kind, || self.event(at, json!({"part": self.part()})));
        }
        self.text.push_str(text);
        let kind = if self.is_summary {
            "response.reasoning_summary_text.delta"
        } else {
            "response.reasoning_text.delta"
        };
        wire.piece(Piece {
            kind,
            sequence_number: 0,
            item_id: &self.id,
            output_index: at,
            content_index: (!self.is_summary).then_some(0),
            summary_index: self.is_summary.then_some(0),
            delta: text,
            logprobs: None,
        });
    }

    pub(super) fn end(self, at: usize, wire: &mut Wire<'_>, losses: &mut Losses) -> Value {
        let mut parts = Vec::new();
        if !self.text.is_empty() {
            let (text_done, part_done) = if self.is_summary {
                (
                    "response.reasoning_summary_text.done",
                    "response.reasoning_summary_part.done",
                )
            } else {
                ("response.reasoning_text.done", "response.content_part.done")
            };
            wire.event(text_done, || self.event(at, json!({"text": self.text})));
            wire.event(part_done, || self.event(at, json!({"part": self.part()})));
            parts.push(self.part());
        }
        let mut members = Map::new();
        members.insert("id".to_owned(), self.id.into());
        members.insert("type".to_owned(), "reasoning".into());
        if self.is_summary {
            members.insert("summary".to_owned(), parts.into());
        } else {
            members.insert("summary".to_owned(), json!([]));
            members.insert("content".to_owned(), parts.into());
        }
        if let Some(seal) = self.seal {
            let on = if self.redacted {
                seal::On::Redacted
            } else {
                seal::On::Reasoning
            };
            members.insert("encrypted_content".to_owned(), seal::for_client(on, &seal).into());
        }
        let mut extra = self.extra;
        if let Some(summary) = extra.members.shift_remove("summary") {
            members.insert("summary".to_owned(), summary);
        }
        put_back(&mut members, "thinking", extra, losses);
        Value::Object(members)
    }
}

/// A call.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "`call_id` is the format's word")]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) custom: bool,
    /// Whether the input of a custom tool comes as the one text in an object.
    pub(super) unwraps: bool,
    /// What it began with.
    pub(super) first: String,
    /// What else is said of it.
    pub(super) about: Map<String, Value>,
    pub(super) seal: Option<Signature>,
    pub(super) arguments: String,
}

impl Call {
    pub(super) fn item(&self, status: &str, arguments: &str) -> Value {
        let (kind, input) = if self.custom {
            ("custom_tool_call", "input")
        } else {
            ("function_call", "arguments")
        };
        let mut item = json!({
            "id": self.id,
            "type": kind,
            "status": status,
            input: arguments,
            "call_id": self.call_id,
            "name": self.name,
        });
        if let Value::Object(members) = &mut item {
            members.extend(self.about.clone());
        }
        item
    }

    pub(super) fn push(&mut self, text: &str, at: usize, wire: &mut Wire<'_>) {
        self.arguments.push_str(text);
        if !self.unwraps {
            self.tell(text, at, wire);
        }
    }

    fn tell(&self, text: &str, at: usize, wire: &mut Wire<'_>) {
        let kind = if self.custom {
            "response.custom_tool_call_input.delta"
        } else {
            "response.function_call_arguments.delta"
        };
        wire.piece(Piece {
            kind,
            sequence_number: 0,
            item_id: &self.id,
            output_index: at,
            content_index: None,
            summary_index: None,
            delta: text,
            logprobs: None,
        });
    }

    pub(super) fn end(mut self, at: usize, wire: &mut Wire<'_>) -> Value {
        if self.unwraps {
            self.arguments = free_text(std::mem::take(&mut self.arguments));
            self.tell(&self.arguments, at, wire);
        } else if self.arguments.is_empty() && !self.custom {
            "{}".clone_into(&mut self.arguments);
            self.tell("{}", at, wire);
        }
        let (kind, input) = if self.custom {
            ("response.custom_tool_call_input.done", "input")
        } else {
            ("response.function_call_arguments.done", "arguments")
        };
        wire.event(
            kind,
            || json!({"item_id": self.id, "output_index": at, input: self.arguments}),
        );
        self.item("completed", &self.arguments)
    }
}
