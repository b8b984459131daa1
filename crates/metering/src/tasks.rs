//! Pictures, sounds and rankings: what they may cost, and in which unit they are paid.
//!
//! The same task is billed by tokens at one provider and by the piece at another. The rule: tokens that were reported and
//! have a price are paid as tokens; else the pieces are, as reported or as asked for; what has neither is `unpriced`. A
//! receipt never has both, so that its usage times its rates is always its cost.

use domain::{Ending, Money, Operation, Price, Rates, Units, Usage, UsageSource};

use crate::charge::Facts;
use crate::estimate::{OUTPUT_ASSUMED, dearest, input_bound, input_tokens};
use crate::pricing::cost;

/// Tokens that a picture can be, sent or generated. The dearest that is published, 3840×2160 in the highest quality at
/// `gpt-image-2.5-flare`, is 13,342 of them; partial pictures of a stream are 100 each.
const IMAGE_TOKENS_MAX: u64 = 16_384;
/// Audio tokens of a second of recording, at most: `gpt-4o-transcribe` counts ten.
const HEARD_TOKENS_PER_SECOND_MAX: u64 = 50;
/// Audio tokens of a character that is read aloud, at most: a digit is a word, half a second of speech.
const SPOKEN_TOKENS_PER_CHARACTER_MAX: u64 = 16;
/// Audio tokens of five characters that are read aloud: at 1,250 tokens a minute (what `gpt-4o-mini-tts` makes of its price
/// of 1.5 cents a minute) and 900 characters a minute, 7.
const SPOKEN_TOKENS_PER_FIVE_CHARACTERS: u64 = 7;

/// What is known of a task before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// What is asked.
    pub operation: Operation,
    /// How much of it.
    pub units: &'a Units,
    /// The model's context window in tokens; 0 where not known.
    pub context: u64,
    /// The model's largest answer in tokens; 0 where not known.
    pub max_output: u64,
}

/// What to set aside for a task, whichever of the two ways it is billed in; `None` where the price says nothing about
/// either.
pub fn hold_for(task: &Task<'_>, price: &Price) -> Option<Money> {
    let tokens = most_tokens(task);
    let mut rates = dearest(price, tokens.prompt());
    rates.images = match (&task.units.quality, &task.units.size) {
        (Some(quality), Some(size)) => price.image(Some(quality), Some(size), rates.images),
        _ => price.dearest_image(rates.images),
    };
    let is_priced = rates.is_free() || rates.has_tokens() || has_price(&task.units.most, &rates);
    is_priced.then(|| cost(&tokens, &rates.without_units()).max(cost(&task.units.most, &rates)))
}

/// The most tokens that a task can be.
fn most_tokens(task: &Task<'_>) -> Usage {
    let text = input_bound(task.units.text_bytes);
    let most = &task.units.most;
    let (input, output) = match task.operation {
        operation if operation.makes_images() => {
            let pictures = task.units.pictures.saturating_mul(IMAGE_TOKENS_MAX);
            (
                text.saturating_add(pictures),
                most.images.saturating_mul(IMAGE_TOKENS_MAX),
            )
        }
        operation if operation.hears() => {
            let seconds = most.audio_ms.div_ceil(1_000);
            let heard = text.saturating_add(seconds.saturating_mul(HEARD_TOKENS_PER_SECOND_MAX));
            let output = if task.max_output == 0 {
                OUTPUT_ASSUMED
            } else {
                task.max_output
            };
            (
                if task.context == 0 {
                    heard
                } else {
                    heard.min(task.context)
                },
                output,
            )
        }
        Operation::Speech => (text, most.characters.saturating_mul(SPOKEN_TOKENS_PER_CHARACTER_MAX)),
        _ => (text, 0),
    };
    Usage {
        input,
        output,
        ..Usage::default()
    }
}

/// What a finished task used, as far as the provider says it; what it does not say is filled in by [`billed`].
pub(crate) fn used(facts: &Facts<'_>, reported: Option<Usage>) -> (Usage, UsageSource) {
    let is_served = match facts.ending {
        Ending::Complete => facts.status_ok,
        Ending::ClientGone | Ending::UpstreamGone | Ending::Limit => facts.relayed_content,
        Ending::Failed => false,
    };
    match reported {
        Some(usage) => (usage, UsageSource::Reported),
        None if is_served => (Usage::default(), UsageSource::Estimated),
        None => (Usage::default(), UsageSource::None),
    }
}

/// The usage that is paid, and at which rates.
pub(crate) fn billed(
    facts: &Facts<'_>,
    units: &Units,
    usage: Usage,
    source: UsageSource,
    rates: Option<Rates>,
) -> (Usage, UsageSource, Option<Rates>) {
    let Some((mut rates, price)) = rates.zip(facts.price) else {
        let known = if usage.is_empty() { units.asked } else { usage };
        return (known, source, None);
    };
    if usage.total() > 0 && rates.has_tokens() {
        return (usage, source, Some(rates.without_units()));
    }
    rates.images = price.image(units.quality.as_deref(), units.size.as_deref(), rates.images);
    let filled = filled(usage, &units.asked, &rates);
    if has_price(&filled, &rates) {
        let source = if filled == usage {
            source
        } else {
            UsageSource::Estimated
        };
        return (filled, source, Some(rates));
    }
    if usage.is_empty() {
        let tokens = estimated_tokens(facts.operation, units);
        if rates.has_tokens() && tokens.total() > 0 {
            return (tokens, UsageSource::Estimated, Some(rates.without_units()));
        }
        return (units.asked, source, rates.is_free().then_some(rates));
    }
    (usage, source, rates.is_free().then_some(rates))
}

/// The usage with the pieces that are billed and were not reported.
fn filled(usage: Usage, asked: &Usage, rates: &Rates) -> Usage {
    let fill = |known: u64, asked: u64, rate: Money| if known == 0 && !rate.is_spent() { asked } else { known };
    Usage {
        images: fill(usage.images, asked.images, rates.images),
        audio_ms: fill(usage.audio_ms, asked.audio_ms, rates.audio_minutes),
        characters: fill(usage.characters, asked.characters, rates.characters),
        reranks: fill(usage.reranks, asked.reranks, rates.reranks),
        ..usage
    }
}

/// Whether pieces that were used have a price.
fn has_price(usage: &Usage, rates: &Rates) -> bool {
    [
        (usage.images, rates.images),
        (usage.audio_ms, rates.audio_minutes),
        (usage.characters, rates.characters),
        (usage.reranks, rates.reranks),
    ]
    .into_iter()
    .any(|(count, rate)| count > 0 && !rate.is_spent())
}

/// Tokens to expect where none were reported and nothing else has a price. How many tokens a picture or a recording is
/// cannot be told from the request.
fn estimated_tokens(operation: Operation, units: &Units) -> Usage {
    let spoken = match operation {
        Operation::Speech => (units.asked.characters * SPOKEN_TOKENS_PER_FIVE_CHARACTERS).div_ceil(5),
        Operation::Rerank => 0,
        _ => return Usage::default(),
    };
    Usage {
        input: input_tokens(units.text_bytes),
        output: spoken,
        output_audio: spoken,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests;
