//! Resumable uploads of files to Google: `POST /upload/v1beta/files` and the address that it answers with.
//!
//! An upload is begun with a key, and the answer names an address to which the pieces go, in a header and not in the body
//! (`X-Goog-Upload-URL`; google-genai 3.6, `_api_client.py`, `upload_file`). That address is the provider's: given on as it
//! is, the pieces would pass us by, and the file would be nobody's. So it is told as ours, with the name of the upload that
//! the provider gave. The pieces bring no key, here as there: whoever knows that name may go on with this upload, and no
//! more. It is a pin like others, so that another process, or this one after a restart, takes the pieces too.
//!
//! Of the provider's address only the query is believed; where the pieces go is where the upload was begun.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::snapshot::{Credential, Key, Snapshot, Upstream};
use domain::{Dialect, Fault, KeyId, Pin, Timestamp};
use http::header::{HeaderValue, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response};
use hyper::body::Incoming;

use crate::arrival::{Arrival, read_body};
use crate::authenticate::{Caller, authenticate, client_address};
use crate::body::Body;
use crate::dispatch::Source;
use crate::gateway::Inner;
use crate::limits::UPLOAD_KNOWN_FOR;
use crate::own_address;
use crate::passthrough::{choose, credential_of, forbidden, is_allowed, no_upstream, relay, unpriced};
use crate::recall::responses::{Ask, limited};
use crate::recall::{Maker, batches, jobs, no_such, things};
use crate::upstream::request::query_without_key;

/// Where an answer may name the address of an upload.
const ADDRESSES: [HeaderName; 3] = [
    HeaderName::from_static("x-goog-upload-url"),
    HeaderName::from_static("x-goog-upload-control-url"),
    LOCATION,
];

/// A path below `/upload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadPath {
    /// Whole: `/upload/v1beta/files`.
    path: String,
    /// Below the version: `/files`.
    rest: String,
}

impl UploadPath {
    pub(crate) fn read(path: &str) -> Option<Self> {
        let versioned = path.strip_prefix("/upload")?;
        let rest = ["/v1beta", "/v1"]
            .iter()
            .find_map(|version| versioned.strip_prefix(version))
            .filter(|rest| rest.starts_with('/'))?;
        Some(Self {
            rest: rest.trim_end_matches('/').to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// Who uploads, and where to.
struct Uploader {
    key: Arc<Key>,
    snapshot: Arc<Snapshot>,
    /// The upload, if it has begun.
    begun: Option<Arc<Pin>>,
}

impl Uploader {
    /// What the request names: the upload itself, or things in its path and body.
    async fn named(&self, gateway: &Inner, path: &UploadPath, body: &[u8]) -> Result<things::Named, Fault> {
        if let Some(pin) = &self.begun {
            return Ok(things::Named {
                place: Some(Arc::clone(pin)),
                is_unknown: false,
            });
        }
        let caller = Caller {
            key: Arc::clone(&self.key),
            snapshot: Arc::clone(&self.snapshot),
        };
        things::named(gateway, &caller, (Dialect::Gemini, &path.rest), body).await
    }
}

/// Forwards the beginning of an upload, or a piece of it.
pub(crate) async fn forward(
    gateway: &Arc<Inner>,
    path: &UploadPath,
    head: Parts,
    body: Incoming,
    peer: IpAddr,
    started: (Timestamp, Instant),
) -> Result<Response<Body>, Fault> {
    let uploader = match head.uri.query().and_then(upload_id) {
        Some(id) => begun(gateway, id, &head, peer).await?,
        None => by_key(gateway, &head, peer)?,
    };
    if !uploader.key.passthrough {
        return Err(forbidden(&path.path));
    }
    let _permit = limited(gateway, &uploader.key)?;
    let arrival = Arrival::of(&uploader.key, &uploader.snapshot);
    let body = read_body(gateway, &head, body, arrival).await?;
    let named = uploader.named(gateway, path, &body.bytes).await?;
    let (upstream, credential) = place(gateway, &uploader, &named, path, &head.headers)?;
    unpriced::check(
        gateway,
        upstream,
        (&head.method, &head.headers),
        &path.rest,
        &uploader.key,
    )
    .await?;
    let maker = Maker::new(uploader.key.user.id, uploader.key.id, upstream, credential);
    let sent = body.bytes.clone();
    let (mut answered, body) = send(gateway, (upstream, credential), path, &head, body.bytes).await?;
    tracing::info!(
        target: "tollgate::access", key = %uploader.key.id, upstream = upstream.name, path = path.path,
        status = answered.status.as_u16(), took_ms = started.1.elapsed().as_millis(), "upload"
    );
    if answered.status.is_success() {
        retell(gateway, maker, path, &head, &mut answered.headers).await?;
    }
    let source = Source::Upstream(body, None);
    let noted = (&head.method, path.rest.as_str());
    let source = things::note(gateway, maker, noted, &named, &answered, source).await;
    batches::note_upload(gateway, (&uploader.key, upstream.id), &head.method, &sent, &source);
    relay(upstream, &gateway.account_tokens.spoken(credential), answered, source).await
}

fn by_key(gateway: &Inner, head: &Parts, peer: IpAddr) -> Result<Uploader, Fault> {
    let Caller { key, snapshot } = authenticate(gateway, head, peer)?;
    Ok(Uploader {
        key,
        snapshot,
        begun: None,
    })
}

/// Finds an upload that has begun. Its key must still be there and may be used.
async fn begun(gateway: &Inner, id: &str, head: &Parts, peer: IpAddr) -> Result<Uploader, Fault> {
    let unknown = || no_such("Upload", id);
    let pin = gateway.recall.find_made(&name_of(id), gateway.clock.now()).await?;
    let pin = pin.ok_or_else(unknown)?;
    let snapshot = gateway.snapshot.load_full();
    let of_master = || gateway.master.as_ref().map(|master| Arc::clone(&master.key));
    let key = if pin.key == KeyId::MASTER {
        of_master()
    } else {
        snapshot.keys.values().find(|key| key.id == pin.key).cloned()
    };
    let client = client_address(gateway, head, peer);
    let usable = |key: &Arc<Key>| {
        key.expires.is_none_or(|expires| gateway.clock.now() < expires)
            && (key.addresses.is_empty() || key.addresses.iter().any(|net| net.contains(&client)))
    };
    let key = key.filter(usable).ok_or_else(unknown)?;
    Ok(Uploader {
        key,
        snapshot,
        begun: Some(pin),
    })
}

/// The upstream that takes it: the one that made what it names, else one of Google's.
fn place<'a>(
    gateway: &Inner,
    uploader: &'a Uploader,
    named: &things::Named,
    path: &UploadPath,
    headers: &HeaderMap,
) -> Result<(&'a Arc<Upstream>, &'a Arc<Credential>), Fault> {
    if let Some(pin) = &named.place {
        let home = jobs::home(&uploader.snapshot, pin).filter(|(upstream, _)| is_allowed(upstream, &path.rest));
        return home.ok_or_else(|| no_upstream(&path.path));
    }
    let upstream = choose(&uploader.snapshot, Dialect::Gemini, &path.rest, headers)?;
    Ok((upstream, credential_of(gateway, upstream, &uploader.key)?))
}

async fn send(
    gateway: &Arc<Inner>,
    (upstream, credential): (&Arc<Upstream>, &Arc<Credential>),
    path: &UploadPath,
    head: &Parts,
    body: Bytes,
) -> Result<(http::response::Parts, crate::upstream::incoming::UpstreamBody), Fault> {
    let query = head.uri.query().map(query_without_key);
    let (upstream, version) = above_version(upstream);
    let own_version = version.map(|version| format!("/upload/{version}{}", path.rest));
    let ask = Ask {
        upstream: &Arc::new(upstream),
        credential,
        method: head.method.clone(),
        path: own_version.as_deref().unwrap_or(&path.path),
        query: query.as_deref(),
        client_headers: &head.headers,
        body,
    };
    Ok(ask.send(gateway).await?.into_parts())
}

/// The upstream at the address that `/upload` is below, which is not that of the version; and that version, which counts
/// before the client's, as on all other paths.
fn above_version(upstream: &Upstream) -> (Upstream, Option<String>) {
    let is_version = |last: &str| {
        let rest = last.strip_prefix('v');
        rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let mut above = upstream.clone();
    let found = upstream.base_url.rsplit_once('/').filter(|(_, last)| is_version(last));
    let version = found.map(|(root, version)| {
        root.clone_into(&mut above.base_url);
        version.to_owned()
    });
    (above, version)
}

/// Tells the address of an upload that begins as ours, and remembers the upload before its maker hears of it.
async fn retell(
    gateway: &Inner,
    maker: Maker,
    path: &UploadPath,
    head: &Parts,
    answered: &mut HeaderMap,
) -> Result<(), Fault> {
    for name in &ADDRESSES {
        let Some(theirs) = answered.remove(name) else { continue };
        let query = theirs
            .to_str()
            .ok()
            .and_then(|url| url.split_once('?'))
            .map(|(_, query)| query);
        let Some((query, id)) = query.and_then(|query| Some((query_without_key(query), upload_id(query)?))) else {
            continue;
        };
        gateway
            .recall
            .pin_now(Arc::new(maker.upload(gateway, &name_of(id), UPLOAD_KNOWN_FOR)))
            .await?;
        let ours = format!("{}{}?{query}", own_address::of(head), path.path);
        answered.insert(name, HeaderValue::try_from(ours).map_err(|_| no_upstream(&path.path))?);
    }
    Ok(())
}

/// The provider's name for an upload, in a query.
fn upload_id(query: &str) -> Option<&str> {
    const LENGTH_MAX: usize = 480;
    let id = query.split('&').find_map(|pair| pair.strip_prefix("upload_id="))?;
    (!id.is_empty() && id.len() <= LENGTH_MAX).then_some(id)
}

/// What an upload is called among pins.
fn name_of(id: &str) -> String {
    format!("uploads/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_upload_are_read() {
        let read = |path| UploadPath::read(path).map(|path| path.rest);
        assert_eq!(read("/upload/v1beta/files").as_deref(), Some("/files"));
        assert_eq!(read("/upload/v1/files/").as_deref(), Some("/files"));
        for other in [
            "/upload/files",
            "/upload/v1betafiles",
            "/v1beta/files",
            "/uploads/v1/files",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn an_upload_has_its_providers_name() {
        assert_eq!(upload_id("key=x&upload_id=abc&upload_protocol=resumable"), Some("abc"));
        assert_eq!(upload_id("my_upload_id=abc"), None);
        assert_eq!(upload_id("upload_id="), None);
    }
}
