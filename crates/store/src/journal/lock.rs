//! One process per journal: an advisory lock that the kernel drops when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::JournalError;

const NAME: &str = "lock";

/// The lock of a directory, held while this lives.
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    pub(super) fn take(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| JournalError::io(&path, error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(JournalError::Locked {
                dir: dir.to_owned(),
                holder: holder_in(&mut file),
            });
        }
        let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(|error| JournalError::io(&path, error))?;
        Ok(Self { _file: file })
    }
}

/// Who has the lock now; `None` where nobody has.
pub(super) fn holder(dir: &Path) -> Option<String> {
    let mut file = File::open(dir.join(NAME)).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => Some(holder_in(&mut file)),
    }
}

fn holder_in(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "(unknown)".to_owned(),
    }
}
