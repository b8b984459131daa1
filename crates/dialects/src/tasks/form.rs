//! Forms (`multipart/form-data`, RFC 7578): where their fields stand, and the few bytes of them that may change.
//!
//! As with JSON, the body is looked at and not parsed into something that is written again: files of many megabytes stay
//! where they are, and a changed model is a splice. And as there, what decides must be said once and in one way: readers of
//! forms are lenient in different ways (bare line feeds, folded headers, a second `name`), and a request that two of them
//! read differently could be priced as one model and answered by another. So whatever is not plain is refused; what SDKs,
//! browsers and curl send is plain.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::limits::{BOUNDARY_MAX, FORM_HEAD_MAX, FORM_PARTS_MAX};
use crate::request::{Edits, ScanError};

/// Where the parts of a form stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    boundary: String,
    /// The value of the part that names the model.
    pub(crate) model: Option<Range<usize>>,
    /// That part, from its delimiter to the next one.
    model_part: Range<usize>,
    /// Where the closing delimiter begins.
    close: usize,
    /// The names of all fields, for what is added unless it was sent.
    names: Vec<String>,
}

/// One part.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The field's name.
    pub(crate) name: &'a str,
    /// Whether it is a file.
    pub(crate) is_file: bool,
    /// What it holds.
    pub(crate) value: &'a [u8],
    /// Where that stands in the body.
    pub(crate) at: usize,
}

/// The boundary that a content type gives, if it is a form's. `Some(Err)`: it is one, and cannot be read.
pub fn form_boundary(content_type: &str) -> Option<Result<&str, ScanError>> {
    let (kind, params) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut boundaries = params.split(';').filter_map(|param| {
        let (key, value) = param.trim().split_once('=')?;
        key.eq_ignore_ascii_case("boundary").then_some(value)
    });
    let given = boundaries.next().filter(|_| boundaries.next().is_none());
    let bare = given.map(|value| {
        value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value)
    });
    Some(bare.filter(|text| is_boundary(text)).ok_or_else(|| ScanError {
        offset: 0,
        what: "the content type of a form needs one plain `boundary`".to_owned(),
    }))
}

/// A field of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormField<'a> {
    /// A text.
    Text(&'a str),
    /// A file, or a text that is not UTF-8.
    File(&'a [u8]),
}

/// The fields of a form, for those who answer it themselves.
///
/// # Errors
/// If it is not a plain form.
pub fn form_fields<'a>(boundary: &str, body: &'a [u8]) -> Result<Vec<(&'a str, FormField<'a>)>, ScanError> {
    let mut fields = Vec::new();
    Form::read(body, boundary, |part| {
        let text = std::str::from_utf8(part.value).ok().filter(|_| !part.is_file);
        fields.push((part.name, text.map_or(FormField::File(part.value), FormField::Text)));
        Ok(())
    })?;
    Ok(fields)
}

/// RFC 2046, 5.1.1, without the space, which nobody uses.
fn is_boundary(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    (1..=BOUNDARY_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

impl Form {
    /// Reads a form and shows each part to `see`.
    pub(crate) fn read<'a>(
        body: &'a [u8],
        boundary: &str,
        mut see: impl FnMut(&Part<'a>) -> Result<(), ScanError>,
    ) -> Result<Self, ScanError> {
        let delimiter = format!("--{boundary}");
        let mut form = Self {
            boundary: boundary.to_owned(),
            ..Self::default()
        };
        let mut found = memmem::find_iter(body, delimiter.as_bytes());
        let Some(0) = found.next() else {
            return Err(broken(0, "the form does not begin with its boundary"));
        };
        let mut start = 0;
        for _ in 0..FORM_PARTS_MAX {
            let after = start + delimiter.len();
            if body.get(after..after + 2) == Some(b"--") {
                form.close = start;
                let rest = body.get(after + 2..).unwrap_or_default();
                return if matches!(rest, b"" | b"\r\n") {
                    Ok(form)
                } else {
                    Err(broken(after + 2, "something follows the end of the form"))
                };
            }
            if body.get(after..after + 2) != Some(b"\r\n") {
                return Err(broken(after, "a boundary is not followed by a line end"));
            }
            let end = found
                .next()
                .ok_or_else(|| broken(body.len(), "the form does not end"))?;
            let content = end
                .checked_sub(2)
                .filter(|at| *at >= after + 2 && body.get(*at..end) == Some(b"\r\n"));
            let content = content.ok_or_else(|| broken(end, "the boundary stands within a part"))?;
            let part = part(body, after + 2..content)?;
            if part.name == "model" {
                form.model = Some(part.at..content);
                form.model_part = start..end;
            }
            form.names.push(part.name.to_owned());
            see(&part)?;
            start = end;
        }
        Err(broken(start, "the form has too many parts"))
    }

    /// The body with the edits, or the same body.
    pub(crate) fn edit(&self, body: &Bytes, edits: &Edits<'_>) -> Bytes {
        let mut splices: Vec<(Range<usize>, String)> = Vec::new();
        let mut added = String::new();
        match (edits.omit_model, edits.model, &self.model) {
            (true, _, Some(_)) => splices.push((self.model_part.clone(), String::new())),
            (false, Some(name), Some(value)) if body.get(value.clone()) != Some(name.as_bytes()) => {
                splices.push((value.clone(), name.to_owned()));
            }
            (false, Some(name), None) => self.add("model", name, &mut added),
            _ => {}
        }
        for (index, (field, text)) in edits.params.iter().enumerate() {
            let is_repeated = edits.params.iter().take(index).any(|(earlier, _)| earlier == field);
            let is_sent = field == "model" || self.names.iter().any(|name| name == field);
            if !is_sent && !is_repeated {
                let plain = serde_json::from_str::<String>(text);
                self.add(field, plain.as_deref().unwrap_or(text), &mut added);
            }
        }
        if !added.is_empty() {
            splices.push((self.close..self.close, added));
        }
        if splices.is_empty() {
            return body.clone();
        }
        let mut out = BytesMut::with_capacity(body.len() + 256);
        let mut copied = 0;
        for (span, text) in &splices {
            out.extend_from_slice(body.get(copied..span.start).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
            copied = span.end;
        }
        out.extend_from_slice(body.get(copied..).unwrap_or_default());
        out.freeze()
    }

    /// A further field. What would break out of it (a name with quotes, a value with the boundary) is left out: names and
    /// values come from the operator.
    fn add(&self, name: &str, value: &str, added: &mut String) {
        let is_plain = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        if is_plain && !value.contains(&self.boundary) {
            let boundary = &self.boundary;
            let head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
            added.extend([head.as_str(), value, "\r\n"]);
        }
    }
}

/// Reads a part: its headers, and what follows them.
fn part(body: &[u8], span: Range<usize>) -> Result<Part<'_>, ScanError> {
    let text = body.get(span.clone()).unwrap_or_default();
    let head_end = memmem::find(text.get(..FORM_HEAD_MAX).unwrap_or(text), b"\r\n\r\n")
        .ok_or_else(|| broken(span.start, "a part of the form has no end of its headers"))?;
    let head = text.get(..head_end).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| broken(span.start, "a header of the form is not UTF-8"))?;
    let (name, is_file) = disposition(head).map_err(|what| broken(span.start, what))?;
    let at = head_end + 4;
    Ok(Part {
        name,
        is_file,
        value: text.get(at..).unwrap_or_default(),
        at: span.start + at,
    })
}

/// What the headers of a part say: the field's name, and whether it is a file.
fn disposition(head: &str) -> Result<(&str, bool), &'static str> {
    let mut found = None;
    for line in head.split("\r\n") {
        if line.contains(['\r', '\n', '\0']) || line.starts_with([' ', '\t']) {
            return Err("a header of the form is folded or has bare line ends");
        }
        let (key, value) = line.split_once(':').ok_or("a header of the form has no colon")?;
        let value = value.trim_matches([' ', '\t']);
        if key.eq_ignore_ascii_case("content-disposition") {
            if found.is_some() {
                return Err("a part of the form has two dispositions");
            }
            found = Some(parameters(value)?);
        } else if key.eq_ignore_ascii_case("content-transfer-encoding") {
            let is_plain = ["binary", "8bit", "7bit"]
                .iter()
                .any(|plain| value.eq_ignore_ascii_case(plain));
            if !is_plain {
                return Err("a part of the form is encoded; send it as it is");
            }
        } else if !is_token(key) {
            return Err("a header of the form has no plain name");
        }
    }
    found.ok_or("a part of the form has no disposition")
}

/// `form-data; name="…"; filename="…"`.
fn parameters(value: &str) -> Result<(&str, bool), &'static str> {
    const NOT_PLAIN: &str = "a disposition of the form is not plain";
    let (kind, mut rest) = value.split_once(';').ok_or("a part of the form has no name")?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(NOT_PLAIN);
    }
    let (mut name, mut is_file) = (None, false);
    loop {
        let (key, after) = rest.trim_start().split_once('=').ok_or(NOT_PLAIN)?;
        let (text, after) = match after.strip_prefix('"') {
            // Browsers write a quote as `%22`, curl as `\"`: in a file's name it may be either.
            Some(quoted) => {
                let end = closing_quote(quoted).ok_or(NOT_PLAIN)?;
                quoted
                    .split_at_checked(end)
                    .map(|(text, rest)| (text, rest.get(1..).unwrap_or_default()))
            }
            None => Some(after.split_at(after.find(';').unwrap_or(after.len()))),
        }
        .ok_or(NOT_PLAIN)?;
        match key {
            "name" if name.is_none() && !text.is_empty() && !text.contains(['\\', '"', '%']) => name = Some(text),
            // The second is a name in another alphabet (RFC 5987).
            "filename" | "filename*" => is_file = true,
            _ => return Err(NOT_PLAIN),
        }
        let after = after.trim_start();
        match after.strip_prefix(';') {
            Some(more) => rest = more,
            None if after.is_empty() => {
                return name.map(|name| (name, is_file)).ok_or("a part of the form has no name");
            }
            None => return Err(NOT_PLAIN),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn broken(offset: usize, what: &str) -> ScanError {
    ScanError {
        offset,
        what: format!("not a plain form: {what}"),
    }
}

#[cfg(test)]
mod tests;
