//! Token figures as they come, and the one judgement whether they can be true.
//!
//! Each dialect reads its own names into a [`Tally`] and does its own arithmetic (what includes what); the result is
//! judged here. Figures that cannot be true are quarantined rather than repaired: a repaired figure is a guess that
//! somebody pays for.

use domain::Usage;

use crate::answer::UsageReport;
use crate::json::Figure;
use crate::limits::{AUDIO_MS_MAX, RAW_USAGE_MAX, SEARCHES_MAX, TOKENS_MAX};

/// Figures under the provider's names, merged over the events of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Prompt tokens: with the cache in `OpenAI`'s and Gemini's formats, without it in Anthropic's.
    pub(crate) input: Figure,
    /// Read from the cache.
    pub(crate) cached: Figure,
    /// Written to the cache, all lives together.
    pub(crate) written: Figure,
    /// Written for five minutes.
    pub written_5m: Figure,
    /// Written for an hour.
    pub written_1h: Figure,
    /// Generated; with reasoning but in Gemini's format.
    pub(crate) output: Figure,
    /// Reasoning.
    pub(crate) reasoning: Figure,
    /// All together, as the provider added it up.
    pub(crate) total: Figure,
    /// Results of the provider's own tools that were fed back.
    pub(crate) tool_input: Figure,
    /// Audio of the prompt.
    pub(crate) input_audio: Figure,
    /// Audio generated.
    pub(crate) output_audio: Figure,
    /// Searches.
    pub(crate) searches: Figure,
    /// Pictures in the prompt.
    pub(crate) input_image: Figure,
    /// Pictures generated, in tokens.
    pub(crate) output_image: Figure,
    /// Of what was read from the cache: audio.
    pub(crate) cached_audio: Figure,
    /// Of what was read from the cache: pictures.
    pub(crate) cached_image: Figure,
    /// Milliseconds of audio that was listened to.
    pub(crate) audio_ms: Figure,
    /// Queries of a reranking.
    pub(crate) reranks: Figure,
}

/// Why figures cannot be true.
pub(crate) const NOT_COUNTS: &str = "a figure is negative, no whole number, or beyond 2^53";
/// The same.
pub(crate) const BEYOND_ANY_CALL: &str = "more tokens or searches than any call can use";
/// The same.
pub(crate) const CACHE_EXCEEDS_INPUT: &str = "more tokens cached than in the prompt";
/// The same.
pub(crate) const REASONING_EXCEEDS_OUTPUT: &str = "more tokens of reasoning than of output";
/// The same.
pub(crate) const SPLIT_EXCEEDS_WRITTEN: &str = "the lives of cache writes add up to more than was written";

impl Tally {
    /// Takes what `later` says; a later explicit figure wins.
    pub(crate) fn merge(&mut self, later: &Self) {
        for (mine, theirs) in self.figures_mut().into_iter().zip(later.figures()) {
            mine.merge(theirs);
        }
    }

    /// Whether a figure that costs something was given.
    pub(crate) fn is_given(&self) -> bool {
        self.figures().iter().any(|figure| figure.is_given())
    }

    /// Whether a figure is none.
    pub(crate) fn has_bad(&self) -> bool {
        self.figures().contains(&Figure::Bad)
    }

    const fn figures(&self) -> [Figure; 18] {
        [
            self.input,
            self.cached,
            self.written,
            self.written_5m,
            self.written_1h,
            self.output,
            self.reasoning,
            self.total,
            self.tool_input,
            self.input_audio,
            self.output_audio,
            self.searches,
            self.input_image,
            self.output_image,
            self.cached_audio,
            self.cached_image,
            self.audio_ms,
            self.reranks,
        ]
    }

    const fn figures_mut(&mut self) -> [&mut Figure; 18] {
        [
            &mut self.input,
            &mut self.cached,
            &mut self.written,
            &mut self.written_5m,
            &mut self.written_1h,
            &mut self.output,
            &mut self.reasoning,
            &mut self.total,
            &mut self.tool_input,
            &mut self.input_audio,
            &mut self.output_audio,
            &mut self.searches,
            &mut self.input_image,
            &mut self.output_image,
            &mut self.cached_audio,
            &mut self.cached_image,
            &mut self.audio_ms,
            &mut self.reranks,
        ]
    }
}

/// The verdict on a tally: `normal` is the dialect's arithmetic, `raw` the provider's object.
pub(crate) fn judge(tally: &Tally, raw: &[u8], normal: fn(&Tally) -> Result<Usage, &'static str>) -> UsageReport {
    if !tally.is_given() {
        return UsageReport::None;
    }
    let checked = if tally.has_bad() {
        Err(NOT_COUNTS)
    } else {
        normal(tally).and_then(plausible)
    };
    match checked {
        Ok(usage) => UsageReport::Possible(usage),
        Err(why) => UsageReport::Impossible {
            raw: shortened(raw),
            why,
            nearest: nearest(tally, normal),
        },
    }
}

/// What can be true of figures that cannot: those that are counts, and parts that are at most the whole.
fn nearest(tally: &Tally, normal: fn(&Tally) -> Result<Usage, &'static str>) -> Option<Usage> {
    let mut counts = *tally;
    for figure in counts.figures_mut() {
        if *figure == Figure::Bad {
            *figure = Figure::Absent;
        }
    }
    let read = |tally: &Tally| normal(tally).and_then(plausible).ok();
    read(&counts).or_else(|| {
        let (input, output) = (counts.input.or_zero(), counts.output.or_zero());
        let cached = counts.cached.or_zero().min(input);
        counts.cached = Figure::Is(cached);
        counts.written = Figure::Is(counts.written.or_zero().min(input - cached));
        counts.reasoning = Figure::Is(counts.reasoning.or_zero().min(output));
        read(&counts)
    })
}

/// What holds for usage in normal form, wherever it comes from.
fn plausible(usage: Usage) -> Result<Usage, &'static str> {
    if usage.reasoning > usage.output {
        return Err(REASONING_EXCEEDS_OUTPUT);
    }
    // Sums of figures below 2^53 cannot overflow. What the ledger would refuse as damage must be stopped here: past this
    // point the client is told a price and its account is charged.
    if usage.total() > TOKENS_MAX
        || usage.web_searches.max(usage.reranks) > SEARCHES_MAX
        || usage.audio_ms > AUDIO_MS_MAX
    {
        return Err(BEYOND_ANY_CALL);
    }
    // Audio and pictures are given for the whole prompt; what of them came from the cache often is not.
    let (input_audio, input_image) = shares(usage.input, usage.input_audio, usage.input_image);
    let (output_audio, output_image) = shares(usage.output, usage.output_audio, usage.output_image);
    let (cache_read_audio, cache_read_image) = shares(usage.cache_read, usage.cache_read_audio, usage.cache_read_image);
    Ok(Usage {
        input_audio,
        input_image,
        output_audio,
        output_image,
        cache_read_audio,
        cache_read_image,
        ..usage
    })
}

/// What can be audio and what pictures in a bucket of so many tokens.
fn shares(bucket: u64, audio: u64, image: u64) -> (u64, u64) {
    let audio = audio.min(bucket);
    (audio, image.min(bucket - audio))
}

fn shortened(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw.get(..RAW_USAGE_MAX).unwrap_or(raw)).into_owned()
}
