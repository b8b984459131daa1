//! What of the journal is not booked: what it charges whom, and which credentials it used.
//!
//! Together with the balances it is all that was spent, so it is counted before the first call is admitted.

use std::collections::HashMap;

use domain::{CredentialId, Money, UserId};

use super::{Settler, entry};
use crate::error::Result;
use crate::journal::{Journal, JournalPosition, Reader};
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

impl Settler {
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

    pub(super) fn count_backlog(&mut self) -> Result<()> {
        let end = self.journal.bookable();
        let (owed, records) = owed_between(&mut self.reader, &self.journal, self.position, end)?;
        for (user, owed) in owed {
            self.accounts.add_backlog(user, owed);
        }
        self.journal.count_waiting(records);
        Ok(())
    }

    /// What was taken back out of the journal will never be booked, so it is not pending any longer.
    pub(super) fn forget_undone(&self) {
        let undone = self.journal.take_undone();
        for (user, charged) in undone.iter().filter_map(|record| entry::owed(record)) {
            self.accounts.add_backlog(user, -charged);
        }
        self.journal.count_waiting(-(undone.len() as i64));
    }
}

/// What the records of a stretch charge each user, and how many they are.
pub(super) fn owed_between(
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use metering::Accounts;

    use super::*;
    use crate::journal::{JournalOptions, Sync};
    use crate::settler::Drained;
    use crate::{KeyRing, Store, StoreOptions};

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
