//! An upstream's stream.
//!
//! Deltas are most of a stream and are read without building a document; the few other events are. Blocks in Anthropic's
//! own words (its searches, its code) grow by pieces of JSON too; other formats cannot tell them at all, so they are put
//! together here and told whole.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::OWN;
use super::answer::{is_common, stop, text};
use super::blocks::{citation, part};
use crate::answer::Nonsense;
use crate::hub::{Citation, Cited, Content, Delta, Event, Extra, Part, Signature, Stop, nested};
use crate::limits::{PARTS_MAX, WAITING_MAX};

/// Reads a stream's events.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    started: bool,
    /// Places given so far. Not the wire's indexes, so that one that comes twice does not open a place twice.
    places: u32,
    open: Vec<Block>,
    stop: Option<Stop>,
}

/// A block that is open.
#[derive(Debug)]
struct Block {
    index: u64,
    place: u32,
    grows: Grows,
}

/// What becomes of a block's deltas.
#[derive(Debug)]
enum Grows {
    /// They are told. What a text rests on waits until it is whole: it is about all of it, and others count characters.
    Told { cited: Cited },
    /// They are a call's arguments; whether there were any.
    Arguments { any: bool },
    /// They are kept until the block, which is in Anthropic's own words, is whole.
    Kept { value: Value, input: String },
}

/// A `content_block_delta`, borrowed from the event.
#[derive(Deserialize)]
struct DeltaEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    index: u64,
    #[serde(borrow)]
    delta: AnyDelta<'a>,
}

/// Any delta: each kind has one of these members.
#[derive(Deserialize)]
struct AnyDelta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    citation: Option<Value>,
}

/// Serde borrows inside an `Option` only through a type of its own.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl StreamDecoder {
    /// Reads one event's data.
    pub(crate) fn event(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        if let Ok(event) = serde_json::from_slice::<DeltaEvent<'_>>(data)
            && event.kind == "content_block_delta"
        {
            return self.delta(event.index, event.delta, out);
        }
        let Ok(Value::Object(mut event)) = nested::read(data) else {
            return Err(Nonsense::Lacks("an object"));
        };
        let index = event.get("index").and_then(Value::as_u64);
        match event.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message_start" => {
                self.start(event.remove("message").unwrap_or_default(), out);
                Ok(())
            }
            "content_block_start" => {
                let index = index.ok_or(Nonsense::Lacks("index"))?;
                self.block(index, event.remove("content_block").unwrap_or_default(), out)
            }
            "content_block_delta" => Err(Nonsense::Lacks("a well-formed delta")),
            "content_block_stop" => {
                self.close(index.ok_or(Nonsense::Lacks("index"))?, out);
                Ok(())
            }
            "message_delta" => {
                let delta = event.remove("delta").unwrap_or_default();
                if let Some(raw) = text(&delta, "stop_reason") {
                    self.stop = Some(stop(raw, text(&delta, "stop_sequence")));
                }
                Ok(())
            }
            // Usage and errors are the tap's; a `ping` says nothing, and what is unknown is nothing that we could tell.
            _ => Ok(()),
        }
    }

    /// After the last event.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        while let Some(index) = self.open.first().map(|block| block.index) {
            self.close(index, out);
        }
        out.extend(self.stop.take().map(|stop| Event::Stop { choice: 0, stop }));
    }

    fn start(&mut self, message: Value, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let (id, model) = (text(&message, "id"), text(&message, "model"));
        let mut members = match message {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        members.retain(|name, value| !is_common(name) && !value.is_null());
        let origin = (!members.is_empty()).then_some(OWN);
        out.push(Event::Start {
            id: id.unwrap_or_default(),
            model: model.unwrap_or_default(),
            created: None,
            extra: Extra { origin, members },
        });
    }

    fn block(&mut self, index: u64, block: Value, out: &mut Vec<Event>) -> Result<(), Nonsense> {
        if self.open.len() >= PARTS_MAX {
            return Err(Nonsense::Lacks("an end of its blocks"));
        }
        // A block that was never ended ends where its index is used again.
        self.close(index, out);
        let mut read = part("content_block".to_owned(), block).map_err(|_| Nonsense::Lacks("a well-formed block"))?;
        let place = self.places;
        self.places += 1;
        let grows = match &mut read.content {
            Content::Native { value, .. } => {
                let value = std::mem::take(value);
                let input = String::new();
                self.open.push(Block {
                    index,
                    place,
                    grows: Grows::Kept { value, input },
                });
                return Ok(());
            }
            Content::ToolCall(call) => {
                if call.arguments == "{}" {
                    call.arguments.clear();
                }
                let any = !call.arguments.is_empty();
                Grows::Arguments { any }
            }
            Content::Text { text, citations } => Grows::Told {
                cited: begun(text, citations),
            },
            _ => Grows::Told {
                cited: Cited::default(),
            },
        };
        self.open.push(Block { index, place, grows });
        out.push(Event::Open {
            choice: 0,
            place,
            part: Box::new(read),
        });
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: AnyDelta<'_>, out: &mut Vec<Event>) -> Result<(), Nonsense> {
        // What was generated is told, also where an imitator forgot to begin its block.
        if !self.open.iter().any(|block| block.index == index) {
            if delta.text.as_ref().is_some_and(|Text(text)| !text.is_empty()) {
                self.block(index, json!({"type": "text", "text": ""}), out)?;
            } else if delta.thinking.as_ref().is_some_and(|Text(text)| !text.is_empty()) {
                self.block(index, json!({"type": "thinking", "thinking": ""}), out)?;
            }
        }
        let Some(block) = self.open.iter_mut().find(|block| block.index == index) else {
            return Ok(());
        };
        let place = block.place;
        let mut tell = |delta| {
            out.push(Event::Delta {
                choice: 0,
                place,
                delta,
            });
        };
        if let Some(Text(json)) = delta.partial_json.filter(|Text(json)| !json.is_empty()) {
            match &mut block.grows {
                Grows::Kept { input, .. } if input.len() + json.len() > WAITING_MAX => {
                    return Err(Nonsense::Lacks("an end of its input"));
                }
                Grows::Kept { input, .. } => input.push_str(&json),
                Grows::Arguments { any } => {
                    *any = true;
                    tell(Delta::Arguments(json.into_owned()));
                }
                Grows::Told { .. } => {}
            }
        }
        if matches!(block.grows, Grows::Kept { .. }) {
            return Ok(());
        }
        for Text(text) in [delta.text, delta.thinking].into_iter().flatten() {
            if let Grows::Told { cited } = &mut block.grows {
                cited.grow(text.chars().count());
            }
            if !text.is_empty() {
                tell(Delta::Text(text.into_owned()));
            }
        }
        if let Some(Text(seal)) = delta.signature.filter(|Text(seal)| !seal.is_empty()) {
            tell(Delta::Signature(Signature::read(OWN, &seal)));
        }
        if let Some(value) = delta.citation {
            let refused = match &mut block.grows {
                Grows::Told { cited } => cited.keep(citation(value)),
                Grows::Arguments { .. } | Grows::Kept { .. } => None,
            };
            if let Some(citation) = refused {
                tell(Delta::Citation(citation));
            }
        }
        Ok(())
    }

    fn close(&mut self, index: u64, out: &mut Vec<Event>) {
        let Some(at) = self.open.iter().position(|block| block.index == index) else {
            return;
        };
        let Block { place, grows, .. } = self.open.remove(at);
        match grows {
            Grows::Told { cited } => out.extend(cited.finish().map(|citation| Event::Delta {
                choice: 0,
                place,
                delta: Delta::Citation(citation),
            })),
            Grows::Arguments { any: true } => {}
            // A call without arguments has an empty object of them.
            Grows::Arguments { any: false } => out.push(Event::Delta {
                choice: 0,
                place,
                delta: Delta::Arguments("{}".to_owned()),
            }),
            Grows::Kept { value, input } => out.push(Event::Open {
                choice: 0,
                place,
                part: Box::new(Part::new(Content::Native {
                    origin: OWN,
                    value: with_input(value, &input),
                })),
            }),
        }
        out.push(Event::Close { choice: 0, place });
    }
}

/// What is known of a text when its block begins; its citations are about all that is to come.
fn begun(text: &str, citations: &mut Vec<Citation>) -> Cited {
    let mut cited = Cited::default();
    cited.grow(text.chars().count());
    let waiting = std::mem::take(citations)
        .into_iter()
        .map(|citation| Citation { span: None, ..citation });
    *citations = waiting.filter_map(|citation| cited.keep(citation)).collect();
    cited
}

/// A block whose input came in pieces.
fn with_input(mut block: Value, input: &str) -> Value {
    if let Value::Object(members) = &mut block
        && let Ok(input) = nested::read(input.as_bytes())
    {
        members.insert("input".to_owned(), input);
    }
    block
}
