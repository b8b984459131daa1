//! Pictures, documents, films and sound: bytes, or what lies in S3. Nothing is fetched from elsewhere here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::put;
use crate::bedrock_converse::family::Family;
use crate::hub::{BadRequest, Content, Losses, Media, MediaKind, Part, Source, Telling, as_texts, is_search_result};

/// Characters of a document's name:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>.
const NAME_MAX: usize = 200;

/// Gives documents the names that they must have here: of few characters, each but once in a conversation.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    fn of(&mut self, name: Option<&str>) -> String {
        let plain = plain(name.unwrap_or_default());
        let base = if plain.is_empty() { "document" } else { &plain };
        let mut found = base.to_owned();
        let mut count = 1;
        while self.0.contains(&found) {
            count += 1;
            found = format!("{base} {count}");
        }
        self.0.push(found.clone());
        found
    }
}

/// Letters, digits, single spaces, hyphens, parentheses and square brackets are possible.
fn plain(name: &str) -> String {
    let kept = name.chars().map(|letter| {
        if letter.is_ascii_alphanumeric() || "-()[]".contains(letter) {
            letter
        } else {
            ' '
        }
    });
    let words: String = kept.collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").chars().take(NAME_MAX).collect()
}

/// Writes media as a block.
pub(super) fn block(media: Media, names: &mut Names, losses: &mut Losses) -> Result<Value, BadRequest> {
    losses.note_if(
        media.detail.is_some(),
        "detail",
        "the target looks as closely as it likes",
    );
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
        MediaKind::Document => return document(media, names),
    };
    let mut inner = Map::new();
    inner.insert("format".to_owned(), format(&media)?.into());
    inner.insert("source".to_owned(), source(media.source)?);
    Ok(json!({kind: inner}))
}

/// A search result: Claude takes it as such, others as texts
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_SearchResultBlock.html>). It is taken out of the
/// part.
pub(super) fn search_result(part: &mut Part, family: Family, losses: &mut Losses) -> Option<Vec<Value>> {
    if !is_search_result(part) {
        return None;
    }
    let mut found = std::mem::replace(part, Part::text(""));
    part.cache = found.cache.take();
    if matches!(family, Family::Claude(_))
        && let Some(block) = native(&found)
    {
        return Some(vec![block]);
    }
    let telling = Telling {
        text_files: true,
        names: true,
    };
    let texts = as_texts(found, telling, losses).into_iter();
    let texts = texts.filter_map(|part| part.as_text().filter(|text| !text.trim().is_empty()).map(str::to_owned));
    Some(texts.map(|text| json!({"text": text})).collect())
}

/// Title, address and texts must all be there.
fn native(part: &Part) -> Option<Value> {
    let Content::Media(media) = &part.content else {
        return None;
    };
    let Source::Parts(parts) = &media.source else {
        return None;
    };
    let texts: Option<Vec<Value>> = parts
        .iter()
        .map(|part| part.as_text().map(|text| json!({"text": text})))
        .collect();
    let mut inner = Map::new();
    inner.insert("source".to_owned(), part.extra.members.get("source")?.clone());
    inner.insert("title".to_owned(), media.name.clone()?.into());
    inner.insert("content".to_owned(), texts.filter(|texts| !texts.is_empty())?.into());
    put(&mut inner, "citations", media.cite.map(|cite| json!({"enabled": cite})));
    Some(json!({"searchResult": inner}))
}

fn document(media: Media, names: &mut Names) -> Result<Value, BadRequest> {
    let mut inner = Map::new();
    inner.insert("format".to_owned(), format(&media)?.into());
    inner.insert("name".to_owned(), names.of(media.name.as_deref()).into());
    inner.insert("source".to_owned(), source(media.source)?);
    put(&mut inner, "context", media.context.map(Value::from));
    put(
        &mut inner,
        "citations",
        media.cite.filter(|cite| *cite).map(|_| json!({"enabled": true})),
    );
    Ok(json!({"document": inner}))
}

/// Bedrock's word for a MIME type. Where none was said, the commonest of the kind.
fn format(media: &Media) -> Result<&'static str, BadRequest> {
    let mime = media.mime.split(';').next().unwrap_or_default().trim();
    if matches!(media.source, Source::Text(_) | Source::Parts(_)) {
        return Ok("txt");
    }
    Ok(match (media.kind, mime) {
        (MediaKind::Image, "" | "image/png") => "png",
        (MediaKind::Image, "image/jpeg" | "image/jpg") => "jpeg",
        (MediaKind::Image, "image/gif") => "gif",
        (MediaKind::Image, "image/webp") => "webp",
        (MediaKind::Document, "" | "application/pdf") => "pdf",
        (MediaKind::Document, "text/csv") => "csv",
        (MediaKind::Document, "application/msword") => "doc",
        (MediaKind::Document, "application/vnd.openxmlformats-officedocument.wordprocessingml.document") => "docx",
        (MediaKind::Document, "application/vnd.ms-excel") => "xls",
        (MediaKind::Document, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet") => "xlsx",
        (MediaKind::Document, "text/html") => "html",
        (MediaKind::Document, "text/markdown") => "md",
        // Whatever else is text can be read as such.
        (MediaKind::Document, _) if mime.starts_with("text/") || mime == "application/json" => "txt",
        (MediaKind::Video, "" | "video/mp4") | (MediaKind::Audio, "audio/mp4") => "mp4",
        (MediaKind::Video, "video/quicktime") => "mov",
        (MediaKind::Video, "video/x-matroska") => "mkv",
        (MediaKind::Video, "video/webm") | (MediaKind::Audio, "audio/webm") => "webm",
        (MediaKind::Video, "video/x-flv") => "flv",
        (MediaKind::Video, "video/mpeg" | "video/mpg") => "mpeg",
        (MediaKind::Video, "video/x-ms-wmv") => "wmv",
        (MediaKind::Video, "video/3gpp") => "three_gp",
        (MediaKind::Audio, "" | "audio/wav" | "audio/x-wav" | "audio/wave") => "wav",
        (MediaKind::Audio, "audio/mpeg" | "audio/mp3") => "mp3",
        (MediaKind::Audio, "audio/flac" | "audio/x-flac") => "flac",
        (MediaKind::Audio, "audio/aac") => "aac",
        (MediaKind::Audio, "audio/ogg") => "ogg",
        (MediaKind::Audio, "audio/opus") => "opus",
        _ => {
            let problem = format!("the target takes no media of the type `{mime}`; convert it");
            return Err(BadRequest::new("messages", problem));
        }
    })
}

fn source(source: Source) -> Result<Value, BadRequest> {
    match source {
        Source::Base64(data) => Ok(json!({"bytes": data})),
        Source::Url(url) if url.starts_with("s3://") => Ok(json!({"s3Location": {"uri": url}})),
        Source::Text(text) => Ok(json!({"bytes": STANDARD.encode(text)})),
        Source::Parts(parts) => {
            let mut texts = Vec::with_capacity(parts.len());
            for part in parts {
                match part.content {
                    Content::Text { text, .. } if text.is_empty() => {}
                    Content::Text { text, .. } => texts.push(json!({"text": text})),
                    _ => {
                        let problem = "the target takes documents of parts only where all of these are texts";
                        return Err(BadRequest::new("messages", problem));
                    }
                }
            }
            Ok(json!({"content": texts}))
        }
        Source::Url(_) => Err(BadRequest::new(
            "messages",
            "the target takes media only as data or from S3; send them in base64",
        )),
        Source::File(_) => Err(BadRequest::new(
            "messages",
            "the target does not have the client's files; send them in base64",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_different() {
        let mut names = Names::default();
        let given: Vec<_> = [Some("über_uns.pdf"), Some("a  b"), Some("a b"), None, None]
            .into_iter()
            .map(|name| names.of(name))
            .collect();
        assert_eq!(given, ["ber uns pdf", "a b", "a b 2", "document", "document 2"]);
    }
}
