//! Conversations that are kept here, because the upstream that answered keeps none.
//!
//! One row per answer, which names the one before: a conversation of a hundred turns would otherwise be stored a hundred
//! times over. What was said is sealed for its place, so neither a copy of the file nor a row that was moved to another
//! user shows it. A turn that later ones are built on lives as long as they do, unless it is
//! deleted: whoever deletes it wants it gone.

use domain::{KeyId, Timestamp, Turn, UserId};
use sea_orm::FromQueryResult;

use crate::db::{Sql as _, Tx, values};
use crate::error::{Result, StoreError};
use crate::limits::{CLEAR_ROWS_MAX, CONVERSATION_TURNS_MAX, TOUCH_EVERY, TURNS_BYTES_MAX, TURNS_MAX};
use crate::store::Store;
use crate::vault::{KeyRing, VaultError};

/// Conversations that are kept here.
#[derive(Debug)]
pub struct Turns<'a>(pub(crate) &'a Store);

#[derive(FromQueryResult)]
struct Row {
    id: String,
    user_id: i64,
    key_id: i64,
    previous: Option<String>,
    made_at: i64,
    expires_at: i64,
    sealed: String,
}

impl Turns<'_> {
    /// Keeps them, and what they are built on as long as them.
    pub async fn save(&self, turns: &[Turn]) -> Result<()> {
        let ring = self.0.ring();
        let sealed: Vec<String> = turns
            .iter()
            .map(|turn| ring.seal(&context(turn.user, &turn.id), turn.body.as_bytes()))
            .collect::<std::result::Result<_, VaultError>>()?;
        let tx = self.0.db().write().await?;
        for (turn, sealed) in turns.iter().zip(sealed) {
            insert(&tx, turn, sealed).await?;
            if let Some(previous) = &turn.previous {
                touch(&tx, turn.user, previous, turn.expires_at).await?;
            }
        }
        tx.commit().await
    }

    /// The conversation that ends with a turn, newest turn first: as much of it as is there and has not expired, and as
    /// fits into `bytes_max`.
    pub async fn conversation(&self, user: UserId, id: &str, now: Timestamp, bytes_max: u64) -> Result<Vec<Turn>> {
        let select = format!(
            "WITH RECURSIVE chain (id, previous, depth, total) AS ( \
             SELECT id, previous, CAST(1 AS BIGINT), bytes FROM turns \
             WHERE user_id = $1 AND id = $2 AND expires_at > $3 AND bytes <= $4 \
             UNION ALL SELECT t.id, t.previous, c.depth + 1, c.total + t.bytes FROM chain c \
             JOIN turns t ON t.id = c.previous AND t.user_id = $1 \
             WHERE t.expires_at > $3 AND c.depth < {CONVERSATION_TURNS_MAX} AND c.total + t.bytes <= $4) \
             SELECT t.id, t.user_id, t.key_id, t.previous, t.made_at, t.expires_at, t.sealed \
             FROM chain c JOIN turns t ON t.id = c.id AND t.user_id = $1 ORDER BY c.depth"
        );
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        let reader = self.0.db().read().await?;
        let rows = reader
            .all::<Row>(&select, values![user.0, id, now.0, bytes_max])
            .await?;
        rows.into_iter().map(|row| row.open(self.0.ring())).collect()
    }

    /// A turn by itself, if it is there and has not expired.
    pub async fn find(&self, user: UserId, id: &str, now: Timestamp) -> Result<Option<Turn>> {
        let select = "SELECT id, user_id, key_id, previous, made_at, expires_at, sealed FROM turns \
                      WHERE user_id = $1 AND id = $2 AND expires_at > $3";
        let reader = self.0.db().read().await?;
        let row = reader.all::<Row>(select, values![user.0, id, now.0]).await?.pop();
        row.map(|row| row.open(self.0.ring())).transpose()
    }

    /// Keeps turns until then at least, and what they are built on.
    pub async fn touch(&self, user: UserId, ids: &[String], expires_at: Timestamp) -> Result<()> {
        let tx = self.0.db().write().await?;
        for id in ids {
            touch(&tx, user, id, expires_at).await?;
        }
        tx.commit().await
    }

    /// Deletes a turn; tells whether it was there.
    pub async fn remove(&self, user: UserId, id: &str) -> Result<bool> {
        let tx = self.0.db().write().await?;
        let removed = tx
            .exec("DELETE FROM turns WHERE id = $1 AND user_id = $2", values![id, user.0])
            .await?;
        tx.commit().await?;
        Ok(removed > 0)
    }

    /// Deletes what has expired and what is too much, a bounded number of rows at a time; tells how many.
    pub async fn clear(&self, now: Timestamp) -> Result<u64> {
        let mut cleared = self.clear_some(Some(now)).await?;
        while self.is_full().await? {
            match self.clear_some(None).await? {
                0 => break,
                rows => cleared += rows,
            }
        }
        Ok(cleared)
    }

    /// Deletes all that has expired, or, without a time, some of what expires first.
    async fn clear_some(&self, now: Option<Timestamp>) -> Result<u64> {
        let before = now.unwrap_or(Timestamp(i64::MAX));
        let delete = format!(
            "DELETE FROM turns WHERE (id, user_id) IN \
             (SELECT id, user_id FROM turns WHERE expires_at <= $1 ORDER BY expires_at LIMIT {CLEAR_ROWS_MAX})"
        );
        let mut cleared = 0;
        loop {
            let tx = self.0.db().write().await?;
            let touched = tx.exec(&delete, values![before.0]).await?;
            tx.commit().await?;
            cleared += touched;
            if now.is_none() || touched < CLEAR_ROWS_MAX.unsigned_abs() {
                return Ok(cleared);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn is_full(&self) -> Result<bool> {
        let reader = self.0.db().read().await?;
        let rows = reader.number("SELECT count(*) FROM turns", values![]).await?;
        let bytes = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM turns";
        Ok(rows > TURNS_MAX || reader.number(bytes, values![]).await? > TURNS_BYTES_MAX)
    }
}

/// Seals under the newest key what is under an older one. Turns come and go, so they are read in pieces.
pub(crate) async fn reseal_all(store: &Store) -> Result<u64> {
    let select = format!(
        "SELECT id, user_id, key_id, previous, made_at, expires_at, sealed FROM turns \
         WHERE (id > $1 OR (id = $1 AND user_id > $2)) ORDER BY id, user_id LIMIT {CLEAR_ROWS_MAX}"
    );
    let (mut after, mut resealed) = ((String::new(), 0), 0);
    loop {
        let tx = store.db().write().await?;
        let rows = tx.all::<Row>(&select, values![after.0.as_str(), after.1]).await?;
        let Some(last) = rows.last() else {
            return Ok(resealed);
        };
        after = (last.id.clone(), last.user_id);
        for row in rows.into_iter().filter(|row| !store.ring().is_current(&row.sealed)) {
            let turn = row.open(store.ring())?;
            let sealed = store.ring().seal(&context(turn.user, &turn.id), turn.body.as_bytes())?;
            tx.exec(
                "UPDATE turns SET sealed = $3 WHERE id = $1 AND user_id = $2",
                values![turn.id, turn.user.0, sealed],
            )
            .await?;
            resealed += 1;
        }
        tx.commit().await?;
    }
}

async fn insert(tx: &Tx<'_>, turn: &Turn, sealed: String) -> Result<()> {
    let insert = "INSERT INTO turns (id, user_id, key_id, previous, made_at, expires_at, bytes, sealed) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let values = values![
        turn.id.as_str(),
        turn.user.0,
        turn.key.0,
        turn.previous.clone(),
        turn.made_at.0,
        turn.expires_at.0,
        turn.body.len() as i64,
        sealed
    ];
    tx.exec(insert, values).await.map(|_| ())
}

/// Keeps the turns of a conversation until `expires_at`, back to the first that is kept nearly as long already.
async fn touch(tx: &Tx<'_>, user: UserId, id: &str, expires_at: Timestamp) -> Result<()> {
    let update = format!(
        "WITH RECURSIVE chain (id, previous, depth) AS ( \
         SELECT id, previous, CAST(1 AS BIGINT) FROM turns WHERE user_id = $1 AND id = $2 AND expires_at < $3 \
         UNION ALL SELECT t.id, t.previous, c.depth + 1 FROM chain c JOIN turns t ON t.id = c.previous \
         WHERE t.user_id = $1 AND t.expires_at < $3 AND c.depth < {CONVERSATION_TURNS_MAX}) \
         UPDATE turns SET expires_at = $4 WHERE user_id = $1 AND id IN (SELECT id FROM chain)"
    );
    let soon = expires_at - TOUCH_EVERY;
    tx.exec(&update, values![user.0, id, soon.0, expires_at.0])
        .await
        .map(|_| ())
}

/// Where a turn belongs, for the vault.
fn context(user: UserId, id: &str) -> String {
    format!("turns/{user}/{id}")
}

impl Row {
    fn open(self, ring: &KeyRing) -> Result<Turn> {
        let user = UserId(self.user_id);
        let body = ring.open(&context(user, &self.id), &self.sealed)?;
        let body = String::from_utf8(body.to_vec()).map_err(|_| StoreError::Vault(VaultError::Damaged))?;
        Ok(Turn {
            id: self.id,
            user,
            key: KeyId(self.key_id),
            previous: self.previous,
            made_at: Timestamp(self.made_at),
            expires_at: Timestamp(self.expires_at),
            body,
        })
    }
}
