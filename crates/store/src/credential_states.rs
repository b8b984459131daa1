//! What became of credentials: taken out of service, put back, without money, resting as providers named it, used how often
//! on which day.
//!
//! A credential of the configuration file has a state like any other: the file owns what it declares, and not what
//! happens to it. The *activation* keeps the two who write here apart: the server says what it found out under one, and
//! if an operator has put the credential back since, that is void.

use domain::snapshot::{CredentialState, Deactivation};
use domain::{CredentialId, NamedRests, Timestamp};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::credentials::{self, CredentialRecord, Credentials};
use crate::db::{Sql, Tx, values};
use crate::error::Result;
use crate::store::to_json;
use crate::{meta, upstreams};

/// Days of which uses are kept, for people who compare: a quarter.
const DAYS_KEPT: i64 = 92;

impl Credentials<'_> {
    /// Puts a credential back into service, whatever took it out; what was found out about it is forgotten.
    pub async fn activate(&self, upstream: &str, name: &str) -> Result<CredentialRecord> {
        let tx = self.0.db().write().await?;
        let owner = upstreams::require(&tx, upstream).await?;
        let credential = credentials::require(&tx, owner.id, name).await?;
        activate(&tx, credential.id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(upstream, name).await
    }

    /// Takes a credential out of service until an operator puts it back. Nothing happens to one that is out already, or
    /// was put back since `activation`. Tells whether something did.
    pub async fn deactivate(&self, id: CredentialId, activation: i64, why: &Deactivation) -> Result<bool> {
        let tx = self.0.db().write().await?;
        let upsert = "INSERT INTO credential_states (credential_id, activation, deactivated_at, reason) \
                      VALUES ($1, $2, $3, $4) ON CONFLICT (credential_id) DO UPDATE SET \
                      deactivated_at = excluded.deactivated_at, reason = excluded.reason \
                      WHERE credential_states.activation = excluded.activation AND credential_states.deactivated_at IS NULL";
        let changed = tx
            .exec(upsert, values![id.0, activation, why.at.0, why.reason.as_str()])
            .await?
            > 0;
        if changed {
            meta::bump_revision(&tx).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Notes that a credential's account has no money since then, or, with `None`, that it has. Who serves knows it
    /// already; this is for those who start later.
    pub async fn note_credit(&self, id: CredentialId, activation: i64, lacking_since: Option<Timestamp>) -> Result<()> {
        let tx = self.0.db().write().await?;
        let upsert = "INSERT INTO credential_states (credential_id, activation, reason, out_of_credit_at) \
                      VALUES ($1, $2, '', $3) ON CONFLICT (credential_id) DO UPDATE SET \
                      out_of_credit_at = excluded.out_of_credit_at WHERE credential_states.activation = excluded.activation";
        tx.exec(upsert, values![id.0, activation, lacking_since.map(|since| since.0)])
            .await?;
        tx.commit().await
    }

    /// Notes what providers named of credentials' rests, each under the activation it was found out with. All, or none.
    pub async fn note_rests(&self, named: &[(CredentialId, i64, NamedRests)]) -> Result<()> {
        let tx = self.0.db().write().await?;
        let upsert = "INSERT INTO credential_states (credential_id, activation, reason, rests) VALUES ($1, $2, '', $3) \
                      ON CONFLICT (credential_id) DO UPDATE SET rests = excluded.rests \
                      WHERE credential_states.activation = excluded.activation";
        for (id, activation, rests) in named {
            tx.exec(upsert, values![id.0, *activation, to_json(rests)?]).await?;
        }
        tx.commit().await
    }

    /// What providers named of credentials' rests, over or not. What cannot be read is left out: it is only asked earlier.
    pub async fn named_rests(&self) -> Result<Vec<(CredentialId, i64, NamedRests)>> {
        #[derive(FromQueryResult)]
        struct Row {
            credential_id: i64,
            activation: i64,
            rests: String,
        }
        let select = "SELECT credential_id, activation, rests FROM credential_states WHERE rests IS NOT NULL \
                      ORDER BY credential_id";
        let rows = self.0.db().read().await?.all::<Row>(select, values![]).await?;
        let read = |row: Row| {
            let rests = serde_json::from_str(&row.rests).ok()?;
            Some((CredentialId(row.credential_id), row.activation, rests))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// How often each credential was used on a day (UTC, counted from the epoch), as far as it is booked.
    pub async fn uses(&self, day: i64) -> Result<Vec<(CredentialId, u64)>> {
        #[derive(FromQueryResult)]
        struct Row {
            credential_id: i64,
            uses: i64,
        }
        let select = "SELECT credential_id, uses FROM credential_days WHERE day = $1 ORDER BY credential_id";
        let rows = self.0.db().read().await?.all::<Row>(select, values![day]).await?;
        let read = |row: Row| (CredentialId(row.credential_id), row.uses.unsigned_abs());
        Ok(rows.into_iter().map(read).collect())
    }

    /// Adds requests that left no receipt: credential, day, and how many. All of them, or none.
    pub async fn add_uses(&self, uses: &[(CredentialId, i64, u64)]) -> Result<()> {
        let tx = self.0.db().write().await?;
        let upsert = "INSERT INTO credential_days (credential_id, day, uses) VALUES ($1, $2, $3) \
                      ON CONFLICT (credential_id, day) DO UPDATE SET uses = credential_days.uses + excluded.uses";
        for (credential, day, uses) in uses {
            let uses = i64::try_from(*uses).unwrap_or(i64::MAX);
            tx.exec(upsert, values![credential.0, *day, uses]).await?;
        }
        tx.commit().await
    }

    /// Forgets the uses of days long past.
    pub async fn forget_uses(&self) -> Result<()> {
        let tx = self.0.db().write().await?;
        let oldest = now().day() - DAYS_KEPT;
        tx.exec("DELETE FROM credential_days WHERE day < $1", values![oldest])
            .await?;
        tx.commit().await
    }
}

/// Puts a credential back into service.
pub(crate) async fn activate(tx: &Tx<'_>, id: CredentialId) -> Result<()> {
    let upsert = "INSERT INTO credential_states (credential_id, activation, reason) VALUES ($1, 1, '') \
                  ON CONFLICT (credential_id) DO UPDATE SET activation = credential_states.activation + 1, \
                  deactivated_at = NULL, reason = '', out_of_credit_at = NULL, rests = NULL";
    tx.exec(upsert, values![id.0]).await.map(|_| ())
}

/// The columns of a state, joined.
#[derive(Debug, Default)]
pub(crate) struct StateColumns {
    pub activation: i64,
    pub deactivated_at: Option<i64>,
    pub reason: String,
    pub out_of_credit_at: Option<i64>,
}

impl From<StateColumns> for CredentialState {
    fn from(columns: StateColumns) -> Self {
        Self {
            activation: columns.activation,
            deactivated: columns.deactivated_at.map(|at| Deactivation {
                at: Timestamp(at),
                reason: columns.reason,
            }),
            out_of_credit: columns.out_of_credit_at.map(Timestamp),
        }
    }
}
