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
use bytes::Bytes;
use domain::cloud::{EntraClient, ServiceAccount};
use domain::provider::AuthScheme;
use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, Failure, FailureClass, Secret, Timestamp};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::Value;

use super::{entra, google, unusable, variable};
use crate::gateway::Inner;
use crate::limits::{TOKEN_BODY_MAX, TOKEN_REFUSED_FOR, TOKEN_TIMEOUT, TOKENS_MAX};

/// A token this close to its end is replaced in the background; lives are an hour.
const FRESH_MARGIN: Duration = Duration::from_mins(5);

/// A token this close to its end is not sent any more.
const GOOD_MARGIN: Duration = Duration::from_secs(20);

/// What to send for a token, and where.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) url: String,
    /// Holds the secret or what it signed.
    pub(super) form: String,
}

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
        let asked = tokio::time::timeout(TOKEN_TIMEOUT, ask(gateway, upstream, errand)).await;
        let silence = || Failure::new(FailureClass::Silence, "the token endpoint did not answer in time");
        let told = asked.unwrap_or_else(|_| Err(silence()));
        match told.and_then(|(status, body)| read(status, &body, now)) {
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

async fn ask(gateway: &Inner, upstream: &Upstream, errand: Errand) -> Result<(StatusCode, Bytes), Failure> {
    let unsendable = |_| Failure::new(FailureClass::Auth, "the address of the token endpoint is none");
    let request = Request::post(errand.url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(errand.form)))
        .map_err(unsendable)?;
    let response = gateway.client.send(upstream, request).await?;
    let (head, body) = response.into_parts();
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(
            FailureClass::Reset,
            format!("the token endpoint's answer broke off: {error}"),
        )
    };
    let body = Limited::new(body, TOKEN_BODY_MAX).collect().await.map_err(broken)?;
    Ok((head.status, body.to_bytes()))
}

/// Reads what a token endpoint says. An error of its own words (`invalid_grant`, `invalid_client`) means that the
/// credential is not accepted; it is not quoted further than by that word, since its text may repeat what was sent.
fn read(status: StatusCode, body: &[u8], now: Timestamp) -> Result<Token, Failure> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if !status.is_success() {
        let class = match status.as_u16() {
            429 => FailureClass::RateLimited,
            400..=499 => FailureClass::Auth,
            _ => FailureClass::Server,
        };
        let is_word =
            |word: &&str| word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let word = answer["error"]
            .as_str()
            .filter(is_word)
            .unwrap_or("no reason that can be shown");
        return Err(Failure {
            status: Some(status.as_u16()),
            ..Failure::new(class, format!("the token endpoint refused the credential: {word}"))
        });
    }
    let nonsense = || Failure::new(FailureClass::Nonsense, "the token endpoint's answer has no token");
    let text = answer["access_token"]
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(nonsense)?;
    let mut header = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| nonsense())?;
    header.set_sensitive(true);
    // Entra's older endpoint writes the figure in quotes.
    let life = &answer["expires_in"];
    let life = life.as_u64().or_else(|| life.as_str()?.parse().ok()).unwrap_or(3_600);
    let end = now + Duration::from_secs(life.min(86_400));
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

    fn class(status: u16, body: &str) -> FailureClass {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), NOW)
            .unwrap_err()
            .class
    }

    #[test]
    fn a_token_is_replaced_before_its_end() {
        let token = read(StatusCode::OK, br#"{"access_token":"t","expires_in":"3599"}"#, NOW).unwrap();
        assert_eq!(token.header, "Bearer t");
        assert!(token.header.is_sensitive());
        assert_eq!(token.fresh_until, Timestamp::from_secs(1_000 + 3_599 - 300));
        assert_eq!(token.good_until, Timestamp::from_secs(1_000 + 3_599 - 20));
        assert!(!format!("{token:?}").contains("Bearer"));
    }

    #[test]
    fn refusals_are_the_credentials() {
        assert_eq!(class(400, r#"{"error":"invalid_grant"}"#), FailureClass::Auth);
        assert_eq!(
            class(401, r#"{"error":"invalid_client","error_description":"secret x"}"#),
            FailureClass::Auth
        );
        assert_eq!(class(429, ""), FailureClass::RateLimited);
        assert_eq!(class(503, "<html>"), FailureClass::Server);
        assert_eq!(class(200, "{}"), FailureClass::Nonsense);
        assert_eq!(class(200, "{\"access_token\":\"a\\nb\"}"), FailureClass::Nonsense);
        let failure = read(
            StatusCode::UNAUTHORIZED,
            br#"{"error":"invalid_client","error_description":"secret x"}"#,
            NOW,
        );
        let detail = failure.unwrap_err().detail;
        assert!(
            detail.contains("invalid_client") && !detail.contains("secret x"),
            "{detail}"
        );
    }
}
