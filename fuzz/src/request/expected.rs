//! What an edit must make of a body, worked out from `serde_json`'s view of where the values stand.

use std::ops::Range;

use dialects::Edits;
use domain::Dialect;
use serde_json::value::RawValue;

use crate::json::members;

/// What replaces a span; an empty span is an insertion.
type Splice = (Range<usize>, String);

/// The edited body. `None` where serde cannot read it, so that there is no second opinion.
pub(super) fn edited(dialect: Dialect, body: &[u8], edits: &Edits<'_>) -> Option<Vec<u8>> {
    let top = members(body)?;
    let mut splices = Vec::new();
    let mut added = String::new();
    let mut add = |key: &str, text: &str| added.push_str(&[",", &quoted(key), ":", text].concat());
    if let Some(name) = edits.model {
        let models = models(dialect, &top)?;
        if models.is_empty() && dialect != Dialect::Gemini {
            add("model", &quoted(name));
        }
        for raw in models {
            splices.extend(renamed(dialect, body, raw, name)?);
        }
    }
    if edits.include_usage && dialect == Dialect::OpenaiChat {
        match top.iter().find(|(key, _)| key == "stream_options") {
            None => add("stream_options", r#"{"include_usage":true}"#),
            Some((_, raw)) => splices.extend(with_usage(body, raw)?),
        }
    }
    for (index, (key, text)) in edits.params.iter().enumerate() {
        let is_sent = top.iter().any(|(sent, _)| sent == key);
        let is_ours = (key == "model" && edits.model.is_some()) || (key == "stream_options" && edits.include_usage);
        let is_repeated = edits.params[..index].iter().any(|(earlier, _)| earlier == key);
        if !(is_sent || is_ours || is_repeated) {
            add(key, text);
        }
    }
    if !added.is_empty() {
        let end = body.iter().rposition(|byte| *byte == b'}')?;
        let added = if top.is_empty() { &added[1..] } else { &added };
        splices.push((end..end, added.to_owned()));
    }
    Some(spliced(body, splices))
}

/// The values that name the model.
fn models<'a>(dialect: Dialect, top: &[(String, &'a RawValue)]) -> Option<Vec<&'a RawValue>> {
    let named = |members: &[(String, &'a RawValue)]| -> Vec<&'a RawValue> {
        let models = members.iter().filter(|(key, _)| key == "model");
        models.map(|(_, raw)| *raw).collect()
    };
    if dialect == Dialect::BedrockConverse {
        return Some(Vec::new());
    }
    let mut models = named(top);
    if dialect == Dialect::Gemini {
        for (key, raw) in top {
            let inner: Vec<&RawValue> = match key.as_str() {
                "requests" if is(raw, '[') => serde_json::from_str(raw.get()).ok()?,
                "generateContentRequest" | "generate_content_request" => vec![raw],
                _ => continue,
            };
            for request in inner.into_iter().filter(|request| is(request, '{')) {
                models.extend(named(&members(request.get().as_bytes())?));
            }
        }
    }
    Some(models)
}

/// At most one splice, as a list.
fn renamed(dialect: Dialect, body: &[u8], raw: &RawValue, name: &str) -> Option<Vec<Splice>> {
    let wanted = if dialect == Dialect::Gemini && !name.contains('/') {
        format!("models/{name}")
    } else {
        name.to_owned()
    };
    if is(raw, '"') {
        let current: String = serde_json::from_str(raw.get()).ok()?;
        if current == wanted || (dialect == Dialect::Gemini && current == name) {
            return Some(Vec::new());
        }
    }
    Some(vec![(span(body, raw), quoted(&wanted))])
}

/// At most one splice, as a list.
fn with_usage(body: &[u8], raw: &RawValue) -> Option<Vec<Splice>> {
    let span_of_all = span(body, raw);
    if !is(raw, '{') {
        return Some(vec![(span_of_all, r#"{"include_usage":true}"#.to_owned())]);
    }
    let members = members(raw.get().as_bytes())?;
    Some(match members.iter().find(|(key, _)| key == "include_usage") {
        Some((_, asked)) if asked.get() == "true" => Vec::new(),
        Some((_, literal)) => vec![(span(body, literal), "true".to_owned())],
        None => {
            let comma = if members.is_empty() { "" } else { "," };
            let open = span_of_all.start + 1;
            vec![(open..open, format!(r#""include_usage":true{comma}"#))]
        }
    })
}

fn is(raw: &RawValue, first: char) -> bool {
    raw.get().starts_with(first)
}

/// Where a value stands in the body that it borrows from.
fn span(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + raw.get().len()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn spliced(body: &[u8], mut splices: Vec<Splice>) -> Vec<u8> {
    splices.sort_by_key(|(span, _)| span.start);
    let (mut out, mut at) = (Vec::new(), 0);
    for (span, text) in splices {
        out.extend_from_slice(&body[at..span.start]);
        out.extend_from_slice(text.as_bytes());
        at = span.end;
    }
    out.extend_from_slice(&body[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_a_person_expects() {
        let params = [("store".to_owned(), "false".to_owned())];
        let edits = Edits {
            model: Some("new"),
            omit_model: false,
            omit: &[],
            include_usage: true,
            params: &params,
        };
        let body = br#" {"model" : "old", "stream_options": {"a":1} } "#;
        assert_eq!(
            String::from_utf8(edited(Dialect::OpenaiChat, body, &edits).unwrap()).unwrap(),
            r#" {"model" : "new", "stream_options": {"include_usage":true,"a":1} ,"store":false} "#
        );
        let body = br#"{"requests":[{"model":"x"},{"model":"models/new"}]}"#;
        assert_eq!(
            String::from_utf8(edited(Dialect::Gemini, body, &edits).unwrap()).unwrap(),
            r#"{"requests":[{"model":"models/new"},{"model":"models/new"}],"store":false}"#
        );
    }
}
