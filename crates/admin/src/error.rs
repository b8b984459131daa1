//! The one error of the control plane. Its messages say the mend and hold no secrets.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
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
}

impl ApiError {
    /// 401: nobody known.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthenticated",
            message: message.into(),
        }
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: message.into(),
        }
    }

    /// 400: the request makes no sense.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "malformed",
            message: message.into(),
        }
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
                }
            }
            _ => {
                tracing::error!(%message, "a view could not be read");
                let message = "the server could not answer; its log says why".to_owned();
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    code: "internal",
                    message,
                }
            }
        }
    }
}

impl From<QueryRejection> for ApiError {
    /// The framework's own answer would be plain text.
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

impl From<JsonRejection> for ApiError {
    /// As above; without the body, which may hold a code.
    fn from(rejection: JsonRejection) -> Self {
        let what = match rejection {
            JsonRejection::MissingJsonContentType(_) => "send `content-type: application/json`",
            JsonRejection::JsonDataError(_) => "the body has a member that is missing, unknown, or of another type",
            _ => "the body is no JSON",
        };
        Self::malformed(what)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = if self.status.is_server_error() {
            "server_error"
        } else {
            "invalid_request_error"
        };
        let body = json!({"error": {"message": self.message, "type": kind, "code": self.code, "param": null}});
        (self.status, Json(body)).into_response()
    }
}

pub(crate) async fn no_such_path() -> ApiError {
    let message = "there is no such path here; models are called below /v1".to_owned();
    ApiError {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        message,
    }
}

pub(crate) async fn no_such_method() -> ApiError {
    let message = "this path does not take that method".to_owned();
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message,
    }
}
