//! A further try that an upstream's retry budget has granted.
//!
//! Held from the failure until the try begins, so that the budget counts what is on its way; dropped before (the client
//! hung up, another candidate was better) it is given back.

use std::fmt;

use domain::{Timestamp, UpstreamId};

use super::Board;
use crate::retry_budget::Granted;

/// Leave for one further try at an upstream.
pub(crate) struct Again {
    board: Board,
    upstream: UpstreamId,
    granted: Option<Granted>,
}

impl Board {
    /// Leave for a further try of a call that an upstream failed, if its budget has room.
    pub(crate) fn again(&self, upstream: UpstreamId, now: Timestamp) -> Option<Again> {
        let granted = self.entries.lock().retries(upstream).grant(now)?;
        Some(Again {
            board: self.clone(),
            upstream,
            granted: Some(granted),
        })
    }
}

impl Again {
    /// Whether it is for this upstream.
    pub(crate) fn is_at(&self, upstream: UpstreamId) -> bool {
        self.upstream == upstream
    }

    /// The try begins.
    pub(crate) fn begins(mut self, now: Timestamp) {
        self.granted = None;
        self.board.entries.lock().retries(self.upstream).retried(now);
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        if let Some(granted) = self.granted {
            self.board.entries.lock().retries(self.upstream).give_back(granted);
        }
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
