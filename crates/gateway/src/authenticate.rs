//! Who calls: a key, looked up by its hash in the snapshot. No IO.

use std::net::IpAddr;
use std::sync::Arc;

use domain::snapshot::Key;
use domain::{Fault, FaultKind, Snapshot};
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::gateway::Inner;

/// A caller that is known.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its key.
    pub(crate) key: Arc<Key>,
    /// The world it sees, to the end of its call.
    pub(crate) snapshot: Arc<Snapshot>,
}

/// The key that a request presents, wherever it does: `authorization: Bearer`, `x-api-key`, `api-key`,
/// `x-goog-api-key` or `?key=`.
pub fn presented_key(head: &Parts) -> Option<&str> {
    let header = |name: &str| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let bearer = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer_token);
    let query = || head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("key="));
    bearer
        .or_else(|| header("x-api-key"))
        .or_else(|| header("api-key"))
        .or_else(|| header("x-goog-api-key"))
        .or_else(query)
        .filter(|key| !key.is_empty())
}

fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Finds the caller, or says in which way it is not known. The answer for an unknown key and for one that was removed
/// is the same.
pub(crate) fn authenticate(gateway: &Inner, head: &Parts, peer: IpAddr) -> Result<Caller, Fault> {
    authenticate_as(gateway, head, peer, presented_key(head))
}

/// The same with the key that was presented, wherever it was.
pub(crate) fn authenticate_as(
    gateway: &Inner,
    head: &Parts,
    peer: IpAddr,
    presented: Option<&str>,
) -> Result<Caller, Fault> {
    let refuse = |message: &'static str| Err(Fault::new(FaultKind::Unauthenticated, message));
    let Some(presented) = presented else {
        return refuse(
            "no API key was sent; send it as `authorization: Bearer sk-tg-…`, `x-api-key` or `x-goog-api-key`",
        );
    };
    let snapshot = gateway.snapshot.load_full();
    let hash = gateway.hasher.hash(presented);
    // Looking up a keyed hash gives away nothing by its timing: an attacker cannot choose hashes without the key.
    let key = match (&gateway.master, snapshot.keys.get(&hash)) {
        (_, Some(key)) => Arc::clone(key),
        (Some(master), None) if master.hash == hash => Arc::clone(&master.key),
        _ => return refuse("the API key is not known here; it may have been removed"),
    };
    if key.expires.is_some_and(|expires| gateway.clock.now() >= expires) {
        return refuse("the API key has expired");
    }
    if !key.addresses.is_empty() {
        let client = client_address(gateway, head, peer);
        if !key.addresses.iter().any(|net| net.contains(&client)) {
            return refuse("the API key may not be used from this address");
        }
    }
    Ok(Caller { key, snapshot })
}

/// The client's address: the peer's, or what the trusted proxies in front of us say, read from the right.
pub(crate) fn client_address(gateway: &Inner, head: &Parts, peer: IpAddr) -> IpAddr {
    let trusted = |address: IpAddr| gateway.trusted_proxies.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    let forwarded: Vec<&str> = head
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .collect();
    for hop in forwarded.into_iter().rev() {
        if !trusted(client) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn presented(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        presented_key(&head).map(str::to_owned)
    }

    #[test]
    fn a_key_is_found_wherever_sdks_put_it() {
        for (uri, headers) in [
            ("/", vec![("authorization", "Bearer k")]),
            ("/", vec![("authorization", "bearer  k")]),
            ("/", vec![("x-api-key", "k")]),
            ("/", vec![("api-key", "k")]),
            ("/", vec![("x-goog-api-key", "k")]),
            ("/?alt=sse&key=k", vec![]),
        ] {
            assert_eq!(presented(uri, &headers).as_deref(), Some("k"), "{uri} {headers:?}");
        }
        assert_eq!(presented("/?monkey=k", &[("authorization", "Basic k")]), None);
        assert_eq!(presented("/", &[("x-api-key", "")]), None);
    }
}
