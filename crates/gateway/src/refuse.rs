//! The one place where a refusal becomes an answer.

use bytes::Bytes;
use domain::{Dialect, Fault};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::headers;

/// Renders a fault in the caller's dialect.
pub(crate) fn refuse(dialect: Dialect, fault: &Fault, request_id: &str) -> Response<Body> {
    let rendered = dialects::refusal(dialect, fault, request_id);
    let mut response = json(rendered.status, rendered.body);
    if let Ok(id) = HeaderValue::try_from(request_id) {
        // Anthropic's SDKs read theirs from `request-id`.
        if dialect == Dialect::AnthropicMessages {
            response.headers_mut().insert("request-id", id.clone());
        }
        response.headers_mut().insert(&headers::REQUEST_ID, id);
    }
    if let Some(allowed) = fault.allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if let Some(wait) = fault.retry_after {
        let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(secs.max(1)));
        headers.insert(
            "retry-after-ms",
            HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        );
    }
    response
}

/// What is kept of a request that an upstream refused. The provider's words are the client's alone: they may quote what it
/// sent.
pub(crate) fn recorded(status: StatusCode) -> String {
    format!("the upstream refused the request with status {}", status.as_u16())
}

/// A JSON answer.
pub(crate) fn json(status: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
