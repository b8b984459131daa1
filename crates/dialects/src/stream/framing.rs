//! Where the pieces of a stream end: events, the elements of one JSON array, or binary frames.

use crate::sse::Framer;
use crate::stream::array::{ArrayFramer, Edge};
use crate::stream::frames::FrameFramer;

/// How a stream is cut into pieces.
#[derive(Debug)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events(Framer),
    /// One JSON array of answers (Gemini without `alt=sse`).
    Array(ArrayFramer),
    /// Amazon's binary event stream.
    Frames(FrameFramer),
}

/// The end of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where it ends, in the bytes that were looked at.
    pub(crate) at: usize,
    /// What ends there.
    pub(crate) edge: Edge,
}

impl Framing {
    /// The next end in `bytes` at or after `from`; what stands before `from` was looked at already.
    pub(crate) fn next(&mut self, bytes: &[u8], from: usize) -> Option<Cut> {
        match self {
            Self::Events(framer) => framer.end(bytes, from).map(|at| Cut { at, edge: Edge::Piece }),
            Self::Array(framer) => framer.next(bytes, from).map(|(at, edge)| Cut { at, edge }),
            Self::Frames(framer) => framer.next(bytes, from).map(|(at, edge)| Cut { at, edge }),
        }
    }
}
