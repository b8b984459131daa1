//! What a model said, as a message: in a history that goes to an upstream, and in an answer that goes to a client.
//!
//! The two differ in who reads them. An upstream gets back only what it can have said itself; a client gets everything,
//! with foreign seals wrapped so that they come home ([`crate::hub::Signature`]).

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::message::{Marked, mark, texts_of};
use super::request::put;
use crate::hub::{
    Citation, CitedSource, Content, Losses, Media, MediaKind, Message, Part, Source, Thinking, ToolCall, native_name,
};
use crate::openai_chat::detail;
use crate::translate::Target;

/// The members of a message, gathered from its parts.
#[derive(Debug, Default)]
struct Gathered {
    texts: Vec<Marked>,
    refusal: Option<String>,
    thinking: Vec<Thinking>,
    calls: Vec<Value>,
    annotations: Vec<Value>,
    images: Vec<Value>,
    audio: Option<Value>,
}

impl Gathered {
    /// Whether there is nothing without which a message is refused: thinking alone does not make one.
    const fn says_nothing(&self) -> bool {
        self.texts.is_empty() && self.refusal.is_none() && self.calls.is_empty() && self.audio.is_none()
    }
}

/// An assistant's turn for an upstream. `None`: nothing of it can be said here (it was thinking, or what a provider's tool
/// did), and a message that neither says nor calls anything is refused.
pub(super) fn message(message: Message, target: &Target<'_>, losses: &mut Losses) -> Option<Value> {
    let takes_seals = target.quirks.extra_content;
    let reader = Reader::Upstream { takes_seals, target };
    let gathered = gather(message.parts, reader, losses);
    losses.note_if(
        !gathered.images.is_empty(),
        "images",
        "pictures that the model made cannot be sent back",
    );
    if gathered.says_nothing() {
        losses.note_if(
            !gathered.thinking.is_empty(),
            "thinking",
            "a turn of nothing else is not taken back",
        );
        return None;
    }
    let mut written = Map::new();
    written.insert("role".to_owned(), "assistant".into());
    let content = if gathered.texts.is_empty() {
        Value::Null
    } else {
        texts_of(gathered.texts, target)
    };
    written.insert("content".to_owned(), content);
    put(&mut written, "refusal", gathered.refusal.map(Value::from));
    put(&mut written, "name", message.name.map(Value::from));
    remembered(gathered.thinking, target, &mut written, losses);
    put(&mut written, "audio", gathered.audio);
    if !gathered.calls.is_empty() {
        written.insert("tool_calls".to_owned(), gathered.calls.into());
    }
    if message.extra.origin == Some(Dialect::OpenaiChat) {
        for (name, value) in message.extra.members {
            written.entry(name).or_insert(value);
        }
    }
    Some(Value::Object(written))
}

/// The entry of `reasoning_details` that has the seal of this format's own; `None`: there is no such seal.
fn entry(thought: &Thinking) -> Option<Value> {
    let seal = thought.signature.as_ref()?.for_upstream(Dialect::OpenaiChat)?;
    // Seals of conversations that were begun with an earlier version are signatures by themselves.
    Some(detail::write(thought).unwrap_or_else(|| {
        if thought.redacted {
            json!({"type": "reasoning.encrypted", "data": seal})
        } else {
            json!({"type": "reasoning.text", "text": thought.text, "signature": seal})
        }
    }))
}

/// Thinking of earlier turns, where the provider takes it back: as it told it (`OpenRouter`), or (DeepSeek's kin) in plain words.
/// Nobody else gets either: an unknown member is a 400 at many.
fn remembered(thinking: Vec<Thinking>, target: &Target<'_>, written: &mut Map<String, Value>, losses: &mut Losses) {
    let mut details = Vec::new();
    let mut text = String::new();
    for thought in thinking {
        let takes_words = target.quirks.reasoning_content || target.quirks.reasoning;
        let says_nothing = thought.text.is_empty() && thought.signature.is_some();
        match entry(&thought) {
            Some(entry) if target.quirks.reasoning_details => details.push(entry),
            _ if takes_words && !says_nothing => text.push_str(&thought.text),
            _ => losses.note("thinking", "the target does not take back reasoning of earlier turns"),
        }
    }
    let member = if target.quirks.reasoning {
        "reasoning"
    } else {
        "reasoning_content"
    };
    put(written, member, (!text.is_empty()).then(|| text.into()));
    put(
        written,
        "reasoning_details",
        (!details.is_empty()).then(|| details.into()),
    );
}

/// An answer's message for a client.
pub(super) fn answer(parts: Vec<Part>, fallback_id: &str, legacy: bool, losses: &mut Losses) -> Value {
    let mut gathered = gather(parts, Reader::Client(fallback_id), losses);
    let mut written = Map::new();
    written.insert("role".to_owned(), "assistant".into());
    let text: String = gathered.texts.into_iter().map(|(text, _)| text).collect();
    let is_silent = text.is_empty() && (!gathered.calls.is_empty() || gathered.refusal.is_some());
    written.insert("content".to_owned(), if is_silent { Value::Null } else { text.into() });
    written.insert("refusal".to_owned(), gathered.refusal.map_or(Value::Null, Value::from));
    let reasoning: String = gathered
        .thinking
        .iter()
        .map(|thinking| thinking.text.as_str())
        .collect();
    put(
        &mut written,
        "reasoning_content",
        (!reasoning.is_empty()).then(|| reasoning.into()),
    );
    let details: Vec<Value> = gathered
        .thinking
        .iter()
        .enumerate()
        .filter_map(|(at, thought)| detail(thought, at, true))
        .collect();
    put(
        &mut written,
        "reasoning_details",
        (!details.is_empty()).then(|| details.into()),
    );
    if legacy && !gathered.calls.is_empty() {
        losses.note_if(
            gathered.calls.len() > 1,
            "tool_calls",
            "`function_call` has place for one",
        );
        put(
            &mut written,
            "function_call",
            gathered.calls.swap_remove(0).get("function").cloned(),
        );
    } else if !gathered.calls.is_empty() {
        written.insert("tool_calls".to_owned(), gathered.calls.into());
    }
    put(&mut written, "audio", gathered.audio);
    put(
        &mut written,
        "images",
        (!gathered.images.is_empty()).then(|| gathered.images.into()),
    );
    written.insert("annotations".to_owned(), gathered.annotations.into());
    Value::Object(written)
}

/// Seals of reasoning in OpenRouter's words; `None`: there is none. What OpenRouter told itself is told as it was.
pub(super) fn detail(thought: &Thinking, index: usize, with_text: bool) -> Option<Value> {
    if let Some(own) = detail::write(thought) {
        return Some(own);
    }
    let seal = thought.signature.as_ref()?.for_client(Dialect::OpenaiChat);
    if thought.redacted {
        return Some(json!({"type": "reasoning.encrypted", "data": seal, "index": index}));
    }
    let mut detail = json!({"type": "reasoning.text", "signature": seal, "index": index});
    if with_text {
        detail["text"] = thought.text.as_str().into();
    }
    Some(detail)
}

/// Why what a provider's tools did is not told.
pub(super) const UNSHOWN: &str = "Chat Completions shows what was cited, not what the provider's tools did";

/// Who reads.
#[derive(Clone, Copy)]
enum Reader<'a> {
    Upstream {
        /// Whether it is Gemini behind this format, and wants back the seals of its tool calls.
        takes_seals: bool,
        target: &'a Target<'a>,
    },
    /// With what ids of calls begin that have none.
    Client(&'a str),
}

impl Reader<'_> {
    /// Whether seals of tool calls are told.
    const fn takes_seals(self) -> bool {
        !matches!(self, Self::Upstream { takes_seals: false, .. })
    }

    const fn why_no_seal(self) -> &'static str {
        match self {
            Self::Upstream { .. } => "the target does not take back the seals of another provider",
            Self::Client(_) => "the format has a place for the seals of tool calls only",
        }
    }
}

fn gather(parts: Vec<Part>, reader: Reader<'_>, losses: &mut Losses) -> Gathered {
    let mut gathered = Gathered::default();
    for part in parts {
        let mark = match reader {
            Reader::Upstream { target, .. } => mark(part.cache, target, losses),
            Reader::Client(_) => None,
        };
        let is_marked = mark.is_some();
        let signature = part.signature;
        let is_call = matches!(part.content, Content::ToolCall(_));
        losses.note_if(
            signature.is_some() && !(is_call && reader.takes_seals()),
            "thought_signature",
            reader.why_no_seal(),
        );
        match part.content {
            Content::Text { text, citations } => {
                losses.note_if(
                    !citations.is_empty() && matches!(reader, Reader::Upstream { .. }),
                    "citations",
                    "those of earlier answers are not sent back",
                );
                let before: usize = gathered.texts.iter().map(|(text, _)| text.chars().count()).sum();
                if matches!(reader, Reader::Client(_)) {
                    let shown = citations
                        .iter()
                        .filter_map(|citation| annotation(citation, before as u64, losses));
                    gathered.annotations.extend(shown);
                }
                if !text.is_empty() {
                    gathered.texts.push((text, mark));
                    continue;
                }
            }
            Content::Refusal(text) => gathered.refusal = Some(gathered.refusal.take().unwrap_or_default() + &text),
            Content::Thinking(thinking) => gathered.thinking.push(thinking),
            Content::ToolCall(call) => {
                let place = gathered.calls.len();
                let seal = signature.and_then(|seal| match reader {
                    Reader::Upstream { takes_seals, .. } => {
                        let own = seal.for_upstream(Dialect::Gemini).filter(|_| takes_seals);
                        own.map(str::to_owned)
                    }
                    Reader::Client(_) => Some(seal.for_client(Dialect::Gemini)),
                });
                gathered.calls.push(tool_call(call, reader, place, seal));
            }
            Content::Media(media) => said_media(media, part.item, &mut gathered, reader, losses),
            Content::ToolResult(_) => losses.note("tool_result", "a model does not answer tools"),
            Content::Native {
                origin: Dialect::OpenaiChat,
                value,
            } => {
                let text = value.get("text").and_then(Value::as_str);
                gathered.texts.extend(text.map(|text| (text.to_owned(), None)));
            }
            Content::Deed(deed) => losses.note(deed.name(), UNSHOWN),
            Content::Native { value, .. } => {
                losses.note(native_name(&value), "only the provider's own format can say it");
            }
        }
        losses.note_if(
            is_marked,
            "cache_control",
            "the target's marks stand on texts; this one stood on something else of the model's",
        );
    }
    gathered
}

fn tool_call(call: ToolCall, reader: Reader<'_>, place: usize, seal: Option<String>) -> Value {
    let id = call.id.unwrap_or_else(|| match reader {
        Reader::Upstream { .. } => format!("call_{place}"),
        Reader::Client(base) => format!("call_{base}_{place}"),
    });
    let mut written = Map::new();
    written.insert("id".to_owned(), id.into());
    if call.custom {
        written.insert("type".to_owned(), "custom".into());
        written.insert("custom".to_owned(), json!({"name": call.name, "input": call.arguments}));
    } else {
        let arguments = if call.arguments.trim().is_empty() {
            "{}".to_owned()
        } else {
            call.arguments
        };
        written.insert("type".to_owned(), "function".into());
        written.insert(
            "function".to_owned(),
            json!({"name": call.name, "arguments": arguments}),
        );
    }
    put(
        &mut written,
        "extra_content",
        seal.map(|seal| json!({"google": {"thought_signature": seal}})),
    );
    Value::Object(written)
}

fn said_media(media: Media, item: Option<String>, gathered: &mut Gathered, reader: Reader<'_>, losses: &mut Losses) {
    match (media.kind, media.source, reader) {
        (MediaKind::Audio, Source::File(id), Reader::Upstream { .. }) => gathered.audio = Some(json!({"id": id})),
        (MediaKind::Audio, Source::Base64(data), Reader::Client(base)) => {
            losses.note_if(gathered.audio.is_some(), "audio", "a message has place for one sound");
            gathered.audio = Some(json!({
                "id": item.unwrap_or_else(|| format!("audio_{base}")),
                "data": data,
                "transcript": media.context.unwrap_or_default(),
                "expires_at": 0,
            }));
        }
        (MediaKind::Image, Source::Base64(data), _) => {
            let mime = if media.mime.is_empty() {
                "image/png"
            } else {
                &media.mime
            };
            gathered.images.push(image(&format!("data:{mime};base64,{data}")));
        }
        (MediaKind::Image, Source::Url(url), _) => gathered.images.push(image(&url)),
        _ => losses.note("media", "a message of the model has no place for this kind of media"),
    }
}

/// A picture that the model made.
pub(super) fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

/// A citation in this format's words: pages of the web only.
pub(super) fn annotation(citation: &Citation, before: u64, losses: &mut Losses) -> Option<Value> {
    if let Some((Dialect::OpenaiChat, native)) = &citation.native {
        return Some(native.clone());
    }
    let CitedSource::Url { url, title } = &citation.source else {
        losses.note("citations", "only pages of the web can be cited in this format");
        return None;
    };
    let (from, to) = citation.span.unwrap_or_default();
    Some(json!({
        "type": "url_citation",
        "url_citation": {
            "start_index": from + before,
            "end_index": to + before,
            "title": title.as_deref().unwrap_or_default(),
            "url": url,
        },
    }))
}
