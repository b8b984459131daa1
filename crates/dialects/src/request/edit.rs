//! Splices a few bytes into a request; all others stay where they are.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use domain::Dialect;
use smallvec::SmallVec;

use super::{Edits, Places, UsageOption};
use crate::json::{Cursor, Syntax};

/// What replaces a span of the body; an empty span is an insertion.
type Splice<'a> = (Range<usize>, Cow<'a, str>);

/// Bodies with more splices than this take a heap allocation: only Gemini's batches have so many.
type Splices<'a> = SmallVec<[Splice<'a>; 4]>;

/// The body with the edits, or the same body.
pub(super) fn apply(places: &Places, body: &Bytes, edits: &Edits<'_>) -> Bytes {
    // What passes through unread has no place for anything.
    if places.object.is_empty() {
        return body.clone();
    }
    let mut splices = Splices::new();
    let mut added = String::new();
    let mut kept = usize::from(places.has_members);
    if !edits.omit.is_empty() {
        kept = take_out(places, body, edits, &mut splices);
    } else if edits.omit_model {
        splices.extend(member_of_model(places, body).map(|span| (span, Cow::Borrowed(""))));
    } else if let Some(name) = edits.model {
        rename(places, body, name, &mut splices, &mut added);
    }
    if edits.include_usage && places.dialect == Some(Dialect::OpenaiChat) {
        ask_for_usage(places, &mut splices, &mut added);
    }
    add_params(places, body, edits, &mut added);
    if !added.is_empty() {
        let end = places.object.end.saturating_sub(1);
        // Each addition begins with a comma, which the first member of an empty object must not have.
        let has_members = kept > 0 && !splices.iter().any(|(span, _)| is_all(span, places, body));
        let text = if has_members { added } else { added.split_off(1) };
        splices.push((end..end, Cow::Owned(text)));
    }
    if splices.is_empty() {
        body.clone()
    } else {
        spliced(body, &mut splices)
    }
}

/// Whether nothing but white space is left of the object when `span` is taken out.
fn is_all(span: &Range<usize>, places: &Places, body: &[u8]) -> bool {
    let blank = |range: Range<usize>| body.get(range).is_some_and(|text| text.trim_ascii().is_empty());
    blank(places.object.start + 1..span.start) && blank(span.end..places.object.end.saturating_sub(1))
}

fn rename(places: &Places, body: &[u8], name: &str, splices: &mut Splices<'_>, added: &mut String) {
    for literal in &places.models {
        let current = body
            .get(literal.clone())
            .and_then(|text| Cursor::lenient(text).string_if().ok().flatten());
        let is_resource = places.dialect == Some(Dialect::Gemini);
        let wanted = if is_resource {
            resource(name)
        } else {
            Cow::Borrowed(name)
        };
        if !current.is_some_and(|text| text.is(&wanted) || (is_resource && text.is(name))) {
            splices.push((literal.clone(), Cow::Owned(quoted(&wanted))));
        }
    }
    if places.models.is_empty() && places.dialect != Some(Dialect::Gemini) {
        add(added, "model", &quoted(name));
    }
}

/// The member that names the model, with the comma that belongs to it. Only one is there: a second would not have passed
/// the scan.
fn member_of_model(places: &Places, body: &[u8]) -> Option<Range<usize>> {
    let value = places
        .models
        .first()
        .filter(|_| places.dialect != Some(Dialect::Gemini))?;
    let last = |end: usize| body.get(..end)?.iter().rposition(|byte| !byte.is_ascii_whitespace());
    let colon = last(value.start)?;
    let closing = last(colon)?;
    let opening = body.get(..closing)?.iter().rposition(|byte| *byte == b'"')?;
    let after = value.end
        + body
            .get(value.end..)?
            .iter()
            .position(|byte| !byte.is_ascii_whitespace())?;
    if body.get(after) == Some(&b',') {
        return Some(opening..after + 1);
    }
    let before = last(opening)?;
    let start = if body.get(before) == Some(&b',') {
        before
    } else {
        opening
    };
    Some(start..value.end)
}

/// Cuts members out, each with the comma that belongs to it, and counts those that stay. The commas are those before a
/// member where one that stays precedes it, else those after it, so that no two cuts meet.
fn take_out(places: &Places, body: &[u8], edits: &Edits<'_>, splices: &mut Splices<'_>) -> usize {
    let object = places.object.clone();
    let is_cut = |key: &[u8]| {
        let is_named = edits.omit.iter().any(|name| name.as_bytes() == key);
        is_named || (edits.omit_model && key == b"model")
    };
    // Where each member's value ends, and whether it goes.
    let mut members: SmallVec<[(usize, bool); 16]> = SmallVec::new();
    let mut cursor = Cursor::lenient(body.get(object.clone()).unwrap_or_default());
    let read: Result<_, Syntax> = cursor.object(|key, value| {
        let span = value.skip()?;
        members.push((object.start + span.end, is_cut(key)));
        Ok(())
    });
    if read.is_err() {
        return usize::from(places.has_members);
    }
    let after_comma = |end: usize| {
        let comma = body.get(end..)?.iter().position(|byte| *byte == b',')?;
        Some(end + comma + 1)
    };
    let (mut kept, mut begin, mut previous_end) = (0, object.start + 1, object.start + 1);
    for (place, (end, goes)) in members.iter().copied().enumerate() {
        let next = members.get(place + 1).and_then(|_| after_comma(end));
        if !goes {
            kept += 1;
        } else if kept > 0 {
            splices.push((previous_end..end, Cow::Borrowed("")));
        } else {
            splices.push((begin..next.unwrap_or(end), Cow::Borrowed("")));
        }
        (begin, previous_end) = (next.unwrap_or(end), end);
    }
    kept
}

/// Gemini names a model in a body as a resource.
fn resource(name: &str) -> Cow<'_, str> {
    if name.contains('/') {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("models/{name}"))
    }
}

fn ask_for_usage(places: &Places, splices: &mut Splices<'_>, added: &mut String) {
    match &places.usage_option {
        UsageOption::Absent => add(added, "stream_options", r#"{"include_usage":true}"#),
        UsageOption::Literal(literal) => splices.push((literal.clone(), Cow::Borrowed(r#"{"include_usage":true}"#))),
        UsageOption::Object { open, has_members } => {
            let text = if *has_members {
                r#""include_usage":true,"#
            } else {
                r#""include_usage":true"#
            };
            splices.push((open + 1..open + 1, Cow::Borrowed(text)));
        }
        UsageOption::Given { asked: true, .. } => {}
        UsageOption::Given { literal, .. } => splices.push((literal.clone(), Cow::Borrowed("true"))),
    }
}

/// Adds the fields that the client did not send. Its top-level keys are read again for that, which happens only for
/// upstreams with parameters of their own.
fn add_params(places: &Places, body: &[u8], edits: &Edits<'_>, added: &mut String) {
    let params = edits.params;
    if params.is_empty() {
        return;
    }
    // What an edit of its own has put there counts as sent, too.
    let is_ours =
        |field: &str| (field == "model" && edits.model.is_some()) || (field == "stream_options" && edits.include_usage);
    let mut sent: SmallVec<[bool; 8]> = params.iter().map(|(field, _)| is_ours(field)).collect();
    let mut cursor = Cursor::lenient(body.get(places.object.clone()).unwrap_or_default());
    let read = cursor.object(|key, value| {
        for (sent, (field, _)) in sent.iter_mut().zip(params) {
            *sent |= field.as_bytes() == key;
        }
        value.skip().map(|_| ())
    });
    let read: Result<_, Syntax> = read;
    if read.is_err() {
        return;
    }
    for (index, (field, text)) in params.iter().enumerate() {
        let is_repeated = params.iter().take(index).any(|(earlier, _)| earlier == field);
        if !sent.get(index).copied().unwrap_or(true) && !is_repeated {
            add(added, field, text);
        }
    }
}

fn add(added: &mut String, field: &str, text: &str) {
    added.push(',');
    added.push_str(&quoted(field));
    added.push(':');
    added.push_str(text);
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `body` with each text in the place of its span.
pub(super) fn spliced<T: AsRef<str>>(body: &[u8], splices: &mut [(Range<usize>, T)]) -> Bytes {
    splices.sort_by_key(|(span, _)| span.start);
    let grown: usize = splices.iter().map(|(_, text)| text.as_ref().len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + grown);
    let mut copied = 0;
    for (span, text) in splices.iter() {
        out.extend_from_slice(body.get(copied..span.start).unwrap_or_default());
        out.extend_from_slice(text.as_ref().as_bytes());
        copied = span.end;
    }
    out.extend_from_slice(body.get(copied..).unwrap_or_default());
    out.freeze()
}
