//! What one call meets: what is said, and all that is done to it on its way.
//!
//! Reply, faults, pauses, chunking and framing are independent fields, so that any fault can be tried on any answer in
//! any chunking; the constructors only name the usual combinations.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::asked::Asked;
use super::fault::{At, Cut, Edit, Gate, HeadFault, How};
use super::refusal::Refusal;
use super::rendered::Rendered;
use super::talk::Talk;

/// What one call meets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// What is said.
    pub reply: Reply,
    /// What happens to the head.
    pub head: HeadFault,
    /// What is changed in the body's events.
    pub edits: Vec<Edit>,
    /// Where the body ends before its time.
    pub cut: Option<Cut>,
    /// A pause before the head.
    #[serde(with = "millis", rename = "before_head_ms")]
    pub before_head: Duration,
    /// A pause between the head and the body's first byte.
    #[serde(with = "millis", rename = "before_body_ms")]
    pub before_body: Duration,
    /// A pause between chunks.
    #[serde(with = "millis", rename = "between_chunks_ms")]
    pub between_chunks: Duration,
    /// Gates in the body's way.
    #[serde(skip)]
    pub holds: Vec<Hold>,
    /// A gate before the head.
    #[serde(skip)]
    pub hold_head: Option<Gate>,
    /// How the body is cut into chunks; each chunk is one write.
    pub chunking: Chunking,
    /// How the body's end is told.
    pub framing: Framing,
    /// Whether the connection is closed after the answer without having said so, as servers do whose keep-alive ran
    /// out just then.
    pub hang_up: bool,
}

/// A gate at a place in the body.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Where.
    pub at: At,
    /// What must open.
    pub gate: Gate,
}

/// What is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// An answer in the dialect of the call.
    Answer(Box<Answer>),
    /// An error in the dialect of the call.
    Refusal(Refusal),
    /// Just these bytes.
    Raw(Raw),
    /// A WebSocket.
    Talk(Talk),
}

impl Default for Reply {
    fn default() -> Self {
        Self::Answer(Box::default())
    }
}

/// An answer given byte for byte.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The HTTP status.
    pub status: u16,
    /// The headers, in this order; those of the framing are added.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default, with = "crate::recordings::body_form")]
    pub body: Bytes,
}

/// How a body is cut into chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chunking {
    /// One chunk per event.
    #[default]
    Events,
    /// The whole body at once.
    Whole,
    /// Every so many bytes.
    Size(usize),
    /// These sizes in turn, from the beginning again when they are used up.
    Sizes(Vec<usize>),
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Chunked for streams, a length for the others.
    #[default]
    Usual,
    /// `content-length`.
    Length,
    /// `transfer-encoding: chunked`.
    Chunked,
    /// The connection closes.
    UntilClose,
}

impl Behaviour {
    /// Gives this answer.
    pub fn answer(answer: Answer) -> Self {
        Self {
            reply: Reply::Answer(Box::new(answer)),
            ..Self::default()
        }
    }

    /// Says `text`.
    pub fn text(text: &str) -> Self {
        Self::answer(Answer::text(text))
    }

    /// Refuses.
    pub fn refuse(refusal: Refusal) -> Self {
        Self {
            reply: Reply::Refusal(refusal),
            ..Self::default()
        }
    }

    /// Refuses with the provider's usual answer of this status.
    pub fn status(status: u16) -> Self {
        Self::refuse(Refusal::status(status))
    }

    /// Sends just these bytes.
    pub fn raw(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            reply: Reply::Raw(Raw {
                status,
                headers,
                body: body.into(),
            }),
            ..Self::default()
        }
    }

    /// Switches to a WebSocket and has this session.
    pub fn talk(talk: Talk) -> Self {
        Self {
            reply: Reply::Talk(talk),
            ..Self::default()
        }
    }

    /// Resets the connection before any byte.
    pub fn reset() -> Self {
        Self::default().head(HeadFault::Reset)
    }

    /// Closes the connection before any byte.
    pub fn close() -> Self {
        Self::default().head(HeadFault::Close)
    }

    /// Takes the request and never answers.
    pub fn stall() -> Self {
        Self::default().head(HeadFault::Stall)
    }

    /// Sets what happens to the head.
    pub fn head(mut self, head: HeadFault) -> Self {
        self.head = head;
        self
    }

    /// Ends the body early.
    pub fn cut(mut self, at: At, how: How) -> Self {
        self.cut = Some(Cut { at, how });
        self
    }

    /// Resets the connection after `events` events.
    pub fn reset_after(self, events: usize) -> Self {
        self.cut(At::Events(events), How::Reset)
    }

    /// Closes the connection after `events` events, with the framing unfinished.
    pub fn close_after(self, events: usize) -> Self {
        self.cut(At::Events(events), How::Close)
    }

    /// Ends the body after `events` events, with the framing correct.
    pub fn end_after(self, events: usize) -> Self {
        self.cut(At::Events(events), How::End)
    }

    /// Sends nothing more after `events` events.
    pub fn stall_after(self, events: usize) -> Self {
        self.cut(At::Events(events), How::Stall)
    }

    /// Leaves the terminator out and ends cleanly.
    pub fn without_terminator(self) -> Self {
        self.cut(At::Terminator, How::End)
    }

    /// Leaves the finish reason and all after it out, and ends cleanly.
    pub fn without_finish(self) -> Self {
        self.cut(At::Finish, How::End)
    }

    /// Breaks the JSON of event `event`, counted from 0.
    pub fn malformed(mut self, event: usize) -> Self {
        self.edits.push(Edit::Malform(event));
        self
    }

    /// Sends the format's in-band error after `events` events.
    pub fn error_after(mut self, events: usize) -> Self {
        self.edits.push(Edit::Error(events));
        self
    }

    /// Puts `text` in after `events` events.
    pub fn insert(mut self, events: usize, text: &str) -> Self {
        self.edits.push(Edit::Insert {
            event: events,
            text: text.to_owned(),
        });
        self
    }

    /// Waits before the head.
    pub fn head_after(mut self, pause: Duration) -> Self {
        self.before_head = pause;
        self
    }

    /// Sends the head at once and waits before the body: a slow first token.
    pub fn body_after(mut self, pause: Duration) -> Self {
        self.before_body = pause;
        self
    }

    /// Waits between chunks.
    pub fn paced(mut self, pause: Duration) -> Self {
        self.between_chunks = pause;
        self
    }

    /// Sends the head byte by byte.
    pub fn slow_head(self, pause_per_byte: Duration) -> Self {
        self.head(HeadFault::Trickle(pause_per_byte))
    }

    /// Cuts the body into chunks this way.
    pub fn chunked(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// Tells the body's end this way.
    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Waits at this place of the body until the test opens `gate`.
    pub fn hold(mut self, at: At, gate: &Gate) -> Self {
        self.holds.push(Hold { at, gate: gate.clone() });
        self
    }

    /// Waits before the head until the test opens `gate`.
    pub fn hold_head(mut self, gate: &Gate) -> Self {
        self.hold_head = Some(gate.clone());
        self
    }

    /// Closes the connection after the answer, unannounced.
    pub fn hang_up(mut self) -> Self {
        self.hang_up = true;
        self
    }

    pub(crate) fn render(&self, call: u64, asked: &Asked) -> Rendered {
        let mut rendered = match &self.reply {
            Reply::Answer(answer) => match asked.prefill.as_deref().filter(|_| answer.continues) {
                None => super::answered(call, asked, answer),
                // As Anthropic does.
                Some(beginning) if beginning.trim_end() != beginning => Refusal::status(400)
                    .message("final assistant content cannot end with trailing whitespace")
                    .render(call, asked),
                Some(beginning) => super::answered(call, asked, &answer.rest(beginning)),
            },
            Reply::Refusal(refusal) => refusal.render(call, asked),
            Reply::Raw(raw) => raw.render(asked),
            // Only to those who do not ask for one: a WebSocket is not rendered.
            Reply::Talk(_) => Refusal::status(400).render(call, asked),
        };
        if let Reply::Answer(answer) = &self.reply {
            rendered.headers.extend(answer.headers.iter().cloned());
        }
        for edit in &self.edits {
            edit.apply(&mut rendered);
        }
        rendered
    }
}

impl Raw {
    fn render(&self, asked: &Asked) -> Rendered {
        let streamed = self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("content-type") && value.trim_start().starts_with("text/event-stream")
        });
        let events = if streamed {
            split_events(&self.body)
        } else {
            vec![self.body.clone()]
        };
        let last = events.len().saturating_sub(1);
        Rendered {
            status: self.status,
            headers: self.headers.clone(),
            events,
            streamed,
            finish: last,
            terminator: last,
            error_event: super::refusal::error_event(asked.dialect),
        }
    }
}

/// The body at its blank lines; what follows the last one is an event too.
fn split_events(body: &Bytes) -> Vec<Bytes> {
    let mut events = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < body.len() {
        let rest = &body[at..];
        let blank = [&b"\r\n\r\n"[..], b"\n\n", b"\r\r"]
            .into_iter()
            .find(|end| rest.starts_with(end));
        match blank {
            Some(end) => {
                at += end.len();
                events.push(body.slice(start..at));
                start = at;
            }
            None => at += 1,
        }
    }
    if start < body.len() {
        events.push(body.slice(start..));
    }
    events
}

/// Durations as milliseconds, fractions allowed.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64() * 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let ms = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(ms / 1000.0).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_streams_are_split_at_blank_lines_and_lose_no_byte() {
        let body = Bytes::from_static(b"data: 1\n\nevent: x\r\ndata: 2\r\n\r\n: c\n\ndata: cut");
        let events = split_events(&body);
        assert_eq!(events.len(), 4);
        assert_eq!(events.concat(), body);
    }
}
