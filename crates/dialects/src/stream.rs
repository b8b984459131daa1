//! The tap on a stream: passes bytes through untouched and watches them.

use bytes::Bytes;
use domain::{FailureClass, Surface};

use crate::answer::Report;

/// How a stream is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// What was asked, in which format.
    pub surface: Surface,
    /// Hide the usage-only chunk, because the client did not ask for it.
    pub hide_usage_chunk: bool,
    /// Gemini without `alt=sse`: one JSON array instead of events.
    pub json_array: bool,
}

/// Where the stream stands after a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapState {
    /// More is to come.
    Open,
    /// The terminal marker was seen: the answer is whole. Read the rest of the body if it comes at once (that frees the
    /// connection, and lets a trailing `[DONE]` through), then call `finish`; anything else that comes is dropped.
    Terminal,
    /// The stream cannot go on.
    Broken(StreamFault),
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// An event is not what the dialect allows. It was not released.
    Malformed {
        /// Its number, from 1.
        event: u64,
    },
    /// The provider reported an error instead of going on. The event was not released.
    ErrorEvent {
        /// What kind.
        class: FailureClass,
        /// The provider's message, masked and shortened: for the operator.
        message: String,
        /// The status that the error stands for, where it can be told. 400, 404, 413 and 422: of the caller's making.
        status: Option<u16>,
    },
    /// It ended before it was complete.
    Truncated,
    /// One event is longer than a stream may hold back.
    TooLong,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// It is whole.
    Complete {
        /// The bytes held back so far: to be released once the receipt is written.
        last: Bytes,
    },
    /// It is not.
    Incomplete {
        /// Why not.
        why: StreamFault,
    },
}

/// Passes a stream through and watches it.
#[derive(Debug)]
pub struct StreamTap {
    options: TapOptions,
}

impl StreamTap {
    /// A tap for a stream that has not begun.
    pub fn new(options: TapOptions) -> Self {
        Self { options }
    }

    /// Takes a chunk of the upstream's body and appends to `out` what may go to the client now.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> TapState {
        out.push(chunk);
        TapState::Open
    }

    /// The upstream's body ended, cleanly or not.
    pub fn finish(&mut self, clean_end: bool) -> StreamEnd {
        if clean_end { StreamEnd::Complete { last: Bytes::new() } } else { StreamEnd::Incomplete { why: StreamFault::Truncated } }
    }

    /// Whether content was seen: from here on the answer is committed.
    pub fn has_content(&self) -> bool {
        let _ = self.options;
        true
    }

    /// What was observed so far.
    pub fn report(&self) -> Report {
        Report::default()
    }

    /// Whether a heartbeat may be inserted now.
    pub fn between_events(&self) -> bool {
        true
    }
}
