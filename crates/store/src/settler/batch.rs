//! A stretch of the journal, sorted into what can be booked and what cannot.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{CallId, CredentialId, Money, UserId};

use super::entry::{self, Entry, Sums};
use crate::journal::Stretch;
use crate::limits::BATCH_BYTES_MAX;

/// Records read without letting other tasks of the thread run: about a quarter of a millisecond.
const SLICE_RECORDS: usize = 128;

/// What one transaction books.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    /// Receipts, in the journal's order.
    pub entries: Vec<Entry<'a>>,
    /// What all records charge each user, bookable or not.
    pub owed: BTreeMap<UserId, Money>,
    /// Records that cannot be booked: index and reason.
    pub bad: Vec<(usize, String)>,
    bytes: usize,
}

/// What really inserted receipts change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub receipts: i64,
    pub charged: i64,
    /// By user: what they were charged.
    pub users: BTreeMap<UserId, i64>,
    /// By user, day and model.
    pub days: BTreeMap<(UserId, i64, String), Sums>,
    /// By credential and day: requests sent with it.
    pub uses: BTreeMap<(CredentialId, i64), i64>,
}

impl<'a> Batch<'a> {
    /// Reads the records. `refused`: why the database did not take the first one.
    pub(super) async fn read(stretch: &Stretch<'a>, refused: Option<&str>) -> Self {
        let mut batch = Self::default();
        for (index, record) in stretch.records().enumerate() {
            let refused = refused.filter(|_| index == 0);
            batch.add(index, record, refused);
            if index % SLICE_RECORDS == SLICE_RECORDS - 1 {
                tokio::task::yield_now().await;
            }
        }
        batch
    }

    /// Whether its bytes rather than its records fill a transaction.
    pub(super) const fn is_large(&self) -> bool {
        self.bytes > BATCH_BYTES_MAX / 2
    }

    fn add(&mut self, index: usize, record: &'a [u8], refused: Option<&str>) {
        self.bytes += record.len();
        let read = match refused {
            Some(why) => Err(why.to_owned()),
            None => entry::read(record),
        };
        match read {
            Ok(entry) => {
                self.owe(entry.user, Money::from_nanos(entry.sums.charged));
                self.entries.push(entry);
            }
            Err(why) => {
                if let Some((user, charged)) = entry::owed(record) {
                    self.owe(user, charged);
                }
                self.bad.push((index, why));
            }
        }
    }

    fn owe(&mut self, user: UserId, charged: Money) {
        if charged != Money::ZERO {
            *self.owed.entry(user).or_default() += charged;
        }
    }

    /// What the receipts change that were really inserted; `None`: all of them. Of two with the same call, the first.
    pub(super) fn effects(&self, inserted: Option<&HashSet<CallId>>) -> Effects {
        let mut effects = Effects::default();
        let mut days: HashMap<(UserId, i64, &str), Sums> = HashMap::new();
        let mut seen = HashSet::new();
        for entry in &self.entries {
            if inserted.is_some_and(|inserted| !inserted.contains(&entry.call) || !seen.insert(entry.call)) {
                continue;
            }
            effects.receipts += 1;
            effects.charged += entry.sums.charged;
            *effects.users.entry(entry.user).or_default() += entry.sums.charged;
            days.entry((entry.user, entry.day(), &entry.model))
                .or_default()
                .add(&entry.sums);
            for used in &entry.uses {
                *effects.uses.entry(*used).or_default() += 1;
            }
        }
        effects.days = days
            .into_iter()
            .map(|((user, day, model), sums)| ((user, day, model.to_owned()), sums))
            .collect();
        effects
    }
}
