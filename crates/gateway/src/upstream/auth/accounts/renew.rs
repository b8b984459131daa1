//! One renewal: ask for the right to it, spend the refresh token, keep what comes back, and only then use it.
//!
//! The order is the point. The lease comes from the database, so a refresh token is never spent while nobody can keep its
//! successor, and never twice by two replicas. What came back is written until it is written, however long the database
//! is away: the old token is worth nothing any more. A refusal of the refresh token itself takes the account out of use,
//! with the reason; anything else is tried again, later each time.

use std::sync::Arc;
use std::time::Duration;

use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, Failure, FailureClass, Timestamp};
use store::{AccountTokens, Lease, LeaseRequest, RenewalFailure, Store};

use super::{Held, Rest, Slot};
use crate::gateway::Inner;
use crate::limits::{ACCOUNT_BACKOFF_FIRST, ACCOUNT_BACKOFF_MAX, ACCOUNT_LEASE};
use crate::oauth::{self, Grant};
use crate::upstream::auth::endpoint;

/// How often to ask for a lease that somebody else has.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Of which the provider says that the refresh token is worth nothing (RFC 6749, 5.2).
const SPENT: &str = "invalid_grant";

/// Why there is no new token.
enum Trouble {
    /// Somebody has to log in.
    NeedsLogin(String),
    /// It may go better later.
    Passing(Failure),
}

/// Renews the account's tokens and keeps what came of it in its slot.
pub(super) async fn renew(gateway: &Arc<Inner>, upstream: &Upstream, credential: &Credential, slot: &Slot) {
    let known = slot.generation();
    let renewal = Renewal {
        gateway,
        upstream,
        credential,
    };
    let times = 1 + slot.rest.load().as_ref().map_or(0, |rest| rest.times);
    let ended = match renewal.run(known).await {
        Ok((tokens, generation)) => {
            slot.take(Held::renewed(credential, &tokens, generation));
            // A token that is over already is trouble too: who asked again at once would never pause.
            let is_good = slot.good(gateway.clock.now()).is_some();
            is_good.then_some(()).ok_or_else(|| (useless(), generation))
        }
        Err(trouble) => Err((trouble, known)),
    };
    match ended {
        Ok(()) => slot.rest.store(None),
        Err((trouble, generation)) => {
            let rest = rest(trouble, times, generation, gateway.clock.now());
            tracing::warn!(
                upstream = upstream.name,
                credential = credential.name,
                class = rest.failure.class.name(),
                detail = rest.failure.detail,
                times,
                "an account could not be renewed"
            );
            slot.rest.store(Some(Arc::new(rest)));
        }
    }
}

/// What came back is over already.
fn useless() -> Trouble {
    let why = "what the token endpoint gave is over already";
    Trouble::Passing(Failure::new(FailureClass::Nonsense, why))
}

/// What calls are told meanwhile. Passing trouble is told as a limit: it rests this one account for that long, and counts
/// neither against its upstream nor as a refusal of the account.
fn rest(trouble: Trouble, times: u32, generation: i64, now: Timestamp) -> Rest {
    match trouble {
        Trouble::NeedsLogin(reason) => Rest {
            failure: Failure::new(
                FailureClass::Auth,
                format!("the account has to be logged in again: {reason}"),
            ),
            until: Timestamp(i64::MAX),
            times,
            generation,
        },
        Trouble::Passing(failure) => {
            let own = ACCOUNT_BACKOFF_FIRST.saturating_mul(1 << times.saturating_sub(1).min(16));
            let wait = own
                .min(ACCOUNT_BACKOFF_MAX)
                .max(failure.retry_after.unwrap_or_default());
            let detail = format!("the account's token could not be renewed: {}", failure.detail);
            let told = Failure {
                retry_after: Some(wait),
                ..Failure::new(FailureClass::RateLimited, detail)
            };
            Rest {
                failure: told,
                until: now + wait,
                times,
                generation,
            }
        }
    }
}

struct Renewal<'a> {
    gateway: &'a Inner,
    upstream: &'a Upstream,
    credential: &'a Credential,
}

impl Renewal<'_> {
    async fn run(&self, mut known: i64) -> Result<(AccountTokens, i64), Trouble> {
        let passing = |message: &str| Trouble::Passing(Failure::new(FailureClass::Connect, message));
        let store = &self.gateway.store;
        loop {
            match self.lease(store, known).await? {
                // What another replica brought long ago is over too, and is only what the next one is got with.
                Lease::Newer(tokens, generation) if tokens.expires_at <= self.gateway.clock.now() => known = generation,
                Lease::Newer(tokens, generation) => return Ok((tokens, generation)),
                Lease::Busy => tokio::time::sleep(ASK_EVERY).await,
                Lease::NeedsLogin(reason) => return Err(Trouble::NeedsLogin(reason)),
                Lease::Gone => return Err(passing("the account is not there any more")),
                Lease::Yours(tokens, generation) => match self.spend(&tokens).await {
                    Ok(renewed) => {
                        if self.keep(store, generation, &renewed).await? {
                            return Ok((renewed, generation + 1));
                        }
                    }
                    // Asked again, the database has the last word: somebody may have logged in meanwhile.
                    Err(Trouble::NeedsLogin(reason)) => {
                        self.note(store, generation, RenewalFailure::NeedsLogin(&reason))
                            .await?;
                    }
                    Err(Trouble::Passing(failure)) => {
                        self.note(store, generation, RenewalFailure::Trouble(&failure.detail))
                            .await?;
                        return Err(Trouble::Passing(failure));
                    }
                },
            }
        }
    }

    async fn lease(&self, store: &Store, known: i64) -> Result<Lease, Trouble> {
        let now = self.gateway.clock.now();
        let asked = LeaseRequest {
            id: self.id(),
            known,
            owner: &self.gateway.account_tokens.owner,
            now,
            until: now + ACCOUNT_LEASE,
        };
        store.oauth_accounts().lease(asked).await.map_err(|error| away(&error))
    }

    /// Spends the refresh token.
    async fn spend(&self, tokens: &AccountTokens) -> Result<AccountTokens, Trouble> {
        let mode = self
            .credential
            .account
            .as_ref()
            .and_then(|account| account.mode.as_ref());
        let unknown = || Failure::new(FailureClass::Connect, "the account's mode is not configured any more");
        let mode = mode.ok_or_else(|| Trouble::Passing(unknown()))?;
        let refresh = tokens.refresh.as_ref();
        let refresh = refresh.ok_or_else(|| Trouble::NeedsLogin("the provider gave no refresh token".to_owned()))?;
        let errand = oauth::errand(mode, &tokens.client_id, Grant::Refresh(refresh));
        let answer = endpoint::ask(&self.gateway.client, self.upstream, errand).await;
        let now = self.gateway.clock.now();
        let read = answer.and_then(|answer| oauth::read(&answer, &tokens.client_id, Some(refresh), now));
        read.map_err(|failure| match endpoint::word(&failure) {
            Some(SPENT) => Trouble::NeedsLogin(format!("the provider takes its refresh token no more ({SPENT})")),
            _ => Trouble::Passing(failure),
        })
    }

    /// Writes the new pair; tells whether it is in force. The old one is spent, so this does not give up while the
    /// process lives.
    async fn keep(&self, store: &Store, generation: i64, tokens: &AccountTokens) -> Result<bool, Trouble> {
        let mut wait = ACCOUNT_BACKOFF_FIRST;
        loop {
            match store.oauth_accounts().renewed(self.id(), generation, tokens).await {
                Ok(taken) => return Ok(taken),
                Err(error) if error.is_away() => {
                    tracing::error!(
                        upstream = self.upstream.name,
                        credential = self.credential.name,
                        %error,
                        "an account's new tokens could not be kept yet; they are lost if this process ends before"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(ACCOUNT_BACKOFF_MAX);
                }
                Err(error) => return Err(away(&error)),
            }
        }
    }

    async fn note(&self, store: &Store, generation: i64, failure: RenewalFailure<'_>) -> Result<(), Trouble> {
        let (accounts, now) = (store.oauth_accounts(), self.gateway.clock.now());
        let noted = accounts.failed(self.id(), generation, failure, now).await;
        noted.map_err(|error| away(&error))
    }

    const fn id(&self) -> CredentialId {
        self.credential.id
    }
}

fn away(error: &store::StoreError) -> Trouble {
    Trouble::Passing(Failure::new(FailureClass::Connect, format!("the database: {error}")))
}
