//! `groundingMetadata` of citations. Google counts in bytes, the hub in characters.

use serde_json::{Map, Value, json};

use super::put;
use crate::gemini::served::{BESIDE, Beside};
use crate::hub::{Citation, CitedSource, Deed, DocumentPlace, Losses};

/// Gathers the citations of one candidate.
#[derive(Debug, Default)]
pub(super) struct Grounding {
    chunks: Vec<Value>,
    supports: Vec<Value>,
    beside: Beside,
    /// What Google said itself, by its name.
    own: Map<String, Value>,
}

/// The text that is cited about: the words so far, which part they are, and the bytes before them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cited<'a> {
    pub(super) text: &'a str,
    /// In a whole answer offsets are of a part; in a stream they run over all texts.
    pub(super) part: Option<usize>,
    pub(super) before: usize,
}

impl Grounding {
    /// Takes what another provider did; a part of the content comes back as that.
    pub(super) fn deed(&mut self, deed: Deed, losses: &mut Losses) -> Option<Value> {
        self.beside.take(deed, losses)
    }

    /// Takes what Google says beside the content, as it came. `false`: it is a part of the content.
    pub(super) fn own(&mut self, part: &Value) -> bool {
        let Some((name, value)) = beside(part) else {
            return false;
        };
        self.own.insert(name.to_owned(), value.clone());
        true
    }

    /// Takes a citation.
    pub(super) fn cite(&mut self, citation: Citation, about: Cited<'_>, losses: &mut Losses) {
        let chunk = match citation.source {
            CitedSource::Url { url, title } => json!({"web": page(url, title)}),
            CitedSource::File { id, name } => {
                let mut context = page(id, name);
                put(&mut context, "text", citation.quote.clone());
                json!({"retrievedContext": context})
            }
            CitedSource::Document { title, place, .. } => {
                let Some(context) = context(title, place, citation.quote) else {
                    losses.note(
                        "citations",
                        "Gemini tells a document's title, page and words, and this has none",
                    );
                    return;
                };
                json!({"retrievedContext": context})
            }
            CitedSource::Other => {
                losses.note("citations", "Gemini cites pages, files and documents only");
                return;
            }
        };
        let place = self.chunks.iter().position(|known| *known == chunk).unwrap_or_else(|| {
            self.chunks.push(chunk);
            self.chunks.len() - 1
        });
        let Some(segment) = citation.span.and_then(|span| segment(span, about)) else {
            return;
        };
        let known = self
            .supports
            .iter_mut()
            .find(|support| support.get("segment") == Some(&segment));
        match known.and_then(|support| support.get_mut("groundingChunkIndices")?.as_array_mut()) {
            Some(indices) if indices.contains(&place.into()) => {}
            Some(indices) => indices.push(place.into()),
            None => self
                .supports
                .push(json!({"segment": segment, "groundingChunkIndices": [place]})),
        }
    }

    /// Writes all of it into the candidate.
    pub(super) fn write(mut self, candidate: &mut Map<String, Value>, losses: &mut Losses) {
        self.beside.note_uncited(&self.chunks, losses);
        put(candidate, "urlContextMetadata", self.beside.pages_read());
        let mut members = Map::new();
        let queries = self.beside.queries;
        put(
            &mut members,
            "webSearchQueries",
            (!queries.is_empty()).then_some(queries),
        );
        put(
            &mut members,
            "groundingChunks",
            (!self.chunks.is_empty()).then_some(self.chunks),
        );
        put(
            &mut members,
            "groundingSupports",
            (!self.supports.is_empty()).then_some(self.supports),
        );
        put(candidate, "groundingMetadata", (!members.is_empty()).then_some(members));
        candidate.extend(self.own);
    }
}

/// The member of a candidate that a part of Google's own stands for.
pub(super) fn beside(part: &Value) -> Option<(&'static str, &Value)> {
    BESIDE.into_iter().find_map(|name| Some((name, part.get(name)?)))
}

/// A document of the request. Google's files from stores stand in the same words.
fn context(title: Option<String>, place: Option<DocumentPlace>, quote: Option<String>) -> Option<Map<String, Value>> {
    let page = match place {
        Some(DocumentPlace::Pages(first, _)) => Some(first),
        Some(DocumentPlace::Chars(..) | DocumentPlace::Blocks(..)) | None => None,
    };
    let mut members = Map::new();
    put(&mut members, "title", title);
    put(&mut members, "text", quote);
    put(&mut members, "pageNumber", page);
    (!members.is_empty()).then_some(members)
}

fn page(uri: String, title: Option<String>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("uri".to_owned(), uri.into());
    put(&mut members, "title", title);
    members
}

/// `None`: the text does not have these characters.
fn segment((from, to): (u64, u64), about: Cited<'_>) -> Option<Value> {
    let start = byte(about.text, from)?;
    let end = byte(about.text, to)?;
    let words = about.text.get(start..end).filter(|words| !words.is_empty())?;
    let mut members = Map::new();
    put(&mut members, "partIndex", about.part.filter(|part| *part > 0));
    members.insert("startIndex".to_owned(), (about.before + start).into());
    members.insert("endIndex".to_owned(), (about.before + end).into());
    members.insert("text".to_owned(), words.into());
    Some(Value::Object(members))
}

/// The byte at which a character begins, or the text ends.
fn byte(text: &str, character: u64) -> Option<usize> {
    let character = usize::try_from(character).ok()?;
    let starts = text.char_indices().map(|(at, _)| at);
    starts.chain(std::iter::once(text.len())).nth(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_title_words_and_page() {
        let told = context(
            Some("T".to_owned()),
            Some(DocumentPlace::Pages(3, 4)),
            Some("words".to_owned()),
        );
        let expected = json!({"title": "T", "text": "words", "pageNumber": 3});
        assert_eq!(told.map(Value::Object), Some(expected));
        assert_eq!(context(None, Some(DocumentPlace::Chars(0, 1)), None), None);
    }
}
