//! Pictures, files and sound in the content of messages and of tools' results.

use serde_json::Value;

use super::super::{SELF, text_of};
use crate::hub::{BadRequest, Content, Extra, Fields, Media, MediaKind, Part, Source};

/// A member that no part of a message has.
const STATUS: &str = "status";

/// An `input_image`.
pub(super) fn image(fields: &mut Fields) -> Result<Part, BadRequest> {
    let detail = fields.text("detail")?;
    let (source, mime) = match (fields.text("image_url")?, fields.has("file_id")) {
        (Some(url), _) => located(url),
        (None, true) => (Source::File(fields.required_text("file_id")?), String::new()),
        (None, false) => return Err(fields.error("image_url", "is missing; a URL, or a `file_id`, belongs here")),
    };
    Ok(part(MediaKind::Image, source, mime, None, detail))
}

/// An `input_file`.
pub(super) fn file(fields: &mut Fields) -> Result<Part, BadRequest> {
    let (name, detail) = (fields.text("filename")?, fields.text("detail")?);
    let (source, mime) = if let Some(data) = fields.text("file_data")? {
        match data_url(&data) {
            Some((mime, data)) => (Source::Base64(data.to_owned()), mime.to_owned()),
            None => (Source::Base64(data), String::new()),
        }
    } else if let Some(url) = fields.text("file_url")? {
        located(url)
    } else if fields.has("file_id") {
        (Source::File(fields.required_text("file_id")?), String::new())
    } else {
        return Err(fields.error(
            "file_data",
            "is missing; data, a `file_url` or a `file_id` belongs here",
        ));
    };
    let kind = MediaKind::of(&mime);
    Ok(part(kind, source, mime, name, detail))
}

/// An `input_audio`.
pub(super) fn audio(fields: &mut Fields) -> Result<Part, BadRequest> {
    let mut inner = fields
        .object("input_audio")?
        .ok_or_else(|| fields.error("input_audio", "is missing; an object belongs here"))?;
    let (data, format) = (inner.required_text("data")?, inner.required_text("format")?);
    let mime = match format.as_str() {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    };
    Ok(part(MediaKind::Audio, Source::Base64(data), mime, None, None))
}

/// An `image_generation_call`: the picture that it made, which other formats have a place for, too. One that made none
/// (yet, or any more) is none. What is said of it beside (`size`, `revised_prompt`) and its status go with it, and tell it
/// from pictures inside messages ([`is_made`]).
pub(super) fn made(item: Value) -> Part {
    // What is no base64 (a cut or masked log, say) is a picture to nobody, and readers of other formats refuse it.
    let is_base64 = |data: &str| {
        data.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
    };
    let has_result = text_of(&item, "result").is_some_and(|data| !data.is_empty() && is_base64(data));
    let Value::Object(mut members) = item else {
        return super::answer::native(item);
    };
    if !has_result {
        return super::answer::native(Value::Object(members));
    }
    members.retain(|_, value| !value.is_null());
    members.shift_remove("type");
    let mut text = |name: &str| match members.shift_remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (id, data, format) = (text("id"), text("result"), text("output_format"));
    let status = text("status").unwrap_or_else(|| "completed".to_owned());
    members.insert(STATUS.to_owned(), status.into());
    let mime = format.map(|format| format!("image/{format}"));
    let mut part = part(
        MediaKind::Image,
        Source::Base64(data.unwrap_or_default()),
        mime.unwrap_or_default(),
        None,
        None,
    );
    part.item = id;
    part.extra = Extra {
        origin: Some(SELF),
        members,
    };
    part
}

/// Whether a part is a picture that the provider's tool made, an item of its own.
pub(in crate::openai_responses) fn is_made(part: &Part) -> bool {
    matches!(&part.content, Content::Media(media) if media.kind == MediaKind::Image)
        && part.extra.origin == Some(SELF)
        && part.extra.members.contains_key(STATUS)
}

fn part(kind: MediaKind, source: Source, mime: String, name: Option<String>, detail: Option<String>) -> Part {
    Part::new(Content::Media(Media {
        kind,
        source,
        mime,
        name,
        detail,
        context: None,
        cite: None,
    }))
}

fn located(url: String) -> (Source, String) {
    match data_url(&url) {
        Some((mime, data)) => (Source::Base64(data.to_owned()), mime.to_owned()),
        None => (Source::Url(url), String::new()),
    }
}

/// MIME type and base64 of a data URL.
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    let mime = head.split(';').next().unwrap_or_default();
    Some((mime, data))
}
