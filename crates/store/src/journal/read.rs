//! Reading records in order, for booking.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::segment::{self, FIRST, HEADER, Parsed};
use super::{Journal, JournalError, JournalPosition};

/// Capacity that a reader keeps while there is nothing to read.
const IDLE_CAPACITY: usize = 64 * 1024;

/// Reads one journal forward.
#[derive(Default)]
pub(crate) struct Reader {
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
}

/// Some records in a row, all of one segment.
#[derive(Debug)]
pub(crate) struct Stretch<'a> {
    /// Where they begin.
    pub from: JournalPosition,
    /// Where the next one will be.
    pub to: JournalPosition,
    bytes: &'a [u8],
    ranges: Vec<Range<usize>>,
    /// What could not be read; `to` is behind it. Only without records.
    pub damage: Option<Damage>,
}

/// A part of a journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where it begins.
    pub at: JournalPosition,
    /// How long it is.
    pub bytes: u64,
}

impl<'a> Stretch<'a> {
    /// The records.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + '_ {
        self.ranges
            .iter()
            .map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }

    /// Where the record at `index` ends.
    pub(crate) fn end_of(&self, index: usize) -> JournalPosition {
        let end = self.ranges.get(index).map_or(0, |range| range.end as u64);
        JournalPosition {
            segment: self.from.segment,
            offset: self.from.offset + end,
        }
    }
}

impl Reader {
    /// The records from `from` on, as far as they are written; at most so many, in at most so many bytes. `None` where
    /// there is nothing.
    pub(crate) fn read(
        &mut self,
        journal: &Journal,
        from: JournalPosition,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Stretch<'_>>, JournalError> {
        let end = journal.bookable();
        let Some((from, limit)) = self.find(journal, from, end)? else {
            self.buffer.shrink_to(IDLE_CAPACITY);
            return Ok(None);
        };
        self.fill(journal, from, limit, bytes_max)?;
        let ranges = cut(&self.buffer, records_max);
        let read = ranges.last().map_or(0, |range| range.end as u64);
        let whole = from.offset + self.buffer.len() as u64 == limit;
        let damaged = ranges.is_empty() && (whole || self.buffer.len() == bytes_max);
        let to = JournalPosition {
            offset: if damaged { limit } else { from.offset + read },
            ..from
        };
        let damage = damaged.then_some(Damage {
            at: from,
            bytes: limit - from.offset,
        });
        Ok(Some(Stretch {
            from,
            to,
            bytes: &self.buffer,
            ranges,
            damage,
        }))
    }

    /// Where the next record is, and where its segment ends.
    fn find(
        &mut self,
        journal: &Journal,
        from: JournalPosition,
        end: JournalPosition,
    ) -> Result<Option<(JournalPosition, u64)>, JournalError> {
        let mut at = JournalPosition {
            offset: from.offset.max(FIRST),
            ..from
        };
        loop {
            if at >= end {
                return Ok(None);
            }
            let there = if at.segment == end.segment {
                Some(end.offset)
            } else {
                self.sealed_size(journal, at.segment)?
            };
            if let Some(limit) = there.filter(|limit| at.offset < *limit) {
                return Ok(Some((at, limit)));
            }
            let next = segment::list(journal.dir())?
                .into_iter()
                .map(|(number, _)| number)
                .find(|n| *n > at.segment);
            let next = next.unwrap_or(end.segment);
            if at.segment != 0 && (there.is_none() || next != at.segment + 1) {
                tracing::error!(
                    journal.segment = at.segment,
                    journal.next = next,
                    "segments of the journal are missing; the receipts in them cannot be booked"
                );
            }
            at = JournalPosition {
                segment: next,
                offset: FIRST,
            };
        }
    }

    /// The size of a segment that is written no more; `None` where it is gone.
    fn sealed_size(&mut self, journal: &Journal, number: u64) -> Result<Option<u64>, JournalError> {
        if number == 0 {
            return Ok(None);
        }
        let path = segment::path(journal.dir(), number);
        match self.file(journal, number).and_then(File::metadata) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::io(path, error)),
        }
    }

    fn fill(
        &mut self,
        journal: &Journal,
        from: JournalPosition,
        limit: u64,
        bytes_max: usize,
    ) -> Result<(), JournalError> {
        let size = usize::try_from(limit - from.offset)
            .unwrap_or(usize::MAX)
            .min(bytes_max);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(size, 0);
        let read = self
            .file(journal, from.segment)
            .and_then(|file| file.read_exact_at(&mut buffer, from.offset));
        self.buffer = buffer;
        read.map_err(|error| {
            self.open = None;
            JournalError::io(segment::path(journal.dir(), from.segment), error)
        })
    }

    fn file(&mut self, journal: &Journal, number: u64) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.open = Some((number, File::open(segment::path(journal.dir(), number))?));
        }
        self.open
            .as_ref()
            .map(|(_, file)| file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The records at the beginning of some bytes.
fn cut(bytes: &[u8], records_max: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while ranges.len() < records_max
        && let Some(Parsed::Record(size)) = bytes.get(at..).map(segment::parse)
    {
        ranges.push(at + HEADER..at + HEADER + size);
        at += HEADER + size;
    }
    ranges
}
