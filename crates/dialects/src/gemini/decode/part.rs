//! One part of a content. Requests and answers have the same ones.

use domain::Dialect;
use serde_json::Value;

use super::{camel_members, many, message, proto};
use crate::gemini::{REDACTED, response};
use crate::hub::{
    BadRequest, Content, Extra, Fields, Media, MediaKind, Part, Signature, Source, Thinking, ToolCall, ToolResult,
    compact,
};

/// What only Google can read: what its own tools did.
const NATIVE: [&str; 4] = ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];
/// Data of a part beside text.
const DATA: [&str; 4] = ["functionCall", "functionResponse", "inlineData", "fileData"];

/// Reads a part.
pub(super) fn read(fields: Fields) -> Result<Part, BadRequest> {
    let mut fields = proto(fields);
    if NATIVE.iter().any(|name| fields.has(name)) {
        return Ok(native(fields));
    }
    let is_thought = fields.flag("thought")? == Some(true);
    if is_thought && DATA.iter().any(|name| fields.has(name)) {
        let mut members = fields.into_map();
        members.insert("thought".to_owned(), Value::Bool(true));
        return Ok(native(Fields::of_map(String::new(), members)));
    }
    let signature = fields
        .text("thoughtSignature")?
        .map(|text| Signature::read(Dialect::Gemini, &text));
    if is_thought {
        let mut signature = signature;
        let redacted = signature.as_mut().is_some_and(unredact);
        let content = Content::Thinking(Thinking {
            text: fields.text("text")?.unwrap_or_default(),
            is_summary: true,
            signature,
            redacted,
        });
        return Ok(with(content, None, fields.rest(Dialect::Gemini)));
    }
    let (content, inner) = data(&mut fields)?;
    let mut extra = fields.rest(Dialect::Gemini);
    extra.members.retain(|_, value| !value.is_null());
    if let Some((name, inner)) = inner
        && !inner.members.is_empty()
    {
        extra.members.insert(name.to_owned(), Value::Object(inner.members));
    }
    let mut content = content.unwrap_or_else(|| Content::Text {
        text: String::new(),
        citations: Vec::new(),
    });
    if let Content::Media(media) = &mut content {
        media.detail = extra.members.get("mediaResolution").and_then(detail);
    }
    Ok(with(content, signature, extra))
}

/// Takes the mark of a redacted thought off the seal.
fn unredact(seal: &mut Signature) -> bool {
    let bare = seal.value.strip_prefix(REDACTED).map(str::to_owned);
    let is_redacted = bare.is_some();
    seal.value = bare.unwrap_or_else(|| std::mem::take(&mut seal.value));
    is_redacted
}

fn with(content: Content, signature: Option<Signature>, extra: Extra) -> Part {
    Part {
        signature,
        extra,
        ..Part::new(content)
    }
}

fn native(fields: Fields) -> Part {
    Part::new(Content::Native {
        origin: Dialect::Gemini,
        value: Value::Object(fields.into_map()),
    })
}

/// The data of a part, and what its message has beyond what we know, under the message's name.
type Data = (Option<Content>, Option<(&'static str, Extra)>);

fn data(fields: &mut Fields) -> Result<Data, BadRequest> {
    if let Some(call) = message(fields, "functionCall")? {
        let (call, rest) = function_call(call)?;
        return Ok((Some(Content::ToolCall(call)), Some(("functionCall", rest))));
    }
    if let Some(result) = message(fields, "functionResponse")? {
        let (result, rest) = function_response(result)?;
        return Ok((Some(Content::ToolResult(result)), Some(("functionResponse", rest))));
    }
    for name in ["inlineData", "fileData"] {
        if let Some(blob) = message(fields, name)? {
            let (media, rest) = media(blob, name)?;
            return Ok((Some(Content::Media(media)), Some((name, rest))));
        }
    }
    let text = fields.text("text")?.map(|text| Content::Text {
        text,
        citations: Vec::new(),
    });
    Ok((text, None))
}

fn function_call(mut fields: Fields) -> Result<(ToolCall, Extra), BadRequest> {
    let arguments = match fields.take("args") {
        None => "{}".to_owned(),
        Some(arguments @ Value::Object(_)) => compact(&arguments),
        Some(_) => return Err(fields.error("args", "expected an object")),
    };
    let call = ToolCall {
        id: fields.text("id")?.filter(|id| !id.is_empty()),
        name: fields.text("name")?.unwrap_or_default(),
        arguments,
        custom: false,
    };
    Ok((call, fields.rest(Dialect::Gemini)))
}

fn function_response(mut fields: Fields) -> Result<(ToolResult, Extra), BadRequest> {
    let (text, is_error) = match fields.take("response") {
        None => (String::new(), None),
        Some(Value::Object(response)) => response::read(response),
        Some(_) => return Err(fields.error("response", "expected an object")),
    };
    let mut parts = vec![Part::text(text)];
    for part in many(&mut fields, "parts")? {
        parts.push(read(part)?);
    }
    let result = ToolResult {
        call: fields.text("id")?.unwrap_or_default(),
        name: fields.text("name")?.unwrap_or_default(),
        parts,
        is_error,
        custom: false,
    };
    Ok((result, fields.rest(Dialect::Gemini)))
}

fn media(mut fields: Fields, kind: &str) -> Result<(Media, Extra), BadRequest> {
    let mime = fields.text("mimeType")?.unwrap_or_default();
    let name = fields.text("displayName")?;
    let source = if kind == "inlineData" {
        Source::Base64(standard(fields.text("data")?.unwrap_or_default()))
    } else {
        located(fields.required_text("fileUri")?)
    };
    let media = Media {
        kind: match &source {
            Source::Url(url) if mime.is_empty() && is_film(url) => MediaKind::Video,
            _ => MediaKind::of(&mime),
        },
        source,
        mime,
        name,
        detail: None,
        context: None,
        cite: None,
    };
    Ok((media, fields.rest(Dialect::Gemini)))
}

/// What only Google can reach is a file at the provider, the rest an address.
fn located(uri: String) -> Source {
    let is_web = uri.starts_with("http://") || uri.starts_with("https://");
    if is_web && !uri.starts_with("https://generativelanguage.googleapis.com/") {
        Source::Url(uri)
    } else {
        Source::File(uri)
    }
}

/// Google takes addresses of films there in place of the films.
fn is_film(url: &str) -> bool {
    ["//youtu.be/", "//youtube.com/", "//www.youtube.com/"]
        .iter()
        .any(|site| url.contains(site))
}

/// Proto JSON reads base64 in both alphabets; the others know the standard one only.
fn standard(data: String) -> String {
    if data.contains(['-', '_']) {
        data.replace('-', "+").replace('_', "/")
    } else {
        data
    }
}

/// The words that others have too. The whole stays in `extra`.
fn detail(resolution: &Value) -> Option<String> {
    let members = camel_members(resolution.as_object()?.clone());
    match members.get("level")?.as_str()? {
        "MEDIA_RESOLUTION_LOW" => Some("low".to_owned()),
        "MEDIA_RESOLUTION_HIGH" | "MEDIA_RESOLUTION_ULTRA_HIGH" => Some("high".to_owned()),
        _ => Some("auto".to_owned()),
    }
}
