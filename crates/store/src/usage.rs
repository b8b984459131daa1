//! Usage statistics: days by model, and their sum over a user's lifetime. Written by the settler in the transaction that books
//! the receipts, so they are as exact as the accounts. Every finder is scoped to one user.

use domain::{Money, UserId};
use sea_orm::FromQueryResult;

use crate::db::{Sql as _, values};
use crate::error::Result;
use crate::limits::LIST_ROWS_MAX;
use crate::store::Store;

/// Usage statistics.
#[derive(Debug)]
pub struct UsageViews<'a>(pub(crate) &'a Store);

/// What one user, or one model of one user on one day, consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls booked.
    pub calls: u64,
    /// Of these: calls that ended otherwise than complete.
    pub failed: u64,
    /// Uncached prompt tokens.
    pub input: u64,
    /// Prompt tokens read from a cache.
    pub cache_read: u64,
    /// Prompt tokens written to a cache.
    pub cache_write: u64,
    /// Generated tokens.
    pub output: u64,
    /// Taken from the user.
    pub charged: Money,
    /// What the usage was worth.
    pub cost: Money,
    /// What was chargeable beyond the holds and never taken.
    pub uncollected: Money,
}

/// A day of one user with one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUsage {
    /// Days since the epoch, UTC.
    pub day: i64,
    /// The model asked for, in lower case; empty where nothing was tried.
    pub model: String,
    /// What was consumed.
    pub totals: Totals,
}

impl UsageViews<'_> {
    /// Everything that a user ever consumed.
    pub async fn lifetime(&self, user: UserId) -> Result<Totals> {
        let sums = SUM_COLUMNS
            .map(|column| format!("CAST(COALESCE(sum({column}), 0) AS BIGINT) AS {column}"))
            .join(", ");
        let select = format!("SELECT CAST(0 AS BIGINT) AS day, '' AS model, {sums} FROM usage_days WHERE user_id = $1");
        let row = self.0.db().read().await?.one::<Row>(&select, values![user.0]).await?;
        Ok(row.map(|row| row.read().totals).unwrap_or_default())
    }

    /// What a user consumed in the days `from..=to`, by day and model.
    pub async fn days(&self, user: UserId, from: i64, to: i64) -> Result<Vec<DayUsage>> {
        let select = format!(
            "SELECT day, model, calls, failed, input, cache_read, cache_write, output, charged_nanos, cost_nanos, \
             uncollected_nanos FROM usage_days WHERE user_id = $1 AND day BETWEEN $2 AND $3 \
             ORDER BY day, model LIMIT {LIST_ROWS_MAX}"
        );
        let rows = self
            .0
            .db()
            .read()
            .await?
            .all::<Row>(&select, values![user.0, from, to])
            .await?;
        Ok(rows.into_iter().map(Row::read).collect())
    }
}

/// The columns of `usage_days` that add up.
pub(crate) const SUM_COLUMNS: [&str; 9] = [
    "calls",
    "failed",
    "input",
    "cache_read",
    "cache_write",
    "output",
    "charged_nanos",
    "cost_nanos",
    "uncollected_nanos",
];

#[derive(FromQueryResult)]
struct Row {
    day: i64,
    model: String,
    calls: i64,
    failed: i64,
    input: i64,
    cache_read: i64,
    cache_write: i64,
    output: i64,
    charged_nanos: i64,
    cost_nanos: i64,
    uncollected_nanos: i64,
}

impl Row {
    fn read(self) -> DayUsage {
        let totals = Totals {
            calls: self.calls.unsigned_abs(),
            failed: self.failed.unsigned_abs(),
            input: self.input.unsigned_abs(),
            cache_read: self.cache_read.unsigned_abs(),
            cache_write: self.cache_write.unsigned_abs(),
            output: self.output.unsigned_abs(),
            charged: Money::from_nanos(self.charged_nanos),
            cost: Money::from_nanos(self.cost_nanos),
            uncollected: Money::from_nanos(self.uncollected_nanos),
        };
        DayUsage {
            day: self.day,
            model: self.model,
            totals,
        }
    }
}
