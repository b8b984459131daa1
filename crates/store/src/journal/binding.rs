//! Which database a journal is booked into, kept beside its records.
//!
//! Receipts name users by numbers of one database. Booked into another one they would charge whoever has the number
//! there, and every proof of the accounts would still hold. The database cannot know that a journal is not its own (one
//! that it has never seen may belong to a backup that is older than it), so the journal remembers.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{JournalError, JournalPosition};

const NAME: &str = "database";
const PART: &str = "database.part";

/// The database of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The identity of the database and its copies.
    pub database: String,
    /// Up to where it was booked when this was written: at the end of a process that could say so. Never booked by; it
    /// tells how many receipts would be left behind.
    pub booked: JournalPosition,
}

/// `None`: it is bound to none yet.
pub(super) fn read(dir: &Path) -> Result<Option<Binding>, JournalError> {
    let path = dir.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).map(Some).ok_or(JournalError::Foreign {
            path,
            what: "does not say which database the journal belongs to; restore or remove it",
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io(path, error)),
    }
}

/// Survives a power cut once it returns: a receipt that is journalled afterwards is never without its database.
pub(super) fn write(dir: &Path, binding: &Binding) -> Result<(), JournalError> {
    let (path, part) = (dir.join(NAME), dir.join(PART));
    let Binding { database, booked } = binding;
    let text = format!("{database} {} {}\n", booked.segment, booked.offset);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|error| JournalError::io(path, error))
}

fn parse(text: &str) -> Option<Binding> {
    let mut words = text.split_ascii_whitespace();
    let database = words.next()?.to_owned();
    let booked = JournalPosition {
        segment: words.next()?.parse().ok()?,
        offset: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(Binding { database, booked })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let binding = Binding {
            database: "0192".to_owned(),
            booked: JournalPosition { segment: 3, offset: 77 },
        };
        write(dir.path(), &binding).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(binding));
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_that_cannot_be_read_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "0192 1", "0192 1 2 3", "0192 one 2"] {
            fs::write(dir.path().join(NAME), text).unwrap();
            assert!(read(dir.path()).is_err(), "{text:?}");
        }
    }
}
