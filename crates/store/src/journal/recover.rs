//! Opening a directory that may have been left in the middle of a write.
//!
//! Only the last segment can have a torn tail: a segment is left for the next one only after its last write succeeded.
//! Everything from the first bad record on is cut off and kept aside, never read: bytes behind a damaged record may look
//! like records and be half of one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::segment::{self, FIRST, HEADER, MAGIC, Parsed};
use super::{JournalError, JournalPosition};
use crate::limits::RECORD_BYTES_MAX;

/// Read at once while looking for the end; more than any record.
const PIECE_BYTES: usize = 2 * RECORD_BYTES_MAX;

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
    let size = file.metadata().map_err(error)?.len();
    let good = good_length(&file, size).map_err(error)?;
    if good < size {
        keep_aside(dir, number, &file, good)?;
        tracing::warn!(
            journal.segment = number,
            journal.offset = good,
            journal.cut_bytes = size - good,
            "the journal ended in the middle of a record; the rest was cut off and kept as .torn"
        );
        file.set_len(good).map_err(error)?;
    }
    if good == 0 {
        file.write_all_at(MAGIC, 0).map_err(error)?;
    }
    let end = JournalPosition {
        segment: number,
        offset: good.max(FIRST),
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

/// Bytes from the beginning that are whole, undamaged records. A segment may be large and a start shall be quick and
/// small, so it is read piece by piece.
pub(super) fn good_length(file: &File, size: u64) -> io::Result<u64> {
    let mut buffer = vec![0; FIRST as usize];
    if size < FIRST || file.read_exact_at(&mut buffer, 0).is_err() || buffer != MAGIC {
        return Ok(0);
    }
    let mut good = FIRST;
    while good < size {
        buffer.resize(usize::try_from(size - good).unwrap_or(PIECE_BYTES).min(PIECE_BYTES), 0);
        file.read_exact_at(&mut buffer, good)?;
        let before = good;
        let mut rest = buffer.as_slice();
        while let Parsed::Record(length) = segment::parse(rest) {
            good += (HEADER + length) as u64;
            rest = rest.get(HEADER + length..).unwrap_or_default();
        }
        // A piece is larger than any record: one without progress begins with damage.
        if good == before {
            break;
        }
    }
    Ok(good)
}

fn keep_aside(dir: &Path, number: u64, mut file: &File, good: u64) -> Result<(), JournalError> {
    let path = dir.join(format!("{number:020}.{good}.torn"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let kept = file
        .seek(io::SeekFrom::Start(good))
        .and_then(|_| options.open(&path))
        .and_then(|mut torn| io::copy(&mut file, &mut torn));
    kept.map(|_| ()).map_err(|error| JournalError::io(path, error))
}
