//! Messages: of requests, and the one of an answer, which has the same shape.

use domain::Dialect;
use serde_json::Value;

use super::reasoning;
use super::request::{cache_mark, rest};
use crate::hub::{
    BadRequest, Content, Extra, Fields, Media, MediaKind, Message, Part, Role, Signature, Source, Thinking, ToolCall,
    ToolResult,
};

/// The conversation.
pub(super) fn messages(fields: &mut Fields) -> Result<Vec<Message>, BadRequest> {
    fields.objects("messages")?.into_iter().map(message).collect()
}

fn message(mut fields: Fields) -> Result<Message, BadRequest> {
    let role = fields.required_text("role")?;
    let cache = fields.take("cache_control").map(|mark| cache_mark(&mark));
    let mut message = match role.as_str() {
        "system" => spoken(Role::System, &mut fields)?,
        "developer" => spoken(Role::Developer, &mut fields)?,
        "user" => spoken(Role::User, &mut fields)?,
        "assistant" => Message::new(Role::Assistant, said(&mut fields)?),
        "tool" | "function" => result(&role, &mut fields)?,
        other => {
            let problem = format!("`{other}` is none of system, developer, user, assistant, tool, function");
            return Err(fields.error("role", problem));
        }
    };
    if let (Some(mark), Some(last)) = (cache, message.parts.last_mut()) {
        last.cache = Some(mark);
    }
    message.extra = rest(fields);
    Ok(message)
}

fn spoken(role: Role, fields: &mut Fields) -> Result<Message, BadRequest> {
    let mut message = Message::new(role, content(fields)?);
    message.name = fields.text("name")?;
    Ok(message)
}

fn result(role: &str, fields: &mut Fields) -> Result<Message, BadRequest> {
    let is_legacy = role == "function";
    let call = if is_legacy {
        String::new()
    } else {
        fields.required_text("tool_call_id")?
    };
    let name = fields.text("name")?.unwrap_or_default();
    let result = ToolResult {
        call,
        name,
        parts: content(fields)?,
        is_error: None,
        custom: false,
    };
    Ok(Message::new(Role::User, vec![Part::new(Content::ToolResult(result))]))
}

/// What a model said: in a request's history and in an answer. Thinking comes first, as it was thought.
pub(super) fn said(fields: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    let mut parts = reasoning::parts(fields)?;
    parts.extend(content(fields)?);
    if let Some(refusal) = fields.text("refusal")?.filter(|text| !text.is_empty()) {
        parts.push(Part::new(Content::Refusal(refusal)));
    }
    // What OpenRouter and LiteLLM call pictures that the model made.
    for image in fields.objects("images")? {
        parts.push(part(image)?);
    }
    if let Some(mut audio) = fields.object("audio")? {
        parts.extend(spoken_audio(&mut audio)?);
    }
    for call in fields.objects("tool_calls")? {
        parts.push(tool_call(call)?);
    }
    if let Some(mut legacy) = fields.object("function_call")? {
        let call = ToolCall {
            id: None,
            name: legacy.required_text("name")?,
            arguments: arguments(legacy.take("arguments")),
            custom: false,
        };
        // Snowflake answers with an empty one where there is none.
        if !call.name.is_empty() {
            parts.push(Part::new(Content::ToolCall(call)));
        }
    }
    Ok(parts)
}

/// The model's voice: its data in an answer, a reference to it in a history.
fn spoken_audio(audio: &mut Fields) -> Result<Option<Part>, BadRequest> {
    let some = |text: &String| !text.is_empty();
    let id = audio.text("id")?.filter(some);
    let transcript = audio.text("transcript")?;
    let source = match (audio.text("data")?.filter(some), id.clone()) {
        (Some(data), _) => Source::Base64(data),
        (None, Some(id)) => Source::File(id),
        (None, None) => return Ok(None),
    };
    let media = Media {
        kind: MediaKind::Audio,
        source,
        mime: String::new(),
        name: None,
        detail: None,
        context: transcript,
        cite: None,
    };
    let mut part = Part::new(Content::Media(media));
    part.item = id;
    Ok(Some(part))
}

fn tool_call(mut fields: Fields) -> Result<Part, BadRequest> {
    let id = fields.text("id")?.filter(|id| !id.is_empty());
    // Snowflake sends both members with every call; the type tells which one counts.
    let is_custom =
        fields.has("custom") && (fields.text("type")?.as_deref() == Some("custom") || !fields.has("function"));
    let (member, input) = if is_custom {
        ("custom", "input")
    } else {
        ("function", "arguments")
    };
    let path = fields.at(member);
    let mut inner = fields
        .object(member)?
        .ok_or_else(|| BadRequest::new(path, "is missing; an object belongs here"))?;
    let call = ToolCall {
        id,
        name: inner.required_text("name")?,
        arguments: arguments(inner.take(input)),
        custom: member == "custom",
    };
    let mut part = Part::new(Content::ToolCall(call));
    part.signature = thought_signature(fields.take("extra_content").as_ref());
    Ok(part)
}

/// Google's way to carry Gemini's seal of a tool call through this format:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#openai>.
pub(super) fn thought_signature(extra_content: Option<&Value>) -> Option<Signature> {
    let seal = extra_content?.get("google")?.get("thought_signature")?.as_str()?;
    Some(Signature::read(Dialect::Gemini, seal))
}

/// Arguments are JSON in a string; some servers send the object itself.
pub(super) fn arguments(value: Option<Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

/// `content`: a string, or a list of parts.
fn content(fields: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    match fields.take("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(items)) => {
            let path = fields.at("content");
            items
                .into_iter()
                .enumerate()
                .map(|(place, item)| match item {
                    Value::String(text) => Ok(Part::text(text)),
                    item => part(Fields::of(format!("{path}[{place}]"), item)?),
                })
                .collect()
        }
        // Snowflake answers with an empty object where there is none.
        Some(Value::Object(members)) if members.is_empty() => Ok(Vec::new()),
        Some(_) => Err(fields.error("content", "expected a string or a list of parts")),
    }
}

fn part(mut fields: Fields) -> Result<Part, BadRequest> {
    let cache = fields.take("cache_control").map(|mark| cache_mark(&mark));
    let kind = fields.text("type")?.unwrap_or_else(|| "text".to_owned());
    let content = match kind.as_str() {
        "text" | "input_text" | "output_text" => Content::Text {
            text: fields.required_text("text")?,
            citations: Vec::new(),
        },
        "refusal" => Content::Refusal(fields.required_text("refusal")?),
        "image_url" => Content::Media(image(&mut fields)?),
        "video_url" => Content::Media(at_url(&mut fields, "video_url", MediaKind::Video)?),
        "input_audio" => Content::Media(input_audio(&mut fields)?),
        "file" => Content::Media(file(&mut fields)?),
        // Mistral's reasoning models.
        "thinking" => Content::Thinking(Thinking {
            text: reasoning::mistral(fields.take("thinking")),
            ..Thinking::default()
        }),
        _ => {
            let mut value = fields.into_map();
            value.insert("type".to_owned(), Value::from(kind));
            let native = Content::Native {
                origin: Dialect::OpenaiChat,
                value: Value::Object(value),
            };
            return Ok(Part {
                cache,
                ..Part::new(native)
            });
        }
    };
    let extra = rest(fields);
    let extra = if extra.members.is_empty() {
        Extra::default()
    } else {
        extra
    };
    Ok(Part {
        cache,
        extra,
        ..Part::new(content)
    })
}

fn image(fields: &mut Fields) -> Result<Media, BadRequest> {
    let detail = match fields.take("image_url") {
        // Mistral has the address itself here.
        Some(Value::String(url)) => return Ok(located(MediaKind::Image, &url)),
        Some(value @ Value::Object(_)) => Fields::of(fields.at("image_url"), value)?,
        _ => return Err(fields.error("image_url", "is missing; an object with `url` belongs here")),
    };
    let mut inner = detail;
    let mut media = located(MediaKind::Image, &inner.required_text("url")?);
    media.detail = inner.text("detail")?;
    Ok(media)
}

fn at_url(fields: &mut Fields, member: &str, kind: MediaKind) -> Result<Media, BadRequest> {
    let path = fields.at(member);
    let mut inner = fields
        .object(member)?
        .ok_or_else(|| BadRequest::new(path, "is missing; an object with `url` belongs here"))?;
    Ok(located(kind, &inner.required_text("url")?))
}

fn input_audio(fields: &mut Fields) -> Result<Media, BadRequest> {
    let path = fields.at("input_audio");
    let mut inner = fields
        .object("input_audio")?
        .ok_or_else(|| BadRequest::new(path, "is missing; an object belongs here"))?;
    let data = inner.required_text("data")?;
    let format = inner.text("format")?.unwrap_or_else(|| "wav".to_owned());
    let mut media = located(MediaKind::Audio, &data);
    if let Source::Url(data) = media.source {
        media.source = Source::Base64(data);
        media.mime = if format == "mp3" {
            "audio/mpeg".to_owned()
        } else {
            format!("audio/{format}")
        };
    }
    Ok(media)
}

fn file(fields: &mut Fields) -> Result<Media, BadRequest> {
    let path = fields.at("file");
    let mut inner = fields
        .object("file")?
        .ok_or_else(|| BadRequest::new(path.as_str(), "is missing; an object belongs here"))?;
    let name = inner.text("filename")?;
    let mut media = match (inner.text("file_data")?, inner.text("file_id")?) {
        (Some(data), _) => file_data(data),
        (None, Some(id)) => Media {
            source: Source::File(id),
            ..located(MediaKind::Document, "")
        },
        (None, None) => return Err(BadRequest::new(path, "has neither `file_data` nor `file_id`")),
    };
    media.name = name;
    Ok(media)
}

/// A file's data: a `data:` URL as OpenAI wants it, bare base64 as some send it, or an address.
fn file_data(data: String) -> Media {
    let mut media = located(MediaKind::Document, &data);
    if matches!(media.source, Source::Url(_)) && !data.contains(':') {
        media.source = Source::Base64(data);
    }
    media
}

/// Media at an address, which may be a `data:` URL.
pub(super) fn located(kind: MediaKind, url: &str) -> Media {
    let (source, mime) = match data_url(url) {
        Some((mime, data)) => (Source::Base64(data.to_owned()), mime.to_owned()),
        None => (Source::Url(url.to_owned()), String::new()),
    };
    let kind = if kind == MediaKind::Document && !mime.is_empty() {
        MediaKind::of(&mime)
    } else {
        kind
    };
    Media {
        kind,
        source,
        mime,
        name: None,
        detail: None,
        context: None,
        cite: None,
    }
}

/// MIME type and base64 of a `data:` URL.
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime = head.strip_suffix(";base64")?;
    Some((mime.split(';').next().unwrap_or(mime), data))
}
