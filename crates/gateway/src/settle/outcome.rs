//! What others tell the account of how a call ended, and what they get for it.

use dialects::Report;
use domain::snapshot::Target;
use domain::{CredentialId, Ending, Fault, FaultKind, Money, Timestamp};
use store::Ticket;

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) ending: Ending,
    /// What the client got.
    pub(crate) status: u16,
    /// Who answered, if anybody did.
    pub(crate) served: Option<Served<'a>>,
    pub(crate) first_content: Option<Timestamp>,
    pub(crate) error: Option<String>,
}

/// What an upstream delivered.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    pub(crate) target: &'a Target,
    pub(crate) credential: CredentialId,
    pub(crate) report: Report,
    /// Whether content went to the client.
    pub(crate) relayed: bool,
    /// Tokens of sound that did, where nobody reports them.
    pub(crate) sound_tokens: u64,
}

/// What a finished call cost, and the durability of its receipt.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) charged: Money,
    pub(crate) ticket: Ticket,
}

/// The refusal of an answer whose receipt cannot be written.
pub(crate) fn unrecorded() -> Fault {
    Fault::new(
        FaultKind::Unrecordable,
        "the call could not be recorded, so its answer is withheld",
    )
}
