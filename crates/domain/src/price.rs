//! What tokens cost.
//!
//! A [`Price`] is everything a provider may charge for a model: a [`Tariff`] for each service tier, and in it [`Rates`]
//! for each length of prompt. One row of rates applies to a call. The receipt keeps the rates, so that a later change of prices never
//! rewrites the past.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Money;
use crate::money::nanos;

/// Dollars per million tokens, by bucket of [`crate::Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Uncached prompt tokens.
    #[serde(with = "nanos")]
    pub input: Money,
    /// Generated tokens.
    #[serde(with = "nanos")]
    pub output: Money,
    /// Prompt tokens read from the cache.
    #[serde(with = "nanos")]
    pub cache_read: Money,
    /// Prompt tokens written to the five-minute cache.
    #[serde(with = "nanos")]
    pub cache_write_5m: Money,
    /// Prompt tokens written to the one-hour cache.
    #[serde(with = "nanos")]
    pub cache_write_1h: Money,
    /// Audio among the prompt tokens.
    #[serde(with = "nanos")]
    pub input_audio: Money,
    /// Audio among the generated tokens.
    #[serde(with = "nanos")]
    pub output_audio: Money,
    /// A thousand searches run by the provider.
    #[serde(with = "nanos")]
    pub web_searches: Money,
    /// Pictures among the prompt tokens.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub input_image: Money,
    /// Pictures among the generated tokens.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub output_image: Money,
    /// Audio among the prompt tokens read from the cache.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub cache_read_audio: Money,
    /// Pictures among the prompt tokens read from the cache.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub cache_read_image: Money,
    /// One generated picture, where pictures and not their tokens are billed.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub images: Money,
    /// A minute of audio that is listened to.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub audio_minutes: Money,
    /// A million characters read aloud.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub characters: Money,
    /// A thousand queries of a reranking.
    #[serde(with = "nanos", default, skip_serializing_if = "is_zero")]
    pub reranks: Money,
}

/// Receipts of chats do not name what only pictures and sounds have.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(amount: &Money) -> bool {
    *amount == Money::ZERO
}

impl Rates {
    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// Whether tokens of any kind cost something.
    pub fn has_tokens(&self) -> bool {
        let tokens = [
            self.input,
            self.output,
            self.input_audio,
            self.output_audio,
            self.input_image,
            self.output_image,
        ];
        tokens.into_iter().any(|rate| !rate.is_spent())
    }

    /// The same row with nothing for what is counted by the piece.
    #[must_use]
    pub const fn without_units(self) -> Self {
        Self {
            images: Money::ZERO,
            audio_minutes: Money::ZERO,
            characters: Money::ZERO,
            reranks: Money::ZERO,
            ..self
        }
    }
}

/// Everything that a model may cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// What the default service tier costs.
    pub ordinary: Tariff,
    /// What other service tiers cost, by the tier's name in the answer (`flex`, `priority`, `batch`).
    pub tiers: Vec<(String, Tariff)>,
    /// What a picture of a quality and size costs, where that differs: by `hd/1024x1792`, `hd` or `1024x1792`.
    pub image_kinds: Vec<(String, Money)>,
}

/// What one service tier costs, by the length of the prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tariff {
    /// The rates of short prompts.
    pub rates: Rates,
    /// The rates of longer ones, in ascending order. A step prices the whole call, not only what lies above it.
    pub steps: Vec<Step>,
}

/// Rates that apply to a whole call once its prompt is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Prompts of more tokens than this reach the step.
    pub above: u64,
    /// Their rates.
    pub rates: Rates,
}

impl Price {
    /// A price that is the same for every tier and every length.
    pub const fn flat(rates: Rates) -> Self {
        Self {
            ordinary: Tariff::flat(rates),
            tiers: Vec::new(),
            image_kinds: Vec::new(),
        }
    }

    /// What a picture of this quality and size costs: by both, else by the size, else by the quality, else as `ordinary`
    /// says. Where neither is known and `ordinary` has no price, the dearest: a picture is never free by an omission.
    pub fn image(&self, quality: Option<&str>, size: Option<&str>, ordinary: Money) -> Money {
        let listed = |kind: &str| {
            let found = self
                .image_kinds
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(kind));
            found.map(|(_, each)| *each)
        };
        let both = quality
            .zip(size)
            .and_then(|(quality, size)| listed(&format!("{quality}/{size}")));
        both.or_else(|| size.and_then(listed))
            .or_else(|| quality.and_then(listed))
            .or((ordinary != Money::ZERO).then_some(ordinary))
            .unwrap_or_else(|| self.dearest_image(ordinary))
    }

    /// The most that a picture can cost.
    pub fn dearest_image(&self, ordinary: Money) -> Money {
        self.image_kinds
            .iter()
            .fold(ordinary, |most, (_, each)| most.max(*each))
    }

    /// The tariff of a service tier. One that the price does not know (`default`, `standard`) is the ordinary one.
    pub fn tariff(&self, service_tier: Option<&str>) -> &Tariff {
        let Some(named) = service_tier else {
            return &self.ordinary;
        };
        let found = self.tiers.iter().find(|(tier, _)| tier.eq_ignore_ascii_case(named));
        found.map_or(&self.ordinary, |(_, tariff)| tariff)
    }

    /// The price of calls that are all served by one tier.
    #[must_use]
    pub fn of_tier(&self, service_tier: &str) -> Self {
        Self {
            ordinary: self.tariff(Some(service_tier)).clone(),
            tiers: Vec::new(),
            image_kinds: self.image_kinds.clone(),
        }
    }

    /// Every tariff.
    pub fn tariffs(&self) -> impl Iterator<Item = &Tariff> {
        std::iter::once(&self.ordinary).chain(self.tiers.iter().map(|(_, tariff)| tariff))
    }
}

impl Tariff {
    /// The same rates for every length.
    pub const fn flat(rates: Rates) -> Self {
        Self {
            rates,
            steps: Vec::new(),
        }
    }

    /// The rates of a prompt of this many tokens: those of the highest step that it reaches.
    pub fn at(&self, prompt: u64) -> &Rates {
        let mut rates = &self.rates;
        for step in self.steps.iter().take_while(|step| prompt > step.above) {
            rates = &step.rates;
        }
        rates
    }

    /// The rates that prompts of at most this many tokens can meet.
    pub fn up_to(&self, prompt: u64) -> impl Iterator<Item = &Rates> {
        let reached = self.steps.iter().take_while(move |step| prompt > step.above);
        std::iter::once(&self.rates).chain(reached.map(|step| &step.rates))
    }
}

/// A price as people declare it: dollars per million tokens. A bucket of tokens that is left out costs what the nearest one
/// costs, never nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceDecl {
    /// Uncached prompt tokens.
    pub input: Money,
    /// Generated tokens; nothing where left out (embeddings have none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Money>,
    /// Default: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Money>,
    /// Default: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_5m: Option<Money>,
    /// Default: as `cache_write_5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Money>,
    /// Default: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<Money>,
    /// Default: as `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio: Option<Money>,
    /// A thousand searches run by the provider. Default: free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_searches: Option<Money>,
    /// Tokens of pictures in the prompt. Default: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_image: Option<Money>,
    /// Tokens of generated pictures. Default: as `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_image: Option<Money>,
    /// Audio tokens read from the cache. Default: as `cache_read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_audio: Option<Money>,
    /// Tokens of pictures read from the cache. Default: as `cache_read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_image: Option<Money>,
    /// One generated picture, for models that bill pictures and not tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Money>,
    /// One picture by quality and size (`hd/1024x1792`, `hd`, `1024x1792`), where that differs from `images`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_kinds: BTreeMap<String, Money>,
    /// A minute of transcribed audio, for models that bill its length and not tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_minutes: Option<Money>,
    /// A million characters read aloud, for models that bill them and not tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub characters: Option<Money>,
    /// A thousand queries of a reranking, for models that bill them and not tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reranks: Option<Money>,
}

impl PriceDecl {
    /// The same for every tier and every length.
    pub fn price(&self) -> Price {
        let kinds = self.image_kinds.iter();
        Price {
            image_kinds: kinds.map(|(kind, each)| (kind.clone(), *each)).collect(),
            ..Price::flat(Rates::from(self))
        }
    }
}

impl From<&PriceDecl> for Rates {
    fn from(decl: &PriceDecl) -> Self {
        let output = decl.output.unwrap_or_default();
        let cache_read = decl.cache_read.unwrap_or(decl.input);
        let cache_write_5m = decl.cache_write_5m.unwrap_or(decl.input);
        Self {
            input: decl.input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h: decl.cache_write_1h.unwrap_or(cache_write_5m),
            input_audio: decl.input_audio.unwrap_or(decl.input),
            output_audio: decl.output_audio.unwrap_or(output),
            web_searches: decl.web_searches.unwrap_or_default(),
            input_image: decl.input_image.unwrap_or(decl.input),
            output_image: decl.output_image.unwrap_or(output),
            cache_read_audio: decl.cache_read_audio.unwrap_or(cache_read),
            cache_read_image: decl.cache_read_image.unwrap_or(cache_read),
            images: decl.images.unwrap_or_default(),
            audio_minutes: decl.audio_minutes.unwrap_or_default(),
            characters: decl.characters.unwrap_or_default(),
            reranks: decl.reranks.unwrap_or_default(),
        }
    }
}
