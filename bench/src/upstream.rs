//! The mock upstream: answers as a provider would, as fast as one thread can, and misbehaves on demand so that the
//! driver's checks can themselves be checked. All texts are built once; answering copies bytes to a socket.
//!
//! `POST …/chat/completions` and `POST …/messages` answer, as a stream if the body says `"stream":true` (found by
//! looking for just these bytes: only this crate's driver sends requests). `POST /__echo` returns the body.
//! `GET /__config?chunks=100&pause_us=10000&fault=none` changes the behaviour at run time, `GET /__stats` counts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::framing::{Kind, MessageReader};
use crate::limits::CHUNKS_MAX;
use crate::wire::{Dialect, Shape, Tokens};

const READ_BUFFER: usize = 64 * 1024;
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: \
                           no-cache\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n";

/// How the upstream misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[repr(u8)]
pub enum Fault {
    /// Not at all.
    None,
    /// Status 503.
    Status,
    /// Another number of output tokens than was produced.
    Usage,
    /// Another text than expected, of the same length.
    Content,
    /// A stream lacks a chunk in its middle, and is otherwise well-formed.
    LostChunk,
    /// A stream ends without its end marker, and is otherwise well-formed.
    NoEnd,
    /// The connection is closed in the middle of the answer.
    Cut,
}

/// The mock upstream, bound to its address.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    chunks: AtomicU32,
    pause_us: AtomicU64,
    fault: AtomicU8,
    answered: AtomicU64,
    connections: AtomicU64,
    openai: Texts,
    anthropic: Texts,
}

/// Everything that one dialect sends, ready for the socket.
#[derive(Debug)]
struct Texts {
    dialect: Dialect,
    plain: Bytes,
    plain_wrong_usage: Bytes,
    plain_wrong_content: Bytes,
    opening: Bytes,
    content: Vec<Bytes>,
    /// By number of chunks, because usage counts them; made when first needed.
    closing: parking_lot::Mutex<Option<Closing>>,
}

/// The events after the last content chunk.
#[derive(Debug, Clone)]
struct Closing {
    tokens: Tokens,
    events: Arc<[Bytes]>,
}

impl Upstream {
    /// Listens on `address`.
    ///
    /// # Errors
    /// When the address is taken, or outside a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            listener: socket.listen(4096)?,
            state: Arc::new(State::new()),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the runtime ends.
    ///
    /// # Errors
    /// When no connection can be accepted any more.
    pub async fn serve(self) -> io::Result<()> {
        loop {
            let (socket, _) = self.listener.accept().await?;
            socket.set_nodelay(true)?;
            self.state.connections.fetch_add(1, Relaxed);
            let connection = Connection {
                socket,
                state: Arc::clone(&self.state),
            };
            // A connection that breaks concerns nobody: the driver notices what it lacks.
            tokio::spawn(async move { connection.run().await.unwrap_or_default() });
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            chunks: AtomicU32::new(100),
            pause_us: AtomicU64::new(0),
            fault: AtomicU8::new(Fault::None as u8),
            answered: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            openai: Texts::new(Dialect::OpenaiChat),
            anthropic: Texts::new(Dialect::AnthropicMessages),
        }
    }

    fn fault(&self) -> Fault {
        let number = self.fault.load(Relaxed);
        *<Fault as clap::ValueEnum>::value_variants()
            .iter()
            .find(|fault| **fault as u8 == number)
            .unwrap_or(&Fault::None)
    }

    /// Applies `a=1&b=2`; false if something in it is unknown, and then what came before it is applied.
    fn configure(&self, query: &str) -> bool {
        query.split('&').all(|pair| match pair.split_once('=') {
            Some(("chunks", value)) => value.parse().is_ok_and(|chunks| {
                chunks <= CHUNKS_MAX && {
                    self.chunks.store(chunks, Relaxed);
                    true
                }
            }),
            Some(("pause_us", value)) => value.parse().is_ok_and(|pause| {
                self.pause_us.store(pause, Relaxed);
                true
            }),
            Some(("fault", value)) => <Fault as clap::ValueEnum>::from_str(value, false).is_ok_and(|fault| {
                self.fault.store(fault as u8, Relaxed);
                true
            }),
            _ => false,
        })
    }

    fn stats(&self) -> String {
        let (answered, connections) = (self.answered.load(Relaxed), self.connections.load(Relaxed));
        format!("{{\"answered\":{answered},\"connections\":{connections}}}")
    }
}

impl Texts {
    fn new(dialect: Dialect) -> Self {
        let right = Shape::Plain.tokens();
        let plain = dialect.plain_answer(right);
        let stream = dialect.stream_answer(CHUNKS_MAX, right);
        Self {
            dialect,
            plain_wrong_usage: json_response(&dialect.plain_answer(one_more(right))),
            plain_wrong_content: json_response(&plain.replace("1345", "5431")),
            plain: json_response(&plain),
            opening: Bytes::from(STREAM_HEAD.to_owned() + &http_chunk(&stream.opening)),
            content: stream
                .content
                .iter()
                .map(|event| Bytes::from(http_chunk(event)))
                .collect(),
            closing: parking_lot::Mutex::new(None),
        }
    }

    /// The closing events for these tokens; the last ones asked for are kept.
    fn closing(&self, tokens: Tokens) -> Arc<[Bytes]> {
        let mut kept = self.closing.lock();
        if let Some(closing) = kept.as_ref().filter(|closing| closing.tokens == tokens) {
            return Arc::clone(&closing.events);
        }
        let text = self.dialect.stream_answer(0, tokens);
        let events: Arc<[Bytes]> = text
            .closing
            .iter()
            .map(|event| Bytes::from(http_chunk(event)))
            .collect();
        *kept = Some(Closing {
            tokens,
            events: Arc::clone(&events),
        });
        events
    }
}

struct Connection {
    socket: TcpStream,
    state: Arc<State>,
}

/// Whether the connection may serve another request.
enum Next {
    Again,
    Close,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_BUFFER];
        let mut request = MessageReader::new(Kind::Request);
        loop {
            let read = self.socket.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let mut input = &buffer[..read];
            while !input.is_empty() {
                let taken = request.feed(input).map_err(io::Error::other)?;
                input = &input[taken..];
                if request.is_done() {
                    if matches!(self.answer(&request).await?, Next::Close) || !request.keep_alive() {
                        return Ok(());
                    }
                    request.reset();
                }
            }
        }
    }

    async fn answer(&mut self, request: &MessageReader) -> io::Result<Next> {
        let state = Arc::clone(&self.state);
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
        let texts = if path.ends_with("/chat/completions") {
            &state.openai
        } else if path.ends_with("/messages") {
            &state.anthropic
        } else {
            let response = match path {
                "/__config" if state.configure(query) => json_response("{}"),
                "/__config" => empty_response("400 Bad Request"),
                "/__stats" => json_response(&state.stats()),
                "/__echo" => json_response_of(request.body()),
                _ => empty_response("404 Not Found"),
            };
            self.socket.write_all(&response).await?;
            return Ok(Next::Again);
        };
        state.answered.fetch_add(1, Relaxed);
        if memmem::find(request.body(), b"\"stream\":true").is_some() {
            self.stream(texts).await
        } else {
            self.plain(texts).await
        }
    }

    async fn plain(&mut self, texts: &Texts) -> io::Result<Next> {
        let refusal = empty_response("503 Service Unavailable");
        let answer = match self.state.fault() {
            Fault::Cut => {
                self.socket.write_all(&texts.plain[..texts.plain.len() / 2]).await?;
                return Ok(Next::Close);
            }
            Fault::Status => &refusal,
            Fault::Usage => &texts.plain_wrong_usage,
            Fault::Content => &texts.plain_wrong_content,
            Fault::None | Fault::LostChunk | Fault::NoEnd => &texts.plain,
        };
        self.socket.write_all(answer).await?;
        Ok(Next::Again)
    }

    async fn stream(&mut self, texts: &Texts) -> io::Result<Next> {
        let fault = self.state.fault();
        if fault == Fault::Status {
            self.socket
                .write_all(&empty_response("503 Service Unavailable"))
                .await?;
            return Ok(Next::Again);
        }
        let shape = Shape::Stream {
            chunks: self.state.chunks.load(Relaxed),
        };
        self.socket.write_all(&texts.opening).await?;
        self.content(texts, shape.chunks() as usize, fault).await?;
        if fault == Fault::Cut {
            return Ok(Next::Close);
        }
        let tokens = if fault == Fault::Usage {
            one_more(shape.tokens())
        } else {
            shape.tokens()
        };
        let closing = texts.closing(tokens);
        let kept = if fault == Fault::NoEnd {
            closing.len() - 1
        } else {
            closing.len()
        };
        for event in &closing[..kept] {
            self.socket.write_all(event).await?;
        }
        self.socket.write_all(b"0\r\n\r\n").await?;
        Ok(Next::Again)
    }

    /// Writes the content chunks, each in a write of its own and on its own beat. The beat does not drift: a chunk
    /// that was late does not delay those after it.
    async fn content(&mut self, texts: &Texts, chunks: usize, fault: Fault) -> io::Result<()> {
        let pause = Duration::from_micros(self.state.pause_us.load(Relaxed));
        let mut beat = tokio::time::Instant::now();
        let middle = chunks / 2;
        for index in 0..chunks {
            if !pause.is_zero() {
                beat += pause;
                tokio::time::sleep_until(beat).await;
            }
            let event = match fault {
                Fault::LostChunk if index == middle => continue,
                Fault::Cut if index == middle => return Ok(()),
                Fault::Content if index == middle => &texts.content[0],
                _ => &texts.content[index],
            };
            self.socket.write_all(event).await?;
        }
        Ok(())
    }
}

fn one_more(tokens: Tokens) -> Tokens {
    Tokens {
        output: tokens.output + 1,
        ..tokens
    }
}

fn http_chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn json_response(body: &str) -> Bytes {
    json_response_of(body.as_bytes())
}

fn json_response_of(body: &[u8]) -> Bytes {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Bytes::from([head.as_bytes(), body].concat())
}

fn empty_response(status: &str) -> Bytes {
    Bytes::from(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
}
