//! Parts begin: each opens an item, is one, or goes on with the one that is open.

use serde_json::{Map, json};

use super::super::super::{SELF, seal};
use super::super::item::{picture, put_back, set};
use super::open::{Call, Live, Message, Open, Reasoning};
use super::{Teller, Wire};
use crate::hub::{Content, Delta, Extra, Losses, Media, Part, Signature, ToolCall, native_name};

impl Teller {
    /// A part begins.
    pub(super) fn begin(&mut self, mut part: Part, wire: &mut Wire<'_>, losses: &mut Losses) {
        let seal = part.signature.take();
        if !matches!(part.content, Content::Deed(_)) {
            self.end_deeds(wire);
        }
        match part.content {
            Content::Text { text, citations } => {
                self.begin_text(part.item, part.extra, false, seal, wire, losses);
                self.push_text(&text, wire);
                for citation in citations {
                    self.grow(Delta::Citation(citation), wire, losses);
                }
            }
            Content::Refusal(text) => {
                self.begin_text(part.item, part.extra, true, seal, wire, losses);
                self.push_text(&text, wire);
            }
            Content::Thinking(thinking) => {
                self.end_item(wire, losses, "completed");
                // Clients show summaries: raw reasoning comes from no model of OpenAI's, and Vercel's `ai` and Codex skip it.
                let is_summary = thinking.is_summary || part.item.is_none();
                let id = self.item_id(part.item, "rs");
                self.added(&json!({"id": id, "type": "reasoning", "summary": []}), wire);
                self.open = Some(Open::Reasoning(Reasoning {
                    id,
                    is_summary,
                    redacted: thinking.redacted,
                    seal: thinking.signature,
                    extra: part.extra,
                    ..Reasoning::default()
                }));
                self.push_text(&thinking.text, wire);
            }
            Content::ToolCall(call) => {
                self.end_item(wire, losses, "completed");
                self.seal(seal, seal::On::Next, wire);
                let call = self.call(call, part.item, part.extra, losses);
                self.added(&call.item("in_progress", ""), wire);
                let arguments = call.first.clone();
                self.open = Some(Open::Call(call));
                self.push_arguments(&arguments, wire);
            }
            Content::Native { origin: SELF, value } => {
                self.end_item(wire, losses, "completed");
                self.whole(value, wire);
            }
            Content::Media(media) => self.media(media, seal, (part.item, part.extra), wire, losses),
            Content::Deed(deed) => self.deed(*deed, wire, losses),
            Content::Native { value, .. } => {
                losses.note(native_name(&value), "only the format that it is of can say it");
            }
            Content::ToolResult(_) => losses.note("tool_result", "an answer of Responses holds no results of tools"),
        }
    }

    /// A text, or a refusal: a part of the message that is open, or of a new one.
    fn begin_text(
        &mut self,
        item: Option<String>,
        extra: Extra,
        is_refusal: bool,
        seal: Option<Signature>,
        wire: &mut Wire<'_>,
        losses: &mut Losses,
    ) {
        let goes_on =
            matches!(&self.open, Some(Open::Message(message)) if item.as_ref().is_none_or(|id| *id == message.id));
        if !goes_on {
            self.end_item(wire, losses, "completed");
            let mut message = Message::new(self.item_id(item, "msg"));
            put_back(&mut message.about, "content", extra, losses);
            self.added(&message.item("in_progress"), wire);
            self.open = Some(Open::Message(message));
        }
        let at = self.output.len();
        if let Some(Open::Message(message)) = &mut self.open {
            message.live = Some(Live::new(is_refusal, seal));
            wire.event("response.content_part.added", || message.part_event(at, None));
        }
    }

    fn call(&self, call: ToolCall, item: Option<String>, extra: Extra, losses: &mut Losses) -> Call {
        let place = self.names.place(&call.name).cloned().unwrap_or_default();
        let custom = call.custom || place.custom;
        let id = self.item_id(item, if custom { "ctc" } else { "fc" });
        let mut about = Map::new();
        set(
            &mut about,
            "namespace",
            Some(place.namespace).filter(|space| !space.is_empty()),
        );
        put_back(&mut about, "tool_call", extra, losses);
        Call {
            id,
            call_id: call.id.unwrap_or_else(|| self.made_id("call")),
            name: Some(place.name).filter(|name| !name.is_empty()).unwrap_or(call.name),
            custom,
            // Elsewhere a custom tool is a function of one text.
            unwraps: custom && !call.custom,
            first: call.arguments,
            about,
            ..Call::default()
        }
    }

    /// A picture is the result of a call of the provider's tool; there is no place for anything else. A seal on it stands
    /// before it.
    fn media(
        &mut self,
        media: Media,
        seal: Option<Signature>,
        (item, extra): (Option<String>, Extra),
        wire: &mut Wire<'_>,
        losses: &mut Losses,
    ) {
        let id = self.item_id(item, "ig");
        if let Some(item) = picture(media, Some(id), extra, losses) {
            self.end_item(wire, losses, "completed");
            self.seal(seal, seal::On::Next, wire);
            self.whole(item, wire);
        }
    }
}
