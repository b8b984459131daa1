//! Models as declared.
//!
//! A target may carry address and key inline. Its key must be sealed and its breaker needs a name, so it is stored as a
//! hidden upstream `model/NAME#1` that the stored declaration refers to; see [`split`].

use domain::Timestamp;
use domain::declaration::{CredentialDecl, ModelDecl, TargetDecl, UpstreamDecl};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::db::{Sql, Tx, values};
use crate::error::{Kind, Result, StoreError};
use crate::meta;
use crate::names::{Origin, check_name, name_key};
use crate::store::{Store, to_json};
use crate::upstreams::{self, Put, Shown};
use crate::vault::KeyRing;

/// Models.
#[derive(Debug)]
pub struct Models<'a>(pub(crate) &'a Store);

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRecord {
    /// Identity.
    pub id: i64,
    /// Name.
    pub name: String,
    /// The declaration; inline targets refer to hidden upstreams.
    pub decl: ModelDecl,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Models<'_> {
    /// Adds a model, with the upstreams of its inline targets.
    pub async fn add(&self, decl: &ModelDecl, origin: Origin) -> Result<ModelRecord> {
        let tx = self.0.db().write().await?;
        check_name(Kind::Model, &decl.name)?;
        if let Some(taken) = find(&tx, &decl.name).await? {
            return Err(taken_by(taken));
        }
        put(&tx, self.0.ring(), decl, origin).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(&decl.name).await
    }

    /// All models, by name.
    pub async fn list(&self) -> Result<Vec<ModelRecord>> {
        all(&self.0.db().read().await?).await?.into_iter().collect()
    }

    /// One model by name, in any case.
    pub async fn get(&self, name: &str) -> Result<ModelRecord> {
        let found = find(&self.0.db().read().await?, name).await?;
        found.ok_or_else(|| StoreError::not_found(Kind::Model, name))
    }

    /// Replaces the declaration. A target that refers to its hidden upstream keeps it, key included.
    pub async fn edit(&self, name: &str, decl: &ModelDecl) -> Result<ModelRecord> {
        let tx = self.0.db().write().await?;
        let record = editable(&tx, name).await?;
        check_name(Kind::Model, &decl.name)?;
        if name_key(&decl.name) != name_key(&record.name) {
            if let Some(taken) = find(&tx, &decl.name).await? {
                return Err(taken_by(taken));
            }
            rename(&tx, record.id, &decl.name).await?;
        }
        put(&tx, self.0.ring(), decl, record.origin).await?;
        archive_unused(&tx, &record.decl, Some(decl)).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await?;
        self.get(&decl.name).await
    }

    /// Removes a model and its hidden upstreams.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let tx = self.0.db().write().await?;
        let record = editable(&tx, name).await?;
        archive(&tx, &record).await?;
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}

const SELECT: &str = "SELECT id, name, decl, origin, created_at, updated_at FROM models";

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    name: String,
    decl: String,
    origin: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn read(self) -> Result<ModelRecord> {
        let decl = serde_json::from_str(&self.decl).map_err(|error| StoreError::Unreadable {
            kind: Kind::Model,
            name: self.name.clone(),
            why: error.to_string(),
        })?;
        Ok(ModelRecord {
            id: self.id,
            name: self.name,
            decl,
            origin: Origin::from_name(&self.origin),
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

/// All that are not archived; each read on its own, so that a bad row does not hide the others.
pub(crate) async fn all(sql: &impl Sql) -> Result<Vec<Result<ModelRecord>>> {
    let select = format!("{SELECT} WHERE archived_at IS NULL ORDER BY name_key");
    Ok(sql
        .all::<Row>(&select, values![])
        .await?
        .into_iter()
        .map(Row::read)
        .collect())
}

/// By name.
pub(crate) async fn find(sql: &impl Sql, name: &str) -> Result<Option<ModelRecord>> {
    let select = format!("{SELECT} WHERE name_key = $1 AND archived_at IS NULL");
    sql.one::<Row>(&select, values![name_key(name)])
        .await?
        .map(Row::read)
        .transpose()
}

/// Makes a model what its declaration says.
pub(crate) async fn put(tx: &Tx<'_>, ring: &KeyRing, decl: &ModelDecl, origin: Origin) -> Result<Put> {
    let (stored, inline) = split(decl)?;
    let mut upstreams_changed = false;
    for upstream in &inline {
        upstreams_changed |= upstreams::put(tx, ring, upstream, Shown::Hidden, origin).await? != Put::Same;
    }
    let Some(record) = find(tx, &decl.name).await? else {
        insert(tx, &stored, origin).await?;
        return Ok(Put::Added);
    };
    if record.decl == stored {
        return Ok(if upstreams_changed { Put::Changed } else { Put::Same });
    }
    let update = "UPDATE models SET name = $2, decl = $3, updated_at = $4 WHERE id = $1";
    tx.exec(
        update,
        values![record.id, stored.name.as_str(), to_json(&stored)?, now().0],
    )
    .await?;
    archive_unused(tx, &record.decl, Some(&stored)).await?;
    Ok(Put::Changed)
}

/// Takes a model and its hidden upstreams out of service.
pub(crate) async fn archive(tx: &Tx<'_>, record: &ModelRecord) -> Result<()> {
    let archive = "UPDATE models SET archived_at = $2 WHERE id = $1 AND archived_at IS NULL";
    tx.exec(archive, values![record.id, now().0]).await?;
    archive_unused(tx, &record.decl, None).await
}

/// The error for a name that is in use.
pub(crate) fn taken_by(record: ModelRecord) -> StoreError {
    let origin = record.origin.described().to_owned();
    StoreError::Exists {
        kind: Kind::Model,
        name: record.name,
        origin,
    }
}

/// A declaration as stored, and the hidden upstreams of its inline targets.
fn split(decl: &ModelDecl) -> Result<(ModelDecl, Vec<UpstreamDecl>)> {
    let mut stored = decl.clone();
    let mut inline = Vec::new();
    for (index, target) in stored.targets.iter_mut().enumerate() {
        let Some(upstream) = inline_upstream(&decl.name, index, target)? else {
            continue;
        };
        target.upstream = Some(upstream.name.clone());
        (target.base_url, target.key, target.dialect) = (None, None, None);
        inline.push(upstream);
    }
    Ok((stored, inline))
}

fn inline_upstream(model: &str, index: usize, target: &TargetDecl) -> Result<Option<UpstreamDecl>> {
    let refuse = |why: &str| {
        Err(StoreError::Invalid(format!(
            "model `{model}`: target {} {why}",
            index + 1
        )))
    };
    let Some(base_url) = target.base_url.clone() else {
        return match (&target.upstream, &target.key, &target.dialect) {
            (Some(_), None, None) => Ok(None),
            (Some(_), ..) => refuse("names an upstream and has a key or dialect of its own; leave one out"),
            (None, ..) => refuse("names neither an upstream nor a `base_url`"),
        };
    };
    if target.upstream.is_some() {
        return refuse("names an upstream and a `base_url`; leave one out");
    }
    let key = target.key.clone().map(|key| CredentialDecl::new("key", key));
    Ok(Some(UpstreamDecl {
        name: format!("model/{model}#{}", index + 1),
        provider: None,
        base_url: Some(base_url),
        dialect: Some(target.dialect.unwrap_or(domain::Dialect::OpenaiChat)),
        variables: std::collections::BTreeMap::new(),
        group: None,
        priority: target.priority.unwrap_or(0),
        weight: target.weight.unwrap_or(1),
        strategy: None,
        credentials: key.into_iter().collect(),
        // It serves this model only, by way of the target.
        models: Some(Vec::new()),
        headers: std::collections::BTreeMap::new(),
        params: std::collections::BTreeMap::new(),
        proxy: None,
        ca: None,
        timeouts: domain::declaration::TimeoutsDecl::default(),
        breaker: None,
        cooldown: None,
        health: None,
    }))
}

/// Hidden upstreams that the old declaration referred to and the new one does not.
async fn archive_unused(tx: &Tx<'_>, old: &ModelDecl, new: Option<&ModelDecl>) -> Result<()> {
    let kept = new.map(split).transpose()?.map(|(stored, _)| stored);
    let uses = |name: &str| {
        let targets = kept.iter().flat_map(|decl| &decl.targets);
        targets
            .filter_map(|target| target.upstream.as_deref())
            .any(|used| name_key(used) == name_key(name))
    };
    for name in old
        .targets
        .iter()
        .filter_map(|target| target.upstream.as_deref())
        .filter(|name| !uses(name))
    {
        if let Some(record) = upstreams::find(tx, name).await?.filter(|record| record.hidden) {
            upstreams::archive(tx, record.id).await?;
        }
    }
    Ok(())
}

async fn insert(tx: &Tx<'_>, stored: &ModelDecl, origin: Origin) -> Result<()> {
    let insert = "INSERT INTO models (name, name_key, decl, origin, created_at, updated_at) \
                  VALUES ($1, $2, $3, $4, $5, $5)";
    let values = values![
        stored.name.as_str(),
        name_key(&stored.name),
        to_json(stored)?,
        origin.name(),
        now().0
    ];
    tx.exec(insert, values).await.map(|_| ())
}

async fn rename(tx: &Tx<'_>, id: i64, name: &str) -> Result<()> {
    let update = "UPDATE models SET name = $2, name_key = $3 WHERE id = $1";
    tx.exec(update, values![id, name, name_key(name)]).await.map(|_| ())
}

async fn editable(tx: &Tx<'_>, name: &str) -> Result<ModelRecord> {
    let record = find(tx, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::Model, name))?;
    record.origin.check_editable(Kind::Model, &record.name)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(targets: &str) -> ModelDecl {
        serde_json::from_str(&format!(r#"{{"name":"smart","targets":{targets}}}"#)).unwrap()
    }

    #[test]
    fn inline_targets_become_upstreams() {
        let decl = model(
            r#"[{"upstream":"a","model":"x"},{"base_url":"http://h/v1","key":"sk-1","dialect":"gemini","model":"y"}]"#,
        );
        let (stored, inline) = split(&decl).unwrap();
        assert_eq!(stored.targets[0], decl.targets[0]);
        assert_eq!(stored.targets[1].upstream.as_deref(), Some("model/smart#2"));
        assert_eq!(stored.targets[1].key, None);
        assert_eq!(stored.targets[1].model.as_deref(), Some("y"));
        assert_eq!(inline.len(), 1);
        assert_eq!(inline[0].credentials[0].key.expose(), "sk-1");
        assert_eq!(inline[0].dialect, Some(domain::Dialect::Gemini));
    }

    #[test]
    fn a_target_is_either_named_or_inline() {
        for targets in [
            r"[{}]",
            r#"[{"upstream":"a","base_url":"http://h"}]"#,
            r#"[{"upstream":"a","key":"k"}]"#,
        ] {
            assert!(split(&model(targets)).is_err(), "{targets}");
        }
    }
}
