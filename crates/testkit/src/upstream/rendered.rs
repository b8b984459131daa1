//! A reply as bytes, before anything is done to it: what the dialects produce, and what faults and chunking work on.

use bytes::Bytes;

/// A reply whose body is still in events, so that "after the third event" has a meaning.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// A stream's events with their blank lines; any other body is one event.
    pub(crate) events: Vec<Bytes>,
    pub(crate) streamed: bool,
    /// Index of the first event of the ending: the one with the finish reason.
    pub(crate) finish: usize,
    /// Index of the terminator (`[DONE]`, `message_stop`); where a format has none, the finish.
    pub(crate) terminator: usize,
    /// The format's in-band error.
    pub(crate) error_event: Bytes,
}

impl Rendered {
    /// A body that is not a stream.
    pub(crate) fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            events: vec![body.into()],
            streamed: false,
            finish: 0,
            terminator: 0,
            error_event: Bytes::new(),
        }
    }

    pub(crate) fn json(body: &super::json::Text) -> Self {
        Self::whole(200, "application/json", body.get().as_bytes().to_vec())
    }

    pub(crate) fn with_headers<'a>(mut self, headers: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        self.headers
            .extend(headers.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self
    }

    pub(crate) fn body_len(&self) -> usize {
        self.events.iter().map(Bytes::len).sum()
    }
}
