//! Taking back what a failed flush left in the dark.
//!
//! Under `always` an answer ends as success only when its record is durable. So records behind the last flush that
//! succeeded belong to answers that are all refused when the next one fails, and must not be booked afterwards: the
//! settler reads only what is durable, and the rest is cut off here before writing goes on.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::JournalPosition;
use super::append::Writer;
use super::segment::{self, FIRST, HEADER, Parsed};

/// Records that were written and are taken back.
pub(super) type Undone = Vec<Vec<u8>>;

impl Writer {
    /// Cuts everything behind what is durable out of the files, and returns it.
    ///
    /// # Errors
    /// A file could not be read or cut: its records may be booked after all.
    pub(super) fn cut_back(&mut self, dir: &Path) -> io::Result<Undone> {
        let mut undone = Undone::new();
        for number in self.durable.segment..=self.end.segment {
            let keep = if number == self.durable.segment {
                self.durable.offset
            } else {
                FIRST
            };
            let size = self.sealed.get(&number).copied().unwrap_or(self.end.offset);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(segment::path(dir, number))?;
            let mut bytes = vec![0; usize::try_from(size.saturating_sub(keep)).map_err(io::Error::other)?];
            let read = file.read_at(&mut bytes, keep)?;
            bytes.truncate(read);
            file.set_len(keep)?;
            if let Some(sealed) = self.sealed.get_mut(&number) {
                *sealed = keep;
            } else {
                self.end.offset = keep;
            }
            undone.extend(records(&bytes));
        }
        self.durable = self.end;
        Ok(undone)
    }
}

/// The records at the beginning of some bytes.
fn records(mut bytes: &[u8]) -> Undone {
    let mut records = Undone::new();
    while let Parsed::Record(size) = segment::parse(bytes)
        && let (Some(record), Some(rest)) = (bytes.get(HEADER..HEADER + size), bytes.get(HEADER + size..))
    {
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

/// Up to where records may be booked: all that is written, or only what is durable.
pub(super) fn bookable(writer: &Writer, only_durable: bool) -> JournalPosition {
    if only_durable { writer.durable } else { writer.end }
}
