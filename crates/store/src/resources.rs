//! Everything declared, read at one moment, for the data plane's snapshot.
//!
//! A row that cannot be read or unsealed becomes a problem that people see; it never prevents a start.

use std::collections::HashMap;

use domain::CredentialId;
use domain::declaration::Defaults;
use domain::snapshot::{CredentialRow, KeyRow, ModelRow, Problem, Resources, UpstreamRow, UserRow};

use crate::credentials::{CredentialKind, CredentialRecord};
use crate::db::{Sql as _, Tx, values};
use crate::error::{Result, StoreError};
use crate::file::{self, FileResources};
use crate::keys::{self, KeyRecord};
use crate::store::Store;
use crate::upstreams::UpstreamRecord;
use crate::vault::{KeyRing, VaultError};
use crate::{models, oauth, upstreams, users};

impl Store {
    /// Reads all resources, unsealed. `request_timeout` and `providers` are the caller's to fill in.
    pub async fn resources(&self, defaults: Defaults) -> Result<Resources> {
        let tx = self.db().snapshot().await?;
        let resources = self.resources_in(&tx, defaults).await?;
        tx.commit().await?;
        Ok(resources)
    }

    /// The same, as they would be if `file` were applied. Nothing is changed.
    ///
    /// # Errors
    /// It could not be applied.
    pub async fn resources_with(&self, file: FileResources, defaults: Defaults) -> Result<Resources> {
        let tx = self.db().write().await?;
        file::apply(self, &tx, &file).await?;
        let resources = self.resources_in(&tx, defaults).await?;
        // Without a commit it never happened.
        drop(tx);
        Ok(resources)
    }

    async fn resources_in(&self, tx: &Tx<'_>, defaults: Defaults) -> Result<Resources> {
        let revision = tx.number("SELECT revision FROM meta", values![]).await?;
        let mut resources = Resources {
            revision: revision.unsigned_abs(),
            defaults,
            ..Resources::default()
        };
        let mut accounts = oauth::all(tx).await?;
        for record in upstreams::all(tx).await? {
            match record {
                Ok(record) => {
                    let row = upstream(record, self.ring(), &mut accounts, &mut resources.problems);
                    resources.upstreams.push(row);
                }
                Err(error) => resources.problems.push(problem(error)),
            }
        }
        for record in models::all(tx).await? {
            match record {
                Ok(record) => resources.models.push(ModelRow { decl: record.decl }),
                Err(error) => resources.problems.push(problem(error)),
            }
        }
        for user in users::all(tx).await? {
            resources.users.push(UserRow {
                id: user.id,
                name: user.name,
                policy: user.policy,
            });
        }
        for record in keys::all(tx).await? {
            match record.and_then(key) {
                Ok(row) => resources.keys.push(row),
                Err(error) => resources.problems.push(problem(error)),
            }
        }
        Ok(resources)
    }
}

fn upstream(
    record: UpstreamRecord,
    ring: &KeyRing,
    accounts: &mut HashMap<CredentialId, oauth::Current>,
    problems: &mut Vec<Problem>,
) -> UpstreamRow {
    let mut secret_of = |credential: &CredentialRecord| match (credential.kind, accounts.remove(&credential.id)) {
        (CredentialKind::Key, _) => credential.unseal(ring).map(|secret| (secret, None)),
        (CredentialKind::Account, Some(current)) => current.access.map(|access| (access, Some(current.state))),
        (CredentialKind::Account, None) => Err(VaultError::Damaged),
    };
    let mut unseal = |credential: &CredentialRecord| match secret_of(credential) {
        Ok((secret, account)) => {
            let name = credential.name.clone();
            Some(CredentialRow {
                id: credential.id,
                name,
                secret,
                weight: credential.weight,
                terms: credential.terms.clone(),
                state: credential.state.clone(),
                account,
            })
        }
        Err(error) => {
            let resource = format!("credential {}/{}", record.name, credential.name);
            problems.push(Problem {
                resource,
                message: error.to_string(),
            });
            None
        }
    };
    let credentials = record.credentials.iter().filter_map(&mut unseal).collect();
    UpstreamRow {
        id: record.id,
        origin: record.origin.into(),
        forced: record.forced,
        decl: record.decl,
        credentials,
    }
}

fn key(record: KeyRecord) -> Result<KeyRow> {
    let expires = keys::expiry(&record.terms).map_err(|why| StoreError::Unreadable {
        kind: crate::error::Kind::Key,
        name: record.name.clone(),
        why,
    })?;
    Ok(KeyRow {
        id: record.id,
        name: record.name,
        user: record.user,
        hash: record.hash,
        terms: record.terms,
        expires,
    })
}

fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unreadable { kind, name, why } => Problem {
            resource: format!("{kind} {name}"),
            message: why,
        },
        other => Problem {
            resource: "database".to_owned(),
            message: other.to_string(),
        },
    }
}
