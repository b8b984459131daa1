//! What the gateway adds to the head of an answer.
//!
//! The names are parsed when the gateway is built, not with every answer.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use metering::LimitState;

/// Our id of the call: the one in its receipt.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many attempts it took.
pub(crate) static ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");
/// The upstream that answered.
pub(crate) static UPSTREAM: HeaderName = HeaderName::from_static("x-tollgate-upstream");
/// The model that answered, where it is a fallback of the one that was asked for.
pub(crate) static MODEL: HeaderName = HeaderName::from_static("x-tollgate-model");
/// A client's name for what belongs together, see `sticky`.
pub(crate) static SESSION: HeaderName = HeaderName::from_static("x-tollgate-session");
/// What it cost, in dollars.
pub(crate) static COST: HeaderName = HeaderName::from_static("x-tollgate-cost");
/// The upstream's own id of the call.
pub(crate) static UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-upstream-request-id");

/// Limit, remaining and reset, in `OpenAI`'s names.
static REQUESTS_PER_MINUTE: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
static TOKENS_PER_MINUTE: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// The state of a key's limits, so that clients can pace themselves.
pub(crate) fn add_limits(state: &LimitState, headers: &mut HeaderMap) {
    let dimensions = [
        (state.requests, &REQUESTS_PER_MINUTE),
        (state.tokens, &TOKENS_PER_MINUTE),
    ];
    for (dimension, [limit, remaining, reset]) in dimensions {
        let Some(dimension) = dimension else { continue };
        headers.insert(limit, number(dimension.limit.into()));
        headers.insert(remaining, number(dimension.remaining.into()));
        headers.insert(reset, milliseconds(dimension.reset));
    }
}

/// A number, in one allocation: `HeaderValue::from` makes two.
pub(crate) fn number(number: u64) -> HeaderValue {
    let mut buffer = itoa::Buffer::new();
    HeaderValue::from_str(buffer.format(number)).unwrap_or(HeaderValue::from_static("0"))
}

/// `2520ms`.
fn milliseconds(duration: Duration) -> HeaderValue {
    let mut text = [0; 24];
    let mut buffer = itoa::Buffer::new();
    let digits = buffer
        .format(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        .as_bytes();
    let end = digits.len();
    text[..end].copy_from_slice(digits);
    text[end..end + 2].copy_from_slice(b"ms");
    HeaderValue::from_bytes(&text[..end + 2]).unwrap_or(HeaderValue::from_static("0ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metering::DimensionState;

    #[test]
    fn limits_are_told_in_openais_names() {
        let tokens = DimensionState {
            limit: 1_000,
            remaining: 958,
            reset: Duration::from_millis(2_520),
        };
        let state = LimitState {
            tokens: Some(tokens),
            ..LimitState::default()
        };
        let mut headers = HeaderMap::new();
        add_limits(&state, &mut headers);
        let told: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "x-ratelimit-limit-tokens: 1000",
                "x-ratelimit-remaining-tokens: 958",
                "x-ratelimit-reset-tokens: 2520ms",
            ]
        );
    }
}
