//! Opening a directory that may have been left in the middle of a write.
//!
//! Only the last segment can have a torn tail: a segment is left for the next one only after its last write succeeded.
//! Everything from the first bad record on is cut off and kept aside, never read: bytes behind a damaged record may look
//! like records and be half of one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::segment::{self, FIRST, HEADER, MAGIC, Parsed};
use super::{JournalError, JournalPosition};

/// A directory that is ready to be appended to.
pub(super) struct Recovered {
    pub file: File,
    pub end: JournalPosition,
    /// Earlier segments and their sizes.
    pub sealed: BTreeMap<u64, u64>,
}

pub(super) fn run(dir: &Path) -> Result<Recovered, JournalError> {
    let mut sealed: BTreeMap<u64, u64> = segment::list(dir)?.into_iter().collect();
    let Some((number, _)) = sealed.pop_last() else {
        let file = create(dir, 1)?;
        return Ok(Recovered {
            file,
            end: JournalPosition {
                segment: 1,
                offset: FIRST,
            },
            sealed,
        });
    };
    let path = segment::path(dir, number);
    let error = |error| JournalError::io(&path, error);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(error)?;
    let bytes = fs::read(&path).map_err(error)?;
    let good = good_length(&bytes);
    if good < bytes.len() {
        keep_aside(dir, number, &bytes, good)?;
        tracing::warn!(
            journal.segment = number,
            journal.offset = good,
            journal.cut_bytes = bytes.len() - good,
            "the journal ended in the middle of a record; the rest was cut off and kept as .torn"
        );
        file.set_len(good as u64).map_err(error)?;
    }
    if good == 0 {
        file.write_all_at(MAGIC, 0).map_err(error)?;
    }
    let end = JournalPosition {
        segment: number,
        offset: (good as u64).max(FIRST),
    };
    Ok(Recovered { file, end, sealed })
}

/// Makes an empty segment.
pub(super) fn create(dir: &Path, number: u64) -> Result<File, JournalError> {
    let path = segment::path(dir, number);
    let mut options = OpenOptions::new();
    // Not `create_new`: an attempt before this one may have failed after making the file.
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&path).map_err(|error| JournalError::io(&path, error))?;
    file.write_all_at(MAGIC, 0)
        .map_err(|error| JournalError::io(&path, error))?;
    // The name must survive a power cut as the content does.
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| JournalError::io(dir, error))?;
    Ok(file)
}

/// Bytes from the beginning that are whole, undamaged records.
pub(super) fn good_length(bytes: &[u8]) -> usize {
    if !bytes.starts_with(MAGIC) {
        return 0;
    }
    let mut good = MAGIC.len();
    while let Some(Parsed::Record(size)) = bytes.get(good..).map(segment::parse) {
        good += HEADER + size;
    }
    good
}

fn keep_aside(dir: &Path, number: u64, bytes: &[u8], good: usize) -> Result<(), JournalError> {
    let path = dir.join(format!("{number:020}.{good}.torn"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let kept = options
        .open(&path)
        .and_then(|file| file.write_all_at(bytes.get(good..).unwrap_or_default(), 0));
    kept.map_err(|error| JournalError::io(path, error))
}
