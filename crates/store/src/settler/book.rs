//! The one transaction that books a batch.
//!
//! Rows are bound as parameters of multi-row statements in sizes that are powers of two, so that a handful of prepared
//! statements serve every batch. (One JSON array taken apart by SQL was measured first: SQLite renders and parses each
//! element several times, which costs more than the insert.) Whether a receipt is new is decided by the database;
//! usually all are, and then nothing has to be asked: the count of inserted rows says so.

use std::collections::HashSet;

use domain::{CallId, Money, UserId};
use sea_orm::{FromQueryResult, Value};

use super::batch::{Batch, Effects};
use super::entry::Sums;
use crate::clock::now;
use crate::db::{Backend, Sql as _, Tx, values};
use crate::error::StoreError;
use crate::journal::JournalPosition;
use crate::limits::INSERT_ROWS_MAX;
use crate::meta;
use crate::store::Store;

/// What is to be booked.
pub(super) struct Booking<'a> {
    pub journal: &'a str,
    /// Where the database is believed to be.
    pub from: JournalPosition,
    pub to: JournalPosition,
    pub batch: &'a Batch<'a>,
}

/// What was booked.
#[derive(Debug, Default)]
pub(super) struct Booked {
    /// Receipts that were new.
    pub inserted: u64,
    /// For each user: what is no longer pending, and the balance now.
    pub balances: Vec<(UserId, Money, Money)>,
}

/// Why nothing was booked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The database is at another position.
    Position,
    /// The database did not take a value.
    Value(String),
    /// Anything else: try again.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Data(why) => Self::Value(why),
            other => Self::Store(other),
        }
    }
}

/// Books, or changes nothing.
pub(super) async fn run(store: &Store, booking: &Booking<'_>) -> Result<Booked, Refusal> {
    let tx = store.db().write().await?;
    move_position(&tx, booking).await?;
    let batch = booking.batch;
    if batch.entries.is_empty() && batch.owed.is_empty() {
        tx.commit().await?;
        return Ok(Booked::default());
    }
    let sequence = meta::next_ledger(&tx).await?;
    let inserted = insert_receipts(&tx, batch, sequence).await?;
    let effects = if inserted == batch.entries.len() as u64 {
        batch.effects(None)
    } else {
        batch.effects(Some(&new_calls(&tx, batch, sequence).await?))
    };
    if effects.receipts > 0 {
        insert_batch(&tx, booking, &effects, sequence).await?;
        insert_movements(&tx, &effects, sequence).await?;
        add_totals(&tx, &effects).await?;
        add_days(&tx, &effects).await?;
    }
    let balances = move_balances(&tx, batch, &effects, sequence).await?;
    tx.commit().await?;
    Ok(Booked { inserted, balances })
}

/// Up to where a journal is booked.
pub(super) async fn position(tx: &Tx<'_>, journal: &str) -> Result<Option<JournalPosition>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        segment: i64,
        position: i64,
    }
    let row = tx
        .one::<Row>("SELECT segment, position FROM journals WHERE id = $1", values![journal])
        .await?;
    Ok(row.map(|row| JournalPosition {
        segment: row.segment.unsigned_abs(),
        offset: row.position.unsigned_abs(),
    }))
}

/// Moves it from where we believe it to be, and from nowhere else.
async fn move_position(tx: &Tx<'_>, booking: &Booking<'_>) -> Result<(), Refusal> {
    let update = "UPDATE journals SET segment = $1, position = $2, updated_at = $3 \
                  WHERE id = $4 AND segment = $5 AND position = $6";
    let values = values![
        booking.to.segment as i64,
        booking.to.offset as i64,
        now().0,
        booking.journal,
        booking.from.segment as i64,
        booking.from.offset as i64
    ];
    if tx.exec(update, values).await? == 1 {
        Ok(())
    } else {
        Err(Refusal::Position)
    }
}

async fn insert_receipts(tx: &Tx<'_>, batch: &Batch<'_>, sequence: i64) -> Result<u64, Refusal> {
    let insert = Insert {
        head: "INSERT INTO receipts (call, user_id, key_id, batch_id, finished_at, charged_nanos, cost_nanos, \
               uncollected_nanos, flag, body) VALUES",
        columns: 10,
        tail: "ON CONFLICT DO NOTHING",
    };
    let mut inserted = 0;
    for slice in slices(&batch.entries) {
        let mut values = Vec::with_capacity(slice.len() * insert.columns);
        for entry in slice {
            values.extend([
                Value::from(entry.call.to_string()),
                entry.user.0.into(),
                entry.key.0.into(),
                sequence.into(),
                entry.finished_at.0.into(),
                entry.sums.charged.into(),
                entry.sums.cost.into(),
                entry.uncollected.into(),
                entry.flag.name().into(),
                entry.body.into(),
            ]);
        }
        inserted += tx.exec(&insert.sql(slice.len(), tx.backend()), values).await?;
    }
    Ok(inserted)
}

/// Which receipts of the batch were new: they carry its number.
async fn new_calls(tx: &Tx<'_>, batch: &Batch<'_>, sequence: i64) -> Result<HashSet<CallId>, Refusal> {
    let mut new = HashSet::new();
    for slice in slices(&batch.entries) {
        let marks: Vec<_> = (2..slice.len() + 2).map(|number| format!("${number}")).collect();
        let select = format!(
            "SELECT call FROM receipts WHERE batch_id = $1 AND call IN ({})",
            marks.join(", ")
        );
        let mut values = values![sequence];
        values.extend(slice.iter().map(|entry| Value::from(entry.call.to_string())));
        let found: HashSet<String> = tx
            .rows(&select, values)
            .await?
            .iter()
            .filter_map(|row| row.try_get_by_index(0).ok())
            .collect();
        new.extend(
            slice
                .iter()
                .map(|entry| entry.call)
                .filter(|call| found.contains(&call.to_string())),
        );
    }
    Ok(new)
}

async fn insert_batch(tx: &Tx<'_>, booking: &Booking<'_>, effects: &Effects, sequence: i64) -> Result<(), Refusal> {
    let insert = "INSERT INTO batches \
                  (id, journal, from_segment, from_offset, to_segment, to_offset, receipts, charged_nanos, at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (from, to) = (booking.from, booking.to);
    let values = values![
        sequence,
        booking.journal,
        from.segment as i64,
        from.offset as i64,
        to.segment as i64,
        to.offset as i64,
        effects.receipts,
        effects.charged,
        now().0
    ];
    tx.exec(insert, values).await?;
    Ok(())
}

async fn insert_movements(tx: &Tx<'_>, effects: &Effects, sequence: i64) -> Result<(), Refusal> {
    let insert = Insert {
        head: "INSERT INTO movements (user_id, kind, amount_nanos, batch_id, note, actor, at) VALUES",
        columns: 7,
        tail: "",
    };
    let at = now().0;
    let charges: Vec<_> = effects
        .users
        .iter()
        .filter(|(_, (sums, _))| sums.charged != 0)
        .collect();
    for slice in slices(&charges) {
        let row = |(user, (sums, _)): &(&UserId, &(Sums, i64))| {
            let amount = -sums.charged;
            values![user.0, "charge", amount, sequence, "", "settler", at]
        };
        tx.exec(
            &insert.sql(slice.len(), tx.backend()),
            slice.iter().flat_map(row).collect(),
        )
        .await?;
    }
    Ok(())
}

async fn add_totals(tx: &Tx<'_>, effects: &Effects) -> Result<(), Refusal> {
    let insert = Insert {
        head: "INSERT INTO totals (user_id, calls, failed, input, cache_read, cache_write, output, charged_nanos, \
               cost_nanos, uncollected_nanos) VALUES",
        columns: 10,
        tail: "ON CONFLICT (user_id) DO UPDATE SET calls = totals.calls + excluded.calls, \
               failed = totals.failed + excluded.failed, input = totals.input + excluded.input, \
               cache_read = totals.cache_read + excluded.cache_read, \
               cache_write = totals.cache_write + excluded.cache_write, output = totals.output + excluded.output, \
               charged_nanos = totals.charged_nanos + excluded.charged_nanos, \
               cost_nanos = totals.cost_nanos + excluded.cost_nanos, \
               uncollected_nanos = totals.uncollected_nanos + excluded.uncollected_nanos",
    };
    let users: Vec<_> = effects.users.iter().collect();
    for slice in slices(&users) {
        let row = |(user, (sums, uncollected)): &(&UserId, &(Sums, i64))| {
            let mut row = values![user.0];
            row.extend(sum_values(sums));
            row.push(Value::from(*uncollected));
            row
        };
        tx.exec(
            &insert.sql(slice.len(), tx.backend()),
            slice.iter().flat_map(row).collect(),
        )
        .await?;
    }
    Ok(())
}

async fn add_days(tx: &Tx<'_>, effects: &Effects) -> Result<(), Refusal> {
    let insert = Insert {
        head: "INSERT INTO usage_days (user_id, day, model, calls, failed, input, cache_read, cache_write, output, \
               charged_nanos, cost_nanos) VALUES",
        columns: 11,
        tail: "ON CONFLICT (user_id, day, model) DO UPDATE SET calls = usage_days.calls + excluded.calls, \
               failed = usage_days.failed + excluded.failed, input = usage_days.input + excluded.input, \
               cache_read = usage_days.cache_read + excluded.cache_read, \
               cache_write = usage_days.cache_write + excluded.cache_write, \
               output = usage_days.output + excluded.output, \
               charged_nanos = usage_days.charged_nanos + excluded.charged_nanos, \
               cost_nanos = usage_days.cost_nanos + excluded.cost_nanos",
    };
    let days: Vec<_> = effects.days.iter().collect();
    for slice in slices(&days) {
        let row = |((user, day, model), sums): &(&(UserId, i64, String), &Sums)| {
            let mut row = values![user.0, *day, model.as_str()];
            row.extend(sum_values(sums));
            row
        };
        tx.exec(
            &insert.sql(slice.len(), tx.backend()),
            slice.iter().flat_map(row).collect(),
        )
        .await?;
    }
    Ok(())
}

/// Takes what was charged from the accounts. Everyone who owed something is told the balance, also if every receipt was
/// a repeat: it is pending no more either way.
async fn move_balances(
    tx: &Tx<'_>,
    batch: &Batch<'_>,
    effects: &Effects,
    sequence: i64,
) -> Result<Vec<(UserId, Money, Money)>, Refusal> {
    let upsert = Insert {
        head: "INSERT INTO accounts (user_id, balance_nanos, sequence) VALUES",
        columns: 3,
        tail: "ON CONFLICT (user_id) DO UPDATE SET sequence = excluded.sequence, \
               balance_nanos = accounts.balance_nanos + excluded.balance_nanos RETURNING user_id, balance_nanos",
    };
    let charged = |user: &UserId| effects.users.get(user).map_or(0, |(sums, _)| sums.charged);
    let owed: Vec<_> = batch.owed.iter().collect();
    let mut moved = Vec::with_capacity(owed.len());
    for slice in slices(&owed) {
        let row = |(user, _): &(&UserId, &Money)| {
            let amount = -charged(user);
            values![user.0, amount, sequence]
        };
        let rows = tx
            .rows(
                &upsert.sql(slice.len(), tx.backend()),
                slice.iter().flat_map(row).collect(),
            )
            .await?;
        for row in rows {
            let read = |index| {
                row.try_get_by_index::<i64>(index)
                    .map_err(|error| StoreError::Data(error.to_string()))
            };
            let user = UserId(read(0)?);
            let owed = batch.owed.get(&user).copied().unwrap_or_default();
            moved.push((user, owed, Money::from_nanos(read(1)?)));
        }
    }
    Ok(moved)
}

fn sum_values(sums: &Sums) -> [Value; 8] {
    [
        sums.calls,
        sums.failed,
        sums.input,
        sums.cache_read,
        sums.cache_write,
        sums.output,
        sums.charged,
        sums.cost,
    ]
    .map(Value::from)
}

/// A statement that inserts several rows.
struct Insert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
}

impl Insert {
    fn sql(&self, rows: usize, backend: Backend) -> String {
        let mut sql = String::with_capacity(self.head.len() + self.tail.len() + rows * self.columns * 6 + rows * 4);
        sql.push_str(self.head);
        let mut number = 0;
        for row in 0..rows {
            sql.push_str(if row == 0 { " (" } else { ", (" });
            for column in 0..self.columns {
                number += 1;
                sql.push_str(if column == 0 { "" } else { "," });
                match backend {
                    // Numbered marks are names to SQLite, and looked up one by one in a list.
                    Backend::Sqlite => sql.push('?'),
                    Backend::Postgres => {
                        sql.push('$');
                        sql.push_str(&number.to_string());
                    }
                }
            }
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(self.tail);
        sql
    }
}

/// Cuts into pieces whose sizes are powers of two, the largest first.
fn slices<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = if rest.len() >= INSERT_ROWS_MAX {
            INSERT_ROWS_MAX
        } else {
            largest_power(rest.len())
        };
        let (slice, tail) = rest.split_at_checked(size).filter(|(slice, _)| !slice.is_empty())?;
        rest = tail;
        Some(slice)
    })
}

const fn largest_power(length: usize) -> usize {
    match length.checked_ilog2() {
        Some(power) => 1 << power,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_everything_in_powers_of_two() {
        for length in [0_usize, 1, 2, 3, 255, 256, 257, 1000] {
            let all: Vec<usize> = (0..length).collect();
            let sizes: Vec<usize> = slices(&all).map(<[usize]>::len).collect();
            assert!(
                sizes
                    .iter()
                    .all(|size| size.is_power_of_two() && *size <= INSERT_ROWS_MAX),
                "{sizes:?}"
            );
            assert_eq!(slices(&all).flatten().copied().collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn statements_number_their_parameters_where_they_must() {
        let insert = Insert {
            head: "INSERT INTO t (a, b) VALUES",
            columns: 2,
            tail: "ON CONFLICT DO NOTHING",
        };
        let sqlite = insert.sql(2, Backend::Sqlite);
        assert_eq!(
            sqlite,
            "INSERT INTO t (a, b) VALUES (?,?), (?,?) ON CONFLICT DO NOTHING"
        );
        let postgres = insert.sql(2, Backend::Postgres);
        assert_eq!(
            postgres,
            "INSERT INTO t (a, b) VALUES ($1,$2), ($3,$4) ON CONFLICT DO NOTHING"
        );
    }
}
