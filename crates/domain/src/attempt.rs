//! The record of one try.

use serde::{Deserialize, Serialize};

use crate::money::nanos;
use crate::{CredentialId, Dialect, FailureClass, Money, UpstreamId, Usage, UsageSource};

/// One try at one target with one credential, as receipts and the request log keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The upstream tried.
    pub upstream: UpstreamId,
    /// Its name at that time.
    pub upstream_name: String,
    /// The credential used.
    pub credential: CredentialId,
    /// Its name at that time (never the secret).
    pub credential_name: String,
    /// The model's name there.
    pub model: String,
    /// The status it answered, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed, also where that was in the middle of its answer; absent where it served to the end, or to the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureClass>,
    /// Milliseconds from the call's start to the try's.
    pub started_ms: u32,
    /// Milliseconds that the try took, up to the end of its answer or its failure. (When a stream's first content came is in
    /// the receipt.)
    pub took_ms: u32,
    /// The format that the upstream was asked in, where it is not the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// What one of the two formats cannot say and therefore did not arrive: `what: why not`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// How it went on with an answer that the one before it broke off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<Recovered>,
    /// What it used before it broke off and another went on with its answer, or may have used when it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke: Option<Box<Broke>>,
    /// Whether it was begun beside the one before it, which took long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hedge: bool,
    /// Whether it was given up because the one beside it answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
}

/// How an answer that broke off is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovered {
    /// From its beginning: the client had seen nothing of it.
    Restarted,
    /// From where it broke off: the model was given what had been said.
    Continued,
}

impl Recovered {
    /// The word in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Continued => "continued",
        }
    }
}

/// What an answer used that broke off or was not waited for. Nobody is charged for it; what it cost is part of the receipt's cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broke {
    /// What it used.
    pub usage: Usage,
    /// Where `usage` comes from.
    pub usage_source: UsageSource,
    /// What that is worth.
    #[serde(with = "nanos")]
    pub cost: Money,
}
