//! Content blocks, as they stand in requests, in answers and in the results of tools.

use serde_json::Value;

use super::OWN;
use crate::hub::{
    BadRequest, CacheMark, Citation, CitedSource, Content, DocumentPlace, Extra, Fields, Media, MediaKind, Part,
    Signature, Source, Thinking, ToolCall, ToolResult, compact,
};

/// Reads a member that is a text or a list of blocks; absent is empty.
pub(super) fn content(fields: &mut Fields, name: &str) -> Result<Vec<Part>, BadRequest> {
    match fields.take(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(blocks)) => parts(&fields.at(name), blocks),
        Some(_) => Err(fields.error(name, "expected a string or a list of content blocks")),
    }
}

/// Reads the blocks of the list at `path`.
pub(super) fn parts(path: &str, blocks: Vec<Value>) -> Result<Vec<Part>, BadRequest> {
    let numbered = blocks.into_iter().enumerate();
    numbered
        .map(|(place, block)| part(format!("{path}[{place}]"), block))
        .collect()
}

/// Reads one block. What is of no known type stays as it is.
pub(super) fn part(path: String, block: Value) -> Result<Part, BadRequest> {
    if block.is_object() && is_native(&block) {
        return Ok(Part::new(Content::Native {
            origin: OWN,
            value: block,
        }));
    }
    let mut fields = Fields::of(path, block)?;
    let kind = fields.required_text("type")?;
    let content = match kind.as_str() {
        "text" => text(&mut fields)?,
        "image" => media(&mut fields, MediaKind::Image)?,
        "document" => media(&mut fields, MediaKind::Document)?,
        "search_result" => return search_result(fields),
        "thinking" => Content::Thinking(thinking(&mut fields)?),
        "redacted_thinking" => Content::Thinking(Thinking {
            signature: fields.text("data")?.map(|seal| Signature::read(OWN, &seal)),
            redacted: true,
            ..Thinking::default()
        }),
        "tool_use" => Content::ToolCall(tool_call(&mut fields)?),
        _ => Content::ToolResult(tool_result(&mut fields)?),
    };
    finish(content, fields)
}

/// Whether a block is left in Anthropic's words.
fn is_native(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("image" | "document") => block["source"]["type"]
            .as_str()
            .is_some_and(|kind| !matches!(kind, "base64" | "url" | "file" | "text" | "content")),
        Some("text" | "search_result" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result") => false,
        // Without a type it is an error, which the reader of its members states.
        kind => kind.is_some(),
    }
}

fn finish(content: Content, mut fields: Fields) -> Result<Part, BadRequest> {
    let cache = cache(&mut fields)?;
    Ok(Part {
        cache,
        extra: rest(fields),
        ..Part::new(content)
    })
}

/// What nobody took; nothing is nobody's.
pub(super) fn rest(fields: Fields) -> Extra {
    let extra = fields.rest(OWN);
    if extra.members.is_empty() {
        Extra::default()
    } else {
        extra
    }
}

/// Takes a `cache_control`.
pub(super) fn cache(fields: &mut Fields) -> Result<Option<CacheMark>, BadRequest> {
    let Some(mut mark) = fields.object("cache_control")? else {
        return Ok(None);
    };
    Ok(Some(CacheMark { ttl: mark.text("ttl")? }))
}

fn text(fields: &mut Fields) -> Result<Content, BadRequest> {
    let citations = fields.list("citations")?.into_iter().map(citation);
    let text = fields.required_text("text")?;
    let all = text.chars().count() as u64;
    Ok(Content::Text {
        citations: citations.map(|citation| citation.of_all(all)).collect(),
        text,
    })
}

fn thinking(fields: &mut Fields) -> Result<Thinking, BadRequest> {
    let seal = fields.text("signature")?.filter(|seal| !seal.is_empty());
    Ok(Thinking {
        text: fields.text("thinking")?.unwrap_or_default(),
        signature: seal.map(|seal| Signature::read(OWN, &seal)),
        ..Thinking::default()
    })
}

fn tool_call(fields: &mut Fields) -> Result<ToolCall, BadRequest> {
    Ok(ToolCall {
        id: fields.text("id")?.filter(|id| !id.is_empty()),
        name: fields.required_text("name")?,
        arguments: fields
            .take("input")
            .map_or_else(|| "{}".to_owned(), |input| compact(&input)),
        custom: false,
    })
}

fn tool_result(fields: &mut Fields) -> Result<ToolResult, BadRequest> {
    Ok(ToolResult {
        call: fields.required_text("tool_use_id")?,
        parts: content(fields, "content")?,
        is_error: fields.flag("is_error")?,
        ..ToolResult::default()
    })
}

fn media(fields: &mut Fields, kind: MediaKind) -> Result<Content, BadRequest> {
    let mut given = fields
        .object("source")?
        .ok_or_else(|| fields.error("source", "is missing; an object belongs here"))?;
    let mut mime = given.text("media_type")?.unwrap_or_default();
    let source = match given.required_text("type")?.as_str() {
        "base64" => Source::Base64(given.required_text("data")?),
        "url" => {
            // What documents are found at addresses are PDFs; of pictures the format does not say what they are.
            if kind == MediaKind::Document {
                "application/pdf".clone_into(&mut mime);
            }
            Source::Url(given.required_text("url")?)
        }
        "file" => Source::File(given.required_text("file_id")?),
        "text" => Source::Text(given.required_text("data")?),
        _ => Source::Parts(content(&mut given, "content")?),
    };
    let cite = match fields.object("citations")? {
        Some(mut citations) => citations.flag("enabled")?,
        None => None,
    };
    Ok(Content::Media(Media {
        kind,
        source,
        mime,
        name: fields.text("title")?,
        detail: None,
        context: fields.text("context")?,
        cite,
    }))
}

/// A search result is a document whose paragraphs can be cited; what only Anthropic says of it stays beside it, so that
/// other formats can at least tell its text.
fn search_result(mut fields: Fields) -> Result<Part, BadRequest> {
    let parts = content(&mut fields, "content")?;
    let cite = match fields.object("citations")? {
        Some(mut citations) => citations.flag("enabled")?,
        None => None,
    };
    let media = Media {
        kind: MediaKind::Document,
        source: Source::Parts(parts),
        mime: String::new(),
        name: fields.text("title")?,
        detail: None,
        context: None,
        cite,
    };
    let mut part = finish(Content::Media(media), fields)?;
    part.extra.origin = Some(OWN);
    part.extra.members.insert("type".to_owned(), "search_result".into());
    Ok(part)
}

/// Where in its document something stands.
fn place(citation: &Value) -> Option<DocumentPlace> {
    let range = |name: &str| {
        let bound = |which: &str| citation[format!("{which}_{name}")].as_u64();
        bound("start").zip(bound("end"))
    };
    let pages = range("page_number").map(|(from, to)| DocumentPlace::Pages(from, to));
    let chars = || range("char_index").map(|(from, to)| DocumentPlace::Chars(from, to));
    let blocks = || range("block_index").map(|(from, to)| DocumentPlace::Blocks(from, to));
    pages.or_else(chars).or_else(blocks)
}

/// Reads a citation. What is missing in it is simply not known: it is kept whole besides.
pub(super) fn citation(value: Value) -> Citation {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let source = match value["type"].as_str() {
        Some("web_search_result_location") => text("url").map(|url| CitedSource::Url {
            url,
            title: text("title"),
        }),
        Some("search_result_location") => text("source").map(|url| CitedSource::Url {
            url,
            title: text("title"),
        }),
        Some("char_location" | "page_location" | "content_block_location") => {
            value["document_index"].as_u64().map(|index| CitedSource::Document {
                index,
                title: text("document_title"),
                place: place(&value),
            })
        }
        _ => None,
    };
    Citation {
        // The whole block rests on it; the format does not count characters, its reader does.
        span: None,
        quote: text("cited_text"),
        source: source.unwrap_or(CitedSource::Other),
        native: Some((OWN, value)),
    }
}

/// Gives seals back to the parts that they are on.
///
/// Gemini seals texts and calls; Anthropic's format has room for a seal only on thinking, so its encoder writes them as a
/// thinking block without text before the part (`encode/blocks.rs`), which comes home here.
pub(super) fn attach_seals(parts: Vec<Part>) -> Vec<Part> {
    let mut attached: Vec<Part> = Vec::with_capacity(parts.len());
    for mut part in parts {
        let takes_seal = matches!(part.content, Content::Text { .. } | Content::ToolCall(_));
        if takes_seal && attached.last().is_some_and(is_bare_seal) {
            part.signature = attached.pop().and_then(|seal| match seal.content {
                Content::Thinking(thinking) => thinking.signature,
                _ => None,
            });
        }
        attached.push(part);
    }
    attached
}

fn is_bare_seal(part: &Part) -> bool {
    match &part.content {
        Content::Thinking(thinking) => {
            let seal = thinking.signature.as_ref();
            !thinking.redacted
                && thinking.text.is_empty()
                && seal.is_some_and(|seal| seal.origin == domain::Dialect::Gemini)
        }
        _ => false,
    }
}
