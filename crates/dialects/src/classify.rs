//! What an answer with a status other than 2xx means.

use domain::{Dialect, Failure, FailureClass, Timestamp};
use http::HeaderMap;

/// Whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller's: the answer is passed through unchanged, and nothing counts against the upstream.
    Caller,
    /// The upstream's or our credential's.
    Failure(Failure),
}

/// Decides what `status`, `headers` and `body` of a refused attempt mean. `now` is for dates in `retry-after`.
pub fn classify(dialect: Dialect, status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Verdict {
    let _ = (dialect, headers, body, now);
    match status {
        400 | 404 | 409 | 413 | 422 => Verdict::Caller,
        _ => Verdict::Failure(Failure { class: FailureClass::Server, status: Some(status), retry_after: None, detail: String::new() }),
    }
}
