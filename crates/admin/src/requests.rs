//! `/api/requests`: the request log, newest first, with each attempt; and one call in detail, with why it went where it went.

use axum::Json;
use axum::extract::State;
use domain::{AttemptRecord, CallId, Snapshot};
use routing::decision;
use serde::Deserialize;
use serde_json::{Value, json};
use store::RequestRecord;

use crate::asked::{InPath, InQuery, whole};
use crate::auth::Operator;
use crate::error::ApiError;
use crate::explain::NOT_KEPT;
use crate::{Shared, time};

/// Calls shown where the question names no number.
const LIMIT: u64 = 50;

/// Calls shown at most.
const LIMIT_MAX: u64 = 1_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default, deserialize_with = "whole")]
    limit: Option<u64>,
}

/// The newest calls.
pub(crate) async fn list(
    State(shared): State<Shared>,
    _: Operator,
    InQuery(asked): InQuery<Asked>,
) -> Result<Json<Value>, ApiError> {
    let limit = asked.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    let snapshot = shared.snapshot();
    let records = shared.store().requests().recent(limit).await?;
    let rows: Vec<Value> = records.iter().map(|record| row(record, &snapshot)).collect();
    Ok(Json(json!({"requests": rows})))
}

/// One call, with the decision that is kept of it and whether that can be made again.
pub(crate) async fn show(
    State(shared): State<Shared>,
    _: Operator,
    InPath(call): InPath<String>,
) -> Result<Json<Value>, ApiError> {
    let unknown = || {
        ApiError::not_found(format!(
            "there is no call `{call}`; one that just ended may be booked in a second"
        ))
    };
    let id: CallId = call.parse().map_err(|_| unknown())?;
    let found = shared.store().requests().find(id).await?;
    let record = found.ok_or_else(unknown)?;
    let mut detail = row(&record, &shared.snapshot());
    let (decision, replay) = match &record.receipt.decision {
        None => (Value::Null, json!({"same": null, "why_not": NOT_KEPT})),
        Some(text) => (
            serde_json::from_str(text.get()).unwrap_or_default(),
            replayed(text.get()),
        ),
    };
    detail["decision"] = decision;
    detail["replay"] = replay;
    Ok(Json(detail))
}

fn replayed(text: &str) -> Value {
    let decision = decision::read(text);
    let again = decision.and_then(|decision| Ok((decision.replay()?, decision)));
    match again {
        Ok((again, decision)) => {
            let differences = decision.differences(&again);
            json!({"same": differences.is_empty(), "differences": differences})
        }
        Err(why) => json!({"same": null, "why_not": why.to_string()}),
    }
}

/// Names where they are known still, beside the identities that stay.
fn row(record: &RequestRecord, snapshot: &Snapshot) -> Value {
    let receipt = &record.receipt;
    let upstream = receipt
        .upstream
        .and_then(|id| snapshot.upstreams.iter().find(|upstream| upstream.id == id));
    json!({
        "id": receipt.call.to_string(), "session": receipt.session.map(|id| id.to_string()), "time": time::moment(receipt.started_at), "latency_ms": receipt.took_ms,
        "first_content_ms": receipt.first_content_ms, "operation": receipt.operation, "dialect": receipt.dialect,
        "stream": receipt.stream, "user_id": receipt.user, "user": snapshot.users.get(&receipt.user).map(|user| &user.name),
        "key_id": receipt.key, "model": receipt.model, "answered_model": receipt.answered_model,
        "upstream": upstream.map(|upstream| &upstream.name), "status": receipt.status, "ending": receipt.ending,
        "success": receipt.ending == domain::Ending::Complete && receipt.status < 400, "error": receipt.error,
        "usage": receipt.usage, "usage_source": receipt.usage_source, "cost": receipt.cost, "charged": receipt.charged,
        "uncollected": receipt.uncollected, "failovers": record.failovers(), "attempts": attempts(&receipt.attempts),
    })
}

/// What was tried, with money in dollars: a receipt has it in nano-dollars.
pub fn attempts(attempts: &[AttemptRecord]) -> Vec<Value> {
    let told = |attempt: &AttemptRecord| {
        let mut told = json!(attempt);
        if let Some(broke) = &attempt.broke {
            told["broke"]["cost"] = json!(broke.cost);
        }
        told
    };
    attempts.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_of_attempts_is_told_in_dollars() {
        let attempt = json!({
            "upstream": 1, "upstream_name": "a", "credential": 1, "credential_name": "k", "model": "m", "status": 200,
            "started_ms": 0, "took_ms": 5,
            "broke": {"usage": {"input": 3}, "usage_source": "estimated", "cost": 33_000_000},
        });
        let attempt: AttemptRecord = serde_json::from_value(attempt).unwrap();
        let told = attempts(&[attempt]);
        assert_eq!(told[0]["broke"]["cost"], "0.033");
        assert_eq!(told[0]["broke"]["usage"]["input"], 3);
    }
}
