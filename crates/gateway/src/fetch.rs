//! Files that a caller names by their addresses, fetched for targets that want the bytes.
//!
//! The addresses are a stranger's: everything goes through the outbound connector as `Origin::Remote`, so that private
//! networks and metadata services are out of reach whatever a name resolves to at the moment of connecting; redirects are
//! not followed; nothing of ours or of the caller's goes along but the address itself. Bytes, count and time are bounded,
//! and the bytes are part of the budget of all request bodies.
//!
//! What goes wrong is told to the caller in words that say nothing of our network: whether a name exists inside it, and
//! what it resolves to, is for the operator's log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dialects::{Fetched, Wanted};
use domain::{CallId, Failure, FailureClass};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::header::{HeaderMap, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};

use crate::admit::Call;
use crate::budget::Share;
use crate::gateway::Inner;
use crate::limits::{FETCH_TIMEOUT, FETCH_URL_MAX, FETCHED_EACH_MAX, FETCHED_MAX, FETCHES_MAX};
use crate::upstream::incoming::UpstreamBody;

/// Why a file was not fetched. Messages are for callers.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the gateway does not fetch files (server.fetch_urls is off); send it in base64")]
    Off,
    #[error("its address is no address of the web")]
    Address,
    #[error("there are more than {FETCHES_MAX} files to fetch; send some in base64")]
    TooMany,
    #[error("its host cannot be reached, or may not be")]
    Unreachable,
    #[error("it redirects, which is not followed; give the final address")]
    Redirect,
    #[error("its server answered with status {0}")]
    Status(u16),
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    #[error("all files together have more than {FETCHED_MAX} bytes")]
    TooMuch,
    #[error("it did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("it broke off")]
    Broken,
    #[error("its server sends it compressed, which was not asked for")]
    Compressed,
    #[error("too many large requests are held at once; try again")]
    Budget,
    #[error(transparent)]
    WrongType(#[from] dialects::WrongType),
}

/// Fetches what a target wants and keeps it with the call, for this attempt and those after it. `left` is the time that
/// the call has.
pub(crate) async fn supply(call: &mut Call, wanted: Vec<Wanted>, left: Duration) -> Result<(), Failure> {
    if let Some(failed) = &call.unfetched {
        return Err(failed.clone());
    }
    let (gateway, id) = (&call.gateway, call.settlement.call);
    let fetched = if !gateway.fetches_urls {
        Err((0, FetchError::Off))
    } else if wanted.len() > FETCHES_MAX {
        Err((FETCHES_MAX, FetchError::TooMany))
    } else {
        fetch_all(gateway, id, &wanted, left.min(FETCH_TIMEOUT)).await
    };
    match fetched {
        Ok(all) => {
            let question = call.question.as_mut();
            let Some(question) = question else { return Ok(()) };
            for (file, share) in all {
                call.share.absorb(share);
                question.supply(file);
            }
            Ok(())
        }
        Err((place, error)) => {
            let failed = Failure::new(FailureClass::Untranslatable, told(&wanted, place, &error));
            call.unfetched = Some(failed.clone());
            Err(failed)
        }
    }
}

/// All at once; the first that fails fails them all.
async fn fetch_all(
    gateway: &Inner,
    call: CallId,
    wanted: &[Wanted],
    limit: Duration,
) -> Result<Vec<(Fetched, Share)>, (usize, FetchError)> {
    let together = AtomicUsize::new(0);
    let fetches = wanted.iter().enumerate().map(|(place, wanted)| {
        let together = &together;
        async move {
            let fetched = tokio::time::timeout(limit, fetch(gateway, call, wanted, together)).await;
            fetched
                .unwrap_or(Err(FetchError::TooSlow(limit)))
                .map_err(|error| (place, error))
        }
    });
    futures_util::future::try_join_all(fetches).await
}

async fn fetch(
    gateway: &Inner,
    call: CallId,
    wanted: &Wanted,
    together: &AtomicUsize,
) -> Result<(Fetched, Share), FetchError> {
    let request = request(&wanted.url).ok_or(FetchError::Address)?;
    let answer = gateway.client.fetch(request).await.map_err(|failure| {
        tracing::warn!(%call, detail = failure.detail, "a file could not be fetched for a caller");
        if matches!(failure.class, FailureClass::Connect | FailureClass::Barred) {
            FetchError::Unreachable
        } else {
            FetchError::Broken
        }
    })?;
    let (head, body) = answer.into_parts();
    match head.status {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirect),
        status => return Err(FetchError::Status(status.as_u16())),
    }
    let is_compressed = head
        .headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| value != "identity");
    if is_compressed {
        return Err(FetchError::Compressed);
    }
    if length(&head.headers).is_some_and(|length| length > FETCHED_EACH_MAX) {
        return Err(FetchError::TooLarge(FETCHED_EACH_MAX));
    }
    let mut share = gateway.bodies.share();
    let bytes = collect(body, &mut share, together).await?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Ok((wanted.take(content_type.unwrap_or_default(), &bytes)?, share))
}

/// A bare question for what lies there, over a connection of its own.
fn request(url: &str) -> Option<Request<Full<Bytes>>> {
    // What stands behind `#` is for the reader of the file.
    let url = url.split('#').next().unwrap_or(url);
    let uri: Uri = (url.len() <= FETCH_URL_MAX).then(|| url.parse().ok())??;
    // A login in an address would be the caller's secret, and is none of the web's habits.
    let authority = uri.authority()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let agent = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    Some(request)
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body within all bounds. Held are the bytes and what they become in base64.
async fn collect(mut body: UpstreamBody, share: &mut Share, together: &AtomicUsize) -> Result<Vec<u8>, FetchError> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| FetchError::Broken)?.into_data() else {
            continue;
        };
        if all.len() + data.len() > FETCHED_EACH_MAX {
            return Err(FetchError::TooLarge(FETCHED_EACH_MAX));
        }
        if together.fetch_add(data.len(), Ordering::Relaxed) + data.len() > FETCHED_MAX {
            return Err(FetchError::TooMuch);
        }
        if !share.grow(data.len() + data.len().div_ceil(3) * 4) {
            return Err(FetchError::Budget);
        }
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// What the caller is told: which file, by its kind and host, and why not. The rest of an address may be a secret.
fn told(wanted: &[Wanted], place: usize, error: &FetchError) -> String {
    const HOST_MAX: usize = 100;
    let Some(file) = wanted.get(place) else {
        return format!("a file by its address: {error}");
    };
    let host = file
        .url
        .parse::<Uri>()
        .ok()
        .and_then(|uri| Some(uri.host()?.to_owned()));
    let host: String = host.unwrap_or_default().chars().take(HOST_MAX).collect();
    let (what, number, of) = (file.what(), place + 1, wanted.len());
    format!("the {what} at `{host}` (file {number} of {of} that the target wants as data): {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_is_asked_for() {
        let request = request("https://files.example/a.pdf?sig=1#page=2").unwrap();
        assert_eq!(request.uri(), "https://files.example/a.pdf?sig=1");
        let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "accept-encoding", "connection", "user-agent"]);
    }

    #[test]
    fn what_is_no_address_is_not_asked_for() {
        let long = format!("https://a/{}", "x".repeat(FETCH_URL_MAX));
        for url in ["https://", "https://user:pw@a/b", "/a", "https://a b/", &long] {
            assert!(request(url).is_none(), "{url}");
        }
    }
}
