//! What stands inside messages and tools' results.

use serde_json::{Map, Value, json};

use super::super::super::{SELF, WITHIN};
use super::super::item::{annotation, object, put_back, set};
use crate::hub::{CacheMark, Content, Losses, Media, MediaKind, Part, Source, nameless, native_name};

/// Why what another provider did is left out.
pub(super) const FOREIGN: &str = "only the format that it is of can say it";

/// Whose content it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The model's: texts and refusals.
    Model,
    /// A person's, the system's or a tool's.
    Others,
}

/// Media that this format cannot say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsayable {
    pub(super) what: &'static str,
    pub(super) why: &'static str,
}

/// A part of a message, as parts of this format; documents of several parts are several.
pub(super) fn part(
    mut part: Part,
    whose: Whose,
    is_family: bool,
    losses: &mut Losses,
) -> Result<Vec<Value>, Unsayable> {
    losses.note_if(
        part.signature.is_some(),
        "signature",
        "the seal is another provider's, which is the only one to take it",
    );
    let cache = part.cache.take();
    losses.note_if(
        cache.is_some() && !is_family,
        "cache_control",
        "OpenAI caches by itself",
    );
    let cache = cache.filter(|_| is_family && whose == Whose::Others);
    let mut extra = part.extra;
    extra.members.shift_remove(WITHIN);
    let told: Vec<Value> = match part.content {
        Content::Text { text, citations } => {
            let annotations: Vec<Value> = citations
                .into_iter()
                .filter_map(|citation| annotation(citation, losses))
                .collect();
            vec![said(whose, text, annotations)]
        }
        Content::Refusal(refusal) if whose == Whose::Model => vec![json!({"type": "refusal", "refusal": refusal})],
        Content::Refusal(refusal) => vec![said(whose, refusal, Vec::new())],
        Content::Media(_) if whose == Whose::Model => {
            losses.note("media", "messages of the assistant are text in Responses");
            Vec::new()
        }
        Content::Media(media) => self::media(media, is_family, losses)?,
        Content::Native { origin: SELF, value } => vec![value],
        Content::Native { value, .. } => {
            losses.note(native_name(&value), FOREIGN);
            Vec::new()
        }
        Content::Deed(deed) => {
            losses.note(deed.name(), FOREIGN);
            Vec::new()
        }
        Content::Thinking(_) | Content::ToolCall(_) | Content::ToolResult(_) => Vec::new(),
    };
    let last = told.len().saturating_sub(1);
    let mut parts = Vec::with_capacity(told.len());
    for (place, told) in told.into_iter().enumerate() {
        let mut members = object(told);
        if place == last {
            set(&mut members, "prompt_cache_breakpoint", cache.as_ref().map(breakpoint));
            put_back(&mut members, "content", std::mem::take(&mut extra), losses);
        }
        parts.push(Value::Object(members));
    }
    Ok(parts)
}

fn said(whose: Whose, text: String, annotations: Vec<Value>) -> Value {
    if whose == Whose::Others {
        return json!({"type": "input_text", "text": text});
    }
    let mut members = Map::new();
    members.insert("type".to_owned(), "output_text".into());
    members.insert("text".to_owned(), text.into());
    if !annotations.is_empty() {
        members.insert("annotations".to_owned(), annotations.into());
    }
    Value::Object(members)
}

fn breakpoint(mark: &CacheMark) -> Value {
    match mark.ttl.as_deref() {
        Some("1h") => json!({"mode": "explicit", "ttl": "12h"}),
        _ => json!({"mode": "explicit"}),
    }
}

fn media(media: Media, is_family: bool, losses: &mut Losses) -> Result<Vec<Value>, Unsayable> {
    losses.note_if(
        media.cite == Some(true),
        "document.citations",
        "Responses cites no files of the prompt",
    );
    Ok(match (media.kind, media.source) {
        (MediaKind::Image, source) => vec![image(source, &media.mime, media.detail)?],
        (MediaKind::Audio, Source::Base64(data)) => {
            let format = match media.mime.as_str() {
                "audio/mpeg" | "audio/mp3" => "mp3",
                "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
                _ => {
                    let (what, why) = ("audio", "Responses takes WAV and MP3");
                    return Err(Unsayable { what, why });
                }
            };
            // What a message may hold is text, pictures and files (openai 3.57, `types/responses/response_input_content.py`);
            // the part exists (`response_input_audio.py`), and OpenAI refuses it in words. Left out, the question would be
            // answered without what it is about.
            losses.note(
                "input_audio",
                "OpenAI lists no sound among what a message of Responses holds; it is sent for providers that take it",
            );
            vec![json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})]
        }
        (MediaKind::Video | MediaKind::Audio, _) => {
            let what = if media.kind == MediaKind::Video {
                "video"
            } else {
                "audio"
            };
            let why = "Responses takes pictures, files and short sounds in base64";
            return Err(Unsayable { what, why });
        }
        (MediaKind::Document, Source::Text(text)) => {
            losses.note("document", "told as text: Responses has no documents of text");
            let title = media.name.map(|name| format!("{name}\n\n")).unwrap_or_default();
            vec![json!({"type": "input_text", "text": format!("{title}{text}")})]
        }
        (MediaKind::Document, Source::Parts(parts)) => {
            losses.note("document", "told part by part: Responses has no documents of parts");
            let mut told = Vec::with_capacity(parts.len());
            for inner in parts {
                told.extend(part(inner, Whose::Others, is_family, losses)?);
            }
            told
        }
        (MediaKind::Document, source) => vec![file(source, &media.mime, media.name, media.detail)],
    })
}

fn image(source: Source, mime: &str, detail: Option<String>) -> Result<Value, Unsayable> {
    let (name, place) = match source {
        Source::Url(url) => ("image_url", url),
        Source::Base64(data) => ("image_url", data_url(mime, "image/png", &data)),
        Source::File(id) => ("file_id", id),
        Source::Text(_) | Source::Parts(_) => {
            let (what, why) = ("image", "a picture is neither text nor parts");
            return Err(Unsayable { what, why });
        }
    };
    let mut members = Map::new();
    members.insert("type".to_owned(), "input_image".into());
    members.insert(name.to_owned(), place.into());
    set(&mut members, "detail", detail);
    Ok(Value::Object(members))
}

fn file(source: Source, mime: &str, name: Option<String>, detail: Option<String>) -> Value {
    let mut members = Map::new();
    members.insert("type".to_owned(), "input_file".into());
    match source {
        Source::Url(url) => set(&mut members, "file_url", Some(url)),
        Source::File(id) => set(&mut members, "file_id", Some(id)),
        Source::Base64(data) => {
            // Data without a name is refused.
            let name = name.clone().unwrap_or_else(|| nameless(mime));
            members.insert("filename".to_owned(), name.into());
            members.insert("file_data".to_owned(), data_url(mime, "application/pdf", &data).into());
        }
        Source::Text(_) | Source::Parts(_) => {}
    }
    if let Some(name) = name {
        members.insert("filename".to_owned(), name.into());
    }
    set(&mut members, "detail", detail);
    Value::Object(members)
}

fn data_url(mime: &str, default: &str, data: &str) -> String {
    let mime = if mime.is_empty() { default } else { mime };
    format!("data:{mime};base64,{data}")
}
