//! The bytes of a segment file.
//!
//! ```text
//! file   = magic, record*
//! record = length u32 LE, CRC-32 u32 LE of (length, bytes), bytes
//! ```
//! The CRC covers the length, and a length of zero is no record: a tail of zeros, which some file systems leave after a
//! power cut, is therefore damage and not an endless row of empty records.

use std::fs;
use std::path::{Path, PathBuf};

use super::JournalError;
use crate::limits::RECORD_BYTES_MAX;

/// What each segment begins with; the digit is the format's version.
pub(super) const MAGIC: &[u8; 8] = b"TGJRNL1\n";
/// Where the first record of a segment is.
pub(super) const FIRST: u64 = MAGIC.len() as u64;
/// Bytes before the record's own.
pub(super) const HEADER: usize = 8;

/// The header of a record.
pub(super) fn header(record: &[u8]) -> [u8; HEADER] {
    let length = (record.len() as u32).to_le_bytes();
    let crc = crc(length, record).to_le_bytes();
    let mut header = [0; HEADER];
    for (byte, value) in header.iter_mut().zip(length.into_iter().chain(crc)) {
        *byte = value;
    }
    header
}

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole record of this many bytes (without header).
    Record(usize),
    /// Perhaps a record, but the bytes end before it does.
    Short,
    /// Not a record.
    Bad,
}

/// Looks at the first record.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Parsed::Short;
    };
    let size = u32::from_le_bytes(*length) as usize;
    if size == 0 || size > RECORD_BYTES_MAX {
        return Parsed::Bad;
    }
    let Some((expected, rest)) = rest.split_first_chunk::<4>() else {
        return Parsed::Short;
    };
    let Some(record) = rest.get(..size) else {
        return Parsed::Short;
    };
    if crc(*length, record) == u32::from_le_bytes(*expected) {
        Parsed::Record(size)
    } else {
        Parsed::Bad
    }
}

fn crc(length: [u8; 4], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(record);
    hasher.finalize()
}

/// The file of a segment. Twenty digits hold any number and sort as text.
pub(super) fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}.log"))
}

/// The segments of a directory with their sizes, ascending.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, u64)>, JournalError> {
    let error = |error| JournalError::io(dir, error);
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|name| name.parse().ok());
        if let Some(number) = number {
            segments.push((number, entry.metadata().map_err(error)?.len()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}
