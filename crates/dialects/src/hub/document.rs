//! Documents that are text, for formats that have no such thing.
//!
//! Only Anthropic's format (and Bedrock's, in part) has documents of text and search results. Everything about them is text:
//! their title, where they were found, what they are about, what they say. So all of it can be told everywhere, where it
//! stood; what a tool found stays what the tool said. What is not text (a PDF) keeps its place, and what is said about it
//! stands before it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Dialect;
use serde_json::Value;

use super::{Content, Losses, Media, MediaKind, Message, Part, Role, Source};

/// What a format can say of documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    /// Whether it takes files of text as files; else they are told as texts, too.
    pub(crate) text_files: bool,
    /// Whether a file may have a name; else a title is told before it.
    pub(crate) names: bool,
}

/// Tells the documents of a conversation as texts, as far as they are texts.
pub(crate) fn documents_as_texts(messages: &mut [Message], telling: Telling, losses: &mut Losses) {
    for message in messages.iter_mut().filter(|message| message.role != Role::Assistant) {
        in_parts(&mut message.parts, telling, losses);
    }
}

fn in_parts(parts: &mut Vec<Part>, telling: Telling, losses: &mut Losses) {
    for part in parts.iter_mut() {
        match &mut part.content {
            Content::ToolResult(result) => in_parts(&mut result.parts, telling, losses),
            Content::Media(media) if !telling.text_files => unpack(media),
            _ => {}
        }
    }
    if !parts.iter().any(|part| is_told(part, telling)) {
        return;
    }
    let before = std::mem::take(parts);
    for part in before {
        if is_told(&part, telling) {
            parts.extend(as_texts(part, telling, losses));
        } else {
            parts.push(part);
        }
    }
}

/// Whether something of it is told as text.
fn is_told(part: &Part, telling: Telling) -> bool {
    let Content::Media(media) = &part.content else {
        return false;
    };
    media.kind == MediaKind::Document
        && (media.is_text() || media.context.is_some() || (media.name.is_some() && !telling.names))
}

/// A document as texts: what is said about it, and then what it says; a file as itself behind what is said about it.
pub(crate) fn as_texts(mut part: Part, telling: Telling, losses: &mut Losses) -> Vec<Part> {
    let is_result = is_search_result(&part);
    let address = part.extra.members.get("source").filter(|_| is_result);
    let address = address.and_then(Value::as_str).map(str::to_owned);
    if is_result {
        part.extra.members.shift_remove("type");
        part.extra.members.shift_remove("source");
    }
    let Content::Media(media) = &mut part.content else {
        return vec![part];
    };
    losses.note_if(
        media.is_text() && media.cite == Some(true),
        "document.citations",
        "the document is told as text, which is not cited",
    );
    let is_told = media.is_text() || !telling.names;
    let title = media.name.take_if(|_| is_told);
    let about: Vec<String> = [title, address, media.context.take()].into_iter().flatten().collect();
    let about = about.join("\n");
    let said = match std::mem::replace(&mut media.source, Source::Text(String::new())) {
        Source::Text(text) => vec![Part::text(text)],
        Source::Parts(parts) => parts,
        source => {
            media.source = source;
            return vec![Part::text(about), part];
        }
    };
    let mut told = headed(about, said);
    if let Some(last) = told.last_mut() {
        last.cache = part.cache.or(last.cache.take());
        if last.extra.members.is_empty() {
            last.extra = part.extra;
        }
    }
    told
}

/// The parts, the first of which begins with the heading if it is a text.
fn headed(heading: String, mut parts: Vec<Part>) -> Vec<Part> {
    if heading.is_empty() {
        return parts;
    }
    match parts.first_mut().map(|first| &mut first.content) {
        Some(Content::Text { text, .. }) => *text = format!("{heading}\n\n{text}"),
        _ => parts.insert(0, Part::text(heading)),
    }
    parts
}

/// Whether a document came as a search result of Anthropic's format.
pub(crate) fn is_search_result(part: &Part) -> bool {
    let extra = &part.extra;
    let is_one = extra.members.get("type").is_some_and(|kind| kind == "search_result");
    extra.origin == Some(Dialect::AnthropicMessages)
        && is_one
        && matches!(
            &part.content,
            Content::Media(Media {
                source: Source::Parts(_),
                ..
            })
        )
}

/// A file of text becomes its text.
fn unpack(media: &mut Media) {
    let Source::Base64(data) = &media.source else {
        return;
    };
    if media.kind != MediaKind::Document || !is_text(&media.mime) {
        return;
    }
    let bytes = STANDARD.decode(data).ok();
    if let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        media.source = Source::Text(text);
    }
}

/// Whether files of this type are text.
pub(crate) fn is_text(mime: &str) -> bool {
    const OTHERS: [&str; 7] = ["json", "xml", "yaml", "x-yaml", "javascript", "x-ndjson", "toml"];
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match mime.split_once('/') {
        Some(("text", kind)) => kind != "rtf",
        Some(("application", kind)) => OTHERS.contains(&kind) || kind.ends_with("+json") || kind.ends_with("+xml"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{CacheMark, ToolResult};

    const CHAT: Telling = Telling {
        text_files: false,
        names: true,
    };

    fn document(source: Source, mime: &str) -> Part {
        Part::new(Content::Media(Media {
            kind: MediaKind::Document,
            source,
            mime: mime.to_owned(),
            name: Some("T".to_owned()),
            detail: None,
            context: Some("C".to_owned()),
            cite: Some(true),
        }))
    }

    fn told(part: Part, telling: Telling) -> (Vec<Part>, usize) {
        let mut messages = [Message::new(Role::User, vec![part])];
        let mut losses = Losses::default();
        documents_as_texts(&mut messages, telling, &mut losses);
        (messages[0].parts.clone(), losses.into_vec().len())
    }

    #[test]
    fn a_document_of_text_begins_with_what_is_said_about_it() {
        let mut given = document(Source::Text("words".to_owned()), "text/plain");
        given.cache = Some(CacheMark { ttl: None });
        let (parts, losses) = told(given, CHAT);
        assert_eq!((parts.len(), losses), (1, 1));
        assert_eq!(parts[0].as_text(), Some("T\nC\n\nwords"));
        assert!(parts[0].cache.is_some());
    }

    #[test]
    fn a_search_result_stays_what_the_tool_said() {
        let mut found = document(Source::Parts(vec![Part::text("a"), Part::text("b")]), "");
        found.extra.origin = Some(Dialect::AnthropicMessages);
        found.extra.members.insert("type".to_owned(), "search_result".into());
        found.extra.members.insert("source".to_owned(), "https://s".into());
        let result = ToolResult {
            parts: vec![found],
            ..ToolResult::default()
        };
        let (parts, _) = told(Part::new(Content::ToolResult(result)), CHAT);
        let Content::ToolResult(result) = &parts[0].content else {
            panic!("no result")
        };
        let texts: Vec<_> = result.parts.iter().map(Part::as_text).collect();
        assert_eq!(texts, [Some("T\nhttps://s\nC\n\na"), Some("b")]);
        assert!(result.parts.iter().all(|part| part.extra.members.is_empty()));
    }

    #[test]
    fn files_keep_their_place_behind_what_is_said_about_them() {
        let pdf = || document(Source::Base64("JVBERi0=".to_owned()), "application/pdf");
        let nameless = Telling { names: false, ..CHAT };
        for (telling, about) in [(CHAT, "C"), (nameless, "T\nC")] {
            let (parts, losses) = told(pdf(), telling);
            assert_eq!((parts.len(), losses), (2, 0));
            assert_eq!(parts[0].as_text(), Some(about));
        }
    }

    #[test]
    fn files_of_text_are_their_text_where_the_format_takes_none() {
        let csv = || document(Source::Base64("YSxi".to_owned()), "text/csv; charset=utf-8");
        assert_eq!(told(csv(), CHAT).0[0].as_text(), Some("T\nC\n\na,b"));
        let takes = Telling {
            text_files: true,
            ..CHAT
        };
        assert_eq!(told(csv(), takes).0.len(), 2);
        for mime in [
            "application/json",
            "application/ld+json",
            "text/markdown",
            "application/x-yaml",
        ] {
            assert!(is_text(mime), "{mime}");
        }
        for mime in ["application/pdf", "application/msword", "text/rtf", "", "image/svg+xml"] {
            assert!(!is_text(mime), "{mime}");
        }
    }
}
