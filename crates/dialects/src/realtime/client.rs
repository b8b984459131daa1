//! What a client asks for.

use std::ops::Range;

use crate::json::{Cursor, Kind, Syntax, Text};

use super::session::{self, OutputBound, SessionFacts};
use super::short;

/// A client's event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientEvent {
    /// What it does.
    pub what: ClientWhat,
    /// The client's own name for it, by which the server's errors refer to it.
    pub event_id: Option<String>,
    /// Characters of base64 in it that are sound.
    pub audio_chars: u64,
    /// Pictures in it.
    pub pictures: u64,
    /// Whether it brings in what is not sent with it: stored prompts, tools that the server calls, addresses.
    pub by_reference: bool,
}

/// What a client's event does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientWhat {
    /// `response.create`: the bound on its output, where it says one.
    Create(Option<OutputBound>),
    /// Speech for the input buffer, at whose end the server may begin a response.
    Speech,
    /// `session.update` and its kind.
    Configure(SessionFacts),
    /// Anything else.
    #[default]
    Other,
}

/// Members of an event, wherever its `type` stands among them.
#[derive(Default)]
struct Members<'a> {
    name: Option<Text<'a>>,
    event_id: Option<String>,
    audio_chars: u64,
    item: Option<Range<usize>>,
    response: Option<Range<usize>>,
    session: Option<Range<usize>>,
}

/// Reads a client's message.
pub fn read_client(text: &str) -> ClientEvent {
    read(text.as_bytes()).unwrap_or_default()
}

fn read(text: &[u8]) -> Result<ClientEvent, Syntax> {
    let mut members = Members::default();
    let mut cursor = Cursor::lenient(text);
    cursor.object_if(|key, value| {
        match key {
            b"type" => members.name = value.string_if()?,
            b"event_id" => members.event_id = short(value)?,
            b"audio" => members.audio_chars = value.string_if()?.map_or(0, |text| text.raw.len() as u64),
            b"item" => members.item = Some(value.skip()?),
            b"response" => members.response = Some(value.skip()?),
            b"session" => members.session = Some(value.skip()?),
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    let part =
        |span: &Option<Range<usize>>| Cursor::lenient(span.clone().and_then(|span| text.get(span)).unwrap_or(b"null"));
    let name = members.name.map(|name| name.decode());
    let mut event = ClientEvent {
        event_id: members.event_id,
        ..ClientEvent::default()
    };
    match name.as_deref() {
        Some("response.create") => {
            let mut bound = None;
            part(&members.response).object_if(|key, value| created(&mut event, &mut bound, key, value))?;
            event.what = ClientWhat::Create(bound);
        }
        Some("input_audio_buffer.append" | "input_audio_buffer.commit" | "session.input_audio_buffer.append") => {
            event.what = ClientWhat::Speech;
            event.audio_chars = members.audio_chars;
        }
        Some("session.update" | "transcription_session.update") => {
            let facts = SessionFacts::read(&mut part(&members.session))?;
            event.by_reference = facts.by_reference;
            event.what = ClientWhat::Configure(facts);
        }
        Some("conversation.item.create") => item(&mut event, &mut part(&members.item))?,
        _ => {}
    }
    Ok(event)
}

fn created(
    event: &mut ClientEvent,
    bound: &mut Option<OutputBound>,
    key: &[u8],
    value: &mut Cursor<'_>,
) -> Result<(), Syntax> {
    match key {
        b"max_output_tokens" | b"max_response_output_tokens" => {
            let said = session::output_bound(value)?;
            // Said twice, nobody knows which one counts.
            *bound = Some(if bound.is_some() { OutputBound::Unbounded } else { said });
        }
        b"tools" => event.by_reference |= session::has_server_tools(value)?,
        b"prompt" => event.by_reference |= crate::observation::is_filled(value)?,
        b"input" => {
            value.array_if(|element| item(event, element))?;
        }
        _ => {
            value.skip()?;
        }
    }
    Ok(())
}

/// An item of the conversation: what of it is not text.
fn item(event: &mut ClientEvent, value: &mut Cursor<'_>) -> Result<(), Syntax> {
    value.object_if(|key, member| {
        if key != b"content" {
            return member.skip().map(|_| ());
        }
        member
            .array_if(|part| part.object_if(|key, value| content(event, key, value)).map(|_| ()))
            .map(|_| ())
    })?;
    Ok(())
}

fn content(event: &mut ClientEvent, key: &[u8], value: &mut Cursor<'_>) -> Result<(), Syntax> {
    match (key, value.kind()?) {
        (b"audio", Kind::String) => event.audio_chars += value.string()?.raw.len() as u64,
        (b"image_url", Kind::String) => {
            let is_inline = value.string()?.raw.starts_with(b"data:");
            event.pictures += u64::from(is_inline);
            event.by_reference |= !is_inline;
        }
        _ => {
            value.skip()?;
        }
    }
    Ok(())
}
