//! HTTP/1.1 message framing, incremental: fed with bytes at any boundary, it collects one head and one body. Driver
//! and mock upstream share it. Neither uses hyper: both must cost much less than what stands between them on the
//! same two cores, and a fault of hyper must not be able to cancel itself out.

use crate::limits::{BODY_MAX, CHUNK_LINE_MAX, HEAD_MAX, HEADERS_MAX};

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Not HTTP, or a head that is too long.
    #[error("bad head")]
    Head,
    /// A chunk size that is none.
    #[error("bad chunk")]
    Chunk,
    /// Longer than this crate keeps.
    #[error("body too long")]
    TooLong,
}

/// Which kind of message is read; decides what a head looks like and what no length means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request: without a length it has no body.
    Request,
    /// A response: without a length its body ends with the connection.
    Response,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    ChunkLine,
    ChunkData(usize),
    ChunkEnd(usize),
    Trailer,
    UntilClose,
    Done,
}

/// Reads one message after the other.
#[derive(Debug)]
pub struct MessageReader {
    kind: Kind,
    state: State,
    line: Vec<u8>,
    head: Vec<u8>,
    body: Vec<u8>,
    status: u16,
    keep_alive: bool,
}

impl MessageReader {
    /// A reader for messages of `kind`.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Head,
            line: Vec::new(),
            head: Vec::new(),
            body: Vec::new(),
            status: 0,
            keep_alive: true,
        }
    }

    /// Forgets the message, keeps the buffers.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.line.clear();
        self.head.clear();
        self.body.clear();
        self.status = 0;
        self.keep_alive = true;
    }

    /// Takes bytes, up to the end of the message. Returns how many were taken: all, unless [`Self::is_done`].
    ///
    /// # Errors
    /// When this is not a message, or a longer one than is kept.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, FramingError> {
        let mut taken = 0;
        while taken < input.len() && self.state != State::Done {
            taken += self.step(&input[taken..])?;
        }
        Ok(taken)
    }

    /// Whether the message is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is the proper end of this message.
    pub fn may_end_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Whether the connection may be used again afterwards.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive && self.state == State::Done
    }

    /// The status of a response; 0 until its head is complete.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body as far as it has come, without its framing.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The request line's target, of a request whose head is complete.
    pub fn target(&self) -> &str {
        let line = self.head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split(' ').nth(1))
            .unwrap_or_default()
    }

    fn step(&mut self, input: &[u8]) -> Result<usize, FramingError> {
        match self.state {
            State::Head => self.take_head(input),
            State::Length(left) => {
                let taken = self.take_body(input, left)?;
                self.state = if taken == left {
                    State::Done
                } else {
                    State::Length(left - taken)
                };
                Ok(taken)
            }
            State::UntilClose => self.take_body(input, usize::MAX),
            State::ChunkLine => self.take_chunk_line(input),
            State::ChunkData(left) => {
                let taken = self.take_body(input, left)?;
                self.state = if taken == left {
                    State::ChunkEnd(2)
                } else {
                    State::ChunkData(left - taken)
                };
                Ok(taken)
            }
            State::ChunkEnd(left) => {
                let taken = left.min(input.len());
                self.state = if taken == left {
                    State::ChunkLine
                } else {
                    State::ChunkEnd(left - taken)
                };
                Ok(taken)
            }
            State::Trailer => {
                let (taken, whole) = self.take_line(input)?;
                if whole {
                    let last = self.line.trim_ascii().is_empty();
                    self.line.clear();
                    self.state = if last { State::Done } else { State::Trailer };
                }
                Ok(taken)
            }
            State::Done => Ok(0),
        }
    }

    fn take_head(&mut self, input: &[u8]) -> Result<usize, FramingError> {
        let before = self.head.len();
        self.head.extend_from_slice(input);
        let search_from = before.saturating_sub(3);
        let Some(found) = memchr::memmem::find(&self.head[search_from..], b"\r\n\r\n") else {
            return if self.head.len() > HEAD_MAX {
                Err(FramingError::Head)
            } else {
                Ok(input.len())
            };
        };
        self.head.truncate(search_from + found + 4);
        self.state = self.read_head()?;
        Ok(self.head.len() - before)
    }

    /// Reads the complete head; says how the body is framed.
    fn read_head(&mut self) -> Result<State, FramingError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let parsed = match self.kind {
            Kind::Request => {
                let mut request = httparse::Request::new(&mut headers);
                request.parse(&self.head).map_err(|_| FramingError::Head)?;
                request.headers
            }
            Kind::Response => {
                let mut response = httparse::Response::new(&mut headers);
                response.parse(&self.head).map_err(|_| FramingError::Head)?;
                self.status = response.code.ok_or(FramingError::Head)?;
                response.headers
            }
        };
        let mut state = match self.kind {
            Kind::Request => State::Done,
            Kind::Response => State::UntilClose,
        };
        for header in parsed {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length: usize = std::str::from_utf8(header.value)
                    .ok()
                    .and_then(|v| v.parse().ok())
                    .ok_or(FramingError::Head)?;
                state = if length == 0 {
                    State::Done
                } else {
                    State::Length(length)
                };
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                state = State::ChunkLine;
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.keep_alive = !header.value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(state)
    }

    fn take_body(&mut self, input: &[u8], left: usize) -> Result<usize, FramingError> {
        let taken = left.min(input.len());
        if self.body.len() + taken > BODY_MAX {
            return Err(FramingError::TooLong);
        }
        self.body.extend_from_slice(&input[..taken]);
        Ok(taken)
    }

    fn take_chunk_line(&mut self, input: &[u8]) -> Result<usize, FramingError> {
        let (taken, whole) = self.take_line(input)?;
        if whole {
            let digits = self
                .line
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            let size = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| usize::from_str_radix(digits, 16).ok());
            self.line.clear();
            self.state = match size.ok_or(FramingError::Chunk)? {
                0 => State::Trailer,
                size => State::ChunkData(size),
            };
        }
        Ok(taken)
    }

    /// Collects a line up to its newline; says how much was taken and whether the line is whole.
    fn take_line(&mut self, input: &[u8]) -> Result<(usize, bool), FramingError> {
        let newline = memchr::memchr(b'\n', input);
        let taken = newline.map_or(input.len(), |at| at + 1);
        if self.line.len() + taken > CHUNK_LINE_MAX {
            return Err(FramingError::Chunk);
        }
        self.line.extend_from_slice(&input[..taken]);
        Ok((taken, newline.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\nNEXT";

    #[test]
    fn any_split_of_a_chunked_body_reads_the_same_and_leaves_the_next_message() {
        for split in 0..CHUNKED.len() - 4 {
            let mut reader = MessageReader::new(Kind::Response);
            let (left, right) = CHUNKED.split_at(split);
            assert_eq!(reader.feed(left).unwrap(), left.len());
            assert_eq!(reader.feed(right).unwrap(), right.len() - 4, "split at {split}");
            assert!(reader.is_done() && reader.keep_alive());
            assert_eq!((reader.status(), reader.body()), (200, b"abc0123456789".as_slice()));
        }
    }

    #[test]
    fn a_request_without_length_has_no_body() {
        let mut reader = MessageReader::new(Kind::Request);
        reader.feed(b"GET /a?b=1 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert!(reader.is_done());
        assert_eq!(reader.target(), "/a?b=1");
    }

    #[test]
    fn a_response_without_length_ends_with_its_connection() {
        let mut reader = MessageReader::new(Kind::Response);
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
        assert!(!reader.is_done() && reader.may_end_with_connection() && !reader.keep_alive());
        assert_eq!(reader.body(), b"abc");
    }

    #[test]
    fn a_body_with_a_length_does_not_end_with_its_connection() {
        let mut reader = MessageReader::new(Kind::Response);
        reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc").unwrap();
        assert!(!reader.is_done() && !reader.may_end_with_connection());
    }

    #[test]
    fn nonsense_and_endless_heads_are_refused() {
        let mut reader = MessageReader::new(Kind::Response);
        assert_eq!(reader.feed(b"SSH-2.0-x\r\n\r\n"), Err(FramingError::Head));
        let mut reader = MessageReader::new(Kind::Response);
        assert_eq!(reader.feed(&vec![b'a'; HEAD_MAX + 1]), Err(FramingError::Head));
        let mut reader = MessageReader::new(Kind::Response);
        let zz = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(reader.feed(zz), Err(FramingError::Chunk));
    }

    #[test]
    fn close_is_honoured_and_reset_forgets_it() {
        let mut reader = MessageReader::new(Kind::Response);
        reader
            .feed(b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        assert!(reader.is_done() && !reader.keep_alive());
        assert_eq!(reader.status(), 503);
        reader.reset();
        reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").unwrap();
        assert!(reader.keep_alive());
    }
}
