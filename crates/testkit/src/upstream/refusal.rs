//! Refusals: a status, its headers, and the error body that the dialect's provider would send with it.

use serde::{Deserialize, Serialize};

use super::asked::{Asked, Dialect};
use super::json::{Object, object};
use super::rendered::Rendered;
use super::{anthropic, gemini, openai, responses};

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Why, where one status has several reasons.
    #[serde(default)]
    pub reason: Reason,
    /// The message; `None` takes the provider's usual one.
    #[serde(default)]
    pub message: Option<String>,
    /// Headers besides the content type.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Gemini's `RetryInfo` detail, in seconds (Vertex sends it instead of `retry-after`).
    #[serde(default)]
    pub retry_info_s: Option<u64>,
    /// An HTML page in place of the format's error, as a proxy in front of a provider sends.
    #[serde(default)]
    pub html: bool,
}

/// What a status means, where that is not clear from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// What the number says.
    #[default]
    Plain,
    /// 400: the prompt is longer than the model's context.
    ContextLength,
    /// 400: the prompt was filtered.
    ContentFilter,
    /// 429 that waiting does not mend: the account has no money.
    InsufficientQuota,
}

impl Refusal {
    /// The provider's usual answer of this status.
    pub fn status(status: u16) -> Self {
        let html = matches!(status, 502 | 504);
        Self {
            status,
            reason: Reason::Plain,
            message: None,
            headers: Vec::new(),
            retry_info_s: None,
            html,
        }
    }

    /// 429, with `retry-after` in seconds if given.
    pub fn rate_limited(retry_after_s: Option<u64>) -> Self {
        let refusal = Self::status(429);
        match retry_after_s {
            Some(seconds) => refusal.header("retry-after", &seconds.to_string()),
            None => refusal,
        }
    }

    /// 429 for an account without money.
    pub fn insufficient_quota() -> Self {
        Self {
            reason: Reason::InsufficientQuota,
            ..Self::status(429)
        }
    }

    /// 400: prompt longer than the context.
    pub fn context_length() -> Self {
        Self {
            reason: Reason::ContextLength,
            ..Self::status(400)
        }
    }

    /// 400: prompt filtered.
    pub fn content_filter() -> Self {
        Self {
            reason: Reason::ContentFilter,
            ..Self::status(400)
        }
    }

    /// 529, Anthropic's "overloaded".
    pub fn overloaded() -> Self {
        Self::status(529)
    }

    pub(crate) fn no_such_path() -> Self {
        Self {
            message: Some("the scripted upstream has no such path".to_owned()),
            ..Self::status(404)
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says `message`.
    pub fn message(mut self, message: &str) -> Self {
        self.message = Some(message.to_owned());
        self
    }

    pub(crate) fn render(&self, call: u64, asked: &Asked) -> Rendered {
        if self.html {
            let page = format!(
                "<html>\r\n<head><title>{0}</title></head>\r\n<body><h1>{0}</h1></body>\r\n</html>\r\n",
                self.status
            );
            return Rendered::whole(self.status, "text/html", page).with_headers(self.extra());
        }
        let (body, id_header) = match asked.dialect {
            Dialect::OpenaiChat | Dialect::OpenaiResponses => (self.openai(), "x-request-id"),
            Dialect::AnthropicMessages => (self.anthropic(call), "request-id"),
            Dialect::Gemini => (self.gemini(), "x-scripted-id"),
        };
        let mut rendered = Rendered::whole(self.status, "application/json", body)
            .with_headers(std::iter::once((id_header, format!("req_tk_{call}"))).chain(self.extra()));
        rendered.error_event = error_event(asked.dialect);
        rendered
    }

    fn extra(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.clone()))
    }

    /// The default names a piece of a key, as OpenAI's 401 does: what must never reach a client.
    fn text(&self) -> &str {
        if let Some(message) = &self.message {
            return message;
        }
        match (self.status, self.reason) {
            (_, Reason::ContextLength) => {
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 tokens."
            }
            (_, Reason::ContentFilter) => "The prompt was filtered by the content management policy.",
            (_, Reason::InsufficientQuota) => {
                "You exceeded your current quota, please check your plan and billing details."
            }
            (400, _) => "Invalid value for 'messages'.",
            (401, _) => "Incorrect API key provided: sk-scrip*****leak.",
            (402, _) => "Insufficient balance for key sk-scrip*****leak.",
            (403, _) => "Key sk-scrip*****leak is not allowed to use this model.",
            (404, _) => "The model does not exist or you do not have access to it.",
            (408, _) => "Request timed out.",
            (413, _) => "Request exceeds the maximum size.",
            (429, _) => "Rate limit reached for requests per min. Please try again later.",
            (503 | 529, _) => "Overloaded",
            _ => "The server had an error while processing your request.",
        }
    }

    fn openai(&self) -> String {
        let (kind, code): (&str, Option<&str>) = match (self.status, self.reason) {
            (_, Reason::ContextLength) => ("invalid_request_error", Some("context_length_exceeded")),
            (_, Reason::ContentFilter) => ("invalid_request_error", Some("content_policy_violation")),
            (_, Reason::InsufficientQuota) => ("insufficient_quota", Some("insufficient_quota")),
            (401, _) => ("invalid_request_error", Some("invalid_api_key")),
            (402, _) => ("insufficient_quota", Some("credit_balance_exhausted")),
            (403, _) => ("invalid_request_error", Some("model_not_allowed")),
            (404, _) => ("invalid_request_error", Some("model_not_found")),
            (429, _) => ("requests", Some("rate_limit_exceeded")),
            (503 | 529, _) => ("server_error", Some("server_is_overloaded")),
            (500.., _) => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        let error = object! { "message": self.text(), "type": kind, "param": (), "code": code };
        object! { "error": error }.get().to_owned()
    }

    fn anthropic(&self, call: u64) -> String {
        let kind = match self.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 | 408 => "timeout_error",
            529 | 503 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let error = object! { "type": kind, "message": self.text() };
        object! { "type": "error", "error": error, "request_id": format!("req_tk_{call}") }
            .get()
            .to_owned()
    }

    fn gemini(&self) -> String {
        let status = match self.status {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            408 | 504 => "DEADLINE_EXCEEDED",
            429 => "RESOURCE_EXHAUSTED",
            503 | 529 => "UNAVAILABLE",
            500.. => "INTERNAL",
            _ => "INVALID_ARGUMENT",
        };
        let mut error = Object::default();
        error.field("code", &self.status);
        error.field("message", self.text());
        error.field("status", status);
        if let Some(seconds) = self.retry_info_s {
            let info = object! {
                "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
            };
            error.field("details", &[info]);
        }
        object! { "error": error.finish() }.get().to_owned()
    }
}

/// The in-band error of a dialect.
pub(crate) fn error_event(dialect: Dialect) -> bytes::Bytes {
    match dialect {
        Dialect::OpenaiChat => openai::error_event(),
        Dialect::OpenaiResponses => responses::error_event(),
        Dialect::AnthropicMessages => anthropic::error_event(),
        Dialect::Gemini => gemini::error_event(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::request::Request;
    use super::*;

    fn body(target: &str, refusal: &Refusal) -> Value {
        let asked = Asked::read(&Request::of("POST", target, &[], "{}"));
        serde_json::from_slice(&refusal.render(1, &asked).events[0]).unwrap()
    }

    #[test]
    fn each_dialect_has_its_envelope() {
        let refusal = Refusal {
            retry_info_s: Some(7),
            ..Refusal::rate_limited(Some(3))
        };
        assert_eq!(
            body("/v1/chat/completions", &refusal)["error"]["code"],
            "rate_limit_exceeded"
        );
        assert_eq!(body("/v1/messages", &refusal)["error"]["type"], "rate_limit_error");
        let gemini = body("/v1beta/models/g:generateContent", &refusal);
        assert_eq!(gemini["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(gemini["error"]["details"][0]["retryDelay"], "7s");
        assert_eq!(
            body("/v1/responses", &Refusal::insufficient_quota())["error"]["type"],
            "insufficient_quota"
        );
        assert_eq!(
            body("/v1/completions", &Refusal::context_length())["error"]["code"],
            "context_length_exceeded"
        );
    }
}
