//! Looking at a journal from outside: for `tollgate journal status`, beside a running server or without one.

use std::fs;
use std::path::Path;

use super::segment::{self, HEADER, MAGIC, Parsed};
use super::{JournalError, JournalPosition, id, lock};

/// What a journal's directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Its identity; `None` for a directory without one.
    pub id: Option<String>,
    /// The process that has it.
    pub held_by: Option<String>,
    /// Segment files.
    pub segments: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// Whole records.
    pub records: u64,
    /// Of these: records that the database does not know yet.
    pub waiting: u64,
    /// Bytes that are no records. In the last segment of a running server they may be about to become one.
    pub damaged_bytes: u64,
    /// Tails that were cut off after crashes.
    pub torn_files: usize,
    /// Records that were put aside because the database refused them.
    pub dead_letters: u64,
}

pub(super) fn run(dir: &Path, booked: Option<JournalPosition>) -> Result<JournalReport, JournalError> {
    let booked = booked.unwrap_or_default();
    let mut report = JournalReport {
        id: id::read(dir)?,
        held_by: lock::holder(dir),
        ..JournalReport::default()
    };
    for (number, _) in segment::list(dir)? {
        let path = segment::path(dir, number);
        // One that was deleted in between was booked.
        let Ok(bytes) = fs::read(&path) else { continue };
        report.segments += 1;
        report.bytes += bytes.len() as u64;
        let good = count(&bytes, number, booked, &mut report);
        report.damaged_bytes += (bytes.len() - good) as u64;
    }
    for entry in fs::read_dir(dir)
        .map_err(|error| JournalError::io(dir, error))?
        .flatten()
    {
        report.torn_files += usize::from(entry.path().extension().is_some_and(|end| end == "torn"));
    }
    if let Ok(letters) = fs::read_to_string(dir.join(crate::settler::DEAD_LETTERS)) {
        report.dead_letters = letters.lines().count() as u64;
    }
    Ok(report)
}

/// Counts records; returns where they end.
fn count(bytes: &[u8], number: u64, booked: JournalPosition, report: &mut JournalReport) -> usize {
    if !bytes.starts_with(MAGIC) {
        return 0;
    }
    let mut at = MAGIC.len();
    while let Some(Parsed::Record(size)) = bytes.get(at..).map(segment::parse) {
        let position = JournalPosition {
            segment: number,
            offset: at as u64,
        };
        report.records += 1;
        report.waiting += u64::from(position >= booked);
        at += HEADER + size;
    }
    at
}
