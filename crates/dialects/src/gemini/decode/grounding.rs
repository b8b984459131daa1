//! What an answer rests on: `groundingMetadata` and `citationMetadata`.
//!
//! Google counts in bytes of UTF-8, the hub in characters. A segment says which words it is about, and that decides which
//! text is meant: in streams offsets run over all texts, in whole answers over one part.

use serde_json::Value;

use crate::hub::{Citation, CitedSource};

/// A text of the answer, by its place.
pub(super) type Said = (u32, String);

/// A citation, and the place of the text that it is about where that was found.
pub(super) type Found = (Option<u32>, Citation);

/// Bytes of the answer.
#[derive(Debug, Clone, Copy)]
struct Segment<'a> {
    start: usize,
    end: usize,
    words: Option<&'a str>,
}

/// Reads both.
pub(super) fn read(grounding: Option<&Value>, cited: Option<&Value>, said: &[Said]) -> Vec<Found> {
    let mut found = Vec::new();
    if let Some(grounding) = grounding {
        supports(grounding, said, &mut found);
    }
    let lists = ["citations", "citationSources"];
    let cited = lists.iter().find_map(|name| cited?.get(name)?.as_array());
    for citation in cited.into_iter().flatten() {
        let segment = segment(citation);
        let (place, span) = locate(segment, said).unzip();
        found.push((place, plain(span, None, web(citation))));
    }
    found
}

fn supports(grounding: &Value, said: &[Said], found: &mut Vec<Found>) {
    let chunks = list(grounding, "groundingChunks");
    let supports = list(grounding, "groundingSupports");
    for support in supports {
        let (place, span) = support
            .get("segment")
            .and_then(|value| locate(segment(value), said))
            .unzip();
        let chunks = list(support, "groundingChunkIndices")
            .iter()
            .filter_map(|index| chunks.get(usize::try_from(index.as_u64()?).ok()?));
        for chunk in chunks {
            found.push((place, of_chunk(chunk, span)));
        }
    }
    if supports.is_empty() {
        found.extend(chunks.iter().map(|chunk| (None, of_chunk(chunk, None))));
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn of_chunk(chunk: &Value, span: Option<(u64, u64)>) -> Citation {
    if let Some(page) = ["web", "maps", "image"].iter().find_map(|name| chunk.get(name)) {
        return plain(span, None, web(page));
    }
    let Some(context) = chunk.get("retrievedContext") else {
        return plain(span, None, CitedSource::Other);
    };
    let text = |name: &str| context.get(name).and_then(Value::as_str).map(str::to_owned);
    let source = match text("uri").or_else(|| text("fileSearchStore")) {
        Some(url) if url.starts_with("http") => CitedSource::Url {
            url,
            title: text("title"),
        },
        Some(id) => CitedSource::File {
            id,
            name: text("title"),
        },
        None => CitedSource::Other,
    };
    plain(span, text("text"), source)
}

fn web(page: &Value) -> CitedSource {
    let text = |name: &str| page.get(name).and_then(Value::as_str).map(str::to_owned);
    match text("uri").or_else(|| text("sourceUri")) {
        Some(url) => CitedSource::Url {
            url,
            title: text("title"),
        },
        None => CitedSource::Other,
    }
}

const fn plain(span: Option<(u64, u64)>, quote: Option<String>, source: CitedSource) -> Citation {
    Citation {
        span,
        quote,
        source,
        native: None,
    }
}

fn segment(value: &Value) -> Segment<'_> {
    let offset = |name: &str| {
        let offset = value.get(name).and_then(Value::as_u64).unwrap_or(0);
        usize::try_from(offset).unwrap_or(usize::MAX)
    };
    Segment {
        start: offset("startIndex"),
        end: offset("endIndex"),
        words: value
            .get("text")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty()),
    }
}

/// The text that a segment is about, and its characters there.
fn locate(segment: Segment<'_>, said: &[Said]) -> Option<(u32, (u64, u64))> {
    within_one(segment, said)
        .or_else(|| across(segment, said))
        .or_else(|| by_words(segment, said))
}

/// Offsets of one part.
fn within_one(segment: Segment<'_>, said: &[Said]) -> Option<(u32, (u64, u64))> {
    said.iter()
        .filter(|(_, text)| fits(segment, text, 0))
        .find_map(|(place, text)| Some((*place, characters(text, segment.start, segment.end)?)))
}

/// Offsets of all texts joined.
fn across(segment: Segment<'_>, said: &[Said]) -> Option<(u32, (u64, u64))> {
    let mut before = 0;
    for (place, text) in said {
        if fits(segment, text, before) {
            return Some((*place, characters(text, segment.start - before, segment.end - before)?));
        }
        before += text.len();
    }
    None
}

/// The words themselves, where the offsets are of something else.
fn by_words(segment: Segment<'_>, said: &[Said]) -> Option<(u32, (u64, u64))> {
    let words = segment.words?;
    said.iter().find_map(|(place, text)| {
        let start = text.find(words)?;
        Some((*place, characters(text, start, start + words.len())?))
    })
}

/// Whether the segment lies in `text`, which begins at the byte `before`, and says the same words.
fn fits(segment: Segment<'_>, text: &str, before: usize) -> bool {
    let range = segment.start.checked_sub(before).zip(segment.end.checked_sub(before));
    let words = range.and_then(|(start, end)| text.get(start..end));
    words.is_some_and(|words| !words.is_empty() && segment.words.is_none_or(|said| said == words))
}

fn characters(text: &str, start: usize, end: usize) -> Option<(u64, u64)> {
    let before = text.get(..start)?.chars().count() as u64;
    let inside = text.get(start..end)?.chars().count() as u64;
    Some((before, before + inside))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_become_characters_of_the_right_text() {
        let said = [(0, "Grüße. ".to_owned()), (2, "Es ist 19 °C.".to_owned())];
        let grounding = json!({
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"web": {"uri": "https://b"}}],
        "groundingSupports": [
            {"segment": {"endIndex": 8, "text": "Grüße."}, "groundingChunkIndices": [0]},
            {"segment": {"startIndex": 7, "endIndex": 13, "text": "19 °C"}, "groundingChunkIndices": [0, 1, 9]},
            {"segment": {"startIndex": 16, "endIndex": 22, "text": "19 °C"}, "groundingChunkIndices": [1]},
            {"segment": {"startIndex": 1, "endIndex": 3, "text": "°C"}, "groundingChunkIndices": [1]},
            {"segment": {"startIndex": 400, "endIndex": 401}, "groundingChunkIndices": [0]}
        ]});
        let found = read(Some(&grounding), None, &said);
        let spans: Vec<_> = found.iter().map(|(place, citation)| (*place, citation.span)).collect();
        assert_eq!(
            spans,
            [
                (Some(0), Some((0, 6))),
                (Some(2), Some((7, 12))),
                (Some(2), Some((7, 12))),
                (Some(2), Some((7, 12))),
                (Some(2), Some((10, 12))),
                (None, None)
            ]
        );
        let url = |url: &str, title: Option<&str>| CitedSource::Url {
            url: url.to_owned(),
            title: title.map(str::to_owned),
        };
        assert_eq!(found[0].1.source, url("https://a", Some("A")));
        assert_eq!(found[2].1.source, url("https://b", None));
    }

    #[test]
    fn citations_and_files() {
        let said = [(0, "abc".to_owned())];
        let cited =
            json!({"citationSources": [{"startIndex": 1, "endIndex": 3, "uri": "https://c", "license": "mit"}]});
        let found = read(None, Some(&cited), &said);
        assert_eq!(found[0].1.span, Some((1, 3)));
        let grounding =
            json!({"groundingChunks": [{"retrievedContext": {"fileSearchStore": "s", "text": "t"}}, {"x": 1}]});
        let found = read(Some(&grounding), None, &said);
        assert_eq!(found[0].1.quote.as_deref(), Some("t"));
        assert_eq!(
            found[0].1.source,
            CitedSource::File {
                id: "s".to_owned(),
                name: None
            }
        );
        assert_eq!(found[1].1.source, CitedSource::Other);
    }
}
