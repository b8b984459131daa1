//! Client keys: found by hash, shown by their ends, never kept.

use domain::declaration::KeyTerms;
use domain::snapshot::KeyHash;
use domain::{KeyId, Secret, Timestamp, UserId};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::db::{Sql, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::hasher::{from_hex, to_hex};
use crate::names::{Origin, check_name, name_key};
use crate::store::{Store, to_json};
use crate::vault::VaultError;
use crate::{meta, users};

/// Client keys.
#[derive(Debug)]
pub struct Keys<'a>(pub(crate) &'a Store);

/// A client key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Identity.
    pub id: KeyId,
    /// Name.
    pub name: String,
    /// Owner.
    pub user: UserId,
    /// The owner's name.
    pub user_name: String,
    /// HMAC of the key.
    pub hash: KeyHash,
    /// Enough of the key to recognise it by: `sk-…f3c9`.
    pub prefix: String,
    /// What it may do.
    pub terms: KeyTerms,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A key to be added.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Unique among keys.
    pub name: String,
    /// The owner's name.
    pub user: String,
    /// What clients will send; `None`: a fresh one is made.
    pub key: Option<Secret>,
    /// What it may do.
    pub terms: KeyTerms,
}

/// What to change about a key; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// A new name.
    pub name: Option<String>,
    /// Another owner, by name.
    pub user: Option<String>,
    /// What it may do from now on.
    pub terms: Option<KeyTerms>,
}

/// What keys made here begin with.
const PREFIX: &str = "sk-tg-";
/// Characters after the prefix: 43 of 62 kinds are 256 bits.
const RANDOM_CHARS: usize = 43;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Keys<'_> {
    /// A fresh key.
    pub fn generate() -> Result<Secret> {
        let mut text = String::from(PREFIX);
        while text.len() < PREFIX.len() + RANDOM_CHARS {
            let mut bytes = [0; 64];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StoreError::Vault(VaultError::Random))?;
            // Bytes beyond the largest multiple of 62 are left out, so that each character is equally likely.
            let usable = bytes
                .iter()
                .filter(|byte| **byte < 248)
                .map(|byte| usize::from(*byte) % ALPHABET.len());
            let room = PREFIX.len() + RANDOM_CHARS - text.len();
            text.extend(
                usable
                    .take(room)
                    .filter_map(|index| ALPHABET.get(index))
                    .map(|byte| char::from(*byte)),
            );
        }
        Ok(Secret::new(text))
    }

    /// Adds a key; returns it together with what clients must send, which is never shown again.
    pub async fn add(&self, new: NewKey, origin: Origin) -> Result<(KeyRecord, Secret)> {
        let secret = match new.key {
            Some(secret) => secret,
            None => Self::generate()?,
        };
        let tx = self.0.db().write().await?;
        refuse_taken(&tx, &new.name).await?;
        let user = users::require(&tx, &new.user).await?;
        let id = insert(self.0, &tx, &new.name, user.id, &secret, &new.terms, origin).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        Ok((self.by_id(id).await?, secret))
    }

    /// All keys, by name.
    pub async fn list(&self) -> Result<Vec<KeyRecord>> {
        all(&self.0.db().read().await?).await?.into_iter().collect()
    }

    /// The keys of one user.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<KeyRecord>> {
        let select = format!("{SELECT} WHERE k.user_id = $1 AND k.archived_at IS NULL ORDER BY k.name_key");
        let rows = self.0.db().read().await?.all::<Row>(&select, values![user.0]).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// One key by name, in any case.
    pub async fn get(&self, name: &str) -> Result<KeyRecord> {
        let found = find(&self.0.db().read().await?, name).await?;
        found.ok_or_else(|| StoreError::not_found(Kind::Key, name))
    }

    /// One key by identity, also one that was removed.
    pub async fn by_id(&self, id: KeyId) -> Result<KeyRecord> {
        let select = format!("{SELECT} WHERE k.id = $1");
        let row = self.0.db().read().await?.one::<Row>(&select, values![id.0]).await?;
        row.ok_or_else(|| StoreError::not_found(Kind::Key, id.to_string()))?
            .read()
    }

    /// Changes a key.
    pub async fn edit(&self, name: &str, change: KeyChange) -> Result<KeyRecord> {
        let tx = self.0.db().write().await?;
        let key = editable(&tx, name).await?;
        let new_name = change.name.unwrap_or_else(|| key.name.clone());
        if name_key(&new_name) != name_key(&key.name) {
            refuse_taken(&tx, &new_name).await?;
        }
        let user = match change.user {
            Some(user) => users::require(&tx, &user).await?.id,
            None => key.user,
        };
        update(&tx, key.id, &new_name, user, &change.terms.unwrap_or(key.terms)).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.by_id(key.id).await
    }

    /// Removes a key: it is refused from then on.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        let key = editable(&tx, name).await?;
        archive(&tx, key.id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}

const SELECT: &str = "SELECT k.id, k.name, k.user_id, COALESCE(u.name, '') AS user_name, k.hash, k.prefix, k.terms, \
                      k.origin, k.created_at, k.updated_at FROM keys k LEFT JOIN users u ON u.id = k.user_id";

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    name: String,
    user_id: i64,
    user_name: String,
    hash: String,
    prefix: String,
    terms: String,
    origin: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn read(self) -> Result<KeyRecord> {
        let unreadable = |why: String| StoreError::Unreadable {
            kind: Kind::Key,
            name: self.name.clone(),
            why,
        };
        let hash = from_hex(&self.hash).ok_or_else(|| unreadable("its hash is damaged; remove it".to_owned()))?;
        let terms = serde_json::from_str(&self.terms).map_err(|error| unreadable(error.to_string()))?;
        Ok(KeyRecord {
            id: KeyId(self.id),
            user: UserId(self.user_id),
            user_name: self.user_name,
            hash,
            prefix: self.prefix,
            terms,
            origin: Origin::from_name(&self.origin),
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
            name: self.name,
        })
    }
}

/// All that are not archived; each read on its own, so that a bad row does not hide the others.
pub(crate) async fn all(sql: &impl Sql) -> Result<Vec<Result<KeyRecord>>> {
    let select = format!("{SELECT} WHERE k.archived_at IS NULL ORDER BY k.name_key");
    let rows = sql.all::<Row>(&select, values![]).await?;
    Ok(rows.into_iter().map(Row::read).collect())
}

/// By name.
pub(crate) async fn find(sql: &impl Sql, name: &str) -> Result<Option<KeyRecord>> {
    let select = format!("{SELECT} WHERE k.name_key = $1 AND k.archived_at IS NULL");
    sql.one::<Row>(&select, values![name_key(name)])
        .await?
        .map(Row::read)
        .transpose()
}

/// Adds a row.
pub(crate) async fn insert(
    store: &Store,
    tx: &Tx<'_>,
    name: &str,
    user: UserId,
    secret: &Secret,
    terms: &KeyTerms,
    origin: Origin,
) -> Result<KeyId> {
    check_name(Kind::Key, name)?;
    check_terms(name, terms)?;
    check_secret(name, secret)?;
    let hash = to_hex(&store.hasher().hash(secret.expose()));
    refuse_same_key(tx, &hash).await?;
    let insert = "INSERT INTO keys (name, name_key, user_id, hash, prefix, terms, origin, created_at, updated_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) RETURNING id";
    let values = values![
        name,
        name_key(name),
        user.0,
        hash,
        secret.masked(),
        to_json(terms)?,
        origin.name(),
        now().0
    ];
    Ok(KeyId(tx.number(insert, values).await?))
}

/// Changes a row.
pub(crate) async fn update(tx: &Tx<'_>, id: KeyId, name: &str, user: UserId, terms: &KeyTerms) -> Result<()> {
    check_name(Kind::Key, name)?;
    check_terms(name, terms)?;
    let update = "UPDATE keys SET name = $2, name_key = $3, user_id = $4, terms = $5, updated_at = $6 WHERE id = $1";
    tx.exec(
        update,
        values![id.0, name, name_key(name), user.0, to_json(terms)?, now().0],
    )
    .await
    .map(|_| ())
}

/// Takes a key out of service.
pub(crate) async fn archive(tx: &Tx<'_>, id: KeyId) -> Result<()> {
    let archive = "UPDATE keys SET archived_at = $2 WHERE id = $1 AND archived_at IS NULL";
    tx.exec(archive, values![id.0, now().0]).await.map(|_| ())
}

/// When a key with these terms is refused; an error names what cannot be read.
pub(crate) fn expiry(terms: &KeyTerms) -> std::result::Result<Option<Timestamp>, String> {
    let Some(text) = terms.expires.as_deref() else {
        return Ok(None);
    };
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Some(Timestamp(instant.as_microsecond())));
    }
    let day = text
        .parse::<jiff::civil::Date>()
        .ok()
        .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let day = day.ok_or_else(|| format!("`expires: {text}` is neither a date (2027-01-01) nor a time (RFC 3339)"))?;
    Ok(Some(Timestamp(day.timestamp().as_microsecond())))
}

fn check_terms(name: &str, terms: &KeyTerms) -> Result<()> {
    expiry(terms)
        .map(|_| ())
        .map_err(|why| StoreError::Invalid(format!("key `{name}`: {why}")))
}

/// A key that HTTP clients cannot send would never be found.
fn check_secret(name: &str, secret: &Secret) -> Result<()> {
    let sendable = secret.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if sendable && !secret.expose().is_empty() {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "key `{name}`: the key is empty or has characters that cannot be sent in a header"
    )))
}

async fn refuse_taken(tx: &Tx<'_>, name: &str) -> Result<()> {
    match find(tx, name).await? {
        Some(key) => Err(StoreError::Exists {
            kind: Kind::Key,
            name: key.name,
            origin: key.origin.described().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Two names for one key would make it a matter of chance who pays.
async fn refuse_same_key(tx: &Tx<'_>, hash: &str) -> Result<()> {
    let select = format!("{SELECT} WHERE k.hash = $1 AND k.archived_at IS NULL");
    match tx.one::<Row>(&select, values![hash]).await? {
        Some(row) => Err(StoreError::Exists {
            kind: Kind::Key,
            name: row.name,
            origin: "with the very same key".to_owned(),
        }),
        None => Ok(()),
    }
}

async fn editable(tx: &Tx<'_>, name: &str) -> Result<KeyRecord> {
    let key = find(tx, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::Key, name))?;
    key.origin.check_editable(Kind::Key, &key.name)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_keys_are_long_and_differ() {
        let (a, b) = (Keys::generate().unwrap(), Keys::generate().unwrap());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), PREFIX.len() + RANDOM_CHARS);
        assert!(a.expose().starts_with(PREFIX) && a.expose().bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn expiry_is_a_date_or_a_time() {
        let read = |text: &str| {
            expiry(&KeyTerms {
                expires: Some(text.to_owned()),
                ..KeyTerms::default()
            })
        };
        assert_eq!(read("1970-01-02"), Ok(Some(Timestamp::from_secs(86_400))));
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Ok(Some(Timestamp::from_secs(0))));
        assert!(read("tomorrow").is_err());
        assert_eq!(expiry(&KeyTerms::default()), Ok(None));
    }
}
