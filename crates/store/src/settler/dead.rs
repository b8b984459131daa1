//! Records that cannot be booked are put aside with their reason, so that the rest goes on and nothing is lost.
//!
//! A file beside the journal, one JSON object per line, forced to the disk before the booking that skips the record is
//! committed. A crash in between writes the line again: the call's id tells.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::batch::Batch;
use crate::clock::now;
use crate::error::{Result, StoreError};
use crate::journal::{JournalPosition, Stretch};

/// The file's name in the journal's directory.
pub(crate) const FILE: &str = "dead-letters.jsonl";

/// The file, and how far it was written for.
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
    /// Records behind the booked position that are in the file already: a booking that is tried again does not write
    /// them again. At most one batch.
    written: BTreeSet<JournalPosition>,
}

#[derive(Serialize)]
struct Letter<'a> {
    at: i64,
    segment: u64,
    offset: u64,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl DeadLetters {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            written: BTreeSet::new(),
        }
    }

    /// Writes down what of a stretch cannot be booked; tells how much that is.
    pub(super) fn put_aside(&mut self, batch: &Batch<'_>, stretch: &Stretch<'_>) -> Result<u64> {
        let mut letters = Vec::new();
        for (index, reason) in &batch.bad {
            let record = stretch.records().nth(*index).unwrap_or_default();
            letters.push((stretch.end_of(*index), record, reason.as_str()));
        }
        let lost = stretch.damage.as_ref().map(|damage| {
            format!(
                "{} bytes from here to the end of the segment cannot be read",
                damage.bytes
            )
        });
        if let Some(reason) = &lost {
            letters.push((stretch.to, &[][..], reason.as_str()));
        }
        let count = letters.len() as u64;
        self.written.retain(|end| *end > stretch.from);
        letters.retain(|(end, ..)| !self.written.contains(end));
        if !letters.is_empty() {
            self.write(&letters)?;
            self.written.extend(letters.iter().map(|(end, ..)| *end));
        }
        Ok(count)
    }

    fn write(&self, letters: &[(JournalPosition, &[u8], &str)]) -> Result<()> {
        let mut text = Vec::new();
        for (end, record, reason) in letters {
            tracing::error!(
                journal.segment = end.segment,
                journal.offset = end.offset,
                reason,
                "a record cannot be booked and was put into dead-letters.jsonl"
            );
            let record_text = std::str::from_utf8(record).ok();
            let letter = Letter {
                at: now().0,
                segment: end.segment,
                offset: end.offset,
                reason,
                record: record_text,
                base64: record_text.is_none().then(|| STANDARD.encode(record)),
            };
            let line = serde_json::to_vec(&letter).map_err(|error| StoreError::Data(error.to_string()))?;
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let written = options.open(&self.path).and_then(|mut file: File| {
            file.write_all(&text)?;
            file.sync_data()
        });
        written.map_err(|error| StoreError::io(&self.path, error))
    }
}
