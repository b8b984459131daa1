//! Connections to the database, and nothing about what is in it.
//!
//! One SQL text serves SQLite and PostgreSQL (placeholders `$1`; types text, 64-bit integer, boolean); what differs is
//! here. SQLite has one writing connection, because it has one writer anyway and waiting in our own queue is fair, and a
//! few for reading. Connections are opened on demand.
//!
//! A file can be moved away and replaced under a running process, and SQLite would go on writing to the file that is no
//! longer there. So before each use the file at the path is compared with the one that is open; if it is another, the
//! connections are dropped and opened anew, and if there is none the database is *away*: an empty one is never made
//! while running, that would lose every account silently.

mod errors;
mod sqlite;

use std::sync::Arc;

use parking_lot::RwLock;
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    FromQueryResult, IsolationLevel, QueryResult, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _, Value,
};

use crate::error::{Result, StoreError};
use crate::limits::{ACQUIRE_WAIT, POSTGRES_CONNECTIONS_MAX};
use crate::vault::KeyRing;
use sqlite::FileId;
pub(crate) use sqlite::SqliteFile;

/// Which SQL is spoken where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// The database.
pub(crate) struct Db {
    place: Place,
    max_connections: u32,
    /// Opens what rows keep sealed.
    ring: KeyRing,
    pools: RwLock<Option<Arc<Pools>>>,
    /// Only one at a time opens connections anew.
    opening: tokio::sync::Mutex<()>,
    /// The identity that the database had at the start; another one is not ours.
    identity: RwLock<Option<String>>,
    /// The file that was open last, and its write-ahead log.
    last: RwLock<Option<(FileId, FileId)>>,
}

enum Place {
    Sqlite(SqliteFile),
    Postgres { url: String },
}

/// Whether a database URL can be read; touches nothing.
///
/// # Errors
/// It cannot: says why, without repeating it.
pub fn check_url(url: &str) -> Result<()> {
    Place::of(url).map(|_| ())
}

/// Refuses a SQLite file that is not there; touches nothing.
///
/// # Errors
/// It is not there, or the URL cannot be read.
pub fn check_there(url: &str) -> Result<()> {
    match Place::of(url)? {
        Place::Sqlite(file) if file.is_missing() => Err(StoreError::NoDatabase(shown(url))),
        _ => Ok(()),
    }
}

/// Where a database is, for people: without user, password and options.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    let place = rest.strip_prefix("//").unwrap_or(rest);
    let place = place.split('?').next().unwrap_or_default();
    match scheme {
        "sqlite" => place.to_owned(),
        _ => place.rsplit('@').next().unwrap_or_default().to_owned(),
    }
}

impl Place {
    fn of(url: &str) -> Result<Self> {
        if let Some(rest) = url.strip_prefix("postgresql://") {
            Self::postgres(format!("postgres://{rest}"))
        } else if url.starts_with("postgres://") {
            Self::postgres(url.to_owned())
        } else if url.starts_with("sqlite:") {
            SqliteFile::parse(url).map(Self::Sqlite)
        } else {
            let known = "write sqlite://path/to/file.db or postgres://user@host/database";
            Err(StoreError::Invalid(format!(
                "the database URL has an unknown scheme; {known}"
            )))
        }
    }

    /// The URL is read here once: the driver's own complaint about one that it cannot read repeats it, password included.
    fn postgres(url: String) -> Result<Self> {
        match url.parse::<sea_orm::sqlx::postgres::PgConnectOptions>() {
            Ok(_) => Ok(Self::Postgres { url }),
            Err(_) => Err(StoreError::Invalid(
                "the database URL cannot be read; write postgres://user:password@host:port/database".to_owned(),
            )),
        }
    }
}

struct Pools {
    /// The file that is open; `None` for PostgreSQL.
    file: Option<FileId>,
    writer: DatabaseConnection,
    reader: DatabaseConnection,
}

impl Db {
    /// Knows where the database is; makes an empty SQLite file (0600) and its folder where there is none.
    pub(crate) fn locate(url: &str, max_connections: u32, ring: KeyRing) -> Result<Self> {
        let place = Place::of(url)?;
        if let Place::Sqlite(file) = &place {
            file.create()?;
        }
        Ok(Self {
            place,
            max_connections,
            ring,
            pools: RwLock::new(None),
            opening: tokio::sync::Mutex::new(()),
            identity: RwLock::new(None),
            last: RwLock::new(None),
        })
    }

    pub(crate) const fn backend(&self) -> Backend {
        match self.place {
            Place::Sqlite(_) => Backend::Sqlite,
            Place::Postgres { .. } => Backend::Postgres,
        }
    }

    /// The file, where it is one.
    pub(crate) const fn file(&self) -> Option<&SqliteFile> {
        match &self.place {
            Place::Sqlite(file) => Some(file),
            Place::Postgres { .. } => None,
        }
    }

    /// From now on only a database of this identity is accepted at this place.
    pub(crate) fn remember_identity(&self, identity: String) {
        *self.identity.write() = Some(identity);
    }

    /// A connection for reading.
    pub(crate) async fn read(&self) -> Result<Reader<'_>> {
        let pools = self.pools().await?;
        Ok(Reader {
            db: self,
            connection: pools.reader.clone(),
        })
    }

    /// A transaction that writes; it holds the write lock from its beginning, so that it cannot fail half-way because
    /// another process was faster.
    pub(crate) async fn write(&self) -> Result<Tx<'_>> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let pools = self.pools().await?;
        self.begin(&pools.writer, options).await
    }

    /// A transaction that sees one moment of the whole database.
    pub(crate) async fn snapshot(&self) -> Result<Tx<'_>> {
        let postgres = self.backend() == Backend::Postgres;
        let options = TransactionOptions {
            isolation_level: postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: postgres.then_some(AccessMode::ReadOnly),
            sqlite_transaction_mode: None,
        };
        let pools = self.pools().await?;
        self.begin(&pools.reader, options).await
    }

    /// A reading statement that may not run inside a transaction. It does not keep writers waiting, however long it takes.
    pub(crate) async fn outside_transaction(&self, sql: &str) -> Result<()> {
        let pools = self.pools().await?;
        self.seen(pools.reader.execute_unprepared(sql).await).map(|_| ())
    }

    /// Ends all connections, after what they are doing.
    pub(crate) async fn close(&self) {
        let pools = self.pools.write().take();
        if let Some(pools) = pools {
            for connection in [&pools.writer, &pools.reader] {
                // Nothing is lost if closing fails: what was committed is committed.
                if let Err(error) = connection.close_by_ref().await {
                    tracing::debug!(%error, "closing the database failed");
                }
            }
        }
    }

    async fn begin(&self, connection: &DatabaseConnection, options: TransactionOptions) -> Result<Tx<'_>> {
        let inner = self.seen(connection.begin_with_options(options).await)?;
        Ok(Tx { db: self, inner })
    }

    /// The connections to what is at the place now.
    async fn pools(&self) -> Result<Arc<Pools>> {
        if let Some(pools) = self.current()? {
            return Ok(pools);
        }
        let _alone = self.opening.lock().await;
        if let Some(pools) = self.current()? {
            return Ok(pools);
        }
        // Opening is rare, and its future so large that whoever reads or writes would carry it along.
        let pools = Box::pin(self.connect()).await?;
        let pools = Arc::new(pools);
        self.check_identity(&pools).await?;
        *self.pools.write() = Some(Arc::clone(&pools));
        Ok(pools)
    }

    /// The open connections, if they lead to the file that is at the path.
    fn current(&self) -> Result<Option<Arc<Pools>>> {
        let pools = self.pools.read().clone();
        let Place::Sqlite(file) = &self.place else {
            return Ok(pools);
        };
        let there = file.id();
        if let (Some(pools), Ok(there)) = (&pools, &there)
            && pools.file.as_ref() == Some(there)
        {
            self.remember_log(file, *there);
            return Ok(Some(Arc::clone(pools)));
        }
        if pools.is_some() {
            // Dropping is enough: SQLite notices by itself that the file was moved, and then touches neither it nor
            // the log of whatever lies at the path now.
            self.drop_connections();
        }
        there.map(|_| None)
    }

    /// Notes, once per file, which write-ahead log is its own.
    fn remember_log(&self, file: &SqliteFile, there: FileId) {
        let known = self.last.read().is_some_and(|(last, _)| last == there);
        if let (false, Some(log)) = (known, file.log_id()) {
            *self.last.write() = Some((there, log));
        }
    }

    /// SQLite would play the log of the old file into another one that was put in its place, and ruin it.
    fn refuse_foreign_log(&self, file: &SqliteFile, there: FileId) -> Result<()> {
        let Some((last, log)) = *self.last.read() else {
            return Ok(());
        };
        if last == there || file.log_id() != Some(log) {
            return Ok(());
        }
        let mend = "the -wal and -shm files beside it still belong to the old one; move them away too";
        Err(StoreError::Away(format!("the file was replaced, but {mend}")))
    }

    fn drop_connections(&self) {
        *self.pools.write() = None;
    }

    async fn connect(&self) -> Result<Pools> {
        match &self.place {
            Place::Sqlite(file) => {
                let id = file.id()?;
                self.refuse_foreign_log(file, id)?;
                let (writer, reader) = file.connect().await?;
                Ok(Pools {
                    file: Some(id),
                    writer,
                    reader,
                })
            }
            Place::Postgres { url } => {
                let connections = if self.max_connections == 0 {
                    POSTGRES_CONNECTIONS_MAX
                } else {
                    self.max_connections
                };
                let mut options = ConnectOptions::new(url.as_str());
                options
                    // One may wait for the other inside a request, so never fewer than two.
                    .max_connections(connections.max(2))
                    .min_connections(0)
                    .connect_lazy(true)
                    .acquire_timeout(ACQUIRE_WAIT)
                    .sqlx_logging(false)
                    .record_stmt_in_spans(false);
                let connection = Database::connect(options)
                    .await
                    .map_err(|error| errors::sorted(&error))?;
                Ok(Pools {
                    file: None,
                    writer: connection.clone(),
                    reader: connection,
                })
            }
        }
    }

    /// A file that was put in the place of ours must be a copy of ours.
    async fn check_identity(&self, pools: &Pools) -> Result<()> {
        let Some(expected) = self.identity.read().clone() else {
            return Ok(());
        };
        let statement = statement(self.backend(), "SELECT identity FROM meta", Vec::new());
        let row = pools
            .reader
            .query_one_raw(statement)
            .await
            .map_err(|error| errors::sorted(&error))?;
        let found: Option<String> = row.and_then(|row| row.try_get_by_index(0).ok());
        if found.as_ref() == Some(&expected) {
            return Ok(());
        }
        Err(StoreError::Away(
            "another database lies in its place; put the right one back, or restart".to_owned(),
        ))
    }

    /// Sorts an error, and drops connections that lead nowhere.
    fn seen<T>(&self, result: std::result::Result<T, sea_orm::DbErr>) -> Result<T> {
        result.map_err(|error| {
            if self.backend() == Backend::Sqlite && errors::is_broken(&error) {
                self.drop_connections();
            }
            match (&self.place, errors::sorted(&error)) {
                (Place::Postgres { url }, StoreError::Away(why)) if errors::is_unconnected(&error) => {
                    let mend = "is a server there, and is that the place? It is `storage.url`, or DATABASE_URL";
                    StoreError::Away(format!("{}: {why}; {mend}", shown(url)))
                }
                (_, sorted) => sorted,
            }
        })
    }
}

/// A connection for reading, outside a transaction.
pub(crate) struct Reader<'a> {
    db: &'a Db,
    connection: DatabaseConnection,
}

/// A transaction. Dropped without [`commit`](Tx::commit), it never happened.
pub(crate) struct Tx<'a> {
    db: &'a Db,
    inner: DatabaseTransaction,
}

impl Tx<'_> {
    pub(crate) async fn commit(self) -> Result<()> {
        self.db.seen(self.inner.commit().await)
    }

    pub(crate) const fn backend(&self) -> Backend {
        self.db.backend()
    }
}

/// Running SQL, alike for both.
pub(crate) trait Sql {
    /// The library's type of it.
    type Connection: ConnectionTrait;

    /// What connection, and whose.
    fn connection(&self) -> (&Db, &Self::Connection);

    /// Opens what rows keep sealed.
    fn ring(&self) -> &KeyRing {
        &self.connection().0.ring
    }

    /// Runs a statement; tells how many rows it touched.
    async fn exec(&self, sql: &str, values: Vec<Value>) -> Result<u64> {
        let (db, connection) = self.connection();
        let result = connection.execute_raw(statement(db.backend(), sql, values)).await;
        db.seen(result).map(|result| result.rows_affected())
    }

    /// All rows.
    async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>> {
        let (db, connection) = self.connection();
        db.seen(connection.query_all_raw(statement(db.backend(), sql, values)).await)
    }

    /// All rows, read.
    async fn all<T: FromQueryResult>(&self, sql: &str, values: Vec<Value>) -> Result<Vec<T>> {
        let rows = self.rows(sql, values).await?;
        rows.iter()
            .map(|row| T::from_query_result(row, "").map_err(|error| errors::sorted(&error)))
            .collect()
    }

    /// The first row, read.
    async fn one<T: FromQueryResult>(&self, sql: &str, values: Vec<Value>) -> Result<Option<T>> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// One integer that must be there.
    async fn number(&self, sql: &str, values: Vec<Value>) -> Result<i64> {
        let rows = self.rows(sql, values).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Data("a row is missing".to_owned()))?;
        row.try_get_by_index(0).map_err(|error| errors::sorted(&error))
    }
}

impl Sql for Reader<'_> {
    type Connection = DatabaseConnection;

    fn connection(&self) -> (&Db, &DatabaseConnection) {
        (self.db, &self.connection)
    }
}

impl Sql for Tx<'_> {
    type Connection = DatabaseTransaction;

    fn connection(&self) -> (&Db, &DatabaseTransaction) {
        (self.db, &self.inner)
    }
}

fn statement(backend: Backend, sql: &str, values: Vec<Value>) -> Statement {
    let backend = match backend {
        Backend::Sqlite => DbBackend::Sqlite,
        Backend::Postgres => DbBackend::Postgres,
    };
    Statement::from_sql_and_values(backend, sql, values)
}

/// Values to bind: `values![name, 3_i64, None::<String>]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(sea_orm::Value::from($value)),*] };
}
pub(crate) use values;
