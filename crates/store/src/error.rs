//! What can go wrong with durable state, sorted by what the caller can do about it.
//!
//! One enum for the whole crate, because commands and the admin API render it the same way whichever table it came
//! from. What matters to the settler is a single question, [`StoreError::is_away`]: waiting helps, or it does not.

use std::fmt;
use std::path::PathBuf;

use crate::vault::VaultError;

/// A kind of named record, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A user.
    User,
    /// A client's key.
    Key,
    /// An upstream.
    Upstream,
    /// A credential of an upstream.
    Credential,
    /// An account at a provider.
    Account,
    /// A model.
    Model,
    /// A logged request.
    Request,
}

impl Kind {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Upstream => "upstream",
            Self::Credential => "credential",
            Self::Account => "account",
            Self::Model => "model",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why an operation on durable state failed. Messages say the mend and hold no secrets.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such record.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// Of what kind.
        kind: Kind,
        /// The name asked for.
        name: String,
    },
    /// The name is taken.
    #[error("{kind} `{name}` exists already ({origin}); choose another name, or remove that one first")]
    Exists {
        /// Of what kind.
        kind: Kind,
        /// The name.
        name: String,
        /// Who made the one that exists, in words.
        origin: String,
    },
    /// The record is declared in the configuration file.
    #[error("{kind} `{name}` is declared in the configuration file; change it there")]
    OwnedByFile {
        /// Of what kind.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// The input makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The database cannot be used now: locked, moved away, stopped, disk full. Waiting may help.
    #[error("the database cannot be used now: {0}")]
    Away(String),
    /// There is none yet, and none was to be made.
    #[error(
        "there is no database of tollgate at {0}; is the folder, and DATABASE_URL, the right one? `tollgate serve` and \
         `tollgate migrate` make one"
    )]
    NoDatabase(String),
    /// The database refused a value; trying again will not help.
    #[error("the database refused a value: {0}")]
    Data(String),
    /// The database is of a version that this program does not know, or is not ours at all.
    #[error("{0}")]
    Schema(String),
    /// A secret could not be sealed or unsealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A stored record cannot be read.
    #[error("{kind} `{name}` cannot be read: {why}")]
    Unreadable {
        /// Of what kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// This database cannot do that.
    #[error("{0}")]
    Unsupported(String),
    /// A file could not be used.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The journal belongs to another database, or to one that is not known.
    #[error(
        "the journal {dir} {whose}, and this is database {here}; {waiting} of its {records} receipts are not known to be \
         booked, and none may be booked here: use the database that the journal belongs to, or give this one a \
         directory of its own (storage.journal.dir), or let it have the journal without what is in it \
         (tollgate journal adopt)", dir = dir.display(), whose = whose(owner.as_deref())
    )]
    ForeignJournal {
        /// Which journal.
        dir: PathBuf,
        /// The identity of the database that it belongs to, as far as known.
        owner: Option<String>,
        /// The identity of this one.
        here: String,
        /// Receipts in it.
        records: u64,
        /// Of these: receipts that are not known to be booked.
        waiting: u64,
    },
    /// The journal could not be used.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
}

impl StoreError {
    /// Whether the same operation may succeed later without anyone changing the input.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    pub(crate) fn not_found(kind: Kind, name: impl Into<String>) -> Self {
        Self::NotFound {
            kind,
            name: name.into(),
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, error: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            error,
        }
    }
}

fn whose(owner: Option<&str>) -> String {
    owner.map_or_else(
        || "has receipts of a database that it does not name and that is not known".to_owned(),
        |owner| format!("belongs to database {owner}"),
    )
}

/// What this crate's functions return.
pub(crate) type Result<T> = std::result::Result<T, StoreError>;
