//! `/health`, `/livez`, `/readyz`, `/metrics`.

use bytes::Bytes;
use domain::{Fault, FaultKind};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;

use crate::authenticate::presented_key;
use crate::body::Body;
use crate::gateway::Inner;
use crate::metrics::Gauges;
use crate::refuse::json;

/// The process lives; says in passing what it serves.
pub(crate) fn live(gateway: &Inner) -> Response<Body> {
    let snapshot = gateway.snapshot.load();
    let credentials: usize = snapshot
        .upstreams
        .iter()
        .map(|upstream| upstream.credentials.len())
        .sum();
    let body = serde_json::json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "upstreams": snapshot.upstreams.len(),
        "credentials": credentials,
        "problems": snapshot.problems.len(),
        "open_calls": gateway.metrics.open_calls(),
    });
    json(200, Bytes::from(body.to_string()))
}

/// Calls are welcome: receipts can be written and no stop is under way. An absent database is no reason to be unready,
/// calls go on without it; it is named.
pub(crate) fn ready(gateway: &Inner) -> Response<Body> {
    let (backlog, ledger_error) = (gateway.backlog.0)();
    let journal = gateway.journal.healthy();
    let ready = journal && !gateway.is_draining();
    let status = if gateway.is_draining() {
        "stopping"
    } else if journal {
        "ok"
    } else {
        "the journal cannot be written"
    };
    let body = serde_json::json!({
        "status": status,
        "journal_backlog_receipts": backlog,
        "ledger": ledger_error.map_or("ok", |_| "behind: the database cannot be written; calls go on and receipts wait"),
    });
    json(if ready { 200 } else { 503 }, Bytes::from(body.to_string()))
}

/// For Prometheus, by the admin token.
pub(crate) fn metrics(gateway: &Inner, head: &Parts) -> Result<Response<Body>, Fault> {
    let Some(expected) = &gateway.admin_token else {
        return Err(Fault::new(
            FaultKind::Unauthenticated,
            "no admin token is set; set ADMIN_TOKEN to read metrics",
        ));
    };
    // Keyed hashes are compared, so their timing says nothing about the token.
    let presented = presented_key(head).map(|token| gateway.hasher.hash(token));
    if presented.as_ref() != Some(expected) {
        return Err(Fault::new(
            FaultKind::Unauthenticated,
            "metrics need `authorization: Bearer ADMIN_TOKEN`",
        ));
    }
    let (backlog, _) = (gateway.backlog.0)();
    let text = gateway.metrics.render(Gauges {
        backlog,
        held_nanos: gateway.accounts.held_total().nanos(),
        journal_healthy: gateway.journal.healthy(),
        body_bytes: gateway.bodies.held(),
        upstreams: upstreams_up(gateway),
    });
    let mut response = Response::new(Body::full(Bytes::from(text)));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// Upstreams by name, and whether neither their breaker nor their last probe speaks against them.
fn upstreams_up(gateway: &Inner) -> Vec<(String, bool)> {
    let statuses = gateway.board.upstreams(gateway.clock.now());
    let snapshot = gateway.snapshot.load();
    let named = snapshot.upstreams.iter().map(|upstream| {
        let status = statuses.iter().find(|status| status.upstream == upstream.id);
        (upstream.name.clone(), status.is_none_or(routing::UpstreamStatus::is_up))
    });
    named.collect()
}
