//! Where events go: into a stream, numbered, or nowhere.

use serde::Serialize;
use serde_json::Value;

use crate::sse;

/// The stream of one answer.
#[derive(Debug)]
pub(in super::super) struct Wire<'a> {
    out: Option<&'a mut Vec<u8>>,
    sequence: u64,
}

/// What every event has.
#[derive(Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u64,
    #[serde(flatten)]
    members: T,
}

/// What events about the response as a whole say.
#[derive(Debug, Serialize)]
pub(super) struct Whole<'a> {
    pub(super) response: &'a Value,
}

/// What events about an item say.
#[derive(Debug, Serialize)]
pub(super) struct Placed<'a> {
    pub(super) output_index: usize,
    pub(super) item: &'a Value,
}

/// A piece of text: most events of a stream are these, so they are written without a detour.
#[derive(Debug, Serialize)]
pub(super) struct Piece<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) sequence_number: u64,
    pub(super) item_id: &'a str,
    pub(super) output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<usize>,
    pub(super) delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<&'a [Value]>,
}

impl<'a> Wire<'a> {
    /// Into a stream of which `sequence` events were told.
    pub(in super::super) const fn to(out: &'a mut Vec<u8>, sequence: u64) -> Self {
        Self {
            out: Some(out),
            sequence,
        }
    }

    /// Nowhere.
    pub(super) const fn silent() -> Self {
        Self { out: None, sequence: 0 }
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.out.is_none()
    }

    /// The number of the next event.
    pub(in super::super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Tells an event.
    pub(super) fn event<T: Serialize>(&mut self, kind: &str, members: impl FnOnce() -> T) {
        if let Some(out) = &mut self.out {
            let event = Event {
                kind,
                sequence_number: self.sequence,
                members: members(),
            };
            sse::write_named(out, kind, &event);
            self.sequence += 1;
        }
    }

    /// Tells a piece of text; its number is set here.
    pub(super) fn piece(&mut self, mut piece: Piece<'_>) {
        if let Some(out) = &mut self.out {
            piece.sequence_number = self.sequence;
            sse::write_named(out, piece.kind, &piece);
            self.sequence += 1;
        }
    }
}
