//! Where things live that upstreams made for clients.
//!
//! Written behind the calls that make such things, read only when a request names one that memory has forgotten. A pin
//! whose call is not billed yet is never dropped to make room: the row is what a restarted server bills by.

use std::collections::HashSet;

use domain::{CredentialId, Job, KeyId, Pin, Timestamp, UpstreamId, UserId};
use sea_orm::FromQueryResult;

use crate::db::{Sql as _, Tx, values};
use crate::error::{Result, StoreError};
use crate::limits::{CLEAR_ROWS_MAX, JOBS_MAX, PIN_ROWS_MAX, PINS_MAX};
use crate::store::{Store, to_json};

/// Where things live that upstreams made for clients.
#[derive(Debug)]
pub struct Pins<'a>(pub(crate) &'a Store);

#[derive(FromQueryResult)]
struct Row {
    id: String,
    user_id: i64,
    key_id: i64,
    upstream_id: i64,
    credential_id: i64,
    made_at: i64,
    expires_at: i64,
    job: Option<String>,
    operators_bytes: Option<i64>,
}

/// Columns of a pin.
const PIN_COLUMNS: usize = 9;

const SELECT: &str =
    "SELECT id, user_id, key_id, upstream_id, credential_id, made_at, expires_at, job, operators_bytes FROM pins";

impl Pins<'_> {
    /// Remembers them; what was known of the same thing is replaced, the last of several is kept. What is owed for it stays
    /// owed until [`billed`](Self::billed) says otherwise.
    pub async fn save(&self, pins: &[Pin]) -> Result<()> {
        let mut names = HashSet::new();
        let last: Vec<&Pin> = pins
            .iter()
            .rev()
            .filter(|pin| names.insert((&pin.id, pin.user)))
            .collect();
        let tx = self.0.db().write().await?;
        for pins in last.chunks(PIN_ROWS_MAX) {
            upsert(&tx, pins).await?;
        }
        tx.commit().await
    }

    /// Everything of this name that has not expired, whosever it is.
    pub async fn find(&self, id: &str, now: Timestamp) -> Result<Vec<Pin>> {
        let select = format!("{SELECT} WHERE id = $1 AND expires_at > $2 ORDER BY user_id");
        let rows = self
            .0
            .db()
            .read()
            .await?
            .all::<Row>(&select, values![id, now.0])
            .await?;
        rows.into_iter().map(Row::into_pin).collect()
    }

    /// Forgets a thing.
    pub async fn remove(&self, user: UserId, id: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        tx.exec("DELETE FROM pins WHERE id = $1 AND user_id = $2", values![id, user.0])
            .await?;
        tx.commit().await
    }

    /// Those whose calls are not billed yet, oldest first.
    pub async fn jobs(&self) -> Result<Vec<Pin>> {
        let select = format!("{SELECT} WHERE job IS NOT NULL ORDER BY made_at LIMIT {JOBS_MAX}");
        let rows = self.0.db().read().await?.all::<Row>(&select, values![]).await?;
        rows.into_iter().map(Row::into_pin).collect()
    }

    /// The call that made it is billed.
    pub async fn billed(&self, user: UserId, id: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        tx.exec(
            "UPDATE pins SET job = NULL WHERE id = $1 AND user_id = $2",
            values![id, user.0],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets what has expired and what is too much, a bounded number of rows at a time; tells how many.
    pub async fn clear(&self, now: Timestamp) -> Result<u64> {
        let mut cleared = self.delete(now, i64::MAX).await?;
        let count = self.0.db().read().await?;
        let excess = count.number("SELECT count(*) FROM pins", values![]).await? - PINS_MAX;
        if excess > 0 {
            cleared += self.delete(Timestamp(i64::MAX), excess).await?;
        }
        Ok(cleared)
    }

    /// Deletes up to `most` that expire before a time, those that expire first.
    async fn delete(&self, before: Timestamp, most: i64) -> Result<u64> {
        let mut left = most;
        loop {
            let rows = left.min(CLEAR_ROWS_MAX);
            let delete = format!(
                "DELETE FROM pins WHERE (id, user_id) IN (SELECT id, user_id FROM pins \
                 WHERE job IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT {rows})"
            );
            let tx = self.0.db().write().await?;
            let touched = tx.exec(&delete, values![before.0]).await?;
            tx.commit().await?;
            left -= touched.cast_signed();
            if touched < rows.unsigned_abs() || left <= 0 {
                return Ok((most - left).unsigned_abs());
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn upsert(tx: &Tx<'_>, pins: &[&Pin]) -> Result<()> {
    let mut values = Vec::with_capacity(pins.len() * PIN_COLUMNS);
    for pin in pins {
        let job = pin.job.as_ref().map(to_json).transpose()?;
        values.extend(values![
            pin.id.as_str(),
            pin.user.0,
            pin.key.0,
            pin.upstream.0,
            pin.credential.0,
            pin.made_at.0,
            pin.expires_at.0,
            job,
            pin.operators_bytes
                .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
        ]);
    }
    let row = |row: usize| {
        let marks: Vec<String> = (1..=PIN_COLUMNS)
            .map(|column| format!("${}", row * PIN_COLUMNS + column))
            .collect();
        format!("({})", marks.join(", "))
    };
    let rows: Vec<String> = (0..pins.len()).map(row).collect();
    let upsert = format!(
        "INSERT INTO pins (id, user_id, key_id, upstream_id, credential_id, made_at, expires_at, job, operators_bytes) VALUES {} \
         ON CONFLICT (id, user_id) DO UPDATE SET key_id = excluded.key_id, upstream_id = excluded.upstream_id, \
         credential_id = excluded.credential_id, made_at = excluded.made_at, expires_at = excluded.expires_at, \
         job = coalesce(excluded.job, pins.job), \
         operators_bytes = coalesce(excluded.operators_bytes, pins.operators_bytes)",
        rows.join(", ")
    );
    tx.exec(&upsert, values).await.map(|_| ())
}

impl Row {
    fn into_pin(self) -> Result<Pin> {
        let job = self.job.as_deref().map(serde_json::from_str::<Job>).transpose();
        Ok(Pin {
            user: UserId(self.user_id),
            key: KeyId(self.key_id),
            upstream: UpstreamId(self.upstream_id),
            credential: CredentialId(self.credential_id),
            made_at: Timestamp(self.made_at),
            expires_at: Timestamp(self.expires_at),
            job: job.map_err(|error| StoreError::Data(format!("pin `{}`: {error}", self.id)))?,
            operators_bytes: self.operators_bytes.map(i64::unsigned_abs),
            id: self.id,
        })
    }
}
