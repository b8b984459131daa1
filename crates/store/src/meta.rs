//! The one row that says what the whole database is: its identity, its revision, the ledger's sequence, the hash key.

use sea_orm::FromQueryResult;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::db::{Db, Sql as _, Tx, values};
use crate::error::{Result, StoreError};
use crate::hasher::KeyHasher;
use crate::vault::{KeyRing, VaultError};

/// Bytes of the key by which client keys are hashed.
const HASH_KEY_BYTES: usize = 32;
/// Where the hash key belongs, for the vault.
pub(crate) const HASH_KEY_CONTEXT: &str = "meta/hash_key";

#[derive(FromQueryResult)]
struct Row {
    identity: String,
    hash_key: String,
}

/// Writes the row of a new database.
pub(crate) async fn seed(tx: &Tx<'_>, schema: i64, ring: &KeyRing) -> Result<()> {
    let identity = Uuid::now_v7().to_string();
    let insert = "INSERT INTO meta (id, schema, identity, revision, ledger, hash_key) VALUES (1, $1, $2, 1, 0, $3)";
    tx.exec(insert, values![schema, identity, fresh_hash_key(ring)?])
        .await
        .map(|_| ())
}

/// Reads the row.
pub(crate) async fn open(db: &Db, ring: &KeyRing) -> Result<(String, KeyHasher)> {
    let row = db
        .read()
        .await?
        .one::<Row>("SELECT identity, hash_key FROM meta", values![])
        .await?;
    let row = row.ok_or_else(|| StoreError::Schema("the database has no identity; it is not tollgate's".to_owned()))?;
    let key = ring.open(HASH_KEY_CONTEXT, &row.hash_key)?;
    Ok((row.identity, KeyHasher::new(&key)))
}

/// Tells everyone that resources have changed. Belongs in the transaction that changes them.
pub(crate) async fn bump_revision(tx: &Tx<'_>) -> Result<()> {
    tx.exec("UPDATE meta SET revision = revision + 1", values![])
        .await
        .map(|_| ())
}

/// The next number of the ledger's sequence. It locks the row, so transactions that change balances commit in its order.
pub(crate) async fn next_ledger(tx: &Tx<'_>) -> Result<i64> {
    tx.number("UPDATE meta SET ledger = ledger + 1 RETURNING ledger", values![])
        .await
}

fn fresh_hash_key(ring: &KeyRing) -> Result<String> {
    let mut key = Zeroizing::new([0; HASH_KEY_BYTES]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| StoreError::Vault(VaultError::Random))?;
    Ok(ring.seal(HASH_KEY_CONTEXT, &*key)?)
}
