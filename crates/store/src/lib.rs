//! Everything durable: the database, the journal before it, and the vault for secrets in it.
//!
//! Two kinds of state meet here and must never be confused. *Resources* (users, keys, upstreams, models) are written
//! by people, one transaction each, and every write bumps a revision that the data plane watches. *Money* is written
//! by calls: a receipt is appended to the [`Journal`] before the end of an answer is released, and the [`Settler`]
//! carries it into the ledger later, in batches. The journal is the durable truth of what was consumed; the database
//! holds, in the same transaction as a batch, the position up to which it knows it. So a database that was away,
//! was restored from a backup, or lost its last commits in a power cut is brought up to date by reading on from there.
//!
//! SQL and its libraries are not visible outside this crate (`docs/adr/0007-caged-seaorm.md`).

mod audit;
mod backup;
mod balances;
mod clock;
mod credential_states;
mod credentials;
mod db;
mod error;
mod file;
mod forced;
mod hasher;
mod journal;
mod keys;
mod limits;
mod meta;
mod migrations;
mod models;
mod names;
mod oauth;
mod pins;
mod requests;
mod resources;
mod settings;
mod settler;
mod store;
mod turns;
mod upstreams;
mod usage;
mod users;
mod vault;

pub use audit::{Audit, AuditTotals, Discrepancy};
pub use backup::Backup;
pub use balances::{Balance, Balances, Movement, MovementKind};
pub use credentials::{CredentialChange, CredentialKind, CredentialRecord, Credentials};
pub use db::{check_there, check_url, shown};
pub use domain::snapshot::KeyHash;
pub use error::{Kind, StoreError};
pub use file::{Applied, FileResources};
pub use hasher::KeyHasher;
pub use journal::{
    AppendError, Binding, Journal, JournalError, JournalOptions, JournalPosition, JournalReport, JournalStatus, Sync,
    Ticket,
};
pub use keys::{KeyChange, KeyRecord, Keys, NewKey};
pub use limits::{AMOUNT_NANOS_MAX, CONVERSATION_TURNS_MAX};
pub use models::{ModelRecord, Models};
pub use names::Origin;
pub use oauth::{
    AccountRecord, AccountTokens, AccountUse, Lease, LeaseRequest, OAuthAccounts, PendingLogin, PendingLogins,
    RenewalFailure,
};
pub use pins::Pins;
pub use requests::{RequestRecord, Requests};
pub use settings::Settings;
pub use settler::{Adopted, Drained, Settler, SettlerStatus, SettlerWatch};
pub use store::{Store, StoreOptions};
pub use turns::Turns;
pub use upstreams::{UpstreamRecord, Upstreams};
pub use usage::{DayUsage, Totals, UsageViews};
pub use users::{UserChange, UserRecord, Users};
pub use vault::{KeyRing, VaultError};
