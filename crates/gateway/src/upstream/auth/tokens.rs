//! Tokens that are fetched for a secret, and kept while they are good.
//!
//! Reading one is two loads of pointers. The first call that finds none fetches it and the others wait for that one;
//! some minutes before a token's end the first call to notice gets a new one in the background, while all go on with
//! the old one. A refusal is remembered for a moment, so that a burst of calls does not become a burst of requests to
//! the token endpoint.
//!
//! Tokens are fetched through the same connector as everything else: addresses are checked, and an upstream's proxy is
//! used. They are in memory only, and neither they nor the secrets are logged.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::cloud::{EntraClient, ServiceAccount};
use domain::provider::AuthScheme;
use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, Failure, FailureClass, Secret, Timestamp};
use http::header::HeaderValue;
use serde_json::Value;

use super::endpoint::{Errand, access_token, ask, life};
use super::{entra, google, unusable, variable};
use crate::gateway::Inner;
use crate::limits::{TOKEN_REFUSED_FOR, TOKENS_MAX};

/// A token this close to its end is replaced in the background; lives are an hour.
const FRESH_MARGIN: Duration = Duration::from_mins(5);

/// A token is never believed to live longer.
const LIFE_MAX: Duration = Duration::from_hours(24);

/// A token this close to its end is not sent any more.
const GOOD_MARGIN: Duration = Duration::from_secs(20);

/// All tokens.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    slots: ArcSwap<HashMap<CredentialId, Arc<Slot>>>,
}

/// The token of one credential.
#[derive(Debug)]
struct Slot {
    secret: Secret,
    variables: BTreeMap<String, String>,
    token: ArcSwapOption<Token>,
    refusal: ArcSwapOption<(Timestamp, Failure)>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    fresh_until: Timestamp,
    good_until: Timestamp,
}

/// The token of a credential, as `authorization` has it.
pub(super) async fn token(
    gateway: &Arc<Inner>,
    upstream: &Arc<Upstream>,
    credential: &Arc<Credential>,
    now: Timestamp,
) -> Result<HeaderValue, Failure> {
    let slot = gateway.tokens.slot(upstream, credential);
    if let Some(token) = slot.good(now) {
        if now >= token.fresh_until {
            renew(gateway, upstream, credential, &slot);
        }
        return Ok(token.header.clone());
    }
    let _turn = slot.fetching.lock().await;
    // Another call may have fetched it while this one waited, or have been refused.
    let now = gateway.clock.now();
    if let Some(token) = slot.good(now) {
        return Ok(token.header.clone());
    }
    if let Some(refusal) = slot
        .refusal
        .load_full()
        .filter(|refusal| now.since(refusal.0) < TOKEN_REFUSED_FOR)
    {
        return Err(refusal.1.clone());
    }
    slot.fetch(gateway, upstream, credential, now).await
}

/// Fetches a new token in the background, unless somebody does already.
fn renew(gateway: &Arc<Inner>, upstream: &Arc<Upstream>, credential: &Arc<Credential>, slot: &Arc<Slot>) {
    let (gateway, upstream) = (Arc::clone(gateway), Arc::clone(upstream));
    let (credential, slot) = (Arc::clone(credential), Arc::clone(slot));
    if slot.fetching.try_lock().is_err() {
        return;
    }
    tokio::spawn(async move {
        let Ok(_turn) = slot.fetching.try_lock() else { return };
        let now = gateway.clock.now();
        let refused = slot
            .refusal
            .load()
            .as_ref()
            .is_some_and(|refusal| now.since(refusal.0) < TOKEN_REFUSED_FOR);
        let is_fresh = slot.token.load().as_ref().is_some_and(|token| now < token.fresh_until);
        if refused || is_fresh {
            return;
        }
        if let Err(failure) = slot.fetch(&gateway, &upstream, &credential, now).await {
            tracing::warn!(
                upstream = upstream.name,
                credential = credential.name,
                class = failure.class.name(),
                detail = failure.detail,
                "a token could not be renewed"
            );
        }
    });
}

impl Tokens {
    /// The place of a credential's token; a new one if its secret or what its upstream says has changed.
    fn slot(&self, upstream: &Upstream, credential: &Credential) -> Arc<Slot> {
        let is_of = |slot: &&Arc<Slot>| slot.secret == credential.secret && slot.variables == upstream.variables;
        if let Some(slot) = self.slots.load().get(&credential.id).filter(is_of) {
            return Arc::clone(slot);
        }
        let fresh = Arc::new(Slot {
            secret: credential.secret.clone(),
            variables: upstream.variables.clone(),
            token: ArcSwapOption::empty(),
            refusal: ArcSwapOption::empty(),
            fetching: tokio::sync::Mutex::new(()),
        });
        let mut placed = Arc::clone(&fresh);
        self.slots.rcu(|slots| {
            // Somebody else may have made it meanwhile.
            if let Some(slot) = slots.get(&credential.id).filter(is_of) {
                placed = Arc::clone(slot);
                return Arc::clone(slots);
            }
            placed = Arc::clone(&fresh);
            let mut slots = if slots.len() < TOKENS_MAX {
                (**slots).clone()
            } else {
                HashMap::new()
            };
            slots.insert(credential.id, Arc::clone(&fresh));
            Arc::new(slots)
        });
        placed
    }
}

impl Slot {
    fn good(&self, now: Timestamp) -> Option<Arc<Token>> {
        self.token.load_full().filter(|token| now < token.good_until)
    }

    /// Fetches a token and keeps it, or the refusal. Only one at a time.
    async fn fetch(
        &self,
        gateway: &Inner,
        upstream: &Upstream,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<HeaderValue, Failure> {
        let errand = errand(upstream, credential, now)?;
        let told = ask(&gateway.client, upstream, errand).await;
        match told.and_then(|answer| read(&answer, now)) {
            Ok(token) => {
                let header = token.header.clone();
                self.token.store(Some(Arc::new(token)));
                self.refusal.store(None);
                Ok(header)
            }
            Err(failure) => {
                self.refusal.store(Some(Arc::new((now, failure.clone()))));
                Err(failure)
            }
        }
    }
}

fn errand(upstream: &Upstream, credential: &Credential, now: Timestamp) -> Result<Errand, Failure> {
    let bad = |problem: &str| unusable(credential, problem);
    let scope = variable(upstream, "scope");
    match upstream.auth {
        AuthScheme::Azure => EntraClient::read(&credential.secret)
            .map_err(bad)?
            .map(|client| entra::errand(&client, variable(upstream, "authority"), scope)),
        _ => ServiceAccount::read(&credential.secret)
            .map_err(bad)?
            .map(|account| google::errand(&account, scope, now).map_err(bad))
            .transpose()?,
    }
    .ok_or_else(|| bad("gets no tokens"))
}

/// Reads what a token endpoint says.
fn read(answer: &Value, now: Timestamp) -> Result<Token, Failure> {
    let nonsense = |_| Failure::new(FailureClass::Nonsense, "the token endpoint's answer has no token");
    let mut header = HeaderValue::try_from(format!("Bearer {}", access_token(answer)?)).map_err(nonsense)?;
    header.set_sensitive(true);
    let end = now + life(answer, LIFE_MAX);
    Ok(Token {
        header,
        fresh_until: end - FRESH_MARGIN,
        good_until: end - GOOD_MARGIN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn a_token_is_replaced_before_its_end() {
        let token = read(&serde_json::json!({"access_token": "t", "expires_in": "3599"}), NOW).unwrap();
        assert_eq!(token.header, "Bearer t");
        assert!(token.header.is_sensitive());
        assert_eq!(token.fresh_until, Timestamp::from_secs(1_000 + 3_599 - 300));
        assert_eq!(token.good_until, Timestamp::from_secs(1_000 + 3_599 - 20));
        assert!(!format!("{token:?}").contains("Bearer"));
    }
}
