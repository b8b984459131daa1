//! Pictures, files and sound in the content of messages and of tools' results.

use crate::hub::{BadRequest, Content, Fields, Media, MediaKind, Part, Source};

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
