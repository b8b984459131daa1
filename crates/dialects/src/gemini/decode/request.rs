//! What a client asks, in the hub's words.

use domain::Dialect;
use serde_json::Value;

use super::{config, many, message, part, proto, tools};
use crate::hub::{BadRequest, Content, Fields, Message, Part, Request, Role, Signature, Thinking};

/// Reads the body of `generateContent`, `streamGenerateContent` or `countTokens`.
pub(crate) fn request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut fields = proto(Fields::parse(body)?);
    // `countTokens` takes the contents alone, or a whole request inside.
    if let Some(inner) = message(&mut fields, "generateContentRequest")? {
        fields = inner;
    }
    let mut request = Request::default();
    if let Some(model) = fields.text("model")? {
        request.model = model.strip_prefix("models/").map_or(model.clone(), str::to_owned);
    }
    request.messages.extend(system(&mut fields)?);
    for content in many(&mut fields, "contents")? {
        let message = turn(content)?;
        add(&mut request.messages, message);
    }
    request.tools = tools::list(&mut fields)?;
    let mut rest = Vec::new();
    if let Some(config) = message(&mut fields, "toolConfig")? {
        rest.push(("toolConfig", tools::choice(config, &mut request)?));
    }
    if let Some(config) = message(&mut fields, "generationConfig")? {
        rest.push(("generationConfig", config::read(config, &mut request)?));
    }
    request.service_tier = fields.text("serviceTier")?.as_deref().map(tier);
    request.extra = fields.rest(Dialect::Gemini);
    for (name, members) in rest {
        if !members.is_empty() {
            request.extra.members.insert(name.to_owned(), Value::Object(members));
        }
    }
    Ok(request)
}

/// `SERVICE_TIER_FLEX` and `flex` are the same.
fn tier(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    word.strip_prefix("service_tier_").map_or(word.clone(), str::to_owned)
}

fn system(fields: &mut Fields) -> Result<Option<Message>, BadRequest> {
    let path = fields.at("systemInstruction");
    let parts = match fields.take("systemInstruction") {
        None => return Ok(None),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(content) => parts(&mut proto(Fields::of(path, content)?))?,
    };
    Ok(Some(Message::new(Role::System, parts)))
}

fn turn(mut fields: Fields) -> Result<Message, BadRequest> {
    let role = match fields.text("role")?.as_deref() {
        None | Some("" | "user" | "function") => Role::User,
        Some("model") => Role::Assistant,
        Some(_) => return Err(fields.error("role", "expected `user`, `model` or `function`")),
    };
    let parts = parts(&mut fields)?;
    Ok(Message {
        extra: fields.rest(Dialect::Gemini),
        ..Message::new(role, parts)
    })
}

/// Appends a message, with thoughts joined that a stream told piece by piece. Clients keep the pieces as they came, in
/// several parts or even turns, the seal alone in the last one; but whose seal it is wants both in one. Google wants its
/// own sealed parts as they were.
fn add(messages: &mut Vec<Message>, mut message: Message) {
    let parts = std::mem::take(&mut message.parts);
    let had_parts = !parts.is_empty();
    for part in parts {
        let last = match message.parts.last_mut() {
            None if message.role == Role::Assistant => messages
                .last_mut()
                .filter(|last| last.role == Role::Assistant)
                .and_then(|last| last.parts.last_mut()),
            last => last,
        };
        match (last.map(|last| &mut last.content), part.content) {
            (Some(Content::Thinking(known)), Content::Thinking(more)) if goes_on(known, &more) => {
                known.text.push_str(&more.text);
                known.signature = more.signature;
            }
            (_, content) => message.parts.push(Part { content, ..part }),
        }
    }
    if !had_parts || !message.parts.is_empty() {
        messages.push(message);
    }
}

fn goes_on(known: &Thinking, more: &Thinking) -> bool {
    let is_googles = |seal: &Signature| seal.origin == Dialect::Gemini;
    known.signature.is_none() && !more.redacted && !more.signature.as_ref().is_some_and(is_googles)
}

fn parts(content: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    many(content, "parts")?.into_iter().map(part::read).collect()
}
