//! What can go wrong, as data: where in the body, and how.
//!
//! A place (`At`) and a manner (`How`) combine freely, so that "reset in the middle of the third event" needs no name
//! of its own.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::rendered::Rendered;

/// A place in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// After this many events (a body that is no stream is one event).
    Events(usize),
    /// After this many bytes, wherever that is.
    Bytes(usize),
    /// Before the event that carries the finish reason.
    Finish,
    /// Before the terminator: `[DONE]`, `message_stop`, or the last event where a format has none.
    Terminator,
}

impl At {
    /// The place as an offset in the body.
    pub(crate) fn offset(self, rendered: &Rendered) -> usize {
        let after = |events: usize| rendered.events.iter().take(events).map(bytes::Bytes::len).sum();
        match self {
            At::Events(count) => after(count),
            At::Bytes(count) => count.min(rendered.body_len()),
            At::Finish => after(rendered.finish),
            At::Terminator => after(rendered.terminator),
        }
    }
}

/// How a body ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The connection is reset (RST).
    Reset,
    /// The connection is closed (FIN) although the framing promises more. Without framing (`Framing::UntilClose`) this
    /// is the same as `End`.
    Close,
    /// The body ends as if it were whole: correct framing, half the content.
    End,
    /// Nothing more comes, until the client gives up.
    Stall,
}

/// A body cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Where.
    pub at: At,
    /// How.
    pub how: How,
}

/// What happens instead of, or to, the response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadFault {
    /// Nothing.
    #[default]
    None,
    /// The connection is reset before any byte.
    Reset,
    /// The connection is closed before any byte, as a server does that gave up a kept-alive connection.
    Close,
    /// No byte ever comes.
    Stall,
    /// The head comes byte by byte, with this pause after each.
    Trickle(#[serde(with = "super::behaviour::millis")] Duration),
    /// Bytes that are no HTTP come instead of the head; then the connection closes.
    Garbage,
}

/// A change of the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// The data of event `n` (from 0) stops in the middle of its JSON; the event's framing stays correct.
    Malform(usize),
    /// After `n` events the format's in-band error comes, and then the body ends cleanly.
    Error(usize),
    /// `text` is put in after `event` events.
    Insert {
        /// How many events precede it.
        event: usize,
        /// What is put in, its blank line included.
        text: String,
    },
}

impl Edit {
    pub(crate) fn apply(&self, rendered: &mut Rendered) {
        match self {
            Edit::Malform(event) => {
                if let Some(event) = rendered.events.get_mut(*event) {
                    *event = malformed(event).into();
                }
            }
            Edit::Error(event) => {
                rendered.events.truncate(*event);
                rendered.finish = rendered.events.len();
                rendered.terminator = rendered.events.len();
                rendered.events.push(rendered.error_event.clone());
            }
            Edit::Insert { event, text } => {
                let at = (*event).min(rendered.events.len());
                rendered.events.insert(at, text.clone().into());
                rendered.finish += usize::from(at <= rendered.finish);
                rendered.terminator += usize::from(at <= rendered.terminator);
            }
        }
    }
}

/// The event with the second half of its data gone and its line ends kept.
fn malformed(event: &[u8]) -> Vec<u8> {
    let content = event
        .iter()
        .rposition(|b| !matches!(b, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    let data = memchr::memmem::find(event, b"data:").map_or(0, |at| at + 5);
    let keep = data + (content - data) / 2;
    [&event[..keep], &event[content..]].concat()
}

/// A door that a test opens: what stands before it waits, so that "while the stream is in the middle" is a fact and not
/// a matter of timing.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&*self.0.borrow()).finish()
    }
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Opens it, for good and for all who wait.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        let mut door = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        door.wait_for(|open| *open).await.expect("the gate is held");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_keeps_the_frame_and_breaks_the_json() {
        let broken = malformed(b"event: x\ndata: {\"a\":1,\"b\":2}\n\n");
        let events = crate::sse::events(&broken);
        assert_eq!((events.len(), events[0].name.as_deref()), (1, Some("x")));
        assert!(
            events[0].json().is_none() && events[0].data.starts_with('{'),
            "{events:?}"
        );
    }

    #[test]
    fn places_and_edits_agree() {
        let mut rendered = Rendered {
            events: ["a\n\n", "bb\n\n", "c\n\n"].map(bytes::Bytes::from).to_vec(),
            finish: 1,
            terminator: 2,
            ..Rendered::whole(200, "text/event-stream", "")
        };
        assert_eq!(
            [At::Events(1), At::Finish, At::Terminator, At::Bytes(99)].map(|at| at.offset(&rendered)),
            [3, 3, 7, 10]
        );
        Edit::Insert {
            event: 1,
            text: ": x\n\n".to_owned(),
        }
        .apply(&mut rendered);
        assert_eq!((rendered.finish, rendered.terminator, rendered.events.len()), (2, 3, 4));
    }
}
