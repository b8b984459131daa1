//! Sessions that go past the gateway: `/v1/realtime/client_secrets`, `…/calls` and what else is below `/v1/realtime`.
//!
//! They hand out what a client then uses at the provider itself (openai 3.57, `resources/realtime`): a secret for a session of
//! its own, or a WebRTC connection whose media never comes by here. What such a session costs nobody here can see, so nobody
//! could be billed or stopped. It is refused with the way that can be metered; unless the operator wants it so, which takes
//! three decisions: the account is not limited, the key may use all of the provider, and the provider's list has the path.

use domain::snapshot::Key;
use domain::{Fault, FaultKind, Policy};

use crate::inbound::decoded;

/// Refuses what would go past the gateway, for keys that are billed.
pub(crate) fn check(path: &str, key: &Key) -> Result<(), Fault> {
    // As the upstream may read it.
    let read = decoded(path).unwrap_or_default();
    let is_unbilled = key.user.policy == Policy::Unlimited && key.passthrough && key.models.is_empty();
    if !is_below_realtime(&read) || is_unbilled {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Forbidden,
        format!(
            "`/v1{path}` begins a session that goes past this gateway (WebRTC, or a secret for the provider itself), where it can \
             be neither metered nor billed; open a WebSocket at `/v1/realtime?model=…` with your key instead. Only a key with \
             `passthrough: true` for all models, of an account with policy `unlimited`, may use it"
        ),
    ))
}

fn is_below_realtime(path: &str) -> bool {
    path.trim_start_matches('/').starts_with("realtime/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_realtime_goes_past_the_gateway() {
        for path in [
            "/realtime/client_secrets",
            "/realtime/calls/rtc_1/accept",
            "//realtime/sessions",
        ] {
            assert!(is_below_realtime(path), "{path}");
        }
        for path in ["/realtime", "/realtimes/x", "/files/realtime/x"] {
            assert!(!is_below_realtime(path), "{path}");
        }
    }
}
