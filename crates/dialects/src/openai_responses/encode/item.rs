//! The parts of items that requests and answers write alike.

use serde_json::{Map, Value, json};

use super::super::SELF;
use crate::hub::{Citation, CitedSource, Extra, Losses, Media, MediaKind, Source};

const FAMILY: &str = "only its own format has a place for it";

/// An annotation; a citation that this format has no place for is noted.
pub(super) fn annotation(citation: Citation, losses: &mut Losses) -> Option<Value> {
    if let Some((SELF, native)) = citation.native {
        return Some(native);
    }
    let (start, end) = citation.span.unwrap_or_default();
    match citation.source {
        CitedSource::Url { url, title } => Some(json!({
            "type": "url_citation",
            "start_index": start,
            "end_index": end,
            "title": title.unwrap_or_default(),
            "url": url,
        })),
        CitedSource::File { id, name } => Some(json!({
            "type": "file_citation",
            "file_id": id,
            "filename": name.unwrap_or_default(),
            "index": start,
        })),
        CitedSource::Document { .. } | CitedSource::Other => {
            losses.note("citations", "annotations are about web pages and uploaded files only");
            None
        }
    }
}

/// Puts back what only this format can say; what only others can is noted.
pub(super) fn put_back(members: &mut Map<String, Value>, what: &'static str, extra: Extra, losses: &mut Losses) {
    if extra.members.is_empty() {
        return;
    }
    if extra.origin == Some(SELF) {
        for (name, value) in extra.members {
            members.entry(name).or_insert(value);
        }
        return;
    }
    for name in extra.unsaid() {
        losses.note(format!("{what}.{name}"), FAMILY);
    }
}

/// A picture that the model made, as the call of the provider's tool that it came from or could have come from; `None`: it
/// is not here.
pub(super) fn picture(media: Media, id: Option<String>, extra: Extra, losses: &mut Losses) -> Option<Value> {
    let (MediaKind::Image, Source::Base64(data)) = (media.kind, media.source) else {
        losses.note("media", "Responses has no place for it beside its pictures");
        return None;
    };
    let format = media.mime.rsplit('/').next().filter(|format| !format.is_empty());
    let is_own = extra.origin == Some(SELF);
    let mut members = Map::new();
    set(&mut members, "id", id);
    members.insert("type".to_owned(), "image_generation_call".into());
    put_back(&mut members, "image", extra, losses);
    members.entry("status").or_insert_with(|| "completed".into());
    // Clients of others have it as it is usual.
    set(&mut members, "output_format", format.or((!is_own).then_some("png")));
    members.insert("result".to_owned(), data.into());
    Some(Value::Object(members))
}

/// An object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Adds a member where there is a value.
pub(super) fn set(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}
