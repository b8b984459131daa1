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

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{CredentialId, Money, UserId};
use metering::Accounts;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::balances;
use crate::clock::now;
use crate::db::{Sql as _, values};
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

/// Looks at a settler from elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct SettlerWatch {
    journal: Arc<Journal>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    booked: u64,
    repeated: u64,
    batches: u64,
    dead_letters: u64,
    error: Option<(String, Instant)>,
}

/// How the settler is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlerStatus {
    /// Receipts in the journal that are not booked.
    pub receipts_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// Receipts booked since the start.
    pub booked: u64,
    /// Receipts that were booked before already.
    pub repeated: u64,
    /// Transactions.
    pub batches: u64,
    /// Records put aside since the start, because they could not be booked.
    pub dead_letters: u64,
    /// Why the database cannot be used now.
    pub error: Option<String>,
    /// For how long.
    pub failing_for: Option<Duration>,
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

    /// How often credentials were used on a day, by receipts that are not booked yet. Before the first call is admitted,
    /// and before the first is booked, this and what is booked is all that was used.
    pub fn uses_waiting(&mut self, day: i64) -> Result<HashMap<CredentialId, u64>> {
        let mut uses: HashMap<CredentialId, u64> = HashMap::new();
        let end = self.journal.bookable();
        read_between(&mut self.reader, &self.journal, self.position, end, |record| {
            for (credential, _) in entry::sent(record).into_iter().filter(|(_, used)| *used == day) {
                *uses.entry(credential).or_default() += 1;
            }
        })?;
        Ok(uses)
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

    /// What was taken back out of the journal will never be booked, so it is not pending any longer.
    fn forget_undone(&self) {
        let undone = self.journal.take_undone();
        for (user, charged) in undone.iter().filter_map(|record| entry::owed(record)) {
            self.accounts.add_backlog(user, -charged);
        }
        self.journal.count_waiting(-(undone.len() as i64));
    }

    /// After an outage the database may not be what it was.
    async fn resume(&mut self) -> Result<()> {
        self.reload().await?;
        self.watch.note_recovered();
        Ok(())
    }

    /// Looks for what others did to the ledger since.
    async fn poll(&mut self) -> Result<()> {
        if self.store.journal_position(self.journal.id()).await? != Some(self.position) {
            return self.reload().await;
        }
        for balance in balances::changed_since(&self.store, self.sequence).await? {
            self.accounts.set_balance(balance.user, balance.balance);
            self.sequence = self.sequence.max(balance.sequence);
        }
        Ok(())
    }

    /// Takes over where the database says it is, and corrects the accounts by the records in between.
    async fn reload(&mut self) -> Result<()> {
        let ledger = self.read_ledger().await?;
        let (database, memory) = (ledger.position, self.position);
        if database != memory {
            tracing::warn!(
                journal.segment = database.segment,
                journal.offset = database.offset,
                "the database knows another position of the journal than this process; booking goes on from there"
            );
            let (owed, records) = owed_between(
                &mut self.reader,
                &self.journal,
                database.min(memory),
                database.max(memory),
            )?;
            for (user, owed) in owed {
                // What the database lost is pending again; what it knows already is pending no more.
                self.accounts
                    .add_backlog(user, if database < memory { owed } else { -owed });
            }
            self.journal
                .count_waiting(if database < memory { records } else { -records });
            self.position = database;
            self.journal.acknowledge(database);
            self.refused = None;
        }
        self.take_balances(&ledger);
        Ok(())
    }

    fn take_balances(&mut self, ledger: &Ledger) {
        for balance in &ledger.balances {
            self.accounts.set_balance(balance.user, balance.balance);
        }
        self.sequence = ledger.sequence;
    }

    fn count_backlog(&mut self) -> Result<()> {
        let end = self.journal.bookable();
        let (owed, records) = owed_between(&mut self.reader, &self.journal, self.position, end)?;
        for (user, owed) in owed {
            self.accounts.add_backlog(user, owed);
        }
        self.journal.count_waiting(records);
        Ok(())
    }

    /// Where the database is, and all balances, at one moment.
    async fn read_ledger(&self) -> Result<Ledger> {
        let id = self.journal.id();
        if self.store.journal_position(id).await?.is_none() {
            let tx = self.store.db().write().await?;
            bound::still_here(&self.store, &tx).await?;
            let insert = "INSERT INTO journals (id, segment, position, updated_at) VALUES ($1, 0, 0, $2) \
                          ON CONFLICT (id) DO NOTHING";
            tx.exec(insert, values![id, now().0]).await?;
            tx.commit().await?;
        }
        let tx = self.store.db().snapshot().await?;
        bound::still_here(&self.store, &tx).await?;
        let position = book::position(&tx, id).await?.unwrap_or_default();
        let sequence = tx.number("SELECT ledger FROM meta", values![]).await?.unsigned_abs();
        let balances = balances::all(&tx).await?;
        tx.commit().await?;
        Ok(Ledger {
            position,
            sequence,
            balances,
        })
    }

    fn note_error(&self, error: &StoreError) {
        if self.watch.note_error(error) {
            tracing::warn!(%error, "receipts wait in the journal: the database cannot be used");
        }
    }
}

impl SettlerWatch {
    /// How it is doing.
    pub fn status(&self) -> SettlerStatus {
        let state = self.state.lock();
        SettlerStatus {
            receipts_waiting: self.journal.waiting_records(),
            bytes_waiting: self.journal.waiting_bytes(),
            booked: state.booked,
            repeated: state.repeated,
            batches: state.batches,
            dead_letters: state.dead_letters,
            error: state.error.as_ref().map(|(error, _)| error.clone()),
            failing_for: state.error.as_ref().map(|(_, since)| since.elapsed()),
        }
    }

    fn counts(&self) -> Drained {
        let state = self.state.lock();
        Drained {
            booked: state.booked,
            repeated: state.repeated,
            dead_letters: state.dead_letters,
        }
    }

    fn is_failing(&self) -> bool {
        self.state.lock().error.is_some()
    }

    fn note_booked(&self, booked: u64, repeated: u64, dead_letters: u64) {
        let mut state = self.state.lock();
        state.booked += booked;
        state.repeated += repeated;
        state.dead_letters += dead_letters;
        state.batches += 1;
    }

    /// Whether this is the first of an outage.
    fn note_error(&self, error: &StoreError) -> bool {
        let mut state = self.state.lock();
        let since = state.error.as_ref().map(|(_, since)| *since);
        state.error = Some((error.to_string(), since.unwrap_or_else(Instant::now)));
        since.is_none()
    }

    fn note_recovered(&self) {
        let recovered = self.state.lock().error.take();
        if let Some((_, since)) = recovered {
            tracing::info!(
                outage_ms = since.elapsed().as_millis() as u64,
                "the database can be used again"
            );
        }
    }
}

/// The database's side of the books.
struct Ledger {
    position: JournalPosition,
    sequence: u64,
    balances: Vec<balances::Balance>,
}

/// What the records of a stretch charge each user, and how many they are.
fn owed_between(
    reader: &mut Reader,
    journal: &Journal,
    from: JournalPosition,
    to: JournalPosition,
) -> Result<(HashMap<UserId, Money>, i64)> {
    let mut owed: HashMap<UserId, Money> = HashMap::new();
    let mut count = 0;
    read_between(reader, journal, from, to, |record| {
        count += 1;
        if let Some((user, charged)) = entry::owed(record) {
            *owed.entry(user).or_default() += charged;
        }
    })?;
    Ok((owed, count))
}

/// Shows the records of a stretch, one after the other.
fn read_between(
    reader: &mut Reader,
    journal: &Journal,
    from: JournalPosition,
    to: JournalPosition,
    mut show: impl FnMut(&[u8]),
) -> Result<()> {
    let mut at = from;
    while at < to
        && let Some(stretch) = reader.read(journal, at, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)?
    {
        for (index, record) in stretch.records().enumerate() {
            if stretch.end_of(index) > to {
                return Ok(());
            }
            show(record);
        }
        at = stretch.to;
    }
    Ok(())
}

impl std::fmt::Debug for Settler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settler")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SettlerWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyRing;
    use crate::StoreOptions;
    use crate::journal::{JournalOptions, Sync};

    #[tokio::test]
    async fn a_charge_that_never_became_durable_is_pending_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            url: format!("sqlite://{}", dir.path().join("tollgate.db").display()),
            ring: KeyRing::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap(),
            max_connections: 0,
            migrate: true,
        };
        let store = Store::open(&options).await.unwrap();
        let options = JournalOptions {
            dir: dir.path().join("journal"),
            sync: Sync::Always,
            keep: Duration::from_hours(1),
            segment_bytes: 1 << 20,
        };
        let journal = Arc::new(Journal::open(&options).unwrap());
        let accounts = Arc::new(Accounts::new());
        let settler = Settler::start(store, Arc::clone(&journal), Arc::clone(&accounts)).await;
        let mut settler = settler.unwrap();
        // As the gateway does: append, then the charge is pending.
        let ticket = journal.append(br#"{"user":7,"charged":300}"#).unwrap();
        accounts.add_backlog(UserId(7), Money::from_nanos(300));
        assert_eq!(
            settler.drain().await.unwrap(),
            Drained::default(),
            "not before it is durable"
        );
        journal.fail_a_flush();
        assert!(ticket.await.is_err());
        assert_eq!(settler.drain().await.unwrap(), Drained::default());
        assert_eq!(accounts.pending_total(), Money::ZERO);
        assert_eq!(settler.backlog().status().receipts_waiting, 0);
        assert_eq!(settler.backlog().status().bytes_waiting, 0);
    }
}
