//! The proof that the accounts are right.
//!
//! Four books are kept, each written for its own purpose: receipts (what each call was charged), movements (what each
//! batch took from each user), balances, and lifetime statistics. They are written in one transaction and must therefore
//! agree at every moment; a difference means a bug, a damaged disk, or a hand in the database. All is read in one
//! transaction, so an audit beside a running server is exact too.

use domain::{Money, UserId};
use sea_orm::FromQueryResult;

use crate::db::{Sql as _, Tx, values};
use crate::error::Result;
use crate::limits::DISCREPANCIES_MAX;
use crate::store::Store;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Sums over everybody.
    pub totals: AuditTotals,
    /// Everything that does not agree, up to a bound.
    pub discrepancies: Vec<Discrepancy>,
    /// Discrepancies beyond that bound.
    pub more: u64,
}

/// Sums over all receipts and movements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditTotals {
    /// Receipts booked.
    pub receipts: u64,
    /// Batches that booked them.
    pub batches: u64,
    /// Accounts.
    pub accounts: u64,
    /// Taken from users, by receipts.
    pub charged: Money,
    /// Taken from users, by movements (as a positive amount).
    pub moved: Money,
    /// Given to users: opening credits, credits and adjustments.
    pub credited: Money,
    /// Sum of all balances.
    pub balances: Money,
    /// What all usage was worth.
    pub cost: Money,
    /// Chargeable beyond the holds, never taken.
    pub uncollected: Money,
    /// Receipts whose usage was impossible.
    pub quarantined: u64,
    /// Receipts whose price was not known.
    pub unpriced: u64,
    /// Receipts whose usage was estimated.
    pub estimated: u64,
}

/// Two books that do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// About what, as `user 17` or `batch 3`.
    pub subject: String,
    /// Which two figures, in words.
    pub what: &'static str,
    /// The first figure: dollars, or a count.
    pub one: String,
    /// The other.
    pub other: String,
}

impl Audit {
    /// Whether everything agrees.
    pub const fn passes(&self) -> bool {
        self.discrepancies.is_empty()
    }

    fn compare(&mut self, subject: impl FnOnce() -> String, what: &'static str, one: Money, other: Money) {
        if one != other {
            self.tell(subject(), what, one.to_string(), other.to_string());
        }
    }

    fn compare_counts(&mut self, subject: impl FnOnce() -> String, what: &'static str, one: i64, other: i64) {
        if one != other {
            self.tell(subject(), what, one.to_string(), other.to_string());
        }
    }

    fn tell(&mut self, subject: String, what: &'static str, one: String, other: String) {
        if self.discrepancies.len() >= DISCREPANCIES_MAX {
            self.more += 1;
        } else {
            self.discrepancies.push(Discrepancy {
                subject,
                what,
                one,
                other,
            });
        }
    }
}

pub(crate) async fn run(store: &Store) -> Result<Audit> {
    let tx = store.db().snapshot().await?;
    let mut audit = Audit {
        totals: totals(&tx).await?,
        ..Audit::default()
    };
    check_users(&tx, &mut audit).await?;
    check_batches(&tx, &mut audit).await?;
    let sums = audit.totals;
    let all = || "everybody".to_owned();
    audit.compare(all, "charged by receipts, by movements", sums.charged, sums.moved);
    let expected = sums.credited - sums.moved;
    audit.compare(all, "balances, credits less charges", sums.balances, expected);
    tx.commit().await?;
    Ok(audit)
}

async fn totals(tx: &Tx<'_>) -> Result<AuditTotals> {
    #[derive(FromQueryResult)]
    struct Receipts {
        count: i64,
        charged: i64,
        cost: i64,
        uncollected: i64,
        quarantined: i64,
        unpriced: i64,
        estimated: i64,
    }
    #[derive(FromQueryResult)]
    struct Movements {
        moved: i64,
        credited: i64,
    }
    let select = format!(
        "SELECT count(*) AS count, {} AS charged, {} AS cost, {} AS uncollected, {} AS quarantined, \
         {} AS unpriced, {} AS estimated FROM receipts",
        sum("charged_nanos"),
        sum("cost_nanos"),
        sum("uncollected_nanos"),
        sum("CASE WHEN flag = 'quarantined' THEN 1 ELSE 0 END"),
        sum("CASE WHEN flag = 'unpriced' THEN 1 ELSE 0 END"),
        sum("CASE WHEN flag = 'estimated' THEN 1 ELSE 0 END"),
    );
    let receipts = tx.one::<Receipts>(&select, values![]).await?;
    let select = format!(
        "SELECT {} AS moved, {} AS credited FROM movements",
        sum("CASE WHEN kind = 'charge' THEN -amount_nanos ELSE 0 END"),
        sum("CASE WHEN kind = 'charge' THEN 0 ELSE amount_nanos END"),
    );
    let movements = tx.one::<Movements>(&select, values![]).await?;
    let mut totals = AuditTotals {
        batches: tx
            .number("SELECT count(*) FROM batches", values![])
            .await?
            .unsigned_abs(),
        accounts: tx
            .number("SELECT count(*) FROM accounts", values![])
            .await?
            .unsigned_abs(),
        balances: Money::from_nanos(
            tx.number(&format!("SELECT {} FROM accounts", sum("balance_nanos")), values![])
                .await?,
        ),
        ..AuditTotals::default()
    };
    if let Some(row) = receipts {
        totals.receipts = row.count.unsigned_abs();
        totals.charged = Money::from_nanos(row.charged);
        totals.cost = Money::from_nanos(row.cost);
        totals.uncollected = Money::from_nanos(row.uncollected);
        totals.quarantined = row.quarantined.unsigned_abs();
        totals.unpriced = row.unpriced.unsigned_abs();
        totals.estimated = row.estimated.unsigned_abs();
    }
    if let Some(row) = movements {
        totals.moved = Money::from_nanos(row.moved);
        totals.credited = Money::from_nanos(row.credited);
    }
    Ok(totals)
}

async fn check_users(tx: &Tx<'_>, audit: &mut Audit) -> Result<()> {
    #[derive(FromQueryResult)]
    struct Row {
        user_id: i64,
        receipts: i64,
        receipts_charged: i64,
        receipts_cost: i64,
        receipts_uncollected: i64,
        charges: i64,
        movements: i64,
        balance: i64,
        days_calls: i64,
        days_charged: i64,
        days_cost: i64,
        days_uncollected: i64,
    }
    let select = format!(
        "SELECT u.user_id, COALESCE(r.n, 0) AS receipts, COALESCE(r.charged, 0) AS receipts_charged, \
         COALESCE(r.cost, 0) AS receipts_cost, COALESCE(r.uncollected, 0) AS receipts_uncollected, \
         COALESCE(m.charges, 0) AS charges, COALESCE(m.total, 0) AS movements, \
         COALESCE(a.balance_nanos, 0) AS balance, COALESCE(d.calls, 0) AS days_calls, \
         COALESCE(d.charged, 0) AS days_charged, COALESCE(d.cost, 0) AS days_cost, \
         COALESCE(d.uncollected, 0) AS days_uncollected \
         FROM (SELECT user_id FROM receipts UNION SELECT user_id FROM movements UNION SELECT user_id FROM accounts \
               UNION SELECT user_id FROM usage_days) u \
         LEFT JOIN (SELECT user_id, count(*) AS n, {charged} AS charged, {cost} AS cost, {uncollected} AS uncollected \
                    FROM receipts GROUP BY user_id) r ON r.user_id = u.user_id \
         LEFT JOIN (SELECT user_id, {charges} AS charges, {amounts} AS total FROM movements \
                    GROUP BY user_id) m ON m.user_id = u.user_id \
         LEFT JOIN accounts a ON a.user_id = u.user_id \
         LEFT JOIN (SELECT user_id, {calls} AS calls, {charged} AS charged, {cost} AS cost, \
                    {uncollected} AS uncollected FROM usage_days GROUP BY user_id) d ON d.user_id = u.user_id \
         ORDER BY u.user_id",
        charged = sum("charged_nanos"),
        cost = sum("cost_nanos"),
        uncollected = sum("uncollected_nanos"),
        charges = sum("CASE WHEN kind = 'charge' THEN -amount_nanos ELSE 0 END"),
        amounts = sum("amount_nanos"),
        calls = sum("calls"),
    );
    for row in tx.all::<Row>(&select, values![]).await? {
        let subject = || format!("user {}", UserId(row.user_id));
        for (what, one, other) in [
            ("charged by receipts, by movements", row.receipts_charged, row.charges),
            (
                "charged by receipts, in statistics",
                row.receipts_charged,
                row.days_charged,
            ),
            ("cost by receipts, in statistics", row.receipts_cost, row.days_cost),
            (
                "uncollected by receipts, in statistics",
                row.receipts_uncollected,
                row.days_uncollected,
            ),
            ("balance, sum of movements", row.balance, row.movements),
        ] {
            audit.compare(subject, what, Money::from_nanos(one), Money::from_nanos(other));
        }
        audit.compare_counts(
            subject,
            "calls by receipts, in statistics",
            row.receipts,
            row.days_calls,
        );
    }
    Ok(())
}

async fn check_batches(tx: &Tx<'_>, audit: &mut Audit) -> Result<()> {
    #[derive(FromQueryResult)]
    struct Row {
        id: i64,
        said: i64,
        said_charged: i64,
        found: i64,
        found_charged: i64,
        moved: i64,
    }
    let select = format!(
        "SELECT u.id, COALESCE(b.receipts, 0) AS said, COALESCE(b.charged_nanos, 0) AS said_charged, \
         COALESCE(r.n, 0) AS found, COALESCE(r.charged, 0) AS found_charged, COALESCE(m.moved, 0) AS moved \
         FROM (SELECT id FROM batches UNION SELECT batch_id FROM receipts \
               UNION SELECT batch_id FROM movements WHERE batch_id IS NOT NULL) u \
         LEFT JOIN batches b ON b.id = u.id \
         LEFT JOIN (SELECT batch_id, count(*) AS n, {charged} AS charged FROM receipts GROUP BY batch_id) r \
                ON r.batch_id = u.id \
         LEFT JOIN (SELECT batch_id, {moved} AS moved FROM movements WHERE batch_id IS NOT NULL GROUP BY batch_id) m \
                ON m.batch_id = u.id \
         WHERE COALESCE(b.receipts, 0) <> COALESCE(r.n, 0) \
            OR COALESCE(b.charged_nanos, 0) <> COALESCE(r.charged, 0) \
            OR COALESCE(b.charged_nanos, 0) <> COALESCE(m.moved, 0) ORDER BY u.id",
        charged = sum("charged_nanos"),
        moved = sum("-amount_nanos"),
    );
    for row in tx.all::<Row>(&select, values![]).await? {
        let subject = || format!("batch {}", row.id);
        let charged = Money::from_nanos(row.said_charged);
        audit.compare_counts(subject, "receipts of the batch, found", row.said, row.found);
        audit.compare(
            subject,
            "charged by the batch, by its receipts",
            charged,
            Money::from_nanos(row.found_charged),
        );
        audit.compare(
            subject,
            "charged by the batch, by its movements",
            charged,
            Money::from_nanos(row.moved),
        );
    }
    Ok(())
}

/// A sum that is a 64-bit integer in both databases (PostgreSQL would make it a decimal), and 0 of nothing.
fn sum(expression: &str) -> String {
    format!("CAST(COALESCE(sum({expression}), 0) AS BIGINT)")
}
