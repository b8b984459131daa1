//! How the settler is doing, for whoever looks at it from elsewhere: readiness, metrics, a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Drained;
use crate::error::StoreError;
use crate::journal::Journal;

/// Looks at a settler from elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct SettlerWatch {
    pub(super) journal: Arc<Journal>,
    pub(super) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
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

    pub(super) fn counts(&self) -> Drained {
        let state = self.state.lock();
        Drained {
            booked: state.booked,
            repeated: state.repeated,
            dead_letters: state.dead_letters,
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.state.lock().error.is_some()
    }

    pub(super) fn note_booked(&self, booked: u64, repeated: u64, dead_letters: u64) {
        let mut state = self.state.lock();
        state.booked += booked;
        state.repeated += repeated;
        state.dead_letters += dead_letters;
        state.batches += 1;
    }

    /// Whether this is the first of an outage.
    pub(super) fn note_error(&self, error: &StoreError) -> bool {
        let mut state = self.state.lock();
        let since = state.error.as_ref().map(|(_, since)| *since);
        state.error = Some((error.to_string(), since.unwrap_or_else(Instant::now)));
        since.is_none()
    }

    pub(super) fn note_recovered(&self) {
        let recovered = self.state.lock().error.take();
        if let Some((_, since)) = recovered {
            tracing::info!(
                outage_ms = since.elapsed().as_millis() as u64,
                "the database can be used again"
            );
        }
    }
}

impl std::fmt::Debug for SettlerWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status().fmt(f)
    }
}
