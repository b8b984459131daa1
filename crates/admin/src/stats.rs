//! `/api/stats`: how much there is of everything, and how the last calls went.

use axum::Json;
use axum::extract::State;
use domain::Ending;
use serde_json::{Value, json};

use crate::Shared;
use crate::auth::Operator;
use crate::error::ApiError;

/// Calls that the figures of "recent" are made of.
const RECENT: u64 = 1_000;

/// The figures.
pub(crate) async fn show(State(shared): State<Shared>, _: Operator) -> Result<Json<Value>, ApiError> {
    let snapshot = shared.snapshot();
    let recent = shared.store().requests().recent(RECENT).await?;
    let receipts = || recent.iter().map(|record| &record.receipt);
    let failed = receipts()
        .filter(|receipt| receipt.ending != Ending::Complete || receipt.status >= 400)
        .count();
    let failovers: usize = recent.iter().map(store::RequestRecord::failovers).sum();
    let latency: u64 = receipts().map(|receipt| u64::from(receipt.took_ms)).sum();
    let count = recent.len() as u64;
    let accounts = shared.accounts();
    Ok(Json(json!({
        "upstreams": snapshot.upstreams.len(),
        "credentials": snapshot.upstreams.iter().map(|upstream| upstream.credentials.len()).sum::<usize>(),
        "users": snapshot.users.len(),
        "keys": snapshot.keys.len(),
        "problems": snapshot.problems.iter().map(|problem| json!({"resource": problem.resource, "message": problem.message})).collect::<Vec<_>>(),
        "requests_total": shared.store().requests().count().await?,
        "held": accounts.held_total(),
        "pending": accounts.pending_total(),
        "recent": {
            "requests": count, "failed": failed, "succeeded": count - failed as u64, "failovers": failovers,
            "average_latency_ms": latency.checked_div(count),
        },
    })))
}
