//! Resources as people declare them: in the file, on the command line, and as kept in the database.
//!
//! One set of types serves all three, so that a resource means the same wherever it was made. Defaults that belong to
//! the whole process are not filled in here but when the [`crate::Snapshot`] is built, because they may change later.

mod percent;
mod period;

use std::collections::BTreeMap;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use percent::{ParsePercentError, Percent};
pub use period::{ParsePeriodError, Period};

use crate::capability::CapabilitiesDecl;
use crate::limits::Limits;
use crate::price::PriceDecl;
use crate::system_prompt::ModelPromptDecl;
use crate::{Dialect, Money, NamePattern, Policy, Secret};

/// How candidates of the same priority are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Least recently used first.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// By weight, in proportion.
    Weighted,
    /// Fewest open calls first.
    LeastConnections,
    /// Fewest uses within the last hours first.
    LeastUsed,
    /// The better of two that are drawn, by how soon they answered lately and how many calls are open there.
    LowestLatency,
    /// By what this request would cost there; no price known: last. Among credentials as `round_robin`.
    Cheapest,
    /// The same one for the same session, user or conversation, while it is well and not crowded.
    Sticky,
}

/// Why a model refused a request that another may take. Every other refusal of the caller's making is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCause {
    /// It is too long for the model: only one whose context window is known to be larger is asked.
    ContextLength,
    /// The provider's content policy.
    ContentPolicy,
}

impl RefusalCause {
    /// Where a model does not say. What a provider's policy refuses is not taken to another one behind its back.
    pub const DEFAULT: [Self; 1] = [Self::ContextLength];
}

/// `upstreams[]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamDecl {
    /// Unique among upstreams; no `/`.
    pub name: String,
    /// A provider preset. May be left out where `dialect` and `base_url` are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Where the API begins, instead of the preset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The wire format, where no preset says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// What a preset leaves open in its address: `{region: eu-west-1}`, `{project: …, location: …}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The group that it belongs to, see `groups`; otherwise a label for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Lower is tried first.
    #[serde(default)]
    pub priority: i32,
    /// Share under the strategy `weighted`, where a model names no weight of its own.
    #[serde(default = "one")]
    pub weight: u32,
    /// Among the credentials; default: `defaults.strategy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Its secrets. In the database they are kept apart, sealed.
    #[serde(default, skip_serializing)]
    pub credentials: Vec<CredentialDecl>,
    /// Models it serves; default: what the preset says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<NamePattern>>,
    /// Headers added to every request to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Top-level fields put into every JSON body sent to it, unless the client sent them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub params: BTreeMap<String, serde_json::Value>,
    /// `http://` or `socks5://` address of a proxy to reach it by, with a login where it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// A PEM file of certificate authorities to trust for it, instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Time limits of its own.
    #[serde(default, skip_serializing_if = "TimeoutsDecl::is_default")]
    pub timeouts: TimeoutsDecl,
    /// When to stop asking it for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Switch<BreakerDecl>>,
    /// How long a credential may rest after a 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Switch<CooldownDecl>>,
    /// Whether and how it is looked after while nobody calls; default: not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Switch<HealthDecl>>,
}

const fn one() -> u32 {
    1
}

/// Either settings, or the word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Switch<T> {
    /// Off.
    Off(Off),
    /// On, with settings.
    On(T),
}

/// The word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Off {
    /// Off.
    Off,
}

/// `upstreams[].credentials[]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialDecl {
    /// Unique within the upstream.
    pub name: String,
    /// The API key.
    pub key: Secret,
    /// Share under the strategy `weighted`.
    #[serde(default = "one")]
    pub weight: u32,
    /// Requests per day (UTC) at most; another credential is used after that.
    #[serde(default)]
    pub daily_limit: Option<u64>,
    /// Under `round_robin`: how many requests in a row it gets before the next one's turn; default: 1.
    #[serde(default)]
    pub rotate_after: Option<u32>,
    /// One of `profiles`: only keys of that profile use it.
    #[serde(default)]
    pub profile: Option<String>,
    /// Leave it alone while this much of its five-hour or seven-day allowance is used (subscriptions).
    #[serde(default)]
    pub pause_at: Option<Percent>,
}

impl CredentialDecl {
    /// One that says nothing more.
    pub fn new(name: impl Into<String>, key: Secret) -> Self {
        Self {
            name: name.into(),
            key,
            weight: 1,
            daily_limit: None,
            rotate_after: None,
            profile: None,
            pause_at: None,
        }
    }

    /// How it may be used, apart from its share.
    pub fn terms(&self) -> CredentialTerms {
        CredentialTerms {
            daily_limit: self.daily_limit,
            rotate_after: self.rotate_after,
            profile: self.profile.clone(),
            pause_at: self.pause_at,
        }
    }
}

/// How a credential may be used; see [`CredentialDecl`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CredentialTerms {
    /// Requests per day (UTC) at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily_limit: Option<u64>,
    /// Requests in a row before the next one's turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_after: Option<u32>,
    /// Whose keys use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// From which share of an allowance on it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_at: Option<Percent>,
}

/// `upstreams[].timeouts`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutsDecl {
    /// To an open connection, TLS included.
    pub connect: Option<Period>,
    /// To the first content of the answer.
    pub first_byte: Option<Period>,
    /// Between two pieces of a stream.
    pub idle: Option<Period>,
    /// For the whole call.
    pub total: Option<Period>,
    /// For a whole realtime session, to which `total` does not apply. Default: an hour.
    pub session: Option<Period>,
}

impl TimeoutsDecl {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `upstreams[].breaker`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerDecl {
    /// Failures within `window` that open it.
    pub failures: u32,
    /// The time over which failures are counted.
    pub window: Period,
    /// How long it stays open before one call may probe.
    pub open: Period,
}

impl Default for BreakerDecl {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Period::from_secs(60),
            open: Period::from_secs(30),
        }
    }
}

/// `upstreams[].cooldown`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CooldownDecl {
    /// The longest rest, also where a provider names a longer one.
    pub max: Period,
}

impl Default for CooldownDecl {
    fn default() -> Self {
        Self {
            max: Period::from_secs(3600),
        }
    }
}

/// `upstreams[].health`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthDecl {
    /// How often it is probed.
    pub every: Period,
    /// What it is asked.
    pub probe: Probe,
}

impl Default for HealthDecl {
    fn default() -> Self {
        Self {
            every: Period::from_secs(60),
            probe: Probe::Models,
        }
    }
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Nothing.
    Off,
    /// For its list of models, which costs nothing.
    #[default]
    Models,
    /// For one token, which shows that calls are answered and costs about as little as a call can.
    Call,
}

/// `models[]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDecl {
    /// The name that clients use; may be a glob.
    pub name: String,
    /// Further names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Among its targets; default: `defaults.strategy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Where it is served.
    pub targets: Vec<TargetDecl>,
    /// Other models to turn to, in this order, when none of its targets answers. Who may use the model may use them so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// Refusals that make a call turn to them too, beside failures; default: `[context_length]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_on: Option<Vec<RefusalCause>>,
    /// Whether a streamed answer that breaks off is gone on with at the next target that can (capability `prefill`), instead
    /// of ending in an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovery: bool,
    /// When a call that is not streamed is also sent to the next candidate, and how many may be; default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeDecl>,
    /// Its price, instead of the catalog's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceDecl>,
    /// Declared to cost nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
    /// The largest answer in tokens, where the catalog does not know: bounds a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// The context window in tokens, where the catalog does not know: bounds a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// What it can do and what not, where the catalog does not know it or is wrong: a target is passed over for a request
    /// that needs what it cannot do.
    #[serde(default, skip_serializing_if = "CapabilitiesDecl::is_empty")]
    pub capabilities: CapabilitiesDecl,
    /// Text for its conversations, instead of the process's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<ModelPromptDecl>,
}

/// `models[].hedge`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HedgeDecl {
    /// How long the first attempt may take before a second one is begun beside it.
    pub after: Period,
    /// How many of the calls may be sent twice at most.
    #[serde(default = "HedgeDecl::usual_budget")]
    pub budget: Percent,
}

impl HedgeDecl {
    /// What the tail of the latencies is worth: hedging after the 95th percentile needs no more ("The Tail at Scale", 2013).
    const fn usual_budget() -> Percent {
        Percent::FIVE
    }
}

impl ModelDecl {
    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.aliases)
    }
}

/// `models[].targets[]`: an upstream by name, or one described inline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetDecl {
    /// A declared upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The model's name there; default: the name that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Share under the strategy `weighted`; default: the upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Lower is tried first; default: the upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What the model can do there and what not, where the catalog does not know it or is wrong; goes before what the model
    /// says.
    #[serde(default, skip_serializing_if = "CapabilitiesDecl::is_empty")]
    pub capabilities: CapabilitiesDecl,
    /// Inline: where the API begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Inline: its key. Kept sealed, apart, in the database.
    #[serde(default, skip_serializing)]
    pub key: Option<Secret>,
    /// Inline: its wire format; default: `openai_chat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
}

/// `users[]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserDecl {
    /// Unique among users.
    pub name: String,
    /// Credited once, as a ledger movement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening_credit: Option<Money>,
    /// Default: `defaults.policy`, or `soft` where an opening credit is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// `keys[]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyDecl {
    /// Unique among keys.
    pub name: String,
    /// Its owner.
    pub user: String,
    /// What clients send.
    pub key: Secret,
    /// What it may do.
    #[serde(flatten)]
    pub terms: KeyTerms,
}

/// What a key may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeyTerms {
    /// Models it may use; none named: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<NamePattern>,
    /// Its limits; zero: as `defaults.limits`.
    pub limits: Limits,
    /// The date (`2027-01-01`) or time (RFC 3339) from which it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Networks it may be used from; none named: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNet>,
    /// Whether it may use provider paths beyond the metered operations.
    pub passthrough: bool,
    /// The profile whose credentials it uses, and no others; none named: those without a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// `defaults`: what a resource does where it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Among candidates of the same priority.
    pub strategy: Strategy,
    /// More tries at the same credential after a server error.
    pub retries: u32,
    /// Before the first of them.
    pub retry_delay: Period,
    /// How much longer each wait is than the one before.
    pub retry_factor: u32,
    /// Tries of one call in all.
    pub attempts_max: u32,
    /// To an open connection.
    pub connect_timeout: Period,
    /// To the first content of an answer.
    pub first_byte_timeout: Period,
    /// Between two pieces of a stream.
    pub idle_timeout: Period,
    /// Silence towards a streaming client after which a sign of life is sent.
    pub heartbeat: Period,
    /// Of users that do not say.
    pub policy: Policy,
    /// Of keys that do not say.
    pub limits: Limits,
    /// Whether a client that hangs up pays for what was produced.
    pub bill_abandoned: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            strategy: Strategy::RoundRobin,
            retries: 3,
            retry_delay: Period::from_secs(1),
            retry_factor: 2,
            attempts_max: 12,
            connect_timeout: Period::from_secs(10),
            first_byte_timeout: Period::from_secs(120),
            idle_timeout: Period::from_secs(300),
            heartbeat: Period::from_secs(15),
            policy: Policy::Unlimited,
            limits: Limits::default(),
            bill_abandoned: true,
        }
    }
}
