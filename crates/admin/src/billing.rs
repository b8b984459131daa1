//! `/v1/dashboard/billing/*`: where clients of one-api (and of `OpenAI`'s former dashboard) read their balance.
//!
//! They show `hard_limit_usd - total_usage / 100` as what is left, so the limit is what there is and what was ever
//! spent together. `total_usage` is in cents by their contract. Figures are JSON numbers there; they are written from
//! the decimal text, never through a binary fraction.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::{Money, Policy};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Shared;
use crate::auth::Client;
use crate::error::ApiError;

/// What one-api says where there is no limit.
const NO_LIMIT: Money = Money::from_dollars(100_000_000);

#[derive(Debug, Serialize)]
struct Subscription {
    object: &'static str,
    has_payment_method: bool,
    soft_limit_usd: Box<RawValue>,
    hard_limit_usd: Box<RawValue>,
    system_hard_limit_usd: Box<RawValue>,
    access_until: i64,
}

#[derive(Debug, Serialize)]
struct Usage {
    object: &'static str,
    total_usage: Box<RawValue>,
}

/// Where `/v1` is found: the data plane's compatibility prefixes, and nowhere at all.
const PREFIXES: [&str; 5] = ["/v1", "/api/v1", "/api/proxy/v1", "/openai/v1", ""];

/// The routes, below every prefix.
pub(crate) fn routes() -> Router<Shared> {
    PREFIXES.iter().fold(Router::new(), |router, prefix| {
        router
            .route(&format!("{prefix}/dashboard/billing/subscription"), get(subscription))
            .route(&format!("{prefix}/dashboard/billing/usage"), get(usage))
    })
}

/// The limit.
async fn subscription(State(shared): State<Shared>, client: Client) -> Result<Response, ApiError> {
    let user = &client.key.user;
    let limit = match user.policy {
        Policy::Unlimited => NO_LIMIT,
        Policy::Soft | Policy::Hard => {
            shared.accounts().get(user.id).view().available + spent(&shared, &client).await?
        }
    };
    let subscription = Subscription {
        object: "billing_subscription",
        has_payment_method: true,
        soft_limit_usd: number(limit.to_string()),
        hard_limit_usd: number(limit.to_string()),
        system_hard_limit_usd: number(limit.to_string()),
        access_until: client.key.expires.map_or(0, domain::Timestamp::unix_secs),
    };
    Ok(Json(subscription).into_response())
}

/// What was spent, in cents.
async fn usage(State(shared): State<Shared>, client: Client) -> Result<Response, ApiError> {
    let spent = spent(&shared, &client).await?;
    Ok(Json(Usage {
        object: "list",
        total_usage: number(cents(spent)),
    })
    .into_response())
}

/// Everything ever charged, what the ledger does not have yet included: with what is available it makes up what was
/// given.
async fn spent(shared: &Shared, client: &Client) -> Result<Money, ApiError> {
    let user = client.key.user.id;
    let pending = shared.accounts().get(user).view().pending;
    Ok(shared.store().usage().lifetime(user).await?.charged + pending)
}

/// A decimal text as a JSON number.
fn number(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn cents(amount: Money) -> String {
    let nanos = amount.nanos();
    let (sign, magnitude) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = format!("{sign}{}.{:07}", magnitude / 10_000_000, magnitude % 10_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_are_exact() {
        for (dollars, expected) in [
            ("0", "0"),
            ("10.50", "1050"),
            ("0.0000025", "0.00025"),
            ("-0.01", "-1"),
            ("0.000000001", "0.0000001"),
        ] {
            assert_eq!(cents(dollars.parse().unwrap()), expected);
        }
        assert_eq!(number("0.10".to_owned()).get(), "0.10");
    }
}
