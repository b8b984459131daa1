//! Gemini's batches: operations whose output is in them, or in a file (google-genai 3.6, `batches.py`,
//! `_BatchJob_from_mldev`, `_BatchJobDestination_from_mldev`; `_transformers.py`, `t_job_state`). Those of embeddings are told
//! apart by the words around their answers alone, which count their tokens in a word of their own (`types.py`,
//! `SingleEmbedContentResponse`).

use domain::Usage;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Asked, State};
use crate::answer::UsageReport;
use crate::hub::nested;

#[derive(Deserialize)]
struct Operation {
    name: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    done: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    state: String,
    model: Option<String>,
    output: Output,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Output {
    responses_file: Option<String>,
}

pub(super) fn state(object: &[u8]) -> Option<State> {
    let operation: Operation = serde_json::from_slice(object).ok()?;
    let metadata = operation.metadata;
    let ended = ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"];
    let word = metadata.state.rsplit('_').next().unwrap_or_default();
    let model = metadata.model.as_deref();
    Some(State {
        is_over: operation.done || ended.contains(&word),
        id: operation.name,
        endpoint: None,
        output: metadata.output.responses_file.filter(|file| !file.is_empty()),
        model: model.map(|model| model.strip_prefix("models/").unwrap_or(model).to_owned()),
        total: None,
    })
}

#[derive(Deserialize)]
struct Inlined<'a> {
    #[serde(borrow)]
    metadata: InlinedMetadata<'a>,
}

#[derive(Deserialize)]
struct InlinedMetadata<'a> {
    #[serde(borrow)]
    output: InlinedOutput<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InlinedOutput<'a> {
    #[serde(borrow, alias = "inlinedEmbedContentResponses")]
    inlined_responses: InlinedResponses<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InlinedResponses<'a> {
    #[serde(borrow)]
    inlined_responses: Vec<&'a RawValue>,
}

/// What came of the requests of a batch, where it is in the object itself.
pub fn inlined(object: &[u8]) -> Vec<&RawValue> {
    let found: Option<Inlined<'_>> = serde_json::from_slice(object).ok();
    found.map_or_else(Vec::new, |found| {
        found.metadata.output.inlined_responses.inlined_responses
    })
}

/// What an embedding in a batch used.
pub(super) fn counted(response: &str) -> UsageReport {
    #[derive(Deserialize)]
    struct Counted {
        #[serde(rename = "tokenCount", alias = "token_count")]
        tokens: Value,
    }
    let found: Option<Counted> = serde_json::from_str(response).ok();
    found
        .and_then(|found| figure(&found.tokens))
        .map_or(UsageReport::None, |input| {
            UsageReport::Possible(Usage {
                input,
                ..Usage::default()
            })
        })
}

/// Google writes figures of 64 bits as texts.
fn figure(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// What Google says of a file that it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its name, with its collection.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was made: a file of the same name may be another one.
    pub made: String,
}

/// Reads what is said of a file, alone or as the answer to its upload (google-genai 3.6, `types.py`, `File`).
pub fn card(text: &[u8]) -> Option<Card> {
    let said = nested::read(text).ok()?;
    let file = said.get("file").unwrap_or(&said);
    Some(Card {
        name: file.get("name")?.as_str()?.to_owned(),
        bytes: figure(file.get("sizeBytes")?)?,
        made: file.get("createTime")?.as_str()?.to_owned(),
    })
}

#[derive(Deserialize)]
struct Creation<'a> {
    #[serde(borrow)]
    batch: Batch<'a>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, rename = "inputConfig", alias = "input_config")]
    input: Input<'a>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(rename = "fileName", alias = "file_name")]
    file: Option<String>,
    #[serde(borrow)]
    requests: Option<Requests<'a>>,
}

#[derive(Deserialize)]
struct Requests<'a> {
    #[serde(borrow)]
    requests: Vec<Request<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    request: &'a RawValue,
}

pub(super) fn asked(body: &[u8]) -> Result<Asked<'_>, String> {
    let creation: Creation<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match (creation.batch.input.file, creation.batch.input.requests) {
        (None, Some(requests)) => {
            let requests = requests.requests.into_iter().map(|request| request.request);
            Ok(Asked::Here(requests.collect()))
        }
        (Some(id), None) => Ok(Asked::File {
            id,
            endpoint: String::new(),
        }),
        _ => Err("its `inputConfig` must have either `requests` or a `fileName`".to_owned()),
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    key: Option<String>,
    metadata: Option<Named>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named {
    key: Option<String>,
}

/// The name of a request and its answer, from a line of a file or an inlined response. Inlined ones may have no name; they
/// stand in the order of the requests.
pub(super) fn line(line: &[u8]) -> Result<(String, Option<&RawValue>), serde_json::Error> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    let name = line.key.or_else(|| line.metadata?.key);
    Ok((name.unwrap_or_default(), line.response))
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation, Surface};

    use super::super::{answered, asked, state};
    use super::*;
    use crate::UsageReport;

    #[test]
    fn an_operation_says_how_far_it_is_and_what_came_of_it() {
        let running =
            br#"{"name":"batches/b1","metadata":{"model":"models/gemini-2.5-flash","state":"BATCH_STATE_RUNNING"}}"#;
        let found = state(Dialect::Gemini, running).unwrap();
        assert_eq!(
            (found.id.as_str(), found.is_over, found.model.as_deref()),
            ("batches/b1", false, Some("gemini-2.5-flash"))
        );
        let file = br#"{"name":"batches/b1","done":true,"metadata":{"state":"BATCH_STATE_SUCCEEDED","output":{"responsesFile":"files/out"}}}"#;
        let found = state(Dialect::Gemini, file).unwrap();
        assert_eq!((found.is_over, found.output.as_deref()), (true, Some("files/out")));
        assert!(inlined(file).is_empty());
        let inline = br#"{"name":"batches/b1","metadata":{"state":"BATCH_STATE_SUCCEEDED","output":{"inlinedResponses":{"inlinedResponses":[
            {"response":{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"modelVersion":"gemini-2.5-flash",
                "usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"totalTokenCount":13}},"metadata":{"key":"k"}},
            {"error":{"code":3,"message":"no"}}]}}}}"#;
        let lines = inlined(inline);
        let surface = Surface::new(Operation::Chat, Dialect::Gemini);
        let read = |line: &RawValue| answered(surface, line.get().as_bytes()).unwrap();
        let first = read(lines[0]).unwrap();
        assert_eq!(first.custom_id, "k");
        let UsageReport::Possible(usage) = first.report.usage else {
            panic!()
        };
        assert_eq!((usage.input, usage.output), (9, 4));
        assert_eq!((lines.len(), read(lines[1])), (2, None));
    }

    #[test]
    fn embeddings_count_their_tokens_in_a_word_of_their_own() {
        let text = br#"{"name":"batches/b1","metadata":{"state":"BATCH_STATE_SUCCEEDED","output":{"inlinedEmbedContentResponses":
            {"inlinedResponses":[{"response":{"embedding":{"values":[0.1]},"tokenCount":"7"},"metadata":{"key":"k"}},
            {"response":{"embedding":{"values":[0.1]}}},{"response":{"embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":5}}}]}}}}"#;
        let surface = Surface::new(Operation::Embeddings, Dialect::Gemini);
        let usages: Vec<UsageReport> = inlined(text)
            .into_iter()
            .map(|line| answered(surface, line.get().as_bytes()).unwrap().unwrap().report.usage)
            .collect();
        let possible = |input| {
            UsageReport::Possible(Usage {
                input,
                ..Usage::default()
            })
        };
        assert_eq!(usages, [possible(7), UsageReport::None, possible(5)]);
    }

    #[test]
    fn a_file_says_how_long_it_is() {
        let said = br#"{"name":"files/a","sizeBytes":"12","createTime":"2026-11-01T00:00:00Z"}"#;
        let uploaded = [&b"{\"file\":"[..], said, b"}"].concat();
        assert_eq!(card(said).map(|card| card.bytes), Some(12));
        assert_eq!(card(&uploaded), card(said));
        assert_eq!(card(br#"{"name":"files/a"}"#), None);
    }

    #[test]
    fn requests_are_there_or_in_a_file() {
        let here = br#"{"batch":{"displayName":"x","inputConfig":{"requests":{"requests":[{"request":{"contents":[]},"metadata":{"key":"k"}}]}}}}"#;
        assert!(matches!(asked(Dialect::Gemini, here), Ok(Asked::Here(requests)) if requests.len() == 1));
        let file = br#"{"batch":{"input_config":{"file_name":"files/in"}}}"#;
        assert!(matches!(asked(Dialect::Gemini, file), Ok(Asked::File { id, .. }) if id == "files/in"));
        for neither in [r#"{"batch":{"inputConfig":{}}}"#, r#"{"batch":{}}"#, "[]"] {
            assert!(asked(Dialect::Gemini, neither.as_bytes()).is_err(), "{neither}");
        }
    }
}
