//! The database's side of the books: where it stands, what others did to it, and what it may have lost.
//!
//! What it says counts. Where it is not where this process believes it to be, the accounts in memory are corrected by the
//! records in between, and booking goes on from there.

use super::pending::owed_between;
use super::{Settler, book, bound};
use crate::balances;
use crate::clock::now;
use crate::db::{Sql as _, values};
use crate::error::Result;
use crate::journal::JournalPosition;

/// The database's side of the books.
pub(super) struct Ledger {
    pub(super) position: JournalPosition,
    pub(super) sequence: u64,
    pub(super) balances: Vec<balances::Balance>,
}

impl Settler {
    /// After an outage the database may not be what it was.
    pub(super) async fn resume(&mut self) -> Result<()> {
        self.reload().await?;
        self.watch.note_recovered();
        Ok(())
    }

    /// Looks for what others did to the ledger since.
    pub(super) async fn poll(&mut self) -> Result<()> {
        if self.store.journal_position(self.journal.id()).await? != Some(self.position) {
            return self.reload().await;
        }
        for balance in balances::changed_since(&self.store, self.sequence).await? {
            self.accounts.set_balance(balance.user, balance.balance);
            self.sequence = self.sequence.max(balance.sequence);
        }
        Ok(())
    }

    pub(super) fn take_balances(&mut self, ledger: &Ledger) {
        for balance in &ledger.balances {
            self.accounts.set_balance(balance.user, balance.balance);
        }
        self.sequence = ledger.sequence;
    }

    /// Where the database is, and all balances, at one moment.
    pub(super) async fn read_ledger(&self) -> Result<Ledger> {
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

    /// Takes over where the database says it is, and corrects the accounts by the records in between.
    pub(super) async fn reload(&mut self) -> Result<()> {
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
}
