//! Whole JSON answers, and the one description of an answer that streams share.
//!
//! A [`Report`] says what was seen of an answer: usage in the normal form, who answered, how it ended. It is made by
//! looking, so it exists at any moment of a stream, also when the stream is cut.

use domain::{Dialect, FailureClass, Operation, Surface, Usage};

use crate::json::{Syntax, utf8};
use crate::observation::{Mark, Observation, Sign};
use crate::{anthropic_messages, bedrock_converse, gemini, openai_chat, openai_responses, tasks};

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
    /// The object that the provider keeps of this answer (Responses), by whose id it can be asked for again.
    pub stored: Option<Box<Stored>>,
}

/// An answer that the provider keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its name for it.
    pub id: String,
    /// Whether it is still at work: what the answer costs is told when it is asked for again.
    pub is_pending: bool,
    /// Whether somebody ended it before it was whole.
    pub is_cancelled: bool,
    /// The last of its items, which a client may name in place of sending it again.
    pub last_item: Option<String>,
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
        /// The figures as far as they can be true, which a client of another format is told.
        nearest: Option<Usage>,
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
    /// The codes that the provider gave it, or words of ours: for logs and receipts. Never its prose, which may quote what
    /// the caller sent.
    pub detail: String,
    /// The provider's message, masked and shortened: for the caller whose request it is about, and nobody else.
    pub message: String,
}

impl ReportedFailure {
    /// A failure that the provider gives no message of, in words of ours.
    pub(crate) fn told(class: FailureClass, status: Option<u16>, words: String) -> Self {
        Self {
            class,
            status,
            message: words.clone(),
            detail: words,
        }
    }
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
    #[error("an error under a 2xx status: {}", .0.detail)]
    Error(ReportedFailure),
}

/// Reads a whole JSON answer with a 2xx status. What passes through without being metered need not be JSON.
///
/// # Errors
/// If it is no JSON object, an error envelope, or lacks what every answer to the operation has.
pub fn read_answer(surface: Surface, body: &[u8]) -> Result<Report, Nonsense> {
    if surface.operation == Operation::Passthrough {
        return Ok(Report {
            complete: true,
            ..Report::default()
        });
    }
    if surface.operation.is_task() && surface.dialect == Dialect::OpenaiChat {
        return tasks::answer::read_whole(surface.operation, body);
    }
    let mut seen = Observation::default();
    let sign = read_whole(surface.dialect, body, &mut seen)?;
    if let Mark::Error(error) = sign.mark {
        return Err(Nonsense::Error(error));
    }
    if !seen.has_body {
        return Err(seen
            .report
            .failure
            .map_or(Nonsense::Lacks(body_of(surface)), Nonsense::Error));
    }
    // A response that runs in the background is not whole yet.
    let complete = surface.dialect != Dialect::OpenaiResponses || seen.closing;
    Ok(Report {
        complete,
        ..seen.report
    })
}

fn read_whole(dialect: Dialect, body: &[u8], seen: &mut Observation) -> Result<Sign, Syntax> {
    utf8(body)?;
    match dialect {
        Dialect::OpenaiChat => openai_chat::answer::read(body, seen),
        Dialect::OpenaiResponses => openai_responses::answer::read_whole(body, seen),
        Dialect::AnthropicMessages => anthropic_messages::answer::read_whole(body, seen),
        Dialect::Gemini => gemini::answer::read(body, seen),
        Dialect::BedrockConverse => bedrock_converse::answer::read_whole(body, seen),
    }
}

/// Where an answer has what was asked for.
const fn body_of(surface: Surface) -> &'static str {
    match (surface.dialect, surface.operation) {
        (Dialect::OpenaiChat, Operation::Embeddings) => "data",
        (Dialect::OpenaiChat, _) => "choices",
        (_, Operation::CountTokens) => "a token count",
        (Dialect::Gemini, Operation::Embeddings) => "embeddings",
        (Dialect::Gemini, _) => "candidates",
        (Dialect::AnthropicMessages, _) => "content",
        (Dialect::OpenaiResponses | Dialect::BedrockConverse, _) => "output",
    }
}

impl From<Syntax> for Nonsense {
    fn from(error: Syntax) -> Self {
        Self::NotJson {
            offset: error.at,
            what: error.what,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn surface(dialect: Dialect) -> Surface {
        Surface::new(Operation::Chat, dialect)
    }

    #[test]
    fn nonsense_is_told_from_answers() {
        for dialect in [
            Dialect::OpenaiChat,
            Dialect::OpenaiResponses,
            Dialect::AnthropicMessages,
            Dialect::Gemini,
        ] {
            for text in ["", "<html>", "[]", "null", "{\"a\":", "\u{0}"] {
                assert!(
                    matches!(
                        read_answer(surface(dialect), text.as_bytes()),
                        Err(Nonsense::NotJson { .. })
                    ),
                    "{dialect} {text}"
                );
            }
            assert!(
                matches!(
                    read_answer(surface(dialect), b"{\"a\":\"\xff\"}"),
                    Err(Nonsense::NotJson { offset: 6, .. })
                ),
                "{dialect}"
            );
            assert!(
                matches!(
                    read_answer(surface(dialect), b"{\"greeting\":\"hi\"}"),
                    Err(Nonsense::Lacks(_))
                ),
                "{dialect}"
            );
            let error = br#"{"error":{"message":"boom","type":"server_error","code":500}}"#;
            match read_answer(surface(dialect), error) {
                Err(Nonsense::Error(reported)) => {
                    assert_eq!((reported.class, reported.status), (FailureClass::Server, Some(500)));
                }
                other => panic!("{dialect}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_response_of_the_callers_fault_is_an_answer_that_failed() {
        let body = br#"{"object":"response","status":"failed","output":[],"error":{"code":"invalid_prompt","message":"no"},"usage":null}"#;
        let report = read_answer(surface(Dialect::OpenaiResponses), body).unwrap();
        assert_eq!(report.failure.unwrap().status, Some(400));
        let running = br#"{"object":"response","status":"in_progress","output":[],"error":null}"#;
        assert!(
            !read_answer(surface(Dialect::OpenaiResponses), running)
                .unwrap()
                .complete
        );
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            for dialect in Dialect::ALL {
                for operation in Operation::ALL {
                    let _read = read_answer(Surface::new(operation, dialect), &body);
                }
            }
        }
    }
}
