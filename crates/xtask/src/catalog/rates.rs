//! Prices as the source writes them, turned into ours: exactly, or not at all.
//!
//! The source has a flat key per bucket, step and tier (`input_cost_per_token_above_200k_tokens`); ours are rows of
//! buckets. A row that misses a bucket which the ordinary row has would be charged by the nearest bucket, which is wrong
//! by a factor for caches; such a bucket is filled in proportion to the nearest one that both rows have. In the same way
//! a tier that the source lists for short prompts only gets the steps of the ordinary tariff in proportion: a long call
//! at the short rate would be given away.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, ensure};
use serde_json::value::RawValue;

use super::Entry;

/// Nano-dollars per million tokens (of searches: per thousand).
type Nanos = i128;

/// Our bucket, the source's key, and the bucket that is nearest in price.
const BUCKETS: &[(&str, &str, &str)] = &[
    ("input", "input_cost_per_token", "input"),
    ("output", "output_cost_per_token", "input"),
    ("cache_read", "cache_read_input_token_cost", "input"),
    ("cache_write_5m", "cache_creation_input_token_cost", "input"),
    (
        "cache_write_1h",
        "cache_creation_input_token_cost_above_1hr",
        "cache_write_5m",
    ),
    ("input_audio", "input_cost_per_audio_token", "input"),
    ("output_audio", "output_cost_per_audio_token", "output"),
    ("input_image", "input_cost_per_image_token", "input"),
    ("output_image", "output_cost_per_image_token", "output"),
    ("cache_read_audio", "cache_read_input_audio_token_cost", "cache_read"),
    ("cache_read_image", "cache_read_input_image_token_cost", "cache_read"),
];
const SEARCHES: &str = "web_searches";

/// What is billed by the piece: ours, the source's key, the mode in which it means that, and how many of the source's
/// units are one of ours, as a factor and a power of ten. Speech that is billed by tokens has a price per second too, which
/// is the same price said again.
const PIECES: &[(&str, &str, &str, Nanos, i32)] = &[
    ("images", "input_cost_per_image", "image_generation", 1, 9),
    ("images", "output_cost_per_image", "image_generation", 1, 9),
    ("audio_minutes", "input_cost_per_second", "audio_transcription", 60, 9),
    ("characters", "input_cost_per_character", "audio_speech", 1, TOKENS),
    ("reranks", "input_cost_per_query", "rerank", 1, SEARCHES_EACH),
];
const PIECE_NAMES: [&str; 4] = ["images", "audio_minutes", "characters", "reranks"];

/// Our name of a service tier, and the source's ending for it.
const TIERS: &[(&str, &str)] = &[("batch", "_batches"), ("flex", "_flex"), ("priority", "_priority")];

/// From one token to a million, in nano-dollars.
const TOKENS: i32 = 6 + 9;
/// From one search to a thousand, in nano-dollars.
const SEARCHES_EACH: i32 = 3 + 9;

/// Providers whose step begins with the very token that its key names; for the others it begins after it. The source
/// says it in its code, not in its file.
const STEPS_INCLUSIVE: &[&str] = &["xai"];

/// Everything that one model costs.
#[derive(Debug)]
pub(super) struct Price {
    pub ordinary: Tariff,
    pub tiers: Vec<(&'static str, Tariff)>,
}

/// What one service tier costs, by the length of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tariff {
    pub rates: Rates,
    pub steps: Vec<Step>,
}

/// Rates of prompts longer than `above` tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub above: u64,
    pub rates: Rates,
}

/// One row of prices by bucket; has `input` unless only pieces are billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rates(BTreeMap<&'static str, Nanos>);

impl Price {
    /// What one picture costs, in dollars.
    pub(super) fn of_image(entry: &Entry) -> anyhow::Result<Option<String>> {
        Ok(pieces(entry)?.get("images").map(|nanos| decimal(*nanos)))
    }

    /// The price of an entry; `None` where it has none.
    pub(super) fn of(entry: &Entry) -> anyhow::Result<Option<Self>> {
        if entry.raw("tiered_pricing").is_some() {
            let tiers = Vec::new();
            return Ok(ranged(entry)?.map(|ordinary| Self { ordinary, tiers }));
        }
        let pieces = pieces(entry)?;
        let Some(mut rates) = Rates::of(entry, "")?.or_else(|| (!pieces.is_empty()).then(|| Rates(BTreeMap::new())))
        else {
            return Ok(None);
        };
        rates.0.extend(pieces);
        if let Some(each) = search(entry)? {
            rates.0.insert(SEARCHES, each);
        }
        let mut steps = Vec::new();
        for (above, ending) in thresholds(entry) {
            if let Some(row) = Rates::of(entry, &ending)? {
                let rates = row.completed(&rates);
                steps.push(Step { above, rates });
            }
        }
        let ordinary = Tariff { rates, steps };
        let mut tiers = Vec::new();
        for (tier, ending) in TIERS {
            if let Some(tariff) = tier_tariff(entry, ending, &ordinary)?.filter(|tariff| *tariff != ordinary) {
                tiers.push((*tier, tariff));
            }
        }
        Ok(Some(Self { ordinary, tiers }))
    }
}

impl Rates {
    fn of(entry: &Entry, ending: &str) -> anyhow::Result<Option<Self>> {
        let mut row = BTreeMap::new();
        for (bucket, key, _) in BUCKETS {
            let key = format!("{key}{ending}");
            if let Some(text) = entry.raw(&key) {
                row.insert(*bucket, scaled(text, TOKENS).context(key)?);
            }
        }
        Ok(Self::checked(row))
    }

    /// Drops what says nothing: a row without an input price, an output that costs nothing, and cache writes at zero,
    /// with which the source means that the provider has no such bucket.
    fn checked(mut row: BTreeMap<&'static str, Nanos>) -> Option<Self> {
        row.contains_key("input").then(|| {
            row.retain(|bucket, nanos| *nanos != 0 || !["output", "cache_write_5m", "cache_write_1h"].contains(bucket));
            Self(row)
        })
    }

    /// With the buckets of the ordinary row that this one misses.
    fn completed(mut self, ordinary: &Self) -> Self {
        for (bucket, _, nearest) in BUCKETS {
            let Some(price) = ordinary.0.get(bucket).filter(|_| !self.0.contains_key(bucket)) else {
                continue;
            };
            let ratio = self
                .0
                .get(nearest)
                .zip(ordinary.0.get(nearest))
                .filter(|(_, base)| **base != 0);
            let exact = ratio
                .filter(|(ours, base)| price * **ours % **base == 0)
                .map(|(ours, base)| price * ours / base);
            self.0.insert(bucket, exact.unwrap_or(*price));
        }
        for name in PIECE_NAMES.into_iter().chain([SEARCHES]) {
            if let Some(each) = ordinary.0.get(name) {
                self.0.insert(name, *each);
            }
        }
        self
    }
    /// This row, as much dearer or cheaper in every bucket as `longer` is than `shorter`; where that is not exact, the
    /// bucket of `longer`.
    fn in_proportion(&self, longer: &Self, shorter: &Self) -> Self {
        let scaled = longer.0.iter().map(|(bucket, price)| {
            let (ours, base) = (self.0.get(bucket), shorter.0.get(bucket));
            let exact = ours
                .zip(base)
                .filter(|(ours, base)| **base != 0 && *ours * price % **base == 0)
                .map(|(ours, base)| ours * price / base);
            (*bucket, exact.unwrap_or(*price))
        });
        Self(scaled.collect())
    }
}

impl fmt::Display for Rates {
    /// An inline table of TOML, in the order of [`BUCKETS`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = BUCKETS
            .iter()
            .map(|(bucket, ..)| *bucket)
            .chain([SEARCHES])
            .chain(PIECE_NAMES);
        let cells: Vec<String> = order
            .filter_map(|bucket| {
                self.0
                    .get(bucket)
                    .map(|nanos| format!("{bucket} = \"{}\"", decimal(*nanos)))
            })
            .collect();
        write!(f, "{{ {} }}", cells.join(", "))
    }
}

/// What is billed by the piece.
fn pieces(entry: &Entry) -> anyhow::Result<BTreeMap<&'static str, Nanos>> {
    let mut found = BTreeMap::new();
    for (name, key, mode, factor, shift) in PIECES {
        if let Some(text) = entry.raw(key).filter(|_| entry.text("mode") == Some(mode)) {
            // The factor goes in before the digits are cut off: a minute of what is rounded per second may be exact.
            let wide = scaled(text, shift + 6).with_context(|| (*key).to_owned())? * factor;
            ensure!(wide % 1_000_000 == 0, "{key}: {text} is not exact in nano-dollars");
            if wide > 0 {
                found.insert(*name, wide / 1_000_000);
            }
        }
    }
    Ok(found)
}

/// The tariff of a tier, with the steps of the ordinary one.
fn tier_tariff(entry: &Entry, ending: &str, ordinary: &Tariff) -> anyhow::Result<Option<Tariff>> {
    let Some(rates) = Rates::of(entry, ending)?.map(|row| row.completed(&ordinary.rates)) else {
        return Ok(None);
    };
    let listed = thresholds(entry);
    let mut steps = Vec::new();
    for step in &ordinary.steps {
        let row = match listed.get(&step.above) {
            Some(threshold) => Rates::of(entry, &format!("{threshold}{ending}"))?,
            None => None,
        };
        steps.push(Step {
            above: step.above,
            rates: row.map_or_else(
                || rates.in_proportion(&step.rates, &ordinary.rates),
                |row| row.completed(&step.rates),
            ),
        });
    }
    Ok(Some(Tariff { rates, steps }))
}

/// The steps of a price by prompt length, and the endings of their keys: 200000 → `_above_200k_tokens`.
fn thresholds(entry: &Entry) -> BTreeMap<u64, String> {
    let inclusive = entry
        .text("litellm_provider")
        .is_some_and(|provider| STEPS_INCLUSIVE.contains(&provider));
    let steps = entry.keys().filter_map(|key| {
        let thousands = key
            .strip_prefix("input_cost_per_token_above_")?
            .strip_suffix("k_tokens")?;
        let first = thousands.parse::<u64>().ok()? * 1000;
        Some((first - u64::from(inclusive), format!("_above_{thousands}k_tokens")))
    });
    steps.collect()
}

/// A price written as a list of ranges, each of which begins where the one before ends.
fn ranged(entry: &Entry) -> anyhow::Result<Option<Tariff>> {
    let ranges: Vec<Entry> = serde_json::from_str(entry.raw("tiered_pricing").unwrap_or("[]"))?;
    let mut tariff: Option<Tariff> = None;
    let mut end = 0;
    for range in &ranges {
        let [from, to] = ends(range)?;
        ensure!(from == end, "the range from {from} does not begin at {end}");
        end = to;
        let row = Rates::of(range, "")?.with_context(|| format!("the range from {from} has no price"))?;
        match &mut tariff {
            None => {
                let steps = Vec::new();
                tariff = Some(Tariff { rates: row, steps });
            }
            Some(tariff) => {
                let rates = row.completed(&tariff.rates);
                tariff.steps.push(Step { above: from, rates });
            }
        }
    }
    Ok(tariff)
}

/// The two ends of a range, in tokens.
fn ends(range: &Entry) -> anyhow::Result<[u64; 2]> {
    let ends: [Box<RawValue>; 2] = serde_json::from_str(range.raw("range").context("a range without its ends")?)?;
    let tokens = |end: &RawValue| anyhow::Ok(u64::try_from(scaled(end.get(), 0)?)?);
    Ok([tokens(&ends[0])?, tokens(&ends[1])?])
}

/// A thousand searches, where the source has one price for all sizes.
fn search(entry: &Entry) -> anyhow::Result<Option<Nanos>> {
    let Some(text) = entry.raw("search_context_cost_per_query") else {
        return Ok(None);
    };
    let sizes: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
    let prices = sizes
        .values()
        .map(|size| scaled(size.get(), SEARCHES_EACH))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(prices
        .first()
        .filter(|first| prices.iter().all(|price| price == *first))
        .copied())
}

/// A JSON number times ten to the `shift`, which must come out whole.
fn scaled(text: &str, shift: i32) -> anyhow::Result<Nanos> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Nanos = format!("{whole}{fraction}")
        .parse()
        .with_context(|| format!("`{text}` is not a number"))?;
    let shift = exponent.parse::<i32>()? + shift - i32::try_from(fraction.len())?;
    ensure!(digits >= 0, "{text} is negative");
    let factor = 10_i128
        .checked_pow(shift.unsigned_abs())
        .with_context(|| format!("{text} is out of range"))?;
    if shift < 0 {
        ensure!(digits % factor == 0, "{text} is not exact in nano-dollars");
        return Ok(digits / factor);
    }
    digits
        .checked_mul(factor)
        .with_context(|| format!("{text} is out of range"))
}

fn decimal(nanos: Nanos) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(json: &str) -> Option<Price> {
        Price::of(&serde_json::from_str(json).unwrap()).unwrap()
    }

    /// The ordinary rates of the first tier.
    fn first_tier(json: &str) -> String {
        price(json).unwrap().tiers[0].1.rates.to_string()
    }

    #[test]
    fn numbers_are_read_exactly() {
        for (text, dollars) in [
            ("1.25e-06", "1.25"),
            ("3e-06", "3"),
            ("0.0001", "100"),
            ("0", "0"),
            ("0.0", "0"),
            ("2e-8", "0.02"),
            ("1.5E-5", "15"),
            ("2.8e-09", "0.0028"),
            ("1e-15", "0.000000001"),
        ] {
            assert_eq!(decimal(scaled(text, TOKENS).unwrap()), dollars, "{text}");
        }
    }

    #[test]
    fn numbers_that_are_not_exact_or_not_numbers_are_refused() {
        for text in ["1.142857142857143e-07", "1e-16", "-1e-06", "\"1\"", "", "1e99"] {
            assert!(scaled(text, TOKENS).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tier_without_a_bucket_gets_it_in_proportion() {
        let tier = first_tier(
            r#"{"input_cost_per_token": 4e-06, "cache_read_input_token_cost": 4e-07,
                "input_cost_per_token_priority": 8e-06}"#,
        );
        assert_eq!(tier, r#"{ input = "8", cache_read = "0.8" }"#);
    }

    #[test]
    fn a_proportion_that_is_not_exact_falls_back_to_the_ordinary_price() {
        let tier = first_tier(
            r#"{"input_cost_per_token": 3e-06, "cache_read_input_token_cost": 1e-07,
                "input_cost_per_token_flex": 1e-06}"#,
        );
        assert_eq!(tier, r#"{ input = "1", cache_read = "0.1" }"#);
    }

    #[test]
    fn a_cache_that_is_written_for_nothing_is_no_bucket() {
        let price = price(r#"{"input_cost_per_token": 2.8e-07, "cache_creation_input_token_cost": 0.0}"#).unwrap();
        assert_eq!(price.ordinary.rates.to_string(), r#"{ input = "0.28" }"#);
    }

    #[test]
    fn searches_have_a_price_where_all_sizes_cost_the_same() {
        let one = |high: &str| {
            price(&format!(
                r#"{{"input_cost_per_token": 1e-06, "search_context_cost_per_query": {{"low": 0.025, "high": {high}}}}}"#
            ))
        };
        assert_eq!(
            one("0.025").unwrap().ordinary.rates.to_string(),
            r#"{ input = "1", web_searches = "25" }"#
        );
        assert_eq!(one("0.03").unwrap().ordinary.rates.to_string(), r#"{ input = "1" }"#);
    }

    #[test]
    fn ranges_are_the_ordinary_rates_and_their_steps() {
        let range = |from: u64, to: u64| format!(r#"{{"range": [{from}, {to}.0], "input_cost_per_token": {to}e-12}}"#);
        let of = |ranges: &[String]| {
            let json = format!(r#"{{"tiered_pricing": [{}]}}"#, ranges.join(","));
            Price::of(&serde_json::from_str(&json).unwrap())
        };
        let price = of(&[range(0, 32_000), range(32_000, 128_000), range(128_000, 1_000_000)]);
        let tariff = price.unwrap().unwrap().ordinary;
        assert_eq!(tariff.rates.to_string(), r#"{ input = "0.032" }"#);
        let steps: Vec<_> = tariff
            .steps
            .iter()
            .map(|step| (step.above, step.rates.to_string()))
            .collect();
        assert_eq!(
            steps,
            [
                (32_000, r#"{ input = "0.128" }"#.to_owned()),
                (128_000, r#"{ input = "1" }"#.to_owned())
            ]
        );
        assert!(of(&[range(0, 1), range(2, 3)]).is_err(), "a gap has no price");
        assert!(of(&[]).unwrap().is_none());
    }

    /// The price of a model with a step at 200,000 tokens, and `more`.
    fn long(more: &str) -> Price {
        price(&format!(
            r#"{{"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06,
                "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 6e-06,
                "input_cost_per_token_flex": 5e-07, "output_cost_per_token_flex": 2e-06, {more}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_tier_has_its_own_steps() {
        let price = long(
            r#""input_cost_per_token_above_200k_tokens_flex": 7e-07, "output_cost_per_token_above_200k_tokens_flex": 8e-07"#,
        );
        let step = &price.tiers[0].1.steps[0];
        assert_eq!(
            (step.above, step.rates.to_string().as_str()),
            (200_000, r#"{ input = "0.7", output = "0.8" }"#)
        );
    }

    #[test]
    fn a_tier_without_a_listed_step_gets_it_in_proportion() {
        let price = long(r#""litellm_provider": "gemini""#);
        let step = &price.tiers[0].1.steps[0];
        assert_eq!(
            (step.above, step.rates.to_string().as_str()),
            (200_000, r#"{ input = "1", output = "3" }"#)
        );
    }

    #[test]
    fn a_step_of_xai_begins_with_the_token_that_it_names() {
        let price = long(r#""litellm_provider": "xai""#);
        assert_eq!(
            (price.ordinary.steps[0].above, price.tiers[0].1.steps[0].above),
            (199_999, 199_999)
        );
    }

    #[test]
    fn no_input_price_is_no_price() {
        assert!(price(r#"{"output_cost_per_token": 1e-06}"#).is_none());
    }
}
