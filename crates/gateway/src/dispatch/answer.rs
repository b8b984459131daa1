//! What a try gives: an answer in one of its shapes, and what the client's side needs to know of it.

use bytes::Bytes;
use dialects::{Report, StreamEnd, TapState, Transcoder};
use domain::Timestamp;
use domain::declaration::RefusalCause;
use http::StatusCode;
use http::header::HeaderMap;
use routing::{Attempts, Choice, InFlight};

use super::source::Source;

/// An answer that will be given to the client.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) choice: Choice,
    pub(crate) attempts: Attempts,
    pub(crate) tries: u32,
    /// Headers for the client.
    pub(crate) headers: HeaderMap,
    pub(crate) answer: Answer,
    /// When the first content was here.
    pub(crate) first_content: Timestamp,
    /// None for a refusal, which is read to its end.
    pub(super) open: Option<InFlight>,
}

/// What a try gives: headers for the client, the answer, and the load that it is.
pub(crate) type Got = (HeaderMap, Answer, Option<InFlight>);

impl Exchange {
    /// Its answer is over: it is no load any more.
    pub(crate) fn release(&mut self) {
        self.open = None;
    }

    /// It goes on with another answer.
    pub(crate) fn go_on(&mut self, choice: Choice, open: Option<InFlight>) {
        (self.choice, self.open) = (choice, open);
    }
}

/// The three shapes of an answer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times per call; a box would cost every whole answer an allocation"
)]
pub(crate) enum Answer {
    /// The caller's own mistake, in the provider's words.
    Refused {
        /// The provider's status.
        status: StatusCode,
        /// The provider's body.
        body: Bytes,
        /// Why, where a fallback may take the request all the same.
        cause: Option<RefusalCause>,
    },
    /// All of it.
    Whole {
        /// The provider's status.
        status: StatusCode,
        /// The provider's body.
        body: Bytes,
        /// What was found in it.
        report: Report,
        /// The answer itself, where it is to be kept and the body tells it as a stream.
        kept: Option<String>,
    },
    /// The beginning of a stream.
    Stream(Box<Streamed>),
    /// Handed on to the relay.
    Taken,
}

impl Answer {
    pub(super) const fn whole(status: StatusCode, body: Bytes, report: Report) -> Self {
        Self::Whole {
            status,
            body,
            report,
            kept: None,
        }
    }
}

/// A stream that has begun.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) source: Source,
    pub(crate) tap: Transcoder,
    /// What may go to the client already.
    pub(crate) ready: Vec<Bytes>,
    pub(crate) state: TapState,
    /// How the stream ended, if it has ended already.
    pub(crate) end: Option<StreamEnd>,
}

impl Streamed {
    pub(super) fn new(source: Source, tap: Transcoder) -> Self {
        Self {
            source,
            tap,
            ready: Vec::new(),
            state: TapState::Open,
            end: None,
        }
    }
}
