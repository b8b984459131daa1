//! What a client asks.

use serde_json::{Map, Value};

use super::{CacheMark, Extra, Part, Tool, ToolChoice};

/// A request for an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request {
    /// The model, in the client's words; empty where the format has it in the path.
    pub(crate) model: String,
    /// The conversation, instructions included, in the client's order.
    pub(crate) messages: Vec<Message>,
    /// What the model may use.
    pub(crate) tools: Vec<Tool>,
    /// Whether it must.
    pub(crate) tool_choice: Option<ToolChoice>,
    /// Whether it may ask for several at once.
    pub(crate) parallel_tools: Option<bool>,
    /// The most tokens to generate.
    pub(crate) max_output: Option<u64>,
    /// How tokens are drawn.
    pub(crate) sampling: Sampling,
    /// How much to think.
    pub(crate) reasoning: Option<Reasoning>,
    /// What shape the answer has.
    pub(crate) format: Option<OutputFormat>,
    /// How long-winded the answer is.
    pub(crate) verbosity: Option<Verbosity>,
    /// Answers wanted: `n`, `candidateCount`.
    pub(crate) choices: Option<u64>,
    /// Log probabilities wanted, and of how many alternatives at each place.
    pub(crate) logprobs: Option<u64>,
    /// Kinds of output wanted besides text, in OpenAI's words: `audio`, `image`.
    pub(crate) modalities: Vec<String>,
    /// Whose voice speaks, by the provider's name of it.
    pub(crate) voice: Option<String>,
    /// Whether the answer shall be streamed.
    pub(crate) stream: bool,
    /// Whether the stream shall report usage where the format makes that a choice.
    pub(crate) stream_usage: bool,
    /// Keep a prefix of the whole request cached (Anthropic's top-level `cache_control`).
    pub(crate) cache: Option<CacheMark>,
    /// Requests of one key are cached together (OpenAI's `prompt_cache_key`).
    pub(crate) cache_key: Option<String>,
    /// `auto`, `default`, `flex`, `priority`, `standard_only`, …
    pub(crate) service_tier: Option<String>,
    /// The client's user, for the provider's abuse detection.
    pub(crate) user: Option<String>,
    /// The client's own labels.
    pub(crate) metadata: Map<String, Value>,
    /// Whether the provider may keep the answer.
    pub(crate) store: Option<bool>,
    /// An answer kept by the server that this request continues.
    pub(crate) previous: Option<String>,
    /// Members that the answer repeats (Responses), for [`crate::translate::Reply`].
    pub(crate) echo: Map<String, Value>,
    /// What only one family can say.
    pub(crate) extra: Extra,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said. Results of tools are parts of messages of [`Role::User`].
    pub(crate) parts: Vec<Part>,
    /// The name of the participant (OpenAI).
    pub(crate) name: Option<String>,
    /// What only one family can say.
    pub(crate) extra: Extra,
}

impl Message {
    /// A message of these parts.
    pub(crate) fn new(role: Role, parts: Vec<Part>) -> Self {
        Self {
            role,
            parts,
            name: None,
            extra: Extra::default(),
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Instructions of the operator of the conversation.
    System,
    /// The same in the newer word of OpenAI, where a format tells them apart.
    Developer,
    /// The person, and tools.
    User,
    /// The model.
    Assistant,
}

/// How tokens are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    /// As OpenAI and Gemini scale it (0 to 2); Anthropic's ends at 1.
    pub(crate) temperature: Option<Value>,
    /// Nucleus.
    pub(crate) top_p: Option<Value>,
    /// The likeliest so many.
    pub(crate) top_k: Option<Value>,
    /// OpenAI's and Gemini's.
    pub(crate) frequency_penalty: Option<Value>,
    /// OpenAI's and Gemini's.
    pub(crate) presence_penalty: Option<Value>,
    /// For repeatable answers.
    pub(crate) seed: Option<Value>,
    /// Texts that end the answer.
    pub(crate) stop: Vec<String>,
    /// OpenAI's, as it came.
    pub(crate) logit_bias: Option<Value>,
}

/// How much to think.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reasoning {
    /// In words.
    pub(crate) effort: Option<Effort>,
    /// In tokens.
    pub(crate) budget: Option<ThinkingBudget>,
    /// Whether the client wants to read it; `None`: not said.
    pub(crate) visible: Option<bool>,
    /// OpenAI: how the summary is written (`auto`, `concise`, `detailed`).
    pub(crate) summary: Option<String>,
}

/// How much to think, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// A little.
    Low,
    /// Usual.
    Medium,
    /// Much.
    High,
    /// More.
    Xhigh,
    /// As much as possible.
    Max,
}

impl Effort {
    /// All, ascending.
    pub(crate) const ALL: [Self; 7] = [
        Self::None,
        Self::Minimal,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Xhigh,
        Self::Max,
    ];

    /// OpenAI's word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Reads a word, in any case.
    pub(crate) fn read(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|effort| effort.name().eq_ignore_ascii_case(word))
    }

    /// Tokens for formats that want figures: those of Google's table for its OpenAI-compatible endpoint
    /// (<https://ai.google.dev/gemini-api/docs/openai#thinking>: low 1,024, medium 8,192, high 24,576).
    pub(crate) const fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::Xhigh | Self::Max => 32_768,
        }
    }

    /// The word that comes nearest to a figure, by the same table.
    pub(crate) const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=2_048 => Self::Low,
            2_049..=16_383 => Self::Medium,
            _ => Self::High,
        }
    }
}

/// How much to think, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThinkingBudget {
    /// Not at all.
    Off,
    /// As the model thinks right.
    Adaptive,
    /// At most so many.
    Tokens(u64),
}

/// What shape the answer has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OutputFormat {
    /// Prose.
    Text,
    /// Some JSON.
    Json,
    /// JSON of this schema.
    Schema {
        /// OpenAI requires a name; others have none.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// JSON Schema.
        schema: Value,
        /// Whether the schema must be kept exactly.
        strict: Option<bool>,
    },
    /// Something only one family can say (a grammar), in `extra`.
    Other,
}

/// How long-winded the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Terse.
    Low,
    /// Usual.
    Medium,
    /// Long.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efforts_and_budgets_are_each_others() {
        for effort in [Effort::None, Effort::Low, Effort::Medium, Effort::High] {
            assert_eq!(Effort::of_budget(effort.budget()), effort);
        }
        assert_eq!(Effort::read("HIGH"), Some(Effort::High));
    }
}
