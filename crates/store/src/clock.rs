//! The wall clock of this crate. Money never depends on it: it dates rows for people.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros());
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
