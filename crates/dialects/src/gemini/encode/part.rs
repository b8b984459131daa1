//! One part of a content. Upstreams and clients get the same ones; they differ in which seals they may have.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::grounding::beside;
use super::tools::FREE_TEXT;
use super::{put, restore};
use crate::gemini::REDACTED;
use crate::hub::{
    BadRequest, Content, Extra, Losses, Media, MediaKind, NO_OBJECT, Part, Signature, Source, Thinking, ToolCall,
    native_name, nested,
};

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Google, which refuses seals of others.
    Upstream,
    /// A client, which hands back whatever it got.
    Client,
}

impl To {
    /// The seal as the reader may have it.
    pub(super) fn seal(self, seal: Option<&Signature>, losses: &mut Losses) -> Option<String> {
        let seal = seal?;
        match self {
            Self::Client => Some(seal.for_client(Dialect::Gemini)),
            Self::Upstream => {
                let own = seal.for_upstream(Dialect::Gemini).map(str::to_owned);
                losses.note_if(own.is_none(), "thought_signature", "it is the seal of another provider");
                own
            }
        }
    }
}

/// Writes a part that is no result of a function; what says nothing writes nothing.
pub(super) fn write(part: Part, to: To, losses: &mut Losses, out: &mut Vec<Value>) -> Result<(), BadRequest> {
    losses.note_if(part.cache.is_some(), "cache_control", "Gemini caches by itself");
    let mut members = Map::new();
    match part.content {
        Content::Text { text, citations } => {
            let is_lost = to == To::Upstream && !citations.is_empty();
            losses.note_if(is_lost, "citations", "Gemini does not take back what texts rest on");
            if text.is_empty() && part.signature.is_none() && part.extra.members.is_empty() {
                return Ok(());
            }
            members.insert("text".to_owned(), text.into());
        }
        Content::Refusal(text) => {
            losses.note("refusal", "Gemini has no word for it; it is told as text");
            members.insert("text".to_owned(), text.into());
        }
        Content::Thinking(thinking) => {
            if let Some(thought) = thought(thinking, to, losses) {
                members = thought;
            } else {
                return Ok(());
            }
        }
        Content::ToolCall(call) => {
            members.insert("functionCall".to_owned(), function_call(call, losses));
        }
        Content::Media(media) => {
            let is_own = part.extra.origin == Some(Dialect::Gemini);
            return self::media(media, part.signature.as_ref(), part.extra, (to, is_own), losses, out);
        }
        Content::Deed(deed) => {
            losses.note(deed.name(), "it was done by another provider");
            return Ok(());
        }
        Content::Native { origin, value } => {
            if origin == Dialect::Gemini {
                // What stands beside the content of an answer has no place in a conversation.
                out.extend(beside(&value).is_none().then_some(value));
            } else {
                losses.note(native_name(&value), "only its own format can say it");
            }
            return Ok(());
        }
        Content::ToolResult(_) => {
            losses.note("tool_result", "it belongs to a user's message");
            return Ok(());
        }
    }
    put(
        &mut members,
        "thoughtSignature",
        to.seal(part.signature.as_ref(), losses),
    );
    restore(&mut members, part.extra, losses);
    out.push(Value::Object(members));
    Ok(())
}

fn thought(thinking: Thinking, to: To, losses: &mut Losses) -> Option<Map<String, Value>> {
    let is_sealed = thinking.signature.is_some();
    let mut seal = to.seal(thinking.signature.as_ref(), losses);
    if to == To::Client && thinking.redacted {
        seal = thinking.signature.as_ref().map(redacted_seal);
    }
    if to == To::Upstream && seal.is_none() && (is_sealed || thinking.redacted) {
        losses.note("thinking", "it is the thinking of another provider");
        return None;
    }
    if thinking.text.is_empty() && seal.is_none() {
        return None;
    }
    let mut members = Map::new();
    members.insert("text".to_owned(), thinking.text.into());
    members.insert("thought".to_owned(), true.into());
    put(&mut members, "thoughtSignature", seal);
    Some(members)
}

/// Gemini has no word for a thought that is nothing but its seal; the seal itself says so.
pub(super) fn redacted_seal(seal: &Signature) -> String {
    let told = Signature {
        origin: seal.origin,
        value: format!("{REDACTED}{}", seal.value),
    };
    told.for_client(Dialect::Gemini)
}

/// The `functionCall` of a call.
pub(super) fn function_call(call: ToolCall, losses: &mut Losses) -> Value {
    let args = arguments(&call, losses);
    let mut members = Map::new();
    put(&mut members, "id", call.id);
    members.insert("name".to_owned(), call.name.into());
    members.insert("args".to_owned(), args);
    Value::Object(members)
}

fn arguments(call: &ToolCall, losses: &mut Losses) -> Value {
    if call.custom {
        return json!({FREE_TEXT: call.arguments});
    }
    if call.arguments.trim().is_empty() {
        return json!({});
    }
    if let Some(object) = nested::object(&call.arguments) {
        return object.into();
    }
    losses.note(
        "tool_call.arguments",
        "they are no JSON object; the text stands in `arguments`",
    );
    json!({NO_OBJECT: call.arguments})
}

/// Media may become several parts, or text.
fn media(
    mut media: Media,
    signature: Option<&Signature>,
    extra: Extra,
    (to, is_own): (To, bool),
    losses: &mut Losses,
    out: &mut Vec<Value>,
) -> Result<(), BadRequest> {
    // A transcript is what the model says, too.
    let is_voice = to == To::Client && media.kind == MediaKind::Audio;
    let transcript = media.context.take_if(|_| is_voice).filter(|text| !text.is_empty());
    out.extend(transcript.map(|text| json!({"text": text})));
    if is_voice && matches!(&media.source, Source::Base64(data) if data.is_empty()) {
        return Ok(());
    }
    losses.note_if(
        media.cite == Some(true),
        "document.citations",
        "Gemini does not cite documents of the request",
    );
    let is_fine = is_own || matches!(media.detail.as_deref(), None | Some("auto"));
    losses.note_if(
        !is_fine,
        "detail",
        "not every Gemini model takes a resolution for each part",
    );
    let mut members = Map::new();
    match media.source {
        Source::Parts(parts) => {
            for part in parts {
                write(part, to, losses, out)?;
            }
            return Ok(());
        }
        Source::Text(text) => {
            members.insert("text".to_owned(), text.into());
        }
        _ => {
            let (name, data) = blob(media, is_own, losses)?;
            members.insert(name.to_owned(), data);
        }
    }
    put(&mut members, "thoughtSignature", to.seal(signature, losses));
    restore(&mut members, extra, losses);
    out.push(Value::Object(members));
    Ok(())
}

/// `inlineData` or `fileData`, with its name.
pub(super) fn blob(media: Media, is_own: bool, losses: &mut Losses) -> Result<(&'static str, Value), BadRequest> {
    let mut members = Map::new();
    losses.note_if(
        media.name.is_some() && !is_own,
        "file name",
        "the Gemini API takes no names of files",
    );
    put(&mut members, "displayName", media.name.filter(|_| is_own));
    let (field, key, data, guessed) = match media.source {
        Source::Base64(data) => {
            let guessed = Some(sniff(&data, media.kind));
            ("inlineData", "data", data, guessed)
        }
        Source::Url(url) => {
            if let Some((mime, data)) = data_url(&url) {
                put(&mut members, "mimeType", Some(mime));
                ("inlineData", "data", data.to_owned(), None)
            } else {
                let guessed = by_extension(&url);
                ("fileData", "fileUri", url, guessed)
            }
        }
        Source::File(id) if is_googles(&id) => {
            let guessed = by_extension(&id);
            ("fileData", "fileUri", id, guessed)
        }
        Source::File(id) => {
            return Err(BadRequest::new(
                "file_id",
                format!("`{id}` is kept by another provider; Gemini cannot read it"),
            ));
        }
        Source::Text(_) | Source::Parts(_) => {
            return Err(BadRequest::new("document", "a document of text cannot stand here"));
        }
    };
    if media.mime.is_empty() {
        if !members.contains_key("mimeType") {
            put(&mut members, "mimeType", guessed);
        }
    } else {
        members.insert("mimeType".to_owned(), media.mime.into());
    }
    members.insert(key.to_owned(), data.into());
    Ok((field, Value::Object(members)))
}

fn is_googles(id: &str) -> bool {
    ["gs://", "https://", "files/"]
        .iter()
        .any(|start| id.starts_with(start))
}

fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    Some((head.split(';').next().unwrap_or_default(), data))
}

/// Google requires a type where the data stand in the request. Formats begin with bytes of their own.
fn sniff(data: &str, kind: MediaKind) -> &'static str {
    const BEGINNINGS: [(&str, &str); 5] = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("JVBERi0", "application/pdf"),
        ("SUQz", "audio/mp3"),
    ];
    let known = BEGINNINGS.iter().find(|(start, _)| data.starts_with(start));
    known.map_or(
        match kind {
            MediaKind::Image => "image/webp",
            MediaKind::Audio => "audio/wav",
            MediaKind::Video => "video/mp4",
            MediaKind::Document => "text/plain",
        },
        |(_, mime)| mime,
    )
}

/// Vertex requires a type for addresses too.
fn by_extension(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let (_, extension) = path.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => return None,
    })
}
