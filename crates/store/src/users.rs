//! Users: who owns keys and money.

use domain::declaration::UserDecl;
use domain::{Policy, Timestamp, UserId};
use sea_orm::FromQueryResult;

use crate::balances;
use crate::clock::now;
use crate::db::{Sql, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::limits::{USER_ID_END, USER_ID_FIRST};
use crate::meta;
use crate::names::{Origin, check_name, name_key};
use crate::store::Store;
use crate::vault::VaultError;

/// Users.
#[derive(Debug)]
pub struct Users<'a>(pub(crate) &'a Store);

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// Identity.
    pub id: UserId,
    /// Name.
    pub name: String,
    /// `None`: as `defaults.policy`.
    pub policy: Option<Policy>,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What to change about a user; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// A new name.
    pub name: Option<String>,
    /// A policy, or back to `defaults.policy`.
    pub policy: Option<Option<Policy>>,
}

impl Users<'_> {
    /// Adds a user, with the opening credit where one is declared.
    ///
    /// # Errors
    /// The name is taken or cannot be one.
    pub async fn add(&self, decl: &UserDecl, origin: Origin) -> Result<UserRecord> {
        let tx = self.0.db().write().await?;
        refuse_taken(&tx, &decl.name).await?;
        let id = insert(&tx, decl, origin).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.by_id(id).await
    }

    /// All users, by name.
    pub async fn list(&self) -> Result<Vec<UserRecord>> {
        all(&self.0.db().read().await?).await
    }

    /// One user by name, in any case.
    pub async fn get(&self, name: &str) -> Result<UserRecord> {
        let found = find(&self.0.db().read().await?, name).await?;
        found.ok_or_else(|| StoreError::not_found(Kind::User, name))
    }

    /// One user by identity, also one that was removed.
    pub async fn by_id(&self, id: UserId) -> Result<UserRecord> {
        let select = format!("{SELECT} WHERE id = $1");
        let row = self.0.db().read().await?.one::<Row>(&select, values![id.0]).await?;
        row.map(Into::into)
            .ok_or_else(|| StoreError::not_found(Kind::User, id.to_string()))
    }

    /// Changes a user.
    pub async fn edit(&self, name: &str, change: UserChange) -> Result<UserRecord> {
        let tx = self.0.db().write().await?;
        let user = editable(&tx, name).await?;
        let new_name = change.name.unwrap_or_else(|| user.name.clone());
        check_name(Kind::User, &new_name)?;
        if name_key(&new_name) != name_key(&user.name) {
            refuse_taken(&tx, &new_name).await?;
        }
        let policy = change.policy.unwrap_or(user.policy);
        update(&tx, user.id, &new_name, policy).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.by_id(user.id).await
    }

    /// Removes a user and their keys. What they consumed and paid stays in the accounts.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        let user = editable(&tx, name).await?;
        archive(&tx, user.id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}

const SELECT: &str = "SELECT id, name, policy, origin, created_at, updated_at FROM users";

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    name: String,
    policy: Option<String>,
    origin: String,
    created_at: i64,
    updated_at: i64,
}

impl From<Row> for UserRecord {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.id),
            name: row.name,
            policy: row.policy.as_deref().and_then(policy_from_name),
            origin: Origin::from_name(&row.origin),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

/// All that are not archived.
pub(crate) async fn all(sql: &impl Sql) -> Result<Vec<UserRecord>> {
    let select = format!("{SELECT} WHERE archived_at IS NULL ORDER BY name_key");
    let rows = sql.all::<Row>(&select, values![]).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// By name.
pub(crate) async fn find(sql: &impl Sql, name: &str) -> Result<Option<UserRecord>> {
    let select = format!("{SELECT} WHERE name_key = $1 AND archived_at IS NULL");
    Ok(sql.one::<Row>(&select, values![name_key(name)]).await?.map(Into::into))
}

/// One that is to own something.
pub(crate) async fn require(sql: &impl Sql, name: &str) -> Result<UserRecord> {
    find(sql, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::User, name))
}

/// Adds a row, its account and its opening credit.
pub(crate) async fn insert(tx: &Tx<'_>, decl: &UserDecl, origin: Origin) -> Result<UserId> {
    check_name(Kind::User, &decl.name)?;
    let now = now().0;
    let id = fresh_id()?;
    let insert = "INSERT INTO users (id, name, name_key, policy, origin, created_at, updated_at) \
                  VALUES ($6, $1, $2, $3, $4, $5, $5)";
    let policy = declared_policy(decl).map(policy_name);
    let row = values![
        decl.name.as_str(),
        name_key(&decl.name),
        policy,
        origin.name(),
        now,
        id.0
    ];
    tx.exec(insert, row).await?;
    balances::open_account(tx, id).await?;
    balances::credit_opening(tx, id, decl, origin).await?;
    Ok(id)
}

/// A number that nobody has had: not here, not in a copy of this database, not in another one. A restored database has
/// forgotten whom it made since the backup, and would count on from there; the receipts of those people, which the
/// journal still has, would charge whoever is made next.
fn fresh_id() -> Result<UserId> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StoreError::Vault(VaultError::Random))?;
    // Above whatever was counted up before, and below what JSON's readers take for an exact number.
    let random = i64::from_le_bytes(bytes) & (USER_ID_END - 1);
    Ok(UserId(random | USER_ID_FIRST))
}

/// Changes a row.
pub(crate) async fn update(tx: &Tx<'_>, id: UserId, name: &str, policy: Option<Policy>) -> Result<()> {
    let update = "UPDATE users SET name = $2, name_key = $3, policy = $4, updated_at = $5, archived_at = NULL \
                  WHERE id = $1";
    let values = values![id.0, name, name_key(name), policy.map(policy_name), now().0];
    tx.exec(update, values).await.map(|_| ())
}

/// Takes a user and their keys out of service.
pub(crate) async fn archive(tx: &Tx<'_>, id: UserId) -> Result<()> {
    for table in [
        "users SET archived_at = $2 WHERE id = $1",
        "keys SET archived_at = $2 WHERE user_id = $1",
    ] {
        tx.exec(
            &format!("UPDATE {table} AND archived_at IS NULL"),
            values![id.0, now().0],
        )
        .await?;
    }
    Ok(())
}

/// The one of this name that was removed last, if the file had declared it.
pub(crate) async fn archived(sql: &impl Sql, name: &str, origin: Origin) -> Result<Option<UserRecord>> {
    let select = format!(
        "{SELECT} WHERE name_key = $1 AND origin = $2 AND archived_at IS NOT NULL ORDER BY archived_at DESC LIMIT 1"
    );
    Ok(sql
        .one::<Row>(&select, values![name_key(name), origin.name()])
        .await?
        .map(Into::into))
}

/// The policy that a declaration means: who is given money is meant to be stopped when it is spent.
pub(crate) fn declared_policy(decl: &UserDecl) -> Option<Policy> {
    decl.policy.or_else(|| decl.opening_credit.map(|_| Policy::Soft))
}

async fn refuse_taken(tx: &Tx<'_>, name: &str) -> Result<()> {
    match find(tx, name).await? {
        Some(user) => Err(StoreError::Exists {
            kind: Kind::User,
            name: user.name,
            origin: user.origin.described().to_owned(),
        }),
        None => Ok(()),
    }
}

async fn editable(tx: &Tx<'_>, name: &str) -> Result<UserRecord> {
    let user = require(tx, name).await?;
    user.origin.check_editable(Kind::User, &user.name)?;
    Ok(user)
}

const fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Unlimited => "unlimited",
        Policy::Soft => "soft",
        Policy::Hard => "hard",
    }
}

fn policy_from_name(name: &str) -> Option<Policy> {
    match name {
        "unlimited" => Some(Policy::Unlimited),
        "soft" => Some(Policy::Soft),
        "hard" => Some(Policy::Hard),
        _ => None,
    }
}
