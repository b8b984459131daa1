//! What Tollgate itself says in the caller's dialect: refusals, errors inside a stream, heartbeats.
//!
//! SDKs choose their exception class by the HTTP status and show the envelope's message, so both must be what the
//! provider would have sent. The machine-readable code is ours ([`domain::FaultKind::code`]), where the dialect has a
//! place for one. An error inside a stream never looks like a normal end.

use bytes::Bytes;
use domain::{Dialect, Fault, FaultKind};
use serde_json::{Map, Value, json};

use crate::hub::nested;
use crate::provider_error::{ProviderError, overloaded_status};

/// A refusal ready to be sent as `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Renders `fault` as an HTTP refusal.
pub fn refusal(dialect: Dialect, fault: &Fault, request_id: &str) -> Rendered {
    let status = status(dialect, fault.kind);
    let mut envelope = envelope(dialect, fault, status);
    if let (Dialect::AnthropicMessages, Value::Object(members)) = (dialect, &mut envelope) {
        members.insert("request_id".to_owned(), Value::from(request_id));
    }
    Rendered {
        status,
        body: envelope.to_string().into(),
    }
}

/// Tells a provider's refusal of the caller's request in another dialect: the same status and message, in the envelope
/// that the client's SDK reads.
pub fn retell_refusal(to: Dialect, status: u16, body: &[u8], request_id: &str) -> Rendered {
    let kind = match status {
        404 => FaultKind::NoSuchModel,
        413 => FaultKind::TooLarge,
        415 => FaultKind::UnsupportedMedia,
        _ => FaultKind::Malformed,
    };
    let error = ProviderError::read(body);
    let (message, code) = error.told();
    let message = if message.is_empty() {
        "the upstream refused the request"
    } else {
        message
    };
    let mut envelope = envelope(to, &Fault::new(kind, message.to_owned()), status);
    match to {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            envelope["error"]["code"] = code.into();
            keep_openais_own(&mut envelope["error"], body);
        }
        Dialect::AnthropicMessages => envelope["request_id"] = request_id.into(),
        Dialect::Gemini | Dialect::BedrockConverse => {}
    }
    Rendered {
        status,
        body: envelope.to_string().into(),
    }
}

/// Chat Completions and Responses have one envelope, so between the two an error keeps its type, parameter and code
/// (<https://platform.openai.com/docs/guides/error-codes>). Other providers' errors have no `param`.
fn keep_openais_own(error: &mut Value, body: &[u8]) {
    let Ok(root) = nested::read(body) else {
        return;
    };
    let Some(own) = root.get("error").filter(|own| own.get("param").is_some()) else {
        return;
    };
    for member in ["type", "param", "code"] {
        match own.get(member) {
            // What tells an agent to shorten its history stays, also where the provider says it in its message only.
            Some(Value::Null) if member == "code" && error["code"] == "context_length_exceeded" => {}
            Some(told @ (Value::String(_) | Value::Null)) => error[member] = told.clone(),
            _ => {}
        }
    }
}

/// Renders `fault` as the last event of a stream in which events were relayed: never a normal terminator.
/// The stream is to be closed after it.
pub fn in_band(dialect: Dialect, fault: &Fault, json_array: bool) -> Bytes {
    array_or_event(dialect, fault, json_array, ",\n")
}

/// The same after events with numbers (Responses), of which `next` would be the next one's.
pub fn in_band_numbered(dialect: Dialect, fault: &Fault, json_array: bool, next: u64) -> Bytes {
    if dialect == Dialect::OpenaiResponses {
        return responses_event(fault, next);
    }
    in_band(dialect, fault, json_array)
}

/// The same, where nothing but heartbeats was relayed before it: a JSON array must then be opened first.
pub fn in_band_opening(dialect: Dialect, fault: &Fault, json_array: bool) -> Bytes {
    array_or_event(dialect, fault, json_array, "[")
}

/// Bytes that keep a silent stream alive and mean nothing; safe between events. For Gemini an empty line in both forms of
/// its streams: the Python SDK google-genai 3.4 takes a comment line for JSON and fails on it.
pub const fn heartbeat(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::AnthropicMessages => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        Dialect::Gemini => b"\n",
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::BedrockConverse => b": keepalive\n\n",
    }
}

const fn status(dialect: Dialect, kind: FaultKind) -> u16 {
    match kind {
        FaultKind::Overloaded => overloaded_status(dialect),
        _ => kind.status(),
    }
}

fn array_or_event(dialect: Dialect, fault: &Fault, json_array: bool, before: &str) -> Bytes {
    let status = status(dialect, fault.kind);
    let envelope = envelope(dialect, fault, status);
    match dialect {
        Dialect::Gemini if json_array => format!("{before}{envelope}]").into(),
        Dialect::OpenaiResponses => responses_event(fault, 0),
        Dialect::AnthropicMessages => format!("event: error\ndata: {envelope}\n\n").into(),
        Dialect::OpenaiChat | Dialect::Gemini | Dialect::BedrockConverse => format!("data: {envelope}\n\n").into(),
    }
}

/// The documentation has the fields flat, the provider sends them nested; SDKs raise on the nested form only.
fn responses_event(fault: &Fault, number: u64) -> Bytes {
    let mut event = json!({
        "type": "error",
        "sequence_number": number,
        "code": fault.kind.code(),
        "message": fault.message,
        "param": null,
    });
    if let (Value::Object(event), Value::Object(envelope)) = (&mut event, openai(fault)) {
        event.extend(envelope);
    }
    format!("event: error\ndata: {event}\n\n").into()
}

fn envelope(dialect: Dialect, fault: &Fault, status: u16) -> Value {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => openai(fault),
        Dialect::AnthropicMessages => {
            json!({"type": "error", "error": {"type": anthropic_type(fault.kind), "message": fault.message}})
        }
        Dialect::Gemini => gemini(fault, status),
        Dialect::BedrockConverse => json!({"message": fault.message}),
    }
}

fn openai(fault: &Fault) -> Value {
    let param = match fault.kind {
        FaultKind::NoSuchModel => Some("model"),
        FaultKind::NoSuchPrevious => Some("previous_response_id"),
        _ => None,
    };
    json!({"error": {
        "message": fault.message,
        "type": openai_type(fault.kind),
        "param": param,
        "code": fault.kind.code(),
    }})
}

pub(crate) const fn openai_type(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Malformed
        | FaultKind::Unauthenticated
        | FaultKind::NoSuchModel
        | FaultKind::NoSuchPath
        | FaultKind::NoSuchObject
        | FaultKind::NoSuchPrevious
        | FaultKind::MethodNotAllowed
        | FaultKind::RequestTimeout
        | FaultKind::TooLarge
        | FaultKind::UnsupportedMedia => "invalid_request_error",
        FaultKind::BalanceExhausted | FaultKind::Unpriced => "insufficient_quota",
        FaultKind::Forbidden => "permission_error",
        FaultKind::RateLimited | FaultKind::UpstreamLimited => "rate_limit_error",
        FaultKind::Internal
        | FaultKind::UpstreamFailed
        | FaultKind::BadGateway
        | FaultKind::Unavailable
        | FaultKind::Unrecordable
        | FaultKind::Saturated
        | FaultKind::UpstreamTimeout
        | FaultKind::Overloaded => "server_error",
    }
}

const fn anthropic_type(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Malformed
        | FaultKind::NoSuchPrevious
        | FaultKind::MethodNotAllowed
        | FaultKind::RequestTimeout
        | FaultKind::UnsupportedMedia => "invalid_request_error",
        FaultKind::Unauthenticated => "authentication_error",
        FaultKind::BalanceExhausted | FaultKind::Unpriced => "billing_error",
        FaultKind::Forbidden => "permission_error",
        FaultKind::NoSuchModel | FaultKind::NoSuchPath | FaultKind::NoSuchObject => "not_found_error",
        FaultKind::TooLarge => "request_too_large",
        FaultKind::RateLimited | FaultKind::UpstreamLimited => "rate_limit_error",
        FaultKind::Overloaded => "overloaded_error",
        FaultKind::UpstreamTimeout => "timeout_error",
        FaultKind::Internal
        | FaultKind::UpstreamFailed
        | FaultKind::BadGateway
        | FaultKind::Unavailable
        | FaultKind::Unrecordable
        | FaultKind::Saturated => "api_error",
    }
}

fn gemini(fault: &Fault, status: u16) -> Value {
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": fault.kind.code(),
        "domain": "tollgate",
    })];
    if let Some(wait) = fault.retry_after {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", wait.as_secs_f64()),
        }));
    }
    let mut error = Map::new();
    error.insert("code".to_owned(), status.into());
    error.insert("message".to_owned(), fault.message.as_ref().into());
    error.insert("status".to_owned(), gemini_status(fault.kind).into());
    error.insert("details".to_owned(), details.into());
    json!({ "error": error })
}

/// Google's canonical codes. There is none for 402; a condition of the account that is not met comes nearest.
const fn gemini_status(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Malformed | FaultKind::NoSuchPrevious | FaultKind::TooLarge | FaultKind::UnsupportedMedia => {
            "INVALID_ARGUMENT"
        }
        FaultKind::Unauthenticated => "UNAUTHENTICATED",
        FaultKind::BalanceExhausted | FaultKind::Unpriced => "FAILED_PRECONDITION",
        FaultKind::Forbidden => "PERMISSION_DENIED",
        FaultKind::NoSuchModel | FaultKind::NoSuchPath | FaultKind::NoSuchObject => "NOT_FOUND",
        FaultKind::MethodNotAllowed => "UNIMPLEMENTED",
        FaultKind::RateLimited | FaultKind::UpstreamLimited => "RESOURCE_EXHAUSTED",
        FaultKind::Internal | FaultKind::UpstreamFailed => "INTERNAL",
        FaultKind::BadGateway
        | FaultKind::Unavailable
        | FaultKind::Unrecordable
        | FaultKind::Saturated
        | FaultKind::Overloaded => "UNAVAILABLE",
        FaultKind::RequestTimeout | FaultKind::UpstreamTimeout => "DEADLINE_EXCEEDED",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KINDS: [FaultKind; 23] = [
        FaultKind::Malformed,
        FaultKind::Unauthenticated,
        FaultKind::BalanceExhausted,
        FaultKind::Unpriced,
        FaultKind::Forbidden,
        FaultKind::NoSuchModel,
        FaultKind::NoSuchPath,
        FaultKind::NoSuchObject,
        FaultKind::NoSuchPrevious,
        FaultKind::MethodNotAllowed,
        FaultKind::RequestTimeout,
        FaultKind::TooLarge,
        FaultKind::UnsupportedMedia,
        FaultKind::RateLimited,
        FaultKind::UpstreamLimited,
        FaultKind::Internal,
        FaultKind::UpstreamFailed,
        FaultKind::BadGateway,
        FaultKind::Unavailable,
        FaultKind::Unrecordable,
        FaultKind::Saturated,
        FaultKind::UpstreamTimeout,
        FaultKind::Overloaded,
    ];

    fn rendered(dialect: Dialect, kind: FaultKind) -> (u16, Value) {
        let rendered = refusal(dialect, &Fault::new(kind, "it \"broke\"\nhere"), "req-1");
        (rendered.status, serde_json::from_slice(&rendered.body).unwrap())
    }

    #[test]
    fn an_error_of_one_of_openais_formats_is_the_same_in_the_other() {
        let told = |to, body: &Value| -> Value {
            let told = retell_refusal(to, 404, body.to_string().as_bytes(), "req-1");
            serde_json::from_slice(&told.body).unwrap()
        };
        let error =
            json!({"error": {"message": "no m", "type": "some_error", "param": "messages", "code": "model_not_found"}});
        assert_eq!(told(Dialect::OpenaiResponses, &error), error);
        let bare = json!({"error": {"message": "no m", "type": "some_error", "param": null, "code": null}});
        assert_eq!(told(Dialect::OpenaiChat, &bare), bare);
        let too_long = json!({"error": {"message": "maximum context length is 8", "type": "t", "param": "messages", "code": null}});
        assert_eq!(
            told(Dialect::OpenaiChat, &too_long)["error"]["code"],
            "context_length_exceeded"
        );
        // Anthropic's has neither, so it is told in our own words.
        let other = json!({"type": "error", "error": {"type": "not_found_error", "message": "no m"}});
        assert_eq!(told(Dialect::OpenaiChat, &other)["error"]["param"], "model");
    }

    #[test]
    fn envelopes() {
        assert_eq!(
            rendered(Dialect::OpenaiChat, FaultKind::NoSuchModel),
            (
                404,
                json!({"error": {"message": "it \"broke\"\nhere", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}})
            )
        );
        assert_eq!(
            rendered(Dialect::AnthropicMessages, FaultKind::Overloaded),
            (
                529,
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "it \"broke\"\nhere"}, "request_id": "req-1"})
            )
        );
        let (status, body) = rendered(Dialect::Gemini, FaultKind::RateLimited);
        assert_eq!(
            (status, &body["error"]["code"], &body["error"]["status"]),
            (429, &json!(429), &json!("RESOURCE_EXHAUSTED"))
        );
        assert_eq!(body["error"]["details"][0]["reason"], "rate_limit_exceeded");
        assert_eq!(rendered(Dialect::OpenaiResponses, FaultKind::Overloaded).0, 503);
    }

    #[test]
    fn a_providers_refusal_is_told_in_the_clients_envelope() {
        let anthropic =
            br#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 > 2"}}"#;
        let told = |to| -> Value {
            let rendered = retell_refusal(to, 400, anthropic, "req-1");
            assert_eq!(rendered.status, 400);
            serde_json::from_slice(&rendered.body).unwrap()
        };
        let openai = &told(Dialect::OpenaiChat)["error"];
        assert_eq!(
            (&openai["message"], &openai["code"], &openai["type"]),
            (
                &json!("prompt is too long: 3 > 2"),
                &json!("context_length_exceeded"),
                &json!("invalid_request_error")
            )
        );
        assert_eq!(told(Dialect::Gemini)["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(told(Dialect::AnthropicMessages)["request_id"], "req-1");
        let empty = retell_refusal(Dialect::OpenaiChat, 422, b"<html>", "r");
        assert_eq!(empty.status, 422);
        assert!(String::from_utf8_lossy(&empty.body).contains("the upstream refused the request"));
    }

    #[test]
    fn statuses_are_the_faults_own_but_for_the_overload() {
        for dialect in Dialect::ALL {
            for kind in KINDS {
                let (status, body) = rendered(dialect, kind);
                let expected = if (dialect, kind) == (Dialect::AnthropicMessages, FaultKind::Overloaded) {
                    529
                } else {
                    kind.status()
                };
                assert_eq!(status, expected, "{dialect} {kind:?}");
                assert!(body.is_object());
            }
        }
    }

    #[test]
    fn gemini_says_when_to_come_back() {
        let fault = Fault::new(FaultKind::RateLimited, "slow down").retry_after(Duration::from_millis(1_500));
        let body: Value = serde_json::from_slice(&refusal(Dialect::Gemini, &fault, "").body).unwrap();
        assert_eq!(body["error"]["details"][1]["retryDelay"], "1.5s");
    }

    #[test]
    fn errors_inside_a_stream_are_single_events() {
        let fault = Fault::new(FaultKind::BadGateway, "two\n\nlines");
        for dialect in Dialect::ALL {
            let bytes = in_band(dialect, &fault, false);
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(
                text.ends_with("\n\n") && text.trim_end().matches("\n\n").count() == 0,
                "{text}"
            );
            assert!(!text.contains("[DONE]"));
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            assert!(serde_json::from_str::<Value>(data).unwrap().is_object());
        }
        assert!(in_band(Dialect::OpenaiChat, &fault, false).starts_with(b"data: {\"error\":{"));
        assert!(in_band(Dialect::AnthropicMessages, &fault, false).starts_with(b"event: error\n"));
        let responses = in_band(Dialect::OpenaiResponses, &fault, false);
        let data: Value = serde_json::from_slice(responses.strip_prefix(b"event: error\ndata: ").unwrap()).unwrap();
        assert_eq!(
            (&data["type"], &data["error"]["code"]),
            (&json!("error"), &json!("upstream_error"))
        );
    }

    #[test]
    fn errors_in_a_json_array_keep_it_json() {
        let fault = Fault::new(FaultKind::BadGateway, "broke");
        let array = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap();
        let opening = in_band_opening(Dialect::Gemini, &fault, true);
        assert_eq!(array(std::str::from_utf8(&opening).unwrap()).len(), 1);
        let following = in_band(Dialect::Gemini, &fault, true);
        let heartbeat = std::str::from_utf8(heartbeat(Dialect::Gemini)).unwrap();
        let whole = format!(
            "{heartbeat}[{{}}{heartbeat}{}",
            std::str::from_utf8(&following).unwrap()
        );
        assert_eq!(array(&whole)[1]["error"]["code"], 502);
    }
}
