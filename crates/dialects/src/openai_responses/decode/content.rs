//! What stands inside messages, tools' results and reasoning.

use serde_json::Value;

use super::super::{SELF, WITHIN, list_of, rest, seal, text_of};
use super::media;
use crate::hub::{
    BadRequest, CacheMark, Citation, CitedSource, Content, Extra, Fields, Part, Signature, Thinking, ToolResult,
};

/// The parts of a message's or a result's member `name`: a text, or a list.
pub(super) fn parts(fields: &mut Fields, name: &str) -> Result<Vec<Part>, BadRequest> {
    let path = fields.at(name);
    match fields.take(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(list)) => list
            .into_iter()
            .enumerate()
            .map(|(place, value)| part(value, format!("{path}[{place}]")))
            .collect(),
        Some(other @ Value::Object(_)) => Ok(vec![Part::text(other.to_string())]),
        Some(_) => Err(BadRequest::new(path, "expected a string or a list of parts")),
    }
}

/// One part of a list.
pub(super) fn part(value: Value, path: String) -> Result<Part, BadRequest> {
    let known = matches!(
        text_of(&value, "type"),
        Some("input_text" | "output_text" | "text" | "refusal" | "input_image" | "input_file" | "input_audio")
    );
    if !known && value.is_object() {
        return Ok(native(value));
    }
    let mut fields = Fields::of(path, value)?;
    let kind = fields.required_text("type")?;
    let mut part = match kind.as_str() {
        "refusal" => Part::new(Content::Refusal(fields.required_text("refusal")?)),
        "input_image" => media::image(&mut fields)?,
        "input_file" => media::file(&mut fields)?,
        "input_audio" => media::audio(&mut fields)?,
        _ => Part::new(Content::Text {
            text: fields.required_text("text")?,
            citations: fields.list("annotations")?.into_iter().map(citation).collect(),
        }),
    };
    // Log probabilities of an earlier answer say nothing in a request.
    fields.take("logprobs");
    part.cache = fields.object("prompt_cache_breakpoint")?.map(cache_mark).transpose()?;
    part.extra = rest(fields);
    Ok(part)
}

/// A part of a message that nobody else knows.
pub(super) fn native(value: Value) -> Part {
    let mut part = Part::new(Content::Native { origin: SELF, value });
    part.extra.origin = Some(SELF);
    part.extra.members.insert(WITHIN.to_owned(), true.into());
    part
}

/// Half an hour is what a mark means by itself; the other lifetime comes nearest to what others call an hour.
fn cache_mark(mut fields: Fields) -> Result<CacheMark, BadRequest> {
    let is_long = fields.text("ttl")?.is_some_and(|ttl| ttl == "12h");
    let ttl = is_long.then(|| "1h".to_owned());
    Ok(CacheMark { ttl })
}

/// What a text rests on.
pub(super) fn citation(value: Value) -> Citation {
    let text = |name: &str| text_of(&value, name).map(str::to_owned);
    let index = |name: &str| value.get(name).and_then(Value::as_u64);
    let source = match text_of(&value, "type") {
        Some("url_citation") => CitedSource::Url {
            url: text("url").unwrap_or_default(),
            title: text("title").filter(|title| !title.is_empty()),
        },
        Some("file_citation" | "container_file_citation" | "file_path") => CitedSource::File {
            id: text("file_id").unwrap_or_default(),
            name: text("filename"),
        },
        _ => CitedSource::Other,
    };
    Citation {
        span: index("start_index").zip(index("end_index")),
        quote: None,
        source,
        native: Some((SELF, value)),
    }
}

/// A reasoning item as parts: the reasoning itself, then its summary, the seal on the last; and what the seal is on.
/// Pieces of a summary are paragraphs of one part; where there are several, the item's own list goes along.
pub(super) fn thinking(mut fields: Fields) -> Result<(Vec<Part>, seal::On), BadRequest> {
    let (id, encrypted) = (fields.text("id")?, fields.text("encrypted_content")?);
    let (summary, content) = (fields.list("summary")?, fields.list("content")?);
    // Says nothing in a request, and follows from the event in an answer.
    fields.take("status");
    let (on, signature) = match encrypted {
        Some(encrypted) => {
            let (on, signature) = seal::read(id.as_deref(), &encrypted);
            (on, Some(signature))
        }
        None => (seal::On::Reasoning, None),
    };
    let mut parts = Vec::new();
    if !content.is_empty() {
        parts.push(thought(joined(&content), false, id.as_deref()));
    }
    if !summary.is_empty() || parts.is_empty() {
        let mut part = thought(joined(&summary), true, id.as_deref());
        if summary.len() > 1 {
            part.extra.origin = Some(SELF);
            part.extra.members.insert("summary".to_owned(), summary.into());
        }
        parts.push(part);
    }
    if let Some(last) = parts.last_mut() {
        seal_it(last, signature, on);
        let Extra { members, .. } = rest(fields);
        if !members.is_empty() {
            last.extra.origin = Some(SELF);
            last.extra.members.extend(members);
        }
    }
    Ok((parts, on))
}

fn seal_it(part: &mut Part, signature: Option<Signature>, on: seal::On) {
    if let Content::Thinking(thinking) = &mut part.content {
        thinking.signature = signature;
        thinking.redacted = on == seal::On::Redacted;
    }
}

fn thought(text: String, is_summary: bool, id: Option<&str>) -> Part {
    let mut part = Part::new(Content::Thinking(Thinking {
        text,
        is_summary,
        ..Thinking::default()
    }));
    part.item = id.map(str::to_owned);
    part
}

/// The texts of summaries or of reasoning, as paragraphs.
pub(super) fn joined(pieces: &[Value]) -> String {
    let texts: Vec<&str> = pieces.iter().filter_map(|piece| text_of(piece, "text")).collect();
    texts.join(PARAGRAPH)
}

/// Between the pieces of a summary.
pub(super) const PARAGRAPH: &str = "\n\n";

/// A `function_call_output` or `custom_tool_call_output`.
pub(super) fn result(mut fields: Fields, custom: bool) -> Result<Part, BadRequest> {
    fields.take("type");
    let call = match fields.text("call_id")? {
        Some(call) => call,
        None => fields.required_text("id")?,
    };
    let mut part = Part::new(Content::ToolResult(ToolResult {
        call,
        parts: parts(&mut fields, "output")?,
        custom,
        ..ToolResult::default()
    }));
    part.item = fields.text("id")?;
    drop_completed(&mut fields);
    part.extra = rest(fields);
    Ok(part)
}

/// `completed` is what an item is unless it says otherwise.
pub(super) fn drop_completed(fields: &mut Fields) {
    if fields.peek_text("status") == Some("completed") {
        fields.take("status");
    }
}

/// The log probabilities of an answer's message, in the order of its texts.
pub(super) fn logprobs(message: &Value) -> Vec<Value> {
    let texts = list_of(message, "content").iter();
    texts.flat_map(|part| list_of(part, "logprobs")).cloned().collect()
}
