//! A stream that passes as it came, and may have to be taken up elsewhere.
//!
//! Where both sides speak one format, the client gets the provider's bytes until they break off: nothing that only this
//! provider says is lost to the mere chance of a break. Beside them the answer is decoded and told to nobody, so that at a
//! break the encoder stands in the middle of it, as it would have had it told everything. What it cannot know from that is
//! where the *provider's* grammar stands: how it named and numbered things. That is read from its events ([`Footing`]), and
//! an encoder that cannot go on from there says so; then the answer ends in the error that it was, and nothing is told twice.

use std::borrow::Cow;

use domain::Dialect;
use serde::Deserialize;

use super::Translation;
use crate::sse;

/// Where the stream that the client has stands, in the words of its provider.
#[derive(Debug)]
pub(crate) struct Footing {
    dialect: Dialect,
    /// Something was told.
    pub(crate) has_begun: bool,
    /// Chat: what its chunks are called.
    pub(crate) id: String,
    /// Chat: who answers.
    pub(crate) model: String,
    /// Chat: when the answer was made.
    pub(crate) created: Option<i64>,
    /// The block (Anthropic) or item (Responses) that is open.
    pub(crate) open: Option<Place>,
    /// The number of the next one.
    pub(crate) next: u64,
    /// Something was told that nobody can go on behind.
    pub(crate) is_lost: bool,
}

/// A block or an item.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u64,
    /// `text`, `message` and so on.
    pub(crate) kind: String,
    /// Of an item.
    pub(crate) id: String,
    /// The part of a message that is open.
    pub(crate) part: Option<u64>,
    /// Parts of a message that were begun.
    pub(crate) parts: u64,
}

/// The members that say where an event stands, of any of the formats.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    content_block: Option<Named<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(default)]
    content_index: Option<u64>,
    #[serde(borrow, default)]
    item: Option<Named<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

/// Anthropic's deltas have a kind; those of Responses are texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Delta<'a> {
    Of(#[serde(borrow)] Named<'a>),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    created: Option<i64>,
}

/// A stream that passes.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) footing: Footing,
    /// What is told to nobody.
    untold: Vec<u8>,
}

impl Passing {
    pub(super) const fn new(dialect: Dialect) -> Self {
        Self {
            footing: Footing::new(dialect),
            untold: Vec::new(),
        }
    }
}

impl Footing {
    const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            has_begun: false,
            id: String::new(),
            model: String::new(),
            created: None,
            open: None,
            next: 0,
            is_lost: false,
        }
    }

    /// Reads whole events that the client gets.
    fn see(&mut self, piece: &[u8]) {
        self.has_begun = true;
        let is_named = self.dialect == Dialect::OpenaiChat && !self.id.is_empty() && !self.model.is_empty();
        // Gemini's say nothing of where they stand.
        if is_named || self.dialect == Dialect::Gemini {
            return;
        }
        for event in sse::events(piece) {
            let data = event.data.as_deref().unwrap_or_default();
            match self.dialect {
                Dialect::OpenaiChat => self.chunk(data),
                Dialect::AnthropicMessages => self.block(data),
                Dialect::OpenaiResponses => self.item(data),
                Dialect::Gemini | Dialect::BedrockConverse => {}
            }
        }
    }

    /// Some leave names out at first (Azure's first chunk is about the prompt).
    fn chunk(&mut self, data: &[u8]) {
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return;
        };
        if let Some(id) = chunk.id.filter(|id| !id.is_empty()) {
            self.id = id.into_owned();
        }
        if let Some(model) = chunk.model.filter(|model| !model.is_empty()) {
            self.model = model.into_owned();
        }
        self.created = chunk.created.filter(|at| *at != 0).or(self.created);
    }

    fn block(&mut self, data: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return;
        };
        match event.kind.as_deref().unwrap_or_default() {
            "content_block_start" => {
                let kind = event.content_block.and_then(|block| block.kind).unwrap_or_default();
                self.begin(event.index, &kind, "");
            }
            "content_block_delta" => {
                let says_text =
                    matches!(&event.delta, Some(Delta::Of(delta)) if delta.kind.as_deref() == Some("text_delta"));
                let grows_text = self.open.as_ref().is_some_and(|open| open.kind == "text");
                // It cites: its decoder keeps that until the text is whole.
                self.is_lost |= grows_text && !says_text;
            }
            "content_block_stop" => self.open = None,
            _ => {}
        }
    }

    fn item(&mut self, data: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return;
        };
        match event.kind.as_deref().unwrap_or_default() {
            "response.output_item.added" => {
                let item = event.item.as_ref();
                let text = |of: Option<&Cow<'_, str>>| of.map(ToString::to_string).unwrap_or_default();
                let (kind, id) = item
                    .map(|item| (item.kind.as_ref(), item.id.as_ref()))
                    .unwrap_or_default();
                self.begin(event.output_index, &text(kind), &text(id));
            }
            "response.output_item.done" => self.open = None,
            "response.content_part.added" => {
                if let Some(open) = &mut self.open {
                    open.part = event.content_index;
                    open.parts += 1;
                }
            }
            "response.content_part.done" => {
                if let Some(open) = &mut self.open {
                    open.part = None;
                }
            }
            // Whoever goes on would tell it once more.
            "response.output_text.done" => self.is_lost = true,
            _ => {}
        }
    }

    /// A block or an item begins. Of two at once an encoder knows nothing.
    fn begin(&mut self, index: Option<u64>, kind: &str, id: &str) {
        let index = index.unwrap_or(self.next);
        self.is_lost |= self.open.is_some() || index != self.next;
        self.next = index.saturating_add(1);
        self.open = Some(Place {
            index,
            kind: kind.to_owned(),
            id: id.to_owned(),
            part: None,
            parts: 0,
        });
    }
}

impl Translation {
    /// Passes whole events on, and follows them while somebody could go on with the answer.
    pub(super) fn pass(&mut self, piece: &[u8], told: &mut Vec<u8>) {
        told.extend_from_slice(piece);
        let Some(mut passing) = self.passing.take() else { return };
        if self.thread.as_ref().is_some_and(|thread| thread.is_lost().is_none()) {
            passing.footing.see(piece);
            self.decode_and_tell(piece, &mut passing.untold);
            passing.untold.clear();
            if self.fault.take().is_some() {
                // Whoever understands it may have it; we cannot say what the client was told.
                self.lose("something in it could not be read");
            }
        }
        self.passing = Some(passing);
    }

    /// From here on the answer is told anew, behind what the client has.
    pub(super) fn stop_passing(&mut self) {
        let Some(passing) = self.passing.take() else { return };
        let number = self.tap.next_number();
        if let Some(encoder) = &mut self.encoder {
            encoder.follow(&passing.footing, number);
        }
        // What was lost so far was told.
        self.losses = crate::hub::Losses::default();
        self.losses.note(
            "what only this format says",
            "the answer broke off, and the rest of it is told anew (`recovery`)",
        );
    }
}

#[cfg(test)]
mod tests;
