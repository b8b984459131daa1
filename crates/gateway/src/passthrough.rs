//! Provider paths beyond the metered operations: files, batches, fine-tuning and what else a provider has.
//!
//! They see the operator's whole account, so only keys with `passthrough: true` may use them, and only the paths of
//! the provider's allow-list. They are forwarded byte for byte to one upstream of the caller's format; nothing is
//! metered, nothing is retried, since such a request may have done its work already.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use domain::snapshot::{Credential, Upstream};
use domain::{Dialect, Fault, FaultKind, Snapshot, Timestamp};
use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Response};
use hyper::body::Incoming;

use crate::admit::read_body;
use crate::authenticate::authenticate;
use crate::body::Body;
use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::limits::ERROR_BODY_MAX;
use crate::upstream::auth;
use crate::upstream::confidence;
use crate::upstream::incoming::UpstreamBody;
use crate::upstream::request::{Outgoing, query_without_key, relayed_headers};

/// Picks the upstream where several of the same format are configured.
const UPSTREAM_HEADER: &str = "x-tollgate-upstream";

/// Forwards the request.
pub(crate) async fn forward(
    gateway: &Arc<Inner>,
    dialect: Dialect,
    path: &str,
    head: Parts,
    body: Incoming,
    peer: IpAddr,
    started: (Timestamp, Instant),
) -> Result<Response<Body>, Fault> {
    let caller = authenticate(gateway, &head, peer)?;
    if !caller.key.passthrough {
        let message =
            format!("`{path}` is not one of the metered operations; only a key with `passthrough: true` may use it");
        return Err(Fault::new(FaultKind::Forbidden, message));
    }
    // Requests and calls at the same time are limited here too; how many tokens such a request is, nobody says.
    let admitted = gateway
        .limiter(caller.key.id)
        .admit(&caller.key.limits, 0, gateway.clock.now());
    let _permit = admitted.map_err(|limited| {
        Fault::new(FaultKind::RateLimited, format!("the key is {limited}")).retry_after(limited.retry_after)
    })?;
    let upstream = choose(&caller.snapshot, dialect, path, &head.headers)?;
    // An account that nobody has logged in again is of no use.
    let logged_in = |credential: &&Arc<Credential>| {
        let account = credential.account.as_ref();
        account.is_none_or(|account| account.state.needs_login.is_none())
    };
    let credential = upstream.credentials.iter().find(logged_in);
    let credential = credential.ok_or_else(|| no_upstream(path))?;
    let body = read_body(gateway, &head, body).await?;
    let query = head.uri.query().map(query_without_key);
    let readied = auth::ready(gateway, upstream, credential).await.map_err(|failure| {
        tracing::warn!(
            upstream = upstream.name,
            detail = failure.detail,
            "a credential could not be used"
        );
        Fault::new(FaultKind::BadGateway, "the upstream's credential could not be used")
    })?;
    let request = Outgoing {
        upstream,
        credential,
        readied,
        method: head.method.clone(),
        path,
        query: query.as_deref(),
        client_headers: &head.headers,
        body: body.bytes,
    };
    let request = request
        .build()
        .map_err(|message| Fault::new(FaultKind::Malformed, message))?;
    let sent = tokio::time::timeout(upstream.timeouts.first_byte, gateway.client.send(upstream, request)).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => {
            tracing::warn!(
                upstream = upstream.name,
                detail = failure.detail,
                "a passthrough request failed"
            );
            return Err(Fault::new(FaultKind::BadGateway, "the upstream could not be reached"));
        }
        Err(_) => {
            return Err(Fault::new(
                FaultKind::UpstreamTimeout,
                "the upstream did not answer in time",
            ));
        }
    };
    tracing::info!(
        target: "tollgate::access", key = %caller.key.id, upstream = upstream.name, path,
        status = response.status().as_u16(), took_ms = started.1.elapsed().as_millis(), "passthrough"
    );
    relay(upstream, &gateway.account_tokens.spoken(credential), response).await
}

async fn relay(
    upstream: &Upstream,
    credential: &Credential,
    response: Response<UpstreamBody>,
) -> Result<Response<Body>, Fault> {
    let status = response.status();
    // The provider's text about our credential may show parts of it.
    if matches!(status.as_u16(), 401 | 403) {
        return Err(Fault::new(
            FaultKind::Unavailable,
            "the upstream does not accept our credential for this path",
        ));
    }
    let (head, body) = response.into_parts();
    let (mut headers, body) = if status.is_success() {
        (
            relayed_headers(&head.headers),
            Body::control(axum::body::Body::new(body)),
        )
    } else {
        let said = collect(Source::Upstream(body, None), ERROR_BODY_MAX, Overflow::Cut).await;
        let said = said.map_err(|_| Fault::new(FaultKind::BadGateway, "the upstream broke off its refusal"))?;
        let headers = confidence::headers(&head.headers, upstream, credential);
        (headers, Body::full(confidence::text(said, upstream, credential)))
    };
    if let Ok(name) = HeaderValue::try_from(&upstream.name) {
        headers.insert(UPSTREAM_HEADER, name);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn choose<'a>(
    snapshot: &'a Snapshot,
    dialect: Dialect,
    path: &str,
    headers: &HeaderMap,
) -> Result<&'a Arc<Upstream>, Fault> {
    let named = headers.get(UPSTREAM_HEADER).and_then(|value| value.to_str().ok());
    let family = |upstream: &Upstream| {
        let same = |surface: &domain::Surface| {
            surface.dialect == dialect
                || (dialect == Dialect::OpenaiResponses && surface.dialect == Dialect::OpenaiChat)
        };
        upstream.surfaces.keys().any(same)
    };
    snapshot
        .upstreams
        .iter()
        .filter(|upstream| named.is_none_or(|name| upstream.name.eq_ignore_ascii_case(name)))
        .filter(|upstream| family(upstream) && is_allowed(upstream, path))
        .min_by_key(|upstream| upstream.priority)
        .ok_or_else(|| no_upstream(path))
}

/// Whether the provider's allow-list has the path. Dot segments never pass: an upstream may resolve them to something
/// that is not on the list.
fn is_allowed(upstream: &Upstream, path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let dots =
        path.split('/').any(|segment| matches!(segment, "." | "..")) || lower.contains("%2e") || lower.contains("%2f");
    !dots
        && upstream
            .provider
            .passthrough
            .iter()
            .any(|allowed| allowed.matches(path))
}

fn no_upstream(path: &str) -> Fault {
    Fault::new(FaultKind::NoSuchPath, format!("no configured upstream offers `{path}`"))
}
