//! A WebSocket client that hides nothing: every frame as it came, and closes that are told apart from losses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde_json::Value;

use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, accept};

/// How long a read may wait: far above what any test needs.
const READ_MAX: Duration = Duration::from_mins(1);
/// The key of every handshake: nothing here needs it to be fresh.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The mask of every frame.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Most header lines.
const HEADERS_MAX: usize = 64;

/// An open WebSocket; dropping it closes the connection without a goodbye.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    buffer: BytesMut,
    /// The headers of the answer to the handshake.
    pub headers: Vec<(String, String)>,
}

/// A handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// A text message, put together from its frames.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A goodbye, with its code where it has one.
    Close(Option<(u16, String)>),
    /// A sign of life; it was answered.
    Ping,
    /// An answer to one of ours.
    Pong,
    /// The connection ended without a goodbye.
    Gone,
}

impl Socket {
    /// Opens one at `url` (`http://host:port`); `target` is path and query.
    pub fn open(url: &str, target: &str, headers: &[(&str, &str)]) -> Result<Self, Refused> {
        let host = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("connected");
        stream.set_nodelay(true).ok();
        stream.set_read_timeout(Some(READ_MAX)).expect("a timeout");
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\nsec-websocket-extensions: permessage-deflate\r\n"
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("the handshake is sent");
        let mut socket = Self {
            stream,
            buffer: BytesMut::new(),
            headers: Vec::new(),
        };
        let status = socket.read_head();
        if status == 101 {
            assert_eq!(socket.header("sec-websocket-accept"), Some(&*accept(KEY)));
            assert_eq!(socket.header("sec-websocket-extensions"), None);
            return Ok(socket);
        }
        let length = socket
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        while socket.buffer.len() < length && socket.fill() {}
        Err(Refused {
            status,
            body: String::from_utf8_lossy(&socket.buffer).into_owned(),
            headers: std::mem::take(&mut socket.headers),
        })
    }

    /// A header of the answer to the handshake.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Sends a text message.
    pub fn say(&mut self, text: &str) {
        self.send(&Frame::whole(TEXT, text));
    }

    /// Sends an event.
    pub fn say_json(&mut self, event: &Value) {
        self.say(&event.to_string());
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: &Frame) {
        // A gateway that has hung up is told by what comes back.
        self.stream.write_all(&frame.bytes(Some(MASK))).ok();
    }

    /// Says goodbye.
    pub fn close(&mut self, code: u16) {
        self.send(&Frame::close(code, ""));
    }

    /// The next thing that comes. Signs of life are answered.
    pub fn came(&mut self) -> Came {
        let mut message: Option<(u8, Vec<u8>)> = None;
        loop {
            let frame = loop {
                if let Some(frame) = Frame::take(&mut self.buffer) {
                    break frame;
                }
                if !self.fill() {
                    return Came::Gone;
                }
            };
            assert!(!frame.reserved, "an extension that was not agreed on");
            match frame.opcode {
                PING => {
                    self.send(&Frame::whole(PONG, frame.payload));
                    return Came::Ping;
                }
                PONG => return Came::Pong,
                CLOSE => return Came::Close(frame.close_code()),
                TEXT | BINARY => message = Some((frame.opcode, frame.payload)),
                CONTINUATION => message.as_mut().expect("a message has begun").1.extend(frame.payload),
                other => panic!("a frame of opcode {other}"),
            }
            if frame.last
                && let Some((opcode, payload)) = message.take()
            {
                return match opcode {
                    TEXT => Came::Text(String::from_utf8(payload).expect("text is UTF-8")),
                    _ => Came::Binary(payload),
                };
            }
        }
    }

    /// The next that is no sign of life.
    pub fn hear(&mut self) -> Came {
        let deadline = Instant::now() + READ_MAX;
        loop {
            assert!(Instant::now() < deadline, "nothing came but signs of life");
            match self.came() {
                Came::Ping | Came::Pong => {}
                came => return came,
            }
        }
    }

    /// The next text message.
    pub fn text(&mut self) -> String {
        match self.hear() {
            Came::Text(text) => text,
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// The next event.
    pub fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Reads on to the next event of this type.
    pub fn until(&mut self, kind: &str) -> Value {
        // Signs of life would keep it waiting for ever.
        let deadline = Instant::now() + READ_MAX;
        loop {
            assert!(Instant::now() < deadline, "no `{kind}` came");
            let event = self.json();
            if event["type"] == kind {
                return event;
            }
        }
    }

    fn read_head(&mut self) -> u16 {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Response::new(&mut headers);
            if let Ok(httparse::Status::Complete(length)) = head.parse(&self.buffer) {
                let status = head.code.expect("a status");
                self.headers = head
                    .headers
                    .iter()
                    .map(|header| {
                        (
                            header.name.to_owned(),
                            String::from_utf8_lossy(header.value).into_owned(),
                        )
                    })
                    .collect();
                let _head = self.buffer.split_to(length);
                return status;
            }
            assert!(self.fill(), "the connection ended within the handshake");
        }
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0_u8; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&piece[..length]);
                true
            }
        }
    }
}

impl Refused {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}
