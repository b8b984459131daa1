//! What was told an upstream in confidence, kept out of what goes on.
//!
//! Some providers repeat the credential in their refusals, whole. The client must not see it, nor the log. Looking for the
//! very secrets that a request carried finds them wherever they stand; everything else stays as it came.

use bytes::Bytes;
use domain::cloud::{AwsKeys, HiddenText};
use domain::provider::AuthScheme;
use domain::snapshot::{Credential, Upstream};
use http::{HeaderMap, HeaderValue};
use memchr::memmem::{Finder, find};

use super::request::relayed_headers;

/// The value of a configured header counts as a secret from this length on: shorter ones are names and versions.
const HEADER_SECRET_MIN: usize = 16;

/// A text with its secrets blanked.
pub(crate) fn text(text: Bytes, upstream: &Upstream, credential: &Credential) -> Bytes {
    secrets(upstream, credential).fold(text, |text, secret| {
        let finder = Finder::new(secret);
        if finder.find(&text).is_none() {
            return text;
        }
        let mut blanked = text.to_vec();
        // In the text as it came: what was blanked must not be found again, or a credential of stars would never end.
        for at in finder.find_iter(&text) {
            blanked[at..at + secret.len()].fill(b'*');
        }
        Bytes::from(blanked)
    })
}

/// The same for a failure's detail, which goes into the log.
pub(crate) fn unspoken(detail: &str, upstream: &Upstream, credential: &Credential) -> String {
    let text = text(Bytes::copy_from_slice(detail.as_bytes()), upstream, credential);
    String::from_utf8_lossy(&text).into_owned()
}

/// The headers of an answer that goes on to the caller: none that repeats a secret. Every call comes by here, and few
/// values are long enough to hold one.
pub(crate) fn headers(answer: &HeaderMap, upstream: &Upstream, credential: &Credential) -> HeaderMap {
    let mut headers = relayed_headers(answer);
    let mut telling = Vec::new();
    for secret in secrets(upstream, credential) {
        let tells = |value: &HeaderValue| value.len() >= secret.len() && find(value.as_bytes(), secret).is_some();
        let found = headers.iter().filter(|(_, value)| tells(value));
        telling.extend(found.map(|(name, _)| name.clone()));
    }
    for name in telling {
        headers.remove(name);
    }
    headers
}

fn secrets<'a>(upstream: &'a Upstream, credential: &'a Credential) -> impl Iterator<Item = &'a [u8]> {
    let headers = upstream.headers.iter().map(|(_, value)| value.as_bytes());
    let headers = headers.filter(|value| value.len() >= HEADER_SECRET_MIN);
    let key = credential.secret.expose();
    // Of a secret with parts this is the one that goes out as it is.
    let keys = || AwsKeys::read(&credential.secret).ok().flatten();
    let keys = (upstream.auth == AuthScheme::Aws).then(keys).flatten();
    let token = keys.and_then(|keys| keys.session_token);
    let own = [key, token.map_or("", HiddenText::expose)];
    own.into_iter()
        .filter(|key| !key.is_empty())
        .map(str::as_bytes)
        .chain(headers)
}
