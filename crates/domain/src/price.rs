//! What tokens cost.
//!
//! A [`Price`] is everything a provider may charge for a model: a [`Tariff`] for each service tier, and in it [`Rates`]
//! for each length of prompt. One row of rates applies to a call. The receipt keeps the rates, so that a later change of prices never
//! rewrites the past.

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
}

impl Rates {
    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything that a model may cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// What the default service tier costs.
    pub ordinary: Tariff,
    /// What other service tiers cost, by the tier's name in the answer (`flex`, `priority`, `batch`).
    pub tiers: Vec<(String, Tariff)>,
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
        }
    }

    /// The tariff of a service tier. One that the price does not know (`default`, `standard`) is the ordinary one.
    pub fn tariff(&self, service_tier: Option<&str>) -> &Tariff {
        let Some(named) = service_tier else {
            return &self.ordinary;
        };
        let found = self.tiers.iter().find(|(tier, _)| tier.eq_ignore_ascii_case(named));
        found.map_or(&self.ordinary, |(_, tariff)| tariff)
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

/// A price as people declare it: dollars per million tokens. What is left out costs what the nearest bucket costs,
/// never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
}

impl From<PriceDecl> for Rates {
    fn from(decl: PriceDecl) -> Self {
        let output = decl.output.unwrap_or_default();
        let cache_write_5m = decl.cache_write_5m.unwrap_or(decl.input);
        Self {
            input: decl.input,
            output,
            cache_read: decl.cache_read.unwrap_or(decl.input),
            cache_write_5m,
            cache_write_1h: decl.cache_write_1h.unwrap_or(cache_write_5m),
            input_audio: decl.input_audio.unwrap_or(decl.input),
            output_audio: decl.output_audio.unwrap_or(output),
            web_searches: decl.web_searches.unwrap_or_default(),
        }
    }
}
