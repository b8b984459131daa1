//! An answer, told item by item.

use serde_json::{Map, Value, json};

use super::super::names::Names;
use super::super::{SELF, echo, seal};
use super::item::{annotation, object, put_back};
use crate::hub::{Answer, Delta, Event, Extra, Losses, Signature, Stop, StopReason, weight};
use crate::limits::RETOLD_MAX;
use crate::sequence::Sequencer;
use crate::translate::{Footing, Reply};

mod begin;
mod ending;
mod open;
mod served;
mod wire;

use ending::{Ending, usage};
use open::{Message, Open};
use served::Pending;
pub(super) use wire::Wire;
use wire::{Placed, Whole};

/// Tells a whole answer.
pub(crate) fn answer(answer: Answer, reply: &Reply, losses: &mut Losses) -> Value {
    let mut teller = Teller::new(reply.clone());
    let mut wire = Wire::silent();
    for event in answer.into_events() {
        teller.event(event, &mut wire, losses);
    }
    teller.finish(&mut wire, losses)
}

/// Makes items of parts, and tells them on the way.
#[derive(Debug)]
pub(super) struct Teller {
    reply: Reply,
    names: Names,
    sequencer: Sequencer,
    ready: Vec<Event>,
    has_started: bool,
    id: String,
    model: String,
    created: i64,
    extra: Extra,
    /// The items that are whole.
    output: Vec<Value>,
    open: Option<Open>,
    stop: Option<Stop>,
    usage: Option<domain::Usage>,
    tier: Option<String>,
    /// Bytes that are kept for the end.
    kept: usize,
    /// What was done by a provider and has not come to its end.
    pending: Vec<Pending>,
}

impl Teller {
    pub(super) fn new(mut reply: Reply) -> Self {
        if reply.echo.is_empty() {
            reply.echo = echo::of(&Map::new());
        }
        let tools = reply.echo.get("tools").and_then(Value::as_array);
        Self {
            names: Names::of(tools.map(Vec::as_slice).unwrap_or_default()),
            id: String::new(),
            model: String::new(),
            created: reply.created,
            reply,
            sequencer: Sequencer::default(),
            ready: Vec::new(),
            has_started: false,
            extra: Extra::default(),
            output: Vec::new(),
            open: None,
            stop: None,
            usage: None,
            tier: None,
            kept: 0,
            pending: Vec::new(),
        }
    }

    /// Tells one event. `false`: more would have to be kept than may be.
    pub(super) fn event(&mut self, event: Event, wire: &mut Wire<'_>, losses: &mut Losses) -> bool {
        match &event {
            Event::Open { choice, .. }
            | Event::Delta { choice, .. }
            | Event::Close { choice, .. }
            | Event::Logprobs { choice, .. }
            | Event::Stop { choice, .. }
                if *choice > 0 =>
            {
                losses.note("choices", "Responses gives one answer");
                return true;
            }
            _ => {}
        }
        let mut ready = std::mem::take(&mut self.ready);
        let fits = self.sequencer.push(event, &mut ready);
        for event in ready.drain(..) {
            self.tell(event, wire, losses);
        }
        self.ready = ready;
        fits && self.kept <= RETOLD_MAX
    }

    /// Tells the end, and gives the whole response.
    pub(super) fn finish(&mut self, wire: &mut Wire<'_>, losses: &mut Losses) -> Value {
        let mut ready = std::mem::take(&mut self.ready);
        self.sequencer.finish(&mut ready);
        for event in ready.drain(..) {
            self.tell(event, wire, losses);
        }
        self.start(wire);
        let stop = self.stop.take();
        let ending = Ending::of(stop.as_ref());
        losses.note_if(
            stop.as_ref().is_some_and(|stop| stop.reason == StopReason::Pause),
            "stop",
            "Responses cannot say that the provider paused and wants to be asked again",
        );
        losses.note_if(
            stop.as_ref().is_some_and(|stop| stop.reason == StopReason::Other),
            "stop",
            "Responses has no word for it; told as incomplete without a reason",
        );
        losses.note_if(
            stop.as_ref().is_some_and(|stop| stop.sequence.is_some()),
            "stop_sequence",
            "Responses does not tell which one was met",
        );
        losses.note_if(
            self.usage.as_ref().is_some_and(|usage| usage.web_searches > 0),
            "usage.web_searches",
            "Responses does not count searches",
        );
        self.end_item(wire, losses, ending.status);
        self.end_deeds(wire);
        let output = std::mem::take(&mut self.output);
        let mut response = self.response(ending.status, output);
        if let Some(reason) = ending.reason {
            response.insert("incomplete_details".to_owned(), json!({"reason": reason}));
        }
        response.insert("usage".to_owned(), self.usage.as_ref().map_or(Value::Null, usage));
        put_back(&mut response, "answer", std::mem::take(&mut self.extra), losses);
        let response = Value::Object(response);
        let kind = if ending.status == "completed" {
            "response.completed"
        } else {
            "response.incomplete"
        };
        wire.event(kind, || Whole { response: &response });
        response
    }

    /// Whether its items are those of a provider's stream, as far as it was told of them.
    pub(super) fn stands_as(&self, footing: &Footing) -> bool {
        let whole = self.output.len() as u64;
        match (&self.open, &footing.open) {
            (Some(Open::Message(message)), Some(open)) => {
                let is_same = open.kind == "message" && open.id == message.id && open.index == whole;
                is_same && message.stands_as(open)
            }
            // It ends when the next begins.
            (Some(Open::Message(message)), None) => message.live.is_none() && footing.next == whole + 1,
            (None, None) => footing.next == whole && self.has_started == footing.has_begun,
            _ => false,
        }
    }

    /// The item that is open was told to be whole.
    pub(super) fn end_silently(&mut self) {
        self.end_item(&mut Wire::silent(), &mut Losses::default(), "completed");
    }

    fn tell(&mut self, event: Event, wire: &mut Wire<'_>, losses: &mut Losses) {
        match event {
            Event::Start {
                id,
                model,
                created,
                extra,
            } => {
                if !self.has_started {
                    (self.id, self.model, self.extra) = (id, model, extra);
                    self.created = created.unwrap_or(self.created);
                }
                self.start(wire);
            }
            Event::Open { part, .. } => {
                self.start(wire);
                self.begin(*part, wire, losses);
            }
            Event::Delta { delta, .. } => self.grow(delta, wire, losses),
            Event::Close { .. } => self.close(wire, losses),
            Event::Logprobs { value, .. } => self.logprobs(value, wire, losses),
            Event::Stop { stop, .. } => self.stop = Some(stop),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.tier = Some(tier),
        }
    }

    fn start(&mut self, wire: &mut Wire<'_>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        if self.id.is_empty() || self.reply.is_kept {
            self.id = format!("resp_{}", self.reply.id);
        }
        if self.model.is_empty() {
            self.model.clone_from(&self.reply.model);
        }
        if wire.is_silent() {
            return;
        }
        let response = Value::Object(self.response("in_progress", Vec::new()));
        wire.event("response.created", || Whole { response: &response });
        wire.event("response.in_progress", || Whole { response: &response });
    }

    /// The response object.
    fn response(&self, status: &str, output: Vec<Value>) -> Map<String, Value> {
        let mut response = object(json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "model": self.model,
        }));
        response.insert("output".to_owned(), output.into());
        for (name, value) in &self.reply.echo {
            response.insert(name.clone(), value.clone());
        }
        if let Some(tier) = &self.tier {
            // What Anthropic calls standard.
            let tier = if tier == "standard" { "default" } else { tier };
            response.insert("service_tier".to_owned(), tier.into());
        }
        response.insert("usage".to_owned(), Value::Null);
        if self.extra.origin == Some(SELF) {
            response.extend(self.extra.members.clone());
        }
        response
    }

    fn grow(&mut self, delta: Delta, wire: &mut Wire<'_>, losses: &mut Losses) {
        let at = self.output.len();
        match delta {
            Delta::Text(text) => self.push_text(&text, wire),
            Delta::Arguments(text) => self.push_arguments(&text, wire),
            Delta::Signature(seal) => match &mut self.open {
                Some(Open::Reasoning(reasoning)) => reasoning.seal = Some(seal),
                Some(Open::Message(Message { live: Some(live), .. })) => live.seal = Some(seal),
                Some(Open::Call(call)) => call.seal = Some(seal),
                _ => {}
            },
            Delta::Citation(citation) => {
                self.kept += citation.weight();
                if let Some(annotation) = annotation(citation, losses)
                    && let Some(Open::Message(message)) = &mut self.open
                {
                    message.annotate(annotation, at, wire);
                }
            }
        }
    }

    fn push_text(&mut self, text: &str, wire: &mut Wire<'_>) {
        let at = self.output.len();
        if text.is_empty() {
            return;
        }
        self.kept += text.len();
        match &mut self.open {
            Some(Open::Message(message)) => message.push(text, at, wire),
            Some(Open::Reasoning(reasoning)) => reasoning.push(text, at, wire),
            Some(Open::Call(_)) | None => {}
        }
    }

    fn push_arguments(&mut self, text: &str, wire: &mut Wire<'_>) {
        let at = self.output.len();
        self.kept += text.len();
        if let Some(Open::Call(call)) = &mut self.open
            && !text.is_empty()
        {
            call.push(text, at, wire);
        }
    }

    fn logprobs(&mut self, mut value: Value, wire: &mut Wire<'_>, losses: &mut Losses) {
        let at = self.output.len();
        let is_lost = value
            .get("refusal")
            .is_some_and(|list| list.as_array().is_some_and(|list| !list.is_empty()));
        losses.note_if(is_lost, "logprobs.refusal", "Responses has them of texts only");
        let Some(Value::Array(list)) = value.get_mut("content").map(Value::take) else {
            return;
        };
        self.kept += list.iter().map(weight).sum::<usize>();
        if let Some(Open::Message(message)) = &mut self.open {
            return message.logprobs(list, at, wire);
        }
        // Of an answer as a whole: they are of the last text. In a stream that has been told.
        let messages = self
            .output
            .iter_mut()
            .filter_map(|item| item.get_mut("content")?.as_array_mut());
        let texts = messages
            .flatten()
            .filter_map(|part| part.get_mut("logprobs")?.as_array_mut());
        match texts.last().filter(|_| wire.is_silent()) {
            Some(known) => known.extend(list),
            None => losses.note("logprobs", "they belong to no text"),
        }
    }

    /// A part is whole.
    fn close(&mut self, wire: &mut Wire<'_>, losses: &mut Losses) {
        match &mut self.open {
            Some(Open::Message(message)) => {
                let seal = message.end_part(self.output.len(), wire);
                if seal.is_some() {
                    self.end_item(wire, losses, "completed");
                    self.seal(seal, seal::On::Previous, wire);
                }
            }
            // The answer may turn out to be cut here.
            Some(Open::Call(_) | Open::Reasoning(_)) => self.end_item(wire, losses, "completed"),
            None => {}
        }
    }

    /// The item that is open is whole.
    fn end_item(&mut self, wire: &mut Wire<'_>, losses: &mut Losses, status: &str) {
        let at = self.output.len();
        match self.open.take() {
            None => {}
            Some(Open::Message(mut message)) => {
                let seal = message.end_part(at, wire);
                self.done(message.item(status), wire);
                self.seal(seal, seal::On::Previous, wire);
            }
            Some(Open::Reasoning(reasoning)) => {
                let item = reasoning.end(at, wire, losses);
                self.done(item, wire);
            }
            Some(Open::Call(mut call)) => {
                let seal = call.seal.take();
                let item = call.end(at, wire);
                self.done(item, wire);
                self.seal(seal, seal::On::Previous, wire);
            }
        }
    }

    /// A seal on something that has no place for it becomes a reasoning item beside it.
    fn seal(&mut self, seal: Option<Signature>, on: seal::On, wire: &mut Wire<'_>) {
        if let Some(seal) = seal {
            let item = json!({
                "id": self.made_id("rs"),
                "type": "reasoning",
                "summary": [],
                "encrypted_content": seal::for_client(on, &seal),
            });
            self.whole(item, wire);
        }
    }

    /// An item that is whole from the beginning.
    fn whole(&mut self, item: Value, wire: &mut Wire<'_>) {
        self.added(&item, wire);
        self.done(item, wire);
    }

    fn added(&self, item: &Value, wire: &mut Wire<'_>) {
        let output_index = self.output.len();
        wire.event("response.output_item.added", || Placed { output_index, item });
    }

    fn done(&mut self, item: Value, wire: &mut Wire<'_>) {
        let output_index = self.output.len();
        let placed = || Placed {
            output_index,
            item: &item,
        };
        wire.event("response.output_item.done", placed);
        if let Some(result) = item.get("result").and_then(Value::as_str) {
            self.kept += result.len();
        }
        self.output.push(item);
    }

    fn item_id(&self, given: Option<String>, prefix: &str) -> String {
        given.unwrap_or_else(|| self.made_id(prefix))
    }

    /// Unique in the answer, and, because the call's id is, among all.
    fn made_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.reply.id, self.output.len())
    }
}
