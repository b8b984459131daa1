//! The record of one finished call: what the journal keeps, the ledger books and `audit` proves.

mod decision;
mod text;

use serde::{Deserialize, Serialize};

pub use decision::{DecisionText, KeepDecisions};

use crate::money::nanos;
use crate::{
    AttemptRecord, CallId, CredentialId, Dialect, KeyId, Money, Operation, Rates, Timestamp, UpstreamId, Usage, UserId,
};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The whole answer was relayed.
    Complete,
    /// The client went away before the end.
    ClientGone,
    /// The upstream broke off, stalled or turned to nonsense after the first content.
    UpstreamGone,
    /// A time or size limit of ours ended it after the first content.
    Limit,
    /// No answer came: every attempt failed, or the upstream refused the caller's request.
    Failed,
}

impl Ending {
    /// The name in JSON, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::UpstreamGone => "upstream_gone",
            Self::Limit => "limit",
            Self::Failed => "failed",
        }
    }
}

/// Where the usage of a receipt comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// Nothing was consumed, or nothing is known.
    #[default]
    None,
    /// As the provider reported.
    Reported,
    /// Estimated from bytes, in whole or in part.
    Estimated,
    /// The provider's figures were impossible: recorded as they came, not charged.
    Quarantined,
}

impl UsageSource {
    /// The name in JSON, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The record of one finished call. Serialised as JSON in the journal; the names are a storage format, so a field may
/// be added (with a default) but never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Identity: booked at most once.
    pub call: CallId,
    /// Of a response within a realtime session: the session's own call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<CallId>,
    /// When the request's head was read.
    pub started_at: Timestamp,
    /// When the receipt was written.
    pub finished_at: Timestamp,
    /// Who pays.
    pub user: UserId,
    /// With which key.
    pub key: KeyId,
    /// What was asked.
    pub operation: Operation,
    /// In which format.
    pub dialect: Dialect,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// The model that the client named.
    pub model: String,
    /// The upstream that answered; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamId>,
    /// With which credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// The model that the upstream says answered, else the one it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_model: Option<String>,
    /// The status that the client got.
    pub status: u16,
    /// How it ended.
    pub ending: Ending,
    /// What it consumed.
    #[serde(default)]
    pub usage: Usage,
    /// Where `usage` comes from.
    #[serde(default)]
    pub usage_source: UsageSource,
    /// The provider's own usage object, kept where it was impossible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_raw: Option<String>,
    /// The rates applied; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// What the usage is worth at these rates, charged or not.
    #[serde(with = "nanos", default)]
    pub cost: Money,
    /// What is taken from the user.
    #[serde(with = "nanos", default)]
    pub charged: Money,
    /// The part of a chargeable cost beyond the hold: recorded, never taken.
    #[serde(with = "nanos", default)]
    pub uncollected: Money,
    /// The tries, in order.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
    /// Why they were tried, in this order, where that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionText>,
    /// Milliseconds to the first content; absent where none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u32>,
    /// Milliseconds in all.
    pub took_ms: u32,
    /// Why it failed, in words that may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
