//! Sessions that go past the gateway: `/v1/realtime/client_secrets`, `…/calls` and what else hands out such a thing.
//!
//! They hand out what a client then uses at the provider itself (openai 3.57, `resources/realtime`, `resources/live`,
//! `resources/beta/chatkit`; google-genai 3.6, `tokens.py`): a secret for a session of its own, or a `WebRTC` connection whose
//! media never comes by here. What such a session costs nobody here can see, so nobody could be billed or stopped. It is
//! refused with the way that can be metered; unless the operator wants it so, which takes three decisions: the account is not
//! limited, the key may use all of the provider, and the provider's list has the path.
//!
//! Where such a thing is found is the upstream's affair: below a version of its own, with other letters, behind a parameter.
//! So any segment of the whole path that goes upstream counts, read as generously as anybody may read it.

use domain::snapshot::{Key, Upstream};
use domain::{Fault, FaultKind, Policy};

use crate::inbound::loosely_decoded;

/// What is, as a segment anywhere in a path, the name of such sessions.
const SESSIONS: [&str; 4] = ["realtime", "chatkit", "auth_tokens", "authtokens"];

/// A name that says too little alone.
const LIVE_SESSIONS: [&str; 2] = ["live", "sessions"];

/// Refuses what would go past the gateway wherever it is sent, for keys that are billed.
pub(crate) fn check(path: &str, key: &Key) -> Result<(), Fault> {
    refuse_if(hands_out_a_session(path), path, key)
}

/// The same, once it is known where it is sent: the address of the upstream has a path, too.
pub(crate) fn check_at(upstream: &Upstream, path: &str, key: &Key) -> Result<(), Fault> {
    let (_, address) = upstream.base_url.split_once("://").unwrap_or_default();
    let (_, base) = address.split_once('/').unwrap_or_default();
    refuse_if(hands_out_a_session(&format!("/{base}{path}")), path, key)
}

fn refuse_if(goes_past: bool, path: &str, key: &Key) -> Result<(), Fault> {
    let is_unbilled = key.user.policy == Policy::Unlimited && key.passthrough && key.models.is_empty();
    if !goes_past || is_unbilled {
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

fn hands_out_a_session(path: &str) -> bool {
    let read = loosely_decoded(path).to_lowercase();
    let name = |segment: &'_ str| segment.split(';').next().unwrap_or_default().trim().to_owned();
    let names: Vec<String> = read
        .split(['/', '\\'])
        .map(name)
        .filter(|name| !name.is_empty())
        .collect();
    names.iter().any(|name| SESSIONS.contains(&&**name)) || names.windows(2).any(|pair| pair == LIVE_SESSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_known_however_their_path_is_written() {
        for path in [
            "/realtime/client_secrets",
            "/realtime/calls/rtc_1/accept",
            "//realtime/sessions",
            "/openai/v1/realtime/client_secrets",
            "/v1/v1/realtime/client_secrets",
            "/Realtime/calls",
            "/realtime;x/calls",
            "/realtime%20/calls",
            "/%09realtime/calls",
            "/realtim%65/client_secrets/%ff",
            "/realtime%2Fcalls%zz",
            "/realtime%3Bx/calls",
            "/x\\realtime\\calls",
            // An offer for WebRTC was made here before there was `/calls`.
            "/v1/realtime",
            "/live/sessions/s1/accept",
            "/chatkit/sessions",
            "/auth_tokens",
        ] {
            assert!(hands_out_a_session(path), "{path}");
        }
        for path in [
            "/realtimes/x",
            "/files/file-realtime/content",
            "/live",
            "/sessions/live",
            "/agents/sessions",
        ] {
            assert!(!hands_out_a_session(path), "{path}");
        }
    }
}
