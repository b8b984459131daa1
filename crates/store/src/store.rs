//! The door to the database.

use std::fmt;
use std::sync::Arc;

use sea_orm::FromQueryResult;

use crate::audit::{self, Audit};
use crate::backup::{self, Backup};
use crate::balances::Balances;
use crate::credentials::{self, Credentials};
use crate::db::{Db, Sql as _, values};
use crate::error::{Result, StoreError};
use crate::hasher::KeyHasher;
use crate::journal::JournalPosition;
use crate::keys::Keys;
use crate::models::Models;
use crate::oauth::{OAuthAccounts, PendingLogins};
use crate::pins::Pins;
use crate::requests::Requests;
use crate::settings::Settings;
use crate::turns::{self, Turns};
use crate::upstreams::Upstreams;
use crate::usage::UsageViews;
use crate::users::Users;
use crate::vault::KeyRing;
use crate::{db, meta, migrations, settler};

/// The database, open. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) ring: KeyRing,
    hasher: KeyHasher,
    identity: String,
}

/// How to open it.
#[derive(Debug)]
pub struct StoreOptions {
    /// `sqlite://path/to/file.db` or `postgres://user@host/database`.
    pub url: String,
    /// By which secrets are sealed.
    pub ring: KeyRing,
    /// Connections to PostgreSQL at most; 0: as few as serve. SQLite has its own number.
    pub max_connections: u32,
    /// Whether to bring an older schema up to date, or to refuse it.
    pub migrate: bool,
}

impl Store {
    /// Connects, brings the schema up to date, unseals the hash key. Makes the SQLite file where there is none.
    ///
    /// # Errors
    /// The database is away, has a newer schema, or was sealed under another `ENCRYPTION_KEY`.
    pub async fn open(options: &StoreOptions) -> Result<Self> {
        let db = Db::locate(&options.url, options.max_connections, options.ring.clone())?;
        Self::open_at(db, options).await
    }

    /// The same where there is a database already: a look at the wrong place must neither succeed nor leave anything there.
    ///
    /// # Errors
    /// There is none, and those of [`Store::open`].
    pub async fn open_existing(options: &StoreOptions) -> Result<Self> {
        db::check_there(&options.url)?;
        let db = Db::locate(&options.url, options.max_connections, options.ring.clone())?;
        if migrations::is_new(&db).await? {
            return Err(StoreError::NoDatabase(db::shown(&options.url)));
        }
        Self::open_at(db, options).await
    }

    async fn open_at(db: Db, options: &StoreOptions) -> Result<Self> {
        if options.migrate {
            let schema = migrations::run(&db, &options.ring).await?;
            if schema.found != schema.wanted {
                tracing::info!(schema.found, schema.wanted, "the schema was brought up to date");
            }
        } else {
            migrations::check(&db).await?;
        }
        let (identity, hasher) = meta::open(&db, &options.ring).await?;
        db.remember_identity(identity.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                ring: options.ring.clone(),
                hasher,
                identity,
            }),
        })
    }

    /// What this database and its copies are told from others by.
    pub fn identity(&self) -> &str {
        &self.inner.identity
    }

    /// Hashes presented keys as this database does.
    pub fn hasher(&self) -> KeyHasher {
        self.inner.hasher.clone()
    }

    /// Grows with every change of a resource or setting, by whichever process.
    pub async fn revision(&self) -> Result<u64> {
        let revision = self
            .db()
            .read()
            .await?
            .number("SELECT revision FROM meta", values![])
            .await?;
        Ok(revision.unsigned_abs())
    }

    /// Users.
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }

    /// Client keys.
    pub fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// Upstreams.
    pub fn upstreams(&self) -> Upstreams<'_> {
        Upstreams(self)
    }

    /// Credentials of upstreams.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials(self)
    }

    /// Accounts: credentials that log in.
    pub fn oauth_accounts(&self) -> OAuthAccounts<'_> {
        OAuthAccounts(self)
    }

    /// Logins of accounts that are under way.
    pub fn pending_logins(&self) -> PendingLogins<'_> {
        PendingLogins(self)
    }

    /// Models.
    pub fn models(&self) -> Models<'_> {
        Models(self)
    }

    /// Balances and their movements.
    pub fn balances(&self) -> Balances<'_> {
        Balances(self)
    }

    /// Usage statistics.
    pub fn usage(&self) -> UsageViews<'_> {
        UsageViews(self)
    }

    /// The request log.
    pub fn requests(&self) -> Requests<'_> {
        Requests(self)
    }

    /// Where things live that upstreams made for clients.
    pub fn pins(&self) -> Pins<'_> {
        Pins(self)
    }

    /// Conversations that are kept here.
    pub fn turns(&self) -> Turns<'_> {
        Turns(self)
    }

    /// Settings that are changed at run time.
    pub fn settings(&self) -> Settings<'_> {
        Settings(self)
    }

    /// Proves that receipts, movements, balances and statistics agree.
    pub async fn audit(&self) -> Result<Audit> {
        audit::run(self).await
    }

    /// Copies the database to a new file.
    ///
    /// # Errors
    /// PostgreSQL: use `pg_dump`. The file exists already, or cannot be written.
    pub async fn backup(&self, to: &std::path::Path) -> Result<Backup> {
        backup::run(self, to).await
    }

    /// Seals every secret anew under the newest key of the ring; tells how many were under an older one.
    pub async fn reseal_all(&self) -> Result<u64> {
        Ok(credentials::reseal_all(self).await? + turns::reseal_all(self).await?)
    }

    /// Up to where a journal is booked; `None` for one that this database never saw.
    pub async fn journal_position(&self, journal: &str) -> Result<Option<JournalPosition>> {
        #[derive(FromQueryResult)]
        struct Row {
            segment: i64,
            position: i64,
        }
        let select = "SELECT segment, position FROM journals WHERE id = $1";
        let row = self.db().read().await?.one::<Row>(select, values![journal]).await?;
        Ok(row.map(|row| JournalPosition {
            segment: row.segment.unsigned_abs(),
            offset: row.position.unsigned_abs(),
        }))
    }

    /// Forgets how far a journal is booked, so that all of it that is kept is read again. What is booked already is
    /// not booked twice. A running server notices by itself.
    pub async fn rewind_journal(&self, journal: &str) -> Result<()> {
        let tx = self.db().write().await?;
        tx.exec(
            "UPDATE journals SET segment = 0, position = 0 WHERE id = $1",
            values![journal],
        )
        .await?;
        tx.commit().await
    }

    /// Whether the journal in a directory may be booked into this database.
    ///
    /// # Errors
    /// It belongs to another one.
    pub async fn check_journal(&self, dir: &std::path::Path) -> Result<()> {
        settler::check_journal(self, dir).await.map(|_| ())
    }

    /// Whether the database answers at all.
    pub async fn ping(&self) -> Result<()> {
        self.revision().await.map(|_| ())
    }

    /// Ends the connections, after what they are doing.
    pub async fn close(self) {
        self.inner.db.close().await;
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.inner.ring
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.inner.db.backend())
            .finish_non_exhaustive()
    }
}

/// JSON of a declaration, for a text column.
pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Invalid(format!("cannot be stored as JSON: {error}")))
}
