//! Wire formats, and where a request meets one.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Operation;

/// A wire format. A closed set: the compiler lists what a new one must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `OpenAI` Chat Completions and the rest of the classic `OpenAI` API (embeddings, completions, errors).
    OpenaiChat,
    /// `OpenAI` Responses.
    OpenaiResponses,
    /// Anthropic Messages.
    AnthropicMessages,
    /// Google Gemini.
    Gemini,
    /// Amazon Bedrock Converse.
    BedrockConverse,
}

impl Dialect {
    /// Every dialect, in the order of the declaration.
    pub const ALL: [Self; 5] = [
        Self::OpenaiChat,
        Self::OpenaiResponses,
        Self::AnthropicMessages,
        Self::Gemini,
        Self::BedrockConverse,
    ];

    /// The name in configuration, JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai_chat",
            Self::OpenaiResponses => "openai_responses",
            Self::AnthropicMessages => "anthropic_messages",
            Self::Gemini => "gemini",
            Self::BedrockConverse => "bedrock_converse",
        }
    }
}

impl Dialect {
    /// All others, in the order in which an upstream that does not speak this one is asked. Responses and Chat are nearest
    /// to each other, Bedrock's to Anthropic's. Chat goes before Responses elsewhere: every server that imitates OpenAI has
    /// it, and it alone has stop sequences, seeds and penalties; a provider's `translate_to` says otherwise where its
    /// Responses can do more (reasoning that is sealed and sent back).
    pub const fn nearest(self) -> [Self; 4] {
        use Dialect::{AnthropicMessages, BedrockConverse, Gemini, OpenaiChat, OpenaiResponses};
        match self {
            OpenaiChat => [OpenaiResponses, AnthropicMessages, BedrockConverse, Gemini],
            OpenaiResponses => [OpenaiChat, AnthropicMessages, BedrockConverse, Gemini],
            AnthropicMessages => [BedrockConverse, OpenaiChat, OpenaiResponses, Gemini],
            Gemini => [OpenaiChat, OpenaiResponses, AnthropicMessages, BedrockConverse],
            BedrockConverse => [AnthropicMessages, OpenaiChat, OpenaiResponses, Gemini],
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is asked and in which format: the pair that decides how bytes are read. An upstream offers a set of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Surface {
    /// What is asked.
    pub operation: Operation,
    /// In which format.
    pub dialect: Dialect,
}

impl Surface {
    /// The pair.
    pub const fn new(operation: Operation, dialect: Dialect) -> Self {
        Self { operation, dialect }
    }
}

impl fmt::Display for Surface {
    /// `chat.openai_chat`, the key used in the provider catalog.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.operation, self.dialect)
    }
}
