//! `OpenAI`'s realtime events, as far as the accounts need to know them.
//!
//! Events pass through as they came, in both directions; this only looks, once per message, at what starts a response,
//! what it is made of, and what it cost. An event that cannot be read is [`ClientWhat::Other`] or
//! [`ServerEvent::Other`]: the other side judges it, not we.
//!
//! The names are those of `openai` 3.57 (Python), `types/realtime`, and of the beta before it (`response.audio.delta`,
//! `session.turn_detection`), which Azure still serves.

mod client;
mod server;
mod session;
mod usage;

use domain::Fault;
use serde_json::json;

pub use client::{ClientEvent, ClientWhat, read_client};
pub use server::{Delta, ServerEvent, read_server};
pub use session::{OutputBound, SessionFacts};
pub use usage::Transcribed;

use crate::json::{Cursor, Syntax};
use crate::limits::NAME_MAX;

/// A refusal or an ending, as an event of the server. `about` is the client's own id of the event that is refused.
pub fn error_event(fault: &Fault, id: &str, about: Option<&str>) -> String {
    json!({
        "type": "error",
        "event_id": id,
        "error": {
            "type": crate::refusal::openai_type(fault.kind),
            "code": fault.kind.code(),
            "message": fault.message,
            "param": null,
            "event_id": about,
        },
    })
    .to_string()
}

/// An id or a name; one that is too long is none.
fn short(value: &mut Cursor<'_>) -> Result<Option<String>, Syntax> {
    let text = value.string_if()?;
    let named = text.filter(|text| (1..=NAME_MAX).contains(&text.raw.len()));
    Ok(named.map(|text| text.decode().into_owned()))
}

#[cfg(test)]
mod tests;
