//! A stream, as a client gets it.
//!
//! The grammar is strict: `message_start` once, then one block after the other (start, deltas, stop) with indexes without
//! gaps, then `message_delta` with the reason and the final usage, then `message_stop`. Parts that overlap are put in
//! order by the [`Sequencer`]. A block is begun only when there is something in it, because an empty text would be
//! refused when the client sends it back. The end is written by [`StreamEncoder::finish`] alone, so that a stream that
//! breaks off never looks whole.

use domain::Usage;
use serde::Serialize;
use serde_json::Value;

use super::OWN;
use super::answer::{NO_LOGPROBS, ONE_ANSWER, Shape, call_id, id, model, note_missing, stop};
use super::blocks::{CUSTOM_INPUT, bare_seal, citation, put_back};
use super::usage::{UsageObject, tier, usage};
use crate::anthropic_messages::served::Names;
use crate::hub::{Content, Delta, Event, Extra, Losses, Part, Stop, ToolCall};
use crate::sequence::Sequencer;
use crate::sse::write_named;
use crate::translate::{Footing, Reply};

/// Writes a stream's events.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    reply: Reply,
    sequencer: Sequencer,
    /// In order; kept to save an allocation for each event.
    ready: Vec<Event>,
    started: bool,
    is_own: bool,
    /// The index of the open block, or of the next one.
    index: usize,
    open: Open,
    shape: Shape,
    usage: Usage,
    tier: Option<String>,
    stop: Option<Stop>,
    names: Names,
}

/// What the open part is on the wire.
#[derive(Debug, Default)]
enum Open {
    /// There is none, or none that can be told.
    #[default]
    Nothing,
    /// A text that has said nothing yet, and what else stands on it.
    Silent(Extra),
    /// A redacted thought whose seal has not come yet.
    Unsealed(Extra),
    /// A block.
    Block(Grows),
}

/// What its deltas are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grows {
    Text,
    Thinking,
    Input,
    /// The free text of a custom tool, inside a JSON string.
    Custom,
    /// It is whole.
    Not,
}

#[derive(Serialize)]
struct BlockDelta<'a> {
    r#type: &'static str,
    index: usize,
    delta: Piece<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Piece<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "citations_delta")]
    Citation { citation: &'a Value },
}

#[derive(Serialize)]
struct BlockStart<'a> {
    r#type: &'static str,
    index: usize,
    content_block: &'a Value,
}

#[derive(Serialize)]
struct BlockStop {
    r#type: &'static str,
    index: usize,
}

#[derive(Serialize)]
struct MessageStart<'a> {
    r#type: &'static str,
    message: &'a Value,
}

#[derive(Serialize)]
struct MessageDelta<'a> {
    r#type: &'static str,
    delta: Closing<'a>,
    usage: UsageObject<'a>,
}

#[derive(Serialize)]
struct Closing<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
}

impl StreamEncoder {
    /// Answers with this.
    pub(crate) fn new(reply: Reply) -> Self {
        Self {
            reply,
            sequencer: Sequencer::default(),
            ready: Vec::new(),
            started: false,
            is_own: false,
            index: 0,
            open: Open::Nothing,
            shape: Shape::default(),
            usage: Usage::default(),
            tier: None,
            stop: None,
            names: Names::default(),
        }
    }

    /// Tells one event. `false`: more would have to be kept back than may be.
    pub(crate) fn event(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) -> bool {
        match &event {
            Event::Open { choice: 1.., .. }
            | Event::Delta { choice: 1.., .. }
            | Event::Close { choice: 1.., .. }
            | Event::Stop { choice: 1.., .. } => {
                losses.note("choices", ONE_ANSWER);
                return true;
            }
            _ => {}
        }
        let mut ready = std::mem::take(&mut self.ready);
        let fits = self.sequencer.push(event, &mut ready);
        for event in ready.drain(..) {
            self.tell(event, out, losses);
        }
        self.ready = ready;
        fits
    }

    /// After the last event of a whole stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, losses: &mut Losses) {
        let mut ready = std::mem::take(&mut self.ready);
        self.sequencer.finish(&mut ready);
        for event in ready.drain(..) {
            self.tell(event, out, losses);
        }
        self.start(String::new(), String::new(), Extra::default(), out, losses);
        let (reason, sequence) = stop(self.stop.take(), self.shape, self.is_own, losses);
        let closing = MessageDelta {
            r#type: "message_delta",
            delta: Closing {
                stop_reason: &reason,
                stop_sequence: sequence.as_deref(),
            },
            // The tier was told at the start, if it was known by then; here the format has no place for it.
            usage: usage(&self.usage, None),
        };
        write_named(out, closing.r#type, &closing);
        out.extend_from_slice(super::super::TERMINATOR);
    }

    /// Whether it can go on behind events of a provider that stand so.
    pub(crate) fn can_follow(&self, footing: &Footing, in_text: bool) -> bool {
        let is_right = match &footing.open {
            None => !in_text,
            Some(open) => in_text && open.kind == "text",
        };
        self.started && is_right && !footing.is_lost
    }

    /// Goes on behind them: their blocks have other numbers than ours where one of them could not be told, and are begun
    /// before there is anything in them.
    pub(crate) fn follow(&mut self, footing: &Footing) {
        let (index, open) = match &footing.open {
            None => (footing.next, Open::Nothing),
            Some(open) => (open.index, Open::Block(Grows::Text)),
        };
        self.index = usize::try_from(index).unwrap_or(usize::MAX);
        self.open = open;
    }

    fn tell(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) {
        match event {
            Event::Start { id, model, extra, .. } => self.start(id, model, extra, out, losses),
            Event::Open { part, .. } => self.open(*part, out, losses),
            Event::Delta { delta, .. } => self.delta(delta, out, losses),
            Event::Close { .. } => self.close(out),
            Event::Logprobs { .. } => losses.note("logprobs", NO_LOGPROBS),
            Event::Stop { stop, .. } => self.stop = Some(stop),
            Event::Usage(usage) => self.usage = usage,
            Event::ServiceTier(tier) => self.tier = Some(tier),
        }
    }

    fn start(&mut self, given: String, name: String, extra: Extra, out: &mut Vec<u8>, losses: &mut Losses) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.is_own = extra.origin == Some(OWN);
        let mut message = super::blocks::Members::new();
        message.insert("id".to_owned(), id(given, &self.reply).into());
        message.insert("type".to_owned(), "message".into());
        message.insert("role".to_owned(), "assistant".into());
        message.insert("model".to_owned(), model(name, &self.reply).into());
        message.insert("content".to_owned(), Value::Array(Vec::new()));
        message.insert("stop_reason".to_owned(), Value::Null);
        message.insert("stop_sequence".to_owned(), Value::Null);
        let usage = usage(&self.usage, tier(self.tier.as_deref(), losses));
        message.insert("usage".to_owned(), serde_json::json!(usage));
        put_back(&mut message, extra, losses);
        let message = Value::Object(message);
        let start = MessageStart {
            r#type: "message_start",
            message: &message,
        };
        write_named(out, start.r#type, &start);
    }

    fn open(&mut self, part: Part, out: &mut Vec<u8>, losses: &mut Losses) {
        self.start(String::new(), String::new(), Extra::default(), out, losses);
        self.close(out);
        self.shape.see(&part.content);
        if !matches!(part.content, Content::Thinking(_))
            && let Some(seal) = part.signature.as_ref().and_then(bare_seal)
        {
            self.begin(&thinking_block(), Grows::Thinking, Extra::default(), out, losses);
            self.piece(Piece::Signature { signature: &seal }, out);
            self.close(out);
        }
        match part.content {
            Content::Text { text, citations } => {
                self.open = Open::Silent(part.extra);
                if !text.is_empty() {
                    self.delta(Delta::Text(text), out, losses);
                }
                for one in citations {
                    self.delta(Delta::Citation(one), out, losses);
                }
            }
            Content::Refusal(text) => {
                self.open = Open::Silent(part.extra);
                if !text.is_empty() {
                    self.delta(Delta::Text(text), out, losses);
                }
            }
            Content::Thinking(thinking) if thinking.redacted => {
                self.open = Open::Unsealed(part.extra);
                if let Some(seal) = thinking.signature {
                    self.delta(Delta::Signature(seal), out, losses);
                }
            }
            Content::Thinking(thinking) => {
                self.begin(&thinking_block(), Grows::Thinking, part.extra, out, losses);
                if !thinking.text.is_empty() {
                    self.delta(Delta::Text(thinking.text), out, losses);
                }
                if let Some(seal) = thinking.signature.or(part.signature) {
                    self.delta(Delta::Signature(seal), out, losses);
                }
            }
            Content::ToolCall(call) => self.open_call(call, part.extra, out, losses),
            Content::Native { origin, value } if origin == OWN => self.served(value, out, losses),
            Content::Deed(deed) => {
                let block = self.names.block(*deed, &self.reply.id, losses);
                self.served(block, out, losses);
            }
            other => note_missing(&other, losses),
        }
    }

    /// A block of something that a provider did: what was asked for grows as calls do, what came of it is whole.
    fn served(&mut self, mut block: Value, out: &mut Vec<u8>, losses: &mut Losses) {
        let is_asked = block["type"].as_str().is_some_and(|kind| kind.ends_with("_tool_use"));
        let input = block.get_mut("input").filter(|input| is_asked && input.is_object());
        let input = input.map(|input| std::mem::replace(input, serde_json::json!({})));
        self.begin(&block, Grows::Not, Extra::default(), out, losses);
        if let Some(input) = input.filter(|input| *input != serde_json::json!({})) {
            let partial_json = &input.to_string();
            self.piece(Piece::Input { partial_json }, out);
        }
    }

    fn open_call(&mut self, call: ToolCall, extra: Extra, out: &mut Vec<u8>, losses: &mut Losses) {
        let block = serde_json::json!({
            "type": "tool_use",
            "id": call_id(&call, &self.reply, self.index),
            "name": call.name,
            "input": {},
        });
        let grows = if call.custom { Grows::Custom } else { Grows::Input };
        self.begin(&block, grows, extra, out, losses);
        if call.custom {
            let opening = format!("{{\"{CUSTOM_INPUT}\":\"");
            self.piece(Piece::Input { partial_json: &opening }, out);
        }
        if !call.arguments.is_empty() {
            self.delta(Delta::Arguments(call.arguments), out, losses);
        }
    }

    fn delta(&mut self, delta: Delta, out: &mut Vec<u8>, losses: &mut Losses) {
        if let Open::Silent(extra) = &mut self.open
            && matches!(delta, Delta::Text(_) | Delta::Citation(_))
        {
            let extra = std::mem::take(extra);
            let block = serde_json::json!({"type": "text", "text": ""});
            self.begin(&block, Grows::Text, extra, out, losses);
        }
        match (&mut self.open, delta) {
            (Open::Block(Grows::Text), Delta::Text(text)) => self.piece(Piece::Text { text: &text }, out),
            (Open::Block(Grows::Thinking), Delta::Text(text)) => {
                self.piece(Piece::Thinking { thinking: &text }, out);
            }
            (Open::Block(Grows::Input), Delta::Arguments(json)) => {
                self.piece(Piece::Input { partial_json: &json }, out);
            }
            (Open::Block(Grows::Custom), Delta::Arguments(text) | Delta::Text(text)) => {
                self.piece(
                    Piece::Input {
                        partial_json: inside_string(&Value::from(text).to_string()),
                    },
                    out,
                );
            }
            (Open::Block(Grows::Text), Delta::Citation(one)) => {
                if let Some(citation) = citation(one, losses) {
                    self.piece(Piece::Citation { citation: &citation }, out);
                }
            }
            (Open::Block(Grows::Thinking), Delta::Signature(seal)) => {
                let signature = seal.for_client(OWN);
                self.piece(Piece::Signature { signature: &signature }, out);
            }
            (Open::Unsealed(extra), Delta::Signature(seal)) => {
                let extra = std::mem::take(extra);
                let block = serde_json::json!({"type": "redacted_thinking", "data": seal.for_client(OWN)});
                self.begin(&block, Grows::Not, extra, out, losses);
            }
            (_, Delta::Signature(_)) => losses.note(
                "signature",
                "it came after the part that it seals had begun; Anthropic's format has no place for it there",
            ),
            // About a part that cannot be told, which was noted when it was opened.
            _ => {}
        }
    }

    fn begin(&mut self, block: &Value, grows: Grows, extra: Extra, out: &mut Vec<u8>, losses: &mut Losses) {
        let start = |content_block: &Value, out: &mut Vec<u8>| {
            let start = BlockStart {
                r#type: "content_block_start",
                index: self.index,
                content_block,
            };
            write_named(out, start.r#type, &start);
        };
        match (extra.members.is_empty(), block) {
            (false, Value::Object(members)) => {
                let mut members = members.clone();
                put_back(&mut members, extra, losses);
                start(&members.into(), out);
            }
            _ => start(block, out),
        }
        self.open = Open::Block(grows);
    }

    fn piece(&self, delta: Piece<'_>, out: &mut Vec<u8>) {
        let event = BlockDelta {
            r#type: "content_block_delta",
            index: self.index,
            delta,
        };
        write_named(out, event.r#type, &event);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Open::Block(grows) = std::mem::take(&mut self.open) else {
            return;
        };
        if grows == Grows::Custom {
            self.piece(Piece::Input { partial_json: "\"}" }, out);
        }
        let stop = BlockStop {
            r#type: "content_block_stop",
            index: self.index,
        };
        write_named(out, stop.r#type, &stop);
        self.index += 1;
    }
}

fn thinking_block() -> Value {
    serde_json::json!({"type": "thinking", "thinking": "", "signature": ""})
}

/// A JSON string without its quotes.
fn inside_string(json: &str) -> &str {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(json)
}

#[cfg(test)]
mod tests;
