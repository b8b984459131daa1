//! Writing records, and surviving that it fails.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cut::{self, Undone};
use super::recover::{self, Recovered};
use super::segment::{self, FIRST, HEADER};
use super::sync::{Flush, Ticket};
use super::{JournalOptions, JournalPosition, JournalStatus, Sync};
use crate::limits::{JOURNAL_BACKLOG_MAX, JOURNAL_KEPT_MAX, PROBE_EVERY, RECORD_BYTES_MAX};

/// How often segments are looked through for ones that may go.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// What a probe writes: a block, so that the file system must find one.
const PROBE_BYTES: usize = 4096;

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// An empty record, or one beyond the bound.
    #[error("a receipt of {0} bytes cannot be journalled")]
    Size(usize),
    /// The disk refused.
    #[error("the journal cannot be written: {0}")]
    Write(String),
    /// The database has been away for so long that the journal has grown to its bound.
    #[error("the journal has reached its bound while the database is away")]
    Backlog,
}

/// The journal as its threads share it.
pub(super) struct Shared {
    pub(super) options: JournalOptions,
    writer: Mutex<Writer>,
    healthy: AtomicBool,
    pub(super) waiting_bytes: AtomicU64,
    /// Records appended and not booked; for people, so that it may be off by a moment.
    pub(super) waiting_records: AtomicI64,
    pub(super) appended: Notify,
    pub(super) flush: Flush,
    /// What was taken back since the settler last asked.
    undone: Mutex<Undone>,
}

pub(super) struct Writer {
    file: Arc<File>,
    pub(super) end: JournalPosition,
    /// Up to where the disk is known to keep what was written.
    pub(super) durable: JournalPosition,
    /// Bytes ever appended by this process: the numbers of tickets.
    written: u64,
    /// Earlier segments and their sizes.
    pub(super) sealed: BTreeMap<u64, u64>,
    /// Sealed since the disk was last told to keep what was written.
    unsynced: Vec<Arc<File>>,
    acknowledged: JournalPosition,
    pruned: Option<(u64, Instant)>,
    buffer: Vec<u8>,
    failure: Option<Failed>,
}

struct Failed {
    message: String,
    tried: Instant,
    what: Failing,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    /// Writing. What was written before is as good as ever.
    Write,
    /// Flushing. After that nobody knows what of the file is on the disk, and a second flush that succeeds proves
    /// nothing: the system may have forgotten the pages that it could not write.
    Flush,
    /// Being found: the file is no longer at its place, so the next start would not see what is written to it.
    Place,
}

/// What there is to be flushed.
pub(super) struct Dirty {
    pub files: Vec<Arc<File>>,
    /// The number of the last record in them.
    pub number: u64,
    /// Where that record ends.
    end: JournalPosition,
}

impl Shared {
    pub(super) fn new(options: JournalOptions, recovered: Recovered) -> Self {
        let writer = Writer {
            file: Arc::new(recovered.file),
            end: recovered.end,
            durable: recovered.end,
            written: 0,
            sealed: recovered.sealed,
            unsynced: Vec::new(),
            acknowledged: JournalPosition::default(),
            pruned: None,
            buffer: Vec::new(),
            failure: None,
        };
        let waiting = AtomicU64::new(writer.waiting_bytes());
        Self {
            options,
            writer: Mutex::new(writer),
            healthy: AtomicBool::new(true),
            waiting_bytes: waiting,
            waiting_records: AtomicI64::new(0),
            appended: Notify::new(),
            flush: Flush::default(),
            undone: Mutex::default(),
        }
    }

    /// Writes a record; returns its number.
    pub(super) fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        if record.is_empty() || record.len() > RECORD_BYTES_MAX {
            return Err(AppendError::Size(record.len()));
        }
        let size = (HEADER + record.len()) as u64;
        if self.waiting_bytes.load(Ordering::Relaxed) + size > JOURNAL_BACKLOG_MAX {
            return Err(AppendError::Backlog);
        }
        let header = segment::header(record);
        let mut writer = self.writer.lock();
        self.ready(&mut writer)?;
        let done = self.write(&mut writer, header, record);
        let number = self.noted(&mut writer, done)?;
        drop(writer);
        self.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        self.waiting_records.fetch_add(1, Ordering::Relaxed);
        self.appended.notify_one();
        if self.options.sync == Sync::Interval {
            self.flush.mark_dirty();
        }
        Ok(number)
    }

    pub(super) fn ticket(self: &Arc<Self>, number: u64) -> Ticket {
        match self.options.sync {
            Sync::Os | Sync::Interval => Ticket::ready(),
            Sync::Always => Ticket::waiting(Arc::clone(self), number),
        }
    }

    pub(super) fn healthy(&self) -> bool {
        if self.waiting_bytes.load(Ordering::Relaxed) >= JOURNAL_BACKLOG_MAX {
            return false;
        }
        if self.healthy.load(Ordering::Relaxed) {
            return true;
        }
        // Whoever has the lock is writing, and will find out.
        let Some(mut writer) = self.writer.try_lock() else {
            return false;
        };
        self.ready(&mut writer).is_ok()
    }

    pub(super) fn status(&self, id: &str) -> JournalStatus {
        let writer = self.writer.lock();
        let backlog = self.waiting_bytes.load(Ordering::Relaxed) >= JOURNAL_BACKLOG_MAX;
        JournalStatus {
            id: id.to_owned(),
            healthy: writer.failure.is_none() && !backlog,
            end: writer.end,
            acknowledged: writer.acknowledged,
            waiting_bytes: self.waiting_bytes.load(Ordering::Relaxed),
            waiting_records: self.waiting_records.load(Ordering::Relaxed).max(0).unsigned_abs(),
            segments: writer.sealed.len() + 1,
            bytes: writer.sealed.values().sum::<u64>() + writer.end.offset,
            error: writer.failure.as_ref().map(|failed| failed.message.clone()),
        }
    }

    /// Up to where records may be booked.
    pub(super) fn bookable(&self) -> JournalPosition {
        cut::bookable(&self.writer.lock(), self.options.sync == Sync::Always)
    }

    /// Records that were written and then taken back, since this was last asked.
    pub(super) fn take_undone(&self) -> Undone {
        std::mem::take(&mut *self.undone.lock())
    }

    pub(super) fn acknowledge(&self, position: JournalPosition) {
        // Under the other modes the flushing thread looks.
        if self.options.sync == Sync::Os {
            self.look();
        }
        let mut writer = self.writer.lock();
        writer.acknowledged = position;
        self.waiting_bytes.store(writer.waiting_bytes(), Ordering::Relaxed);
        let due = writer
            .pruned
            .is_none_or(|(segment, at)| segment != position.segment || at.elapsed() >= PRUNE_EVERY);
        if !due {
            return;
        }
        writer.pruned = Some((position.segment, Instant::now()));
        let booked: Vec<(u64, u64)> = writer
            .sealed
            .range(..position.segment)
            .map(|(segment, size)| (*segment, *size))
            .collect();
        drop(writer);
        // Deleting takes the file system a while; calls that end meanwhile shall not wait for it.
        let deleted = prune(&self.options, &booked);
        if !deleted.is_empty() {
            self.writer
                .lock()
                .sealed
                .retain(|segment, _| !deleted.contains(segment));
        }
    }

    /// Takes what has been written since the last time.
    pub(super) fn take_dirty(&self) -> Dirty {
        let mut writer = self.writer.lock();
        let mut files = std::mem::take(&mut writer.unsynced);
        files.push(Arc::clone(&writer.file));
        Dirty {
            files,
            number: writer.written,
            end: writer.end,
        }
    }

    /// The disk keeps what was written.
    pub(super) fn flushed(&self, dirty: &Dirty) {
        self.writer.lock().durable = dirty.end;
        if self.options.sync == Sync::Always {
            // The settler saw that something was written, but could not read it yet.
            self.appended.notify_one();
        }
    }

    /// The disk did not keep what was written: nothing more goes into these files. Returns the number of the last record
    /// that is not known to be durable. Where answers wait for that, these records are taken back.
    pub(super) fn flush_failed(&self, error: &io::Error) -> u64 {
        let mut writer = self.writer.lock();
        self.fail(&mut writer, format!("fsync: {error}"), Failing::Flush);
        if self.options.sync == Sync::Always {
            match writer.cut_back(&self.options.dir) {
                Ok(undone) => self.undone.lock().extend(undone),
                Err(error) => {
                    tracing::error!(%error, "receipts of answers that were refused stay in the journal and may be booked");
                }
            }
            self.waiting_bytes.store(writer.waiting_bytes(), Ordering::Relaxed);
            self.appended.notify_one();
        }
        writer.written
    }

    /// Looks whether the file that is written is still at its place. One that was deleted, or moved away with its folder,
    /// takes every write and gives none back to the next start. What it holds already is still booked from here.
    pub(super) fn look(&self) {
        let (file, segment) = {
            let writer = self.writer.lock();
            (Arc::clone(&writer.file), writer.end.segment)
        };
        let path = segment::path(&self.options.dir, segment);
        let there = fs::metadata(path).and_then(|there| Ok((there, file.metadata()?)));
        if there.is_ok_and(|(there, open)| (there.dev(), there.ino()) == (open.dev(), open.ino())) {
            return;
        }
        let mut writer = self.writer.lock();
        if writer.end.segment == segment && writer.failure.is_none() {
            let message = "its file was moved away or deleted; put the folder back, or make a new one".to_owned();
            self.fail(&mut writer, message, Failing::Place);
        }
    }

    /// Lets a writer that failed try again, not too often.
    fn ready(&self, writer: &mut Writer) -> Result<(), AppendError> {
        let Some(failed) = &mut writer.failure else {
            return Ok(());
        };
        if failed.tried.elapsed() < PROBE_EVERY {
            return Err(AppendError::Write(failed.message.clone()));
        }
        failed.tried = Instant::now();
        let what = failed.what;
        match writer.probe(&self.options, what) {
            Ok(()) => {
                tracing::info!("the journal can be written again");
                writer.failure = None;
                self.healthy.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.fail(writer, error.to_string(), what);
                Err(AppendError::Write(error.to_string()))
            }
        }
    }

    fn write(&self, writer: &mut Writer, header: [u8; HEADER], record: &[u8]) -> io::Result<u64> {
        let size = (HEADER + record.len()) as u64;
        if writer.end.offset > FIRST && writer.end.offset + size > self.options.segment_bytes {
            writer.roll(&self.options)?;
        }
        writer.buffer.clear();
        writer.buffer.extend_from_slice(&header);
        writer.buffer.extend_from_slice(record);
        if let Err(error) = writer.file.write_all_at(&writer.buffer, writer.end.offset) {
            // Whatever part of it was written must not be found by a reader or by the next start.
            if let Err(error) = writer.file.set_len(writer.end.offset) {
                tracing::warn!(%error, "the journal could not be cut back after a failed write");
            }
            return Err(error);
        }
        writer.end.offset += size;
        writer.written += size;
        Ok(writer.written)
    }

    fn noted(&self, writer: &mut Writer, done: io::Result<u64>) -> Result<u64, AppendError> {
        done.map_err(|error| {
            self.fail(writer, error.to_string(), Failing::Write);
            AppendError::Write(error.to_string())
        })
    }

    fn fail(&self, writer: &mut Writer, message: String, what: Failing) {
        if writer.failure.is_none() {
            tracing::error!(error = %message, "the journal cannot be written; new calls are refused");
        }
        writer.failure = Some(Failed {
            message,
            tried: Instant::now(),
            what,
        });
        self.healthy.store(false, Ordering::Relaxed);
    }
}

/// What a test does to the disk.
#[cfg(test)]
impl Shared {
    /// From now on everything is written to another file.
    pub(super) fn replace_file(&self, file: File) {
        self.writer.lock().file = Arc::new(file);
    }

    /// As if the last failure had been long ago.
    pub(super) fn forget_last_try(&self) {
        if let Some(failed) = &mut self.writer.lock().failure {
            failed.tried = Instant::now().checked_sub(PROBE_EVERY).unwrap_or(failed.tried);
        }
    }
}

impl Writer {
    /// Begins the next segment.
    fn roll(&mut self, options: &JournalOptions) -> io::Result<()> {
        let next = self.end.segment + 1;
        let file = recover::create(&options.dir, next).map_err(io::Error::other)?;
        let old = std::mem::replace(&mut self.file, Arc::new(file));
        self.sealed.insert(self.end.segment, self.end.offset);
        if options.sync != Sync::Os {
            self.unsynced.push(old);
        }
        self.end = JournalPosition {
            segment: next,
            offset: FIRST,
        };
        Ok(())
    }

    /// Tries whether writing works, behind the end, where nobody reads. It goes to a new segment: the old file may be
    /// the reason (deleted, on a disk that is gone, or refused by fsync).
    fn probe(&mut self, options: &JournalOptions, failing: Failing) -> io::Result<()> {
        // Cut back first, so that a sealed segment ends with its last record.
        let cut = self.file.set_len(self.end.offset);
        if self.end.offset > FIRST || cut.is_err() || failing == Failing::Place {
            self.roll(options)?;
        }
        if failing == Failing::Flush {
            self.unsynced.clear();
        }
        self.file.write_all_at(&[0; PROBE_BYTES], self.end.offset)?;
        self.file.set_len(self.end.offset)?;
        if options.sync == Sync::Os {
            Ok(())
        } else {
            self.file.sync_data()
        }
    }

    fn waiting_bytes(&self) -> u64 {
        let acknowledged = self.acknowledged;
        let sealed = self.sealed.range(acknowledged.segment..).map(|(segment, size)| {
            let known = if *segment == acknowledged.segment {
                acknowledged.offset
            } else {
                FIRST
            };
            size.saturating_sub(known)
        });
        let known = if self.end.segment == acknowledged.segment {
            acknowledged.offset
        } else {
            FIRST
        };
        let last = if acknowledged.segment > self.end.segment {
            0
        } else {
            self.end.offset.saturating_sub(known)
        };
        sealed.sum::<u64>() + last
    }
}

/// Deletes booked segments that are old, and the oldest ones where all together are too much; tells which.
fn prune(options: &JournalOptions, booked: &[(u64, u64)]) -> Vec<u64> {
    let mut kept: u64 = booked.iter().map(|(_, size)| size).sum();
    let mut deleted = Vec::new();
    for (segment, size) in booked {
        let path = segment::path(&options.dir, *segment);
        let age = fs::metadata(&path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age < options.keep) && kept <= JOURNAL_KEPT_MAX {
            break;
        }
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a booked journal segment could not be deleted");
            break;
        }
        kept -= size;
        deleted.push(*segment);
    }
    deleted
}
