//! What is asked of a model.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked. A closed set; each is routed, metered and priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A conversation, in any dialect.
    Chat,
    /// The legacy `OpenAI` text completion.
    Completions,
    /// Vectors for texts.
    Embeddings,
    /// How many tokens a request would have.
    CountTokens,
    /// A conversation over a WebSocket, in speech and text; each response is metered by itself.
    Realtime,
    /// Any other provider path, for keys with `passthrough: true`; not metered.
    Passthrough,
}

impl Operation {
    /// Every operation, in the order of the declaration.
    pub const ALL: [Self; 6] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::CountTokens,
        Self::Realtime,
        Self::Passthrough,
    ];

    /// The name in configuration, JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::CountTokens => "count_tokens",
            Self::Realtime => "realtime",
            Self::Passthrough => "passthrough",
        }
    }

    /// Whether a 2xx answer to it costs money. Counting tokens is free at every provider.
    pub const fn is_billed(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Embeddings | Self::Realtime)
    }

    /// Whether a request for it can be told in another format than the client's.
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::Chat | Self::Embeddings | Self::CountTokens)
    }

    /// Whether the model generates text, so that the output needs a bound and an estimate.
    pub const fn generates(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Realtime)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
