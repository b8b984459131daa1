//! The instructions that an answer repeats: what the client sent, not what the operator had put before it.
//!
//! `OpenAI`'s API repeats `instructions` in every response, in three events of a stream and whenever the response is asked for
//! again (openai 3.57, `types/responses/response.py`). Where the operator's text was put in front of them ([`inject_system`]),
//! that would show it to everybody. So that one literal is replaced in place, and nothing else is touched.
//!
//! [`inject_system`]: crate::inject_system

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde_json::Value;

use crate::json::{Cursor, Kind, Syntax};
use crate::limits::EVENT_MAX;
use crate::sse::{Event, Framer};

const MEMBER: &[u8] = b"instructions";

/// What an answer is to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// What the client sent; `null` where it sent none.
    Own(Value),
    /// Of the text that the upstream repeats, what stands behind so many bytes of the operator's.
    Behind(usize),
}

impl Instructions {
    /// A whole response that repeats them.
    pub fn restore(&self, response: &Bytes) -> Bytes {
        self.told(response, spans).map_or_else(|| response.clone(), Bytes::from)
    }

    /// Whole events of a stream that repeat them.
    pub(crate) fn restore_events(&self, events: &Bytes) -> Bytes {
        if memmem::find(events, MEMBER).is_none() {
            return events.clone();
        }
        let (mut framer, mut from) = (Framer::default(), 0);
        let mut told = Vec::with_capacity(events.len());
        while from < events.len() {
            let end = framer.end(events, from).unwrap_or(events.len());
            let piece = events.get(from..end).unwrap_or_default();
            told.extend_from_slice(&self.restore_event(piece));
            from = end;
        }
        told.into()
    }

    fn restore_event<'a>(&self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let event = Event::read(piece);
        let in_response = |data: &[u8]| {
            let mut found = Vec::new();
            members(data, b"response", |response| {
                let within = spans(data.get(response.clone()).unwrap_or_default())?;
                found.extend(
                    within
                        .into_iter()
                        .map(|span| span.start + response.start..span.end + response.start),
                );
                Ok(())
            })?;
            Ok(found)
        };
        let Some(data) = &event.data else {
            return Cow::Borrowed(piece);
        };
        let Some(told) = self.told(data, in_response) else {
            return Cow::Borrowed(piece);
        };
        if let (Cow::Borrowed(data), Some(at)) = (data, memmem::find(piece, data)) {
            let (before, after) = (piece.get(..at), piece.get(at + data.len()..));
            return Cow::Owned([before.unwrap_or_default(), &told, after.unwrap_or_default()].concat());
        }
        // Its data is on several lines, which nobody does who serves this API.
        let mut whole = [b"event: ", event.name, b"\n"].concat();
        for line in told.split(|byte| *byte == b'\n') {
            whole.extend_from_slice(&[b"data: ", line, b"\n"].concat());
        }
        whole.push(b'\n');
        Cow::Owned(whole)
    }

    /// The text with the literals replaced; `None`: there are none to replace.
    fn told(&self, text: &[u8], find: impl Fn(&[u8]) -> Result<Vec<Range<usize>>, Syntax>) -> Option<Vec<u8>> {
        let found = find(text).ok()?;
        let mut told = Vec::with_capacity(text.len());
        let mut from = 0;
        for span in found.iter().filter(|span| text.get((*span).clone()) != Some(b"null")) {
            told.extend_from_slice(text.get(from..span.start)?);
            told.extend_from_slice(self.of(text.get(span.clone())?).as_bytes());
            from = span.end;
        }
        told.extend_from_slice(text.get(from..)?);
        (from > 0).then_some(told)
    }

    /// What takes the place of a literal.
    fn of(&self, literal: &[u8]) -> String {
        match self {
            Self::Own(value) => value.to_string(),
            Self::Behind(bytes) => {
                let text: Option<String> = serde_json::from_slice(literal).ok();
                let rest = text.as_deref().and_then(|text| text.get(*bytes..));
                Value::from(rest.filter(|rest| !rest.is_empty())).to_string()
            }
        }
    }
}

/// The literals of the member in an object.
fn spans(object: &[u8]) -> Result<Vec<Range<usize>>, Syntax> {
    let mut found = Vec::new();
    members(object, MEMBER, |span| {
        found.push(span);
        Ok(())
    })?;
    Ok(found)
}

fn members(
    object: &[u8],
    name: &[u8],
    mut found: impl FnMut(Range<usize>) -> Result<(), Syntax>,
) -> Result<(), Syntax> {
    let mut cursor = Cursor::lenient(object);
    if cursor.kind()? != Kind::Object {
        return Ok(());
    }
    cursor.object(|key, value| {
        value.kind()?;
        let span = value.skip()?;
        if key == name { found(span) } else { Ok(()) }
    })?;
    Ok(())
}

/// The same for a stream that is not watched otherwise: cuts it into events.
#[derive(Debug)]
pub struct Restorer {
    instructions: Instructions,
    framer: Framer,
    /// The beginning of an event that has not ended.
    partial: BytesMut,
    looked_at: usize,
}

impl Restorer {
    /// For a stream that has not begun.
    pub fn new(instructions: Instructions) -> Self {
        Self {
            instructions,
            framer: Framer::default(),
            partial: BytesMut::new(),
            looked_at: 0,
        }
    }

    /// Takes a chunk; gives what is whole. `None`: an event is longer than any that is believed.
    pub fn push(&mut self, chunk: &[u8]) -> Option<Bytes> {
        self.partial.extend_from_slice(chunk);
        let mut whole = 0;
        while let Some(end) = self.framer.end(&self.partial, self.looked_at) {
            (whole, self.looked_at) = (end, end);
        }
        self.looked_at = self.partial.len() - whole;
        let events = self.partial.split_to(whole).freeze();
        (self.partial.len() <= EVENT_MAX).then(|| self.instructions.restore_events(&events))
    }

    /// The stream ended: what is left of it.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.partial.split().freeze();
        self.instructions.restore_events(&rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> Instructions {
        Instructions::Own(Value::from(text))
    }

    fn restored(instructions: &Instructions, text: &str) -> String {
        let told = instructions.restore(&Bytes::copy_from_slice(text.as_bytes()));
        String::from_utf8(told.to_vec()).unwrap()
    }

    #[test]
    fn one_literal_of_a_response_is_replaced() {
        let response =
            r#"{ "id":"resp_1",  "instructions" : "Be kind.\n\nBe brief.","output":[{"instructions":"kept"}]}"#;
        assert_eq!(
            restored(&own("Be brief."), response),
            response.replace(r"Be kind.\n\nBe brief.", "Be brief.")
        );
        let nothing = response.replace(r#""Be kind.\n\nBe brief.""#, "null");
        assert_eq!(restored(&Instructions::Own(Value::Null), response), nothing);
        assert_eq!(
            restored(&Instructions::Behind(10), response),
            response.replace(r"Be kind.\n\n", "")
        );
        for all in [19, 20, usize::MAX] {
            assert_eq!(restored(&Instructions::Behind(all), response), nothing, "{all}");
        }
        // Half a character is nobody's.
        assert_eq!(
            restored(&Instructions::Behind(1), r#"{"instructions":"äx"}"#),
            r#"{"instructions":null}"#
        );
        let items = r#"{"instructions":[{"role":"system"}]}"#;
        assert_eq!(restored(&Instructions::Behind(3), items), r#"{"instructions":null}"#);
        for same in [&*nothing, r#"{"id":"x"}"#, "[1]", "no JSON", ""] {
            assert_eq!(restored(&own("x"), same), same);
        }
    }

    #[test]
    fn events_are_restored_however_they_are_cut() {
        let event = |name: &str, text: &str| {
            format!(
                "event: {name}\ndata: {{\"type\":\"{name}\",\"response\":{{\"id\":\"r\",\"instructions\":{text}}}}}\n\n"
            )
        };
        let delta =
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"instructions\"}\r\n\r\n: \"instructions\"\n\n";
        let names = ["response.created", "response.in_progress", "response.completed"];
        let stream = |text| {
            [
                &*event(names[0], text),
                &*event(names[1], text),
                delta,
                &*event(names[2], text),
            ]
            .concat()
        };
        let (theirs, ours) = (stream(r#""Be kind.\n\nhi""#), stream(r#""hi""#));
        for size in [1, 7, 50, 10_000] {
            let mut restorer = Restorer::new(own("hi"));
            let mut told = Vec::new();
            for chunk in theirs.as_bytes().chunks(size) {
                told.extend_from_slice(&restorer.push(chunk).unwrap());
            }
            told.extend_from_slice(&restorer.finish());
            assert_eq!(String::from_utf8(told).unwrap(), ours, "{size}");
        }
        let torn = "event: response.created\ndata: {\"response\":\ndata: {\"instructions\":\"Be kind.\"}}\n\n";
        let told = own("hi").restore_events(&Bytes::from_static(torn.as_bytes()));
        assert_eq!(told, torn.replace("Be kind.", "hi"));
    }
}
