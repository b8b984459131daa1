//! `/api/me/*`: what a key's owner may know.

use axum::Json;
use axum::extract::State;
use domain::price::Rates;
use domain::{Money, Price};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::Totals;

use crate::asked::InQuery;
use crate::auth::Client;
use crate::error::ApiError;
use crate::{Shared, time};

/// Days shown where the question names none.
const DAYS: i64 = 30;

/// Days shown at most.
const DAYS_MAX: i64 = 366;

#[derive(Debug, Serialize)]
pub(crate) struct BalanceView {
    user: String,
    policy: domain::Policy,
    currency: &'static str,
    /// What the ledger says.
    balance: Money,
    /// Charged, and not in the ledger yet.
    pending: Money,
    /// Set aside for calls under way.
    held: Money,
    /// What may still be spent.
    available: Money,
}

/// What is left, to the moment: receipts that the ledger does not have yet are counted.
pub(crate) async fn balance(State(shared): State<Shared>, client: Client) -> Json<BalanceView> {
    let user = &client.key.user;
    let view = shared.accounts().get(user.id).view();
    Json(BalanceView {
        user: user.name.clone(),
        policy: user.policy,
        currency: "USD",
        balance: view.balance,
        pending: view.pending,
        held: view.held,
        available: view.available,
    })
}

#[derive(Debug, Deserialize)]
pub(crate) struct Days {
    from: Option<String>,
    to: Option<String>,
}

/// Everything ever consumed, and day by day.
pub(crate) async fn usage(
    State(shared): State<Shared>,
    client: Client,
    InQuery(days): InQuery<Days>,
) -> Result<Json<Value>, ApiError> {
    let (from, to) = days.read()?;
    let user = &client.key.user;
    let views = shared.store().usage();
    let lifetime = views.lifetime(user.id).await?;
    let by_day = views.days(user.id, from, to).await?.into_iter().map(|day| {
        let mut row = totals(&day.totals);
        row["date"] = json!(time::date_of(day.day));
        row["model"] = json!(day.model);
        row
    });
    Ok(Json(json!({
        "user": user.name, "currency": "USD", "from": time::date_of(from), "to": time::date_of(to),
        "lifetime": totals(&lifetime), "days": by_day.collect::<Vec<_>>(),
    })))
}

impl Days {
    fn read(&self) -> Result<(i64, i64), ApiError> {
        let read = |date: &Option<String>, name: &str, default: i64| match date {
            None => Ok(default),
            Some(date) => time::day_of(date)
                .ok_or_else(|| ApiError::malformed(format!("`{name}` is not a date such as 2027-01-31")).about(name)),
        };
        let to = read(&self.to, "to", time::today())?;
        let from = read(&self.from, "from", to - DAYS + 1)?;
        if from > to {
            return Err(ApiError::malformed("`from` is after `to`"));
        }
        if to - from >= DAYS_MAX {
            return Err(ApiError::malformed(format!("more than {DAYS_MAX} days; ask for fewer")));
        }
        Ok((from, to))
    }
}

fn totals(totals: &Totals) -> Value {
    json!({
        "calls": totals.calls, "failed": totals.failed, "input_tokens": totals.input, "cache_read_tokens": totals.cache_read,
        "cache_write_tokens": totals.cache_write, "output_tokens": totals.output, "charged": totals.charged, "cost": totals.cost,
    })
}

/// The models that the key may use, with what they cost.
pub(crate) async fn models(State(shared): State<Shared>, client: Client) -> Json<Value> {
    let snapshot = shared.snapshot();
    let models: Vec<Value> = snapshot
        .model_names(&client.key)
        .into_iter()
        .filter_map(|name| {
            let target = snapshot.listed(name)?.targets.first()?;
            let price = snapshot.listed(name)?.price.as_ref().or(target.price.as_ref());
            Some(json!({
                "id": name, "context": known(target.context), "max_output": known(target.max_output),
                "price_per_million": price.map(|price| rates(price)),
            }))
        })
        .collect();
    Json(json!({"models": models, "currency": "USD"}))
}

/// The catalog writes 0 where it does not know.
fn known(tokens: u64) -> Option<u64> {
    (tokens > 0).then_some(tokens)
}

fn rates(price: &Price) -> Value {
    let Rates {
        input,
        output,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        ..
    } = price.ordinary.rates;
    json!({
        "input": input, "output": output, "cache_read": cache_read, "cache_write_5m": cache_write_5m,
        "cache_write_1h": cache_write_1h,
    })
}
