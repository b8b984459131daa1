//! A stream as a Gemini client gets it: each event, or each element of one JSON array, is a whole answer with the next
//! pieces. Function calls are told when they are whole; reasons, citations, probabilities and usage stand in the last one.

use std::collections::BTreeMap;

use domain::Dialect;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer;
use super::grounding::{Cited, Grounding};
use super::part::{self, To};
use super::{restore, usage};
use crate::hub::{
    Act, CUT_CALL, Citation, Content, Deed, Delta, Event, Losses, Part, Stop, StopReason, ToolCall, weight,
};
use crate::limits::{CHOICES_MAX, WAITING_MAX};
use crate::sequence::Sequencer;
use crate::sse;
use crate::translate::{Footing, Reply};

/// Writes the events of a client's stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    reply: Reply,
    /// Whether something was told: the next element of an array needs a comma before it.
    has_told: bool,
    choices: BTreeMap<u32, Told>,
    ordered: Vec<Event>,
    /// Bytes of arguments that wait for their call to be whole.
    held: usize,
    usage: Option<domain::Usage>,
    tier: Option<String>,
}

/// The part that is being told.
#[derive(Debug, Default)]
enum Live {
    /// None, or one that was told when it was opened.
    #[default]
    Told,
    /// A text that begins so many bytes into its choice's words.
    Text { before: usize },
    /// Thinking, which may be nothing but its seal.
    Thinking { redacted: bool },
    /// A call that waits for its arguments.
    Call(Box<Part>),
}

/// Whether it is a call whose arguments are no object yet.
fn is_unfinished(part: &Part) -> bool {
    matches!(&part.content, Content::ToolCall(call) if call.is_unfinished())
}

/// A choice: each is told by itself, so one need not wait for the parts of another.
#[derive(Debug, Default)]
struct Told {
    sequencer: Sequencer,
    live: Live,
    /// Its words, for citations.
    said: String,
    grounding: Grounding,
    probabilities: Vec<Value>,
    stop: Option<Stop>,
    /// A call whose arguments ended before they were whole: why, the next part shows or the reason of the end.
    unfinished: Option<Box<Part>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a, T> {
    candidates: [Candidate<'a, T>; 1],
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
struct Candidate<'a, T> {
    content: Said<'a, T>,
    index: u32,
}

#[derive(Serialize)]
struct Said<'a, T> {
    parts: [&'a T; 1],
    role: &'static str,
}

/// Words, by far the most frequent part.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Words<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

impl StreamEncoder {
    pub(crate) fn new(reply: Reply) -> Self {
        Self {
            reply,
            has_told: false,
            choices: BTreeMap::new(),
            ordered: Vec::new(),
            held: 0,
            usage: None,
            tier: None,
        }
    }

    /// Tells one event. `false`: it would have to keep more back than it may.
    pub(crate) fn event(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) -> bool {
        let choice = match &event {
            Event::Open { choice, .. }
            | Event::Delta { choice, .. }
            | Event::Close { choice, .. }
            | Event::Logprobs { choice, .. }
            | Event::Stop { choice, .. } => *choice,
            Event::Start { .. } | Event::Usage(_) | Event::ServiceTier(_) => {
                self.note(event, losses);
                return true;
            }
        };
        if choice as usize >= CHOICES_MAX {
            return true;
        }
        let mut ordered = std::mem::take(&mut self.ordered);
        let told = self.choices.entry(choice).or_default();
        let fits = told.sequencer.push(event, &mut ordered);
        for event in ordered.drain(..) {
            self.tell(event, out, losses);
        }
        self.ordered = ordered;
        fits && self.held <= WAITING_MAX
    }

    /// After the last event of a whole stream: the last piece, with the reasons and the usage.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, losses: &mut Losses) {
        let mut ordered = Vec::new();
        for told in self.choices.values_mut() {
            told.sequencer.finish(&mut ordered);
        }
        for event in ordered {
            self.tell(event, out, losses);
        }
        self.tell_unfinished(out, losses);
        let mut choices = std::mem::take(&mut self.choices);
        if choices.is_empty() {
            choices.insert(0, Told::default());
        }
        let candidates: Vec<Value> = choices
            .into_iter()
            .map(|(index, told)| last_candidate(index, told, losses))
            .collect();
        let mut body = Map::new();
        body.insert("candidates".to_owned(), candidates.into());
        if let Some(figures) = self.usage.take() {
            let figures = usage::write(&figures, self.tier.take(), losses);
            body.insert("usageMetadata".to_owned(), json!(figures));
        }
        losses.note_if(
            self.tier.is_some(),
            "service_tier",
            "Gemini tells it with the usage only",
        );
        body.insert("modelVersion".to_owned(), self.reply.model.as_str().into());
        body.insert("responseId".to_owned(), self.reply.id.as_str().into());
        self.emit(out, &body);
        if self.reply.json_array {
            out.push(b']');
        }
    }

    /// Goes on behind chunks of a provider.
    pub(crate) const fn follow(&mut self, footing: &Footing) {
        self.has_told |= footing.has_begun;
    }

    /// What belongs to no choice.
    fn note(&mut self, event: Event, losses: &mut Losses) {
        match event {
            Event::Start { id, model, extra, .. } => {
                if !id.is_empty() {
                    self.reply.id = id;
                }
                if !model.is_empty() {
                    self.reply.model = model;
                }
                restore(&mut Map::new(), extra, losses);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.tier = Some(tier),
            _ => {}
        }
    }

    fn tell(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) {
        match event {
            Event::Open { choice, part, .. } => self.open(choice, *part, out, losses),
            Event::Delta { choice, delta, .. } => self.grow(choice, delta, out, losses),
            Event::Close { choice, .. } => self.close(choice, out, losses),
            Event::Logprobs { choice, value } => {
                let bytes = weight(&value);
                if self.held + bytes > WAITING_MAX {
                    losses.note(
                        "logprobs",
                        "Gemini tells them at the end; there are too many to be kept until then",
                    );
                    return;
                }
                self.held += bytes;
                let tokens = value.get("content").and_then(Value::as_array);
                let told = self.told(choice);
                told.probabilities.extend(tokens.into_iter().flatten().cloned());
            }
            Event::Stop { choice, stop } => self.told(choice).stop = Some(stop),
            Event::Start { .. } | Event::Usage(_) | Event::ServiceTier(_) => {}
        }
    }

    fn told(&mut self, choice: u32) -> &mut Told {
        self.choices.entry(choice).or_default()
    }

    fn open(&mut self, choice: u32, mut part: Part, out: &mut Vec<u8>, losses: &mut Losses) {
        if let Some(call) = self.told(choice).unfinished.take() {
            self.whole(choice, *call, out, losses);
        }
        let told = self.told(choice);
        let before = told.said.len();
        match &mut part.content {
            Content::Deed(deed) => {
                let deed = std::mem::replace(&mut **deed, Deed::new("", Act::Search(Vec::new())));
                told.live = Live::Told;
                let bytes = deed.weight();
                if let Some(part) = told.grounding.deed(deed, losses) {
                    return self.say(choice, &part, out);
                }
                self.held += bytes;
                return;
            }
            Content::Native {
                origin: Dialect::Gemini,
                value,
            } if told.grounding.own(value) => {
                told.live = Live::Told;
                self.held += weight(value);
                return;
            }
            Content::ToolCall(call) => {
                let length = call.arguments.len();
                told.live = Live::Call(Box::new(part));
                self.held += length;
                return;
            }
            Content::Text { text, citations } => {
                told.live = Live::Text { before };
                told.remember(text);
                for citation in std::mem::take(citations) {
                    told.cite(citation, losses);
                }
            }
            Content::Refusal(text) => {
                told.live = Live::Text { before };
                told.remember(text);
            }
            Content::Thinking(thinking) => {
                told.live = Live::Thinking {
                    redacted: thinking.redacted,
                }
            }
            _ => told.live = Live::Told,
        }
        self.whole(choice, part, out, losses);
    }

    /// Tells a part as far as it is known.
    fn whole(&mut self, choice: u32, part: Part, out: &mut Vec<u8>, losses: &mut Losses) {
        let mut parts = Vec::new();
        if let Err(refused) = part::write(part, To::Client, losses, &mut parts) {
            losses.note(refused.path, "Gemini cannot say where it is");
        }
        for part in &parts {
            self.say(choice, part, out);
        }
    }

    fn grow(&mut self, choice: u32, delta: Delta, out: &mut Vec<u8>, losses: &mut Losses) {
        let told = self.told(choice);
        match (&mut told.live, delta) {
            (Live::Text { .. }, Delta::Text(text)) => {
                told.remember(&text);
                self.words(choice, &text, false, None, out);
            }
            (Live::Thinking { .. }, Delta::Text(text)) => self.words(choice, &text, true, None, out),
            (Live::Call(part), Delta::Arguments(more)) => {
                if let Content::ToolCall(ToolCall { arguments, .. }) = &mut part.content {
                    arguments.push_str(&more);
                    self.held += more.len();
                }
            }
            (Live::Call(part), Delta::Signature(seal)) => part.signature = Some(seal),
            (Live::Text { .. }, Delta::Signature(seal)) => {
                self.words(choice, "", false, Some(seal.for_client(Dialect::Gemini)), out);
            }
            (Live::Thinking { redacted: true }, Delta::Signature(seal)) => {
                self.words(choice, "", true, Some(part::redacted_seal(&seal)), out);
            }
            (Live::Thinking { .. }, Delta::Signature(seal)) => {
                self.words(choice, "", true, Some(seal.for_client(Dialect::Gemini)), out);
            }
            (Live::Text { .. }, Delta::Citation(citation)) => {
                let bytes = citation.weight();
                told.cite(citation, losses);
                self.held += bytes;
            }
            _ => {}
        }
    }

    fn close(&mut self, choice: u32, out: &mut Vec<u8>, losses: &mut Losses) {
        let Live::Call(part) = std::mem::take(&mut self.told(choice).live) else {
            return;
        };
        if let Content::ToolCall(call) = &part.content {
            self.held = self.held.saturating_sub(call.arguments.len());
        }
        if is_unfinished(&part) {
            self.told(choice).unfinished = Some(part);
            return;
        }
        self.whole(choice, *part, out, losses);
    }

    /// Calls that end the answer unfinished: one that a bound cut was never made, another is told as it is.
    fn tell_unfinished(&mut self, out: &mut Vec<u8>, losses: &mut Losses) {
        let choices: Vec<u32> = self.choices.keys().copied().collect();
        for choice in choices {
            let told = self.told(choice);
            let is_cut = told.stop.as_ref().is_some_and(Stop::is_cut);
            match told.unfinished.take() {
                Some(_) if is_cut => losses.note(CUT_CALL.0, CUT_CALL.1),
                Some(call) => self.whole(choice, *call, out, losses),
                None => {}
            }
        }
    }

    fn words(&mut self, choice: u32, text: &str, thought: bool, seal: Option<String>, out: &mut Vec<u8>) {
        if text.is_empty() && seal.is_none() {
            return;
        }
        let words = Words {
            text,
            thought,
            thought_signature: seal,
        };
        self.say(choice, &words, out);
    }

    /// Tells one part.
    fn say(&mut self, choice: u32, part: &impl Serialize, out: &mut Vec<u8>) {
        let reply = std::mem::take(&mut self.reply);
        let chunk = Chunk {
            candidates: [Candidate {
                content: Said {
                    parts: [part],
                    role: "model",
                },
                index: choice,
            }],
            model_version: &reply.model,
            response_id: &reply.id,
        };
        self.emit_as(out, &chunk, reply.json_array);
        self.reply = reply;
    }

    fn emit(&mut self, out: &mut Vec<u8>, chunk: &impl Serialize) {
        self.emit_as(out, chunk, self.reply.json_array);
    }

    fn emit_as(&mut self, out: &mut Vec<u8>, chunk: &impl Serialize, is_array: bool) {
        let has_told = std::mem::replace(&mut self.has_told, true);
        if !is_array {
            sse::write(out, chunk);
            return;
        }
        out.extend_from_slice(if has_told { b",\n" } else { b"[" });
        let before = out.len();
        // Everything that is told has texts as keys, so this cannot fail; if it did, the array would still be one.
        if serde_json::to_writer(&mut *out, chunk).is_err() {
            out.truncate(before);
            out.extend_from_slice(b"{}");
        }
    }
}

impl Told {
    /// Keeps the words for citations, as long as they are not too many.
    fn remember(&mut self, text: &str) {
        if self.said.len() + text.len() <= WAITING_MAX {
            self.said.push_str(text);
        }
    }

    fn cite(&mut self, citation: Citation, losses: &mut Losses) {
        let Live::Text { before } = self.live else { return };
        let about = Cited {
            text: self.said.get(before..).unwrap_or_default(),
            part: None,
            before,
        };
        self.grounding.cite(citation, about, losses);
    }
}

fn last_candidate(index: u32, told: Told, losses: &mut Losses) -> Value {
    let mut members = Map::new();
    members.insert("content".to_owned(), json!({"parts": [{"text": ""}], "role": "model"}));
    let stop = told.stop.unwrap_or_else(|| Stop::new(StopReason::End));
    let probabilities = (!told.probabilities.is_empty()).then(|| json!({"content": told.probabilities}));
    answer::end(
        &mut members,
        Some(&stop),
        probabilities.as_ref(),
        told.grounding,
        losses,
    );
    members.insert("index".to_owned(), index.into());
    Value::Object(members)
}
