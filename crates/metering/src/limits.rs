//! How fast a key may go: requests per minute, tokens per minute, calls at the same time.
//!
//! One file per dimension. They are checked together under one lock and taken only if all allow, so that a call that is
//! refused by one leaves no trace in the others. Minutes are *sliding* windows rather than token buckets: a bucket that
//! holds a minute's worth lets through twice the limit within one minute, which is not what "60 per minute" says.

mod concurrency;
mod requests;
mod tokens;
mod window;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Timestamp;
use domain::limits::Limits;
use parking_lot::Mutex;

use concurrency::Concurrency;
use requests::Requests;
use tokens::Tokens;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Requests per minute.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Calls at the same time.
    Concurrency,
}

/// A call was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the limit of {limit} {dimension}")]
pub struct Limited {
    /// Which limit; of several, the one with the longest wait.
    pub dimension: Dimension,
    /// When the same call would be admitted, if no other came before it. A guess for [`Dimension::Concurrency`].
    pub retry_after: Duration,
    /// The limit.
    pub limit: u32,
}

/// All limits at one moment: what the `x-ratelimit-*` headers say. `None` where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitState {
    /// Requests per minute.
    pub requests: Option<DimensionState>,
    /// Tokens per minute.
    pub tokens: Option<DimensionState>,
    /// Calls at the same time.
    pub concurrency: Option<DimensionState>,
}

/// One limit at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DimensionState {
    /// The limit.
    pub limit: u32,
    /// What may still be used now.
    pub remaining: u32,
    /// When all of it may be used again, if nothing comes in between; zero for [`Dimension::Concurrency`].
    pub reset: Duration,
}

/// The counters of one key. The limits themselves are passed in: they may change while calls run.
pub struct KeyLimiter {
    counters: Mutex<Counters>,
}

/// A call that was admitted. Dropping it ends its concurrency.
#[derive(Debug)]
#[must_use = "dropping a permit ends the call's concurrency"]
pub struct Permit {
    limiter: Arc<KeyLimiter>,
    admitted: Timestamp,
    tpm: u32,
    place: Place,
    /// Tokens counted for this call so far.
    counted: AtomicU64,
}

/// Whether a permit counts among the calls at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    /// It belongs to a call that has its place.
    Shared,
}

struct Counters {
    requests: Requests,
    tokens: Tokens,
    concurrency: Concurrency,
}

impl KeyLimiter {
    /// A key that was not used before `now`.
    pub fn new(now: Timestamp) -> Self {
        let counters = Counters {
            requests: Requests::new(now),
            tokens: Tokens::new(now),
            concurrency: Concurrency::default(),
        };
        Self {
            counters: Mutex::new(counters),
        }
    }

    /// Admits a call that is expected to use this many tokens.
    ///
    /// A call that expects more tokens than the whole limit is admitted when no others were used for a minute; what it
    /// uses beyond the limit delays those that follow.
    pub fn admit(self: &Arc<Self>, limits: &Limits, tokens: u64, now: Timestamp) -> Result<Permit, Limited> {
        self.admit_to(Place::Own, limits, tokens, now)
    }

    /// Admits a further request of a call that has its place among those at the same time: a response of a session.
    pub fn admit_within(self: &Arc<Self>, limits: &Limits, tokens: u64, now: Timestamp) -> Result<Permit, Limited> {
        let limits = Limits {
            concurrency: 0,
            ..*limits
        };
        self.admit_to(Place::Shared, &limits, tokens, now)
    }

    fn admit_to(
        self: &Arc<Self>,
        place: Place,
        limits: &Limits,
        tokens: u64,
        now: Timestamp,
    ) -> Result<Permit, Limited> {
        let mut counters = self.counters.lock();
        if let Some(limited) = counters.refusal(limits, tokens, now) {
            return Err(limited);
        }
        counters.requests.take(limits.rpm, now);
        counters.tokens.take(limits.tpm, tokens, now);
        if place == Place::Own {
            counters.concurrency.begin();
        }
        drop(counters);
        let counted = AtomicU64::new(tokens);
        Ok(Permit {
            limiter: Arc::clone(self),
            admitted: now,
            tpm: limits.tpm,
            place,
            counted,
        })
    }

    /// The counters as the client may see them.
    pub fn state(&self, limits: &Limits, now: Timestamp) -> LimitState {
        let mut counters = self.counters.lock();
        LimitState {
            requests: counters.requests.state(limits.rpm, now),
            tokens: counters.tokens.state(limits.tpm, now),
            concurrency: counters.concurrency.state(limits.concurrency),
        }
    }
}

impl Permit {
    /// Puts what was really used in the place of the estimate. What is above it counts from `now`; what is below it is
    /// given back. May be called again with a newer figure.
    pub fn correct(&self, tokens: u64, now: Timestamp) {
        let mut counters = self.limiter.counters.lock();
        // The lock orders these; the atomic only makes the permit shareable.
        let counted = self.counted.swap(tokens, Ordering::Relaxed);
        counters.tokens.correct(self.tpm, self.admitted, counted, tokens, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.place == Place::Own {
            self.limiter.counters.lock().concurrency.end();
        }
    }
}

impl Counters {
    /// The longest of the waits that stand in the way.
    fn refusal(&mut self, limits: &Limits, tokens: u64, now: Timestamp) -> Option<Limited> {
        let requests = (Dimension::Requests, limits.rpm, self.requests.wait(limits.rpm, now));
        let tokens = (Dimension::Tokens, limits.tpm, self.tokens.wait(limits.tpm, tokens, now));
        let concurrency = (
            Dimension::Concurrency,
            limits.concurrency,
            self.concurrency.wait(limits.concurrency),
        );
        [requests, tokens, concurrency]
            .into_iter()
            .filter_map(|(dimension, limit, wait)| {
                wait.map(|retry_after| Limited {
                    dimension,
                    retry_after,
                    limit,
                })
            })
            .max_by_key(|limited| limited.retry_after)
    }
}

impl fmt::Debug for KeyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLimiter").finish_non_exhaustive()
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Requests => "requests per minute",
            Self::Tokens => "tokens per minute",
            Self::Concurrency => "calls at the same time",
        })
    }
}

#[cfg(test)]
mod tests;
