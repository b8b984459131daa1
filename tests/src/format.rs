//! The callers' formats: how each asks, and how each must be told that something is wrong.

use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::upstream::Upstream;

/// A format that callers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Anthropic,
    /// `/v1beta/models/{m}:generateContent`
    Gemini,
}

/// All of them.
pub const FORMATS: [Format; 4] = [Format::Chat, Format::Responses, Format::Anthropic, Format::Gemini];

impl Format {
    /// A model that [`crate::config`]'s upstream for this format serves.
    pub const fn model(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "gpt-4o",
            Self::Anthropic => "claude-sonnet-4-5",
            Self::Gemini => "gemini-2.5-flash",
        }
    }

    /// The provider preset of this format, and where a scripted upstream speaks it.
    pub fn provider(self, upstream: &Upstream) -> (&'static str, String) {
        match self {
            Self::Chat | Self::Responses => ("openai", upstream.v1()),
            Self::Anthropic => ("anthropic", upstream.v1()),
            Self::Gemini => ("gemini", format!("{}/v1beta", upstream.url())),
        }
    }

    /// Where a call goes.
    pub fn path(self, model: &str) -> String {
        match self {
            Self::Chat => "/v1/chat/completions".to_owned(),
            Self::Responses => "/v1/responses".to_owned(),
            Self::Anthropic => "/v1/messages".to_owned(),
            Self::Gemini => format!("/v1beta/models/{model}:generateContent"),
        }
    }

    /// A small prompt for `model`.
    pub fn body(self, model: &str) -> Value {
        let messages = json!([{"role": "user", "content": "hi"}]);
        match self {
            Self::Responses => json!({"model": model, "max_output_tokens": 16, "input": "hi"}),
            Self::Chat | Self::Anthropic => json!({"model": model, "max_tokens": 10, "messages": messages}),
            Self::Gemini => {
                json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 10}})
            }
        }
    }

    /// A call of `model`, without a key.
    pub fn call(self, model: &str) -> Request {
        Request::post(&self.path(model), &self.body(model))
    }

    /// The same, streamed.
    pub fn stream(self, model: &str) -> Request {
        let mut body = self.body(model);
        if self == Self::Gemini {
            return Request::post(&format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"), &body);
        }
        body["stream"] = json!(true);
        Request::post(&self.path(model), &body)
    }

    /// Whether a stream's bytes look like a finished answer to a client of this format.
    pub fn looks_complete(self, text: &str) -> bool {
        match self {
            Self::Chat => text.contains("data: [DONE]") || text.contains("\"finish_reason\":\"stop\""),
            Self::Responses => text.contains("response.completed"),
            Self::Anthropic => text.contains("message_stop"),
            Self::Gemini => text.contains("\"finishReason\":\"STOP\""),
        }
    }

    /// Whether a stream's bytes end in an error of this format.
    pub fn ends_in_error(self, text: &str) -> bool {
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        match self {
            Self::Chat | Self::Gemini => last.contains("\"error\""),
            Self::Responses => last.contains("response.failed") || last.contains("event: error"),
            Self::Anthropic => last.starts_with("event: error"),
        }
    }

    /// Panics unless this is a refusal of `status` as this format's SDKs expect it.
    pub fn assert_refusal(self, response: &Response, status: u16) {
        let text = response.text();
        assert_eq!(response.status(), status, "{self:?}: {text}");
        assert!(response.is_complete(), "{self:?}, {status}: {:?}", response.end);
        assert_eq!(
            response.header("content-type"),
            Some("application/json"),
            "{self:?}, {status}"
        );
        assert!(
            response.header("x-request-id").is_some(),
            "{self:?}, {status}: no x-request-id"
        );
        let body = response.json();
        let error = &body["error"];
        assert!(
            error["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{self:?}, {status}: {text}"
        );
        match self {
            Self::Chat | Self::Responses => {
                assert!(
                    error["type"].is_string() && error["code"].is_string(),
                    "{self:?}, {status}: {text}"
                );
            }
            Self::Anthropic => {
                assert_eq!(body["type"], "error", "{status}: {text}");
                assert_eq!(error["type"], anthropic_type(status), "{status}: {text}");
                assert_eq!(body["request_id"].as_str(), response.header("x-request-id"), "{text}");
            }
            Self::Gemini => {
                assert_eq!(error["code"].as_u64(), Some(u64::from(status)), "{text}");
                assert_eq!(error["status"], gemini_status(status), "{status}: {text}");
            }
        }
    }
}

/// What Anthropic's SDKs look at besides the status.
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// What Google's SDKs look at besides the status.
fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        405 => "UNIMPLEMENTED",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        502 | 503 => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}
