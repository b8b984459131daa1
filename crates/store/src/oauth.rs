//! Accounts: credentials whose secret is renewed.
//!
//! A refresh token works once. So whoever renews holds a *lease* on the row, taken in the database, because another
//! replica would spend the same token and lose the account; and the pair that comes back is written with the next
//! *generation* before anybody uses it, so that a process killed after that finds a token that works. A result is taken
//! only for the generation that it was asked for: what somebody has logged in meanwhile is newer than any renewal.
//!
//! A new pair bumps the revision: that is how other replicas hear of it, with the snapshot that they read then.

mod login;
mod uses;

use std::collections::HashMap;

use domain::account::AccountState;
use domain::{CredentialId, Secret, Timestamp, UpstreamId};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::credential_states;
use crate::credentials::{self, Held};
use crate::db::{Sql, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::limits::TROUBLE_CHARS_MAX;
use crate::names::{Origin, name_key};
use crate::store::Store;
use crate::vault::{KeyRing, VaultError};
use crate::{meta, upstreams};

pub use login::{PendingLogin, PendingLogins};
pub use uses::AccountUse;

/// Accounts.
#[derive(Debug)]
pub struct OAuthAccounts<'a>(pub(crate) &'a Store);

/// What a provider gave.
#[derive(Clone, Debug)]
pub struct AccountTokens {
    /// Goes out with calls.
    pub access: Secret,
    /// Gets the next pair; without one the account ends with its access token.
    pub refresh: Option<Secret>,
    /// Whose program they were given to: they can be renewed in its name only.
    pub client_id: String,
    /// When the access token was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An account, without its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// The credential that it is.
    pub id: CredentialId,
    /// Whose.
    pub upstream: UpstreamId,
    /// The upstream's name.
    pub upstream_name: String,
    /// Name within the upstream.
    pub name: String,
    /// Mode, generation, times, and whether somebody has to log in.
    pub state: AccountState,
    /// What went wrong at the last renewal, and when; it will be tried again.
    pub trouble: Option<(String, Timestamp)>,
    /// From when its use is counted for display.
    pub stats_since: Timestamp,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What came of asking to renew.
#[derive(Debug)]
pub enum Lease {
    /// These are the tokens of this generation; nobody else renews them until the lease ends.
    Yours(AccountTokens, i64),
    /// Somebody renewed them already.
    Newer(AccountTokens, i64),
    /// Somebody else renews them now; ask again.
    Busy,
    /// Somebody has to log in, for this reason.
    NeedsLogin(String),
    /// There is no such account any more.
    Gone,
}

/// Who asks to renew which generation.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'a> {
    /// The account.
    pub id: CredentialId,
    /// The newest generation that is known.
    pub known: i64,
    /// Who asks: one name per process.
    pub owner: &'a str,
    /// The time.
    pub now: Timestamp,
    /// Until when, if nobody else has it.
    pub until: Timestamp,
}

/// Why a renewal came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalFailure<'a> {
    /// The provider takes the refresh token no more: somebody has to log in.
    NeedsLogin(&'a str),
    /// Anything else: it will be tried again.
    Trouble(&'a str),
}

impl OAuthAccounts<'_> {
    /// Adds an account to an upstream, also to one of the configuration file: an account is state, like a balance.
    pub async fn add(
        &self,
        upstream: &str,
        name: &str,
        mode: &str,
        tokens: &AccountTokens,
        origin: Origin,
    ) -> Result<AccountRecord> {
        let tx = self.0.db().write().await?;
        let owner = upstreams::require(&tx, upstream).await?;
        credentials::refuse_taken(&tx, owner.id, name).await?;
        let id = credentials::insert(&tx, self.0.ring(), owner.id, &Held::account(name), origin).await?;
        let insert = "INSERT INTO oauth_accounts (credential_id, mode, tokens, generation, issued_at, expires_at, \
                      lease_owner, lease_until, stats_since) VALUES ($1, $2, $3, 1, $4, $5, '', 0, $4)";
        let sealed = seal(self.0.ring(), id, tokens)?;
        let values = values![id.0, mode, sealed, tokens.issued_at.0, tokens.expires_at.0];
        tx.exec(insert, values).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.by_id(id).await
    }

    /// Gives an account that exists the tokens of a new login.
    pub async fn log_in_again(&self, id: CredentialId, mode: &str, tokens: &AccountTokens) -> Result<AccountRecord> {
        let tx = self.0.db().write().await?;
        let update = "UPDATE oauth_accounts SET mode = $2, tokens = $3, generation = generation + 1, issued_at = $4, \
                      expires_at = $5, needs_login = NULL, trouble = NULL, trouble_at = NULL, lease_until = 0 \
                      WHERE credential_id = $1";
        let sealed = seal(self.0.ring(), id, tokens)?;
        let values = values![id.0, mode, sealed, tokens.issued_at.0, tokens.expires_at.0];
        if tx.exec(update, values).await? == 0 {
            return Err(StoreError::not_found(Kind::Account, id.to_string()));
        }
        // What was found out with the tokens of before does not hold for the new ones.
        credential_states::activate(&tx, id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.by_id(id).await
    }

    /// All accounts, by upstream and name.
    pub async fn list(&self) -> Result<Vec<AccountRecord>> {
        select(&self.0.db().read().await?, "TRUE", values![]).await
    }

    /// One account by its name, in any case, with the upstream's before it where the name is not enough (`claude/me`).
    pub async fn get(&self, name: &str) -> Result<AccountRecord> {
        let reader = self.0.db().read().await?;
        let mut found = select(&reader, "c.name_key = $1", values![name_key(name)]).await?;
        if found.is_empty()
            && let Some((upstream, name)) = name.split_once('/')
        {
            let both = "u.name_key = $1 AND c.name_key = $2";
            found = select(&reader, both, values![name_key(upstream), name_key(name)]).await?;
        }
        match (found.pop(), found.is_empty()) {
            (Some(record), true) => Ok(record),
            (None, _) => Err(StoreError::not_found(Kind::Account, name)),
            (Some(_), false) => Err(StoreError::Invalid(format!(
                "several upstreams have an account `{name}`; write UPSTREAM/{name}"
            ))),
        }
    }

    /// Removes an account. Its provider is not told: what it gave ends there.
    pub async fn remove(&self, id: CredentialId) -> Result<()> {
        let tx = self.0.db().write().await?;
        credentials::archive(&tx, id).await?;
        forget(&tx, id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }

    /// Asks for the right to renew.
    pub async fn lease(&self, asked: LeaseRequest<'_>) -> Result<Lease> {
        let tx = self.0.db().write().await?;
        // Locks the row: of two that ask at once, the second sees what the first did.
        let take = "UPDATE oauth_accounts SET lease_owner = $2, lease_until = $3 WHERE credential_id = $1 \
                    AND generation <= $4 AND needs_login IS NULL AND (lease_until <= $5 OR lease_owner = $2)";
        let values = values![asked.id.0, asked.owner, asked.until.0, asked.known, asked.now.0];
        let taken = tx.exec(take, values).await? == 1;
        let select = "SELECT tokens, generation, issued_at, expires_at, needs_login FROM oauth_accounts \
                      WHERE credential_id = $1";
        let Some(row) = tx.one::<TokensRow>(select, values![asked.id.0]).await? else {
            return Ok(Lease::Gone);
        };
        tx.commit().await?;
        if let Some(reason) = row.needs_login {
            return Ok(Lease::NeedsLogin(reason));
        }
        let generation = row.generation;
        if !taken && generation <= asked.known {
            return Ok(Lease::Busy);
        }
        let tokens = row.open(self.0.ring(), asked.id)?;
        Ok(if taken {
            Lease::Yours(tokens, generation)
        } else {
            Lease::Newer(tokens, generation)
        })
    }

    /// Keeps what a renewal of `generation` brought, and ends the lease. Tells whether it was taken: it is not where
    /// somebody logged in meanwhile.
    pub async fn renewed(&self, id: CredentialId, generation: i64, tokens: &AccountTokens) -> Result<bool> {
        let tx = self.0.db().write().await?;
        let update = "UPDATE oauth_accounts SET tokens = $3, generation = generation + 1, issued_at = $4, \
                      expires_at = $5, needs_login = NULL, trouble = NULL, trouble_at = NULL, lease_until = 0 \
                      WHERE credential_id = $1 AND generation = $2";
        let sealed = seal(self.0.ring(), id, tokens)?;
        let values = values![id.0, generation, sealed, tokens.issued_at.0, tokens.expires_at.0];
        let taken = tx.exec(update, values).await? == 1;
        if taken {
            meta::bump_revision(&tx).await?;
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Notes that a renewal of `generation` failed, and ends the lease. Only the first kind takes the account out of use.
    pub async fn failed(
        &self,
        id: CredentialId,
        generation: i64,
        failure: RenewalFailure<'_>,
        now: Timestamp,
    ) -> Result<()> {
        let tx = self.0.db().write().await?;
        let short = |text: &str| text.chars().take(TROUBLE_CHARS_MAX).collect::<String>();
        match failure {
            RenewalFailure::NeedsLogin(reason) => {
                let update = "UPDATE oauth_accounts SET needs_login = $3, trouble_at = $4, lease_until = 0 \
                              WHERE credential_id = $1 AND generation = $2 AND needs_login IS NULL";
                if tx.exec(update, values![id.0, generation, short(reason), now.0]).await? == 1 {
                    meta::bump_revision(&tx).await?;
                }
            }
            RenewalFailure::Trouble(what) => {
                let update = "UPDATE oauth_accounts SET trouble = $3, trouble_at = $4, lease_until = 0 \
                              WHERE credential_id = $1 AND generation = $2";
                tx.exec(update, values![id.0, generation, short(what), now.0]).await?;
            }
        }
        tx.commit().await
    }

    /// Counts use for display from `now` on, of one account or of all.
    pub async fn reset_stats(&self, id: Option<CredentialId>, now: Timestamp) -> Result<u64> {
        let tx = self.0.db().write().await?;
        let touched = match id {
            Some(id) => {
                let update = "UPDATE oauth_accounts SET stats_since = $2 WHERE credential_id = $1";
                tx.exec(update, values![id.0, now.0]).await?
            }
            None => {
                tx.exec("UPDATE oauth_accounts SET stats_since = $1", values![now.0])
                    .await?
            }
        };
        tx.commit().await?;
        Ok(touched)
    }

    async fn by_id(&self, id: CredentialId) -> Result<AccountRecord> {
        let found = select(&self.0.db().read().await?, "c.id = $1", values![id.0]).await?;
        let found = found.into_iter().next();
        found.ok_or_else(|| StoreError::not_found(Kind::Account, id.to_string()))
    }
}

#[derive(FromQueryResult)]
struct RecordRow {
    id: i64,
    upstream_id: i64,
    upstream_name: String,
    name: String,
    mode: String,
    generation: i64,
    issued_at: i64,
    expires_at: i64,
    needs_login: Option<String>,
    trouble: Option<String>,
    trouble_at: Option<i64>,
    stats_since: i64,
    origin: String,
    created_at: i64,
}

async fn select(sql: &impl Sql, condition: &str, values: Vec<sea_orm::Value>) -> Result<Vec<AccountRecord>> {
    let select = format!(
        "SELECT c.id, c.upstream_id, u.name AS upstream_name, c.name, a.mode, a.generation, a.issued_at, a.expires_at, \
         a.needs_login, a.trouble, a.trouble_at, a.stats_since, c.origin, c.created_at FROM oauth_accounts a \
         JOIN credentials c ON c.id = a.credential_id JOIN upstreams u ON u.id = c.upstream_id \
         WHERE c.archived_at IS NULL AND ({condition}) ORDER BY u.name_key, c.name_key"
    );
    let rows = sql.all::<RecordRow>(&select, values).await?;
    Ok(rows.into_iter().map(RecordRow::read).collect())
}

impl RecordRow {
    fn read(self) -> AccountRecord {
        AccountRecord {
            id: CredentialId(self.id),
            upstream: UpstreamId(self.upstream_id),
            upstream_name: self.upstream_name,
            name: self.name,
            state: AccountState {
                mode: self.mode,
                generation: self.generation,
                issued_at: Timestamp(self.issued_at),
                expires_at: Timestamp(self.expires_at),
                needs_login: self.needs_login,
            },
            trouble: self.trouble.zip(self.trouble_at.map(Timestamp)),
            stats_since: Timestamp(self.stats_since),
            origin: Origin::from_name(&self.origin),
            created_at: Timestamp(self.created_at),
        }
    }
}

#[derive(FromQueryResult)]
struct TokensRow {
    tokens: String,
    generation: i64,
    issued_at: i64,
    expires_at: i64,
    needs_login: Option<String>,
}

impl TokensRow {
    fn open(&self, ring: &KeyRing, id: CredentialId) -> Result<AccountTokens> {
        let kept = open(ring, id, &self.tokens)?;
        Ok(AccountTokens {
            access: Secret::new(kept.access.as_str()),
            refresh: kept.refresh.as_deref().map(Secret::new),
            client_id: kept.client_id.clone(),
            issued_at: Timestamp(self.issued_at),
            expires_at: Timestamp(self.expires_at),
        })
    }
}

/// What is sealed together.
#[derive(Serialize, Deserialize)]
struct Kept {
    access: String,
    refresh: Option<String>,
    client_id: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.access.zeroize();
        self.refresh.zeroize();
    }
}

fn context(id: CredentialId) -> String {
    format!("oauth_accounts/{id}")
}

fn seal(ring: &KeyRing, id: CredentialId, tokens: &AccountTokens) -> Result<String> {
    let kept = Kept {
        access: tokens.access.expose().to_owned(),
        refresh: tokens.refresh.as_ref().map(|token| token.expose().to_owned()),
        client_id: tokens.client_id.clone(),
    };
    let json = Zeroizing::new(crate::store::to_json(&kept)?);
    Ok(ring.seal(&context(id), json.as_bytes())?)
}

fn open(ring: &KeyRing, id: CredentialId, sealed: &str) -> std::result::Result<Kept, VaultError> {
    let json = ring.open(&context(id), sealed)?;
    serde_json::from_slice(&json).map_err(|_| VaultError::Format)
}

/// An account as the snapshot wants it.
pub(crate) struct Current {
    pub(crate) state: AccountState,
    pub(crate) access: std::result::Result<Secret, VaultError>,
}

/// Every account that is in use.
pub(crate) async fn all(sql: &impl Sql) -> Result<HashMap<CredentialId, Current>> {
    #[derive(FromQueryResult)]
    struct Row {
        id: i64,
        mode: String,
        tokens: String,
        generation: i64,
        issued_at: i64,
        expires_at: i64,
        needs_login: Option<String>,
    }
    let select = "SELECT c.id, a.mode, a.tokens, a.generation, a.issued_at, a.expires_at, a.needs_login \
                  FROM oauth_accounts a JOIN credentials c ON c.id = a.credential_id WHERE c.archived_at IS NULL";
    let read = |row: Row| {
        let id = CredentialId(row.id);
        let access = open(sql.ring(), id, &row.tokens).map(|kept| Secret::new(kept.access.as_str()));
        let state = AccountState {
            mode: row.mode,
            generation: row.generation,
            issued_at: Timestamp(row.issued_at),
            expires_at: Timestamp(row.expires_at),
            needs_login: row.needs_login,
        };
        (id, Current { state, access })
    };
    Ok(sql.all::<Row>(select, values![]).await?.into_iter().map(read).collect())
}

/// Erases the tokens of a credential that is taken out of service.
pub(crate) async fn forget(tx: &Tx<'_>, id: CredentialId) -> Result<()> {
    tx.exec("DELETE FROM oauth_accounts WHERE credential_id = $1", values![id.0])
        .await
        .map(|_| ())
}

/// Seals everything anew under the newest key of the ring; tells how many were under an older one.
pub(crate) async fn reseal_all(tx: &Tx<'_>) -> Result<u64> {
    #[derive(FromQueryResult)]
    struct Sealed {
        id: i64,
        tokens: String,
    }
    let ring = tx.ring();
    let mut resealed = 0;
    let select = "SELECT credential_id AS id, tokens FROM oauth_accounts";
    for row in tx.all::<Sealed>(select, values![]).await? {
        if !ring.is_current(&row.tokens) {
            let context = context(CredentialId(row.id));
            let sealed = ring.seal(&context, &ring.open(&context, &row.tokens)?)?;
            let update = "UPDATE oauth_accounts SET tokens = $2 WHERE credential_id = $1";
            tx.exec(update, values![row.id, sealed]).await?;
            resealed += 1;
        }
    }
    // Logins that are under way are short-lived; they are begun again.
    tx.exec("DELETE FROM oauth_logins", values![]).await?;
    Ok(resealed)
}
