//! A connection of one's own, so that a test says when it is made, used again and closed.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::exchange::Exchange;
use super::framing::Framing;
use super::request::Request;
use super::response::{End, Response};

/// A connection that can carry one request after the other.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: TcpStream,
    host: String,
    pub(super) buffer: Vec<u8>,
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
