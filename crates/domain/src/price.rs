//! What tokens cost.
//!
//! A [`Price`] is everything a provider may charge for a model; [`Rates`] is the row of it that applied to one call
//! (its service tier, its context length). The receipt keeps the rates, so that a later change of prices never
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
    /// The ordinary rates.
    pub rates: Rates,
    /// Rates of long prompts; they apply to the whole call.
    pub long_context: Option<LongContext>,
    /// Rates of service tiers other than the default, by the tier's name in the answer (`flex`, `priority`, `batch`).
    pub tiers: Vec<(String, Rates)>,
}

/// Rates that apply to a whole call once its prompt is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongContext {
    /// Prompts of more tokens than this are long.
    pub above: u64,
    /// Their rates.
    pub rates: Rates,
}

impl Price {
    /// A price without tiers.
    pub const fn flat(rates: Rates) -> Self {
        Self {
            rates,
            long_context: None,
            tiers: Vec::new(),
        }
    }

    /// The highest rates that any call could meet: what a hold must assume.
    pub fn ceiling(&self) -> Rates {
        let long = self.long_context.iter().map(|long| &long.rates);
        let tiers = self.tiers.iter().map(|(_, rates)| rates);
        long.chain(tiers).fold(self.rates, |a, b| Rates {
            input: a.input.max(b.input),
            output: a.output.max(b.output),
            cache_read: a.cache_read.max(b.cache_read),
            cache_write_5m: a.cache_write_5m.max(b.cache_write_5m),
            cache_write_1h: a.cache_write_1h.max(b.cache_write_1h),
            input_audio: a.input_audio.max(b.input_audio),
            output_audio: a.output_audio.max(b.output_audio),
            web_searches: a.web_searches.max(b.web_searches),
        })
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
