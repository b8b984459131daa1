//! Asking a token endpoint, whichever way of getting tokens wants it.
//!
//! It is asked through the same connector as everything else: addresses are checked, and an upstream's proxy is used. Of
//! what it says no text goes further than a single word: it may repeat what was sent.

use std::time::Duration;

use bytes::Bytes;
use domain::snapshot::Upstream;
use domain::{Failure, FailureClass};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::Value;

use crate::limits::{TOKEN_BODY_MAX, TOKEN_TIMEOUT};
use crate::upstream::client::UpstreamClient;

/// What to send for a token, and where.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) url: String,
    pub(crate) content_type: &'static str,
    /// Holds the secret or what it signed.
    pub(crate) body: String,
}

/// A form's type.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The longest word that is quoted.
const WORD_MAX: usize = 64;

/// What it said; a refusal is a failure already.
pub(crate) async fn ask(client: &UpstreamClient, upstream: &Upstream, errand: Errand) -> Result<Value, Failure> {
    let silence = || Failure::new(FailureClass::Silence, "the token endpoint did not answer in time");
    let (status, retry_after, body) = tokio::time::timeout(TOKEN_TIMEOUT, exchange(client, upstream, errand))
        .await
        .unwrap_or_else(|_| Err(silence()))?;
    read(status, &body).map_err(|failure| Failure { retry_after, ..failure })
}

async fn exchange(
    client: &UpstreamClient,
    upstream: &Upstream,
    errand: Errand,
) -> Result<(StatusCode, Option<Duration>, Bytes), Failure> {
    let unsendable = |_| Failure::new(FailureClass::Auth, "the address of the token endpoint is none");
    let request = Request::post(errand.url)
        .header(CONTENT_TYPE, errand.content_type)
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(errand.body)))
        .map_err(unsendable)?;
    let response = client.send(upstream, request).await?;
    let (head, body) = response.into_parts();
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
        let detail = format!("the token endpoint's answer broke off: {error}");
        Failure::new(FailureClass::Reset, detail)
    };
    let retry_after = head.headers.get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = Limited::new(body, TOKEN_BODY_MAX).collect().await.map_err(broken)?;
    Ok((head.status, retry_after.map(Duration::from_secs), body.to_bytes()))
}

/// The shortest life that is believed.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// How long a token is taken to live whose endpoint says nothing of it; the usual.
const LIFE_UNTOLD: Duration = Duration::from_hours(1);

/// Reads what a token endpoint says. An error of its own words (`invalid_grant`, `invalid_client`) means that the
/// credential is not accepted.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let class = match status.as_u16() {
        429 => FailureClass::RateLimited,
        400..=499 => FailureClass::Auth,
        _ => FailureClass::Server,
    };
    let word = refusal_word(&answer).unwrap_or("no reason that can be shown");
    Err(Failure {
        status: Some(status.as_u16()),
        ..Failure::new(class, format!("{REFUSED}{word}"))
    })
}

/// How the detail of a refusal begins.
const REFUSED: &str = "the token endpoint refused the credential: ";

/// The word by which it refused.
pub(crate) fn word(failure: &Failure) -> Option<&str> {
    failure.detail.strip_prefix(REFUSED)
}

/// `error`, or its `type` where it is an object.
fn refusal_word(answer: &Value) -> Option<&str> {
    let error = &answer["error"];
    let is_word =
        |word: &&str| word.len() <= WORD_MAX && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    error.as_str().or_else(|| error["type"].as_str()).filter(is_word)
}

/// The access token of an answer, as `authorization` has it.
pub(crate) fn access_token(answer: &Value) -> Result<&str, Failure> {
    let nonsense = || Failure::new(FailureClass::Nonsense, "the token endpoint's answer has no token");
    let sendable = |token: &&str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    answer["access_token"].as_str().filter(sendable).ok_or_else(nonsense)
}

/// How long its token lives. Entra's older endpoint writes the figure in quotes, and some count in fractions. What is not a
/// second at least says nothing about a token that was just made: who believed it would renew without pause.
pub(crate) fn life(answer: &Value, longest: Duration) -> Duration {
    let told = &answer["expires_in"];
    let secs = told.as_f64().or_else(|| told.as_str()?.trim().parse().ok());
    let secs = secs.filter(|secs| secs.is_finite());
    let life = secs.and_then(|secs| Duration::try_from_secs_f64(secs.min(longest.as_secs_f64()).floor()).ok());
    life.filter(|life| *life >= LIFE_MIN)
        .unwrap_or(LIFE_UNTOLD)
        .min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err()
    }

    #[test]
    fn refusals_are_the_credentials() {
        assert_eq!(failure(400, r#"{"error":"invalid_grant"}"#).class, FailureClass::Auth);
        assert_eq!(failure(429, "").class, FailureClass::RateLimited);
        assert_eq!(failure(503, "<html>").class, FailureClass::Server);
        let told = failure(401, r#"{"error":"invalid_client","error_description":"secret x"}"#);
        assert_eq!((told.class, word(&told)), (FailureClass::Auth, Some("invalid_client")));
        assert!(!told.detail.contains("secret x"));
        let object = failure(400, r#"{"error":{"type":"invalid_grant","message":"secret x"}}"#);
        assert_eq!(word(&object), Some("invalid_grant"));
        assert!(failure(400, r#"{"error":"secret-x 1"}"#).detail.contains("no reason"));
    }

    #[test]
    fn an_answer_without_a_token_that_can_be_sent_is_nonsense() {
        for answer in [
            Value::Null,
            serde_json::json!({"access_token": "a\nb"}),
            serde_json::json!({"access_token": ""}),
        ] {
            assert_eq!(access_token(&answer).unwrap_err().class, FailureClass::Nonsense);
        }
    }

    #[test]
    fn a_life_that_no_token_can_have_says_nothing() {
        let life = |told: Value| life(&serde_json::json!({ "expires_in": told }), Duration::from_hours(24)).as_secs();
        for told in [
            serde_json::json!(0),
            serde_json::json!(-5),
            serde_json::json!(0.4),
            serde_json::json!("0"),
            serde_json::json!("NaN"),
            serde_json::json!("soon"),
            Value::Null,
        ] {
            assert_eq!(life(told.clone()), 3_600, "{told}");
        }
        assert_eq!(life(serde_json::json!(1)), 1);
        assert_eq!(life(serde_json::json!("3599")), 3_599);
        assert_eq!(life(serde_json::json!(3_599.9)), 3_599);
        assert_eq!(life(serde_json::json!(1e300)), 86_400);
    }
}
