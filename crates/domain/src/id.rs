//! Identities that cannot be mixed up.
//!
//! Rows are known by 64-bit integers, calls by `UUIDv7` (sortable by time, made by the gateway and never by a client,
//! because money is keyed by them).

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// A user: who owns keys and money.
    UserId
);
row_id!(
    /// A key: what a client authenticates with.
    KeyId
);
row_id!(
    /// An upstream: a configured endpoint at a provider.
    UpstreamId
);
row_id!(
    /// A credential of an upstream.
    CredentialId
);

impl UserId {
    /// The built-in user behind `security.master_key`: policy `unlimited`, no balance.
    pub const MASTER: Self = Self(0);
}

impl KeyId {
    /// The built-in key that is `security.master_key`.
    pub const MASTER: Self = Self(0);
}

/// One client request. Unique across replicas and restarts; the ledger's idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub Uuid);

impl std::str::FromStr for CallId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
