//! Logins that somebody began and has not finished.
//!
//! Kept in the database, because the one who finishes may be answered by another replica, or by the same one after a
//! restart. The verifier is sealed, `state` is kept as a hash: whoever can read the table can finish nobody's login. A
//! login can be finished once, within some minutes.

use domain::{Secret, Timestamp};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::db::{Sql as _, values};
use crate::error::{Result, StoreError};
use crate::hasher::to_hex;
use crate::limits::LOGINS_MAX;
use crate::store::{Store, to_json};
use crate::vault::VaultError;

/// Logins under way.
#[derive(Debug)]
pub struct PendingLogins<'a>(pub(crate) &'a Store);

/// A login under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLogin {
    /// The account's name.
    pub name: String,
    /// Its mode.
    pub mode: String,
    /// Its upstream.
    pub upstream: String,
    /// Whether the account exists and is logged in anew.
    pub again: bool,
    /// What proves that whoever has the code is who asked for it.
    pub verifier: Secret,
    /// Until when it may be finished.
    pub expires_at: Timestamp,
}

impl PendingLogins<'_> {
    /// Keeps a login until it is finished or too late.
    ///
    /// # Errors
    /// Too many are under way.
    pub async fn begin(&self, state: &Secret, login: &PendingLogin, now: Timestamp) -> Result<()> {
        let tx = self.0.db().write().await?;
        tx.exec("DELETE FROM oauth_logins WHERE expires_at <= $1", values![now.0])
            .await?;
        if tx.number("SELECT count(*) FROM oauth_logins", values![]).await? >= LOGINS_MAX {
            return Err(StoreError::Invalid(format!(
                "{LOGINS_MAX} logins are under way; finish them, or wait some minutes"
            )));
        }
        let id = self.id(state);
        let kept = Kept::of(login);
        let json = Zeroizing::new(to_json(&kept)?);
        let sealed = self.0.ring().seal(&context(&id), json.as_bytes())?;
        let insert = "INSERT INTO oauth_logins (id, login, expires_at) VALUES ($1, $2, $3)";
        tx.exec(insert, values![id, sealed, login.expires_at.0]).await?;
        tx.commit().await
    }

    /// Takes the login that `state` belongs to; it cannot be taken again.
    pub async fn take(&self, state: &Secret, now: Timestamp) -> Result<Option<PendingLogin>> {
        #[derive(FromQueryResult)]
        struct Row {
            login: String,
            expires_at: i64,
        }
        let id = self.id(state);
        let tx = self.0.db().write().await?;
        let delete = "DELETE FROM oauth_logins WHERE id = $1 RETURNING login, expires_at";
        let row = tx.one::<Row>(delete, values![id.as_str()]).await?;
        tx.commit().await?;
        let Some(row) = row.filter(|row| Timestamp(row.expires_at) > now) else {
            return Ok(None);
        };
        let json = self.0.ring().open(&context(&id), &row.login)?;
        let kept: Kept = serde_json::from_slice(&json).map_err(|_| StoreError::Vault(VaultError::Format))?;
        Ok(Some(kept.read(Timestamp(row.expires_at))))
    }

    fn id(&self, state: &Secret) -> String {
        to_hex(&self.0.hasher().hash(state.expose()))
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    mode: String,
    upstream: String,
    again: bool,
    verifier: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.verifier.zeroize();
    }
}

impl Kept {
    fn of(login: &PendingLogin) -> Self {
        Self {
            name: login.name.clone(),
            mode: login.mode.clone(),
            upstream: login.upstream.clone(),
            again: login.again,
            verifier: login.verifier.expose().to_owned(),
        }
    }

    fn read(&self, expires_at: Timestamp) -> PendingLogin {
        PendingLogin {
            name: self.name.clone(),
            mode: self.mode.clone(),
            upstream: self.upstream.clone(),
            again: self.again,
            verifier: Secret::new(self.verifier.as_str()),
            expires_at,
        }
    }
}

fn context(id: &str) -> String {
    format!("oauth_logins/{id}")
}
