//! The one transaction that books a batch.
//!
//! Each statement is a message to another thread (SQLite) or another machine (PostgreSQL), which at low rates costs more
//! than the work in it, so there are ten of them, however large the batch. Receipts are bound as parameters of one
//! multi-row INSERT per 256, filled up to a power of two with repeats that the database ignores, so that a handful of
//! prepared statements serve every batch. What they add up to is worked out here and bound as one small JSON array each.
//! (Binding the receipts themselves as JSON would make SQLite render and parse each body again, three passes over it.) Whether a receipt is new is decided by the database; usually all are, and then nothing has to be
//! asked: the count of inserted rows says so.

use std::collections::HashSet;

use domain::{CallId, Money, UserId};
use sea_orm::{FromQueryResult, QueryResult, Value};

use super::batch::{Batch, Effects};
use super::entry::{Entry, Sums};
use crate::clock::now;
use crate::db::{Backend, Sql as _, Tx, values};
use crate::error::StoreError;
use crate::journal::JournalPosition;
use crate::limits::INSERT_ROWS_MAX;
use crate::meta;
use crate::store::{Store, to_json};
use crate::usage::SUM_COLUMNS;

/// Columns of a receipt that are bound.
const RECEIPT_COLUMNS: usize = 10;

/// What is to be booked.
pub(super) struct Booking<'a> {
    pub journal: &'a str,
    /// The identity of the database that it belongs to.
    pub database: &'a str,
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
        add_days(&tx, &effects).await?;
        add_uses(&tx, &effects).await?;
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

/// Moves it from where we believe it to be, and from nowhere else; and in no database that was put in the place of ours.
async fn move_position(tx: &Tx<'_>, booking: &Booking<'_>) -> Result<(), Refusal> {
    let update = "UPDATE journals SET segment = $1, position = $2, updated_at = $3 \
                  WHERE id = $4 AND segment = $5 AND position = $6 \
                  AND EXISTS (SELECT 1 FROM meta WHERE identity = $7)";
    let values = values![
        booking.to.segment as i64,
        booking.to.offset as i64,
        now().0,
        booking.journal,
        booking.from.segment as i64,
        booking.from.offset as i64,
        booking.database
    ];
    if tx.exec(update, values).await? == 1 {
        Ok(())
    } else {
        Err(Refusal::Position)
    }
}

async fn insert_receipts(tx: &Tx<'_>, batch: &Batch<'_>, sequence: i64) -> Result<u64, Refusal> {
    let mut inserted = 0;
    for slice in batch.entries.chunks(INSERT_ROWS_MAX) {
        let rows = slice.len().next_power_of_two();
        let mut values = Vec::with_capacity(rows * RECEIPT_COLUMNS);
        for entry in slice {
            receipt_values(entry, entry.body, sequence, &mut values);
        }
        // The repeats are of a row in the same statement, so they conflict whatever is in the database.
        for entry in slice.iter().take(1).cycle().take(rows - slice.len()) {
            receipt_values(entry, "", sequence, &mut values);
        }
        inserted += tx.exec(&insert_receipts_sql(rows, tx.backend()), values).await?;
    }
    Ok(inserted)
}

fn receipt_values(entry: &Entry<'_>, body: &str, sequence: i64, values: &mut Vec<Value>) {
    let row: [Value; RECEIPT_COLUMNS] = [
        entry.call.to_string().into(),
        entry.user.0.into(),
        entry.key.0.into(),
        sequence.into(),
        entry.finished_at.0.into(),
        entry.sums.charged.into(),
        entry.sums.cost.into(),
        entry.sums.uncollected.into(),
        entry.flag.name().into(),
        body.into(),
    ];
    values.extend(row);
}

/// Which receipts of the batch were new: they carry its number.
async fn new_calls(tx: &Tx<'_>, batch: &Batch<'_>, sequence: i64) -> Result<HashSet<CallId>, Refusal> {
    let among = match tx.backend() {
        Backend::Sqlite => "SELECT value FROM json_each($2)",
        Backend::Postgres => "SELECT jsonb_array_elements_text(CAST($2 AS jsonb))",
    };
    let select = format!("SELECT call FROM receipts WHERE batch_id = $1 AND call IN ({among})");
    let calls: Vec<CallId> = batch.entries.iter().map(|entry| entry.call).collect();
    let rows = tx.rows(&select, values![sequence, to_json(&calls)?]).await?;
    let new: HashSet<String> = rows.iter().filter_map(|row| row.try_get_by_index(0).ok()).collect();
    Ok(calls
        .into_iter()
        .filter(|call| new.contains(&call.to_string()))
        .collect())
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
    let charges: Vec<_> = effects.users.iter().filter(|(_, charged)| **charged != 0).collect();
    if charges.is_empty() {
        return Ok(());
    }
    let rows = Elements::of(tx.backend());
    let insert = format!(
        "INSERT INTO movements (user_id, kind, amount_nanos, batch_id, note, actor, at) \
         SELECT {user}, 'charge', -{charged}, $2, '', 'settler', $3 FROM {source}",
        user = rows.integer(0),
        charged = rows.integer(1),
        source = rows.source,
    );
    tx.exec(&insert, values![to_json(&charges)?, sequence, now().0]).await?;
    Ok(())
}

async fn add_days(tx: &Tx<'_>, effects: &Effects) -> Result<(), Refusal> {
    let rows = Elements::of(tx.backend());
    let sums: Vec<String> = (0..SUM_COLUMNS.len()).map(|index| rows.integer(index + 3)).collect();
    let added = SUM_COLUMNS.map(|column| format!("{column} = usage_days.{column} + excluded.{column}"));
    let upsert = format!(
        "INSERT INTO usage_days (user_id, day, model, {columns}) \
         SELECT {user}, {day}, {model}, {sums} FROM {source} WHERE TRUE \
         ON CONFLICT (user_id, day, model) DO UPDATE SET {added}",
        columns = SUM_COLUMNS.join(", "),
        user = rows.integer(0),
        day = rows.integer(1),
        model = rows.text(2),
        sums = sums.join(", "),
        source = rows.source,
        added = added.join(", "),
    );
    let flat = |((user, day, model), sums): (&(UserId, i64, String), &Sums)| {
        let mut row = vec![serde_json::Value::from(user.0), (*day).into(), model.as_str().into()];
        row.extend(sums.values().map(serde_json::Value::from));
        row
    };
    let days: Vec<Vec<serde_json::Value>> = effects.days.iter().map(flat).collect();
    tx.exec(&upsert, values![to_json(&days)?]).await?;
    Ok(())
}

async fn add_uses(tx: &Tx<'_>, effects: &Effects) -> Result<(), Refusal> {
    if effects.uses.is_empty() {
        return Ok(());
    }
    let rows = Elements::of(tx.backend());
    let upsert = format!(
        "INSERT INTO credential_days (credential_id, day, uses) SELECT {credential}, {day}, {uses} FROM {source} WHERE TRUE \
         ON CONFLICT (credential_id, day) DO UPDATE SET uses = credential_days.uses + excluded.uses",
        credential = rows.integer(0),
        day = rows.integer(1),
        uses = rows.integer(2),
        source = rows.source,
    );
    let uses: Vec<_> = effects
        .uses
        .iter()
        .map(|((credential, day), uses)| (credential, day, uses))
        .collect();
    tx.exec(&upsert, values![to_json(&uses)?]).await?;
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
    let taken = |user: &UserId| effects.users.get(user).copied().unwrap_or_default();
    let charges: Vec<(UserId, i64)> = batch.owed.keys().map(|user| (*user, taken(user))).collect();
    if charges.is_empty() {
        return Ok(Vec::new());
    }
    let rows = Elements::of(tx.backend());
    let upsert = format!(
        "INSERT INTO accounts (user_id, balance_nanos, sequence) \
         SELECT {user}, -{charged}, $2 FROM {source} WHERE TRUE \
         ON CONFLICT (user_id) DO UPDATE SET sequence = excluded.sequence, \
         balance_nanos = accounts.balance_nanos + excluded.balance_nanos RETURNING user_id, balance_nanos",
        user = rows.integer(0),
        charged = rows.integer(1),
        source = rows.source,
    );
    let moved = tx.rows(&upsert, values![to_json(&charges)?, sequence]).await?;
    let told = |row: &QueryResult| {
        let read = |index| {
            row.try_get_by_index::<i64>(index)
                .map_err(|error| StoreError::Data(error.to_string()))
        };
        let user = UserId(read(0)?);
        let owed = batch.owed.get(&user).copied().unwrap_or_default();
        Ok((user, owed, Money::from_nanos(read(1)?)))
    };
    moved.iter().map(told).collect()
}

/// How SQL takes apart an array of arrays that is bound as `$1`.
struct Elements {
    backend: Backend,
    source: &'static str,
}

impl Elements {
    const fn of(backend: Backend) -> Self {
        let source = match backend {
            Backend::Sqlite => "json_each($1) AS e",
            Backend::Postgres => "jsonb_array_elements(CAST($1 AS jsonb)) AS e(value)",
        };
        Self { backend, source }
    }

    fn integer(&self, index: usize) -> String {
        match self.backend {
            Backend::Sqlite => format!("(e.value ->> {index})"),
            Backend::Postgres => format!("CAST(e.value ->> {index} AS BIGINT)"),
        }
    }

    #[expect(clippy::unused_self, reason = "it is the same in both by chance")]
    fn text(&self, index: usize) -> String {
        format!("(e.value ->> {index})")
    }
}

fn insert_receipts_sql(rows: usize, backend: Backend) -> String {
    let mut sql = String::with_capacity(200 + rows * RECEIPT_COLUMNS * 6);
    sql.push_str(
        "INSERT INTO receipts (call, user_id, key_id, batch_id, finished_at, charged_nanos, cost_nanos, \
         uncollected_nanos, flag, body) VALUES",
    );
    let mut number = 0;
    for row in 0..rows {
        sql.push_str(if row == 0 { " (" } else { ", (" });
        for column in 0..RECEIPT_COLUMNS {
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
    sql.push_str(" ON CONFLICT DO NOTHING");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_number_their_parameters_where_they_must() {
        let sqlite = insert_receipts_sql(2, Backend::Sqlite);
        assert!(sqlite.ends_with(" VALUES (?,?,?,?,?,?,?,?,?,?), (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"));
        let postgres = insert_receipts_sql(2, Backend::Postgres);
        let marks = "VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10), ($11,$12,$13,$14,$15,$16,$17,$18,$19,$20) ON";
        assert!(postgres.contains(marks), "{postgres}");
    }
}
