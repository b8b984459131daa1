//! The identity of a journal: by it a database remembers how far it has read. A directory that was emptied is another
//! journal, which begins at its beginning, rather than one whose records all seem to be booked.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use uuid::Uuid;

use super::JournalError;

const NAME: &str = "id";

pub(super) fn read(dir: &Path) -> Result<Option<String>, JournalError> {
    let path = dir.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<Uuid>() {
            Ok(id) => Ok(Some(id.to_string())),
            Err(_) => Err(JournalError::Foreign {
                path,
                what: "is not the identity of a journal; restore or remove it",
            }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io(path, error)),
    }
}

pub(super) fn read_or_make(dir: &Path) -> Result<String, JournalError> {
    if let Some(id) = read(dir)? {
        return Ok(id);
    }
    let id = Uuid::now_v7().to_string();
    let (path, part) = (dir.join(NAME), dir.join("id.part"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&part)
        .and_then(|mut file| file.write_all(id.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, &path))
        .map_err(|error| JournalError::io(path, error))?;
    Ok(id)
}
