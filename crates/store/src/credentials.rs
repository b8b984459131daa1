//! Credentials of upstreams: sealed, shown by their ends.

use domain::declaration::{CredentialDecl, CredentialTerms};
use domain::snapshot::{CredentialState, Deactivation};
use domain::{CredentialId, Secret, Timestamp, UpstreamId};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::credential_states::{self, StateColumns};
use crate::db::{Sql, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::meta::{self, HASH_KEY_CONTEXT};
use crate::names::{Origin, check_name, name_key};
use crate::store::{Store, to_json};
use crate::vault::{KeyRing, VaultError};
use crate::{oauth, upstreams};

/// Credentials of upstreams.
#[derive(Debug)]
pub struct Credentials<'a>(pub(crate) &'a Store);

/// A credential, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Identity.
    pub id: CredentialId,
    /// Whose.
    pub upstream: UpstreamId,
    /// Name within the upstream.
    pub name: String,
    /// Enough of the secret to recognise it by: `sk-…f3c9`.
    pub masked: String,
    /// Share under the strategy `weighted`.
    pub weight: u32,
    /// How it may be used, apart from that.
    pub terms: CredentialTerms,
    /// What became of it.
    pub state: CredentialState,
    /// Whether it has a key or logs in.
    pub kind: CredentialKind,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    sealed: String,
}

/// What a credential's secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A key that stays what it is.
    Key,
    /// An account that logs in; its tokens are renewed.
    Account,
}

impl CredentialKind {
    /// The word in the database and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Account => "account",
        }
    }

    fn from_name(name: &str) -> Self {
        if name == "account" { Self::Account } else { Self::Key }
    }
}

/// What to change about a credential; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialChange {
    /// Another API key.
    pub key: Option<Secret>,
    /// Another share.
    pub weight: Option<u32>,
    /// How it may be used from now on, apart from that.
    pub terms: Option<CredentialTerms>,
}

impl Credentials<'_> {
    /// Adds a credential to an upstream.
    pub async fn add(&self, upstream: &str, decl: &CredentialDecl, origin: Origin) -> Result<CredentialRecord> {
        let tx = self.0.db().write().await?;
        let owner = upstreams::editable(&tx, upstream).await?;
        refuse_taken(&tx, owner.id, &decl.name).await?;
        insert(&tx, self.0.ring(), owner.id, &Held::from(decl), origin).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(upstream, &decl.name).await
    }

    /// The credentials of one upstream, by name.
    pub async fn list(&self, upstream: &str) -> Result<Vec<CredentialRecord>> {
        let reader = self.0.db().read().await?;
        let owner = upstreams::require(&reader, upstream).await?;
        of_upstream(&reader, owner.id).await
    }

    /// One credential by name, in any case.
    pub async fn get(&self, upstream: &str, name: &str) -> Result<CredentialRecord> {
        let reader = self.0.db().read().await?;
        let owner = upstreams::require(&reader, upstream).await?;
        require(&reader, owner.id, name).await
    }

    /// Changes a credential. One of an upstream that the configuration file declares is changed there, but for an account,
    /// which no file can declare.
    pub async fn edit(&self, upstream: &str, name: &str, change: CredentialChange) -> Result<CredentialRecord> {
        let tx = self.0.db().write().await?;
        let owner = upstreams::require(&tx, upstream).await?;
        let credential = require(&tx, owner.id, name).await?;
        if credential.kind != CredentialKind::Account {
            upstreams::editable(&tx, upstream).await?;
        }
        if credential.kind == CredentialKind::Account && change.key.is_some() {
            return Err(StoreError::Invalid(format!(
                "`{name}` is an account and has no key; log it in: tollgate account login {name}"
            )));
        }
        update(
            &tx,
            self.0.ring(),
            &credential,
            change.key.as_ref(),
            change.weight.unwrap_or(credential.weight),
            change.terms.as_ref().unwrap_or(&credential.terms),
        )
        .await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(upstream, name).await
    }

    /// Removes a credential.
    pub async fn remove(&self, upstream: &str, name: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        let owner = upstreams::editable(&tx, upstream).await?;
        let credential = require(&tx, owner.id, name).await?;
        archive(&tx, credential.id).await?;
        oauth::forget(&tx, credential.id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}

impl CredentialRecord {
    /// The secret.
    pub(crate) fn unseal(&self, ring: &KeyRing) -> std::result::Result<Secret, VaultError> {
        ring.open_text(&context(self.id), &self.sealed)
    }
}

const SELECT: &str = "SELECT c.id, c.upstream_id, c.name, c.secret, c.masked, c.weight, c.terms, c.kind, c.origin, \
                      c.created_at, c.updated_at, COALESCE(s.activation, 0) AS activation, s.deactivated_at, \
                      COALESCE(s.reason, '') AS reason, s.out_of_credit_at \
                      FROM credentials c LEFT JOIN credential_states s ON s.credential_id = c.id";

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    upstream_id: i64,
    name: String,
    secret: String,
    masked: String,
    weight: i64,
    terms: String,
    kind: String,
    origin: String,
    created_at: i64,
    updated_at: i64,
    activation: i64,
    deactivated_at: Option<i64>,
    reason: String,
    out_of_credit_at: Option<i64>,
}

impl From<Row> for CredentialRecord {
    /// Terms that cannot be read take it out of service: without them it might be used for whom it is not meant.
    fn from(row: Row) -> Self {
        let mut state = CredentialState::from(StateColumns {
            activation: row.activation,
            deactivated_at: row.deactivated_at,
            reason: row.reason,
            out_of_credit_at: row.out_of_credit_at,
        });
        let terms = serde_json::from_str(&row.terms).unwrap_or_else(|error| {
            state.deactivated = Some(Deactivation {
                at: Timestamp(row.updated_at),
                reason: format!("its settings cannot be read ({error}); remove it and add it again"),
            });
            CredentialTerms::default()
        });
        Self {
            id: CredentialId(row.id),
            upstream: UpstreamId(row.upstream_id),
            name: row.name,
            masked: row.masked,
            weight: u32::try_from(row.weight).unwrap_or(u32::MAX),
            terms,
            state,
            kind: CredentialKind::from_name(&row.kind),
            origin: Origin::from_name(&row.origin),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            sealed: row.secret,
        }
    }
}

/// All that are not archived.
pub(crate) async fn all(sql: &impl Sql) -> Result<Vec<CredentialRecord>> {
    let select = format!("{SELECT} WHERE c.archived_at IS NULL ORDER BY c.upstream_id, c.name_key");
    Ok(sql
        .all::<Row>(&select, values![])
        .await?
        .into_iter()
        .map(Into::into)
        .collect())
}

/// Those of one upstream.
pub(crate) async fn of_upstream(sql: &impl Sql, upstream: UpstreamId) -> Result<Vec<CredentialRecord>> {
    let select = format!("{SELECT} WHERE c.upstream_id = $1 AND c.archived_at IS NULL ORDER BY c.name_key");
    Ok(sql
        .all::<Row>(&select, values![upstream.0])
        .await?
        .into_iter()
        .map(Into::into)
        .collect())
}

/// Makes the credentials of an upstream those declared: adds, changes, archives. Accounts are not declared, and stay.
/// Tells whether anything changed.
pub(crate) async fn declare(
    tx: &Tx<'_>,
    ring: &KeyRing,
    upstream: UpstreamId,
    declared: &[CredentialDecl],
    origin: Origin,
) -> Result<bool> {
    let existing = of_upstream(tx, upstream).await?;
    let mut changed = false;
    for decl in declared {
        match existing
            .iter()
            .find(|record| name_key(&record.name) == name_key(&decl.name))
        {
            None => {
                insert(tx, ring, upstream, &Held::from(decl), origin).await?;
                changed = true;
            }
            Some(record) if record.kind == CredentialKind::Account => return Err(taken_by(record.clone())),
            Some(record) => {
                // A secret that cannot be unsealed any more is replaced by the declared one.
                let same = record.unseal(ring).is_ok_and(|secret| secret == decl.key);
                let terms = decl.terms();
                if !same || record.weight != decl.weight || record.terms != terms {
                    update(tx, ring, record, (!same).then_some(&decl.key), decl.weight, &terms).await?;
                    changed = true;
                }
            }
        }
    }
    let gone = |record: &&CredentialRecord| {
        record.kind == CredentialKind::Key
            && !declared
                .iter()
                .any(|decl| name_key(&decl.name) == name_key(&record.name))
    };
    for record in existing.iter().filter(gone) {
        archive(tx, record.id).await?;
        changed = true;
    }
    Ok(changed)
}

/// What a new row holds.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    name: &'a str,
    weight: u32,
    terms: CredentialTerms,
    /// `None`: an account.
    key: Option<&'a Secret>,
}

impl<'a> Held<'a> {
    /// An account of this name.
    pub(crate) fn account(name: &'a str) -> Self {
        Self {
            name,
            weight: 1,
            terms: CredentialTerms::default(),
            key: None,
        }
    }
}

impl<'a> From<&'a CredentialDecl> for Held<'a> {
    fn from(decl: &'a CredentialDecl) -> Self {
        Self {
            name: &decl.name,
            weight: decl.weight,
            terms: decl.terms(),
            key: Some(&decl.key),
        }
    }
}

/// Adds a row. The secret is sealed for the row's identity, which is known only afterwards.
pub(crate) async fn insert(
    tx: &Tx<'_>,
    ring: &KeyRing,
    upstream: UpstreamId,
    held: &Held<'_>,
    origin: Origin,
) -> Result<CredentialId> {
    let (kind, named) = match held.key {
        Some(_) => (CredentialKind::Key, Kind::Credential),
        None => (CredentialKind::Account, Kind::Account),
    };
    check_name(named, held.name)?;
    let insert = "INSERT INTO credentials \
                  (upstream_id, name, name_key, secret, masked, weight, terms, kind, origin, created_at, updated_at) \
                  VALUES ($1, $2, $3, '', $4, $5, $6, $7, $8, $9, $9) RETURNING id";
    let values = values![
        upstream.0,
        held.name,
        name_key(held.name),
        held.key.map(Secret::masked).unwrap_or_default(),
        i64::from(held.weight),
        to_json(&held.terms)?,
        kind.name(),
        origin.name(),
        now().0
    ];
    let id = CredentialId(tx.number(insert, values).await?);
    if let Some(key) = held.key {
        let sealed = ring.seal(&context(id), key.expose().as_bytes())?;
        tx.exec(
            "UPDATE credentials SET secret = $2 WHERE id = $1",
            values![id.0, sealed],
        )
        .await?;
    }
    Ok(id)
}

/// Brings the accounts back that went out of service with their upstream.
pub(crate) async fn restore_accounts(tx: &Tx<'_>, upstream: UpstreamId) -> Result<()> {
    let restore = "UPDATE credentials SET archived_at = NULL WHERE upstream_id = $1 AND archived_at IS NOT NULL \
                   AND id IN (SELECT credential_id FROM oauth_accounts)";
    tx.exec(restore, values![upstream.0]).await.map(|_| ())
}

/// Takes all credentials of an upstream out of service.
pub(crate) async fn archive_all(tx: &Tx<'_>, upstream: UpstreamId) -> Result<()> {
    let archive = "UPDATE credentials SET archived_at = $2 WHERE upstream_id = $1 AND archived_at IS NULL";
    tx.exec(archive, values![upstream.0, now().0]).await.map(|_| ())
}

/// Seals everything anew under the newest key of the ring.
pub(crate) async fn reseal_all(store: &Store) -> Result<u64> {
    #[derive(FromQueryResult)]
    struct Sealed {
        id: i64,
        secret: String,
    }
    let ring = store.ring();
    let tx = store.db().write().await?;
    let mut resealed = upstreams::reseal_all(&tx).await? + oauth::reseal_all(&tx).await?;
    // Archived ones too: the old key shall not be needed for anything any more.
    for row in tx
        .all::<Sealed>("SELECT id, secret FROM credentials WHERE kind = 'key'", values![])
        .await?
    {
        if !ring.is_current(&row.secret) {
            let context = context(CredentialId(row.id));
            let sealed = ring.seal(&context, &ring.open(&context, &row.secret)?)?;
            tx.exec(
                "UPDATE credentials SET secret = $2 WHERE id = $1",
                values![row.id, sealed],
            )
            .await?;
            resealed += 1;
        }
    }
    for row in tx
        .all::<Sealed>("SELECT id, hash_key AS secret FROM meta", values![])
        .await?
    {
        if !ring.is_current(&row.secret) {
            let sealed = ring.seal(HASH_KEY_CONTEXT, &ring.open(HASH_KEY_CONTEXT, &row.secret)?)?;
            tx.exec("UPDATE meta SET hash_key = $1", values![sealed]).await?;
            resealed += 1;
        }
    }
    tx.commit().await?;
    Ok(resealed)
}

async fn update(
    tx: &Tx<'_>,
    ring: &KeyRing,
    record: &CredentialRecord,
    key: Option<&Secret>,
    weight: u32,
    terms: &CredentialTerms,
) -> Result<()> {
    if key.is_some() {
        // What was found out about the old secret does not hold for the new one.
        credential_states::activate(tx, record.id).await?;
    }
    let (sealed, masked) = match key {
        Some(key) => (ring.seal(&context(record.id), key.expose().as_bytes())?, key.masked()),
        None => (record.sealed.clone(), record.masked.clone()),
    };
    let update =
        "UPDATE credentials SET secret = $2, masked = $3, weight = $4, terms = $5, updated_at = $6 WHERE id = $1";
    let terms = to_json(terms)?;
    tx.exec(
        update,
        values![record.id.0, sealed, masked, i64::from(weight), terms, now().0],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn archive(tx: &Tx<'_>, id: CredentialId) -> Result<()> {
    tx.exec(
        "UPDATE credentials SET archived_at = $2 WHERE id = $1",
        values![id.0, now().0],
    )
    .await
    .map(|_| ())
}

/// One that is to be used.
pub(crate) async fn require(sql: &impl Sql, upstream: UpstreamId, name: &str) -> Result<CredentialRecord> {
    let select = format!("{SELECT} WHERE c.upstream_id = $1 AND c.name_key = $2 AND c.archived_at IS NULL");
    let row = sql.one::<Row>(&select, values![upstream.0, name_key(name)]).await?;
    row.map(Into::into)
        .ok_or_else(|| StoreError::not_found(Kind::Credential, name))
}

pub(crate) async fn refuse_taken(tx: &Tx<'_>, upstream: UpstreamId, name: &str) -> Result<()> {
    match require(tx, upstream, name).await {
        Ok(found) => Err(taken_by(found)),
        Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn taken_by(record: CredentialRecord) -> StoreError {
    let kind = match record.kind {
        CredentialKind::Key => Kind::Credential,
        CredentialKind::Account => Kind::Account,
    };
    let origin = record.origin.described().to_owned();
    let name = record.name;
    StoreError::Exists { kind, name, origin }
}

fn context(id: CredentialId) -> String {
    format!("credentials/{id}")
}
