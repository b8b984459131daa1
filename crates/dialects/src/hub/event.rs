//! An answer told piece by piece.
//!
//! The grammar: `Start`, then for each part of each choice `Open`, any number of `Delta`, `Close`; a `Stop` for each
//! choice; `Usage` whenever the provider says it, the last one counts. Parts of one choice may overlap (parallel tool
//! calls interleave in chat streams); a format that tells one after the other puts them in order itself
//! ([`crate::sequence::Sequencer`]). `Open` carries the part as far as it is known: an empty text that grows, or a whole
//! picture.

use domain::Usage;
use serde_json::Value;

use super::{Citation, Extra, Part, Signature, Stop};

/// One piece of news.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The answer begins.
    Start {
        /// The provider's id; may be empty.
        id: String,
        /// Who answers; may be empty.
        model: String,
        /// Seconds since 1970.
        created: Option<i64>,
        /// What only one family can say.
        extra: Extra,
    },
    /// A part begins.
    Open {
        /// Which answer.
        choice: u32,
        /// Which part of it; each place is opened once.
        place: u32,
        /// As far as it is known.
        part: Box<Part>,
    },
    /// A part grows.
    Delta {
        /// Which answer.
        choice: u32,
        /// Which part.
        place: u32,
        /// By what.
        delta: Delta,
    },
    /// A part is whole.
    Close {
        /// Which answer.
        choice: u32,
        /// Which part.
        place: u32,
    },
    /// Log probabilities of what came last.
    Logprobs {
        /// Which answer.
        choice: u32,
        /// OpenAI's `{content: […], refusal: […]}`.
        value: Value,
    },
    /// A choice has ended.
    Stop {
        /// Which answer.
        choice: u32,
        /// Why.
        stop: Stop,
    },
    /// What was consumed so far.
    Usage(Usage),
    /// Which tier serves it.
    ServiceTier(String),
}

/// How a part grows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Delta {
    /// Text, a refusal, or reasoning goes on.
    Text(String),
    /// A tool call's arguments go on.
    Arguments(String),
    /// The provider's seal.
    Signature(Signature),
    /// What the text rests on.
    Citation(Citation),
}

impl Event {
    /// Bytes that it costs to keep this, roughly: what is kept back of a stream is bounded by it.
    pub(crate) fn weight(&self) -> usize {
        let inner = match self {
            Self::Delta { delta, .. } => match delta {
                Delta::Text(text) | Delta::Arguments(text) => text.len(),
                Delta::Signature(seal) => seal.value.len(),
                Delta::Citation(citation) => citation.weight(),
            },
            Self::Logprobs { value, .. } => weight(value),
            Self::Start { .. }
            | Self::Open { .. }
            | Self::Close { .. }
            | Self::Stop { .. }
            | Self::Usage(_)
            | Self::ServiceTier(_) => 0,
        };
        inner + NODE
    }
}

/// What an event or a value costs beside its texts.
const NODE: usize = 64;

/// Bytes that a value costs, roughly.
pub(crate) fn weight(value: &Value) -> usize {
    let inner: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + weight(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    inner + NODE
}
