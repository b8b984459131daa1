//! A copy of the database, taken while it is in use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::store::Store;

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Writes the copy beside its final name first, so that a name without an ending is always a whole copy.
pub(crate) async fn run(store: &Store, to: &Path) -> Result<Backup> {
    if store.db().file().is_none() {
        return Err(StoreError::Unsupported(
            "the database is PostgreSQL; back it up with `pg_dump` (the journal replays what a restored copy lacks)"
                .to_owned(),
        ));
    }
    if to.exists() {
        let exists = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "exists already; choose another name");
        return Err(StoreError::io(to, exists));
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    create_private(&part)?;
    let text = part
        .to_str()
        .ok_or_else(|| StoreError::Invalid("the path is not UTF-8".to_owned()))?;
    let copied = store
        .db()
        .outside_transaction(&format!("VACUUM INTO '{}'", text.replace('\'', "''")))
        .await;
    let finished = copied.and_then(|()| finish(&part, to));
    if finished.is_err() {
        // Best effort: the error that is told is the one that matters.
        drop(fs::remove_file(&part));
    }
    finished
}

/// SQLite writes into an existing empty file, and keeps its mode: nobody else reads it at any moment.
fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let made = options
        .open(path)
        .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)));
    made.map_err(|error| StoreError::io(path, error))
}

fn finish(part: &Path, to: &Path) -> Result<Backup> {
    let file = fs::File::open(part).map_err(|error| StoreError::io(part, error))?;
    file.sync_all().map_err(|error| StoreError::io(part, error))?;
    let bytes = file.metadata().map_err(|error| StoreError::io(part, error))?.len();
    fs::rename(part, to).map_err(|error| StoreError::io(to, error))?;
    Ok(Backup {
        path: to.to_owned(),
        bytes,
    })
}
