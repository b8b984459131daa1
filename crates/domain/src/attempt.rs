//! The record of one try.

use serde::{Deserialize, Serialize};

use crate::{CredentialId, Dialect, FailureClass, UpstreamId};

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
    /// Why it failed; absent where it served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureClass>,
    /// Milliseconds from the call's start to the try's.
    pub started_ms: u32,
    /// Milliseconds that the try took, up to its answer's head or its failure.
    pub took_ms: u32,
    /// The format that the upstream was asked in, where it is not the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// What one of the two formats cannot say and therefore did not arrive: `what: why not`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
}
