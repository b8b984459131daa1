//! The request log: receipts that are still logged, by time.
//!
//! There is one row per call, in `receipts`; being in the log is membership in a partial index (see
//! `docs/adr/0010-request-log.md`). Clearing strips from the body what is only log and takes the row out of the index;
//! what the accounts are proven by stays for ever.

use domain::{CallId, Receipt, Timestamp, UserId};

use crate::db::{Backend, Sql as _, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::limits::{CLEAR_ROWS_MAX, LIST_ROWS_MAX};
use crate::store::Store;

/// The request log.
#[derive(Debug)]
pub struct Requests<'a>(pub(crate) &'a Store);

/// A logged call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Everything known about it.
    pub receipt: Receipt,
    /// The batch that booked it.
    pub batch: i64,
}

impl RequestRecord {
    /// How many attempts failed before the last one.
    pub fn failovers(&self) -> usize {
        self.receipt.attempts.len().saturating_sub(1)
    }
}

impl Requests<'_> {
    /// The newest calls of everybody: for operators.
    pub async fn recent(&self, limit: u64) -> Result<Vec<RequestRecord>> {
        self.select("logged", values![], limit).await
    }

    /// The newest calls of one user.
    pub async fn of_user(&self, user: UserId, limit: u64) -> Result<Vec<RequestRecord>> {
        self.select("logged AND user_id = $1", values![user.0], limit).await
    }

    /// One call, logged or not.
    pub async fn get(&self, call: CallId) -> Result<RequestRecord> {
        self.find(call)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::Request, call.to_string()))
    }

    /// The same; `None` where no such call is booked.
    pub async fn find(&self, call: CallId) -> Result<Option<RequestRecord>> {
        let found = self.select("call = $1", values![call.to_string()], 1).await?;
        Ok(found.into_iter().next())
    }

    /// Calls that are booked, logged or not.
    pub async fn count(&self) -> Result<u64> {
        let count = self
            .0
            .db()
            .read()
            .await?
            .number("SELECT count(*) FROM receipts", values![])
            .await?;
        Ok(count.unsigned_abs())
    }

    /// Clears the log of what finished before `older_than`, a bounded number of rows at a time; tells how many.
    /// Receipts and movements stay.
    pub async fn clear(&self, older_than: Timestamp) -> Result<u64> {
        let mut cleared = 0;
        loop {
            let tx = self.0.db().write().await?;
            let touched = clear_some(&tx, older_than).await?;
            tx.commit().await?;
            cleared += touched;
            if touched < CLEAR_ROWS_MAX.unsigned_abs() {
                return Ok(cleared);
            }
            // The settler waits for the same writer: let it go first.
            tokio::task::yield_now().await;
        }
    }

    async fn select(&self, condition: &str, values: Vec<sea_orm::Value>, limit: u64) -> Result<Vec<RequestRecord>> {
        let limit = limit.min(LIST_ROWS_MAX);
        let select =
            format!("SELECT body, batch_id FROM receipts WHERE {condition} ORDER BY finished_at DESC LIMIT {limit}");
        let rows = self.0.db().read().await?.rows(&select, values).await?;
        rows.iter()
            .map(|row| {
                let unreadable = |error: &dyn std::fmt::Display| StoreError::Data(error.to_string());
                let body: String = row.try_get_by_index(0).map_err(|error| unreadable(&error))?;
                let batch = row.try_get_by_index(1).map_err(|error| unreadable(&error))?;
                let receipt = serde_json::from_str(&body).map_err(|error| unreadable(&error))?;
                Ok(RequestRecord { receipt, batch })
            })
            .collect()
    }
}

/// What of a receipt is log only: the tries with their timings, and words about failures.
async fn clear_some(tx: &Tx<'_>, older_than: Timestamp) -> Result<u64> {
    let stripped = match tx.backend() {
        Backend::Sqlite => "json_remove(body, '$.attempts', '$.decision', '$.error', '$.first_content_ms')",
        // PostgreSQL's JSON knows no NUL: a body with one leaves the log as it is.
        Backend::Postgres => {
            "CASE WHEN strpos(body, '\\u0000') > 0 THEN body \
             ELSE (body::jsonb - 'attempts' - 'decision' - 'error' - 'first_content_ms')::text END"
        }
    };
    let update = format!(
        "UPDATE receipts SET logged = FALSE, body = {stripped} WHERE call IN \
         (SELECT call FROM receipts WHERE logged AND finished_at < $1 ORDER BY finished_at LIMIT {CLEAR_ROWS_MAX})"
    );
    tx.exec(&update, values![older_than.0]).await
}
