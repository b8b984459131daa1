//! Models, their list prices and limits.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::price::{Step, Tariff};
use crate::{Capabilities, Capability, Money, Price, Rates};

/// What is known of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// The provider whose list it stands in.
    pub provider: String,
    /// Its name there.
    pub name: String,
    /// Tokens that a prompt may have; 0 where not known.
    pub context: u64,
    /// Tokens that an answer may have; 0 where not known.
    pub max_output: u64,
    /// `chat`, `embedding` and the like, as the source says.
    pub mode: String,
    /// Whether it thinks before it answers.
    pub thinks: bool,
    /// What it can do besides, and what not.
    pub capabilities: Capabilities,
    /// Its list price; `None` where the source gives none.
    pub price: Option<Price>,
}

/// Every known model, found by provider and name, or by name alone.
#[derive(Debug, Default)]
pub struct ModelCatalog {
    /// Where the figures come from, and of which day.
    pub source: String,
    models: Vec<ModelFacts>,
    /// `provider/name` in lower case → index.
    by_name: HashMap<String, usize>,
}

/// What `models.toml` says before its blocks.
#[derive(Deserialize)]
struct Head {
    source: String,
}

/// One block of `models.toml`. Prices are strings of dollars per million tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: String,
    name: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    context: u64,
    #[serde(default)]
    max_output: u64,
    #[serde(default)]
    thinks: bool,
    #[serde(default)]
    can: Vec<Capability>,
    #[serde(default)]
    cannot: Vec<Capability>,
    #[serde(default)]
    price: Option<RatesRow>,
    #[serde(default)]
    steps: Vec<StepRow>,
    #[serde(default)]
    tiers: BTreeMap<String, RatesRow>,
    /// The steps of tiers that have some.
    #[serde(default)]
    tier_steps: BTreeMap<String, Vec<StepRow>>,
    /// A picture by quality and size.
    #[serde(default)]
    image_kinds: BTreeMap<String, Money>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepRow {
    above: u64,
    rates: RatesRow,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RatesRow {
    #[serde(default)]
    input: Money,
    #[serde(default)]
    output: Money,
    #[serde(default)]
    cache_read: Option<Money>,
    #[serde(default)]
    cache_write_5m: Option<Money>,
    #[serde(default)]
    cache_write_1h: Option<Money>,
    #[serde(default)]
    input_audio: Option<Money>,
    #[serde(default)]
    output_audio: Option<Money>,
    #[serde(default)]
    web_searches: Money,
    #[serde(default)]
    input_image: Option<Money>,
    #[serde(default)]
    output_image: Option<Money>,
    #[serde(default)]
    cache_read_audio: Option<Money>,
    #[serde(default)]
    cache_read_image: Option<Money>,
    #[serde(default)]
    images: Money,
    #[serde(default)]
    audio_minutes: Money,
    #[serde(default)]
    characters: Money,
    #[serde(default)]
    reranks: Money,
}

impl From<RatesRow> for Rates {
    fn from(row: RatesRow) -> Self {
        let cache_read = row.cache_read.unwrap_or(row.input);
        let cache_write_5m = row.cache_write_5m.unwrap_or(row.input);
        Self {
            input: row.input,
            output: row.output,
            cache_read,
            cache_write_5m,
            cache_write_1h: row.cache_write_1h.unwrap_or(cache_write_5m),
            input_audio: row.input_audio.unwrap_or(row.input),
            output_audio: row.output_audio.unwrap_or(row.output),
            web_searches: row.web_searches,
            input_image: row.input_image.unwrap_or(row.input),
            output_image: row.output_image.unwrap_or(row.output),
            cache_read_audio: row.cache_read_audio.unwrap_or(cache_read),
            cache_read_image: row.cache_read_image.unwrap_or(cache_read),
            images: row.images,
            audio_minutes: row.audio_minutes,
            characters: row.characters,
            reranks: row.reranks,
        }
    }
}

impl ModelCatalog {
    /// The table that is compiled in.
    pub(super) fn builtin() -> Self {
        const PARSED: &str = "models.toml is parsed in a test";
        // Block by block: a document of them all would take megabytes for a moment, and the allocator keeps them.
        let mut blocks = include_str!("models.toml").split("[[model]]");
        let head: Head = toml::from_str(blocks.next().unwrap_or_default()).expect(PARSED);
        let models: Vec<ModelFacts> = blocks
            .map(|block| facts(toml::from_str(block).expect(PARSED)))
            .collect();
        let by_name = models
            .iter()
            .enumerate()
            .map(|(at, facts)| (key(&facts.provider, &facts.name), at))
            .collect();
        Self {
            source: head.source,
            models,
            by_name,
        }
    }

    /// A model of a provider, by name in any case. A dated name (`gpt-4o-2024-08-06`) that is not listed itself is
    /// found under the name without the date.
    pub fn find(&self, provider: &str, model: &str) -> Option<&ModelFacts> {
        let exact = |name: &str| {
            self.by_name
                .get(&key(provider, name))
                .and_then(|at| self.models.get(*at))
        };
        exact(model).or_else(|| undated(model).and_then(exact))
    }

    /// Every model of a provider.
    pub fn of_provider<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = &'a ModelFacts> {
        self.models
            .iter()
            .filter(move |facts| facts.provider.eq_ignore_ascii_case(provider))
    }
}

fn key(provider: &str, model: &str) -> String {
    format!("{provider}/{model}").to_ascii_lowercase()
}

/// The name without a trailing `-2024-08-06`, `-20241022`, `-latest` or `@20241022`.
fn undated(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    let tail = model
        .rsplit_once(['-', '@'])
        .filter(|(_, date)| date.len() == 8 && is_digits(date));
    if let Some((name, _)) = tail {
        return Some(name);
    }
    let (rest, day) = model.rsplit_once('-')?;
    let (rest, month) = rest.rsplit_once('-')?;
    let (name, year) = rest.rsplit_once('-')?;
    let dated = day.len() == 2 && month.len() == 2 && year.len() == 4;
    (dated && [day, month, year].into_iter().all(is_digits)).then_some(name)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn facts(row: Row) -> ModelFacts {
    let mut tier_steps = row.tier_steps;
    let price = row.price.map(|rates| Price {
        ordinary: tariff(rates, row.steps),
        tiers: row
            .tiers
            .into_iter()
            .map(|(tier, rates)| {
                let steps = tier_steps.remove(&tier).unwrap_or_default();
                (tier, tariff(rates, steps))
            })
            .collect(),
        image_kinds: row.image_kinds.into_iter().collect(),
    });
    ModelFacts {
        provider: row.provider,
        name: row.name,
        context: row.context,
        max_output: row.max_output,
        mode: row.mode,
        thinks: row.thinks,
        capabilities: Capabilities {
            can: row.can.into_iter().collect(),
            cannot: row.cannot.into_iter().collect(),
        },
        price,
    }
}

fn tariff(rates: RatesRow, steps: Vec<StepRow>) -> Tariff {
    Tariff {
        rates: rates.into(),
        steps: steps
            .into_iter()
            .map(|step| Step {
                above: step.above,
                rates: step.rates.into(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::undated;

    #[test]
    fn a_date_is_taken_off_a_name() {
        assert_eq!(undated("gpt-4o-2024-08-06"), Some("gpt-4o"));
        assert_eq!(undated("claude-3-opus-20240229"), Some("claude-3-opus"));
        assert_eq!(undated("claude-3-5-haiku-latest"), Some("claude-3-5-haiku"));
        assert_eq!(undated("gpt-4o-mini"), None);
        assert_eq!(undated("o3"), None);
    }
}
