//! The SQLite file: where it is, whether it is still the same one, and how it is opened.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sea_orm::{ConnectOptions, Database, DatabaseConnection};

use super::errors;
use crate::error::{Result, StoreError};
use crate::limits::{BUSY_WAIT, SQLITE_READERS_MAX};

/// Pages of the write-ahead log before its content is moved into the file: 16 MiB. The default of 4 MiB writes the same
/// hot pages (the last leaf of each index) four times as often.
const CHECKPOINT_PAGES: &str = "2000";

/// Bytes of a page in a new file. Receipts are appended, so what counts is system calls per byte: each page is written
/// by two into the log and by one into the file. Larger ones would make the dozen hot pages of a small batch dearer.
const PAGE_BYTES: u32 = 8192;

/// Page cache of one connection in KiB (negative by SQLite's convention). The system's own cache holds the file anyway.
const CACHE_KIB: &str = "-2048";

/// A SQLite database file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteFile {
    path: PathBuf,
}

/// A file as such, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl SqliteFile {
    /// From `sqlite://data/tollgate.db` or `sqlite:///var/lib/tollgate.db`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))
            .unwrap_or_default();
        let path = rest.split('?').next().unwrap_or_default();
        if path.is_empty() || path.contains(":memory:") {
            let mend = "write sqlite://path/to/file.db";
            return Err(StoreError::Invalid(format!(
                "the database URL names no file, and accounts need one; {mend}"
            )));
        }
        Ok(Self {
            path: PathBuf::from(path),
        })
    }

    /// Whether there is no such file. One that cannot be asked for is left to who opens it.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.path.try_exists(), Ok(false))
    }

    /// Makes the folder (0700) and an empty file (0600) where there is none. SQLite gives its other files the same mode.
    pub(crate) fn create(&self) -> Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| StoreError::io(folder, error))?;
        }
        match fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
        {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => self.restrict(),
            Err(error) => Err(StoreError::io(&self.path, error)),
        }
    }

    /// Which file is at the path; an error where there is none.
    pub(crate) fn id(&self) -> Result<FileId> {
        match fs::metadata(&self.path) {
            Ok(meta) => Ok(FileId {
                device: meta.dev(),
                inode: meta.ino(),
            }),
            Err(error) => Err(StoreError::Away(format!(
                "{}: {error}; put the file back",
                self.path.display()
            ))),
        }
    }

    /// Which write-ahead log lies beside the path.
    pub(crate) fn log_id(&self) -> Option<FileId> {
        let mut path = self.path.as_os_str().to_owned();
        path.push("-wal");
        let meta = fs::metadata(PathBuf::from(path)).ok()?;
        Some(FileId {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// The writing and the reading connections.
    pub(crate) async fn connect(&self) -> Result<(DatabaseConnection, DatabaseConnection)> {
        Ok((self.pool(1).await?, self.pool(SQLITE_READERS_MAX).await?))
    }

    /// A database with keys in it is nobody else's to read.
    fn restrict(&self) -> Result<()> {
        let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode());
        let restricted = mode(&self.path).and_then(|mode| {
            let open_to_others = mode & 0o077 != 0;
            if open_to_others {
                fs::set_permissions(&self.path, fs::Permissions::from_mode(mode & 0o700))
            } else {
                Ok(())
            }
        });
        restricted.map_err(|error| StoreError::io(&self.path, error))
    }

    async fn pool(&self, connections: u32) -> Result<DatabaseConnection> {
        let path = self.path.clone();
        let mut options = ConnectOptions::new("sqlite://placeholder");
        options
            .max_connections(connections)
            .min_connections(0)
            .connect_lazy(true)
            // Whoever has the connection may be waiting for another process.
            .acquire_timeout(BUSY_WAIT * 2)
            // The connection is in this process: a ping would cost a thread switch and prove nothing.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_sqlite_opts(move |options| {
                options
                    .filename(&path)
                    .create_if_missing(false)
                    .busy_timeout(BUSY_WAIT)
                    .foreign_keys(false)
                    .page_size(PAGE_BYTES)
                    .pragma("journal_mode", "WAL")
                    // The journal is the durable truth, and the position up to which it is booked is in the same
                    // transaction: commits lost in a power cut are booked again. So no fsync per commit.
                    .pragma("synchronous", "NORMAL")
                    .pragma("temp_store", "MEMORY")
                    .pragma("cache_size", CACHE_KIB)
                    .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            });
        Database::connect(options).await.map_err(|error| errors::sorted(&error))
    }
}
