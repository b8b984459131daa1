//! What Tollgate itself says in the caller's dialect: refusals, errors inside a stream, heartbeats.

use bytes::Bytes;
use domain::{Dialect, Fault};

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
    let _ = (dialect, request_id);
    Rendered { status: fault.kind.status(), body: Bytes::new() }
}

/// Renders `fault` as the last event of a stream that has begun: never a normal terminator.
pub fn in_band(dialect: Dialect, fault: &Fault, json_array: bool) -> Bytes {
    let _ = (dialect, fault, json_array);
    Bytes::new()
}

/// The same, where no event was relayed before it (only heartbeats): a JSON array must then be opened first.
pub fn in_band_opening(dialect: Dialect, fault: &Fault, json_array: bool) -> Bytes {
    in_band(dialect, fault, json_array)
}

/// Bytes that keep a silent stream alive and mean nothing; safe between events.
pub fn heartbeat(dialect: Dialect, json_array: bool) -> &'static [u8] {
    match dialect {
        Dialect::AnthropicMessages => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        Dialect::Gemini if json_array => b"\n",
        _ => b": keepalive\n\n",
    }
}
