//! What an answer with a status other than 2xx means.
//!
//! One question decides everything that follows: is it the caller's mistake, which another target would answer alike,
//! or is something wrong with the upstream or our credential there? The first is passed on unchanged and counts
//! against nobody; the second becomes a [`Failure`] for `routing` to act on.

use domain::declaration::RefusalCause;
use domain::{Dialect, Failure, FailureClass, Scope, Timestamp};
use http::HeaderMap;

use crate::provider_error::{Cause, ProviderError};

mod allowance;
mod retry_after;

pub use allowance::Allowance;

/// Whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller's: the answer is passed through unchanged, and nothing counts against the upstream.
    Caller,
    /// The upstream's or our credential's.
    Failure(Failure),
}

/// Decides what `status`, `headers` and `body` of a refused attempt mean. `now` is for dates in `retry-after`.
///
/// The `detail` of a failure holds the provider's codes and nothing of its prose, which may quote what the caller sent.
pub fn classify(dialect: Dialect, status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Verdict {
    let mut error = ProviderError::read(body);
    if let Some(code) = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()) {
        error = error.with_code(code);
    }
    let Cause::Upstream(class) = error.cause(Some(status)) else {
        return Verdict::Caller;
    };
    let named = retry_after::named(dialect, headers, now).or(error.retry_after(now));
    Verdict::Failure(Failure {
        class,
        status: Some(status),
        scope: scope(class, status, dialect, headers, &error, now),
        retry_after: named.map(retry_after::believed),
        detail: error.shown_codes(),
    })
}

/// A refusal in the provider's own words, codes and masked message: for a question that nobody sent but us, and for whoever
/// wants to know what came of that.
pub fn words_of(body: &[u8], class: FailureClass) -> Option<String> {
    Some(ProviderError::read(body).words(class)).filter(|words| !words.is_empty())
}

/// How much of the credential the answer is about. In doubt all of it: the next candidate is then another credential.
fn scope(
    class: FailureClass,
    status: u16,
    dialect: Dialect,
    headers: &HeaderMap,
    error: &ProviderError,
    now: Timestamp,
) -> Scope {
    let of_model = match class {
        // Anthropic: "Rate limits are applied separately for each model" (docs.claude.com/en/api/rate-limits); what its
        // subscriptions say of all models stands in other headers.
        FailureClass::RateLimited => {
            error.limits_one_model()
                || (dialect == Dialect::AnthropicMessages && retry_after::used_up(dialect, headers, now).is_some())
        }
        // A key that is good, and may not use this model: other models, and other callers, are not concerned.
        FailureClass::Auth => status == 403 && !error.is_about_the_key(),
        _ => false,
    };
    if of_model { Scope::Model } else { Scope::Credential }
}

/// Why a request was refused that was the caller's mistake, where another model may take it all the same. `message` is
/// what was refused with, where it stands outside the body: in a stream's error event.
pub fn refusal_cause(body: &[u8], message: &str) -> Option<RefusalCause> {
    ProviderError::read(body).with_message(message).refusal_cause()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::FailureClass;
    use proptest::prelude::*;

    use super::*;

    fn failure(status: u16, headers: &HeaderMap, body: &[u8]) -> Option<Failure> {
        match classify(
            Dialect::OpenaiChat,
            status,
            headers,
            body,
            Timestamp::from_secs(1_800_000_000),
        ) {
            Verdict::Caller => None,
            Verdict::Failure(failure) => Some(failure),
        }
    }

    #[test]
    fn statuses_without_a_body() {
        let none = HeaderMap::new();
        for caller in [400, 404, 405, 409, 410, 413, 415, 422, 451] {
            assert_eq!(failure(caller, &none, b""), None, "{caller}");
        }
        for (status, class) in [
            (401, FailureClass::Auth),
            (402, FailureClass::OutOfCredit),
            (403, FailureClass::Auth),
            (408, FailureClass::Silence),
            (429, FailureClass::RateLimited),
            (500, FailureClass::Server),
            (502, FailureClass::Server),
            (503, FailureClass::Server),
            (504, FailureClass::Server),
            (524, FailureClass::Server),
            (529, FailureClass::Overloaded),
            (302, FailureClass::Nonsense),
            (101, FailureClass::Nonsense),
        ] {
            assert_eq!(
                failure(status, &none, b"<html>").map(|failure| failure.class),
                Some(class),
                "{status}"
            );
        }
    }

    #[test]
    fn the_wait_of_the_body_counts_where_no_header_names_one() {
        let body = br#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#;
        let found = failure(429, &HeaderMap::new(), body).unwrap();
        assert_eq!(found.retry_after, Some(Duration::from_secs(34)));
        assert_eq!(found.status, Some(429));
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        assert_eq!(
            failure(429, &headers, body).unwrap().retry_after,
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn a_limit_or_a_refusal_may_be_of_one_model_only() {
        let none = HeaderMap::new();
        let scope = |status: u16, body: &str| failure(status, &none, body.as_bytes()).map(|failure| failure.scope);
        for (status, body) in [
            (
                429,
                r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000","type":"tokens","code":"rate_limit_exceeded"}}"#,
            ),
            (
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: 6-7, model: claude-opus-4-6)."}}"#,
            ),
            (
                429,
                r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}]}}"#,
            ),
            (
                403,
                r#"{"error":{"type":"permission_error","message":"no access to this model"}}"#,
            ),
            (403, ""),
        ] {
            assert_eq!(scope(status, body), Some(Scope::Model), "{body}");
        }
        for (status, body) in [
            (429, ""),
            (
                429,
                r#"{"error":{"message":"Too many requests","code":"rate_limit_exceeded"}}"#,
            ),
            (
                429,
                r#"{"error":{"details":[{"violations":[{"quotaId":"RequestsPerMinutePerProject"}]}]}}"#,
            ),
            (401, ""),
            (403, r#"{"error":{"code":"account_deactivated","message":"m"}}"#),
            (
                403,
                r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
            ),
        ] {
            assert_eq!(scope(status, body), Some(Scope::Credential), "{body}");
        }
    }

    #[test]
    fn a_quota_of_the_day_is_not_back_in_a_second() {
        let body = |quota: &str| {
            format!(
                r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{{"violations":[{{"quotaId":"{quota}"}}]}},{{"retryDelay":"34s"}}]}}}}"#
            )
        };
        let wait = |quota: &str| {
            let body = body(quota);
            failure(429, &HeaderMap::new(), body.as_bytes()).unwrap().retry_after
        };
        assert_eq!(
            wait("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            Some(Duration::from_secs(34))
        );
        // 2027-01-15T08:00:00Z: midnight in California, just now; the next is a day away.
        assert_eq!(
            wait("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            Some(Duration::from_hours(24))
        );
    }

    #[test]
    fn some_refusals_are_no_matter_of_the_request_alone() {
        for (body, cause) in [
            (
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","code":"context_length_exceeded"}}"#,
                Some(RefusalCause::ContextLength),
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
                Some(RefusalCause::ContextLength),
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}"#,
                Some(RefusalCause::ContextLength),
            ),
            (
                r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
                Some(RefusalCause::ContextLength),
            ),
            (
                r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","code":"content_filter","status":400}}"#,
                Some(RefusalCause::ContentPolicy),
            ),
            (
                r#"{"error":{"code":"content_policy_violation","message":"Your request was rejected as a result of our safety system."}}"#,
                Some(RefusalCause::ContentPolicy),
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
                Some(RefusalCause::ContentPolicy),
            ),
            (
                r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["hate"],"flagged_input":"x"}}}"#,
                Some(RefusalCause::ContentPolicy),
            ),
            (
                r#"{"error":{"message":"Unknown field `content_filter`","type":"invalid_request_error"}}"#,
                None,
            ),
            ("", None),
        ] {
            assert_eq!(refusal_cause(body.as_bytes(), ""), cause, "{body}");
        }
        let in_stream = refusal_cause(b"", "context_length_exceeded: the prompt is too long");
        assert_eq!(in_stream, Some(RefusalCause::ContextLength));
    }

    #[test]
    fn amazon_names_its_errors_in_a_header() {
        let named = |status: u16, name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amzn-errortype", name.parse().unwrap());
            failure(status, &headers, br#"{"message":"no"}"#).map(|failure| failure.class)
        };
        assert_eq!(
            named(400, "ValidationException:http://internal.amazon.com/coral/"),
            None
        );
        assert_eq!(
            named(400, "ServiceQuotaExceededException"),
            Some(FailureClass::RateLimited)
        );
        assert_eq!(named(424, "ModelErrorException"), Some(FailureClass::Server));
        assert_eq!(named(403, "ExpiredTokenException"), Some(FailureClass::Auth));
    }

    proptest! {
        #[test]
        fn never_panics(status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..200), wait in "[ -~]{0,30}") {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", wait.parse().unwrap());
            for dialect in Dialect::ALL {
                let _verdict = classify(dialect, status, &headers, &body, Timestamp::from_secs(1_800_000_000));
            }
        }
    }
}
