//! The opening handshake of a WebSocket (RFC 6455, section 4), as both sides of it.
//!
//! Extensions are never agreed on: compressed frames could not be looked into. A browser cannot set headers, so its key
//! comes as a subprotocol, `openai-insecure-api-key.<key>`; it is ours, and neither goes on nor comes back.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Fault, FaultKind};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use rand::RngCore as _;

use crate::limits::PROTOCOLS_MAX;

/// What is hashed with the key to show that the handshake was understood.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The subprotocol that says what the events are.
const REALTIME: &str = "realtime";
/// Subprotocols that carry something of the client's account.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
const ACCOUNT_PROTOCOLS: [&str; 3] = [KEY_PROTOCOL, "openai-organization.", "openai-project."];

/// Headers of a handshake: each hop has its own.
const HANDSHAKE: [HeaderName; 5] = [
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
];

/// What a client offers.
#[derive(Debug)]
pub(super) struct Offer {
    accept: HeaderValue,
    /// Without those that carry something of its account.
    protocols: Vec<String>,
}

/// The key that a client presents as a subprotocol.
pub(super) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    protocols(headers)
        .find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL))
        .filter(|key| !key.is_empty())
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let items = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    items.map(str::trim).filter(|item| !item.is_empty()).take(PROTOCOLS_MAX)
}

impl Offer {
    /// Reads a client's side, and takes it out of the headers.
    pub(super) fn take(headers: &mut HeaderMap) -> Result<Self, Fault> {
        let has = |name: HeaderName, word: &str| {
            let mut lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
            lists.any(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
        };
        let refuse = |message: &'static str| Err(Fault::new(FaultKind::Malformed, message));
        if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
            return refuse("this path is a WebSocket: connect to it with `upgrade: websocket`");
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return refuse("the WebSocket version must be 13");
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let Some(key) = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16)) else {
            return refuse("`sec-websocket-key` must be 16 bytes in base64");
        };
        let offer = Self {
            accept: accept(key),
            protocols: protocols(headers)
                .filter(|item| !ACCOUNT_PROTOCOLS.iter().any(|account| item.starts_with(account)))
                .map(str::to_owned)
                .collect(),
        };
        for name in &HANDSHAKE {
            headers.remove(name);
        }
        Ok(offer)
    }

    /// Our answer. Of what the client offers, the subprotocol that the upstream chose; a browser that offered some and
    /// gets none would hang up.
    pub(super) fn answer(&self, chosen: Option<&str>, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        let offered = |wanted: &str| self.protocols.iter().find(|protocol| *protocol == wanted);
        let chosen = chosen
            .and_then(offered)
            .or_else(|| offered(REALTIME))
            .or_else(|| self.protocols.first());
        if let Some(value) = chosen.and_then(|protocol| HeaderValue::try_from(protocol).ok()) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
    }

    /// Our side towards an upstream, with a key of our own. Gives what must come back.
    pub(super) fn ask(&self, headers: &mut HeaderMap) -> HeaderValue {
        let mut nonce = [0_u8; 16];
        rand::rng().fill_bytes(&mut nonce);
        let key = STANDARD.encode(nonce);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if !self.protocols.is_empty()
            && let Ok(value) = HeaderValue::try_from(self.protocols.join(", "))
        {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        let expected = accept(key.as_bytes());
        if let Ok(value) = HeaderValue::try_from(key) {
            headers.insert(SEC_WEBSOCKET_KEY, value);
        }
        expected
    }

    /// What is wrong with an upstream's answer, if anything is.
    pub(super) fn problem_of(&self, answer: &HeaderMap, expected: &HeaderValue) -> Option<&'static str> {
        if answer.get(SEC_WEBSOCKET_ACCEPT) != Some(expected) {
            return Some("the upstream switched protocols without understanding the handshake");
        }
        if answer.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return Some("the upstream uses a WebSocket extension that was not offered");
        }
        let chosen = answer.get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
        let is_foreign = |chosen: &[u8]| !self.protocols.iter().any(|offered| offered.as_bytes() == chosen);
        chosen
            .is_some_and(is_foreign)
            .then_some("the upstream chose a subprotocol that was not offered")
    }
}

fn accept(key: &[u8]) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    let text = STANDARD.encode(context.finish());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(protocols: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        for protocol in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        headers
    }

    #[test]
    fn the_answer_is_that_of_the_standards_example() {
        let mut answer = HeaderMap::new();
        Offer::take(&mut offering(&[])).unwrap().answer(None, &mut answer);
        assert_eq!(answer[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.contains_key(SEC_WEBSOCKET_PROTOCOL) && !answer.contains_key(SEC_WEBSOCKET_EXTENSIONS));
    }

    #[test]
    fn a_key_among_the_subprotocols_goes_nowhere() {
        let mut headers = offering(&[
            "realtime, openai-insecure-api-key.sk-tg-1",
            "openai-organization.o, openai-beta.realtime-v1",
        ]);
        assert_eq!(presented_key(&headers), Some("sk-tg-1"));
        let offer = Offer::take(&mut headers).unwrap();
        assert!(HANDSHAKE.iter().all(|name| !headers.contains_key(name)));
        let mut asked = HeaderMap::new();
        let expected = offer.ask(&mut asked);
        assert_eq!(asked[SEC_WEBSOCKET_PROTOCOL], "realtime, openai-beta.realtime-v1");
        assert_eq!(accept(asked[SEC_WEBSOCKET_KEY].as_bytes()), expected);
        let mut answer = HeaderMap::new();
        offer.answer(None, &mut answer);
        assert_eq!(answer[SEC_WEBSOCKET_PROTOCOL], "realtime");
        offer.answer(Some("openai-beta.realtime-v1"), &mut answer);
        assert_eq!(answer[SEC_WEBSOCKET_PROTOCOL], "openai-beta.realtime-v1");
        let only_key = Offer::take(&mut offering(&["openai-insecure-api-key.sk-tg-1"])).unwrap();
        let mut answer = HeaderMap::new();
        only_key.answer(Some("openai-insecure-api-key.sk-tg-1"), &mut answer);
        assert!(!answer.contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_KEY] {
            let mut headers = offering(&[]);
            headers.remove(&name);
            assert_eq!(
                Offer::take(&mut headers).unwrap_err().kind,
                FaultKind::Malformed,
                "{name}"
            );
        }
    }

    #[test]
    fn an_upstream_must_answer_what_was_asked() {
        let offer = Offer::take(&mut offering(&["realtime"])).unwrap();
        let expected = offer.ask(&mut HeaderMap::new());
        let mut answer = HeaderMap::new();
        assert!(offer.problem_of(&answer, &expected).is_some());
        answer.insert(SEC_WEBSOCKET_ACCEPT, expected.clone());
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("realtime"));
        assert_eq!(offer.problem_of(&answer, &expected), None);
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("other"));
        assert!(offer.problem_of(&answer, &expected).is_some());
        answer.remove(SEC_WEBSOCKET_PROTOCOL);
        answer.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        assert!(offer.problem_of(&answer, &expected).is_some());
    }
}
