//! What a finished call is charged, by one table, row by row.
//!
//! The rule behind the table: nothing is taken before an upstream answered 2xx, and nothing for an answer that did not
//! reach its end, unless it was the client who ended it (else hanging up before the last event would be free). What a
//! call *cost* is recorded all the same, since the operator pays it.
//!
//! | ending | usage | charged |
//! |---|---|---|
//! | complete | reported | as reported |
//! | complete | none | estimated, flagged |
//! | client gone after the first content | some or none | what was reported, the rest estimated from what was relayed, flagged; nothing where `bill_abandoned` is off |
//! | the hold could not grow | some or none | the same: the client had what it could pay for |
//! | failed, upstream gone, another limit of ours | any | nothing |
//! | any | impossible | nothing; quarantined |
//! | any | reported, but no price is known | nothing |

use domain::{Ending, Money, Operation, Policy, Price, Rates, Units, Usage, UsageSource};

use crate::estimate::{input_tokens, output_tokens};
use crate::pricing::{cost, rates_for};
use crate::tasks;

/// A provider's figure for an answer that was cut is believed if it is at least this fraction (one in …) of what was
/// relayed. Anthropic's first event says one token, to be corrected by an event that never came; Gemini and others say
/// the whole so far with every event, and texts of up to eight bytes per token are real.
const CREDIBLE_FRACTION: u64 = 2;

/// What is known when a call ends.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts, each named where it is written"
)]
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What was asked.
    pub operation: Operation,
    /// How it ended.
    pub ending: Ending,
    /// Whether it ended with [`Ending::Limit`] because its hold could not grow further.
    pub hold_ran_out: bool,
    /// Whether the upstream answered 2xx.
    pub status_ok: bool,
    /// What the provider says was used.
    pub reported: Reported,
    /// Whether content reached the client.
    pub relayed_content: bool,
    /// Bytes of generated text that were relayed.
    pub content_bytes: u64,
    /// Tokens of sound that were relayed beside that text, by the length of the sound.
    pub sound_tokens: u64,
    /// Length of the request's body.
    pub body_bytes: u64,
    /// Bytes of text, told by an attempt that broke off, which were part of the prompt of the one that went on.
    pub begun_bytes: u64,
    /// What a task asks for, by the piece; `None` for everything that is measured in tokens alone.
    pub units: Option<&'a Units>,
    /// The price, where one is known.
    pub price: Option<&'a Price>,
    /// The service tier that the answer names.
    pub service_tier: Option<&'a str>,
    /// The user's policy.
    pub policy: Policy,
    /// What is held for the call; counts under [`Policy::Hard`] only.
    pub hold: Money,
    /// Whether a client that hangs up pays for what was produced.
    pub bill_abandoned: bool,
}

/// What the provider says was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reported {
    /// Nothing was said.
    #[default]
    None,
    /// Figures that can be.
    Possible(Usage),
    /// Figures that cannot be, such as more cached tokens than prompt tokens.
    Impossible,
}

/// What a call used, is worth, and is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// What it used.
    pub usage: Usage,
    /// Where `usage` comes from.
    pub source: UsageSource,
    /// The rates applied; absent where no price is known or nothing is known to have been used. Usage without rates is
    /// `unpriced`.
    pub rates: Option<Rates>,
    /// What the usage is worth, charged or not.
    pub cost: Money,
    /// What is taken from the user.
    pub charged: Money,
    /// What would have been taken but lies beyond the hold.
    pub uncollected: Money,
}

impl Charge {
    /// Whether something was used and no price is known for it.
    pub const fn is_unpriced(&self) -> bool {
        self.rates.is_none() && matches!(self.source, UsageSource::Reported | UsageSource::Estimated)
    }
}

/// What a call with these facts is charged.
pub fn charge(facts: &Facts<'_>) -> Charge {
    if !facts.operation.is_billed() {
        return Charge::default();
    }
    if facts.reported == Reported::Impossible {
        return Charge {
            source: UsageSource::Quarantined,
            ..Charge::default()
        };
    }
    let (usage, source) = used(facts);
    let rates = match source {
        UsageSource::None => None,
        _ => facts.price.map(|price| *rates_for(price, &usage, facts.service_tier)),
    };
    let (usage, source, rates) = match facts.units {
        Some(units) if source != UsageSource::None => tasks::billed(facts, units, usage, source, rates),
        _ => (usage, source, rates),
    };
    let cost = rates.map_or(Money::ZERO, |rates| cost(&usage, &rates));
    let chargeable = if is_chargeable(facts) { cost } else { Money::ZERO };
    let charged = match facts.policy {
        Policy::Hard => chargeable.min(facts.hold.max(Money::ZERO)),
        Policy::Soft | Policy::Unlimited => chargeable,
    };
    Charge {
        usage,
        source,
        rates,
        cost,
        charged,
        uncollected: chargeable - charged,
    }
}

/// The rows of the table that charge anything.
pub fn is_chargeable(facts: &Facts<'_>) -> bool {
    let pays = match facts.ending {
        Ending::Complete => true,
        Ending::ClientGone => facts.relayed_content && facts.bill_abandoned,
        Ending::Limit => facts.relayed_content && facts.hold_ran_out,
        Ending::UpstreamGone | Ending::Failed => false,
    };
    pays && facts.status_ok
}

/// What was used, as far as it is known or can be estimated.
fn used(facts: &Facts<'_>) -> (Usage, UsageSource) {
    let reported = match facts.reported {
        Reported::Possible(usage) => Some(usage),
        Reported::None | Reported::Impossible => None,
    };
    if facts.units.is_some() {
        return tasks::used(facts, reported);
    }
    match (facts.ending, reported) {
        (Ending::Complete, None) if facts.status_ok => (estimated(facts), UsageSource::Estimated),
        (Ending::ClientGone | Ending::UpstreamGone | Ending::Limit, _) if facts.relayed_content => {
            completed(reported.unwrap_or_default(), facts)
        }
        (_, Some(usage)) => (usage, UsageSource::Reported),
        (_, None) => (Usage::default(), UsageSource::None),
    }
}

/// The figures of a cut answer, with what is missing estimated.
fn completed(reported: Usage, facts: &Facts<'_>) -> (Usage, UsageSource) {
    let estimate = estimated(facts);
    let mut usage = reported;
    if reported.prompt() == 0 {
        usage.input = estimate.input;
    }
    if reported.output < estimate.output / CREDIBLE_FRACTION {
        usage.output = estimate.output;
        usage.output_audio = estimate.output_audio;
    }
    let source = if usage == reported {
        UsageSource::Reported
    } else {
        UsageSource::Estimated
    };
    (usage, source)
}

fn estimated(facts: &Facts<'_>) -> Usage {
    let output = if facts.operation.generates() {
        output_tokens(facts.content_bytes).saturating_add(facts.sound_tokens)
    } else {
        0
    };
    Usage {
        input: input_tokens(facts.body_bytes).saturating_add(output_tokens(facts.begun_bytes)),
        output,
        output_audio: facts.sound_tokens.min(output),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests;
