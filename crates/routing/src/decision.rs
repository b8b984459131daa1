//! Why a call went where it went: what was to be decided, what was known, and what came of it.
//!
//! One type serves those who ask beforehand (`tollgate explain`, which decides without a call) and those who ask afterwards
//! (the log detail of a call, `tollgate replay`). It is complete: the candidates as they were declared, the state in which
//! the choice saw them, the moment and the seed. So the choice can be [made again](Decision::replay) from the record alone,
//! by the code that makes it for calls, and [with another configuration](Decision::with) in the same state. A record that
//! held only the result would be a claim; this one can be checked.
//!
//! While a call is under way only a [`Trace`] is kept: numbers, in one buffer. Names are added when it is over and its record
//! is wanted.

mod beside;
mod compare;
mod record;
mod replay;
mod trace;
mod walk;
mod words;
mod world;

use domain::declaration::{BreakerDecl, CooldownDecl, HedgeDecl, Percent, Strategy};
use domain::{Capability, Dialect, Forced, Money, Operation};
use serde::{Deserialize, Serialize};

pub use compare::{Difference, Fate};
pub use replay::{Unreplayable, read};
pub(crate) use trace::{Glance, KeyTrouble, Measured, Seen, Sights, TargetTrouble, Trouble};
pub use trace::{Recording, Trace, decide, dry_run};
pub use walk::{Again, Asked, BreakerCount, BrokeOff, Named, Next, Pair, Recorded, Rules, Tried, Walk};
pub use words::{Bits, Moment};

/// The version of records that this program writes, and the only one that it replays: what a choice depends on changes with
/// the code that makes it.
pub const VERSION: u32 = 2;

/// Candidates that are recorded of one call at most. A record of more would be larger than most answers.
pub const CANDIDATES_MAX: usize = 128;

/// What was decided, with everything that it was decided by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Of the record's form.
    pub version: u32,
    /// The model as it is declared or listed.
    pub model: String,
    /// What is asked, in which format.
    pub surface: String,
    /// When it was decided.
    pub at: Moment,
    /// What the lots were drawn from.
    pub seed: Bits,
    /// What was asked for.
    pub asked: Request,
    /// Among targets of the same priority.
    pub strategy: Strategy,
    /// The group of upstreams that the name belongs to, where that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What would be tried, in this order.
    pub order: Vec<Candidate>,
    /// What would not.
    pub excluded: Vec<Candidate>,
    /// Whether `order` holds one that is tried only because there is no other.
    pub last_resort: bool,
    /// Whether a stream that breaks off is gone on with: of those in `order` that can `prefill`, by the next one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recovery: bool,
    /// When a call that is not streamed is also sent to the next of those in `order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeDecl>,
    /// Whether any credential at all rested, of this model's or not: only then is each one's rest looked at.
    #[serde(default, skip_serializing_if = "is_false")]
    pub credentials_rest: bool,
    /// What it did after its first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walk: Option<Walk>,
    /// Where there were more than [`CANDIDATES_MAX`] candidates: how many. None of them is recorded then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unrecorded: usize,
}

/// What a call asked for, as far as choosing is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What.
    pub operation: Operation,
    /// In which format.
    pub dialect: Dialect,
    /// What a model must be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Capability>,
    /// Tokens that its prompt probably has; 0: nobody asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// Tokens that it has at least.
    #[serde(default, skip_serializing_if = "is_default")]
    pub least_tokens: u64,
    /// The profile of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What calls have in common that should meet again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Bits>,
    /// Prompt tokens that were expected.
    pub input_tokens: u64,
    /// Output tokens that were expected.
    pub output_tokens: u64,
    /// Where alone it could go, because what it names lives there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
}

/// The only place where a request could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The upstream's id.
    pub upstream: i64,
    /// The credential's; none: any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<i64>,
}

/// A target with a credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The upstream's name.
    pub upstream: String,
    /// The credential's name.
    pub credential: String,
    /// The model's name there.
    pub model: String,
    /// Lower is tried first.
    pub priority: i32,
    /// Share under `weighted`.
    pub weight: u32,
    /// Dollars per million tokens of a prompt of this length; `None` where no price is known.
    pub price: Option<Price>,
    /// Tokens that a prompt may have; 0 where not known.
    #[serde(default)]
    pub context: u64,
    /// Tokens that an answer may have; 0 where not known, or not recorded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_output: u64,
    /// What the model is known to be able to do. Not recorded of calls: only what it cannot do decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<String>,
    /// What it is known not to.
    #[serde(default)]
    pub cannot: Vec<String>,
    /// The model that it is a target of, where that is a fallback of the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What an operator decided on its upstream's breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Forced>,
    /// Why it is excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it lacks, where it is excluded by its capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// When that should end, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// What it was ranked by: smaller goes first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub score: Score,
    /// How it stood.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: State,
    /// What else was declared of it.
    pub terms: Terms,
}

/// The two prices that matter most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Prompt tokens.
    pub input: Money,
    /// Generated tokens.
    pub output: Money,
    /// Whether nothing costs anything, these and all the others.
    pub free: bool,
}

/// What the strategies ordered by: among targets, and among the credentials of an upstream. Smaller goes first; where it is
/// equal, the least recently used. `round_robin` looks at turns, `least_connections` at open calls, `least_used` at uses,
/// `lowest_latency` at milliseconds, `cheapest` at dollars, the others at lots between 0 and 1. Nothing where there was no
/// choice, or no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Score {
    /// Among targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Among credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<f64>,
}

/// How a candidate stood when it was decided. What is left out is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each tells of something else, and most records have none"
)]
pub struct State {
    /// The upstream's breaker.
    #[serde(skip_serializing_if = "is_default")]
    pub breaker: Breaker,
    /// When a breaker that is open may be probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_until: Option<Moment>,
    /// Until when the upstream rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_rests_until: Option<Moment>,
    /// Calls open at the upstream.
    #[serde(skip_serializing_if = "is_default")]
    pub open_calls: u32,
    /// As a target of the model.
    #[serde(skip_serializing_if = "is_default")]
    pub target: Use,
    /// The credential.
    #[serde(skip_serializing_if = "is_default")]
    pub key: Use,
    /// Calls open with the credential.
    #[serde(skip_serializing_if = "is_default")]
    pub key_open_calls: u32,
    /// Requests sent with the credential on this day (UTC), as far as this process knows.
    #[serde(skip_serializing_if = "is_default")]
    pub uses_today: u64,
    /// How the credential rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Resting>,
    /// How the model rests with this credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_rest: Option<Resting>,
    /// Until when the account is spared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Moment>,
    /// Whether the credential is the one that keeps its turn.
    #[serde(skip_serializing_if = "is_false")]
    pub has_turn: bool,
    /// Whether the credential was found out of service, beside what is declared.
    #[serde(skip_serializing_if = "is_false")]
    pub found_deactivated: bool,
    /// Whether the latest call at the upstream failed there.
    #[serde(skip_serializing_if = "is_false")]
    pub doubted: bool,
    /// Failures and successes at the upstream that its breaker counts.
    #[serde(skip_serializing_if = "is_default")]
    pub lately: (u32, u32),
    /// Rests of the credential that were guessed one after another.
    #[serde(skip_serializing_if = "is_default")]
    pub strikes: u32,
    /// Failures of the credential in a row that are not of its own making, as far as one answer can tell.
    #[serde(skip_serializing_if = "is_default")]
    pub failing: u8,
    /// Whether it was answered while another credential of the upstream failed.
    #[serde(skip_serializing_if = "is_false")]
    pub proven: bool,
}

/// How something was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Use {
    /// When it was last chosen, as a number that grows with each choice.
    #[serde(skip_serializing_if = "is_default")]
    pub turn: u64,
    /// Uses, those of a while ago counting less. Counted where the strategy is `least_used`.
    #[serde(skip_serializing_if = "is_default")]
    pub uses: f32,
    /// How soon it answered lately, in milliseconds. Measured where the strategy is `lowest_latency`.
    #[serde(skip_serializing_if = "is_default")]
    pub latency_ms: f32,
}

/// A breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Calls go through.
    #[default]
    Closed,
    /// Nothing goes through.
    Open,
    /// One call may probe.
    HalfOpen,
    /// One call does.
    Probing,
    /// An operator keeps it open.
    ForcedOpen,
    /// An operator keeps it closed.
    ForcedClosed,
}

/// A rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// Why.
    pub why: RestKind,
    /// Until when.
    pub until: Moment,
}

/// Why something rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestKind {
    /// The provider named the time.
    Named,
    /// We guess.
    Guessed,
    /// There is no money.
    OutOfCredit,
}

/// What was declared of a candidate and may decide. What is left out is what is usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each left out where it is not so"
)]
pub struct Terms {
    /// Its places in the configuration: of the target, and of the credential there.
    pub place: [usize; 2],
    /// The ids of upstream and credential.
    pub ids: [i64; 2],
    /// Whether the upstream offers what is asked, in this format or in one that can be translated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_offered: bool,
    /// 0: the model's own; else which of its fallbacks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tier: u8,
    /// Among targets, where it is not that of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What `sticky` tells it by, where it decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Bits>,
    /// Among the credentials of the upstream.
    pub key_strategy: Strategy,
    /// The credential's share under `weighted`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key_weight: u32,
    /// Whether credentials of the upstream keep their turn.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keeps_turns: bool,
    /// Requests per day with the credential at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_limit: Option<u64>,
    /// From which share of its allowance on the account is spared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_at: Option<Percent>,
    /// Whether the breaker is off.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_breaker: bool,
    /// Its settings, where they are not the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerDecl>,
    /// Whether cooldowns are off.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_cooldown: bool,
    /// Their settings, where they are not the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<CooldownDecl>,
    /// Whether the credential is for other keys.
    #[serde(default, skip_serializing_if = "is_false")]
    pub other_profile: bool,
    /// Whether there is no credential where one is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_credential: bool,
    /// Whether the credential is out of service, as the database says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deactivated: bool,
    /// Whether it is an account whose plan does not have the model.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_in_plan: bool,
    /// Whether it is an account that somebody has to log in again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub needs_login: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;
