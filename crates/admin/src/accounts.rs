//! `/api/accounts`: credentials at providers and how they are doing.

use axum::Json;
use axum::extract::State;
use domain::{FailureClass, Timestamp};
use routing::cooldown::Rest;
use routing::{BreakerState, Forced};
use serde_json::{Value, json};

use crate::auth::Operator;
use crate::{Shared, time};

/// All credentials, without their secrets.
pub(crate) async fn list(State(shared): State<Shared>, _: Operator) -> Json<Value> {
    let snapshot = shared.snapshot();
    let (upstreams, credentials) = (shared.inner.current.standing)();
    let now = time::now();
    let mut rows = Vec::new();
    for upstream in &snapshot.upstreams {
        let standing = upstreams.iter().find(|status| status.upstream == upstream.id);
        let breaker = standing.map_or("closed", |status| breaker_word(status.breaker));
        let probe = standing.and_then(|status| status.probe).map(|probe| {
            json!({
                "at": time::moment(probe.at), "took_ms": probe.took.as_millis(), "ok": probe.failure.is_none(),
                "failure": probe.failure.map(FailureClass::name),
            })
        });
        for credential in &upstream.credentials {
            let status = credentials.iter().find(|status| status.credential == credential.id);
            let rest = status
                .and_then(|status| status.rest)
                .map(rest_words)
                .filter(|(_, until)| *until > now);
            rows.push(json!({
                "name": credential.name, "upstream": upstream.name, "provider": upstream.provider.name,
                "masked": credential.secret.masked(), "weight": credential.weight, "priority": upstream.priority,
                "state": rest.map_or("ready", |(word, _)| word), "breaker": breaker,
                "open_calls": status.map_or(0, |status| status.open_calls),
                "probe": probe,
                "rests_until": rest.map(|(_, until)| time::moment(until)),
            }));
        }
    }
    Json(json!({"accounts": rows}))
}

const fn breaker_word(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open { .. } => "open",
        BreakerState::HalfOpen { .. } => "half_open",
        BreakerState::Forced(Forced::Open) => "forced_open",
        BreakerState::Forced(Forced::Closed) => "forced_closed",
    }
}

const fn rest_words(rest: Rest) -> (&'static str, Timestamp) {
    match rest {
        Rest::Named(until) => ("cooldown_named_by_provider", until),
        Rest::Guessed(until) => ("cooldown", until),
        Rest::OutOfCredit(until) => ("out_of_credit", until),
    }
}
