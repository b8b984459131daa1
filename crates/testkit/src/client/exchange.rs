//! An answer while it is read, piece by piece, and the ways to stop before its end.

use std::io::{self, Read as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::framing::Framing;
use super::response::{Chunk, End, Head, Response};

/// What one read takes at most.
const READ_SIZE: usize = 16 * 1024;

/// An answer being read. Dropped early, it closes the connection, as a client does that leaves.
#[derive(Debug)]
pub struct Exchange {
    pub(super) connection: Connection,
    pub(super) sent: Instant,
    pub(super) head: Option<Head>,
    pub(super) framing: Framing,
    pub(super) to_head: bool,
    pub(super) body: Vec<u8>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) reads: Vec<(Duration, usize)>,
    pub(super) end: Option<End>,
}

impl Exchange {
    /// The head, once it has come; `None` if the answer ended without one.
    pub fn head(&mut self) -> Option<&Head> {
        while self.head.is_none() && self.end.is_none() {
            match self.parse_head() {
                Ok(true) => {}
                Ok(false) => self.read_more(),
                Err(()) => self.end = Some(End::Broken),
            }
        }
        self.head.as_ref()
    }

    /// The next piece of the body; `None` at the end, of whatever kind.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        self.head()?;
        while self.end.is_none() {
            let piece = match self.framing {
                Framing::Length(left) => self.take_length(left),
                Framing::Chunked => self.take_chunk(),
                Framing::UntilClose | Framing::Unknown => self.take_all(),
            };
            if let Some(bytes) = piece {
                let chunk = Chunk {
                    at: self.sent.elapsed(),
                    bytes,
                };
                self.body.extend_from_slice(&chunk.bytes);
                self.chunks.push(chunk.clone());
                return Some(chunk);
            }
            if self.end.is_none() {
                self.read_more();
            }
        }
        None
    }

    /// Reads until the body contains `text`; false if it ended first.
    pub fn read_until(&mut self, text: &str) -> bool {
        loop {
            if memchr::memmem::find(&self.body, text.as_bytes()).is_some() {
                return true;
            }
            if self.next_chunk().is_none() {
                return false;
            }
        }
    }

    /// What of the body has been read.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What each read from the socket brought so far, head and framing included, and when.
    pub fn reads(&self) -> &[(Duration, usize)] {
        &self.reads
    }

    /// Reads to the end.
    pub fn finish(self) -> Response {
        self.finish_and_keep().0
    }

    /// Reads to the end; the connection comes back if it can carry another request.
    pub fn finish_and_keep(mut self) -> (Response, Option<Connection>) {
        while self.next_chunk().is_some() {}
        let end = self.end.unwrap_or(End::Broken);
        let closes = self
            .head
            .as_ref()
            .is_some_and(|head| head.header("connection") == Some("close"));
        let keep = end == End::Complete && !closes && !matches!(self.framing, Framing::UntilClose);
        let response = Response {
            head: self.head,
            body: self.body,
            chunks: self.chunks,
            reads: self.reads,
            end,
            elapsed: self.sent.elapsed(),
        };
        (response, keep.then_some(self.connection))
    }

    /// Closes the connection without reading on, in order (FIN).
    pub fn leave(self) {
        self.connection.stream.shutdown(Shutdown::Both).ok();
    }

    /// Whether the end of the body has been seen in what was read so far.
    pub fn is_complete(&self) -> bool {
        self.end == Some(End::Complete)
    }

    fn read_more(&mut self) {
        let mut piece = [0; READ_SIZE];
        match self.connection.stream.read(&mut piece) {
            Ok(0) => self.end = Some(self.end_of_connection()),
            Ok(count) => {
                self.reads.push((self.sent.elapsed(), count));
                self.connection.buffer.extend_from_slice(&piece[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.end = Some(End::of(&error)),
        }
    }

    fn end_of_connection(&self) -> End {
        if matches!(self.framing, Framing::UntilClose) {
            End::Complete
        } else {
            End::Closed
        }
    }
}
