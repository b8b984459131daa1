//! What a server tells.

use std::ops::Range;

use crate::answer::{Finish, Report, ReportedFailure};
use crate::json::{Cursor, Syntax, Text};
use crate::provider_error::ProviderError;

use super::session::SessionFacts;
use super::short;
use super::usage::{self, Transcribed};

/// A server's event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerEvent {
    /// What the session is like now.
    Session(SessionFacts),
    /// A response has begun, by whomever it was asked for.
    Created {
        /// The server's name for it.
        response: String,
    },
    /// A piece of a response.
    Delta(Delta),
    /// A response has ended, and this is what it used. Cancelled and incomplete ones are charged as they are.
    Done {
        /// The server's name for it.
        response: String,
        /// What was found in it.
        report: Box<Report>,
    },
    /// Speech was written down by another model.
    Transcribed(Box<Transcribed>),
    /// Something was refused.
    Error {
        /// The client's name for what was refused.
        about: Option<String>,
    },
    /// Anything else.
    #[default]
    Other,
}

/// A piece of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Of which.
    pub response: Option<String>,
    /// Bytes of text, transcript or arguments.
    pub text_bytes: u64,
    /// Characters of base64 that are sound.
    pub audio_chars: u64,
}

/// Members of an event, wherever its `type` stands among them.
#[derive(Default)]
struct Members<'a> {
    name: Option<Text<'a>>,
    response_id: Option<String>,
    delta: Option<Text<'a>>,
    transcript_bytes: u64,
    response: Option<Range<usize>>,
    session: Option<Range<usize>>,
    usage: Option<Range<usize>>,
    error: Option<Range<usize>>,
}

/// Reads a server's message.
pub fn read_server(text: &str) -> ServerEvent {
    read(text.as_bytes()).unwrap_or_default()
}

fn read(text: &[u8]) -> Result<ServerEvent, Syntax> {
    let mut members = Members::default();
    let mut cursor = Cursor::lenient(text);
    cursor.object_if(|key, value| {
        match key {
            b"type" => members.name = value.string_if()?,
            b"response_id" => members.response_id = short(value)?,
            b"delta" => members.delta = value.string_if()?,
            b"transcript" => members.transcript_bytes = value.string_if()?.map_or(0, |text| text.len()),
            b"response" => members.response = Some(value.skip()?),
            b"session" => members.session = Some(value.skip()?),
            b"usage" => members.usage = Some(value.skip()?),
            b"error" => members.error = Some(value.skip()?),
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    let slice = |span: &Option<Range<usize>>| span.clone().and_then(|span| text.get(span)).unwrap_or(b"null");
    let Some(name) = members.name.map(|name| name.decode()) else {
        return Ok(ServerEvent::Other);
    };
    Ok(match &*name {
        "response.created" => ServerEvent::Created {
            response: response_id(slice(&members.response))?,
        },
        "response.done" => done(slice(&members.response))?,
        "response.output_audio.delta" | "response.audio.delta" => ServerEvent::Delta(Delta {
            response: members.response_id,
            audio_chars: members.delta.map_or(0, |delta| delta.raw.len() as u64),
            text_bytes: 0,
        }),
        "response.output_text.delta"
        | "response.text.delta"
        | "response.output_audio_transcript.delta"
        | "response.audio_transcript.delta"
        | "response.function_call_arguments.delta"
        | "response.mcp_call_arguments.delta" => ServerEvent::Delta(Delta {
            response: members.response_id,
            text_bytes: members.delta.map_or(0, |delta| delta.len()),
            audio_chars: 0,
        }),
        "session.created" | "session.updated" | "transcription_session.created" | "transcription_session.updated" => {
            ServerEvent::Session(SessionFacts::read(&mut Cursor::lenient(slice(&members.session)))?)
        }
        "conversation.item.input_audio_transcription.completed" => ServerEvent::Transcribed(Box::new(
            usage::transcribed(slice(&members.usage), members.transcript_bytes)?,
        )),
        "error" => ServerEvent::Error {
            about: about(slice(&members.error))?,
        },
        _ => ServerEvent::Other,
    })
}

fn response_id(response: &[u8]) -> Result<String, Syntax> {
    let mut id = None;
    Cursor::lenient(response).object_if(|key, value| {
        if key == b"id" {
            id = short(value)?;
            return Ok(());
        }
        value.skip().map(|_| ())
    })?;
    Ok(id.unwrap_or_default())
}

fn about(error: &[u8]) -> Result<Option<String>, Syntax> {
    let mut about = None;
    Cursor::lenient(error).object_if(|key, value| {
        if key == b"event_id" {
            about = short(value)?;
            return Ok(());
        }
        value.skip().map(|_| ())
    })?;
    Ok(about)
}

fn done(response: &[u8]) -> Result<ServerEvent, Syntax> {
    let mut id = None;
    let mut status = None;
    let mut details = None;
    let mut report = Report {
        complete: true,
        ..Report::default()
    };
    let mut cursor = Cursor::lenient(response);
    cursor.object_if(|key, value| {
        match key {
            b"id" => id = short(value)?,
            b"status" => status = short(value)?,
            b"status_details" => details = Some(value.skip()?),
            b"model" => report.model = short(value)?,
            b"usage" => {
                let span = value.skip()?;
                report.usage = usage::of_response(value.slice(span))?;
            }
            _ => {
                value.skip()?;
            }
        }
        Ok::<(), Syntax>(())
    })?;
    report.finish = match status.as_deref() {
        Some("completed") => Finish::Stop,
        Some("incomplete") => Finish::Length,
        Some(_) => Finish::Other,
        None => Finish::Unknown,
    };
    if status.as_deref() == Some("failed") {
        report.failure = Some(failure(details.and_then(|span| response.get(span)).unwrap_or_default()));
    }
    Ok(ServerEvent::Done {
        response: id.unwrap_or_default(),
        report: Box::new(report),
    })
}

fn failure(details: &[u8]) -> ReportedFailure {
    ProviderError::read(details).reported()
}
