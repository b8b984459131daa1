//! Ids in requests and answers beyond the metered operations: files, batches, uploads, caches and what else there is.
//!
//! Nothing is known of these paths but their manner: what exists is named in the path or by a member of the body, and what
//! was made is named in the answer. So ids are recognised by where they stand and looked up; most words in a path are none
//! and cost one look-up in vain. An answer that names files of its own (what a batch has put out) makes them its asker's.

use bytes::Bytes;
use domain::{Dialect, Fault, Pin};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, Method};
use serde_json::Value;
use std::sync::Arc;

use super::keep::{Kind, Maker};
use super::{Found, no_such};
use crate::authenticate::Caller;
use crate::dispatch::Source;
use crate::gateway::Inner;
use crate::limits::{IDS_MAX, MADE_MAX};

/// What a request names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// The first of its things that were made here.
    pub(crate) place: Option<Arc<Pin>>,
    /// Whether its path names something that was not.
    pub(crate) is_unknown: bool,
}

/// Looks up what a request names: in its path first, then in its body.
pub(crate) async fn named(
    gateway: &Inner,
    caller: &Caller,
    (dialect, path): (Dialect, &str),
    body: &[u8],
) -> Result<Named, Fault> {
    let mut named = Named::default();
    for id in in_path(dialect, path) {
        match found(gateway, caller, &id).await? {
            Some(pin) => named.place = named.place.or(Some(pin)),
            None => named.is_unknown = true,
        }
    }
    for id in in_body(body) {
        let pin = found(gateway, caller, &id).await?;
        named.place = named.place.or(pin);
    }
    Ok(named)
}

async fn found(gateway: &Inner, caller: &Caller, id: &str) -> Result<Option<Arc<Pin>>, Fault> {
    match gateway.recall.find(caller.key.user.id, id, gateway.clock.now()).await? {
        Found::Own(pin) => Ok(Some(pin)),
        Found::Foreign => Err(no_such("Object", id)),
        Found::Unknown => Ok(None),
    }
}

/// What can be an id in a path: not the collection that it begins with. Gemini's are named with their collection.
fn in_path(dialect: Dialect, path: &str) -> Vec<String> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let collection = segments.next().unwrap_or_default();
    if dialect == Dialect::Gemini {
        // `/files/abc:method`
        let name = segments.next().and_then(|name| name.split(':').next());
        return name.map(|name| format!("{collection}/{name}")).into_iter().collect();
    }
    let ids = segments.filter(|segment| is_id(segment));
    ids.take(IDS_MAX).map(str::to_owned).collect()
}

fn is_id(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    word.len() <= 512
        && word.bytes().all(is_plain)
        && word.bytes().any(|byte| byte.is_ascii_digit() || b"-_/".contains(&byte))
}

/// What can be an id in a JSON body: texts whose member says so.
fn in_body(body: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    if body.first() == Some(&b'{')
        && let Ok(value) = dialects::read_json(body)
    {
        gather("", &value, &mut ids);
    }
    ids
}

fn gather(name: &str, value: &Value, ids: &mut Vec<String>) {
    let names_id = || {
        let name = name.to_ascii_lowercase();
        [
            "id",
            "ids",
            "file",
            "files",
            "uri",
            "filename",
            "cachedcontent",
            "cached_content",
        ]
        .iter()
        .any(|end| name.ends_with(end))
    };
    match value {
        Value::String(text) => {
            let text = text
                .rsplit_once("/files/")
                .map_or(text.clone(), |(_, name)| format!("files/{name}"));
            if ids.len() < IDS_MAX && is_id(&text) && names_id() && !ids.contains(&text) {
                ids.push(text);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| gather(name, value, ids)),
        Value::Object(members) => members.iter().for_each(|(name, value)| gather(name, value, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Notes what an answer made or names, and what a deletion took away.
pub(crate) async fn note(
    gateway: &Inner,
    maker: Maker,
    (method, path): (&Method, &str),
    named: &Named,
    head: &Parts,
    source: Source,
) -> Source {
    if !head.status.is_success() {
        return source;
    }
    let of_path = named
        .place
        .as_deref()
        .filter(|pin| path.ends_with(&format!("/{}", name_of(pin))));
    if *method == Method::DELETE {
        if let Some(pin) = of_path {
            gateway.recall.unpin(pin.user, &pin.id);
        }
        return source;
    }
    let is_made = *method == Method::POST && !named.is_unknown;
    let is_looked_at = *method == Method::GET && of_path.is_some();
    if !(is_made || is_looked_at) || !is_short_json(&head.headers) {
        return source;
    }
    let (text, source) = read(source).await;
    let ids = text.as_deref().map(of_answer).unwrap_or_default();
    if let (Some(pin), Some(text)) = (of_path.filter(|_| is_looked_at), &text) {
        gateway.recall.batches.saw(pin, text);
    }
    // What is looked at may be what a client wrote (a file's content): only the thing's own description is believed.
    let is_believed = is_made || of_path.is_some_and(|pin| ids.first() == Some(&pin.id));
    for id in ids.into_iter().filter(|_| is_believed) {
        gateway.recall.learn(maker.pin(gateway, &id, Kind::Thing)).await;
    }
    source
}

/// How a thing is named at the end of its path.
fn name_of(pin: &Pin) -> &str {
    pin.id.rsplit('/').next().unwrap_or_default()
}

pub(super) fn is_short_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    content_type.starts_with(b"application/json") && length.is_none_or(|length: usize| length <= MADE_MAX)
}

/// Reads a body ahead; gives its text if it is short enough, and the body as if nothing had been read.
pub(super) async fn read(mut source: Source) -> (Option<Bytes>, Source) {
    let mut all = Vec::new();
    let is_whole = loop {
        match source.next().await {
            None => break true,
            Some(Ok(chunk)) => all.extend_from_slice(&chunk),
            // The client is told so by its own reading.
            Some(Err(_)) => break false,
        }
        if all.len() > MADE_MAX {
            break false;
        }
    };
    let all = Bytes::from(all);
    let source = match source {
        Source::Upstream(body, _) => Source::Upstream(body, Some(all.clone())),
        // Paths beyond the metered operations are neither framed nor demonstrated.
        other @ (Source::Wrapped(..) | Source::Demo(_) | Source::Over) => other,
    };
    (is_whole.then_some(all), source)
}

/// The ids of what an answer made or names.
fn of_answer(text: &[u8]) -> Vec<String> {
    let Ok(answer) = dialects::read_json(text) else {
        return Vec::new();
    };
    let places = [
        "/id",
        "/name",
        "/file/id",
        "/file/name",
        "/input_file_id",
        "/output_file_id",
        "/error_file_id",
        "/dest/fileName",
        "/response/responsesFile",
    ];
    let mut ids: Vec<String> = places
        .iter()
        .filter_map(|place| answer.pointer(place)?.as_str())
        .filter(|id| is_id(id))
        .map(str::to_owned)
        .collect();
    let files = answer.get("result_files").and_then(Value::as_array);
    ids.extend(
        files
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|id| is_id(id))
            .map(str::to_owned),
    );
    ids.truncate(IDS_MAX);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_where_they_stand() {
        let openai = |path| in_path(Dialect::OpenaiChat, path);
        assert_eq!(openai("/files"), [""; 0]);
        assert_eq!(openai("/files/file-abc/content"), ["file-abc"]);
        assert_eq!(openai("/vector_stores/vs_1/files/file-2"), ["vs_1", "file-2"]);
        assert_eq!(openai("/messages/batches/msgbatch_1/results"), ["msgbatch_1"]);
        assert_eq!(in_path(Dialect::Gemini, "/files/abc"), ["files/abc"]);
        assert_eq!(in_path(Dialect::Gemini, "/files/abc:download"), ["files/abc"]);
        let body = br#"{"input_file_id":"file-1","endpoint":"/v1/x","metadata":{"note":"a-b"},"file_ids":["file-2"],
            "parts":[{"fileData":{"fileUri":"https://g.test/v1beta/files/abc"}}],"name":"my-store"}"#;
        assert_eq!(in_body(body), ["file-1", "file-2", "files/abc"]);
        assert_eq!(in_body(b"--boundary"), [""; 0]);
    }

    #[test]
    fn what_an_answer_made_is_found() {
        let batch = br#"{"id":"batch_1","object":"batch","output_file_id":"file-out","error_file_id":null}"#;
        assert_eq!(of_answer(batch), ["batch_1", "file-out"]);
        assert_eq!(
            of_answer(br#"{"file":{"name":"files/abc","uri":"https://x"}}"#),
            ["files/abc"]
        );
        assert_eq!(of_answer(br#"{"object":"list","data":[{"id":"file-1"}]}"#), [""; 0]);
    }
}
