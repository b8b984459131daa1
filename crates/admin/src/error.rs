//! The one error of the control plane. Its messages say the mend and hold no secrets.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use store::StoreError;

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// What of the request it is about.
    param: Option<String>,
}

/// Characters of a message: names that it repeats may be of any length.
const MESSAGE_CHARS_MAX: usize = 1_000;

impl ApiError {
    /// 401: nobody known.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthenticated",
            message: message.into(),
            param: None,
        }
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: message.into(),
            param: None,
        }
    }

    /// 400: the request makes no sense.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "malformed",
            message: message.into(),
            param: None,
        }
    }
}

impl ApiError {
    /// 413: more than such a request can be.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "too_large",
            ..Self::malformed(message)
        }
    }

    /// The same, about a part of the request.
    #[must_use]
    pub fn about(self, param: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..self
        }
    }

    #[cfg(test)]
    pub(crate) fn told(self) -> (String, Option<String>) {
        (self.message, self.param)
    }
}

impl From<StoreError> for ApiError {
    /// What a person can mend is told; what only an operator can is logged.
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NotFound { .. } => Self::not_found(message),
            StoreError::Invalid(_) => Self::malformed(message),
            StoreError::Away(_) => {
                tracing::warn!(%message, "a view could not be read");
                let message = "the database cannot be read now; try again".to_owned();
                Self {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    code: "unavailable",
                    message,
                    param: None,
                }
            }
            _ => {
                tracing::error!(%message, "a view could not be read");
                let message = "the server could not answer; its log says why".to_owned();
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    code: "internal",
                    message,
                    param: None,
                }
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = if self.status.is_server_error() {
            "server_error"
        } else {
            "invalid_request_error"
        };
        let short = |text: String| text.chars().take(MESSAGE_CHARS_MAX).collect::<String>();
        let (message, param) = (short(self.message), self.param.map(short));
        let body = json!({"error": {"message": message, "type": kind, "code": self.code, "param": param}});
        (self.status, Json(body)).into_response()
    }
}

pub(crate) async fn no_such_path() -> ApiError {
    let message = "there is no such path here; models are called below /v1".to_owned();
    ApiError {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        message,
        param: None,
    }
}

/// 405: the path takes these methods.
pub(crate) fn no_such_method(methods: &str) -> ApiError {
    let message = format!("this path does not take that method; send one of these: {methods}");
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message,
        param: None,
    }
}
