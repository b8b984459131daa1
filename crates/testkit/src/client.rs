//! A client that hides nothing: the bytes of the body, when each piece came, and whether the end of the body was
//! reached or only the end of the connection.
//!
//! The difference decides the crash test: a call has reached its client if and only if the client saw HTTP's end of
//! body. Client libraries blur that, so this one is written by hand over a blocking socket.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a read may wait, unless a request says otherwise.
pub const READ_MAX: Duration = Duration::from_mins(1);

/// What one read takes at most.
const READ_SIZE: usize = 16 * 1024;
/// Longest response head.
const HEAD_MAX: usize = 256 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 256;

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Duration,
}

impl Request {
    /// A request of any method; `target` is path and query.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: READ_MAX,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST of JSON.
    pub fn post(target: &str, body: &Value) -> Self {
        Self::new("POST", target)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Adds a header, in this spelling and place.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `authorization: Bearer …`.
    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Sets the body; `content-length` follows from it.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// How long each read may wait.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sends it to `url` (`http://host:port`) on a connection of its own and reads the answer to its end, whatever
    /// that is. A connection that cannot be made is an answer without a head.
    pub fn send(&self, url: &str) -> Response {
        match self.open(url) {
            Ok(exchange) => exchange.finish(),
            Err(error) => Response::none(End::of(&error), Instant::now()),
        }
    }

    /// Sends it on a connection of its own; the answer is read piece by piece.
    pub fn open(&self, url: &str) -> io::Result<Exchange> {
        Connection::open(url)?.start(self)
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            write!(head, "host: {host}\r\n").expect("writing to a string");
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("writing to a string");
        }
        let bodiless = self.body.is_empty() && matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE");
        if !bodiless && !has("content-length") && !has("transfer-encoding") {
            write!(head, "content-length: {}\r\n", self.body.len()).expect("writing to a string");
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

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
    fn of(error: &io::Error) -> Self {
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
    fn none(end: End, sent: Instant) -> Self {
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

/// A connection that can carry one request after the other.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `http://host:port`.
    pub fn open(url: &str) -> io::Result<Self> {
        let host = url
            .strip_prefix("http://")
            .unwrap_or(url)
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host,
            buffer: Vec::new(),
        })
    }

    /// The client's own address, by which the other side knows it.
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().map_or(0, |address| address.port())
    }

    /// Sends a request; the answer is read piece by piece.
    pub fn start(mut self, request: &Request) -> io::Result<Exchange> {
        self.stream.set_read_timeout(Some(request.timeout))?;
        let sent = Instant::now();
        let written = self.stream.write_all(&request.bytes(&self.host));
        let mut exchange = Exchange {
            connection: self,
            sent,
            head: None,
            framing: Framing::Unknown,
            to_head: request.method == "HEAD",
            body: Vec::new(),
            chunks: Vec::new(),
            reads: Vec::new(),
            end: None,
        };
        if let Err(error) = written {
            // A server may answer and close before it has read the whole request; what it said is still to be read.
            if exchange.head().is_none() {
                exchange.end = Some(End::of(&error));
            }
        }
        Ok(exchange)
    }

    /// Sends a request and reads the answer; the connection comes back if it can carry another.
    pub fn send(self, request: &Request) -> io::Result<(Response, Option<Self>)> {
        Ok(self.start(request)?.finish_and_keep())
    }
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Unknown,
    Length(usize),
    Chunked,
    UntilClose,
}

/// An answer being read. Dropped early, it closes the connection, as a client does that leaves.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    sent: Instant,
    head: Option<Head>,
    framing: Framing,
    to_head: bool,
    body: Vec<u8>,
    chunks: Vec<Chunk>,
    reads: Vec<(Duration, usize)>,
    end: Option<End>,
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

    /// Takes the head off the buffer if it is there whole; interim answers (1xx) are passed over.
    fn parse_head(&mut self) -> Result<bool, ()> {
        let buffer = &mut self.connection.buffer;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() <= HEAD_MAX => return Ok(false),
            Ok(httparse::Status::Partial) | Err(_) => return Err(()),
        };
        let status = head.code.unwrap_or(0);
        let headers = head
            .headers
            .iter()
            .map(|header| {
                (
                    header.name.to_owned(),
                    String::from_utf8_lossy(header.value).into_owned(),
                )
            })
            .collect();
        buffer.drain(..length);
        if (100..200).contains(&status) {
            return Ok(!buffer.is_empty() && self.parse_head()?);
        }
        let head = Head {
            status,
            headers,
            at: self.sent.elapsed(),
        };
        self.framing = framing(&head, self.to_head)?;
        self.head = Some(head);
        Ok(true)
    }

    fn take_length(&mut self, left: usize) -> Option<Vec<u8>> {
        let buffer = &mut self.connection.buffer;
        let take = left.min(buffer.len());
        let bytes: Vec<u8> = buffer.drain(..take).collect();
        self.framing = Framing::Length(left - take);
        if left == 0 {
            self.end = Some(End::Complete);
        }
        (take > 0).then_some(bytes)
    }

    fn take_all(&mut self) -> Option<Vec<u8>> {
        let bytes = std::mem::take(&mut self.connection.buffer);
        (!bytes.is_empty()).then_some(bytes)
    }

    /// One HTTP chunk, if it is there whole.
    fn take_chunk(&mut self) -> Option<Vec<u8>> {
        let buffer = &mut self.connection.buffer;
        let line_end = memchr::memmem::find(buffer, b"\r\n")?;
        let size = std::str::from_utf8(&buffer[..line_end]).ok().and_then(chunk_size);
        let Some(size) = size else {
            self.end = Some(End::Broken);
            return None;
        };
        let start = line_end + 2;
        if size == 0 {
            // Trailers, if any, end with an empty line.
            let rest = &buffer[line_end..];
            let trailers_end = memchr::memmem::find(rest, b"\r\n\r\n")?;
            buffer.drain(..line_end + trailers_end + 4);
            self.end = Some(End::Complete);
            return None;
        }
        if buffer.len() < start + size + 2 {
            return None;
        }
        let bytes = buffer[start..start + size].to_vec();
        buffer.drain(..start + size + 2);
        Some(bytes)
    }
}

fn chunk_size(line: &str) -> Option<usize> {
    usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()
}

fn framing(head: &Head, to_head: bool) -> Result<Framing, ()> {
    if to_head || matches!(head.status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if head
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    {
        return Ok(Framing::Chunked);
    }
    match head.header("content-length") {
        Some(value) => value.trim().parse().map(Framing::Length).map_err(|_| ()),
        None => Ok(Framing::UntilClose),
    }
}
