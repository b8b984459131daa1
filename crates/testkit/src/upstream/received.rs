//! What the upstream saw: every request as it came, and what became of its answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::asked::{Asked, prefill};
use super::request::Request;

/// The requests kept; older ones are dropped (and still counted), so that load tests do not grow without bound.
pub const RECEIVED_MAX: usize = 100_000;

/// One request, as it came.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// Its number, from 1; answers carry it in their id (`chatcmpl-tk-1`).
    pub call: u64,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// When its last byte had come, since the upstream's start.
    #[serde(with = "super::behaviour::millis", rename = "at_ms")]
    pub at: Duration,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers in their order and spelling; a value that is not UTF-8 has its bytes replaced.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    #[serde(with = "crate::recordings::body_form")]
    pub body: Bytes,
    /// The credential, wherever it stood.
    pub credential: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// Of a WebSocket: the messages that came, `pong`, and `close` with its code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// Whether a byte of the head was handed to the socket.
    pub head_sent: bool,
    /// Bytes of the body handed to the socket, without framing.
    pub body_sent: u64,
    /// How it ended; `None` while it runs.
    pub ending: Option<Ending>,
}

/// How an answer ended, from the upstream's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All its bytes were handed to the socket.
    Completed,
    /// The script ended it before its time.
    Cut,
    /// The client went away.
    ClientGone,
}

impl Received {
    pub(crate) fn new(call: u64, connection: u64, at: Duration, request: Request, asked: &Asked) -> Self {
        Self {
            call,
            connection,
            at,
            credential: credential(&request),
            model: Some(asked.model.clone()).filter(|model| !model.is_empty()),
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body,
            messages: Vec::new(),
            head_sent: false,
            body_sent: 0,
            ending: None,
        }
    }

    /// The text that the model is given as the beginning of its answer.
    pub fn prefill(&self) -> Option<String> {
        prefill(&self.json())
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is no JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }
}

fn credential(request: &Request) -> Option<String> {
    let bearer = request.header("authorization").map(|value| {
        value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or(value, |(_, key)| key)
    });
    let named = ["x-api-key", "api-key", "x-goog-api-key"]
        .into_iter()
        .find_map(|name| request.header(name));
    let query = request
        .target
        .split_once('?')
        .map(|(_, query)| query)
        .unwrap_or_default();
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("key="));
    bearer.or(named).or(in_query).map(str::to_owned)
}

/// Counts since the start. `started = completed + cut + client_gone +` those still running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Calls whose request had fully come.
    pub started: u64,
    /// Calls of whose answer a byte was handed to the socket.
    pub head_sent: u64,
    /// Calls whose answer was handed to the socket to its end.
    pub completed: u64,
    /// Calls that the script ended before their time.
    pub cut: u64,
    /// Calls whose client went away first.
    pub client_gone: u64,
}

impl Counts {
    /// Calls that have begun and not ended.
    pub const fn running(&self) -> u64 {
        self.started - self.completed - self.cut - self.client_gone
    }
}

/// The record itself.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) calls: VecDeque<Received>,
    pub(crate) counts: Counts,
}

impl Log {
    pub(crate) fn begin(&mut self, call: Received) {
        self.counts.started += 1;
        if self.calls.len() == RECEIVED_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    pub(crate) fn sent(&mut self, call: u64, body_bytes: usize) {
        let Some(entry) = self.entry(call) else { return };
        entry.body_sent += body_bytes as u64;
        if !std::mem::replace(&mut entry.head_sent, true) {
            self.counts.head_sent += 1;
        }
    }

    pub(crate) fn heard(&mut self, call: u64, message: String) {
        if let Some(entry) = self.entry(call) {
            entry.messages.push(message);
        }
    }

    pub(crate) fn end(&mut self, call: u64, ending: Ending) {
        match ending {
            Ending::Completed => self.counts.completed += 1,
            Ending::Cut => self.counts.cut += 1,
            Ending::ClientGone => self.counts.client_gone += 1,
        }
        if let Some(entry) = self.entry(call) {
            entry.ending = Some(ending);
        }
    }

    /// Calls are numbered in the order of the queue, without gaps.
    fn entry(&mut self, call: u64) -> Option<&mut Received> {
        let first = self.calls.front()?.call;
        self.calls.get_mut(call.checked_sub(first)? as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential_of(target: &str, headers: &[(&str, &str)]) -> Option<String> {
        credential(&Request::of("POST", target, headers, ""))
    }

    #[test]
    fn finds_the_credential_wherever_it_stands() {
        assert_eq!(
            credential_of("/", &[("authorization", "bearer a")]).as_deref(),
            Some("a")
        );
        for name in ["X-Api-Key", "api-key", "x-goog-api-key"] {
            assert_eq!(credential_of("/", &[(name, "b")]).as_deref(), Some("b"));
        }
        assert_eq!(credential_of("/x?alt=sse&key=c", &[]).as_deref(), Some("c"));
        assert_eq!(credential_of("/x", &[]), None);
    }

    #[test]
    fn the_log_finds_calls_after_it_was_cleared() {
        let mut log = Log::default();
        for call in 1..=3 {
            let request = Request::of("POST", "/", &[], "");
            let asked = Asked::read(&request);
            log.begin(Received::new(call, 1, Duration::ZERO, request, &asked));
        }
        log.calls.drain(..2);
        log.sent(3, 5);
        log.sent(3, 5);
        log.end(3, Ending::Completed);
        log.end(1, Ending::Cut);
        assert_eq!(
            (log.calls[0].body_sent, log.calls[0].ending),
            (10, Some(Ending::Completed))
        );
        assert_eq!(
            (
                log.counts.head_sent,
                log.counts.completed,
                log.counts.cut,
                log.counts.running()
            ),
            (1, 1, 1, 1)
        );
    }
}
