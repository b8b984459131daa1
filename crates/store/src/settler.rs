//! Carrying receipts from the journal into the ledger: in batches, exactly once, however often it is tried.
//!
//! One transaction inserts the receipts of a stretch of the journal (a call that is there already does nothing), moves
//! balances and statistics by the rows really inserted, and moves the position up to which the journal is booked. The
//! position only moves from where this settler believes it to be: if the database says otherwise (it was restored from
//! a backup, rewound on purpose, or lost its last commits) nothing is booked, the position is read anew and the accounts
//! in memory are corrected by the records in between. So the journal and the database can never drift apart, whatever is
//! done to the database while the server runs.
//!
//! While the database is away, receipts wait in the journal and calls go on.

mod batch;
mod book;
mod bound;
mod dead;
mod entry;
mod ledger;
mod pending;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metering::Accounts;
use tokio::time::{sleep, timeout};

use crate::error::{Result, StoreError};
use crate::journal::{Journal, JournalPosition, Reader};
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCH_WAIT, DRAIN_MAX, POLL_EVERY, RETRY_FIRST, RETRY_MAX};
use crate::store::Store;
use batch::Batch;
use book::{Booking, Refusal};
pub use bound::Adopted;
pub(crate) use bound::check as check_journal;
use dead::DeadLetters;
pub(crate) use dead::FILE as DEAD_LETTERS;
pub use watch::{SettlerStatus, SettlerWatch};

/// Books receipts. One per journal.
pub struct Settler {
    store: Store,
    journal: Arc<Journal>,
    accounts: Arc<Accounts>,
    reader: Reader,
    dead: DeadLetters,
    /// Up to where the database has booked. Charges before it are in the balances of `accounts`, charges behind it are
    /// pending there.
    position: JournalPosition,
    /// The ledger's sequence up to which balances are known.
    sequence: u64,
    /// Records tried at once: halved when the database refuses a value, until the bad one is alone.
    records_max: usize,
    /// The record at this position was refused by the database, for this reason.
    refused: Option<(JournalPosition, String)>,
    watch: SettlerWatch,
}

/// What one emptying of the journal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Receipts booked.
    pub booked: u64,
    /// Receipts that were booked before already.
    pub repeated: u64,
    /// Records put aside.
    pub dead_letters: u64,
}

/// What one step did.
enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was booked; `full`: there is surely more.
    Booked { full: bool },
}

impl Settler {
    /// Makes sure that a journal is booked into the database that it belongs to; one that is new belongs to this one
    /// from now on. [`start`](Self::start) does so too; alone it is for asking before anything is changed.
    ///
    /// # Errors
    /// It belongs to another database.
    pub async fn bind(store: &Store, journal: &Journal) -> Result<()> {
        bound::bind(store, journal).await
    }

    /// Makes a journal this database's, beginning at its end: nothing that is in it now is ever booked here.
    pub async fn adopt(store: &Store, journal: &Journal) -> Result<Adopted> {
        bound::adopt(store, journal).await
    }

    /// Tells `accounts` all balances, and what the journal holds that is not booked yet. When this returns, calls may be
    /// admitted.
    ///
    /// # Errors
    /// The journal belongs to another database, or this one is away.
    pub async fn start(store: Store, journal: Arc<Journal>, accounts: Arc<Accounts>) -> Result<Self> {
        bound::bind(&store, &journal).await?;
        let watch = SettlerWatch {
            journal: Arc::clone(&journal),
            state: Arc::default(),
        };
        let dead = DeadLetters::new(journal.dir());
        let mut settler = Self {
            store,
            journal,
            accounts,
            reader: Reader::default(),
            dead,
            position: JournalPosition::default(),
            sequence: 0,
            records_max: BATCH_RECORDS_MAX,
            refused: None,
            watch,
        };
        let ledger = settler.read_ledger().await?;
        settler.position = ledger.position;
        settler.take_balances(&ledger);
        settler.count_backlog()?;
        settler.journal.acknowledge(settler.position);
        Ok(settler)
    }

    /// A handle that outlives [`run`](Self::run).
    pub fn backlog(&self) -> SettlerWatch {
        self.watch.clone()
    }

    /// Books until `shutdown` is ready, then what is left, for a bounded time.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut retry = RETRY_FIRST;
        let mut polled = Instant::now();
        loop {
            let pause = match self.step().await {
                Ok(Step::Booked { full: true }) => Duration::ZERO,
                Ok(Step::Booked { full: false }) => BATCH_WAIT,
                Ok(Step::Idle) => {
                    let wait = async {
                        self.journal.appended().await;
                        sleep(BATCH_WAIT).await;
                    };
                    tokio::select! {
                        biased;
                        () = &mut shutdown => break,
                        // Not being woken in time is the ordinary way to look for changes.
                        _ = timeout(POLL_EVERY, wait) => Duration::ZERO,
                    }
                }
                Err(error) => {
                    self.note_error(&error);
                    retry
                }
            };
            let polling = polled.elapsed() >= POLL_EVERY && !self.watch.is_failing();
            let seen = if polling { self.poll().await } else { Ok(()) };
            if polling {
                polled = Instant::now();
            }
            match &seen {
                Ok(()) if !self.watch.is_failing() => retry = RETRY_FIRST,
                Ok(()) => retry = (retry * 2).min(RETRY_MAX),
                Err(error) => self.note_error(error),
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = sleep(pause), if !pause.is_zero() => {}
                () = tokio::task::yield_now(), if pause.is_zero() => {}
            }
        }
        self.finish().await;
    }

    /// Books everything that is in the journal now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn drain(&mut self) -> Result<Drained> {
        let before = self.watch.counts();
        while let Step::Booked { .. } = self.step().await? {}
        let after = self.watch.counts();
        Ok(Drained {
            booked: after.booked - before.booked,
            repeated: after.repeated - before.repeated,
            dead_letters: after.dead_letters - before.dead_letters,
        })
    }

    async fn finish(mut self) {
        match timeout(DRAIN_MAX, self.drain()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "receipts stay in the journal until the next start"),
            Err(_) => tracing::warn!("receipts stay in the journal until the next start: the database is slow"),
        }
        self.note_position();
    }

    /// Leaves word beside the journal of how far it is booked. It only spares people a question, so a failure is no
    /// reason to fail.
    pub fn note_position(&self) {
        if let Err(error) = bound::bind_at(&self.journal, self.store.identity(), self.position) {
            tracing::debug!(%error, "how far the journal is booked could not be noted beside it");
        }
    }

    /// Books one stretch of the journal.
    async fn step(&mut self) -> Result<Step> {
        self.forget_undone();
        if self.watch.is_failing() {
            self.resume().await?;
        }
        let read = self
            .reader
            .read(&self.journal, self.position, self.records_max, BATCH_BYTES_MAX)?;
        let Some(stretch) = read else { return Ok(Step::Idle) };
        let refused = self
            .refused
            .as_ref()
            .filter(|(at, _)| *at == stretch.from)
            .map(|(_, why)| why.as_str());
        let batch = Batch::read(&stretch, refused).await;
        let put_aside = self.dead.put_aside(&batch, &stretch)?;
        let (from, to, records) = (stretch.from, stretch.to, stretch.records().len());
        let full = records == self.records_max || batch.is_large();
        let booking = Booking {
            journal: self.journal.id(),
            database: self.store.identity(),
            from: self.position,
            to,
            batch: &batch,
        };
        match book::run(&self.store, &booking).await {
            Ok(booked) => {
                for (user, owed, balance) in booked.balances {
                    self.accounts.booked(user, owed, balance);
                }
                self.position = to;
                self.journal.acknowledge(to);
                self.journal.count_waiting(-(records as i64));
                self.watch
                    .note_booked(booked.inserted, batch.entries.len() as u64 - booked.inserted, put_aside);
                self.records_max = (self.records_max * 2).min(BATCH_RECORDS_MAX);
                self.refused = None;
                Ok(Step::Booked { full })
            }
            Err(Refusal::Value(why)) if records > 1 => {
                tracing::debug!(error = %why, records, "the database refused a batch; looking for the bad record");
                self.records_max = (records / 2).max(1);
                Ok(Step::Booked { full: true })
            }
            Err(Refusal::Value(why)) => {
                self.refused = Some((from, why));
                Ok(Step::Booked { full: true })
            }
            Err(Refusal::Position) => {
                self.reload().await?;
                Ok(Step::Booked { full: true })
            }
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    fn note_error(&self, error: &StoreError) {
        if self.watch.note_error(error) {
            tracing::warn!(%error, "receipts wait in the journal: the database cannot be used");
        }
    }
}

impl std::fmt::Debug for Settler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settler")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
