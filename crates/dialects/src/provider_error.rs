//! What a provider's error means, wherever it stands: under a status, inside a stream, under a 200.
//!
//! The decision rests on codes and types, which the provider chooses, and hardly ever on the message, which may quote
//! the caller: a caller who writes "invalid api key" into a prompt must not get a credential deactivated. The few
//! providers that name a bad key only in prose are matched by how the message *begins*.

use std::time::Duration;

use domain::declaration::RefusalCause;
use domain::{Dialect, FailureClass, Timestamp};
use serde_json::Value;

use crate::answer::ReportedFailure;
use crate::hub::nested;
use crate::limits::ERROR_BODY_MAX;
use crate::mask::{identifier, masked};

/// Codes that say: the account has no money left.
const CREDIT_CODES: [&str; 14] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "exceeded_current_quota_error",
    "insufficient_balance",
    "insufficient_user_quota",
    "insufficient_credits",
    "arrearage",
    "1113",
    "1008",
];

/// Codes that say: the credential is not accepted.
const AUTH_CODES: [&str; 12] = [
    "invalid_api_key",
    "incorrect_api_key",
    "api_key_invalid",
    "api_key_expired",
    "invalidapikey",
    "authentication_error",
    "invalid_authentication_error",
    "permission_error",
    "unauthenticated",
    "permission_denied",
    "account_deactivated",
    "access_terminated_error",
];

/// Those of them that are about the key itself, and Amazon's: what a 403 with another one refuses is the model.
const KEY_CODES: [&str; 14] = [
    "invalid_api_key",
    "incorrect_api_key",
    "api_key_invalid",
    "api_key_expired",
    "invalidapikey",
    "authentication_error",
    "invalid_authentication_error",
    "unauthenticated",
    "account_deactivated",
    "access_terminated_error",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "IncompleteSignatureException",
];

/// Midnight in California in UTC, by winter time: in summer a quota of the day is back an hour before we ask. "Requests per
/// day (RPD) quotas reset at midnight Pacific time" (ai.google.dev/gemini-api/docs/rate-limits).
const PACIFIC_MIDNIGHT: Duration = Duration::from_hours(8);

/// Codes of one error that are shown; the longest known have four.
const CODES_MAX: usize = 8;

/// Quotas that one error is read for; Google names two or three.
const QUOTAS_MAX: usize = 16;

/// How messages begin that say so only in prose.
const AUTH_MESSAGES: [&str; 7] = [
    "Incorrect API key provided",
    "API key not valid",
    "API Key not found",
    "API key expired",
    "Your API key was reported as leaked",
    "User location is not supported",
    "Gemini API free tier is not available",
];

/// The same, for money.
const CREDIT_MESSAGES: [&str; 2] = ["Your credit balance is too low", "Insufficient Balance"];

/// Codes that say: the provider's content policy refused it. OpenAI, Azure, MiniMax (1026 input, 1027 output).
const POLICY_CODES: [&str; 7] = [
    "content_policy_violation",
    "content_filter",
    "responsibleaipolicyviolation",
    "bio_policy",
    "cyber_policy",
    "1026",
    "1027",
];

/// How messages begin that say so only in prose: Anthropic, of which litellm 1.109.1 knows the same
/// (`litellm_core_utils/exception_mapping_utils.py`).
const POLICY_MESSAGES: [&str; 1] = ["Output blocked by content filtering policy"];

/// What messages about a conversation that is too long say: Anthropic, Gemini, Bedrock, vLLM, llama.cpp, OpenAI's
/// Responses.
const OVERFLOW_MESSAGES: [&str; 8] = [
    "prompt is too long",
    "exceeds the maximum number of tokens",
    "input is too long",
    "maximum context length",
    "exceed context limit",
    "available context size",
    "exceeds the context window",
    "context_length_exceeded",
];

/// Members in which an error without an envelope says what is wrong: proxies and frameworks (`FastAPI`: `detail`), Baidu
/// (`error_msg`) and others (`msg`).
pub(crate) fn is_complaint(key: &[u8]) -> bool {
    matches!(key, b"message" | b"msg" | b"detail" | b"error_msg")
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The caller's: another target would say the same.
    Caller,
    /// The upstream's or our credential's.
    Upstream(FailureClass),
}

/// A provider's error, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProviderError {
    /// Codes, types and reasons, in the provider's words.
    codes: Vec<String>,
    /// The message, as it came: never shown unmasked.
    message: String,
    /// The status that the error itself names.
    named_status: Option<u16>,
    /// The wait that the error itself names.
    retry_after: Option<Duration>,
    /// The quotas that it names as used up, as Google does.
    quotas: Vec<String>,
    /// Whether a moderation of the caller's input caused it.
    flagged: bool,
}

impl ProviderError {
    /// Reads an error body or event; of something else, what little there is.
    pub(crate) fn read(body: &[u8]) -> Self {
        let body = body.get(..ERROR_BODY_MAX).unwrap_or(body);
        nested::read(body).map(|root| Self::of(&root)).unwrap_or_default()
    }

    /// With a code that stands outside the body (Amazon's `x-amzn-errortype`, or the name of an exception in a stream).
    /// What follows a colon in it is an address.
    pub(crate) fn with_code(mut self, code: &str) -> Self {
        let code = code.split(':').next().unwrap_or_default().trim();
        self.code_of(Some(&Value::from(code)));
        self
    }

    /// With a message that stands outside the body.
    pub(crate) fn with_message(mut self, message: &str) -> Self {
        self.message_of(Some(&Value::from(message)));
        self
    }

    /// Whose fault it is, under the status it came with (none inside a stream).
    pub(crate) fn cause(&self, status: Option<u16>) -> Cause {
        let Some(status) = status.or_else(|| self.status()) else {
            return Cause::Upstream(FailureClass::Server);
        };
        match status {
            402 if self.is_credit_short() => Cause::Upstream(FailureClass::CreditShort),
            400 | 402 | 403 | 429 if self.is_credit() => Cause::Upstream(FailureClass::OutOfCredit),
            400 | 404 if self.is_auth_in_disguise() => Cause::Upstream(FailureClass::Auth),
            403 if self.flagged => Cause::Caller,
            401 | 403 => Cause::Upstream(FailureClass::Auth),
            402 => Cause::Upstream(FailureClass::OutOfCredit),
            // Bedrock: an account's quota is a 400, and a model that failed is a 424.
            400 if self.has_code(&["ServiceQuotaExceededException"]) => Cause::Upstream(FailureClass::RateLimited),
            424 if self.has_code(&["ModelErrorException"]) => Cause::Upstream(FailureClass::Server),
            407 => Cause::Upstream(FailureClass::Connect),
            408 => Cause::Upstream(FailureClass::Silence),
            // Moonshot, OpenAI: it is their machines that have too much to do, whoever asks.
            429 if self.has_code(&["engine_overloaded_error", "server_is_overloaded"]) => {
                Cause::Upstream(FailureClass::Overloaded)
            }
            429 => Cause::Upstream(FailureClass::RateLimited),
            // Groq: the flex tier has no room.
            498 | 529 => Cause::Upstream(FailureClass::Overloaded),
            400..=499 => Cause::Caller,
            500..=599 if self.says_overloaded(status) => Cause::Upstream(FailureClass::Overloaded),
            500..=599 => Cause::Upstream(FailureClass::Server),
            _ => Cause::Upstream(FailureClass::Nonsense),
        }
    }

    /// The error as reported inside an answer or a stream.
    pub(crate) fn reported(&self) -> ReportedFailure {
        let class = match self.cause(None) {
            Cause::Upstream(class) => class,
            Cause::Caller => FailureClass::Nonsense,
        };
        ReportedFailure {
            class,
            status: self.status(),
            detail: Some(self.shown_codes())
                .filter(|codes| !codes.is_empty())
                .unwrap_or_else(|| "an error without a code".to_owned()),
            message: self.words(class),
        }
    }

    /// Whether the caller's request caused it, as far as the error itself tells.
    pub(crate) fn is_callers(&self) -> bool {
        self.cause(None) == Cause::Caller
    }

    /// The error as a client of another format may read it: the message as it came, and the code that it goes by there.
    pub(crate) fn told(&self) -> (&str, Option<&str>) {
        let code = if self.is_context_overflow() {
            Some("context_length_exceeded")
        } else {
            self.codes
                .iter()
                .map(String::as_str)
                .find(|code| identifier(code).is_some() && code.parse::<u16>().is_err())
        };
        (&self.message, code)
    }

    /// Whether the account could pay for a smaller call. OpenRouter holds what a call may cost at most, as we do:
    /// <https://openrouter.ai/docs/api-reference/errors> ("requires more credits, or fewer `max_tokens`. You requested up to
    /// 64000 tokens, but can only afford 1200").
    fn is_credit_short(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        message.contains("can only afford") || message.contains("fewer max_tokens")
    }

    /// Whether the conversation is too long for the model. Only OpenAI has a code for it; agents shorten their history
    /// when they see it.
    fn is_context_overflow(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.has_code(&["context_length_exceeded"]) || OVERFLOW_MESSAGES.iter().any(|known| message.contains(known))
    }

    /// Why it refuses what another model may take.
    pub(crate) fn refusal_cause(&self) -> Option<RefusalCause> {
        if self.is_context_overflow() {
            Some(RefusalCause::ContextLength)
        } else if self.flagged || self.has_code(&POLICY_CODES) || begins(&self.message, &POLICY_MESSAGES) {
            Some(RefusalCause::ContentPolicy)
        } else {
            None
        }
    }

    /// What logs, receipts and the reasons of credentials may say: the codes that are written like codes.
    pub(crate) fn shown_codes(&self) -> String {
        let codes = self.codes.iter().filter_map(|code| identifier(code));
        codes.take(CODES_MAX).collect::<Vec<_>>().join(" ")
    }

    /// What whoever sent the request may read: the codes, and the masked message. About credentials only the codes.
    pub(crate) fn words(&self, class: FailureClass) -> String {
        let codes = self.shown_codes();
        if class == FailureClass::Auth || self.message.is_empty() {
            return codes;
        }
        let message = masked(&self.message);
        if codes.is_empty() {
            message
        } else {
            format!("{codes}: {message}")
        }
    }

    /// The status that it names or means.
    fn status(&self) -> Option<u16> {
        self.named_status.or_else(|| {
            self.codes
                .iter()
                .find_map(|code| meant_status(&code.to_ascii_lowercase()))
        })
    }

    /// When it says to come back. A quota of the day is not back before the next one, whatever delay is named beside it.
    pub(crate) fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let of_the_day = self.quotas.iter().any(|quota| quota.contains("PerDay"));
        let next_day = of_the_day.then(|| (now - PACIFIC_MIDNIGHT).next_midnight().since(now - PACIFIC_MIDNIGHT));
        next_day.max(self.retry_after)
    }

    /// Whether the limit that it speaks of is of the model that was asked for. Google names its quotas; OpenAI and those
    /// who speak like it ("Rate limit reached for gpt-4o in organization org-… on tokens per min"), and Anthropic ("…
    /// 30,000 input tokens per minute (org: …, model: claude-…)") name the model in prose.
    pub(crate) fn limits_one_model(&self) -> bool {
        let (message, quotas) = (&self.message, &self.quotas);
        let by_quota = !quotas.is_empty() && quotas.iter().all(|quota| quota.contains("PerModel"));
        let like_openai = message.starts_with("Rate limit reached for ") && message.contains(" on ");
        by_quota || like_openai || message.contains(", model: ")
    }

    /// Whether a refusal is about the key itself, and not about what it was used for.
    pub(crate) fn is_about_the_key(&self) -> bool {
        self.has_code(&KEY_CODES) || begins(&self.message, &AUTH_MESSAGES)
    }

    fn of(root: &Value) -> Self {
        let root = root.as_array().and_then(|list| list.first()).unwrap_or(root);
        let mut error = Self::default();
        let nested = root.get("error").filter(|value| value.is_object());
        error.take(nested.unwrap_or(root));
        if nested.is_none() {
            error.message_of(root.get("error"));
            for key in ["detail", "msg", "error_msg"] {
                error.message_of(root.get(key));
            }
            if let Some(reply) = root.get("base_resp") {
                error.take(reply);
            }
        }
        error
    }

    fn take(&mut self, error: &Value) {
        for key in ["type", "code", "status", "status_code"] {
            self.code_of(error.get(key));
        }
        self.message_of(error.get("message"));
        self.message_of(error.get("status_msg"));
        for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
            self.code_of(detail.get("reason"));
            self.retry_after = self
                .retry_after
                .or_else(|| detail.get("retryDelay")?.as_str().and_then(seconds));
            let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
            let quotas = violations.filter_map(|violation| violation.get("quotaId")?.as_str());
            self.quotas.extend(quotas.take(QUOTAS_MAX).map(str::to_owned));
        }
        self.flagged |=
            error.pointer("/metadata/flagged_input").is_some() || error.pointer("/metadata/reasons").is_some();
    }

    fn code_of(&mut self, value: Option<&Value>) {
        let code = match value {
            Some(Value::String(text)) if text != "error" => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return,
        };
        let status = code.parse::<u16>().ok().filter(|status| (400..600).contains(status));
        self.named_status = self.named_status.or(status);
        if !code.is_empty() && !self.codes.contains(&code) {
            self.codes.push(code);
        }
    }

    fn message_of(&mut self, value: Option<&Value>) {
        if let (true, Some(text)) = (self.message.is_empty(), value.and_then(Value::as_str)) {
            text.clone_into(&mut self.message);
        }
    }

    fn is_credit(&self) -> bool {
        self.has_code(&CREDIT_CODES) || begins(&self.message, &CREDIT_MESSAGES)
    }

    /// Gemini and xAI answer 400 to a bad key.
    fn is_auth_in_disguise(&self) -> bool {
        self.has_code(&AUTH_CODES) || begins(&self.message, &AUTH_MESSAGES)
    }

    fn says_overloaded(&self, status: u16) -> bool {
        let coded = self
            .codes
            .iter()
            .any(|code| code.to_ascii_lowercase().contains("overloaded"));
        // Gemini: 503 UNAVAILABLE, "The model is overloaded".
        coded || (status == 503 && self.message.to_ascii_lowercase().contains("overloaded"))
    }

    fn has_code(&self, known: &[&str]) -> bool {
        self.codes
            .iter()
            .any(|code| known.iter().any(|known| code.eq_ignore_ascii_case(known)))
    }
}

/// The status that a code stands for where none is named.
fn meant_status(code: &str) -> Option<u16> {
    Some(match code {
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "resource_exhausted"
        | "slow_down"
        | "ratelimitreached"
        | "throttlingexception"
        | "servicequotaexceededexception"
        | "modelnotreadyexception"
        | "1002"
        | "1039" => 429,
        "overloaded_error" | "server_is_overloaded" | "engine_overloaded_error" => 529,
        "unavailable" | "serviceunavailableexception" => 503,
        "modeltimeoutexception" | "timeout_error" | "deadline_exceeded" | "vector_store_timeout" => 504,
        "not_found_error" | "not_found" | "resourcenotfoundexception" | "model_not_found" => 404,
        "request_too_large" => 413,
        "1004" => 401,
        "accessdeniedexception"
        | "unrecognizedclientexception"
        | "expiredtokenexception"
        | "invalidsignatureexception" => 403,
        "internalserverexception"
        | "modelstreamerrorexception"
        | "modelerrorexception"
        | "server_error"
        | "api_error"
        | "internal"
        | "internal_error"
        | "internal_server_error"
        | "1000"
        | "1013" => 500,
        "invalid_request_error"
        | "invalid_argument"
        | "bad_request"
        | "validationexception"
        | "invalid_prompt"
        | "context_length_exceeded"
        | "content_policy_violation"
        | "content_filter"
        | "bio_policy"
        | "cyber_policy"
        | "1026"
        | "1027" => 400,
        _ if CREDIT_CODES.contains(&code) => 429,
        _ if AUTH_CODES.contains(&code) => 401,
        // `invalid_image`, `image_too_large`, `empty_image_file` … of Responses.
        _ if code.starts_with("invalid_") || code.contains("image") => 400,
        _ => return None,
    })
}

/// The status of the error classes of `dialect` that stand for an overload.
pub(crate) const fn overloaded_status(dialect: Dialect) -> u16 {
    match dialect {
        Dialect::AnthropicMessages => 529,
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::Gemini | Dialect::BedrockConverse => 503,
    }
}

/// Protobuf's JSON form of a duration: `34s`, `0.5s`.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn begins(message: &str, known: &[&str]) -> bool {
    known.iter().any(|known| {
        message
            .get(..known.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(status: u16, body: &str) -> Cause {
        ProviderError::read(body.as_bytes()).cause(Some(status))
    }

    #[test]
    fn a_bad_key_is_ours_however_it_is_said() {
        let auth = Cause::Upstream(FailureClass::Auth);
        assert_eq!(cause(401, "not even JSON"), auth);
        assert_eq!(
            cause(
                400,
                r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#
            ),
            auth
        );
        assert_eq!(
            cause(
                400,
                r#"{"code":"invalid-argument","error":"Incorrect API key provided. Get one."}"#
            ),
            auth
        );
    }

    #[test]
    fn a_caller_cannot_harm_a_credential_by_quoting() {
        let quoted = r#"{"error":{"message":"Unknown role: 'Incorrect API key provided'. Your credit balance is too low","type":"invalid_request_error"}}"#;
        assert_eq!(cause(400, quoted), Cause::Caller);
        assert_eq!(
            cause(
                403,
                r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["hate"],"flagged_input":"x"}}}"#
            ),
            Cause::Caller
        );
    }

    #[test]
    fn out_of_credit_is_not_a_rate_limit() {
        let broke = Cause::Upstream(FailureClass::OutOfCredit);
        assert_eq!(
            cause(
                429,
                r#"{"error":{"type":"insufficient_quota","code":"credit_balance_exhausted"}}"#
            ),
            broke
        );
        assert_eq!(cause(402, r#"{"error":{"message":"Insufficient Balance"}}"#), broke);
        let large = r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 1200.","code":402}}"#;
        assert_eq!(cause(402, large), Cause::Upstream(FailureClass::CreditShort));
        assert_eq!(
            cause(
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#
            ),
            broke
        );
        assert_eq!(
            cause(429, r#"{"error":{"type":"engine_overloaded_error"}}"#),
            Cause::Upstream(FailureClass::Overloaded)
        );
        assert_eq!(
            cause(429, r#"{"error":{"code":"rate_limit_exceeded"}}"#),
            Cause::Upstream(FailureClass::RateLimited)
        );
    }

    #[test]
    fn errors_inside_a_stream_get_a_status_from_their_type() {
        let reported = |body: &str| ProviderError::read(body.as_bytes()).reported();
        let overloaded = reported(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
        assert_eq!(
            (overloaded.class, overloaded.status),
            (FailureClass::Overloaded, Some(529))
        );
        assert_eq!(overloaded.message, "overloaded_error: Overloaded");
        assert_eq!(overloaded.detail, "overloaded_error");
        let caller = reported(r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#);
        assert_eq!(caller.status, Some(400));
        let unknown = reported(r#"{"error":"boom"}"#);
        assert_eq!(
            (unknown.class, unknown.status, unknown.message.as_str()),
            (FailureClass::Server, None, "boom")
        );
        let quota = reported(
            r#"{"type":"error","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"m"}}"#,
        );
        assert_eq!((quota.class, quota.status), (FailureClass::OutOfCredit, Some(429)));
    }

    #[test]
    fn says_nothing_about_keys() {
        let error = ProviderError::read(
            br#"{"error":{"message":"Incorrect API key provided: hunter2.","code":"invalid_api_key"}}"#,
        );
        assert_eq!(error.words(FailureClass::Auth), "invalid_api_key");
    }
}
