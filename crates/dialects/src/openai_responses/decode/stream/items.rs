//! What was told of each item of a stream.

use serde_json::{Map, Value};

use super::super::content;
use crate::hub::{Content, Delta, Event, Extra, Part};
use crate::limits::PARTS_MAX;

/// Where an item stands, as far as an event says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<&'a str>,
}

/// Which part of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A part of a message by its index; or an item that is one part.
    Content(u64),
    /// The summary of reasoning.
    Summary,
    /// Reasoning itself.
    Raw,
    /// A call.
    Call,
}

/// All items.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: Vec<Item>,
    /// Parts that were opened.
    places: u32,
}

#[derive(Debug, Default)]
struct Item {
    index: u64,
    id: Option<String>,
    kind: String,
    parts: Vec<Told>,
    /// What is said of a message as a whole, until its first part is opened.
    about: Extra,
    summaries: u64,
    is_whole: bool,
    /// The response at the end has named it.
    is_named_again: bool,
}

/// What was told of a part.
#[derive(Debug)]
struct Told {
    slot: Slot,
    place: u32,
    bytes: usize,
    citations: usize,
    has_logprobs: bool,
    is_open: bool,
}

impl Items {
    /// Notes what an item is. `false`: it is whole already.
    pub(super) fn begin(&mut self, address: Address<'_>, kind: &str) -> bool {
        let Some(item) = self.item(address) else { return false };
        if item.kind.is_empty() {
            kind.clone_into(&mut item.kind);
        }
        if item.id.is_none() {
            item.id = address.id.map(str::to_owned);
        }
        !item.is_whole
    }

    /// Notes what is said of a message as a whole.
    pub(super) fn about(&mut self, address: Address<'_>, about: Extra) {
        if let Some(item) = self.item(address)
            && item.parts.is_empty()
        {
            item.about = about;
        }
    }

    /// Whether a piece of summary is another one than the last. The first is not.
    pub(super) fn is_next_summary(&mut self, address: Address<'_>, index: u64) -> bool {
        let Some(item) = self.item(address) else { return false };
        if index <= item.summaries {
            return false;
        }
        item.summaries = index;
        item.parts
            .iter()
            .any(|told| told.slot == Slot::Summary && told.bytes > 0)
    }

    /// Opens a part, if nothing opened it before.
    pub(super) fn open(&mut self, address: Address<'_>, slot: Slot, part: impl FnOnce() -> Part, out: &mut Vec<Event>) {
        self.told(address, slot, part, out);
    }

    /// Tells a piece of news of a part that is open, or that it opens.
    pub(super) fn tell(
        &mut self,
        address: Address<'_>,
        slot: Slot,
        part: impl FnOnce() -> Part,
        delta: Delta,
        out: &mut Vec<Event>,
    ) {
        let Some(told) = self.told(address, slot, part, out).filter(|told| told.is_open) else {
            return;
        };
        match &delta {
            Delta::Text(text) | Delta::Arguments(text) => {
                told.bytes += text.len();
                if text.is_empty() {
                    return;
                }
            }
            Delta::Citation(_) => told.citations += 1,
            Delta::Signature(_) => {}
        }
        out.push(Event::Delta {
            choice: 0,
            place: told.place,
            delta,
        });
    }

    /// Tells what no delta has told of a text that is whole now.
    pub(super) fn rest(
        &mut self,
        address: Address<'_>,
        slot: Slot,
        part: impl FnOnce() -> Part,
        text: &str,
        out: &mut Vec<Event>,
    ) {
        let Some(told) = self.told(address, slot, part, out) else {
            return;
        };
        let rest = text.get(told.bytes..).unwrap_or_default().to_owned();
        let delta = match slot {
            Slot::Call => Delta::Arguments(rest),
            _ => Delta::Text(rest),
        };
        self.tell(address, slot, || Part::text(""), delta, out);
    }

    /// Tells the citations that were not told one by one.
    pub(super) fn citations(&mut self, address: Address<'_>, slot: Slot, all: &[Value], out: &mut Vec<Event>) {
        let known = self.find(address, slot).map_or(0, |told| told.citations);
        for annotation in all.iter().skip(known) {
            let delta = Delta::Citation(content::citation(annotation.clone()));
            self.tell(address, slot, || Part::text(""), delta, out);
        }
    }

    /// Tells log probabilities of what was just told.
    pub(super) fn logprobs(&mut self, address: Address<'_>, slot: Slot, all: Vec<Value>, out: &mut Vec<Event>) {
        let told = self.find(address, slot).filter(|told| told.is_open);
        if let Some(told) = told.filter(|_| !all.is_empty()) {
            told.has_logprobs = true;
            let value = Value::Object(Map::from_iter([("content".to_owned(), Value::Array(all))]));
            out.push(Event::Logprobs { choice: 0, value });
        }
    }

    /// Whether log probabilities were told of it.
    pub(super) fn has_logprobs(&mut self, address: Address<'_>, slot: Slot) -> bool {
        self.find(address, slot).is_some_and(|told| told.has_logprobs)
    }

    /// Whether it was opened.
    pub(super) fn is_open(&mut self, address: Address<'_>, slot: Slot) -> bool {
        self.find(address, slot).is_some()
    }

    /// Closes a part.
    pub(super) fn close(&mut self, address: Address<'_>, slot: Slot, out: &mut Vec<Event>) {
        if let Some(told) = self.find(address, slot) {
            told.close(out);
        }
    }

    /// An item is whole.
    pub(super) fn end(&mut self, address: Address<'_>, out: &mut Vec<Event>) {
        if let Some(item) = self.item(address) {
            item.is_whole = true;
            item.parts.iter_mut().for_each(|told| told.close(out));
        }
    }

    /// Nothing more will come.
    pub(super) fn close_all(&mut self, out: &mut Vec<Event>) {
        let parts = self.items.iter_mut().flat_map(|item| &mut item.parts);
        parts.for_each(|told| told.close(out));
    }

    /// Which item the response at the end means by this one: that of the same id, else the next of its kind. Some servers
    /// name items anew there, or leave some out, so the place in the list decides nothing.
    pub(super) fn again(&mut self, id: Option<&str>, kind: &str) -> u64 {
        let of_id = |item: &Item| !item.is_named_again && id.is_some() && item.id.as_deref() == id;
        let of_kind = |item: &Item| !item.is_named_again && item.kind == kind;
        let by_id = self.items.iter().position(of_id);
        let known = by_id.or_else(|| self.items.iter().position(of_kind));
        let index = known.and_then(|at| self.items.get(at)).map(|item| item.index);
        let index = index.unwrap_or_else(|| self.next());
        let address = Address {
            index: Some(index),
            id: None,
        };
        if let Some(item) = self.item(address) {
            item.is_named_again = true;
        }
        index
    }

    /// The item that an event is about: by its place, else by its id, else the last one. One that is new is noted.
    fn position(&mut self, address: Address<'_>) -> Option<usize> {
        let known = match (address.index, address.id) {
            (Some(index), _) => self.items.iter().rposition(|item| item.index == index),
            (None, Some(id)) => self.items.iter().rposition(|item| item.id.as_deref() == Some(id)),
            (None, None) => self.items.len().checked_sub(1),
        };
        if known.is_some() || self.items.len() >= PARTS_MAX {
            return known;
        }
        self.items.push(Item {
            index: address.index.unwrap_or_else(|| self.next()),
            id: address.id.map(str::to_owned),
            ..Item::default()
        });
        Some(self.items.len() - 1)
    }

    fn next(&self) -> u64 {
        let last = self.items.iter().map(|item| item.index).max();
        last.map_or(0, |last| last.saturating_add(1))
    }

    fn item(&mut self, address: Address<'_>) -> Option<&mut Item> {
        let at = self.position(address)?;
        self.items.get_mut(at)
    }

    fn find(&mut self, address: Address<'_>, slot: Slot) -> Option<&mut Told> {
        self.item(address)?.parts.iter_mut().find(|told| told.slot == slot)
    }

    /// What was told of a part, which is opened if need be.
    fn told(
        &mut self,
        address: Address<'_>,
        slot: Slot,
        part: impl FnOnce() -> Part,
        out: &mut Vec<Event>,
    ) -> Option<&mut Told> {
        let at = self.position(address)?;
        let item = self.items.get_mut(at)?;
        let known = item.parts.iter().position(|told| told.slot == slot);
        if known.is_none() && (self.places as usize >= PARTS_MAX || item.is_whole) {
            return None;
        }
        let known = known.unwrap_or_else(|| {
            let place = self.places;
            self.places += 1;
            item.open(slot, place, part(), out);
            item.parts.len() - 1
        });
        item.parts.get_mut(known)
    }
}

impl Item {
    fn open(&mut self, slot: Slot, place: u32, mut part: Part, out: &mut Vec<Event>) {
        if part.item.is_none() {
            part.item.clone_from(&self.id);
        }
        if !self.about.members.is_empty() {
            let about = std::mem::take(&mut self.about);
            part.extra.origin = about.origin;
            part.extra.members.extend(about.members);
        }
        self.parts.push(Told {
            slot,
            place,
            bytes: length(&part),
            citations: 0,
            has_logprobs: false,
            is_open: true,
        });
        let part = Box::new(part);
        out.push(Event::Open { choice: 0, place, part });
    }
}

impl Told {
    fn close(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.is_open) {
            let place = self.place;
            out.push(Event::Close { choice: 0, place });
        }
    }
}

/// Bytes of text that a part is opened with.
fn length(part: &Part) -> usize {
    match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => text.len(),
        Content::Thinking(thinking) => thinking.text.len(),
        Content::ToolCall(call) => call.arguments.len(),
        Content::Media(_) | Content::ToolResult(_) | Content::Native { .. } | Content::Deed(_) => 0,
    }
}
