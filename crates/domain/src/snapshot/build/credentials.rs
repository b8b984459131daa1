//! The credentials of an upstream, and what stands in their place where there are none.

use std::sync::Arc;

use crate::account::{Account, AccountMode};
use crate::names::{folded, same_name};
use crate::snapshot::{Credential, CredentialRow, Pool, Problem, Upstream};
use crate::{CredentialId, Secret, UpstreamId};

pub(super) fn credential(row: CredentialRow, modes: &[Arc<AccountMode>]) -> Arc<Credential> {
    let account = row.account.map(|state| {
        let mode = modes.iter().find(|mode| same_name(&mode.name, &state.mode)).cloned();
        Box::new(Account { mode, state })
    });
    Arc::new(Credential {
        id: row.id,
        name: row.name,
        secret: row.secret,
        weight: row.weight,
        pool: row
            .terms
            .profile
            .as_deref()
            .map_or(Pool::Common, |name| Pool::Profile(profile_name(name))),
        daily_limit: row.terms.daily_limit,
        rotate_after: row.terms.rotate_after.unwrap_or(1).max(1),
        pause_at: row.terms.pause_at,
        state: row.state,
        account,
    })
}

/// Stands for "no secret needed", or "needed, and not there", so that routing always has something to choose or to say.
/// Ids of rows are positive; the negative of the upstream's cannot meet one.
pub(super) fn no_credential(upstream: UpstreamId, pool: Pool) -> Arc<Credential> {
    Arc::new(Credential {
        pool,
        ..Credential::new(CredentialId(-upstream.0), "none", Secret::new(""))
    })
}

/// Accounts whose mode the configuration no longer has.
pub(super) fn unknown_modes(upstream: &Upstream) -> Vec<Problem> {
    let accounts = upstream.credentials.iter().filter_map(|credential| {
        let account = credential.account.as_ref().filter(|account| account.mode.is_none())?;
        Some(Problem {
            resource: format!("account {}/{}", upstream.name, credential.name),
            message: format!(
                "its mode `{}` is not known, so nothing may be asked of it; add it to `accounts`, or remove the account",
                account.state.mode
            ),
        })
    });
    accounts.collect()
}

/// Profiles are the same whatever their case.
pub(super) fn profile_name(name: &str) -> Arc<str> {
    folded(name).into()
}
