//! Parts of messages as content blocks.

use serde_json::{Value, json};

use super::ids::Ids;
use super::media;
use crate::anthropic_messages::encode::OWN;
use crate::anthropic_messages::encode::blocks::{Members, cache_control, citation, input, object, put_back};
use crate::hub::{BadRequest, CacheMark, Citation, Content, Extra, Losses, Part, Thinking, ToolCall, ToolResult};

/// Writes parts.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) ids: &'a mut Ids,
    pub(super) losses: &'a mut Losses,
    /// Whether media may be left out where they cannot be told: in instructions, and in what a tool said.
    pub(super) may_omit: bool,
    /// Why the request cannot be told.
    pub(super) refused: Option<BadRequest>,
}

/// Whether a block is of this type.
pub(super) fn is(block: &Value, kind: &str) -> bool {
    block["type"] == kind
}

impl Writer<'_> {
    /// Media that the format cannot say. What the user asks about may not be left out: the question would be answered
    /// without it.
    pub(super) fn unsayable(&mut self, what: &'static str, why: &'static str) {
        if self.may_omit {
            self.losses.note(what, why);
        } else if self.refused.is_none() {
            let problem = format!("{what}: {why}; the request would mean something else without");
            self.refused = Some(BadRequest::new("messages", problem));
        }
    }

    /// The parts of something in which media may be left out.
    fn blocks_omitting(&mut self, parts: Vec<Part>) -> Vec<Value> {
        let before = std::mem::replace(&mut self.may_omit, true);
        let blocks = self.blocks(parts, false);
        self.may_omit = before;
        blocks
    }

    /// The parts of a turn.
    pub(super) fn blocks(&mut self, parts: Vec<Part>, is_assistant: bool) -> Vec<Value> {
        let mut blocks = Vec::with_capacity(parts.len());
        for part in parts {
            self.part(part, is_assistant, &mut blocks);
        }
        blocks
    }

    /// The parts of instructions, which are texts.
    pub(super) fn texts(&mut self, parts: Vec<Part>) -> Vec<Value> {
        let mut blocks = self.blocks_omitting(parts);
        let all = blocks.len();
        blocks.retain(|block| is(block, "text"));
        self.losses.note_if(
            blocks.len() < all,
            "system",
            "Anthropic's instructions are texts; what was something else in them is left out",
        );
        blocks
    }

    fn part(&mut self, part: Part, is_assistant: bool, out: &mut Vec<Value>) {
        self.losses.note_if(
            part.signature.is_some(),
            "thought_signature",
            "the seal is another provider's, which is the only one to take it",
        );
        let block = match part.content {
            Content::Text { text, citations } => self.text(text, citations),
            Content::Refusal(text) => self.text(text, Vec::new()),
            Content::Media(media) if is_assistant => {
                self.losses.note("media", media::of_assistant(media.kind));
                None
            }
            Content::Media(media) => {
                if let Some(result) = media::search_result(&media, &part.extra) {
                    let content = self.blocks_of(media.source);
                    Some(media::finish_search_result(result, media.name, media.cite, content))
                } else {
                    media::block(media, self)
                }
            }
            Content::Thinking(thinking) => {
                if part.cache.is_some() {
                    self.losses
                        .note("cache marker", "Anthropic's thinking blocks take none");
                }
                let block = self.thinking(thinking);
                self.push(block, None, part.extra, out);
                return;
            }
            Content::ToolCall(call) => Some(self.call(&call)),
            Content::ToolResult(result) => Some(self.result(result)),
            Content::Native { origin, value } if origin == OWN => Some(value),
            Content::Native { .. } | Content::Deed(_) => {
                self.losses.note(
                    "a tool that the provider ran",
                    "only the provider that ran it can read what it did",
                );
                None
            }
        };
        self.push(block, part.cache.as_ref(), part.extra, out);
    }

    /// Adds a block with what stands on any block.
    fn push(&mut self, block: Option<Value>, cache: Option<&CacheMark>, extra: Extra, out: &mut Vec<Value>) {
        let Some(Value::Object(mut members)) = block else {
            // What was left out is noted; its marker moves to what stands before it, which the cache then ends with.
            if let (Some(mark), Some(Value::Object(before))) = (cache, out.last_mut())
                && before
                    .get("type")
                    .is_none_or(|kind| kind != "thinking" && kind != "redacted_thinking")
            {
                let mark = cache_control(mark, self.losses);
                before.entry("cache_control").or_insert(mark);
            }
            return;
        };
        if let Some(mark) = cache {
            members.insert("cache_control".to_owned(), cache_control(mark, self.losses));
        }
        put_back(&mut members, extra, self.losses);
        out.push(members.into());
    }

    fn text(&mut self, text: String, citations: Vec<Citation>) -> Option<Value> {
        if text.trim().is_empty() {
            self.losses.note_if(
                !text.is_empty(),
                "white space",
                "Anthropic refuses texts of nothing else",
            );
            return None;
        }
        let mut cited = Vec::new();
        for one in citations {
            cited.extend(self.citation(one));
        }
        let mut block = object([("type", "text".into()), ("text", text.into())]);
        if !cited.is_empty() {
            block["citations"] = cited.into();
        }
        Some(block)
    }

    /// Only what Anthropic cited itself goes back: it checks where the words stand.
    fn citation(&mut self, one: Citation) -> Option<Value> {
        let is_own = matches!(&one.native, Some((OWN, value)) if value["encrypted_index"] != "");
        if is_own {
            return citation(one, self.losses);
        }
        self.losses.note("citations", "Anthropic takes back only its own");
        None
    }

    /// Only what Claude sealed itself goes back.
    fn thinking(&mut self, thinking: Thinking) -> Option<Value> {
        let seal = thinking
            .signature
            .as_ref()
            .and_then(|seal| seal.for_claude(OWN, thinking.redacted));
        let Some(seal) = seal else {
            self.losses
                .note("thinking", "Anthropic takes back only thoughts that it sealed itself");
            return None;
        };
        Some(if thinking.redacted {
            json!({"type": "redacted_thinking", "data": seal})
        } else {
            object([
                ("type", "thinking".into()),
                ("thinking", thinking.text.into()),
                ("signature", seal.into_owned().into()),
            ])
        })
    }

    fn call(&mut self, call: &ToolCall) -> Value {
        json!({
            "type": "tool_use",
            "id": self.ids.get(call.id.as_deref().unwrap_or_default()),
            "name": call.name,
            "input": input(call, self.losses),
        })
    }

    fn result(&mut self, result: ToolResult) -> Value {
        let content = self.blocks_omitting(result.parts);
        let mut block = Members::new();
        block.insert("type".to_owned(), "tool_result".into());
        block.insert("tool_use_id".to_owned(), self.ids.get(&result.call).into());
        super::insert_list(&mut block, "content", content);
        super::insert(&mut block, "is_error", result.is_error.map(Value::from));
        block.into()
    }

    fn blocks_of(&mut self, source: crate::hub::Source) -> Vec<Value> {
        match source {
            crate::hub::Source::Parts(parts) => self.blocks(parts, false),
            _ => Vec::new(),
        }
    }
}
