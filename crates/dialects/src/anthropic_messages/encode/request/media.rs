//! Pictures and documents. Sound and film are nothing that Anthropic's models take: a question with them is refused, because
//! without them it would be another one ([`Writer::unsayable`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::parts::Writer;
use crate::anthropic_messages::encode::OWN;
use crate::anthropic_messages::encode::blocks::{Members, object};
use crate::hub::{Extra, Media, MediaKind, Source};

/// Pictures that Anthropic takes.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Why media of the assistant are left out.
pub(super) const fn of_assistant(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "Anthropic's models make no pictures, so none may stand in their turns",
        _ => "Anthropic's models say only text, so nothing else may stand in their turns",
    }
}

/// A picture or document as a block; `None`: the format cannot say it, which [`Writer::unsayable`] knows.
pub(super) fn block(mut media: Media, writer: &mut Writer<'_>) -> Option<Value> {
    unpack(&mut media);
    match media.kind {
        MediaKind::Image => image(media, writer),
        MediaKind::Document => document(media, writer),
        MediaKind::Audio => {
            writer.unsayable("audio", "Anthropic's models do not hear");
            None
        }
        MediaKind::Video => {
            writer.unsayable("video", "Anthropic's models do not watch films");
            None
        }
    }
}

/// A `data:` address is what it contains.
fn unpack(media: &mut Media) {
    if let Source::Url(url) = &media.source
        && let Some((kind, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(','))
        && let Some(mime) = kind.strip_suffix(";base64")
    {
        if media.mime.is_empty() {
            mime.clone_into(&mut media.mime);
        }
        media.source = Source::Base64(data.to_owned());
    }
}

fn image(media: Media, writer: &mut Writer<'_>) -> Option<Value> {
    let is_told = media.detail.as_deref().is_none_or(|detail| detail == "auto");
    writer
        .losses
        .note_if(!is_told, "detail", "Anthropic looks at pictures in one way only");
    let source = match media.source {
        Source::Base64(data) => {
            let mime = if media.mime.is_empty() || media.mime == "image/*" {
                sniff(&data)
            } else if media.mime == "image/jpg" {
                "image/jpeg"
            } else {
                &media.mime
            };
            if !IMAGES.contains(&mime) {
                writer.unsayable("image", "Anthropic takes JPEG, PNG, GIF and WebP only");
                return None;
            }
            object([
                ("type", "base64".into()),
                ("media_type", mime.into()),
                ("data", data.into()),
            ])
        }
        Source::Url(url) => json!({"type": "url", "url": url}),
        Source::File(id) => json!({"type": "file", "file_id": id}),
        Source::Text(_) | Source::Parts(_) => {
            writer.unsayable("image", "a text is no picture");
            return None;
        }
    };
    Some(object([("type", "image".into()), ("source", source)]))
}

/// The kind of a picture by its first bytes, which base64 shows as these letters.
fn sniff(data: &str) -> &'static str {
    let starts = [("/9j/", IMAGES[0]), ("R0lGOD", IMAGES[2]), ("UklGR", IMAGES[3])];
    let known = starts.into_iter().find(|(start, _)| data.starts_with(start));
    known.map_or(IMAGES[1], |(_, mime)| mime)
}

fn document(media: Media, writer: &mut Writer<'_>) -> Option<Value> {
    let source = match media.source {
        Source::Base64(data) => inline(&media.mime, data, writer)?,
        Source::Url(url) => json!({"type": "url", "url": url}),
        Source::File(id) => json!({"type": "file", "file_id": id}),
        Source::Text(text) => plain(text),
        Source::Parts(parts) => json!({"type": "content", "content": writer.blocks(parts, false)}),
    };
    let mut block = Members::new();
    block.insert("type".to_owned(), "document".into());
    block.insert("source".to_owned(), source);
    super::insert(&mut block, "title", media.name.map(Value::from));
    super::insert(&mut block, "context", media.context.map(Value::from));
    super::insert(&mut block, "citations", media.cite.map(|cite| json!({"enabled": cite})));
    Some(block.into())
}

fn plain(text: String) -> Value {
    object([
        ("type", "text".into()),
        ("media_type", "text/plain".into()),
        ("data", text.into()),
    ])
}

/// A document in base64: a PDF as it is, text of any kind as plain text.
fn inline(mime: &str, data: String, writer: &mut Writer<'_>) -> Option<Value> {
    let mime = mime.split(';').next().unwrap_or_default();
    // `%PDF` in base64.
    if mime == "application/pdf" || (mime.is_empty() && data.starts_with("JVBERi")) {
        return Some(object([
            ("type", "base64".into()),
            ("media_type", "application/pdf".into()),
            ("data", data.into()),
        ]));
    }
    let is_text = mime.starts_with("text/")
        || matches!(
            mime,
            "" | "application/json" | "application/xml" | "application/yaml" | "application/x-yaml"
        );
    let text = STANDARD
        .decode(&data)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(text) = text.filter(|_| is_text) {
        return Some(plain(text));
    }
    writer.unsayable("document", "Anthropic takes PDF and text only");
    None
}

/// Whether a document came as a search result of Anthropic's format, and its address.
pub(super) fn search_result(media: &Media, extra: &Extra) -> Option<Value> {
    let is_one = extra.origin == Some(OWN) && extra.members.get("type").is_some_and(|kind| kind == "search_result");
    (is_one && matches!(media.source, Source::Parts(_))).then(|| json!({"type": "search_result"}))
}

/// A search result; its address is among what only Anthropic says.
pub(super) fn finish_search_result(
    mut block: Value,
    title: Option<String>,
    cite: Option<bool>,
    content: Vec<Value>,
) -> Value {
    if let Some(title) = title {
        block["title"] = title.into();
    }
    block["content"] = content.into();
    if let Some(cite) = cite {
        block["citations"] = json!({"enabled": cite});
    }
    block
}
