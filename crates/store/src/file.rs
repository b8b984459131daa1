//! Applying the configuration file: its resources become exactly what it says, in one transaction.
//!
//! The file owns its declarations, nothing else: what was made elsewhere is never touched, and a name that exists
//! already from elsewhere is an error rather than a take-over. What the file no longer names is archived, not deleted;
//! named again, it comes back with its identity, its balance and its history (and without a second opening credit).

use domain::declaration::{KeyDecl, ModelDecl, UpstreamDecl, UserDecl};

use crate::db::Tx;
use crate::error::{Kind, Result, StoreError};
use crate::hasher::to_hex;
use crate::names::{Origin, check_name, name_key};
use crate::store::Store;
use crate::upstreams::{Put, Shown};
use crate::{balances, keys, meta, models, upstreams, users};

/// The resources that a configuration file declares.
#[derive(Clone, Debug, Default)]
pub struct FileResources {
    /// `users`
    pub users: Vec<UserDecl>,
    /// `keys`
    pub keys: Vec<KeyDecl>,
    /// `upstreams`
    pub upstreams: Vec<UpstreamDecl>,
    /// `models`
    pub models: Vec<ModelDecl>,
}

/// What applying a file did; each entry as `upstream openai-main`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// New, or back.
    pub added: Vec<String>,
    /// Declared differently than before.
    pub changed: Vec<String>,
    /// No longer declared.
    pub archived: Vec<String>,
}

impl Applied {
    /// Whether everything was as declared already.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.archived.is_empty()
    }

    fn note(&mut self, kind: Kind, name: &str, put: Put) {
        let list = match put {
            Put::Added => &mut self.added,
            Put::Changed => &mut self.changed,
            Put::Same => return,
        };
        list.push(format!("{kind} {name}"));
    }

    fn gone(&mut self, kind: Kind, name: &str) {
        self.archived.push(format!("{kind} {name}"));
    }
}

impl Store {
    /// Makes the resources of the configuration file what it says now.
    ///
    /// # Errors
    /// A name is taken by something made elsewhere, or a declaration makes no sense; then nothing was changed.
    pub async fn apply_file(&self, file: FileResources) -> Result<Applied> {
        let tx = self.db().write().await?;
        let applied = apply(self, &tx, &file).await?;
        tx.commit().await?;
        Ok(applied)
    }
}

/// The same within a transaction.
pub(crate) async fn apply(store: &Store, tx: &Tx<'_>, file: &FileResources) -> Result<Applied> {
    let mut applied = Applied::default();
    archive_gone(tx, file, &mut applied).await?;
    for decl in &file.upstreams {
        let put = put_upstream(store, tx, decl).await?;
        applied.note(Kind::Upstream, &decl.name, put);
    }
    for decl in &file.models {
        let put = put_model(store, tx, decl).await?;
        applied.note(Kind::Model, &decl.name, put);
    }
    for decl in &file.users {
        let put = put_user(tx, decl).await?;
        applied.note(Kind::User, &decl.name, put);
    }
    for decl in &file.keys {
        let put = put_key(store, tx, decl).await?;
        applied.note(Kind::Key, &decl.name, put);
    }
    if !applied.is_empty() {
        meta::bump_revision(tx).await?;
    }
    Ok(applied)
}

/// First, because a name that leaves one place of the file may appear in another.
async fn archive_gone(tx: &Tx<'_>, file: &FileResources, applied: &mut Applied) -> Result<()> {
    let gone = |name: &str, origin: Origin, mut declared: &mut dyn Iterator<Item = &str>| {
        origin == Origin::File && !Iterator::any(&mut declared, |other| name_key(other) == name_key(name))
    };
    for record in keys::all(tx).await?.into_iter().flatten() {
        if gone(
            &record.name,
            record.origin,
            &mut file.keys.iter().map(|decl| decl.name.as_str()),
        ) {
            keys::archive(tx, record.id).await?;
            applied.gone(Kind::Key, &record.name);
        }
    }
    for record in users::all(tx).await? {
        if gone(
            &record.name,
            record.origin,
            &mut file.users.iter().map(|decl| decl.name.as_str()),
        ) {
            users::archive(tx, record.id).await?;
            applied.gone(Kind::User, &record.name);
        }
    }
    for record in models::all(tx).await?.into_iter().flatten() {
        if gone(
            &record.name,
            record.origin,
            &mut file.models.iter().map(|decl| decl.name.as_str()),
        ) {
            models::archive(tx, &record).await?;
            applied.gone(Kind::Model, &record.name);
        }
    }
    for record in upstreams::all(tx)
        .await?
        .into_iter()
        .flatten()
        .filter(|record| !record.hidden)
    {
        if gone(
            &record.name,
            record.origin,
            &mut file.upstreams.iter().map(|decl| decl.name.as_str()),
        ) {
            upstreams::archive(tx, record.id).await?;
            applied.gone(Kind::Upstream, &record.name);
        }
    }
    Ok(())
}

async fn put_upstream(store: &Store, tx: &Tx<'_>, decl: &UpstreamDecl) -> Result<Put> {
    check_name(Kind::Upstream, &decl.name)?;
    if let Some(taken) = upstreams::find(tx, &decl.name)
        .await?
        .filter(|record| record.origin != Origin::File)
    {
        return Err(upstreams::taken_by(taken));
    }
    upstreams::put(tx, store.ring(), decl, Shown::Listed, Origin::File).await
}

async fn put_model(store: &Store, tx: &Tx<'_>, decl: &ModelDecl) -> Result<Put> {
    check_name(Kind::Model, &decl.name)?;
    if let Some(taken) = models::find(tx, &decl.name)
        .await?
        .filter(|record| record.origin != Origin::File)
    {
        return Err(models::taken_by(taken));
    }
    models::put(tx, store.ring(), decl, Origin::File).await
}

async fn put_user(tx: &Tx<'_>, decl: &UserDecl) -> Result<Put> {
    let policy = users::declared_policy(decl);
    if let Some(user) = users::find(tx, &decl.name).await? {
        if user.origin != Origin::File {
            let origin = user.origin.described().to_owned();
            return Err(StoreError::Exists {
                kind: Kind::User,
                name: user.name,
                origin,
            });
        }
        let credited = balances::credit_opening(tx, user.id, decl, Origin::File).await?;
        if user.policy == policy && user.name == decl.name {
            return Ok(if credited { Put::Changed } else { Put::Same });
        }
        users::update(tx, user.id, &decl.name, policy).await?;
        return Ok(Put::Changed);
    }
    match users::archived(tx, &decl.name, Origin::File).await? {
        Some(user) => {
            users::update(tx, user.id, &decl.name, policy).await?;
            balances::credit_opening(tx, user.id, decl, Origin::File).await?;
        }
        None => {
            users::insert(tx, decl, Origin::File).await?;
        }
    }
    Ok(Put::Added)
}

async fn put_key(store: &Store, tx: &Tx<'_>, decl: &KeyDecl) -> Result<Put> {
    let user = users::require(tx, &decl.user).await?;
    let hash = store.hasher().hash(decl.key.expose());
    if let Some(key) = keys::find(tx, &decl.name).await? {
        if key.origin != Origin::File {
            let origin = key.origin.described().to_owned();
            return Err(StoreError::Exists {
                kind: Kind::Key,
                name: key.name,
                origin,
            });
        }
        if to_hex(&key.hash) == to_hex(&hash) {
            if key.user == user.id && key.terms == decl.terms && key.name == decl.name {
                return Ok(Put::Same);
            }
            keys::update(tx, key.id, &decl.name, user.id, &decl.terms).await?;
            return Ok(Put::Changed);
        }
        // Another secret is another key: receipts of the old one keep their identity.
        keys::archive(tx, key.id).await?;
        keys::insert(store, tx, &decl.name, user.id, &decl.key, &decl.terms, Origin::File).await?;
        return Ok(Put::Changed);
    }
    keys::insert(store, tx, &decl.name, user.id, &decl.key, &decl.terms, Origin::File).await?;
    Ok(Put::Added)
}
