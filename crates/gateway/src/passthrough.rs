//! Provider paths beyond the metered operations: files, batches, fine-tuning and what else a provider has.
//!
//! They see the operator's whole account, so only keys with `passthrough: true` may use them, and only the paths of
//! the provider's allow-list. They are forwarded byte for byte to one upstream of the caller's format, and to the one that
//! made it where they name something; nothing is retried, since such a request may have done its work already. Only batches
//! are metered (`recall/batches`): what they cost is known when they are done. What else makes a model work is not for accounts
//! of policy `hard` ([`unpriced`]).

pub(crate) mod unpriced;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use domain::snapshot::{Credential, Key, Upstream};
use domain::{Dialect, Fault, FaultKind, NamePattern, Snapshot, Timestamp};
use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;

use crate::arrival::{Arrival, read_body};
use crate::authenticate::authenticate;
use crate::body::Body;
use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::limits::ERROR_BODY_MAX;
use crate::realtime::elsewhere;
use crate::recall::responses::{Ask, limited};
use crate::recall::{Maker, batches, jobs, things};
use crate::upstream::confidence;
use crate::upstream::request::query_without_key;

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
    elsewhere::check(path, &caller.key)?;
    if !caller.key.passthrough {
        return Err(forbidden(path));
    }
    let _permit = limited(gateway, &caller.key)?;
    let arrival = Arrival::of(&caller.key, &caller.snapshot);
    let body = read_body(gateway, &head, body, arrival).await?;
    let named = things::named(gateway, &caller, (dialect, path), &body.bytes).await?;
    let place = if let Some(pin) = &named.place {
        jobs::home(&caller.snapshot, pin).filter(|(upstream, _)| is_allowed(upstream, path))
    } else {
        let upstream = choose(&caller.snapshot, dialect, path, &head.headers)?;
        Some((upstream, credential_of(gateway, upstream, &caller.key)?))
    };
    let (upstream, credential) = place.ok_or_else(|| no_upstream(path))?;
    elsewhere::check_at(upstream, path, &caller.key)?;
    let made = batches::made_at(&head.method, dialect, path);
    if made.is_none() {
        unpriced::check(gateway, upstream, (&head.method, &head.headers), path, &caller.key).await?;
    }
    if head.method == Method::DELETE {
        batches::before_deletion(gateway, upstream.id, path).await?;
    }
    let batch = match made {
        None => None,
        Some(made) => {
            let place = (upstream, credential);
            Some(Box::pin(batches::admit(gateway, &caller, made, place, &body.bytes, started)).await?)
        }
    };
    let query = head.uri.query().map(query_without_key);
    let ask = Ask {
        upstream,
        credential,
        method: head.method.clone(),
        path,
        query: query.as_deref(),
        client_headers: &head.headers,
        body: body.bytes,
    };
    let (answered, body) = ask.send(gateway).await?.into_parts();
    tracing::info!(
        target: "tollgate::access", key = %caller.key.id, upstream = upstream.name, path,
        status = answered.status.as_u16(), took_ms = started.1.elapsed().as_millis(), "passthrough"
    );
    let maker = Maker::new(caller.key.user.id, caller.key.id, upstream, credential);
    let source = Source::Upstream(body, None);
    let source = match batch {
        Some(batch) if answered.status.is_success() => batches::begin(gateway, maker, batch, source).await?,
        _ => source,
    };
    let source = things::note(gateway, maker, (&head.method, path), &named, &answered, source).await;
    let source = batches::retell(&head, path, &answered, source).await;
    relay(upstream, &gateway.account_tokens.spoken(credential), answered, source).await
}

/// The refusal of a key that may not.
pub(crate) fn forbidden(path: &str) -> Fault {
    let message =
        format!("`{path}` is not one of the metered operations; only a key with `passthrough: true` may use it");
    Fault::new(FaultKind::Forbidden, message)
}

/// The first credential that is for this key and may be used once more today.
pub(crate) fn credential_of<'a>(
    gateway: &Inner,
    upstream: &'a Upstream,
    key: &Key,
) -> Result<&'a Arc<Credential>, Fault> {
    let usable = |credential: &&Arc<Credential>| {
        // An account that nobody has logged in again is of no use.
        let account = credential.account.as_ref();
        let logged_in = account.is_none_or(|account| account.state.needs_login.is_none());
        credential.pool.serves(key.profile.as_deref()) && credential.state.deactivated.is_none() && logged_in
    };
    let now = gateway.clock.now();
    let mut known = upstream.credentials.iter().filter(usable).peekable();
    let is_none = known.peek().is_none();
    known
        .find(|known| gateway.board.has_uses_left(known, now))
        .ok_or_else(|| {
            if is_none {
                let message = "no credential of the upstream can be used with this key; tell the operator";
                return Fault::new(FaultKind::Unavailable, message);
            }
            let message = "every credential of the upstream is used as much as the operator allows; try again later";
            Fault::new(FaultKind::Unavailable, message).retry_after(now.next_midnight().since(now))
        })
}

/// What an upstream answered, with its refusals made fit for the client.
pub(crate) async fn relay(
    upstream: &Upstream,
    credential: &Credential,
    head: http::response::Parts,
    source: Source,
) -> Result<Response<Body>, Fault> {
    // The provider's text about our credential may show parts of it.
    if matches!(head.status.as_u16(), 401 | 403) {
        return Err(Fault::new(
            FaultKind::Unavailable,
            "the upstream does not accept our credential for this path",
        ));
    }
    if head.status.is_success() {
        return Ok(relayed((upstream, credential), &head, streamed(source)));
    }
    let said = collect(source, ERROR_BODY_MAX, Overflow::Cut).await;
    let said = said.map_err(|_| Fault::new(FaultKind::BadGateway, "the upstream broke off its refusal"))?;
    let headers = confidence::headers(&head.headers, upstream, credential);
    let body = Body::full(confidence::text(said, upstream, credential));
    Ok(signed(upstream, head.status, headers, body))
}

fn streamed(source: Source) -> Body {
    match source {
        Source::Upstream(body, None) => Body::control(axum::body::Body::new(body)),
        source => {
            let chunks = futures_util::stream::unfold(source, |mut source| async {
                source.next().await.map(|chunk| (chunk, source))
            });
            Body::control(axum::body::Body::from_stream(chunks))
        }
    }
}

/// What an upstream answered, as it goes on to the client.
pub(crate) fn relayed(
    (upstream, credential): (&Upstream, &Credential),
    head: &http::response::Parts,
    body: Body,
) -> Response<Body> {
    let headers = confidence::headers(&head.headers, upstream, credential);
    signed(upstream, head.status, headers, body)
}

fn signed(upstream: &Upstream, status: StatusCode, mut headers: HeaderMap, body: Body) -> Response<Body> {
    if let Ok(name) = HeaderValue::try_from(&upstream.name) {
        headers.insert(UPSTREAM_HEADER, name);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The first upstream of the format that has the path, or the one that the client picks.
pub(crate) fn choose<'a>(
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

/// Whether the provider's allow-list has the path.
pub(crate) fn is_allowed(upstream: &Upstream, path: &str) -> bool {
    !is_ambiguous(path)
        && upstream
            .provider
            .passthrough
            .iter()
            .any(|allowed| matches(allowed, path))
}

/// Whether an allowed path is this one.
fn matches(allowed: &NamePattern, path: &str) -> bool {
    allowed.matches(path) && ends_a_segment(allowed.as_str(), path)
}

/// Whether an upstream may resolve the path to another than is written: dot segments, also behind parameters (`..;`), other
/// characters for a slash, and what is encoded twice.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    path.split('/').any(dots)
        || ["\\", "%2e", "%2f", "%5c", "%25", "%3b", "%00"]
            .iter()
            .any(|odd| lower.contains(odd))
}

/// Whether the `*` at the end of an allowed path stands for further segments (`/files*` for `/files`, `/files/x` and
/// `/files:register`), not for another name (`/filesystem`).
fn ends_a_segment(allowed: &str, path: &str) -> bool {
    let Some(stem) = allowed.strip_suffix('*').filter(|stem| !stem.contains(['*', '?'])) else {
        return true;
    };
    let rest = path.get(stem.len()..).unwrap_or_default();
    stem.ends_with('/') || rest.is_empty() || rest.starts_with(['/', ':'])
}

pub(crate) fn no_upstream(path: &str) -> Fault {
    Fault::new(FaultKind::NoSuchPath, format!("no configured upstream offers `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_is_whole_segments() {
        for path in ["/files", "/files/file-1/content", "/files:register"] {
            assert!(ends_a_segment("/files*", path), "{path}");
        }
        for path in ["/filesystem", "/files-admin/x"] {
            assert!(!ends_a_segment("/files*", path), "{path}");
        }
        assert!(ends_a_segment("/responses/*", "/responses/resp_1/cancel"));
        assert!(ends_a_segment("/complete", "/complete"));
    }

    #[test]
    fn what_may_be_read_as_another_path_is_refused() {
        for path in [
            "/files/../organization",
            "/files/..;/organization",
            "/files/.;x/organization",
            "/files\\..\\organization",
            "/files/..%5c..%5corganization",
            "/files/%2e%2e/organization",
            "/files/%252e%252e/organization",
            "/files/x%2Fy",
            "/files/x%00",
        ] {
            assert!(is_ambiguous(path), "{path}");
        }
        for path in [
            "/files/file-1",
            "/files/a..b",
            "/models/gpt-4o:tuned",
            "/files/with%20space",
            "/files/caf%C3%A9",
        ] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }
}
