//! What requests and answers write alike.

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::OWN;
use crate::hub::{CacheMark, Citation, CitedSource, DocumentPlace, Extra, Losses, NO_OBJECT, ToolCall, nested};

/// Members of an object that is being written.
pub(super) type Members = Map<String, Value>;

/// An object of these members. Unlike `json!` it takes them as they are: a picture is not copied.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let named = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(named.collect())
}

/// Puts back what Anthropic's family said, without touching what is there; what another family said is noted.
pub(super) fn put_back(members: &mut Members, extra: Extra, losses: &mut Losses) {
    if extra.origin != Some(OWN) {
        for name in extra.unsaid() {
            losses.note(name.to_owned(), "only the client's format knows it");
        }
        return;
    }
    for (name, value) in extra.members {
        if let (Some(Value::Object(known)), Value::Object(more)) = (members.get_mut(&name), &value) {
            for (name, value) in more {
                known.entry(name.clone()).or_insert_with(|| value.clone());
            }
        } else {
            members.entry(name).or_insert(value);
        }
    }
}

/// A cache marker.
pub(super) fn cache_control(mark: &CacheMark, losses: &mut Losses) -> Value {
    match mark.ttl.as_deref() {
        Some(ttl @ ("5m" | "1h")) => json!({"type": "ephemeral", "ttl": ttl}),
        Some(_) => {
            losses.note(
                "cache ttl",
                "Anthropic's caches live for 5m or 1h; it gets the usual 5m",
            );
            json!({"type": "ephemeral"})
        }
        None => json!({"type": "ephemeral"}),
    }
}

/// A citation; `None` where Anthropic's format cannot say where the words stand.
pub(super) fn citation(citation: Citation, losses: &mut Losses) -> Option<Value> {
    match (citation.native, citation.source) {
        (Some((OWN, value)), _) => Some(value),
        (_, CitedSource::Url { url, title }) => {
            losses.note_if(
                citation.span.is_some(),
                "citations[].span",
                "Anthropic's citations are about a whole block of text",
            );
            Some(json!({
                "type": "web_search_result_location",
                "cited_text": citation.quote.unwrap_or_default(),
                "url": url,
                "title": title,
                // The format demands it; nobody but Anthropic has one.
                "encrypted_index": "",
            }))
        }
        (
            _,
            CitedSource::Document {
                index,
                title,
                place: Some(place),
            },
        ) => Some(of_document(
            index,
            title.as_deref(),
            place,
            citation.quote.as_deref().unwrap_or_default(),
        )),
        (_, CitedSource::Document { .. } | CitedSource::File { .. } | CitedSource::Other) => {
            losses.note(
                "citations",
                "Anthropic's citations of documents say at which character, page or block",
            );
            None
        }
    }
}

/// A citation of a document of the request.
fn of_document(index: u64, title: Option<&str>, place: DocumentPlace, quote: &str) -> Value {
    let (kind, [start, end], (from, to)) = match place {
        DocumentPlace::Chars(from, to) => ("char_location", ["start_char_index", "end_char_index"], (from, to)),
        DocumentPlace::Pages(from, to) => ("page_location", ["start_page_number", "end_page_number"], (from, to)),
        DocumentPlace::Blocks(from, to) => (
            "content_block_location",
            ["start_block_index", "end_block_index"],
            (from, to),
        ),
    };
    json!({
        "type": kind,
        "cited_text": quote,
        "document_index": index,
        "document_title": title,
        start: from,
        end: to,
    })
}

/// A call's input, which is an object in this format.
pub(super) fn input(call: &ToolCall, losses: &mut Losses) -> Value {
    if call.custom {
        return json!({CUSTOM_INPUT: call.arguments});
    }
    if call.arguments.trim().is_empty() {
        return json!({});
    }
    match nested::read(call.arguments.as_bytes()) {
        Ok(object @ Value::Object(_)) => object,
        Ok(Value::Null) => json!({}),
        Ok(_) | Err(_) => {
            losses.note(
                "tool call arguments",
                "they are not a JSON object, which Anthropic demands; sent as its member `arguments`",
            );
            json!({NO_OBJECT: call.arguments})
        }
    }
}

/// The member that carries the free text of a custom tool, which becomes a tool with one text as argument.
pub(super) const CUSTOM_INPUT: &str = "input";

/// An id of a call with nothing in it but what Anthropic allows (`^[a-zA-Z0-9_-]+$`). Clients get such ids too, since
/// their next turn may go to Anthropic itself.
pub(super) fn safe_id(id: &str) -> String {
    id.chars()
        .map(|character| if is_safe(character) { character } else { '_' })
        .collect()
}

/// Whether ids and names of tools may have such a character.
pub(super) const fn is_safe(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// A seal that stands on a text or a call. The format has no place for it there, so it goes before the part, as a
/// thinking block without text; `decode/blocks.rs` puts it back.
pub(super) fn bare_seal(seal: &crate::hub::Signature) -> Option<String> {
    (seal.origin == Dialect::Gemini).then(|| seal.for_client(OWN))
}
