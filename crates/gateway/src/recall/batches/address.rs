//! Where the results of Anthropic's batches are said to be.
//!
//! A batch that is over names an address, and the SDK asks there with the key that it has (anthropic 2.14,
//! `resources/messages/batches.py`, `results`): ours, at the provider. So the address is told as ours, and is the only thing
//! in the answer that is.

use bytes::Bytes;
use http::request::Parts;
use http::response;

use crate::dispatch::Source;
use crate::own_address;
use crate::recall::things;

const COLLECTION: &str = "/messages/batches";
const MEMBER: &str = "\"results_url\"";

/// Tells the addresses in an answer about batches as ours.
pub(crate) async fn retell(head: &Parts, path: &str, answered: &response::Parts, source: Source) -> Source {
    let is_about_batches = path.starts_with(COLLECTION) && !path.ends_with("/results");
    if !is_about_batches || !answered.status.is_success() || !things::is_short_json(&answered.headers) {
        return source;
    }
    let (text, source) = things::read(source).await;
    let asked = head.uri.path();
    let before = asked.find(COLLECTION).map_or("/v1", |at| &asked[..at]);
    let told = text
        .as_deref()
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| with_own(text, &format!("{}{before}", own_address::of(head))));
    match (told, source) {
        (Some(told), Source::Upstream(body, Some(_))) => Source::Upstream(body, Some(Bytes::from(told))),
        (_, source) => source,
    }
}

/// The text with what stands before the collection in each address replaced; `None`: there is no address.
fn with_own(text: &str, own: &str) -> Option<String> {
    let mut told = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MEMBER) {
        told.push_str(before);
        told.push_str(MEMBER);
        rest = after;
        let value = after.trim_start_matches([' ', ':', '\t', '\n', '\r']);
        let Some((url, _)) = value.strip_prefix('"').and_then(|value| value.split_once('"')) else {
            continue;
        };
        if let Some(at) = url.find(COLLECTION) {
            told.push_str(":\"");
            told.push_str(own);
            rest = &value[1 + at..];
        }
    }
    (rest.len() < text.len()).then(|| told + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addresses_are_told_anew() {
        let theirs = r#"{"id": "msgbatch_1", "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results", "x": [1]}"#;
        let ours =
            r#"{"id": "msgbatch_1", "results_url":"http://gate/api/v1/messages/batches/msgbatch_1/results", "x": [1]}"#;
        assert_eq!(with_own(theirs, "http://gate/api/v1").as_deref(), Some(ours));
        let list = format!(r#"{{"data":[{theirs},{{"results_url":null}},{theirs}]}}"#);
        let told = with_own(&list, "http://gate/api/v1").unwrap();
        assert_eq!(told, format!(r#"{{"data":[{ours},{{"results_url":null}},{ours}]}}"#));
        for other in [r#"{"id":"x"}"#, "", r#"{"results_url":"#] {
            assert!(
                with_own(other, "http://gate").is_none_or(|told| told == other),
                "{other}"
            );
        }
    }
}
