//! What came: an answer with its pieces, the reads that brought them, and how it ended.

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// HTTP's end of body was seen: the length was reached, or the last chunk came, or the connection closed in order
    /// where the head had announced nothing else.
    Complete,
    /// The connection closed before that.
    Closed,
    /// The connection was reset.
    Reset,
    /// Connecting was refused.
    Refused,
    /// Nothing came for longer than the limit.
    TimedOut,
    /// What came is no HTTP/1.1, or anything else went wrong.
    Broken,
}

impl End {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broken,
        }
    }
}

/// A piece of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When its last byte came, since the request was sent.
    pub at: Duration,
    /// The bytes: one HTTP chunk, or what one read brought where the body is not chunked.
    pub bytes: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers in their order and spelling.
    pub headers: Vec<(String, String)>,
    /// When its last byte came, since the request was sent.
    pub at: Duration,
}

impl Head {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The head, if one came.
    pub head: Option<Head>,
    /// The body as far as it came, framing removed.
    pub body: Vec<u8>,
    /// Its pieces.
    pub chunks: Vec<Chunk>,
    /// What each read from the socket brought, head and framing included, and when: what shows whether two things
    /// came in one packet.
    pub reads: Vec<(Duration, usize)>,
    /// How it ended.
    pub end: End,
    /// When it ended, since the request was sent.
    pub elapsed: Duration,
}

impl Response {
    pub(super) fn none(end: End, sent: Instant) -> Self {
        Self {
            head: None,
            body: Vec::new(),
            chunks: Vec::new(),
            reads: Vec::new(),
            end,
            elapsed: sent.elapsed(),
        }
    }

    /// The status; 0 if no head came.
    pub fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, |head| head.status)
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref()?.header(name)
    }

    /// Whether HTTP's end of body was seen.
    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "no JSON ({error}) in {:?}, status {}: {}",
                self.end,
                self.status(),
                self.text()
            )
        })
    }

    /// The body's server-sent events.
    pub fn events(&self) -> Vec<crate::sse::Event> {
        crate::sse::events(&self.body)
    }
}
