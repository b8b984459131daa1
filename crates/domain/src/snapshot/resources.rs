//! What is declared, with the identity that the database gave it: what a snapshot is built from.
//!
//! Rows are as people wrote them. Nothing is looked up or filled in yet, and a name in one may lead nowhere.

use std::sync::Arc;
use std::time::Duration;

use super::{KeyHash, Problem};
use crate::account::{AccountMode, AccountState};
use crate::declaration::{CredentialTerms, Defaults, KeyTerms, ModelDecl, UpstreamDecl};
use crate::{
    CredentialId, Forced, Groups, KeyId, Policy, Provider, Secret, SystemPromptDecl, Timestamp, UpstreamId, UserId,
};

/// Who declared a resource. Decides which addresses an upstream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The configuration file or the command line: the operator's own.
    Operator,
    /// API or dashboard: its addresses must be public, or inside the allow-list.
    Remote,
}

/// An upstream with its identity.
#[derive(Clone, Debug)]
pub struct UpstreamRow {
    /// Identity.
    pub id: UpstreamId,
    /// Who declared it.
    pub origin: Origin,
    /// The declaration; its `credentials` are not read, `credentials` of this row are.
    pub decl: UpstreamDecl,
    /// Unsealed.
    pub credentials: Vec<CredentialRow>,
    /// What an operator decided on its breaker.
    pub forced: Option<Forced>,
}

/// A credential, unsealed.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Identity.
    pub id: CredentialId,
    /// Name within the upstream.
    pub name: String,
    /// The API key, or the access token of an account.
    pub secret: Secret,
    /// Share under `weighted`.
    pub weight: u32,
    /// How it may be used.
    pub terms: CredentialTerms,
    /// What became of it.
    pub state: CredentialState,
    /// Of one that logs in instead of having a key.
    pub account: Option<AccountState>,
}

/// What became of a credential: kept in the database, beside what was declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialState {
    /// Grows each time that it is put back into service. What was found out about it before is void.
    pub activation: i64,
    /// Out of service, until an operator puts it back.
    pub deactivated: Option<Deactivation>,
    /// Since when its account has no money, as far as is known.
    pub out_of_credit: Option<Timestamp>,
}

/// Why a credential is out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deactivation {
    /// Since when.
    pub at: Timestamp,
    /// In words for people, without secrets.
    pub reason: String,
}

/// A declared model. Inline targets have been made into upstreams before (see [`ModelDecl`]): a target whose
/// `upstream` is absent is a problem here.
#[derive(Clone, Debug)]
pub struct ModelRow {
    /// The declaration.
    pub decl: ModelDecl,
}

/// A user.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// Identity.
    pub id: UserId,
    /// Name.
    pub name: String,
    /// `None`: as `defaults.policy`.
    pub policy: Option<Policy>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Identity.
    pub id: KeyId,
    /// Name.
    pub name: String,
    /// Owner.
    pub user: UserId,
    /// HMAC of the key.
    pub hash: KeyHash,
    /// What it may do.
    pub terms: KeyTerms,
    /// `terms.expires`, read.
    pub expires: Option<Timestamp>,
}

/// Everything declared, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Grows with every change.
    pub revision: u64,
    /// Process-wide defaults.
    pub defaults: Defaults,
    /// What the operator puts into conversations.
    pub system_prompt: SystemPromptDecl,
    /// Where families of names belong.
    pub groups: Groups,
    /// For the whole call, where an upstream does not say (`server.request_timeout`).
    pub request_timeout: Option<Duration>,
    /// Provider presets of the operator's own; they go before the built-in ones.
    pub providers: Vec<Arc<Provider>>,
    /// Kinds of accounts that may log in.
    pub account_modes: Vec<Arc<AccountMode>>,
    /// Upstreams.
    pub upstreams: Vec<UpstreamRow>,
    /// Models.
    pub models: Vec<ModelRow>,
    /// Users.
    pub users: Vec<UserRow>,
    /// Keys.
    pub keys: Vec<KeyRow>,
    /// What was set aside before.
    pub problems: Vec<Problem>,
}
