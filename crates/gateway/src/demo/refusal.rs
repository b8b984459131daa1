//! The demonstration's 400: the caller's mistake, in the words and the envelope that the real provider would use.
//!
//! It is not a [`domain::Fault`]: a fault is Tollgate's own and may lead to another target; this is an *upstream's*
//! answer that passes through unchanged.

use bytes::Bytes;
use domain::Dialect;
use serde_json::{Value, json};

use super::{fresh_id, json_bytes};

/// Why the demonstration does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    message: String,
    /// The offending field and a code: only `OpenAI`'s envelope has them.
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refusal {
    /// Something is wrong with the request as a whole.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: None,
            code: None,
        }
    }

    /// `param` has a value that cannot be served.
    pub(crate) fn value(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param),
            code: Some("invalid_value"),
        }
    }

    /// `param` is missing, in `OpenAI`'s words.
    pub(crate) fn missing(param: &'static str) -> Self {
        Self {
            message: format!("Missing required parameter: '{param}'."),
            param: Some(param),
            code: Some("missing_required_parameter"),
        }
    }

    /// The body of the 400.
    pub(crate) fn render(&self, dialect: Dialect) -> Bytes {
        json_bytes(&self.envelope(dialect))
    }

    fn envelope(&self, dialect: Dialect) -> Value {
        let message = &self.message;
        match dialect {
            Dialect::AnthropicMessages => json!({
                "type": "error",
                "error": {"type": "invalid_request_error", "message": message},
                "request_id": fresh_id("req_"),
            }),
            Dialect::Gemini => json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}),
            Dialect::BedrockConverse => json!({"message": message}),
            Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({
                "error": {"message": message, "type": "invalid_request_error", "param": self.param, "code": self.code},
            }),
        }
    }
}
