//! Who asks. A handler takes a [`Client`] or an [`Operator`] as an argument; without the right key it is not called.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use domain::snapshot::Key;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::error::ApiError;
use crate::{Shared, time};

/// Somebody with a client key, as for calls.
#[derive(Clone, Debug)]
pub struct Client {
    /// The key.
    pub key: Arc<Key>,
}

/// Somebody with the admin token.
#[derive(Clone, Copy, Debug)]
pub struct Operator;

impl FromRequestParts<Shared> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let missing = "no API key was sent; send it as `authorization: Bearer sk-tg-…` or `x-api-key`";
        let presented = presented(head).ok_or_else(|| ApiError::unauthenticated(missing))?;
        let hash = shared.inner.hasher.hash(presented);
        let known = shared.snapshot().keys.get(&hash).cloned();
        let master = || (shared.inner.master_key == Some(hash)).then(|| Arc::new(Key::master()));
        let key = known.or_else(master);
        let key =
            key.ok_or_else(|| ApiError::unauthenticated("the API key is not known here; it may have been removed"))?;
        if key.expires.is_some_and(|expires| time::now() >= expires) {
            return Err(ApiError::unauthenticated("the API key has expired"));
        }
        // The data plane puts the client's address there. Where it did not, a bound key is of no use.
        let address = head.extensions.get::<IpAddr>();
        let inside = || address.is_some_and(|address| key.addresses.iter().any(|network| network.contains(address)));
        if !key.addresses.is_empty() && !inside() {
            return Err(ApiError::unauthenticated(
                "the API key may not be used from this address",
            ));
        }
        Ok(Self { key })
    }
}

impl FromRequestParts<Shared> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let presented = bearer(head).map(|token| shared.inner.hasher.hash(token));
        match (&shared.inner.admin_token, presented) {
            (None, _) => Err(ApiError::unauthenticated(
                "no admin token is set; set ADMIN_TOKEN to open this view",
            )),
            (Some(expected), Some(presented)) if *expected == presented => Ok(Self),
            _ => Err(ApiError::unauthenticated(
                "this view needs `authorization: Bearer ADMIN_TOKEN`",
            )),
        }
    }
}

/// The key that a request presents: the same places as for calls.
fn presented(head: &Parts) -> Option<&str> {
    let header = |name: &str| head.headers.get(name)?.to_str().ok().map(str::trim);
    let query = || head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("key="));
    let found = bearer(head)
        .or_else(|| header("x-api-key"))
        .or_else(|| header("api-key"));
    found
        .or_else(|| header("x-goog-api-key"))
        .or_else(query)
        .filter(|key| !key.is_empty())
}

fn bearer(head: &Parts) -> Option<&str> {
    let (scheme, token) = head.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
