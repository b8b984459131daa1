//! Upstreams as declared, their secrets kept apart.
//!
//! An inline target of a model becomes an upstream too, hidden from listings, so that routing, breakers and credentials
//! have one kind of thing to deal with.

use std::collections::HashMap;

use domain::declaration::UpstreamDecl;
use domain::{Forced, Timestamp, UpstreamId};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::credentials::{self, CredentialRecord};
use crate::db::{Sql, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::names::{Origin, check_name, name_key};
use crate::store::{Store, to_json};
use crate::{forced, meta, vault::KeyRing};

/// Upstreams.
#[derive(Debug)]
pub struct Upstreams<'a>(pub(crate) &'a Store);

/// An upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamRecord {
    /// Identity.
    pub id: UpstreamId,
    /// Name.
    pub name: String,
    /// The declaration, without credentials.
    pub decl: UpstreamDecl,
    /// Made from an inline target of a model.
    pub hidden: bool,
    /// Its credentials, without secrets.
    pub credentials: Vec<CredentialRecord>,
    /// What an operator decided on its breaker.
    pub forced: Option<Forced>,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Upstreams<'_> {
    /// Adds an upstream with the credentials of its declaration.
    pub async fn add(&self, decl: &UpstreamDecl, origin: Origin) -> Result<UpstreamRecord> {
        let tx = self.0.db().write().await?;
        check_name(Kind::Upstream, &decl.name)?;
        if let Some(taken) = find(&tx, &decl.name).await? {
            return Err(taken_by(taken));
        }
        put(&tx, self.0.ring(), decl, Shown::Listed, origin).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(&decl.name).await
    }

    /// All upstreams, by name, without the hidden ones.
    pub async fn list(&self) -> Result<Vec<UpstreamRecord>> {
        let records: Result<Vec<_>> = all(&self.0.db().read().await?).await?.into_iter().collect();
        Ok(records?.into_iter().filter(|record| !record.hidden).collect())
    }

    /// One upstream by name, in any case.
    pub async fn get(&self, name: &str) -> Result<UpstreamRecord> {
        let reader = self.0.db().read().await?;
        let mut record = require(&reader, name).await?;
        record.credentials = credentials::of_upstream(&reader, record.id).await?;
        record.forced = forced::all(&reader).await?.remove(&record.id);
        Ok(record)
    }

    /// Replaces the declaration; the credentials stay (see [`Store::credentials`]). The name may change.
    pub async fn edit(&self, name: &str, decl: &UpstreamDecl) -> Result<UpstreamRecord> {
        let tx = self.0.db().write().await?;
        let record = editable(&tx, name).await?;
        check_name(Kind::Upstream, &decl.name)?;
        if name_key(&decl.name) != name_key(&record.name)
            && let Some(taken) = find(&tx, &decl.name).await?
        {
            return Err(taken_by(taken));
        }
        update(&tx, record.id, decl).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(&decl.name).await
    }

    /// Removes an upstream and its credentials.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        let record = editable(&tx, name).await?;
        archive(&tx, record.id).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}

/// Whether people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Listed,
    Hidden,
}

const SELECT: &str = "SELECT id, name, decl, hidden, origin, created_at, updated_at FROM upstreams";

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    name: String,
    decl: String,
    hidden: bool,
    origin: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn read(self, ring: &KeyRing) -> Result<UpstreamRecord> {
        let decl = opened(ring, &self.decl).map_err(|why| StoreError::Unreadable {
            kind: Kind::Upstream,
            name: self.name.clone(),
            why,
        })?;
        Ok(UpstreamRecord {
            id: UpstreamId(self.id),
            name: self.name,
            decl,
            hidden: self.hidden,
            credentials: Vec::new(),
            forced: None,
            origin: Origin::from_name(&self.origin),
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

/// All that are not archived, with credentials; each read on its own, so that a bad row does not hide the others.
pub(crate) async fn all(sql: &impl Sql) -> Result<Vec<Result<UpstreamRecord>>> {
    let select = format!("{SELECT} WHERE archived_at IS NULL ORDER BY name_key");
    let rows = sql.all::<Row>(&select, values![]).await?;
    let mut credentials: HashMap<UpstreamId, Vec<CredentialRecord>> = HashMap::new();
    for record in credentials::all(sql).await? {
        credentials.entry(record.upstream).or_default().push(record);
    }
    let mut forced = forced::all(sql).await?;
    let with_credentials = |row: Row| {
        let mut record = row.read(sql.ring())?;
        record.credentials = credentials.remove(&record.id).unwrap_or_default();
        record.forced = forced.remove(&record.id);
        Ok(record)
    };
    Ok(rows.into_iter().map(with_credentials).collect())
}

/// By name; credentials are left out.
pub(crate) async fn find(sql: &impl Sql, name: &str) -> Result<Option<UpstreamRecord>> {
    let select = format!("{SELECT} WHERE name_key = $1 AND archived_at IS NULL");
    sql.one::<Row>(&select, values![name_key(name)])
        .await?
        .map(|row| row.read(sql.ring()))
        .transpose()
}

/// One that is to be used.
pub(crate) async fn require(sql: &impl Sql, name: &str) -> Result<UpstreamRecord> {
    find(sql, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::Upstream, name))
}

/// One that may be changed.
pub(crate) async fn editable(sql: &impl Sql, name: &str) -> Result<UpstreamRecord> {
    let record = require(sql, name).await?;
    record.origin.check_editable(Kind::Upstream, &record.name)?;
    Ok(record)
}

/// What happened to a declared row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Added,
    Changed,
    Same,
}

/// Makes an upstream what its declaration says, credentials included. One that the same origin declared before and
/// removed comes back with its identity, and so with its history.
pub(crate) async fn put(tx: &Tx<'_>, ring: &KeyRing, decl: &UpstreamDecl, shown: Shown, origin: Origin) -> Result<Put> {
    if let Some(record) = find(tx, &decl.name).await? {
        let plain = UpstreamDecl {
            credentials: Vec::new(),
            ..decl.clone()
        };
        let changed = record.decl != plain;
        if changed {
            update(tx, record.id, decl).await?;
        }
        let secrets = credentials::declare(tx, ring, record.id, &decl.credentials, origin).await?;
        return Ok(if changed || secrets { Put::Changed } else { Put::Same });
    }
    let id = match archived(tx, &decl.name, origin).await? {
        Some(id) => {
            update(tx, id, decl).await?;
            credentials::restore_accounts(tx, id).await?;
            id
        }
        None => insert(tx, decl, shown, origin).await?,
    };
    credentials::declare(tx, ring, id, &decl.credentials, origin).await?;
    Ok(Put::Added)
}

/// Takes an upstream and its credentials out of service.
pub(crate) async fn archive(tx: &Tx<'_>, id: UpstreamId) -> Result<()> {
    credentials::archive_all(tx, id).await?;
    let archive = "UPDATE upstreams SET archived_at = $2 WHERE id = $1 AND archived_at IS NULL";
    tx.exec(archive, values![id.0, now().0]).await.map(|_| ())
}

/// The error for a name that is in use.
pub(crate) fn taken_by(record: UpstreamRecord) -> StoreError {
    let origin = record.origin.described().to_owned();
    StoreError::Exists {
        kind: Kind::Upstream,
        name: record.name,
        origin,
    }
}

/// What a sealed declaration is bound to. Not the row: it is sealed before the row has an id.
const DECL_CONTEXT: &str = "upstreams.decl";

/// A declaration as it is kept. Header values and the login of a proxy are secrets as much as keys are, so one that has
/// any is sealed as a whole; the others stay readable for people with a database client.
fn sealed(ring: &KeyRing, decl: &UpstreamDecl) -> Result<String> {
    let json = to_json(decl)?;
    let is_secret = !decl.headers.is_empty() || decl.proxy.as_deref().is_some_and(|proxy| proxy.contains('@'));
    if is_secret {
        Ok(ring.seal(DECL_CONTEXT, json.as_bytes())?)
    } else {
        Ok(json)
    }
}

/// The declaration that [`sealed`] kept; says why it cannot be read.
fn opened(ring: &KeyRing, kept: &str) -> std::result::Result<UpstreamDecl, String> {
    if kept.starts_with('{') {
        return serde_json::from_str(kept).map_err(|error| error.to_string());
    }
    let json = ring.open(DECL_CONTEXT, kept).map_err(|error| error.to_string())?;
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

/// Seals every sealed declaration anew under the newest key; tells how many were under an older one.
pub(crate) async fn reseal_all(tx: &Tx<'_>) -> Result<u64> {
    #[derive(FromQueryResult)]
    struct Kept {
        id: i64,
        decl: String,
    }
    let ring = tx.ring();
    let mut resealed = 0;
    for row in tx.all::<Kept>("SELECT id, decl FROM upstreams", values![]).await? {
        if !row.decl.starts_with('{') && !ring.is_current(&row.decl) {
            let decl = ring.seal(DECL_CONTEXT, &ring.open(DECL_CONTEXT, &row.decl)?)?;
            tx.exec("UPDATE upstreams SET decl = $2 WHERE id = $1", values![row.id, decl])
                .await?;
            resealed += 1;
        }
    }
    Ok(resealed)
}

async fn insert(tx: &Tx<'_>, decl: &UpstreamDecl, shown: Shown, origin: Origin) -> Result<UpstreamId> {
    let insert = "INSERT INTO upstreams (name, name_key, decl, hidden, origin, created_at, updated_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id";
    let hidden = shown == Shown::Hidden;
    let values = values![
        decl.name.as_str(),
        name_key(&decl.name),
        sealed(tx.ring(), decl)?,
        hidden,
        origin.name(),
        now().0
    ];
    Ok(UpstreamId(tx.number(insert, values).await?))
}

async fn update(tx: &Tx<'_>, id: UpstreamId, decl: &UpstreamDecl) -> Result<()> {
    let update = "UPDATE upstreams SET name = $2, name_key = $3, decl = $4, updated_at = $5, archived_at = NULL \
                  WHERE id = $1";
    let values = values![
        id.0,
        decl.name.as_str(),
        name_key(&decl.name),
        sealed(tx.ring(), decl)?,
        now().0
    ];
    tx.exec(update, values).await.map(|_| ())
}

async fn archived(tx: &Tx<'_>, name: &str, origin: Origin) -> Result<Option<UpstreamId>> {
    let select = "SELECT id FROM upstreams WHERE name_key = $1 AND origin = $2 AND archived_at IS NOT NULL \
                  ORDER BY archived_at DESC LIMIT 1";
    let rows = tx.rows(select, values![name_key(name), origin.name()]).await?;
    Ok(rows
        .first()
        .and_then(|row| row.try_get_by_index(0).ok())
        .map(UpstreamId))
}
