//! Balances and the movements that make them.
//!
//! A balance is only ever changed together with a movement that says why, in one transaction, and each change takes the
//! next number of the ledger's sequence, so that a running server finds what others changed by asking for the accounts
//! beyond the number that it saw last.

use domain::declaration::UserDecl;
use domain::{Money, Timestamp, UserId};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::db::{Sql as _, Tx, values};
use crate::error::{Result, StoreError};
use crate::limits::{AMOUNT_NANOS_MAX, LIST_ROWS_MAX, NOTE_CHARS_MAX};
use crate::meta;
use crate::names::Origin;
use crate::store::Store;

/// Balances and their movements.
#[derive(Debug)]
pub struct Balances<'a>(pub(crate) &'a Store);

/// What a user has, as the ledger knows it. Receipts that are not booked yet are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Whose.
    pub user: UserId,
    /// How much.
    pub balance: Money,
    /// The ledger's sequence at the last change.
    pub sequence: u64,
}

/// Why a balance changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MovementKind {
    /// The credit that a user starts with, once.
    Opening,
    /// Money added.
    Credit,
    /// A correction, up or down.
    Adjust,
    /// What one batch of calls cost.
    Charge,
}

/// A change of a balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Identity, ascending.
    pub id: i64,
    /// Whose.
    pub user: UserId,
    /// Why.
    pub kind: MovementKind,
    /// How much; negative for what was taken.
    pub amount: Money,
    /// The batch of a charge.
    pub batch: Option<i64>,
    /// In a person's words.
    pub note: String,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

impl Balances<'_> {
    /// What a user has.
    pub async fn show(&self, user: UserId) -> Result<Balance> {
        let select = format!("{SELECT} WHERE user_id = $1");
        let row = self.0.db().read().await?.one::<Row>(&select, values![user.0]).await?;
        Ok(row.map_or(
            Balance {
                user,
                balance: Money::ZERO,
                sequence: 0,
            },
            Into::into,
        ))
    }

    /// What everybody has.
    pub async fn list(&self) -> Result<Vec<Balance>> {
        let select = format!("{SELECT} ORDER BY user_id");
        let rows = self.0.db().read().await?.all::<Row>(&select, values![]).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Adds money.
    ///
    /// # Errors
    /// The amount is not above zero.
    pub async fn add(&self, user: UserId, amount: Money, note: &str, actor: &str) -> Result<Balance> {
        if amount.is_spent() {
            return Err(StoreError::Invalid(
                "only an amount above zero can be added; to take money away, use `balance adjust`".to_owned(),
            ));
        }
        self.change(user, MovementKind::Credit, amount, note, actor).await
    }

    /// Corrects a balance, up or down.
    ///
    /// # Errors
    /// The amount is zero, or nobody says why.
    pub async fn adjust(&self, user: UserId, amount: Money, note: &str, actor: &str) -> Result<Balance> {
        if amount == Money::ZERO {
            return Err(StoreError::Invalid("an adjustment by zero changes nothing".to_owned()));
        }
        if note.trim().is_empty() {
            return Err(StoreError::Invalid(
                "an adjustment needs a note that says why; add `--note`".to_owned(),
            ));
        }
        self.change(user, MovementKind::Adjust, amount, note, actor).await
    }

    /// The newest movements of one user.
    pub async fn movements(&self, user: UserId, limit: u64) -> Result<Vec<Movement>> {
        let select = "SELECT id, user_id, kind, amount_nanos, batch_id, note, actor, at FROM movements \
                      WHERE user_id = $1 ORDER BY id DESC LIMIT $2";
        let limit = limit.min(LIST_ROWS_MAX) as i64;
        let rows = self
            .0
            .db()
            .read()
            .await?
            .all::<MovementRow>(select, values![user.0, limit])
            .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    async fn change(
        &self,
        user: UserId,
        kind: MovementKind,
        amount: Money,
        note: &str,
        actor: &str,
    ) -> Result<Balance> {
        if note.chars().count() > NOTE_CHARS_MAX {
            return Err(StoreError::Invalid(format!(
                "the note is longer than {NOTE_CHARS_MAX} characters"
            )));
        }
        let tx = self.0.db().write().await?;
        let balance = apply(&tx, user, kind, amount, note, actor).await?;
        tx.commit().await?;
        Ok(balance)
    }
}

const SELECT: &str = "SELECT user_id, balance_nanos, sequence FROM accounts";

#[derive(FromQueryResult)]
pub(crate) struct Row {
    user_id: i64,
    balance_nanos: i64,
    sequence: i64,
}

impl From<Row> for Balance {
    fn from(row: Row) -> Self {
        Self {
            user: UserId(row.user_id),
            balance: Money::from_nanos(row.balance_nanos),
            sequence: row.sequence.unsigned_abs(),
        }
    }
}

#[derive(FromQueryResult)]
struct MovementRow {
    id: i64,
    user_id: i64,
    kind: String,
    amount_nanos: i64,
    batch_id: Option<i64>,
    note: String,
    actor: String,
    at: i64,
}

impl From<MovementRow> for Movement {
    fn from(row: MovementRow) -> Self {
        let kind = match row.kind.as_str() {
            "opening" => MovementKind::Opening,
            "credit" => MovementKind::Credit,
            "charge" => MovementKind::Charge,
            _ => MovementKind::Adjust,
        };
        Self {
            id: row.id,
            user: UserId(row.user_id),
            kind,
            amount: Money::from_nanos(row.amount_nanos),
            batch: row.batch_id,
            note: row.note,
            actor: row.actor,
            at: Timestamp(row.at),
        }
    }
}

impl MovementKind {
    /// The word in the database and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Credit => "credit",
            Self::Adjust => "adjust",
            Self::Charge => "charge",
        }
    }
}

/// Accounts changed after `sequence`, by whomever.
pub(crate) async fn changed_since(store: &Store, sequence: u64) -> Result<Vec<Balance>> {
    let select = format!("{SELECT} WHERE sequence > $1 ORDER BY sequence");
    let rows = store
        .db()
        .read()
        .await?
        .all::<Row>(&select, values![sequence as i64])
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// An account with nothing on it, where there is none.
pub(crate) async fn open_account(tx: &Tx<'_>, user: UserId) -> Result<()> {
    let insert = "INSERT INTO accounts (user_id, balance_nanos, sequence) VALUES ($1, 0, 0) \
                  ON CONFLICT (user_id) DO NOTHING";
    tx.exec(insert, values![user.0]).await.map(|_| ())
}

/// The declared opening credit, unless it was given before: a declaration is read again and again.
pub(crate) async fn credit_opening(tx: &Tx<'_>, user: UserId, decl: &UserDecl, origin: Origin) -> Result<bool> {
    let Some(amount) = decl.opening_credit else {
        return Ok(false);
    };
    if amount < Money::ZERO {
        return Err(StoreError::Invalid(format!(
            "user `{}`: an opening credit cannot be negative",
            decl.name
        )));
    }
    let given = "SELECT count(*) FROM movements WHERE user_id = $1 AND kind = 'opening'";
    if amount == Money::ZERO || tx.number(given, values![user.0]).await? > 0 {
        return Ok(false);
    }
    apply(tx, user, MovementKind::Opening, amount, "", origin.name()).await?;
    Ok(true)
}

/// A movement and its effect.
async fn apply(
    tx: &Tx<'_>,
    user: UserId,
    kind: MovementKind,
    amount: Money,
    note: &str,
    actor: &str,
) -> Result<Balance> {
    if amount.nanos().unsigned_abs() > AMOUNT_NANOS_MAX.unsigned_abs() {
        return Err(StoreError::Invalid(
            "an amount beyond a million dollars is surely a mistake".to_owned(),
        ));
    }
    let sequence = meta::next_ledger(tx).await?;
    let movement = "INSERT INTO movements (user_id, kind, amount_nanos, note, actor, at) \
                    VALUES ($1, $2, $3, $4, $5, $6)";
    tx.exec(
        movement,
        values![user.0, kind.name(), amount.nanos(), note, actor, now().0],
    )
    .await?;
    let account = "INSERT INTO accounts (user_id, balance_nanos, sequence) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_id) DO UPDATE SET sequence = excluded.sequence, \
                   balance_nanos = accounts.balance_nanos + excluded.balance_nanos \
                   RETURNING user_id, balance_nanos, sequence";
    let row = tx
        .one::<Row>(account, values![user.0, amount.nanos(), sequence])
        .await?;
    row.map(Into::into)
        .ok_or_else(|| StoreError::Data("the account was not written".to_owned()))
}

/// All accounts.
pub(crate) async fn all(tx: &Tx<'_>) -> Result<Vec<Balance>> {
    Ok(tx
        .all::<Row>(SELECT, values![])
        .await?
        .into_iter()
        .map(Into::into)
        .collect())
}
