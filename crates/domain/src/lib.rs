//! The nouns of Tollgate, and nothing that acts on them.
//!
//! Every other crate speaks in these types, so a concept has one name and one definition from the YAML file to
//! the journal. There is no IO, no clock and no randomness here: what changes with time takes a [`Timestamp`].
//! Keeping the nouns alone at the bottom is what lets `dialects`, `routing` and `metering` stay strangers to each
//! other and still agree (see `docs/adr/0001-crates-by-purity.md`).

pub mod account;
pub mod attempt;
pub mod capability;
pub mod catalog;
pub mod cloud;
pub mod declaration;
pub mod dialect;
pub mod failure;
pub mod fault;
pub mod forced;
pub mod groups;
pub mod id;
pub mod limits;
pub mod money;
pub mod names;
pub mod operation;
pub mod pin;
pub mod policy;
pub mod price;
pub mod provider;
pub mod receipt;
pub mod rests;
pub mod secret;
pub mod snapshot;
pub mod system_prompt;
pub mod time;
pub mod units;
pub mod usage;
pub mod windows;

pub use attempt::{AttemptRecord, Broke, Recovered};
pub use capability::{Capabilities, Capability, CapabilitySet, Lack, Needs};
pub use dialect::{Dialect, Surface};
pub use failure::{Failure, FailureClass, Scope};
pub use fault::{Fault, FaultKind};
pub use forced::Forced;
pub use groups::Groups;
pub use id::{CallId, CredentialId, KeyId, UpstreamId, UserId};
pub use money::Money;
pub use names::NamePattern;
pub use operation::Operation;
pub use pin::{Job, Pin, Turn};
pub use policy::Policy;
pub use price::{Price, Rates};
pub use provider::Provider;
pub use receipt::{DecisionText, Ending, KeepDecisions, Receipt, UsageSource};
pub use rests::NamedRests;
pub use secret::Secret;
pub use snapshot::Snapshot;
pub use system_prompt::{PromptMode, SystemPrompt, SystemPromptDecl};
pub use time::Timestamp;
pub use units::Units;
pub use usage::Usage;
pub use windows::{Window, Windows};
