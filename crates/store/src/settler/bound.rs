//! A journal is booked into the database that it belongs to, and into no other one.
//!
//! A copy of a database is the same one: it may lack what the journal still has, and gets it. Another one may have the
//! same numbers for other people, so a start with it is refused until somebody says what is meant
//! (docs/adr/0027-a-journal-belongs-to-one-database.md).

use std::path::Path;

use super::book;
use crate::clock::now;
use crate::db::{Sql as _, Tx, values};
use crate::error::{Result, StoreError};
use crate::journal::{Binding, Journal, JournalPosition};
use crate::store::Store;

/// Binds a journal that is new, or that this database knows; refuses one that belongs elsewhere.
pub(super) async fn bind(store: &Store, journal: &Journal) -> Result<()> {
    let here = store.identity();
    match check(store, journal.dir()).await? {
        Standing::Here => Ok(()),
        Standing::Known(booked) => bind_at(journal, here, booked),
        // It has no receipts, so none can be booked here that are another one's.
        Standing::Empty => start_at_end(store, journal).await,
    }
}

/// Makes a journal this database's, whosever it was. What is in it now is never booked here.
pub(super) async fn adopt(store: &Store, journal: &Journal) -> Result<Adopted> {
    let dir = journal.dir();
    let was = Journal::binding(dir)?;
    if was.as_ref().is_some_and(|was| was.database == store.identity()) {
        return Ok(Adopted::AlreadyHere);
    }
    let booked = was.as_ref().map(|was| was.booked);
    let left_behind = Journal::inspect(dir, booked)?.waiting;
    start_at_end(store, journal).await?;
    Ok(Adopted::Now {
        from: was.map(|was| was.database),
        left_behind,
    })
}

/// What adopting a journal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// Nothing: it was this database's.
    AlreadyHere,
    /// It is this database's from its end on.
    Now {
        /// The database that it belonged to, as far as known.
        from: Option<String>,
        /// Receipts in it that are not known to be booked anywhere.
        left_behind: u64,
    },
}

/// How a journal stands to this database, where it may be booked.
pub(crate) enum Standing {
    /// It belongs to it.
    Here,
    /// It is bound to none, but this database has booked it up to there.
    Known(JournalPosition),
    /// There are no receipts in it.
    Empty,
}

/// Whether a directory's journal may be booked into this database.
pub(crate) async fn check(store: &Store, dir: &Path) -> Result<Standing> {
    let here = store.identity();
    let bound = Journal::binding(dir)?;
    if bound.as_ref().is_some_and(|bound| bound.database == here) {
        return Ok(Standing::Here);
    }
    if bound.is_none()
        && let Some(id) = Journal::id_of(dir)?
        && let Some(booked) = store.journal_position(&id).await?
    {
        return Ok(Standing::Known(booked));
    }
    let report = Journal::inspect(dir, bound.as_ref().map(|bound| bound.booked))?;
    if report.records == 0 {
        return Ok(Standing::Empty);
    }
    Err(StoreError::ForeignJournal {
        dir: dir.to_owned(),
        owner: bound.map(|bound| bound.database),
        here: here.to_owned(),
        records: report.records,
        waiting: report.waiting,
    })
}

/// Whether what is at the database's place is still the database that the journal is booked into. Belongs in the
/// transaction that relies on it: another one may have been put there while the process runs.
pub(super) async fn still_here(store: &Store, tx: &Tx<'_>) -> Result<()> {
    let same = "SELECT count(*) FROM meta WHERE identity = $1";
    if tx.number(same, values![store.identity()]).await? == 1 {
        return Ok(());
    }
    Err(StoreError::Away(
        "another database lies in its place; put the right one back, or restart".to_owned(),
    ))
}

/// The position first: a crash in between leaves a journal that is refused as before.
async fn start_at_end(store: &Store, journal: &Journal) -> Result<()> {
    let end = journal.bookable();
    let tx = store.db().write().await?;
    still_here(store, &tx).await?;
    let at = book::position(&tx, journal.id()).await?.unwrap_or_default().max(end);
    let upsert = "INSERT INTO journals (id, segment, position, updated_at) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT (id) DO UPDATE SET segment = excluded.segment, position = excluded.position, \
                  updated_at = excluded.updated_at";
    let row = values![journal.id(), at.segment as i64, at.offset as i64, now().0];
    tx.exec(upsert, row).await?;
    tx.commit().await?;
    bind_at(journal, store.identity(), at)
}

pub(super) fn bind_at(journal: &Journal, database: &str, booked: JournalPosition) -> Result<()> {
    let binding = Binding {
        database: database.to_owned(),
        booked,
    };
    Ok(journal.bind(&binding)?)
}
