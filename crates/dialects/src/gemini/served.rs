//! What Google runs itself: code and its output as parts, searches and pages that were read beside the candidate's content.
//!
//! What stands beside the content (`groundingMetadata`, `urlContextMetadata`) is told by the decoder as a part in Google's
//! words too, named like the member, so that there is one way for all of it. Names: `google-genai` 3.4, `types.py`
//! (`ExecutableCode`, `CodeExecutionResult`, `ToolCall`, `GroundingMetadata`, `UrlMetadata`).

use serde_json::{Value, json};

use crate::hub::{Act, Deed, Losses, Page};

/// Members of a candidate that say what was done for it, and what it cites.
pub(super) const BESIDE: [&str; 3] = ["groundingMetadata", "urlContextMetadata", "citationMetadata"];

/// Stands with a grounding of which something cites a text that a stream had told already.
pub(super) const TOO_LATE: &str = "citedTooLate";

/// Whether it is a part of a content, which Google takes back.
pub(crate) fn is_part(value: &Value) -> bool {
    BESIDE.iter().all(|name| value.get(name).is_none())
}

/// Whether a part tells a search where it was made.
pub(crate) fn searches(part: &Value) -> bool {
    part.get("toolCall")
        .is_some_and(|call| text(call, "toolType") == SEARCH)
}

/// What a part says in the words of all formats; nothing where they have none.
pub(crate) fn deeds(part: &Value, losses: &mut Losses) -> Vec<Deed> {
    losses.note_if(
        part.get(TOO_LATE).is_some(),
        "citations",
        "Gemini told them when the stream was beyond the text that they are about",
    );
    if let Some(grounding) = part.get("groundingMetadata") {
        return searched(grounding, losses);
    }
    if let Some(context) = part.get("urlContextMetadata") {
        return list(context, "urlMetadata").iter().flat_map(read).collect();
    }
    let named = |value: &Value, act: Act| Deed::new(&text(value, "id"), act);
    if let Some(code) = part.get("executableCode") {
        let act = Act::Run {
            code: text(code, "code"),
            language: "python",
        };
        return vec![named(code, act)];
    }
    if let Some(result) = part.get("codeExecutionResult") {
        let act = Act::Ran {
            text: text(result, "output"),
            is_error: result.get("outcome").is_some_and(|outcome| outcome != "OUTCOME_OK"),
        };
        return vec![named(result, act)];
    }
    // Since Gemini 3 searches show as calls, where functions are declared beside them.
    let Some(call) = part.get("toolCall").or_else(|| part.get("toolResponse")) else {
        return Vec::new();
    };
    if text(call, "toolType") != SEARCH {
        return Vec::new();
    }
    let act = if part.get("toolCall").is_some() {
        Act::Search(texts(call.get("args").unwrap_or(&Value::Null), "queries"))
    } else {
        Act::Found(Ok(Vec::new()))
    };
    vec![named(call, act)]
}

const SEARCH: &str = "GOOGLE_SEARCH_WEB";

/// What of a grounding is told as a search, and as citations.
const TOLD: [&str; 3] = ["webSearchQueries", "groundingChunks", "groundingSupports"];

fn searched(grounding: &Value, losses: &mut Losses) -> Vec<Deed> {
    let names = grounding.as_object().into_iter().flat_map(serde_json::Map::keys);
    for name in names.filter(|name| !TOLD.contains(&name.as_str())) {
        losses.note(
            format!("groundingMetadata.{name}"),
            "only Gemini's format has a place for it",
        );
    }
    let queries = texts(grounding, "webSearchQueries");
    if queries.is_empty() {
        return Vec::new();
    }
    let pages = list(grounding, "groundingChunks")
        .iter()
        .filter_map(|chunk| chunk.get("web"));
    let pages = pages
        .map(|page| Page {
            url: text(page, "uri"),
            title: text(page, "title"),
            ..Page::default()
        })
        .collect();
    vec![
        Deed::new("", Act::Search(queries)),
        Deed::new("", Act::Found(Ok(pages))),
    ]
}

fn read(metadata: &Value) -> [Deed; 2] {
    let url = text(metadata, "retrievedUrl");
    let page = Page {
        url: url.clone(),
        ..Page::default()
    };
    let came = match metadata.get("urlRetrievalStatus").and_then(Value::as_str) {
        Some("URL_RETRIEVAL_STATUS_SUCCESS") => Ok(page),
        _ => Err("url_not_accessible".to_owned()),
    };
    [Deed::new("", Act::Fetch(url)), Deed::new("", Act::Fetched(came))]
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let texts = list(value, name).iter().filter_map(Value::as_str);
    texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What others did, as it is told beside the content.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// What was searched for.
    pub(super) queries: Vec<String>,
    /// The addresses of what was found.
    found: Vec<String>,
    /// Pages that were read, by the names of the steps.
    read: Vec<(String, Value)>,
}

impl Beside {
    /// Takes a deed; one that is a part of the content comes back as that.
    pub(super) fn take(&mut self, deed: Deed, losses: &mut Losses) -> Option<Value> {
        let name = deed.name();
        match deed.act {
            Act::Search(queries) => self.queries.extend(queries),
            Act::Found(Ok(pages)) => self.found.extend(pages.into_iter().map(|page| page.url)),
            Act::Found(Err(_)) => losses.note("web search: error", "Gemini does not tell that a search failed"),
            Act::Fetched(came) => {
                losses.note_if(
                    came.as_ref().is_ok_and(|page| !page.text.is_empty()),
                    "web fetch: text",
                    "Gemini does not show what a page says",
                );
                let asked = self.read.iter_mut().rev().find(|(id, _)| *id == deed.id);
                if let Some((_, Value::Object(last))) = asked {
                    let status = if came.is_ok() { "SUCCESS" } else { "ERROR" };
                    last.insert(
                        "urlRetrievalStatus".to_owned(),
                        format!("URL_RETRIEVAL_STATUS_{status}").into(),
                    );
                }
            }
            Act::Fetch(url) => {
                let read = json!({"retrievedUrl": url, "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_UNSPECIFIED"});
                self.read.push((deed.id, read));
            }
            Act::Run { code, language } => {
                let language = if language == "python" {
                    "PYTHON"
                } else {
                    "LANGUAGE_UNSPECIFIED"
                };
                return Some(json!({"executableCode": {"language": language, "code": code}}));
            }
            Act::Ran { text, is_error } => {
                let outcome = if is_error { "OUTCOME_FAILED" } else { "OUTCOME_OK" };
                return Some(json!({"codeExecutionResult": {"outcome": outcome, "output": text}}));
            }
            Act::Remote { .. } | Act::Replied { .. } => losses.note(name, "Gemini's format has no word for it"),
        }
        None
    }

    /// What is cited is all that Gemini lists; its clients show the list as what the answer rests on.
    pub(super) fn note_uncited(&self, cited: &[Value], losses: &mut Losses) {
        let is_cited = |url: &String| {
            let address = |chunk: &Value| chunk.pointer("/web/uri").is_some_and(|known| known == url.as_str());
            cited.iter().any(address)
        };
        losses.note_if(
            !self.found.iter().all(is_cited),
            "web search: pages",
            "Gemini lists those that are cited",
        );
    }

    /// `urlContextMetadata`; `None`: no page was read.
    pub(super) fn pages_read(&mut self) -> Option<Value> {
        let read: Vec<Value> = std::mem::take(&mut self.read)
            .into_iter()
            .map(|(_, read)| read)
            .collect();
        (!read.is_empty()).then(|| json!({ "urlMetadata": read }))
    }
}
