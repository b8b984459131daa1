//! What a call consumed, in one normal form.
//!
//! Providers disagree on whether cached tokens are part of the prompt and whether reasoning is part of the output
//! (`OpenAI` includes both, Anthropic excludes the cache, Gemini excludes thoughts). Decoders settle that once; from
//! here on the buckets are disjoint, except the `of which` ones that say so.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Tokens and other units of one call. All buckets are disjoint unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Prompt tokens that were neither read from nor written to a cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub input: u64,
    /// Prompt tokens read from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Prompt tokens written to a cache that lives five minutes (or whose life the provider does not say).
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_5m: u64,
    /// Prompt tokens written to a cache that lives an hour.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_1h: u64,
    /// Tokens generated, reasoning included.
    #[serde(skip_serializing_if = "is_zero")]
    pub output: u64,
    /// Of `output`: reasoning that the client may not see.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Of `input`: audio tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_audio: u64,
    /// Of `output`: audio tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_audio: u64,
    /// Searches that the provider ran for the model and bills by the piece.
    #[serde(skip_serializing_if = "is_zero")]
    pub web_searches: u64,
    /// Of `input`: tokens of pictures.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_image: u64,
    /// Of `output`: tokens of pictures.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_image: u64,
    /// Of `cache_read`: audio tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read_audio: u64,
    /// Of `cache_read`: tokens of pictures.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read_image: u64,
    /// Pictures generated.
    #[serde(skip_serializing_if = "is_zero")]
    pub images: u64,
    /// Milliseconds of audio that was listened to, where its length is what is billed.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_ms: u64,
    /// Characters read aloud, where they are what is billed.
    #[serde(skip_serializing_if = "is_zero")]
    pub characters: u64,
    /// Queries of a reranking, where they are what is billed.
    #[serde(skip_serializing_if = "is_zero")]
    pub reranks: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// All prompt tokens, however they were cached.
    pub const fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Prompt and output together.
    pub const fn total(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }

    /// Whether anything was consumed that is counted by the piece and not in tokens. Searches of a chat are beside its
    /// tokens and do not count here.
    pub const fn has_units(&self) -> bool {
        self.images | self.audio_ms | self.characters | self.reranks != 0
    }

    /// Whether nothing at all was consumed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.cache_read += other.cache_read;
        self.cache_write_5m += other.cache_write_5m;
        self.cache_write_1h += other.cache_write_1h;
        self.output += other.output;
        self.reasoning += other.reasoning;
        self.input_audio += other.input_audio;
        self.output_audio += other.output_audio;
        self.web_searches += other.web_searches;
        self.input_image += other.input_image;
        self.output_image += other.output_image;
        self.cache_read_audio += other.cache_read_audio;
        self.cache_read_image += other.cache_read_image;
        self.images += other.images;
        self.audio_ms += other.audio_ms;
        self.characters += other.characters;
        self.reranks += other.reranks;
    }
}
