//! How much a response of a session may read: everything that was said before it.
//!
//! Nobody tells how long the conversation is that the server keeps, so it is counted from what went by: a bound for the
//! hold, an expectation for estimates and limits.

use dialects::realtime::{ClientEvent, OutputBound};
use domain::snapshot::Target;
use domain::{Fault, FaultKind, Money, Policy};
use metering::estimate::{self, Bound};

/// Tokens that a session has before anybody says anything: the provider's own instructions and markers. Those of
/// `gpt-realtime` come to some hundred.
const PREAMBLE_TOKENS: u64 = 1_024;

/// The bound grows in steps, so that a hold is not enlarged for every piece of speech.
const STEP_TOKENS: u64 = 1_024;

/// Characters of base64 per token of speech in the usual format: ten tokens a second of 24,000 samples of two bytes.
const HEARD_CHARS_PER_TOKEN: u64 = 6_400;

/// What was said in a session so far.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::realtime) struct Context {
    text_bytes: u64,
    audio_chars: u64,
    pictures: u64,
    output_tokens: u64,
    pub(super) by_reference: bool,
}

impl Context {
    /// A client's event becomes part of it.
    pub(super) fn add(&mut self, event: &ClientEvent, bytes: usize) {
        self.text_bytes += (bytes as u64).saturating_sub(event.audio_chars);
        self.audio_chars += event.audio_chars;
        self.pictures += event.pictures;
        self.by_reference |= event.by_reference;
    }

    /// Speech does.
    pub(super) const fn hear(&mut self, audio_chars: u64) {
        self.audio_chars += audio_chars;
    }

    /// Whether anything was spoken. Who only writes asks for each response.
    pub(super) const fn is_spoken(&self) -> bool {
        self.audio_chars > 0
    }

    /// What was generated does.
    pub(super) const fn say(&mut self, tokens: u64) {
        self.output_tokens += tokens;
    }

    /// Tokens that a response is expected to read.
    pub(super) const fn expected(&self) -> u64 {
        estimate::input_tokens(self.text_bytes) + self.audio_chars / HEARD_CHARS_PER_TOKEN + self.output_tokens
    }

    /// The length of a request's body of which as many tokens would be expected, for the charge table.
    pub(super) fn expected_body(&self) -> usize {
        const { assert!(estimate::input_tokens(5) == 1, "a token of input is five bytes") };
        usize::try_from(self.expected().saturating_mul(5)).unwrap_or(usize::MAX)
    }

    fn most(&self) -> u64 {
        let sent = estimate::input_bound(self.text_bytes) + estimate::heard_bound(self.audio_chars);
        (PREAMBLE_TOKENS + sent + self.output_tokens).next_multiple_of(STEP_TOKENS)
    }
}

/// What a response may cost at most at this target, as far as the policy asks.
pub(in crate::realtime) fn bound(
    policy: Policy,
    target: &Target,
    context: &Context,
    output: Option<OutputBound>,
) -> Result<Money, Fault> {
    match policy {
        Policy::Unlimited => return Ok(Money::ZERO),
        // The least amount: soft asks only whether anything is left.
        Policy::Soft => return Ok(Money::from_nanos(1)),
        Policy::Hard => {}
    }
    let Some(price) = &target.price else {
        let message = format!(
            "the model `{}` has no price at upstream `{}`, and this account pays in advance; an operator must declare its price or declare it free",
            target.model, target.upstream.name
        );
        return Err(Fault::new(FaultKind::Unpriced, message));
    };
    let bound = Bound {
        body_bytes: context.most(),
        by_reference: context.by_reference,
        inline_media: context.pictures,
        output_bound: match output {
            Some(OutputBound::Tokens(tokens)) => Some(tokens),
            Some(OutputBound::Unbounded) | None => None,
        },
        choices: 1,
        context: target.context,
        max_output: target.max_output,
        generates: true,
        ..Bound::default()
    };
    Ok(estimate::hold_for(&bound, price).amount)
}
