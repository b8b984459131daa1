//! The conversation as an upstream gets it.
//!
//! Results of tools are messages of their own here, right behind the turn that called them; what else the client said in
//! that turn follows. Pictures that a tool returned have no place in a tool's message and go into the person's.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::request::put;
use super::said;
use crate::hub::{
    BadRequest, CacheMark, Content, Losses, Media, MediaKind, Message, Part, Role, Source, ToolResult, nameless,
};
use crate::translate::Target;

/// Writes the messages.
pub(super) fn messages(messages: Vec<Message>, target: &Target<'_>, losses: &mut Losses) -> Result<Value, BadRequest> {
    let mut list = Vec::with_capacity(messages.len());
    let mut held: Vec<Part> = Vec::new();
    for message in messages {
        let is_result = message
            .parts
            .iter()
            .any(|part| matches!(part.content, Content::ToolResult(_)));
        if !is_result && message.role != Role::User {
            flush(&mut held, &mut list, target, losses)?;
        }
        match message.role {
            Role::System | Role::Developer => list.extend(instructions(message, target, losses)),
            Role::Assistant => list.extend(said::message(message, target, losses)),
            Role::User => user(message, &mut held, &mut list, target, losses)?,
        }
    }
    flush(&mut held, &mut list, target, losses)?;
    Ok(Value::Array(list))
}

/// Pictures of tools, once all results of the turn are told.
fn flush(
    held: &mut Vec<Part>,
    list: &mut Vec<Value>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<(), BadRequest> {
    let content = content(std::mem::take(held), target, losses)?;
    list.extend(content.map(|content| json!({"role": "user", "content": content})));
    Ok(())
}

fn instructions(message: Message, target: &Target<'_>, losses: &mut Losses) -> Option<Value> {
    let is_developer = message.role == Role::Developer && target.quirks.developer_role;
    let mut texts = Vec::new();
    for part in message.parts {
        let mark = mark(part.cache, target, losses);
        match part.content {
            Content::Text { text, .. } if text.is_empty() => {}
            Content::Text { text, .. } => texts.push((text, mark)),
            _ => losses.note("system", "instructions are texts in this format"),
        }
    }
    if texts.is_empty() {
        return None;
    }
    let mut written = Map::new();
    written.insert(
        "role".to_owned(),
        if is_developer { "developer" } else { "system" }.into(),
    );
    written.insert("content".to_owned(), texts_of(texts, target));
    put(&mut written, "name", message.name.map(Value::from));
    Some(Value::Object(written))
}

/// A text and the cache mark that stands on it.
pub(super) type Marked = (String, Option<Value>);

/// One text as a string; several as parts, or with blank lines between where the provider wants a string. Marks stand on
/// parts only.
pub(super) fn texts_of(texts: Vec<Marked>, target: &Target<'_>) -> Value {
    let has_marks = texts.iter().any(|(_, mark)| mark.is_some());
    if has_marks || (texts.len() > 1 && target.quirks.text_parts) {
        return texts
            .into_iter()
            .map(|(text, mark)| marked(json!({"type": "text", "text": text}), mark))
            .collect();
    }
    let texts: Vec<String> = texts.into_iter().map(|(text, _)| text).collect();
    texts.join("\n\n").into()
}

/// A cache mark in Anthropic's words, where the provider reads them; most cache by themselves.
pub(super) fn mark(cache: Option<CacheMark>, target: &Target<'_>, losses: &mut Losses) -> Option<Value> {
    let cache = cache?;
    if !target.quirks.cache_control {
        losses.note("cache_control", "the target caches prefixes by itself");
        return None;
    }
    let mut mark = Map::new();
    mark.insert("type".to_owned(), "ephemeral".into());
    put(&mut mark, "ttl", cache.ttl.map(Value::from));
    Some(Value::Object(mark))
}

/// A part with a mark on it.
fn marked(mut part: Value, mark: Option<Value>) -> Value {
    if let (Some(mark), Value::Object(members)) = (mark, &mut part) {
        members.insert("cache_control".to_owned(), mark);
    }
    part
}

fn user(
    message: Message,
    held: &mut Vec<Part>,
    list: &mut Vec<Value>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<(), BadRequest> {
    let mut spoken = Vec::new();
    for part in message.parts {
        match part.content {
            Content::ToolResult(result) => {
                let mark = mark(part.cache, target, losses);
                list.push(tool(result, mark, held, target, losses));
            }
            _ => spoken.push(part),
        }
    }
    if spoken.is_empty() {
        return Ok(());
    }
    held.append(&mut spoken);
    let Some(content) = content(std::mem::take(held), target, losses)? else {
        return Ok(());
    };
    let mut written = Map::new();
    written.insert("role".to_owned(), "user".into());
    written.insert("content".to_owned(), content);
    put(&mut written, "name", message.name.map(Value::from));
    list.push(Value::Object(written));
    Ok(())
}

fn tool(
    result: ToolResult,
    own_mark: Option<Value>,
    held: &mut Vec<Part>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Value {
    losses.note_if(
        result.is_error == Some(true),
        "tool_result.is_error",
        "the format does not tell errors of tools apart",
    );
    let mut texts = Vec::new();
    for part in result.parts {
        match &part.content {
            Content::Text { text, .. } => texts.push((text.clone(), mark(part.cache, target, losses))),
            Content::Native { value, .. } => texts.push((value.to_string(), None)),
            Content::Media(Media {
                kind: MediaKind::Video,
                source: Source::Base64(_),
                ..
            }) => losses.note("tool_result: video", "the format takes no films as data"),
            Content::Media(media) if !is_taken(media, target) => {
                losses.note("tool_result: document", ONLY_PDF);
            }
            Content::Media(_) => {
                losses.note(
                    "tool_result: media",
                    "a tool's message has texts only; they follow as the user's",
                );
                held.push(part);
            }
            _ => losses.note("tool_result", "something in it is no text"),
        }
    }
    // Texts of one result are parts here too; that is the one list that every server takes as it takes strings.
    if let (Some(own), Some((_, last))) = (own_mark, texts.last_mut()) {
        *last = Some(own);
    }
    let has_marks = texts.iter().any(|(_, mark)| mark.is_some());
    let content = match texts.len() {
        0 => Value::from(""),
        1 if !has_marks => Value::from(texts.remove(0).0),
        _ => texts
            .into_iter()
            .map(|(text, mark)| marked(json!({"type": "text", "text": text}), mark))
            .collect(),
    };
    json!({"role": "tool", "tool_call_id": result.call, "content": content})
}

/// A person's words: a string where they are one text, else parts. `None`: nothing of them can be said here, and a message
/// without content is refused.
fn content(parts: Vec<Part>, target: &Target<'_>, losses: &mut Losses) -> Result<Option<Value>, BadRequest> {
    if let [part] = parts.as_slice()
        && let Some(text) = part.as_text()
        && (part.cache.is_none() || !target.quirks.cache_control)
    {
        mark(part.cache.clone(), target, losses);
        return Ok(Some(text.into()));
    }
    let mut list: Vec<Value> = Vec::with_capacity(parts.len());
    for part in parts {
        let mark = mark(part.cache, target, losses);
        let before = list.len();
        for name in part
            .extra
            .unsaid()
            .filter(|_| part.extra.origin != Some(Dialect::OpenaiChat))
        {
            losses.note(format!("content[].{name}"), "only the client's format has it");
        }
        match part.content {
            Content::Text { text, .. } if text.is_empty() => {}
            Content::Text { text, .. } | Content::Refusal(text) => list.push(json!({"type": "text", "text": text})),
            Content::Media(media) => list.extend(written_media(media, target, losses)?),
            Content::Native {
                origin: Dialect::OpenaiChat,
                value,
            } => list.push(value),
            Content::Native { .. } | Content::Deed(_) => {
                losses.note("content", "something in it only the client's format can say");
            }
            Content::Thinking(_) | Content::ToolCall(_) | Content::ToolResult(_) => {
                losses.note("content", "the model's own words cannot be the user's");
            }
        }
        if let Some(last) = list.get_mut(before..).and_then(<[Value]>::last_mut) {
            *last = marked(last.take(), mark);
        }
    }
    Ok((!list.is_empty()).then(|| list.into()))
}

/// Why a file cannot be told.
const ONLY_PDF: &str = "the target's format takes PDF and text only";

/// Whether a document in base64 is one that the target takes: of files it takes PDFs
/// (<https://developers.openai.com/api/docs/guides/file-inputs>); those of text have become texts before.
fn is_taken(media: &Media, target: &Target<'_>) -> bool {
    let mime = media.mime.split(';').next().unwrap_or_default().trim();
    media.kind != MediaKind::Document
        || !matches!(media.source, Source::Base64(_))
        || target.quirks.document_url
        || matches!(mime, "" | "application/pdf" | "application/x-pdf")
}

fn written_media(media: Media, target: &Target<'_>, losses: &mut Losses) -> Result<Vec<Value>, BadRequest> {
    losses.note_if(
        media.cite == Some(true),
        "citations",
        "the format cannot ask for citations of documents",
    );
    if !is_taken(&media, target) {
        let problem = format!("document: {ONLY_PDF}; the request would mean something else without");
        return Err(BadRequest::new("messages", problem));
    }
    let mime = if media.mime.is_empty() {
        default_mime(media.kind)
    } else {
        media.mime.as_str()
    };
    Ok(match (media.kind, media.source) {
        (_, Source::Text(text)) => vec![json!({"type": "text", "text": text})],
        (_, Source::Parts(parts)) => match content(parts, target, losses)? {
            None => Vec::new(),
            Some(Value::Array(parts)) => parts,
            Some(text) => vec![json!({"type": "text", "text": text})],
        },
        (MediaKind::Image, Source::Base64(data)) => {
            vec![image(&format!("data:{mime};base64,{data}"), media.detail)]
        }
        (MediaKind::Image, Source::Url(url)) => vec![image(&url, media.detail)],
        (MediaKind::Audio, Source::Base64(data)) => {
            let format = match mime {
                "audio/mpeg" | "audio/mp3" => "mp3",
                other => other.rsplit(['/', '-']).next().unwrap_or("wav"),
            };
            vec![json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})]
        }
        (MediaKind::Video, Source::Base64(_)) => {
            // Providers of this format that watch films take them by their addresses.
            let problem =
                "video: the target's format takes no films as data; the request would mean something else without";
            return Err(BadRequest::new("messages", problem));
        }
        (MediaKind::Video, Source::Url(url)) => vec![json!({"type": "video_url", "video_url": {"url": url}})],
        (MediaKind::Document, Source::Base64(data)) if target.quirks.document_url => {
            vec![document(&format!("data:{mime};base64,{data}"), media.name)]
        }
        (MediaKind::Document, Source::Url(url)) if target.quirks.document_url => vec![document(&url, media.name)],
        (_, Source::Base64(data)) => {
            let mut file = Map::new();
            // Data without a name is refused.
            let name = media.name.unwrap_or_else(|| nameless(mime));
            file.insert("filename".to_owned(), name.into());
            file.insert("file_data".to_owned(), format!("data:{mime};base64,{data}").into());
            vec![json!({"type": "file", "file": file})]
        }
        (_, Source::File(id)) => vec![json!({"type": "file", "file": {"file_id": id}})],
        (_, Source::Url(_)) => {
            let problem = "the target's format takes documents and sound only as data; send them in base64, or as an address of the web";
            return Err(BadRequest::new("messages", problem));
        }
    })
}

fn image(url: &str, detail: Option<String>) -> Value {
    let mut inner = Map::new();
    inner.insert("url".to_owned(), url.into());
    put(&mut inner, "detail", detail.map(Value::from));
    json!({"type": "image_url", "image_url": inner})
}

fn document(url: &str, name: Option<String>) -> Value {
    let mut part = Map::new();
    part.insert("type".to_owned(), "document_url".into());
    part.insert("document_url".to_owned(), url.into());
    put(&mut part, "document_name", name.map(Value::from));
    Value::Object(part)
}

/// What media are where their type was not said: the commonest of their kind.
const fn default_mime(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image/png",
        MediaKind::Audio => "audio/wav",
        MediaKind::Video => "video/mp4",
        MediaKind::Document => "application/pdf",
    }
}
