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
    /// A conversation made shorter (`OpenAI` Responses).
    Compact,
    /// A conversation over a WebSocket, in speech and text; each response is metered by itself.
    Realtime,
    /// Any other provider path, for keys with `passthrough: true`; not metered.
    Passthrough,
    /// Pictures from a text.
    ImageGenerations,
    /// Pictures from pictures and a text.
    ImageEdits,
    /// Pictures like another one.
    ImageVariations,
    /// A text, read aloud.
    Speech,
    /// Speech as text.
    Transcriptions,
    /// Speech as English text.
    Translations,
    /// Whether a text is harmful.
    Moderations,
    /// Texts in the order of how well they answer a query.
    Rerank,
}

impl Operation {
    /// Every operation, in the order of the declaration.
    pub const ALL: [Self; 15] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::CountTokens,
        Self::Compact,
        Self::Realtime,
        Self::Passthrough,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
        Self::Moderations,
        Self::Rerank,
    ];

    /// The name in configuration, JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::CountTokens => "count_tokens",
            Self::ImageGenerations => "image_generations",
            Self::ImageEdits => "image_edits",
            Self::ImageVariations => "image_variations",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::Compact => "compact",
            Self::Realtime => "realtime",
            Self::Passthrough => "passthrough",
        }
    }

    /// Whether a 2xx answer to it costs money. Counting tokens and moderation are free at every provider.
    pub const fn is_billed(self) -> bool {
        !matches!(self, Self::CountTokens | Self::Moderations | Self::Passthrough)
    }

    /// Whether it is one of the tasks that `OpenAI`'s classic API has beside text: pictures, sounds, moderation, ranking.
    /// They pass through in their one format, may come as forms with files, and may be billed by the piece.
    pub const fn is_task(self) -> bool {
        self.makes_images() || self.hears() || matches!(self, Self::Speech | Self::Moderations | Self::Rerank)
    }

    /// Whether the answer is pictures.
    pub const fn makes_images(self) -> bool {
        matches!(self, Self::ImageGenerations | Self::ImageEdits | Self::ImageVariations)
    }

    /// Whether it listens to a recording.
    pub const fn hears(self) -> bool {
        matches!(self, Self::Transcriptions | Self::Translations)
    }

    /// The model that is meant where the request names none, as the API documents it.
    pub const fn default_model(self) -> Option<&'static str> {
        match self {
            Self::Moderations => Some("omni-moderation-latest"),
            _ => None,
        }
    }

    /// Whether a request for it can be told in another format than the client's.
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::Chat | Self::Embeddings | Self::CountTokens)
    }

    /// Whether the model generates text, so that the output needs a bound and an estimate.
    pub const fn generates(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Compact | Self::Realtime)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
