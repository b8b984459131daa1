//! How much a call may cost before it has run, and how much it did where nobody says.
//!
//! Two different questions that are easily mixed up. A *bound* must hold in the worst case, because under the policy
//! `hard` the charge is capped by it: it counts a token per byte and takes the dearest rate. An *estimate* should be
//! right on average, because it is charged when the provider reports nothing or the client hangs up: it counts bytes
//! per token as measured.
//!
//! There is no tokenizer: one per model family would cost megabytes and milliseconds to be exact for calls that are
//! rare, and still be wrong for the families that publish none. The figures come from recorded traffic of OpenAI,
//! Anthropic and Gemini (`fixtures/estimates.csv`, checked by the tests below). Over all of them together the output is
//! estimated 3 % too high and the input 11 %; of single answers the middle half is estimated at 0.67 to 1.28 times the
//! truth, of single prompts at 1 to 2.5 times: short ones are mostly JSON. Beyond that half it is far less even,
//! above all for answers shorter than a sentence.

use domain::{Money, Price, Rates, Usage};

use crate::pricing::cost;

/// Bytes of a request body per prompt token, in the middle of recorded requests; part of the bytes is JSON around the
/// text.
const INPUT_BYTES_PER_TOKEN: u64 = 5;
/// Bytes of a body without media per prompt token where a prompt is judged too long: more than in the middle, since what
/// is judged so goes to another model, and long prompts are text rather than JSON.
const LONG_BYTES_PER_TOKEN: u64 = 6;
/// The same where it is refused: beyond what any recorded prompt has, indented code and long words included.
const LONGEST_BYTES_PER_TOKEN: u64 = 20;
/// Halves of bytes of generated text per output token: 3.5 bytes.
const OUTPUT_HALF_BYTES_PER_TOKEN: u64 = 7;
/// Tokens that a provider may add of its own when tools are declared (a hidden instruction on how to call them), at
/// most: 521 is the largest in the recordings, where the body is shorter than the prompt. Tools that the provider
/// *runs* bring in texts without a bound and count as "by reference".
const TOOLS_TOKENS_MAX: u64 = 600;
/// Tokens that a picture or a sound inside the body may be, however few its bytes are: `gpt-4o-mini` counts 2,833 and
/// 5,667 for each of up to eight tiles, and a blank picture of that size compresses to a few hundred bytes.
const MEDIA_TOKENS_MAX: u64 = 48_169;
/// The context window assumed where it is needed and not known: what most large models had in 2026.
const CONTEXT_ASSUMED: u64 = 200_000;
/// The largest answer assumed where neither the client nor the catalog gives one.
pub(crate) const OUTPUT_ASSUMED: u64 = 32_768;
/// Output tokens that one step of a growing hold covers: large enough that a stream takes a step every few seconds, and
/// small enough that what it holds in vain is little.
const STEP_TOKENS: u64 = 2_048;

/// What is known about a call's size before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Length of the request's body.
    pub body_bytes: u64,
    /// Whether part of the input is named rather than sent: URLs, file ids, earlier answers, cached content, tools that
    /// the provider runs. Also documents, whose bytes do not bound their tokens.
    pub by_reference: bool,
    /// Pictures and sounds inside the body.
    pub inline_media: u64,
    /// Whether tools are declared.
    pub tools: bool,
    /// The most web searches that the provider may bill beside the tokens.
    pub searches: u64,
    /// The most output tokens per choice, where the client gives a bound.
    pub output_bound: Option<u64>,
    /// How many answers are asked for; 0 is 1.
    pub choices: u64,
    /// The model's context window in tokens; 0 where not known.
    pub context: u64,
    /// The model's largest answer in tokens; 0 where not known.
    pub max_output: u64,
    /// Whether the model generates text at all.
    pub generates: bool,
}

/// What to set aside for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldBound {
    /// The most that the whole call can cost.
    pub amount: Money,
    /// For a stream whose client gave no bound on the output: hold less at first and more as it grows. `None` where
    /// `amount` is to be held at once.
    pub steps: Option<Steps>,
}

/// A hold that grows with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// What to hold at first: the input, the searches and one step of output.
    pub first: Money,
    /// What to add for each further step.
    pub step: Money,
    /// Output tokens that the first hold, and each step, cover.
    pub step_tokens: u64,
}

/// Characters of base64 per token of sound that is heard, at least: a token is a tenth of a second, and the densest format
/// (G.711, 8,000 bytes a second) has 1,066 characters in it
/// (<https://developers.openai.com/api/docs/guides/realtime-costs>). Half of that, so that it is a bound.
const HEARD_CHARS_PER_TOKEN_MIN: u64 = 533;
/// Characters of base64 per token of sound that is spoken, in the usual format: a token is a twentieth of a second, 24,000
/// samples of two bytes a second.
const SPOKEN_CHARS_PER_TOKEN: u64 = 3_200;

/// Tokens that sound of this many characters of base64 can be at most.
pub const fn heard_bound(chars: u64) -> u64 {
    chars.div_ceil(HEARD_CHARS_PER_TOKEN_MIN)
}

/// Tokens to expect in generated sound of this many characters of base64.
pub const fn spoken_tokens(chars: u64) -> u64 {
    chars.div_ceil(SPOKEN_CHARS_PER_TOKEN)
}

/// Prompt tokens to expect in a body of this many bytes.
pub const fn input_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(INPUT_BYTES_PER_TOKEN)
}

/// Prompt tokens that a body of this many bytes, without media, probably has, and has for certain: for judging whether it
/// fits into a context window.
pub const fn long_input(bytes: u64) -> (u64, u64) {
    (bytes / LONG_BYTES_PER_TOKEN, bytes / LONGEST_BYTES_PER_TOKEN)
}

/// Prompt tokens that a body of this many bytes can have at most: a token is at least one byte of text, and the JSON
/// around a text is longer than the markers that the model's template puts there.
pub const fn input_bound(bytes: u64) -> u64 {
    bytes
}

/// Output tokens to expect in this many bytes of generated text.
pub const fn output_tokens(content_bytes: u64) -> u64 {
    content_bytes.saturating_mul(2).div_ceil(OUTPUT_HALF_BYTES_PER_TOKEN)
}

/// What to set aside for a call at this price, in the worst case: every input token at the dearest input rate (it may
/// be written to a cache), every search that is allowed, the output up to its bound.
pub fn hold_for(bound: &Bound, price: &Price) -> HoldBound {
    let input = most_input(bound);
    let rates = dearest(price, input);
    let input_cost = cost(
        &Usage {
            input,
            web_searches: bound.searches,
            ..Usage::default()
        },
        &rates,
    );
    let output_cost = |tokens: u64| {
        cost(
            &Usage {
                output: tokens,
                ..Usage::default()
            },
            &rates,
        )
    };
    if !bound.generates {
        return HoldBound {
            amount: input_cost,
            steps: None,
        };
    }
    let choices = bound.choices.max(1);
    let most_output = most_output(bound).saturating_mul(choices);
    let step_tokens = STEP_TOKENS.saturating_mul(choices);
    let steps = (bound.output_bound.is_none() && step_tokens < most_output).then(|| {
        let step = output_cost(step_tokens);
        Steps {
            first: input_cost + step,
            step,
            step_tokens,
        }
    });
    HoldBound {
        amount: input_cost + output_cost(most_output),
        steps,
    }
}

fn most_input(bound: &Bound) -> u64 {
    let hidden = if bound.tools { TOOLS_TOKENS_MAX } else { 0 };
    let media = bound.inline_media.saturating_mul(MEDIA_TOKENS_MAX);
    let sent = input_bound(bound.body_bytes)
        .saturating_add(hidden)
        .saturating_add(media);
    match (bound.by_reference, bound.context) {
        (true, 0) => sent.max(CONTEXT_ASSUMED),
        (true, context) => context,
        (false, 0) => sent,
        // A longer prompt is refused by the upstream and costs nothing.
        (false, context) => sent.min(context),
    }
}

fn most_output(bound: &Bound) -> u64 {
    match (bound.output_bound, bound.max_output) {
        (Some(asked), 0) => asked,
        (Some(asked), most) => asked.min(most),
        (None, 0) => OUTPUT_ASSUMED,
        (None, most) => most,
    }
}

/// The dearest that a search and a token of input or output can be: over the tiers, over the lengths that the prompt can have, and
/// over the buckets that the token may end up in.
pub(crate) fn dearest(price: &Price, input: u64) -> Rates {
    price
        .tariffs()
        .flat_map(|tariff| tariff.up_to(input))
        .fold(Rates::default(), |most, row| Rates {
            input: [
                row.input,
                row.cache_read,
                row.cache_write_5m,
                row.cache_write_1h,
                row.input_audio,
                row.input_image,
                row.cache_read_audio,
                row.cache_read_image,
            ]
            .into_iter()
            .fold(most.input, Money::max),
            output: most.output.max(row.output).max(row.output_audio).max(row.output_image),
            web_searches: most.web_searches.max(row.web_searches),
            images: most.images.max(row.images),
            audio_minutes: most.audio_minutes.max(row.audio_minutes),
            characters: most.characters.max(row.characters),
            reranks: most.reranks.max(row.reranks),
            ..Rates::default()
        })
}

#[cfg(test)]
mod tests;
