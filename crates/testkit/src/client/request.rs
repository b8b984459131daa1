//! What is sent: a request whose header lines keep their spelling and place.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::connection::Connection;
use super::exchange::Exchange;
use super::response::{End, Response};

/// How long a read may wait, unless a request says otherwise.
pub const READ_MAX: Duration = Duration::from_mins(1);

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    pub(super) timeout: Duration,
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

    pub(super) fn bytes(&self, host: &str) -> Vec<u8> {
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
