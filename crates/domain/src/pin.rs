//! What lives on after its call: where an upstream keeps a thing for a client, and what Tollgate keeps itself.
//!
//! A response, a file or a batch exists at the upstream that made it and for the credential that asked for it, nowhere
//! else. A [`Pin`] remembers that, so that a later request which names the thing finds its way back, and nobody else's
//! does. A [`Turn`] is one step of a conversation that no upstream keeps, because it was translated.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::nanos;
use crate::{CallId, CredentialId, Dialect, KeyId, Money, Operation, Timestamp, UpstreamId, UserId};

/// Where a thing lives that an upstream made for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The upstream's name for it; Gemini's with its collection (`files/abc`).
    pub id: String,
    /// For whom it was made: to everybody else it does not exist.
    pub user: UserId,
    /// With which key.
    pub key: KeyId,
    /// Where it lives.
    pub upstream: UpstreamId,
    /// For which of our credentials there.
    pub credential: CredentialId,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it is forgotten here.
    pub expires_at: Timestamp,
    /// The work that is still to be paid for.
    pub job: Option<Job>,
    /// Of a response: so many bytes of the instructions that the upstream repeats are the operator's, before the client's own.
    pub operators_bytes: Option<u64>,
}

/// A call whose answer the upstream still works on, after the client was told to come back for it: what its receipt will
/// need. Serialised as JSON in the database, so a field may be added (with a default) but never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The call that began it; its receipt is written when the work is done, and booked once however often it is written.
    pub call: CallId,
    /// The model that the client named.
    pub model: String,
    /// The model's name at the upstream.
    pub target: String,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// When the call began.
    pub started: Timestamp,
    /// Length of the request's body.
    pub body_bytes: u64,
    /// What is held for it.
    #[serde(with = "nanos", default)]
    pub hold: Money,
    /// Of a batch: the format of its API. Each of its requests is billed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Dialect>,
    /// What all requests of a batch ask for, where its path says it; else `target` is empty too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
}

/// One step of a conversation that Tollgate keeps: what the client said, and what it was answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Turn {
    /// The answer's id.
    pub id: String,
    /// Whose it is: to everybody else it does not exist.
    pub user: UserId,
    /// With which key it was made.
    pub key: KeyId,
    /// The step before.
    pub previous: Option<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it is deleted.
    pub expires_at: Timestamp,
    /// What was said, as JSON. Sealed wherever it is stored.
    pub body: String,
}

impl fmt::Debug for Turn {
    /// Without what was said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
