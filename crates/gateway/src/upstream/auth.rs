//! How a credential becomes what an upstream accepts.
//!
//! Most secrets are a header. Those of clouds are not: Amazon's sign each request, Google's and Microsoft's get a token
//! that lives for an hour. Tokens are fetched before the request is written, by whichever call needs one first, and read
//! without a lock by all others ([`tokens`]); signing is pure and is told the time. An account's token is renewed ahead of
//! its end by a task ([`accounts`]).
//!
//! Amazon's own signing crate brings its SDK's runtime (a dozen crates that nothing else here uses, a second HTTP vocabulary,
//! a clock of its own) for what are five HMACs over a text; with the crypto that TLS uses anyway they are a page.

pub(crate) mod accounts;
mod aws;
pub(crate) mod endpoint;
mod entra;
pub(crate) mod form;
mod google;
pub(crate) mod tokens;

use std::sync::Arc;

use domain::cloud::{AwsKeys, EntraClient, ServiceAccount};
use domain::provider::AuthScheme;
use domain::snapshot::{Credential, Upstream};
use domain::{Failure, FailureClass, Timestamp};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use crate::gateway::Inner;

/// What has to be known before a request can be written.
#[derive(Debug)]
pub(crate) enum Readied {
    /// Nothing: the secret itself says it all.
    Plain,
    /// A token, as `authorization`.
    Token(HeaderValue),
    /// When it is signed.
    SignedAt(Timestamp),
}

/// Gets ready what `credential` needs at `upstream`. Waits only where a token must be fetched.
pub(crate) async fn ready(
    gateway: &Arc<Inner>,
    upstream: &Arc<Upstream>,
    credential: &Arc<Credential>,
) -> Result<Readied, Failure> {
    if let Some(account) = credential.account.as_deref() {
        let token = accounts::token(gateway, upstream, credential, account);
        return Box::pin(token).await.map(Readied::Token);
    }
    let now = gateway.clock.now();
    let secret = &credential.secret;
    let wants_token = match upstream.auth {
        AuthScheme::Aws => return Ok(Readied::SignedAt(now)),
        AuthScheme::Google => ServiceAccount::is_one(secret),
        AuthScheme::Azure => EntraClient::is_one(secret),
        AuthScheme::Bearer | AuthScheme::XApiKey | AuthScheme::ApiKey | AuthScheme::XGoogApiKey | AuthScheme::None => {
            false
        }
    };
    if !wants_token {
        return Ok(Readied::Plain);
    }
    Box::pin(tokens::token(gateway, upstream, credential, now))
        .await
        .map(Readied::Token)
}

/// What is to be authenticated.
#[derive(Debug)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) body: &'a [u8],
}

/// Puts the credential into the headers.
pub(crate) fn present(
    upstream: &Upstream,
    credential: &Credential,
    readied: Readied,
    request: &Unsigned<'_>,
    headers: &mut HeaderMap,
) -> Result<(), String> {
    let secret = credential.secret.expose();
    if secret.is_empty() {
        return Ok(());
    }
    if let Some(mode) = credential.account.as_ref().and_then(|account| account.mode.as_deref()) {
        mode.headers.iter().for_each(|(name, value)| join(headers, name, value));
    }
    let (name, value) = match (upstream.auth, readied) {
        (_, Readied::Token(value)) => (AUTHORIZATION, value),
        (AuthScheme::None, _) => return Ok(()),
        (AuthScheme::Aws, readied) => {
            let keys = AwsKeys::read(&credential.secret).map_err(|problem| bad(credential, problem))?;
            match (keys, readied) {
                (Some(keys), Readied::SignedAt(now)) => {
                    let scope = aws::Scope::of(upstream);
                    return aws::sign(&keys, &scope, request, headers, now).map_err(|problem| bad(credential, problem));
                }
                _ => (AUTHORIZATION, bearer(credential)?),
            }
        }
        (AuthScheme::Bearer, _) => (AUTHORIZATION, bearer(credential)?),
        (AuthScheme::XApiKey, _) => (HeaderName::from_static("x-api-key"), sent(credential, secret)?),
        (AuthScheme::ApiKey | AuthScheme::Azure, _) => (HeaderName::from_static("api-key"), sent(credential, secret)?),
        (AuthScheme::XGoogApiKey | AuthScheme::Google, _) => {
            (HeaderName::from_static("x-goog-api-key"), sent(credential, secret)?)
        }
    };
    headers.insert(name, value);
    Ok(())
}

/// Adds what an account's mode wants said to what the client says in the same header, which is a list.
fn join(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let wanted = value.as_bytes();
    let says = |held: &HeaderValue| {
        held.as_bytes()
            .split(|byte| *byte == b',')
            .any(|one| one.trim_ascii() == wanted)
    };
    if headers.get_all(name).iter().any(says) {
        return;
    }
    // In one line with the client's: some look at the first line only.
    let both = headers.get(name).map(|held| [held.as_bytes(), b",", wanted].concat());
    let joined = both.and_then(|both| HeaderValue::from_bytes(&both).ok());
    headers.insert(name, joined.unwrap_or_else(|| value.clone()));
}

fn bearer(credential: &Credential) -> Result<HeaderValue, String> {
    sent(credential, &format!("Bearer {}", credential.secret.expose()))
}

/// The value of a header that no log shows.
fn sent(credential: &Credential, text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| bad(credential, "has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn bad(credential: &Credential, problem: &str) -> String {
    format!("the key of credential `{}` {problem}", credential.name)
}

/// A secret that cannot be used at all: no other call will fare better with it.
fn unusable(credential: &Credential, problem: &str) -> Failure {
    Failure::new(FailureClass::Auth, bad(credential, problem))
}

/// What an upstream's declaration says of a variable; providers that want it have a default or demand it.
fn variable<'a>(upstream: &'a Upstream, name: &str) -> &'a str {
    upstream.variables.get(name).map_or("", String::as_str)
}
