//! `/api/accounts`: credentials at providers and how they are doing; of those that log in, plan and token as well.

use std::collections::HashMap;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::snapshot::{Credential, Upstream};
use domain::{CredentialId, FailureClass, Timestamp, Window};
use routing::cooldown::Rest;
use routing::{BreakerState, CredentialStatus, Forced, REFUSALS_MAX};
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
        let probe = standing.and_then(|status| status.probe).map(|probe| {
            json!({
                "at": time::moment(probe.at), "took_ms": probe.took.as_millis(), "ok": probe.failure.is_none(),
                "failure": probe.failure.map(FailureClass::name),
            })
        });
        for credential in &upstream.credentials {
            let status = credentials.iter().find(|status| status.credential == credential.id);
            let standing = Standing::of(upstream, credential, status, now);
            let windows = status.map(|status| status.windows).unwrap_or_default();
            let models = status.map_or(&[][..], |status| &status.resting_models);
            let mut row = json!({
                "name": credential.name, "upstream": upstream.name, "provider": upstream.provider.name,
                "masked": credential.secret.masked(), "weight": credential.weight, "priority": upstream.priority,
                "state": standing.word, "breaker": breaker,
                "open_calls": status.map_or(0, |status| status.open_calls),
                "probe": probe, "kind": kind(credential),
                "rests_until": standing.until.map(time::moment),
                "profile": credential.pool.profile(), "daily_limit": credential.daily_limit,
                "uses_today": status.map_or(0, |status| status.uses_today),
                "refusals": status.map_or(0, |status| status.refusals),
                "deactivated": credential.state.deactivated.as_ref().map(|out| {
                    json!({"at": time::moment(out.at), "reason": out.reason})
                }),
                "resting_models": models.iter().map(model_words).collect::<Vec<_>>(),
                "pause_at": credential.pause_at,
                "windows": {"five_hours": windows.five_hours.map(window_words), "seven_days": windows.seven_days.map(window_words)},
            });
            add_account(&mut row, credential, records.get(&credential.id), now);
            rows.push(row);
        }
    }
    Json(json!({"accounts": rows}))
}

/// A credential in one word, and until when.
struct Standing {
    word: &'static str,
    until: Option<Timestamp>,
}

impl Standing {
    /// Of several words the one that allows least, in the order in which a choice looks.
    fn of(upstream: &Upstream, credential: &Credential, status: Option<&CredentialStatus>, now: Timestamp) -> Self {
        let new = |word, until| Self { word, until };
        if credential.state.deactivated.is_some() || status.is_some_and(|status| status.refusals >= REFUSALS_MAX) {
            return new("deactivated", None);
        }
        let Some(status) = status else {
            return new("ready", None);
        };
        let rest = status
            .rest
            .filter(|rest| upstream.cooldown.is_some() && rest.until() > now);
        if let Some(Rest::OutOfCredit(until)) = rest {
            return new("out_of_credit", Some(until));
        }
        if credential.daily_limit.is_some_and(|limit| status.uses_today >= limit) {
            return new("daily_limit", Some(now.next_midnight()));
        }
        let share = credential.pause_at;
        if let Some(until) = share.and_then(|share| status.windows.spared_until(share, now)) {
            return new("paused", Some(until));
        }
        let (word, until) = rest.map_or(("ready", None), |rest| {
            let (word, until) = rest_words(rest);
            (word, Some(until))
        });
        new(word, until)
    }
}

fn model_words((model, rest): &(Arc<str>, Rest)) -> Value {
    let (word, until) = rest_words(*rest);
    json!({"model": **model, "state": word, "until": time::moment(until)})
}

fn window_words(window: Window) -> Value {
    json!({"used_percent": f64::from(window.used_permille) / 10.0, "resets_at": time::moment(window.resets_at)})
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
