//! `/api/accounts`: credentials at providers and how they are doing; of those that log in, plan and token as well.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use domain::snapshot::Credential;
use domain::{CredentialId, Timestamp};
use routing::cooldown::Rest;
use routing::{BreakerState, Forced};
use serde_json::{Value, json};
use store::AccountRecord;

use crate::auth::Operator;
use crate::{Shared, time};

/// All credentials, without their secrets.
pub(crate) async fn list(State(shared): State<Shared>, _: Operator) -> Json<Value> {
    let snapshot = shared.snapshot();
    let (upstreams, credentials) = (shared.inner.current.standing)();
    let now = time::now();
    let records = records(&shared).await;
    let mut rows = Vec::new();
    for upstream in &snapshot.upstreams {
        let standing = upstreams.iter().find(|status| status.upstream == upstream.id);
        let breaker = standing.map_or("closed", |status| breaker_word(status.breaker));
        for credential in &upstream.credentials {
            let status = credentials.iter().find(|status| status.credential == credential.id);
            let rest = status
                .and_then(|status| status.rest)
                .map(rest_words)
                .filter(|(_, until)| *until > now);
            let mut row = json!({
                "name": credential.name, "upstream": upstream.name, "provider": upstream.provider.name,
                "masked": credential.secret.masked(), "weight": credential.weight, "priority": upstream.priority,
                "state": rest.map_or("ready", |(word, _)| word), "breaker": breaker,
                "open_calls": status.map_or(0, |status| status.open_calls),
                "rests_until": rest.map(|(_, until)| time::moment(until)), "kind": kind(credential),
            });
            add_account(&mut row, credential, records.get(&credential.id), now);
            rows.push(row);
        }
    }
    Json(json!({"accounts": rows}))
}

/// What the database knows of accounts beyond the snapshot; nothing while it is away.
async fn records(shared: &Shared) -> HashMap<CredentialId, AccountRecord> {
    let snapshot = shared.snapshot();
    let mut credentials = snapshot.upstreams.iter().flat_map(|upstream| &upstream.credentials);
    if !credentials.any(|credential| credential.account.is_some()) {
        return HashMap::new();
    }
    let records = shared.store().oauth_accounts().list().await.unwrap_or_default();
    records.into_iter().map(|record| (record.id, record)).collect()
}

const fn kind(credential: &Credential) -> &'static str {
    if credential.account.is_some() { "account" } else { "key" }
}

/// Adds what accounts have: plan and its models, the token's validity, and what is wrong with it.
fn add_account(row: &mut Value, credential: &Credential, record: Option<&AccountRecord>, now: Timestamp) {
    let Some(account) = credential.account.as_deref() else {
        return;
    };
    // The record is newer than the snapshot by up to half a second.
    let state = record.map_or(&account.state, |record| &record.state);
    row["masked"] = Value::Null;
    row["plan"] = json!(state.mode);
    row["models"] = json!(account.mode.as_ref().map(|mode| &mode.models));
    row["token"] = json!({"expires_at": time::moment(state.expires_at), "valid": state.expires_at > now});
    row["trouble"] = json!(record.and_then(|record| record.trouble.as_ref()).map(|(what, _)| what));
    row["needs_login"] = json!(state.needs_login);
    if state.needs_login.is_some() {
        row["state"] = json!("needs_login");
    }
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
