//! The journal: where a receipt is safe before the end of its answer is released.
//!
//! Segment files `<number>.log` in one directory, written by one process (the directory is locked). A record is its
//! length, a CRC and its bytes, written by one system call under a short lock: a thread of its own would cost two
//! wake-ups per call, more than the write itself (1 µs into the page cache). What survives is chosen by [`Sync`]: a
//! process killed at any moment loses nothing under any of them, a power cut up to 200 ms under `interval`.
//!
//! A write that fails, and under `always` a flush that fails, is undone by cutting the file back, the journal is unhealthy,
//! and the gateway refuses new calls until a probe shows that writing works again: nothing is given away unrecorded.

mod append;
mod binding;
mod cut;
mod id;
mod inspect;
mod lock;
mod read;
mod recover;
mod segment;
mod sync;

use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use append::AppendError;
use append::Shared;
pub use binding::Binding;
pub use inspect::JournalReport;
pub(crate) use read::{Reader, Stretch};
pub use sync::Ticket;

/// When written receipts are forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sync {
    /// When the system likes. A power cut may lose some seconds.
    Os,
    /// Five times a second. A power cut may lose 200 ms.
    #[default]
    Interval,
    /// Before an answer's end is released; answers that end at the same time share one flush.
    Always,
}

/// How to open a journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The directory; made (0700) where there is none.
    pub dir: PathBuf,
    /// When to force to the disk.
    pub sync: Sync,
    /// How long booked segments are kept, so that a restored database can be replayed into.
    pub keep: Duration,
    /// The size at which a new segment is begun.
    pub segment_bytes: u64,
}

/// A place in a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalPosition {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// Why a journal cannot be opened or read. Messages say the mend.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "the journal {dir} is in use by process {holder}; stop that one first, or give this one a directory of its \
         own (storage.journal.dir)", dir = dir.display()
    )]
    Locked {
        /// Which journal.
        dir: PathBuf,
        /// Who has it, as far as known.
        holder: String,
    },
    /// A file could not be used.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {what}", path = path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What is wrong, and the mend.
        what: &'static str,
    },
}

impl JournalError {
    fn io(path: impl Into<PathBuf>, error: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            error,
        }
    }
}

/// How a journal is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalStatus {
    /// Its identity, by which databases remember how far they have read it.
    pub id: String,
    /// Whether receipts can be written.
    pub healthy: bool,
    /// Its end.
    pub end: JournalPosition,
    /// Up to where it is booked.
    pub acknowledged: JournalPosition,
    /// Bytes that wait to be booked.
    pub waiting_bytes: u64,
    /// Receipts in them, as far as this process has counted.
    pub waiting_records: u64,
    /// Segment files.
    pub segments: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// Why it is not healthy.
    pub error: Option<String>,
}

/// The journal of this process.
pub struct Journal {
    shared: Arc<Shared>,
    id: String,
    flusher: Option<sync::Flusher>,
    /// Held until the end: another process is refused.
    _lock: lock::DirLock,
}

impl Journal {
    /// Locks the directory, cuts off what a crash left half-written (kept aside as `.torn`), and opens it for appending.
    ///
    /// # Errors
    /// Another process has it, or the directory cannot be used.
    pub fn open(options: &JournalOptions) -> Result<Self, JournalError> {
        let dir = &options.dir;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| JournalError::io(dir, error))?;
        let lock = lock::DirLock::take(dir)?;
        let id = id::read_or_make(dir)?;
        let recovered = recover::run(dir)?;
        let shared = Arc::new(Shared::new(options.clone(), recovered));
        let flusher = sync::Flusher::start(&shared).map_err(|error| JournalError::io(dir, error))?;
        Ok(Self {
            shared,
            id,
            flusher,
            _lock: lock,
        })
    }

    /// Which process has the journal of a directory open, by its number; `None` where nobody has.
    pub fn holder(dir: &Path) -> Option<String> {
        lock::holder(dir)
    }

    /// Appends a record: the JSON of a receipt. Returns when it is written; the ticket is ready when it is as durable as
    /// [`Sync`] promises. Thread-safe, takes about 2 µs.
    ///
    /// # Errors
    /// The record was not written: its answer must not end as success.
    pub fn append(&self, record: &[u8]) -> Result<Ticket, AppendError> {
        let number = self.shared.append(record)?;
        Ok(self.shared.ticket(number))
    }

    /// Whether receipts can be written. Where they could not, this tries again, at most ten times a second: so asking
    /// before each call is what makes the journal heal.
    pub fn healthy(&self) -> bool {
        self.shared.healthy()
    }

    /// How it is doing.
    pub fn status(&self) -> JournalStatus {
        self.shared.status(&self.id)
    }

    /// Its identity.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.shared.options.dir
    }

    /// What a journal's directory holds, without opening it: works beside the process that has it. `booked`: up to where
    /// the database knows it.
    pub fn inspect(dir: &Path, booked: Option<JournalPosition>) -> Result<JournalReport, JournalError> {
        inspect::run(dir, booked)
    }

    /// The identity of the journal in a directory, without opening it; `None` where there is none.
    pub fn id_of(dir: &Path) -> Result<Option<String>, JournalError> {
        id::read(dir)
    }

    /// The database that the journal in a directory is booked into; `None` where none is known.
    pub fn binding(dir: &Path) -> Result<Option<Binding>, JournalError> {
        binding::read(dir)
    }

    /// Remembers the database that it is booked into.
    pub(crate) fn bind(&self, binding: &Binding) -> Result<(), JournalError> {
        binding::write(self.dir(), binding)
    }

    /// Up to where records may be booked: all that is written, under [`Sync::Always`] what is durable.
    pub(crate) fn bookable(&self) -> JournalPosition {
        self.shared.bookable()
    }

    /// Records that were written and then taken back, because they never became durable as promised.
    pub(crate) fn take_undone(&self) -> Vec<Vec<u8>> {
        self.shared.take_undone()
    }

    /// Everything before `position` is in the database: it no longer counts as waiting, and old segments may go.
    pub(crate) fn acknowledge(&self, position: JournalPosition) {
        self.shared.acknowledge(position);
    }

    /// Waits until something is appended after the last time this was asked.
    pub(crate) async fn appended(&self) {
        self.shared.appended.notified().await;
    }

    /// Corrects the count of receipts that wait to be booked.
    pub(crate) fn count_waiting(&self, change: i64) {
        self.shared.waiting_records.fetch_add(change, Ordering::Relaxed);
    }

    /// Receipts that wait to be booked.
    pub(crate) fn waiting_records(&self) -> u64 {
        self.shared
            .waiting_records
            .load(Ordering::Relaxed)
            .max(0)
            .unsigned_abs()
    }

    /// Bytes that wait to be booked.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.shared.waiting_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl Journal {
    /// As if the disk had refused to keep what was written last, and had come back.
    pub(crate) fn fail_a_flush(&self) {
        let error = || std::io::Error::other("injected");
        let number = self.shared.flush_failed(&error());
        self.shared.flush.finished(number, Err(error()));
        self.shared.forget_last_try();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(flusher) = self.flusher.take() {
            flusher.stop();
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("dir", &self.shared.options.dir)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
